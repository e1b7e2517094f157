"""Files of typical examples, by which weights are rounded: read without Keras."""

import os

from keras_vae import data
from keras_vae.data import npz


def read(path):
    """What a file of examples holds: a dict of the arrays of an `.npz`, or the path of other data.

    Args:
        path: Of an `.npz` with an array for each input of a graph, or of data as `data.load`,
            `data.table`, `data.series` or `data.sequences` take them.

    Raises:
        FileNotFoundError: If there is nothing.
        data.DataError: If an `.npz` is damaged, a ValueError.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"There are no examples at {os.fspath(path)}.")
    if not os.fspath(path).endswith(".npz"):
        return path
    arrays = npz.read_all(os.fspath(path), data.MAX_BYTES)
    return path if "x_train" in arrays else arrays


def check(path):
    """See that there are examples at a path, as `read` takes it.

    Raises:
        FileNotFoundError: If there is nothing.
        data.DataError: If they cannot be read, a ValueError.
    """
    if os.path.isdir(path):
        data.load(path, in_memory=False, image_size=2)  # their size is the model's
    else:
        read(path)
