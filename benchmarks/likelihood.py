"""log p(x) of MNIST, dynamically binarised, by importance sampling, of models from nothing.

    KERAS_BACKEND=jax python -m benchmarks.likelihood vae
    KERAS_BACKEND=jax python -m benchmarks.likelihood conditional_ladder --minutes 60
    KERAS_BACKEND=jax python -m benchmarks.likelihood vae --epochs 10 --kl-warmup 4

A row is a model of `ROWS`, trained with Adam, whose rate falls to 0 along a cosine, on pixels drawn
as 0 or 1 anew in every step; the KL's weight rises from 0 to 1 in the first epochs. `--minutes`
makes of the epochs as many as so many CPU minutes of training hold, by the time of a few steps, and
the warm-up as long in proportion. Prints as JSON the log-likelihood of the 10,000 test images,
binarised once, with 5,000 importance samples each, in nats per image: its standard error is that
of the images, `monte_carlo_error` that of the draws. `--static` trains on pixels binarised once,
which is another data set, whose figures are not compared with those of the first.

The folder `--out`, by default `runs/likelihood/ROW`, keeps the training after every epoch, then the
model, and the estimates of every 250 images as they come: the same command goes on where it was
interrupted, and is refused where the folder holds another. It is a run folder: of a conditional row

    python -m export --format tflite --quantize float16,int8 --model runs/likelihood/ROW

tells what files of it lose in nats, and whether a classifier of real images sees their samples so.

Bounds, of the first 1,000 images: `vae` at least -89.3 and `conditional_vae` at least -85.4, each
within 10 minutes of one CPU core; `conditional_prior`, p(z | label) with learned means and
variances, at least -84.0 within an hour; `conditional_flow --minutes 30 --clipnorm 100
--learning-rate 2e-3`, of all 10,000, at least -80.0; at equal epochs `iwae`, 50 samples a step,
better than `vae` by 0.8, and `ladder` by 1.
"""

import argparse
import json
import pathlib
import random
import resource
import sys
import time

import keras
import numpy as np
import receipts

import keras_vae
from keras_vae import data, networks
from keras_vae.evaluation.likelihood import mean_and_errors
from keras_vae.storage.runs import Run, write_atomically

ROOT = pathlib.Path(__file__).resolve().parents[1]
LATENT_DIM, UNITS, ACTIVATION = 50, (200, 200), "gelu"
WIDE_LATENT_DIM, WIDE_UNITS = 40, (512, 512)
SHAPE = (28, 28, 1)
# Of ladders, from the data up.
LEVELS = {"latent_dims": (50, 25, 12), "hidden_units": (512, 256, 128), "activation": ACTIVATION}
STAGES = {"latent_channels": (1, 4, 8), "hidden_units": (24, 40, 64)}
IMAGES_AT_ONCE, STEPS_TO_TIME = 250, 40


def dense():
    return (
        networks.DenseEncoder(LATENT_DIM, UNITS, ACTIVATION),
        networks.DenseDecoder(SHAPE, UNITS[::-1], ACTIVATION),
    )


def wide():
    return (
        networks.DenseEncoder(WIDE_LATENT_DIM, WIDE_UNITS, ACTIVATION),
        networks.DenseDecoder(SHAPE, WIDE_UNITS[::-1], ACTIVATION),
    )


def flow():
    return keras_vae.priors.RealNVP(num_layers=8, hidden_units=(128, 128))


def convolutional():
    blocks = {"batch_normalization": False, "residual_blocks": 1}
    return (
        networks.ConvEncoder(LATENT_DIM, (24, 40, 64), **blocks),
        networks.ConvDecoder(SHAPE, (64, 40, 24), **blocks),
    )


def ladder(levels=3):
    sizes = {**LEVELS, **{name: LEVELS[name][:levels] for name in ("latent_dims", "hidden_units")}}
    return networks.LadderEncoder(**sizes), networks.LadderDecoder(SHAPE, **sizes)


def ladder_of_images():
    return networks.ConvLadderEncoder(SHAPE, **STAGES), networks.ConvLadderDecoder(SHAPE, **STAGES)


def row(networks, epochs, kl_warmup, labels=False, **options):
    """What makes a row: its networks, epochs, in how many of them the KL's weight rises."""
    return {
        "networks": networks,
        "epochs": epochs,
        "kl_warmup": kl_warmup,
        "labels": labels,
        "options": options,
    }


def iwae(num_samples):
    return keras_vae.objectives.IWAE(num_samples)


ROWS = {
    "vae": row(dense, 110, 20),
    "conditional_vae": row(dense, 110, 20, labels=True),
    "conditional_prior": row(
        dense, 150, 30, labels=True, prior=lambda args: keras_vae.priors.ConditionalNormal()
    ),
    "iwae": row(dense, 10, 4, objective=lambda args: iwae(args.iwae_samples)),
    "conditional_iwae": row(
        dense, 10, 4, labels=True, objective=lambda args: iwae(args.iwae_samples)
    ),
    "wide": row(wide, 60, 12),
    "conditional_wide": row(wide, 60, 12, labels=True),
    "flow": row(wide, 60, 12, prior=lambda args: flow()),
    "conditional_flow": row(wide, 60, 12, labels=True, prior=lambda args: flow()),
    "full_covariance": row(dense, 25, 10, posterior="full_covariance"),
    "ladder": row(ladder, 25, 10, posterior="ladder"),
    "ladder2": row(lambda: ladder(2), 25, 10, posterior="ladder"),
    "conditional_ladder": row(ladder, 25, 10, labels=True, posterior="ladder"),
    "conv": row(convolutional, 25, 10),
    "conditional_conv": row(convolutional, 25, 10, labels=True),
    "conv_ladder": row(ladder_of_images, 25, 10, posterior="ladder"),
    "conditional_conv_ladder": row(ladder_of_images, 25, 10, labels=True, posterior="ladder"),
}


class Progress(keras.callbacks.Callback):
    """Tell on standard error how far the training is, and keep in a file how long it took so far.

    Attributes:
        seconds: List of wall and CPU seconds, of all finished epochs.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.seconds = json.loads(path.read_text()) if path.exists() else [0.0, 0.0]

    def on_train_begin(self, logs=None):
        self.last = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter(), time.process_time()
        spent = zip(self.seconds, now, self.last, strict=True)
        self.seconds = [round(so_far + new - last, 1) for so_far, new, last in spent]
        self.last = now
        write_atomically(self.path, json.dumps(self.seconds).encode())
        done = f"epoch {epoch + 1} of {self.params['epochs']}"
        norm = logs.get("gradient_norm", 0.0)
        report(f"{done}: {logs['loss']:.2f}, gradient {norm:.0f}, {self.seconds[1]:.0f} CPU s")


def report(text):
    print(text, file=sys.stderr, flush=True)


def make_model(args):
    """The model of a row, compiled."""
    random.seed(args.seed)
    np.random.seed(args.seed)
    recipe = ROWS[args.row]
    options = {
        name: value(args) if callable(value) else value for name, value in recipe["options"].items()
    }
    options |= {"dynamic_binarization": not args.static, "seed": args.seed}
    if args.kl_warmup:
        options["kl_weight"] = keras_vae.schedules.LinearWarmup(args.kl_warmup)
    encoder, decoder = recipe["networks"]()
    if recipe["labels"]:
        options["condition"] = {"label": keras_vae.Categorical(10)}
        model = keras_vae.ConditionalVAE(encoder, decoder, **options)
    else:
        model = keras_vae.VAE(encoder, decoder, **options)
    steps = args.epochs * -(-(args.train_examples or 60_000) // args.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    on_torch = keras.backend.backend() == "torch"
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=args.clipnorm)
    model.compile(optimizer, jit_compile=True if on_torch else "auto")
    return model


def load(args):
    """Inputs for training and for the estimate."""
    mnist = data.load("mnist")
    parts = {
        "train": (mnist.x_train[: args.train_examples], mnist.y_train[: args.train_examples]),
        "test": (mnist.x_test[: args.examples], mnist.y_test[: args.examples]),
    }
    if args.static:
        rng = np.random.default_rng(args.seed)
        parts = {
            name: ((rng.random(x.shape) * 255 < x).astype("float32"), y)
            for name, (x, y) in parts.items()
        }
    labels = ROWS[args.row]["labels"]
    return {name: {"x": x, "label": y} if labels else {"x": x} for name, (x, y) in parts.items()}


def fill_epochs(args, train):
    """Set epochs and warm-up: those of the row, or as many as the CPU minutes hold."""
    recipe = ROWS[args.row]
    share = recipe["kl_warmup"] / recipe["epochs"]
    if args.minutes:
        args.epochs, args.kl_warmup = 1, 0
        model, few = make_model(args), STEPS_TO_TIME * args.batch_size
        few = {name: values[:few] for name, values in train.items()}
        model.fit(few, batch_size=args.batch_size, verbose=0)  # which compiles
        start = time.process_time()
        model.fit(few, batch_size=args.batch_size, verbose=0)
        a_step = (time.process_time() - start) / STEPS_TO_TIME
        steps = -(-len(train["x"]) // args.batch_size)
        args.epochs = max(1, int(60 * args.minutes / (a_step * steps)))
        args.kl_warmup = round(share * args.epochs)
        report(f"{args.epochs} epochs, {1000 * a_step:.1f} ms of CPU time a step")
    else:
        args.epochs = args.epochs or recipe["epochs"]
        if args.kl_warmup is None:
            args.kl_warmup = recipe["kl_warmup"]


def settings_of(args):
    """What another command must share to go on with a folder."""
    left_out = ("out", "receipt", "overwrite", "minutes")
    settings = {name: value for name, value in vars(args).items() if name not in left_out}
    if args.minutes:
        settings |= {"epochs": None, "kl_warmup": None, "minutes": args.minutes}
    return {**settings, "backend": keras.backend.backend()}


def forget(folder):
    """Delete what this benchmark wrote into a folder before, and nothing else."""
    Run(folder).delete_checkpoints()
    for name in ("settings.json", "seconds.json", "model.keras", "config.json", "estimates-*.npz"):
        for old in folder.glob(name):
            old.unlink()


def train(args, inputs):
    """Train the model of a row, go on with its training, or load it from its folder.

    Returns:
        Tuple of the model, and wall and CPU seconds of its training.
    """
    settings, path = settings_of(args), args.out / "settings.json"
    if path.exists() and not args.overwrite:
        kept = json.loads(path.read_text())
        if kept["settings"] != settings:
            sys.exit(f"error: {args.out} holds another training. Choose --out, or --overwrite.")
        report(f"going on with {args.out}")
        vars(args).update(kept["found"])
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        forget(args.out)
        fill_epochs(args, inputs)
        found = {"epochs": args.epochs, "kl_warmup": args.kl_warmup}
        kept = {"settings": settings, "found": found}
        write_atomically(path, json.dumps(kept, indent=2).encode())
    progress = Progress(args.out / "seconds.json")
    if (args.out / "model.keras").exists():
        return keras_vae.load_model(args.out / "model.keras"), *progress.seconds
    model = make_model(args)
    checkpoint = keras_vae.callbacks.Checkpoint(args.out / "checkpoints")
    model.fit(
        inputs,
        batch_size=args.batch_size,
        epochs=args.epochs,
        verbose=0,
        callbacks=[progress, checkpoint],
    )
    model.save(args.out / "model.keras")
    # With which it is a run folder, whose data export reports on.
    config = {"arguments": {"data": "mnist", "epochs": args.epochs}}
    write_atomically(args.out / "config.json", json.dumps(config, indent=2).encode())
    return model, *progress.seconds


def estimate(model, inputs, args):
    """Estimates and their errors of all images, each part kept as soon as it is there."""
    parts, count, seconds = [], len(inputs["x"]), 0.0
    for start in range(0, count, IMAGES_AT_ONCE):
        path = args.out / f"estimates-{start}.npz"
        if not path.exists():
            begin = time.perf_counter()
            some = {name: values[start : start + IMAGES_AT_ONCE] for name, values in inputs.items()}
            # The binarisation and the draws of each part are its own.
            nats, errors = model.log_likelihood(
                some if model.condition else some["x"],
                num_samples=args.num_samples,
                seed=args.seed + start,
                with_error=True,
            )
            new = path.with_suffix(".new.npz")
            np.savez(new, nats=nats, errors=errors, seconds=time.perf_counter() - begin)
            new.replace(path)
        with np.load(path) as kept:
            parts.append((kept["nats"], kept["errors"]))
            seconds += float(kept["seconds"])
        nats = np.concatenate([nats for nats, _ in parts])
        report(f"log p(x) of {len(nats)} of {count} images: {nats.mean():.2f}, {seconds:.0f} s")
    return *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)), seconds


def active_units(z_mean):
    """How many latent dimensions vary with the image (Burda et al., 2016, section 5.2)."""
    return int(np.sum(np.var(z_mean, axis=0) > 0.01))


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.likelihood", description=__doc__.split("\n")[0]
    )
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--minutes", type=float, help="of CPU time, to train for")
    parser.add_argument("--epochs", type=int, help="default: by the row")
    parser.add_argument("--kl-warmup", type=int, help="epochs (default: likewise)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--clipnorm", type=float, help="of the gradient (default: none)")
    parser.add_argument(
        "--iwae-samples", type=int, default=50, help="of iwae, a step (%(default)s)"
    )
    parser.add_argument("--static", action="store_true", help="pixels binarised once for all")
    parser.add_argument("--train-examples", type=int, help="default: all 60,000")
    parser.add_argument("--examples", type=int, default=10_000, help="test images (%(default)s)")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance samples, k")
    parser.add_argument("--out", type=pathlib.Path, help="default: runs/likelihood/ROW")
    parser.add_argument("--overwrite", action="store_true", help="train anew")
    receipts.add_option(parser)
    args = parser.parse_args()
    if args.minutes and (args.epochs or args.kl_warmup is not None):
        parser.error("--minutes says how long to train: leave out --epochs and --kl-warmup.")
    args.out = args.out or ROOT / "runs" / "likelihood" / args.row
    inputs = load(args)
    model, seconds, cpu_seconds = train(args, inputs["train"])
    report(f"log p(x) of {args.examples} images with k = {args.num_samples}")
    nats, errors, likelihood_seconds = estimate(model, inputs["test"], args)
    test = inputs["test"] if model.condition else inputs["test"]["x"]
    losses = model.evaluate(test, verbose=0, return_dict=True)
    result = {
        "data": "MNIST, binarised " + ("once" if args.static else "anew in every step"),
        **mean_and_errors(nats, errors),
        "test": {name: float(value) for name, value in losses.items()},
        "active_units": active_units(model.encode(test)[0]),
        "parameters": model.count_params(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "likelihood_seconds": round(likelihood_seconds, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    args.out = str(args.out.relative_to(ROOT)) if args.out.is_relative_to(ROOT) else args.out.name
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
