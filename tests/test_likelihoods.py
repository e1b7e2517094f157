"""Likelihoods against TensorFlow Probability and float64 oracles, and inside models."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import distributions, figures, likelihoods
from keras_vae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogisticMixture,
    Gaussian,
    Laplace,
)
from keras_vae.networks import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder
from tests import conformance, oracles
from tests.conftest import BACKEND, ordinary_on

pytestmark = ordinary_on("torch")

EVERY = [
    Bernoulli(),
    ContinuousBernoulli(),
    *(cls(scale) for cls in (Gaussian, Laplace) for scale in (0.3, "shared", "per_pixel")),
    DiscretizedLogisticMixture(3),
    DiscretizedLogisticMixture(1, levels=16),
    Categorical(7),
]
IDS = [f"{each.name}-{'-'.join(map(str, each.get_config().values()))}" for each in EVERY]
every = pytest.mark.parametrize("likelihood", EVERY, ids=IDS)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def tfp():
    """TFP's NumPy substrate: needs no TensorFlow and knows nothing of this package."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_probability.substrates.numpy as tfp
    return tfp.distributions


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def parameters_for(likelihood, rng, shape=(8, 3, 2, 2), size=2.0):
    channels = shape[-1] * likelihood.parameters_per_value
    return (rng.normal(size=(*shape[:-1], channels)) * size).astype("f4")


def grouped(parameters, count):
    """The numbers of each value, float64 `(count, batch, ..., channels)`, channel by channel."""
    channels = parameters.shape[-1] // count
    groups = [parameters[..., i * channels : (i + 1) * channels] for i in range(count)]
    return np.stack(groups).astype("f8")


def bounded(log_scale):
    return 7 * np.tanh(log_scale / 7)


def distribution(likelihood, parameters, tfp):
    """What TFP knows of it: a distribution of every value of `(batch, ..., channels)`."""
    groups = grouped(parameters, likelihood.parameters_per_value)
    if isinstance(likelihood, Gaussian | Laplace):
        scale = 1.0 if likelihood.scale == "shared" else likelihood.scale
        scale = (
            np.exp(bounded(groups[1])) if scale == "per_pixel" else np.full_like(groups[0], scale)
        )
        return (tfp.Normal if isinstance(likelihood, Gaussian) else tfp.Laplace)(groups[0], scale)
    cls = tfp.Bernoulli if isinstance(likelihood, Bernoulli) else tfp.ContinuousBernoulli
    return cls(logits=groups[0], dtype="float64")


def level_probabilities(likelihood, parameters):
    """Float64 probabilities `(levels, batch, ..., channels)`, from the definitions."""
    groups = grouped(parameters, likelihood.parameters_per_value)
    if isinstance(likelihood, Categorical):
        return oracles.softmax(groups)
    count = likelihood.components
    parts = groups[:count], groups[count : 2 * count], np.exp(bounded(groups[2 * count :]))
    return oracles.discretized_logistic_mixture(*parts, likelihood.levels)


def moments(likelihood, parameters, tfp):
    """Mean and variance of every value."""
    if likelihood.levels is None:
        known = distribution(likelihood, parameters, tfp)
        return known.mean(), known.variance()
    probabilities = level_probabilities(likelihood, parameters)
    levels = np.linspace(0, 1, likelihood.levels).reshape(-1, 1, 1, 1, 1)
    mean = np.sum(probabilities * levels, axis=0)
    return mean, np.sum(probabilities * (levels - mean) ** 2, axis=0)


# Formulas


@every
def test_log_prob_equals_tensorflow_probability_or_the_definition(likelihood, rng, tfp):
    parameters = parameters_for(likelihood, rng)
    if likelihood.levels:
        level = rng.integers(0, likelihood.levels, size=(8, 3, 2, 2))
        level[:2] = np.array([0, likelihood.levels - 1])[:, None, None, None]
        x = (level / (likelihood.levels - 1)).astype("f4")
        probabilities = level_probabilities(likelihood, parameters)
        expected = np.log(np.take_along_axis(probabilities, level[None], axis=0)[0])
    else:
        x = rng.uniform(size=(8, 3, 2, 2)).astype("f4")
        x = np.rint(x) if isinstance(likelihood, Bernoulli) else x
        expected = distribution(likelihood, parameters, tfp).log_prob(x.astype("f8"))
    got = numpy(likelihood.log_prob(x, parameters))
    assert got.shape == (8,)
    # Measured: 8e-7 of the sum.
    expected = expected.reshape(8, -1).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=3e-6)


def test_continuous_bernoulli_has_no_step_where_its_series_begins(tfp):
    logits = np.array([0.0, 1e-6, -1e-3, 0.5, 0.999, 1.001, -0.999, -1.001, 30.0, -80.0], "f4")
    x = np.linspace(0, 1, 11, dtype="f4")[:, None]
    known = tfp.ContinuousBernoulli(logits=logits.astype("f8"), dtype="float64")
    parameters = np.broadcast_to(logits, (11, 10)).reshape(110, 1)
    got = numpy(
        ContinuousBernoulli().log_prob(np.repeat(x, 10, axis=1).reshape(110, 1), parameters)
    )
    expected = known.log_prob(np.repeat(x, 10, axis=1).astype("f8"))
    # Measured: 2.0e-6.
    np.testing.assert_allclose(got.reshape(11, 10), expected, atol=1e-5)
    # Measured: 5e-8.
    np.testing.assert_allclose(numpy(ContinuousBernoulli().mean(logits)), known.mean(), atol=5e-7)


def test_continuous_bernoulli_is_a_density():
    x = ((np.arange(4000) + 0.5) / 4000).astype("f4")[:, None]
    for logit in (-9.0, -0.7, 0.0, 0.01, 3.0):
        density = np.exp(numpy(ContinuousBernoulli().log_prob(x, np.full_like(x, logit))))
        assert abs(density.mean() - 1) < 1e-5  # measured: 1.9e-7


@pytest.mark.parametrize("likelihood", [e for e in EVERY if e.levels])
@pytest.mark.parametrize("size", [0.0, 2.0, 1000.0])
def test_probabilities_of_all_levels_add_up_to_1(likelihood, size, rng):
    parameters = parameters_for(likelihood, rng, (1, 1, 1, 1), size)
    levels = likelihood.levels
    x = np.linspace(0, 1, levels, dtype="f4").reshape(levels, 1, 1, 1)
    nats = numpy(likelihood.log_prob(x, np.repeat(parameters, levels, axis=0)))
    assert nats.max() <= 1e-6
    assert abs(np.exp(nats.astype("f8")).sum() - 1) < 1e-5  # measured: 3.2e-6


@every
def test_mean_is_the_distributions(likelihood, rng, tfp):
    parameters = parameters_for(likelihood, rng)
    got = numpy(likelihood.mean(parameters))
    assert got.shape == (8, 3, 2, 2)
    expected, _ = moments(likelihood, parameters, tfp)
    # Of the mixture, before it is rounded to levels; measured 9e-6 of 256 levels,
    # 5e-3 of 16; of the others 2e-7.
    bound = 0.5 / (likelihood.levels - 1) if hasattr(likelihood, "components") else 2e-6
    np.testing.assert_allclose(got, expected, atol=bound, rtol=1e-6)


def test_mean_of_the_mixture_is_exact_for_scales_above_a_level(rng):
    likelihood = DiscretizedLogisticMixture(2)
    parameters = parameters_for(likelihood, rng, size=0.5)
    parameters[..., 8:] = -3
    expected, _ = moments(likelihood, parameters, None)
    # Measured: 2.9e-6.
    np.testing.assert_allclose(numpy(likelihood.mean(parameters)), expected, atol=1e-5)


@pytest.mark.parametrize("log_scale", [0.0, 1.7, 1.9, 4.0, 7.0, 14.0, 80.0])
def test_mean_of_the_mixture_loses_no_digits_at_wide_scales(log_scale, rng):
    locs = (rng.normal(size=64) * np.exp(min(log_scale, 14)) * 2).astype("f4")
    scales = np.full((1, 64), log_scale, "f4")
    parameters = map(ops.convert_to_tensor, (np.zeros_like(scales), locs[None], scales))
    made = distributions.DiscretizedLogisticMixture(*parameters, 256)
    # By quadrature: the mean of t in [-1, 1] is the integral of 1 - F(t), from -1 on.
    t, weights = np.polynomial.legendre.leggauss(200)
    from_loc = (locs[:, None].astype("f8") - t) / np.exp(float(log_scale))
    expected = ((1 + np.tanh(from_loc / 2)) / 2) @ weights / 2
    # Measured: 1.3e-6 (6.9e-5 by the difference alone at a log of 7, 0.04 at 14).
    np.testing.assert_allclose(numpy(made.mean()), expected, rtol=0, atol=4e-6)


@every
def test_samples_have_the_moments_of_the_distribution(likelihood, rng, tfp):
    one = parameters_for(likelihood, rng, (1, 2, 1, 3), size=1.0)
    count = 20_000
    x = numpy(likelihood.sample(np.repeat(one, count, axis=0), seed=3)).astype("f8")
    assert x.shape == (count, 2, 1, 3)
    mean, variance = moments(likelihood, one, tfp)
    # Four and a half standard errors: of twelve figures a likelihood, the worst measured is 2.6.
    squares = (x - mean) ** 2
    assert np.all(np.abs(x.mean(0) - mean) < 4.5 * x.std(0) / math.sqrt(count))
    assert np.all(np.abs(squares.mean(0) - variance) < 4.5 * squares.std(0) / math.sqrt(count))


@every
def test_samples_are_data_and_repeat_with_the_seed(likelihood, rng):
    parameters = parameters_for(likelihood, rng)
    x, same, other = (numpy(likelihood.sample(parameters, seed=seed)) for seed in (1, 1, 2))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, same)
    assert not np.array_equal(x, other)
    for p in (parameters, 30 * parameters):
        drawn = numpy(likelihood.sample(p, seed=1))
        assert numpy(likelihood.valid(drawn)).all()
        assert np.isfinite(numpy(likelihood.log_prob(drawn, p))).all()
    generator = keras.random.SeedGenerator(5)
    drawn = [numpy(likelihood.sample(parameters, generator)) for _ in range(2)]
    assert not np.array_equal(*drawn)
    if likelihood.levels:
        level = x * (likelihood.levels - 1)
        np.testing.assert_allclose(level, np.rint(level), atol=1e-5 * likelihood.levels)


@every
def test_gradients_are_finite_at_extremes(likelihood):
    k = likelihood.parameters_per_value
    # Every parameter, as a kernel of its own, at zero and at very large and very small values.
    values = np.array([0.0, 1e-8, 0.999, 40.0, -40.0, 1e4, -1e4], "f4")
    kernel = np.concatenate([np.roll(values, i) for i in range(k)])[None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(7 * k, use_bias=False)])
    model.layers[-1].kernel.assign(kernel)
    model.compile(
        keras.optimizers.SGD(1e-20), loss=lambda x, parameters: -likelihood.log_prob(x, parameters)
    )
    x = np.repeat(np.array([[0.0], [1.0], [0.5]], "f4"), 7, axis=1)
    assert np.isfinite(model.train_on_batch(np.ones((3, 1), "f4"), x))
    assert np.isfinite(numpy(model.layers[-1].kernel)).all()


def test_a_bounded_scale_finds_its_way_back():
    """With a clipped log-scale the gradient here would be 0."""
    dense = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((1,)), dense])
    dense.kernel.assign([[0.0, -12.0]])
    likelihood = Gaussian("per_pixel")
    model.compile(keras.optimizers.SGD(1e-6), loss=lambda x, p: -likelihood.log_prob(x, p))
    model.train_on_batch(np.ones((1, 1), "f4"), np.ones((1, 1), "f4"))
    assert numpy(dense.kernel)[0, 1] > -12


@pytest.mark.parametrize("likelihood", [e for e in EVERY if e.levels])
def test_a_value_between_two_levels_counts_as_the_nearer(likelihood, rng):
    parameters = parameters_for(likelihood, rng, (4, 1, 1, 1))
    step = 1 / (likelihood.levels - 1)
    x = np.full((4, 1, 1, 1), 3 * step, "f4")
    expected = numpy(likelihood.log_prob(x, parameters))
    np.testing.assert_array_equal(numpy(likelihood.log_prob(x + 0.4 * step, parameters)), expected)
    assert not np.array_equal(numpy(likelihood.log_prob(x + 0.6 * step, parameters)), expected)


# The scale of a sigma-VAE


def batch_mean(weight=None):
    """The mean over all rows of a batch, as a step offers it."""

    def mean(values):
        average = 0.0 if weight is not None and not np.any(weight) else None
        average = np.average(numpy(values), weights=weight) if average is None else average
        return ops.convert_to_tensor(average, "float32")

    return mean


@pytest.mark.parametrize(("cls", "norm"), [(Gaussian, 2), (Laplace, 1)])
def test_the_optimal_scale_is_the_error_itself(cls, norm, rng):
    x, location = rng.normal(size=(2, 16, 4, 3, 1)).astype("f4")
    error = np.mean(np.abs(x.astype("f8") - location) ** norm) ** (1 / norm)
    optimal = cls("optimal")
    got = numpy(optimal.in_training(location, x, batch_mean()).log_prob(x))
    # Measured: 1.2e-7.
    np.testing.assert_allclose(got, numpy(cls(float(error)).log_prob(x, location)), rtol=2e-6)
    for other in (0.97, 1.03):
        assert numpy(cls(float(error) * other).log_prob(x, location)).sum() < got.sum()
    for _ in range(150):
        optimal.in_training(location, x, batch_mean()).log_prob(x)
    assert math.exp(float(numpy(optimal.log_scale))) == pytest.approx(
        error, rel=1e-5
    )  # measured: 1.2e-7
    np.testing.assert_allclose(numpy(optimal.log_prob(x, location)), got, rtol=1e-5)


def test_the_optimal_scale_honours_sample_weights(rng):
    x, location = rng.normal(size=(2, 16, 5)).astype("f4")
    weight = rng.uniform(size=16).astype("f4")
    error = math.sqrt(np.average(np.mean((x - location) ** 2, axis=1), weights=weight))
    got = numpy(Gaussian("optimal").in_training(location, x, batch_mean(weight)).log_prob(x))
    np.testing.assert_allclose(got, numpy(Gaussian(error).log_prob(x, location)), rtol=2e-6)


def test_an_optimal_scale_of_nothing_stays_in_the_range():
    x = np.ones((4, 3), "f4")
    expected = numpy(Gaussian(math.exp(-7)).log_prob(x, x))
    got = numpy(Gaussian("optimal").in_training(x, x, batch_mean()).log_prob(x))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("likelihood", [*EVERY, Gaussian("optimal"), Laplace("optimal")])
def test_a_batch_is_reduced_by_the_mean_over_all_of_its_rows_only(likelihood, rng):
    """On several devices a step sees some rows: they must count as they do beside the others."""
    x = rng.uniform(size=(6, 2, 2, 1)).astype("f4")
    parameters = parameters_for(likelihood, rng, x.shape)
    means = []
    for rows in (slice(None), slice(0, 2), slice(2, 6)):
        asked = []

        def mean(values, asked=asked):
            asked.append(np.mean(numpy(values)))
            return ops.convert_to_tensor(means[0][len(asked) - 1] if means else asked[-1])

        p = likelihood.in_training(parameters[rows], x[rows], mean)
        nats = numpy(p.log_prob(x[rows]))
        if not means:
            means.append(asked)
            together = nats
        np.testing.assert_allclose(nats, together[rows], rtol=1e-5)


def test_weights_of_zero_leave_the_optimal_scale_where_it_is(rng):
    x, location = rng.normal(size=(2, 16, 5)).astype("f4")
    optimal = Gaussian("optimal")
    optimal.in_training(location, x, batch_mean()).log_prob(x)
    before = float(numpy(optimal.log_scale))
    got = numpy(optimal.in_training(location, x, batch_mean(np.zeros(16))).log_prob(x))
    assert float(numpy(optimal.log_scale)) == pytest.approx(before, rel=1e-6)
    np.testing.assert_allclose(got, numpy(optimal.log_prob(x, location)), rtol=1e-5)


@pytest.mark.parametrize("cls", [Gaussian, Laplace])
def test_scales_are_what_they_say(cls, rng):
    x, location = rng.normal(size=(2, 4, 5)).astype("f4")
    shared = cls("shared")
    np.testing.assert_allclose(
        numpy(shared.log_prob(x, location)), numpy(cls(1.0).log_prob(x, location)), rtol=1e-6
    )
    shared.position.assign(-0.2)
    scale = math.exp(7 * math.tanh(-0.2))
    np.testing.assert_allclose(
        numpy(shared.log_prob(x, location)), numpy(cls(scale).log_prob(x, location)), rtol=1e-5
    )
    assert math.exp(float(numpy(shared.log_scale))) == pytest.approx(scale, rel=1e-5)
    assert cls(0.5).log_scale == math.log(0.5)
    with pytest.raises(ValueError, match="one scale for all values"):
        _ = cls("per_pixel").log_scale


def test_only_an_optimal_or_shared_scale_is_a_weight():
    found = {s: Gaussian(s) for s in (0.5, "shared", "optimal", "per_pixel")}
    counts = {s: (len(g.trainable_weights), len(g.weights)) for s, g in found.items()}
    assert counts == {0.5: (0, 0), "shared": (1, 1), "optimal": (0, 1), "per_pixel": (0, 0)}


# In models


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("dense", lambda: Gaussian("shared")),
        ("conv", lambda: Gaussian("optimal")),
        ("conv", lambda: DiscretizedLogisticMixture(2)),
        ("dense", lambda: Laplace("per_pixel")),
    ],
    ids=["shared", "optimal", "mixture", "per_pixel"],
)
def test_models_train_save_and_load_with_it(name, likelihood, images, tmp_path):
    import random

    def make():
        random.seed(1)
        parts = (
            (ConvEncoder(3, (4,)), ConvDecoder((6, 5, 1), (4,)))
            if name == "conv"
            else (DenseEncoder(3, (8,)), DenseDecoder((6, 5, 1), (8,)))
        )
        model = keras_vae.VAE(*parts, likelihood=likelihood(), seed=7)
        # A step of these models runs faster than TensorFlow traces it.
        model.compile(keras.optimizers.Adam(1e-2), run_eagerly=BACKEND == "tensorflow")
        return model

    conformance.check_model(make, images[0][:16], tmp_path)


def test_compiled_steps_train_the_scale(images):
    """As on a torch graph or in a JAX loop, where a forgotten weight would stay."""
    for scale in ("shared", "optimal"):
        model = keras_vae.VAE(*dense(), likelihood=Gaussian(scale), seed=0)
        model.compile(keras.optimizers.Adam(1e-2), jit_compile=BACKEND != "tensorflow")
        model.fit(images[0], batch_size=16, epochs=2, verbose=0)
        # After 6 steps: 0.07 each, or 1 - 0.9**6 = 0.47 of the way to the log of the error.
        assert -1.2 < float(numpy(model.likelihood.log_scale)) < -0.3


def dense():
    return DenseEncoder(3, (8,)), DenseDecoder((6, 5, 1), (8,))


def test_eight_bit_images_are_0_to_1_under_every_likelihood(images):
    x = (images[0] * 255).astype("uint8")
    for likelihood in ("gaussian", "laplace", "discretized_logistic_mixture"):
        model = keras_vae.VAE(*dense(), likelihood=likelihood, seed=0)
        got, expected = model.reconstruct(x), model.reconstruct(x.astype("f4") / 255)
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_unbounded_likelihoods_take_any_finite_number(images):
    model = keras_vae.VAE(*dense(), likelihood="gaussian", seed=0)
    model.compile()
    assert np.isfinite(model.evaluate(images[0] * 9 - 20, verbose=0)).all()
    with pytest.raises(ValueError, match="`x` must be finite"):
        model.evaluate(np.full_like(images[0], np.nan))
    x = np.array([[0.5, -30.0], [np.inf, 0.0], [0.0, np.nan]], "f4")
    assert numpy(Laplace().valid(x)).tolist() == [True, False, False]


def test_bounded_likelihoods_refuse_other_data(images):
    for name in ("continuous_bernoulli", "discretized_logistic_mixture"):
        model = keras_vae.VAE(*dense(), likelihood=name)
        with pytest.raises(ValueError, match=rf"in \[0, 1\] under the {name} likelihood"):
            model.reconstruct(images[0] + 1)


def test_decoders_take_the_size_from_the_likelihood():
    for decoder in (DenseDecoder((6, 5, 2), (8,)), ConvDecoder((6, 5, 2), (4,))):
        model = keras_vae.VAE(DenseEncoder(3), decoder, likelihood=Categorical(4))
        model.build()
        assert decoder.parameters_per_value == 4
        assert model.decode(np.zeros((1, 3))).shape == (1, 6, 5, 2)
        copy = conformance.check_config(decoder)
        assert tuple(copy(np.zeros((1, 3), "f4")).shape) == (1, 6, 5, 8)


@pytest.mark.parametrize(
    ("decoder", "likelihood", "words"),
    [
        (DenseDecoder((6, 5, 1), parameters_per_value=3), "bernoulli", "output_shape"),
        (
            DenseDecoder((6, 5, 2), parameters_per_value=3),
            Gaussian("per_pixel"),
            r"gaussian likelihood needs 2 parameters for each value of the data \(6, 5, 2\): "
            r"\(6, 5, 4\)\. Received from the decoder: \(6, 5, 6\)\. Set its "
            "parameters_per_value=2.",
        ),
    ],
)
def test_a_decoder_of_another_size_is_refused(decoder, likelihood, words):
    with pytest.raises(ValueError, match=words):
        keras_vae.VAE(DenseEncoder(3), decoder, likelihood=likelihood).build()


def test_a_decoder_that_was_called_before_keeps_its_size():
    decoder = DenseDecoder((6, 5, 1))
    decoder(np.zeros((1, 3), "f4"))
    with pytest.raises(ValueError, match="parameters_per_value=15"):
        keras_vae.VAE(DenseEncoder(3), decoder, likelihood="discretized_logistic_mixture").build()


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True])
@pytest.mark.parametrize("decoder", [DenseDecoder, ConvDecoder])
def test_a_senseless_size_is_refused(decoder, count):
    with pytest.raises(ValueError, match="`parameters_per_value` must be a whole number"):
        decoder((6, 5, 1), parameters_per_value=count)


# Names, arguments, means


def test_every_name_gives_its_likelihood():
    for name, cls in likelihoods.LIKELIHOODS.items():
        found = likelihoods.get(name)
        assert type(found) is cls
        assert found.name == name
        assert likelihoods.get(found) is found
        conformance.check_config(found)


@pytest.mark.parametrize("identifier", ["gauss", None, 5, Gaussian, {"name": "gaussian"}])
def test_what_is_no_likelihood_is_refused(identifier):
    with pytest.raises(ValueError, match="`likelihood` must be one of 'bernoulli', ") as caught:
        likelihoods.get(identifier)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", [Gaussian, Laplace])
@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, "pixel", None, True])
def test_a_senseless_scale_is_refused(cls, scale):
    with pytest.raises(ValueError, match="`scale` must be a finite number above 0"):
        cls(scale)


class Cauchy(likelihoods.LocationScale):
    """A density of one's own: no formula gives the best of its scales."""

    def of(self, loc, log_scale):
        return CauchyDistribution(loc, log_scale)


class CauchyDistribution(keras_vae.distributions.Distribution):
    def __init__(self, loc, log_scale):
        self.loc, self.log_scale = loc, log_scale

    def log_prob_by_value(self, x):
        square = ops.square((x - self.loc) * ops.exp(-self.log_scale))
        return -ops.log1p(square) - self.log_scale - math.log(math.pi)

    def mean(self):
        return self.loc


def test_a_density_of_ones_own_is_trained_with_its_scale():
    x = np.random.default_rng(0).standard_cauchy((256, 2, 2, 1)).astype("float32")
    x[:, 1] *= 8
    likelihood = Cauchy("per_pixel")
    model = keras_vae.VAE(
        DenseEncoder(2, ()), DenseDecoder((2, 2, 1), ()), likelihood=likelihood, seed=1
    )
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(x, epochs=20, verbose=0)
    log_scales = model.decoder(np.zeros((1, 2), "f4"))[0, ..., 1]
    rise = ops.convert_to_numpy(log_scales[1] - log_scales[0])
    # log(8) is 2.1; of 256 values of a Cauchy distribution its standard error is 0.13.
    np.testing.assert_allclose(rise, math.log(8), atol=0.6)


def test_the_best_scale_is_refused_where_no_formula_gives_it():
    with pytest.raises(ValueError, match=r"must be a number, .* Received: 'optimal' for Cauchy"):
        Cauchy("optimal")


def test_what_is_infinite_is_valid_under_no_likelihood():
    class Unbounded(likelihoods.Likelihood):
        data_range = (-math.inf, math.inf)

    x = np.array([[0, 1e30], [0, math.inf], [0, -math.inf], [0, math.nan]], "float32")
    for likelihood in (Unbounded(), Gaussian()):
        assert ops.convert_to_numpy(likelihood.valid(x)).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("cls", "arguments", "word"),
    [
        (DiscretizedLogisticMixture, {"components": 0}, "components"),
        (DiscretizedLogisticMixture, {"components": 2.0}, "components"),
        (DiscretizedLogisticMixture, {"levels": 1}, "levels"),
        (Categorical, {"levels": 1}, "levels"),
        (Categorical, {"levels": "256"}, "levels"),
    ],
)
def test_a_senseless_number_is_refused(cls, arguments, word):
    with pytest.raises(ValueError, match=f"`{word}` must be a whole number of at least"):
        cls(**arguments)


def test_from_mean_is_the_inverse_of_the_mean():
    mean = np.array([0.01, 0.2, 0.499, 0.5, 0.51, 0.9, 0.99], "f4")
    for likelihood in (Bernoulli(), ContinuousBernoulli(), Gaussian(), Laplace(2.0)):
        again = numpy(likelihood.mean(likelihood.from_mean(mean)))
        np.testing.assert_allclose(again, mean, atol=1e-6)  # measured: 6e-8
    for likelihood in (Gaussian("per_pixel"), DiscretizedLogisticMixture(), Categorical()):
        with pytest.raises(
            ValueError, match=f"one parameter for each value. Received: {likelihood.name}"
        ):
            likelihood.from_mean(mean)


def test_pictures_of_unbounded_data_are_black_at_0_and_white_at_1():
    images = np.linspace(-1, 2, 64, dtype="f4").reshape(1, 8, 8, 1)
    np.testing.assert_array_equal(
        figures.image_grid(images, 1, Gaussian.data_range), figures.image_grid(images, 1)
    )
