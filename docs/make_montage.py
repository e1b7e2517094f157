"""A picture of what models draw: test images, samples of the same classes, nearest training images.

    python -m keras_vae train --data emoji64.npz --out runs/emoji64
    python -m keras_vae train --data mnist --out runs/mnist
    python docs/make_montage.py runs/emoji64 runs/mnist

Classes are taken in turn, and samples as they come of seed 1: none is picked by hand. Beneath each
is the training image nearest to it, by the Euclidean distance of the pixels, so that a copy shows.
"""

import io
import pathlib
import sys

import numpy as np
from PIL import Image

from keras_vae import data
from keras_vae.evaluation.nearest import nearest_images
from keras_vae.figures import gallery
from keras_vae.figures.images import labelled_grid
from keras_vae.storage.runs import Run

PATH = pathlib.Path(__file__).with_name("montage.jpg")
COLUMNS, ROWS, SEED = 10, 2, 1
WIDTH, GAP = 1000, 24
KINDS = ("real", "sample", "nearest")


def main():
    bands = [of_width(band(Run(folder))) for folder in sys.argv[1:]]
    if not bands:
        sys.exit("make_montage.py needs run folders of conditional models. Received: none.")
    height = sum(picture.height + GAP for picture in bands) + GAP
    sheet, top = Image.new("RGB", (WIDTH + 2 * GAP, height), "white"), GAP
    for picture in bands:
        sheet.paste(picture, (GAP, top))
        top += picture.height + GAP
    sheet.save(PATH, quality=88, optimize=True)
    print(PATH, f"{PATH.stat().st_size / 1000:.0f} kB")


def band(run):
    """The figure of one run: each sample between a test image and a training image."""
    dataset = run.dataset()
    subject = gallery.Subject(run.load_model(), dataset, run.history(), dataset.name)
    names = subject.label.names
    labels = np.arange(ROWS * COLUMNS, dtype="int32") % len(names)
    real = np.stack([image_of(dataset, label, k // len(names)) for k, label in enumerate(labels)])
    made = subject.samples.sample({"label": labels}, seed=SEED)
    index, _ = nearest_images(made, dataset.x_train)
    kinds = (data.as_float(real), made, data.as_float(dataset.x_train[index]))
    shape = made.shape[1:]
    rows = np.stack([images.reshape(ROWS, COLUMNS, *shape) for images in kinds], axis=1)
    title = f"{dataset.name}: test images, samples of their classes, nearest training images"
    return labelled_grid(rows.reshape(-1, *shape), KINDS * ROWS, title, subject.data_range)


def image_of(dataset, label, which):
    """A test image of a class: the first, the second and so on."""
    return dataset.x_test[np.flatnonzero(dataset.y_test == label)[which]]


def of_width(figure):
    """What a figure shows, as wide as the sheet."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=160)
    picture = Image.open(buffer).convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    return picture.resize((WIDTH, height), Image.Resampling.LANCZOS)


main()
