"""From a file of rows to rows that are drawn on a device, and how good they are.

    python examples/tables.py

The file holds ten measurements of 569 tumours, a twentieth of them missing, and what each tumour
was. The model draws new ones, malignant or benign as it is asked; the exported file does it without
Keras.
"""

import argparse
import csv
import pathlib
import subprocess
import sys

import keras_vae
import keras
import numpy as np
from keras_vae import data, evaluation
from export import export
from keras_vae.data import table_sources
from keras_vae.evaluation.tables import draw_rows, matrix
from keras_vae.figures import tables as draw
from sklearn.datasets import load_breast_cancer

EDGE = pathlib.Path(__file__).parents[1] / "mobile_demo" / "edge" / "sample.py"

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/tables")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
keras.utils.set_random_seed(0)

# Your file stands here.
found, rng = load_breast_cancer(), np.random.default_rng(0)
values = np.where(rng.random((len(found.data), 10)) < 0.05, np.nan, found.data[:, :10])
columns = dict(zip(found.feature_names.tolist(), values.T, strict=False))
columns["diagnosis"] = found.target_names[found.target].astype(object)
path = args.out / "tumours.csv"
path.write_bytes(table_sources.as_csv(columns))

# From it to a file for a device in six lines; docs/tables.md says what the scores are.
table = data.table(path, conditions=["diagnosis"])
model = keras_vae.table_vae(table.schema, seed=0)
model.compile(keras.optimizers.Adam(2e-3))
model.fit(table.train, batch_size=32, epochs=args.epochs, verbose=0)
model.fit_prior(table.train, per_class=False)
sampler = export(model, format="tflite", graph="sampler", out=args.out)

table.summary()
terms = evaluation.evaluate_rows(model, table.test)
judged = evaluation.judge_rows(model, table.train, table.test)
names = ("synthetic_training_auroc", "real_training_auroc", "exact_copies", "close_samples")
scores = {**terms, **judged}
for name in ("numeric_distance", "association_distance", *names, "close_held_out"):
    print(f"{name:>24} {scores[name]:.4f}")

drawn_on_device = args.out / "drawn.csv"
command = [sys.executable, EDGE, "--model", sampler, "--condition", "diagnosis=malignant"]
command += ["--count", "1000", "--seed", "42", "--out", drawn_on_device]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
with open(drawn_on_device, newline="") as file:
    rows = list(csv.DictReader(file))
here = model.schema.decode(model.sample({"diagnosis": "malignant"}, count=1000, seed=42))
name = next(iter(here))
apart = np.abs(here[name] - [float(row[name]) for row in rows]).max()
print(
    f"{len(rows)} malignant ones from {sampler.stat().st_size / 1000:.0f} kB: {drawn_on_device}, "
    f"whose {name} is within {apart:.1e} of what Keras draws"
)

parts = matrix(table.schema, draw_rows(model, table.test)), matrix(table.schema, table.test)
title = "Test rows and drawn ones, and the distance of both"
figure = draw.columns(table.schema, *parts, terms["column_distances"], title)
figure.savefig(args.out / "columns.png")
print(args.out / "columns.png")
