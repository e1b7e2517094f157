"""Images moved at random in training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_vae import arguments, replica, seeds
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class RandomShift(keras.layers.Layer):
    """Move every image by whole pixels in training, each by its own draw; zeros come in.

    It is two products with matrices of zeros and ones, and so has a gradient, and compiles
    everywhere.

    Args:
        shift: Float in [0, 1). How far an image moves at most, as a part of its height and width:
            by each number of pixels up to that, in each direction, alike.
        seed: Optional int.

    Call arguments:
        inputs: Float `(batch, height, width, channels)`.
        training: Bool. Otherwise images stay where they are.

    Returns:
        Tensor of the same shape and dtype.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> layer = keras_vae.layers.RandomShift(shift=0.1, seed=0)
    >>> tuple(layer(np.zeros((2, 28, 28, 1), "float32"), training=True).shape)
    (2, 28, 28, 1)

    See also:
        `networks.ConvClassifier`, which has one.
    """

    def __init__(self, shift: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shift = arguments.part_of_one(shift, "shift")
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "shift")

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training:
            return inputs
        by_row, by_column = (self._moves(inputs, size) for size in inputs.shape[1:3])
        moved = ops.einsum("bij,bjwc->biwc", by_row, inputs)
        return ops.einsum("bij,bhjc->bhic", by_column, moved)

    def _moves(self, inputs, size):
        """Matrices `(batch, size, size)` that move along one axis."""
        most = int(self.shift * size)
        shape = (ops.shape(inputs)[0], 1, 1)
        uniform = replica.current().draw(keras.random.uniform, shape, seed=self.seed_generator)
        offset = ops.floor(uniform * (2 * most + 1)) - most
        place = ops.arange(size, dtype="float32")
        return ops.cast(place[None, None, :] == place[None, :, None] + offset, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shift": self.shift, "seed": self.seed}
