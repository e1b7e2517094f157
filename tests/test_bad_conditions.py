"""What no condition can be: one line each that says what must hold and what to do."""

import numpy as np
import pytest

from keras_vae import Categorical, Continuous, Hierarchical, MultiLabel, Ordinal
from tests.conftest import make_model, ordinary_on

pytestmark = ordinary_on("torch")

KINDS = {
    "label": Categorical(names=["cat", "dog"]),
    "grade": Ordinal(["low", "high"]),
    "place": Hierarchical(["sea/reef", "sea/open", "land"]),
    "tags": MultiLabel(["red", "round"]),
    "angle": Continuous(1, low=-60, high=60, unit="degrees"),
}
FINE = {"label": "cat", "grade": "low", "place": "sea", "tags": ["red"], "angle": 3.0}


def one_line(error):
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def model():
    return make_model(condition=KINDS, compile_model=False)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("label", "cow", "`label` must be a class. Received: 'cow'. The classes are: cat, dog"),
        ("label", 3, "`label` must be from 0 to 1, or 2 for unknown. Received: 3"),
        ("grade", "middle", "The classes are: low, high"),
        ("place", "reef", "Received: 'reef'. The classes are: sea/reef, sea/open, land, sea"),
        ("tags", ["blue"], "`tags` must be tags that the model knows. Received: 'blue'"),
        ("angle", "steep", "`angle` must be numbers"),
        ("angle", np.inf, "`angle` must be finite"),
        ("angle", np.nan, "Received: NaN at position 0. If NaN is unknown, train with Continuous("),
    ],
)
def test_a_value_that_training_did_not_know(model, name, value, words):
    with pytest.raises(ValueError) as error:
        model.sample({**FINE, name: value}, seed=0)
    one_line(error)
    assert words in str(error.value)


def test_a_number_that_training_did_not_know(model):
    model.untracked.warned_of.clear()
    with pytest.warns(UserWarning, match="`angle` is 90, outside of .* -60 to 60 degrees"):
        model.sample({**FINE, "angle": 90.0}, seed=0)


def test_labels_of_which_a_class_has_none():
    model = make_model(condition={"label": Categorical(4)})
    x = np.random.default_rng(0).uniform(size=(48, 6, 5, 1)).astype("float32")
    label = np.where(np.arange(48) < 12, np.arange(48) % 3, 4)  # none of class 3
    with pytest.raises(ValueError, match=r"must hold every class .*never 3 \(3\).*absent") as error:
        model.fit({"x": x, "label": label}, verbose=0)
    one_line(error)
