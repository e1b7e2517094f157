"""The parser of the command line."""

import argparse

from keras_vae.backends import BACKENDS

# The names in `keras_vae.likelihoods`, which cannot be imported before the backend is chosen.
LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "laplace",
    "discretized_logistic_mixture",
    "categorical",
)

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


def make_parser(of_run=None):
    """Make the parser of the command line.

    Args:
        of_run: Optional dict of the arguments that `train` has where they are left out.
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_vae",
        description="Train, evaluate, sample and export conditional generative models.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--backend", choices=BACKENDS, help="default: KERAS_BACKEND, or Keras' own")
    common.add_argument("--traceback", action="store_true", help="show where an error came from")

    def add(name, text):
        return commands.add_parser(name, parents=[common], help=text, description=text)

    command = add("train", "Train a model and write a run folder.")
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

    command = add("evaluate", "Measure a run's model on its test data.")
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

    command = add("sample", "Draw samples from a run's model.")
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

    command = add("figures", "Draw what a run learnt, in all ways that its model allows.")
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

    add("env", "Print versions, backend and devices: what a bug report needs.")
    commands.add_parser("export", help="the same as python -m export", add_help=False)
    return parser


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
