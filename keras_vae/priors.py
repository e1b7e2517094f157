"""Priors over the latent code."""

import math
import secrets

import keras
import numpy as np
from keras import ops

from keras_vae import portable_random
from keras_vae.divergences import kl_standard_normal


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal:
    """N(0, I): every latent dimension is an independent standard normal."""

    def kl(self, z_mean, z_log_var):
        """KL divergence of `N(z_mean, exp(z_log_var))` from the prior.

        Args:
            z_mean: Float tensor `(batch, latent)`.
            z_log_var: Float tensor, same shape. Natural log of the variance.

        Returns:
            Tensor `(batch,)`, nats per example.
        """
        return kl_standard_normal(z_mean, z_log_var)

    def kl_by_dimension(self, z_mean, z_log_var):
        """As `kl`, `(batch, latent)`: what each latent dimension adds to it."""
        return kl_standard_normal(z_mean, z_log_var, by_dimension=True)

    def log_prob(self, z):
        """Log density of `z` `(..., latent)`, in nats, `(...)`."""
        z = ops.convert_to_tensor(z)
        return -ops.sum(ops.square(z) + math.log(2 * math.pi), axis=-1) / 2

    def sample(self, count, latent_dim, temperature=1.0, seed=None):
        """Draw codes, the same ones on every backend and in every exported file.

        Args:
            count: Int, at most 2^20. Number of codes. Code k of a seed does not depend on it.
            latent_dim: Int, at most 4096.
            temperature: Float, at least 0. Standard deviation; 0 gives the prior's mean.
            seed: Optional int, from 0 to 2^31 - 1. Defaults to one drawn by the system.

        Returns:
            float32 array `(count, latent_dim)`.
        """
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"`temperature` must be at least 0. Received: {temperature!r}")
        seed = secrets.randbelow(portable_random.SEEDS) if seed is None else seed
        portable_random.check(seed, count, latent_dim)
        index = np.arange(count, dtype="int32")
        return self.draw(np.array([seed], "int32"), index, np.float32(temperature), latent_dim, np)

    def draw(self, seed, index, temperature, latent_dim, ops=ops):
        """As `sample`, unchecked, for chosen examples of a seed, as part of a graph.

        Args:
            seed: Int tensor `(1,)`.
            index: Int tensor `(n,)`. Which examples of the seed.
            temperature: Float tensor `(1,)`.
            latent_dim: Int.
            ops: `keras.ops` for tensors, `numpy` for arrays.

        Returns:
            float32 tensor `(n, latent_dim)`.
        """
        return portable_random.normal(seed, index, latent_dim, ops) * temperature

    def manifest(self):
        """What a device must know, as plain data."""
        return {"kind": "standard_normal"}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
