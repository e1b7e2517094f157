"""Tags of images, from an `.npz` to samples."""

import json

import numpy as np
import pytest

import keras_vae
from keras_vae import data
from keras_vae.__main__ import main
from tests.conftest import SMALL, fails, ordinary_on

NAMES = ("red", "round", "big")
GENERATOR = np.random.default_rng(0)
TAGS = GENERATOR.integers(0, 2, (40, 3))


def save(path, tags=TAGS, names=NAMES):
    """An .npz of images of three classes and their tags, a fifth of them to test with."""
    arrays = {"x": GENERATOR.integers(0, 255, (40, 6, 5)).astype("uint8"), "y": np.arange(40) % 3}
    parts = {} if names is None else {"tags_names": np.array(names)}
    for name, values in {**arrays, "tags": tags}.items():
        parts |= {f"{name}_train": values[:32], f"{name}_test": values[32:]}
    np.savez(path, **parts)
    return str(path)


def test_whole_numbers_of_two_axes_are_tags_with_their_names(tmp_path):
    path = save(tmp_path / "pictures.npz", TAGS.astype(bool))
    found = data.load(path, conditions=["tags"]).conditions["tags"]
    assert (found.names, found.has_tags, found.train.dtype) == (NAMES, True, np.int32)
    np.testing.assert_array_equal(found.train, TAGS[:32])
    np.testing.assert_array_equal(found.test, TAGS[32:])
    path = save(tmp_path / "unnamed.npz", names=None)
    assert data.load(path, conditions=["tags"]).conditions["tags"].names == ("0", "1", "2")
    again = data.load(path, conditions={"tags": ["a", "b", "c"]}).conditions["tags"]
    assert again.names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("tags", "names", "words"),
    [
        (TAGS, ("red", "round"), "and tags_names a name for each. Received: .3,. and .3,., and na"),
        (TAGS, ("red", "big", "red"), "tags_names of .* must be different. Received: .'red', 'big"),
        (TAGS + 2, NAMES, "must be 1 for a tag, 0 for none and 2 for unknown. Received: values f"),
        (TAGS[:, :1], None, "tags_train of .* must have one value per image: .* tags, 0 and 1"),
        (np.array([["a", "b"]] * 40), None, "tags_train of .* must have one value per image"),
    ],
)
def test_what_are_no_tags_is_refused_in_one_line(tags, names, words, tmp_path):
    path = save(tmp_path / "pictures.npz", tags, names)
    with pytest.raises(data.DataError, match=words) as error:
        data.load(path, conditions=["tags"])
    assert str(error.value).isprintable()


@ordinary_on("torch")
def test_a_model_of_tags_is_trained_and_sampled_by_them(tmp_path, capsys):
    path, folder = save(tmp_path / "pictures.npz"), tmp_path / "run"
    arguments = ["train", "--data", path, "--condition", "label,tags", "--unknown-rate", "0.1"]
    assert main([*arguments, "--out", str(folder), *SMALL]) == 0
    assert json.loads((folder / "config.json").read_text())["conditions"] == {"tags": [*NAMES]}
    model = keras_vae.load_model(folder / "model.keras")
    kind = model.condition["tags"]
    assert (type(kind), kind.names, kind.unknown_rate) == (keras_vae.MultiLabel, NAMES, 0.1)
    out = str(tmp_path / "x.npy")
    sample = ["sample", str(folder), "--out", out, "--count", "2", "--seed", "3", "--label", "1"]
    asked = {"red+big": ["red", "big"], "": [], "unknown": None, "round": ["round"]}
    for text, tags in asked.items():
        assert main([*sample, "--condition", f"tags={text}"]) == 0
        expected = model.sample({"label": [1, 1], "tags": [tags, tags]}, seed=3)
        np.testing.assert_array_equal(np.load(out), expected)
    capsys.readouterr()
    words = "must be tags that the model knows. Received: 'bleu'. The tags are: red, round, big."
    fails(capsys, [*sample, "--condition", "tags=red+bleu"], words)
    assert main(["evaluate", str(folder)]) == 0
    assert main(["figures", str(folder), "--only", "samples_by_class"]) == 0
