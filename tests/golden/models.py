"""The small models that are kept as files: together they hold every class that a file can name."""

import random

import keras
import numpy as np

import keras_vae
from keras_vae import likelihoods, objectives, priors, schedules
from keras_vae.layers import FiniteScalarQuantizer, VectorQuantizer
from keras_vae.networks import (
    CausalDecoder,
    ConductorDecoder,
    ConvClassifier,
    ConvDecoder,
    ConvDiscriminator,
    ConvEncoder,
    ConvGridDecoder,
    ConvGridEncoder,
    ConvLadderDecoder,
    ConvLadderEncoder,
    DenseClassifier,
    DenseDecoder,
    DenseDiscriminator,
    DenseEncoder,
    GRUDecoder,
    LadderDecoder,
    LadderEncoder,
    NotesDecoder,
    NotesEncoder,
    SequenceEncoder,
    TableClassifier,
)

SHAPE = (5, 4, 1)
RNG = np.random.default_rng(0)
X = (RNG.integers(0, 4, (16, *SHAPE)) / 3).astype("float32")
LABEL = (np.arange(16) % 4).astype("int32")  # the last is unknown
ANGLE = RNG.standard_normal((16, 2)).astype("float32")
TOKENS = RNG.integers(0, 4, (16, 6, 2)).astype("int8")
MELODY = RNG.integers(0, 5, (16, 6)).astype("int32")
WIND = np.where(np.arange(16)[:, None] % 4 == 3, np.nan, 10 * ANGLE).astype("float32")
SIZE = (np.arange(16) % 4).astype("int32")
BREED = (np.arange(16) % 5).astype("int32")
TAGS = (np.arange(32).reshape(16, 2) // 3 % 3).astype("int32")
DATA = {"x": X, "label": LABEL, "angle": ANGLE, "melody": MELODY, "wind": WIND}
DATA |= {"size": SIZE, "breed": BREED, "tags": TAGS}
NAMES = ("cat", "dog", "owl")
SERIES = keras_vae.data.series(
    {
        "flow": np.sin(np.arange(400) / 3),
        "mode": np.array(["idle", "busy"], object)[(np.arange(400) // 40) % 2],
    },
    *(9, 1),
    conditions="mode",
    calibration=0.5,
)
TABLE = keras_vae.data.table(
    {
        "height": [1.5, 1.7, None, 1.8, 1.6, 1.9, 1.65, 1.55, 1.75],
        "calls": [0, 3, 1, 0, None, 7, 2, 2, 1],
        "pet": [None if k is None else NAMES[k] for k in (0, 1, 2, 0, 1, None, 2, 0, 1)],
        "smokes": ["no", "yes", "no", None, "no", "yes", "yes", "no", "no"],
        "sex": ["f", "m", "m", "f", "f", "m", "f", "m", "f"],
    },
    "sex",
    kinds={"calls": keras_vae.data.Count()},
)


def dense():
    return DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,))


def autoencoder():
    return keras_vae.Autoencoder(*dense())


def vae():
    return keras_vae.VAE(
        *dense(),
        likelihood=likelihoods.Gaussian("optimal"),
        prior=priors.VampPrior(3),
        kl_weight=schedules.LinearWarmup(1),
        objective=objectives.ELBO(2, "score_function"),
    )


def vae_conv():
    return keras_vae.VAE(
        ConvEncoder(3, (4,)),
        ConvDecoder(SHAPE, (4,), transposed=True),
        likelihood=likelihoods.Gaussian("shared"),
        free_bits=0.1,
        kl_weight=schedules.CosineWarmup(1),
    )


def vae_full_covariance():
    return keras_vae.VAE(
        *dense(),
        posterior="full_covariance",
        likelihood=likelihoods.Categorical(4),
        prior=priors.RealNVP(2, (4,)),
        kl_weight=schedules.Cyclical(1),
    )


def vae_mixture():
    return keras_vae.VAE(
        *dense(),
        likelihood="continuous_bernoulli",
        prior=priors.GaussianMixture(3),
        objective=objectives.IWAE(3),
        kl_weight=schedules.Constant(0.5),
    )


def vae_ladder():
    dims, units = (3, 2), (8, 6)
    return keras_vae.VAE(
        LadderEncoder(dims, units),
        LadderDecoder(SHAPE, dims, units),
        posterior="ladder",
        likelihood=likelihoods.Laplace("per_pixel"),
    )


def vae_conv_ladder():
    levels = {"latent_channels": (1, 2), "hidden_units": (3, 4), "levels": 2}
    return keras_vae.ConditionalVAE(
        ConvLadderEncoder(SHAPE, **levels),
        ConvLadderDecoder(SHAPE, **levels),
        {"label": keras_vae.Categorical(3, NAMES, unknown_rate=0.5)},
        posterior="ladder",
    )


def vae_fitted():
    return keras_vae.VAE(*dense(), objective=objectives.MMD(2.0), dynamic_binarization=True)


def conditional_vae():
    return keras_vae.ConditionalVAE(
        *dense(),
        condition={
            "label": keras_vae.Categorical(3, NAMES, unknown_rate=0.2),
            "angle": keras_vae.Continuous(2),
        },
        likelihood=likelihoods.DiscretizedLogisticMixture(2, levels=4),
        prior=priors.ConditionalNormal((4,)),
        objective=objectives.TotalCorrelation(2.0),
    )


def conditional_vae_numbers():
    return keras_vae.ConditionalVAE(
        DenseEncoder(2, (6,)),
        DenseDecoder(SHAPE, (6,)),
        condition={"wind": keras_vae.Continuous(2, unit="m/s", unknown_rate=0.3)},
    )


def conditional_vae_kinds():
    return keras_vae.ConditionalVAE(
        DenseEncoder(2, (6,)),
        DenseDecoder(SHAPE, (6,)),
        condition={
            "size": keras_vae.Ordinal(("low", "middle", "high"), 0.2),
            "breed": keras_vae.Hierarchical(("a/b", "a/c", "d"), 0.2),
            "tags": keras_vae.MultiLabel(("red", "round"), 0.2),
        },
    )


def conditional_vae_few_labels():
    return keras_vae.ConditionalVAE(
        *dense(), {"label": keras_vae.Categorical(3)}, classifier=ConvClassifier(3, (4,))
    )


def conditional_vae_few_labels_dense():
    return keras_vae.ConditionalVAE(
        *dense(), {"label": keras_vae.Categorical(3)}, classifier=DenseClassifier(3, (4,))
    )


def conditional_vae_table_few_labels():
    classifier = TableClassifier(TABLE.schema.blocks, 2, hidden_units=(4,))
    return keras_vae.table_vae(TABLE.schema, 3, hidden_units=(8,), classifier=classifier)


def conditional_vae_conv():
    return keras_vae.ConditionalVAE(
        ConvEncoder(3, (4,)),
        ConvDecoder(SHAPE, (4,)),
        condition={
            "label": keras_vae.Categorical(3, NAMES),
            "angle": keras_vae.Continuous(2),
        },
    )


def vq_vae():
    return keras_vae.VQVAE(
        ConvGridEncoder(3, (4,)), ConvGridDecoder(SHAPE, (4,)), VectorQuantizer(6, 3)
    )


def vq_vae_rounded():
    return keras_vae.VQVAE(
        ConvGridEncoder(2, (4,)), ConvGridDecoder(SHAPE, (4,)), FiniteScalarQuantizer((3, 2))
    )


def vq_vae_sampled():
    """With a prior that is drawn in a few steps."""
    return vq_vae()


def gan():
    return keras_vae.GAN(DenseDecoder(SHAPE, (8,)), DenseDiscriminator((8,)), latent_dim=3)


def conditional_gan():
    return keras_vae.ConditionalGAN(
        ConvDecoder(SHAPE, (4,)),
        ConvDiscriminator((4,), 3, num_classes=3, spectral_normalization=True),
        latent_dim=3,
        condition={"label": keras_vae.Categorical(3, NAMES)},
    )


def sequence_vae():
    return keras_vae.SequenceVAE(
        SequenceEncoder(3, 4, 4, 1, 8),
        CausalDecoder((6, 2), 4, 4, dilations=(1, 2), past_dropout=0.2, seed=1),
        condition={"label": keras_vae.Categorical(3, NAMES), "melody": keras_vae.Sequence(6, 5)},
        schema=keras_vae.data.Notes(60, 62, ("alto", "bass"), given={"melody": "soprano"}),
        total_free_bits=0.5,
    )


def sequence_vae_notes():
    return keras_vae.SequenceVAE(
        NotesEncoder(4, 5, 60, 6, 4, 4, given=1, steps_per_beat=3),
        NotesDecoder((6, 2), 5, 60, 4, 4, 4, given=1, steps_per_beat=3, voice_units=4),
        condition={"melody": keras_vae.Sequence(6, 5)},
    )


def sequence_vae_gru():
    return keras_vae.SequenceVAE(
        SequenceEncoder(3, 4, 4, 1, 8), GRUDecoder((6, 2), 4, 4, 5), free_bits=0.1
    )


def sequence_vae_conductor():
    return keras_vae.SequenceVAE(
        SequenceEncoder(3, 4, 4, 1, 8), ConductorDecoder((6, 2), 4, 4, 5, segment=3)
    )


def conditional_vae_table():
    return keras_vae.table_vae(TABLE.schema, latent_dim=3, hidden_units=(8,))


def conditional_vae_series():
    return keras_vae.series_vae(SERIES.schema, 2, (4, 3), 3)


# By the backend that writes them: each says its own things in a file.
MODELS = {
    "tensorflow": (vae_conv, vae_mixture, conditional_vae_conv, vq_vae, gan, sequence_vae_gru),
    "jax": (autoencoder, vae, vae_full_covariance, vq_vae_rounded, sequence_vae),
    "torch": (
        vae_ladder,
        vae_conv_ladder,
        vae_fitted,
        conditional_vae,
        conditional_vae_numbers,
        conditional_gan,
        sequence_vae_conductor,
        sequence_vae_notes,
        conditional_vae_kinds,
        conditional_vae_few_labels,
        conditional_vae_few_labels_dense,
        conditional_vae_table_few_labels,
        conditional_vae_table,
        conditional_vae_series,
        vq_vae_sampled,
    ),
}


def train(make):
    """Make a model, train it a little, and give it the prior that comes after training.

    Returns:
        Tuple of the model and the inputs that it is measured with.
    """
    random.seed(1)  # Keras' initializers take their seeds from here
    np.random.seed(1)
    model = make()
    model.compile(keras.optimizers.Adam(1e-2))
    names = ["x", *model.condition]
    own = {conditional_vae_table: TABLE, conditional_vae_series: SERIES}
    own[conditional_vae_table_few_labels] = TABLE
    given = own[make].train if make in own else {n: DATA[n] for n in names}
    if isinstance(model, keras_vae.SequenceVAE):
        given["x"] = TOKENS
    model.fit(given if model.condition else given["x"], batch_size=8, epochs=1, verbose=0)
    if make is conditional_vae_series:
        keras_vae.AnomalyDetector(model).calibrate(SERIES.calibration)
    if make is vae_fitted:
        model.fit_prior(X, num_components=2, seed=0)
    if hasattr(model, "quantizer"):
        given["label"] = LABEL % 3
        condition = {"label": keras_vae.Categorical(3)}
        num_codes = model.quantizer.num_codes
        kind = keras_vae.MaskGIT if make is vq_vae_sampled else keras_vae.PixelCNN
        prior = kind(model.grid_shape, num_codes, condition, 4, 2, 3)
        model.fit_prior(given, prior, epochs=1, verbose=0)
    return model, given
