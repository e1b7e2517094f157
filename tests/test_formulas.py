"""Divergences, likelihoods, priors and the draw against float64 oracles and against TFP."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.divergences import kl_normal, kl_standard_normal
from keras_vae.likelihoods import Bernoulli
from keras_vae.priors import StandardNormal
from tests import oracles

GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tfp():
    """TFP's NumPy substrate: needs no TensorFlow and knows nothing of this package."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tfp = pytest.importorskip("tensorflow_probability.substrates.numpy")
    return tfp.distributions


def test_kl_equals_the_paper():
    mean, log_var = GENERATOR.normal(size=(2, 64, 5))
    got = ops.convert_to_numpy(kl_standard_normal(mean.astype("f4"), log_var.astype("f4")))
    # Measured: 2e-7 relative.
    np.testing.assert_allclose(got, oracles.gaussian_kl(mean, log_var), rtol=1e-6)


def test_kl_equals_tensorflow_probability(tfp):
    mean, log_var = GENERATOR.normal(size=(2, 64, 5))
    posterior = tfp.MultivariateNormalDiag(mean, np.exp(log_var / 2))
    expected = posterior.kl_divergence(tfp.MultivariateNormalDiag(np.zeros_like(mean)))
    got = ops.convert_to_numpy(kl_standard_normal(mean.astype("f4"), log_var.astype("f4")))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_kl_is_zero_at_the_prior_and_never_negative():
    assert float(kl_standard_normal(np.zeros((1, 4), "f4"), np.zeros((1, 4), "f4"))[0]) == 0.0
    log_var = GENERATOR.normal(size=(1000, 1)) * 10.0 ** GENERATOR.uniform(-6, 1, (1000, 1))
    kl = kl_standard_normal(np.zeros((1000, 1), "f4"), log_var.astype("f4"))
    assert ops.convert_to_numpy(kl).min() >= 0.0


def test_kl_keeps_its_digits_near_the_prior():
    log_var = np.array([[1e-3], [-1e-3], [3e-3]])
    got = ops.convert_to_numpy(kl_standard_normal(np.zeros((3, 1), "f4"), log_var.astype("f4")))
    expected = (np.expm1(log_var) - log_var)[:, 0] / 2
    # Measured: 1.6e-4. The textbook form is 100 % off here.
    np.testing.assert_allclose(got, expected, rtol=5e-4)


def test_kl_of_two_gaussians_takes_arrays_and_equals_the_definition():
    mean, log_var, prior_mean, prior_log_var = GENERATOR.normal(size=(4, 64, 5))
    arrays = (array.astype("f4") for array in (mean, log_var, prior_mean, prior_log_var))
    got = ops.convert_to_numpy(kl_normal(*arrays))
    ratio = np.exp(log_var - prior_log_var) + (mean - prior_mean) ** 2 / np.exp(prior_log_var)
    expected = np.sum(ratio - 1 - log_var + prior_log_var, axis=1) / 2
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_bernoulli_log_prob_equals_the_definition():
    x = GENERATOR.uniform(size=(16, 4, 3, 2))
    logits = GENERATOR.normal(size=x.shape) * 4
    got = Bernoulli().log_prob(x.astype("f4"), logits.astype("f4"))
    expected = -oracles.binary_cross_entropy(x, logits)
    np.testing.assert_allclose(ops.convert_to_numpy(got), expected, rtol=1e-6)


def test_bernoulli_log_prob_equals_tensorflow_probability(tfp):
    x = GENERATOR.integers(0, 2, size=(16, 12)).astype("f4")
    logits = (GENERATOR.normal(size=x.shape) * 4).astype("f4")
    expected = tfp.Bernoulli(logits=logits).log_prob(x).sum(-1)
    got = ops.convert_to_numpy(Bernoulli().log_prob(x, logits))
    np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_bernoulli_log_prob_stays_finite_at_extreme_logits():
    x = np.array([[0.0, 1.0, 0.0, 1.0]], "f4")
    logits = np.array([[1e4, -1e4, -1e4, 1e4]], "f4")
    assert float(Bernoulli().log_prob(x, logits)[0]) == -2e4


def test_bernoulli_has_the_right_slope_at_a_logit_of_zero():
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(
        keras.optimizers.SGD(1.0), loss=lambda x, logits: -Bernoulli().log_prob(x, logits)
    )
    model.train_on_batch(np.ones((1, 1), "f4"), np.full((1, 1), 0.75, "f4"))
    # d/dl of -log p is sigmoid(l) - x = 0.5 - 0.75.
    assert float(ops.convert_to_numpy(model.layers[0].kernel)[0, 0]) == 0.25


def test_bernoulli_knows_its_range():
    x = np.array([[0.0, 1.0], [0.5, 1.001], [-0.001, 0.5], [np.nan, 0.5]], "f4")
    valid = ops.convert_to_numpy(Bernoulli().valid(ops.convert_to_tensor(x)))
    assert valid.tolist() == [True, False, False, False]


def test_prior_log_prob_equals_the_density():
    z = GENERATOR.normal(size=(8, 3))
    got = ops.convert_to_numpy(StandardNormal().log_prob(z.astype("f4")))
    np.testing.assert_allclose(got, oracles.gaussian_log_density(z, 0.0, np.ones(3)), rtol=1e-6)


def test_prior_samples_repeat_with_the_seed_and_scale_with_the_temperature():
    prior = StandardNormal()
    z = prior.sample(5, 4, seed=42)
    assert z.shape == (5, 4)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, prior.sample(5, 4, seed=42))
    np.testing.assert_array_equal(prior.sample(5, 4, 0.5, seed=42), z / 2)
    np.testing.assert_array_equal(prior.sample(5, 4, 0.0, seed=42), np.zeros((5, 4)))
    assert not np.array_equal(z, prior.sample(5, 4, seed=43))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 0}, "`count`"),
        ({"temperature": -1.0}, "`temperature`"),
        ({"temperature": float("nan")}, "`temperature`"),
        ({"seed": -1}, "`seed`"),
        ({"seed": 1.5}, "`seed`"),
    ],
)
def test_prior_refuses_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        StandardNormal().sample(**{"count": 2, "latent_dim": 3, **arguments})


def test_sampling_has_the_posteriors_moments():
    mean = np.full((50_000, 2), (1.0, -2.0), "f4")
    log_var = np.full((50_000, 2), (0.0, -2.0), "f4")
    z = ops.convert_to_numpy(keras_vae.layers.Sampling(seed=0)(mean, log_var))
    std = np.exp(log_var[0] / 2)
    # Four standard errors of a mean and of a standard deviation.
    assert np.all(np.abs(z.mean(0) - mean[0]) < 4 * std / np.sqrt(len(z)))
    assert np.all(np.abs(z.std(0) - std) < 4 * std / np.sqrt(2 * len(z)))


def test_sampling_draws_anew_and_repeats_with_the_seed():
    mean = np.zeros((4, 3), "f4")
    layer, again = (keras_vae.layers.Sampling(seed=5) for _ in range(2))
    first, second = (ops.convert_to_numpy(layer(mean, mean)) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, ops.convert_to_numpy(again(mean, mean)))


def test_sampling_refuses_inputs_of_two_shapes():
    with pytest.raises(ValueError, match="one shape"):
        keras_vae.layers.Sampling()(np.zeros((8, 2), "f4"), np.zeros((8, 3), "f4"))


def test_average_is_nan_when_nothing_was_counted():
    average = keras_vae.metrics.Average()
    average.update_state(3.0, 0.0)
    assert np.isnan(float(average.result()))
    average.update_state(3.0, 2.0)
    average.update_state(6.0, 1.0)
    assert float(average.result()) == 4.0
    assert keras.metrics.deserialize(keras.metrics.serialize(average)).name == average.name
