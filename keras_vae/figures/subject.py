"""A trained model, and what there is to draw it by."""

import dataclasses
import functools
import itertools

import numpy as np

from keras_vae import data
from keras_vae.evaluation.report import first_of
from keras_vae.evaluation.tables import compare, draw_rows, matrix
from keras_vae.figures import images as draw
from keras_vae.figures import walks
from keras_vae.models.capabilities import (
    Bounds,
    DiscreteCodes,
    Encodes,
    Samples,
    lack,
)
from keras_vae.training.batched import rows_of

MOST_CLASSES = 20
MOST_POINTS = 5000
PIECES = 4


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

    # What a test example is called.
    test_examples = "test images"

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
        return list(conditions["label"].leaf_names) if "label" in conditions else []

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

    def inputs(self, rows):
        """Test images as the model takes them: floats, with their conditions if it needs them."""
        inputs = self.test.inputs("test", tuple(self.model.condition), np.asarray(rows))
        if not isinstance(inputs, dict):
            return data.as_float(inputs)
        return {**inputs, "x": data.as_float(inputs["x"])}

    def test_inputs(self, count):
        """The first test examples, at most so many, as the model takes them."""
        return self.inputs(np.arange(min(count, len(self.test.x_test))))

    def codes(self, rows):
        """The posterior means of test images, or an autoencoder's codes, `(n, latent)`."""
        return self.encodes.encode_means(self.model.as_observed(self.inputs(rows), seed=0))

    def given(self, labels, rows=None):
        """Conditions to sample or decode under, with these labels.

        Args:
            labels: Ints `(n,)`.
            rows: Optional ints `(n,)`, the test images that have all else. Default: numbers are the
                middle of their range, other classes *unknown*.

        Returns:
            Dict of arrays `(n, ...)`.
        """
        model = self.model
        kinds = model.sample_conditions if isinstance(model, Samples) else model.condition
        found = {}
        for name, kind in kinds.items():
            if name == "label":
                found[name] = np.asarray(labels, "int32")
            elif rows is not None:
                found[name] = self.test.values(name, "test")[np.asarray(rows)]
            else:
                one = kind.middle() if kind.kind == "continuous" else kind.unknown
                one = np.broadcast_to(one, kind.value_shape)
                found[name] = kind.as_array(np.repeat(one[None], len(labels), axis=0), name)
        return found

    def vectors(self, labels, rows=None):
        """What a conditional model's networks see of `given`; None for other models."""
        return self.model.condition_vectors(self.given(labels, rows))

    @functools.cached_property
    def points(self):
        """Codes of up to 5,000 test images, and their labels."""
        _ = self.encodes, self.test
        rows = np.random.default_rng(0).permutation(len(self.test.x_test))[:MOST_POINTS]
        rows = np.sort(rows)
        return self.codes(rows), self.test.y_test[rows]

    @functools.cached_property
    def kl(self):
        """The KL of each latent dimension on these images, or None."""
        if not isinstance(self.model, Bounds):
            return None
        inputs = self.model.as_observed(self.test_inputs(MOST_POINTS), seed=0)
        kl = self.model.kl_by_dimension(inputs)
        return None if kl is None else kl.mean(axis=0, dtype="float64")

    def quantiles(self, probabilities, label=0):
        """Quantiles of each latent dimension, `(n, latent)`: the prior's, or those of the codes."""
        if self.model.prior is None:
            return np.quantile(self.points[0], probabilities, axis=0)
        given = {name: values[0] for name, values in self.given([label]).items()}
        return walks.prior_quantiles(self.model, probabilities, given)

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
        rows = np.ravel(pairs)
        x, labels = self.examples(rows)
        z, vectors = self.codes(rows), self.vectors(labels, rows)
        return _as_pairs(z, labels, vectors, self.test.class_names, x)

    def _pairs_of_draws(self):
        model, kind = self.model, None
        z = model.prior.sample(12, model.latent_dim, seed=0)
        if not model.condition:
            return _as_pairs(z, np.zeros(12, int), None, ("",))
        kind = self.label
        # Within a class the code moves, between two the class.
        first = np.arange(3) % kind.num_leaves
        second = np.arange(3, 6) % kind.num_leaves, np.arange(6, 9) % kind.num_leaves
        labels = np.concatenate([np.repeat(first, 2), np.ravel(second, order="F")])
        z[7::2] = z[6::2]
        count = 12 if kind.num_leaves > 1 else 6
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


class MusicSubject(Subject):
    """A trained model of pieces of music, and what there is to draw it by.

    Args:
        model: `SequenceVAE` whose schema is `data.Notes`.
        dataset: `data.Sequences`, or None where the data are gone.
        history, data_name, shown_class: As for `Subject`.
    """

    class_names = ()

    @property
    def shown_label(self):
        raise ValueError(f"Pieces of music have no class to show. Received: {self.shown_class}.")

    def test_inputs(self, count):
        return first_of(self.test.test, count)

    @functools.cached_property
    def pieces_as_inputs(self):
        """Some test windows."""
        return rows_of(self.test.test, self.test.rows_to_show(PIECES))

    @property
    def pieces(self):
        """The same as tokens, and their conditions by name."""
        return self.model.named_inputs(self.pieces_as_inputs)

    def together(self, tokens, conditions):
        """All voices of pieces, the given ones above the others."""
        return self.model.schema.together(tokens, conditions)


class TableSubject(Subject):
    """A trained model of a table, and what there is to draw it by.

    Args:
        model: Model with a `data.TableSchema`.
        dataset: `data.Table`, or None where the data are gone.
        history, data_name, shown_class: As for `Subject`.
    """

    test_examples = "test rows"

    @property
    def shown_label(self):
        raise ValueError(f"Rows of a table have no class to show. Received: {self.shown_class}.")

    @property
    def by_label(self):
        """The name of the first condition that is a label, or None."""
        labels = [name for name, kind in self.model.condition.items() if hasattr(kind, "names")]
        return next(iter(labels), None)

    @property
    def class_names(self):
        name = self.by_label
        return [*self.model.condition[name].names, "unknown"] if name else [""]

    def test_inputs(self, count):
        return first_of(self.test.test, count)

    @functools.cached_property
    def points(self):
        """Codes of up to 5,000 test rows, and the first condition that is a label."""
        inputs = self.test_inputs(MOST_POINTS)
        z = self.encodes.encode_means(inputs)
        name = self.by_label
        return z, inputs[name] if name else np.zeros(len(z), int)

    @functools.cached_property
    def rows(self):
        """Drawn rows, and the test rows whose conditions they have."""
        inputs = self.test.test
        return [matrix(self.model.schema, part) for part in (draw_rows(self.model, inputs), inputs)]

    @functools.cached_property
    def compared(self):
        """How far they are apart."""
        return compare(self.model.schema, *self.rows)


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
