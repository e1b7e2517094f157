"""What a listener notices of pieces in several voices, to compare samples with real music by.

None of it says whether a piece is good: bigrams of notes pass some of them. They say what is odd.
"""

import numpy as np

BEATS_OF_BAR = 4
# Pitch classes from the tonic. Minor has the leading note, too.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10, 11)}
# Pitch classes from the root: triads, and chords of the seventh.
CHORDS = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10),
    "minor seventh": (0, 3, 7, 10),
    "major seventh": (0, 4, 7, 11),
    "half-diminished": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
}
PERFECT = (0, 7)  # semitones of a unison or octave, and of a fifth, without octaves
OCTAVE = 12


def statistics(pitches, steps_per_beat=4):
    """Measure pieces in voices.

    A change is a step at which any voice differs from the step before. A voice moves where it
    sounds at both and its pitch differs; a note that is struck again is no move. What is not there,
    such as chords where a voice is always silent, is 0.

    Args:
        pitches: Ints `(n, steps, voices)`, MIDI pitches; -1 for silence. Voices from the highest to
            the lowest; a piece begins on a beat.
        steps_per_beat: Int, at least 1. Four beats are a bar.

    Returns:
        Dict of floats:

        - `in_scale`: share of a piece's notes, by the time that they sound, in the major or minor
          scale that holds most of them; mean of the pieces.
        - `chords_on_beats`: share of the beats on which all voices sound whose notes are all in one
          triad or chord of the seventh. `chords`: the same of all steps.
        - `crossings`: share of the steps at which a voice is above the next higher one.
        - `off_eighths`: share of the changes that are on no half of a beat.
        - `notes_per_bar`: moves a bar and voice.
        - `parallels_per_100_changes`: for 100 changes, the pairs of voices that move in one
          direction from a unison, fifth or octave to the same interval (octaves between left out).
        - `leaps`: share of the moves by more than an octave. `steps`: by at most a whole tone.
        - `rests`: share of silence. `distinct`: different pieces in parts of all.

    Raises:
        ValueError: If the pitches are none.

    Example:

    >>> chorale = np.array([[[72, 67, 64, 48]] * 4 + [[74, 67, 65, 50]] * 4])
    >>> found = statistics(chorale)  # soprano and bass move from an octave to an octave
    >>> found["parallels_per_100_changes"], found["chords_on_beats"], found["in_scale"]
    (100.0, 1.0, 1.0)
    """
    pitches = np.asarray(pitches)
    if pitches.ndim != 3 or 0 in pitches.shape or pitches.dtype.kind not in "iu":
        raise ValueError(
            "Pitches must be whole numbers (n, steps, voices), -1 for silence. Received: "
            f"{pitches.dtype} of shape={pitches.shape}"
        )
    pitches = pitches.astype("int64")
    count, steps, voices = pitches.shape
    sounds = pitches >= 0
    classes = np.where(sounds, 1 << (pitches % OCTAVE), 0)
    full = sounds.all(axis=2)
    is_chord = _fits(np.bitwise_or.reduce(classes, axis=2), _masks(CHORDS)).any(axis=-1)
    on_beat = full & (np.arange(steps) % steps_per_beat == 0)
    crossed = (np.diff(pitches, axis=2) > 0) & sounds[..., 1:] & sounds[..., :-1]
    changed = (pitches[:, 1:] != pitches[:, :-1]).any(axis=2)
    changes = max(int(changed.sum()), 1)
    moved = _moved(pitches)
    size = np.abs(np.diff(pitches, axis=1))[moved]
    on_eighth = 2 * np.arange(1, steps) % steps_per_beat == 0
    bars = count * steps / steps_per_beat / BEATS_OF_BAR
    return {
        "in_scale": float(np.mean([_share_in_scale(notes[notes > 0]) for notes in classes])),
        "chords_on_beats": _mean(is_chord[on_beat]),
        "chords": _mean(is_chord[full]),
        "crossings": float(crossed.any(axis=2).mean()),
        "off_eighths": float(changed[:, ~on_eighth].sum() / changes),
        "notes_per_bar": float(moved.sum() / voices / bars),
        "parallels_per_100_changes": float(100 * _parallels(pitches).sum() / changes),
        "leaps": _mean(size > OCTAVE),
        "steps": _mean(size <= 2),
        "rests": float(1 - sounds.mean()),
        "distinct": len({piece.tobytes() for piece in pitches}) / count,
    }


def _moved(pitches):
    """Where a voice sounds at two steps with two pitches: bools `(n, steps - 1, voices)`."""
    before, after = pitches[:, :-1], pitches[:, 1:]
    return (before >= 0) & (after >= 0) & (before != after)


def _parallels(pitches):
    """How many pairs of voices move in parallel: ints `(n, steps - 1)`."""
    moved, by = _moved(pitches), np.diff(pitches, axis=1)
    higher, lower = np.triu_indices(pitches.shape[2], 1)
    interval = (pitches[..., higher] - pitches[..., lower]) % OCTAVE
    same = np.isin(interval[:, :-1], PERFECT) & (interval[:, :-1] == interval[:, 1:])
    together = moved[..., higher] & moved[..., lower]
    one_way = np.sign(by[..., higher]) == np.sign(by[..., lower])
    return (same & together & one_way).sum(axis=2)


def _masks(sets):
    """Sets of pitch classes from every one of the twelve, each as the bits of an int."""
    masks = {
        sum(1 << (pitch + first) % OCTAVE for pitch in classes)
        for classes in sets.values()
        for first in range(OCTAVE)
    }
    return np.array(sorted(masks))


def _fits(classes, masks):
    """Whether all pitch classes of each int are in each mask: bools `(..., len(masks))`."""
    return (classes[..., None] & ~masks) == 0


def _share_in_scale(notes):
    return _fits(notes, _masks(SCALES)).mean(axis=0).max() if len(notes) else 0.0


def _mean(values):
    return float(values.mean()) if values.size else 0.0
