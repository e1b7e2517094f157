"""Encoders, decoders and discriminators."""

from keras_vae.networks.convolutional import ConvDecoder, ConvEncoder
from keras_vae.networks.dense import (
    DenseDecoder,
    DenseEncoder,
    GaussianEncoder,
    join_condition,
    split_condition,
)
from keras_vae.networks.discriminators import ConvDiscriminator, DenseDiscriminator
from keras_vae.networks.grid import ConvGridDecoder, ConvGridEncoder
from keras_vae.networks.ladder import LadderDecoder, LadderEncoder

__all__ = [
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvGridDecoder",
    "ConvGridEncoder",
    "DenseDecoder",
    "DenseDiscriminator",
    "DenseEncoder",
    "GaussianEncoder",
    "LadderDecoder",
    "LadderEncoder",
    "join_condition",
    "split_condition",
]
