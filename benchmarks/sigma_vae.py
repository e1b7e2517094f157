"""The sigma-VAE against a Gaussian of standard deviation 1: test reconstruction error of colours.

    KERAS_VAE_DATA=FOLDER KERAS_BACKEND=jax python benchmarks/sigma_vae.py

FOLDER holds `cifar10_small.npz`, colour images of 32x32; `--data` takes another set. The same
network from the same weights, for equally many epochs, once with each scale. Prints, as JSON, for
each the mean squared error a value of reconstructed test images (decoded posterior means), the
standard deviation it came to and the KL; and `ratio`, the error of `--scale` over that of the
fixed 1. Bound: 0.5.
"""

import argparse
import math
import os
import random
import time

import keras
import numpy as np
import receipts

import keras_vae
from keras_vae import data
from keras_vae.likelihoods import Gaussian


def measure(scale, images, args):
    """Train a model with a scale and return what became of it."""
    random.seed(args.seed)
    np.random.seed(args.seed)
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(args.latent_dim, (args.units,)),
        keras_vae.networks.DenseDecoder(images.x_train.shape[1:], (args.units,)),
        likelihood=Gaussian(scale),
        seed=args.seed,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    start = time.perf_counter()
    history = model.fit(images.x_train, batch_size=128, epochs=args.epochs, verbose=2).history
    seconds = time.perf_counter() - start
    reconstructed = model.reconstruct(images.x_test)
    return {
        "scale": scale,
        "test_mse": float(np.mean(np.square(images.x_test - reconstructed), dtype="float64")),
        "standard_deviation": math.exp(
            float(keras.ops.convert_to_numpy(model.likelihood.log_scale))
        ),
        "train_kl": history["kl_loss"][-1],
        "seconds": round(seconds, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    folder = os.environ.get("KERAS_VAE_DATA", "")
    small = os.path.join(folder, "cifar10_small.npz")
    parser.add_argument("--data", default=small, help="default: cifar10_small.npz")
    parser.add_argument("--scale", choices=("shared", "optimal"), default="optimal")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--latent-dim", type=int, default=64)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    receipts.add_option(parser)
    args = parser.parse_args()
    images = data.load(args.data)
    fixed, learnt = (measure(scale, images, args) for scale in (1.0, args.scale))
    result = {
        "ratio": learnt["test_mse"] / fixed["test_mse"],
        "runs": [fixed, learnt],
        "train_images": len(images.x_train),
        "test_images": len(images.x_test),
    }
    args.data = images.name
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
