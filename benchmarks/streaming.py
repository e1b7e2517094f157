"""Training from image files against training from memory, in turn.

    KERAS_BACKEND=torch python benchmarks/streaming.py

Writes 3,840 colour images of 32x32 as PNG to a temporary folder, and trains the convolutional VAE
of `training.py` on them, epoch for epoch from memory and from the files, on two cores.
Printed are the median seconds of both, their ratio, and what an epoch of reading alone costs.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

import keras
import numpy as np
import receipts
from PIL import Image
from training import CONV_LATENT, CONV_UNITS, IMAGES

import keras_vae
from keras_vae import data, networks

SIZE = (32, 32, 3)


def write_folder(folder):
    path = os.path.join(os.environ["KERAS_VAE_DATA"], "cifar10_small.npz")
    with np.load(path, allow_pickle=False) as archive:
        images, labels = archive["x_train"], archive["y_train"].ravel()
    for split, rows in {"train": slice(IMAGES["conv"]), "test": slice(-200, None)}.items():
        for index, (image, label) in enumerate(zip(images[rows], labels[rows], strict=True)):
            place = pathlib.Path(folder) / split / str(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{index}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="epochs that count (%(default)s)")
    receipts.add_option(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder)
        files = data.load(folder, in_memory=False).x_train
        sources = {"memory": files.in_memory(), "files": files}
        model = keras_vae.VAE(
            networks.ConvEncoder(CONV_LATENT, CONV_UNITS["conv"]),
            networks.ConvDecoder(SIZE, CONV_UNITS["conv"][::-1]),
        )
        model.compile(keras.optimizers.Adam(1e-3))
        seconds = {name: [] for name in sources}
        for _ in range(1 + args.rounds):
            for name, x in sources.items():
                start = time.perf_counter()
                model.fit(x, batch_size=128, epochs=1, verbose=0)
                seconds[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        files[:]
        reading = time.perf_counter() - start
    memory, streamed = (statistics.median(values[1:]) for values in seconds.values())
    result = {
        "memory_s": round(memory, 2),
        "files_s": round(streamed, 2),
        "files_over_memory": round(streamed / memory, 3),
        "reading_alone_s": round(reading, 2),
    }
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
