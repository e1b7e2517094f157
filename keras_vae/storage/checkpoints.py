"""The state of a training that may be interrupted, in files that survive any kill.

A checkpoint is a line of JSON, the bytes of all variables one after the other, and the SHA-256 of
both. The JSON says the epoch, the step and the history so far, and the shape and dtype of every
variable. The last two checkpoints of a folder are kept: should one be damaged, the other is there.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import warnings

import ml_dtypes
import numpy as np

from keras_vae.storage.files import PART, write_atomically

KEPT = 2
SCHEMA = 1
# Names and shapes of a few thousand variables, and the history of a few thousand epochs.
MAX_HEADER = 2**26
_NAME = re.compile(r"(\d{8})-(\d{10})\.state")
_PART = re.compile(rf"(\d{{8}})-(\d{{10}}){PART}\.state")


@dataclasses.dataclass
class State:
    """Where a training stands.

    Attributes:
        epoch: Int. Whole epochs behind it.
        step: Int. Steps of the next epoch behind it.
        history: Dict from metric to one float per whole epoch.
        arrays: List of NumPy arrays: the values of all variables.
        first: Dict from a setting to a str: what the training began with, as `settings` has it,
            and the fingerprint of its data. Empty in early files of 0.1.0.
        last: Dict, the same when the state was saved.
    """

    epoch: int
    step: int
    history: dict
    arrays: list
    first: dict = dataclasses.field(default_factory=dict)
    last: dict = dataclasses.field(default_factory=dict)


def paths(folder):
    """The checkpoints of a folder, the newest first."""
    found = [path for path in pathlib.Path(folder).glob("*.state") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def write(folder, state):
    """Write a checkpoint, read it back, and drop those before the last.

    Args:
        folder: Path of a folder that exists.
        state: `State`.

    Returns:
        The path.

    Raises:
        OSError: If it cannot be written, or does not read as it was written. The last one stays.
    """
    header = {
        "schema": SCHEMA,
        "epoch": state.epoch,
        "step": state.step,
        "history": state.history,
        "settings": [state.first, state.last],
        "arrays": [[str(array.dtype), list(array.shape)] for array in state.arrays],
    }
    pieces = [json.dumps(header).encode() + b"\n", *(array.tobytes() for array in state.arrays)]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    path = pathlib.Path(folder) / f"{state.epoch:08d}-{state.step:010d}.state"
    write_atomically(path, [*pieces, digest.digest()])
    try:
        _check_digest(path)
    except ValueError as err:
        path.unlink()
        raise OSError(f"{path} must read as it was written; {err}. Check the disk.") from err
    kept = [other for other in paths(folder) if other.name <= path.name][:KEPT]
    for other in set(paths(folder)).difference(kept):  # also one that was damaged and passed over
        other.unlink()
    return path


def delete(folder):
    """Delete the checkpoints of a folder, and nothing else that is in it."""
    for path in pathlib.Path(folder).glob("*.state"):
        # The second is half of one, of a process that was killed.
        if _NAME.fullmatch(path.name) or _PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


def newest(folder):
    """Return the newest whole checkpoint of a folder as a `State`, or None if it has none.

    One that is damaged is passed over, with a warning.

    Raises:
        ValueError: If all that there are are damaged.
    """
    found = paths(folder)
    for path in found:
        try:
            return read(path)
        except ValueError as err:
            problem = err
            warnings.warn(f"A damaged checkpoint is passed over: {err}", stacklevel=2)
    if found:
        raise ValueError(
            f"{folder} must hold a whole checkpoint to go on from. Received: {len(found)} damaged "
            f"ones, the last for this: {problem}. Start anew in another folder."
        )
    return None


def read(path):
    """Return a checkpoint as a `State`.

    Raises:
        ValueError: If it is damaged, or of a later version of this package.
    """
    path = pathlib.Path(path)
    _check_digest(path)
    with open(path, "rb") as file:
        try:
            header = json.loads(file.readline(MAX_HEADER))
            if header["schema"] != SCHEMA:
                raise ValueError(
                    f"{path} must be a checkpoint of schema {SCHEMA}. Received: schema "
                    f"{header['schema']}, of another version of keras-vae."
                )
            arrays = [_read_array(file, *described) for described in header["arrays"]]
            place = int(header["epoch"]), int(header["step"])
            first, last = map(dict, header.get("settings", [{}, {}]))
            return State(*place, header["history"], arrays, first, last)
        except (KeyError, TypeError, AttributeError, RecursionError) as err:
            raise ValueError(f"{path} must be a checkpoint. Received: {err!r}.") from err


def _read_array(file, name, shape):
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    dtype = np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    data = bytearray()
    # Piece by piece, so that a shape that is a lie takes no more memory than there are bytes.
    while len(data) < size and (piece := file.read(min(size - len(data), 2**20))):
        data += piece
    if len(data) < size:
        raise ValueError("it ends early")
    return np.frombuffer(data, dtype).reshape(shape)


def _check_digest(path):
    """Raise a ValueError unless a file ends with the SHA-256 of all that comes before."""
    digest = hashlib.sha256()
    rest = path.stat().st_size - digest.digest_size
    with open(path, "rb") as file:
        while rest > 0 and (piece := file.read(min(rest, 2**20))):
            digest.update(piece)
            rest -= len(piece)
        if file.read() != digest.digest():
            raise ValueError(f"{path} is damaged: its checksum is wrong")
