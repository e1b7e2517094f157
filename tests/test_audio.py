"""Pieces as sound: its pitches, its levels, its times."""

import io
import wave

import numpy as np
import pytest

from keras_vae.data import Notes, audio
from tests.conftest import ordinary_on

# No backend computes here.
pytestmark = ordinary_on("torch")

RATE = 8000
SCHEMA = Notes(36, 81, ("voice",), repeats=True)


def play(*pitches, schema=SCHEMA, struck=None, tempo=60.0):
    return audio.render(schema.tokens(np.array(pitches), struck), schema, tempo, RATE)


def loudness(sound, start, stop):
    """Root of the mean square from a time to another, in seconds."""
    return np.sqrt(np.mean(sound[int(start * RATE) : int(stop * RATE)].astype("float64") ** 2))


@pytest.mark.parametrize("pitch", [45, 69, 76])
def test_a_pitch_has_its_frequency_and_the_harmonics_of_it(pitch):
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    spectrum = np.abs(np.fft.rfft(play(*[[pitch]] * 8)[: 2 * RATE, 0]))
    loudest = np.fft.rfftfreq(2 * RATE, 1 / RATE)[np.argmax(spectrum)]
    assert abs(loudest - frequency) <= 1.0  # two ranks, five cents apart
    places = [round(2 * n * frequency) for n in range(1, 9)]
    inside = [spectrum[place - 20 : place + 20] for place in places]
    assert sum((part**2).sum() for part in inside) > 0.95 * (spectrum**2).sum()


def test_levels_are_even_and_nothing_is_clipped():
    chord = np.array([72, 67, 64, 48])
    schema = Notes(36, 81)
    for voices in (chord, [72, -1, -1, -1]):
        sound = play(*[voices] * 8, schema=schema)
        assert sound.dtype == "float32"
        assert sound.shape[1] == 2
        np.testing.assert_allclose(np.abs(sound).max(), audio.PEAK, rtol=1e-6)
        assert np.abs(sound.mean(axis=0)).max() < 1e-3
        left, right = (loudness(sound[:, side], 0.2, 1.8) for side in (0, 1))
        assert 0.8 < left / right < 1.25
        assert left > 0.1


def test_silence_is_silent():
    assert not play(*[[-1]] * 8).any()
    sound = play(*[[69]] * 4, *[[-1]] * 20)
    assert loudness(sound, 2.5, 6) < 0.01 * loudness(sound, 0.2, 0.9)
    assert 0 < loudness(sound, 1.2, 1.5) < 0.2 * loudness(sound, 0.2, 0.9)  # the room


def test_it_lasts_as_long_as_the_tempo_says():
    assert len(play(*[[69]] * 8)) == int(RATE * (2 + 1.6))
    assert len(play(*[[69]] * 8, tempo=120)) == int(RATE * (1 + 1.6))


def test_a_note_that_is_struck_again_is_heard():
    again = np.arange(8)[:, None] % 4 == 0
    held, struck = play(*[[69]] * 8), play(*[[69]] * 8, struck=again)
    times = np.arange(0.8, 1.2, 0.02)
    held, struck = (np.array([loudness(x, t, t + 0.02) for t in times]) for x in (held, struck))
    change = struck / held
    assert times[np.argmin(change)] == pytest.approx(1.0, abs=0.05)
    assert change.min() < 0.6 * np.median(change)


def test_a_wav_file_holds_the_sound():
    tokens = SCHEMA.tokens(np.full((8, 1), 69))
    with wave.open(io.BytesIO(audio.encode(tokens, SCHEMA, 60, RATE))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        content = file.readframes(file.getnframes())
    found = np.frombuffer(content, "<i2").reshape(-1, 2) / 32767
    sound = audio.render(tokens, SCHEMA, 60, RATE)
    np.testing.assert_allclose(found, sound, rtol=0, atol=0.51 / 32767)
    np.testing.assert_array_equal(sound, audio.render(tokens, SCHEMA, 60, RATE))


def test_what_cannot_be_played_is_refused():
    tokens = np.ones((8, 1), int)
    for arguments, words in (
        ((tokens[0], SCHEMA), r"tokens \(steps, 1\)"),
        ((tokens[:0], SCHEMA), r"tokens \(steps, 1\)"),
        ((tokens, SCHEMA, 3), "`tempo`"),
        ((tokens, SCHEMA, 80, 100), "`rate`"),
        ((np.ones((2000, 1), int), SCHEMA, 4.0), "3,600 seconds. Received: 7,500"),
    ):
        with pytest.raises(ValueError, match=words):
            audio.render(*arguments)
