"""Find anomalies in a machine's vibrations: what the model has never seen, it finds improbable.

    python examples/sensor_anomaly.py

Nothing here is an image. An example is a window of 64 readings; the model learns from healthy
windows only, and its estimate of log p(x) is the score. Faults need no labels and no examples.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import likelihoods, networks
from keras_vae.figures.style import COLOURS
from matplotlib.figure import Figure

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/sensor_anomaly")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

READINGS, rng = 64, np.random.default_rng(0)
time = np.arange(READINGS)


def healthy(count):
    """A rotation of nearly constant speed, its second harmonic, and the noise of the sensor."""
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    speed = rng.uniform(0.299, 0.301, (count, 1))
    angle = phase + speed * time
    return np.sin(angle) + 0.4 * np.sin(2 * angle + 1) + 0.1 * rng.normal(size=(count, READINGS))


def faulty(count):
    """Three kinds in turn: a knock, a sensor that hangs, and a bearing that hums."""
    x = healthy(count)
    for index, window in enumerate(x):
        at = rng.integers(8, READINGS - 20)
        if index % 3 == 0:
            window[at : at + 2] += 0.45
        elif index % 3 == 1:
            window[at : at + 4] = window[at]
        else:
            window += 0.1 * np.sin(1.9 * time + at)
    return x


x_train, usual, unusual = (x.astype("float32") for x in (healthy(4000), healthy(600), faulty(600)))
model = keras_vae.VAE(
    networks.DenseEncoder(latent_dim=4, hidden_units=(128, 128)),
    networks.DenseDecoder((READINGS,), hidden_units=(128, 128)),
    likelihood=likelihoods.Gaussian("shared"),  # learns how large the sensor's noise is
    seed=0,
)
model.compile(keras.optimizers.Adam(2e-3))
model.fit(x_train, batch_size=128, epochs=args.epochs, verbose=0)

scores = [-model.log_likelihood(x, num_samples=64, seed=0) for x in (usual, unusual)]
# How often a faulty window scores above a healthy one: the area under the ROC curve.
area = np.mean(scores[1][:, None] > scores[0])
alarm = np.quantile(scores[0], 0.99)
caught = [np.mean(scores[1][kind::3] > alarm) for kind in range(3)]
print(f"Area under the ROC curve: {area:.3f}. With one false alarm in a hundred windows it finds")
for name, share in zip(("knocks", "hanging sensors", "humming bearings"), caught, strict=True):
    print(f"{share:6.0%} of the {name}")

figure = Figure(figsize=(10, 3.6), layout="constrained", dpi=120)
left, right = figure.subplots(1, 2)
most = np.quantile(np.concatenate(scores), 0.98)
bins = np.linspace(min(scores[0].min(), scores[1].min()), most, 50)
for name, score, colour in zip(("healthy", "faulty"), scores, COLOURS.values(), strict=True):
    left.hist(np.minimum(score, most), bins, alpha=0.6, label=name, color=colour)
left.axvline(alarm, color="black", linestyle="--", label="alarm")
left.set(xlabel="anomaly score, nats", ylabel="windows")
left.legend(frameon=False)
for row, kind in enumerate(("knock", "hanging", "humming")):
    window, expected = unusual[row], model.reconstruct(unusual[row : row + 1])[0]
    right.plot(time, window - 4 * row, color=COLOURS["test"], label="measured" if not row else None)
    right.plot(
        time,
        expected - 4 * row,
        "--",
        color=COLOURS["train"],
        label="what the model makes of it" if not row else None,
    )
    right.text(0, 2 - 4 * row, f"{kind}, {scores[1][row]:.0f} nats", va="center")
right.set(xlabel="reading", yticks=[], ylim=(-10.5, 4.5))
right.legend(frameon=False, loc="upper right", ncols=2)
figure.suptitle(f"Anomaly scores of a VAE that saw healthy windows only, {args.epochs} epochs")
figure.savefig(args.out / "scores.png")
print(args.out / "scores.png")
