"""The standard normal prior."""

import math

import keras
from keras import ops

from keras_vae import portable_random
from keras_vae.divergences import kl_standard_normal
from keras_vae.priors.base import Prior


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal(Prior):
    """N(0, I): every latent dimension is an independent standard normal."""

    def kl(self, z_mean, z_log_var, z=None, condition=None):
        """As `Prior.kl`, in closed form."""
        return kl_standard_normal(z_mean, z_log_var)

    def kl_by_dimension(self, z_mean, z_log_var, condition=None):
        """As `kl`, `(batch, latent)`: what each latent dimension adds to it."""
        return kl_standard_normal(z_mean, z_log_var, by_dimension=True)

    def log_prob(self, z, condition=None):
        z = ops.convert_to_tensor(z)
        return -ops.sum(ops.square(z) + math.log(2 * math.pi), axis=-1) / 2

    def draw(self, seed, index, temperature, latent_dim, condition=None, ops=ops):
        return portable_random.normal(seed, index, latent_dim, ops) * temperature

    def manifest(self):
        return {"kind": "standard_normal"}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
