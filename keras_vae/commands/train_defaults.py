"""What `train` uses where an argument is left out, by what the data are."""

import math

from keras_vae import backends
from keras_vae.commands.train_arguments import ONCE_DEFAULT, check_levels, check_prior, flag

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
    # The widths and the rest are those of 32x32; `_of_colour` says what other sizes get.
    "colour": {
        "network": "conv",
        "hidden_units": (32, 64, 128),
        "latent_dim": 64,
        "epochs": 20,
        "batch_size": 64,
        "learning_rate": 1e-3,
    },
}

# How many colour images a training sees, the same ones again and again, and in how many epochs:
# what two cores do in about twenty minutes at 32x32, and in twice that at 64x64.
IMAGES_SEEN = 200_000
EPOCHS_OF_COLOUR = (20, 250)

# What differs for fewer greys than `FEW`: they fill fewer latents, and an epoch has few steps.
FEW = 20_000
FEW_GREYS = {"latent_dim": 4, "epochs": 60}
# The latents of other greys whose prior is fitted to the codes: N(0, I) fits fewer.
FITTED_LATENTS = 10

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
# Of a ConditionalGAN's classes: with 1 fewer samples are of the right one.
CLASS_LOSS_WEIGHT = 3.0
# Of labels in groups, which are learned by it alone.
UNKNOWN_RATE_OF_GROUPS = 0.2

# What differs for a ladder: one entry for each level, from the data up. Of convolutions the codes
# are small images, and `latent_dims` their channels.
LADDER_DEFAULTS = {
    "dense": {
        "digits": {"hidden_units": (128, 64), "latent_dims": (8, 4)},
        "grey": {"hidden_units": (512, 256, 128), "latent_dims": (32, 16, 8)},
        "colour": {"hidden_units": (512, 256, 128), "latent_dims": (64, 32, 16)},
    },
    "conv": {
        "digits": {"hidden_units": (24, 40), "latent_dims": (1, 4)},
        "grey": {"hidden_units": (24, 40, 64), "latent_dims": (1, 4, 8)},
        "colour": {"hidden_units": (32, 64, 128), "latent_dims": (2, 8, 16)},
    },
}


def fill_defaults(args, dataset):
    """Set what was left out by what the data are.

    Returns:
        Str, a line that says what was chosen, and by what.
    """
    shape = dataset.x_train.shape[1:]
    small = max(shape[:2]) <= 16
    kind = "colour" if shape[2] == 3 else "digits" if small else "grey"
    few = FEW_GREYS if kind == "grey" and len(dataset.x_train) < FEW else {}
    defaults = {**DEFAULTS[kind], **few, **(GAN_DEFAULTS[kind] if is_gan(args) else {})}
    if kind == "colour" and args.model in ("autoencoder", "vae", "conditional_vae"):
        defaults |= _of_colour(args, max(shape[:2]), len(dataset.x_train))
    many = kind == "colour" or (kind == "grey" and not few and backends.is_installed("sklearn"))
    if many and args.model in ("vae", "conditional_vae") and args.objective == "elbo":
        defaults["prior"] = "auto"
        if kind == "grey" and args.prior in (None, "auto"):
            defaults["latent_dim"] = FITTED_LATENTS
    if args.model == "vq_vae":
        grids = {"network": "conv", "hidden_units": (64,) if small else (32, 64)}
        defaults = {**defaults, **grids, "latent_dim": len(args.levels or range(16))}
    if args.model == "ladder_vae":
        network = args.network or "dense"
        defaults = {**defaults, "network": network, **LADDER_DEFAULTS[network][kind]}
        del defaults["latent_dim"]
    if args.resume and args.residual_blocks is None:
        args.residual_blocks = 0  # of a run that was begun before there were any
    if args.model == "conditional_gan":
        # A run that was begun before it could be chosen had 1.
        weight = 1.0 if args.resume else CLASS_LOSS_WEIGHT
        defaults = {**defaults, "class_loss_weight": weight}
    if args.model in ("conditional_vae", "vq_vae") and dataset.has_groups:
        defaults = {**defaults, "unknown_rate": UNKNOWN_RATE_OF_GROUPS}
    chosen = []
    for name, value in defaults.items():
        if name == "hidden_units" and args.network != defaults["network"]:
            value = (32, 64) if args.network == "conv" else (512, 512)
        if name == "residual_blocks" and args.network != "conv":
            continue
        if getattr(args, name) is None:
            setattr(args, name, value)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            chosen.append(f"{flag(name)} {text}")
    for name, value in ONCE_DEFAULT.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.residual_blocks and args.network == "dense":
        raise ValueError("--residual-blocks needs --network conv. Received: dense.")
    check_prior(args)
    check_levels(args)
    if args.kl_warmup > args.epochs:
        raise ValueError(
            f"--kl-warmup must be at most --epochs, {args.epochs}. Received: {args.kl_warmup}"
        )
    size = f"{shape[1]}x{shape[0]} {'colour' if shape[2] == 3 else 'grey'}"
    return f"For {len(dataset.x_train):,} images of {size}: {' '.join(chosen) or 'all as asked'}"


def _of_colour(args, side, count):
    """What colour images of a size get: a network down to 4 to 7 pixels, and a latent size."""
    stages = max(2, math.ceil(math.log2(side / 7)))
    first = 32 if side <= 64 else 16
    seen = IMAGES_SEEN * min(1.0, (45 / side) ** 2)
    few, many = EPOCHS_OF_COLOUR
    return {
        "hidden_units": tuple(min(128, first * 2**stage) for stage in range(stages)),
        "residual_blocks": 1,
        "latent_dim": 64 if side <= 48 else 96 if side <= 80 else 128,
        "epochs": min(many, max(few, round(seen / count))),
        **({} if args.dynamic_binarization else {"likelihood": "gaussian_optimal"}),
    }


def is_gan(args):
    return args.model in ("gan", "conditional_gan")
