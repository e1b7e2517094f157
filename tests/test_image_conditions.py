"""Numbers and names of images beside their labels, from an `.npz` to a sweep."""

import json

import numpy as np
import pytest
from PIL import Image

import keras_vae
from keras_vae import Categorical, Continuous, data
from keras_vae.__main__ import main
from keras_vae.commands.asked import Asked, asked_of
from tests.conftest import SMALL, fails, make_model, ordinary_on

ARRAYS = {
    "x": np.random.default_rng(0).integers(0, 255, (40, 6, 5)).astype("uint8"),
    "y": np.arange(40) % 3,
    "angle": np.linspace(-60, 60, 40),
    "wind": np.random.default_rng(1).normal(size=(40, 2)),
    "year": 2019 + np.arange(40) % 4,
    "side": np.array(["left", "right"])[np.arange(40) % 2],
}


def save(path, **changed):
    """An .npz of the arrays, a fifth of them to test with."""
    parts = {}
    for name, values in {**ARRAYS, **changed}.items():
        parts |= {f"{name}_train": values[:32], f"{name}_test": values[32:]}
    np.savez(path, **parts)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return save(tmp_path_factory.mktemp("data") / "bars.npz")


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "bars"
    words = ["--condition", "label,angle,side", "--unit", "angle=degrees", "--unknown-rate", "0.2"]
    assert main(["train", "--data", str(archive), "--out", str(folder), *words, *SMALL]) == 0
    return folder


def test_floats_are_numbers_and_all_else_are_names(archive):
    found = data.load(archive, conditions=["angle", "wind", "year", "side"])
    kinds = found.conditions
    assert kinds["angle"].names is kinds["wind"].names is None
    np.testing.assert_array_equal(kinds["angle"].train[:, 0], ARRAYS["angle"][:32].astype("f4"))
    np.testing.assert_array_equal(kinds["wind"].test, ARRAYS["wind"][32:].astype("f4"))
    assert kinds["year"].names == ("2019", "2020", "2021", "2022")
    np.testing.assert_array_equal(kinds["year"].train, np.arange(32) % 4)
    assert kinds["side"].names == ("left", "right")
    np.testing.assert_array_equal(kinds["side"].test, np.arange(8) % 2)
    inputs = found.inputs("test", ("label", "angle"), slice(2, 4))
    assert list(inputs) == ["x", "label", "angle"]
    np.testing.assert_array_equal(inputs["label"], ARRAYS["y"][34:36])
    np.testing.assert_array_equal(inputs["x"][..., 0], ARRAYS["x"][34:36])
    np.testing.assert_array_equal(inputs["angle"], kinds["angle"].test[2:4])
    assert found.inputs("train") is found.x_train


def test_names_that_a_model_knows_keep_their_order(archive):
    found = data.load(archive, conditions={"side": ["right", "left"], "angle": None})
    np.testing.assert_array_equal(found.conditions["side"].test, 1 - np.arange(8) % 2)
    with pytest.raises(data.DataError, match=r"side of .* must be one of right\. .*'left'"):
        data.load(archive, conditions={"side": ["right"]})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, r"hold NAME_train and NAME_test.* no speed_train, speed_test"),
        ({"speed": np.zeros((40, 2, 2))}, r"speed_train of .* one value per image.*\(32, 2, 2\)"),
        ({"speed": np.zeros((40, 1), int)}, r"speed_train of .* one value per image.*\(32, 1\)"),
        ({"speed": np.full(40, np.inf)}, r"speed_train of .* must be finite. Received: infinity"),
        ({"speed": np.zeros(39)}, r"speed_test of .* one value per image.*n=8.*\(7,\)"),
    ],
)
def test_what_is_no_condition_is_refused(tmp_path, changed, words):
    path = save(tmp_path / "bars.npz", **changed)
    with pytest.raises(data.DataError, match=words):
        data.load(path, conditions=["speed"])


def test_conditions_need_arrays():
    with pytest.raises(data.DataError, match=r"angle, need an \.npz file.*'digits'"):
        data.load("digits", conditions=["angle"])


@ordinary_on("torch")
def test_train_conditions_a_model_on_all_of_them(run, archive):
    model = keras_vae.load_model(run)
    assert list(model.condition) == ["label", "angle", "side"]
    angle = model.condition["angle"]
    assert (angle.unit, angle.unknown_rate) == ("degrees", 0.2)
    assert angle.low == (-60.0,)
    assert angle.high[0] == pytest.approx(ARRAYS["angle"][31])
    assert model.condition["side"].names == ("left", "right")
    config = json.loads((run / "config.json").read_text())
    assert config["conditions"] == {"angle": None, "side": ["left", "right"]}


@ordinary_on("torch")
def test_a_sweep_changes_the_number_alone(run, tmp_path):
    words = ["sample", run, "--label", "1,2", "--condition", "angle=-60:30:4", "--count", "2"]
    words += ["--condition", "side=right", "--seed", "5", "--out", tmp_path / "sweep.npy"]
    assert main([*map(str, words)]) == 0
    made = np.load(tmp_path / "sweep.npy").reshape(4, 4, 6, 5, 1)
    model = keras_vae.load_model(run)
    for column, angle in enumerate((-60, -30, 0, 30)):
        expected = model.sample(
            {"label": [1, 1, 2, 2], "angle": float(angle), "side": "right"}, seed=5
        )
        np.testing.assert_allclose(made[:, column], expected, rtol=0, atol=1e-6)
    words[-1] = tmp_path / "sweep.png"
    assert main([*map(str, words)]) == 0
    with Image.open(tmp_path / "sweep.png") as picture:
        width, height = picture.size
    assert width / height == pytest.approx(5 / 6, abs=0.05)  # four by four of 5 x 6


@ordinary_on("torch")
def test_figures_draw_a_sweep_and_all_else(run):
    names = "reconstructions,samples,sweeps,style_transfer,traversals,kl_by_dimension"
    assert main(["figures", str(run), "--only", names]) == 0
    drawn = {path.stem for path in (run / "figures").iterdir()}
    assert drawn == {*names.replace("sweeps", "sweep_angle").split(",")}


@ordinary_on("torch")
def test_evaluate_measures_a_model_of_several_conditions(run):
    assert main(["evaluate", str(run), "--k", "2"]) == 0
    found = json.loads((run / "evaluation.json").read_text())
    assert found["examples"] == 8
    assert found["loss"] > 0


@ordinary_on("torch")
def test_bad_input_is_one_line(run, archive, tmp_path, capsys):
    train = ["train", "--data", archive, "--out", tmp_path / "run", *SMALL]
    for words, said in [
        (["--condition", "angle,angle"], "must name each condition once. Received: angle twice"),
        (["--condition", "y"], "are called label"),
        (["--condition", "label,height"], "no height_train, height_test"),
        (["--condition", "label", "--unit", "angle=degrees"], "once for a name of --condition"),
        (["--condition", "side", "--unit", "side=degrees"], "Received: side, of 2 names"),
        (["--model", "vae", "--condition", "angle"], "--condition needs --model"),
    ]:
        fails(capsys, [*train, *words], said)
    missing = ARRAYS["angle"].copy()
    missing[:3] = np.nan
    path = save(tmp_path / "missing.npz", angle=missing)
    words = ["train", "--data", path, "--condition", "angle", "--out", tmp_path / "run", *SMALL]
    fails(capsys, words, "--unknown-rate above 0, such as 0.1. Received: NaN of 3")
    sample = ["sample", run, "--out", tmp_path / "x.png", "--condition"]
    fails(capsys, [*sample, "angle=1", "--condition", "angle=2"], "ask for angle once")
    fails(capsys, [*sample, "angle"], "must be NAME=VALUE")


KINDS = {
    "label": Categorical(names=["cat", "dog, big"]),
    "angle": Continuous(1, -60, 60, "degrees"),
    "wind": Continuous(2, unknown_rate=0.1),
}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "--condition angle=... must be asked for, within -60 to 60 degrees"),
        (
            ["angle=5:5:3"],
            "--condition angle must sweep in 2 to 1000 steps between two different numbers",
        ),
        (["angle=0:5:1"], "in 2 to 1000 steps"),
        (["angle=0:5:0"], "in 2 to 1000 steps"),
        (["angle=0:5"], "must sweep by FIRST:LAST:STEPS, such as angle=-60:60:7. Received: '0:5'"),
        (["angle=0:nan:3"], "must sweep by FIRST:LAST:STEPS"),
        (["angle=north"], "must be a number, such as angle=0, within -60 to 60 degrees, or a sw"),
        (["angle=unknown"], "must be a number"),
        (["angle=1", "wind=2"], "must be 2 numbers, such as wind=0,0, or unknown"),
        (["angle=1", "speed=2"], "a condition of the model: label, angle, wind. Received: speed"),
        (["angle=1", "label=cow"], "must be a class. Received: 'cow'"),
    ],
)
def test_what_no_model_can_be_asked_for(texts, words):
    with pytest.raises(ValueError, match="--") as raised:
        asked_of(KINDS, None, [*texts, "wind=unknown"] if "wind" not in str(texts) else texts)
    assert words in str(raised.value)


def test_rows_are_every_class_unless_one_is_asked_for():
    asked = asked_of(KINDS, None, ["angle=-60:60:5", "wind=1,2"])
    assert [row["label"] for row in asked.rows] == [0, 1]
    assert [row["wind"] for row in asked.rows] == [[1, 2]] * 2
    assert (asked.sweep, asked.numbers) == ("angle", ([-60], [-30], [0], [30], [60]))
    many = {"label": Categorical(10_000)}
    with pytest.raises(ValueError, match=r"--label must name .*more than 100, such as --label 0"):
        asked_of(many, None, None)
    assert asked_of(many, ["7"], None).rows == [{"label": 7}]
    asked = asked_of(KINDS, ["dog, big"], ["angle=7"])
    assert asked.rows == [{"label": 1, "angle": [7.0], "wind": None}]
    assert asked.words == "label dog, big and angle 7 degrees and wind unknown"
    two = {name: Continuous(1, 0, 1) for name in ("a", "b")}
    with pytest.raises(ValueError, match=r"must sweep one number\. Received: a and b"):
        asked_of(two, None, ["a=0:1:2", "b=0:1:2"])


@ordinary_on("torch")
def test_without_a_seed_all_steps_of_a_sweep_share_one():
    kinds = {"angle": Continuous(1, -60, 60)}
    model = make_model(condition=kinds)
    asked = asked_of(model.condition, None, ["angle=3:3.00001:2"])
    first, second = asked.sample(model, 1)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)


def test_guidance_reaches_the_prior_of_codes():
    given = {}

    class Model:
        def sample(self, conditions, **settings):
            given.update(settings)
            return np.zeros((len(conditions["label"]), 2, 2, 1), "float32")

    Asked([{"label": 1}]).sample(Model(), 3, seed=5, guidance=2.0)
    assert given == {"seed": 5, "guidance": 2.0}


@pytest.mark.slow
def test_a_gan_of_several_conditions_is_trained_and_swept(archive, tmp_path):
    folder = tmp_path / "gan"
    words = ["--model", "conditional_gan", "--condition", "label,angle,side", "--epochs", "1"]
    assert main(["train", "--data", str(archive), "--out", str(folder), *words]) == 0
    assert list(keras_vae.load_model(folder).condition) == ["label", "angle", "side"]
    out = str(tmp_path / "row.npy")
    asked = ["--label", "1", "--condition", "angle=-60:30:3", "--condition", "side=left"]
    assert main(["sample", str(folder), *asked, "--out", out]) == 0
    assert len(np.load(out)) == 3
