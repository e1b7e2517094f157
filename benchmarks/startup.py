"""What it costs to get from the shell to the first training step, on each backend.

    python benchmarks/startup.py

A process imports Keras, then this package, makes the seeds' 784-400-20 VAE and trains one batch of
128; then a batch of the same size again, which is what a step costs when nothing is traced or
compiled any more. Printed are the median CPU seconds of several processes: of the imports, of the
first `fit` less the second, and for JAX that with its persistent compilation cache, which is on
where `JAX_COMPILATION_CACHE_DIR` and `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0` are set. No
matter how many batches there are, the step is compiled once: the second `fit` has 16 of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import receipts

BACKENDS = ("tensorflow", "jax", "torch")


def work(graph):
    """Be a process that starts: print its CPU seconds so far after each part."""
    import keras

    marks = {"keras": time.process_time()}
    import keras_vae

    marks["keras_vae"] = time.process_time()
    import numpy as np

    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
        keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3), **({"jit_compile": True} if graph else {}))
    model.build()
    marks["model"] = time.process_time()
    x = np.random.default_rng(0).random((16 * 128, 28, 28, 1), dtype="float32")
    for name, batches in {"first": 16, "second": 16}.items():
        model.fit(x[: batches * 128], batch_size=128, epochs=1, verbose=0)
        marks[name] = time.process_time()
    print("marks", json.dumps(marks))


def parts(backend, graph=False, **environment):
    """CPU seconds of each part of one process."""
    told = subprocess.run(
        [sys.executable, __file__, "--work", *["--graph"] * graph],
        env={**os.environ, "KERAS_BACKEND": backend, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    marks = json.loads(told.rpartition("marks ")[2])
    first, second = (marks[b] - marks[a] for a, b in (("model", "first"), ("first", "second")))
    return {
        "import_keras": marks["keras"],
        "import_keras_vae": marks["keras_vae"] - marks["keras"],
        "make_the_model": marks["model"] - marks["keras_vae"],
        "trace_and_compile": first - second,
        "to_the_first_step": marks["model"] + first - second,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="processes of each (default: 5)")
    receipts.add_option(parser)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--graph", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.graph)
    with tempfile.TemporaryDirectory() as cache:
        cached = {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        starts = {name: lambda name=name: parts(name) for name in BACKENDS}
        starts["torch_graph"] = lambda: parts("torch", graph=True)
        starts["jax_cached"] = lambda: parts("jax", **cached)
        starts["jax_cached"]()
        measured = {name: [] for name in starts}
        for _ in range(args.runs):  # in turn
            for name, start in starts.items():
                measured[name].append(start())
    result = {
        name: {part: round(statistics.median(run[part] for run in runs), 2) for part in runs[0]}
        for name, runs in measured.items()
    }
    del args.work, args.graph
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
