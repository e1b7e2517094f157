"""Encoders, decoders, classifiers and discriminators."""

from keras_vae.networks.classifiers import ConvClassifier, DenseClassifier, TableClassifier
from keras_vae.networks.conv_ladder import ConvLadderDecoder, ConvLadderEncoder
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
from keras_vae.networks.notes import NotesDecoder, NotesEncoder
from keras_vae.networks.sequence_decoders import CausalDecoder, ConductorDecoder, GRUDecoder
from keras_vae.networks.sequence_encoders import SequenceEncoder
from keras_vae.networks.sequences import SequenceDecoder
from keras_vae.networks.series import Conv1DDecoder, Conv1DEncoder
from keras_vae.networks.tables import TableDecoder, TableEncoder

__all__ = [
    "CausalDecoder",
    "ConductorDecoder",
    "Conv1DDecoder",
    "Conv1DEncoder",
    "ConvClassifier",
    "ConvDecoder",
    "ConvDiscriminator",
    "ConvEncoder",
    "ConvGridDecoder",
    "ConvGridEncoder",
    "ConvLadderDecoder",
    "ConvLadderEncoder",
    "DenseClassifier",
    "DenseDecoder",
    "DenseDiscriminator",
    "DenseEncoder",
    "GRUDecoder",
    "GaussianEncoder",
    "LadderDecoder",
    "LadderEncoder",
    "NotesDecoder",
    "NotesEncoder",
    "SequenceDecoder",
    "SequenceEncoder",
    "TableClassifier",
    "TableDecoder",
    "TableEncoder",
    "join_condition",
    "split_condition",
]
