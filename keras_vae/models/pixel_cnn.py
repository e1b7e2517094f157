"""An autoregressive prior over grids of codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import portable_random
from keras_vae.layers.masked_convolution import MaskedConv2D
from keras_vae.models.code_prior import CodePrior
from keras_vae.networks.convolutional import convolution
from keras_vae.training.batched import padded
from keras_vae.type_aliases import Conditions, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class PixelCNN(CodePrior):
    """Gated PixelCNN: each code given those before it in raster order, and the conditions.

    `fit(codes)` or `fit({"codes": codes, "label": y})` minimises `-log p(codes | label)` in nats
    per example, summed over the grid and averaged over the batch. The loss is its own: there is
    no `y`. As prior of a `VQVAE` it is trained by `VQVAE.fit_prior`.

    Args:
        grid_shape: Tuple `(height, width)` of the codes.
        num_codes: Int, at least 2.
        condition: Optional dict from name to `Categorical` or `Continuous`.
        hidden_units: Int, channels.
        num_layers: Int, at least 1, of masked convolutions.
        kernel_size: Odd int, of the first layer; the further ones have 3.
        seed: Optional int, for the order of the batches.

    Call arguments:
        inputs: Codes, int `(batch, height, width)`; or a dict of `"codes"` and one tensor per
            condition, int `(batch,)` or float `(batch, dim)`.
        training: Bool. Whether labels become *unknown* at their `unknown_rate`.

    Returns:
        Logits of each code's distribution, float32 `(batch, height, width, num_codes)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> prior = keras_vae.PixelCNN((2, 2), num_codes=8, hidden_units=8, num_layers=1)
    >>> prior.sample(count=3, seed=0).shape
    (3, 2, 2)

    See also:
        `MaskGIT`, which is drawn in fewer steps.

    References:
        - van den Oord et al., 2016, section 2. https://arxiv.org/abs/1606.05328
    """

    def __init__(
        self,
        grid_shape: Sequence[int],
        num_codes: int,
        condition: Mapping[str, Any] | None = None,
        hidden_units: int = 64,
        num_layers: int = 6,
        kernel_size: int = 5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, num_codes, condition, seed, **kwargs)
        if num_layers < 1:
            raise ValueError(f"`num_layers` must be at least 1. Received: {num_layers!r}")
        self.options = {
            "hidden_units": hidden_units,
            "num_layers": num_layers,
            "kernel_size": kernel_size,
        }
        self.embedding = keras.layers.Embedding(num_codes, hidden_units)
        self.blocks = [
            GatedBlock(hidden_units, 3 if index else kernel_size, index == 0, bool(self.condition))
            for index in range(num_layers)
        ]
        self.hidden = convolution(hidden_units, 1, activation="relu")
        self.logits = convolution(num_codes, 1, dtype=self.variable_dtype, name="logits")

    def build(self, input_shape: Any = None) -> None:
        """Create all weights."""
        if self.condition:
            self.conditioning.build()
        size = self.conditioning.size if self.condition else None
        condition = keras.KerasTensor((None, size)) if self.condition else None
        self._logits(keras.KerasTensor((None, *self.grid_shape), "int32"), condition)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        codes, conditions = self.named_inputs(inputs)
        return self._logits(codes, self.condition_vector(conditions, training))

    def _logits(self, codes, condition):
        above = left = self.embedding(codes)
        for block in self.blocks:
            above, left = block(above, left, condition)
        return self.logits(self.hidden(ops.relu(left)))

    def negative_log_likelihood(self, inputs: Any, outputs: Tensor) -> Tensor:
        codes, _ = self.named_inputs(inputs)
        logits = ops.cast(outputs, "float32")
        each = ops.sparse_categorical_crossentropy(codes, logits, from_logits=True)
        return ops.sum(each, axis=(1, 2))

    def draw(
        self,
        conditions: Conditions,
        seed: int,
        count: int,
        temperature: float,
        batch_size: int,
        guidance: float = 1.0,
    ) -> NDArray[np.int32]:
        """As `sample`, in raster order, all examples at once."""
        index, place = np.arange(count)[:, None], np.arange(math.prod(self.grid_shape))[None]
        high, low = portable_random.words(np.int64(seed), index, place)
        uniform = ((high * 65536.0 + low + 0.5) / 2**32).reshape(count, *self.grid_shape)
        parts = []
        for start in range(0, count, batch_size):
            rows = slice(start, start + batch_size)
            given = {name: values[rows] for name, values in conditions.items()}
            numbers, given = padded((uniform[rows], given), batch_size)
            parts.append(self._draw(numbers, given, temperature, guidance))
        return np.concatenate(parts)[:count]

    def _draw(self, uniform, conditions, temperature, guidance):
        codes = np.zeros(uniform.shape, "int32")
        none = [None] * len(codes)
        unknown = {}
        if guidance != 1:
            unknown = {name: kind.as_array(none, name) for name, kind in self.condition.items()}

        def logits_of(conditions, row, column):
            logits = self.predict_on_batch({"codes": codes, **conditions} if conditions else codes)
            return logits[:, row, column].astype("float64")

        for row, column in np.ndindex(self.grid_shape):
            logits = logits_of(conditions, row, column)
            if unknown:
                free = logits_of(unknown, row, column)
                logits = free + guidance * (logits - free)
            codes[:, row, column] = draw(logits, uniform[:, row, column], temperature)
        return codes

    def manifest(self) -> dict[str, Any]:
        """What a device must know: that it cannot draw from this prior."""
        return {"kind": "pixel_cnn"}


class GatedBlock(keras.layers.Layer):
    """A gated layer of both stacks: what is above, and what is above or to the left.

    The condition enters the first, and the second through it.

    Args:
        hidden_units: Int, channels.
        kernel_size: Odd int.
        is_first: Bool. The first layer sees the codes themselves, so neither its own row above
            nor its own place to the left, and has no residual connection.
        is_conditional: Bool. Whether there is a condition.
    """

    def __init__(self, hidden_units, kernel_size, is_first, is_conditional, **kwargs):
        super().__init__(**kwargs)
        self.is_first = is_first
        width = 2 * hidden_units
        self.above = MaskedConv2D(width, kernel_size, "vertical", sees_center=not is_first)
        self.left = MaskedConv2D(width, kernel_size, "horizontal", sees_center=not is_first)
        self.from_above = convolution(width, 1)
        self.from_condition = keras.layers.Dense(width, use_bias=False) if is_conditional else None
        self.out = convolution(hidden_units, 1)

    def call(self, above, left, condition=None):
        new_above = self.above(above)
        if condition is not None:
            new_above += self.from_condition(condition)[:, None, None, :]
        new_left = self.left(left) + self.from_above(new_above)
        new_left = self.out(_gate(new_left))
        return _gate(new_above), new_left if self.is_first else new_left + left


def _gate(h):
    signal, gate = ops.split(h, 2, axis=-1)
    return ops.tanh(signal) * ops.sigmoid(gate)


def draw(logits, uniform, temperature):
    """Draw from categorical distributions by inverting their cumulated probabilities.

    Args:
        logits: Float array `(n, categories)`.
        uniform: Float array `(n,)`, in (0, 1).
        temperature: Float, at least 0.

    Returns:
        Int array `(n,)`.
    """
    if temperature == 0:
        return logits.argmax(axis=1)
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    cumulated = np.cumsum(np.exp(scaled), axis=1)
    return np.sum(cumulated < uniform[:, None] * cumulated[:, -1:], axis=1)
