"""What `train` is asked for: its arguments, and what excludes what."""

import argparse
import math
import pathlib

from keras_vae import arguments, backends
from keras_vae.commands.argument_types import (
    image_size,
    ints,
    non_negative_int,
    positive_int,
    words,
)

# The names in `keras_vae.likelihoods`, which cannot be imported before the backend is chosen.
LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "gaussian_optimal",
    "laplace",
    "discretized_logistic_mixture",
    "categorical",
)

# What `train --model` takes.
MODELS = {
    "autoencoder": "a code to reconstruct from, nothing to sample",
    "vae": "samples and scores without classes",
    "conditional_vae": "samples of a class and scores, the default for images",
    "ladder_vae": "as vae, with codes on several levels, for higher likelihoods",
    "vq_vae": "a grid of discrete codes, sharp reconstructions, a prior over the codes",
    "gan": "sharp samples, no scores",
    "conditional_gan": "sharp samples of a class, no scores",
    "sequence_vae": "pieces of music in several voices, or the voices under a melody",
    "table_vae": "rows of a table, the default for one",
    "series_vae": "windows of a series of sensors, the default with --window",
}
IMAGE_MODELS = tuple(
    name for name in MODELS if name not in ("sequence_vae", "table_vae", "series_vae")
)

# What `train --prior` takes; "auto" and the last three are fitted to the trained model's codes.
PRIORS = {
    "auto": "N(0, I) in training, then that or the fitted one whose samples are best, the default "
    "for colour and 20,000 greys or more; of tables the fitted one under which held-out codes are "
    "likeliest",
    "standard_normal": "N(0, I), the default for fewer greys",
    "conditional_normal": "a Gaussian for each class, learned",
    "gaussian_mixture": "10 Gaussians, learned",
    "vamp": "the mean of 100 posteriors of learned pseudo-inputs",
    "real_nvp": "a normalizing flow, for each class",
    "fitted_gaussian": "after training, a Gaussian for each class",
    "fitted_mixture": "after training, 10 Gaussians for each class; for tables the default, 20 of "
    "all rows",
    "fitted_kernel_density": "after training, up to 500 kernels for each class",
}

# What `train --kinds` calls a column, the names in `keras_vae.data` in small letters.
KINDS = ("numeric", "count", "category", "binary")
# Names of arrays of images that are no conditions, and of other inputs of exported files.
RESERVED = ("x", "y", "z", "seed", "temperature", "token_temperature")

# What 0.1.0 had, whatever the data, and wrote into every run's config.
ONCE_DEFAULT = {"likelihood": "bernoulli", "prior": "standard_normal", "unknown_rate": 0.0}

# Options that only some of them know.
OPTIONS_OF = {
    ("vae", "conditional_vae", "table_vae"): ("posterior",),
    ("ladder_vae",): ("latent_dims",),
    ("vae", "conditional_vae", "ladder_vae", "sequence_vae", "table_vae", "series_vae"): (
        "kl_weight",
        "kl_warmup",
    ),
    ("vae", "conditional_vae", "ladder_vae", "table_vae"): (
        "prior",
        "free_bits",
        "objective",
        "num_samples",
    ),
    ("autoencoder", "vae", "conditional_vae", "ladder_vae", "vq_vae"): (
        "likelihood",
        "dynamic_binarization",
    ),
    tuple(name for name in MODELS if name != "ladder_vae"): ("latent_dim",),
    ("conditional_vae", "vq_vae", "conditional_gan"): ("unknown_rate",),
    ("conditional_vae", "vq_vae"): ("flat",),
    ("autoencoder", "vae", "conditional_vae"): ("residual_blocks",),
    ("gan", "conditional_gan"): ("label_smoothing", "spectral_normalization"),
    ("conditional_gan",): ("class_loss_weight",),
    ("vq_vae",): ("num_codes", "levels", "prior_epochs"),
    ("conditional_vae", "conditional_gan", "sequence_vae", "table_vae", "series_vae"): (
        "condition",
    ),
    ("conditional_vae", "conditional_gan"): ("unit",),
    ("table_vae",): ("drop", "kinds"),
    ("series_vae",): ("window", "stride", "channels", "time"),
    (*IMAGE_MODELS, "table_vae", "series_vae"): ("hidden_units",),
    ("sequence_vae",): (
        "steps",
        "decoder",
        "total_free_bits",
        "prior_share",
        "past_dropout",
        "past_noise",
        "dropout",
    ),
    IMAGE_MODELS: (
        *("network", "devices", "gif"),
        *("image_size", "fit", "background", "skip_broken"),
    ),
}


def add_arguments(parser):
    parser.add_argument(
        "--model",
        choices=MODELS,
        metavar="NAME",
        help="; ".join(f"{name}: {text}" for name, text in MODELS.items()),
    )
    parser.add_argument(
        "--data",
        default="digits",
        help="digits, mnist_small (which comes along), mnist, fashion_mnist, cifar10, an .npz file "
        "or a folder of images, with one sub-folder per class where the model needs classes "
        "(default: digits); a table, .csv or .parquet; of a sequence_vae jsb, a .json file or a "
        "folder of .mid files",
    )
    parser.add_argument(
        "--image-size",
        type=image_size,
        metavar="N",
        help="pixels that a folder's images get, 64, or width and height, 64x48 (default: as they "
        "are, if all have one size)",
    )
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        help="how they get it: filled and cut about the middle, fitted in beside --background, or "
        "stretched (default: crop)",
    )
    parser.add_argument(
        "--background",
        metavar="COLOUR",
        help="behind transparent pixels and beside padded images, a name or #rrggbb (default: "
        "white)",
    )
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="pass over images that cannot be read, and name them",
    )
    parser.add_argument(
        "--flat",
        action="store_true",
        help="every sub-folder is a class; else one whose images are in several folders of its own "
        "is a group of classes, such as animal of animal/dog and animal/cat",
    )
    parser.add_argument("--out", help="run folder (default: runs/DATA)")
    parser.add_argument("--network", choices=("dense", "conv"), help="default: by the data")
    parser.add_argument(
        "--hidden-units",
        type=ints,
        help="widths of the encoder's hidden layers, by commas; the "
        "decoder has them in reverse (default: by the data)",
    )
    parser.add_argument(
        "--residual-blocks",
        type=non_negative_int,
        metavar="N",
        help="of convolutional networks, in each stage (default: by the data)",
    )
    parser.add_argument("--latent-dim", type=positive_int, help="default: by the data")
    parser.add_argument(
        "--latent-dims",
        type=ints,
        help="of a ladder_vae, sizes of the levels from the data up, by commas: 16,8,4, or with "
        "--network conv their channels; --hidden-units has one width for each, too (default: by "
        "the data)",
    )
    parser.add_argument("--epochs", type=positive_int, help="default: by the data")
    parser.add_argument("--batch-size", type=positive_int, help="default: by the data")
    parser.add_argument(
        "--learning-rate",
        type=float,
        help="Adam's, at the start; it falls to 0 along a cosine (default: by the data)",
    )
    parser.add_argument(
        "--likelihood",
        choices=LIKELIHOODS,
        help="what the decoder says about a pixel (default: bernoulli, of colour gaussian_optimal)",
    )
    parser.add_argument("--kl-weight", type=float, default=1.0, help="beta (default: 1)")
    parser.add_argument(
        "--kl-warmup",
        type=non_negative_int,
        default=0,
        metavar="EPOCHS",
        help="let the KL's weight rise to --kl-weight in so many epochs (default: 0)",
    )
    parser.add_argument(
        "--free-bits",
        type=float,
        default=0.0,
        help="nats that each latent dimension costs at least (default: 0)",
    )
    parser.add_argument(
        "--objective",
        choices=("elbo", "iwae", "total_correlation", "mmd"),
        default="elbo",
        help="what the model minimises (default: elbo)",
    )
    parser.add_argument(
        "--num-samples",
        type=positive_int,
        help="codes drawn for each example in a step (default: 1, with iwae 50)",
    )
    parser.add_argument(
        "--prior",
        choices=PRIORS,
        metavar="NAME",
        help="; ".join(f"{name}: {text}" for name, text in PRIORS.items()),
    )
    parser.add_argument(
        "--posterior",
        choices=("diagonal", "full_covariance"),
        default="diagonal",
        help="what the encoder says about a code: a diagonal Gaussian, or any (default: diagonal)",
    )
    parser.add_argument(
        "--unknown-rate",
        type=float,
        help="share of training labels replaced by unknown, or by one of their groups (default: 0; "
        "with groups 0.2)",
    )
    parser.add_argument(
        "--dynamic-binarization",
        action="store_true",
        help="draw every pixel as 0 or 1, anew for every batch: for likelihoods to compare",
    )
    parser.add_argument(
        "--label-smoothing",
        type=float,
        default=0.0,
        help="share by which a GAN's real images count as generated (default: 0)",
    )
    parser.add_argument(
        "--class-loss-weight",
        type=float,
        help="of the labels' cross-entropies in a conditional_gan's losses (default: 3)",
    )
    parser.add_argument(
        "--spectral-normalization",
        action="store_true",
        help="bound the gain of a GAN's discriminator",
    )
    parser.add_argument(
        "--num-codes",
        type=positive_int,
        default=128,
        help="of a vq_vae's codebook (default: 128)",
    )
    parser.add_argument(
        "--levels",
        type=ints,
        help="let a vq_vae round to these numbers of levels, by commas, instead of a codebook",
    )
    parser.add_argument(
        "--prior-epochs",
        type=positive_int,
        help="of a vq_vae's prior over the codes (default: as --epochs)",
    )
    parser.add_argument(
        "--condition",
        type=words,
        default=(),
        metavar="NAME,NAME",
        help="columns of a table or a series whose values samples can be asked for; arrays of an "
        ".npz, angle of angle_train and angle_test, beside label; or what a sequence_vae is told: "
        "melody (it then makes the voices below), key, mode, density (default: of images label, "
        "else none)",
    )
    parser.add_argument(
        "--unit",
        type=words,
        default=(),
        metavar="NAME=UNIT,...",
        help="units of conditions that are numbers: angle=degrees",
    )
    parser.add_argument(
        "--window", type=positive_int, help="steps of a window of a series (default: 64)"
    )
    parser.add_argument(
        "--stride", type=positive_int, help="steps from one window to the next (default: 8)"
    )
    parser.add_argument(
        "--channels",
        type=words,
        default=(),
        metavar="NAME,NAME",
        help="columns of a series that a model learns (default: all numbers)",
    )
    parser.add_argument(
        "--time", metavar="NAME", help="column of the times of a series (default: time, timestamp)"
    )
    parser.add_argument(
        "--drop",
        type=words,
        default=(),
        metavar="NAME,NAME",
        help="columns of a table to leave out",
    )
    parser.add_argument(
        "--kinds",
        type=words,
        default=(),
        metavar="NAME=KIND,...",
        help=f"what columns of a table are, where it is not as inferred: {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--steps", type=positive_int, help="of a sequence_vae's windows (default: 32, two bars)"
    )
    parser.add_argument(
        "--decoder",
        choices=("notes", "causal", "gru", "conductor"),
        default="notes",
        help="of a sequence_vae: convolutions that hear intervals, plain ones, a GRU, or one for "
        "each bar (default: notes)",
    )
    parser.add_argument(
        "--total-free-bits",
        type=float,
        metavar="NATS",
        help="nats that a sequence_vae's code costs at least (default: 21, 13 with conditions)",
    )
    parser.add_argument(
        "--past-dropout",
        type=float,
        default=0.15,
        help="share of a sequence_vae's past steps that training hides (default: 0.15)",
    )
    parser.add_argument(
        "--past-noise",
        type=float,
        help="share of the past notes that training moves by a semitone or two (default: 0.03 with "
        "--decoder notes, which alone can)",
    )
    parser.add_argument(
        "--prior-share",
        type=float,
        default=0.2,
        help="share of a sequence_vae's examples that training decodes from codes of the prior "
        "(default: 0.2)",
    )
    parser.add_argument(
        "--dropout",
        type=float,
        default=0.2,
        help="share of a sequence_vae's channels that training hides (default: 0.2)",
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="default: 0")
    parser.add_argument(
        "--devices",
        type=positive_int,
        default=1,
        metavar="N",
        help="divide every batch among so many GPUs, or cores where there is none (default: 1)",
    )
    parser.add_argument(
        "--gif",
        action="store_true",
        help="draw the same samples after every epoch, as figures/training.gif",
    )
    parser.add_argument(
        "--save-every",
        type=positive_int,
        default=1000,
        metavar="STEPS",
        help="steps between two saves of what --resume needs, which every epoch's end saves, too "
        "(default: 1000)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the interrupted run in --out, whose arguments need not be given again",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a run in the folder")


def run_folder(args):
    """The run folder of a training."""
    return pathlib.Path(args.out or pathlib.Path("runs") / pathlib.Path(args.data).stem)


def no_interrupted_run(folder):
    return f"--resume needs an interrupted run that has saved its state. {folder} holds none."


def check_options(args):
    """Choose the model by the data, and refuse options that mean nothing to it."""
    from keras_vae import data

    if args.model is None:
        args.model = "table_vae" if data.is_table(args.data) else "conditional_vae"
        if args.window or str(args.data).lower().endswith(".npy"):
            args.model = "series_vae"
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for models, names in OPTIONS_OF.items():
        for name in names:
            unset = parser.get_default(name), ONCE_DEFAULT.get(name)
            if args.model not in models and getattr(args, name) not in unset:
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
    check_levels(args)
    if args.model in ("vae", "ladder_vae") and args.prior == "conditional_normal":
        raise ValueError("--prior conditional_normal needs --model conditional_vae.")
    if args.model == "table_vae" and args.prior == "conditional_normal" and not args.condition:
        raise ValueError("--prior conditional_normal needs --condition. Received: none.")
    check_prior(args)
    if args.condition and args.model == "sequence_vae":
        from keras_vae.data.sequences import CONDITIONS

        for name in args.condition:
            arguments.one_of(name, "--condition", CONDITIONS)
    if args.model in ("conditional_vae", "conditional_gan"):
        check_conditions(args)
    for name in ("kl_weight", "free_bits"):
        arguments.not_negative(getattr(args, name), flag(name))
    for name in ("total_free_bits", "class_loss_weight"):
        if getattr(args, name) is not None:
            arguments.not_negative(getattr(args, name), flag(name))
    if args.fit and not args.image_size:
        raise ValueError(f"--fit needs --image-size. Received: --fit {args.fit} without.")
    if args.past_noise:
        arguments.part_of_one(args.past_noise, "--past-noise")
        if args.decoder != "notes":
            raise ValueError(
                f"--past-noise needs --decoder notes. Received: --decoder {args.decoder}."
            )
    for name in ("unknown_rate", "label_smoothing", "past_dropout", "prior_share", "dropout"):
        arguments.part_of_one(getattr(args, name) or 0.0, flag(name))
    arguments.whole(args.num_codes, "--num-codes", 2)
    arguments.wholes(args.levels or (), "--levels", 2, "8,6,5")
    rate = args.learning_rate
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"--learning-rate must be above 0. Received: {rate}")


def check_source(args):
    """Refuse data of one kind for a model of another."""
    from keras_vae import data

    is_npy = str(args.data).lower().endswith(".npy")
    if args.model == "series_vae" and not (is_npy or data.is_table(args.data)):
        raise ValueError(
            f"--model series_vae needs a .csv, .parquet or .npy file. Received: --data {args.data}."
        )
    music = "music: --data jsb, a .json file or a folder of .mid files"
    for model, is_of_kind, kind, needed in (
        ("table_vae", data.is_table, "a table", "a table, a .csv or .parquet file"),
        ("sequence_vae", data.is_music, "music", music),
    ):
        found = is_of_kind(args.data)
        if args.model == model and not found:
            raise ValueError(f"--model {model} needs {needed}. Received: --data {args.data}.")
        is_series = args.model == "series_vae" and model == "table_vae"
        if args.model != model and found and not is_series:
            raise ValueError(
                f"--data {args.data} is {kind}, for --model {model}. Received: --model "
                f"{args.model}."
            )


def check_labels(args, dataset):
    """Refuse images without labels for a model that needs them."""
    is_labelled = args.model in ("conditional_vae", "conditional_gan")
    if is_labelled and "label" in (args.condition or ("label",)) and not dataset.has_labels:
        other = args.model.removeprefix("conditional_")
        raise ValueError(
            f"--model {args.model} needs classes. Received: --data {args.data}, whose images have "
            f"no labels. Sort them into one sub-folder per class, or train without: --model {other}"
        )


def check_conditions(args):
    """Refuse names of conditions of images that cannot be."""
    if len(set(args.condition)) < len(args.condition):
        twice = next(name for name in args.condition if args.condition.count(name) > 1)
        raise ValueError(f"--condition must name each condition once. Received: {twice} twice.")
    for name in args.condition:
        if not name.isidentifier() or name in RESERVED:
            other = " The labels, y_train and y_test, are called label." if name == "y" else ""
            raise ValueError(
                "--condition must be names of arrays, valid identifiers other than "
                f"{', '.join(RESERVED)}. Received: {name!r}.{other}"
            )
    units_of(args)


def units_of(args):
    """Dict from conditions to their units, as `--unit` says them."""
    found = {}
    for text in args.unit:
        name, _, unit = text.partition("=")
        if name not in args.condition or not unit or name in found:
            raise ValueError(
                f"--unit must be NAME=UNIT, once for a name of --condition. Received: {text!r}."
            )
        found[name] = unit
    return found


def check_numbers(args, dataset):
    """Refuse units of names, and numbers of images that no model can be conditioned on."""
    for name, given in dataset.conditions.items():
        if given.names is not None:
            if name in units_of(args):
                raise ValueError(
                    f"--unit needs numbers, an array of floats. Received: {name}, of "
                    f"{len(given.names)} names."
                )
            continue
        missing = sum(int((v != v).any(axis=1).sum()) for v in (given.train, given.test))
        if missing and not args.unknown_rate:
            raise ValueError(
                f"{name} must be known of all images, or --unknown-rate above 0, such as 0.1. "
                f"Received: NaN of {missing:,}."
            )


def check_prior(args):
    """See that a prior that is fitted can be."""
    is_fitted = args.prior == "auto" or (args.prior or "").startswith("fitted_")
    if is_fitted and not backends.is_installed("sklearn"):
        raise ImportError(
            f"--prior {args.prior} needs scikit-learn. Install it with: {backends.install('cli')} "
            "Or train with --prior standard_normal."
        )


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
