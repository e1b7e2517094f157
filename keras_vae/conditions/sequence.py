"""A value out of a fixed set at every step."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments
from keras_vae.conditions.wording import shortened
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Sequence:
    """A value out of a fixed set at every step, such as one voice of a piece or its chords.

    Value `num_values` is reserved for *unknown*: networks see the zero vector at that step.

    Args:
        steps: Int, at least 1. Length of the sequence.
        num_values: Int, at least 1.

    Example:

    >>> import keras_vae
    >>> melody = keras_vae.Sequence(steps=4, num_values=12)
    >>> melody.as_array([[0, 4, 7, 11]]).shape, melody.size
    ((1, 4), 48)

    See also:
        `SequenceVAE`, which takes it as a condition of every step.
    """

    kind = "sequence"
    unknown_rate = 0.0

    def __init__(self, steps: int, num_values: int) -> None:
        self.steps = arguments.whole(steps, "steps")
        self.num_values = arguments.whole(num_values, "num_values")

    @property
    def unknown(self) -> Any:
        """The value that stands for a missing one."""
        return self.num_values

    @property
    def size(self) -> int:
        """Width of the vector that the networks see: every step's vector, one after the other."""
        return self.steps * self.num_values

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of one example's value."""
        return (self.steps,)

    def is_single(self, values: Any) -> bool:
        """Whether it is one sequence, and no list of them."""
        try:
            return np.ndim(values) == 1
        except ValueError:  # of no shape: `as_array` says so
            return False

    def as_array(self, values: Any, name: str = "sequence") -> NDArray[np.int32]:
        """Check sequences and return them as an int32 array `(n, steps)`.

        Args:
            values: Whole numbers `(n, steps)` from 0 to `num_values` (the last is *unknown*).
            name: The condition's name, for the error.

        Raises:
            ValueError: If the shape differs or a value is none of the set. Nothing is clipped.
        """
        try:
            values = np.asarray(values)
        except ValueError as err:
            raise ValueError(
                f"`{name}` must be sequences of one length, {self.steps}. Received: "
                f"{shortened(values)}"
            ) from err
        if values.ndim != 2 or values.shape[1] != self.steps:
            raise ValueError(
                f"`{name}` must have the shape (n, {self.steps}), a value a step. Received: "
                f"{values.shape}."
            )
        if values.dtype.kind not in "iu":
            raise ValueError(f"`{name}` must be whole numbers. Received: {values.dtype}.")
        if values.size and (values.min() < 0 or values.max() > self.num_values):
            raise ValueError(
                f"`{name}` must be from 0 to {self.num_values - 1}, or {self.num_values} for "
                f"unknown. Received: values from {values.min()} to {values.max()}."
            )
        return values.astype("int32")

    def encode(self, value: Tensor) -> Tensor:
        """Turn values `(batch, steps)` into float vectors `(batch, size)`, 0 for *unknown*."""
        values = ops.arange(self.num_values, dtype="int32")
        chosen = ops.cast(value, "int32")[..., None] == values
        return ops.reshape(ops.cast(chosen, "float32"), (-1, self.size))

    def valid(self, value: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether every step has a value of the set or *unknown*."""
        inside = ops.logical_and(value >= 0, value <= self.num_values)
        if "float" in keras.backend.standardize_dtype(value.dtype):
            inside = ops.logical_and(inside, value == ops.floor(value))
        return ops.all(inside, axis=-1)

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        return {"kind": self.kind, "steps": self.steps, "num_values": self.num_values}

    def get_config(self) -> dict[str, Any]:
        return {"steps": self.steps, "num_values": self.num_values}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
