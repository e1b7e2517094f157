"""Everything that can be drawn of a trained model: what `python -m keras_vae figures RUN` makes.

`PICTURES` names the functions, in the order in which they are drawn. Each takes a `Subject` and
returns a matplotlib figure, the bytes of an animated GIF, or a dict of figures by their names; or
raises `LeftOut` with the reason why this model or these data have no such picture.
"""

import math

import numpy as np

from keras_vae import data
from keras_vae.doctor.thresholds import LEAST_KL
from keras_vae.evaluation.nearest import nearest_images
from keras_vae.evaluation.tables import associations as pairs
from keras_vae.figures import images as draw
from keras_vae.figures import plots, tables, walks
from keras_vae.figures.piano_rolls import piano_rolls as draw_rolls
from keras_vae.figures.style import shortened
from keras_vae.figures.subject import MOST_CLASSES, MOST_POINTS, LeftOut
from keras_vae.figures.subject import MusicSubject as MusicSubject
from keras_vae.figures.subject import Subject as Subject
from keras_vae.figures.subject import TableSubject as TableSubject
from keras_vae.models.capabilities import Bounds, DiscreteCodes, Encodes, article, lack

ROWS = COLUMNS = 10
PAIRS = 3
STEPS = 11
SWEPT, SWEEP = 6, 9
ROLLS = 4
QUANTILES = 9
FRAMES = 16
# t-SNE takes half a minute for as many; of the others, more hide each other.
MOST_PROJECTED = 1000
# The middle of the prior: beyond it a decoder has seen next to nothing.
TAIL = 0.02


# The pictures


def learning_curves(subject):
    """The loss and its terms over the epochs."""
    if not subject.history:
        raise LeftOut("the run has no history.csv")
    return plots.learning_curves(subject.history, subject.title("Learning curves"))


def piano_rolls(subject):
    """Test pieces, their reconstructions, and samples under their conditions."""
    model, (x, conditions) = subject.model, subject.pieces
    rows = {
        "test pieces": x,
        "reconstructed": model.reconstruct(subject.pieces_as_inputs),
        "sampled, seed 0": model.sample(conditions or None, seed=0, count=len(x)),
    }
    rows = {name: subject.together(tokens, conditions) for name, tokens in rows.items()}
    title = subject.title("Test pieces, reconstructions and samples")
    return draw_rolls(rows, model.schema, title)


def piano_rolls_between(subject):
    """From the code of one test piece to that of another, under the conditions of the first."""
    model, (x, conditions) = subject.model, subject.pieces
    ends = model.encode_means(subject.pieces_as_inputs)
    z = walks.between(ends[:1], ends[-1:], ROLLS)[0]
    first = {name: np.repeat(values[:1], ROLLS, axis=0) for name, values in conditions.items()}
    rows = {
        "test pieces": subject.together(x, conditions)[[0, -1]],
        "from code to code": subject.together(model.decode(z, first), first),
    }
    under = " under the melody of the first" if model.schema.given else ""
    title = subject.title(f"Between two test pieces{under}")
    return draw_rolls(rows, model.schema, title)


def columns(subject):
    """Each column of drawn rows against test rows."""
    found = subject.compared
    title = subject.title("Test rows and drawn ones: each column, and the distance of both")
    return tables.columns(subject.model.schema, *subject.rows, found["column_distances"], title)


def associations(subject):
    """What every two columns of drawn rows and of test rows tell of each other."""
    schema, (drawn, real) = subject.model.schema, subject.rows
    if len(schema.columns) < 2:
        raise LeftOut("the table has one column")
    found = [pairs(schema, rows) for rows in (real, drawn)]
    far = subject.compared["association_distance"]
    title = subject.title(f"What columns tell of each other: mean difference {far:.3f}")
    return tables.associations(list(schema.columns), *found, title)


def reconstructions(subject):
    """One test image of each class over its reconstruction."""
    model = subject.makes
    if not isinstance(model, Encodes):
        raise LeftOut(lack(model, Encodes))
    rows = subject.by_class[:16]
    x, _ = subject.examples(rows)
    made = model.reconstruct(subject.inputs(rows))
    title = subject.title("Test images and their reconstructions")
    return draw.reconstructions(x, made, title, subject.data_range)


def samples(subject):
    """Draws from the prior, of classes at random."""
    model = subject.samples
    count = ROWS * COLUMNS
    try:
        labels = np.random.default_rng(0).integers(subject.label.num_leaves, size=count)
    except LeftOut:
        labels = np.zeros(count, int)
    images = model.sample(subject.given(labels) or count, seed=0)
    title = subject.title("Samples of the prior, seed 0")
    return draw.labelled_grid(images, [""] * ROWS, title, subject.data_range)


def samples_by_class(subject):
    """Draws from the prior, one row a class."""
    model, names = subject.samples, subject.label.leaf_names[:MOST_CLASSES]
    labels = np.repeat(np.arange(len(names), dtype="int32"), 12)
    images = model.sample(subject.given(labels), seed=0)
    title = subject.title(f"Samples of {_the_classes(subject.label)}, seed 0")
    return draw.labelled_grid(images, names, title, subject.data_range)


def sweeps(subject):
    """Draws from the prior, one number of whose conditions goes through its range.

    Returns:
        Dict from `sweep_NAME` to a figure; every row is of one code, and of a class if there are
        classes.
    """
    model, found = subject.samples, {}
    for name, kind in model.sample_conditions.items():
        if kind.kind != "continuous" or kind.dim > 1 or kind.low is None:
            continue
        numbers = np.linspace(kind.low[0], kind.high[0], SWEEP)
        names = [f"draw {row + 1}" for row in range(SWEPT)]
        if "label" in model.sample_conditions:
            names = list(subject.label.leaf_names[:MOST_CLASSES])
        given = subject.given(np.arange(len(names)))
        columns = [
            model.sample({**given, name: np.full((len(names), 1), number)}, seed=0)
            for number in numbers
        ]
        images = np.stack(columns, axis=1)
        unit = f", {kind.unit}" if kind.unit else ""
        digits = 2 - math.floor(math.log10(numbers[-1] - numbers[0]))
        found[f"sweep_{name}"] = draw.labelled_grid(
            images.reshape(-1, *images.shape[2:]),
            names,
            subject.title(f"Samples by {name}{unit}, seed 0"),
            subject.data_range,
            [f"{round(number, digits) + 0:g}" for number in numbers],
        )
    if not found:
        raise LeftOut("the model has no condition that is a number with a range")
    return found


def nearest_training_images(subject):
    """Draws from the prior, of the classes in turn, each above the training image nearest to it."""
    model, among = subject.samples, subject.test.x_train
    count = PAIRS * COLUMNS
    labels = np.zeros(count, int)
    if "label" in model.sample_conditions:
        labels = np.arange(count) % len(model.sample_conditions["label"].leaf_names)
    made = model.sample(subject.given(labels) or count, seed=0)
    index, _ = nearest_images(made, among)
    real = data.as_float(among[index])
    images = np.stack([part.reshape(PAIRS, COLUMNS, *made.shape[1:]) for part in (made, real)], 1)
    title = subject.title("Samples, and the training image nearest to each")
    names = ["sample", "nearest"] * PAIRS
    return draw.labelled_grid(images.reshape(-1, *made.shape[1:]), names, title, subject.data_range)


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
    classes = np.arange(min(kind.num_leaves, MOST_CLASSES))
    if isinstance(model, Encodes):
        rows = subject.by_class[:ROWS]
        x, y = subject.examples(rows)
        z, first = subject.codes(rows), x[:, None]
        names = [subject.test.class_names[c] for c in y]
    else:
        z, first, rows = model.prior.sample(ROWS, model.latent_dim, seed=0), None, None
        names = [f"code {index + 1}" for index in range(ROWS)]
    repeated = np.repeat(z, len(classes), axis=0)
    rows = None if rows is None else np.repeat(rows, len(classes))
    images = model.decode(repeated, subject.given(np.tile(classes, len(z)), rows))
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
        start, shown = subject.codes(rows[:1])[0], rows[0]
        what = f"The code of a test image of class {name}"
    else:
        label = subject.shown_label if model.condition else 0
        start, shown = model.prior.sample(1, model.latent_dim, seed=0)[0], None
        what = "A draw of the prior"
        if model.condition:
            what += f" as class {subject.class_names[label]}"
    codes = walks.traversals(start, subject.quantiles(probabilities, label))
    latent = len(codes)
    shown = None if shown is None else np.full(latent * QUANTILES, shown)
    labels = np.full(latent * QUANTILES, label)
    vectors = subject.vectors(labels, shown) if model.condition else None
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
    kinds = range(min(subject.label.num_leaves, ROWS)) if model.condition else (None,)
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
    return plots.latent_scatter(z, y, subject.class_names, title)


def latent_projections(subject):
    """Codes of test images of more dimensions, by PCA and t-SNE."""
    if subject.encodes.latent_dim <= 2:
        raise LeftOut(f"the latent has only {_dimensions(subject.model)}; see latent")
    z, y = (array[:MOST_PROJECTED] for array in subject.points)
    title = _title_of_codes(subject, len(z))
    try:
        return plots.projections(z, y, subject.class_names, title)
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
    "sweeps": sweeps,
    "nearest_training_images": nearest_training_images,
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
# Those of pieces of music, each of a `MusicSubject`.
PIECES = {
    "learning_curves": learning_curves,
    "piano_rolls": piano_rolls,
    "piano_rolls_between": piano_rolls_between,
    "kl_by_dimension": kl_by_dimension,
}
# Those of rows of a table, each of a `TableSubject`.
ROWS_OF_TABLES = {
    "learning_curves": learning_curves,
    "columns": columns,
    "associations": associations,
    "latent": latent,
    "latent_projections": latent_projections,
    "kl_by_dimension": kl_by_dimension,
}


def _dimensions(model):
    return f"{model.latent_dim} dimension{'s' * (model.latent_dim != 1)}"


def _the_classes(kind):
    if kind.num_leaves <= MOST_CLASSES:
        return "every class"
    return f"the first {MOST_CLASSES} of {kind.num_leaves} classes"


def _title_of_codes(subject, count):
    text = f"Codes of {count:,} {subject.test_examples}"
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
