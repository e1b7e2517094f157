"""Every public class passes the checks of `conformance.py`, and none is left out."""

import inspect
import random
import tempfile
import types

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import (
    callbacks,
    data,
    distributions,
    doctor,
    evaluation,
    layers,
    likelihoods,
    metrics,
    models,
    networks,
    objectives,
    posteriors,
    priors,
    schedules,
)
from keras_vae.layers import Categorical, Continuous, Hierarchical, MultiLabel, Ordinal, Sequence
from keras_vae.models import capabilities
from tests import conformance
from tests.conftest import BACKEND, ordinary_on, some_if_compiled

# A step of these models runs faster than TensorFlow traces it.
EAGERLY = BACKEND == "tensorflow"
GENERATOR = np.random.default_rng(0)
SHAPE = (6, 5, 1)
X = GENERATOR.uniform(size=(16, *SHAPE)).astype("float32")
Z, Z_LOG_VAR = GENERATOR.normal(size=(2, 16, 3)).astype("float32")
CODES = GENERATOR.normal(size=(16, 7)).astype("float32")
ANGLE = GENERATOR.normal(size=(16, 2)).astype("float32")
LABEL = (np.arange(16) % 3).astype("int32")
TOKENS = GENERATOR.integers(0, 4, (16, 6, 2)).astype("int8")
BLOCKS = (("categorical", 3), ("normal",), ("negative_binomial", 9), ("bernoulli",))
WAVES = GENERATOR.normal(size=(16, 7, 2)).astype("float32")
TABLE = np.array([LABEL, CODES[:, 0], LABEL, LABEL % 2], "float32").T
TAGS = np.where((LABEL == 2)[:, None], 2, np.stack([LABEL, np.arange(16) % 2], 1)).astype("int32")
MELODY = GENERATOR.integers(0, 6, (16, 6)).astype("int32")  # 5 is unknown


def unknown_or(values, count):
    """Labels of which every fourth is missing."""
    return np.where(np.arange(len(values)) % 4 == 3, count, values).astype("int32")


ANGLE_OR_UNKNOWN = np.where(np.arange(16)[:, None] % 4 == 3, np.nan, ANGLE).astype("float32")
CONDITIONS = {
    "categorical": {"label": (Categorical(3, names=("a", "b", "c")), LABEL)},
    "continuous": {"angle": (Continuous(2), ANGLE)},
    "numbers": {
        "label": (Categorical(3), LABEL),
        "angle": (Continuous(2, -4, (3, 4), "degrees", 0.4), ANGLE_OR_UNKNOWN),
    },
    "labels": {
        "label": (Categorical(3, unknown_rate=0.4), unknown_or(LABEL, 3)),
        "colour": (Categorical(2), LABEL % 2),
    },
    "kinds": {
        "size": (Ordinal(("low", "middle", "high"), 0.4), unknown_or(LABEL, 3)),
        "species": (Categorical(3, embedding_dim=2, unknown_rate=0.2), unknown_or(LABEL, 3)),
        "breed": (Hierarchical(("a/b", "a/c", "d"), 0.4), np.arange(16).astype("int32") % 5),
        "tags": (MultiLabel(("red", "round"), 0.4), TAGS),
        "angle": (Continuous(2), ANGLE),
    },
    "several": {
        "label": (Categorical(3, unknown_rate=0.4), unknown_or(LABEL, 3)),
        "angle": (Continuous(2), ANGLE),
        "colour": (Categorical(2), LABEL % 2),
    },
    "sequences": {
        "label": (Categorical(3), LABEL),
        "melody": (Sequence(6, 5), MELODY),
        "angle": (Continuous(2), ANGLE),
    },
}


@keras.saving.register_keras_serializable("keras_vae_tests")
class OwnEncoder(keras.Model):
    """What a user may write: no base class, no `latent_dim`."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(5, activation="tanh")
        self.heads = [keras.layers.Dense(width) for _ in range(2)]

    def call(self, inputs):
        x, *condition = inputs if isinstance(inputs, list | tuple) else [inputs]
        h = self.hidden(ops.concatenate([self.flatten(x), *condition], axis=-1))
        return [head(h) for head in self.heads]

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("keras_vae_tests")
class OwnDecoder(keras.Model):
    """What a user may write: no base class, no `data_shape`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(30)
        self.reshape = keras.layers.Reshape(SHAPE)

    def call(self, inputs):
        inputs = inputs if isinstance(inputs, list | tuple) else [inputs]
        return self.reshape(self.dense(ops.concatenate(inputs, axis=-1)))


class PlainEncoder(OwnEncoder):
    """Not registered: the one who loads must say what it is."""


def dense(size):
    return networks.DenseEncoder(3, (8,)), networks.DenseDecoder(SHAPE, (8,))


def ladder(size):
    dims, units = (3, 2), (8, 6)
    return networks.LadderEncoder(dims, units), networks.LadderDecoder(SHAPE, dims, units)


def conv_ladder(size):
    encoder = networks.ConvLadderEncoder(SHAPE, **IMAGE_LEVELS)
    return encoder, networks.ConvLadderDecoder(SHAPE, **IMAGE_LEVELS)


def conv(size):
    return networks.ConvEncoder(3, (4,)), networks.ConvDecoder(SHAPE, (4,))


def grid(size):
    """An encoder to a grid of 3 by 3 codes, its decoder, a codebook and a prior over the codes."""
    ends = networks.ConvGridEncoder(3, (4,)), networks.ConvGridDecoder(SHAPE, (4,))
    return *ends, layers.VectorQuantizer(6, 3, seed=2), models.PixelCNN((3, 3), 6, None, 4, 2, 3)


def rounded_grid(size):
    ends = networks.ConvGridEncoder(2, (4,)), networks.ConvGridDecoder(SHAPE, (4,))
    return *ends, layers.FiniteScalarQuantizer((3, 2)), models.MaskGIT((3, 3), 6, None, 4, 2, 3)


def causal(size):
    hidden = {"past_dropout": 0.3, "dropout": 0.2, "seed": 5}
    decoder = networks.CausalDecoder((6, 2), 4, 4, dilations=(1, 2), **hidden)
    return networks.SequenceEncoder(3, 4, 4, 1, 8, dropout=0.2), decoder


def gru(size):
    return networks.SequenceEncoder(3, 4, 4, 1, 8), networks.GRUDecoder((6, 2), 4, 4, 5)


def notes(size):
    encoder = networks.NotesEncoder(4, 5, 60, 6, 4, 4, given=1, steps_per_beat=3, dropout=0.2)
    past = {"past_dropout": 0.3, "past_noise": 0.2}
    decoder = networks.NotesDecoder(
        *((6, 2), 5, 60, 4, 4, 4, 1, 3), voice_units=4, dilations=(1, 2), **past
    )
    return encoder, decoder


def conductor(size):
    decoder = networks.ConductorDecoder((6, 2), 4, 4, 5, segment=3)
    return networks.SequenceEncoder(3, 4, 4, 1, 8), decoder


def own(size):
    return OwnEncoder(3), OwnDecoder()


def plain(size):
    return PlainEncoder(3), OwnDecoder()


def functional(size, heads=2):
    """Functional models, with a second input where there are conditions."""
    parts = []
    for shape, width, count, target in ((SHAPE, 3, heads, (3,)), ((3,), 30, 1, SHAPE)):
        inputs = [keras.Input(shape)] + [keras.Input((size,))] * bool(size)
        h = keras.layers.Flatten()(inputs[0])
        h = keras.layers.Concatenate()([h, *inputs[1:]]) if size else h
        made = [keras.layers.Reshape(target)(keras.layers.Dense(width)(h)) for _ in range(count)]
        parts.append(keras.Model(inputs if size else inputs[0], made if count > 1 else made[0]))
    return parts


def functional_with_one_head(size):
    return functional(size, heads=1)


def dense_players(size):
    discriminator = networks.DenseDiscriminator((8,), num_classes=size or None)
    return networks.DenseDecoder(SHAPE, (8,)), discriminator


def conv_players(size):
    discriminator = networks.ConvDiscriminator((4,), 3, size or None, spectral_normalization=True)
    return networks.ConvDecoder(SHAPE, (4,)), discriminator


def functional_players(size):
    """Functional models; the discriminator has two heads where there are conditions."""
    x = keras.Input(SHAPE)
    heads = [keras.layers.Dense(width)(keras.layers.Flatten()(x)) for width in (1, size) if width]
    return functional(size)[1], keras.Model(x, heads)


# One of each class, and others with other parts.
MODELS = [
    (models.Autoencoder, conv, None),
    (models.VAE, dense, None),
    (models.ConditionalVAE, own, "several"),
    (models.GAN, dense_players, None),
    (models.ConditionalGAN, functional_players, "labels"),
    (models.VQVAE, grid, None),
    (models.SequenceVAE, causal, "sequences"),
]
MORE_MODELS = [
    (models.Autoencoder, functional_with_one_head, None),
    (models.VAE, conv, None),
    (models.VAE, plain, None),
    (models.ConditionalVAE, dense, "categorical"),
    (models.ConditionalVAE, dense, "continuous"),
    (models.ConditionalVAE, dense, "numbers"),
    (models.ConditionalVAE, conv, "several"),
    (models.ConditionalVAE, dense, "kinds"),
    (models.ConditionalVAE, functional, "categorical"),
    (models.GAN, functional_players, None),
    (models.ConditionalGAN, conv_players, "categorical"),
    (models.VQVAE, rounded_grid, None),
    (models.SequenceVAE, gru, None),
    (models.SequenceVAE, notes, "sequences"),
    (models.SequenceVAE, conductor, "categorical"),
]

# Class, how to make one, how it is called, and whether those are separate arguments.
LAYERS = [
    (layers.Sampling, lambda: layers.Sampling(seed=1), [Z, Z_LOG_VAR], True),
    (
        layers.Conditioning,
        lambda: layers.Conditioning({n: kind for n, (kind, _) in CONDITIONS["several"].items()}),
        {name: values for name, (_, values) in CONDITIONS["several"].items()},
        False,
    ),
    (
        layers.Conditioning,
        lambda: layers.Conditioning({n: kind for n, (kind, _) in CONDITIONS["kinds"].items()}),
        {name: values for name, (_, values) in CONDITIONS["kinds"].items()},
        False,
    ),
    (
        layers.SpectralNormalization,
        lambda: layers.SpectralNormalization(keras.layers.Dense(4, use_bias=False), 2),
        Z,
        False,
    ),
    (
        networks.DenseDiscriminator,
        lambda: networks.DenseDiscriminator((5,), num_classes=2, negative_slope=0.3),
        X,
        False,
    ),
    (
        networks.ConvDiscriminator,
        lambda: networks.ConvDiscriminator((2,), 3, spectral_normalization=True),
        X,
        False,
    ),
    (layers.RandomShift, lambda: layers.RandomShift(0.3, seed=1), X, False),
    (networks.DenseClassifier, lambda: networks.DenseClassifier(3, (4,), seed=1), X, False),
    (networks.ConvClassifier, lambda: networks.ConvClassifier(3, (2,), seed=1), X, False),
    (
        networks.TableClassifier,
        lambda: networks.TableClassifier(BLOCKS, 3, hidden_units=(4,), seed=1),
        TABLE,
        False,
    ),
    (layers.VectorQuantizer, lambda: layers.VectorQuantizer(4, 1, seed=1), X, False),
    (layers.FiniteScalarQuantizer, lambda: layers.FiniteScalarQuantizer((4,)), X, False),
    (layers.MaskedConv2D, lambda: layers.MaskedConv2D(3, 3, "vertical", True), X, False),
    (
        layers.ResidualBlock,
        lambda: layers.ResidualBlock(SHAPE[-1], 5, False, 0.3),
        X,
        False,
    ),
    (networks.ConvGridEncoder, lambda: networks.ConvGridEncoder(3, (2,), 5), X, False),
    (
        networks.ConvGridDecoder,
        lambda: networks.ConvGridDecoder((12, 9, 2), (2,), batch_normalization=False),
        X,
        False,
    ),
    (
        models.MaskGIT,
        lambda: models.MaskGIT(
            (2, 2), 3, {n: kind for n, (kind, _) in CONDITIONS["several"].items()}, 4, 2, 3
        ),
        {
            "codes": GENERATOR.integers(0, 3, (16, 2, 2)).astype("int32"),
            **{name: values for name, (_, values) in CONDITIONS["several"].items()},
        },
        False,
    ),
    (
        models.PixelCNN,
        lambda: models.PixelCNN(
            (2, 2), 3, {n: kind for n, (kind, _) in CONDITIONS["several"].items()}, 4, 2, 3
        ),
        {
            "codes": GENERATOR.integers(0, 3, (16, 2, 2)).astype("int32"),
            **{name: values for name, (_, values) in CONDITIONS["several"].items()},
        },
        False,
    ),
    (networks.DenseEncoder, lambda: networks.DenseEncoder(3, (5, 4), "tanh"), [X, CODES], False),
    (networks.DenseDecoder, lambda: networks.DenseDecoder(SHAPE, (5,), "tanh"), Z, False),
    (networks.ConvEncoder, lambda: networks.ConvEncoder(3, (2,), 5, residual_blocks=1), X, False),
    (
        networks.ConvDecoder,
        lambda: networks.ConvDecoder(SHAPE, (2,), 5, False, 0.3, transposed=True),
        [Z, CODES],
        False,
    ),
    (
        networks.LadderEncoder,
        lambda: networks.LadderEncoder((3, 2), (5, 4), "tanh", depth=1),
        [X, CODES],
        False,
    ),
    (
        networks.LadderDecoder,
        lambda: networks.LadderDecoder(SHAPE, (2, 1), (5, 4), "tanh", depth=1),
        [Z, CODES],
        False,
    ),
]
IMAGE_LEVELS = {"latent_channels": (1, 2), "hidden_units": (2, 3), "kernel_size": 1}
LAYERS += [
    (
        networks.ConvLadderEncoder,
        lambda: networks.ConvLadderEncoder(SHAPE, **IMAGE_LEVELS, levels=2),
        [X, CODES],
        False,
    ),
    (
        networks.ConvLadderDecoder,
        lambda: networks.ConvLadderDecoder((2, 1, 1), (1,), (3,), 3, 0, 5, 0.3),
        [Z, CODES],
        False,
    ),
    (
        networks.Conv1DEncoder,
        lambda: networks.Conv1DEncoder(3, (2,), 3, True),
        [WAVES, CODES],
        False,
    ),
    (networks.Conv1DDecoder, lambda: networks.Conv1DDecoder((5, 2), (4, 3), 3), [Z, CODES], False),
    (networks.TableEncoder, lambda: networks.TableEncoder(BLOCKS, 3, (5,)), [TABLE, CODES], False),
    (networks.TableDecoder, lambda: networks.TableDecoder(BLOCKS, (5,), "tanh"), [Z, CODES], False),
]
CONFIGURABLE = [
    (Categorical, lambda: Categorical(3, names=("a", "b", "c"), unknown_rate=0.1)),
    (Categorical, lambda: Categorical(300)),
    (Continuous, lambda: Continuous(2, (-60, 0), (60, 1), "degrees", 0.1)),
    (data.Notes, lambda: data.Notes(40, 70, ("alto", "bass"), 2, True, {"melody": "soprano"})),
    (data.TableSchema, lambda: data.TableSchema({"a": data.Binary("ab"), "b": data.Count(9)}, "a")),
    (
        data.SeriesSchema,
        lambda: data.SeriesSchema(
            {"a": data.Numeric("standard", fitted={"mean": 2.0, "std": 3.0})},
            *(8, 4, {"mode": data.Category(names=["idle", "busy"])}, 60.0),
        ),
    ),
    (Sequence, lambda: Sequence(6, 5)),
    (Ordinal, lambda: Ordinal(("low", "high"), 0.1, True)),
    (Hierarchical, lambda: Hierarchical(("a/b/c", "a/d", "e"), 0.1)),
    (MultiLabel, lambda: MultiLabel(("red", "round"), 0.1)),
    (posteriors.DiagonalNormal, posteriors.DiagonalNormal),
    (posteriors.FullCovarianceNormal, posteriors.FullCovarianceNormal),
    (posteriors.Ladder, posteriors.Ladder),
    (priors.StandardNormal, priors.StandardNormal),
    (priors.FittedMixture, lambda: priors.FittedMixture([("label", 2, 3)])),
    (likelihoods.Bernoulli, likelihoods.Bernoulli),
    (schedules.Constant, lambda: schedules.Constant(0.5)),
    (schedules.LinearWarmup, lambda: schedules.LinearWarmup(3, 0.1, 0.8)),
    (schedules.CosineWarmup, lambda: schedules.CosineWarmup(3, 0.1, 0.8)),
    (schedules.Cyclical, lambda: schedules.Cyclical(3, 0.7, 0.1, 0.8)),
    (objectives.ELBO, lambda: objectives.ELBO(2, "score_function", None)),
    (objectives.IWAE, lambda: objectives.IWAE(3, "reparameterized")),
    (objectives.TotalCorrelation, lambda: objectives.TotalCorrelation(2.0, 100, 3)),
    (objectives.MMD, lambda: objectives.MMD(2.0, 0.5, 3)),
    (likelihoods.ContinuousBernoulli, likelihoods.ContinuousBernoulli),
    (likelihoods.Gaussian, lambda: likelihoods.Gaussian("optimal")),
    (likelihoods.Laplace, lambda: likelihoods.Laplace(0.5)),
    (
        likelihoods.DiscretizedLogisticMixture,
        lambda: likelihoods.DiscretizedLogisticMixture(2, levels=16),
    ),
    (likelihoods.Categorical, lambda: likelihoods.Categorical(16)),
    (likelihoods.Table, lambda: likelihoods.Table(BLOCKS)),
]
# What a VAE may minimise, beside the default.
OBJECTIVES = {
    "draws and free bits": {"num_samples": 2, "free_bits": 0.1},
    "schedule": {"kl_weight": schedules.LinearWarmup(1)},
    "score function": {"objective": objectives.ELBO(2, "score_function")},
    "iwae": {"objective": objectives.IWAE(3)},
    "total correlation": {"objective": objectives.TotalCorrelation(2.0, 100)},
    "mmd": {"objective": objectives.MMD(2.0)},
}
# Networks, and the posterior and what else the model is asked for.
POSTERIORS = [
    (dense, {"posterior": "full_covariance"}),
    (ladder, {"posterior": "ladder", "free_bits": 0.1}),
]
SLOWER_POSTERIORS = [
    (conv, {"posterior": "full_covariance", "free_bits": 0.1}),
    (ladder, {"posterior": "ladder", "objective": objectives.IWAE(3, "reparameterized")}),
]
# Trained as a part of a conditional model.
PRIORS = [
    (priors.ConditionalNormal, lambda: priors.ConditionalNormal((4,))),
    (priors.GaussianMixture, lambda: priors.GaussianMixture(3, seed=1)),
    (priors.VampPrior, lambda: priors.VampPrior(3, seed=1)),
    (priors.RealNVP, lambda: priors.RealNVP(2, (4,), "tanh")),
]
METRICS = [
    (metrics.Averages, lambda: metrics.Averages(["loss", "kl_loss"])),
    (metrics.Average, lambda: metrics.Average(name="loss")),
    (metrics.Count, lambda: metrics.Count(name="skipped_updates")),
    (metrics.Perplexity, lambda: metrics.Perplexity(3)),
]
FOLDER = tempfile.TemporaryDirectory()  # for callbacks that write
CALLBACKS = [
    (callbacks.StopOnSkippedUpdates, lambda: callbacks.StopOnSkippedUpdates(9, 2)),
    (
        callbacks.ScheduledKLWeight,
        lambda: callbacks.ScheduledKLWeight(schedules.LinearWarmup(2)),
    ),
    (callbacks.CountEpochs, callbacks.CountEpochs),
    (callbacks.ProgressLines, lambda: callbacks.ProgressLines(0)),
    (callbacks.SampleGif, lambda: callbacks.SampleGif(f"{FOLDER.name}/x.gif", 4)),
    (callbacks.TensorBoardLog, lambda: callbacks.TensorBoardLog(FOLDER.name, 4)),
    (callbacks.Doctor, lambda: callbacks.Doctor(X, X, interval=1)),
    (callbacks.Checkpoint, lambda: callbacks.Checkpoint(f"{FOLDER.name}/checkpoints", 1)),
]
# Public, but no Keras object that is built, trained or saved.
DATA = {
    callbacks.Interrupted,
    data.Dataset,
    data.DataError,
    data.ImageFiles,
    data.Sequences,
    *(keras_vae.AnomalyDetector, data.Series, evaluation.Windows),
    *(data.Table, data.Numeric, data.Count, data.Category, data.Binary),
    doctor.Finding,
    likelihoods.Autoregressive,
    objectives.Loss,
    posteriors.LadderNormal,
}
# To be subclassed; their subclasses are checked.
BASES = {
    *(likelihoods.Likelihood, likelihoods.LocationScale, posteriors.Posterior, priors.Prior),
    *(objectives.Objective, schedules.Schedule, networks.GaussianEncoder),
    *(models.GenerativeModel, models.LatentVariableModel, layers.Quantizer),
    networks.SequenceDecoder,
    *filter(inspect.isclass, [*vars(capabilities).values(), *vars(distributions).values()]),
}
# Of them a call is the smaller part: checked as parts of models, and in tests/test_sequence_vae.py.
IN_MODELS = {
    *(networks.SequenceEncoder, networks.CausalDecoder),
    *(networks.GRUDecoder, networks.ConductorDecoder),
    *(networks.NotesEncoder, networks.NotesDecoder),
}
CHECKED = {row[0] for row in [*MODELS, *LAYERS, *CONFIGURABLE, *PRIORS, *METRICS, *CALLBACKS]}
CHECKED |= IN_MODELS


def names(rows):
    return ["-".join(getattr(v, "__name__", str(v)) for v in row if v is not None) for row in rows]


@ordinary_on("torch")
@pytest.mark.parametrize(("cls", "parts", "kinds"), MORE_MODELS, ids=names(MORE_MODELS))
def test_model_of_other_parts(tmp_path, cls, parts, kinds):
    test_model(tmp_path, cls, parts, kinds)


@pytest.mark.parametrize(
    ("cls", "parts", "kinds"), some_if_compiled(MODELS, every=2), ids=names(MODELS)
)
def test_model(tmp_path, cls, parts, kinds):
    random.seed(1)
    chosen = CONDITIONS[kinds] if kinds else {}

    def make():
        kwargs = {}
        if issubclass(cls, models.VAE):
            kwargs = {"kl_weight": 0.5}
        elif issubclass(cls, models.GAN):
            kwargs = {"latent_dim": 3, "label_smoothing": 0.1}
        if kinds:
            kwargs["condition"] = {name: kind for name, (kind, _) in chosen.items()}
        size = sum(kind.size for kind, _ in chosen.values())
        seed = 7 if parts in (dense, dense_players) else None
        model = cls(*parts(size), seed=seed, **kwargs)
        model.compile(keras.optimizers.Adam(1e-2), run_eagerly=EAGERLY)
        assert type(model) is cls
        return model

    x = TOKENS if cls is models.SequenceVAE else X
    inputs = {"x": x, **{name: values for name, (_, values) in chosen.items()}} if kinds else x
    # Of an encoder with two heads, an autoencoder takes the first: kernel and bias stay.
    unused = 2 if cls is models.Autoencoder and parts is not functional_with_one_head else 0
    with keras.saving.custom_object_scope({"PlainEncoder": PlainEncoder}):
        conformance.check_model(make, inputs, tmp_path, unused)


@ordinary_on("torch")
@pytest.mark.parametrize("options", OBJECTIVES.values(), ids=OBJECTIVES)
def test_objective(tmp_path, options):
    random.seed(1)
    kind, label = CONDITIONS["categorical"]["label"]

    def make():
        model = models.ConditionalVAE(*dense(3), condition={"label": kind}, seed=7, **options)
        model.compile(keras.optimizers.Adam(1e-2), run_eagerly=EAGERLY)
        return model

    conformance.check_model(make, {"x": X, "label": label}, tmp_path)


@ordinary_on("torch")
@pytest.mark.parametrize(("parts", "options"), SLOWER_POSTERIORS, ids=["conv", "iwae"])
def test_posterior_with_more(tmp_path, parts, options):
    test_posterior(tmp_path, parts, options)


@ordinary_on("torch")
@pytest.mark.parametrize(("parts", "options"), POSTERIORS, ids=["full_covariance", "ladder"])
def test_posterior(tmp_path, parts, options):
    random.seed(1)
    kind, label = CONDITIONS["categorical"]["label"]

    def make():
        model = models.ConditionalVAE(*parts(3), condition={"label": kind}, seed=7, **options)
        model.compile(keras.optimizers.Adam(1e-2), run_eagerly=EAGERLY)
        return model

    conformance.check_model(make, {"x": X, "label": label}, tmp_path)


@pytest.mark.parametrize(
    ("cls", "make", "inputs", "spread"),
    some_if_compiled(LAYERS),
    ids=[r[0].__name__ for r in LAYERS],
)
def test_layer(tmp_path, cls, make, inputs, spread):
    layer = make()
    assert type(layer) is cls
    conformance.check_layer(layer, inputs, tmp_path, spread)


@ordinary_on("torch")
@pytest.mark.parametrize(("cls", "make_prior"), PRIORS, ids=[r[0].__name__ for r in PRIORS])
def test_prior(tmp_path, cls, make_prior):
    random.seed(1)
    chosen = CONDITIONS["several"]

    def make():
        condition = {name: kind for name, (kind, _) in chosen.items()}
        size = sum(kind.size for kind in condition.values())
        model = models.ConditionalVAE(*dense(size), condition, prior=make_prior(), seed=7)
        model.compile(keras.optimizers.Adam(1e-2), run_eagerly=EAGERLY)
        return model

    assert type(make().prior) is cls
    inputs = {"x": X, **{name: values for name, (_, values) in chosen.items()}}
    conformance.check_model(make, inputs, tmp_path)


@pytest.mark.parametrize(("cls", "make"), CONFIGURABLE, ids=[r[0].__name__ for r in CONFIGURABLE])
def test_config(cls, make):
    thing = make()
    assert type(thing) is cls
    conformance.check_config(thing)


@pytest.mark.parametrize(("cls", "make"), METRICS, ids=[r[0].__name__ for r in METRICS])
def test_metric(cls, make):
    metric = make()
    assert type(metric) is cls
    conformance.check_metric(metric)


@ordinary_on("torch")
@pytest.mark.parametrize(("cls", "make"), CALLBACKS, ids=[r[0].__name__ for r in CALLBACKS])
def test_callback(make, cls):
    assert type(make()) is cls

    def make_model():
        random.seed(1)
        model = models.VAE(*dense(0), seed=3)
        model.compile(run_eagerly=EAGERLY)
        return model

    conformance.check_callback(make, make_model, X)


def public_classes():
    """Every class that a public name of the package or of one of its modules leads to."""
    listed = [getattr(keras_vae, name) for name in keras_vae.__all__ if name != "export"]
    found = {value for value in listed if inspect.isclass(value)}
    for module in listed:
        if isinstance(module, types.ModuleType):
            own_names = [
                name
                for name, value in vars(module).items()
                if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
            ]
            public = getattr(module, "__all__", own_names)
            found.update(v for v in map(vars(module).get, public) if inspect.isclass(v))
    return found


def test_every_public_class_is_covered():
    assert public_classes() - CHECKED - DATA - BASES == set()
    assert CHECKED - public_classes() == set()


@pytest.mark.parametrize("module", [layers, priors])
def test_a_class_without_a_check_is_found(monkeypatch, module):
    class Forgotten:
        """Public, and in none of the lists above."""

    Forgotten.__module__ = module.__name__
    monkeypatch.setattr(module, "Forgotten", Forgotten, raising=False)
    if hasattr(module, "__all__"):
        monkeypatch.setattr(module, "__all__", [*module.__all__, "Forgotten"])
    with pytest.raises(AssertionError, match="Forgotten"):
        test_every_public_class_is_covered()


@keras.saving.register_keras_serializable("keras_vae")
class Forgetful(keras.layers.Layer):
    """A layer whose config leaves an argument out."""

    def __init__(self, power=2.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, inputs):
        return inputs**self.power

    def get_config(self):
        return {**super().get_config(), "power": 1.0}


@keras.saving.register_keras_serializable("keras_vae")
class Idle(keras.layers.Layer):
    """A layer whose weight does nothing."""

    def build(self, input_shape):
        self.offset = self.add_weight(name="offset", shape=())

    def call(self, inputs):
        return inputs + 0.0 * self.offset


@pytest.mark.parametrize("layer", [Forgetful, Idle])
def test_the_check_of_layers_sees_a_fault(tmp_path, layer):
    with pytest.raises(AssertionError, match=r"Arrays are not equal|No gradient reached"):
        conformance.check_layer(layer(), X, tmp_path)
