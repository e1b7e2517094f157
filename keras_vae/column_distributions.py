"""The distribution of rows of a table: a product over its columns, each with one of its own.

| block | a value | parameters |
|---|---|---|
| `("normal",)` | any number | mean, scale |
| `("bernoulli",)` | 0 or 1 | logit |
| `("negative_binomial", most)` | 0, 1, 2, ... | logarithms of mean and shape |
| `("categorical", n)` | 0 to n - 1 | n logits |

A missing value, NaN, has no part in a log-probability.
"""

import functools
import math

import keras
import numpy as np
from keras import ops

from keras_vae import arguments
from keras_vae.distributions import Distribution, log_normal

# Of a normal's scale. Where a column repeats a value, density grows without end as the scale
# falls, and a model would learn this column at the cost of all others.
SCALES = (0.05, 5.0)
# Logarithms of a count's mean and shape lie within these of 0.
LOG_MEAN, LOG_SHAPE = 7.0, 5.0
KINDS = ("normal", "bernoulli", "negative_binomial", "categorical")


class ColumnLayout:
    """Where the parameters of each column are, and which columns are computed together.

    The parameters of all normal columns come first, their means and then their scales; then the
    logits of the binary ones; the means and the shapes of counts; and the logits of categories, in
    groups of about one number of names: those of a group are padded to the most names that it has.

    Args:
        blocks: Sequence of one block a column, as above.

    Raises:
        ValueError: If a block is none of these.
    """

    def __init__(self, blocks):
        self.blocks = tuple(_block(block) for block in blocks)
        if not self.blocks:
            raise ValueError("`blocks` must have one entry a column, at least one. Received: none.")
        self.columns = {kind: self._of(kind) for kind in KINDS[:3]}
        groups = {}
        for column in self._of("categorical"):
            groups.setdefault(_group(self.blocks[column][1]), []).append(column)
        self.groups = [np.array(group) for _, group in sorted(groups.items())]
        self.names = [np.array([self.blocks[c][1] for c in group]) for group in self.groups]
        # Of the values of all groups one after the other, where each column is.
        together = np.concatenate([*self.columns.values(), *self.groups]).astype("int32")
        self.place = np.argsort(together).astype("int32")
        self.most = np.array([self.blocks[c][1] for c in self.columns["negative_binomial"]])
        self.sizes = [
            *(2 * len(self.columns["normal"]), len(self.columns["bernoulli"])),
            2 * len(self.columns["negative_binomial"]),
            *(len(names) * int(names.max()) for names in self.names),
        ]

    @property
    def size(self):
        """How many parameters a row has."""
        return sum(self.sizes)

    @property
    def num_normals(self):
        """How many draws of N(0, 1) a row takes."""
        return len(self.columns["normal"])

    @property
    def num_uniforms(self):
        """How many draws from (0, 1) a row takes."""
        return len(self.blocks) - self.num_normals

    def split(self, parameters):
        """Parameters `(..., size)`, group by group."""
        ends = np.cumsum(self.sizes)
        return [parameters[..., end - size : end] for size, end in zip(self.sizes, ends)]  # noqa: B905

    def take(self, values, columns):
        """Some columns `(..., k)` of values `(..., columns)`."""
        return ops.take(values, np.asarray(columns, "int32"), axis=-1)

    def in_order(self, parts):
        """Values group by group, back in the order of the columns."""
        parts = [part for part in parts if part.shape[-1]]
        return ops.take(ops.concatenate(parts, axis=-1), self.place, axis=-1)

    def _of(self, kind):
        return np.array([n for n, block in enumerate(self.blocks) if block[0] == kind], "int32")


@functools.cache
def layout(blocks):
    """The `ColumnLayout` of a tuple of blocks."""
    return ColumnLayout(blocks)


class Columns(Distribution):
    """Rows of a table, each column of a distribution of its own.

    Args:
        layout: `ColumnLayout`.
        parameters: Float tensor `(..., layout.size)`.
    """

    def __init__(self, layout, parameters):
        self.layout = layout
        parameters = ops.cast(parameters, "float32")
        normal, self.logits, counts, *groups = layout.split(parameters)
        self.loc, self.raw_scale = _halves(normal)
        low, high = map(math.log, SCALES)
        self.log_scale = low + (high - low) * ops.sigmoid(self.raw_scale)
        log_mean, log_shape = _halves(counts)
        self.log_mean = LOG_MEAN * ops.tanh(log_mean / LOG_MEAN)
        self.log_shape = LOG_SHAPE * ops.tanh(log_shape / LOG_SHAPE)
        self.groups = [
            self._by_column(logits, names)
            for logits, names in zip(groups, layout.names, strict=True)
        ]

    def log_prob_by_value(self, x):
        """Log-probability or log density of each value, nats `(..., columns)`; 0 of a missing one.

        Args:
            x: Float tensor `(..., columns)`, NaN where a value is missing.
        """
        # Not `isnan`, which TFLite lacks: no comparison holds of NaN.
        observed = ops.abs(x) < 1e30
        # Both branches of a `where` must be finite, or the gradient is NaN.
        x = ops.where(observed, x, 0.0)
        at = {kind: self.layout.take(x, c) for kind, c in self.layout.columns.items() if len(c)}
        parts = []
        if "normal" in at:
            parts.append(log_normal(at["normal"], self.loc, 2 * self.log_scale))
        if "bernoulli" in at:
            parts.append(self.logits * at["bernoulli"] - ops.softplus(self.logits))
        if "negative_binomial" in at:
            parts.append(
                log_negative_binomial(at["negative_binomial"], self.log_mean, self.log_shape)
            )
        for columns, logits in zip(self.layout.groups, self.groups, strict=True):
            value = self.layout.take(x, columns)[..., None]
            names = ops.arange(logits.shape[-1], dtype="float32")
            chosen = ops.sum(ops.where(ops.round(value) == names, logits, 0.0), axis=-1)
            parts.append(chosen - _log_sum_exp(logits))
        return ops.where(observed, self.layout.in_order(parts), 0.0)

    def mean(self):
        """What is expected of each column `(..., columns)`; of a category the likeliest name.

        Of a binary column it is the probability of 1.
        """
        parts = [self.loc, ops.sigmoid(self.logits), ops.exp(self.log_mean)]
        parts += [ops.cast(ops.argmax(logits, axis=-1), "float32") for logits in self.groups]
        return self.layout.in_order(parts)

    def mean_of_draws(self, weights):
        """As `mean`, of a mixture: the rows are several draws, one batch after the other.

        Args:
            weights: Float tensor `(draws, batch)`, of which those of an example add up to 1.

        Returns:
            float32 tensor `(batch, columns)`.
        """
        draws, batch = ops.shape(weights)

        def mixed(values):
            values = ops.reshape(values, (draws, batch, *ops.shape(values)[1:]))
            extended = ops.reshape(weights, (draws, batch, *[1] * (len(values.shape) - 2)))
            return ops.sum(extended * values, axis=0)

        parts = [mixed(p) for p in (self.loc, ops.sigmoid(self.logits), ops.exp(self.log_mean))]
        for logits in self.groups:
            likeliest = ops.argmax(mixed(ops.softmax(logits, axis=-1)), axis=-1)
            parts.append(ops.cast(likeliest, "float32"))
        return self.layout.in_order(parts)

    def sample(self, seed, shape=()):
        generator = seed
        if not isinstance(seed, keras.random.SeedGenerator):
            generator = keras.random.SeedGenerator(seed)
        rows = tuple(ops.shape(self.loc)[:-1])
        normal = keras.random.normal((*shape, *rows, self.layout.num_normals), seed=generator)
        uniform = keras.random.uniform((*shape, *rows, self.layout.num_uniforms), seed=generator)
        return self.from_noise(normal, uniform)

    def from_noise(self, normal, uniform):
        """Draws, of noise: the same on every backend, but where a draw falls on a border.

        Args:
            normal: Float tensor `(..., layout.num_normals)`, of N(0, 1).
            uniform: Float tensor `(..., layout.num_uniforms)`, from (0, 1): a value is the first
                whose cumulative probability exceeds it.

        Returns:
            float32 tensor `(..., columns)`. A count beyond `most` is `most`.
        """
        counts, binary = len(self.layout.most), self.logits.shape[-1]
        parts = [self.loc + ops.exp(self.log_scale) * normal]
        parts.append(ops.cast(uniform[..., :binary] < ops.sigmoid(self.logits), "float32"))
        if counts:
            values = ops.arange(int(self.layout.most.max()) + 1, dtype="float32")
            log_mean, log_shape = self.log_mean[..., None], self.log_shape[..., None]
            log_prob = log_negative_binomial(values, log_mean, log_shape)
            drawn = _first_beyond(ops.exp(log_prob), uniform[..., binary : binary + counts])
            parts.append(ops.minimum(drawn, self.layout.most.astype("float32")))
        start = binary + counts
        for logits, names in zip(self.groups, self.layout.names, strict=True):
            probabilities = ops.exp(logits - _log_sum_exp(logits)[..., None])
            drawn = _first_beyond(probabilities, uniform[..., start : start + len(names)])
            # Rounding may leave a little beyond the last name.
            parts.append(ops.minimum(drawn, names.astype("float32") - 1))
            start += len(names)
        return self.layout.in_order(parts)

    def _by_column(self, logits, names):
        """Logits `(..., columns, most names)`, of what is no name far below all others."""
        most = int(names.max())
        logits = ops.reshape(logits, (*ops.shape(logits)[:-1], len(names), most))
        beyond = np.arange(most) >= names[:, None]
        return ops.where(beyond, -1e9, logits) if beyond.any() else logits


def log_negative_binomial(x, log_mean, log_shape):
    """Log-probability of counts under a mean and a shape, the number of failures, each by itself.

    `lgamma(x + r) - lgamma(r) - lgamma(x + 1) + r log(r / (r + m)) + x log(m / (r + m))`, by
    Stirling's series, arranged so that large terms do not cancel.

    Args:
        x: Float tensor, whole numbers of at least 0.
        log_mean, log_shape: Float tensors that broadcast with it.
    """
    mean, shape = ops.exp(log_mean), ops.exp(log_shape)
    both = x + shape
    share = both / (shape + mean)
    by_value = x * ops.log(share * (mean / (x + 1))) + shape * ops.log(share)
    by_root = (log_shape - ops.log(both) - ops.log(x + 1) - math.log(math.tau)) / 2 + 1
    return by_value + by_root + _binet(both) - _binet(shape) - _binet(x + 1)


def _binet(x):
    """`lgamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2)`, above 0: within 1e-6 from e^-5 on."""
    total = 0.0
    for n in range(4):
        total = total + (x + n + 0.5) * (ops.log(x + n + 1) - ops.log(x + n)) - 1
    inverse = 1 / (x + 4)
    return total + inverse * (1 / 12 - inverse * inverse * (1 / 360 - inverse * inverse / 1260))


def _first_beyond(probabilities, uniform):
    """The first index along the last axis at which the sum of probabilities exceeds a number."""
    sums = ops.cumsum(probabilities, axis=-1)
    return ops.sum(ops.cast(sums <= uniform[..., None], "float32"), axis=-1)


def _log_sum_exp(logits):
    # Not `logsumexp`, which looks for infinities by an operator that TFLite lacks.
    largest = ops.max(logits, axis=-1, keepdims=True)
    return ops.log(ops.sum(ops.exp(logits - largest), axis=-1)) + largest[..., 0]


def _halves(tensor):
    half = tensor.shape[-1] // 2
    return tensor[..., :half], tensor[..., half:]


def _group(names):
    """The most names of those that are padded alike: the next multiple of 8, from 64 on of 64."""
    step = 8 if names <= 64 else 64
    return -(-names // step) * step


def _block(block):
    kind, *number = (block,) if isinstance(block, str) else tuple(block)
    needed = {"negative_binomial": 1, "categorical": 2}
    if kind not in KINDS or len(number) != (kind in needed):
        raise ValueError(
            "`blocks` must be ('normal',), ('bernoulli',), ('negative_binomial', most) or "
            f"('categorical', names), one a column. Received: {block!r}"
        )
    return (kind, *(arguments.whole(n, kind, needed[kind]) for n in number))
