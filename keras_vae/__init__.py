"""Conditional generative models that train with plain Keras and ship to devices."""

import importlib

from keras_vae import _lazy, exporting
from keras_vae.version import __version__

# The public names and the modules that they come from, which are imported when a name is asked for.
_MODULES = {
    "GAN": "keras_vae.models",
    "VAE": "keras_vae.models",
    "VQVAE": "keras_vae.models",
    "AnomalyDetector": "keras_vae.detector",
    "Autoencoder": "keras_vae.models",
    "Categorical": "keras_vae.conditions",
    "ConditionalGAN": "keras_vae.models",
    "ConditionalVAE": "keras_vae.models",
    "Continuous": "keras_vae.conditions",
    "Hierarchical": "keras_vae.conditions",
    "MaskGIT": "keras_vae.models",
    "MultiLabel": "keras_vae.conditions",
    "Ordinal": "keras_vae.conditions",
    "PixelCNN": "keras_vae.models",
    "Sequence": "keras_vae.conditions",
    "SequenceVAE": "keras_vae.models",
    "callbacks": "keras_vae.callbacks",
    "data": "keras_vae.data",
    "distributions": "keras_vae.distributions",
    "divergences": "keras_vae.divergences",
    "doctor": "keras_vae.doctor",
    "evaluation": "keras_vae.evaluation",
    "export": "export",
    "figures": "keras_vae.figures",
    "layers": "keras_vae.layers",
    "likelihoods": "keras_vae.likelihoods",
    "load_model": "keras_vae.models",
    "metrics": "keras_vae.metrics",
    "models": "keras_vae.models",
    "networks": "keras_vae.networks",
    "objectives": "keras_vae.objectives",
    "posteriors": "keras_vae.posteriors",
    "priors": "keras_vae.priors",
    "schedules": "keras_vae.schedules",
    "series_vae": "keras_vae.models",
    "table_vae": "keras_vae.models",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = _MODULES[name]
    if where == "export":
        value = exporting.function()
    else:
        module = importlib.import_module(where)
        value = module if where.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})


exporting.say_if_shadowed()
_lazy.import_with_keras({where for where in _MODULES.values() if where != "export"})
