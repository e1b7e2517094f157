"""The variational mixture of posteriors."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import arguments, seeds
from keras_vae.distributions import Distribution
from keras_vae.priors.base import Prior, build_layer, condition_size
from keras_vae.priors.fitted import FittedMixture, check_latent_dim, gaussians
from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class VampPrior(Prior, keras.layers.Layer):
    """p(z) as the mean of the posteriors of learned pseudo-inputs, which pass the encoder.

    A pseudo-input is all that the encoder sees: in a conditional model a vector in the place of
    the condition belongs to each, and p(z) itself does not depend on the condition. The KL is the
    one-draw estimate. When the model is exported, the encoder runs once and the prior is a mixture
    of Gaussians like any other.

    Args:
        num_components: Int, at least 1. Number of pseudo-inputs, K.
        seed: Optional int, for the initial pseudo-inputs.

    Returns:
        `distributions.Mixture`, whatever the condition.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> prior = keras_vae.priors.VampPrior(num_components=5, seed=0)
    >>> keras_vae.VAE(encoder, decoder, prior=prior).sample(2, seed=0).shape
    (2, 4, 4, 1)

    See also:
        `GaussianMixture`.

    References:
        - Tomczak & Welling, 2018, eq. 9. https://arxiv.org/abs/1705.07120 (they keep images in
          range by a hard tanh, we by a sigmoid)
    """

    def __init__(self, num_components: int = 100, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.num_components = arguments.whole(num_components, "num_components")
        self.seed = seed

    def build_for(self, model: Any) -> None:
        check_latent_dim(model.latent_dim)
        # A function, not the model: Keras would take that for a part of its own part.
        self.code = lambda *inputs: model.code(*inputs, training=False)
        self.data_range = model.likelihood.data_range
        build_layer(self, (None, *model.data_shape), (None, condition_size(model)))

    def build(self, x_shape: Shape, condition_shape: Shape) -> None:
        size = condition_shape[-1]
        initializers = keras.initializers
        self.pseudo_inputs = self.add_weight(
            name="pseudo_inputs",
            shape=(self.num_components, *x_shape[1:]),
            initializer=initializers.RandomNormal(
                stddev=1.0, seed=seeds.fold(self.seed, "pseudo_inputs")
            ),
        )
        self.pseudo_conditions = None
        if size:
            self.pseudo_conditions = self.add_weight(
                name="pseudo_conditions",
                shape=(self.num_components, size),
                initializer=initializers.RandomUniform(
                    0.0, 1.0, seed=seeds.fold(self.seed, "pseudo_conditions")
                ),
            )
        self.built = True

    def components(self) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the components, each `(num_components, latent)`."""
        low, high = self.data_range
        x = ops.convert_to_tensor(self.pseudo_inputs)
        if math.isfinite(low) and math.isfinite(high):
            x = low + (high - low) * ops.sigmoid(x)
        condition = self.pseudo_conditions
        return self.code(x, None if condition is None else ops.convert_to_tensor(condition))

    def __call__(self, condition: Tensor | None = None) -> Distribution:
        return gaussians(*self.components(), -math.log(self.num_components))

    def fixed(self) -> FittedMixture:
        mean, log_var = map(ops.convert_to_numpy, self.components())
        weights = np.full((1, len(mean)), 1 / len(mean))
        return FittedMixture.of(mean[None], np.exp(log_var / 2)[None], weights)

    def manifest(self) -> dict[str, Any]:
        return self.fixed().manifest()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "seed": self.seed,
        }
