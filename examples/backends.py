"""One model, three backends: train on one, sample on the others.

    KERAS_BACKEND=jax python examples/backends.py

Keras chooses its backend once, when it is imported, so each backend gets a process of its own. A
model's file does not say where it was trained, and a seed gives the same codes everywhere.
"""

import argparse
import importlib.util
import os
import pathlib
import random
import subprocess
import sys

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/backends")
parser.add_argument("--backends", default="tensorflow,jax,torch", help="to sample on")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
kind = keras_vae.Categorical(len(digits.class_names), digits.class_names)
model = keras_vae.ConditionalVAE(
    networks.DenseEncoder(latent_dim=4, hidden_units=(128, 128)),
    networks.DenseDecoder(digits.x_train.shape[1:], hidden_units=(128, 128)),
    condition={"label": kind},
    seed=0,
)
model.compile(keras.optimizers.Adam(2e-3))
inputs = {"x": digits.x_train, "label": digits.y_train}
model.fit(inputs, batch_size=64, epochs=args.epochs, verbose=0)
model.save(args.out / "model.keras")
here = keras.backend.backend()
rows = {f"{here}, trained here": model.sample({"label": [7] * 12}, seed=42)}

PROGRAM = """
import sys, numpy as np, keras_vae
model = keras_vae.load_model(sys.argv[1])
np.save(sys.argv[2], model.sample({"label": [7] * 12}, seed=42))
"""
for backend in args.backends.split(","):
    if backend == here or not importlib.util.find_spec(backend):
        continue
    samples = args.out / f"{backend}.npy"
    command = [sys.executable, "-c", PROGRAM, args.out / "model.keras", samples]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    rows[backend] = np.load(samples)

reference = next(iter(rows.values()))
for name, images in rows.items():
    print(f"{name:>24}: largest difference of a pixel {np.abs(images - reference).max():.1e}")
title = "The same seed on every backend"
figure = figures.samples(np.concatenate(list(rows.values())), list(rows), title)
figure.savefig(args.out / "backends.png")
print(args.out / "backends.png")
