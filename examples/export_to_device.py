"""From training to a device: export the decoder, then sample from the file alone.

    python examples/export_to_device.py

The exported file gets its name only after it ran in its real runtime and agreed with Keras. What
samples from it is mobile_demo/edge/sample.py, which needs numpy and a runtime, not Keras.
"""

import argparse
import pathlib
import random
import subprocess
import sys

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks
from export import export

EDGE = pathlib.Path(__file__).parents[1] / "mobile_demo" / "edge" / "sample.py"

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="digits", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/export_to_device")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

digits = data.load(args.data)
names = digits.class_names
model = keras_vae.ConditionalVAE(
    networks.DenseEncoder(latent_dim=4, hidden_units=(128, 128)),
    networks.DenseDecoder(digits.x_train.shape[1:], hidden_units=(128, 128)),
    condition={"label": keras_vae.Categorical(len(names), names)},
    seed=0,
)
model.compile(keras.optimizers.Adam(2e-3))
inputs = {"x": digits.x_train, "label": digits.y_train}
model.fit(inputs, batch_size=64, epochs=args.epochs, verbose=0)

# float32 as it is, and with weights of 8 bits, a quarter of the size.
files = [export(model, format="tflite", quantize=how, out=args.out) for how in ("none", "int8")]
asked = model.sample({"label": [7] * 12}, seed=42)
rows = {"Keras": asked}
for file in files:
    values = args.out / f"{file.stem}.npy"
    command = [sys.executable, EDGE, "--model", file, "--label", names[7], "--count", "12"]
    subprocess.run(
        [*command, "--seed", "42", "--out", values], check=True, stdout=subprocess.DEVNULL
    )
    rows[file.name] = np.load(values)
    error = np.abs(rows[file.name] - asked).max()
    size = file.stat().st_size / 1000
    print(f"{file.name:>20}: {size:5.0f} kB, largest difference of a pixel from Keras {error:.1e}")
title = f"Sevens of seed 42, {args.epochs} epochs"
figure = figures.samples(np.concatenate(list(rows.values())), list(rows), title)
figure.savefig(args.out / "sevens.png")
print(args.out / "sevens.png")
