"""Figures of merit against exact values, oracles and SciPy."""

import dataclasses
import importlib
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.special
import scipy.stats
from keras import ops

import keras_vae
from keras_vae import evaluation, likelihoods
from keras_vae.data import Dataset
from keras_vae.evaluation import annealed, classifier, latents, report
from keras_vae.evaluation.images import psnr
from keras_vae.models import importance
from keras_vae.models.capabilities import DiscreteCodes, Samples
from tests import oracles
from tests.conftest import BACKEND, ordinary_on

pytestmark = ordinary_on("torch")

# The module, whose name the package gives to its function.
SCORECARD = importlib.import_module("keras_vae.evaluation.scorecard")

SCALE = 0.5


@pytest.fixture(scope="module")
def linear_gaussian():
    """A VAE whose evidence is known: `x = W z + b + noise`, W with orthogonal columns.

    Returns:
        Tuple of the model, whose posterior has the exact means and 1.4 times the exact variances;
        data `(40, 6, 5, 1)`; and their exact log-likelihoods.
    """
    rng = np.random.default_rng(0)
    kernel = np.linalg.qr(rng.normal(size=(30, 2)))[0] * [1.5, 0.7]
    bias = rng.normal(size=30)
    x = rng.normal(size=(40, 2)) @ kernel.T + bias + SCALE * rng.normal(size=(40, 30))
    x = x.astype("float32")
    exact = oracles.linear_gaussian_log_likelihood(x.astype("float64"), kernel, bias, SCALE)
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, ()),
        keras_vae.networks.DenseDecoder((6, 5, 1), ()),
        likelihood=likelihoods.Gaussian(SCALE),
    )
    model.build()
    variance = SCALE**2 / (SCALE**2 + np.sum(kernel**2, axis=0))
    to_mean = kernel * variance / SCALE**2
    model.encoder.z_mean.kernel.assign(to_mean)
    model.encoder.z_mean.bias.assign(-bias @ to_mean)
    model.encoder.z_log_var.kernel.assign(np.zeros((30, 2)))
    model.encoder.z_log_var.bias.assign(np.log(1.4 * variance))
    model.decoder.outputs_dense.kernel.assign(kernel.T)
    model.decoder.outputs_dense.bias.assign(bias)
    return model, x.reshape(40, 6, 5, 1), exact


def test_importance_sampling_finds_the_exact_evidence(linear_gaussian):
    model, x, exact = linear_gaussian
    rows = evaluation.log_likelihoods(model, x, (100, 1, 1000, 10), seed=1)
    assert [row["num_samples"] for row in rows] == [1, 10, 100, 1000]
    assert rows[0]["monte_carlo_error"] is None
    errors = [row["monte_carlo_error"] for row in rows[1:]]
    assert errors == sorted(errors, reverse=True)
    for row in rows[2:]:
        assert abs(row["log_likelihood"] - exact.mean()) < 2.5 * row["monte_carlo_error"]
    assert errors[-1] < 0.01
    np.testing.assert_allclose(rows[-1]["standard_error"], exact.std(ddof=1) / 40**0.5, rtol=0.01)


def test_the_error_of_the_draws_is_that_of_repetitions(linear_gaussian):
    model, x, exact = linear_gaussian
    found = [model.log_likelihood(x[:8], 200, seed=s, with_error=True) for s in range(30)]
    estimates, errors = (np.stack(part) for part in zip(*found, strict=True))
    # 240 standardised errors: their root mean square is 1 within 0.05 or so.
    standard = (estimates - exact[:8]) / errors
    assert 0.85 < np.sqrt(np.mean(standard**2)) < 1.15


def test_with_the_exact_posterior_one_sample_is_enough(linear_gaussian):
    model, x, exact = linear_gaussian
    bias = model.encoder.z_log_var.bias
    wide = ops.convert_to_numpy(bias)
    bias.assign(wide - np.log(1.4))
    try:
        nats = model.log_likelihood(x, [1, 7], seed=0)
    finally:
        bias.assign(wide)
    assert nats.shape == (2, 40)
    # Float32: measured 3e-5.
    np.testing.assert_allclose(nats, np.stack([exact, exact]), atol=2e-4)


def test_an_estimate_depends_on_neither_batches_nor_company(linear_gaussian):
    model, x, _ = linear_gaussian
    nats, errors = model.log_likelihood(x, [3, 300], seed=5, with_error=True)
    assert nats.shape == errors.shape == (2, 40)
    assert np.isfinite(errors).all()
    alone = model.log_likelihood(x[:3], 300, batch_size=2, seed=5)
    assert alone.shape == (3,)
    np.testing.assert_allclose(alone, nats[1, :3], atol=1e-4)
    in_order = model.log_likelihood(x[:3], [300, 3], seed=5)
    np.testing.assert_allclose(in_order, nats[::-1, :3], atol=1e-4)
    assert not np.allclose(model.log_likelihood(x[:3], 3, seed=6), nats[0, :3], atol=1e-4)


def test_the_mean_of_weights_is_that_of_all_chunks():
    rng = np.random.default_rng(0)
    nats = rng.normal(scale=3, size=(50, 4)) - 2000
    means, errors = importance.log_mean([nats[:7], nats[7:8], nats[8:]], [1, 7, 9, 50])
    for k, mean, error in zip([1, 7, 9, 50], means, errors, strict=True):
        weights = np.exp(nats[:k] + 2000)
        np.testing.assert_allclose(mean, np.log(weights.mean(axis=0)) - 2000, rtol=1e-12)
        if k > 1:
            spread = weights.std(axis=0, ddof=1) / np.sqrt(k) / weights.mean(axis=0)
            np.testing.assert_allclose(error, spread, rtol=1e-6)
    assert np.isnan(errors[0]).all()


def test_bad_numbers_of_samples_are_one_line(linear_gaussian):
    model, x, _ = linear_gaussian
    for wrong in (0, [5, 0], 2.5, []):
        with pytest.raises(ValueError, match="num_samples"):
            model.log_likelihood(x[:2], wrong)
    with pytest.raises(ValueError, match="needs a model with a bound"):
        evaluation.log_likelihoods(object(), x)


@pytest.mark.slow
def test_annealing_agrees_with_the_exact_evidence(linear_gaussian):
    pytest.importorskip("tensorflow_probability", reason="pip install 'keras-vae[tfp]'")
    model, x, exact = linear_gaussian
    seen = []
    found = evaluation.annealed_log_likelihood(
        model, x[:20], 100, 8, seed=3, progress=lambda stages: (seen.append(s) or s for s in stages)
    )
    # For two kinds of data the step sizes of three runs, and three measurements.
    assert len(seen) == ((2 * 3 + 3) * annealed.STAGES if BACKEND == "tensorflow" else 0)
    # Measured with three seeds: off by at most 0.07, an error of 0.05, gaps of -0.02 to 0.11.
    # Where proposals are compared with the density of the step before, the gap is 1.1.
    assert abs(found["log_likelihood"] - exact[:20].mean()) < 0.2
    assert found["monte_carlo_error"] < 0.1
    assert abs(found["gap"]) < 0.4
    assert found["gap"] == found["simulated_upper_bound"] - found["simulated_lower_bound"]
    assert 0.5 < found["acceptance"] < 1
    assert found["examples"] == 20


def test_annealing_says_what_it_needs(linear_gaussian, monkeypatch):
    model, x, _ = linear_gaussian
    with pytest.raises(ValueError, match="needs a model with a bound"):
        evaluation.annealed_log_likelihood(object(), x)
    with pytest.raises(ValueError, match="num_steps"):
        evaluation.annealed_log_likelihood(model, x, num_steps=5)
    monkeypatch.setattr(annealed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keras-vae\[tfp\]"):
        evaluation.annealed_log_likelihood(model, x)


def test_bits_have_a_meaning_for_probabilities_only(make, images):
    x, _ = images
    binary, grey = np.round(x), x
    levels = np.round(x * 255) / 255
    bernoulli = make("VAE")
    assert evaluation.bits_per_dimension(bernoulli, binary, -30 * math.log(2)) == 1
    assert evaluation.bits_per_dimension(bernoulli, grey, -30) is None
    discretized = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, ()),
        keras_vae.networks.DenseDecoder((6, 5, 1), ()),
        likelihood="categorical",
    )
    bits = evaluation.bits_per_dimension(discretized, (levels * 255).astype("uint8"), -60)
    assert bits == pytest.approx(2 / math.log(2))
    assert evaluation.bits_per_dimension(discretized, levels.astype("float32"), -60) == bits
    assert evaluation.bits_per_dimension(discretized, grey, -60) is None
    assert evaluation.bits_per_dimension(make("VAE", likelihood="gaussian"), binary, -60) is None


# Images


@pytest.mark.parametrize("shape", [(17, 14), (8, 8), (4, 30)])
def test_ssim_is_that_of_its_paper(shape):
    rng = np.random.default_rng(0)
    first = rng.uniform(size=(3, *shape, 2))
    second = np.clip(first + 0.2 * rng.normal(size=first.shape), 0, 1)
    expected = [
        np.mean([oracles.ssim(a[..., c], b[..., c], 1.0) for c in range(2)])
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(evaluation.ssim(first, second), expected, rtol=1e-10)
    np.testing.assert_allclose(evaluation.ssim(first, first), 1, rtol=1e-10)
    # As eqs. 13 to 16 scale: images and their range alike.
    np.testing.assert_allclose(evaluation.ssim(first * 7, second * 7, 7), expected, rtol=1e-10)


def test_reconstructions_are_compared_in_batches(make, images):
    x, label = images
    model = make()
    found = evaluation.evaluate_reconstructions(model, {"x": x, "label": label}, batch_size=20)
    made = model.reconstruct({"x": x, "label": label})
    error = np.mean((made.astype("float64") - x) ** 2)
    assert found["mean_squared_error"] == pytest.approx(error, rel=1e-6)
    assert found["psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-6)
    assert found["ssim"] == pytest.approx(evaluation.ssim(x, made).mean(), rel=1e-5)
    assert psnr(0.0) is None


# Latents


def test_the_aggregated_posterior_is_a_mixture_of_all():
    rng = np.random.default_rng(0)
    z, mean = rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
    log_var = rng.normal(size=(300, 3))
    by_one = [
        oracles.gaussian_log_density(z[:, None], m[None], np.exp(v)[None])
        for m, v in zip(mean[:, None], log_var[:, None], strict=True)
    ]
    nats = np.concatenate(by_one, axis=1)
    expected = scipy.special.logsumexp(nats, axis=1) - np.log(300)
    found = latents.log_aggregated_posterior(z, mean, log_var)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.fill_diagonal(nats, -np.inf)
    expected = scipy.special.logsumexp(nats, axis=1) - np.log(299)
    found = latents.log_aggregated_posterior(z, mean, log_var, own=np.arange(300))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_information_and_marginal_kl_make_up_the_kl(linear_gaussian):
    model, _, _ = linear_gaussian
    rng = np.random.default_rng(1)
    kernel, bias = (ops.convert_to_numpy(w) for w in model.decoder.outputs_dense.weights)
    x = rng.normal(size=(4000, 2)) @ kernel + bias + SCALE * rng.normal(size=(4000, 30))
    found = evaluation.evaluate_latents(model, x.reshape(-1, 6, 5, 1).astype("float32"))
    assert found["latent_dim"] == found["active_units"] == 2
    # With exact means and 1.4 times the exact variances v, the codes are N(0, 1 + 0.4 v).
    variance = SCALE**2 / (SCALE**2 + np.sum(kernel.astype("float64") ** 2, axis=1))
    spread = 1 + 0.4 * variance
    information = np.sum(np.log(spread / (1.4 * variance))) / 2
    marginal = np.sum(spread - 1 - np.log(spread)) / 2
    kl = np.array(found["kl_per_latent"])
    exact = (1 - variance + 1.4 * variance - 1 - np.log(1.4 * variance)) / 2
    np.testing.assert_allclose(kl, exact, rtol=0.05)
    assert found["mutual_information"] == pytest.approx(information, abs=0.05)
    assert found["mutual_information"] < found["mutual_information_upper"] + 1e-9
    assert found["marginal_kl"] == pytest.approx(marginal, abs=0.03)
    assert found["most_information"] == pytest.approx(np.log(4000))
    np.testing.assert_allclose(found["code_std_per_latent"], np.sqrt(spread), rtol=0.05)
    np.testing.assert_allclose(found["code_mean_per_latent"], 0, atol=0.1)


def test_a_conditional_model_is_measured_given_its_label(make, images):
    x, label = images
    found = evaluation.evaluate_latents(make(), {"x": x, "label": label})
    assert found["most_information"] == pytest.approx(np.log(16))  # 48 images of 3 classes
    one = evaluation.evaluate_latents(make(), {"x": x[:1], "label": label[:1]})
    assert one["mutual_information"] == pytest.approx(0, abs=1e-9)
    assert one["mutual_information_upper"] is None
    condition = {"angle": keras_vae.Continuous(1)}
    inputs = {"x": x, "angle": label[:, None].astype("float32")}
    found = evaluation.evaluate_latents(make(condition=condition), inputs)
    assert found["mutual_information"] is None
    assert len(found["kl_per_latent"]) == 3
    mixture = make(prior=keras_vae.priors.GaussianMixture(2))
    found = evaluation.evaluate_latents(mixture, {"x": x, "label": label})
    assert found["kl_per_latent"] is None
    assert np.isfinite(found["marginal_kl"])


# Scorecard


@pytest.fixture(scope="module")
def shapes():
    """Images of three classes that any classifier tells apart."""
    rng = np.random.default_rng(0)

    def make(count):
        y = np.arange(count, dtype="int32") % 3
        x = rng.uniform(size=(count, 6, 6, 1)).astype("float32") * 0.3
        x[np.arange(count), 2 * y] += 0.6
        return x, y

    return Dataset("shapes", *make(240), *make(60), ("one", "two", "three"))


class Perfect(Samples):
    """A conditional model whose samples are the real images of the label, or of none."""

    def __init__(self, dataset, listens=True):
        self.condition = {"label": keras_vae.Categorical(3)}
        self.prior = None
        self.dataset = dataset
        self.listens = listens

    def sample(self, conditions, seed):
        rng = np.random.default_rng(seed)
        x, y = self.dataset.x_train, self.dataset.y_train
        rows = [rng.choice(np.flatnonzero(y == c)) for c in conditions["label"]]
        return x[rows] if self.listens else x[rng.integers(len(x), size=len(rows))]


class OfGrids(Perfect, DiscreteCodes):
    """The same of codes that are grids."""


def test_the_scorecard_tells_a_model_that_listens_from_one_that_does_not(shapes, monkeypatch):
    judge = evaluation.train_classifier(shapes, epochs=10)
    found = evaluation.scorecard(Perfect(shapes), shapes, per_class=60, classifier=judge)
    for name in ("sample_accuracy", "real_accuracy", "synthetic_training_accuracy"):
        assert found[name] > 0.95
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high
    assert found["wrong_label_accuracy"] < 0.05
    assert found["diversity"] == pytest.approx(1, abs=0.05)
    assert found["close_samples"] == 1  # it gives training images
    assert found["nearest_distance"] == 0 < found["nearest_distance_of_held_out"]
    assert set(found["diversity_per_class"]) == {"one", "two", "three"}
    floor = found["classifier_frechet_distance_of_real"]
    assert found["classifier_frechet_distance"] < 3 * floor + 1e-6
    assert found["left_out"] == {"label_leakage": "a Perfect has no encoder"}
    assert found["samples_per_class"] == 60

    monkeypatch.setattr(SCORECARD, "train_classifier", lambda made, **_: judge)
    deaf = Perfect(shapes, listens=False)
    found = evaluation.scorecard(deaf, shapes, per_class=60, classifier=judge)
    assert found["sample_accuracy"] == pytest.approx(1 / 3, abs=0.1)
    assert found["wrong_label_accuracy"] == pytest.approx(found["sample_accuracy"], abs=0.1)

    # Drawing a grid code by code takes long.
    grids = OfGrids(shapes)
    assert evaluation.scorecard(grids, shapes, classifier=judge)["samples_per_class"] == 100


def test_samples_are_compared_in_the_shares_of_the_classes(shapes, monkeypatch):
    of_class = (np.flatnonzero(shapes.y_test == index) for index in range(3))
    rows = np.concatenate([each[:n] for each, n in zip(of_class, (20, 6, 2), strict=True)])
    few = dataclasses.replace(shapes, x_test=shapes.x_test[rows], y_test=shapes.y_test[rows])
    labels = np.repeat(np.arange(3), 50)
    taken = SCORECARD.as_tested(labels, few)
    np.testing.assert_array_equal(np.bincount(labels[taken]), [50, 15, 5])
    assert len(set(taken)) == 70
    judge = evaluation.train_classifier(shapes, epochs=10)
    monkeypatch.setattr(SCORECARD, "train_classifier", lambda made, **_: judge)
    distance = "classifier_frechet_distance"
    found = evaluation.scorecard(Perfect(shapes), few, per_class=50, classifier=judge)
    monkeypatch.setattr(SCORECARD, "as_tested", lambda labels, _: np.arange(len(labels)))
    equal = evaluation.scorecard(Perfect(shapes), few, per_class=50, classifier=judge)
    assert found[distance] < equal[distance] / 3


def test_the_label_is_read_from_codes_that_hold_it(shapes, monkeypatch):
    encoder = keras_vae.networks.DenseEncoder(2, ())
    decoder = keras_vae.networks.DenseDecoder((6, 6, 1), ())
    model = keras_vae.ConditionalVAE(encoder, decoder, {"label": keras_vae.Categorical(3)})
    model.build()
    judge = evaluation.train_classifier(shapes, epochs=1)
    monkeypatch.setattr(SCORECARD, "train_classifier", lambda made, **_: judge)
    kernel = np.zeros((39, 2))
    for head in (encoder.z_mean, encoder.z_log_var):
        head.kernel.assign(kernel)
    found = evaluation.scorecard(model, shapes, per_class=2, classifier=judge)
    assert found["label_leakage_by_chance"] == pytest.approx(1 / 3)
    assert found["label_leakage"] < 0.6
    kernel[-3:] = [[9, 0], [0, 9], [-9, -9]]
    encoder.z_mean.kernel.assign(kernel)
    found = evaluation.scorecard(model, shapes, per_class=2, classifier=judge)
    assert found["label_leakage"] > 0.95


def test_a_scorecard_needs_classes_to_ask_for(shapes, make):
    with pytest.raises(ValueError, match="one label"):
        evaluation.scorecard(make("VAE"), shapes)
    with pytest.raises(ValueError, match="one label"):
        evaluation.scorecard(
            make(condition={"angle": keras_vae.Continuous(1)}), shapes, per_class=2
        )
    one = dataclasses.replace(shapes, class_names=("one",))
    with pytest.raises(ValueError, match="two classes"):
        evaluation.scorecard(Perfect(one), one)
    assert "two classes" in report.judge(Perfect(one), one)["left_out"]["scorecard"]


def test_wilsons_interval_is_scipys():
    for right, count in ((0, 5), (5, 5), (977, 1000), (1, 2)):
        expected = scipy.stats.binomtest(right, count).proportion_ci(0.95, "wilson")
        np.testing.assert_allclose(
            classifier.wilson_interval(right, count), tuple(expected), atol=1e-6
        )


def test_the_frechet_distance_is_that_of_normal_distributions():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    second = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4)) + 1
    root = scipy.linalg.sqrtm(np.cov(first.T) @ np.cov(second.T)).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2)
    expected += np.trace(np.cov(first.T) + np.cov(second.T) - 2 * root)
    assert classifier.frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)
    assert classifier.frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


def test_the_mean_distance_is_that_of_all_pairs():
    points = np.random.default_rng(0).normal(size=(20, 3, 2))
    expected = scipy.spatial.distance.pdist(points.reshape(20, -1)).mean()
    assert classifier.mean_distance(points) == pytest.approx(expected, rel=1e-10)
