"""How the notes of several voices are whole numbers, one a voice and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae import arguments

SILENCE = -1  # of pitches
NO_STEP = -1  # of tokens: beyond the end of a shorter sequence
PITCHES = 128  # of MIDI
SOPRANO_TO_BASS = ("soprano", "alto", "tenor", "bass")


class Notes:
    """What the tokens of a piece mean: the schema of sequences of notes.

    A token is a whole number for each step and voice. 0 is a rest, and t from 1 to P is the pitch
    `low + t - 1` that sounds, of the P = `high - low + 1` pitches: it is struck where the pitch
    changes, and held where it does not. With `repeats`, t from P + 1 to 2 P is the pitch
    `low + t - P - 1` struck again although the step before has it too. -1 is no step at all, beyond
    the end of a shorter sequence; it counts nothing in a loss.

    It needs no Keras; `.keras` files hold it as a part of a model.

    Args:
        low, high: Ints from 0 to 127. The lowest and the highest pitch, as MIDI numbers them: 60
            is the middle C.
        voices: Sequence of distinct str, from the highest voice to the lowest: the last axis of
            the tokens.
        steps_per_beat: Int, at least 1. With 4 a step is a sixteenth.
        repeats: Bool. Whether a note that is struck again is told apart from one that is held.
        given: Optional dict from a condition's name to the voice that it holds, such as
            `{"melody": "soprano"}`, which is then none of `voices`, and above them all.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> notes = keras_vae.data.Notes(low=60, high=72, voices=["soprano", "alto"])
    >>> tokens = notes.tokens([[72, 64], [72, 65], [-1, 64]])
    >>> tokens.shape, notes.pitches(tokens)[2].tolist()
    ((3, 2), [-1, 64])

    See also:
        `sequences`, which makes it.
    """

    def __init__(
        self,
        low: int,
        high: int,
        voices: Sequence[str] = SOPRANO_TO_BASS,
        steps_per_beat: int = 4,
        repeats: bool = False,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.low = arguments.whole(low, "low", 0)
        self.high = arguments.whole(high, "high", 0)
        if not self.low <= self.high < PITCHES:
            raise ValueError(
                "`low` and `high` must be pitches from 0 to 127, the lower first. Received: "
                f"{low!r} and {high!r}"
            )
        self.given = {str(name): str(voice) for name, voice in (given or {}).items()}
        self.voices = tuple(str(voice) for voice in voices)
        if not self.voices or len(set(self.all_voices)) < len(self.all_voices):
            raise ValueError(
                "`voices` must be distinct names, at least one, and none that is given. Received: "
                f"{voices!r}"
            )
        self.steps_per_beat = arguments.whole(steps_per_beat, "steps_per_beat")
        self.repeats = bool(repeats)

    @property
    def num_pitches(self) -> int:
        """How many pitches there are from `low` to `high`."""
        return self.high - self.low + 1

    @property
    def num_tokens(self) -> int:
        """How many tokens there are, the rest among them."""
        return 1 + self.num_pitches * (2 if self.repeats else 1)

    @property
    def all_voices(self) -> tuple[str, ...]:
        """Names of the given voices and then of the others: from the highest to the lowest."""
        return (*self.given.values(), *self.voices)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest signed integers that hold every token."""
        return np.dtype("int8" if self.num_tokens <= 128 else "int16")

    def tokens(
        self, pitches: ArrayLike, struck: ArrayLike | None = None
    ) -> NDArray[np.signedinteger[Any]]:
        """Turn pitches into tokens.

        Args:
            pitches: Ints `(..., steps, voices)`, MIDI pitches, -1 for silence.
            struck: Optional bools of that shape: where a note begins. Without `repeats` it says
                nothing new. The first step is taken as held: nothing is known of the one before.

        Returns:
            `dtype` array of that shape.

        Raises:
            ValueError: If a pitch is out of range, or no whole number. Nothing is clipped.
        """
        pitches = np.asarray(pitches)
        if pitches.dtype.kind not in "iu":
            raise ValueError(
                f"Pitches must be whole numbers, {self.low} to {self.high}, or -1 for silence. "
                f"Received: {pitches.dtype}"
            )
        pitches = pitches.astype("int64")
        outside = (pitches != SILENCE) & ((pitches < self.low) | (pitches > self.high))
        if outside.any():
            raise ValueError(
                f"Pitches must be from {self.low} ({pitch_name(self.low)}) to {self.high} "
                f"({pitch_name(self.high)}), or -1 for silence. Received: {pitches[outside][0]} at "
                f"step {np.argwhere(outside)[0][-2 if pitches.ndim > 1 else -1]}. Transpose the "
                "piece."
            )
        tokens = np.where(pitches == SILENCE, 0, pitches - self.low + 1)
        if self.repeats and struck is not None:
            again = np.asarray(struck, bool) & (tokens > 0)
            again[..., :1, :] = False
            again[..., 1:, :] &= tokens[..., 1:, :] == tokens[..., :-1, :]
            tokens = tokens + self.num_pitches * again
        return tokens.astype(self.dtype)

    def pitches(self, tokens: ArrayLike) -> NDArray[np.int16]:
        """Turn tokens of any shape into MIDI pitches, int16; -1 for a rest or no step at all."""
        sounding = self.sounding(tokens)
        return np.where(sounding > 0, sounding + self.low - 1, SILENCE).astype("int16")

    def sounding(self, tokens: ArrayLike) -> NDArray[Any]:
        """Tokens without what is struck again: 0 for a rest, 1 to P for a pitch, -1 for no step."""
        tokens = np.asarray(tokens)
        if tokens.dtype.kind not in "iu" or (
            tokens.size and not -1 <= tokens.min() <= tokens.max() < self.num_tokens
        ):
            raise ValueError(
                f"Tokens must be whole numbers from 0 to {self.num_tokens - 1}, or -1 for no step. "
                f"Received: {tokens.dtype} from {tokens.min()} to {tokens.max()}"
            )
        tokens = tokens.astype("int16")
        return np.where(tokens > self.num_pitches, tokens - self.num_pitches, tokens)

    def onsets(self, tokens: ArrayLike) -> NDArray[np.bool_]:
        """Where notes begin: bools of the shape of tokens `(..., steps, voices)`.

        A note begins where one sounds at the first step, where the pitch changes, and where it is
        struck again.
        """
        sounding = self.sounding(tokens)
        begins = sounding > 0
        changes = sounding[..., 1:, :] != sounding[..., :-1, :]
        begins[..., 1:, :] &= changes | (np.asarray(tokens)[..., 1:, :] > self.num_pitches)
        return begins

    def spans(self, tokens: ArrayLike) -> list[list[tuple[int, int, int]]]:
        """The notes of one piece, as they are written, drawn and played.

        Args:
            tokens: Ints `(steps, voices)`.

        Returns:
            For each voice a list of tuples: the first step, the step after the last, the pitch.
        """
        pitches, onsets = self.pitches(tokens), self.onsets(tokens)
        found = []
        for line, begins in zip(pitches.T.tolist(), onsets.T.tolist(), strict=True):
            spans = []
            for step, (pitch, new) in enumerate(zip(line, begins, strict=True)):
                if new:
                    spans.append((step, step + 1, pitch))
                elif pitch != SILENCE:
                    spans[-1] = (spans[-1][0], step + 1, pitch)
            found.append(spans)
        return found

    def window(self, tokens: NDArray[Any], start: int, steps: int) -> NDArray[Any]:
        """Some steps of the tokens `(..., steps, voices)` of a piece, as a piece of its own."""
        part = np.array(tokens[..., start : start + steps, :])
        part[..., 0, :] = self.sounding(part[..., 0, :])
        return part

    def together(
        self, tokens: ArrayLike, conditions: Mapping[str, ArrayLike] | None = None
    ) -> NDArray[Any]:
        """Put the given voices above the others.

        Args:
            tokens: Ints `(n, steps, len(voices))`.
            conditions: Dict that holds the tokens `(n, steps)` of each given voice by its
                condition's name, `num_tokens` for no step at all; not needed where no voice is
                given.

        Returns:
            Ints `(n, steps, len(all_voices))`.
        """
        above = [np.asarray(conditions[name])[..., None] for name in self.given]
        above = [np.where(voice == self.num_tokens, NO_STEP, voice) for voice in above]
        return np.concatenate([*above, np.asarray(tokens)], axis=-1) if above else tokens

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        return {"kind": "notes", **self.get_config()}

    def get_config(self) -> dict[str, Any]:
        return {
            "low": self.low,
            "high": self.high,
            "voices": list(self.voices),
            "steps_per_beat": self.steps_per_beat,
            "repeats": self.repeats,
            "given": dict(self.given),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.low, self.high, self.all_voices, self.steps_per_beat, self.repeats))

    def __repr__(self) -> str:
        config = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"Notes({config})"


def pitch_name(pitch):
    """The name of a MIDI pitch, with its octave: C4 is the middle C, 60."""
    names = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
    return f"{names[pitch % 12]}{pitch // 12 - 1}"
