"""Models, one file per family."""

from keras_vae.models.autoencoder import Autoencoder
from keras_vae.models.conditional_gan import ConditionalGAN
from keras_vae.models.conditional_vae import ConditionalVAE
from keras_vae.models.gan import GAN
from keras_vae.models.pixel_cnn import PixelCNN
from keras_vae.models.vae import VAE
from keras_vae.models.vq_vae import VQVAE
from keras_vae.storage.stored import load_model

__all__ = [
    "GAN",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "ConditionalGAN",
    "ConditionalVAE",
    "PixelCNN",
    "load_model",
]
