"""Priors over the latent code."""

import math

import keras
import numpy as np
from keras import ops

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

    def log_prob(self, z):
        """Log density of `z` `(..., latent)`, in nats, `(...)`."""
        z = ops.convert_to_tensor(z)
        return -ops.sum(ops.square(z) + math.log(2 * math.pi), axis=-1) / 2

    def sample(self, count, latent_dim, temperature=1.0, seed=None):
        """Draw codes, the same ones on every backend and in `mobile_demo/edge/sample.py`.

        Args:
            count: Int. Number of codes.
            latent_dim: Int.
            temperature: Float, at least 0. Standard deviation; 0 gives the prior's mean.
            seed: Optional int, not negative.

        Returns:
            float32 array `(count, latent_dim)`.
        """
        if not (isinstance(count, int | np.integer) and count >= 1):
            raise ValueError(f"`count` must be a whole number of at least 1. Received: {count!r}")
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"`temperature` must be at least 0. Received: {temperature!r}")
        if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
            raise ValueError(f"`seed` must be a whole number, not negative. Received: {seed!r}")
        noise = np.random.default_rng(seed).standard_normal((count, latent_dim), dtype="float32")
        return np.float32(temperature) * noise

    def manifest(self):
        """What a device must know, as plain data."""
        return {"kind": "standard_normal"}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
