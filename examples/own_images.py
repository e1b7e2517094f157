"""Train on a folder of your own images: one sub-folder a class.

    python examples/own_images.py                        # makes a folder first, of digits
    python examples/own_images.py --data path/to/folder

All images need one size. The same works from the shell, and gives a run folder to evaluate, draw
and export: python -m keras_vae train --data path/to/folder
"""

import argparse
import pathlib
import random

import keras_vae
import keras
from keras_vae import data, figures, networks
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", help="folder (default: one made of digits)")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/own_images")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

folder = pathlib.Path(args.data or args.out / "images")
if not args.data:
    digits = data.load("digits")
    for index, (image, label) in enumerate(zip(digits.x_train, digits.y_train, strict=True)):
        path = folder / ("odd" if label % 2 else "even") / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (data.as_float(image[..., 0]) * 255).round().astype("uint8")
        Image.fromarray(pixels).save(path)

# A fifth of each class becomes the test set. Above 1 GiB the images stay in their files.
images = data.load(folder)
names, shape = images.class_names, images.x_train.shape[1:]
print(f"{len(images.x_train)} training images {shape} of the classes {', '.join(names)}")
model = keras_vae.ConditionalVAE(
    networks.DenseEncoder(latent_dim=6, hidden_units=(256, 256)),
    networks.DenseDecoder(shape, hidden_units=(256, 256)),
    condition={"label": keras_vae.Categorical(len(names), names)},
    seed=0,
)
model.compile(keras.optimizers.Adam(1e-3))
inputs = {"x": images.x_train, "label": images.y_train}
model.fit(inputs, batch_size=64, epochs=args.epochs, verbose=0)

labels = [name for name in names for _ in range(24)]  # a class may be asked for by its name
rows = [name for name in names for _ in range(2)]
title = f"Samples by folder, {args.epochs} epochs"
figure = figures.samples(model.sample({"label": labels}, seed=0), rows, title)
figure.savefig(args.out / "samples.png")
print(args.out / "samples.png")
