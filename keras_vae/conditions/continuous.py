"""A real vector."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from keras_vae import arguments
from keras_vae.conditions.wording import UNKNOWN, shortened
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Continuous:
    """A real vector, such as an angle or a temperature, in its own unit.

    The networks see `(value - middle) / half_range`, from -1 to 1 within the range. The first
    `fit` learns the range where none is given, of arrays or by one pass over a dataset of known
    length. Until then they see the numbers as they are.

    NaN is *unknown*: the networks see the zero vector. That needs an `unknown_rate` above 0; they
    then see one more entry, 1 where the vector is known.

    Args:
        dim: Int, at least 1. Length of the vector.
        low, high: Optional numbers, one for all entries or a sequence of `dim`: the range.
        unit: Optional str, such as `"degrees"`; it is told, not used.
        unknown_rate: Float in [0, 1). Share of the vectors that each training step replaces with
            *unknown*, drawn anew every time.
        standardized: Bool. Whether numbers are brought to the range's scale; else the networks see
            them as they are, as in models of earlier versions.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> angle = keras_vae.Continuous(1, low=-60, high=60, unit="degrees", unknown_rate=0.1)
    >>> angle.as_array([30.0, None]).shape, angle.described_range()
    ((2, 1), '-60 to 60 degrees')

    See also:
        `Categorical`, `Ordinal`.
    """

    kind = "continuous"
    unknown = float("nan")

    def __init__(
        self,
        dim: int,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        unit: str | None = None,
        unknown_rate: float = 0.0,
        standardized: bool = True,
    ) -> None:
        self.dim = arguments.whole(dim, "dim")
        self.unit = None if unit is None else str(unit)
        self.unknown_rate = arguments.part_of_one(unknown_rate, "unknown_rate")
        self.standardized = bool(standardized)
        self.low = self.high = None
        if low is not None or high is not None:
            self.low, self.high = self._ends(low, high)

    def _ends(self, low, high):
        """Both ends as tuples of `dim` floats, or a ValueError."""
        try:
            ends = [np.broadcast_to(np.asarray(end, "float64"), self.dim) for end in (low, high)]
            is_range = np.isfinite(ends).all() and (ends[0] < ends[1]).all()
        except (TypeError, ValueError):
            is_range = False
        if not is_range:
            raise ValueError(
                f"`low` and `high` must be finite numbers, one or {self.dim}, the lower first. "
                f"Received: low={shortened(low)}, high={shortened(high)}"
            )
        return [tuple(end.tolist()) for end in ends]

    @property
    def size(self) -> int:
        """Width of the vector that the networks see."""
        return self.dim + bool(self.unknown_rate)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of one example's value."""
        return (self.dim,)

    @property
    def learns(self) -> bool:
        """Whether it has no range and is to take that of what it is trained on."""
        return self.low is None and self.standardized

    def fit(self, values: NDArray[np.float32], name: str = "condition") -> Self:
        """Return a kind with the range of values, unless there is one.

        Args:
            values: float32 array `(n, dim)`, as `as_array` returns it.
            name: The condition's name, for the error.

        Raises:
            ValueError: If an entry has no two different numbers.
        """
        if not self.learns:
            return self
        known = values[~np.isnan(values).any(axis=1)]
        low, high = (end(known, axis=0) if len(known) else None for end in (np.min, np.max))
        if low is None or (low == high).any():
            raise ValueError(
                f"`{name}` must have two different numbers in each entry to learn its range. "
                f"Received: {'none' if low is None else f'always {known[0].tolist()}'}. Pass "
                f"Continuous({self.dim}, low=..., high=...)."
            )
        # The shortest decimals that read back as the same float32.
        low, high = ([float(str(number)) for number in end] for end in (low, high))
        return self.of_range(low, high)

    def of_range(self, low: ArrayLike, high: ArrayLike) -> Self:
        """The same kind with another range."""
        low, high = (np.asarray(end, "float64").tolist() for end in (low, high))
        return self.from_config({**self.get_config(), "low": low, "high": high})

    def is_single(self, values: Any) -> bool:
        """Whether it is one vector (with `dim` 1, one number) or *unknown*, and no sequence."""
        if values is None or isinstance(values, str):
            return True
        try:
            shape = np.shape(values)
        except ValueError:  # of no shape: `as_array` says so
            return False
        return shape == (() if self.dim == 1 else (self.dim,))

    def as_array(self, values: Any, name: str = "condition") -> NDArray[np.float32]:
        """Check values and return them as a float32 array `(n, dim)`.

        Args:
            values: Sequence `(n, dim)`, or `(n,)` with `dim` 1, of finite numbers. NaN in a vector,
                and None or the string `"unknown"` in its place, are *unknown*.
            name: The condition's name, for the error.

        Raises:
            ValueError: If the values are no numbers, the shape differs or one is infinite; or
                *unknown*, without an `unknown_rate`.
        """
        example = [[0.0] * self.dim]
        try:
            numbers = np.asarray(self._with_unknown(values), dtype="float32")
        except (ValueError, TypeError) as err:
            raise ValueError(
                f"`{name}` must be numbers, {self.dim} for each example, such as {example}. "
                f"Received: {shortened(values)}"
            ) from err
        if numbers.ndim == 1 and self.dim == 1:
            numbers = numbers[:, None]
        if numbers.ndim != 2 or numbers.shape[1] != self.dim:
            raise ValueError(
                f"`{name}` must have the shape (n, {self.dim}), such as {example}. Received: "
                f"{numbers.shape}"
            )
        if np.isinf(numbers).any():
            raise ValueError(f"`{name}` must be finite. Received: infinity.")
        unknown = np.isnan(numbers).any(axis=1)
        if unknown.any() and not self.unknown_rate:
            raise ValueError(
                f"`{name}` must be finite. Received: NaN at position {int(np.argmax(unknown))}. If "
                f"NaN is unknown, train with Continuous({self.dim}, unknown_rate=0.1)."
            )
        return np.where(unknown[:, None], np.float32("nan"), numbers)

    def _with_unknown(self, values):
        """Values with NaN in the place of None and of `"unknown"`."""
        if getattr(values, "dtype", None) is not None and values.dtype.kind not in "OUT":
            return values
        missing = np.nan if self.dim == 1 else [np.nan] * self.dim
        return [
            missing if value is None or (isinstance(value, str) and value == UNKNOWN) else value
            for value in values
        ]

    def outside(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which vectors `(n, dim)` leave the range by over 1 % of it: bool array `(n,)`.

        Of so many numbers that a training has seen the ends are seldom among them.
        """
        if self.low is None:
            return np.zeros(len(values), bool)
        low, high = (np.asarray(end) for end in (self.low, self.high))
        slack = 0.01 * (high - low)
        return ((values < low - slack) | (values > high + slack)).any(axis=1)

    def described_range(self) -> str | None:
        """The range and its unit in words, such as `-60 to 60 degrees`, or None."""
        if self.low is None:
            return None
        ends = [f"{low:g} to {high:g}" for low, high in zip(self.low, self.high, strict=True)]
        ends = ends[:1] if len(set(ends)) == 1 else ends
        return ", ".join(ends) + (f" {self.unit}" if self.unit else "")

    def middle(self) -> NDArray[np.float64]:
        """The middle of the range, float64 `(dim,)`; without one, zeros."""
        return np.zeros(self.dim) if self.low is None else np.add(self.low, self.high) / 2

    def scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The middle of the range and 1 over half of it, float32 `(dim,)`; None without one."""
        if not self.standardized or self.low is None:
            return None
        low, high = np.array([self.low, self.high])
        return ((low + high) / 2).astype("float32"), (2 / (high - low)).astype("float32")

    def encode(self, value: Tensor) -> Tensor:
        """Turn values `(batch, dim)` into what the networks see, float32 `(batch, size)`."""
        value, known = ops.cast(value, "float32"), None
        if self.unknown_rate:
            missing = ops.not_equal(value, value)  # TFLite has no IsNaN
            known = 1.0 - ops.max(ops.cast(missing, "float32"), axis=-1, keepdims=True)
            value = ops.where(missing, 0.0, value)
        if (scaling := self.scaling()) is not None:
            middle, factor = scaling
            value = ops.multiply(ops.subtract(value, middle), factor)
        # A product, for what is left is finite; ONNX files compute a `where` of rows as one, too.
        return value if known is None else ops.concatenate([value * known, known], axis=-1)

    def valid(self, value: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether each vector is finite, or *unknown* where it may be."""
        allowed = ops.isfinite(value)
        if self.unknown_rate:
            allowed = ops.logical_or(allowed, ops.isnan(value))
        return ops.all(allowed, axis=-1)

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        found = {"kind": self.kind, "dim": self.dim}
        if self.low is not None:
            found["range"] = [list(ends) for ends in zip(self.low, self.high, strict=True)]
        if self.unit:
            found["unit"] = self.unit
        return {**found, **({"unknown": True} if self.unknown_rate else {})}

    def get_config(self) -> dict[str, Any]:
        config = {
            "low": self.low and list(self.low),
            "high": self.high and list(self.high),
            "unit": self.unit,
            "unknown_rate": self.unknown_rate,
            "standardized": self.standardized,
        }
        # Without what is left out, earlier versions read the file, too.
        unset = {"low": None, "high": None, "unit": None, "unknown_rate": 0.0}
        unset["standardized"] = False
        return {"dim": self.dim, **{k: v for k, v in config.items() if v != unset[k]}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        # Files of earlier versions say `dim` alone, and mean numbers as they are.
        return cls(**{"standardized": False, **config})
