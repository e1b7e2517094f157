"""log p(x) of binarised MNIST, by importance sampling, of the model that papers report it for.

    KERAS_BACKEND=jax python benchmarks/likelihood.py vae
    KERAS_BACKEND=jax python benchmarks/likelihood.py conditional_vae
    KERAS_BACKEND=jax python benchmarks/likelihood.py conditional_prior
    KERAS_BACKEND=jax python benchmarks/likelihood.py iwae
    KERAS_BACKEND=jax python benchmarks/likelihood.py vae --epochs 10 --kl-warmup 4
    KERAS_BACKEND=jax python benchmarks/likelihood.py ladder
    KERAS_BACKEND=jax python benchmarks/likelihood.py vae --epochs 25 --kl-warmup 10

A 784-200-200-50 network, binarised anew in every step; Adam, whose rate falls to 0 along a cosine;
the KL's weight rises from 0 to 1 in the first epochs. `full_covariance` has the same network,
`ladder` and `ladder2` codes on three and on two levels. Prints as JSON the log-likelihood of the
first 1,000 test images, binarised once, with 5,000 importance samples each, in nats per image.
Bounds: `vae` at least -89.3 and `conditional_vae` at least -85.4, each within 10 minutes of one CPU
core; `conditional_prior`, p(z | label) with learned means and variances, at least -84.0 within an
hour; at equal epochs `iwae`, 50 samples a step, better than `vae` by 0.8, and `ladder` by 1.
"""

import argparse
import random
import resource
import sys
import time

import keras
import numpy as np
import receipts

import keras_vae
from keras_vae import data, networks

# Epochs, and in how many of them the KL's weight rises.
CONFIGURATIONS = {
    "vae": (110, 20),
    "conditional_vae": (110, 20),
    "conditional_prior": (150, 30),
    "iwae": (10, 4),
    "full_covariance": (25, 10),
    "ladder": (25, 10),
    "ladder2": (25, 10),
}
LATENT_DIM, UNITS, ACTIVATION = 50, (200, 200), "gelu"
# From the data up.
LADDER_DIMS, LADDER_UNITS = (50, 25, 12), (512, 256, 128)


class Progress(keras.callbacks.Callback):
    """Tell on standard error how far the training is."""

    def on_train_begin(self, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.start
        report(f"epoch {epoch + 1} of {self.params['epochs']}: {logs['loss']:.2f}, {seconds:.0f} s")


def report(text):
    print(text, file=sys.stderr, flush=True)


def make_model(config, seed, num_samples, kl_warmup):
    if config.startswith("ladder"):
        levels = 2 if config == "ladder2" else 3
        sizes = LADDER_DIMS[:levels], LADDER_UNITS[:levels]
        encoder = networks.LadderEncoder(*sizes, ACTIVATION)
        decoder = networks.LadderDecoder((28, 28, 1), *sizes, ACTIVATION)
    else:
        encoder = networks.DenseEncoder(LATENT_DIM, UNITS, ACTIVATION)
        decoder = networks.DenseDecoder((28, 28, 1), UNITS[::-1], ACTIVATION)
    options = {"dynamic_binarization": True, "seed": seed}
    if kl_warmup:
        options["kl_weight"] = keras_vae.schedules.LinearWarmup(kl_warmup)
    if config.startswith("conditional"):
        options["condition"] = {"label": keras_vae.Categorical(10)}
        if config == "conditional_prior":
            options["prior"] = keras_vae.priors.ConditionalNormal()
        return keras_vae.ConditionalVAE(encoder, decoder, **options)
    if config not in ("vae", "iwae"):
        options["posterior"] = config.rstrip("2")
    if config == "iwae":
        options["objective"] = keras_vae.objectives.IWAE(num_samples)
    return keras_vae.VAE(encoder, decoder, **options)


def active_units(z_mean):
    """How many latent dimensions vary with the image (Burda et al., 2016, section 5.2)."""
    return int(np.sum(np.var(z_mean, axis=0) > 0.01))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", choices=CONFIGURATIONS)
    parser.add_argument("--epochs", type=int, help="default: by the configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument(
        "--iwae-samples", type=int, default=50, help="of iwae, a step (%(default)s)"
    )
    parser.add_argument("--kl-warmup", type=int, help="epochs (default: likewise)")
    parser.add_argument("--train-examples", type=int, help="default: all 60,000")
    parser.add_argument("--examples", type=int, default=1000, help="test images (%(default)s)")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance samples, k")
    receipts.add_option(parser)
    args = parser.parse_args()
    epochs, kl_warmup = CONFIGURATIONS[args.config]
    args.epochs = args.epochs or epochs
    args.kl_warmup = kl_warmup if args.kl_warmup is None else args.kl_warmup
    random.seed(args.seed)
    np.random.seed(args.seed)
    mnist = data.load("mnist")
    model = make_model(args.config, args.seed, args.iwae_samples, args.kl_warmup)
    split = {
        "train": (mnist.x_train[: args.train_examples], mnist.y_train[: args.train_examples]),
        "test": (mnist.x_test[: args.examples], mnist.y_test[: args.examples]),
    }
    inputs = {
        name: {"x": x, "label": y} if model.condition else x for name, (x, y) in split.items()
    }
    steps = args.epochs * -(-len(split["train"][0]) // args.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    on_torch = keras.backend.backend() == "torch"
    model.compile(keras.optimizers.Adam(rate), jit_compile=True if on_torch else "auto")
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(
        inputs["train"],
        batch_size=args.batch_size,
        epochs=args.epochs,
        verbose=0,
        callbacks=[Progress()],
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    report(f"log p(x) of {args.examples} images with k = {args.num_samples}")
    start = time.perf_counter()
    nats = model.log_likelihood(inputs["test"], num_samples=args.num_samples, seed=args.seed)
    z_mean, _ = model.encode(inputs["test"])
    losses = model.evaluate(inputs["test"], verbose=0, return_dict=True)
    result = {
        "log_likelihood": float(nats.mean()),
        "standard_error": float(nats.std(ddof=1) / np.sqrt(len(nats))),
        "test": {name: float(value) for name, value in losses.items()},
        "active_units": active_units(z_mean),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "likelihood_seconds": round(time.perf_counter() - start, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
