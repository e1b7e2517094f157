"""Columns in units as tensors: what `TableSchema` does in float64, in float32 on every backend."""

import numpy as np
import pytest
from keras import ops

from keras_vae import data
from keras_vae.data import units

ROWS = 300
RNG = np.random.default_rng(0)
# Most are 0; heights are far from 0 for how they spread; years are few whole numbers.
COLUMNS = {
    "gain": np.where(RNG.random(ROWS) < 0.7, 0, RNG.integers(1, 9000, ROWS)),
    "height": 165 + 8 * RNG.standard_normal(ROWS),
    "income": np.exp(10 + RNG.standard_normal(ROWS)),
    "level": 20 + 0.5 * RNG.standard_normal(ROWS),
    "year": RNG.integers(1990, 2020, ROWS),
    "calls": RNG.poisson(3, ROWS),
    "job": np.array(["nurse", "cook", "smith"])[RNG.integers(0, 3, ROWS)],
    "vip": np.array(["no", "yes"])[RNG.integers(0, 2, ROWS)],
    "age": RNG.integers(18, 80, ROWS),
    "sex": np.array(["f", "m"])[RNG.integers(0, 2, ROWS)],
}
KINDS = {
    "income": data.Numeric("log"),
    "level": data.Numeric("standard", bounds=(18, 22)),
    "calls": data.Count(),
}


@pytest.fixture(scope="module")
def schema():
    return data.table(COLUMNS, ["age", "sex"], KINDS).schema


def tensors(arrays):
    return {name: ops.convert_to_tensor(values) for name, values in arrays.items()}


def test_columns_are_encoded_as_by_the_schema(schema):
    rng = np.random.default_rng(1)
    given = {name: COLUMNS[name][:200].astype("float32") for name in list(COLUMNS)[:6]}
    # Told values and others between and beyond them; and gaps.
    for name in ("gain", "height", "level"):
        given[name][50:] += rng.normal(0, 30, 150)
        given[name][190:] = np.nan
    names = {name: rng.integers(-1, 2, 200).astype("int32") for name in ("job", "vip")}
    encoded = units.Units(schema).encode(tensors({**given, **names}))
    encoded = ops.convert_to_numpy(encoded)
    for k, name in enumerate(schema.names):
        kind = schema.columns[name]
        if name in names:
            expected = np.where(names[name] < 0, np.nan, names[name])
        else:
            # A value that the map tells is it, although float32 has rounded it.
            told = COLUMNS[name][:200].astype("float64")
            is_told = np.isin(
                told, kind.fitted["values"] if name in ("gain", "height", "year") else ()
            )
            is_told &= told.astype("float32") == given[name]
            expected = kind.encode(np.where(is_told, told, given[name].astype("float64")))
        gaps = np.isnan(expected)
        np.testing.assert_array_equal(encoded[gaps, k], np.float32(units.MISSING))
        # Measured: 1e-7 of scores up to 20.
        np.testing.assert_allclose(encoded[~gaps, k], expected[~gaps], rtol=1e-6, atol=1e-6)


def test_a_told_value_that_float32_rounds_is_taken_for_it():
    values = [100.0, 180.12578596175115, 180.1258037136656, 200.0]  # ulps of 1.5e-5 lie between
    made = data.TableSchema({"v": data.Numeric().fit(values)})
    given = {"v": np.array(values, "float32")}
    encoded = ops.convert_to_numpy(units.Units(made).encode(tensors(given)))
    np.testing.assert_allclose(encoded[:, 0], made.columns["v"].encode(values), atol=1e-6)


@pytest.mark.parametrize("transform", ["quantile", "standard"])
def test_conditions_that_are_numbers_are_the_same_bits_as_by_the_schema(transform):
    values = np.concatenate([COLUMNS["gain"], COLUMNS["height"]])
    made = data.table({"v": values, "w": values}, ["v"], {"v": data.Numeric(transform)}).schema
    given = np.concatenate([values, np.linspace(-50, 9_000, 3000)])
    found = units.Units(made).encode_conditions(tensors({"v": given.astype("float32")[:, None]}))
    expected = made.encode_conditions({"v": given})["v"]
    np.testing.assert_array_equal(ops.convert_to_numpy(found["v"]), expected)
    # A number that float32 rounds has another score where many numbers are near to each other.
    told = made.columns["v"].encode(given)
    np.testing.assert_allclose(expected[:, 0], told, rtol=1e-5, atol=2e-5)  # measured: 9e-6


def test_conditions_are_encoded_as_by_the_schema(schema):
    given = {"age": np.array([[18], [40.5], [99]], "float32"), "sex": np.array([0, -1, 2], "int32")}
    made = units.Units(schema).encode_conditions(tensors(given))
    expected = schema.encode_conditions({"age": [18, 40.5, 99], "sex": ["f", None, None]})
    np.testing.assert_allclose(ops.convert_to_numpy(made["age"]), expected["age"], atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(made["sex"]), expected["sex"])


def test_rows_are_decoded_as_by_the_schema(schema):
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1.5, (2000, len(schema.names))).astype("float32")
    for name, most in (("calls", 30), ("job", 3), ("vip", 2)):
        x[:, schema.names.index(name)] = rng.integers(0, most, 2000)
    made = units.Units(schema).decode(ops.convert_to_tensor(x))
    expected = schema.decode(x)
    assert list(made) == [schema.ports[name] for name in schema.names]
    for name, values in expected.items():
        kind, found = schema.columns[name], ops.convert_to_numpy(made[schema.ports[name]])
        if hasattr(kind, "names"):
            assert found.dtype == "int32"
            assert [kind.names[k] for k in found] == values.tolist()
            continue
        low, high = units.limits(kind)
        assert low <= found.min() <= found.max() <= high
        whole = getattr(kind, "integer", True)
        # A half may be rounded to either side.
        assert whole <= (np.sum(found != values) <= 1)
        np.testing.assert_allclose(found, values, rtol=0, atol=whole or 1e-6 * (high - low))


def test_what_float32_does_not_tell_apart_is_refused():
    clock = {"t": 1.7e9 + np.arange(50.0), "x": np.arange(50.0) % 7}
    schema = data.table(clock, kinds={"t": data.Numeric("standard")}).schema
    with pytest.raises(ValueError, match="Column 't' must be numbers") as error:
        units.Units(schema)
    assert "Received: 1.7e+09 to 1.70000005e+09, where it has steps of 128." in str(error.value)


def test_ports_are_names_that_every_format_has():
    names = ["marital-status", "marital status", "größe", "1st", "seed", "x_reconstructed", "sex"]
    columns = {name: data.Numeric("standard").fit([0.0, 1.0]) for name in names}
    ports = data.TableSchema(columns, ["sex"]).ports
    assert ports == {
        "marital-status": "marital_status",
        "marital status": "marital_status_2",
        "größe": "gr__e",
        "1st": "column_1st",
        "seed": "column_seed",
        "x_reconstructed": "column_x_reconstructed",
        "sex": "sex",
    }
