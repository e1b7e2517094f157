"""What `make demo` makes of each of several seeds: its model, its time and its output.

    python benchmarks/demo.py

Runs `examples/demo.py` as `make demo` does, which has the seed 0, and then with others. Prints, as
JSON, under `seeds` for each:

- `accuracy`, `diversity`, `classifier_accuracy`: as `benchmarks/conditional_quality.py` has them,
  by a classifier of the whole of MNIST, of which the demo sees a small part. Bounds: 0.97, 0.75,
  0.98.
- `active_units` of `latent_dim`: the latents whose posterior mean varies over the test images.
  Bound: all of them.
- `lines`: of output. Bound: 40.
- `seconds`, `cpu_seconds`: of the demo. Bound: 180 seconds on two quiet cores.

and under `worst` the least or most of each.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import receipts
from conditional_quality import make_classifier, measure

import keras_vae
from keras_vae import data
from keras_vae.evaluation import evaluate_latents

DEMO = receipts.ROOT / "examples" / "demo.py"
WORST = {
    "accuracy": min,
    "diversity": min,
    "active_units": min,
    "lines": max,
    "seconds": max,
    "cpu_seconds": max,
}


def run_demo(folder, seed):
    """Run the demo into a folder; return what it took."""
    start, cpu_start = time.perf_counter(), receipts.cpu_seconds()
    command = [sys.executable, DEMO, folder, "--seed", str(seed)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {
        "lines": said.count("\n"),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(receipts.cpu_seconds() - cpu_start, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 (default: 3)")
    receipts.add_option(parser)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as parent:
        folders = [pathlib.Path(parent) / f"demo_{seed}" for seed in range(args.seeds)]
        rows = [{"seed": seed, **run_demo(path, seed)} for seed, path in enumerate(folders)]
        mnist, small = data.load("mnist"), data.load("mnist_small")
        classifier = make_classifier(mnist)
        for row, folder in zip(rows, folders, strict=True):
            model = keras_vae.load_model(folder)
            latents = evaluate_latents(model, {"x": small.x_test, "label": small.y_test})
            row |= {name: latents[name] for name in ("active_units", "latent_dim")}
            row |= measure(model, mnist, classifier)
    worst = {name: choose(row[name] for row in rows) for name, choose in WORST.items()}
    receipts.finish(args, {"worst": worst, "seeds": rows})


if __name__ == "__main__":
    main()
