"""Tables: where they come from, what their columns are, how rows become arrays, what is refused."""

import keras
import numpy as np
import pytest
import scipy.stats

from keras_vae.data import (
    Binary,
    Category,
    Count,
    DataError,
    Numeric,
    TableSchema,
    table,
    table_sources,
)
from tests.conftest import ordinary_on

# No backend computes here.
pytestmark = ordinary_on("torch")

RNG = np.random.default_rng(0)
ROWS = 300


def columns(rows=ROWS):
    """A small table of every kind, with gaps."""
    rng = np.random.default_rng(1)
    height = rng.normal(170, 10, rows)
    hours = np.where(rng.random(rows) < 0.5, 40, rng.integers(1, 99, rows)).astype("float64")
    return {
        "height": np.where(rng.random(rows) < 0.1, np.nan, height),
        "hours": hours,
        "job": rng.choice(["nurse", "cook", "smith"], rows, p=[0.5, 0.3, 0.2]).tolist(),
        "calls": rng.poisson(3, rows),
        "sex": [["f", "m", None][k] for k in rng.choice(3, rows, p=[0.5, 0.4, 0.1])],
    }


def refusal(kind, words, *args, function=table, **kwargs):
    with pytest.raises(kind, match=words) as caught:
        function(*args, **kwargs)
    assert str(caught.value).isprintable()
    assert "Received: " in str(caught.value)


def written(tmp_path, text, name="rows.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


# Kinds


@pytest.mark.parametrize("transform", ["standard", "quantile", "log"])
def test_numbers_come_back(transform):
    values = np.exp(RNG.normal(size=2000))
    kind = Numeric(transform).fit(values)
    encoded = kind.encode(values)
    np.testing.assert_allclose(kind.decode(encoded), values, rtol=1e-9)
    # Also those that were not seen.
    between = np.linspace(values.min(), values.max(), 777)
    np.testing.assert_allclose(kind.decode(kind.encode(between)), between, rtol=1e-9)
    assert np.all(np.diff(kind.encode(between)) >= -1e-12)  # rounding
    rounded = values.round(1) + 0.1  # of which many are alike
    kind = Numeric(transform).fit(rounded)
    np.testing.assert_allclose(kind.decode(kind.encode(rounded)), rounded, rtol=1e-9)
    beyond = kind.encode(np.array([rounded.min() / 2, rounded.max() * 2]))
    assert beyond[0] < kind.encode(rounded).min()
    assert beyond[1] > kind.encode(rounded).max()


def test_the_transform_by_quantiles_makes_any_shape_normal():
    values = RNG.exponential(size=5000) ** 2
    score = Numeric("quantile").fit(values).encode(values)
    # Measured: 0.004.
    assert scipy.stats.kstest(score, "norm").statistic < 0.01


def test_a_value_that_many_rows_have_covers_as_much_of_the_normal():
    values = np.where(RNG.random(10_000) < 0.9, 0.0, RNG.uniform(100, 200, 10_000))
    kind = Numeric().fit(values)
    drawn = kind.decode(RNG.normal(size=100_000))
    # Three standard errors.
    assert abs((drawn == 0).mean() - (values == 0).mean()) < 0.003
    assert scipy.stats.ks_2samp(drawn[drawn > 0], values[values > 0]).statistic < 0.06


def test_decoded_numbers_are_whole_and_within_bounds():
    kind = Numeric(bounds=(0, 10)).fit(np.arange(1.0, 9.0).repeat(3))
    assert kind.integer
    drawn = kind.decode(np.array([-9.0, 0.1, 9.0]))
    assert drawn.dtype == "int64"
    assert drawn.tolist() == [1, 5, 8]
    standard = Numeric("standard", bounds=(0, 10)).fit(np.arange(1.0, 9.0).repeat(3))
    assert standard.decode(np.array([-9.0, 9.0])).tolist() == [0, 10]
    gap = kind.decode(np.array([np.nan, 0.1]))
    assert np.isnan(gap[0])
    assert gap[1] == 5


def test_missing_values_stay_missing():
    for kind, values in (
        (Numeric(), [1.0, None, 2.0, 4.0]),
        (Count(), [1, None, 2, 4]),
        (Category(), ["a", None, "b", "c"]),
        (Binary(), ["a", None, "b", "a"]),
    ):
        kind = kind.fit(values)
        encoded = kind.encode(values)
        assert np.isnan(encoded).tolist() == [False, True, False, False]
        decoded = kind.decode(encoded)
        assert [None if v != v else v for v in decoded.tolist()] == values


def test_rare_names_are_joined_above_a_limit():
    names = ["a"] * 5 + ["b"] * 4 + ["c", "d"]
    kind = Category(most=3).fit(names)
    assert kind.names == ("a", "b", "other")
    assert kind.encode(["a", "d", "never seen", None]).tolist()[:3] == [0, 2, 2]
    assert Category().fit(names).names == ("a", "b", "c", "d")
    words = "one of its 4 names.* Received: 'never seen' in row 2"
    refusal(DataError, words, ["a", "never seen"], "job", function=Category().fit(names).encode)


def test_what_is_none_of_its_kind_is_refused():
    refusal(
        DataError, "'n' must be numbers.*'x' in row 2", [1, "x"], "n", function=numeric().encode
    )
    refusal(DataError, "'n' must be finite.*inf in row 1", [np.inf], "n", function=numeric().encode)
    refusal(DataError, "'n' must be counts.*-1 in row 2", [1, -1], "n", function=Count(5).encode)
    refusal(DataError, "must be counts.*1.5 in row 1", [1.5], "n", function=Count(5).encode)
    refusal(DataError, "at most 1000. Received: 2000", [0, 2000], "n", function=Count().fit)
    refusal(DataError, "above 0 for the transform 'log'", [0, 1], "n", function=Numeric("log").fit)
    refusal(DataError, "two different numbers", [1, 1, None], "n", function=Numeric().fit)
    refusal(DataError, "within its bounds", [1, 3], "n", function=Numeric(bounds=(0, 2)).fit)
    refusal(ValueError, "must be fitted", [1, 3], function=Numeric().encode)
    refusal(ValueError, "`transform` must be one of", "cube", function=Numeric)
    refusal(ValueError, "the lower first", bounds=(3, 1), function=Numeric)
    refusal(ValueError, "two different names", ["a", "a"], function=Binary)


def numeric():
    return Numeric().fit([1.0, 2.0, 3.0])


# Schema


def test_a_schema_brings_rows_back_and_survives_a_file():
    rows = columns()
    rows["height"] = np.nan_to_num(rows["height"], nan=170.0)
    made = table(rows, ["sex", "height"], {"calls": Count(), "height": Numeric()}, test=0.5)
    schema = made.schema
    assert schema.names == ("hours", "job", "calls")
    assert schema.blocks == (("normal",), ("categorical", 3), ("negative_binomial", 20))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schema))
    assert again == schema
    assert isinstance(again, TableSchema)
    assert again.manifest()["columns"]["job"]["names"] == ["nurse", "cook", "smith"]


def test_rows_are_encoded_and_decoded():
    rows = columns()
    made = table(rows, "sex", {"calls": Count()})
    encoded = made.schema.encode(rows)
    assert encoded["x"].dtype == "float32"
    assert encoded["sex"].dtype == "int32"
    assert set(encoded["sex"].tolist()) == {0, 1, 2}  # 2 is unknown
    decoded = made.schema.decode(encoded["x"], {"sex": encoded["sex"]})
    assert list(decoded) == list(rows)
    np.testing.assert_allclose(decoded["height"], rows["height"], rtol=1e-5)
    for name in ("hours", "job", "calls", "sex"):
        assert decoded[name].tolist() == list(rows[name]), name


def test_single_conditions_are_encoded_as_such():
    made = table(columns(), ["job", "hours"])
    found = made.schema.encode_conditions({"job": "cook", "hours": [40, 20]})
    assert found["job"] == 1
    assert found["hours"].shape == (2, 1)
    decoded = made.schema.decode(made.train["x"][:2], {"job": 1, "hours": found["hours"]})
    assert decoded["job"].tolist() == ["cook", "cook"]
    assert decoded["hours"].tolist() == [40, 20]


def test_wrong_rows_are_refused():
    rows = columns()
    schema = table(rows).schema
    few = {name: values for name, values in rows.items() if name != "job"}
    refusal(DataError, "none of job", few, function=schema.encode)
    refusal(DataError, "extra besides", {**rows, "extra": [1]}, function=schema.encode)
    short = {**rows, "job": rows["job"][:3]}
    refusal(DataError, "one length.*job 3", short, function=schema.encode)
    refusal(ValueError, "must be fitted", {"a": Numeric()}, function=TableSchema)
    refusal(ValueError, "different columns", {"a": numeric()}, ["b"], function=TableSchema)
    refusal(ValueError, "no condition", {"a": numeric()}, ["a"], function=TableSchema)
    by_height = table({**rows, "height": np.arange(ROWS) % 7}, "height").schema
    refusal(DataError, "known in every", {"height": [None]}, function=by_height.encode_conditions)
    refusal(DataError, "none for 'height'", {}, function=by_height.encode_conditions)


# Inference


def test_kinds_are_inferred():
    made = table({**columns(), "flag": np.arange(ROWS) % 2, "level": [True, False, None] * 100})
    kinds = {name: type(kind) for name, kind in made.schema.columns.items()}
    assert kinds == {
        "height": Numeric,
        "hours": Numeric,
        "job": Category,
        "calls": Numeric,
        "sex": Binary,
        "flag": Binary,
        "level": Binary,
    }
    assert made.schema.columns["flag"].names == ("0", "1")


USELESS = {
    "constant": (["a"] * ROWS, "is 'a' in every row"),
    "zero": (np.zeros(ROWS), "is 0 in every row"),
    "empty": ([None] * ROWS, "is empty"),
    "id": (np.arange(ROWS) + 1000, "counts the rows"),
    "code": ([f"k{n}" for n in range(ROWS)], "is different in every row"),
    "day": ([f"2024-01-{n % 28 + 1:02}" for n in range(ROWS)], "is a date"),
    "stamp": (np.arange(ROWS).astype("M8[s]"), "is a date"),
    "note": ([f"it was row {n // 2} this time" for n in range(ROWS)], "is free text"),
}


@pytest.mark.parametrize("name", USELESS)
def test_a_column_that_says_nothing_is_named_with_what_to_do(name):
    values, why = USELESS[name]
    rows = {**columns(), name: values}
    refusal(DataError, rf"'{name}' {why}.*drop=\['{name}'\]", rows)
    assert name not in table(rows, drop=name).schema.columns


def test_numbers_that_all_differ_are_no_identifier():
    assert isinstance(table({"a": RNG.permutation(ROWS) * 7 + 3}).schema.columns["a"], Numeric)


def test_text_among_numbers_is_named_by_its_row():
    values = [str(n % 50) for n in range(50_000)]
    values[39_999] = "abc"
    refusal(DataError, "Column 'a' must be numbers.*'abc' in row 40000", {"a": values})


# Sources


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_any_separator_is_found(tmp_path, separator):
    lines = ["name of it,size", *(f'"x, y",{n}' for n in range(6)), "?,"]
    text = "\n".join(line.replace('"x, y",', '"x, y"#').replace(",", "#", 1) for line in lines)
    text = text.replace('"x# y"#', '"x, y"#').replace("#", separator)
    _, found = table_sources.read(written(tmp_path, text))
    assert list(found) == ["name of it", "size"]
    assert found["name of it"].tolist() == ["x, y"] * 6 + [None]
    np.testing.assert_array_equal(found["size"], [0, 1, 2, 3, 4, 5, np.nan])


def test_spreadsheets_of_europe_are_read(tmp_path):
    text = "größe;name\r\n1,5;a\r\n-2,25;b\r\n;a, b\r\n"
    _, found = table_sources.read(written(tmp_path, text, encoding="utf-8-sig"))
    assert list(found) == ["größe", "name"]
    np.testing.assert_array_equal(found["größe"], [1.5, -2.25, np.nan])
    assert found["name"].tolist() == ["a", "b", "a, b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("a,b\n", "at least two rows"),
        ("a,b\n1,2\n3\n4,5\n", "2 values in every row. Received: 1 in line 3"),
        ("a,a\n1,2\n3,4\n", "different names. Received: 'a' twice"),
        ("a,\n1,2\n3,4\n", "a name for every column. Received: none for column 2"),
        ('a,b\n1,"2\n3,4\n', "must be a table of text"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, words):
    refusal(DataError, words, written(tmp_path, text))


def test_other_files_are_refused(tmp_path, monkeypatch):
    refusal(DataError, "no such file", tmp_path / "none.csv")
    refusal(DataError, "a folder", tmp_path)
    refusal(DataError, "UTF-8", written(tmp_path, "größe\n1\n2\n", encoding="latin-1"))
    monkeypatch.setattr(table_sources, "MAX_BYTES", 3)
    refusal(DataError, "must be at most .* GiB", written(tmp_path, "a,b\n1,2\n"))
    refusal(DataError, "a path, a frame or a dict", 3)
    refusal(DataError, "one length", {"a": [1, 2], "b": [1, 2, 3]})
    refusal(DataError, "values \\(n,\\)", {"a": np.zeros((2, 2))})


class Frame:
    """What pandas and polars have in common: names, and a column by its name."""

    def __init__(self, columns):
        self.held = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return np.asarray(self.held[name])


def test_a_frame_is_as_its_columns():
    assert table(Frame(columns())).schema == table(columns()).schema


# The table


def test_the_split_is_the_same_every_time_and_drops_no_row():
    one, other = table(columns()), table(columns())
    np.testing.assert_array_equal(one.test, other.test)
    assert (len(one.train), len(one.test)) == (240, 60)
    heights = [one.columns(part)["height"] for part in ("train", "test")]
    np.testing.assert_array_equal(np.sort(np.concatenate(heights)), np.sort(columns()["height"]))


def test_tests_may_come_from_elsewhere_and_rows_fit_a_schema():
    rows, others = columns(), columns(40)
    made = table(rows, "sex", test=others)
    assert (len(made.train["x"]), len(made.test["x"])) == (300, 40)
    assert made.schema.columns["height"] == Numeric().fit(rows["height"])
    again = table(others, schema=made.schema, test=0.5)
    assert again.schema == made.schema
    refusal(ValueError, "`schema` has its own", rows, "job", schema=made.schema)


def test_wrong_arguments_are_refused():
    rows = columns()
    refusal(DataError, "`conditions` must be columns.*'age'", rows, "age")
    refusal(DataError, "`drop` must be columns.*'age'", rows, drop=["age"])
    refusal(DataError, "`kinds` must be columns.*'age'", rows, kinds={"age": Numeric()})
    refusal(DataError, "an identifier", {**rows, "per week": rows["hours"]}, "per week")
    refusal(ValueError, "above 0 and below 1", rows, test=1.0)


def test_the_summary_names_every_column(capsys):
    made = table(columns(), "sex", {"calls": Count(unit="calls")})
    made.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The table: 240 rows to train with, 60 to test"
    assert [line.split()[0] for line in lines[2:]] == list(columns())
    share = np.mean([sex is None for sex in columns()["sex"]])
    assert f"{share:.1%}  f or m (condition)" in lines[-1]
    assert "0 to 20 calls" in lines[-2]
