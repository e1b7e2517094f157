"""Priors over the latent code, one file per kind.

A prior is an object with `kl`, `log_prob`, `draw` and `sample` (see `base.Prior`); one with weights
is a Keras layer, trained, saved and loaded with its model. Whatever the prior, the exported
sampler draws from it: a device never needs to know.
"""

from keras_vae.priors.base import Prior
from keras_vae.priors.conditional_normal import ConditionalNormal
from keras_vae.priors.fitted import FittedMixture
from keras_vae.priors.gaussian_mixture import GaussianMixture
from keras_vae.priors.real_nvp import RealNVP
from keras_vae.priors.standard_normal import StandardNormal
from keras_vae.priors.vamp import VampPrior

__all__ = [
    "ConditionalNormal",
    "FittedMixture",
    "GaussianMixture",
    "Prior",
    "RealNVP",
    "StandardNormal",
    "VampPrior",
]
