"""Makes the model and the optimizer that the arguments of `train` describe."""

import functools
import math

from keras_vae.commands.train_arguments import units_of
from keras_vae.commands.train_defaults import is_gan


def make_optimizer(args, dataset, epochs=None):
    """Adam whose learning rate falls to 0 along a cosine, within some epochs or all."""
    import keras

    steps = (epochs or args.epochs) * math.ceil(len(dataset.x_train) / args.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    # DCGAN's momentum for GANs: with a larger one the players swing around each other.
    return keras.optimizers.Adam(schedule, beta_1=0.5 if is_gan(args) else 0.9)


def make_model(args, dataset):
    """Build the model that the arguments describe."""
    if is_gan(args):
        return make_gan(args, dataset)
    import keras_vae

    shape = dataset.x_train.shape[1:]
    networks = keras_vae.networks
    reverse = tuple(reversed(args.hidden_units))
    of = keras_vae.Hierarchical if dataset.has_groups else keras_vae.Categorical
    kind = of(names=dataset.class_names, unknown_rate=args.unknown_rate)
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
        model.set_prior(keras_vae.MaskGIT(*grid, {"label": kind}, seed=args.seed))
        return model
    if args.model == "ladder_vae":
        levels = args.latent_dims, args.hidden_units
        if args.network == "dense":
            encoder = networks.LadderEncoder(*levels)
            decoder = networks.LadderDecoder(shape, *levels)
        else:
            encoder = networks.ConvLadderEncoder(shape, *levels)
            decoder = networks.ConvLadderDecoder(shape, *levels)
    elif args.network == "dense":
        encoder = networks.DenseEncoder(args.latent_dim, args.hidden_units)
        decoder = networks.DenseDecoder(shape, reverse)
    else:
        blocks = {"residual_blocks": args.residual_blocks or 0}
        encoder = networks.ConvEncoder(args.latent_dim, args.hidden_units, **blocks)
        decoder = networks.ConvDecoder(shape, reverse, **blocks)
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
    condition = make_conditions(args, dataset, kind)
    return keras_vae.ConditionalVAE(encoder, decoder, condition=condition, **settings)


def make_conditions(args, dataset, label):
    """The kinds of the conditions that the arguments name, in their order."""
    import keras_vae

    found, units = {}, units_of(args)
    for name in args.condition or ("label",):
        given, rate = dataset.conditions.get(name), {"unknown_rate": args.unknown_rate}
        if given is None:
            found[name] = label
        elif given.names is None:
            dim = given.train.shape[1]
            found[name] = keras_vae.Continuous(dim, unit=units.get(name), **rate)
        elif given.has_tags:
            found[name] = keras_vae.MultiLabel(given.names, **rate)
        else:
            found[name] = keras_vae.Categorical(names=given.names, **rate)
    return found


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
    from keras_vae.models.conditional_gan import head_size

    kind = keras_vae.Categorical(len(names), names, unknown_rate=args.unknown_rate, embedding_dim=0)
    condition = make_conditions(args, dataset, kind)
    return keras_vae.ConditionalGAN(
        generator,
        discriminator(num_classes=head_size(condition)),
        condition=condition,
        class_loss_weight=args.class_loss_weight,
        **options,
    )


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
