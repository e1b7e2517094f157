"""Models, one file per family; their base classes, and what a family can do (`capabilities`)."""

import keras

from keras_vae.data.notes import Notes
from keras_vae.data.series_schema import SeriesSchema
from keras_vae.data.table_schema import TableSchema
from keras_vae.models.autoencoder import Autoencoder
from keras_vae.models.base import LatentVariableModel
from keras_vae.models.capabilities import (
    Adversarial,
    Bounds,
    DiscreteCodes,
    DrawsExactly,
    DrawsTokens,
    Encodes,
    Samples,
    Scores,
)
from keras_vae.models.conditional_gan import ConditionalGAN
from keras_vae.models.conditional_vae import ConditionalVAE
from keras_vae.models.gan import GAN
from keras_vae.models.generative import GenerativeModel
from keras_vae.models.mask_git import MaskGIT
from keras_vae.models.pixel_cnn import PixelCNN
from keras_vae.models.sequence_vae import SequenceVAE
from keras_vae.models.series_vae import series_vae
from keras_vae.models.table_vae import table_vae
from keras_vae.models.vae import VAE
from keras_vae.models.vq_vae import VQVAE
from keras_vae.storage.stored import load_model

__all__ = [
    "GAN",
    "VAE",
    "VQVAE",
    "Adversarial",
    "Autoencoder",
    "Bounds",
    "ConditionalGAN",
    "ConditionalVAE",
    "DiscreteCodes",
    "DrawsExactly",
    "DrawsTokens",
    "Encodes",
    "GenerativeModel",
    "LatentVariableModel",
    "MaskGIT",
    "PixelCNN",
    "Samples",
    "Scores",
    "SequenceVAE",
    "load_model",
    "series_vae",
    "table_vae",
]

# The schemas that a model holds; reading data needs no Keras.
for _schema in (Notes, SeriesSchema, TableSchema):
    keras.saving.register_keras_serializable("keras_vae")(_schema)
