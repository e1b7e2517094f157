"""Pieces of music as pitches, step by step, from files and arrays that may not be trusted."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from keras_vae.data import keys
from keras_vae.data.errors import DataError, explained, shortened
from keras_vae.data.notes import PITCHES, SILENCE

MAX_JSON_BYTES = 2**26
MAX_VOICES = 16
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}

# Sets by name: their file, and what to do where it is missing.
NAMED = {
    "jsb": (
        "jsb_chorales.json",
        "Save Jsb16thSeparated.json of github.com/czhuang/JSB-Chorales-dataset there under this "
        "name, or make it by keras_vae/excerpts/make_chorales.py.",
    )
}


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """A piece of several voices.

    Attributes:
        name: Str.
        pitches: int16 `(steps, voices)`, MIDI pitches from 0 to 127, -1 for silence; the highest
            voice first.
        struck: Bools of that shape, true where a note begins; None where the source does not tell.
        key: Int, an index of `keys.KEYS`.
    """

    name: str
    pitches: np.ndarray
    struck: np.ndarray | None
    key: int


def make(pitches, name, struck=None, key=None):
    """Check and convert one piece of any source: the one place where a `Piece` is made."""
    with explained(
        f"{name} must be whole numbers (steps, voices), a MIDI pitch for each voice at each step. "
        "Received: ",
        "Write -1 where a voice is silent.",
    ):
        pitches = np.asarray(pitches)
        if pitches.ndim != 2 or pitches.dtype.kind not in "iu" or 0 in pitches.shape:
            raise ValueError(f"{pitches.dtype} of shape={pitches.shape}")
        if pitches.shape[1] > MAX_VOICES:
            raise ValueError(f"{pitches.shape[1]} voices, which are more than {MAX_VOICES}")
        low, high = int(pitches.min()), int(pitches.max())
        if low < SILENCE or high >= PITCHES:
            raise ValueError(f"pitches from {low} to {high}, of which MIDI has 0 to 127")
        if struck is not None:
            struck = np.asarray(struck, bool)
            if struck.shape != pitches.shape:
                raise ValueError(f"{pitches.shape} pitches, and of shape={struck.shape} struck")
    pitches = pitches.astype("int16")
    return Piece(name, pitches, struck, keys.estimate(pitches) if key is None else key)


def from_json(path):
    """Read the pieces of a `.json` file by their split.

    Args:
        path: Str. The file holds an object of `train`, `test` and, optionally, `valid`: lists of
            pieces. A piece is a list of steps, each a list of MIDI pitches, one a voice from the
            highest to the lowest, -1 for silence; or an object of such `pitches` and, optionally,
            `struck` (of the same shape, true or 1 where a note begins), `name`, `tonic` (a pitch
            class from 0 to 11) and `mode` ("major" or "minor").

    Returns:
        Dict from `"train"`, `"validation"` and `"test"` to a list of `Piece`.

    Raises:
        DataError: If the file is damaged or unusable.
    """
    with explained(f"{path!r} must be a JSON file of pieces. Received: ", "Write it again."):
        if (size := os.path.getsize(path)) > MAX_JSON_BYTES:
            raise ValueError(f"{size:,} bytes, more than {MAX_JSON_BYTES:,}")
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
    if not isinstance(raw, dict) or not {"train", "test"} <= raw.keys():
        found = sorted(raw) if isinstance(raw, dict) else f"a {type(raw).__name__}"
        raise DataError(
            f"{path!r} must hold an object of lists of pieces, train, test and, optionally, valid. "
            f"Received: {shortened(repr(found))}. Rename or add what is missing."
        )
    pieces = {split: [] for split in SPLITS.values()}
    for name, split in SPLITS.items():
        for number, piece in enumerate(_listed(raw.get(name, []), name, path)):
            pieces[split].append(_from_json(piece, f"{name} {number}", path))
    return pieces


def _listed(pieces, name, path):
    if not isinstance(pieces, list):
        raise DataError(
            f"{name!r} in {path!r} must be a list of pieces. Received: a {type(pieces).__name__}. "
            "Write a list, if only of one."
        )
    return pieces


def _from_json(piece, name, path):
    if not isinstance(piece, dict):
        return make(piece, f"{name} of {path!r}")
    named = piece.get("name", name)
    key = None
    with explained(f"{name} of {path!r} must be a piece. Received: ", "Write it again."):
        if not isinstance(named, str) or not named.isprintable() or len(named) > 200:
            raise ValueError(f"the name {shortened(repr(named))}")
        if "tonic" in piece or "mode" in piece:
            tonic, mode = piece.get("tonic"), piece.get("mode")
            if type(tonic) is not int or not 0 <= tonic < 12 or mode not in keys.MODES:
                raise ValueError(f"tonic={shortened(repr(tonic))}, mode={shortened(repr(mode))}")
            key = keys.index(tonic, mode)
    return make(piece.get("pitches"), f"{named} of {path!r}", piece.get("struck"), key)


def from_arrays(source):
    """Make pieces of arrays.

    Args:
        source: Ints `(n, steps, voices)`, MIDI pitches, -1 for silence; a list of arrays
            `(steps, voices)` of any lengths; or a dict of these by split: `"train"`, `"test"` and,
            optionally, `"validation"`.

    Returns:
        As `from_json`; or a list of `Piece` where there are no splits.

    Raises:
        DataError: If an array is unusable.
    """
    if isinstance(source, dict):
        if not {"train", "test"} <= source.keys() <= SPLITS.keys():
            raise DataError(
                "Arrays by split must be train, test and, optionally, validation. Received: "
                f"{shortened(repr(list(source)))}. Rename or add what is missing."
            )
        pieces = {split: [] for split in SPLITS.values()}
        for name, arrays in source.items():
            pieces[SPLITS[name]] += from_arrays(arrays)
        return pieces
    if not isinstance(source, list | tuple | np.ndarray) or (
        isinstance(source, np.ndarray) and source.ndim != 3
    ):
        shape = f" of shape={source.shape}" if isinstance(source, np.ndarray) else ""
        raise DataError(
            "Pieces must be whole numbers (n, steps, voices), or a list of (steps, voices). "
            f"Received: {type(source).__name__}{shape}. Put a single piece into a list."
        )
    return [make(piece, f"Piece {number}") for number, piece in enumerate(source)]


def find_named(source):
    """The path of a named set in the folder that `KERAS_VAE_DATA` names, or None."""
    folder = os.environ.get("KERAS_VAE_DATA", "")
    path = Path(folder, NAMED[source][0])
    return os.fspath(path) if folder and path.is_file() else None


def named(source):
    """Read a named set, as `from_json` does.

    Raises:
        DataError: If it is not there.
    """
    path = find_named(source)
    if path is None:
        file, advice = NAMED[source]
        raise DataError(
            f"{file} must be in the folder that KERAS_VAE_DATA names. Received: "
            f"KERAS_VAE_DATA={os.environ.get('KERAS_VAE_DATA', '')!r} without that file. {advice}"
        )
    return from_json(path)
