"""Make `tests/fixtures/series`: a scorer of a pump's two channels and its modes, and readings.

    KERAS_BACKEND=tensorflow python mobile_demo/web/tests/reference/make_series.py

The readings are those of a busy pump, of which the sensor of the flow hangs for a while.
"""

import pathlib

import keras_vae
import keras
import numpy as np
from keras_vae import data
from export import export

FOLDER = pathlib.Path(__file__).parents[1] / "fixtures" / "series"
FOLDER.mkdir(parents=True, exist_ok=True)
keras.utils.set_random_seed(0)

time, rng = np.arange(4000), np.random.default_rng(0)
mode = np.array(["idle", "busy"], object)[(time // 400) % 2]
flow = 20 + (1 + (mode == "busy")) * np.sin(time / 5) + rng.normal(0, 0.1, 4000)
pressure = 2 + 0.1 * np.cos(time / 9) + rng.normal(0, 0.01, 4000)
series = data.series(
    {"flow": flow, "pressure": pressure, "mode": mode},
    window=24,
    stride=4,
    conditions="mode",
    units={"flow": "l/min", "pressure": "bar"},
    calibration=0.3,
)
model = keras_vae.series_vae(series.schema, 2, (6, 8), 3, seed=0)
model.compile(keras.optimizers.Adam(5e-3))
model.fit(series.train, batch_size=32, epochs=30, verbose=0)
detector = keras_vae.AnomalyDetector(model).calibrate(series.calibration, false_alarms=0.02)
export(detector, "onnx,tflite", "scorer", out=FOLDER)

flow = flow[400:700]
flow[150:200] = flow[150]
np.savetxt(
    FOLDER / "readings.csv",
    np.stack([pressure[400:700], flow], axis=1),
    "%.3f",
    ",",
    header="pressure,flow",
    comments="",
)
