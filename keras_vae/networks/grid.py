"""Convolutional encoder and decoder between an image and a grid of vectors, to be quantized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae import arguments
from keras_vae.networks.convolutional import (
    ConvDecoder,
    apply_stage,
    convolution,
    finish_stage,
    stage_options,
)
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class ConvGridEncoder(StoredModel):
    """Strided convolutions from an image to a grid of vectors.

    Each stage is a convolution of stride 2, batch normalisation and LeakyReLU, and halves the
    image, rounding up; a last convolution makes the vectors. Two stages turn 28×28 into 7×7.

    Args:
        latent_dim: Int, length of the vectors.
        hidden_units: Tuple of ints, the channels of each stage.
        kernel_size: Int.
        batch_normalization: Bool. Without it the convolutions have a bias instead.
        negative_slope: Float, of LeakyReLU.

    Call arguments:
        x: Float tensor `(batch, height, width, channels)`.
        training: Bool, for batch normalisation.

    Returns:
        float32 tensor `(batch, grid height, grid width, latent_dim)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.ConvGridEncoder(latent_dim=6, hidden_units=(4, 8))
    >>> tuple(encoder(np.zeros((2, 8, 8, 1), "float32")).shape)
    (2, 2, 2, 6)

    See also:
        `ConvGridDecoder`; `VQVAE`.

    References:
        - van den Oord et al., 2017, section 4.1, without its residual blocks.
          https://arxiv.org/abs/1711.00937
    """

    def __init__(
        self,
        latent_dim: int,
        hidden_units: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        batch_normalization: bool = True,
        negative_slope: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.latent_dim = arguments.whole(latent_dim, "latent_dim")
        self.options = stage_options(hidden_units, kernel_size, batch_normalization, negative_slope)
        self.stages = [
            [
                convolution(width, kernel_size, strides=2, use_bias=not batch_normalization),
                *finish_stage(batch_normalization, negative_slope),
            ]
            for width in hidden_units
        ]
        self.vectors = convolution(
            latent_dim, kernel_size, dtype=self.variable_dtype, name="vectors"
        )

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        for stage in self.stages:
            x = apply_stage(stage, x, training)
        return self.vectors(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent_dim": self.latent_dim, **self.options}


@keras.saving.register_keras_serializable("keras_vae")
class ConvGridDecoder(ConvDecoder):
    """From a grid of vectors to the likelihood's parameters of an image.

    As `ConvDecoder`, with a convolution in the place of its dense layer. As many stages as the
    encoder has lead back to the size of its image, odd ones too.

    Args:
        output_shape, hidden_units, kernel_size, batch_normalization, negative_slope, transposed:
            As for `ConvDecoder`.

    Call arguments:
        inputs: Float `(batch, grid height, grid width, latent)`.
        training: Bool, for batch normalisation.

    Returns:
        float32 tensor `(batch, *output_shape)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.ConvGridDecoder((8, 8, 1), hidden_units=(8, 4))
    >>> tuple(decoder(np.zeros((2, 2, 2, 6), "float32")).shape)
    (2, 8, 8, 1)

    See also:
        `ConvGridEncoder`; `VQVAE`.
    """

    def _project(self, smallest):
        return convolution(smallest[-1], self.options["kernel_size"])
