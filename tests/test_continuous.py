"""Conditions that are numbers: their range, their unit, and *unknown*."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import Categorical, Continuous
from keras_vae.conditions import MultiLabel
from keras_vae.layers import Conditioning
from keras_vae.training.inputs import sampled_conditions
from tests.conftest import make_model, ordinary_on

ANGLES = np.linspace(-60, 60, 24).astype("float32")[:, None]


def data(angles=ANGLES, count=24):
    x = np.random.default_rng(0).uniform(size=(count, 6, 5, 1)).astype("float32")
    return {"x": x, "angle": angles}


def model_of(kind):
    return make_model(condition={"angle": kind})


def seen(kind, values):
    return ops.convert_to_numpy(kind.encode(ops.convert_to_tensor(np.array(values, "float32"))))


def test_the_networks_see_minus_1_to_1_within_the_range():
    kind = Continuous(2, low=(-60, 990), high=(60, 1030), unit="degrees")
    values = np.random.default_rng(1).uniform(-60, 1030, (9, 2))
    low, high = np.array([[-60, 990], [60, 1030]], "float64")
    expected = 2 * (values - low) / (high - low) - 1
    np.testing.assert_allclose(seen(kind, values), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(seen(kind, [low, high]), [[-1, -1], [1, 1]])
    assert kind.described_range() == "-60 to 60, 990 to 1030 degrees"


def test_unknown_is_the_zero_vector_and_one_entry_says_what_is_known():
    kind = Continuous(2, -10, 10, unknown_rate=0.1)
    assert kind.size == 3
    expected = [[0.5, -1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    values = [[5, -10], [np.nan, np.nan], [3, np.nan], [0, 0]]
    np.testing.assert_array_equal(seen(kind, values), expected)


@pytest.mark.parametrize("missing", [np.nan, None, "unknown"])
def test_what_unknown_may_be_written_as(missing):
    known = Continuous(1, unknown_rate=0.1).as_array([3, missing])
    np.testing.assert_array_equal(known, [[3], [np.nan]])
    pairs = Continuous(2, unknown_rate=0.1)
    row = [np.nan, 1.0] if missing is np.nan else missing
    np.testing.assert_array_equal(pairs.as_array([[3, 4], row]), [[3, 4], [np.nan, np.nan]])
    with pytest.raises(ValueError, match=r"NaN at position 1.*Continuous\(1, unknown_rate=0.1\)"):
        Continuous(1).as_array([3, missing], "angle")


def test_what_is_no_range_is_refused():
    wrong = [
        (1, 1),
        (2, 1),
        (0, None),
        (None, 1),
        ("a", 2),
        ((0, 0, 0), 1),
        (0, np.inf),
        (np.nan, 1),
    ]
    for low, high in wrong:
        with pytest.raises(ValueError, match="`low` and `high` must be finite numbers, one or 2"):
            Continuous(2, low, high)


def test_training_replaces_whole_vectors():
    kind = Continuous(2, -1, 1, unknown_rate=0.3)
    layer = Conditioning({"angle": kind}, seed=1)
    values = ops.convert_to_tensor(np.full((4000, 2), 0.5, "float32"))
    vector = ops.convert_to_numpy(layer({"angle": values}, training=True))
    known = vector[:, 2] == 1
    np.testing.assert_array_equal(vector[known], [[0.5, 0.5, 1]] * known.sum())
    np.testing.assert_array_equal(vector[~known], 0)
    # 4 standard errors.
    np.testing.assert_allclose(1 - known.mean(), 0.3, atol=4 * np.sqrt(0.3 * 0.7 / 4000))
    vector = ops.convert_to_numpy(layer({"angle": values}, training=False))
    assert (vector[:, 2] == 1).all()


def test_the_first_fit_learns_the_range_and_files_keep_it(tmp_path):
    kind = Continuous(1, unit="degrees", unknown_rate=0.2)
    model = model_of(kind)
    angles = ANGLES.copy()
    angles[5] = np.nan
    before = model.decode(np.ones((1, 3)), {"angle": 30})
    model.fit(data(angles), verbose=0)
    learned = model.condition["angle"]
    assert (learned.low, learned.high, learned.unit) == ((-60.0,), (60.0,), "degrees")
    assert kind.low is None  # another model learns its own
    vector = model.condition_vectors({"angle": np.array([[30.0], [np.nan]], "float32")})
    np.testing.assert_array_equal(vector, [[0.5, 1], [0, 0]])
    model.fit(data(angles * 2), verbose=0)
    assert model.condition["angle"] is learned
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    assert loaded.condition["angle"].get_config() == learned.get_config()
    made = loaded.decode(np.ones((1, 3)), {"angle": 30})
    np.testing.assert_array_equal(made, model.decode(np.ones((1, 3)), {"angle": 30}))
    assert not np.array_equal(made, before)


def test_weights_alone_bring_the_range_along(tmp_path):
    model = model_of(Continuous(1))
    new, other = (
        make_model(condition={"angle": kind}, compile_model=False)
        for kind in (Continuous(1), Continuous(1, 0, 1))
    )
    model.fit(data(), verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    new.load_weights(tmp_path / "model.weights.h5")
    z, given = np.ones((1, 3)), {"angle": 30}
    np.testing.assert_array_equal(new.decode(z, given), model.decode(z, given))
    with pytest.raises(ValueError, match=r"trained with, -60 to 60\. Received: 0 to 1"):
        other.load_weights(tmp_path / "model.weights.h5")


@ordinary_on("jax")
def test_what_was_compiled_before_a_fit_sees_the_range_after_it():
    model, kept = model_of(Continuous(1)), model_of(Continuous(1))
    z = np.ones((2, 3), "float32")
    model.decode(z, {"angle": [1.0, 2.0]})
    for each in (model, kept):
        each.fit(data(), verbose=0)
    given = {"angle": [10.0, 20.0]}
    np.testing.assert_array_equal(model.decode(z, given), kept.decode(z, given))


@ordinary_on("torch")
def test_examples_to_validate_with_say_nothing_about_the_range():
    model = model_of(Continuous(1))
    model.fit(data(), validation_split=0.5, verbose=0)
    assert model.condition["angle"].high == (float(str(ANGLES[11, 0])),)


class AsPyDataset(keras.utils.PyDataset):
    """Batches of 7 of arrays, in tuples."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(self.arrays["x"]) // 7)

    def __getitem__(self, index):
        rows = slice(7 * index, 7 * index + 7)
        return ({name: values[rows] for name, values in self.arrays.items()},)


def as_loader(arrays):
    torch = pytest.importorskip("torch")
    rows = [{name: values[k] for name, values in arrays.items()} for k in range(len(ANGLES))]
    return torch.utils.data.DataLoader(rows, batch_size=7)


def as_tf_dataset(arrays):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(arrays).batch(7)


@pytest.mark.parametrize(
    "as_dataset",
    [
        AsPyDataset,
        pytest.param(as_loader, marks=ordinary_on("torch")),
        pytest.param(as_tf_dataset, marks=ordinary_on("tensorflow")),
    ],
)
def test_the_range_is_learned_of_datasets_too(as_dataset):
    angles = np.random.default_rng(0).permutation(ANGLES)
    angles[5] = np.nan
    model = model_of(Continuous(1, unknown_rate=0.2))
    model.fit(as_dataset(data(angles)), verbose=0)
    learned = model.condition["angle"]
    assert (learned.low[0], learned.high[0]) == (np.nanmin(angles), np.nanmax(angles))
    model.fit(as_dataset(data(2 * angles)), verbose=0)
    assert model.condition["angle"] is learned


def test_a_dataset_of_unknown_length_says_nothing_about_the_range():
    def batches():
        while True:
            yield data()

    with pytest.raises(ValueError, match=r"^`angle` learns.*unknown length.*low=\.\.\."):
        model_of(Continuous(1)).fit(batches(), steps_per_epoch=1, verbose=0)
    for kind in (Continuous(1, low=-60, high=60), Continuous(1, standardized=False)):
        model_of(kind).fit(batches(), steps_per_epoch=1, verbose=0)


def test_numbers_that_are_all_alike_have_no_range():
    with pytest.raises(ValueError, match=r"two different numbers.*always \[3.0\].*low=\.\.\."):
        model_of(Continuous(1)).fit(data(np.full((24, 1), 3.0)), verbose=0)


def test_a_config_of_earlier_versions_means_numbers_as_they_are():
    kind = Continuous.from_config({"dim": 2})
    assert kind.get_config() == {"dim": 2}
    assert kind.fit(np.array([[1, 2], [3, 4]], "float32")) is kind
    np.testing.assert_array_equal(seen(kind, [[40, 50]]), [[40, 50]])
    old = {"class_name": "Continuous", "config": {"dim": 2}}
    new = keras.saving.serialize_keras_object(kind)
    assert {k: new[k] for k in old} == old


@ordinary_on("torch")
def test_outside_of_the_range_sampling_warns_once_and_says_the_range():
    model = model_of(Continuous(1, -60, 60, "degrees"))
    model.sample({"angle": 60.0}, seed=1)
    with pytest.warns(UserWarning, match="outside") as told:
        model.sample({"angle": [0.0, 75.0]}, seed=1)
    [warning] = [each for each in told if "outside" in str(each.message)]
    assert str(warning.message) == (
        "`angle` is 75, outside of what the model was trained on, -60 to 60 degrees: samples may "
        "be of no use."
    )
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*outside")
        model.sample({"angle": [0.0, 75.0]}, seed=1)


@ordinary_on("torch")
def test_numbers_that_nobody_asked_for_are_drawn_within_the_range():
    kinds = {"label": Categorical(3), "angle": Continuous(2, low=(-60, 5), high=(60, 9))}
    model = make_model(condition=kinds)
    given = sampled_conditions(model, None, 500, seed=3)
    assert given["angle"].shape == (500, 2)
    np.testing.assert_allclose(given["angle"].min(axis=0), [-60, 5], atol=2)
    np.testing.assert_allclose(given["angle"].max(axis=0), [60, 9], atol=2)
    again = model.sample(given, seed=3)
    np.testing.assert_array_equal(model.sample(count=500, seed=3), again)
    kinds = {"angle": Continuous(1, unknown_rate=0.1), "tags": MultiLabel(["a"], 0.1)}
    given = sampled_conditions(make_model(condition=kinds), None, 2, seed=3)
    np.testing.assert_array_equal(given["angle"], [[np.nan], [np.nan]])
    np.testing.assert_array_equal(given["tags"], [[2], [2]])
    words = (
        r"range it knows. Received: no value of angle. Pass sample\(\{'angle': ...\}, count=1\)."
    )
    with pytest.raises(ValueError, match=words):
        model_of(Continuous(1)).sample()


def test_an_unknown_number_is_sampled_as_the_model_was_trained_without_it():
    model = model_of(Continuous(1, -60, 60, unknown_rate=0.5))
    expected = model.sample({"angle": [np.nan] * 3}, seed=1)
    for unknown in (None, "unknown", np.nan):
        np.testing.assert_array_equal(model.sample({"angle": unknown}, count=3, seed=1), expected)
    with pytest.raises(ValueError, match=r"unknown_rate=0\.1"):
        model_of(Continuous(1, -60, 60)).sample({"angle": None}, seed=1)


@ordinary_on("torch")
def test_batches_with_unknown_numbers_are_valid_where_they_may_be():
    values = ops.convert_to_tensor(np.array([[1.0], [np.nan], [np.inf]], "float32"))
    for rate, expected in ((0.1, [True, True, False]), (0.0, [True, False, False])):
        valid = Continuous(1, unknown_rate=rate).valid(values)
        assert ops.convert_to_numpy(valid).tolist() == expected


@ordinary_on("torch")
def test_single_values_and_names_serve_everywhere():
    condition = {"label": Categorical(names=["cat", "dog"]), "angle": Continuous(1, -60, 60)}
    model = make_model(condition=condition)
    x, z = data()["x"], np.ones((24, 3), "float32")
    full = {"label": np.ones(24, "int32"), "angle": np.full((24, 1), 30.0, "float32")}
    for label in (1, "dog", ["dog"] * 24, np.array(["dog"] * 24)):
        given = {"label": label, "angle": 30.0}
        made = [
            [f(given), f(full)]
            for f in (
                lambda c: model.sample(c, count=24, seed=1),
                lambda c: model.decode(z, c),
                lambda c: model.encode({"x": x, **c}),
                lambda c: model.evaluate({"x": x, **c}, verbose=0, return_dict=True)["loss"],
            )
        ]
        for found, expected in made:
            np.testing.assert_array_equal(found, expected)
        model.fit({"x": x, **given}, verbose=0)
    with pytest.raises(ValueError, match=r"must be a class. Received: 'cow'.*cat, dog"):
        model.fit({"x": x, "label": ["cow"] * 24, "angle": 30.0}, verbose=0)
    with pytest.raises(ValueError, match=r"one-hot, pass y = np.argmax"):
        model.fit({"x": x, "label": np.eye(2)[np.ones(24, int)], "angle": 30.0}, verbose=0)
