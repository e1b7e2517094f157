"""Layers that the models are made of."""

from keras_vae.conditions import (
    Categorical,
    Continuous,
    Hierarchical,
    MultiLabel,
    Ordinal,
    Sequence,
)
from keras_vae.layers.conditioning import Conditioning
from keras_vae.layers.masked_convolution import MaskedConv2D
from keras_vae.layers.quantizers import FiniteScalarQuantizer, Quantizer, VectorQuantizer
from keras_vae.layers.random_shift import RandomShift
from keras_vae.layers.residual import ResidualBlock
from keras_vae.layers.sampling import Sampling
from keras_vae.layers.spectral import SpectralNormalization

__all__ = [
    "Categorical",
    "Conditioning",
    "Continuous",
    "FiniteScalarQuantizer",
    "Hierarchical",
    "MaskedConv2D",
    "MultiLabel",
    "Ordinal",
    "Quantizer",
    "RandomShift",
    "ResidualBlock",
    "Sampling",
    "Sequence",
    "SpectralNormalization",
    "VectorQuantizer",
]
