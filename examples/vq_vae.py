"""A VQ-VAE: images as a grid of words from a codebook, and a prior that writes such grids.

    python examples/vq_vae.py

First the autoencoder learns its codebook, then a MaskGIT learns which codes go together. It draws
a grid in a few steps, many codes at once. The prior is part of the model: the same file samples.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, layers, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/vq_vae")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
model = keras_vae.VQVAE(
    networks.ConvGridEncoder(latent_dim=8, hidden_units=(64,)),  # halves the image once
    networks.ConvGridDecoder(digits.x_train.shape[1:], hidden_units=(64,)),
    layers.VectorQuantizer(num_codes=64, dim=8, seed=0),
    seed=0,
)
model.compile(keras.optimizers.Adam(2e-3))
model.fit(digits.x_train, batch_size=64, epochs=args.epochs, verbose=0)
codes = model.encode(digits.x_test)
print(f"An image {digits.x_train.shape[1:3]} is a grid {model.grid_shape} of codes. The first:")
print(codes[0])
print(f"{len(np.unique(codes))} of 64 codes are in use.")

reconstructed = model.reconstruct(digits.x_test[:12])
figure = figures.reconstructions(data.as_float(digits.x_test[:12]), reconstructed, "VQ-VAE")
figure.savefig(args.out / "reconstructions.png")

# Without a prior, grids drawn at random are noise. With one, of a class on request.
noise = model.decode(np.random.default_rng(0).integers(64, size=(12, *model.grid_shape)))
classes = digits.class_names
kinds = {"label": keras_vae.Categorical(len(classes), classes)}
prior = keras_vae.MaskGIT(model.grid_shape, 64, kinds, hidden_units=64, num_layers=3, seed=0)
inputs = {"x": digits.x_train, "label": digits.y_train}
model.fit_prior(inputs, prior, 4 * args.epochs, batch_size=64, verbose=0)
nats = -prior.log_likelihood({"codes": codes, "label": digits.y_test}).mean()
even = np.log(64) * codes[0].size
print(
    f"A test grid takes {nats:.1f} nats by the prior, {even:.1f} if all codes were equally likely."
)
print(f"The prior draws its {codes[0].size} codes in {prior.num_steps} steps.")
samples = model.sample({"label": np.repeat(np.arange(len(classes)), 12)}, seed=0)
title = "Grids of codes, at random and by the prior"
figure = figures.samples(np.concatenate([noise, samples]), ["random", *classes], title)
figure.savefig(args.out / "samples.png")
print(args.out / "reconstructions.png", args.out / "samples.png")
