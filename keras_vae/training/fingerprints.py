"""Which examples a model was trained on, told by a few numbers: to see that others are others."""

import zlib

import numpy as np

from keras_vae.training import inputs as model_inputs

COUNT = 256
# Of the share that would be found if all were: chance copies in data are fewer.
FOUND_SHARE = 0.5


def of_some(x):
    """How many examples there are, and checksums of up to 256 of them, evenly spaced, as text.

    None without arrays.

    Args:
        x: As `fit` takes it: an array `(n, ...)`, or a dict with one under `"x"`.
    """
    array = _array(x)
    if array is None or not len(array):
        return None
    rows = np.unique(np.linspace(0, len(array) - 1, COUNT).round().astype(int))
    return " ".join([str(len(array)), *_checksums(array[rows])])


def share_of(trained_on, x):
    """What share of examples is among those of a training: about 0 of others, 1 of a part of them.

    Args:
        trained_on: What `of_some` gave, or None.
        x: As for `of_some`.
    """
    array = _array(x)
    if not trained_on or array is None or not len(array):
        return 0.0
    count, *known = trained_on.split()
    found = len(set(known) & set(_checksums(array)))
    return min(1.0, found / (len(known) * min(1.0, len(array) / int(count))))


def _array(x):
    x = x.get("x") if isinstance(x, dict) else x
    if x is None or not model_inputs.is_array(x) or model_inputs.is_in_files(x):
        return None
    return np.asarray(model_inputs.to_numpy(x))


def _checksums(array):
    values = array.astype("float32") / (255 if array.dtype == np.uint8 else 1)
    return [f"{zlib.crc32(np.ascontiguousarray(row, '<f4').tobytes()):08x}" for row in values]
