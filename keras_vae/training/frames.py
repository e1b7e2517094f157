"""Frames and series of pandas, polars and their like, as arrays. None of them is imported."""

import numpy as np


def is_frame(x):
    """Whether `x` is a table of named columns, as of pandas or polars."""
    return hasattr(x, "columns") and hasattr(x, "to_numpy") and hasattr(x, "dtypes")


def to_array(x):
    """Return a frame `(n, columns)` or a series `(n,)` as a NumPy array.

    The array has the dtype that the columns have in common, of nullable or sparse ones and of bools
    beside numbers too; what is missing becomes NaN. One column, or a series, may hold text: labels.

    Raises:
        ValueError: If some of several columns hold no numbers.
    """
    dtypes = list(x.dtypes) if is_frame(x) else [x.dtype]
    are_numbers = [_is_number(dtype) for dtype in dtypes]
    if len(dtypes) > 1 and not all(are_numbers):
        pairs = zip(x.columns, dtypes, are_numbers, strict=True)
        others = [f"{name} ({dtype})" for name, dtype, is_number in pairs if not is_number]
        raise ValueError(
            f"Columns of a frame must hold numbers or bools. Received: {', '.join(others)[:200]}. "
            "Drop them, or convert them to numbers."
        )
    array = np.asarray(x.to_numpy())
    if array.dtype.kind == "O" and all(are_numbers):
        # pandas makes objects of nullable columns of several dtypes, polars of bools with a null.
        is_pandas = hasattr(x, "iloc")
        array = x.to_numpy(dtype="float64", na_value=np.nan) if is_pandas else array
        array = array.astype("float64")
    return array


def _is_number(dtype):
    """Whether a dtype, of NumPy, pandas or polars, is that of numbers or bools."""
    if hasattr(dtype, "is_numeric"):
        return dtype.is_numeric() or str(dtype) == "Boolean"
    return getattr(dtype, "kind", None) in ("f", "i", "u", "b")
