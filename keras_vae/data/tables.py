"""Tables, such as CSV files, to train and to test with."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from keras_vae.data import column_inference, columns, table_sources
from keras_vae.data.errors import DataError, shortened
from keras_vae.data.table_schema import TableSchema

TEST_SHARE = 0.2


def table(
    source: Any,
    conditions: Sequence[str] = (),
    kinds: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    test: Any = TEST_SHARE,
    missing: Collection[str] = table_sources.MISSING,
    schema: TableSchema | None = None,
) -> Table:
    """Read a table, and say what its columns are.

    A column of numbers is `Numeric`, one of two values `Binary`, one of names `Category`. What
    says nothing is refused in one line that names it: a column that is constant, empty, different
    in every row (an identifier), a date or free text. No row is dropped: a missing value is data.

    Args:
        source: Path of a CSV file (any separator, with a header, UTF-8, also with a byte-order
            mark; decimal commas where commas separate nothing) or of a Parquet file (needs
            pyarrow); a frame of pandas or polars; or a dict from name to values `(n,)`.
        conditions: Names of the columns that a model is asked for, rather than learns to make.
            They must be identifiers, such as `hours_per_week`.
        kinds: Optional dict from a column's name to its kind, where another one is wanted than
            would be inferred: `Numeric`, `Count`, `Category` or `Binary`.
        drop: Names of columns to leave out.
        test: Share of the rows that are for tests, the same ones every time, above 0 and below 1;
            or another source of these rows, which the schema is not made from.
        missing: Str that stand for a missing value in text: the empty one, `?` and NaN.
        schema: Optional `TableSchema` that the rows must fit, such as `model.schema`; then no kind
            is inferred, and what is not in the schema must be dropped.

    Returns:
        A `Table`.

    Raises:
        DataError: If the table is missing, unreadable or unusable.

    Example:

    >>> import keras_vae
    >>> rows = {"age": [39, 50, 38, 53, 28], "sex": ["m", "m", "f", None, "f"]}
    >>> made = keras_vae.data.table(rows, conditions=["sex"])
    >>> made.train["x"].shape, made.train["sex"].dtype, made.schema.columns["sex"]
    ((4, 1), dtype('int32'), Binary(names=['f', 'm']))

    See also:
        `table_vae`.
    """
    conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)
    drop = (drop,) if isinstance(drop, str) else tuple(drop)
    name, found = table_sources.read(source, missing)
    found = _without(found, drop, name)
    if isinstance(test, int | float):
        train, held_out = _split(len(next(iter(found.values()))), test)
        parts = {
            part: {column: values[rows] for column, values in found.items()}
            for part, rows in (("train", train), ("test", held_out))
        }
    else:
        test_name, test_rows = table_sources.read(test, missing)
        parts = {"train": found, "test": _without(test_rows, drop, test_name)}
    if schema is None:
        schema = _schema(found, conditions, dict(kinds or {}), name)
    elif kinds or conditions not in ((), schema.conditions):
        raise ValueError(
            "`schema` has its own kinds and conditions. Received: others besides. Leave them out."
        )
    return Table(name, parts, schema)


class Table:
    """Rows of a table, split into a training and a test set. `table` makes it.

    Attributes:
        name: Str.
        schema: `TableSchema`, which says what the columns are.

    Example:

    >>> import keras_vae
    >>> rows = {"age": [39, 50, 38, 53, 28], "sex": ["m", "m", "f", None, "f"]}
    >>> made = keras_vae.data.table(rows)
    >>> made.train.shape, made.missing
    ((4, 2), {'age': 0.0, 'sex': 0.2})

    See also:
        `table`, which makes it; `table_vae`.
    """

    def __init__(self, name: str, parts: Any, schema: TableSchema) -> None:
        self.name = name
        self.schema = schema
        self._parts = parts
        # At once, so that what does not fit is said before anything is trained.
        self._encoded = {part: schema.encode(rows) for part, rows in parts.items()}

    @property
    def train(self) -> Any:
        """What `fit` takes: `x`, float32 `(n, columns)`; with conditions a dict, as of `encode`."""
        return self._encoded["train"]

    @property
    def test(self) -> Any:
        """As `train`, of other rows."""
        return self._encoded["test"]

    @property
    def conditions(self) -> dict[str, Any]:
        """Dict from a condition's name to its kind, as a model's `condition=` takes it."""
        return self.schema.condition

    def columns(self, part: Literal["train", "test"]) -> dict[str, Any]:
        """The columns of a part as they were read: dict from name to values `(n,)`.

        Args:
            part: `"train"` or `"test"`.
        """
        return self._parts[part]

    @functools.cached_property
    def missing(self) -> dict[str, float]:
        """Dict from a column's name to the share of its values that are missing."""
        found = {}
        for name in self.schema.columns:
            values = [self._parts[part][name] for part in ("train", "test")]
            found[name] = float(np.mean([columns.is_missing(v) for v in np.concatenate(values)]))
        return found

    def summary(self) -> None:
        """Print how many rows there are, and what each column is."""
        counts = {p: len(next(iter(rows.values()))) for p, rows in self._parts.items()}
        print(f"{self.name}: {counts['train']:,} rows to train with, {counts['test']:,} to test")
        wide = max(map(len, self.schema.columns))
        print(f"{'column':{wide}}  {'kind':9}{'missing':>8}  ")
        for name, kind in self.schema.columns.items():
            told = f"{type(kind).__name__.lower():9}{self.missing[name]:>8.1%}  {kind.describe()}"
            asked = " (condition)" if name in self.schema.conditions else ""
            print(f"{name:{wide}}  {told}{asked}")


def _without(found, drop, name):
    if unknown := [column for column in drop if column not in found]:
        raise DataError(
            f"`drop` must be columns of {name}: {shortened(', '.join(found))}. Received: "
            f"{unknown[0]!r}."
        )
    return {column: values for column, values in found.items() if column not in drop}


def _schema(found, conditions, kinds, name):
    for what, given in (("conditions", conditions), ("kinds", kinds)):
        if unknown := [column for column in given if column not in found]:
            raise DataError(
                f"`{what}` must be columns of {name}: {shortened(', '.join(found))}. Received: "
                f"{unknown[0]!r}."
            )
    for column in conditions:
        if not column.isidentifier() or column in ("x", "z", "seed", "temperature"):
            raise DataError(
                "A condition's name must be an identifier other than x, z, seed and temperature. "
                f"Received: {column!r}. Rename the column."
            )
    unsaid = {column: values for column, values in found.items() if column not in kinds}
    inferred = column_inference.infer(unsaid, name)
    chosen = {column: kinds.get(column) or inferred[column] for column in found}
    fitted = {column: kind.fit(found[column], column) for column, kind in chosen.items()}
    return TableSchema(fitted, conditions)


def _split(count, share):
    """Indices of a training and a test set, the same ones every time."""
    if not 0 < share < 1:
        raise ValueError(
            f"`test` must be a share above 0 and below 1, or a table. Received: {share!r}"
        )
    # A private generator, and the one whose stream NumPy never changes.
    order = np.random.RandomState(0).permutation(count)
    held_out = min(max(1, round(count * share)), count - 1)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
