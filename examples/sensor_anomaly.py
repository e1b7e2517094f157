"""A machine's readings to a monitor: train, calibrate, export, and see what it finds.

    python examples/sensor_anomaly.py
    python examples/sensor_anomaly.py machine.csv --anomalies faults.json

The series is a CSV with a column of times and columns of numbers; without one, a machine is
simulated: its flow follows its speed, until in its last days a sensor hangs, and a valve sticks.
`--anomalies` names a JSON file of pairs of times, the known faults. Faults are needed for nothing
but to see whether they are found. What is made runs on a device with numpy and one runtime.
"""

import argparse
import json
import pathlib

import keras_vae
import keras
import numpy as np
from keras_vae import data, evaluation
from export import export
from keras_vae.data import table_sources
from keras_vae.figures import series as draw

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("series", nargs="?", type=pathlib.Path, help="CSV, Parquet or .npy file")
parser.add_argument("--anomalies", type=pathlib.Path, help="JSON file of pairs of times")
parser.add_argument("--window", type=int, default=48)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/sensor_anomaly")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
keras.utils.set_random_seed(0)


def simulate(folder):
    """Ten days of a pump, a reading every two minutes, and the times of its two faults."""
    rng, steps = np.random.default_rng(0), np.arange(7200)
    speed = 1500 + 200 * np.sin(steps / 17) + rng.normal(0, 10, len(steps))
    flow = 20 + speed / 100 + rng.normal(0, 0.2, len(steps))
    times = np.datetime64("2024-05-01T00:00:00") + steps * np.timedelta64(120, "s")
    speed[6200:6280] = speed[6200]  # the sensor hangs
    flow[6700:6800] -= 3  # the valve sticks
    columns = {"timestamp": times.astype(str).astype(object), "speed": speed, "flow": flow}
    (folder / "machine.csv").write_bytes(table_sources.as_csv(columns))
    faults = [[str(times[a]), str(times[b])] for a, b in ((6200, 6300), (6700, 6820))]
    (folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")
    return folder / "machine.csv", folder / "faults.json"


if args.series is None:
    args.series, args.anomalies = simulate(args.out)

# From a file to a monitor.
series = data.series(args.series, window=args.window, stride=4)
model = keras_vae.series_vae(series.schema, latent_dim=4, hidden_units=(16, 32), seed=0)
model.compile(keras.optimizers.Adam(3e-3))
model.fit(series.train, batch_size=64, epochs=args.epochs, verbose=0)
detector = keras_vae.AnomalyDetector(model).calibrate(series.calibration, false_alarms=0.01)
scorer = export(detector, format="tflite", graph="scorer", out=args.out)

series.summary()
pairs = evaluation.read_anomalies(args.anomalies) if args.anomalies else ()
windows = evaluation.windows_of(detector, series, ["train", "calibration", "test"])
found = evaluation.evaluate_alarms(windows, 0.01, pairs or None)
print(f"Alarms: {found['in_alarm']:.1%} of all windows, at 1 % of normal ones")
for (first, _), delay in zip(pairs, found.get("delays", ()), strict=False):
    print(
        f"  fault of {first}: {'not found' if delay is None else f'after {delay / 60:.0f} minutes'}"
    )

figure = draw.alarms(
    series.schema,
    np.concatenate([series.windows(part) for part in ("train", "calibration", "test")]),
    windows,
    0.01,
    f"Alarms, {args.series.name}",
    pairs,
)
figure.savefig(args.out / "alarms.png")
print(args.out / "alarms.png")
print(f"On a device: python mobile_demo/edge/sample.py --model {scorer} --score {args.series}")
