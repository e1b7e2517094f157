"""Judges of conditions: a model that obeys, and one that does not."""

import numpy as np
import pytest

import keras_vae
from keras_vae import doctor
from keras_vae.commands.evaluate import of_condition
from keras_vae.data.datasets import Condition, Dataset
from keras_vae.evaluation import obedience
from keras_vae.evaluation.leakage import leakage
from keras_vae.evaluation.obedience import variance_explained

CONDITION = {
    "label": keras_vae.Categorical(names=["left", "right"]),
    "light": keras_vae.Continuous(1, low=10.0, high=90.0, unit="lux"),
    "tags": keras_vae.MultiLabel(["top", "bottom"]),
}


def pictures(label, light, tags, rng):
    """12x12 images: a half of some brightness, with a line at the top or the bottom."""
    x = 0.05 * rng.random((len(label), 12, 12, 1))
    for row, (side, level, (top, bottom)) in enumerate(zip(label, light[:, 0], tags, strict=True)):
        x[row, 2:10, 6 * side : 6 * side + 6] += 0.9 * level / 100
        x[row, :2] += 0.9 * top
        x[row, 10:] += 0.9 * bottom
    return np.clip(x, 0, 1).astype("float32")


def values(count, rng):
    return {
        "label": rng.integers(0, 2, count).astype("int32"),
        "light": rng.uniform(10, 90, (count, 1)).astype("float32"),
        "tags": rng.integers(0, 2, (count, 2)).astype("int32"),
    }


class Painter:
    """In a model's place: samples that obey, or what somebody else asked for."""

    condition = CONDITION

    def __init__(self, obeys):
        self.obeys = obeys

    def sample(self, conditions, seed):
        rng = np.random.default_rng(seed)
        given = conditions if self.obeys else values(len(conditions["label"]), rng)
        return pictures(**given, rng=rng)


def make_dataset():
    rng = np.random.default_rng(1)
    parts = [values(count, rng) for count in (1500, 300)]
    train, test = (pictures(**part, rng=rng) for part in parts)
    conditions = {
        "light": Condition(*(part["light"] for part in parts)),
        "tags": Condition(*(part["tags"] for part in parts), names=("top", "bottom")),
    }
    labels = [part["label"] for part in parts]
    names = ("left", "right")
    return Dataset("set", train, labels[0], test, labels[1], names, conditions=conditions)


@pytest.mark.slow
@pytest.mark.parametrize("obeys", [True, False])
def test_judges_tell_who_obeys(obeys):
    found = obedience(Painter(obeys), make_dataset(), samples=400)
    assert list(found) == ["label", "light", "tags"]
    assert found["label"]["real_accuracy"] > 0.98
    assert found["light"]["real_error"] < 6
    assert min(found["tags"]["real_precision"].values()) > 0.95
    assert len(found["light"]["curve"]) == 10
    words = [of_condition(told, CONDITION[name]) for name, told in found.items()]
    assert "lux from what was asked" in words[1]
    finding = doctor.missed_conditions(found)
    assert (finding is None) == obeys
    if obeys:
        assert found["label"]["accuracy"] > 0.98
        assert found["light"]["error"] < 6
        assert found["light"]["correlation"] > 0.98
        assert min(found["tags"]["precision"].values()) > 0.95
        assert min(told["variance_explained"] for told in found.values()) > 0.02
    else:
        assert 0.3 < found["label"]["accuracy"] < 0.7
        assert abs(found["light"]["correlation"]) < 0.2
        assert max(found["tags"]["precision"].values()) < 0.7
        assert max(told["variance_explained"] for told in found.values()) < 0.06


def test_explained_variance_is_that_between_groups():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 20_000)
    values = 3.0 * np.array([0, 1, 2, 3])[groups] + rng.standard_normal(20_000)
    expected = 9 * 1.25 / (9 * 1.25 + 1)
    assert variance_explained(values[:, None], groups) == pytest.approx(expected, rel=0.01)


def test_what_codes_hold_of_a_condition_is_leakage():
    rng = np.random.default_rng(2)
    dataset = make_dataset()
    encoder, decoder = (
        keras_vae.networks.DenseEncoder(3, ()),
        keras_vae.networks.DenseDecoder((12, 12, 1), ()),
    )
    model = keras_vae.ConditionalVAE(encoder, decoder, CONDITION)
    model.build()
    kernel = np.zeros((144 + 5, 3))
    encoder.z_log_var.kernel.assign(kernel)
    encoder.z_log_var.bias.assign(np.full(3, -9.0))
    encoder.z_mean.bias.assign(np.zeros(3))

    def read():
        return {name: leakage(model, dataset, name, seed=0) for name in CONDITION}

    encoder.z_mean.kernel.assign(kernel)  # codes hold nothing
    for told in read().values():
        assert abs(told["leakage"] - told["leakage_by_chance"]) < 0.1
    kernel[144:] = rng.normal(size=(5, 3))
    kernel[144 + 2] = [0.0, 0.0, 4.0]  # the number; of the others all in few dimensions
    encoder.z_mean.kernel.assign(kernel)
    found = read()
    assert found["label"]["leakage"] > 0.9
    assert found["light"]["leakage"] > 0.5
    assert found["tags"]["leakage"] > found["tags"]["leakage_by_chance"] + 0.2
