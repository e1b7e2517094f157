"""Networks of a deep ladder VAE of images: codes that are small images on several levels.

A stage is a size of image, half that of the stage before; on it are `levels` levels. The arguments
`latent_channels` and `hidden_units` have one entry for each stage, from the data up, in the encoder
and in the decoder alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.distributions import Normal
from keras_vae.networks.convolutional import (
    ImageDecoder,
    apply_stage,
    convolution,
    cropping,
    finish_stage,
    halvings,
    residual_stack,
    spread,
    stage_options,
)
from keras_vae.networks.dense import split_condition
from keras_vae.networks.ladder import PRIOR_LOG_VAR_RANGE, split_levels
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class ConvLadderEncoder(StoredModel):
    """Convolutions from an image up through the stages, with what each level tells of its code.

    A stage is a convolution of stride 2, which halves the image, rounding up, and residual blocks;
    means and log-variances of the codes of all its levels are linear in what it computes.

    Args:
        input_shape: Tuple `(height, width, channels)` of one image.
        latent_channels: Tuple of ints, the channels of a level's code on each stage, from the data
            up: `(2, 8)`.
        hidden_units: Tuple of ints, the channels of the stages, from the data up.
        levels: Int, at least 1, of each stage.
        residual_blocks: Int, the `layers.ResidualBlock`s of each stage.
        kernel_size: Int.
        negative_slope: Float, of LeakyReLU.

    Call arguments:
        inputs: `x`, float `(batch, height, width, channels)`, or a list `[x, condition]` with a
            float `(batch, size)`; the condition is spread over the image as further channels.

    Returns:
        Tuple `(z_mean, z_log_var)` of float32 tensors `(batch, sum(latent_dims))`, the top level
        first, each level's code row by row.

    Raises:
        ValueError: If there is not one width for each stage.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.ConvLadderEncoder((8, 8, 1), (2, 3), (4, 8), levels=2)
    >>> z_mean, z_log_var = encoder(np.zeros((2, 8, 8, 1), "float32"))
    >>> tuple(z_mean.shape) == (2, encoder.latent_dim)
    True

    See also:
        `ConvLadderDecoder`; `posteriors.Ladder`.

    References:
        - Sønderby et al., 2016, eq. 6 to 8. https://arxiv.org/abs/1602.02282
        - Child, 2021, for many levels on a stage. https://arxiv.org/abs/2011.10650
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_channels: Sequence[int],
        hidden_units: Sequence[int] = (32, 64),
        levels: int = 1,
        residual_blocks: int = 1,
        kernel_size: int = 3,
        negative_slope: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_shape = arguments.image_shape(input_shape, "input_shape")
        self.options = _options(
            latent_channels, hidden_units, levels, residual_blocks, kernel_size, negative_slope
        )
        self.latent_dims, _ = _levels(self.data_shape, self.options)
        self.latent_dim = sum(self.latent_dims)
        self.stages = [
            [
                convolution(width, kernel_size, strides=2),
                *finish_stage(False, negative_slope),
                *residual_stack(residual_blocks, width, kernel_size, False, negative_slope),
            ]
            for width in hidden_units
        ]
        self.z_means, self.z_log_vars = (
            [
                [convolution(channels, 1, dtype=self.variable_dtype) for _ in range(levels)]
                for channels in latent_channels
            ]
            for _ in range(2)
        )
        self.flatten = keras.layers.Flatten(data_format="channels_last")

    def call(self, inputs: Any) -> tuple[Tensor, Tensor]:
        h, condition = split_condition(inputs)
        h = spread(h, condition)
        codes = []
        for stage, *heads in zip(self.stages, self.z_means, self.z_log_vars, strict=True):
            h = apply_stage(stage, h, None)
            codes += [
                [self.flatten(head(h)) for head in level] for level in zip(*heads, strict=True)
            ]
        means, log_vars = zip(*reversed(codes), strict=True)
        return ops.concatenate(means, axis=-1), ops.concatenate(log_vars, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_shape": list(self.data_shape), **self.options}


@keras.saving.register_keras_serializable("keras_vae")
class ConvLadderDecoder(ImageDecoder):
    """Convolutions from the top level's code down to the likelihood's parameters of an image.

    A level adds its code, by a convolution of size 1, to what the level above computed, and goes on
    with residual blocks; the last level of a stage then doubles the image and convolves it. Linear
    in what comes out are mean and log-variance of the next level's prior, the latter clipped to
    [-10, 10]. The code that comes in is in units of these priors: `eps`, N(0, I) under the prior,
    for `z = mean + exp(log_var / 2) * eps`.

    Args:
        output_shape: Tuple `(height, width, channels)` of one image, of any size.
        latent_channels, hidden_units, levels: As the encoder's.
        residual_blocks: Int, the `layers.ResidualBlock`s of each level.
        kernel_size: Int.
        negative_slope: Float, of LeakyReLU.
        parameters_per_value: Int, the likelihood's parameters for each value of the data.
            Left out, the model sets it by its likelihood.

    Call arguments:
        inputs: `eps`, float `(batch, sum(latent_dims))`, the top level first, or a list
            `[eps, condition]` with a float `(batch, size)`, which every level sees.

    Returns:
        float32 tensor `(batch, *output_shape)`, with `parameters_per_value` times its channels.

    Raises:
        ValueError: If there is not one width for each stage.

    Example:

    >>> import keras_vae
    >>> sizes = {"latent_channels": (2, 3), "hidden_units": (4, 8), "levels": 2}
    >>> encoder = keras_vae.networks.ConvLadderEncoder((8, 8, 1), **sizes)
    >>> decoder = keras_vae.networks.ConvLadderDecoder((8, 8, 1), **sizes)
    >>> keras_vae.VAE(encoder, decoder, posterior="ladder").sample(2, seed=0).shape
    (2, 8, 8, 1)

    See also:
        `ConvLadderEncoder`; `LadderDecoder`, of dense levels.

    References:
        - Sønderby et al., 2016, eq. 2 and 3. https://arxiv.org/abs/1602.02282
        - Child, 2021, for the levels. https://arxiv.org/abs/2011.10650
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        latent_channels: Sequence[int],
        hidden_units: Sequence[int] = (32, 64),
        levels: int = 1,
        residual_blocks: int = 1,
        kernel_size: int = 3,
        negative_slope: float = 0.2,
        parameters_per_value: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_shape, **kwargs)
        self.options = _options(
            latent_channels, hidden_units, levels, residual_blocks, kernel_size, negative_slope
        )
        self.latent_dims, shapes = _levels(self.data_shape, self.options)
        # From the top down, as all that follows.
        shapes = shapes[::-1]
        widths = [width for width in reversed(hidden_units) for _ in range(levels)]
        self.reshapes = [keras.layers.Reshape(shape) for shape in shapes]
        self.injections = [convolution(width, 1) for width in widths]
        self.blocks = [
            residual_stack(residual_blocks, width, kernel_size, False, negative_slope)
            for width in widths
        ]
        targets = [*shapes[1:], self.data_shape]
        after = [*widths[1:], widths[-1]]
        self.doublings = [
            self._doubling(before, target, width) if before[:2] != target[:2] else []
            for before, target, width in zip(shapes, targets, after, strict=True)
        ]
        self.means, self.log_vars = (
            [convolution(shape[-1], 1, dtype=self.variable_dtype) for shape in shapes[1:]]
            for _ in range(2)
        )
        self.add_channels(kernel_size, parameters_per_value)

    def _doubling(self, before, target, width):
        """The layers from the image of a stage to that of the next one."""
        return [
            keras.layers.UpSampling2D(data_format="channels_last"),
            *cropping(before, target),
            convolution(width, self.options["kernel_size"]),
            *finish_stage(False, self.options["negative_slope"]),
        ]

    def split(self, code: Tensor) -> list[Tensor]:
        """Split `(batch, sum(latent_dims))` into the levels, the top one first."""
        return split_levels(code, self.latent_dims)

    def next_level(
        self, level: int, eps: Tensor, above: Any = None, condition: Tensor | None = None
    ) -> tuple[Any, Tensor | None, Tensor | None]:
        """Go down by one level.

        Args:
            level: Int, 0 at the top.
            eps: Float tensor `(batch, size)`, the level's code in units of its prior.
            above: What this method returned for the level above; None at the top.
            condition: Optional float tensor `(batch, size)`.

        Returns:
            Tuple of what the next level goes on with, `(batch, height, width, units)`, and of mean
            and log-variance of its prior, float32 `(batch, size)`; the latter two None at the
            bottom.
        """
        z = ops.cast(eps, self.variable_dtype)
        if above is not None:
            z = Normal(*above[1:]).from_noise(z)
        h = self.injections[level](spread(self.reshapes[level](z), condition))
        if above is not None:
            h = h + ops.cast(above[0], h.dtype)
        h = apply_stage([*self.blocks[level], *self.doublings[level]], h, None)
        if level == len(self.means):
            return h, None, None
        size = self.latent_dims[-2 - level]
        mean, log_var = (
            ops.reshape(heads[level](h), (-1, size)) for heads in (self.means, self.log_vars)
        )
        return h, mean, ops.clip(log_var, *PRIOR_LOG_VAR_RANGE)

    def call(self, inputs: Any) -> Tensor:
        code, condition = split_condition(inputs)
        above = None
        for level, eps in enumerate(self.split(code)):
            above = self.next_level(level, eps, above, condition)
        return self.channels(above[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


def _options(latent_channels, hidden_units, levels, residual_blocks, kernel_size, negative_slope):
    """The arguments of both networks, checked, as a config holds them."""
    latent_channels = arguments.wholes(latent_channels, "latent_channels")
    options = stage_options(hidden_units, kernel_size, False, negative_slope)
    del options["batch_normalization"]  # which posteriors would not know of
    if len(latent_channels) != len(options["hidden_units"]):
        raise ValueError(
            "`latent_channels` and `hidden_units` must have one entry for each stage. Received: "
            f"{tuple(latent_channels)} and {tuple(options['hidden_units'])}."
        )
    return {
        "latent_channels": list(latent_channels),
        **options,
        "levels": arguments.whole(levels, "levels"),
        "residual_blocks": arguments.whole(residual_blocks, "residual_blocks", 0),
    }


def _levels(data_shape, options):
    """Sizes of the levels' codes and their shapes, from the data up."""
    sizes = halvings(data_shape, len(options["hidden_units"]))[1:]
    shapes = [
        (*size, channels)
        for size, channels in zip(sizes, options["latent_channels"], strict=True)
        for _ in range(options["levels"])
    ]
    return [math.prod(shape) for shape in shapes], shapes
