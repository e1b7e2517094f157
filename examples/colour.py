"""A convolutional VAE on colour images, with a likelihood that suits colours.

    python examples/colour.py
    python examples/colour.py --data cifar10 --epochs 20

Without `--data` the digits get a colour each, of a colourful background, so that everything runs
in seconds. The Bernoulli likelihood is for black and white. Colours are numbers: a Gaussian whose
scale is the best one for each batch needs no weight between its two terms to be tuned by hand.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, likelihoods, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", help="default: digits in colours")
parser.add_argument("--epochs", type=int, default=25)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/colour")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it


def tinted(images, seed):
    """Grey images in [0, 1] as a mixture of two random colours, `(n, height, width, 3)`."""
    rng = np.random.default_rng(seed)
    ink, paper = (
        rng.uniform(0.5, 1, (len(images), 1, 1, 3)),
        rng.uniform(0, 0.4, (len(images), 1, 1, 3)),
    )
    return (images * ink + (1 - images) * paper).astype("float32")


colours = data.load(args.data or "digits")
x_train, x_test = data.as_float(colours.x_train), data.as_float(colours.x_test)
if not args.data:
    x_train, x_test = tinted(x_train, seed=0), tinted(x_test, seed=1)
model = keras_vae.VAE(
    networks.ConvEncoder(latent_dim=16, hidden_units=(32, 64)),  # each halves the image
    networks.ConvDecoder(x_train.shape[1:], hidden_units=(64, 32)),
    likelihood=likelihoods.Gaussian("optimal"),
    seed=0,
)
model.compile(keras.optimizers.Adam(2e-3))
model.fit(x_train, batch_size=64, epochs=args.epochs, verbose=0)

error = np.sqrt(np.mean((model.reconstruct(x_test) - x_test) ** 2))
print(f"Root mean squared error of a colour on test images: {error:.3f} of 1")
title = f"VAE on {colours.name} in colours, {args.epochs} epochs"
figure = figures.reconstructions(x_test[:12], model.reconstruct(x_test[:12]), title)
figure.savefig(args.out / "reconstructions.png")
figures.samples(model.sample(72, seed=0), [""] * 6, title).savefig(args.out / "samples.png")
print(args.out / "reconstructions.png", args.out / "samples.png")
