"""What the columns of a table are together: the schema that a model of it holds."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae.data import columns as kinds_module
from keras_vae.data import lines
from keras_vae.data.errors import DataError, shortened

KINDS = {
    kind.__name__: kind
    for kind in (
        kinds_module.Numeric,
        kinds_module.Count,
        kinds_module.Category,
        kinds_module.Binary,
    )
}

# What else files name so, or their golden samples.
RESERVED = (
    *("x", "z", "codes", "z_mean", "z_log_var", "score", "margin", "index"),
    *("p_value", "contribution"),
    *("seed", "temperature", "token_temperature", "tolerance", "conditions", "magnitudes"),
)
RECONSTRUCTED = "_reconstructed"


class TableSchema:
    """The columns of a table, and how rows become arrays that a model takes.

    Those that are no conditions make `x`, float32 `(n, len(names))`: a `Numeric` its transformed
    value, a `Count` itself, a `Category` its index, a `Binary` 0 or 1, and NaN for a missing one.

    It needs no Keras; `.keras` files hold it as a part of a model.

    Args:
        columns: Dict from the name of a column to its kind, fitted; in the order of the table.
        conditions: Sequence of the names that a model is conditioned on.

    Raises:
        ValueError: If a kind is not fitted, a condition is no column, or no column is left for
            `x`.

    Example:

    >>> import keras_vae
    >>> rows = {"age": [39, 50, 38, 53, 28], "sex": ["m", "m", "f", None, "f"]}
    >>> schema = keras_vae.data.table(rows).schema
    >>> x = schema.encode({"age": [50], "sex": ["f"]})
    >>> {name: values.tolist() for name, values in schema.decode(x).items()}
    {'age': [50], 'sex': ['f']}

    See also:
        `table`, which makes it.
    """

    def __init__(self, columns: Mapping[str, Any], conditions: Sequence[str] = ()) -> None:
        self.columns = {str(name): _kind(kind) for name, kind in dict(columns).items()}
        self.conditions = tuple(str(name) for name in conditions)
        for name, kind in self.columns.items():
            if kind.fitted is None:
                raise ValueError(
                    f"`columns` must be fitted kinds. Received: {kind!r} for {name!r}, which is "
                    "not. Take the schema of data.table, or call its fit(values)."
                )
        unknown = [name for name in self.conditions if name not in self.columns]
        if unknown or len(set(self.conditions)) < len(self.conditions):
            raise ValueError(
                f"`conditions` must be different columns, of {shortened(', '.join(self.columns))}. "
                f"Received: {list(self.conditions)}"
            )
        if not self.names:
            raise ValueError("A table must have a column that is no condition. Received: none.")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that `x` has, a tuple of str, in their order."""
        return tuple(name for name in self.columns if name not in self.conditions)

    @property
    def blocks(self) -> tuple[Any, ...]:
        """The distribution of each column of `x`, as `likelihoods.Table` takes them."""
        return tuple(self.columns[name].block for name in self.names)

    @property
    def condition(self) -> dict[str, Any]:
        """Dict from a condition's name to its kind, as a model's `condition=` takes it."""
        return {name: self.columns[name].condition() for name in self.conditions}

    @property
    def exact_numbers(self) -> tuple[str, ...]:
        """The conditions that are numbers of which every device computes the same score."""
        return tuple(name for name in self.conditions if lines.has_scores(self.columns[name]))

    def encode(self, columns: Mapping[str, Any]) -> Any:
        """Turn rows into what `fit` and `encode` of a model take.

        Args:
            columns: Dict of every column, values `(n,)` in units, as numbers and names; None, or
                NaN, where one is missing.

        Returns:
            `x`, float32 `(n, len(names))`; with conditions a dict of it and of theirs.

        Raises:
            DataError: If a column is missing or too many, of another length, or a value is none of
                its kind.
        """
        self._check_names(columns, self.columns)
        lengths = {name: len(columns[name]) for name in self.columns}
        if len(set(lengths.values())) > 1 or not next(iter(lengths.values())):
            raise DataError(
                "Columns must have one length, at least 1. Received: "
                f"{shortened(', '.join(f'{name} {count}' for name, count in lengths.items()))}"
            )
        x = np.stack([self.columns[n].encode(columns[n], n) for n in self.names], axis=1)
        x = x.astype("float32")
        return {"x": x, **self.encode_conditions(columns)} if self.conditions else x

    def encode_conditions(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Turn conditions into what a model takes: int32 labels `(n,)`, float32 numbers `(n, 1)`.

        Args:
            columns: Dict with every condition, values `(n,)`, or one that is that of all rows. It
                may hold other columns, too.

        Returns:
            Dict of arrays; of single values, single labels and numbers `(1, 1)`.

        Raises:
            DataError: If a condition is missing, or a value is none of its kind.
        """
        encoded = {}
        for name in self.conditions:
            if name not in columns:
                raise DataError(
                    f"Conditions must be {', '.join(self.conditions)}. Received: none for {name!r}."
                )
            kind, values = self.columns[name], columns[name]
            if not hasattr(kind, "names"):
                encoded[name] = self._encode_numbers(name, values)
                continue
            single = isinstance(values, str) or np.ndim(values) == 0
            found = kind.encode([values] if single else values, name)
            found = np.where(np.isnan(found), len(kind.names), found).astype("int32")
            encoded[name] = found[0] if single else found
        return encoded

    def encode_numbers(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """Encode those conditions that are numbers in units, and leave all others as they are.

        Args:
            conditions: Dict from names to values. Of a condition that is a number a single one, or
                `(n,)`, is in units, and `(n, 1)` is encoded, as `encode_conditions` gives it.

        Returns:
            Dict of the same names: of numbers float32 `(n, 1)`, or a single one.
        """
        found = dict(conditions)
        for name in self.conditions:
            if name not in found or hasattr(self.columns[name], "names"):
                continue
            values = found[name]
            is_single = np.ndim(values) == 0 or np.shape(values) == (1, 1)
            if np.ndim(values) < 2:
                values = self._encode_numbers(name, values)
            found[name] = values[0, 0] if is_single else values
        return found

    def _encode_numbers(self, name, values):
        kind, values = self.columns[name], kinds_module.numbers(np.atleast_1d(values), name)
        found = kind.encode(values, name)
        if np.isnan(found).any():
            raise DataError(
                f"Condition {name!r}, a number, must be known in every row. Received: none in row "
                f"{int(np.argmax(np.isnan(found))) + 1}. Leave it among the other columns."
            )
        if lines.has_scores(kind):
            found = lines.scores(kind, values)
        return found.astype("float32")[:, None]

    def decode(
        self, x: ArrayLike, conditions: Mapping[str, Any] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Turn rows back into columns.

        Args:
            x: Float array `(n, len(names))`, as `encode` gives it, or as a model draws it.
            conditions: Optional dict, as `encode_conditions` gives it.

        Returns:
            Dict of the columns of `x`, and of the conditions that are given, in the table's order:
            numbers, and object arrays of names; NaN or None where one is missing.

        Raises:
            ValueError: If the shape differs.
        """
        x = np.asarray(x, "float64")
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ValueError(f"`x` must be (n, {len(self.names)}). Received: shape={x.shape}.")
        encoded = dict(zip(self.names, x.T, strict=True))
        for name, values in (conditions or {}).items():
            values = np.asarray(values, "float64").reshape(-1)
            if (names := getattr(self.columns[name], "names", None)) is not None:
                values = np.where(values == len(names), np.nan, values)
            encoded[name] = np.broadcast_to(values, len(x)) if len(values) == 1 else values
        return {n: kind.decode(encoded[n]) for n, kind in self.columns.items() if n in encoded}

    @property
    def ports(self) -> dict[str, str]:
        """Dict from each column to its name in exported files: letters, digits and underscores."""
        ports = {name: name for name in self.conditions}
        for name in self.names:
            port = re.sub("[^A-Za-z0-9_]", "_", name)
            if not port[0].isalpha() or port in RESERVED or port.endswith(RECONSTRUCTED):
                port = f"column_{port}"
            taken, number = port, 1
            while port in ports.values():
                number += 1
                port = f"{taken}_{number}"
            ports[name] = port
        return ports

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        ports = self.ports
        columns = {
            name: {**kind.manifest(), "port": ports[name]} for name, kind in self.columns.items()
        }
        return {"kind": "table", "columns": columns, "conditions": list(self.conditions)}

    def get_config(self) -> dict[str, Any]:
        columns = {
            name: {"kind": type(kind).__name__, **kind.get_config()}
            for name, kind in self.columns.items()
        }
        return {"columns": columns, "conditions": list(self.conditions)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableSchema) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((*self.columns, *self.conditions))

    def __repr__(self) -> str:
        return f"TableSchema({self.columns!r}, conditions={list(self.conditions)!r})"

    def _check_names(self, given, wanted):
        missing = [name for name in wanted if name not in given]
        extra = [str(name) for name in given if name not in wanted]
        if missing or extra:
            received = [f"none of {', '.join(missing)}"] * bool(missing)
            received += [f"{', '.join(extra)} besides"] * bool(extra)
            raise DataError(
                f"Columns must be {shortened(', '.join(wanted))}. Received: "
                f"{shortened('; '.join(received))}. Rename or leave out."
            )


def _kind(kind):
    """A kind, from itself or from its config with its name."""
    if not isinstance(kind, dict):
        if type(kind) not in KINDS.values():
            raise ValueError(
                f"`columns` must be of the kinds {', '.join(KINDS)}. Received: {kind!r}"
            )
        return kind
    config = copy.deepcopy(kind)
    return KINDS[config.pop("kind")].from_config(config)
