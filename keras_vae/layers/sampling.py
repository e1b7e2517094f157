"""The draw of the latent code."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_vae import replica, seeds
from keras_vae.distributions import Normal
from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Sampling(keras.layers.Layer):
    """Draw a latent code from a diagonal Gaussian, differentiably.

    Computes `z = z_mean + exp(z_log_var / 2) * noise`, `noise ~ N(0, I)`. It draws in training
    and in evaluation alike; for a fixed code use `z_mean`. The arithmetic is done in float32 even
    under a mixed-precision policy.

    Args:
        seed: Optional int. Repeats the draws on one backend, not across backends.

    Call arguments:
        z_mean: Float tensor `(batch, ...)`.
        z_log_var: Float tensor, same shape. Natural log of the variance.

    Returns:
        Tensor of the inputs' shape, in the layer's compute dtype.

    Raises:
        ValueError: If the two inputs differ in shape.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> sampling = keras_vae.layers.Sampling(seed=0)
    >>> tuple(sampling(np.zeros((4, 2), "float32"), np.zeros((4, 2), "float32")).shape)
    (4, 2)

    See also:
        `VAE`, which draws through it; `distributions.Normal`.

    References:
        - Kingma & Welling, 2014, eq. 10. https://arxiv.org/abs/1312.6114
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = seeds.stream(seed, "sampling")
        self.built = True

    def call(self, z_mean: Tensor, z_log_var: Tensor) -> Tensor:
        if tuple(z_mean.shape) != tuple(z_log_var.shape):
            raise ValueError(
                "`Sampling` needs `z_mean` and `z_log_var` of one shape. Received: "
                f"z_mean.shape={tuple(z_mean.shape)}, z_log_var.shape={tuple(z_log_var.shape)}. "
                "Check that the encoder's two heads have the same number of units."
            )
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        z_mean, z_log_var = ops.cast(z_mean, dtype), ops.cast(z_log_var, dtype)
        shape = ops.shape(z_mean)
        noise = replica.current().draw(
            keras.random.normal, shape, dtype=dtype, seed=self.seed_generator
        )
        return ops.cast(Normal(z_mean, z_log_var).from_noise(noise), self.compute_dtype)

    def compute_output_shape(self, z_mean_shape: Shape, z_log_var_shape: Shape) -> Shape:
        return z_mean_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
