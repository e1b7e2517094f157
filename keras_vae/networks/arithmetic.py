"""The usual arithmetic of decoders of sequences, in floats; `networks.exact` has another."""

import keras
import numpy as np
from keras import ops


def look_up(table, index, axis=0):
    """Entries of a tensor at indices from 0 on. Exported files do without the care of `ops.take`
    for negative ones (`export.tracing`)."""
    return ops.take(table, index, axis=axis)


class Floats:
    """Layers, and what else in a decoder depends on how it computes.

    Args:
        num_tokens: Int.
    """

    is_exact = False

    def __init__(self, num_tokens):
        self.num_tokens = num_tokens

    def dense(self, units, reads="hidden", gives="hidden", signed=False, **options):
        """A dense layer.

        Args:
            units: Int.
            reads, gives: What its inputs and outputs are: names of `exact.BITS`.
            signed: Whether its inputs may be negative.
            **options: As of `keras.layers.Dense`.
        """
        return keras.layers.Dense(units, **options)

    def code(self, z):
        """Codes `(batch, latent)` as dense layers read them."""
        return z

    def reciprocals(self, counts):
        """float32 array: 1 over whole numbers, for `share`."""
        return (1.0 / np.asarray(counts)).astype("float32")

    def share(self, counts, reciprocals):
        """What part counts are of whole numbers, given by their `reciprocals`."""
        return counts * ops.convert_to_tensor(reciprocals)

    def nats(self, logits):
        """Logits in nats, of those that layers give."""
        return logits

    def begin_draws(self, uniform, temperature):
        """What `draw` takes: numbers `(batch, steps, voices, ...)`, and a setting for all draws.

        Args:
            uniform: Float tensor `(batch, steps, voices)`, in (0, 1).
            temperature: Float tensor `(1,)`, at least 0; 0 takes the likeliest token.
        """
        return uniform, temperature

    def draw(self, logits, numbers, setting):
        """As `draw`, of logits as layers give them and of the numbers of one token."""
        return draw(ops.cast(logits, "float32"), numbers, setting)


def draw(logits, uniform, temperature):
    """Draw tokens by the inverse of their cumulated probabilities.

    Args:
        logits: Float tensor `(batch, num_tokens)`.
        uniform: Float tensor `(batch,)`, in (0, 1).
        temperature: Float tensor `(1,)`, at least 0; 0 takes the likeliest token.

    Returns:
        Tuple of int32 tokens `(batch,)` and the distance of each number from the nearest border
        between two tokens, as a part of 1; where the temperature is 0, that of the two likeliest
        tokens' probabilities at temperature 1.
    """
    num_tokens = logits.shape[-1]
    is_greedy = temperature <= 0
    divisor = ops.where(is_greedy, ops.ones_like(temperature), temperature)
    shifted = logits - ops.max(logits, axis=-1, keepdims=True)
    weights = ops.exp(shifted / divisor)
    cumulated = ops.cumsum(weights, axis=-1)
    total = cumulated[:, -1:]
    wanted = uniform[:, None] * total
    drawn = ops.sum(ops.cast(cumulated < wanted, "int32"), axis=-1)
    near = ops.min(ops.abs(cumulated[:, :-1] - wanted) / total, axis=-1)
    best = ops.cast(ops.argmax(logits, axis=-1), "int32")
    is_best = ops.arange(num_tokens, dtype="int32") == best[:, None]
    others = ops.where(is_best, 0.0, weights)
    apart = (1.0 - ops.max(others, axis=-1)) / total[:, 0]
    token = ops.where(is_greedy, best, ops.minimum(drawn, num_tokens - 1))
    return ops.cast(token, "int32"), ops.where(is_greedy, apart, near)
