"""Tags, of which an example may have several."""

import re

import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import MultiLabel
from tests.conftest import make_model, ordinary_on

NAMES = ("red", "round", "big")
LISTS = [["red", "big"], [], None, ["round"], "unknown"]
VALUES = np.array([[1, 0, 1], [0, 0, 0], [2, 2, 2], [0, 1, 0], [2, 2, 2]], "int32")


def test_a_tag_is_1_and_none_is_minus_1_and_unknown_is_zero():
    kind = MultiLabel(NAMES)
    encoded = ops.convert_to_numpy(kind.encode(ops.convert_to_tensor([[1, 0, 2], [2, 1, 1]])))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [[1, -1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(kind.vectors(), [-1, 1, 0])


@pytest.mark.parametrize(
    "values",
    [
        LISTS,
        tuple(LISTS),
        np.array([*LISTS, None], dtype=object)[:5],
        VALUES,
        VALUES.tolist(),
        VALUES.astype("int64"),
        np.where(VALUES == 2, np.nan, VALUES),
    ],
)
def test_lists_of_tags_and_numbers_are_the_same(values):
    made = MultiLabel(NAMES).as_array(values)
    assert made.dtype == np.int32
    np.testing.assert_array_equal(made, VALUES)


def test_bools_are_tags():
    made = MultiLabel(NAMES).as_array(np.array([[True, False, True]]))
    assert made.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([["red"], ["bleu"]], "Received: 'bleu'. The tags are: red, round, big."),
        ([["red", 1]], "Received: 1. The tags are"),
        (
            ["red", None],
            "must be lists of tags, such as [['red', 'round'], [], None]. Received: 'r",
        ),
        (np.array(["red", "big"]), "must be lists of tags"),
        ([[1, 0]], "must have the shape (n, 3)"),
        (np.zeros((4, 2)), "a value for each tag, or be lists of tags such as"),
        (np.array([0, 1, 1]), "Received: (3,)."),
        (np.array([[0, 1, 2], [0, 3, 1]]), "2 for unknown. Received: 3 at position 1."),
        ([[0.5, 1, 1]], "Received: 0.5 at position 0."),
        ([3.5], "must be lists of tags"),
    ],
)
def test_what_are_no_tags_is_refused_in_one_line(values, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        MultiLabel(NAMES).as_array(values, "tags")
    assert str(error.value).startswith("`tags` must ")
    assert str(error.value).isprintable()


def test_names_are_different_strings():
    for wrong in (None, "red", 3):
        with pytest.raises(ValueError, match=r"as in MultiLabel\(names=\['red', 'round'\]\)"):
            MultiLabel(wrong)
    for wrong in ([], ["red", "round", "red"]):
        with pytest.raises(ValueError, match="must be different strings, one per tag"):
            MultiLabel(wrong)


def test_one_list_of_tags_is_that_of_all_samples():
    model = make_model(condition={"tags": MultiLabel(NAMES)}, compile_model=False)
    model.build()
    expected = model.sample({"tags": [["red", "big"]] * 3}, seed=5)
    for one in (["red", "big"], ("big", "red"), [1, 0, 1], np.array([1, 0, 1])):
        np.testing.assert_array_equal(model.sample({"tags": one}, count=3, seed=5), expected)
    for none, same in (([], [0, 0, 0]), (None, [2, 2, 2]), ("unknown", [2, 2, 2])):
        made = model.sample({"tags": none}, count=2, seed=5)
        np.testing.assert_array_equal(made, model.sample({"tags": [same] * 2}, seed=5))
    with pytest.raises(
        ValueError, match=r"draws labels, .* Received: no value of tags\. Pass sample\(\{"
    ):
        model.sample(count=2)


@ordinary_on("torch")
def test_training_replaces_all_tags_of_an_example_at_once():
    kind = MultiLabel(NAMES, unknown_rate=0.5)
    layer = keras_vae.layers.Conditioning({"tags": kind}, seed=1)
    values = ops.convert_to_tensor(np.tile([[1, 0, 1]], (4000, 1)).astype("int32"))
    seen = ops.convert_to_numpy(layer({"tags": values}, training=True))
    unknown = ~seen.any(axis=1)
    np.testing.assert_array_equal(seen[~unknown], np.tile([[1, -1, 1]], (sum(~unknown), 1)))
    assert abs(unknown.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert ops.convert_to_numpy(layer({"tags": values}, training=False)).all()


def test_tags_of_a_batch_are_checked_by_their_values():
    values = np.array([[0, 1, 2], [3, 0, 0], [0, -1, 0]], "int32")
    valid = ops.convert_to_numpy(MultiLabel(NAMES).valid(ops.convert_to_tensor(values)))
    assert valid.tolist() == [True, False, False]
    fractions = ops.convert_to_tensor(np.array([[0.5, 1, 2], [np.nan, 0, 0]], "float32"))
    assert not ops.convert_to_numpy(MultiLabel(NAMES).valid(fractions)).any()
