"""Conditions: what they become, and what they may be."""

import re
import tracemalloc

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import Categorical, Continuous
from tests.conftest import BACKEND, make_model, ordinary_on


def test_a_label_becomes_its_unit_vector_and_unknown_becomes_zero():
    encoded = ops.convert_to_numpy(Categorical(3).encode(np.array([2, 0, 3, 1], "int32")))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]])


def test_many_classes_cost_no_table_of_all_of_them():
    kind = Categorical(2000)
    kind.encode(np.array([0], "int32"))  # what is imported and kept by the first call
    tracemalloc.start()
    encoded = kind.encode(np.array([1999, 2000], "int32"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ops.convert_to_numpy(encoded).sum() == 1
    assert peak < 1e6  # a table takes 16e6


@pytest.mark.parametrize("values", [["north"], [[1.0, "east"]], [[1.0], [2.0, 3.0]], [[{}, 1.0]]])
def test_numbers_that_are_none_are_refused_with_an_example(values):
    with pytest.raises(
        ValueError, match=r"`angle` must be numbers, 2 for .*\[\[0.0, 0.0\]\]"
    ) as err:
        Continuous(2).as_array(values, "angle")
    assert str(err.value).endswith(f"Received: {values!r}")
    with pytest.raises(ValueError, match=r"such as \[\[0.0, 0.0\]\]. Received: \(3,\)"):
        Continuous(2).as_array([1.0, 2.0, 3.0], "angle")


# Labels that count from 1, and others that are none


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([True, False]), "True. Pass y.astype('int32')."),
        (np.array(["0", "2"]), "Pass y.astype('int32')."),
        (np.array([b"cat"]), "Pass y.astype(str)."),
        (np.array([0, -1, 2]), "If -1 is unknown, pass np.where(y == -1, 3, y)."),
    ],
)
def test_what_is_no_label_is_answered_with_the_line_that_makes_it_one(labels, words):
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        Categorical(3, "abc").as_array(labels)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "labels",
    [
        np.eye(3)[[2, 0]],
        np.eye(3, dtype="int64")[[2, 0]],
        np.eye(3, dtype=bool)[[2, 0]],
        np.eye(3)[[2, 0]].tolist(),
        np.array(["dog", "ant"]),
        ["dog", "ant"],
    ],
)
def test_the_line_that_answers_one_hot_labels_and_names_mends_them(labels):
    with pytest.raises(ValueError, match="`label` must") as raised:
        Categorical(3).as_array(labels)
    words = re.search(r"((?:names, )?y = np\.\w+\(.*?\))(?:, and (.*\)))?\.$", str(raised.value))
    known = {"np": np, "y": labels, "Categorical": Categorical}
    exec(words[1], known)
    kind = eval(words[2] or "Categorical(3)", known)
    expected = [1, 0] if isinstance(labels[0], str) else [2, 0]
    assert kind.as_array(known["y"]).tolist() == expected


def test_names_alone_say_how_many_classes_there_are():
    for names in (["cat", "dog"], ("cat", "dog"), np.array(["cat", "dog"]), {"cat": 0, "dog": 1}):
        kind = Categorical(names=names)
        assert kind.get_config() == Categorical(2, ["cat", "dog"]).get_config()
        assert kind.as_array(["dog", "cat"]).tolist() == [1, 0]
    for wrong in (None, "cat", 3, []):
        with pytest.raises(ValueError, match=r"names=\['cat', 'dog'\]\)|at least 1"):
            Categorical(names=wrong)
    with pytest.raises(ValueError, match=r"Pass names as Categorical\(names=\.\.\.\)"):
        Categorical(["cat", "dog"])


@pytest.mark.parametrize("missing", [np.nan, np.float32("nan"), None, "unknown", 3])
def test_what_unknown_may_be_written_as(missing):
    assert Categorical(3, "abc").as_array([0, missing]).tolist() == [0, 3]
    assert Categorical(3, "abc").as_array(np.array([0, missing], object)).tolist() == [0, 3]
    if isinstance(missing, float):
        assert Categorical(3).as_array(np.array([2, missing])).tolist() == [2, 3]
    names = Categorical(names=["unknown", "cat"])
    assert names.as_array(["unknown", None]).tolist() == [0, 2]


def test_whole_floats_are_labels():
    assert Categorical(3).as_array(np.array([0.0, 2.0, 3.0])).tolist() == [0, 2, 3]


FROM_ONE = "holds 3, which means unknown. Received: 3, and never 0 (a)."


def from_one(count=48):
    """Images, and labels from 1 to 3."""
    x = np.random.default_rng(0).uniform(size=(count, 6, 5, 1)).astype("float32")
    return x, (np.arange(count) % 3 + 1).astype("int32")


def small(name="ConditionalVAE", **options):
    # Whoever has an `unknown_rate` means *unknown* as a value of its own.
    kind = Categorical(3, "abc", unknown_rate=0.01, **options)
    return make_model(name, condition={"label": kind})


class Sequence(keras.utils.PyDataset):
    """Batches of 16, each of one class, of images and labels."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = np.flatnonzero(np.arange(48) // 16 == index)
        return ({"x": self.x[rows], "label": np.sort(self.y)[rows]},)


class Pairs(Sequence):
    """The same, in pairs."""

    def __getitem__(self, index):
        [inputs] = super().__getitem__(index)
        return inputs["x"], inputs["label"]


@ordinary_on("torch")
def test_labels_from_one_are_refused_in_arrays():
    x, y = from_one()
    model = small()
    for labels in (y, y.tolist(), ops.convert_to_tensor(y), y[:, None], y.astype("float32")):
        with pytest.raises(ValueError, match=re.escape(FROM_ONE)) as raised:
            model.fit({"x": x, "label": labels}, verbose=0)
        assert "pass y - 1 if yours count from 1" in str(raised.value)
    # Neither is it training, nor do these labels lack a class.
    assert model.sample({"label": [3]}).shape == (1, 6, 5, 1)
    model.evaluate({"x": x, "label": y}, verbose=0)
    model.fit({"x": x, "label": np.where(np.arange(48) == 5, 0, y)}, verbose=0)


@ordinary_on("torch")
def test_who_has_unknown_labels_and_no_example_of_a_class_can_say_so():
    x, y = from_one()
    named = [("a", "b", "c", None)[label] for label in y]
    small().fit({"x": x, "label": named}, verbose=0)
    model = small(allow_absent_classes=True)
    model.fit({"x": x, "label": y}, verbose=0)
    model.fit(Sequence(x, y), verbose=0)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model.condition["label"])
    )
    assert again.allow_absent_classes
    # Left out of what earlier versions read.
    assert "allow_absent_classes" not in Categorical(3).get_config()


@pytest.mark.parametrize("validates", [False, pytest.param(True, marks=ordinary_on("torch"))])
def test_labels_from_one_are_refused_after_the_first_epoch_of_a_dataset(validates):
    x, y = from_one()
    model, epochs = small(), []
    count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    options = {"verbose": 0, "epochs": 2, "callbacks": [count]}
    if validates:
        options["validation_data"] = Sequence(x, y - 1)
    with pytest.raises(ValueError, match=re.escape(FROM_ONE)):
        model.fit(Sequence(x, y), **options)
    assert epochs == [0]
    epochs.clear()
    history = model.fit(Sequence(x, y - 1), **options).history
    assert epochs == [0, 1]
    assert not any("occurrence" in name for name in history)
    with pytest.raises(ValueError, match=re.escape(FROM_ONE)):
        model.fit(Pairs(x, y), **options)
    # Each class in a batch of its own, and unknown beside the last.
    model.fit(Sequence(x, np.where(np.arange(48) == 47, 3, y - 1)), **options)


def test_several_steps_at_once_see_every_batch():
    x, y = from_one()
    model = small()
    model.compile(keras.optimizers.Adam(), steps_per_execution=1 if BACKEND == "torch" else 3)
    with pytest.raises(ValueError, match=re.escape(FROM_ONE)):
        model.fit(Sequence(x, y), verbose=0)
    model.fit(Sequence(x, y - 1), verbose=0)


@ordinary_on("torch")
def test_labels_from_one_are_refused_by_gans_and_priors_of_codes():
    x, y = from_one()
    networks = keras_vae.networks
    gan = keras_vae.ConditionalGAN(
        networks.DenseDecoder((6, 5, 1), (4,)),
        networks.DenseDiscriminator((4,), num_classes=3),
        latent_dim=2,
        condition={"label": Categorical(3, "abc")},
    )
    gan.compile()
    for data in ({"x": x, "label": y}, Sequence(x, y)):
        with pytest.raises(ValueError, match=re.escape(FROM_ONE)):
            gan.fit(data, verbose=0)
    prior = keras_vae.PixelCNN((2, 2), 4, {"label": Categorical(3, "abc")}, 4, 1, 3)
    prior.compile()
    with pytest.raises(ValueError, match=re.escape(FROM_ONE)):
        prior.fit({"codes": np.zeros((48, 2, 2), "int32"), "label": y}, verbose=0)
    vqvae = keras_vae.VQVAE(
        networks.ConvGridEncoder(2, (4,)),
        networks.ConvGridDecoder((6, 5, 1), (4,)),
        keras_vae.layers.VectorQuantizer(4, 2),
    )
    vqvae.build()
    with pytest.raises(ValueError, match=r"labels from 1 to 3\. Pass y - 1"):
        vqvae.fit_prior({"x": x, "label": y}, epochs=1, verbose=0)


def test_fractions_are_no_labels_of_a_batch():
    valid = Categorical(3).valid(ops.convert_to_tensor(np.array([0.0, 0.5, 3.0, np.nan], "f4")))
    assert ops.convert_to_numpy(valid).tolist() == [True, False, True, False]
