"""What an epoch of training costs, ours and others', in turn.

    python benchmarks/training.py                      # dense: CPU seconds over its matrix products
    python benchmarks/training.py --network conv       # convolutional: images per second
    python benchmarks/training.py --network large --rounds 1          # peak memory
    python benchmarks/training.py --only floor,jax,jax_bare --rounds 5
    python benchmarks/training.py --dtype float32       # ours on floats, not 8-bit images

`dense` is the seeds' model: MNIST, 784-400-20-400-784, batch 128, Adam 1e-3, on one core and with
one thread; counted is CPU time. `conv` is three stages of stride 2 with batch normalisation on
3,840 colour images of 32x32x3, batch 128, on two cores with two threads; counted is elapsed time.
`large` is one more stage on 128 images of 128x128x3, batch 64: what matters there is `peak_mb`, the
most memory that the process held at once, imports and data included.

Every contender is a process of its own; all get ready first, then train an epoch each in turn,
round after round, so that what else the machine does meets all of them. They must all reach the
same loss, or the command fails, but for the few steps of `large`. `..._bare` is ours without
gradient norm, guard and the metrics beside the loss: what those cost. `pythae` takes part where it
is installed.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import receipts

CONVOLUTIONAL = {
    "pytorch_conv": "plain PyTorch, channels_last",
    "tensorflow": "keras-vae, TensorFlow",
    "jax": "keras-vae, JAX",
    "torch": "keras-vae, PyTorch",
    "torch_graph": "keras-vae, PyTorch, jit_compile=True",
}
NAMES = {
    "dense": {
        "floor": "its matrix products alone (JAX)",
        "jax_scan": "hand-written JAX, one lax.scan an epoch",
        "keras_io": "keras.io's example (TensorFlow)",
        "pytorch": "PyTorch's example, data in one tensor",
        "pythae": "Pythae",
        "tensorflow": "keras-vae, TensorFlow",
        "jax": "keras-vae, JAX",
        "torch": "keras-vae, PyTorch",
        "torch_graph": "keras-vae, PyTorch, jit_compile=True",
        "tensorflow_bare": "keras-vae, TensorFlow, without guard and metrics",
        "jax_bare": "keras-vae, JAX, without guard and metrics",
        "torch_bare": "keras-vae, PyTorch, without guard and metrics",
    },
    "conv": CONVOLUTIONAL,
    "large": CONVOLUTIONAL,
}
BACKENDS = ("tensorflow", "jax", "torch")
SETS = {"dense": "mnist", "conv": "cifar10_small", "large": "cifar10_small"}
BATCHES = {"dense": 128, "conv": 128, "large": 64}
CONV_LATENT = 64
CONV_UNITS = {"conv": (32, 64, 128), "large": (32, 64, 128, 128)}
IMAGES = {"dense": None, "conv": 3840, "large": 128}
# Each pixel is so many in height and width.
ENLARGED = {"large": 4}
# Between the losses of two contenders after as many epochs, of the smaller one.
LOSS_SPREAD = {"dense": 0.02, "conv": 0.02, "large": float("inf")}


def environment_of(name, threads):
    found = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    backend = name.partition("_")[0]
    return {**found, "KERAS_BACKEND": backend} if backend in BACKENDS else found


def ours(network, x_train, bare=False, **kwargs):
    """Plain `fit` of this package, all its default metrics on unless bare."""
    import keras

    import keras_vae
    from keras_vae import networks

    shape = x_train.shape[1:]
    if network == "dense":
        parts = networks.DenseEncoder(20, (400,)), networks.DenseDecoder(shape, (400,))
    else:
        units = CONV_UNITS[network]
        encoder = networks.ConvEncoder(CONV_LATENT, units)
        parts = encoder, networks.ConvDecoder(shape, units[::-1])

    class Bare(keras_vae.VAE):
        def gradient_norm(self, player, norm, earlier):
            return keras.ops.zeros(()), keras.ops.ones((), "bool")

        def track(self, data, loss, terms, norm=None, finite=None):
            self.averages.update_state({"loss": loss})
            loss = self.averages.result()["loss"]
            return {"loss": loss, "skipped_updates": keras.ops.zeros(())}

    model = (Bare if bare else keras_vae.VAE)(*parts, seed=0)
    model.compile(keras.optimizers.Adam(1e-3), **kwargs)

    batch_size = BATCHES[network]

    def epoch():
        return model.fit(x_train, batch_size=batch_size, epochs=1, verbose=0).history["loss"][-1]

    return epoch


def work(network, name, dtype):
    """Be a contender: answer every line of standard input with an epoch's time and loss."""
    import numpy as np

    path = os.path.join(os.environ["KERAS_VAE_DATA"], f"{SETS[network]}.npz")
    with np.load(path, allow_pickle=False) as archive:
        x_train = archive["x_train"][: IMAGES[network]]
    x_train = x_train if x_train.ndim == 4 else x_train[..., None]
    for axis in (1, 2):
        x_train = x_train.repeat(ENLARGED.get(network, 1), axis)
    if name.partition("_")[0] in BACKENDS:
        x_train = np.float32(x_train / 255) if dtype == "float32" else x_train
        kwargs = {"jit_compile": True} if name == "torch_graph" else {}
        epoch = ours(network, x_train, bare=name.endswith("_bare"), **kwargs)
    else:
        import rivals

        sizes = (CONV_UNITS[network], CONV_LATENT, BATCHES[network]) if network != "dense" else ()
        epoch = getattr(rivals, name)(x_train, *sizes)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        loss = epoch()
        answer = {
            "cpu_s": time.process_time() - cpu,
            "s": time.perf_counter() - start,
            "loss": loss,
            "images": len(x_train),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print("answer", json.dumps(answer), flush=True)


class Contender:
    """A process that trains an epoch when asked."""

    def __init__(self, network, name, dtype, threads):
        self.name = name
        self.command = [__file__, "--network", network, "--dtype", dtype, "--work", name]
        self.process = subprocess.Popen(
            [sys.executable, *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_of(name, threads),
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
            f"error: {self.name} failed. To see why, with KERAS_BACKEND where it is ours: "
            f"echo | python {' '.join(self.command)}"
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=NAMES, default="dense", help="default: dense")
    parser.add_argument("--only", help="contenders, by commas (default: all but the bare ones)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs that count (%(default)s)")
    parser.add_argument(
        "--dtype", choices=("uint8", "float32"), default="uint8", help="of our data (%(default)s)"
    )
    parser.add_argument("--core", type=int, default=0, help="the core of dense (%(default)s)")
    receipts.add_option(parser)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = NAMES[args.network]
    if args.work:
        return work(args.network, args.work, args.dtype)
    usual = [name for name in known if not name.endswith("_bare")]
    if importlib.util.find_spec("pythae") is None:
        usual = [name for name in usual if name != "pythae"]
    names = args.only.split(",") if args.only else usual
    if not set(names) <= set(known):
        parser.error(f"--only takes {', '.join(known)}.")
    threads = 1 if args.network == "dense" else 2
    if threads == 1:
        os.sched_setaffinity(0, {args.core})
    counted = "cpu_s" if threads == 1 else "s"
    contenders = [Contender(args.network, name, args.dtype, threads) for name in names]
    for number in range(args.rounds + 1):
        for contender in contenders:
            contender.train()
            last = contender.answers[-1]
            what = f"round {number}" if number else "warm-up"
            print(f"{what}: {contender.name} {last[counted]:.2f} s", file=sys.stderr, flush=True)
    for contender in contenders:
        contender.close()
    results = summary(contenders, counted)
    print(table(results, known), file=sys.stderr)
    losses = [r["loss"] for name, r in results.items() if name != "floor"]
    if losses and max(losses) > (1 + LOSS_SPREAD[args.network]) * min(losses):
        raise SystemExit(f"error: the losses differ: {losses}")
    del args.work
    receipts.finish(args, results)


def summary(contenders, counted):
    """Medians, and ratios to the first contender."""
    results = {}
    for contender in contenders:
        answers = contender.answers[1:]
        seconds = statistics.median(answer[counted] for answer in answers)
        results[contender.name] = {
            f"{counted}_per_epoch": seconds,
            f"{counted}_of_each": [round(answer[counted], 3) for answer in answers],
            f"first_epoch_{counted}": contender.answers[0][counted],
            "images_per_s": answers[0]["images"] / seconds,
            "loss": None if contender.name == "floor" else answers[-1]["loss"],
            "peak_mb": answers[-1]["peak_mb"],
        }
        base = results[contenders[0].name][f"{counted}_per_epoch"]
        results[contender.name]["time_over_first"] = seconds / base
        results[contender.name]["speed_over_first"] = base / seconds
        base = results[contenders[0].name]["peak_mb"]
        results[contender.name]["memory_over_first"] = answers[-1]["peak_mb"] / base
    return results


def table(results, names):
    lines = ["| | images per s | time over the first | loss | peak MB |", "|---|---|---|---|---|"]
    for name, result in results.items():
        loss = "" if name == "floor" else f"{result['loss']:.2f}"
        lines.append(
            f"| {names[name]} | {result['images_per_s']:.0f} | {result['time_over_first']:.2f} "
            f"| {loss} | {result['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
