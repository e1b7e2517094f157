"""A residual block of two convolutions."""

from __future__ import annotations

from typing import Any

import keras

from keras_vae import arguments
from keras_vae.type_aliases import Shape, Tensor

_GAIN = 0.1


@keras.saving.register_keras_serializable("keras_vae")
class ResidualBlock(keras.layers.Layer):
    """Two convolutions beside the identity: `activation(h + f(h))`, of the same shape as `h`.

    `f` is a convolution, batch normalisation, LeakyReLU, a convolution and batch normalisation,
    whose gain is 0.1 at first: a new block is nearly the identity but for the activation, so that
    more of them do not make a network harder to begin with. The paper of the second reference
    begins with 0.

    Args:
        filters: Int, the channels of input and output.
        kernel_size: Int.
        batch_normalization: Bool. Without it the convolutions have a bias instead, and the second
            one's kernel is a tenth of the usual at first.
        negative_slope: Float, of LeakyReLU.

    Call arguments:
        inputs: Float tensor `(batch, height, width, filters)`.
        training: Bool, for batch normalisation.

    Returns:
        Tensor of the same shape, in the layer's compute dtype.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> block = keras_vae.layers.ResidualBlock(filters=4)
    >>> tuple(block(np.zeros((2, 8, 8, 4), "float32")).shape)
    (2, 8, 8, 4)

    See also:
        `networks.ConvEncoder`, which has them by `residual_blocks`.

    References:
        - He et al., 2016, figure 2. https://arxiv.org/abs/1512.03385
        - Goyal et al., 2017, section 5.1, for a small gain. https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        batch_normalization: bool = True,
        negative_slope: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = {
            "filters": arguments.whole(filters, "filters"),
            "kernel_size": arguments.whole(kernel_size, "kernel_size"),
            "batch_normalization": batch_normalization,
            "negative_slope": arguments.not_negative(negative_slope, "negative_slope"),
        }
        small = keras.initializers.VarianceScaling(_GAIN**2, "fan_avg", "uniform")
        last = {} if batch_normalization else {"kernel_initializer": small}
        self.convolutions = [
            keras.layers.Conv2D(
                filters,
                kernel_size,
                padding="same",
                use_bias=not batch_normalization,
                data_format="channels_last",
                dtype=self.dtype_policy,
                **options,
            )
            for options in ({}, last)
        ]
        self.normalizations = [
            keras.layers.BatchNormalization(
                momentum=0.9, gamma_initializer=gain, dtype=self.dtype_policy
            )
            for gain in (
                ("ones", keras.initializers.Constant(_GAIN)) if batch_normalization else ()
            )
        ]
        self.activation = keras.layers.LeakyReLU(negative_slope, dtype=self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        for layer in (*self.convolutions, *self.normalizations):
            layer.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        first, last = self.convolutions
        h = self.activation(self._normalized(0, first(inputs), training))
        return self.activation(inputs + self._normalized(1, last(h), training))

    def _normalized(self, index, h, training):
        return self.normalizations[index](h, training=training) if self.normalizations else h

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}
