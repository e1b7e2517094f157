"""Detectors of anomalies: scores, what adds to them, and p-values that hold."""

import json
import math

import keras
import numpy as np
import pytest

import keras_vae
from keras_vae import networks
from keras_vae.calibration import MOST_KNOTS, Calibration, least_examples
from keras_vae.models.scoring import SCORES, fixed_noise

SHAPE = (6, 3)


def model_of(kind="vae", **options):
    keras.utils.set_random_seed(1)
    encoder = networks.DenseEncoder(2, (8,))
    decoder = networks.DenseDecoder(SHAPE, (8,))
    options = {"likelihood": "gaussian", "seed": 0, **options}
    if kind == "autoencoder":
        model = keras_vae.Autoencoder(encoder, decoder, **options)
    elif kind == "conditional":
        condition = {"mode": keras_vae.Categorical(names=["idle", "busy"])}
        model = keras_vae.ConditionalVAE(encoder, decoder, condition, **options)
    else:
        model = keras_vae.VAE(encoder, decoder, **options)
    model.build((None, *SHAPE))
    return model


def examples(rows, seed=0, kind="vae"):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, *SHAPE)).astype("float32")
    if kind == "conditional":
        mode = rng.integers(0, 2, rows).astype("int32")
        return {"x": x * (1 + mode[:, None, None]), "mode": mode}
    return x


def normal_log_density(x, mean, std):
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


# Scores


@pytest.mark.parametrize("score", SCORES)
def test_scores_and_contributions_are_those_of_the_formula(score):
    model, x = model_of(likelihood=keras_vae.likelihoods.Gaussian(0.5)), examples(5)
    detector = keras_vae.AnomalyDetector(model, score, num_samples=7)
    mean, log_var = (part.astype("f8") for part in model.encode(x))
    kl = 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=1)

    def terms(z):
        made = model.decode(z.astype("float32")).astype("f8")
        return -normal_log_density(x.astype("f8"), made, 0.5).reshape(5, -1)

    if score == "negative_log_likelihood":
        noise = fixed_noise(7, 2).astype("f8")
        codes = [mean + np.exp(log_var / 2) * draw for draw in noise]
        by_value = np.stack([terms(z) for z in codes])
        log_p = np.stack([normal_log_density(z, 0, 1).sum(axis=1) for z in codes])
        log_q = np.stack(
            [normal_log_density(d, 0, 1).sum() - log_var.sum(axis=1) / 2 for d in noise]
        )
        weights = np.exp(log_p - by_value.sum(axis=2) - log_q)
        expected = -np.log(weights.mean(axis=0))
        weights /= weights.sum(axis=0)
        values = (weights[..., None] * by_value).sum(axis=0)
    else:
        values = terms(mean)
        expected = values.sum(axis=1) + (kl if score == "negative_elbo" else 0)
    values += ((expected - values.sum(axis=1)) / values.shape[1])[:, None]
    np.testing.assert_allclose(detector.score(x), expected, rtol=1e-5)
    contributions = detector.contributions(x)
    np.testing.assert_allclose(contributions.reshape(5, -1), values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(contributions.sum(axis=(1, 2)), detector.score(x), rtol=1e-5)


def test_the_largest_contribution_is_where_the_fault_is():
    model, x = model_of(), np.zeros((4, *SHAPE), "float32")
    x[2, 3, 1] = 9.0
    found = keras_vae.AnomalyDetector(model).contributions(x)
    assert np.unravel_index(found[2].argmax(), SHAPE) == (3, 1)


def test_an_autoencoder_scores_by_its_reconstruction():
    model, x = model_of("autoencoder"), examples(4)
    detector = keras_vae.AnomalyDetector(model)
    expected = -normal_log_density(x.astype("f8"), model.reconstruct(x).astype("f8"), 1.0)
    np.testing.assert_allclose(detector.score(x), expected.sum(axis=(1, 2)), rtol=1e-5)


def test_a_background_is_subtracted():
    model, other, x = model_of(), model_of(likelihood="laplace"), examples(300)
    plain, background = (keras_vae.AnomalyDetector(m).score(x) for m in (model, other))
    detector = keras_vae.AnomalyDetector(model, background=other).calibrate(x)
    np.testing.assert_allclose(detector.score(x), plain - background, rtol=1e-5, atol=1e-4)
    assert model.scoring.calibration is None
    assert detector.calibration is not None
    assert detector.is_anomaly(x).mean() <= 0.01
    for refused in (detector.exported, lambda: detector.contributions(x)):
        with pytest.raises(ValueError, match="background"):
            refused()


# p-values


def rank_p_values(calibration_scores, scores):
    """The conformal p-values by their definition, float64."""
    counts = (calibration_scores[None] >= scores[:, None]).sum(axis=1)
    return (1 + counts) / (len(calibration_scores) + 1)


@pytest.mark.parametrize("count", [100, 1000, 20_000])
def test_p_values_are_near_those_of_the_definition(count):
    rng = np.random.default_rng(count)
    held_out, new = rng.gamma(3, 2, count), rng.gamma(3, 2, 5000)
    calibration = Calibration.fit(held_out)
    found, expected = calibration.p_values(new), rank_p_values(held_out, new)
    # A line between two scores is up to a step above. Measured besides: 0.008, 0.006, 0.0035.
    assert (found - expected).min() >= -0.01
    assert (found - expected).max() <= 1 / count + 0.01
    tail = expected <= 0.05
    assert np.abs(found - expected)[tail].max() <= 1 / count + 0.001
    assert 1 / (count + 1) - 1e-6 <= found.min() <= found.max() <= 1 + 1e-6
    higher = calibration.p_values(np.array([held_out.max() + 1e6]))
    np.testing.assert_allclose(higher, 1 / (count + 1), rtol=1e-4)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_false_alarms_are_as_many_as_asked(rate):
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(200):
        calibration = Calibration.fit(rng.standard_normal(1000), rate)
        [threshold] = calibration.thresholds()
        alarms = calibration.p_values(new := rng.standard_normal(1000)) <= rate
        np.testing.assert_array_equal(alarms, new >= threshold)
        shares.append(alarms.mean())
    # The mean of 200 splits is within 0.0004, 0.0009 and 0.0018 of its expectation, one sigma.
    assert 0.85 * rate <= np.mean(shares) <= 1.02 * rate


def test_p_values_of_normal_examples_are_uniform():
    rng = np.random.default_rng(6)
    calibration = Calibration.fit(rng.standard_normal(20_000))
    p = np.sort(calibration.p_values(rng.standard_normal(10_000)))
    # 0.0136 is what two samples of this size differ by at the 5 % level; measured 0.008.
    assert np.abs(p - np.arange(1, 10_001) / 10_000).max() < 0.0136


def test_equal_scores_are_no_alarm():
    calibration = Calibration.fit(np.repeat([1.0, 2.0], 100))
    np.testing.assert_allclose(
        calibration.p_values(np.array([1.0, 2.0])), [1.0, 101 / 201], atol=1e-6
    )


def test_tensors_give_the_p_values_of_arrays():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 3, 3000)
    calibration = Calibration.fit(
        rng.standard_normal(3000) * 5 + labels * 100, 0.01, 0.0, labels, "mode", ["a", "b", "c"]
    )
    assert len(calibration.groups) == 4
    scores, at = rng.standard_normal(500) * 7 + 100, rng.integers(0, 4, 500)
    expected = np.zeros(500)
    for k in range(4):  # of unknown, those of all
        group = calibration.groups[k + 1 if k < 3 else 0]
        own = at == k
        expected[own] = np.interp(scores[own], group["scores"], group["p_values"])
    np.testing.assert_allclose(calibration.p_values(scores, at), expected, atol=2e-6)
    tensors = (keras.ops.convert_to_tensor(a) for a in (scores.astype("f4"), at.astype("i4")))
    found = keras.ops.convert_to_numpy(calibration.p_values(*tensors, keras.ops))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_contamination_leaves_the_highest_scores_out():
    rng = np.random.default_rng(8)
    scores = np.concatenate([rng.standard_normal(950), np.full(50, 40.0)])
    spoilt, mended = Calibration.fit(scores), Calibration.fit(scores, contamination=0.05)
    assert spoilt.thresholds()[0] >= 39
    assert mended.thresholds()[0] < 4
    assert mended.groups[0]["count"] == 950


def test_what_a_device_must_know_takes_4_kb():
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 12, 60_000)
    names = [f"class {k}" for k in range(12)]
    for given in ((), (labels, "label", names)):
        made = Calibration.fit(rng.standard_normal(60_000) * 1e3 - 5e4, 0.01, 0.0, *given)
        assert sum(len(group["scores"]) - 1 for group in made.groups) <= MOST_KNOTS
        assert len(json.dumps(made.manifest(), separators=(",", ":"))) <= 4096
        again = Calibration.from_config(json.loads(json.dumps(made.get_config())))
        assert again.get_config() == made.get_config()


@pytest.mark.parametrize(
    ("scores", "options", "match"),
    [
        (np.zeros(99), {}, r"needs at least 100 held-out examples\. Received: 99\."),
        (np.arange(1000.0), {"false_alarms": 0.0001}, "needs at least 10000"),
        (np.arange(100.0), {"contamination": 0.1}, "besides the contamination. Received: 90"),
        (np.arange(100.0), {"false_alarms": 0}, "above 0 and below 1"),
        (np.arange(100.0), {"contamination": 0.5}, "from 0 to below 0.5"),
        (np.full(100, np.nan), {}, "must be finite. Received: 100"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, options, match):
    with pytest.raises(ValueError, match=match):
        Calibration.fit(scores, **options)


def test_a_damaged_calibration_is_refused():
    config = Calibration.fit(np.arange(100.0)).get_config()
    [group] = config["groups"]
    for broken in (
        {"groups": []},
        {"groups": [{**group, "scores": group["scores"][::-1]}]},
        {"groups": [{**group, "p_values": group["p_values"][1:]}]},
        {"condition": "label", "group_of_class": [0, 7]},
    ):
        with pytest.raises(ValueError, match="A calibration must"):
            Calibration.from_config({**config, **broken})


def test_how_many_examples_a_rate_takes():
    assert [least_examples(rate) for rate in (0.5, 0.1, 0.05, 0.01, 0.03)] == [2, 10, 20, 100, 34]


# Detectors


def test_each_class_has_p_values_of_its_own():
    model = model_of("conditional")
    detector = keras_vae.AnomalyDetector(model).calibrate(examples(2000, 1, "conditional"))
    assert detector.calibration.own_groups() == [True, True]
    found = examples(4000, 2, "conditional")
    alarms = detector.is_anomaly(found)
    for mode in (0, 1):
        assert 0.003 <= alarms[found["mode"] == mode].mean() <= 0.02


def test_classes_with_few_examples_take_those_of_all_and_are_named(capsys):
    model, given = model_of("conditional"), examples(400, 1, "conditional")
    given["mode"][:] = np.arange(400) < 50
    detector = keras_vae.AnomalyDetector(model).calibrate(given)
    assert detector.calibration.own_groups() == [True, False]
    said = capsys.readouterr().out
    assert said.startswith("1 of 2 classes of `mode` have too few")
    assert said.endswith("busy\n")


def test_a_detector_is_saved_with_its_model(tmp_path):
    model, x = model_of(), examples(200)
    detector = keras_vae.AnomalyDetector(model, "negative_log_likelihood", 5).calibrate(x)
    detector.save(tmp_path / "model.keras")
    again = keras_vae.AnomalyDetector(keras_vae.load_model(tmp_path / "model.keras"))
    assert again.model.scoring.score == "negative_log_likelihood"
    assert again.model.scoring.num_samples == 5
    np.testing.assert_allclose(again.p_value(x), detector.p_value(x), atol=1e-6)
    assert again.calibration.date == detector.calibration.date


def test_what_changes_the_model_or_the_score_drops_the_p_values():
    model, x = model_of(), examples(200)
    model.compile("adam")
    keras_vae.AnomalyDetector(model).calibrate(x)
    with pytest.warns(UserWarning, match="The model is changed"):
        model.fit(x, verbose=0)
    assert model.scoring.calibration is None
    detector = keras_vae.AnomalyDetector(model).calibrate(examples(200, 4))
    with pytest.warns(UserWarning, match="The score is changed"):
        keras_vae.AnomalyDetector(model, "reconstruction")
    with pytest.raises(ValueError, match="need a calibrated detector"):
        detector.p_value(x)


def test_training_data_are_no_held_out_examples(tmp_path, recwarn):
    model, x = model_of(), examples(500)
    model.compile("adam")
    model.fit(x, verbose=0)
    keras_vae.AnomalyDetector(model).calibrate(examples(200, 5))
    assert not [str(w.message) for w in recwarn.list if "calibrate" in str(w.message)]
    model.save(tmp_path / "model.keras")
    for each in (model, keras_vae.load_model(tmp_path / "model.keras")):
        with pytest.warns(UserWarning, match="about 100% of them are what the model was trained"):
            keras_vae.AnomalyDetector(each).calibrate(x[::2])


def test_what_does_not_score_is_refused():
    with pytest.raises(ValueError, match="which has none"):
        keras_vae.AnomalyDetector(keras.Sequential())
    with pytest.raises(ValueError, match="`score` must be one of"):
        keras_vae.AnomalyDetector(model_of(), "likelihood")
    with pytest.raises(ValueError, match="that is not built"):
        keras_vae.AnomalyDetector(
            keras_vae.VAE(networks.DenseEncoder(2, (8,)), keras.Sequential([keras.layers.Dense(3)]))
        )
