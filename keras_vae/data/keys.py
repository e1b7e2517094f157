"""The key of a piece, by the time that each of its pitches sounds."""

import numpy as np

# C, D flat, ... as majors, then C, C sharp, ... as minors: the spellings with fewer accidentals.
_MAJORS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINORS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
KEYS = (*(f"{name} major" for name in _MAJORS), *(f"{name} minor" for name in _MINORS))
MODES = ("major", "minor")
# Percent of the tones of a melody in C major and in C minor that are C, C sharp, and so on.
_PROFILES = (
    (17.77, 0.15, 14.93, 0.16, 19.80, 11.36, 0.29, 22.06, 0.15, 8.15, 0.23, 4.95),
    (18.26, 0.74, 14.05, 16.86, 0.70, 14.44, 0.70, 18.62, 4.57, 1.93, 7.38, 1.76),
)


def estimate(pitches):
    """The key whose profile fits best to how long each pitch class sounds.

    Args:
        pitches: Ints of any shape, MIDI pitches of all voices and steps; -1 for silence.

    Returns:
        Int, an index of `KEYS`; 0 where nothing sounds.

    References:
        - Krumhansl, Cognitive Foundations of Musical Pitch, 1990, chapter 4: the algorithm of
          Krumhansl and Schmuckler, a correlation with a profile of each key.
        - Aarden, Dynamic Melodic Expectancy, 2003: the profiles, counted in the Essen Folksong
          Collection. With those of Krumhansl and Kessler, by listeners' judgement, a dominant is
          often taken for the tonic.
          https://extras.humdrum.org/man/keycor/
    """
    pitches = np.asarray(pitches).ravel()
    times = np.bincount(pitches[pitches >= 0] % 12, minlength=12).astype("float64")
    times -= times.mean()
    fits = np.array([np.roll(profile, tonic) for profile in _PROFILES for tonic in range(12)])
    fits -= fits.mean(axis=1, keepdims=True)
    # The norm of `times` is the same for every key.
    return int(np.argmax(fits @ times / np.linalg.norm(fits, axis=1)))


def index(tonic, mode):
    """The index in `KEYS` of a tonic, a pitch class from 0 to 11, and a mode."""
    return tonic % 12 + 12 * MODES.index(mode)


def transposed(key, semitones):
    """The index of a key, so many semitones higher."""
    return (key % 12 + semitones) % 12 + key // 12 * 12
