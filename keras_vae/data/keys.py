"""The key of a piece, by the time that each of its pitches sounds."""

import numpy as np

# C, D flat, ... as majors, then C, C sharp, ... as minors: the spellings with fewer accidentals.
_MAJORS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINORS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
KEYS = (*(f"{name} major" for name in _MAJORS), *(f"{name} minor" for name in _MINORS))
MODES = ("major", "minor")
# How well listeners find that a tone fits into C major and C minor, from C up.
_FITS = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)


def estimate(pitches):
    """The key whose tones fit best to how long each pitch class sounds.

    Args:
        pitches: Ints of any shape, MIDI pitches of all voices and steps; -1 for silence.

    Returns:
        Int, an index of `KEYS`; 0 where nothing sounds.

    References:
        - Krumhansl, Cognitive Foundations of Musical Pitch, 1990, chapter 4: the key-finding
          algorithm of Krumhansl and Schmuckler, and the profiles of Krumhansl and Kessler, 1982.
          https://doi.org/10.1037/0033-295X.89.4.334
    """
    pitches = np.asarray(pitches).ravel()
    times = np.bincount(pitches[pitches >= 0] % 12, minlength=12).astype("float64")
    times -= times.mean()
    fits = np.array([np.roll(profile, tonic) for profile in _FITS for tonic in range(12)])
    fits -= fits.mean(axis=1, keepdims=True)
    # The norm of `times` is the same for every key.
    return int(np.argmax(fits @ times / np.linalg.norm(fits, axis=1)))


def index(tonic, mode):
    """The index in `KEYS` of a tonic, a pitch class from 0 to 11, and a mode."""
    return tonic % 12 + 12 * MODES.index(mode)


def transposed(key, semitones):
    """The index of a key, so many semitones higher."""
    return (key % 12 + semitones) % 12 + key // 12 * 12
