"""What a column of a table is, and how its values become the number that a model sees.

A kind is said by the user or inferred (`column_inference`), and fitted to the values of its column:
`fit` returns a kind that knows its transform. A fitted kind encodes values to one float each, NaN
where they are missing, and decodes them again. None of it needs Keras; `.keras` files hold the
kinds as parts of a schema, `table_schema.TableSchema`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae import arguments
from keras_vae.data import lines, quantiles
from keras_vae.data.errors import DataError, shortened

TRANSFORMS = ("standard", "quantile", "log")
OTHER = "other"
MOST_CATEGORIES = 100
# Draws of a negative binomial are found by adding up probabilities, so many for each value.
MOST_COUNT = 1000


class Column:
    """What the kinds of columns share: a config, and a comparison by it."""

    fitted = None

    def _check_fitted(self):
        if self.fitted is None:
            raise ValueError(
                f"{type(self).__name__} must be fitted to a column before it encodes. Received: "
                "one that is not. Call fit(values), or take the kinds of a TableSchema."
            )

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        return {"kind": type(self).__name__.lower(), **self.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        config = {name: v for name, v in self.get_config().items() if name != "fitted"}
        inner = ", ".join(f"{name}={v!r}" for name, v in config.items() if v is not None)
        return f"{type(self).__name__}({inner})"


class Numeric(Column):
    """A number, of which near values mean nearly the same.

    Args:
        transform: `"quantile"`, the default: a monotone, piecewise linear map that makes the
            column normal, N(0, 1), whatever its shape; a value that many rows have, such as 0,
            covers a whole interval. `"standard"`: less the mean, over the standard deviation.
            `"log"`: the same of the logarithm, of numbers above 0.
        integer: Optional bool. Whether decoded numbers are rounded to whole ones. Default: whether
            all values of the column are.
        bounds: Optional pair of numbers that decoded ones are kept within. Default: the least and
            the largest of the column.
        unit: Optional str, such as `"km/h"`; it is told, not used.
        fitted: Optional dict of plain numbers, as `fit` finds them.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> column = keras_vae.data.Numeric("standard", unit="km/h").fit([10.0, 20.0, 30.0])
    >>> column.encode([20.0]).tolist(), column.decode([0.0]).tolist()
    ([0.0], [20])

    See also:
        `Count`; `table`, which finds out what a column is.
    """

    block = ("normal",)

    def __init__(
        self,
        transform: Literal["quantile", "standard", "log"] = "quantile",
        integer: bool | None = None,
        bounds: tuple[float, float] | None = None,
        unit: str | None = None,
        fitted: Mapping[str, Any] | None = None,
    ) -> None:
        self.transform = arguments.one_of(transform, "transform", TRANSFORMS)
        self.integer = None if integer is None else bool(integer)
        self.bounds = None if bounds is None else tuple(float(end) for end in bounds)
        if self.bounds and not (len(self.bounds) == 2 and self.bounds[0] < self.bounds[1]):
            raise ValueError(f"`bounds` must be two numbers, the lower first. Received: {bounds!r}")
        self.unit = None if unit is None else str(unit)
        self.fitted = fitted

    def fit(self, values: ArrayLike, name: str = "values") -> Numeric:
        """Return a kind fitted to a column.

        Args:
            values: Numbers `(n,)`, NaN where missing; at least two different ones.
            name: Str, the column, for errors.

        Raises:
            DataError: If the values are no numbers, all alike, out of the bounds or, for `"log"`,
                not above 0.
        """
        values = numbers(values, name)
        values = values[~np.isnan(values)]
        if not len(values) or values.min() == values.max():
            raise DataError(
                f"Column {name!r} must have at least two different numbers. Received: "
                f"{values[:1].tolist() or 'none'}. Leave it out with drop=[{name!r}]."
            )
        low, high = self.bounds or (float(values.min()), float(values.max()))
        if values.min() < low or values.max() > high:
            raise DataError(
                f"Column {name!r} must lie within its bounds, {low:g} to {high:g}. Received: "
                f"{values.min():g} to {values.max():g}. Pass wider bounds."
            )
        if self.transform == "log" and values.min() <= 0:
            raise DataError(
                f"Column {name!r} must be above 0 for the transform 'log'. Received: "
                f"{values.min():g}. Pass transform='quantile'."
            )
        integer = bool((values == np.floor(values)).all()) if self.integer is None else self.integer
        if self.transform == "quantile":
            fitted = quantiles.fit(values)
        else:
            known = np.log(values) if self.transform == "log" else values
            fitted = {"mean": float(known.mean()), "std": float(known.std())}
        return Numeric(self.transform, integer, (low, high), self.unit, fitted)

    def encode(self, values: ArrayLike, name: str = "values") -> NDArray[np.float64]:
        """Turn numbers into floats near N(0, 1): float64 `(n,)`, NaN where missing.

        Numbers beyond those of the column that it was fitted to go on as a straight line.

        Raises:
            DataError: If a value is no number, or for `"log"` not above 0.
        """
        self._check_fitted()
        values = numbers(values, name)
        if self.transform == "quantile":
            return quantiles.to_normal(values, **self.fitted)
        if self.transform == "log":
            if (values <= 0).any():
                row = int(np.argmax(values <= 0))
                raise DataError(
                    f"Column {name!r} must be above 0, as its transform is 'log'. Received: "
                    f"{values[row]:g} in row {row + 1}."
                )
            values = np.log(values)
        return (values - self.fitted["mean"]) / self.fitted["std"]

    def decode(self, encoded: ArrayLike) -> NDArray[Any]:
        """Turn floats back into numbers within the bounds: float64, or int64 of whole ones.

        Missing ones, NaN, are NaN; of whole numbers with any missing, all are float64.
        """
        self._check_fitted()
        encoded = np.asarray(encoded, "float64")
        if lines.is_whole(self):
            values = lines.whole_numbers(self, encoded)
        elif self.transform == "quantile":
            values = quantiles.from_normal(encoded, **self.fitted)
        else:
            values = encoded * self.fitted["std"] + self.fitted["mean"]
            if self.transform == "log":
                values = np.exp(np.minimum(values, 700))
        if self.integer:
            values = np.rint(values)
        values = np.clip(values, *self.bounds)
        if self.integer and not np.isnan(values).any() and np.abs(values).max(initial=0) < 2**62:
            return values.astype("int64")
        return values

    def condition(self) -> Any:
        """What a model is conditioned on by this column: the encoded number."""
        from keras_vae import conditions

        return conditions.Continuous(1, standardized=False)

    def describe(self) -> str:
        """A few words for a summary."""
        low, high = self.bounds
        whole = "whole, " if self.integer else ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{whole}{low:g} to {high:g}{unit}, {self.transform}"

    def get_config(self) -> dict[str, Any]:
        return {
            "transform": self.transform,
            "integer": self.integer,
            "bounds": None if self.bounds is None else list(self.bounds),
            "unit": self.unit,
            "fitted": self.fitted,
        }

    def manifest(self) -> dict[str, Any]:
        """As of the other kinds, without what the graphs of a file hold already."""
        return {name: value for name, value in super().manifest().items() if name != "fitted"}


class Count(Column):
    """How many: a whole number of at least 0, under a negative binomial distribution.

    It suits counts up to some hundred, such as errors an hour. For larger numbers, or those of
    another shape, take `Numeric`.

    Args:
        most: Optional int, at most 1000: draws beyond it are it. Default: twice the largest of the
            column, if that is allowed.
        unit: Optional str.

    Raises:
        ValueError: If `most` is out of range.

    Example:

    >>> import keras_vae
    >>> column = keras_vae.data.Count(unit="errors").fit([0, 3, 1, 0, 2])
    >>> column.block, column.describe()
    (('negative_binomial', 10), '0 to 10 errors')

    See also:
        `Numeric`, for larger numbers.
    """

    def __init__(self, most: int | None = None, unit: str | None = None) -> None:
        self.most = None if most is None else arguments.whole(most, "most")
        if most is not None and most > MOST_COUNT:
            raise ValueError(f"`most` must be at most {MOST_COUNT}. Received: {most}.")
        self.unit = None if unit is None else str(unit)

    @property
    def fitted(self) -> int | None:
        """Whether it is known how large counts are; None if not."""
        return self.most

    @property
    def block(self) -> tuple[Any, ...]:
        """The distribution, as `likelihoods.Table` takes it."""
        return ("negative_binomial", self.most)

    def fit(self, values: ArrayLike, name: str = "values") -> Count:
        """As `Numeric.fit`, of whole numbers of at least 0."""
        values = self._checked(numbers(values, name), name)
        values = values[~np.isnan(values)]
        largest = int(values.max(initial=1))
        if largest > (self.most or MOST_COUNT):
            raise DataError(
                f"Column {name!r} must be counts of at most {self.most or MOST_COUNT}. Received: "
                f"{largest}. Pass kinds={{{name!r}: data.Numeric()}}."
            )
        return Count(self.most or min(MOST_COUNT, max(2 * largest, 10)), self.unit)

    def encode(self, values: ArrayLike, name: str = "values") -> NDArray[np.float64]:
        """Counts as they are: float64 `(n,)`, NaN where missing."""
        self._check_fitted()
        return self._checked(numbers(values, name), name)

    def decode(self, encoded: ArrayLike) -> NDArray[Any]:
        """Counts, int64; or float64 with NaN where any is missing."""
        values = np.clip(np.rint(np.asarray(encoded, "float64")), 0, self.most)
        return values if np.isnan(values).any() else values.astype("int64")

    def condition(self) -> Any:
        """As `Numeric.condition`."""
        return Numeric.condition(self)

    def describe(self) -> str:
        """As `Numeric.describe`."""
        return f"0 to {self.most}{f' {self.unit}' if self.unit else ''}"

    def get_config(self) -> dict[str, Any]:
        return {"most": self.most, "unit": self.unit}

    def _checked(self, values, name):
        wrong = (values < 0) | (values != np.floor(values)) & ~np.isnan(values)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"Column {name!r} must be counts, whole numbers of at least 0. Received: "
                f"{values[row]:g} in row {row + 1}. Repair it, or take data.Numeric()."
            )
        return values


class Category(Column):
    """One of several names.

    Args:
        names: Optional sequence of different str. Default: those of the column, the most frequent
            first.
        most: Int, at least 2. Where the column has more names, the rarer ones are joined into one
            called *other*.
        other: Optional bool. Whether a name that is none of `names` is *other*, rather than
            refused. Default: whether rare ones were joined.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> column = keras_vae.data.Category().fit(["red", "blue", "red", None])
    >>> column.names, column.encode(["blue", "red"]).tolist()
    (('red', 'blue'), [1.0, 0.0])

    See also:
        `Binary`, of two values; `table`, which finds out what a column is.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        most: int = MOST_CATEGORIES,
        other: bool | None = None,
    ) -> None:
        self.names = None if names is None else tuple(str(name) for name in names)
        self.most = arguments.whole(most, "most", 2)
        self.other = None if other is None else bool(other)
        if self.names is not None and (len(set(self.names)) < max(2, len(self.names))):
            raise ValueError(
                f"`names` must be at least two different names. Received: {shortened(repr(names))}"
            )
        if self.names and self.other and self.names[-1] != OTHER:
            self.names = (*(n for n in self.names if n != OTHER), OTHER)

    @property
    def fitted(self) -> tuple[str, ...] | None:
        """The names, or None before they are known."""
        return self.names

    @property
    def block(self) -> tuple[Any, ...]:
        """As `Count.block`."""
        return ("categorical", len(self.names))

    def fit(self, values: Sequence[Any] | NDArray[Any], name: str = "values") -> Category:
        """As `Numeric.fit`, of names, None where missing."""
        if self.names:
            return Category(self.names, self.most, bool(self.other))
        names, counts = np.unique(present(texts(values)), return_counts=True)
        if len(names) < 2:
            raise DataError(
                f"Column {name!r} must have at least two different names. Received: "
                f"{names.tolist() or 'none'}. Leave it out with drop=[{name!r}]."
            )
        names = names[np.argsort(-counts, kind="stable")].tolist()
        other = len(names) > self.most if self.other is None else self.other
        names = names[: self.most - 1] if len(names) > self.most else names
        return Category(
            [*names, OTHER] if other and OTHER not in names else names, self.most, other
        )

    def encode(
        self, values: Sequence[Any] | NDArray[Any], name: str = "values"
    ) -> NDArray[np.float64]:
        """Turn names into their indices: float64 `(n,)`, NaN where missing.

        Raises:
            DataError: If a name was never seen, and there is no *other*.
        """
        self._check_fitted()
        index = {known: float(k) for k, known in enumerate(self.names)}
        fallback = index[OTHER] if self.other else None
        values = texts(values)
        encoded = [math.nan if v is None else index.get(v, fallback) for v in values]
        if None in encoded:
            row = encoded.index(None)
            raise DataError(
                f"Column {name!r} must hold one of its {len(self.names)} names, "
                f"{shortened(', '.join(self.names[:8]))}{', ...' if len(self.names) > 8 else ''}. "
                f"Received: {values[row]!r} in row {row + 1}. Pass Category(other=True) to join "
                "such ones."
            )
        return np.array(encoded, "float64")

    def decode(self, encoded: ArrayLike) -> NDArray[np.object_]:
        """Turn indices into names: an object array of str, None where missing."""
        return _by_index(encoded, self.names)

    def condition(self) -> Any:
        """As `Numeric.condition`: the name."""
        from keras_vae import conditions

        # Learned vectors would be no whole numbers, which exact decoders need.
        return conditions.Categorical(names=self.names, allow_absent_classes=True, embedding_dim=0)

    def describe(self) -> str:
        """As `Numeric.describe`."""
        first = ", ".join(self.names[:3])
        return shortened(f"{len(self.names)}: {first}{', ...' if len(self.names) > 3 else ''}")

    def get_config(self) -> dict[str, Any]:
        names = None if self.names is None else list(self.names)
        return {"names": names, "most": self.most, "other": self.other}


class Binary(Column):
    """One of two values, such as 0 and 1, or yes and no.

    Args:
        names: Optional pair of different str. Default: those of the column, in their order.

    Raises:
        ValueError: If these are no two names.

    Example:

    >>> import keras_vae
    >>> column = keras_vae.data.Binary().fit(["yes", "no", None, "yes"])
    >>> column.names, column.encode(["no", "yes"]).tolist()
    (('no', 'yes'), [0.0, 1.0])

    See also:
        `Category`, of more names.
    """

    block = ("bernoulli",)

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = None if names is None else tuple(str(name) for name in names)
        if self.names is not None and len(set(self.names)) != 2:
            raise ValueError(f"`names` must be two different names. Received: {names!r}")

    @property
    def fitted(self) -> tuple[str, ...] | None:
        """The names, or None before they are known."""
        return self.names

    def fit(self, values: Sequence[Any] | NDArray[Any], name: str = "values") -> Binary:
        """As `Category.fit`."""
        names = self.names or np.unique(present(texts(values))).tolist()
        if len(names) != 2:
            raise DataError(
                f"Column {name!r} must have two different values. Received: "
                f"{shortened(repr(names))}. Pass kinds={{{name!r}: data.Category()}}."
            )
        return Binary(names)

    def encode(
        self, values: Sequence[Any] | NDArray[Any], name: str = "values"
    ) -> NDArray[np.float64]:
        """Turn values into 0 and 1: float64 `(n,)`, NaN where missing."""
        self._check_fitted()
        return Category(self.names).encode(values, name)

    def decode(self, encoded: ArrayLike) -> NDArray[np.object_]:
        """Turn numbers, 1 from 0.5 on, into names: an object array, None where missing."""
        encoded = np.asarray(encoded, "float64")
        return _by_index(np.where(np.isnan(encoded), encoded, encoded >= 0.5), self.names)

    def condition(self) -> Any:
        """As `Category.condition`."""
        return Category.condition(self)

    def describe(self) -> str:
        """As `Numeric.describe`."""
        return " or ".join(self.names)

    def get_config(self) -> dict[str, Any]:
        return {"names": None if self.names is None else list(self.names)}


def numbers(values, name):
    """Values of a column as float64 `(n,)`, NaN where missing; or a DataError that says the row."""
    try:
        found = np.asarray(values, "float64")
    except (TypeError, ValueError):
        values = list(values)
        found = np.array([_number(value, row, name) for row, value in enumerate(values)], "float64")
    if np.isinf(found).any():
        row = int(np.argmax(np.isinf(found)))
        raise DataError(
            f"Column {name!r} must be finite. Received: {found[row]} in row {row + 1}. Repair it, "
            "or leave it empty."
        )
    return found


def texts(values):
    """Values of a column as a list of str, None where missing; whole numbers without a point."""
    return [None if is_missing(value) else _text(value) for value in values]


def present(values):
    """What of a list is not None."""
    return [value for value in values if value is not None]


def is_missing(value):
    """Whether it is None, NaN, or what a frame has for them."""
    if isinstance(value, str):
        return False
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _number(value, row, name):
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError) as err:
        raise DataError(
            f"Column {name!r} must be numbers. Received: {shortened(repr(value))} in row {row + 1}."
            f" Repair it, or pass kinds={{{name!r}: data.Category()}}."
        ) from err


def _by_index(encoded, names):
    encoded = np.asarray(encoded, "float64")
    index = np.where(np.isnan(encoded), len(names), np.rint(encoded)).astype(int)
    return np.array([*names, None], object)[index]
