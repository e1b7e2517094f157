"""Pieces as sound: an organ in a room, by NumPy and the standard library alone."""

import io
import wave

import numpy as np

from keras_vae.data import midi

RATE = 44_100  # samples a second
PEAK = 0.7  # of what a file can hold: 3 dB below
LONGEST = 3600  # seconds
# Harmonics of a note and their amplitudes, as of pipes of 8, 4, 2 2/3 and 2 feet.
_HARMONICS = {1: 1.0, 2: 0.5, 3: 0.22, 4: 0.25, 5: 0.05, 6: 0.08, 8: 0.08}
_DETUNED = 2 ** (np.array([-2.5, 2.5]) / 1200)  # two ranks of pipes, five cents apart
_ATTACK, _RELEASE, _GAP = 0.03, 0.12, 0.05  # seconds
_ROOM, _WET, _DECAY = 1.6, 0.25, 0.35  # seconds of echo, its part, and its time constant


def render(tokens, schema, tempo=80.0, rate=RATE):
    """Play one piece.

    Args:
        tokens: Ints `(steps, len(schema.all_voices))`, or without the given voices.
        schema: `Notes`.
        tempo: Float from 4 to 1000. Beats a minute.
        rate: Int. Samples a second, at least 8,000.

    Returns:
        float32 `(samples, 2)`, left and right, of at most 0.7; the last note fades for a second and
        a half.

    Raises:
        ValueError: If an argument is out of range.
    """
    midi.check(tokens, schema, tempo)
    if not 8_000 <= rate <= 192_000:
        raise ValueError(f"`rate` must be from 8,000 to 192,000 samples. Received: {rate!r}")
    step = 60 / tempo / schema.steps_per_beat
    if len(tokens) * step > LONGEST:
        raise ValueError(
            f"A piece must last at most {LONGEST:,} seconds. Received: {len(tokens) * step:,.0f}. "
            "Play a part of it, or faster."
        )
    dry = np.zeros(int(rate * (len(tokens) * step + _ROOM)))
    for spans in schema.spans(tokens):
        for first, last, pitch in spans:
            at = int(rate * first * step)
            note = _note(pitch, (last - first) * step, rate)[: len(dry) - at]
            dry[at : at + len(note)] += note
    size = len(dry) + int(rate * _ROOM)
    spectrum = np.fft.rfft(dry, size)
    heard = [np.fft.irfft(spectrum * np.fft.rfft(echo, size), size) for echo in _room(rate)]
    sound = np.stack(heard, axis=1)[: len(dry)]
    return (sound * (PEAK / max(np.abs(sound).max(), 1e-9))).astype("float32")


def encode(tokens, schema, tempo=80.0, rate=RATE):
    """As `render`, as the bytes of a WAV file of 16 bits."""
    sound = np.round(render(tokens, schema, tempo, rate) * 32767).astype("<i2")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.tobytes())
    return content.getvalue()


def _note(pitch, seconds, rate):
    """A pitch for some seconds, and then its release."""
    seconds = max(seconds - _GAP, seconds / 2)
    time = np.arange(int(rate * (seconds + _RELEASE))) / rate
    frequencies = 440 * 2 ** ((pitch - 69) / 12) * _DETUNED
    waves = [
        # Waves that begin at different phases add up to lower peaks.
        amplitude * np.sin(2 * np.pi * number * frequency * time + number**2)
        for number, amplitude in _HARMONICS.items()
        for frequency in frequencies
        if number * frequency < rate / 2
    ]
    rise = np.clip(time / _ATTACK, 0, 1)
    fall = np.clip((seconds + _RELEASE - time) / _RELEASE, 0, 1)
    return np.sum(waves, axis=0) * np.sin(np.pi / 2 * np.minimum(rise, fall)) ** 2


def _room(rate):
    """What a click sounds like in a room, to the left and to the right."""
    time = np.arange(int(rate * _ROOM)) / rate
    for side in (0, 1):
        noise = np.random.RandomState(side).standard_normal(len(time))  # the same room every time
        echo = noise * np.exp(-time / _DECAY) * np.minimum(1, time / 0.02)
        echo *= _WET / np.sqrt(np.sum(echo**2))
        echo[0] = 1 - _WET
        yield echo
