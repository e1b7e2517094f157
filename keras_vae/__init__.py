"""Conditional generative models that train with plain Keras and ship to devices."""

from keras_vae import _command, backends
from keras_vae.version import __version__

# Importing the classes registers them with Keras, so that it finds them in files. Only our own
# command line comes first, to choose Keras' backend: it imports this file a second time.
if not _command.is_waiting:
    backends.choose()
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
