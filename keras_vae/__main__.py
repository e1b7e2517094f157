"""The command line: train, evaluate, sample, figures, export, env."""

import argparse
import contextlib
import functools
import math
import os
import pathlib
import random
import shlex
import sys
import time
import warnings

from keras_vae import _command, _lazy, arguments, backends, progress
from keras_vae.backends import BACKENDS
from keras_vae.data.errors import shortened
from keras_vae.progress import about
from keras_vae.storage import run_config

# The names in `keras_vae.likelihoods`, which cannot be imported before the backend is chosen.
LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "laplace",
    "discretized_logistic_mixture",
    "categorical",
)

# The names in `keras_vae.figures.gallery`, which imports Keras, too.
PICTURES = (
    "learning_curves",
    "reconstructions",
    "samples",
    "samples_by_class",
    "interpolation",
    "interpolation.gif",
    "style_transfer",
    "traversals",
    "manifold",
    "latent",
    "latent_projections",
    "kl_by_dimension",
    "codebook_usage",
)
# What models lack, by their classes' names.
WITHOUT_LIKELIHOOD = ("Autoencoder", "VQVAE", "GAN", "ConditionalGAN")
WITHOUT_LABELS = ("Autoencoder", "VAE", "GAN")
AIS_PACKAGES = ("tensorflow", "tensorflow_probability", "tf_keras")
# What is in the parsed arguments and in no `config.json`.
NOT_ARGUMENTS = ("command", "argv", "traceback")
# What is of one start of a training alone, and what may be otherwise when it goes on: whether the
# data are the same is seen from the data.
OF_ONE_START = ("resume", "overwrite", "backend", "out")
MAY_CHANGE = ("backend", "data", "save_every")

# What `train` uses where an argument is left out. The networks of 28x28 greys are those that
# benchmarks/conditional_quality.py measures.
DEFAULTS = {
    "digits": {
        "network": "dense",
        "hidden_units": (256, 256),
        "latent_dim": 4,
        "epochs": 100,
        "batch_size": 64,
        "learning_rate": 2e-3,
    },
    "grey": {
        "network": "dense",
        "hidden_units": (512, 512, 512),
        "latent_dim": 5,
        "epochs": 20,
        "batch_size": 128,
        "learning_rate": 1e-3,
    },
    "colour": {
        "network": "conv",
        "hidden_units": (32, 64, 128),
        "latent_dim": 64,
        "epochs": 20,
        "batch_size": 128,
        "learning_rate": 1e-3,
    },
}
# What differs for fewer greys than `FEW`: they fill fewer latents, and an epoch has few steps.
FEW = 20_000
FEW_GREYS = {"latent_dim": 4, "epochs": 60}

# What `train --model` takes.
MODELS = {
    "autoencoder": "a code to reconstruct from, nothing to sample",
    "vae": "samples and scores without classes",
    "conditional_vae": "samples of a class and scores, the default",
    "ladder_vae": "as vae, with codes on several levels, for higher likelihoods",
    "vq_vae": "a grid of discrete codes, sharp reconstructions, a prior over the codes",
    "gan": "sharp samples, no scores",
    "conditional_gan": "sharp samples of a class, no scores",
}
# Options that only some of them know.
OPTIONS_OF = {
    ("vae", "conditional_vae"): ("posterior",),
    ("ladder_vae",): ("latent_dims",),
    ("vae", "conditional_vae", "ladder_vae"): (
        "prior",
        "kl_weight",
        "kl_warmup",
        "free_bits",
        "objective",
        "num_samples",
    ),
    ("autoencoder", "vae", "conditional_vae", "ladder_vae", "vq_vae"): (
        "likelihood",
        "dynamic_binarization",
    ),
    ("autoencoder", "vae", "conditional_vae", "vq_vae", "gan", "conditional_gan"): ("latent_dim",),
    ("conditional_vae", "vq_vae", "conditional_gan"): ("unknown_rate",),
    ("gan", "conditional_gan"): ("label_smoothing", "spectral_normalization"),
    ("vq_vae",): ("num_codes", "levels", "prior_epochs"),
}
# What `train --prior` takes; the last three are fitted to the trained model's codes.
PRIORS = {
    "standard_normal": "N(0, I), the default",
    "conditional_normal": "a Gaussian for each class, learned",
    "gaussian_mixture": "10 Gaussians, learned",
    "vamp": "the mean of 100 posteriors of learned pseudo-inputs",
    "real_nvp": "a normalizing flow, for each class",
    "fitted_gaussian": "after training, a Gaussian for each class",
    "fitted_mixture": "after training, 10 Gaussians for each class",
    "fitted_kernel_density": "after training, up to 500 kernels for each class",
}
# What differs for a GAN. The network of 28x28 greys is that of benchmarks/conditional_gan.py.
GAN_DEFAULTS = {
    "digits": {"latent_dim": 16, "epochs": 200, "learning_rate": 1e-3},
    "grey": {
        "network": "conv",
        "hidden_units": (16, 32),
        "latent_dim": 32,
        "epochs": 12,
        "learning_rate": 4e-4,
    },
    "colour": {"latent_dim": 64, "epochs": 50, "learning_rate": 2e-4},
}
# What differs for a ladder: one entry for each level, from the data up.
LADDER_DEFAULTS = {
    "digits": {"hidden_units": (128, 64), "latent_dims": (8, 4)},
    "grey": {"hidden_units": (512, 256, 128), "latent_dims": (32, 16, 8)},
    "colour": {"hidden_units": (512, 256, 128), "latent_dims": (64, 32, 16)},
}


@contextlib.contextmanager
def warnings_as_lines():
    """Let warnings be one line each, without the place in the code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield


@warnings_as_lines()
def main(argv=None):
    """Run a command and return its exit status: 0, 2 for bad input, 1 for anything else."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["export"]:
        return export(argv[1:])
    args = make_parser().parse_args(argv)
    try:
        if getattr(args, "resume", False):
            args = with_arguments_of_run(args, argv)
        args.argv = argv
        if "keras" not in sys.modules:
            backends.find(args.backend)
        return args.command(args) or 0
    except KeyboardInterrupt:
        return fail("interrupted", 1)
    except (
        ValueError,
        ImportError,
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
        IsADirectoryError,
        PermissionError,
    ) as err:
        if args.traceback:
            raise
        return fail(err, 2)
    except (OSError, FloatingPointError, MemoryError) as err:
        if args.traceback:
            raise
        return fail(str(err) or "Memory ran out.", 1)
    except Exception as err:
        from keras_vae.exceptions import is_out_of_memory

        if args.traceback or not is_out_of_memory(err):
            raise
        return fail("Memory must suffice for a batch. It ran out. Lower --batch-size.", 1)


def export(argv):
    """The same as `python -m export`."""
    try:
        _lazy.export_package()
    except ImportError as err:
        return fail(err, 2)
    from export.__main__ import main as export_main

    return export_main(argv, "python -m keras_vae export")


def with_arguments_of_run(args, argv):
    """The arguments of a `train --resume`: those of the run that it goes on with, in its folder.

    Args:
        args: The command line's arguments, parsed.
        argv: The command line.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If an argument is given that the run has otherwise.
    """
    folder = folder_of(args)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(no_interrupted_run(folder))
    config = run_config.read(folder / "config.json")
    told = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config["arguments"].items()
        if name in vars(args) and name not in OF_ONE_START
    }
    backend = config.get("backend")
    if "keras" not in sys.modules and backend in BACKENDS:
        told["backend"] = backend
    args = make_parser({**told, "out": str(folder)}).parse_args(argv)
    changed = [
        f"--{name.replace('_', '-')} {getattr(args, name)}, for {value} in the run"
        for name, value in told.items()
        if name not in MAY_CHANGE and getattr(args, name) != value
    ]
    if changed:
        raise ValueError(
            f"--resume goes on with the arguments of the run. Received: {'; '.join(changed)}. "
            "Leave them out, or train into another --out."
        )
    return args


def folder_of(args):
    """The run folder of a training."""
    return pathlib.Path(args.out or pathlib.Path("runs") / pathlib.Path(args.data).stem)


def no_interrupted_run(folder):
    return f"--resume needs an interrupted run that has saved its state. {folder} holds none."


def make_parser(of_run=None):
    """Make the parser of the command line.

    Args:
        of_run: Optional dict of the arguments that `train` has where they are left out.
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_vae",
        description="Train, evaluate, sample and export conditional generative models.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--backend", choices=BACKENDS, help="default: KERAS_BACKEND, or Keras' own")
    common.add_argument("--traceback", action="store_true", help="show where an error came from")

    def add(name, function, text):
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(command=function)
        return command

    command = add("train", train, "Train a model and write a run folder.")
    command.add_argument(
        "--model",
        choices=MODELS,
        default="conditional_vae",
        metavar="NAME",
        help="; ".join(f"{name}: {text}" for name, text in MODELS.items()),
    )
    command.add_argument(
        "--data",
        default="digits",
        help="digits, mnist_small (which comes along), mnist, fashion_mnist, cifar10, an .npz file "
        "or a folder with one sub-folder of images per class (default: digits)",
    )
    command.add_argument("--out", help="run folder (default: runs/DATA)")
    command.add_argument("--network", choices=("dense", "conv"), help="default: by the data")
    command.add_argument(
        "--hidden-units",
        type=units,
        help="widths of the encoder's hidden layers, by commas; the "
        "decoder has them in reverse (default: by the data)",
    )
    command.add_argument("--latent-dim", type=positive, help="default: by the data")
    command.add_argument(
        "--latent-dims",
        type=units,
        help="of a ladder_vae, sizes of the levels from the data up, by commas: 16,8,4; "
        "--hidden-units has one width for each, too (default: by the data)",
    )
    command.add_argument("--epochs", type=positive, help="default: by the data")
    command.add_argument("--batch-size", type=positive, help="default: by the data")
    command.add_argument(
        "--learning-rate",
        type=float,
        help="Adam's, at the start; it falls to 0 along a cosine (default: by the data)",
    )
    command.add_argument(
        "--likelihood",
        choices=LIKELIHOODS,
        default="bernoulli",
        help="what the decoder says about a pixel (default: bernoulli)",
    )
    command.add_argument("--kl-weight", type=float, default=1.0, help="beta (default: 1)")
    command.add_argument(
        "--kl-warmup",
        type=natural,
        default=0,
        metavar="EPOCHS",
        help="let the KL's weight rise to --kl-weight in so many epochs (default: 0)",
    )
    command.add_argument(
        "--free-bits",
        type=float,
        default=0.0,
        help="nats that each latent dimension costs at least (default: 0)",
    )
    command.add_argument(
        "--objective",
        choices=("elbo", "iwae", "total_correlation", "mmd"),
        default="elbo",
        help="what the model minimises (default: elbo)",
    )
    command.add_argument(
        "--num-samples",
        type=positive,
        help="codes drawn for each example in a step (default: 1, with iwae 50)",
    )
    command.add_argument(
        "--prior",
        choices=PRIORS,
        default="standard_normal",
        metavar="NAME",
        help="; ".join(f"{name}: {text}" for name, text in PRIORS.items()),
    )
    command.add_argument(
        "--posterior",
        choices=("diagonal", "full_covariance"),
        default="diagonal",
        help="what the encoder says about a code: a diagonal Gaussian, or any (default: diagonal)",
    )
    command.add_argument(
        "--unknown-rate",
        type=float,
        default=0.0,
        help="share of training labels replaced by unknown (default: 0)",
    )
    command.add_argument(
        "--dynamic-binarization",
        action="store_true",
        help="draw every pixel as 0 or 1, anew for every batch: for likelihoods to compare",
    )
    command.add_argument(
        "--label-smoothing",
        type=float,
        default=0.0,
        help="share by which a GAN's real images count as generated (default: 0)",
    )
    command.add_argument(
        "--spectral-normalization",
        action="store_true",
        help="bound the gain of a GAN's discriminator",
    )
    command.add_argument(
        "--num-codes", type=positive, default=128, help="of a vq_vae's codebook (default: 128)"
    )
    command.add_argument(
        "--levels",
        type=units,
        help="let a vq_vae round to these numbers of levels, by commas, instead of a codebook",
    )
    command.add_argument(
        "--prior-epochs",
        type=positive,
        help="of a vq_vae's prior over the codes (default: as --epochs)",
    )
    command.add_argument("--seed", type=natural, default=0, help="default: 0")
    command.add_argument(
        "--devices",
        type=positive,
        default=1,
        metavar="N",
        help="divide every batch among so many GPUs, or cores where there is none (default: 1)",
    )
    command.add_argument(
        "--gif",
        action="store_true",
        help="draw the same samples after every epoch, as figures/training.gif",
    )
    command.add_argument(
        "--save-every",
        type=positive,
        default=1000,
        metavar="STEPS",
        help="steps between two saves of what --resume needs, which every epoch's end saves, too "
        "(default: 1000)",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run in --out, whose arguments need not be given again",
    )
    command.add_argument("--overwrite", action="store_true", help="replace a run in the folder")

    command.set_defaults(**(of_run or {}))

    command = add("evaluate", evaluate, "Measure a run's model on its test data.")
    command.add_argument("run", help="run folder")
    command.add_argument(
        "--num-samples",
        type=natural,
        default=0,
        help="also estimate the log-likelihood with this many importance samples",
    )
    command.add_argument(
        "--k",
        type=units,
        default=(),
        metavar="K,K,...",
        help="also estimate it with each of these numbers of importance samples, in one pass",
    )
    command.add_argument(
        "--ais",
        action="store_true",
        help="also bound it by annealed importance sampling, on the first 100 test examples; "
        'minutes, needs "keras-vae[tfp]"',
    )
    command.add_argument(
        "--scorecard",
        action="store_true",
        help="also judge samples by a classifier of real images; minutes",
    )
    command.add_argument(
        "--doctor", action="store_true", help="also say in plain words what went wrong in training"
    )
    command.add_argument("--examples", type=positive, help="use the first so many test examples")

    command = add("sample", sample, "Draw samples from a run's model.")
    command.add_argument("run", help="run folder")
    command.add_argument(
        "--label",
        action="append",
        help="class by name or index, several by commas (default: every class, one row each)",
    )
    command.add_argument("--count", type=positive, default=16, help="samples per class")
    command.add_argument("--seed", type=natural, help="repeats the same samples")
    command.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    command.add_argument(
        "--out",
        default="samples.png",
        help=".png, or .npy for the float32 values (default: samples.png)",
    )

    command = add("figures", figures, "Draw what a run learnt, in all ways that its model allows.")
    command.add_argument("run", help="run folder")
    command.add_argument(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        help="of pictures that do not move (default: png)",
    )
    command.add_argument("--only", metavar="NAMES", help="draw these only, by commas")
    command.add_argument(
        "--label", help="class whose code the traversals show, by name or index (default: first)"
    )

    add("env", env, "Print versions, backend and devices: what a bug report needs.")
    commands.add_parser("export", help="the same as python -m export", add_help=False)
    return parser


# Commands


def train(args):
    """Train on one device or several, and return the exit status."""
    from keras_vae import launch

    run, dataset = prepared(args)
    several = launch.is_one_of_several()
    start_keras(args, None if several else f"{args.model} on {dataset.name}")
    from keras_vae import training

    if args.devices == 1:
        return train_here(args, run, dataset)
    if not several:
        there = len(training.find_devices())
        if args.devices > there:
            raise ValueError(
                f"--devices must be at most {there}, as many as there are here. Received: "
                f"{args.devices}."
            )
        if training.needs_processes:
            del dataset  # they read it themselves
            return launch.run(args.devices, args.argv)
    with training.on_devices(args.devices):
        return train_here(args, run, dataset)


def prepared(args):
    """Check all that can be checked without Keras: the run folder and the data of a training."""
    from keras_vae import data
    from keras_vae.launch import own_folder
    from keras_vae.storage.files import check_folder_can_be, locked
    from keras_vae.storage.runs import Run

    check_options(args)
    args.out = str(folder_of(args))
    run = Run(own_folder(args.out) if args.devices > 1 else args.out)
    check_folder(run, args)
    check_folder_can_be(run.folder)
    if data.needs_keras(args.data):
        start_keras(args, f"{args.data} by keras.datasets")
    dataset = run.dataset(args.data) if args.resume else data.load(args.data)
    fill_defaults(args, dataset)
    with locked(run.folder):  # nobody else trains there
        pass
    return run, dataset


def train_here(args, run, dataset):
    from keras_vae.storage.files import locked

    with locked(run.folder):
        check_folder(run, args)
        if args.overwrite and not args.resume:
            run.delete_checkpoints()
        model = train_in(run, args, dataset)
    results = measure(model, dataset.x_test, dataset.y_test, args.batch_size)
    report_evaluation(run, results)
    following("figures", run.folder)
    following("sample", run.folder, *sample_label(model), "--count", 16, "--seed", 42)
    following_export(run.folder)


def train_in(run, args, dataset):
    """Train, or go on training, in a folder that is ours, and return the model."""
    import keras
    import numpy as np

    from keras_vae.callbacks import Checkpoint, ProgressLines
    from keras_vae.models.capabilities import DiscreteCodes
    from keras_vae.storage.runs import now, versions

    random.seed(args.seed)  # Keras' initializers take their seeds from here
    np.random.seed(args.seed)
    model = make_model(args, dataset)
    # On PyTorch our networks can be traced, with the same results.
    jit_compile = True if keras.backend.backend() == "torch" else "auto"
    model.compile(optimizer_of(args, dataset), jit_compile=jit_compile)
    model.build()
    config = {
        "arguments": {k: v for k, v in vars(args).items() if k not in NOT_ARGUMENTS},
        "started": now(),
        "backend": keras.backend.backend(),
        "data_shape": list(dataset.x_train.shape[1:]),
        "class_names": list(dataset.class_names),
        "parameters": model.count_params(),
        "versions": versions(),
    }
    run.write_json(run.config_path, config)
    print(
        f"{type(model).__name__} with {model.count_params():,} parameters on {dataset.name}: "
        f"{len(dataset.x_train):,} training and {len(dataset.x_test):,} test images, "
        f"{keras.backend.backend()} backend",
        flush=True,
    )
    start = time.perf_counter()
    checkpoint = Checkpoint(run.checkpoints, args.save_every, delete=False)

    def write_history(epoch, logs):
        run.write_history({n: [*checkpoint.history.get(n, []), v] for n, v in logs.items()})

    is_drawn = sys.stdout.isatty()  # Keras' bar
    watchers = [keras.callbacks.LambdaCallback(on_epoch_end=write_history)]
    if not is_drawn:
        watchers.append(ProgressLines())
    if args.gif:
        watchers.append(sample_gif(run, model, dataset))
    verbose = 1 if is_drawn else 2
    try:
        model.fit(
            inputs_of(model, dataset.x_train, dataset.y_train),
            validation_data=(inputs_of(model, dataset.x_test, dataset.y_test),),
            batch_size=args.batch_size,
            epochs=args.epochs,
            verbose=verbose,
            callbacks=[checkpoint, *watchers],
        )
        if isinstance(model, DiscreteCodes):
            print("Training the prior over the codes", flush=True)
            model.fit_prior(
                {"x": dataset.x_train, "label": dataset.y_train},
                batch_size=args.batch_size,
                epochs=args.prior_epochs or args.epochs,
                verbose=verbose,
                callbacks=[
                    Checkpoint(run.checkpoints / "prior", args.save_every, delete=False),
                    *([] if is_drawn else [ProgressLines()]),
                ],
            )
    except KeyboardInterrupt:
        run.save_model(model)
        again = command_line(["train", "--resume", "--out", args.out])
        print(f"\nStopped. The model so far is in {run.folder}. Go on with:\n  {again}")
        raise
    fit_prior(model, args, dataset)
    run.save_model(model)
    seconds = time.perf_counter() - start
    run.write_json(run.config_path, {**config, "finished": now(), "seconds": round(seconds, 1)})
    run.delete_checkpoints()
    return model


def evaluate(args):
    from keras_vae import data
    from keras_vae.storage.runs import Run

    run = Run(args.run)
    kind = run.model_class()
    if args.num_samples and kind in WITHOUT_LIKELIHOOD:
        raise ValueError(
            f"--num-samples needs a VAE, which has a likelihood of the data. Received: a {kind}."
        )
    if args.ais and (missing := [p for p in AIS_PACKAGES if not backends.is_installed(p)]):
        raise ImportError(
            f"--ais needs TensorFlow Probability on TensorFlow. Received: no {', '.join(missing)}. "
            f"Install it with: {backends.install('tfp')}"
        )
    if data.needs_keras(source := run.config()["arguments"]["data"]):
        start_keras(args, f"{source} by keras.datasets")
    dataset = run.dataset()
    start_keras(args, f"{kind} of {run.folder}")
    from keras_vae.evaluation import report

    model = run.load_model()
    x, y = dataset.x_test[: args.examples], dataset.y_test[: args.examples]
    if args.examples and args.examples > len(x):
        print(f"All {len(x):,} test images, fewer than the {args.examples:,} asked for")
    counts = (*args.k, args.num_samples) if args.num_samples else args.k
    inputs = inputs_of(model, x, y)
    for line in plan(args, model, dataset, inputs, counts):
        print(line, flush=True)
    # In batches as in training, whose last line then has the same numbers.
    batch_size = run.config()["arguments"].get("batch_size") or 256
    results = report.measure_all(model, inputs, counts, args.ais, progress.bar, batch_size)
    results |= measure_prior(model, x, y)
    if args.num_samples:
        [row] = [r for r in results["log_likelihoods"] if r["num_samples"] == args.num_samples]
        results["log_likelihood"] = row["log_likelihood"]
        results["log_likelihood_standard_error"] = row["standard_error"]
        results["num_samples"] = args.num_samples
    results["examples"] = len(x)
    if args.scorecard:
        results["scorecard"] = judge(run, model, dataset)
    if args.doctor:
        results["findings"] = examine(run, model, dataset, results.get("scorecard", {}))
    report_evaluation(run, results)
    following("figures", run.folder)


def sample(args):
    import numpy as np

    from keras_vae.storage.files import check_folder_can_be, write_atomically
    from keras_vae.storage.runs import Run

    out = pathlib.Path(args.out)
    if out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out must end with .png or .npy. Received: {out}")
    arguments.not_negative(args.temperature, "--temperature")
    run = Run(args.run)
    kind = run.model_class()
    if kind == "Autoencoder":
        raise ValueError("Sampling needs a model with a prior. Received: an Autoencoder.")
    check_labels(run, kind, args.label)
    check_folder_can_be(out.parent)
    start_keras(args)
    from keras_vae import figures as draw

    model = run.load_model()
    rows, what = sample_rows(model, args.label)
    if rows is None:
        images = model.sample(args.count, temperature=args.temperature, seed=args.seed)
    else:
        labels = np.repeat(np.asarray(rows, "int32"), args.count)
        images = model.sample({"label": labels}, temperature=args.temperature, seed=args.seed)
    if out.suffix == ".npy":
        import io

        buffer = io.BytesIO()
        np.save(buffer, images)
        write_atomically(out, buffer.getvalue())
    else:
        columns = args.count if rows and len(rows) > 1 else math.ceil(math.sqrt(len(images)))
        grid = draw.image_grid(images, columns, model.likelihood.data_range)
        write_atomically(out, draw.png(grid))
    print(f"{len(images)} images of {what}")
    print(out)
    following_export(args.run)


def figures(args):
    from keras_vae import data
    from keras_vae.storage.runs import Run

    names = args.only.split(",") if args.only else list(PICTURES)
    if unknown := [name for name in names if name not in PICTURES]:
        raise ValueError(
            f"--only must name pictures, of {', '.join(PICTURES)}. Received: {unknown[0]}"
        )
    run = Run(args.run)
    run.model_class()
    source = run.config()["arguments"]["data"]
    start_keras(args)
    from rich.progress import track

    from keras_vae.figures import gallery

    model = run.load_model()
    try:
        dataset = run.dataset()
    except data.DataError as err:
        print(f"Without the data: {err}")
        dataset = None
    data_name = pathlib.Path(source).stem if dataset is None else dataset.name
    subject = gallery.Subject(model, dataset, run.history(), data_name, args.label)
    if args.label is not None:
        _ = subject.shown_label  # refused before anything is drawn
    left_out = {}
    quiet = not sys.stdout.isatty()
    for name in track(names, "Drawing", transient=True, disable=quiet):
        try:
            made = gallery.PICTURES[name](subject)
        except gallery.LeftOut as why:
            left_out.setdefault(str(why), []).append(name)
            continue
        print(run.save_figure(name, made, args.format), flush=True)
    for why, which in left_out.items():
        print(f"Left out {', '.join(which)}: {why}.")
    following_export(run.folder)


def env(args):
    start_keras(args)
    import platform

    import keras

    from keras_vae.storage.runs import versions
    from keras_vae.training import devices

    for name, version in versions().items():
        print(f"{name:>15} {version}")
    print(f"{'backend':>15} {keras.backend.backend()}")
    print(f"{'devices':>15} {', '.join(devices())}")
    print(f"{'platform':>15} {platform.platform()}, {os.cpu_count()} cores")


# Parts of commands


def start_keras(args, what=None):
    """Import Keras: what a command does once nothing is left to refuse without it.

    Args:
        args: The command line's arguments.
        what: Optional str, what it is imported for, said where it takes seconds.
    """
    if what and "keras" not in sys.modules:
        print(f"{what}; starting Keras on {backends.find(args.backend)}", flush=True)
    _command.start(args.backend, getattr(args, "devices", 1))


def check_options(args):
    """Refuse options that mean nothing to the model, rather than ignore them."""
    default = make_parser().parse_args(["train"])
    for models, names in OPTIONS_OF.items():
        for name in names:
            if args.model not in models and getattr(args, name) != getattr(default, name):
                raise ValueError(
                    f"--{name.replace('_', '-')} needs --model {' or '.join(models)}. Received: "
                    f"--model {args.model}."
                )
    if args.model == "vq_vae" and args.devices > 1:
        raise ValueError(
            "--devices must be 1 with --model vq_vae, whose prior trains on one device. Received: "
            f"{args.devices}."
        )
    if args.model == "vq_vae" and args.network == "dense":
        raise ValueError("--model vq_vae needs --network conv. Received: dense.")
    if args.levels and args.latent_dim not in (None, len(args.levels)):
        raise ValueError(
            f"--latent-dim must be the number of --levels, {len(args.levels)}. Received: "
            f"{args.latent_dim}"
        )
    if args.model == "ladder_vae" and args.network == "conv":
        raise ValueError("--model ladder_vae needs --network dense. Received: conv.")
    check_levels(args)
    if args.model in ("vae", "ladder_vae") and args.prior == "conditional_normal":
        raise ValueError("--prior conditional_normal needs --model conditional_vae.")
    if args.prior.startswith("fitted_") and not backends.is_installed("sklearn"):
        raise ImportError(
            f"--prior {args.prior} needs scikit-learn. Install it with: {backends.install('cli')}"
        )
    for name in ("kl_weight", "free_bits"):
        arguments.not_negative(getattr(args, name), option(name))
    for name in ("unknown_rate", "label_smoothing"):
        arguments.part_of_one(getattr(args, name), option(name))
    arguments.whole(args.num_codes, "--num-codes", 2)
    arguments.wholes(args.levels or (), "--levels", 2, "8,6,5")
    rate = args.learning_rate
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"--learning-rate must be above 0. Received: {rate}")


def check_levels(args):
    """See that a ladder has as many widths as levels, if both are known by now."""
    sizes, widths = args.latent_dims, args.hidden_units
    if args.model == "ladder_vae" and sizes and widths and len(sizes) != len(widths):
        raise ValueError(
            "--latent-dims and --hidden-units must have one entry for each level. Received: "
            f"{len(sizes)} and {len(widths)}."
        )


def option(name):
    """What an argument is called on the command line."""
    return f"--{name.replace('_', '-')}"


def check_labels(run, kind, labels):
    """See that a run's model knows the labels that its samples are to have."""
    if not labels:
        return
    if kind in WITHOUT_LABELS:
        raise ValueError(f"A {kind} takes no --label.")
    names = run.config().get("class_names")
    if not isinstance(names, list):
        return  # the model itself will say
    for word in [
        word for text in labels for word in ([text] if text in names else text.split(","))
    ]:
        is_index = word.isdecimal() and int(word) <= len(names)
        if word not in names and word != "unknown" and not is_index:
            raise ValueError(
                f"--label must name classes, or count them from 0 to {len(names) - 1}. Received: "
                f"{word!r}. The classes are: {shortened(', '.join(map(str, names)))}."
            )


def fill_defaults(args, dataset):
    """Set what was left out by what the data are."""
    shape = dataset.x_train.shape[1:]
    small = max(shape[:2]) <= 16
    kind = "colour" if shape[2] == 3 else "digits" if small else "grey"
    few = FEW_GREYS if kind == "grey" and len(dataset.x_train) < FEW else {}
    defaults = {**DEFAULTS[kind], **few, **(GAN_DEFAULTS[kind] if is_gan(args) else {})}
    if args.model == "vq_vae":
        grids = {"network": "conv", "hidden_units": (64,) if small else (32, 64)}
        defaults = {**defaults, **grids, "latent_dim": len(args.levels or range(16))}
    if args.model == "ladder_vae":
        defaults = {**defaults, "network": "dense", **LADDER_DEFAULTS[kind]}
        del defaults["latent_dim"]
    for name, value in defaults.items():
        if name == "hidden_units" and args.network != defaults["network"]:
            value = (32, 64) if args.network == "conv" else (512, 512)
        if getattr(args, name) is None:
            setattr(args, name, value)
    check_levels(args)
    if args.kl_warmup > args.epochs:
        raise ValueError(
            f"--kl-warmup must be at most --epochs, {args.epochs}. Received: {args.kl_warmup}"
        )


def check_folder(run, args):
    """See that nothing in a run folder is lost, and that what is resumed is there."""
    if args.resume:
        if not run.saved_states():
            raise FileNotFoundError(no_interrupted_run(run.folder))
    elif not args.overwrite:
        run.check_is_free()


def optimizer_of(args, dataset):
    """Adam whose learning rate falls to 0 along a cosine."""
    import keras

    steps = args.epochs * math.ceil(len(dataset.x_train) / args.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    # DCGAN's momentum for GANs: with a larger one the players swing around each other.
    return keras.optimizers.Adam(schedule, beta_1=0.5 if is_gan(args) else 0.9)


def is_gan(args):
    return args.model in ("gan", "conditional_gan")


def make_gan(args, dataset):
    """Build the GAN that the arguments describe."""
    import keras_vae

    shape, names = dataset.x_train.shape[1:], dataset.class_names
    networks = keras_vae.networks
    generator, discriminator = {
        "dense": (networks.DenseDecoder, networks.DenseDiscriminator),
        "conv": (networks.ConvDecoder, networks.ConvDiscriminator),
    }[args.network]
    generator = generator(shape, tuple(reversed(args.hidden_units)))
    discriminator = functools.partial(
        discriminator, args.hidden_units, spectral_normalization=args.spectral_normalization
    )
    options = {
        "latent_dim": args.latent_dim,
        "label_smoothing": args.label_smoothing,
        "seed": args.seed,
    }
    if args.model == "gan":
        return keras_vae.GAN(generator, discriminator(), **options)
    kind = keras_vae.Categorical(len(names), names, unknown_rate=args.unknown_rate)
    return keras_vae.ConditionalGAN(
        generator, discriminator(num_classes=len(names)), condition={"label": kind}, **options
    )


def make_model(args, dataset):
    """Build the model that the arguments describe."""
    if is_gan(args):
        return make_gan(args, dataset)
    import keras_vae

    shape = dataset.x_train.shape[1:]
    networks = keras_vae.networks
    reverse = tuple(reversed(args.hidden_units))
    kind = keras_vae.Categorical(
        len(dataset.class_names), dataset.class_names, unknown_rate=args.unknown_rate
    )
    settings = {
        "likelihood": args.likelihood,
        "seed": args.seed,
        "dynamic_binarization": args.dynamic_binarization,
    }
    if args.model == "vq_vae":
        layers = keras_vae.layers
        quantizer = (
            layers.FiniteScalarQuantizer(args.levels)
            if args.levels
            else layers.VectorQuantizer(args.num_codes, args.latent_dim, seed=args.seed)
        )
        model = keras_vae.VQVAE(
            networks.ConvGridEncoder(args.latent_dim, args.hidden_units),
            networks.ConvGridDecoder(shape, reverse),
            quantizer,
            **settings,
        )
        model.build()
        grid = (model.grid_shape, quantizer.num_codes)
        model.set_prior(keras_vae.PixelCNN(*grid, {"label": kind}, seed=args.seed))
        return model
    if args.model == "ladder_vae":
        encoder = networks.LadderEncoder(args.latent_dims, args.hidden_units)
        decoder = networks.LadderDecoder(shape, args.latent_dims, args.hidden_units)
    elif args.network == "dense":
        encoder = networks.DenseEncoder(args.latent_dim, args.hidden_units)
        decoder = networks.DenseDecoder(shape, reverse)
    else:
        encoder = networks.ConvEncoder(args.latent_dim, args.hidden_units)
        decoder = networks.ConvDecoder(shape, reverse)
    if args.model == "autoencoder":
        return keras_vae.Autoencoder(encoder, decoder, **settings)
    kl_weight = args.kl_weight
    if args.kl_warmup:
        kl_weight = keras_vae.schedules.LinearWarmup(args.kl_warmup, end=kl_weight)
    settings |= {
        "prior": make_prior(args),
        "posterior": "ladder" if args.model == "ladder_vae" else args.posterior,
        "kl_weight": kl_weight,
        "free_bits": args.free_bits,
        "objective": args.objective,
        "num_samples": args.num_samples,
    }
    if args.objective == "iwae" and settings["posterior"] != "diagonal":
        settings["gradient"] = "reparameterized"  # the other estimator needs the diagonal one
    if args.model != "conditional_vae":
        return keras_vae.VAE(encoder, decoder, **settings)
    return keras_vae.ConditionalVAE(encoder, decoder, condition={"label": kind}, **settings)


def make_prior(args):
    """Build the prior that training begins with."""
    from keras_vae import priors

    kinds = {
        "conditional_normal": priors.ConditionalNormal,
        "gaussian_mixture": priors.GaussianMixture,
        "vamp": priors.VampPrior,
        "real_nvp": priors.RealNVP,
    }
    return kinds.get(args.prior, priors.StandardNormal)()


def fit_prior(model, args, dataset):
    """Fit the prior to the trained model's codes, if the arguments ask for it."""
    fitted, _, kind = args.prior.partition("fitted_")
    if kind and not fitted:
        print("Fitting the prior to the codes", flush=True)
        inputs = inputs_of(model, dataset.x_train, dataset.y_train)
        model.fit_prior(inputs, kind, seed=args.seed)


def inputs_of(model, x, y):
    """What a model of the command line takes: the images, with their labels if it needs them."""
    return {"x": x, "label": y} if model.condition else x


def sample_gif(run, model, dataset):
    """What draws a training: samples, of each class in turn, or else reconstructions."""
    from keras_vae.callbacks import SampleGif
    from keras_vae.models.capabilities import DiscreteCodes, Samples

    run.figures.mkdir(parents=True, exist_ok=True)
    path = run.figures / "training.gif"
    if isinstance(model, Samples) and not isinstance(model, DiscreteCodes):
        labels = [index % len(dataset.class_names) for index in range(50)]
        return SampleGif(path, {"label": labels} if model.condition else 50, columns=10)
    return SampleGif(path, inputs=dataset.x_test[:50], columns=10)


def sampled_conditions(model):
    """The conditions, by name, of what a model samples: its own, or those of its prior."""
    from keras_vae.models.capabilities import Samples

    return model.sample_conditions if isinstance(model, Samples) else {}


def plan(args, model, dataset, inputs, counts):
    """Yield lines that say what `evaluate` will do, and about how long its long parts take."""
    from keras_vae.evaluation import report
    from keras_vae.evaluation.scorecard import samples_per_class, seconds_of_classifiers
    from keras_vae.models.capabilities import Bounds

    images = len(inputs["x"] if isinstance(inputs, dict) else inputs)
    yield f"Measuring {images:,} test images"
    if (counts or args.ais) and isinstance(model, Bounds):
        seconds = report.seconds_of_code(model, inputs)
        if counts:
            of_all = seconds * max(counts) * images
            yield f"  log p(x) by up to {max(counts):,} importance samples: {about(of_all)}"
        if args.ais:
            annealed = min(images, report.ANNEALED_EXAMPLES)
            of_all = seconds * report.CODES_OF_ANNEALED * annealed
            yield f"  the same of {annealed} images by annealing: {about(of_all)}"
    if args.scorecard and sampled_conditions(model):
        samples = samples_per_class(model) * len(dataset.class_names)
        of_all = seconds_of_classifiers(dataset, samples)
        yield f"  samples judged by classifiers of images and of samples: {about(of_all)}"


def measure(model, x, y, batch_size):
    """Evaluate with a progress bar."""
    from keras_vae.evaluation import evaluate

    results = evaluate(model, inputs_of(model, x, y), batch_size, progress.bar("Evaluating"))
    return {**results, **measure_prior(model, x, y)}


def measure_prior(model, x, y):
    """The loss of a VQ-VAE's prior over the codes, where there is one."""
    from keras_vae.models.capabilities import DiscreteCodes

    if not isinstance(model, DiscreteCodes) or model.prior is None:
        return {}
    codes = {"codes": model.encode(model.as_observed(x, seed=0)), "label": y}
    return {"prior_loss": -float(model.prior.log_likelihood(codes).mean())}


def judge(run, model, dataset):
    """The scorecard, by the classifier that the run keeps."""
    from keras_vae.evaluation import classifier, report

    if len(dataset.class_names) < 2:
        return {"left_out": {"scorecard": "the data are of one class"}}
    if not sampled_conditions(model):
        return {"left_out": {"scorecard": f"{type(model).__name__} has no label to ask for"}}
    verbose = 1 if sys.stdout.isatty() else 2
    kept = classifier.kept_classifier(run, dataset, print, verbose)
    return report.judge(model, dataset, classifier=kept, say=print, verbose=verbose)


def examine(run, model, dataset, scorecard):
    """What the doctor finds, as plain data; printed as lines by `report_evaluation`."""
    from keras_vae import doctor

    splits = ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test))
    inputs = [inputs_of(model, x, y) for x, y in splits]
    history = run.history()
    epochs = len(next(iter(history.values()), [])) or None
    judged = scorecard if "diversity" in scorecard else None
    found, left_out = doctor.examine(model, *inputs, epochs, history=history, scorecard=judged)
    return {"found": [vars(finding) for finding in found], "left_out": left_out}


def report_evaluation(run, results):
    """Write `evaluation.json` and print it as a table."""
    from keras_vae.evaluation import report

    run.write_json(run.evaluation_path, results)
    for line in report.table(results):
        print(line)
    if "findings" in results:
        findings = results["findings"]
        found = findings["found"]
        first = ": what to mend first comes first" if len(found) > 1 else ""
        print(f"\nDoctor{first}" if found else "\nDoctor: nothing found")
        for finding in found:
            print(f"  {finding['name']}: {finding['text']}\n    {finding['change']}")
        for name, reason in findings["left_out"].items():
            print(f"  {name}, not looked for: {reason}")
    print(run.evaluation_path)


def sample_rows(model, labels):
    """Return the class index of each row, or None for an unconditional model, and a description."""
    conditions = sampled_conditions(model)
    if not conditions:
        if labels:
            raise ValueError(f"A {type(model).__name__} takes no --label.")
        return None, "no class"
    kind = conditions["label"]
    if not labels:
        return list(range(kind.num_classes)), "every class"
    words = [
        word for text in labels for word in ([text] if text in kind.names else text.split(","))
    ]
    rows = []
    for word in words:
        if word in kind.names:
            rows.append(kind.names.index(word))
        elif word == "unknown":
            rows.append(kind.unknown)
        else:
            value = int(word) if word.isdecimal() else word
            rows.extend(kind.as_array([value], "--label").tolist())
    return rows, "label " + ", ".join(words)


def sample_label(model):
    """The arguments that ask for one class."""
    conditions = sampled_conditions(model)
    return ("--label", conditions["label"].names[-3:][0]) if conditions else ()


# Words


def units(text):
    """Parse `512,256`."""
    values = tuple(positive(word) for word in text.split(",") if word)
    if not values:
        raise argparse.ArgumentTypeError("must be at least one number")
    return values


def natural(text):
    """Parse a whole number that is not negative."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not negative: {text}")
    return int(text)


def positive(text):
    """Parse a whole number of at least 1."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1: {text}")
    return value


def command_line(words):
    return f"python -m keras_vae {shlex.join(str(word) for word in words)}"


def following(*words):
    """Print the next command, ready to paste."""
    print(f"Next: {command_line(words)}")


def following_export(run):
    following("export", "--format", "tflite,onnx", "--model", run)


def fail(message, status):
    say(f"error: {' '.join(str(message).split()) or type(message).__name__}")
    return status


def say(text):
    """Print one line to where errors go."""
    print(" ".join(text.split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
