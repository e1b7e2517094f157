"""Layers that the models are made of."""

from keras_vae.layers.conditioning import Categorical, Conditioning, Continuous
from keras_vae.layers.sampling import Sampling
from keras_vae.layers.spectral import SpectralNormalization

__all__ = ["Categorical", "Conditioning", "Continuous", "Sampling", "SpectralNormalization"]
