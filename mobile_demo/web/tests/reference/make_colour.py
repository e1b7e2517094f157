"""Train and export the colour model of the page's tests: python make_colour.py

Discs, squares and crosses of any colour on white, 12 x 10 pixels, so small that the files are kept.
"""

import pathlib
import tempfile

import keras
import numpy as np

import keras_vae
from export import export
from keras_vae import networks

HEIGHT, WIDTH = 12, 10
NAMES = ("disc", "square", "a_cross_with_a_long_name")


def make_images(count, seed):
    """Float images `(count, 12, 10, 3)` in [0, 1], and their labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(count, dtype="int32") % 3
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    across = columns[None] - rng.uniform(4, 5, (count, 1, 1))
    down = rows[None] - rng.uniform(5, 6, (count, 1, 1))
    radius = rng.uniform(2.5, 4, (count, 1, 1))
    inside = np.stack(
        [
            across**2 + down**2 < radius**2,
            np.maximum(abs(across), abs(down)) < 0.85 * radius,
            (np.minimum(abs(across), abs(down)) < 0.8)
            & (np.maximum(abs(across), abs(down)) < radius),
        ]
    )[y, np.arange(count)]
    colour = rng.uniform(0, 0.9, (count, 1, 1, 3))
    return np.where(inside[..., None], colour, 1.0).astype("float32"), y


def main():
    keras.utils.set_random_seed(0)
    x, y = make_images(3000, 0)
    model = keras_vae.ConditionalVAE(
        networks.ConvEncoder(6, hidden_units=(8, 12)),
        networks.ConvDecoder((HEIGHT, WIDTH, 3), hidden_units=(12, 8)),
        {"label": keras_vae.Categorical(3, names=NAMES)},
        likelihood=keras_vae.likelihoods.Gaussian("optimal"),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit({"x": x, "label": y}, batch_size=64, epochs=40, verbose=2)
    held_out, labels = make_images(300, 1)
    folder = pathlib.Path(__file__).parent.parent / "fixtures" / "colour"
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(
            pathlib.Path(scratch) / "data.npz",
            x_train=np.rint(255 * x).astype("uint8"),
            y_train=y,
            x_test=np.rint(255 * held_out).astype("uint8"),
            y_test=labels,
            class_names=np.array(NAMES),
        )
        for graph in ("decoder", "encoder", "scorer"):
            export(model, "tflite", graph, out=folder, data=f"{scratch}/data.npz")


if __name__ == "__main__":
    main()
