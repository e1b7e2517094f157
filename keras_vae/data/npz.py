"""Arrays of an `.npz` file that may not be trusted."""

import contextlib
import dataclasses
import io
import math

import numpy as np

from keras_vae.data import datasets
from keras_vae.data.errors import DataError, explained, shortened
from keras_vae.storage import archives

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_LABELS = ("y_train", "y_test")
_NPY_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NPY_HEADER_BYTES = 2**14


def read(path, most, conditions=()):
    """Read the arrays of a set, once its headers and labels hold what they must.

    Args:
        path: Str.
        most: Int, the bytes that the arrays may need.
        conditions: Names of which `NAME_train` and `NAME_test` are read, too, and `NAME_names`,
            where the file has those.

    Returns:
        Dict of `x_train`, `x_test` and, where the file has them, `y_train`, `y_test` and
        `class_names`, and of those of the conditions.

    Raises:
        DataError: If the file is damaged or unusable.
    """
    with contextlib.ExitStack() as stack:
        readable, advice = _advice(path)
        archive, entries = _opened(stack, path)
        missing = [array for array in ARRAYS if array not in entries]
        has_labels = missing != list(_LABELS)
        if missing and has_labels:
            raise DataError(
                f"{path!r} must hold the arrays {', '.join(ARRAYS)}. Received: no "
                f"{', '.join(missing)}, only {shortened(repr(sorted(entries)))}. Rename or add "
                "the missing arrays."
            )
        of_conditions = [f"{name}_{part}" for name in conditions for part in ("train", "test")]
        if lacking := [array for array in of_conditions if array not in entries]:
            raise DataError(
                f"{path!r} must hold NAME_train and NAME_test of every condition. Received: no "
                f"{', '.join(lacking)}, only {shortened(repr(sorted(entries)))}."
            )
        wanted = (*ARRAYS, "class_names") if has_labels else ("x_train", "x_test")
        wanted += (*of_conditions, *(f"{name}_names" for name in conditions))
        entries = {array: entries[array] for array in wanted if array in entries}
        headers = {array: _header(archive, info, path) for array, info in entries.items()}
        datasets.check_memory(sum(header.nbytes for header in headers.values()), most, path)
        # What can be refused by the headers and the labels alone is, before images are read.
        for array in ("x_train", "x_test"):
            datasets.check_images(headers[array], array, repr(path))
        with explained(readable, advice):
            images = ("x_train", "x_test")
            arrays = {a: _read_entry(archive, entries[a]) for a in entries if a not in images}
        for array in _LABELS if has_labels else ():
            count = headers[array.replace("y", "x")].shape[0]
            arrays[array] = datasets.labels(arrays[array], count, array, repr(path))
        with explained(readable, advice):
            arrays |= {a: _read_entry(archive, entries[a]) for a in images}
            if "class_names" in arrays:
                names = arrays["class_names"].ravel()[: datasets.MAX_CLASSES + 1]
                arrays["class_names"] = tuple(names.tolist())
    return arrays


def read_all(path, most):
    """Read every array of a file, whatever their names.

    Args:
        path: Str.
        most: Int, the bytes that the arrays may need.

    Returns:
        Dict of arrays.

    Raises:
        DataError: If the file is damaged or too large.
    """
    with contextlib.ExitStack() as stack:
        archive, entries = _opened(stack, path)
        headers = [_header(archive, info, path) for info in entries.values()]
        datasets.check_memory(sum(header.nbytes for header in headers), most, path)
        with explained(*_advice(path)):
            return {name: _read_entry(archive, info) for name, info in entries.items()}


def _advice(path):
    readable = f"{path!r} must be a complete .npz file. Received: "
    return readable, "Write it again with np.savez_compressed."


def _opened(stack, path):
    """The archive of a file, closed with a stack, and a dict of what it holds."""
    with explained(*_advice(path)):
        archive = stack.enter_context(archives.opened(path))
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise ValueError("an archive that holds an array twice")
    return archive, entries


@dataclasses.dataclass(frozen=True)
class _Header:
    """What an array in a file says of itself; `nbytes` is what it needs once it is loaded."""

    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int


def _header(archive, info, path):
    """Read and check the header of an array of a zip file."""
    with explained(
        f"{info.filename!r} in {path!r} must begin with the header of a NumPy array. Received: ",
        "Write the file again with np.savez_compressed.",
    ):
        # A header may announce 4 GB of itself, which NumPy would read before refusing it.
        with archive.open(info) as entry:
            start = io.BytesIO(entry.read(_NPY_HEADER_BYTES))
        shape, _, dtype = _NPY_HEADER_READERS[np.lib.format.read_magic(start)](start)
    if dtype.kind not in "biufU" or dtype.itemsize == 0:
        raise DataError(
            f"{info.filename!r} in {path!r} must be a plain array of numbers or text. Received: "
            f"dtype {shortened(str(dtype))}, which is not read from a file that may not be "
            "trusted. Convert it before saving."
        )
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start.tell() + size != info.file_size:
        raise DataError(
            f"{info.filename!r} in {path!r} must hold as many bytes as its header says. Received: "
            f"shape={shortened(str(shape))} of {dtype}, in {info.file_size} bytes. Write the "
            "file again with np.savez_compressed."
        )
    # All numbers but uint8 become float32 or, as labels, int32.
    needed = math.prod(shape) * max(4, dtype.itemsize) if dtype != np.uint8 else size
    return _Header(shape, dtype, needed)


def _read_entry(archive, info):
    with archive.open(info) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)
