"""A normalizing flow as the prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import arguments, portable_random
from keras_vae.distributions import Flow
from keras_vae.networks.dense import dense_stack
from keras_vae.priors.base import Prior, build_layer, condition_size
from keras_vae.type_aliases import Shape, Tensor

# exp(2) = 7.4 times wider or narrower by one layer is enough, and none overflows.
_LOG_SCALE_RANGE = 2.0


@keras.saving.register_keras_serializable("keras_vae")
class RealNVP(Prior, keras.layers.Layer):
    """p(z) as N(0, I) passed through invertible layers, learned with the model.

    Each affine coupling layer keeps every other latent dimension, and scales and shifts the rest
    by what a dense network makes of those kept. In a conditional model the networks see the
    condition beside them: the flow is p(z | condition). Training begins near N(0, I). The KL is
    the one-draw estimate.

    Args:
        num_layers: Int, at least 2: with one, half of the dimensions would stay normal.
        hidden_units: Tuple of ints, the widths of each network's hidden layers.
        activation: Activation of the hidden layers.

    Call arguments:
        condition: Optional float tensor `(batch, size)`.

    Returns:
        `distributions.Flow`.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> prior = keras_vae.priors.RealNVP(num_layers=2, hidden_units=(8,))
    >>> keras_vae.VAE(encoder, decoder, prior=prior).sample(2, seed=0).shape
    (2, 4, 4, 1)

    See also:
        `GaussianMixture`.

    References:
        - Dinh et al., 2017, eq. 3 to 8. https://arxiv.org/abs/1605.08803 (there a learned factor
          limits the log-scale, here a fixed one, [-2, 2] a layer)
    """

    draws_in_training = True

    def __init__(
        self,
        num_layers: int = 6,
        hidden_units: Sequence[int] = (64, 64),
        activation: str | Callable[..., Any] = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.num_layers = arguments.whole(num_layers, "num_layers", least=2)
        self.hidden_units = arguments.wholes(hidden_units, "hidden_units")
        self.activation = arguments.activation(activation)
        self.couplings = [
            Coupling(layer % 2, self.hidden_units, activation, dtype=self.variable_dtype)
            for layer in range(self.num_layers)
        ]

    def build_for(self, model: Any) -> None:
        build_layer(self, (None, model.latent_dim), (None, condition_size(model)))

    def build(self, z_shape: Shape, condition_shape: Shape | None = None) -> None:
        size = condition_shape[-1] if condition_shape else 0
        if z_shape[-1] < 2:
            raise ValueError(
                "`RealNVP` needs at least 2 latent dimensions, of which each layer keeps some. "
                f"Received: {z_shape[-1]}. Use GaussianMixture."
            )
        self.latent_dim = z_shape[-1]
        for coupling in self.couplings:
            coupling.build((None, z_shape[-1]), (None, size))
        self.built = True

    def __call__(self, condition: Tensor | None = None) -> Flow:
        shape = (self.latent_dim,) if condition is None else (condition.shape[0], self.latent_dim)
        return Flow(
            lambda noise: self.from_noise(noise, condition),
            lambda z: self.to_noise(z, condition),
            shape,
        )

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes of normal noise, each `(..., latent)`."""
        z = ops.convert_to_tensor(noise)
        for coupling in self.couplings:
            log_scale, shift = coupling(z, condition)
            z = z * ops.exp(log_scale) + shift
        return z

    def to_noise(self, z: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The inverse of `from_noise`, and the log-determinant of `from_noise`, `(...)`."""
        z, total = ops.convert_to_tensor(z), 0.0
        for coupling in reversed(self.couplings):
            # Of the dimensions that the layer keeps, which are all that it looks at.
            log_scale, shift = coupling(z, condition)
            z = (z - shift) * ops.exp(-log_scale)
            total = total + ops.sum(log_scale, axis=-1)
        return z, total

    def draw(
        self,
        seed: Tensor,
        index: Tensor,
        temperature: Tensor,
        latent_dim: int,
        condition: Tensor | None = None,
        ops: Any = ops,
    ) -> Tensor:
        noise = portable_random.normal(seed, index, latent_dim, ops) * temperature
        return self.from_noise(noise, condition)

    def manifest(self) -> dict[str, Any]:
        return {"kind": "real_nvp"}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "hidden_units": list(self.hidden_units),
            "activation": self.activation,
        }


class Coupling(keras.layers.Layer):
    """The network of an affine coupling layer: from the dimensions kept to what it does to others.

    Args:
        parity: 0 or 1: keeps the even dimensions or the odd ones.
        hidden_units: Tuple of ints.
        activation: Activation of the hidden layers.

    Call arguments:
        z: Float tensor `(..., latent)`.
        condition: Optional float tensor `(batch, size)`.

    Returns:
        Tuple of log-scale and shift, each `(..., latent)` and 0 in the dimensions kept.
    """

    def __init__(
        self,
        parity: int,
        hidden_units: Sequence[int],
        activation: str | Callable[..., Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.parity = parity
        self.hidden = dense_stack(hidden_units, activation, dtype=self.variable_dtype)

    def build(self, z_shape: Shape, condition_shape: Shape) -> None:
        latent_dim = z_shape[-1]
        self.kept = (np.arange(latent_dim) % 2 == self.parity).astype("float32")
        # Small, for a flow that begins near the identity; not 0, which no gradient would pass.
        small = keras.initializers.RandomNormal(stddev=0.01)
        self.heads = [
            keras.layers.Dense(
                latent_dim, kernel_initializer=small, dtype=self.variable_dtype, name=name
            )
            for name in ("log_scale", "shift")
        ]
        shape = (None, latent_dim + condition_shape[-1])
        for layer in self.hidden:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        for head in self.heads:
            head.build(shape)
        self.built = True

    def call(self, z: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept = ops.convert_to_tensor(self.kept)
        h = z * kept
        if condition is not None:
            condition = ops.cast(condition, h.dtype) + ops.zeros_like(h[..., :1])
            h = ops.concatenate([h, condition], axis=-1)
        for layer in self.hidden:
            h = layer(h)
        log_scale, shift = (head(h) * (1 - kept) for head in self.heads)
        return _LOG_SCALE_RANGE * ops.tanh(log_scale / _LOG_SCALE_RANGE), shift
