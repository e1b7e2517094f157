"""MIDI files: written by the standard library alone, read by mido.

A file that is read may not be trusted: what it may need of memory and time is bounded.
"""

import collections
import io
import itertools
import os
import re
import struct
import warnings

import numpy as np

from keras_vae.data.errors import DataError, explained, shortened
from keras_vae.data.notes import SILENCE
from keras_vae.data.pieces import MAX_VOICES, SPLITS, make

SUFFIXES = (".mid", ".midi")
MAX_BYTES = 2**20
MAX_STEPS = 2**16
MAX_FILES = 100_000
MAX_BYTES_OF_FOLDER = 2**30
BEATS_OF_BAR = 4
TICKS = 480  # a beat, of what is written
TEMPOS = (4.0, 1000.0)  # beats a minute; a slower one does not fit into its field
DRUMS = 9  # the channel that people call the tenth
# mido reads a number as long as bytes go on with it; four are all that MIDI has.
_ENDLESS = re.compile(rb"[\x80-\xff]{4096}")
_ORGAN = 19
_VELOCITY = 80


# Writing


def encode(tokens, schema, tempo=80.0):
    """Write one piece as a MIDI file: a track a voice, with its name, as an organ.

    Args:
        tokens: Ints `(steps, len(schema.all_voices))`, from the highest voice to the lowest, or
            `(steps, len(schema.voices))` without the given ones.
        schema: `Notes`.
        tempo: Float from 4 to 1000. Beats a minute.

    Returns:
        Bytes of a file of format 1.

    Raises:
        ValueError: If an argument is out of range.
    """
    names = check(tokens, schema, tempo)
    ticks = TICKS / schema.steps_per_beat
    end = round(len(tokens) * ticks)
    beat = round(60_000_000 / tempo).to_bytes(3, "big")
    metre = bytes([BEATS_OF_BAR, 2, 24, 8])
    tracks = [_track([(0, _meta(0x51, beat)), (0, _meta(0x58, metre))], end)]
    for voice, (name, spans) in enumerate(zip(names, schema.spans(tokens), strict=True)):
        channel = (voice + (voice >= DRUMS)) % 16
        events = [(0, _meta(0x03, name.encode("latin-1", "replace")[:100]))]
        events.append((0, bytes([0xC0 | channel, _ORGAN])))
        for first, last, pitch in spans:
            events.append((round(first * ticks), bytes([0x90 | channel, pitch, _VELOCITY])))
            events.append((round(last * ticks), bytes([0x80 | channel, pitch, 0])))
        tracks.append(_track(events, end))
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS) + b"".join(tracks)


def check(tokens, schema, tempo):
    """Check what is to be played, and return the names of its voices; or raise a ValueError."""
    shape = np.shape(tokens)
    names = schema.all_voices if shape[-1:] == (len(schema.all_voices),) else schema.voices
    if len(shape) != 2 or not shape[0] or shape[1] != len(names):
        raise ValueError(
            f"A piece must be tokens (steps, {len(schema.all_voices)}). Received: shape={shape}. "
            "Pass the pieces one by one."
        )
    if not TEMPOS[0] <= tempo <= TEMPOS[1]:
        raise ValueError(f"`tempo` must be from 4 to 1000 beats a minute. Received: {tempo!r}")
    return names


def _track(events, end):
    """A track of events, pairs of a time in ticks, none earlier than the one before, and bytes."""
    body, now = b"", 0
    for time, message in [*events, (end, _meta(0x2F, b""))]:
        body += _length(time - now) + message
        now = time
    return b"MTrk" + struct.pack(">I", len(body)) + body


def _meta(kind, content):
    return bytes([0xFF, kind]) + _length(len(content)) + content


def _length(number):
    """A number in groups of seven bits, of which the last has no eighth."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


# Reading


def read(path, steps_per_beat=4):
    """Read a MIDI file as a piece, a voice of each track that has notes, or of each channel.

    Notes begin and end at the nearest step; one that would have none keeps one. Two notes of a
    voice may overlap by less than a step, as played ones do: the first then ends where the second
    begins. Drums, which have no pitch, are left out with a warning. Tempo, metre and loudness
    change nothing: a step is a part of a beat.

    Args:
        path: Str or path.
        steps_per_beat: Int, at least 1.

    Returns:
        A `Piece`, its voices by their mean pitch, the highest first.

    Raises:
        DataError: If the file is damaged or unusable, or mido is not installed.
    """
    path = os.fspath(path)
    parts, end, has_drums = _parts(path, steps_per_beat)
    if has_drums:
        warnings.warn(f"{path!r}: its drums are left out, for they have no pitch.", stacklevel=2)
    return _piece(path, parts, end)


def read_melody(path, schema, steps):
    """Read a melody from a MIDI file, as tokens.

    It is the highest of the file's voices. Its last bar is filled up with rests.

    Args:
        path: Str or path.
        schema: `Notes`.
        steps: Int, how many steps there must be.

    Returns:
        `schema.dtype` array `(steps,)`.

    Raises:
        DataError: As `read`; or if the melody is longer, shorter by a bar or more, or out of range.
    """
    path = os.fspath(path)
    piece = read(path, schema.steps_per_beat)
    bar = BEATS_OF_BAR * schema.steps_per_beat
    length = len(piece.pitches)
    if not steps - bar < length <= steps:
        raise DataError(
            f"The melody of {path!r} must have {steps / bar:g} bars, {steps} steps. Received: "
            f"{length} steps. Cut it, or fill it with rests."
        )
    filled = np.pad(piece.pitches[:, :1], ((0, steps - length), (0, 0)), constant_values=SILENCE)
    struck = np.pad(piece.struck[:, :1], ((0, steps - length), (0, 0)))
    try:
        return schema.tokens(filled, struck)[:, 0]
    except ValueError as err:
        raise DataError(f"The melody of {path!r}: {err}") from err


def from_folder(folder, steps_per_beat=4):
    """Read the MIDI files of a folder, in the order of their names.

    Args:
        folder: Path of a folder of `.mid` and `.midi` files; or of `train`, `test` and, optionally,
            `valid` folders that hold these.
        steps_per_beat: Int, at least 1.

    Returns:
        List of `Piece`; or a dict of these by split, as `pieces.from_json` gives.

    Raises:
        DataError: If a file is damaged or unusable.
    """
    folder = os.fspath(folder)
    with os.scandir(folder) as entries:
        names = {entry.name.lower(): entry.path for entry in entries if entry.is_dir()}
    if {"train", "test"} <= names.keys():
        pieces = {split: [] for split in SPLITS.values()}
        for name in SPLITS.keys() & names.keys():
            pieces[SPLITS[name]] += from_folder(names[name], steps_per_beat)
        return pieces
    paths = sorted(
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )
    if not 0 < len(paths) <= MAX_FILES:
        raise DataError(
            f"{folder!r} must hold .mid files, 1 to {MAX_FILES:,}, or train and test folders of "
            f"them. Received: {len(paths):,} files. Check the path."
        )
    found, with_drums, size = [], 0, 0
    for path in paths:
        parts, end, has_drums = _parts(path, steps_per_beat)
        with_drums += has_drums
        found.append(_piece(path, parts, end))
        size += found[-1].pitches.nbytes
        if size > MAX_BYTES_OF_FOLDER:
            raise DataError(
                f"{folder!r} must hold at most {MAX_BYTES_OF_FOLDER:,} bytes of pitches. Received: "
                "more. Read a part of it."
            )
    if with_drums:
        warnings.warn(
            f"{folder!r}: the drums of {with_drums} files are left out, for they have no pitch.",
            stacklevel=2,
        )
    return found


def _parts(path, steps_per_beat):
    """The notes of every voice of a file, its length in steps, and whether it has drums."""
    midi = _parsed(path)
    step = midi.ticks_per_beat / steps_per_beat
    parts, end, has_drums = collections.defaultdict(list), 0, False
    for number, track in enumerate(midi.tracks):
        now, sounding = 0, {}
        for message in track:
            now += message.time
            if now > MAX_STEPS * step:
                raise DataError(
                    f"{path!r} must be at most {MAX_STEPS:,} steps long. Received: a longer one. "
                    "Cut the piece."
                )
            if message.type not in ("note_on", "note_off"):
                continue
            if message.channel == DRUMS:
                has_drums = True
                continue
            key = number, message.channel, message.note
            if key in sounding:
                parts[key[:2]].append((sounding.pop(key), now, message.note))
            if message.type == "note_on" and message.velocity:
                sounding[key] = now
        for key, since in sounding.items():  # what the track's end cuts off
            parts[key[:2]].append((since, now, key[2]))
        end = max(end, now)
    parts = [[note for note in notes if note[0] < note[1]] for notes in parts.values()]
    parts = [notes for notes in parts if notes]
    if not parts:
        raise DataError(
            f"{path!r} must hold notes. Received: {'drums alone' if has_drums else 'none'}. Choose "
            "another file."
        )
    if len(parts) > MAX_VOICES:
        raise DataError(
            f"{path!r} must hold at most {MAX_VOICES} voices, a track or a channel each. Received: "
            f"{len(parts)}. Leave some out."
        )
    return [_line(notes, step, path) for notes in parts], round(end / step), has_drums


def _parsed(path):
    try:
        import mido
    except ImportError as err:
        raise DataError(
            "Reading MIDI files needs mido, which is not installed. Install it with: "
            'pip install "keras-vae[music]".'
        ) from err
    with explained(f"{path!r} must be a MIDI file. Received: ", "Save it again as MIDI."):
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        if _ENDLESS.search(content):
            raise ValueError("a number without an end")
        midi = mido.MidiFile(file=io.BytesIO(content))
        if midi.type not in (0, 1):
            raise ValueError(f"format {midi.type}, whose tracks are not played together")
        if midi.ticks_per_beat <= 0:
            raise ValueError("times in seconds, not in beats")
    return midi


def _line(notes, step, path):
    """Notes in ticks, of one voice, as notes in steps, none of which overlap."""
    notes = sorted(notes)
    for (first, last, one), (second, _, other) in itertools.pairwise(notes):
        if last - second >= step or first == second:
            raise DataError(
                f"A voice of {path!r} must have one note at a time. Received: the pitches {one} "
                f"and {other} at once, at step {round(second / step)}. Save every voice as a track."
            )
    longest = {}
    for first, last, pitch in notes:
        start = round(first / step)
        # Of several that begin at one step, such as those of a trill.
        longest[start] = max(longest.get(start, (0,)), (last - first, last, pitch))
    starts = sorted(longest)
    line = []
    for start, following in itertools.zip_longest(starts, starts[1:]):
        _, last, pitch = longest[start]
        stop = max(start + 1, round(last / step))
        line.append((start, stop if following is None else min(stop, following), pitch))
    return line


def _piece(path, lines, end):
    steps = max(end, *(line[-1][1] for line in lines))
    pitches = np.full((steps, len(lines)), SILENCE, "int16")
    struck = np.zeros((steps, len(lines)), bool)
    for voice, line in enumerate(lines):
        for start, stop, pitch in line:
            pitches[start:stop, voice] = pitch
            struck[start, voice] = True
    means = np.sum(pitches, axis=0, where=pitches >= 0) / np.sum(pitches >= 0, axis=0)
    order = np.argsort(-means, kind="stable")
    return make(pitches[:, order], shortened(repr(path)), struck[:, order])
