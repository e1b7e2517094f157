"""What a listener notices of music: counted by hand, by a plain loop, and on Bach's chorales."""

import itertools
import json
import re

import numpy as np
import pytest

from keras_vae.data import pieces, sequences
from keras_vae.evaluation import music
from tests.conftest import ordinary_on
from tests.shown import ROOT

# No backend computes here.
pytestmark = ordinary_on("torch")

# A chord a beat: C, F, G with seventh, C, from the soprano to the bass; no parallels.
CADENCE = [[72, 67, 64, 48], [72, 69, 65, 53], [71, 67, 65, 55], [72, 67, 64, 48]]


def piece(*chords, steps=4):
    """One piece `(1, steps, voices)` of chords that last some steps each."""
    return np.repeat(np.array(chords), steps, axis=0)[None]


def measured(pitches, *names):
    found = music.statistics(pitches)
    return [found[name] for name in names]


def test_a_cadence_has_nothing_odd():
    found = music.statistics(piece(*CADENCE))
    # Moves: soprano 2, alto 2, tenor 2, bass 3, which are all by a whole tone at most but for two
    # of the bass.
    assert found == {
        "in_scale": 1.0,
        "chords_on_beats": 1.0,
        "chords": 1.0,
        "crossings": 0.0,
        "off_eighths": 0.0,
        "notes_per_bar": 9 / 4,
        "parallels_per_100_changes": 0.0,
        "leaps": 0.0,
        "steps": 7 / 9,
        "rests": 0.0,
        "distinct": 1.0,
    }


@pytest.mark.parametrize(
    ("chords", "count"),
    [
        ([[67, 60], [69, 62]], 1),  # a fifth
        ([[79, 60], [81, 62]], 1),  # and with an octave between
        ([[72, 60], [74, 62]], 1),  # an octave
        ([[60, 60], [62, 62]], 1),  # a unison
        ([[67, 60], [67, 60]], 0),  # which is held
        ([[67, 60], [74, 62]], 0),  # to an octave
        ([[64, 60], [65, 61]], 0),  # thirds
        ([[65, 60], [67, 62]], 0),  # fourths
        ([[67, 60], [62, 67]], 0),  # against each other
        ([[72, 60], [60, 72]], 0),  # the same, between octaves
        ([[67, 60], [-1, -1], [69, 62]], 0),  # with a rest between
        ([[67, 60, 53], [69, 62, 55]], 2),  # two pairs of three; the outer ones are a ninth apart
        ([[67, 60], [69, 62], [71, 64]], 2),
    ],
)
def test_parallels(chords, count):
    pitches = piece(*chords)
    changes = max(1, np.count_nonzero((np.diff(pitches[0], axis=0) != 0).any(axis=1)))
    assert measured(pitches, "parallels_per_100_changes") == [100 * count / changes]


def test_a_voice_above_the_next_higher_crosses_it():
    crossed = piece([60, 62], [62, 60], [62, -1], [60, 60], steps=1)
    assert measured(crossed, "crossings") == [1 / 4]
    assert measured(piece([60, 62, 64]), "crossings") == [1.0]  # a step is counted once


def test_changes_off_the_eighths():
    # Of a beat of four steps the second and the fourth are no eighths.
    notes = piece([60], [62], [64], [65], [67], steps=1)
    assert measured(notes, "off_eighths") == [2 / 4]
    assert measured(piece([60], [62], [64]), "off_eighths") == [0.0]
    assert music.statistics(notes, steps_per_beat=2)["off_eighths"] == 0.0


def test_chords_are_looked_for_where_all_voices_sound():
    known, cluster, gap = [67, 64, 60], [62, 61, 60], [67, -1, 60]
    assert measured(piece(known, cluster, gap), "chords_on_beats", "chords") == [1 / 2, 1 / 2]
    # On the beats alone: the cluster is between two of them.
    assert measured(piece(*[known] * 4, cluster, *[known] * 3, steps=1), "chords") == [7 / 8]
    passing = piece(*[known] * 5, cluster, *[known] * 2, steps=1)
    assert measured(passing, "chords_on_beats") == [1.0]
    assert measured(piece(gap), "chords_on_beats", "chords") == [0.0, 0.0]


@pytest.mark.parametrize("chord", [[0, 4, 7], [0, 3, 6, 9], [0, 3, 6, 10], [0, 4, 8], [0, 7], [0]])
@pytest.mark.parametrize("root", [48, 53, 59])
def test_a_chord_may_lack_notes_and_be_inverted(chord, root):
    pitches = root + np.roll(chord, 1)
    assert measured(piece(pitches), "chords") == [1.0]


def test_the_best_scale_of_each_piece_counts_by_time():
    in_d = piece([62], [64], [66], [67], [69], [71], [73], [74])
    chromatic = piece(*[[60 + n] for n in range(12)])
    assert measured(in_d, "in_scale") == [1.0]
    assert measured(chromatic, "in_scale") == [8 / 12]  # minor has eight tones
    minor = piece([57], [59], [60], [62], [64], [65], [67], [68])  # with the leading note
    assert measured(minor, "in_scale") == [1.0]


def test_moves_leaps_and_rests():
    line = piece([60], [60], [62], [-1], [62], [75], [74], [-1])
    # From 60 to 62, from 62 to 75 by more than an octave, and to 74.
    found = measured(line, "notes_per_bar", "leaps", "steps", "rests")
    assert found == [3 / 2, 1 / 3, 2 / 3, 2 / 8]


def test_pieces_that_come_again_are_not_distinct():
    one, other = piece(*CADENCE), piece(*CADENCE[::-1])
    assert measured(np.concatenate([one, other, one]), "distinct") == [2 / 3]


def test_silence_has_no_statistics_that_are_not_0():
    found = music.statistics(np.full((2, 8, 3), -1))
    assert found.pop("rests") == 1.0
    assert found.pop("distinct") == 0.5
    assert set(found.values()) == {0.0}


def by_loops(pitches):
    """A few of the statistics, note by note."""
    steps = crossings = parallels = changes = moves = leaps = 0
    for one in pitches.tolist():
        for t, now in enumerate(one):
            steps += 1
            pairs = list(itertools.pairwise(now))
            crossings += any(a >= 0 and b >= 0 and b > a for a, b in pairs)
            if not t:
                continue
            before = one[t - 1]
            changes += before != now
            moving = [v for v in range(len(now)) if -1 not in (before[v], now[v])]
            moving = [v for v in moving if before[v] != now[v]]
            moves += len(moving)
            leaps += sum(abs(now[v] - before[v]) > 12 for v in moving)
            for i in moving:
                for j in moving:
                    up = (now[i] > before[i]) == (now[j] > before[j])
                    first = (before[i] - before[j]) % 12
                    second = (now[i] - now[j]) % 12
                    parallels += i < j and up and first == second and first in (0, 7)
    bars = steps / 16
    return {
        "crossings": crossings / steps,
        "parallels_per_100_changes": 100 * parallels / changes,
        "notes_per_bar": moves / pitches.shape[2] / bars,
        "leaps": leaps / moves,
    }


def test_random_pieces_are_measured_as_by_a_plain_loop():
    rng = np.random.default_rng(0)
    pitches = rng.integers(57, 73, (20, 32, 4))
    pitches[rng.uniform(size=pitches.shape) < 0.1] = -1
    held = rng.uniform(size=(20, 16, 4)) < 0.4
    pitches[:, 1::2] = np.where(held, pitches[:, ::2], pitches[:, 1::2])
    found = music.statistics(pitches)
    for name, value in by_loops(pitches).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)
        assert value > 0


@pytest.mark.parametrize(
    "pitches", [np.zeros((2, 3), int), np.zeros((1, 2, 3)), np.zeros((0, 1, 1), int)]
)
def test_what_are_no_pitches_is_refused(pitches):
    with pytest.raises(ValueError, match=r"\(n, steps, voices\).* Received: "):
        music.statistics(pitches)


@pytest.mark.skipif(pieces.find_named("jsb") is None, reason="needs KERAS_VAE_DATA")
def test_bach_is_as_published():
    bach = sequences("jsb", split="source", augment=False).pitches("test")
    found = music.statistics(bach)
    rng = np.random.default_rng(0)
    voices = [bach[rng.permutation(len(bach)), :, voice] for voice in range(4)]
    shuffled = np.stack(voices, axis=2)
    chance = music.statistics(shuffled)
    expected = {
        "in_scale": (0.977, 0.885),
        "chords_on_beats": (0.908, 0.360),
        "crossings": (0.020, 0.240),
        "off_eighths": (0.042, 0.042),
        "notes_per_bar": (3.41, 3.41),
        "parallels_per_100_changes": (0.32, 6.71),
    }
    for name, values in expected.items():
        pair = found[name], chance[name]
        np.testing.assert_allclose(pair, values, atol=0.005, err_msg=name)


def test_the_page_shows_what_runs(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pitches = rng.integers(48, 70, (20, 8, 4)).repeat(4, axis=1).tolist()
    raw = {"train": pitches[:12], "valid": pitches[12:14], "test": pitches[14:]}
    (tmp_path / "jsb_chorales.json").write_text(json.dumps(raw))
    monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "music.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if '("jsb"' in b)
    names = {}
    exec(block, names)
    inputs = names["inputs"]
    assert inputs["x"].shape[1:] == (32, 3)
    assert inputs["melody"].shape[1:] == (32,)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".mid", ".wav", ".png"}
