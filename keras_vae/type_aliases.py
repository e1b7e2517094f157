"""What the annotations of this package name beside Python's and NumPy's own types.

Keras has no types: to a type checker its layers and models are `Any`, and so is a tensor.
"""

import os
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from numpy.typing import ArrayLike

# Of the backend that Keras runs on, or what that takes for one: a NumPy array, too.
Tensor: TypeAlias = Any
# Where a file or a folder is.
PathLike: TypeAlias = str | os.PathLike[str]
# Of a tensor; what varies, such as the batch, is None.
Shape: TypeAlias = tuple[int | None, ...]
# Of random draws: an int, or a `keras.random.SeedGenerator`.
Seed: TypeAlias = Any


class Rows(Protocol):
    """Examples that are read when rows of them are asked for, such as `data.ImageFiles`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


# What is measured or encoded: `x`, `(n, *data_shape)`, or a dict of `"x"` and every condition.
Examples: TypeAlias = ArrayLike | Rows | Mapping[str, ArrayLike | Rows]
# From every condition's name to its values, or to one that is that of all samples.
Conditions: TypeAlias = Mapping[str, Any]
