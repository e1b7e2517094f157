"""Your own encoder and decoder: any Keras model with the right ends.

    python examples/own_networks.py

An encoder takes `[x, condition]` (in a model without conditions just `x`) and returns the mean and
the log-variance of the code. A decoder takes `[z, condition]` and returns logits, shaped like the
data. What happens between is up to you; here, residual blocks and a label that scales channels.
"""

import argparse
import math
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures
from keras import layers

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/own_networks")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
shape, classes, latent_dim, width = digits.x_train.shape[1:], len(digits.class_names), 4, 192


def residual(h, condition):
    """A block that adds to what it was given, after the label chose how much of each feature."""
    inner = layers.Dense(width, activation="gelu")(layers.LayerNormalization()(h))
    gain = layers.Dense(width, activation="sigmoid")(condition)
    return layers.Add()([h, layers.Dense(width)(layers.Multiply()([inner, gain]))])


x, condition = keras.Input(shape), keras.Input((classes,))  # the label comes as a one-hot vector
h = layers.Dense(width)(layers.Flatten()(x))
h = residual(residual(h, condition), condition)
encoder = keras.Model([x, condition], [layers.Dense(latent_dim)(h), layers.Dense(latent_dim)(h)])

z, condition = keras.Input((latent_dim,)), keras.Input((classes,))
h = layers.Dense(width)(z)
h = residual(residual(h, condition), condition)
decoder = keras.Model([z, condition], layers.Reshape(shape)(layers.Dense(math.prod(shape))(h)))

kind = keras_vae.Categorical(classes, digits.class_names)
model = keras_vae.ConditionalVAE(encoder, decoder, condition={"label": kind}, seed=0)
model.compile(keras.optimizers.Adam(1e-3))
inputs = {"x": digits.x_train, "label": digits.y_train}
history = model.fit(inputs, batch_size=64, epochs=args.epochs, verbose=0).history
print(f"{model.count_params():,} parameters, loss {history['loss'][-1]:.1f} nats an image")

# It is saved, loaded and exported like any other, and needs no code of yours to be loaded.
model.save(args.out / "model.keras")
model = keras_vae.load_model(args.out / "model.keras")
images = model.sample({"label": np.repeat(np.arange(classes), 12)}, seed=0)
title = f"Samples through networks of our own, {args.epochs} epochs"
figures.samples(images, digits.class_names, title).savefig(args.out / "samples.png")
print(args.out / "samples.png")
