"""Encoders, decoders and discriminators."""

from keras_vae.networks.convolutional import ConvDecoder, ConvEncoder
from keras_vae.networks.dense import DenseDecoder, DenseEncoder
from keras_vae.networks.discriminators import ConvDiscriminator, DenseDiscriminator

__all__ = [
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "DenseDecoder",
    "DenseDiscriminator",
    "DenseEncoder",
]
