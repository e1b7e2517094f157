"""A program of a user's, which `mypy --strict` must accept; it is read, not run."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import keras_vae

codes = keras_vae.priors.StandardNormal().sample(count=3, latent_dim=2, seed=42)
assert_type(codes, NDArray[np.float32])
assert_type(keras_vae.divergences.kl_standard_normal(codes, codes), Any)
assert_type(keras_vae.schedules.CosineWarmup(epochs=10)(3), float)
gaussian = keras_vae.likelihoods.Gaussian("optimal", channels=3)
assert_type(gaussian(codes), keras_vae.distributions.Distribution)
assert_type(keras_vae.__version__, str)
