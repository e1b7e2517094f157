"""The standard normal prior."""

import keras
from keras import ops

from keras_vae import distributions, portable_random
from keras_vae.priors.base import Prior


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal(Prior):
    """N(0, I): every latent dimension is an independent standard normal."""

    kl_adds_up = True
    draws_in_training = True

    latent_dim = None

    def build_for(self, model):
        self.latent_dim = model.latent_dim

    def __call__(self, condition=None):
        return distributions.StandardNormal(self.latent_dim)

    def draw(self, seed, index, temperature, latent_dim, condition=None, ops=ops):
        return portable_random.normal(seed, index, latent_dim, ops) * temperature

    def manifest(self):
        return {"kind": "standard_normal"}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
