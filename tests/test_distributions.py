"""Every distribution, likelihood, posterior and prior: is what it says one distribution?

The density adds up to 1 and is the one of SciPy or of a float64 restatement; draws, mean and KL
divergence belong to it. Each class has a row in one of the tables below, or a test fails.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

import keras_vae
from keras_vae import (
    column_distributions,
    distributions,
    exact_columns,
    likelihoods,
    posteriors,
    priors,
)
from keras_vae.networks import DenseDecoder, DenseEncoder, LadderDecoder
from tests import conformance, oracles
from tests.conftest import ordinary_on
from tests.test_priors import couplings_of, randomized, weights_of

pytestmark = ordinary_on("torch")

BASES = (
    distributions.Distribution,
    likelihoods.Likelihood,
    likelihoods.LocationScale,
    posteriors.Posterior,
    priors.Prior,
)


def numpy(tensor):
    return ops.convert_to_numpy(tensor).astype("f8")


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, "f4"))


def normals(*shape, seed=0, size=1.0):
    """float32 numbers, as float64."""
    return (size * np.random.default_rng(seed).normal(size=shape)).astype("f4").astype("f8")


# Values that do not depend on each other: quadrature, or a sum over levels


@dataclasses.dataclass(frozen=True)
class Values:
    """A distribution of three values, each by itself.

    Args:
        of: The class.
        make: Function that returns it.
        reference: Function from float64 values `(n, 1)` to log densities `(n, 3)`.
        support: Float pair, beyond which there is next to nothing; or int, of levels in [0, 1].
        mean_error: Of a mean that is approximate, by its docstring.
    """

    of: type
    make: Callable
    reference: Callable
    support: object = 2
    mean_error: float = 1e-5

    @property
    def x(self):
        """All levels, or points on the support, and what each of them counts."""
        if isinstance(self.support, int):
            return np.linspace(0, 1, self.support), np.ones(self.support)
        # Float32 sees the same points; the trapezoidal rule takes their true distances.
        x = np.linspace(*self.support, 20_001, dtype="f4").astype("f8")
        return x, np.gradient(x) * np.where((x == x[0]) | (x == x[-1]), 0.5, 1)


PROBABILITY = np.array([0.1, 0.5, 0.8])
LOGITS = np.log(PROBABILITY) - np.log1p(-PROBABILITY)
LOC, SCALE = np.array([-1.0, 0.0, 0.5]), np.array([0.5, 1.0, 0.2])
LOG_SCALE = np.log(SCALE)
TILTS = np.array([-6.0, 0.0, 2.5])
LEVELS = normals(7, 3, seed=1)
MIXTURE = normals(6, 3, seed=2) / 2


def tilted(x):
    """The continuous Bernoulli, by SciPy's truncated exponential, of `x` or of `1 - x`."""
    columns = [
        scipy.stats.truncexpon(abs(tilt), scale=1 / abs(tilt)).logpdf(x if tilt < 0 else 1 - x)
        if tilt
        else np.zeros_like(x)
        for tilt in TILTS
    ]
    return np.concatenate(columns, axis=1)


def by_level(probabilities):
    """The reference of probabilities `(levels, 3)`."""

    def reference(x):
        level = np.rint(x[:, 0] * (len(probabilities) - 1)).astype(int)
        return np.log(probabilities[level])

    return reference


def logistics(levels, log_scales):
    parts = MIXTURE[:2], MIXTURE[2:4], np.exp(log_scales)
    return by_level(oracles.discretized_logistic_mixture(*parts, levels))


def side_by_side(*groups):
    """Parameters as a decoder gives them: of one example of the shape (1, 1, 3)."""
    return tensor(np.concatenate(groups, axis=-1).reshape(1, 1, 1, -1))


def bounded(log_scale):
    return 7 * np.tanh(log_scale / 7)


def of_likelihood(likelihood, *groups):
    return lambda: likelihood()(side_by_side(*groups))


def shaped():
    return distributions.Shaped(
        lambda p: distributions.Laplace(*p), side_by_side(LOC, LOG_SCALE), count=2
    )


normal = scipy.stats.norm(LOC, SCALE).logpdf
laplace = scipy.stats.laplace(LOC, SCALE).logpdf
bernoulli = scipy.stats.bernoulli(PROBABILITY).logpmf
# Between 0 and 1 a Bernoulli is no density: over 0 and 1 it adds up to 1.
VALUES = [
    Values(distributions.Bernoulli, lambda: distributions.Bernoulli(tensor(LOGITS)), bernoulli),
    Values(
        distributions.ContinuousBernoulli,
        lambda: distributions.ContinuousBernoulli(tensor(TILTS)),
        tilted,
        (0, 1),
    ),
    Values(
        distributions.Normal,
        lambda: distributions.Normal(tensor(LOC), tensor(2 * LOG_SCALE)),
        normal,
        (-7, 7),
    ),
    Values(
        distributions.StandardNormal,
        lambda: distributions.StandardNormal(3),
        scipy.stats.norm(np.zeros(3)).logpdf,
        (-7, 7),
    ),
    Values(
        distributions.Laplace,
        lambda: distributions.Laplace(tensor(LOC), tensor(LOG_SCALE)),
        laplace,
        (-15, 15),
    ),
    Values(
        distributions.DiscretizedLogisticMixture,
        lambda: distributions.DiscretizedLogisticMixture(
            *map(tensor, (MIXTURE[:2], MIXTURE[2:4], MIXTURE[4:])), 9
        ),
        logistics(9, MIXTURE[4:]),
        9,
        5e-4,  # measured: 9e-5
    ),
    Values(
        distributions.CategoricalLevels,
        lambda: distributions.CategoricalLevels(tensor(LEVELS)),
        by_level(oracles.softmax(LEVELS)),
        7,
    ),
    Values(distributions.Shaped, shaped, laplace, (-15, 15)),
    Values(likelihoods.Bernoulli, of_likelihood(likelihoods.Bernoulli, LOGITS), bernoulli),
    Values(
        likelihoods.ContinuousBernoulli,
        of_likelihood(likelihoods.ContinuousBernoulli, TILTS),
        tilted,
        (0, 1),
    ),
    Values(
        likelihoods.Gaussian,
        of_likelihood(lambda: likelihoods.Gaussian(0.3), LOC),
        scipy.stats.norm(LOC, 0.3).logpdf,
        (-7, 7),
    ),
    Values(
        likelihoods.Gaussian,
        of_likelihood(lambda: likelihoods.Gaussian("per_pixel"), LOC, LOG_SCALE),
        scipy.stats.norm(LOC, np.exp(bounded(LOG_SCALE))).logpdf,
        (-7, 7),
    ),
    Values(
        likelihoods.Laplace,
        of_likelihood(likelihoods.Laplace, LOC),
        scipy.stats.laplace(LOC).logpdf,
        (-18, 18),
    ),
    Values(
        likelihoods.Laplace,
        of_likelihood(lambda: likelihoods.Laplace("per_pixel"), LOC, LOG_SCALE),
        scipy.stats.laplace(LOC, np.exp(bounded(LOG_SCALE))).logpdf,
        (-18, 18),
    ),
    Values(
        likelihoods.DiscretizedLogisticMixture,
        of_likelihood(lambda: likelihoods.DiscretizedLogisticMixture(2, 16), *MIXTURE),
        logistics(16, bounded(MIXTURE[4:])),
        16,
        1e-4,  # measured: 3e-5
    ),
    Values(
        likelihoods.Categorical,
        of_likelihood(lambda: likelihoods.Categorical(7), *LEVELS),
        by_level(oracles.softmax(LEVELS)),
        7,
    ),
]
values = pytest.mark.parametrize(
    "row", VALUES, ids=[f"{r.of.__module__.split('.')[-1]}-{r.of.__name__}" for r in VALUES]
)


def log_prob_by_value(distribution, x):
    """Log densities `(n, 3)` of values `(n,)`."""
    is_shaped = isinstance(distribution, distributions.Shaped)
    shape = (len(x), 1, 1, 3) if is_shaped else (len(x), 3)
    x = tensor(np.broadcast_to(x.reshape(-1, *[1] * (len(shape) - 1)), shape))
    found = numpy(distribution.log_prob_by_value(x))
    np.testing.assert_allclose(numpy(distribution.log_prob(x)), found.sum(axis=1), rtol=1e-5)
    return found


@values
def test_probabilities_of_a_value_add_up_to_one(row):
    x, weight = row.x
    density = np.exp(log_prob_by_value(row.make(), x))
    # Measured: 1.5e-6 of the Laplace distribution, at whose corner the rule errs; else 2e-7.
    np.testing.assert_allclose(weight @ density, 1, rtol=0, atol=5e-6)


@values
def test_log_prob_by_value_is_the_references(row):
    x = row.x[0][::101] if len(row.x[0]) > 101 else row.x[0]
    found, expected = log_prob_by_value(row.make(), x), row.reference(x[:, None])
    # Measured: 3e-7, or 4e-7 nats.
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@values
def test_draws_have_the_probabilities(row):
    distribution, count = row.make(), 4000
    x, weight = row.x
    density = weight[:, None] * np.exp(log_prob_by_value(distribution, x))
    drawn = conformance.draws(distribution, count).reshape(count, 3)
    for value in range(3):
        p = conformance.p_value(drawn[:, value], x, density[:, value])
        assert p > 1e-4  # of 48 values the smallest measured is 0.02


@values
def test_the_mean_is_that_of_the_density_and_of_the_draws(row):
    distribution, count = row.make(), 4000
    x, weight = row.x
    mean = numpy(distribution.mean()).reshape(-1)
    density = weight[:, None] * np.exp(log_prob_by_value(distribution, x))
    np.testing.assert_allclose(mean, x @ density, rtol=0, atol=row.mean_error)
    drawn = conformance.draws(distribution, count).reshape(count, 3)
    error = 4.5 * drawn.std(axis=0) / np.sqrt(count)
    assert np.all(np.abs(drawn.mean(axis=0) - x @ density) < error)


def test_a_wrong_density_is_found_at_once(monkeypatch):
    right = distributions.Laplace.log_prob_by_value
    monkeypatch.setattr(
        distributions.Laplace, "log_prob_by_value", lambda self, x: right(self, x) + 5
    )
    for row in (r for r in VALUES if "Laplace" in r.of.__name__ or r.of is distributions.Shaped):
        with pytest.raises(AssertionError):
            test_probabilities_of_a_value_add_up_to_one(row)
        with pytest.raises(AssertionError):
            test_log_prob_by_value_is_the_references(row)


# Values that depend on each other: importance sampling

SIZE = 3
CONDITION = np.eye(3)[[0, 2]]  # of two examples
LOCS, LOG_VARS = normals(2, 2, SIZE, seed=4) * [[[1.0]], [[0.5]]]
TRIANGLE = normals(2, SIZE, seed=5)
MODES = normals(4, SIZE, seed=6, size=1.5)
MODE_LOG_VARS, MODE_WEIGHTS = normals(4, SIZE, seed=7, size=0.5), np.array([0.1, 0.2, 0.3, 0.4])


@dataclasses.dataclass(frozen=True)
class Codes:
    """A distribution of codes of two examples, or one for both.

    Args:
        of: The class.
        make: Function that returns the distribution and, of a prior, the prior, or None.
        reference: Function from that, and from float64 codes `(n, 2, 3)`, to log densities
            `(n, 2)`; it may give codes of its own as well, where it cannot take any.
        has_mean: Whether the mean has a closed form.
    """

    of: type
    make: Callable
    reference: Callable
    has_mean: bool = True


def at_codes(function):
    """A reference of each example by itself: `function(made, example)` is its log density."""

    def reference(made, x):
        return x, np.stack([function(made, k)(x[:, k]) for k in range(2)], axis=1)

    return reference


def gaussian(loc, factor):
    return scipy.stats.multivariate_normal(loc, factor @ factor.T).logpdf


def factor_of(log_var, triangle):
    factor = np.diag(np.exp(log_var / 2))
    factor[np.tril_indices(SIZE, -1)] = triangle
    return factor


def one_mixture(means, variances, weights):
    return lambda x: oracles.mixture_log_density(x, means, variances, weights)


def johnson(made, x):
    return x, scipy.stats.johnsonsu(0.5, 2.0).logpdf(x).sum(axis=-1)


def johnson_flow():
    def inverse(x):
        slope = ops.sqrt(1 + ops.square(x)) / 2.0
        return 0.5 + 2.0 * ops.arcsinh(x), ops.sum(ops.log(slope), axis=-1)

    return distributions.Flow(lambda noise: ops.sinh((noise - 0.5) / 2.0), inverse, (SIZE,)), None


@functools.cache
def ladder_decoder():
    keras.utils.set_random_seed(0)
    decoder = LadderDecoder((2,), (1, 2), (4, 5), "tanh", depth=1)
    decoder(np.zeros((1, SIZE), "f4"))
    for index, weight in enumerate(decoder.weights):
        weight.assign(normals(*weight.shape, seed=index, size=0.7))
    return decoder


def ladder():
    heads = tensor(LOCS), tensor(LOG_VARS)
    return posteriors.Ladder()(heads, None, ladder_decoder()), None


def dense(layer, h):
    kernel, bias = map(numpy, layer.weights)
    return h @ kernel + bias


def ladder_density(made, example):
    decoder = ladder_decoder()

    def prior(codes):
        h = np.tanh(dense(decoder.hidden[0][0], codes[0]))
        return dense(decoder.means[0], h), np.exp(dense(decoder.log_vars[0], h))

    heads = [
        (a[example, part], b[example, part])
        for a, b, part in zip(
            (LOCS, LOCS), (LOG_VARS, LOG_VARS), (slice(0, 2), slice(2, 3)), strict=True
        )
    ]
    return lambda x: oracles.ladder_log_density((x[:, :2], x[:, 2:]), heads, prior)


def with_itself(prior):
    return prior(tensor(CONDITION)), prior


def model_with(prior):
    keras.utils.set_random_seed(0)
    encoder, decoder = DenseEncoder(SIZE, (4,)), DenseDecoder((2,), ())
    model = keras_vae.ConditionalVAE(
        encoder, decoder, condition={"label": keras_vae.Categorical(3)}, prior=prior
    )
    model.build()
    for index, weight in enumerate((*model.encoder.weights, *prior.weights)):
        weight.assign(normals(*weight.shape, seed=index + 20, size=0.8))
    return model


@functools.cache
def vamp():
    return model_with(priors.VampPrior(3))


def vamp_density(made, example):
    model = vamp()
    x = 1 / (1 + np.exp(-numpy(model.prior.pseudo_inputs)))
    heads = model.code(tensor(x), model.prior.pseudo_conditions, training=False)
    mean, log_var = map(numpy, heads)
    return one_mixture(mean, np.exp(log_var), np.full(3, 1 / 3))


def standard():
    prior = priors.StandardNormal()
    prior.build_for(vamp())
    return with_itself(prior)


@functools.cache
def conditional():
    return randomized(priors.ConditionalNormal((4,)), (None, SIZE), (None, 3))


def conditional_density(made, example):
    mean, log_var = map(numpy, conditional().mean_and_log_var(tensor(CONDITION)))
    return gaussian(mean[example], np.diag(np.exp(log_var[example] / 2)))


@functools.cache
def learnt_mixture():
    prior = priors.GaussianMixture(4)
    prior.build((None, SIZE))
    logits = np.log(MODE_WEIGHTS) + 2
    for weight, array in zip(prior.weights, (MODES, MODE_LOG_VARS, logits), strict=True):
        weight.assign(array)
    return prior


@functools.cache
def flow():
    return randomized(priors.RealNVP(3, (5,)), (None, SIZE), (None, 3))


def flow_density(made, x):
    """At codes that the published formula makes, by its numerical Jacobian."""
    layers, noise = couplings_of(flow()), normals(*x.shape, seed=8)
    codes, log_prob, step = np.empty_like(noise), np.empty(noise.shape[:2]), 1e-6
    for k in range(2):
        condition = np.repeat(CONDITION[k : k + 1], len(noise), axis=0)
        codes[:, k] = oracles.real_nvp(noise[:, k], condition, layers)
        columns = []
        for shift in step * np.eye(SIZE):
            ends = (oracles.real_nvp(noise[:, k] + s, condition, layers) for s in (shift, -shift))
            columns.append(np.subtract(*ends) / (2 * step))
        _, log_det = np.linalg.slogdet(np.stack(columns, axis=-1))
        log_prob[:, k] = oracles.gaussian_log_density(noise[:, k], 0.0, np.ones(SIZE)) - log_det
    return codes, log_prob


@functools.cache
def fitted():
    rows = normals(4, 4, SIZE, seed=9), np.exp(normals(4, 4, SIZE, seed=10) / 3)
    return priors.FittedMixture.of(*rows, np.tile(MODE_WEIGHTS, (4, 1)), [("label", 0, 3)])


def fitted_density(made, example):
    row = CONDITION[example].argmax()
    means, scales = (table[row].astype("f8") for table in (fitted().means, fitted().scales))
    return one_mixture(means, scales**2, weights_of(fitted())[row])


@functools.cache
def fitted_gaussian():
    means, scales = normals(1, 1, SIZE, seed=11), np.exp(normals(1, 1, SIZE, seed=12) / 3)
    return priors.FittedMixture.of(means, scales, np.ones((1, 1)))


def fitted_gaussian_density(made, example):
    means, scales = (
        t[0, 0].astype("f8") for t in (fitted_gaussian().means, fitted_gaussian().scales)
    )
    return gaussian(means, np.diag(scales))


def full_density(made, example):
    return gaussian(LOCS[example], factor_of(LOG_VARS[example], TRIANGLE[example]))


def diagonal_density(made, example):
    return gaussian(LOCS[example], np.diag(np.exp(LOG_VARS[example] / 2)))


def heads(*arrays):
    return tuple(map(tensor, arrays))


POSTERIORS = [
    Codes(
        posteriors.DiagonalNormal,
        lambda: (posteriors.DiagonalNormal()(heads(LOCS, LOG_VARS)), None),
        at_codes(diagonal_density),
    ),
    Codes(
        posteriors.FullCovarianceNormal,
        lambda: (posteriors.FullCovarianceNormal()(heads(LOCS, LOG_VARS, TRIANGLE)), None),
        at_codes(full_density),
    ),
    Codes(posteriors.Ladder, ladder, at_codes(ladder_density), has_mean=False),
]
PRIORS = [
    Codes(
        priors.StandardNormal,
        standard,
        at_codes(lambda made, k: gaussian(np.zeros(SIZE), np.eye(SIZE))),
    ),
    Codes(
        priors.ConditionalNormal,
        lambda: with_itself(conditional()),
        at_codes(conditional_density),
    ),
    Codes(
        priors.GaussianMixture,
        lambda: with_itself(learnt_mixture()),
        at_codes(lambda made, k: one_mixture(MODES, np.exp(MODE_LOG_VARS), MODE_WEIGHTS)),
    ),
    Codes(priors.VampPrior, lambda: with_itself(vamp().prior), at_codes(vamp_density)),
    Codes(priors.RealNVP, lambda: with_itself(flow()), flow_density, has_mean=False),
    Codes(priors.FittedMixture, lambda: with_itself(fitted()), at_codes(fitted_density)),
    Codes(
        priors.FittedMixture,
        lambda: with_itself(fitted_gaussian()),
        at_codes(fitted_gaussian_density),
    ),
]
OF_CODES = [
    Codes(
        distributions.MultivariateNormal,
        lambda: (distributions.MultivariateNormal(*heads(LOCS, LOG_VARS, TRIANGLE)), None),
        at_codes(full_density),
    ),
    Codes(
        distributions.Mixture,
        lambda: (distributions.Mixture(*heads(MODES, MODE_LOG_VARS, np.log(MODE_WEIGHTS))), None),
        at_codes(lambda made, k: one_mixture(MODES, np.exp(MODE_LOG_VARS), MODE_WEIGHTS)),
    ),
    Codes(distributions.Flow, johnson_flow, johnson, has_mean=False),
    Codes(posteriors.LadderNormal, ladder, at_codes(ladder_density), has_mean=False),
    *POSTERIORS,
    *PRIORS,
]


def ids(rows):
    return [f"{r.of.__module__.split('.')[1]}-{r.of.__name__}" for r in rows]


codes = pytest.mark.parametrize("row", OF_CODES, ids=ids(OF_CODES))


def both(drawn):
    """Codes `(n, 3)` of one distribution as those of two examples."""
    return drawn if drawn.ndim == 3 else np.stack([drawn, drawn[::-1]], axis=1)


@functools.cache
def importance(row):
    """Codes `(n, 2, 3)` and the weights `(n, 2)` with which they are those of a distribution."""
    distribution, _ = row.make()
    pilot = both(conformance.draws(distribution, 1000))
    z, log_q = conformance.around(pilot, 20_000)
    return z, np.exp(numpy(distribution.log_prob(tensor(z))) - log_q)


@codes
def test_the_density_of_codes_integrates_to_one(row):
    _, weight = importance(row)
    # Measured: standard errors of 0.003 to 0.012, and at most 2.0 of them.
    error = weight.std(axis=0) / np.sqrt(len(weight))
    assert np.all(error < 0.02)
    assert np.all(np.abs(weight.mean(axis=0) - 1) < 4.5 * error)


@codes
def test_log_prob_of_codes_is_the_references(row):
    made = row.make()
    pilot = both(conformance.draws(made[0], 100))
    # What the reference sees is what float32 sees.
    x, expected = row.reference(made, pilot.astype("f4").astype("f8"))
    found = numpy(made[0].log_prob(tensor(x)))
    assert found.shape == (100, 2)
    # Measured: 2e-6 nats; of the flow, whose codes are rounded to float32, 5e-6.
    np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-5)


def drawn_by(row):
    """Draws of the distribution, and of a prior also those that every device draws."""
    distribution, prior = row.make()
    yield both(conformance.draws(distribution, 20_000))
    if prior is not None:
        condition = [np.repeat(CONDITION[k : k + 1], 20_000, axis=0).astype("f4") for k in (0, 1)]
        drawn = [prior.sample(20_000, SIZE, seed=k, condition=c) for k, c in enumerate(condition)]
        yield np.stack(drawn, axis=1).astype("f8")


@codes
def test_draws_of_codes_have_the_density(row):
    """Moments, and the entropy, by draws and by the weights of another distribution's draws."""
    distribution, _ = row.make()

    def features(z):
        pairs = np.stack([z[..., i] * z[..., j] for i in range(SIZE) for j in range(i + 1)], -1)
        log_prob = np.maximum(numpy(distribution.log_prob(tensor(z))), -50)[..., None]
        return np.concatenate([z, pairs, log_prob], axis=-1)

    z, weight = importance(row)
    expected = weight[..., None] * features(z)
    for drawn in drawn_by(row):
        found = features(drawn)
        error = np.sqrt((found.var(axis=0) + expected.var(axis=0)) / len(z))
        # Of twenty figures a row, the worst measured is 2.9.
        assert np.all(np.abs(found.mean(axis=0) - expected.mean(axis=0)) < 4.5 * error)


@codes
def test_the_mean_of_codes_is_that_of_the_draws_or_refused(row):
    distribution, _ = row.make()
    if not row.has_mean:
        with pytest.raises(NotImplementedError, match="has no closed form"):
            distribution.mean()
        return
    mean = numpy(distribution.mean())
    for drawn in drawn_by(row):
        error = 4.5 * drawn.std(axis=0) / np.sqrt(len(drawn))
        assert np.all(np.abs(drawn.mean(axis=0) - mean) < error)


def test_draws_may_have_several_axes():
    for row in (*VALUES, *OF_CODES):
        made = row.make()
        distribution = made[0] if isinstance(made, tuple) else made
        shape = tuple(distribution.sample(0).shape)
        drawn = distribution.sample(0, (2, 4))
        assert tuple(drawn.shape) == (2, 4, *shape)
        assert keras.backend.standardize_dtype(drawn.dtype) == "float32"
        parts = numpy(drawn).reshape(8, -1)
        assert len(np.unique(parts, axis=0)) > 1
        assert np.isfinite(numpy(distribution.log_prob(drawn[0]))).all()


# KL divergences

ONE = distributions.Normal(tensor(LOCS), tensor(LOG_VARS))
OTHER = distributions.Normal(tensor(LOG_VARS), tensor(LOCS / 2))
FULL = distributions.MultivariateNormal(*heads(LOCS, LOG_VARS, TRIANGLE))
SCALES = np.exp(LOG_VARS / 2)
FACTORS = [factor_of(*each) for each in zip(LOG_VARS, TRIANGLE, strict=True)]
STANDARD = distributions.StandardNormal(SIZE)
ZEROS = np.zeros((2, SIZE))


def covariances(distribution):
    """Mean and covariance of both examples, from the arrays above."""
    eyes = [np.eye(SIZE)] * 2
    return {
        id(ONE): (LOCS, [np.diag(s**2) for s in SCALES]),
        id(OTHER): (LOG_VARS, [np.diag(v) for v in np.exp(LOCS / 2)]),
        id(FULL): (LOCS, [f @ f.T for f in FACTORS]),
        id(STANDARD): (ZEROS, eyes),
    }[id(distribution)]


# The classes as they are registered; two distributions; and two that are equal.
CLOSED_FORMS = {
    (distributions.Normal, distributions.StandardNormal): (
        ONE,
        STANDARD,
        lambda: (distributions.Normal(tensor(ZEROS), tensor(ZEROS)), STANDARD),
    ),
    (distributions.StandardNormal, distributions.StandardNormal): (
        STANDARD,
        STANDARD,
        lambda: (STANDARD, STANDARD),
    ),
    (distributions.Normal, distributions.Normal): (ONE, OTHER, lambda: (ONE, ONE)),
    (distributions.MultivariateNormal, distributions.Normal): (
        FULL,
        OTHER,
        lambda: (distributions.MultivariateNormal(*heads(LOCS, LOG_VARS, ZEROS)), ONE),
    ),
}
MORE_CLOSED_FORMS = [(STANDARD, ONE), (FULL, STANDARD)]  # of subclasses


def test_every_closed_form_has_a_row():
    assert set(CLOSED_FORMS) == set(distributions._CLOSED_FORMS)


@pytest.mark.parametrize(
    ("one", "other"), [*(row[:2] for row in CLOSED_FORMS.values()), *MORE_CLOSED_FORMS]
)
def test_a_closed_form_is_the_divergence(one, other):
    assert one.kl_is_exact(other)
    found = np.broadcast_to(numpy(one.kl(other)), (2,))
    by_value = numpy(one.kl_by_value(other))
    np.testing.assert_allclose(by_value.sum(axis=-1), numpy(one.kl(other)), rtol=1e-6)
    parts = zip(*covariances(one), *covariances(other), strict=True)
    expected = [oracles.gaussian_kl_between(*each) for each in parts]
    # Measured: 1e-7.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert found.min() >= 0
    z = both(conformance.draws(one, 20_000))
    ratio = numpy(one.log_prob(tensor(z))) - numpy(other.log_prob(tensor(z)))
    error = ratio.std(axis=0) / np.sqrt(len(z))
    assert np.all(np.abs(ratio.mean(axis=0) - found) <= 4.5 * error)


@pytest.mark.parametrize("row", CLOSED_FORMS.values(), ids=lambda row: type(row[0]).__name__)
def test_a_divergence_is_zero_from_its_equal_only(row):
    np.testing.assert_array_equal(numpy(ops.sum(row[2]()[0].kl(row[2]()[1]))), 0)


def test_where_there_is_no_closed_form_draws_are_asked_for():
    mixture, _ = OF_CODES[1].make()
    assert not ONE.kl_is_exact(mixture)
    with pytest.raises(ValueError, match="`Normal` from `Mixture` has no closed form: pass `z`"):
        ONE.kl(mixture)


EXACT_FROM = ("StandardNormal", "ConditionalNormal", "FittedMixture of one component")
PRIOR_NAMES = [*(row.of.__name__ for row in PRIORS[:-1]), EXACT_FROM[-1]]


@pytest.mark.parametrize("name", PRIOR_NAMES)
@pytest.mark.parametrize("posterior", POSTERIORS, ids=ids(POSTERIORS))
def test_the_divergence_of_a_posterior_from_a_prior_is_right_on_average(posterior, name):
    q, _ = posterior.make()
    p, _ = PRIORS[PRIOR_NAMES.index(name)].make()
    assert q.kl_is_exact(p) == (name in EXACT_FROM and posterior.of is not posteriors.Ladder)
    z, weight = importance(posterior)
    ratio = numpy(q.log_prob(tensor(z))) - numpy(p.log_prob(tensor(z)))
    expected = weight * ratio
    drawn = tensor(both(conformance.draws(q, 4000, seed=2)))
    found = numpy(q.kl(p, drawn))
    assert found.shape == (2,)
    one_by_one = numpy(q.log_prob(drawn)) - numpy(p.log_prob(drawn))
    error = np.sqrt(expected.var(axis=0) / len(z) + one_by_one.var(axis=0) / len(one_by_one))
    # The worst measured is 2.6.
    assert np.all(np.abs(found - expected.mean(axis=0)) < 4.5 * error)
    if q.kl_is_exact(p):
        np.testing.assert_allclose(numpy(q.kl(p)), found, rtol=1e-6)
        assert found.min() > 0


# Nothing is left out


def classes():
    """Every public class of the package that says it is one of these."""

    def below(cls):
        return {cls}.union(*map(below, cls.__subclasses__()))

    found = set().union(*map(below, BASES)) - set(BASES)
    return {
        cls
        for cls in found
        if cls.__module__.startswith("keras_vae.") and not cls.__name__.startswith("_")
    }


# Every token depends on those before it: tests/test_sequence_vae.py sums over all sequences.
OF_SEQUENCES = {distributions.TokenSequence, likelihoods.Autoregressive}
# Every column is another distribution: tests/test_column_distributions.py, test_exact_tables.py.
OF_TABLES = {column_distributions.Columns, exact_columns.ExactColumns, likelihoods.Table}


def test_every_class_has_a_row():
    assert {row.of for row in (*VALUES, *OF_CODES)} | OF_SEQUENCES | OF_TABLES == classes()


@pytest.mark.parametrize("base", BASES)
def test_a_class_without_a_row_is_found(base):
    forgotten = type("Forgotten", (base,), {"__module__": "keras_vae.distributions"})
    with pytest.raises(AssertionError, match="Forgotten"):
        test_every_class_has_a_row()
    assert forgotten in classes()
    forgotten.__module__ = __name__  # it may live on until the garbage is collected


def test_the_normal_density_is_written_once():
    root = Path(keras_vae.__file__).parents[1]
    constant = re.compile(r"log\(\s*2(\.0)?\s*\*\s*\w*\.?pi|0?\.918938|1\.837877|LOG_2_PI")
    found = {
        path.relative_to(root).as_posix()
        for folder in ("keras_vae", "export")
        for path in (root / folder).rglob("*.py")
        if constant.search(path.read_text())
    }
    assert found == {"keras_vae/distributions.py"}
