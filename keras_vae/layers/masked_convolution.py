"""A convolution that does not see what comes later in raster order."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class MaskedConv2D(keras.layers.Conv2D):
    """A convolution whose kernel is zero from some row or column on, of stride 1, same size.

    Args:
        filters: Int, channels of the output.
        kernel_size: Odd int.
        stack: `"vertical"`: a square kernel that sees the rows above. `"horizontal"`: a kernel of
            one row that sees what is to the left.
        sees_center: Bool. Whether it also sees its own row, or its own place.
        **kwargs: As for Keras' `Conv2D`.

    Call arguments:
        inputs: Float tensor `(batch, height, width, channels)`.

    Returns:
        Tensor `(batch, height, width, filters)`.

    Raises:
        ValueError: If an argument is none of these.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> layer = keras_vae.layers.MaskedConv2D(4, 3, "vertical", sees_center=False)
    >>> tuple(layer(np.zeros((2, 7, 7, 1), "float32")).shape)
    (2, 7, 7, 4)

    See also:
        `PixelCNN`, which is made of them.

    References:
        - van den Oord et al., 2016, section 2.2. https://arxiv.org/abs/1606.05328
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        stack: Literal["vertical", "horizontal"],
        sees_center: bool,
        **kwargs: Any,
    ) -> None:
        if stack not in ("vertical", "horizontal"):
            raise ValueError(f"`stack` must be 'vertical' or 'horizontal'. Received: {stack!r}")
        if kernel_size % 2 != 1:
            raise ValueError(f"`kernel_size` must be odd. Received: {kernel_size!r}")
        shape = (kernel_size if stack == "vertical" else 1, kernel_size)
        super().__init__(filters, shape, padding="same", data_format="channels_last", **kwargs)
        self.stack = stack
        self.sees_center = sees_center
        self.mask = None

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        size = self.kernel_size[1]
        seen = np.arange(size) < size // 2 + self.sees_center
        seen = seen[:, None] if self.stack == "vertical" else seen[None, :]
        self.mask = np.broadcast_to(seen, self.kernel_size)[..., None, None].astype("float32")

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        mask = keras.ops.cast(self.mask, kernel.dtype)
        return super().convolution_op(inputs, kernel * mask)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("padding", "data_format", "strides", "dilation_rate", "groups"):
            config.pop(name)
        return {
            **config,
            "kernel_size": self.kernel_size[1],
            "stack": self.stack,
            "sees_center": self.sees_center,
        }
