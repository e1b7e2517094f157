"""What `mobile_demo/edge/sample.py` reads and writes of MIDI, beside the package and mido."""

import importlib.util
import pathlib
import struct

import numpy as np
import pytest

from keras_vae.data import Notes, midi
from tests.conftest import ordinary_on
from tests.test_midi import BEAT, note, random_piece, save, track

# No backend computes here. tests/export/test_sequences.py has what it makes of a model.
pytestmark = ordinary_on("torch")

PROGRAM = pathlib.Path(__file__).parents[1] / "mobile_demo" / "edge" / "sample.py"
SCHEMA = Notes(36, 81, repeats=True)


@pytest.fixture(scope="module")
def edge():
    spec = importlib.util.spec_from_file_location("edge_sample", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_writes_the_bytes_that_the_package_writes(edge):
    rng = np.random.default_rng(0)
    for repeats in (False, True):
        schema = Notes(36, 81, repeats=repeats)
        tokens = schema.tokens(SCHEMA.pitches(random_piece(rng)), rng.uniform(size=(64, 4)) < 0.5)
        made = edge.midi_file(tokens, schema.manifest(), schema.voices, tempo=97.0)
        assert made == midi.encode(tokens, schema, tempo=97.0)
    many = Notes(20, 100, [f"voice {n}" for n in range(12)])
    tokens = np.tile(np.arange(50, 38, -1), (3, 1))
    assert edge.midi_file(tokens, many.manifest(), many.voices) == midi.encode(tokens, many)


def melody_of(rng):
    """A melody of two bars as people play it, and other voices below, as tracks."""
    times = np.sort(rng.choice(32, rng.integers(2, 20), replace=False)) / 4
    played = np.clip(times + rng.uniform(-0.1, 0.1, len(times)), 0, 8)
    stops = np.minimum(played + rng.choice([0.02, 0.5, 1.3], len(times)), [*played[1:] + 0.1, 8])
    top = [
        note(*times, int(pitch))
        for *times, pitch in zip(
            played, np.maximum(stops, played), rng.integers(70, 76, len(times)), strict=True
        )
    ]
    return track(note(0, 8, 50)), track(*top, end=8)


def test_it_reads_the_melody_that_the_package_reads(edge, tmp_path):
    rng = np.random.default_rng(0)
    path = str(tmp_path / "melody.mid")
    for number in range(40):
        schema = Notes(36, 81, repeats=bool(number % 2))
        save(path, *melody_of(rng))
        expected = midi.read_melody(path, schema, 32)
        assert edge.read_melody(path, schema.manifest(), 32) == expected.tolist()
        assert len(set(expected.tolist())) > 1


def test_it_reads_channels_and_running_status_as_mido_does(edge, tmp_path):
    path = str(tmp_path / "melody.mid")
    body = b"\x00\x90\x3c\x40\x83\x60\x3c\x00"  # a beat of 60; the second event goes on with 90
    body += b"\x00\xff\x51\x03\x07\xa1\x20"  # a tempo
    body += b"\x00\x40\x40\x00\xf0\x02\x01\xf7\x00\x91\x30\x40"  # 64, SysEx, and a low 48
    body += b"\x8b\x20\xff\x2f\x00"  # three beats
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, BEAT)
    for content in (body, body + b"\x00\x00"):
        extra = b"XFIH" + struct.pack(">I", 3) + b"abc"  # a chunk that nobody knows
        chunk = b"MTrk" + struct.pack(">I", len(content)) + content
        (tmp_path / "melody.mid").write_bytes(header + extra + chunk)
        assert edge.read_melody(path, SCHEMA.manifest(), 16) == [25] * 4 + [29] * 12
    (tmp_path / "melody.mid").write_bytes(header + b"MTrk" + struct.pack(">I", len(body)) + body)
    assert midi.read_melody(path, SCHEMA, 16).tolist() == [25] * 4 + [29] * 12


def test_drums_are_left_out_with_a_line(edge, tmp_path, capsys):
    path = str(tmp_path / "melody.mid")
    save(path, track(note(0, 4, 60)), track(note(0, 1, 81, channel=9)))
    assert edge.read_melody(path, SCHEMA.manifest(), 16) == [25] * 16
    assert capsys.readouterr().err == f"{path}: its drums are left out, for they have no pitch\n"


@pytest.mark.parametrize(
    ("tracks", "words"),
    [
        ([track(note(0, 9, 60))], "32 steps, 2 bars, not 36: cut"),
        ([track(note(0, 4, 60))], "not 16"),
        ([track(note(0, 8, 35))], "from 36 to 81 .* not 35 as at step 0: transpose"),
        ([track(note(0, 8, 60), note(0, 8, 64))], "one note at a time, not 60 and 64 at step 0"),
        ([track(note(0, 4.3, 60), note(4, 8, 64))], "one note at a time"),
        ([track(end=8)], "holds no notes$"),
        ([track(note(0, 8, 36, channel=9))], "holds no notes but drums"),
        ([track(note(0, 8, 60))] * 200, "at most 16 voices, not 200"),
    ],
)
def test_a_melody_that_does_not_fit_is_refused(edge, tmp_path, tracks, words):
    path = str(tmp_path / "melody.mid")
    save(path, *tracks)
    with pytest.raises(edge.InputError, match=words) as caught:
        edge.read_melody(path, SCHEMA.manifest(), 32)
    assert str(caught.value).isprintable()


def test_damaged_files_are_refused_or_read(edge, tmp_path):
    content = midi.encode(np.full((8, 2), 20), Notes(36, 81, ("a", "b")))
    body = content[14:]
    surely = [
        *(b"", b"MThd", b"RIFF" + content[4:], content[:40], bytes(edge.LARGEST_MIDI + 1)),
        content[:8] + struct.pack(">HHH", 2, 3, 480) + body,
        content[:8] + struct.pack(">HHH", 1, 3, 0xE728) + body,
        content[:8] + struct.pack(">HHH", 1, 3, 0) + body,
        content[:8] + struct.pack(">HHH", 1, 9, 480) + body,
        content[:18] + struct.pack(">I", 2**31) + content[22:],
        content[:22] + b"\xff" * 2**19,
    ]
    rng = np.random.default_rng(0)
    changed = [content[:size] for size in range(len(content))]
    for place in range(len(content)):
        changed.append(content[:place] + rng.bytes(1) + content[place + 1 :])
    path = tmp_path / "melody.mid"
    refused = 0
    for number, damaged in enumerate([*surely, *changed]):
        path.write_bytes(damaged)
        try:
            assert len(edge.read_melody(str(path), SCHEMA.manifest(), 16)) == 16
            assert number >= len(surely)
        except edge.InputError as err:
            refused += str(err).isprintable()
    assert refused > len(surely) + 100
