"""Train and export the table of the page's tests: python make_table.py

Visits to a doctor, of columns of every kind, so small that the files are kept.
"""

import csv
import pathlib
import tempfile

import keras
import numpy as np

import keras_vae
from export import export
from keras_vae import data

ROWS = 3000


def make_rows(seed=0):
    """Columns of visits: names with commas and spaces, a unit, gaps, and two conditions."""
    rng = np.random.default_rng(seed)
    sex, age = rng.integers(0, 2, ROWS), rng.integers(18, 90, ROWS)
    height = 164 + 13 * sex + rng.normal(0, 6, ROWS)
    weight = 0.7 * (height - 60) + 0.1 * age + rng.normal(0, 6, ROWS)
    reason = np.where(rng.random(ROWS) < age / 110, 2, rng.integers(0, 3, ROWS))
    costs = np.where(rng.random(ROWS) < 0.6, 0, rng.integers(5, 900, ROWS))
    return {
        "age": age.tolist(),
        "height": np.round(height, 1).tolist(),
        "weight": [None if gap else w for gap, w in zip(rng.random(ROWS) < 0.1, np.round(weight, 1).tolist(), strict=True)],
        "reason for the visit": [("cold", "check-up, yearly", "a long illness")[k] for k in reason],
        "costs": costs.tolist(),
        "smokes": np.array(["no", "yes"])[(rng.random(ROWS) < 0.2 + 0.1 * sex).astype(int)].tolist(),
        "sex": np.array(["female", "male"])[sex].tolist(),
    }


def main():
    keras.utils.set_random_seed(0)
    rows = make_rows()
    kinds = {"height": data.Numeric(unit="cm"), "weight": data.Numeric(unit="kg")}
    table = data.table(rows, ["sex"], kinds)
    model = keras_vae.table_vae(table.schema, latent_dim=3, hidden_units=(24,), seed=0)
    model.compile(keras.optimizers.Adam(4e-3))
    model.fit(table.train, batch_size=64, epochs=60, verbose=2)
    folder = pathlib.Path(__file__).parent.parent / "fixtures" / "table"
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "visits.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(rows)
            writer.writerows(zip(*rows.values(), strict=True))
        export(model, "onnx", "sampler", "exact", out=folder)
        export(model, "onnx", "scorer", out=folder, data=path)
        export(model, "tflite", "sampler", "exact", out=folder)


if __name__ == "__main__":
    main()
