"""What the annotations of this package name beside Python's and NumPy's own types.

Keras has no types: to a type checker its layers and models are `Any`, and so is a tensor.
"""

import os
from typing import Any, TypeAlias

# Of the backend that Keras runs on, or what that takes for one: a NumPy array, too.
Tensor: TypeAlias = Any
# Where a file or a folder is.
PathLike: TypeAlias = str | os.PathLike[str]
# Of a tensor; what varies, such as the batch, is None.
Shape: TypeAlias = tuple[int | None, ...]
# Of random draws: an int, or a `keras.random.SeedGenerator`.
Seed: TypeAlias = Any
