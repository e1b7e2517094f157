"""What `train` is asked for: its defaults, what excludes what, the arguments of a resumed run."""

import math
import pathlib
import sys

from keras_vae import arguments, backends
from keras_vae.backends import BACKENDS
from keras_vae.commands.parser import make_parser

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
    from keras_vae.storage.runs import read_config  # which imports NumPy

    config = read_config(folder / "config.json")
    saved = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config["arguments"].items()
        if name in vars(args) and name not in OF_ONE_START
    }
    backend = config.get("backend")
    if "keras" not in sys.modules and backend in BACKENDS:
        saved["backend"] = backend
    args = make_parser({**saved, "out": str(folder)}).parse_args(argv)
    changed = [
        f"{flag(name)} {getattr(args, name)}, for {value} in the run"
        for name, value in saved.items()
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


def check_options(args):
    """Refuse options that mean nothing to the model, rather than ignore them."""
    default = make_parser().parse_args(["train"])
    for models, names in OPTIONS_OF.items():
        for name in names:
            if args.model not in models and getattr(args, name) != getattr(default, name):
                raise ValueError(
                    f"{flag(name)} needs --model {' or '.join(models)}. Received: "
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
        arguments.not_negative(getattr(args, name), flag(name))
    for name in ("unknown_rate", "label_smoothing"):
        arguments.part_of_one(getattr(args, name), flag(name))
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


def flag(name):
    """How an argument is written on the command line."""
    return f"--{name.replace('_', '-')}"


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


def is_gan(args):
    return args.model in ("gan", "conditional_gan")
