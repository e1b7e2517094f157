"""What an epoch costs as the work grows: images, latent size, batch size. JSON and a picture.

    KERAS_BACKEND=jax python benchmarks/scaling.py --out docs/scaling.png

The model is 784-400-L-400-784 on MNIST, Adam, one core and one thread; counted is the CPU time of
the second epoch. One thing is varied at a time, from 60,000 images, 20 latents and batches of 128.
"""

import argparse
import os
import sys

import receipts
from training import environment_of

VARIED = {
    "images": [10_000, 20_000, 40_000, 60_000],
    "latents": [2, 20, 128, 512],
    "batch size": [32, 128, 512, 4096],
}
BASE = {"images": 60_000, "latents": 20, "batch size": 128}


def measure(x_train, images, latents, batch_size):
    """Return the CPU seconds of an epoch."""
    import time

    import keras

    import keras_vae

    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(latent_dim=latents, hidden_units=(400,)),
        keras_vae.networks.DenseDecoder(output_shape=(28, 28, 1), hidden_units=(400,)),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    for _ in range(2):
        start = time.process_time()
        model.fit(x_train[:images], batch_size=batch_size, epochs=1, verbose=0)
    return time.process_time() - start


def draw(results, backend, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, (name, values) in zip(axes, VARIED.items(), strict=True):
        axis.plot(values, [results[name][value] for value in values], "o-", color="#0072b2")
        if name == "images":
            last = values[-1]
            line = [results[name][last] * value / last for value in values]
            axis.plot(values, line, ":", color="#777777", label="in proportion")
            axis.legend(frameon=False)
        else:
            axis.set_xscale("log", base=2)
            axis.set_xticks(values, [str(value) for value in values])
        axis.set_ylim(bottom=0)
        axis.set_xlabel(name)
        axis.set_ylabel("CPU seconds an epoch")
        axis.spines[["top", "right"]].set_visible(False)
    names = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
    figure.suptitle(f"784-400-L-400-784 on MNIST, {names[backend]}, one core")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--core", type=int, default=0, help="the core to run on (%(default)s)")
    parser.add_argument("--out", help="PNG for the picture")
    receipts.add_option(parser)
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    os.environ.update(environment_of("", threads=1))
    import keras
    import numpy as np

    path = os.path.join(os.environ["KERAS_VAE_DATA"], "mnist.npz")
    with np.load(path, allow_pickle=False) as archive:
        x_train = archive["x_train"][..., None]
    results = {name: {} for name in VARIED}
    for name, values in VARIED.items():
        for value in values:
            work = {**BASE, name: value}
            results[name][value] = measure(x_train, *work.values())
            print(f"{name} {value}: {results[name][value]:.2f} s", file=sys.stderr, flush=True)
    if args.out:
        draw(results, keras.backend.backend(), args.out)
    receipts.finish(args, results)


if __name__ == "__main__":
    main()
