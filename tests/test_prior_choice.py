"""The prior that is kept: the best one by what it is measured with."""

import numpy as np
import pytest

import keras_vae
from keras_vae.data import Dataset
from keras_vae.evaluation import choose_prior, prior_choice
from keras_vae.priors import fitted
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

RNG = np.random.default_rng(0)


@pytest.fixture
def dataset(images):
    x, y = images
    return Dataset("small", x[:36], y[:36], x[36:], y[36:], ("a", "b", "c"))


def test_the_nearest_prior_of_those_with_the_right_classes_is_kept(make, dataset, monkeypatch):
    monkeypatch.setattr(prior_choice, "SAMPLES", 60)
    model, said = make(), []
    trained = model.prior
    inputs = {"x": dataset.x_train, "label": dataset.y_train}
    model.fit(inputs, epochs=30, verbose=0)
    made = model.prior_candidates(inputs, seed=0)
    choice = choose_prior(model, dataset, say=said.append)
    measured = choice["priors"]
    assert set(measured) == {"as trained", *made}
    assert {"gaussian", "mixture of 3", "mixture of 10", "kernel density"} == set(made)
    best = max(figures["sample_accuracy"] for figures in measured.values())
    good = {n: f for n, f in measured.items() if f["sample_accuracy"] >= 0.9 * best}
    nearest = min(figures["classifier_frechet_distance"] for figures in good.values())
    distance = measured[choice["kept"]]["classifier_frechet_distance"]
    assert distance <= 1.05 * nearest
    assert len(said) == 5
    [line] = [line for line in said if line.endswith("<- kept")]
    assert choice["kept"] in line
    assert model.prior is trained or isinstance(model.prior, keras_vae.priors.FittedMixture)
    if model.prior is not trained:
        kept = made[choice["kept"]]
        np.testing.assert_array_equal(model.prior.means, kept.means)


def test_a_model_that_was_best_as_trained_is_left_alone(make, dataset, monkeypatch):
    monkeypatch.setattr(prior_choice, "SAMPLES", 60)
    model = make(free_bits=0.1)
    trained = model.prior
    model.fit({"x": dataset.x_train, "label": dataset.y_train}, epochs=1, verbose=0)
    judge = prior_choice.frechet_distance
    distances = iter([0.0, *[1.0] * 4])
    monkeypatch.setattr(
        prior_choice, "frechet_distance", lambda a, b: judge(a, b) * 0 + next(distances)
    )
    monkeypatch.setattr(prior_choice, "ACCURACY_PART", 0.0)
    assert choose_prior(model, dataset)["kept"] == "as trained"
    assert (model.prior, model.free_bits) == (trained, 0.1)


def test_without_labels_the_likeliest_codes_decide(make, dataset):
    model = make("VAE")
    model.fit(dataset.x_train, epochs=30, verbose=0)
    choice = choose_prior(model, dataset)
    codes = model.draw_codes(dataset.x_test, 0)
    expected = np.mean(-0.5 * np.sum(codes.astype("f8") ** 2 + np.log(2 * np.pi), axis=1))
    measured = {n: figures["held_out_log_prob"] for n, figures in choice["priors"].items()}
    np.testing.assert_allclose(measured["as trained"], expected, rtol=1e-5)
    assert choice["kept"] == max(measured, key=measured.get)


@pytest.mark.parametrize(("spread", "kept"), [(0.0, "gaussian"), (6.0, "mixture of 3")])
def test_auto_keeps_what_held_out_codes_are_likeliest_under(
    make, images, monkeypatch, spread, kept
):
    x = np.concatenate([images[0]] * 6)
    codes = RNG.normal(size=(len(x), 3)) + spread * (np.arange(len(x)) % 3)[:, None]
    model = make("VAE")
    model.build((None, 6, 5, 1))
    monkeypatch.setattr(type(model), "draw_codes", lambda *_, **__: codes.astype("float32"))
    prior = model.fit_prior(x, "auto", seed=0)
    assert prior.num_components == {"gaussian": 1, "mixture of 3": 3}[kept]
    assert prior is model.prior
    with pytest.raises(ValueError, match="`num_components` goes with one kind"):
        model.fit_prior(x, "auto", num_components=2)


def test_the_mean_log_density_of_codes_is_that_of_their_class():
    codes = RNG.normal(size=(40, 2)).astype("float32")
    labels = np.arange(40) % 2
    classes = [("label", 0, 2)]
    prior = fitted.fit(codes, labels, "gaussian", None, classes, ("a", "b"), RNG)
    expected = []
    for z, label in zip(codes.astype("f8"), labels, strict=True):
        mean, scale = (array[label, 0].astype("f8") for array in (prior.means, prior.scales))
        expected.append(-0.5 * np.sum(((z - mean) / scale) ** 2 + np.log(2 * np.pi * scale**2)))
    made = fitted.mean_log_prob(prior, codes, labels)
    np.testing.assert_allclose(made, np.mean(expected), rtol=1e-5)


def test_kinds_that_need_more_codes_are_left_out():
    codes = RNG.normal(size=(7, 2)).astype("float32")
    assert set(fitted.candidates(codes, None, rng=RNG)) == {
        *("gaussian", "mixture of 3", "kernel density")
    }
    with pytest.raises(ValueError, match="needs at least 2 examples"):
        fitted.candidates(codes[:1], None, rng=RNG)


def test_a_wide_mixture_is_tried_narrower_and_kept_so_where_both_are_as_near(
    make, dataset, monkeypatch
):
    model, given = make(), {"x": dataset.x_train, "label": dataset.y_train}
    model.fit(given, epochs=1, verbose=0)
    wide = model.prior_candidates(given, seed=0)["mixture of 3"]
    candidates = {"gaussian": wide, "mixture of 30": wide}
    monkeypatch.setattr(type(model), "prior_candidates", lambda *_, **__: candidates)
    monkeypatch.setattr(prior_choice, "ACCURACY_PART", 0.0)
    monkeypatch.setattr(prior_choice, "SAMPLES", 60)
    distances = iter([3.0, 2.0, 1.04, 1.0])
    monkeypatch.setattr(prior_choice, "frechet_distance", lambda a, b: next(distances))
    assert choose_prior(model, dataset)["kept"] == "mixture of 30, x 0.9"
    np.testing.assert_array_equal(model.prior.scales, np.float32(0.9) * wide.scales)
    np.testing.assert_array_equal(model.prior.means, wide.means)
    np.testing.assert_array_equal(model.prior.thresholds, wide.thresholds)
    draws = [
        prior.draw(np.array([5], "int32"), np.arange(4, dtype="int32"), t, 3, np.eye(4)[:, :3], np)
        for prior, t in ((wide, np.float32(0.9)), (model.prior, np.float32(1.0)))
    ]
    np.testing.assert_allclose(*draws, rtol=1e-5, atol=1e-6)
