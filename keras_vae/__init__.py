"""Conditional generative models that train with plain Keras and ship to devices."""

import os as _os
import sys as _sys

# While Python looks for what `python -m` is to run, "-m" stands in the program's place.
if _os.path.basename(_sys.argv[0] if _sys.argv else "") in ("-m", "keras-vae"):
    from keras_vae import _start  # noqa: F401 - before anything imports Keras

from keras_vae import (
    callbacks,
    data,
    divergences,
    doctor,
    evaluation,
    figures,
    layers,
    likelihoods,
    metrics,
    models,
    networks,
    objectives,
    posteriors,
    priors,
    schedules,
)
from keras_vae.layers.conditioning import Categorical, Continuous
from keras_vae.models import (
    GAN,
    VAE,
    VQVAE,
    Autoencoder,
    ConditionalGAN,
    ConditionalVAE,
    PixelCNN,
    load_model,
)
from keras_vae.version import __version__

__all__ = [
    "GAN",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "Categorical",
    "ConditionalGAN",
    "ConditionalVAE",
    "Continuous",
    "PixelCNN",
    "__version__",
    "callbacks",
    "data",
    "divergences",
    "doctor",
    "evaluation",
    "figures",
    "layers",
    "likelihoods",
    "load_model",
    "metrics",
    "models",
    "networks",
    "objectives",
    "posteriors",
    "priors",
    "schedules",
]
