"""Frames and series, as of pandas and polars, in the place of arrays."""

import importlib.util
import random

import numpy as np
import pytest

import keras_vae
from keras_vae import networks
from tests.conftest import ordinary_on

# Frames become arrays before a backend sees them.
once = ordinary_on("torch")


def refused(words, call, *args):
    """Check that a call raises one line with the words."""
    with pytest.raises(ValueError, match=words) as error:
        call(*args, verbose=0)
    assert "\n" not in str(error.value)


class Frame:
    """A stand-in of a pandas frame: what it has of columns, dtypes and values."""

    def __init__(self, **columns):
        self.frame = columns
        self.columns = list(columns)
        self.dtypes = [values.dtype for values in columns.values()]
        self.shape = (len(next(iter(columns.values()))), len(columns))
        self.iloc = None

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        return iter(self.columns)

    def to_numpy(self, dtype=None, na_value=None):
        columns = [values.to_numpy(dtype, na_value) for values in self.frame.values()]
        return np.stack(columns, axis=1)


class Nullable:
    """A stand-in of a nullable series, whose missing values are None."""

    class Dtype:
        kind = "f"

        def __str__(self):
            return "Float64"

    def __init__(self, values):
        self.values = np.asarray(values, dtype=object)
        self.dtype, self.shape = self.Dtype(), self.values.shape

    def __len__(self):
        return len(self.values)

    def to_numpy(self, dtype=None, na_value=None):
        if dtype is None:
            return self.values
        return np.array([na_value if v is None else v for v in self.values], dtype)


class Series(Nullable):
    """A stand-in of a series of NumPy's dtypes."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype, self.shape = self.values.dtype, self.values.shape

    def to_numpy(self, dtype=None, na_value=None):
        return self.values if dtype is None else self.values.astype(dtype)


def make_table(condition=None):
    random.seed(1)
    cls = keras_vae.ConditionalVAE if condition else keras_vae.VAE
    extra = {"condition": condition} if condition else {}
    model = cls(
        networks.DenseEncoder(2, (4,)),
        networks.DenseDecoder((3,), (4,)),
        likelihood="gaussian",
        seed=3,
        **extra,
    )
    model.compile("adam")
    return model


@pytest.fixture
def table():
    return np.random.default_rng(0).normal(size=(48, 3)).astype("float32")


@once
def test_a_frame_is_the_array_of_its_columns(table):
    columns = dict(zip("abc", table.T, strict=True))
    array = table.astype("float64")
    expected = [make_table().evaluate(array, verbose=0), *make_table().encode(array)]
    for kind in (Series, Nullable):
        frame = Frame(**{name: kind(values) for name, values in columns.items()})
        found = [make_table().evaluate(frame, verbose=0), *make_table().encode(frame)]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
        history = make_table().fit(frame, frame, validation_split=0.25, verbose=0).history
        again = make_table().fit(array, array, validation_split=0.25, verbose=0).history
        assert history == again


@once
def test_series_are_labels_and_weights(table):
    names = np.array(["left", "right"])
    kind = {"side": keras_vae.Categorical(2, list(names))}
    label, weight = np.arange(48) % 2, np.linspace(0, 1, 48)
    array = {"x": table, "side": label}
    expected = make_table(kind).evaluate(array, sample_weight=weight, verbose=0)
    frame = Frame(**{name: Series(values) for name, values in zip("abc", table.T, strict=True)})
    for labels in (Series(label), Series(names[label].astype(object)), Frame(side=Series(label))):
        given = {"x": frame, "side": labels}
        found = make_table(kind).evaluate(given, sample_weight=Series(weight), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@once
def test_frames_that_are_no_numbers_are_one_line(table):
    columns = {name: Series(values) for name, values in zip("abc", table.T, strict=True)}
    text = Series(np.array(["x"] * 48, dtype=object))
    dates = Series(np.full(48, "2020-01-01", "datetime64[D]"))
    missing = Nullable([None, *table[1:, 0]])
    for changes, words in (
        ({"b": text}, r"must hold numbers or bools. Received: b \(object\)"),
        ({"b": text, "c": dates}, r"b \(object\), c \(datetime64\[D\]\)"),
        ({"a": missing}, "must be finite"),
        ({"d": columns["a"]}, r"must have the shape \(n, 3\)"),
    ):
        frame = Frame(**{**columns, **changes})
        for method in (make_table().fit, make_table().evaluate):
            refused(words, method, frame)


@pytest.mark.skipif(
    not importlib.util.find_spec("pandas"), reason="needs pandas: make test-oldest has it"
)
def test_frames_of_pandas(table):
    import pandas

    frame = pandas.DataFrame(table, columns=list("abc"))
    expected = make_table().evaluate(table, verbose=0)
    for given in (
        frame,
        frame.astype("Float64"),
        frame.astype({"a": "Float64"}),
        frame.astype(pandas.SparseDtype("float32", 0.0)),
    ):
        np.testing.assert_allclose(make_table().evaluate(given, verbose=0), expected, rtol=1e-6)


@pytest.mark.skipif(
    not importlib.util.find_spec("polars"), reason="needs polars: make test-oldest has it"
)
def test_frames_of_polars(table):
    import polars

    frame = polars.DataFrame(table, schema=list("abc"))
    expected = make_table().evaluate(table, verbose=0)
    np.testing.assert_allclose(make_table().evaluate(frame, verbose=0), expected, rtol=1e-6)
    label = polars.Series(["a", "b"] * 24)
    kind = {"side": keras_vae.Categorical(2, ["a", "b"])}
    make_table(kind).evaluate({"x": frame, "side": label}, verbose=0)
