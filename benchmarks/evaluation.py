"""What the evaluation's numbers are worth: against exact values, each other, and across backends.

    python benchmarks/evaluation.py exact
    python -m keras_vae train --data digits --out runs/digits
    python benchmarks/evaluation.py agreement runs/digits
    python benchmarks/evaluation.py backends runs/digits
    python benchmarks/evaluation.py seconds
    python benchmarks/evaluation.py figures runs/digits

Each prints JSON:

- `exact`: the importance-weighted log-likelihood of a linear-Gaussian VAE, whose exact value is
  known, for k from 1 to 5,000. Bound: with k = 5,000 within two standard errors of the draws, which
  shrink with k.
- `agreement`: importance sampling (k = 5,000) and annealed importance sampling on the same test
  images, and the bounds on simulated data. Bound: 0.5 nats apart.
- `backends`: `log_likelihood` with 1,000 samples of one file by the three backends. Bound: no
  example differs by more than 1e-3 nats.
- `seconds`: time and memory of 1,000 MNIST images with 5,000 samples each by 784-200-200-50,
  untrained. Bounds: 6 minutes on two cores, 2 GB.
- `figures`: the seconds that `python -m keras_vae figures` takes. Bound: 2 minutes.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import receipts

import keras_vae
from keras_vae import data, evaluation, likelihoods, networks
from keras_vae.storage.runs import Run

SCALE = 0.5


def exact():
    """A linear-Gaussian VAE whose posterior is right but for its variances, 1.4 times too large."""
    rng = np.random.default_rng(0)
    kernel = np.linalg.qr(rng.normal(size=(64, 8)))[0] * np.linspace(0.5, 2, 8)
    x = (rng.normal(size=(200, 8)) @ kernel.T + SCALE * rng.normal(size=(200, 64))).astype("f4")
    variance = SCALE**2 / (SCALE**2 + np.sum(kernel**2, axis=0))
    model = keras_vae.VAE(
        networks.DenseEncoder(8, ()),
        networks.DenseDecoder((64,), ()),
        likelihood=likelihoods.Gaussian(SCALE),
    )
    model.build()
    model.encoder.z_mean.kernel.assign(kernel * variance / SCALE**2)
    model.encoder.z_log_var.kernel.assign(np.zeros((64, 8)))
    model.encoder.z_log_var.bias.assign(np.log(1.4 * variance))
    model.decoder.outputs_dense.kernel.assign(kernel.T)
    covariance = kernel @ kernel.T + SCALE**2 * np.eye(64)
    _, log_determinant = np.linalg.slogdet(2 * np.pi * covariance)
    nats = -(np.sum(x * np.linalg.solve(covariance, x.T).T, axis=1) + log_determinant) / 2
    rows = evaluation.log_likelihoods(model, x)
    for row in rows:
        row["off"] = row["log_likelihood"] - float(nats.mean())
    return {"exact": float(nats.mean()), "estimates": rows}


def agreement(run, num_steps, examples):
    model, inputs = _load(run, examples)
    start = time.perf_counter()
    annealed = evaluation.annealed_log_likelihood(model, inputs, num_steps)
    annealed["seconds"] = round(time.perf_counter() - start, 1)
    importance = evaluation.log_likelihoods(model, inputs)[-1]
    difference = annealed["log_likelihood"] - importance["log_likelihood"]
    return {"annealed": annealed, "importance": importance, "difference": difference}


def backends(run):
    """Each in a process of its own, as a backend is chosen before Keras is imported."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for backend in ("tensorflow", "jax", "torch"):
            path = pathlib.Path(folder) / f"{backend}.npy"
            subprocess.run(
                [sys.executable, __file__, "one_backend", str(run), str(path)],
                env={**os.environ, "KERAS_BACKEND": backend},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            found[backend] = np.load(path)
    nats = np.stack(list(found.values()))
    return {
        "mean": {name: float(values.mean()) for name, values in found.items()},
        "largest_difference": float((nats.max(axis=0) - nats.min(axis=0)).max()),
        "examples": nats.shape[1],
    }


def one_backend(run, path):
    model, inputs = _load(run, 100)
    np.save(path, model.log_likelihood(inputs, 1000, seed=0))
    return {"backend": keras.backend.backend()}


def seconds():
    mnist = data.load("mnist")
    model = keras_vae.VAE(
        networks.DenseEncoder(50, (200, 200), "tanh"),
        networks.DenseDecoder((28, 28, 1), (200, 200), "tanh"),
        dynamic_binarization=True,
        seed=0,
    )
    start, cpu_start = time.perf_counter(), time.process_time()
    rows = evaluation.log_likelihoods(model, mnist.x_test[:1000])
    return {
        "backend": keras.backend.backend(),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu_start, 1),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cores": len(os.sched_getaffinity(0)),
        "log_likelihoods": rows,
    }


def figures(run):
    command = [sys.executable, "-m", "keras_vae", "figures", str(run)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = round(time.perf_counter() - start, 1)
    return {"seconds": seconds, "files": len(list(Run(run).figures.iterdir()))}


def _load(path, examples):
    run = Run(path)
    model, dataset = run.load_model(), data.load(run.config()["arguments"]["data"])
    x, y = dataset.x_test[:examples], dataset.y_test[:examples]
    return model, {"x": x, "label": y} if model.condition else x


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    measures = {
        function.__name__: function
        for function in (exact, agreement, backends, one_backend, seconds, figures)
    }
    parser.add_argument("figure", choices=measures)
    parser.add_argument("runs", nargs="*", help="run folders")
    parser.add_argument("--num-steps", type=int, default=500, help="of annealing (%(default)s)")
    parser.add_argument("--examples", type=int, default=100, help="to anneal for (%(default)s)")
    receipts.add_option(parser)
    args = parser.parse_args()
    if args.figure == "agreement":
        found = agreement(*args.runs, args.num_steps, args.examples)
    else:
        found = measures[args.figure](*args.runs)
    receipts.finish(args, found)


if __name__ == "__main__":
    main()
