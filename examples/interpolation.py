"""Walk from one image to another, and make a film of it.

    python examples/interpolation.py

Mixing pixels gives two ghosts in one picture. Mixing codes gives images on the way, because the
decoder has learnt to make an image of every code between.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks
from keras_vae.figures import walks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/interpolation")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
model = keras_vae.VAE(
    networks.DenseEncoder(latent_dim=8, hidden_units=(256, 256)),
    networks.DenseDecoder(digits.x_train.shape[1:], hidden_units=(256, 256)),
    seed=0,
)
model.compile(keras.optimizers.Adam(1e-3))
model.fit(digits.x_train, batch_size=64, epochs=args.epochs, verbose=0)

# The first image of class 1 and that of class 0.
ends = [np.flatnonzero(digits.y_test == c)[0] for c in (1, 0)]
x = data.as_float(digits.x_test[ends])
z, _ = model.encode(x)
way = walks.between(z[:1], z[1:], steps=12)[0]  # (12, latent)
share = np.linspace(0, 1, 12).reshape(-1, 1, 1, 1)
pixels = (1 - share) * x[0] + share * x[1]
rows = np.concatenate([pixels, model.decode(way)])
title = f"From one image to another, {args.epochs} epochs"
figures.samples(rows, ["pixels mixed", "codes mixed"], title).savefig(args.out / "strip.png")

# A round trip through one image of each class: the last way leads back to the first.
stops = [np.flatnonzero(digits.y_test == c)[0] for c in range(len(digits.class_names))]
z, _ = model.encode(digits.x_test[stops])
steps = 10
trip = walks.between(z, np.roll(z, -1, axis=0), steps + 1)[:, :-1]  # without each second end
images = model.decode(trip.reshape(-1, 8))
frames = [figures.image_grid(image[None], columns=1, smallest=192) for image in images]
film = figures.animation(frames, milliseconds=[400, *[60] * (steps - 1)] * len(stops))
(args.out / "trip.gif").write_bytes(film)
print(f"{len(frames)} frames, {len(film) / 1000:.0f} kB")
print(args.out / "strip.png", args.out / "trip.gif")
