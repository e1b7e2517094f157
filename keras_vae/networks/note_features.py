"""What networks of notes hear: which notes sound, intervals, motions and how far a voice leaps.

Notes are int32, 0 for a rest or no step, 1 and up for pitches, and may have any axes in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_vae import arguments
from keras_vae.networks import arithmetic
from keras_vae.networks.sequences import ConditionByStep, one_hot
from keras_vae.type_aliases import Tensor

# Semitones: motions and leaps beyond these count as these; the classes of each feature, the last
# for what has a rest or nothing at one of its ends.
LARGEST_MOTION, MOTIONS = 13, 28
LOWEST_SPACING, HIGHEST_SPACING, SPACINGS = -12, 36, 50
PITCH_CLASSES = 13
LARGEST_STEP, CROSSINGS = 6, 40
# A multiple of 12 above every pitch: formats differ in what is left of negative numbers.
OCTAVES = 132


class NoteFeatures:
    """What is heard of tokens of notes, as one-hot vectors side by side; networks inherit it.

    Attributes:
        num_tokens: Int.
        low: Int, the MIDI pitch of token 1.
        num_pitches: Int. Larger tokens are these pitches struck again.
    """

    def set_notes(self, num_tokens: int, low: Sequence[int], repeats: bool) -> None:
        self.num_tokens = arguments.whole(num_tokens, "num_tokens")
        self.low = arguments.whole(low, "low", 0)
        self.repeats = bool(repeats)
        self.num_pitches = (self.num_tokens - 1) // (2 if self.repeats else 1)

    def sounding(self, tokens: Tensor) -> Tensor:
        """Int32: 1 to `num_pitches` for a pitch, 0 for a rest or no step."""
        tokens = ops.maximum(tokens, 0)
        if not self.repeats:
            return tokens
        return ops.where(tokens > self.num_pitches, tokens - self.num_pitches, tokens)

    def pitch_class(self, note: Tensor) -> Tensor:
        return _or_none(note > 0, (note + self.low + 11) % 12, PITCH_CLASSES)

    def step_features(self, notes: Tensor, before: Tensor) -> Tensor:
        """Of a step and the one before it, notes `(..., voices)`: its size is `step_size`.

        Which notes sound in each voice, and in any; their pitch classes; the interval of every
        pair of voices; how each voice moved.
        """
        voices = range(notes.shape[-1])
        pairs = [(upper, lower) for lower in voices for upper in range(lower)]
        exact = feature(notes, self.num_pitches + 1)
        classes = feature(self.pitch_class(notes), PITCH_CLASSES)
        features = [side_by_side(exact), ops.sum(exact, axis=-2), ops.sum(classes, axis=-2)]
        if pairs:
            upper, lower = (
                arithmetic.look_up(notes, each, axis=-1) for each in zip(*pairs, strict=True)
            )
            features.append(side_by_side(feature(interval(upper, lower), PITCH_CLASSES)))
        motions = feature(motion(before, notes), MOTIONS)
        return ops.concatenate([*features, side_by_side(motions)], axis=-1)

    def step_size(self, voices: int) -> int:
        pairs = voices * (voices - 1) // 2
        size = self.num_pitches + 1
        return (voices + 1) * size + (1 + pairs) * PITCH_CLASSES + voices * MOTIONS

    def get_notes_config(self) -> dict[str, Any]:
        return {"num_tokens": self.num_tokens, "low": self.low, "repeats": self.repeats}


def feature(classes, size):
    """As `one_hot` of classes from 0 on; of one step by look-up, at which LiteRT is faster."""
    if len(classes.shape) > 2:
        return one_hot(classes, size)
    return arithmetic.look_up(ops.eye(size, dtype="float32"), classes, axis=0)


def side_by_side(vectors):
    """Vectors `(..., count, size)` as one `(..., count * size)`."""
    *_, count, size = vectors.shape
    return ops.reshape(vectors, (-1, *vectors.shape[1:-2], count * size))


def _or_none(is_there, value, classes):
    """A class, or the last one where there is none."""
    return ops.where(is_there, value, classes - 1)


def motion(before, now):
    """How a voice moved, a class below `MOTIONS`: semitones from -13 to 13, or not known."""
    value = ops.clip(now - before, -LARGEST_MOTION, LARGEST_MOTION) + LARGEST_MOTION
    return _or_none(ops.logical_and(before > 0, now > 0), value, MOTIONS)


def interval(upper, lower):
    """Semitones between two voices without octaves, a class below `PITCH_CLASSES`."""
    return _or_none(
        ops.logical_and(upper > 0, lower > 0), (upper - lower + OCTAVES) % 12, PITCH_CLASSES
    )


def spacing(upper, lower):
    """Semitones from a voice up to another, a class below `SPACINGS`: from -12 to 36."""
    value = ops.clip(upper - lower, LOWEST_SPACING, HIGHEST_SPACING) - LOWEST_SPACING
    return _or_none(ops.logical_and(upper > 0, lower > 0), value, SPACINGS)


def crossing(upper_before, lower_before, upper):
    """Octave, fifth or other interval of the step before, with how the upper voice moved."""
    all_sound = ops.logical_and(ops.logical_and(upper_before > 0, lower_before > 0), upper > 0)
    apart = (upper_before - lower_before + OCTAVES) % 12
    kind = ops.where(apart == 0, 0, ops.where(apart == 7, 1, 2))
    moved = ops.clip(upper - upper_before, -LARGEST_STEP, LARGEST_STEP) + LARGEST_STEP
    return _or_none(all_sound, (2 * LARGEST_STEP + 1) * kind + moved, CROSSINGS)


class GivenVoices(ConditionByStep):
    """Reads the voices that conditions give, such as a melody; networks inherit it.

    Args:
        given: Int, how many of the conditions of each step are voices above the others, from the
            first. The other conditions of each step are features as they are.
    """

    def given_notes(self, by_step: Any) -> Any:
        """Tokens `(batch, steps, given)`, -1 where they are unknown, and what else there is."""
        size, tokens = self.num_tokens, []
        values = ops.arange(1, size + 1, dtype="float32")
        for voice in range(self.given):
            part = ops.cast(by_step[..., voice * size : (voice + 1) * size], "float32")
            tokens.append(ops.cast(ops.sum(part * values, axis=-1), "int32") - 1)
        rest = by_step[..., self.given * size :]
        return ops.stack(tokens, axis=-1), rest if rest.shape[-1] else None
