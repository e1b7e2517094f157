"""CPU seconds that an epoch of training costs, ours and others', over its matrix products.

    python -m benchmarks.training
    python -m benchmarks.training --only floor,jax,jax_scan --rounds 5 --out results.json

The model is the seeds': MNIST, 784-400-20-400-784, batch 128, Adam 1e-3. Every contender is a
process of its own, on one core and with one thread; all get ready first, then train an epoch each
in turn, round after round, so that what else the machine does meets all of them. Counted is the
CPU time of the epoch. They must all reach the same loss, or the command fails.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib import metadata

OURS = {
    "tensorflow": "keras-vae, TensorFlow",
    "jax": "keras-vae, JAX",
    "torch": "keras-vae, PyTorch",
    "torch_graph": "keras-vae, PyTorch, jit_compile=True",
}
RIVALS = {
    "floor": "its matrix products alone (JAX)",
    "jax_scan": "hand-written JAX, one lax.scan an epoch",
    "keras_io": "keras.io's example (TensorFlow)",
    "pytorch": "PyTorch's example, data in one tensor",
}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# Between the losses of two contenders after the same number of epochs, in nats per image.
LOSS_SPREAD = 2.0


def ours(x_train, **kwargs):
    """Plain `fit` of this package, all its default metrics on."""
    import keras

    import keras_vae

    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(latent_dim=20, hidden_units=(400,)),
        keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3), **kwargs)

    def epoch():
        return model.fit(x_train, batch_size=128, epochs=1, verbose=0).history["loss"][-1]

    return epoch


def work(name):
    """Be a contender: answer every line of standard input with an epoch's CPU time and loss."""
    import numpy as np

    start = time.process_time()
    path = os.path.join(os.environ["KERAS_VAE_DATA"], "mnist.npz")
    with np.load(path, allow_pickle=False) as archive:
        x_train = archive["x_train"][..., None]
    if name in OURS:
        epoch = ours(x_train, **({"jit_compile": True} if name == "torch_graph" else {}))
    else:
        from benchmarks import rivals

        epoch = getattr(rivals, name)(x_train)
    for _ in sys.stdin:
        before = time.process_time()
        loss = epoch()
        answer = {
            "cpu_s": time.process_time() - before,
            "loss": loss,
            "started_cpu_s": before - start,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print("answer", json.dumps(answer), flush=True)


class Contender:
    """A process that trains an epoch when asked."""

    def __init__(self, name):
        self.name = name
        environment = {**os.environ, **ONE_THREAD}
        if name in OURS:
            environment["KERAS_BACKEND"] = name.removesuffix("_graph")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.training", "--work", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.answers = []

    def train(self):
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                self.answers.append(json.loads(line.removeprefix("answer ")))
                return
        raise SystemExit(
            f"error: {self.name} failed. To see why: echo | KERAS_BACKEND={self.name} python -m "
            f"benchmarks.training --work {self.name}"
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = [*RIVALS, *OURS]
    parser.add_argument("--only", default=",".join(known), help="names, by commas: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="epochs that count (%(default)s)")
    parser.add_argument("--core", type=int, default=0, help="the core for all (%(default)s)")
    parser.add_argument("--out", help="JSON file for the results")
    parser.add_argument("--work", choices=known, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.work)
    names = args.only.split(",")
    if not set(names) <= set(known):
        parser.error(f"--only takes {', '.join(known)}.")
    os.sched_setaffinity(0, {args.core})
    contenders = [Contender(name) for name in names]
    for number in range(args.rounds + 1):
        for contender in contenders:
            contender.train()
            last = contender.answers[-1]
            what = f"round {number}" if number else "warm-up"
            print(f"{what}: {contender.name} {last['cpu_s']:.2f} s", file=sys.stderr, flush=True)
    for contender in contenders:
        contender.close()
    results = summary(contenders)
    print(table(results))
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "results": results}, file, indent=1)
    losses = [r["loss"] for name, r in results.items() if name != "floor"]
    if losses and max(losses) - min(losses) > LOSS_SPREAD:
        raise SystemExit(f"error: the losses differ: {losses}")


def summary(contenders):
    results = {}
    for contender in contenders:
        counted = contender.answers[1:]
        results[contender.name] = {
            "cpu_s_per_epoch": statistics.median(a["cpu_s"] for a in counted),
            "cpu_s_of_each": [round(a["cpu_s"], 3) for a in counted],
            "first_epoch_cpu_s": contender.answers[0]["cpu_s"],
            "loss": None if contender.name == "floor" else counted[-1]["loss"],
            "peak_mb": counted[-1]["peak_mb"],
        }
    base = results.get("floor")
    for result in results.values():
        result["over_floor"] = base and result["cpu_s_per_epoch"] / base["cpu_s_per_epoch"]
    return results


def table(results):
    lines = ["| | CPU s an epoch | over the floor | loss | peak MB |", "|---|---|---|---|---|"]
    for name, result in results.items():
        ratio = f"{result['over_floor']:.2f}" if result["over_floor"] else ""
        loss = "" if name == "floor" else f"{result['loss']:.2f}"
        lines.append(
            f"| {({**OURS, **RIVALS})[name]} | {result['cpu_s_per_epoch']:.2f} | {ratio} "
            f"| {loss} | {result['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


def machine():
    packages = ("keras", "tensorflow", "jax", "torch", "numpy")
    return {
        "machine": platform.machine(),
        "cores_used": 1,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


if __name__ == "__main__":
    main()
