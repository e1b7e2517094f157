"""What does watching a machine cost? 10,000 windows of 64 x 8 from a CSV file, on one core.

    KERAS_BACKEND=torch python benchmarks/monitor.py

It exports the scorer of an untrained `series_vae` of eight channels, whose arithmetic is that of a
trained one, writes a CSV of 80,056 readings, and runs `mobile_demo/edge/sample.py --score` on it in
a process of its own, in LiteRT and in ONNX Runtime, as float32 and as int8. It prints, as JSON, the
CPU seconds and the largest memory of each process, imports included, and the sizes of the files.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import keras_vae
from export import export
from keras_vae import data

STEPS, CHANNELS = 80_056, 8
EDGE = pathlib.Path(__file__).parents[1] / "mobile_demo" / "edge" / "sample.py"
MEASURE = (
    "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
    "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "except SystemExit as end:\n    assert not end.code, end.code\n"
    "used = resource.getrusage(resource.RUSAGE_SELF)\n"
    # ru_maxrss would be that of the process that started this one.
    "[most] = [line for line in open('/proc/self/status') if line.startswith('VmHWM')]\n"
    "print(used.ru_utime + used.ru_stime, int(most.split()[1]) / 1024, file=sys.stderr)"
)


def main():
    os.environ["OMP_NUM_THREADS"] = "1"
    rng = np.random.default_rng(0)
    time = np.arange(STEPS)[:, None]
    values = np.sin(time / np.arange(5, 5 + CHANNELS)) + rng.normal(0, 0.1, (STEPS, CHANNELS))
    series = data.series(values, window=64, stride=8)
    model = keras_vae.series_vae(series.schema, seed=0)
    model.build()
    detector = keras_vae.AnomalyDetector(model).calibrate(series.calibration)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "machine.csv"
        header = ",".join(series.schema.names)
        np.savetxt(path, values, "%.5f", ",", header=header, comments="")
        calibration = {"x": series.windows("train")[:500]}
        for format in ("tflite", "onnx"):
            for quantize in ("none", "int8"):
                file = export(
                    detector, format, "scorer", quantize, folder, calibration_data=calibration
                )
                words = [str(EDGE), "--model", str(file), "--score", str(path)]
                words += ["--out", f"{folder}/alarms.csv"]
                done = subprocess.run(
                    [sys.executable, "-c", MEASURE, *words],
                    check=True,
                    capture_output=True,
                    text=True,
                    preexec_fn=lambda: os.sched_setaffinity(0, {0}),
                )
                seconds, megabytes = map(float, done.stderr.split()[-2:])
                written = pathlib.Path(folder, "alarms.csv").read_text(encoding="utf-8")
                windows = len(written.splitlines()) - 1
                found[file.name] = {
                    "windows": windows,
                    "cpu_seconds": round(seconds, 2),
                    "memory_mb": round(megabytes),
                    "kilobytes": round(file.stat().st_size / 1000),
                }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
