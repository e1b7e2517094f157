"""Tags, of which an example may have several."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments
from keras_vae.conditions.categorical import several_names
from keras_vae.conditions.wording import UNKNOWN, is_unknown, listing, shortened
from keras_vae.type_aliases import Tensor

_EXAMPLE = "[['red', 'round'], [], None]"


@keras.saving.register_keras_serializable("keras_vae")
class MultiLabel:
    """Tags, of which an example may have several or none, such as what a picture shows.

    Value 1 says that an example has a tag, 0 that it has not, and 2 is reserved for *unknown*. The
    networks see 1, -1 and 0.

    Args:
        names: Sequence of distinct strings, one per tag.
        unknown_rate: Float in [0, 1). Share of the examples all of whose tags each training step
            replaces with *unknown*, drawn anew every time.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> tags = keras_vae.MultiLabel(["glasses", "hat", "beard"])
    >>> tags.as_array([["hat"], ["glasses", "beard"]])
    array([[0, 1, 0],
           [1, 0, 1]], dtype=int32)

    See also:
        `Categorical`, of which an example has one.
    """

    kind = "multi_label"
    unknown = 2

    def __init__(self, names: Sequence[str], unknown_rate: float = 0.0) -> None:
        names = several_names(names, "MultiLabel(names=['red', 'round'])")
        self.names = tuple(str(name) for name in names)
        self._indices = {name: index for index, name in enumerate(self.names)}
        if not 0 < len(self._indices) == len(self.names):
            raise ValueError(
                "`names` must be different strings, one per tag, at least one. Received: "
                f"{shortened(list(self.names))}"
            )
        self.unknown_rate = arguments.part_of_one(unknown_rate, "unknown_rate")

    @property
    def size(self) -> int:
        """Width of the vector that the networks see."""
        return len(self.names)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of one example's value."""
        return (len(self.names),)

    def is_single(self, values: Any) -> bool:
        """Whether it is of one example: a list of its tags, None, or a value for each tag."""
        if values is None or isinstance(values, str):
            return True
        if isinstance(values, list | tuple) and all(isinstance(value, str) for value in values):
            return True
        try:
            shape = np.shape(values)
        except ValueError:  # lists of tags, of several lengths
            return False
        return shape == self.value_shape and np.asarray(values).dtype.kind in "biuf"

    def as_array(self, values: Any, name: str = "tags") -> NDArray[np.float32]:
        """Check tags and return them as an int32 array `(n, tags)`.

        Args:
            values: Sequence of the lists of tags of each example, with None or `"unknown"` for
                *unknown*, such as `[["red", "round"], [], None]`; or whole numbers `(n, tags)` from
                0 to 2, with NaN for 2.
            name: The condition's name, for the error.

        Raises:
            ValueError: If a tag is none of the names, a value none of the three, or the shape
                differs.
        """
        # Of shape (1, 0) it is one example without tags.
        is_numbers = isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
        if is_numbers and values.shape[1:] != (0,):
            return self._numbers(values, name)
        return np.array([self._row(row, name) for row in values], "int32").reshape(-1, self.size)

    def _numbers(self, values, name):
        """An array `(n, tags)` of 0, 1 and 2, and of NaN for *unknown*, as int32."""
        if values.ndim != 2 or values.shape[1] != self.size:
            raise ValueError(
                f"`{name}` must have the shape (n, {self.size}), a value for each tag, or be lists "
                f"of tags such as {_EXAMPLE}. Received: {values.shape}."
            )
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), self.unknown, values)
        valid = (values == 0) | (values == 1) | (values == self.unknown)
        if not valid.all():
            raise ValueError(
                f"`{name}` must be 1 for a tag, 0 for none and {self.unknown} for unknown. "
                f"Received: {values[~valid][0]} at position {int(np.argmax(~valid.all(axis=1)))}."
            )
        return values.astype("int32")

    def _row(self, value, name):
        """The numbers of one example."""
        if is_unknown(value) or (isinstance(value, str) and value == UNKNOWN):
            return [self.unknown] * self.size
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ValueError(
                f"`{name}` must be lists of tags, such as {_EXAMPLE}. Received: {value!r}"
            )
        value = list(value)
        if value and all(isinstance(tag, numbers.Number | np.bool_) for tag in value):
            return self._numbers(np.array([value]), name)[0]
        row = [0] * self.size
        for tag in value:
            if not isinstance(tag, str) or tag not in self._indices:
                tag = str(tag) if isinstance(tag, str) else tag  # NumPy's, as Python writes it
                raise ValueError(
                    f"`{name}` must be tags that the model knows. Received: {shortened(tag)}. The "
                    f"tags are: {listing(self.names)}."
                )
            row[self._indices[tag]] = 1
        return row

    def encode(self, value: Tensor) -> Tensor:
        """Turn values `(batch, tags)` into floats: 1 for a tag, -1 for none, 0 for *unknown*."""
        value = ops.cast(value, "int32")
        return ops.cast(value == 1, "float32") - ops.cast(value == 0, "float32")

    def vectors(self) -> NDArray[np.float32]:
        """What `encode` makes of 0, 1 and 2: float32 NumPy array."""
        return np.array([-1, 1, 0], "float32")

    def valid(self, value: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether each tag has one of the three values."""
        inside = ops.logical_and(value >= 0, value <= self.unknown)
        if "float" in keras.backend.standardize_dtype(value.dtype):
            inside = ops.logical_and(inside, value == ops.floor(value))
        return ops.all(inside, axis=-1)

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        return {
            "kind": self.kind,
            "num_tags": self.size,
            "names": list(self.names),
            "unknown": True,
        }

    def get_config(self) -> dict[str, Any]:
        return {"names": list(self.names), "unknown_rate": self.unknown_rate}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
