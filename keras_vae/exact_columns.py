"""The distribution of rows of a table, drawn with whole numbers: the same rows everywhere.

A probability that is a sum of floats depends on their order, and each runtime has its own: now and
then a draw falls on the other side of a border between two names. Here parameters are whole numbers
of `STEPS` parts, as a decoder of `networks.exact` gives them, and what follows from them is looked
up in tables, or is a single product, which every processor rounds alike, or exact. So is the sum
that a number is: of multiples of 1/65536, far below 2^24 of them.
"""

import functools
import math

import numpy as np
from keras import ops

from keras_vae.column_distributions import SCALES, Columns

# Of 1 in parameters; of 1 in what tables are looked up by; and of 1 in drawn numbers.
STEPS, COARSE_STEPS, NUMBER_STEPS = 256, 64, 65536
# Beyond it a raw scale, or a logit of a binary column, is as good as there.
_LARGEST = 16
# What all names together weigh at the most, a sum that float32 holds, and half of its bits.
_LARGEST_TOTAL, _WORD = 2**24, 2**12


class ExactColumns(Columns):
    """As `Columns`, of parameters that are whole numbers of 1/256, without counts.

    Draws are those of `Columns` of parameters in steps of 1/64: of a scale's and of a logit.
    """

    def from_noise(self, normal, uniform):
        """As of `Columns`, the same bits on every backend and in every file.

        Args:
            normal: Float tensor `(..., layout.num_normals)`, of N(0, 1).
            uniform: Float tensor `(..., layout.num_uniforms)`, odd multiples of 2^-24 below 1.
        """
        scale = ops.take(scales(), _coarse(self.raw_scale), axis=0)
        noise = ops.floor(scale * normal * float(NUMBER_STEPS)) / float(NUMBER_STEPS)
        binary = self.logits.shape[-1]
        borders = ops.take(probabilities(), _coarse(self.logits), axis=0)
        parts = [self.loc + noise, ops.cast(uniform[..., :binary] < borders, "float32")]
        start = binary
        for logits, names in zip(self.groups, self.layout.names, strict=True):
            parts.append(_drawn(logits, uniform[..., start : start + len(names)]))
            start += len(names)
        return self.layout.in_order(parts)


def _coarse(parameters):
    """Places in a table of `_LARGEST`: int32, of parameters."""
    steps = ops.floor(parameters * float(COARSE_STEPS) + 0.5)
    most = _LARGEST * COARSE_STEPS
    return ops.cast(ops.clip(steps, -most, most), "int32") + most


def _drawn(logits, uniform):
    """Names `(..., columns)` of logits `(..., columns, most names)` and of as many numbers."""
    table = weights(logits.shape[-1])
    below = ops.max(logits, axis=-1, keepdims=True) - logits
    gaps = ops.minimum(ops.floor(below * float(COARSE_STEPS) + 0.5), len(table) - 1.0)
    cumulated = ops.cumsum(ops.take(table, ops.cast(gaps, "int32"), axis=0), axis=-1)
    # The whole part of the total times a number, in halves: none of these reaches 2^31.
    total = ops.cast(cumulated[..., -1], "int32")
    number = ops.cast(uniform * float(_LARGEST_TOTAL), "int32")
    (high, low), (first, second) = ((x // _WORD, x % _WORD) for x in (total, number))
    wanted = high * first + (high * second + low * first + low * second // _WORD) // _WORD
    wanted = ops.cast(wanted, "float32")[..., None]
    return ops.sum(ops.cast(cumulated <= wanted, "float32"), axis=-1)


@functools.cache
def scales():
    """Scales of normal columns by raw scale: float32 array."""
    low, high = map(math.log, SCALES)
    return np.exp(low + (high - low) * probabilities().astype("float64")).astype("float32")


@functools.cache
def probabilities():
    """Sigmoids of logits from -16 to 16, in steps of 1/64: float32 array."""
    most = _LARGEST * COARSE_STEPS
    return (1 / (1 + np.exp(-np.arange(-most, most + 1) / COARSE_STEPS))).astype("float32")


@functools.cache
def weights(count, largest_total=_LARGEST_TOTAL, steps_per_nat=COARSE_STEPS):
    """What a name or a token weighs that is 0, 1, 2, ... steps below the likeliest one.

    Args:
        count: Int. How many there are to draw from.
        largest_total: Int. All of them together weigh at most this.
        steps_per_nat: Int.

    Returns:
        float32 array of whole numbers, of which the last is the first 0.
    """
    largest = 2 ** int(math.log2(largest_total / count))
    nats = np.arange(steps_per_nat * 20) / steps_per_nat
    table = np.round(largest * np.exp(-nats)).astype("float32")
    return table[: np.argmin(table) + 1]
