"""The script that makes `jsb_chorales.json`, on scores as music21 has them."""

import pathlib
import runpy
import sys
import types

import numpy as np
import pytest

from keras_vae.data import keys, sequences
from tests.conftest import ordinary_on

# No backend computes here.
pytestmark = ordinary_on("torch")

SCRIPT = pathlib.Path(sequences.__code__.co_filename).parents[1] / "excerpts" / "make_chorales.py"


class Part:
    """A part of a score, of notes `(offset, length, pitch)` in beats, that knows its signature."""

    def __init__(self, name, notes, tonic=0, mode="major"):
        self.partName = name
        self.highestTime = max(offset + length for offset, length, _ in notes)
        pitched = [
            (offset, length, types.SimpleNamespace(midi=pitch)) for offset, length, pitch in notes
        ]
        fields = ("offset", "quarterLength", "pitch")
        self.notes = [types.SimpleNamespace(**dict(zip(fields, n, strict=True))) for n in pitched]
        self.key = types.SimpleNamespace(tonic=types.SimpleNamespace(pitchClass=tonic), mode=mode)

    def stripTies(self):  # noqa: N802
        return self

    def flatten(self):
        return self

    def getElementsByClass(self, name):  # noqa: N802
        assert name == "Key"
        return [self.key]


def score(melody, names=("Soprano", "Alto", "Tenor", "Bass"), **signature):
    parts = [
        Part(name, [(n / 2, 0.5, pitch - 7 * voice) for n, pitch in enumerate(melody)], **signature)
        for voice, name in enumerate(names)
    ]
    return types.SimpleNamespace(parts=parts)


@pytest.fixture(scope="module")
def script():
    return types.SimpleNamespace(**runpy.run_path(str(SCRIPT), run_name="make_chorales"))


def test_a_score_becomes_steps_of_a_sixteenth(script):
    found = score([72, 72, 74])
    grace = types.SimpleNamespace(offset=0, quarterLength=0, pitch=None)
    found.parts[1].notes.append(grace)
    piece, _ = script.piece_of("bwv1", found)
    assert piece.pitches.tolist() == [[72, 65, 58, 51]] * 4 + [[74, 67, 60, 53]] * 2
    assert np.flatnonzero(piece.struck.all(axis=1)).tolist() == [0, 2, 4]
    assert piece.struck.sum() == 12


def test_voices_are_chosen_among_instruments(script):
    names = ("Horn", "Soprano Oboe 1", "Alto", "Tenor", "Bass", "Continuo")
    piece, _ = script.piece_of("bwv2", score([72, 74], names))
    assert piece.pitches[0].tolist() == [65, 58, 51, 44]
    assert script.piece_of("bwv3", score([72], ("Soprano 1", "Soprano 2", "A", "T", "B"))) is None
    assert script.piece_of("bwv4", score([72], ("Soprano", "Alto", "Bass"))) is None
    unnamed, _ = script.piece_of("bwv5", score([72], (None,) * 4))
    assert unnamed.pitches.tolist() == [[72, 65, 58, 51]] * 2


def test_a_signature_is_believed_where_the_piece_ends_on_its_tonic(script):
    melody = [79, 81, 83, 81, 79, 74, 79]  # the bass ends on 58, B flat
    piece, written = script.piece_of("a", score(melody, tonic=10, mode="minor"))
    assert piece.key == written == keys.index(10, "minor")
    for signature in ({"tonic": 3}, {"tonic": 10, "mode": "dorian"}):
        piece, written = script.piece_of("a", score(melody, **signature))
        assert written is None
        assert piece.key == keys.estimate(piece.pitches)


def test_the_file_is_read_by_its_name(script, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    scores = {f"bwv{n}": score(rng.integers(60, 80, 70).tolist()) for n in range(10)}
    for number in (3, 4):  # which end on their tonic
        scores[f"bwv{number}"] = score([*rng.integers(60, 80, 70).tolist(), 69])
    scores["bwv11"] = score([72], ("Horn",))
    path = tmp_path / "jsb_chorales.json"
    names = script.main.__globals__
    monkeypatch.setitem(names, "chorales", lambda: iter(scores.items()))
    monkeypatch.setattr(sys, "argv", ["make_chorales.py", "--out", str(path)])
    names["main"]()
    said = capsys.readouterr().out
    assert "10 of 11 chorales" in said
    assert "of 2 signatures" in said
    monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
    made = sequences("jsb", conditions=("key", "mode"))
    assert [len(made.pieces[part]) for part in ("train", "validation", "test")] == [7, 1, 2]
    assert made.schema.repeats
    assert not made.set_aside
    assert made.pieces["test"][0].startswith("bwv")
