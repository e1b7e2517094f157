"""Everything that can be drawn of a trained model: what `python -m keras_vae figures RUN` makes.

`PICTURES` names the functions, in the order in which they are drawn. Each takes a `Subject` and
returns a matplotlib figure, or the bytes of an animated GIF, or raises `LeftOut` with the reason
why this model or these data have no such picture.
"""

import dataclasses
import functools
import itertools

import numpy as np

from keras_vae import data
from keras_vae.doctor.thresholds import LEAST_KL
from keras_vae.figures import images as draw
from keras_vae.figures import plots, walks
from keras_vae.figures.style import shortened
from keras_vae.models.capabilities import Bounds, DiscreteCodes, Encodes, Samples, article, lack

ROWS = COLUMNS = 10
STEPS = 11
QUANTILES = 9
FRAMES = 16
MOST_CLASSES = 20
# t-SNE takes half a minute for as many; of the others, more hide each other.
MOST_PROJECTED = 1000
MOST_POINTS = 5000
# The middle of the prior: beyond it a decoder has seen next to nothing.
TAIL = 0.02


class LeftOut(Exception):  # noqa: N818 - nothing went wrong
    """A picture that does not exist for a model or its data; the message says why, in one line."""


@dataclasses.dataclass(eq=False)
class Subject:
    """A trained model, and what there is to show it by.

    Args:
        model: A model of this package.
        dataset: `data.Dataset`, or None where the data are gone.
        history: Dict from a metric's name to one value per epoch; {} where there is none.
        data_name: Str, for the titles.
        shown_class: Optional str, name or index of the class whose code is traversed. Defaults to
            the first one.
    """

    model: object
    dataset: object
    history: dict
    data_name: str
    shown_class: str | None = None

    @property
    def caption(self):
        epochs = len(next(iter(self.history.values()), []))
        trained = f", {epochs} epoch{'s' * (epochs != 1)}" if epochs else ""
        return f"{type(self.model).__name__} on {self.data_name}{trained}"

    def title(self, text):
        return f"{text}\n{self.caption}"

    @property
    def data_range(self):
        return self.model.likelihood.data_range

    @property
    def makes(self):
        """What the model is, if it makes images."""
        self.model._ensure_built()
        shape = self.model.data_shape
        if not draw.is_images((1, *shape)):
            raise LeftOut(f"the data are no grey or RGB images but of shape {tuple(shape)}")
        return self.model

    @property
    def encodes(self):
        """What the model is, if it gives each example a vector as its code."""
        if not isinstance(self.model, Encodes):
            raise LeftOut(lack(self.model, Encodes))
        return self.has_vectors

    @property
    def has_vectors(self):
        if isinstance(self.model, DiscreteCodes):
            raise LeftOut("its codes are indices, between which there is nothing")
        return self.model

    @property
    def samples(self):
        """What the model is, if it makes images of its own."""
        model = self.makes
        if not isinstance(model, Samples) or model.prior is None:
            raise LeftOut(f"this {type(model).__name__} has no prior to draw from")
        return model

    @property
    def label(self):
        """The labels that the model samples by: its own, or those of its prior."""
        model = self.model
        conditions = model.sample_conditions if isinstance(model, Samples) else {}
        if "label" not in conditions:
            raise LeftOut(f"this {type(self.model).__name__} knows no classes")
        return conditions["label"]

    @property
    def test(self):
        if self.dataset is None:
            raise LeftOut("it needs the data")
        return self.dataset

    @functools.cached_property
    def by_class(self):
        """Rows of the test set: one of each class in turn, then the next of each, and so on."""
        rows = [np.flatnonzero(self.test.y_test == c) for c in range(len(self.test.class_names))]
        order = np.concatenate([np.arange(len(row)) for row in rows])
        return np.concatenate(rows)[np.argsort(order, kind="stable")]

    @property
    def class_names(self):
        """Names of the classes: of the data, or, where they are gone, of the model's labels."""
        if self.dataset is not None:
            return list(self.dataset.class_names)
        conditions = self.model.condition or {}
        return list(conditions["label"].names) if "label" in conditions else []

    @functools.cached_property
    def shown_label(self):
        """The index of `shown_class`.

        Raises:
            ValueError: If there is no such class.
        """
        word = self.shown_class
        if word is None:
            return int(self.test.y_test[self.by_class[0]]) if self.dataset is not None else 0
        names = self.class_names
        if word in names:
            return names.index(word)
        if word.isdecimal() and int(word) < len(names):
            return int(word)
        if not names:
            raise ValueError(f"A class to show needs the data. Received: {word}.")
        which = ", ".join(names[:MOST_CLASSES]) + (", ..." if len(names) > MOST_CLASSES else "")
        raise ValueError(
            f"The class to show must be one of {which}, or its index from 0 to {len(names) - 1}. "
            f"Received: {word}."
        )

    def examples(self, rows):
        """Test images as floats, and their labels."""
        rows = np.asarray(rows)
        return data.as_float(self.test.x_test[rows]), self.test.y_test[rows]

    def inputs(self, x, y):
        """What the model takes: the images, with their labels if it needs them."""
        return {"x": x, "label": y} if self.model.condition else x

    def codes(self, x, y):
        """The posterior means, or an autoencoder's codes, `(n, latent)`."""
        code = self.encodes.encode(self.model.as_observed(self.inputs(x, y), seed=0))
        return code[0] if isinstance(code, tuple) else code

    def vectors(self, labels):
        """What a conditional model's networks see of labels; None for other models."""
        return self.model.condition_vectors({"label": np.asarray(labels, "int32")})

    @functools.cached_property
    def points(self):
        """Codes of up to 5,000 test images, and their labels."""
        _ = self.encodes, self.test
        rows = np.random.default_rng(0).permutation(len(self.test.x_test))[:MOST_POINTS]
        x, y = self.examples(np.sort(rows))
        return self.codes(x, y), y

    @functools.cached_property
    def kl(self):
        """The KL of each latent dimension on these images, or None."""
        if not isinstance(self.model, Bounds):
            return None
        x, y = self.examples(np.arange(min(MOST_POINTS, len(self.test.x_test))))
        nats = self.model.kl_by_dimension(self.model.as_observed(self.inputs(x, y), seed=0))
        return None if nats is None else nats.mean(axis=0, dtype="float64")

    def quantiles(self, probabilities, label=0):
        """Quantiles of each latent dimension, `(n, latent)`: the prior's, or those of the codes."""
        if self.model.prior is None:
            return np.quantile(self.points[0], probabilities, axis=0)
        return walks.prior_quantiles(self.model, probabilities, {"label": label})

    @functools.cached_property
    def pairs(self):
        """Pairs of images to interpolate between, each a dict of arrays for its two ends.

        Three within a class and three between classes, as far as the data go: `names`, `z`,
        `vectors` and, where the ends are images of the data, `x`.
        """
        encodes = isinstance(self.makes, Encodes)
        return self._pairs_of_images() if encodes else self._pairs_of_draws()

    def _pairs_of_images(self):
        _ = self.encodes
        y = self.test.y_test[self.by_class]
        rows = [self.by_class[y == c] for c in dict.fromkeys(y.tolist())]
        within = [row[:2] for row in rows if len(row) > 1][:3]
        across = [(a[0], b[0]) for a, b in zip(rows[3:6], rows[6:9], strict=False)]
        across = across or [(a[0], b[0]) for a, b in itertools.pairwise(rows)][:3]
        pairs = [*within, *across]
        if not pairs:
            raise LeftOut("it needs two test images of a class, or of two classes")
        x, labels = self.examples(np.ravel(pairs))
        z, vectors = self.codes(x, labels), self.vectors(labels)
        return _as_pairs(z, labels, vectors, self.test.class_names, x)

    def _pairs_of_draws(self):
        model, kind = self.model, None
        z = model.prior.sample(12, model.latent_dim, seed=0)
        if not model.condition:
            return _as_pairs(z, np.zeros(12, int), None, ("",))
        kind = self.label
        # Within a class the code moves, between two the class.
        first = np.arange(3) % kind.num_classes
        second = np.arange(3, 6) % kind.num_classes, np.arange(6, 9) % kind.num_classes
        labels = np.concatenate([np.repeat(first, 2), np.ravel(second, order="F")])
        z[7::2] = z[6::2]
        count = 12 if kind.num_classes > 1 else 6
        return _as_pairs(z[:count], labels[:count], self.vectors(labels[:count]), kind.names)

    def walk(self, steps):
        """Images between the two of every pair, `(pairs, steps, *data_shape)`."""
        model = self.makes
        is_drawn = not isinstance(model, Encodes)
        ends = [np.stack([pair["z"][end] for pair in self.pairs]) for end in (0, 1)]
        z = walks.between(*ends, steps, spherical=is_drawn)
        vectors = None
        if model.condition:
            ends = [np.stack([pair["vectors"][end] for pair in self.pairs]) for end in (0, 1)]
            vectors = walks.between(*ends, steps).reshape(len(self.pairs) * steps, -1)
        images = walks.decode(model, z.reshape(-1, z.shape[-1]), vectors)
        return images.reshape(len(self.pairs), steps, *images.shape[1:])


def _as_pairs(z, labels, vectors, class_names, x=None):
    """Join what belongs to every two rows."""
    pairs = []
    for start in range(0, len(z), 2):
        ends = slice(start, start + 2)
        pair = {"names": [class_names[c] for c in labels[ends]], "z": z[ends]}
        if vectors is not None:
            pair["vectors"] = vectors[ends]
        if x is not None:
            pair["x"] = x[ends]
        pairs.append(pair)
    return pairs


# The pictures


def learning_curves(subject):
    """The loss and its terms over the epochs."""
    if not subject.history:
        raise LeftOut("the run has no history.csv")
    return plots.learning_curves(subject.history, subject.title("Learning curves"))


def reconstructions(subject):
    """One test image of each class over its reconstruction."""
    model = subject.makes
    if not isinstance(model, Encodes):
        raise LeftOut(lack(model, Encodes))
    x, y = subject.examples(subject.by_class[:16])
    made = model.reconstruct(subject.inputs(x, y))
    title = subject.title("Test images and their reconstructions")
    return draw.reconstructions(x, made, title, subject.data_range)


def samples(subject):
    """Draws from the prior, of classes at random."""
    model = subject.samples
    count = ROWS * COLUMNS
    try:
        labels = np.random.default_rng(0).integers(subject.label.num_classes, size=count)
        images = model.sample({"label": labels.astype("int32")}, seed=0)
    except LeftOut:
        images = model.sample(count, seed=0)
    title = subject.title("Samples of the prior, seed 0")
    return draw.labelled_grid(images, [""] * ROWS, title, subject.data_range)


def samples_by_class(subject):
    """Draws from the prior, one row a class."""
    model, names = subject.samples, subject.label.names[:MOST_CLASSES]
    labels = np.repeat(np.arange(len(names), dtype="int32"), 12)
    images = model.sample({"label": labels}, seed=0)
    title = subject.title(f"Samples of {_the_classes(subject.label)}, seed 0")
    return draw.labelled_grid(images, names, title, subject.data_range)


def interpolation(subject):
    """Images between two images of a class, and between two classes."""
    images, pairs = subject.walk(STEPS), subject.pairs
    columns = [f"{share:.1f}" for share in np.linspace(0, 1, STEPS)]
    if "x" in pairs[0]:
        ends = np.stack([pair["x"] for pair in pairs])
        images = np.concatenate([ends[:, :1], images, ends[:, 1:]], axis=1)
        columns = ["from", *columns, "to"]
    names = [_pair_name(pair) for pair in pairs]
    images = images.reshape(-1, *images.shape[2:])
    what = "images" if "x" in pairs[0] else "draws of the prior"
    title = subject.title(f"Between two {what}")
    return draw.labelled_grid(images, names, title, subject.data_range, columns)


def interpolation_gif(subject):
    """The same, moving there and back without end."""
    images = subject.walk(FRAMES)
    columns = 3 if len(images) > 3 else len(images)
    names = [_pair_name(pair) for pair in subject.pairs]
    frames = []
    for step in range(FRAMES):
        grid = draw.named_grid(images[:, step], names, columns, subject.data_range)
        frames.append(draw.captioned(grid, subject.caption, size=14))
    pause = [600, *[100] * (FRAMES - 2)] * 2
    return draw.animation([*frames, *frames[-2:0:-1]], pause, colours=64)


def style_transfer(subject):
    """The code of one drawing, decoded as every class."""
    model = subject.makes
    _ = subject.has_vectors
    kind = subject.label
    classes = np.arange(min(kind.num_classes, MOST_CLASSES))
    if isinstance(model, Encodes):
        x, y = subject.examples(subject.by_class[:ROWS])
        z, first = subject.codes(x, y), x[:, None]
        names = [subject.test.class_names[c] for c in y]
    else:
        z, first = model.prior.sample(ROWS, model.latent_dim, seed=0), None
        names = [f"code {index + 1}" for index in range(ROWS)]
    repeated = np.repeat(z, len(classes), axis=0)
    images = model.decode(repeated, {"label": np.tile(classes, len(z)).astype("int32")})
    images = images.reshape(len(z), len(classes), *images.shape[1:])
    columns = [str(kind.names[c]) for c in classes]
    if first is not None:
        images = np.concatenate([first, images], axis=1)
        columns = ["from", *columns]
    text = f"The code of each {'image' if first is not None else 'row'} as {_the_classes(kind)}"
    images = images.reshape(-1, *images.shape[2:])
    return draw.labelled_grid(images, names, subject.title(text), subject.data_range, columns)


def traversals(subject):
    """One code of a class, of which one dimension after the other goes through the prior, by KL."""
    model = subject.makes
    _ = subject.has_vectors
    probabilities = np.linspace(TAIL, 1 - TAIL, QUANTILES)
    if isinstance(model, Encodes):
        label = subject.shown_label
        rows = subject.by_class[subject.test.y_test[subject.by_class] == label]
        name = subject.class_names[label]
        if not len(rows):
            raise LeftOut(f"the test set has no image of class {name}")
        start = subject.codes(*subject.examples(rows[:1]))[0]
        what = f"The code of a test image of class {name}"
    else:
        label = subject.shown_label if model.condition else 0
        start = model.prior.sample(1, model.latent_dim, seed=0)[0]
        what = "A draw of the prior"
        if model.condition:
            what += f" as class {subject.class_names[label]}"
    codes = walks.traversals(start, subject.quantiles(probabilities, label))
    latent = len(codes)
    vectors = subject.vectors(np.full(latent * QUANTILES, label)) if model.condition else None
    images = walks.decode(model, codes.reshape(-1, latent), vectors)
    images = images.reshape(latent, QUANTILES, *images.shape[1:])
    names = [f"z{index + 1}" for index in range(latent)]
    if (order := subject.kl) is not None:
        names = [f"{name}, {_nats(nats)}" for name, nats in zip(names, order, strict=True)]
        by = "largest KL"
    else:
        order = images.std(axis=1).mean(axis=tuple(range(1, images.ndim - 1)))
        by = "most visible"
    rows = np.argsort(-order, kind="stable")[:ROWS]
    images = images[rows].reshape(-1, *images.shape[2:])
    which = "each dimension" if latent <= ROWS else f"{ROWS} of {latent} dimensions"
    title = subject.title(f"{what}:\n{which} by quantile, {by} first")
    columns = [f"{100 * p:.0f} %" for p in probabilities]
    names = [names[index] for index in rows]
    return draw.labelled_grid(images, names, title, subject.data_range, columns)


def manifold(subject):
    """What the decoder makes of a two-dimensional latent, at the prior's quantiles."""
    model = subject.makes
    _ = subject.has_vectors
    if model.latent_dim != 2:
        raise LeftOut(f"the latent has {_dimensions(model)}, a plane has 2")
    kinds = range(min(subject.label.num_classes, ROWS)) if model.condition else (None,)
    side = 15 if len(kinds) == 1 else 7
    probabilities = np.linspace(TAIL, 1 - TAIL, side)
    panels = []
    for label in kinds:
        first, second = subject.quantiles(probabilities, label or 0).T
        z = walks.plane(first, second)
        panels.append(walks.decode(model, z, subject.vectors(np.full(len(z), label or 0))))
    names = ["" if label is None else str(subject.label.names[label]) for label in kinds]
    over = "the codes'" if model.prior is None else "the prior's"
    title = subject.title(f"The decoder over {over} quantiles")
    return draw.manifold(panels, names, title, probabilities, subject.data_range)


def latent(subject):
    """Codes of test images, where they have one or two dimensions."""
    if subject.encodes.latent_dim > 2:
        raise LeftOut(f"the latent has {_dimensions(subject.model)}; see latent_projections")
    z, y = subject.points
    title = _title_of_codes(subject, len(z))
    return plots.latent_scatter(z, y, subject.test.class_names, title)


def latent_projections(subject):
    """Codes of test images of more dimensions, by PCA and t-SNE."""
    if subject.encodes.latent_dim <= 2:
        raise LeftOut(f"the latent has only {_dimensions(subject.model)}; see latent")
    z, y = (array[:MOST_PROJECTED] for array in subject.points)
    title = _title_of_codes(subject, len(z))
    try:
        return plots.projections(z, y, subject.test.class_names, title)
    except (ValueError, ImportError) as err:
        raise LeftOut(str(err)) from err


def kl_by_dimension(subject):
    """The KL of each latent dimension."""
    _ = subject.encodes
    if not isinstance(subject.model, Bounds):
        raise LeftOut(f"{article(type(subject.model).__name__)} has no KL")
    if subject.kl is None:
        prior = type(subject.model.prior).__name__
        raise LeftOut(f"the KL from a {prior} is no sum over the latent dimensions")
    names = [str(index + 1) for index in range(len(subject.kl))]
    dead = np.count_nonzero(subject.kl < LEAST_KL)
    together = f"{subject.kl.sum():.3g} nats, {dead or 'none'} of {len(names)} dead"
    title = subject.title(f"KL by dimension: {together}")
    axes = "latent dimension", "nats per example"
    return plots.bars(subject.kl, title, *axes, names, LEAST_KL, "dead")


def codebook_usage(subject):
    """How often each code of a codebook occurs on test images."""
    model = subject.model
    if not isinstance(model, DiscreteCodes):
        raise LeftOut(lack(model, DiscreteCodes))
    x, _ = subject.examples(np.arange(min(MOST_POINTS, len(subject.test.x_test))))
    codes = model.encode(x)
    counts = np.bincount(codes.reshape(-1), minlength=model.quantizer.num_codes)
    used = np.count_nonzero(counts)
    title = subject.title(f"Use of the codebook: {used} of {len(counts)} codes")
    return plots.bars(100 * counts / codes.size, title, "code, by use", "% of all places")


PICTURES = {
    "learning_curves": learning_curves,
    "reconstructions": reconstructions,
    "samples": samples,
    "samples_by_class": samples_by_class,
    "interpolation": interpolation,
    "interpolation.gif": interpolation_gif,
    "style_transfer": style_transfer,
    "traversals": traversals,
    "manifold": manifold,
    "latent": latent,
    "latent_projections": latent_projections,
    "kl_by_dimension": kl_by_dimension,
    "codebook_usage": codebook_usage,
}


def _dimensions(model):
    return f"{model.latent_dim} dimension{'s' * (model.latent_dim != 1)}"


def _the_classes(kind):
    if kind.num_classes <= MOST_CLASSES:
        return "every class"
    return f"the first {MOST_CLASSES} of {kind.num_classes} classes"


def _title_of_codes(subject, count):
    text = f"Codes of {count:,} test images"
    if subject.model.condition and len(subject.class_names) > 1:
        text += "\nThe model is told the class: classes may overlap"
    return subject.title(text)


def _nats(nats):
    return f"{nats:.2f} nats" if nats >= LEAST_KL else "dead"


def _pair_name(pair):
    first, second = pair["names"]
    if first == second:
        return f"{first}" if first else ""
    return " to ".join(shortened(name, 1.0) for name in (first, second))
