"""A real vector."""

import keras
import numpy as np
from keras import ops

from keras_vae import arguments
from keras_vae.conditions.wording import shortened


@keras.saving.register_keras_serializable("keras_vae")
class Continuous:
    """A real vector, such as an angle's sine and cosine or a temperature.

    The networks see it as it is: bring it to a scale near 1 yourself.

    Args:
        dim: Int, at least 1. Length of the vector.
    """

    kind = "continuous"
    unknown_rate = 0.0

    def __init__(self, dim):
        self.dim = arguments.whole(dim, "dim")

    @property
    def size(self):
        """Width of the vector that the networks see."""
        return self.dim

    @property
    def value_shape(self):
        """Shape of one example's value."""
        return (self.dim,)

    def is_single(self, values):
        """Whether it is one vector (with `dim` 1, one number), and no sequence of them."""
        try:
            shape = np.shape(values)
        except ValueError:  # of no shape: `as_array` says so
            return False
        return shape == (() if self.dim == 1 else (self.dim,))

    def as_array(self, values, name="condition"):
        """Check values and return them as a float32 array `(n, dim)`.

        Raises:
            ValueError: If the values are no numbers, the shape differs or one is not finite.
        """
        example = [[0.0] * self.dim]
        try:
            values = np.asarray(values, dtype="float32")
        except (ValueError, TypeError) as err:
            raise ValueError(
                f"`{name}` must be numbers, {self.dim} for each example, such as {example}. "
                f"Received: {shortened(values)}"
            ) from err
        if values.ndim == 1 and self.dim == 1:
            values = values[:, None]
        if values.ndim != 2 or values.shape[1] != self.dim:
            raise ValueError(
                f"`{name}` must have the shape (n, {self.dim}), such as {example}. Received: "
                f"{values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"`{name}` must be finite. Received: NaN or infinity.")
        return values

    def encode(self, value):
        """Return float vectors `(batch, size)`, unchanged."""
        return ops.cast(value, "float32")

    def valid(self, value):
        """Bool tensor `(batch,)`: whether each vector is finite."""
        return ops.all(ops.isfinite(value), axis=-1)

    def manifest(self):
        """What a device must know, as plain data."""
        return {"kind": self.kind, "dim": self.dim}

    def get_config(self):
        return {"dim": self.dim}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
