"""A mixture of Gaussians that is learned with the model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_vae import arguments, seeds
from keras_vae.distributions import Distribution
from keras_vae.priors.base import Prior, build_layer
from keras_vae.priors.fitted import FittedMixture, check_latent_dim, gaussians
from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class GaussianMixture(Prior, keras.layers.Layer):
    """p(z) as a mixture of diagonal Gaussians; weights, means and variances are learned.

    The KL is the one-draw estimate, but for a single component, where it has a closed form.

    Args:
        num_components: Int, at least 1.
        seed: Optional int, for the initial means, drawn from N(0, I).

    Returns:
        `distributions.Mixture`; of a single component, `distributions.Normal`.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> model = keras_vae.VAE(encoder, decoder, prior=keras_vae.priors.GaussianMixture(5))
    >>> model.sample(2, seed=0).shape
    (2, 4, 4, 1)

    See also:
        `VampPrior`; `FittedMixture`, fitted after training.

    References:
        - Tomczak & Welling, 2018, section 2, the mixture that VampPrior is compared with.
          https://arxiv.org/abs/1705.07120
    """

    def __init__(self, num_components: int = 10, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.num_components = arguments.whole(num_components, "num_components")
        self.seed = seed

    def build_for(self, model: Any) -> None:
        build_layer(self, (None, model.latent_dim))

    def build(self, z_shape: Shape) -> None:
        latent_dim = check_latent_dim(z_shape[-1])
        shape = (self.num_components, latent_dim)
        seed = seeds.fold(self.seed, "means")
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        self.means = self.add_weight(name="means", shape=shape, initializer=normal)
        self.log_vars = self.add_weight(name="log_vars", shape=shape, initializer="zeros")
        self.logits = self.add_weight(name="logits", shape=shape[:1], initializer="zeros")
        self.built = True

    def __call__(self, condition: Tensor | None = None) -> Distribution:
        return gaussians(self.means, self.log_vars, ops.log_softmax(self.logits))

    def fixed(self) -> FittedMixture:
        scales, weights = ops.exp(self.log_vars / 2), ops.softmax(self.logits)
        means, scales, weights = map(ops.convert_to_numpy, (self.means, scales, weights))
        return FittedMixture.of(means[None], scales[None], weights[None])

    def manifest(self) -> dict[str, Any]:
        return self.fixed().manifest()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "seed": self.seed,
        }
