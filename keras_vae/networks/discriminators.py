"""Discriminators: how real an image looks, and which class it shows.

A discriminator is any Keras model from `x` to a logit `(batch, 1)`, positive for *real*; one with a
class head returns `(logit, class_logits)`. These two are the simplest ones; your own need no base
class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae import arguments
from keras_vae.layers.spectral import SpectralNormalization
from keras_vae.networks.convolutional import convolution
from keras_vae.storage.stored import StoredModel
from keras_vae.type_aliases import Tensor


class Discriminator(StoredModel):
    """What both discriminators share: how their layers are made, and the heads after them."""

    def __init__(
        self,
        num_classes: int | None = None,
        spectral_normalization: bool = False,
        negative_slope: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes is not None:
            num_classes = arguments.whole(num_classes, "num_classes")
        self.num_classes = num_classes
        self.spectral_normalization = spectral_normalization
        self.negative_slope = arguments.not_negative(negative_slope, "negative_slope")
        self.flatten = keras.layers.Flatten(data_format="channels_last")
        dtype = self.variable_dtype
        self.logit = self.linear(keras.layers.Dense, 1, dtype=dtype, name="logit")
        self.class_logits = None
        if num_classes is not None:
            self.class_logits = keras.layers.Dense(num_classes, dtype=dtype, name="class_logits")

    def linear(
        self, layer: Any, *args: Any, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> Any:
        """Make a linear layer, divided by its largest singular value if that is asked for."""
        if not self.spectral_normalization:
            return layer(*args, name=name, dtype=dtype, **kwargs)
        bare = layer(*args, use_bias=False, dtype=dtype, **kwargs)
        return SpectralNormalization(bare, name=name, dtype=dtype)

    def stage(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Make a linear layer and its LeakyReLU."""
        return [self.linear(*args, **kwargs), keras.layers.LeakyReLU(self.negative_slope)]

    def judge(self, stages: Sequence[Any], h: Tensor) -> Any:
        """Apply the stages and then the heads."""
        for layer in (layer for stage in stages for layer in stage):
            h = layer(h)
        h = self.flatten(h)
        logit = self.logit(h)
        return logit if self.class_logits is None else (logit, self.class_logits(h))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "spectral_normalization": self.spectral_normalization,
            "negative_slope": self.negative_slope,
        }


@keras.saving.register_keras_serializable("keras_vae")
class DenseDiscriminator(Discriminator):
    """Dense layers from an example to its logit of being real.

    Args:
        hidden_units: Tuple of ints, the widths of the hidden layers.
        num_classes: Optional int. Adds a class head of that width, which `ConditionalGAN` needs.
        spectral_normalization: Bool. Divide every linear layer on the way to the logit by its
            largest singular value, so that the logit cannot change faster than the image.
        negative_slope: Float, of LeakyReLU.

    Call arguments:
        inputs: `x`, float `(batch, ...)`.

    Returns:
        float32 tensor `(batch, 1)`, positive for *real*; with `num_classes`, a tuple of it and the
        logits of the classes `(batch, num_classes)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> discriminator = keras_vae.networks.DenseDiscriminator(hidden_units=(8,))
    >>> tuple(discriminator(np.zeros((2, 4, 4, 1), "float32")).shape)
    (2, 1)

    See also:
        `GAN`; `ConvDiscriminator`.

    References:
        - Goodfellow et al., 2014. https://arxiv.org/abs/1406.2661
        - Miyato et al., 2018, for `spectral_normalization`. https://arxiv.org/abs/1802.05957
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (512, 256),
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        hidden_units = self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.stages = [self.stage(keras.layers.Dense, width) for width in hidden_units]

    def call(self, inputs: Tensor) -> Any:
        return self.judge(self.stages, self.flatten(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden_units": list(self.hidden_units)}


@keras.saving.register_keras_serializable("keras_vae")
class ConvDiscriminator(Discriminator):
    """Strided convolutions from an image to its logit of being real.

    Each stage is a convolution of stride 2 and LeakyReLU, and halves the image, rounding up. There
    is no batch normalisation: real and generated images are judged side by side in one batch.

    Args:
        hidden_units: Tuple of ints, the channels of each stage.
        kernel_size: Int.
        num_classes, spectral_normalization, negative_slope: As for `DenseDiscriminator`.

    Call arguments:
        inputs: `x`, float `(batch, height, width, channels)`.

    Returns:
        As `DenseDiscriminator`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> discriminator = keras_vae.networks.ConvDiscriminator(hidden_units=(4, 8))
    >>> tuple(discriminator(np.zeros((2, 8, 8, 1), "float32")).shape)
    (2, 1)

    See also:
        `GAN`; `DenseDiscriminator`.

    References:
        - Radford et al., 2016, for the stages. https://arxiv.org/abs/1511.06434
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (32, 64),
        kernel_size: int = 5,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        hidden_units = self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.kernel_size = arguments.whole(kernel_size, "kernel_size")
        self.stages = [
            self.stage(convolution, width, kernel_size, strides=2) for width in hidden_units
        ]

    def call(self, inputs: Tensor) -> Any:
        return self.judge(self.stages, inputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "kernel_size": self.kernel_size,
        }
