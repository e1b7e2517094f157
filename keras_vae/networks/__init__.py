"""Encoders and decoders."""

from keras_vae.networks.convolutional import ConvDecoder, ConvEncoder
from keras_vae.networks.dense import DenseDecoder, DenseEncoder

__all__ = ["ConvDecoder", "ConvEncoder", "DenseDecoder", "DenseEncoder"]
