"""Linear layers of bounded gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import keras
from keras import ops

from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class SpectralNormalization(keras.layers.Wrapper):
    """A linear layer divided by the largest singular value of its kernel, plus a bias.

    The kernel is taken as a matrix with one column per output, also a convolution's. Its largest
    singular value is estimated by power iteration from where the last training step left off, and
    the gradient passes through the division. Keras' layer of this name writes the divided kernel
    into the variable instead, which on JAX lasts for one pass only: there it neither bounds a model
    that is evaluated nor gives the weights of the other backends.

    Args:
        layer: Layer with a kernel, linear and without a bias of its own, such as
            `Dense(64, use_bias=False)`.
        power_iterations: Int, at least 1. Iterations in each call.

    Call arguments:
        inputs: Tensor, as the layer takes it.
        training: Bool. Only in training is the estimate kept for the next call.

    Returns:
        Tensor, as the layer makes it.

    Raises:
        ValueError: If the layer has no kernel, or a bias or an activation, or `power_iterations` is
            below 1.

    Example:

    >>> import keras_vae
    >>> import keras
    >>> import numpy as np
    >>> layer = keras_vae.layers.SpectralNormalization(
    ...     keras.layers.Dense(3, use_bias=False)
    ... )
    >>> tuple(layer(np.zeros((2, 4), "float32")).shape)
    (2, 3)

    See also:
        `networks.ConvDiscriminator`, which has it by `spectral_normalization`.

    References:
        - Miyato et al., 2018, algorithm 1. https://arxiv.org/abs/1802.05957
    """

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, autocast=False, **kwargs)
        linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
        if getattr(layer, "use_bias", True) or not linear:
            raise ValueError(
                "`SpectralNormalization` needs a linear layer with use_bias=False and without an "
                f"activation, such as Dense or Conv2D. Received: {type(layer).__name__}."
            )
        if int(power_iterations) != power_iterations or power_iterations < 1:
            raise ValueError(
                "`power_iterations` must be a whole number of at least 1. Received: "
                f"{power_iterations!r}"
            )
        self.power_iterations = int(power_iterations)
        # Made here, where the other initializers take their seeds, not when the layer is built.
        self.initializer = keras.initializers.RandomNormal()

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        units = self.layer.kernel.shape[-1]
        self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        self.direction = self.add_weight(
            name="direction", shape=(units,), initializer=self.initializer, trainable=False
        )

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        norm, direction = self.spectral_norm()
        if training:
            self.direction.assign(direction)
        outputs = self.layer(inputs)
        dtype = outputs.dtype
        return outputs / ops.cast(norm, dtype) + ops.cast(self.bias, dtype)

    def spectral_norm(self) -> Tensor:
        """Estimate the kernel's largest singular value.

        Returns:
            Tuple of a float scalar, at most that value, and the unit vector `(outputs,)` to go on
            from.
        """
        kernel = ops.convert_to_tensor(self.layer.kernel)
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        fixed = ops.stop_gradient(matrix)
        right = ops.convert_to_tensor(self.direction)
        for _ in range(self.power_iterations):
            left = _unit(ops.matmul(fixed, right))
            right = _unit(ops.matmul(left, fixed))
        norm = ops.vdot(left, ops.matmul(matrix, right))
        return ops.maximum(norm, 1e-12), right

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "power_iterations": self.power_iterations}
        config.pop("autocast", None)
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        return super().from_config(dict(config), custom_objects)  # which takes the layer out of it


def _unit(vector):
    return vector / (ops.norm(vector) + 1e-12)
