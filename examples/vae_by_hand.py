"""A VAE written by hand in plain Keras, with the pieces of this package.

    python examples/vae_by_hand.py

`keras_vae.VAE` is no magic: an encoder, a draw, a decoder, and a loss of two terms. Here they are,
in the functional style of Keras, and run as they are on TensorFlow, JAX and PyTorch.
"""

import argparse
import math
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, divergences, figures, likelihoods
from keras import layers, ops

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/vae_by_hand")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it


class Posterior(keras_vae.layers.Sampling):
    """Draws z, and adds KL(q(z|x) || N(0, I)) to the loss: nats, summed over the dimensions."""

    def call(self, z_mean, z_log_var):
        self.add_loss(ops.mean(divergences.kl_standard_normal(z_mean, z_log_var)))
        return super().call(z_mean, z_log_var)


def negative_log_likelihood(x, logits):
    """-log p(x|z): nats, summed over the pixels. A mean over them would weigh the KL too much."""
    return -likelihoods.Bernoulli().log_prob(x, logits)


digits = data.load(args.data)
x_train, x_test = data.as_float(digits.x_train), data.as_float(digits.x_test)
shape, latent_dim = x_train.shape[1:], 4

x = keras.Input(shape)
h = layers.Dense(256, activation="relu")(layers.Flatten()(x))
# The log of the variance may be any number; a variance may not.
z_mean, z_log_var = layers.Dense(latent_dim)(h), layers.Dense(latent_dim)(h)
z = Posterior(seed=0)(z_mean, z_log_var)
decoder = keras.Sequential(
    [
        keras.Input((latent_dim,)),
        layers.Dense(256, activation="relu"),
        layers.Dense(math.prod(shape)),
        layers.Reshape(shape),  # logits: the sigmoid belongs to the likelihood
    ]
)
vae = keras.Model(x, decoder(z))
vae.compile(keras.optimizers.Adam(1e-3), loss=negative_log_likelihood)
vae.fit(x_train, x_train, batch_size=64, epochs=args.epochs, verbose=0)

nats = vae.evaluate(x_test, x_test, verbose=0)
print(f"Minus the evidence lower bound on test images: {nats:.1f} nats an image")
noise = np.random.default_rng(0).normal(size=(80, latent_dim)).astype("float32")
images = ops.convert_to_numpy(ops.sigmoid(decoder(noise)))
title = f"Samples of a VAE by hand, {args.epochs} epochs"
figures.samples(images, [""] * 8, title).savefig(args.out / "samples.png")
print(args.out / "samples.png")
