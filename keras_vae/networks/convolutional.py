"""Convolutional encoder and decoder for images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.layers.residual import ResidualBlock
from keras_vae.networks.dense import (
    GaussianEncoder,
    check_count,
    join_condition,
    split_condition,
)
from keras_vae.networks.doubling import double_and_convolve
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class ConvEncoder(GaussianEncoder):
    """Strided convolutions from an image to the mean and log-variance of its latent code.

    Each stage is a convolution of stride 2, batch normalisation and LeakyReLU, and halves the
    image, rounding up: 45×60 becomes 23×30, 12×15, ...

    Args:
        latent_dim: Int, size of the latent code.
        hidden_units: Tuple of ints, the channels of each stage.
        kernel_size: Int.
        batch_normalization: Bool. Without it the convolutions have a bias instead.
        negative_slope: Float, of LeakyReLU.
        full_covariance: As for `DenseEncoder`.
        residual_blocks: Int, the `layers.ResidualBlock`s after each stage.

    Call arguments:
        inputs: `x`, float `(batch, height, width, channels)`, or a list `[x, condition]` with a
            float `(batch, size)`; the condition is spread over the image as further channels.
        training: Bool, for batch normalisation.

    Returns:
        As `DenseEncoder`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.ConvEncoder(5, hidden_units=(4, 8))
    >>> z_mean, z_log_var = encoder(np.zeros((2, 8, 8, 3), "float32"))
    >>> tuple(z_mean.shape)
    (2, 5)

    See also:
        `ConvDecoder`; `DenseEncoder`, for small pictures.

    References:
        - Radford et al., 2016, for the stages. https://arxiv.org/abs/1511.06434
    """

    def __init__(
        self,
        latent_dim: int,
        hidden_units: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        batch_normalization: bool = True,
        negative_slope: float = 0.2,
        full_covariance: bool | None = None,
        residual_blocks: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        options = kernel_size, batch_normalization, negative_slope
        self.options = stage_options(hidden_units, *options, residual_blocks)
        self.stages = [
            [
                convolution(width, kernel_size, strides=2, use_bias=not batch_normalization),
                *finish_stage(batch_normalization, negative_slope),
                *residual_stack(residual_blocks, width, *options),
            ]
            for width in hidden_units
        ]
        self.flatten = keras.layers.Flatten(data_format="channels_last")
        self.add_heads(latent_dim, full_covariance)

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Tensor, ...]:
        h, condition = split_condition(inputs)
        h = spread(h, condition)
        for stage in self.stages:
            h = apply_stage(stage, h, training)
        h = self.flatten(h)
        return self.heads(h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


class ImageDecoder(StoredModel):
    """What decoders of images share: the shape of an image, and the likelihood's parameters of it.

    A subclass calls `add_channels` in its constructor.
    """

    def __init__(self, output_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_shape = arguments.image_shape(output_shape, "output_shape")

    def add_channels(self, kernel_size: int, parameters_per_value: int | None) -> None:
        """Add the last convolution, which gives the parameters."""
        self.channels = convolution(
            self.data_shape[2], kernel_size, dtype=self.variable_dtype, name="parameters"
        )
        self.parameters_per_value = None
        if parameters_per_value is not None:
            self.set_parameters_per_value(parameters_per_value)

    def set_parameters_per_value(self, count: int) -> None:
        """Give `count` parameters per value, as further channels. Before the first call only."""
        check_count(count)
        self.channels.filters = self.data_shape[2] * count
        self.parameters_per_value = count

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_shape": list(self.data_shape),
            "parameters_per_value": self.parameters_per_value,
        }


@keras.saving.register_keras_serializable("keras_vae")
class ConvDecoder(ImageDecoder):
    """From a latent code to the likelihood's parameters of an image, doubling it stage by stage.

    A dense layer makes the smallest image; each stage doubles it (cropped where the target's size
    is odd), convolves, normalises and applies LeakyReLU; a last convolution gives the channels.
    Doubling repeats pixels before the convolution: a transposed convolution leaves chequerboards
    and degrades under int8 quantization on devices.

    Args:
        output_shape: Tuple `(height, width, channels)` of one image, of any size.
        hidden_units: Tuple of ints, the channels of each stage, smallest image first.
        kernel_size: Int.
        batch_normalization: Bool. Without it the convolutions have a bias instead.
        negative_slope: Float, of LeakyReLU.
        transposed: Bool. Double by transposed convolutions instead.
        parameters_per_value: Int, the likelihood's parameters for each value of the data.
            Left out, the model sets it by its likelihood.
        residual_blocks: Int, the `layers.ResidualBlock`s before each stage, where its image is
            small.

    Call arguments:
        inputs: `z`, float `(batch, latent)`, or a list `[z, condition]` with a float
            `(batch, size)`, put beside it.
        training: Bool, for batch normalisation.

    Returns:
        float32 tensor `(batch, *output_shape)`, with `parameters_per_value` times its channels.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> decoder = keras_vae.networks.ConvDecoder((8, 8, 3), hidden_units=(8, 4))
    >>> tuple(decoder(np.zeros((2, 5), "float32")).shape)
    (2, 8, 8, 3)

    See also:
        `ConvEncoder`; `DenseDecoder`, for small pictures.

    References:
        - Odena et al., 2016, for resizing before convolving. https://doi.org/10.23915/distill.00003
    """

    def __init__(
        self,
        output_shape: Sequence[int],
        hidden_units: Sequence[int] = (64, 32),
        kernel_size: int = 3,
        batch_normalization: bool = True,
        negative_slope: float = 0.2,
        transposed: bool = False,
        parameters_per_value: int | None = None,
        residual_blocks: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_shape, **kwargs)
        self.transposed = transposed
        options = kernel_size, batch_normalization, negative_slope
        self.options = stage_options(hidden_units, *options, residual_blocks)

        sizes = halvings(self.data_shape, len(hidden_units))[::-1]
        smallest, targets = (*sizes[0], hidden_units[0]), sizes[1:]
        self.project = self._project(smallest)
        self.reshape = keras.layers.Reshape(smallest)
        self.stages = []
        widths = hidden_units[0], *hidden_units
        for width, before, after in zip(hidden_units, sizes, targets, strict=False):
            blocks = residual_stack(residual_blocks, widths[len(self.stages)], *options)
            use_bias = not batch_normalization
            if transposed:
                double = [
                    keras.layers.Conv2DTranspose(
                        width,
                        kernel_size,
                        2,
                        padding="same",
                        use_bias=use_bias,
                        data_format="channels_last",
                    )
                ]
                convolve = []
            else:
                double = [keras.layers.UpSampling2D(data_format="channels_last")]
                convolve = [convolution(width, kernel_size, use_bias=use_bias)]
            double += cropping(before, after)
            finish = finish_stage(batch_normalization, negative_slope)
            self.stages.append([*blocks, *double, *convolve, *finish])
        self.add_channels(kernel_size, parameters_per_value)

    def _project(self, smallest):
        """The layer that makes the smallest image, of some shape."""
        return keras.layers.Dense(math.prod(smallest))

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        h = self.reshape(self.project(join_condition(inputs)))
        for stage in self.stages:
            h = apply_stage(stage, h, training)
        return self.channels(h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options, "transposed": self.transposed}


def convolution(filters, kernel_size, **kwargs):
    """A `Conv2D` of the same size, channels last whatever Keras is configured to."""
    return keras.layers.Conv2D(
        filters, kernel_size, padding="same", data_format="channels_last", **kwargs
    )


def spread(h, condition):
    """Put a condition `(batch, size)`, or None, beside an image as further channels."""
    if condition is None:
        return h
    planes = ops.ones_like(h[..., :1]) * ops.cast(condition, h.dtype)[:, None, None, :]
    return ops.concatenate([h, planes], axis=-1)


def halvings(data_shape, count):
    """Sizes `(height, width)` of an image and of its halvings, each rounded up: `count + 1`."""
    sizes = [tuple(data_shape[:2])]
    for _ in range(count):
        sizes.append(tuple(math.ceil(side / 2) for side in sizes[-1]))
    return sizes


def cropping(before, after):
    """The layer, if any, that cuts twice a size `before` to a size `after`."""
    crop = [(0, 2 * small - large) for small, large in zip(before[:2], after[:2], strict=True)]
    if not any(end for _, end in crop):
        return []
    return [keras.layers.Cropping2D(crop, data_format="channels_last")]


def stage_options(
    hidden_units, kernel_size, batch_normalization, negative_slope, residual_blocks=0
):
    """The arguments of stages, checked, as a config holds them."""
    hidden_units = arguments.wholes(hidden_units, "hidden_units")
    if not hidden_units:
        raise ValueError("`hidden_units` must name at least one stage. Received: ()")
    return {
        "hidden_units": list(hidden_units),
        "kernel_size": arguments.whole(kernel_size, "kernel_size"),
        "batch_normalization": batch_normalization,
        "negative_slope": arguments.not_negative(negative_slope, "negative_slope"),
        # Where it is left out, earlier versions read the file, too.
        **({"residual_blocks": residual_blocks} if residual_blocks else {}),
    }


def residual_stack(count, width, *options):
    """Residual blocks of one width."""
    return [
        ResidualBlock(width, *options) for _ in range(arguments.whole(count, "residual_blocks", 0))
    ]


def finish_stage(batch_normalization, negative_slope):
    """Batch normalisation and activation.

    A momentum of 0.9 instead of Keras' 0.99 lets the moving averages settle within the first
    epoch of a small data set, so that evaluation is right from the start.
    """
    normalization = [keras.layers.BatchNormalization(momentum=0.9)] if batch_normalization else []
    return [*normalization, keras.layers.LeakyReLU(negative_slope)]


def apply_stage(layers, h, training):
    """Apply the layers of a stage, one after the other."""
    double = None
    for layer in layers:
        if double is not None:
            h, double = double_and_convolve(h, double, layer), None
        elif isinstance(layer, keras.layers.BatchNormalization | ResidualBlock):
            h = layer(h, training=training)
        elif isinstance(layer, keras.layers.UpSampling2D) and not _is_cropped(layers):
            double = layer
        else:
            h = layer(h)
    return h


def _is_cropped(layers):
    """Whether a stage cuts its image after doubling it, which is then convolved apart."""
    return any(isinstance(layer, keras.layers.Cropping2D) for layer in layers)
