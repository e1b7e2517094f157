"""Make `mnist_small.npz`: 800 training and 100 test images of each of MNIST's classes.

    KERAS_VAE_DATA=FOLDER python keras_vae/excerpts/make_mnist_small.py

An image is chosen by the SHA-256 of its pixels, the lowest of its class first, so that every copy
of MNIST gives the same excerpt, in whatever order its images are. They are in the order of these
numbers, which mixes the classes. Training images are chosen from MNIST's training images, test
images from its test images, and no pixel is changed.
"""

import argparse
import hashlib
import pathlib

import numpy as np

from keras_vae import data

PATH = pathlib.Path(__file__).with_name("mnist_small.npz")
PER_CLASS = {"train": 800, "test": 100}


def excerpt(mnist):
    """Return the excerpt's arrays by name: uint8 images `(n, 28, 28)` and uint8 labels `(n,)`.

    Args:
        mnist: `data.Dataset`, the whole of MNIST.
    """
    arrays = {}
    for part, count in PER_CLASS.items():
        x, y = getattr(mnist, f"x_{part}")[..., 0], getattr(mnist, f"y_{part}")
        order = np.array(sorted(range(len(x)), key=lambda i: hashlib.sha256(x[i]).digest()))
        chosen = [np.flatnonzero(y[order] == label)[:count] for label in range(10)]
        order = order[np.sort(np.concatenate(chosen))]
        arrays |= {f"x_{part}": x[order], f"y_{part}": y[order].astype("uint8")}
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=PATH, type=pathlib.Path, help="default: beside this file")
    args = parser.parse_args()
    np.savez_compressed(args.out, **excerpt(data.load("mnist")))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
