"""Pieces of music as windows of tokens to train and to test with."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keras_vae import arguments
from keras_vae.data import datasets, keys, midi, pieces, tunes
from keras_vae.data.errors import DataError, shortened
from keras_vae.data.notes import NO_STEP, SOPRANO_TO_BASS, Notes

CONDITIONS = ("melody", "key", "mode", "density")
STEPS = 32
# The most memory that the windows of one set may need.
MAX_BYTES = 2**32
MOST_SEMITONES = 6


def sequences(
    source: Any,
    steps: int | None = None,
    conditions: Sequence[str] = (),
    augment: bool = True,
    hop: int | None = None,
    split: Literal["tune", "source"] = "tune",
    schema: Notes | None = None,
) -> Sequences:
    """Make windows of pieces in several voices, as tokens.

    - `"jsb"`: Bach's chorales in four voices, `jsb_chorales.json` in the folder that the
      environment variable `KERAS_VAE_DATA` names. A step is a sixteenth.
    - The path of a `.json` file as `pieces.from_json` reads it.
    - A folder of `.mid` files, as `midi.from_folder` reads it, a voice of each track or channel.
      It needs mido (`pip install "keras-vae[music]"`).
    - Whole numbers `(n, steps, voices)`, MIDI pitches and -1 for silence; a list of arrays
      `(steps, voices)` of any lengths; or a dict of `"train"`, `"test"` and, optionally,
      `"validation"` of these. Arrays of uint8 are pitches, too, never pictures.

    Training windows begin at every beat of a piece; those of validation and test do not overlap.
    A piece shorter than a window is one window, with -1, no step at all, beyond its end. Training
    pieces are moved by up to six semitones up and down, as far as each voice stays within what it
    sings in the training pieces.

    A tune often comes back in another piece: in the splits of `"jsb"`, 45 % of the test windows
    have a melody that training windows have, too. Therefore pieces of which a fifth or more of the
    melody is in a piece of an earlier split (training, test, validation) are set aside, unless
    `split="source"`. Where a source has no splits, a fifth of the tunes are for tests and a tenth
    for validation, the same ones every time.

    Args:
        source: Str, path, array, list or dict, as above.
        steps: Optional int. Length of a window. Default: 32, two bars of sixteenths; of arrays that
            have one length, this length.
        conditions: Names, of `"melody"` (the highest voice, a token for each step; `x` then holds
            the other voices alone), `"key"` (of 24: that of the source where it says it, else as
            `keys.estimate` finds it, of the whole piece), `"mode"` (major or minor) and
            `"density"` (how many notes begin a beat in each voice of `x`, after the first step).
        augment: Bool. Whether training pieces are also there in other keys.
        hop: Optional int. Steps from one training window of a piece to the next. Default: a beat.
        split: Str, `"tune"` or `"source"`.
        schema: Optional `Notes` that the pieces must fit, such as `model.schema` (what is given
            must be among `conditions`). Default: from the lowest to the highest pitch of all.

    Returns:
        A `Sequences`.

    Raises:
        DataError: If the data are missing, unreadable or unusable.
        ValueError: If another argument is out of range.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> scale = np.arange(60, 76)[:, None] - [0, 4, 12, 24]
    >>> pieces = {"train": [scale], "test": [scale[::-1]]}
    >>> made = keras_vae.data.sequences(pieces, conditions=["key"])
    >>> made.train["x"].shape, made.test["x"].dtype, made.schema.num_tokens
    ((1, 16, 4), dtype('int8'), 41)

    See also:
        `SequenceVAE`.
    """
    arguments.one_of(split, "split", ("tune", "source"))
    conditions = _conditions(conditions)
    name, found = _read(source, schema.steps_per_beat if schema else 4)
    _check_voices(found, name)
    aside = []
    if not isinstance(found, dict):
        if split == "source":
            raise DataError(
                f"{name} must have splits of its own for split='source'. Received: pieces without "
                "any. Leave split out, or pass a dict of train and test."
            )
        found = tunes.split(found, name)
    elif split == "tune":
        found, aside = tunes.set_aside(found)
    for part in ("train", "test"):
        if not found[part]:
            raise DataError(
                f"{name} must have at least one piece to train with and one to test with, of "
                f"different tunes. Received: none for {part}. Add pieces, or pass split='source'."
            )
    schema = _schema(found, "melody" in conditions, name, schema)
    hop = arguments.whole(schema.steps_per_beat if hop is None else hop, "hop")
    steps = _steps(steps, found, isinstance(source, str | os.PathLike), name)
    return Sequences(name, found, schema, steps, conditions, hop, augment, aside)


def is_music(source: Any) -> bool:
    """Whether a name or path is one of what `sequences` reads, by its name and a folder's files.

    Args:
        source: Str or path.

    Returns:
        Bool.

    Example:

    >>> import keras_vae
    >>> keras_vae.data.is_music("jsb"), keras_vae.data.is_music("mnist")
    (True, False)

    See also:
        `is_table`.
    """
    path = os.fspath(source)
    if path in pieces.NAMED or path.lower().endswith(".json"):
        return True
    folders = [folder for folder in (path, os.path.join(path, "train")) if os.path.isdir(folder)]
    names = (name for folder in folders for name in os.listdir(folder))
    return any(name.lower().endswith(midi.SUFFIXES) for name in names)


class Sequences:
    """Windows of pieces, split into a training, a validation and a test set. `sequences` makes it.

    Attributes:
        name: Str.
        schema: `Notes` that says what the tokens of `x` mean.
        steps: Int, the length of a window.
        pieces: Dict from `"train"`, `"validation"` and `"test"` to a list of names.
        set_aside: List of names of the pieces whose tune is in an earlier split.
        new_melody: Bools `(n,)`, for each test window: whether no training window has its melody,
            in whatever key.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> scale = np.arange(60, 76)[:, None] - [0, 4, 12, 24]
    >>> made = keras_vae.data.sequences({"train": [scale], "test": [scale[::-1]]})
    >>> made.train.shape, made.pitches("test").shape
    ((1, 16, 4), (1, 16, 4))

    See also:
        `sequences`, which makes it; `SequenceVAE`.
    """

    def __init__(
        self,
        name: str,
        found: Any,
        schema: Notes,
        steps: int,
        conditions: Any,
        hop: int,
        augment: bool,
        aside: Sequence[str],
    ) -> None:
        self.name = name
        self.schema = schema
        self.steps = steps
        self.pieces = {part: [piece.name for piece in found[part]] for part in found}
        self.set_aside = [piece.name for piece in aside]
        self._names = conditions
        self._is_given = bool(schema.given)
        shifts = {piece: [0] for part in found.values() for piece in part}
        if augment:
            shifts |= _shifts(found["train"])
        count = sum(
            len(shifts[piece]) * len(_starts(piece, steps, hop)) for piece in found["train"]
        )
        size = count * steps * len(schema.all_voices) * schema.dtype.itemsize
        datasets.check_memory(size, MAX_BYTES, name, "Use a larger hop or augment=False")
        self._parts = {
            part: _windows(found[part], schema, steps, hop if part == "train" else steps, shifts)
            for part in found
        }
        heard = {tunes.key_free(melody) for melody in self.pitches("train")[..., 0]}
        new = [tunes.key_free(melody) not in heard for melody in self.pitches("test")[..., 0]]
        self.new_melody = np.array(new, bool)

    @functools.cached_property
    def train(self) -> Any:
        """What `fit` takes: a dict of `x` and the conditions by name; without conditions, `x`.

        `x` are `schema.dtype` tokens `(n, steps, len(schema.voices))`, `melody` int32 `(n, steps)`
        with `schema.num_tokens` for no step at all, `key` and `mode` int32 `(n,)`, and `density`
        float32 `(n, 1)`.
        """
        return self._inputs("train")

    @functools.cached_property
    def validation(self) -> Any:
        """As `train`, of other pieces; possibly of no window at all."""
        return self._inputs("validation")

    @functools.cached_property
    def test(self) -> Any:
        """As `train`, of other pieces."""
        return self._inputs("test")

    @property
    def conditions(self) -> dict[str, Any]:
        """Dict from a condition's name to its kind, as a model's `condition=` takes it."""
        from keras_vae import conditions

        kinds = {
            "melody": lambda: conditions.Sequence(self.steps, self.schema.num_tokens),
            "key": lambda: conditions.Categorical(names=keys.KEYS),
            "mode": lambda: conditions.Categorical(names=keys.MODES),
            # Near 1 as it is, and in some sets the same everywhere.
            "density": lambda: conditions.Continuous(1, standardized=False),
        }
        return {name: kinds[name]() for name in self._names}

    def tokens(self, part: str) -> NDArray[Any]:
        """Tokens `(n, steps, len(schema.all_voices))` of all voices, the given one first."""
        return self._parts[part][0]

    def pitches(self, part: str) -> NDArray[np.int16]:
        """MIDI pitches of all voices, int16 `(n, steps, voices)`; -1 for silence or no step."""
        return self.schema.pitches(self.tokens(part))

    def rows_to_show(self, count: int) -> NDArray[np.intp]:
        """Rows of so many test windows far apart, with melodies that training has not if it can be.

        Args:
            count: Int, at least 1. Rows repeat where there are fewer.

        Returns:
            Ints `(count,)`.
        """
        rows = np.flatnonzero(self.new_melody)
        rows = rows if len(rows) else np.arange(len(self.new_melody))
        return rows[np.linspace(0, len(rows) - 1, count).astype(int)]

    def summary(self) -> None:
        """Print how many pieces and windows there are, and what the tokens are."""
        schema = self.schema
        new = f"{self.new_melody.sum():,} of the test windows have a melody that training has not"
        aside = f"; {len(self.set_aside)} pieces of tunes that come back are set aside"
        print(f"{self.name}: windows of {self.steps} steps, {schema.steps_per_beat} a beat")
        print(f"{'':12}{'pieces':>8}{'windows':>10}")
        for part, names in self.pieces.items():
            print(f"{part:12}{len(names):>8,}{len(self.tokens(part)):>10,}")
        print(new + (aside if self.set_aside else "") + ".")
        print(
            f"{schema.num_tokens} tokens, pitches {schema.low} to {schema.high}, voices: "
            f"{', '.join(schema.voices)}; conditions: {', '.join(self._names) or 'none'}."
        )

    def _inputs(self, part):
        tokens, key = self._parts[part]
        x = tokens[..., 1:] if self._is_given else tokens
        values = {
            "melody": lambda: np.where(
                tokens[..., 0] == NO_STEP, self.schema.num_tokens, tokens[..., 0].astype("int32")
            ).astype("int32"),
            "key": lambda: key,
            "mode": lambda: key // 12,
            "density": lambda: _density(x, self.schema),
        }
        chosen = {name: values[name]() for name in self._names}
        x = np.ascontiguousarray(x)
        return {"x": x, **chosen} if chosen else x


def _conditions(names):
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        arguments.one_of(name, "conditions", CONDITIONS)
    if len(set(names)) < len(names):
        raise ValueError(f"`conditions` must be different names. Received: {list(names)}")
    return names


def _read(source, steps_per_beat):
    """The name of a source, and its pieces, by split where it has splits."""
    if not isinstance(source, str | os.PathLike):
        return "The arrays", pieces.from_arrays(source)
    path = os.fspath(source)
    if path in pieces.NAMED:
        return path, pieces.named(path)
    if path.lower().endswith(".json") and os.path.isfile(path):
        return repr(path), pieces.from_json(path)
    if os.path.isdir(path):
        return repr(path), midi.from_folder(path, steps_per_beat)
    raise DataError(
        f"Sequences must be {', '.join(pieces.NAMED)}, a .json file, a folder of .mid "
        f"files, or arrays. Received: {shortened(repr(path))}, none of these. Check the spelling."
    )


def _check_voices(found, name):
    parts = found.values() if isinstance(found, dict) else [found]
    everything = [piece for part in parts for piece in part]
    for piece in everything:
        if (width := piece.pitches.shape[1]) != (first := everything[0].pitches.shape[1]):
            raise DataError(
                f"{name} must have pieces of one number of voices. Received: {first} in "
                f"{everything[0].name}, {width} in {piece.name}. Leave some pieces out."
            )


def _schema(found, with_melody, name, schema):
    """The schema of the pieces, or the given one, which they must fit."""
    everything = [piece for part in found.values() for piece in part]
    width = everything[0].pitches.shape[1]
    if schema is not None:
        if width != len(schema.all_voices) or bool(schema.given) != with_melody:
            raise DataError(
                f"{name} must have the voices of the schema, {', '.join(schema.all_voices)}, and "
                f"as conditions what it gives, {list(schema.given) or 'none'}. Received: {width} "
                f"voices, {'with' if with_melody else 'without'} melody."
            )
        return schema
    voices = SOPRANO_TO_BASS if width == 4 else [f"voice {n + 1}" for n in range(width)]
    if with_melody and width == 1:
        raise DataError(
            f"{name} must have several voices for the condition melody, which is the highest. "
            "Received: one voice. Leave the condition out."
        )
    sung = np.concatenate([piece.pitches.ravel() for piece in everything])
    if not (sung := sung[sung >= 0]).size:
        raise DataError(f"{name} must hold notes. Received: silence alone. Check the source.")
    return Notes(
        int(sung.min()),
        int(sung.max()),
        voices[1:] if with_melody else voices,
        repeats=all(piece.struck is not None for piece in everything),
        given={"melody": voices[0]} if with_melody else None,
    )


def _steps(steps, found, is_file, name):
    lengths = [len(piece.pitches) for part in found.values() for piece in part]
    if steps is None:
        one_length = len(set(lengths)) == 1 and not is_file
        steps = lengths[0] if one_length else min(STEPS, max(lengths))
    steps = arguments.whole(steps, "steps")
    if steps > max(lengths):
        raise DataError(
            f"{name} must have a piece of at least `steps` steps. Received: steps={steps}, and "
            f"pieces of at most {max(lengths)}. Pass fewer steps."
        )
    return steps


# Windows


def _starts(piece, steps, hop):
    return range(0, max(1, len(piece.pitches) - steps + 1), hop)


def _windows(found, schema, steps, hop, shifts):
    """Tokens of all windows of pieces in all their keys `(n, steps, voices)`, and their keys."""
    windows, window_keys = [np.empty((0, steps, len(schema.all_voices)), schema.dtype)], [[]]
    for piece in found:
        try:
            tokens = schema.tokens(piece.pitches, piece.struck)
        except ValueError as err:
            raise DataError(f"{piece.name}: {err}") from err
        starts = _starts(piece, steps, hop)
        padding = np.full((max(0, steps - len(tokens)), tokens.shape[1]), NO_STEP, schema.dtype)
        tokens = np.concatenate([tokens, padding])
        here = np.stack([schema.window(tokens, start, steps) for start in starts])
        for shift in shifts[piece]:
            windows.append(np.where(here > 0, here + schema.dtype.type(shift), here))
            window_keys.append([keys.transposed(piece.key, shift)] * len(here))
    return np.concatenate(windows), np.concatenate(window_keys).astype("int32")


def _shifts(found):
    """Of each training piece, the semitones by which it may be moved."""
    lows, highs = (np.array(ends) for ends in zip(*map(_ranges, found), strict=True))
    least, most = lows.min(axis=0), highs.max(axis=0)
    return {
        piece: range(
            max(-MOST_SEMITONES, int((least - low).max())),
            min(MOST_SEMITONES, int((most - high).min())) + 1,
        )
        for piece, low, high in zip(found, lows, highs, strict=True)
    }


def _ranges(piece):
    """The lowest and the highest pitch of each voice; of a silent one 127 and 0."""
    sung = piece.pitches >= 0
    low = np.where(sung, piece.pitches, pieces.PITCHES - 1).min(axis=0)
    return low, np.where(sung, piece.pitches, 0).max(axis=0)


def _density(tokens, schema):
    """Notes that begin a beat in each voice, after the first step: float32 `(n, 1)`."""
    begins = schema.onsets(tokens)[:, 1:].sum(axis=(1, 2))
    steps = (tokens != NO_STEP).sum(axis=(1, 2))
    return (schema.steps_per_beat * begins / np.maximum(steps, 1)).astype("float32")[:, None]
