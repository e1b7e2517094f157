"""A conditional VAE: sixteen sevens on request, and one hand's way of writing all digits.

    python examples/conditional_vae.py

The label goes into the encoder and the decoder, so the code need not say which digit it is: it
keeps what is left, the handwriting. Encode a drawing with its label, decode with another.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/conditional_vae")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
names = digits.class_names
model = keras_vae.ConditionalVAE(
    networks.DenseEncoder(latent_dim=4, hidden_units=(256, 256)),
    networks.DenseDecoder(digits.x_train.shape[1:], hidden_units=(256, 256)),
    # A tenth of the labels is hidden while training, so that it also samples without one.
    condition={"label": keras_vae.Categorical(len(names), names, unknown_rate=0.1)},
    seed=0,
)
model.compile(keras.optimizers.Adam(1e-3))
model.fit(
    {"x": digits.x_train, "label": digits.y_train},
    validation_data=({"x": digits.x_test, "label": digits.y_test},),
    batch_size=64,
    epochs=args.epochs,
    verbose=0,
)

# One row a class. The same seed gives the same images on every backend and device.
labels = np.repeat(np.arange(len(names)), 12)
images = np.concatenate(
    [model.sample({"label": labels}, seed=42), model.sample({"label": [None] * 12}, seed=42)]
)
title = f"ConditionalVAE on {digits.name}, {args.epochs} epochs"
figures.samples(images, [*names, "unknown"], f"Samples\n{title}").savefig(args.out / "samples.png")

# One code, every class.
x, y = digits.x_test[:8], digits.y_test[:8]
z_mean, _ = model.encode({"x": x, "label": y})
every = np.tile(np.arange(len(names)), 8)
styles = model.decode(np.repeat(z_mean, len(names), axis=0), {"label": every})
styles = styles.reshape(8, len(names), *x.shape[1:])
rows = np.concatenate([data.as_float(x)[:, None], styles], axis=1).reshape(-1, *x.shape[1:])
columns = ["from", *names]
title = f"The same handwriting\n{title}"
figure = figures.labelled_grid(rows, [names[c] for c in y], title, column_names=columns)
figure.savefig(args.out / "styles.png")
print(args.out / "samples.png", args.out / "styles.png")
