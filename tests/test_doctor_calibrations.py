"""What the doctor says of calibrations: anomalies among their examples, and another unit."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_vae
from keras_vae import data, doctor
from keras_vae.calibration import Calibration
from keras_vae.doctor import calibrations
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")


def reach_of(scores, **options):
    [group] = Calibration.fit(scores, **options).groups
    return calibrations.tail_of(group)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.standard_normal(4000),
        lambda rng: rng.gamma(3, 2, 4000),
        lambda rng: np.exp(rng.standard_normal(4000)),
        lambda rng: rng.standard_normal(100),
        lambda rng: np.repeat([1.0, 2.0], 100),
    ],
)
def test_scores_of_many_kinds_are_no_contamination(draw):
    tail = reach_of(draw(np.random.default_rng(0)))
    assert doctor.DIAGNOSES["contaminated_calibration"](**tail) is None


@pytest.mark.parametrize("share", [0.015, 0.05, 0.15])
def test_anomalies_among_the_calibration_are_counted(share):
    scores = np.random.default_rng(0).gamma(3, 2, 2000)
    scores[: int(share * 2000)] += 500
    finding = doctor.DIAGNOSES["contaminated_calibration"](**reach_of(scores))
    assert finding.number > 50
    told = float(finding.text.partition("about ")[2].partition(" %")[0]) / 100
    assert share <= told < share + 0.005
    mended = float(finding.change.rpartition("=")[2].rstrip("."))
    assert share < mended < share + 0.02
    # What it says to do mends it.
    tail = reach_of(scores, contamination=mended)
    assert doctor.DIAGNOSES["contaminated_calibration"](**tail) is None


def test_reach_is_that_of_the_quantiles():
    scores = np.random.default_rng(1).gamma(3, 2, 5000)
    high, quarter, median = np.quantile(scores, [0.99, 0.75, 0.5])
    expected = (high - median) / (quarter - median)
    assert reach_of(scores)["reach"] == pytest.approx(expected, rel=0.05)


@pytest.fixture(scope="module")
def machine():
    """A calibrated model of a series of two channels with modes, not trained, and its series."""
    time, rng = np.arange(3000), np.random.default_rng(0)
    columns = {
        "flow": 20 + 3 * np.sin(time / 5) + rng.normal(0, 0.1, 3000),
        "pressure": 2 + 0.1 * np.cos(time / 9) + rng.normal(0, 0.01, 3000),
        "mode": np.array(["idle", "busy"], object)[(time // 300) % 2],
    }
    series = data.series(columns, 8, 2, conditions="mode")
    keras.utils.set_random_seed(0)
    model = keras_vae.series_vae(series.schema, 2, (4,), 3, seed=0)
    model.build()
    keras_vae.AnomalyDetector(model).calibrate(series.calibration)
    return model, series


def found(model, inputs, seen=False):
    numbers = calibrations.of_calibration(model, inputs, inputs["x"], seen)
    return doctor.diagnose(numbers)


@pytest.mark.parametrize(
    ("channel", "factor", "words"),
    [(1, 1000, "'pressure' is 1,000 times"), (0, 1 / 1000, "'flow' is 1/1,000 of")],
)
def test_a_channel_in_another_unit_is_named(machine, channel, factor, words):
    model, series = machine
    windows, mode = series.windows("test").copy(), series.labels("test")
    windows[..., channel] *= factor
    [finding] = found(model, series.schema.encode(windows, mode))
    assert (finding.name, finding.number) == ("other_units", 1.0)
    assert words in finding.text
    assert words.split()[0] in finding.change


def test_other_examples_of_the_same_size_are_no_other_unit(machine):
    model, series = machine
    assert found(model, series.test) == []
    rng = np.random.default_rng(0)
    noise = {**series.test, "x": 6 * rng.standard_normal(series.test["x"].shape).astype("float32")}
    [finding] = found(model, noise)
    assert finding.name == "other_units"
    assert "trained" not in finding.text
    assert finding.change == "Calibrate by examples such as these, if they are normal."
    # Of training data nothing is asked but the calibration.
    assert found(model, noise, seen=True) == []


def test_examine_asks_of_a_calibrated_model(machine):
    model, series = machine
    numbers, _ = doctor.measure(model, series.train, series.test, scorecard=False)
    assert numbers["other_units"]["at_least"] < 0.1
    assert numbers["contaminated_calibration"]["reach"] < 10
    calibrated, model.scoring = model.scoring, dataclasses.replace(model.scoring, calibration=None)
    numbers, _ = doctor.measure(model, series.train, series.test, scorecard=False)
    model.scoring = calibrated
    assert not {"other_units", "contaminated_calibration"} & set(numbers)
