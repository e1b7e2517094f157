"""What the channels of a series are together: the schema that a model of windows holds."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae.arguments import whole
from keras_vae.data.columns import Category, Numeric
from keras_vae.data.errors import DataError, shortened
from keras_vae.data.table_schema import RESERVED


class SeriesSchema:
    """The channels of a series, how long its windows are, and how they become arrays.

    A window is `x`, float32 `(window, channels)`: each channel less its mean, over its standard
    deviation. It needs no Keras; `.keras` files hold it as a part of a model.

    Args:
        channels: Dict from the name of a channel to its `Numeric("standard")`, fitted.
        window: Int, steps of a window.
        stride: Int, steps from one window to the next.
        conditions: Optional dict from the name of a condition to its `Category`, fitted.
        step: Optional float, seconds between two steps.

    Raises:
        ValueError: If a kind is another one or not fitted, or a number is out of range.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> made = keras_vae.data.series(np.sin(np.arange(400) / 5)[:, None], window=16, stride=4)
    >>> windows = made.schema.windows(np.zeros((20, 1)))
    >>> windows.shape, made.schema.encode(windows).dtype
    ((2, 16, 1), dtype('float32'))

    See also:
        `series`, which makes it.
    """

    def __init__(
        self,
        channels: Mapping[str, Numeric],
        window: int,
        stride: int = 1,
        conditions: Mapping[str, Category] | None = None,
        step: float | None = None,
    ) -> None:
        self.channels = {str(name): _kind(k, Numeric) for name, k in dict(channels).items()}
        self.conditions = {
            str(name): _kind(k, Category) for name, k in dict(conditions or {}).items()
        }
        if not self.channels:
            raise ValueError("`channels` must name at least one. Received: none.")
        for name, kind in self.channels.items():
            if kind.transform == "quantile" or kind.fitted is None:
                raise ValueError(
                    "`channels` must be fitted kinds with the transform 'standard'. Received: "
                    f"{kind!r} for {name!r}. Take the schema of data.series."
                )
        for name in self.conditions:
            if not name.isidentifier() or name in RESERVED or name in self.channels:
                raise ValueError(
                    "A condition's name must be an identifier that nothing else in a file has. "
                    f"Received: {name!r}. Rename the column."
                )
        self.window = whole(window, "window", 2)
        self.stride = whole(stride, "stride")
        self.step = None if step is None else float(step)

    @property
    def names(self) -> tuple[str, ...]:
        """The channels, a tuple of str, in their order."""
        return tuple(self.channels)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of a window, `(window, channels)`."""
        return self.window, len(self.channels)

    @property
    def mean(self) -> NDArray[np.float32]:
        """What is taken from the channels, float32 `(channels,)`, in units."""
        return np.array([kind.fitted["mean"] for kind in self.channels.values()], "float32")

    @property
    def std(self) -> NDArray[np.float32]:
        """What the channels are divided by, float32 `(channels,)`, in units."""
        return np.array([kind.fitted["std"] for kind in self.channels.values()], "float32")

    @property
    def condition(self) -> dict[str, Any]:
        """Dict from a condition's name to its kind, as a model's `condition=` takes it."""
        return {name: kind.condition() for name, kind in self.conditions.items()}

    def encode(self, windows: ArrayLike, conditions: Mapping[str, Any] | None = None) -> Any:
        """Turn windows in units into what `fit` of a model takes.

        Args:
            windows: Float array `(n, window, channels)`, in units; none missing.
            conditions: Dict from each condition's name to names `(n,)`, or one for all.

        Returns:
            float32 array `(n, window, channels)`; with conditions a dict of it, `x`, and of theirs.

        Raises:
            DataError: If a shape differs, a value is missing, or a condition is unknown.
        """
        windows = np.asarray(windows, "float32")
        if windows.ndim != 3 or windows.shape[1:] != self.shape:
            raise DataError(
                f"Windows must be (n, {self.window}, {len(self.channels)}), of the channels "
                f"{shortened(', '.join(self.names))}. Received: {windows.shape}."
            )
        x = (windows - self.mean) / self.std
        if not self.conditions:
            return x
        return {"x": x, **self.encode_conditions(conditions or {}, len(x))}

    def encode_conditions(
        self, conditions: Mapping[str, Any], count: int | None = None
    ) -> dict[str, NDArray[np.int32]]:
        """Turn names of conditions into int32 labels `(n,)`, unknown ones the index after the last.

        Args:
            conditions: Dict from each condition's name to names `(n,)`, or one name.
            count: Optional int, n, for single names.

        Raises:
            DataError: If a condition is missing, or a name is none of it.
        """
        if missing := [name for name in self.conditions if name not in conditions]:
            raise DataError(
                f"Conditions must be {', '.join(self.conditions)}. Received: none for "
                f"{missing[0]!r}."
            )
        encoded = {}
        for name, kind in self.conditions.items():
            values = conditions[name]
            if isinstance(values, str) or np.ndim(values) == 0:
                values = [values] * (1 if count is None else count)
            found = kind.encode(values, name)
            encoded[name] = np.where(np.isnan(found), len(kind.names), found).astype("int32")
        return encoded

    def decode(self, x: ArrayLike) -> NDArray[np.float32]:
        """Turn windows of a model back into units: float32 `(n, window, channels)`."""
        return np.asarray(x, "float32") * self.std + self.mean

    def windows(self, values: ArrayLike, stride: int | None = None) -> NDArray[Any]:
        """Cut a series into windows.

        Args:
            values: Float array `(steps, channels)`, in units.
            stride: Optional int, steps from one window to the next. Default: the schema's.

        Returns:
            Float array `(n, window, channels)`, a view.

        Raises:
            DataError: If the series is shorter than a window, or has other channels.
        """
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != len(self.channels):
            raise DataError(
                f"A series must be (steps, {len(self.channels)}). Received: {values.shape}."
            )
        if len(values) < self.window:
            raise DataError(
                f"A series must be at least as long as a window, {self.window} steps. Received: "
                f"{len(values)}."
            )
        made = np.lib.stride_tricks.sliding_window_view(values, self.window, axis=0)
        return made[:: stride or self.stride].swapaxes(1, 2)

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        channels = [
            {
                "name": name,
                "mean": float(np.float32(kind.fitted["mean"])),
                "std": float(np.float32(kind.fitted["std"])),
                "unit": kind.unit,
            }
            for name, kind in self.channels.items()
        ]
        return {
            "kind": "series",
            "window": self.window,
            "stride": self.stride,
            "step": self.step,
            "channels": channels,
            "conditions": list(self.conditions),
        }

    def get_config(self) -> dict[str, Any]:
        return {
            "channels": {name: kind.get_config() for name, kind in self.channels.items()},
            "window": self.window,
            "stride": self.stride,
            "conditions": {name: kind.get_config() for name, kind in self.conditions.items()},
            "step": self.step,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeriesSchema) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.names, self.window, self.stride))

    def __repr__(self) -> str:
        return f"SeriesSchema({list(self.names)}, window={self.window}, stride={self.stride})"


def _kind(kind, wanted):
    """A kind, from itself or from its config."""
    if isinstance(kind, dict):
        kind = wanted.from_config(copy.deepcopy(kind))
    if type(kind) is not wanted:
        raise ValueError(f"A kind must be a {wanted.__name__}. Received: {kind!r}")
    return kind
