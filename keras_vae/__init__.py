"""Conditional generative models that train with plain Keras and ship to devices."""

from keras_vae import (
    callbacks,
    divergences,
    layers,
    likelihoods,
    metrics,
    models,
    networks,
    priors,
)
from keras_vae.layers.conditioning import Categorical, Continuous
from keras_vae.models import VAE, Autoencoder, ConditionalVAE, load_model
from keras_vae.version import __version__

__all__ = [
    "VAE",
    "Autoencoder",
    "Categorical",
    "ConditionalVAE",
    "Continuous",
    "__version__",
    "callbacks",
    "divergences",
    "layers",
    "likelihoods",
    "load_model",
    "metrics",
    "models",
    "networks",
    "priors",
]
