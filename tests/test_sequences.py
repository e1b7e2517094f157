"""Pieces of music as tokens and windows: what they are, where they come from, what is refused."""

import json
import sys

import keras
import numpy as np
import pytest

from keras_vae.data import DataError, Notes, keys, sequences
from keras_vae.data import pieces as pieces_module
from tests.conftest import ordinary_on

# No backend computes here.
pytestmark = ordinary_on("torch")

# Degrees of a major scale, one a beat.
TUNE = [0, 2, 4, 5, 7, 9, 7, 5, 4, 2, 4, 0]


def piece(tonic=60, degrees=TUNE, voices=4, steps=4):
    """Voices in thirds or so below a tune, each note for some steps."""
    melody = np.repeat(tonic + np.array(degrees), steps)
    return melody[:, None] - np.array([0, 5, 12, 24])[:voices]


@pytest.fixture
def pieces():
    """Three tunes, one to train with, one to validate and one to test."""
    others = [[0, 4, 7, 12, 11, 9, 7, 5, 7, 4, 2, 0], [7, 5, 4, 2, 0, 2, 4, 7, 9, 11, 12, 7]]
    parts = dict(zip(("train", "validation", "test"), [TUNE, *others], strict=True))
    return {part: [piece(degrees=degrees)] for part, degrees in parts.items()}


def refusal(kind, words, *args, function=sequences, **kwargs):
    with pytest.raises(kind, match=words) as caught:
        function(*args, **kwargs)
    assert str(caught.value).isprintable()
    assert "Received: " in str(caught.value)


# Tokens


def test_tokens_are_a_rest_a_pitch_or_a_pitch_struck_again():
    notes = Notes(60, 62, ("voice",), repeats=True)
    pitches = np.array([60, 60, 60, 62, -1, 62, 62])[:, None]
    struck = np.array([1, 0, 1, 1, 0, 1, 1], bool)[:, None]
    tokens = notes.tokens(pitches, struck)
    assert tokens[:, 0].tolist() == [1, 1, 4, 3, 0, 3, 6]
    assert tokens.dtype == "int8"
    assert notes.num_tokens == 7
    np.testing.assert_array_equal(notes.pitches(tokens), pitches)
    assert notes.onsets(tokens)[:, 0].tolist() == [True, False, True, True, False, True, True]
    # Who does not tell repeats apart hears a held note.
    held = Notes(60, 62, ("voice",)).tokens(pitches, struck)
    assert held[:, 0].tolist() == [1, 1, 1, 3, 0, 3, 3]


def test_a_window_begins_with_a_plain_pitch():
    notes = Notes(60, 62, ("voice",), repeats=True)
    tokens = np.array([1, 4, 4, 1], "int8")[:, None]
    assert notes.window(tokens, 1, 2)[:, 0].tolist() == [1, 4]
    assert tokens[1, 0] == 4


def test_no_step_is_silent_and_begins_nothing():
    notes = Notes(60, 62, ("voice",))
    tokens = np.array([2, 0, -1])[:, None]
    assert notes.pitches(tokens)[:, 0].tolist() == [61, -1, -1]
    assert notes.onsets(tokens)[:, 0].tolist() == [True, False, False]


def test_many_pitches_with_repeats_need_16_bits():
    assert Notes(0, 126).dtype == "int8"
    assert Notes(0, 127).dtype == "int16"
    notes = Notes(0, 127, ("voice",), repeats=True)
    tokens = notes.tokens(np.array([[127], [127]]), np.ones((2, 1)))
    assert tokens[:, 0].tolist() == [128, 256]


def test_a_given_voice_goes_above_the_others():
    notes = Notes(60, 72, ("alto", "bass"), given={"melody": "soprano"})
    assert notes.all_voices == ("soprano", "alto", "bass")
    together = notes.together(np.array([[[1, 2], [3, 4]]]), {"melody": np.array([[5, 6]])})
    assert together.tolist() == [[[5, 1, 2], [6, 3, 4]]]


def test_notes_are_equal_by_what_they_say_and_go_into_json():
    notes = Notes(60, 72, ("a", "b"), 2, True, {"melody": "m"})
    assert notes == Notes.from_config(json.loads(json.dumps(notes.get_config())))
    assert hash(notes) == hash(Notes.from_config(notes.get_config()))
    assert notes != Notes(60, 73, ("a", "b"), 2, True, {"melody": "m"})
    assert json.loads(json.dumps(notes.manifest()))["kind"] == "notes"
    stored = keras.saving.serialize_keras_object(notes)
    assert keras.saving.deserialize_keras_object(stored) == notes
    assert eval(repr(notes)) == notes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((70, 60), "the lower first"),
        ((0, 128), "0 to 127"),
        ((0.5, 60), "`low` must be a whole number"),
        ((0, 60, ()), "at least one"),
        ((0, 60, ("a", "a")), "distinct"),
        ((0, 60, ("a",), 4, False, {"melody": "a"}), "none that is given"),
        ((0, 60, ("a",), 0), "`steps_per_beat`"),
    ],
)
def test_notes_of_unusable_arguments_are_refused(arguments, words):
    refusal(ValueError, words, *arguments, function=Notes)


def test_pitches_and_tokens_out_of_range_are_refused():
    notes = Notes(60, 72)
    refusal(
        ValueError, r"from 60 \(C4\) to 72 .* 59 at step 1", [[60], [59]], function=notes.tokens
    )
    refusal(ValueError, "float", [[60.0]], function=notes.tokens)
    refusal(ValueError, "from 0 to 13", [14], function=notes.pitches)
    refusal(ValueError, "from 0 to 13", [-2], function=notes.pitches)


# Keys


@pytest.mark.parametrize("tonic", range(12))
def test_a_scale_with_its_chord_is_in_its_key(tonic):
    major = [0, 4, 7, 0, 4, 7, 0, 2, 4, 5, 7, 9, 11, 12]
    minor = [0, 3, 7, 0, 3, 7, 0, 2, 3, 5, 7, 8, 10, 11, 12]
    assert keys.estimate(60 + tonic + np.array(major)) == keys.index(tonic, "major")
    assert keys.estimate(60 + tonic + np.array(minor)) == keys.index(tonic, "minor")


def test_keys_are_named_and_moved():
    assert keys.KEYS[keys.index(7, "major")] == "G major"
    assert keys.KEYS[keys.transposed(keys.index(9, "minor"), 4)] == "C# minor"
    assert keys.transposed(keys.index(2, "major"), -3) == keys.index(11, "major")
    assert len(set(keys.KEYS)) == 24
    assert keys.estimate(np.array([-1, -1])) == 0


# Windows


def test_training_windows_begin_at_every_beat_and_test_windows_do_not_overlap(pieces):
    made = sequences(pieces, steps=16, augment=False)
    train = made.schema.pitches(made.train)
    assert train.shape == (1 + (48 - 16) // 4, 16, 4)
    np.testing.assert_array_equal(train[3], pieces["train"][0][12:28])
    np.testing.assert_array_equal(made.pitches("test"), np.reshape(pieces["test"][0], (3, 16, 4)))
    assert len(sequences(pieces, steps=16, augment=False, hop=16).train) == 3
    assert len(made.validation) == 3


def test_pieces_move_as_far_as_every_voice_has_been(pieces):
    pieces["train"].append(piece(62, [0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7]))
    made = sequences(pieces, steps=48, augment=True)
    # The first spans all nine semitones but the highest; the second has two below and none above.
    assert made.train.shape == (1 + 3, 48, 4)
    moved = made.pitches("train").astype(int)
    np.testing.assert_array_equal(
        moved[1:] - pieces["train"][1], np.full((3, 48, 4), [[[-2]], [[-1]], [[0]]])
    )
    assert made.train.dtype == "int8"
    assert len(made.test) == 1


def test_transposition_ends_at_six_semitones():
    low, high = (piece(tonic, [0] * 12) for tonic in (40, 80))
    made = sequences({"train": [low, high], "test": [piece()]}, steps=48)
    assert len(made.train) == 7 + 7


def test_silence_and_no_step_are_not_moved():
    short = piece()[:8].copy()
    short[3, 1] = -1
    made = sequences({"train": [short, piece(62)], "test": [piece(50)]}, steps=48, split="source")
    first = made.train[:3]
    assert (first[:, 3, 1] == 0).all()
    assert (first[:, 8:] == -1).all()
    assert (first[:, :8, 0] > 0).all()


def test_shorter_pieces_are_filled_with_no_step(pieces):
    made = sequences({"train": [piece(), piece()[:20]], "test": pieces["test"]}, steps=32)
    assert (made.train[-1][20:] == -1).all()
    assert (made.train[-1][:20] > 0).all()
    melody = sequences({"train": [piece(), piece()[:20]], "test": pieces["test"]}, 32, "melody")
    last = {name: values[-1] for name, values in melody.train.items()}
    assert (last["melody"][20:] == melody.schema.num_tokens).all()
    assert (last["x"][20:] == -1).all()


def test_conditions_are_those_of_the_window(pieces):
    made = sequences(pieces, steps=48, conditions=["melody", "key", "mode", "density"])
    train = made.train
    assert {name: values.shape for name, values in train.items()} == {
        "x": (1, 48, 3),
        "melody": (1, 48),
        "key": (1,),
        "mode": (1,),
        "density": (1, 1),
    }
    assert made.schema.voices == ("alto", "tenor", "bass")
    assert made.schema.given == {"melody": "soprano"}
    np.testing.assert_array_equal(made.schema.pitches(train["melody"]), pieces["train"][0].T[:1])
    np.testing.assert_array_equal(made.schema.together(train["x"], train), made.tokens("train"))
    # Every voice begins eleven notes in twelve beats, after the first step.
    np.testing.assert_allclose(train["density"], 11 / 12)
    assert [keys.KEYS[k] for k in train["key"]] == ["C major"]
    assert train["mode"].tolist() == [0]


def test_the_kinds_of_the_conditions_take_their_values(pieces):
    made = sequences(pieces, steps=48, conditions=["melody", "key", "mode", "density"])
    assert list(made.conditions) == ["melody", "key", "mode", "density"]
    assert made.conditions["melody"].value_shape == (48,)
    assert made.conditions["melody"].unknown == made.schema.num_tokens
    assert made.conditions["key"].names == keys.KEYS
    for name, kind in made.conditions.items():
        values = made.train[name]
        np.testing.assert_array_equal(kind.as_array(values, name), values)


def test_keys_move_with_the_piece():
    low, high = piece(60), piece(63)
    made = sequences({"train": [low, high], "test": [piece(61)]}, 48, "key", split="source")
    tonics = [keys.KEYS[k] for k in made.train["key"]]
    assert tonics == ["C major", "Db major", "D major", "Eb major"] * 2


def test_a_given_schema_is_kept_and_must_fit(pieces):
    notes = Notes(30, 90)
    assert sequences(pieces, schema=notes).schema is notes
    refusal(DataError, r"Piece 0: Pitches must be from 50", pieces, schema=Notes(50, 90))
    refusal(DataError, "as conditions what it gives", pieces, conditions="melody", schema=notes)


def test_8_bit_arrays_are_pitches_and_no_pictures(pieces):
    as_bytes = {part: np.array(found, "uint8") for part, found in pieces.items()}
    made, same = sequences(as_bytes), sequences(pieces)
    np.testing.assert_array_equal(made.train, same.train)
    assert made.train.dtype == "int8"


def test_the_summary_counts(pieces, capsys):
    pieces["test"].append(piece(65))
    sequences(pieces, steps=16, conditions=("key",)).summary()
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines()[1:5]] == [
        ["pieces", "windows"],
        ["train", "1", "9"],
        ["validation", "1", "3"],
        ["test", "1", "3"],
    ]
    assert "2 of the test windows" in said
    assert "1 pieces of tunes that come back are set aside" in said


# Tunes


def test_a_tune_of_training_is_not_tested_in_whatever_key(pieces):
    pieces["test"] += [piece(63), piece(60, [*TUNE[:10], 7, 5])]
    made = sequences(pieces, steps=32)
    assert made.pieces["test"] == ["Piece 0"]
    assert len(made.set_aside) == 2
    assert made.new_melody.all()
    everything = sequences(pieces, steps=32, split="source")
    assert everything.new_melody.tolist() == [True, False, False]
    assert not everything.set_aside


def test_a_source_without_splits_is_dealt_out_by_tune():
    rng = np.random.default_rng(0)
    tunes = [rng.integers(0, 12, 12) for _ in range(20)]
    arrays = [piece(tonic, tune) for tune in tunes for tonic in (55, 60, 64)]
    made = sequences(arrays, steps=48)
    assert [len(made.pieces[part]) for part in ("train", "validation", "test")] == [42, 6, 12]
    assert made.new_melody.all()
    assert made.pieces == sequences(np.array(arrays)).pieces
    refusal(DataError, "at least two tunes", arrays[:3])
    refusal(DataError, "split='source'", arrays, split="source")


# Files


def test_a_json_file_is_read_without_keras(tmp_path, pieces):
    path = tmp_path / "pieces.json"
    raw = {
        ("valid" if part == "validation" else part): [p.tolist() for p in found]
        for part, found in pieces.items()
    }
    path.write_text(json.dumps(raw))
    np.testing.assert_array_equal(sequences(path).train, sequences(pieces, steps=32).train)
    assert all(
        "keras" not in vars(sys.modules[f"keras_vae.data.{name}"])
        for name in ("notes", "pieces", "sequences", "keys")
    )


def test_a_json_file_may_say_what_is_struck_and_in_which_key(tmp_path):
    same = np.full((32, 4), [72, 67, 60, 48])
    struck = np.zeros((32, 4), int)
    struck[::4] = 1
    told = {"pitches": same.tolist(), "struck": struck.tolist(), "name": "one note"}
    told |= {"tonic": 7, "mode": "minor"}
    path = tmp_path / "pieces.json"
    path.write_text(json.dumps({"train": [told], "test": [told]}))
    made = sequences(path, conditions=("key", "density"), split="source")
    assert made.schema.repeats
    assert made.schema.onsets(made.train["x"]).sum() == 8 * 4
    np.testing.assert_allclose(made.train["density"], 7 / 8)
    assert keys.KEYS[made.train["key"][0]] == "G minor"
    assert made.pieces["train"][0].startswith("one note of ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a JSON file"),
        ("[" * 100_000, "must be a JSON file"),
        ("[]", "a list"),
        ('{"train": []}', "train, test"),
        ('{"train": 3, "test": []}', "'train' .* must be a list"),
        ('{"train": [], "test": []}', "none for train"),
        ('{"train": [[[60, 1.5]]], "test": []}', "float64 of shape"),
        ('{"train": [[[60, 50], [60]]], "test": []}', "train 0 of .* must be whole numbers"),
        ('{"train": [[[60, 128]]], "test": []}', "60 to 128"),
        ('{"train": [[[60, -2]]], "test": []}', "-2 to 60"),
        ('{"train": [[[1e999]]], "test": []}', "float64 of shape"),
        ('{"train": [[[99999999999999999999]]], "test": []}', "must be whole numbers"),
        ('{"train": [[]], "test": []}', "must be whole numbers"),
        ('{"train": ["abc"], "test": []}', "must be whole numbers"),
        ('{"train": [{"pitches": [[60]], "tonic": 12}], "test": []}', "tonic=12"),
        ('{"train": [{"pitches": [[60]], "name": "a\\nb"}], "test": []}', "the name"),
        ('{"train": [{"pitches": [[60]], "struck": [1]}], "test": []}', "struck"),
        ('{"train": [[[60]]], "test": [[[60, 50]]]}', "one number of voices"),
        ('{"train": [[[-1]]], "test": [[[-1]]]}', "silence alone"),
    ],
    ids=range(19),
)
def test_an_unusable_json_file_is_refused(tmp_path, text, words):
    path = tmp_path / "pieces.json"
    path.write_text(text)
    refusal(DataError, words, path, split="source")


def test_unusable_sources_and_arguments_are_refused(tmp_path, monkeypatch, pieces):
    monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
    refusal(DataError, "jsb_chorales.json must be in the folder", "jsb")
    refusal(DataError, "Check the spelling", "jsp")
    refusal(DataError, r"\(n, steps, voices\)", np.zeros((3, 4), int))
    refusal(DataError, r"float64 of shape=\(3, 4\)", np.zeros((2, 3, 4)))
    refusal(DataError, "train, test", {"training": [piece()]})
    refusal(DataError, "at most 48", pieces, steps=49)
    alone = {"train": [piece(voices=1)], "test": [piece(voices=1)]}
    refusal(DataError, "one voice", alone, conditions="melody", split="source")
    refusal(ValueError, "`conditions` must be one of", pieces, conditions=["chords"])
    refusal(ValueError, "different names", pieces, conditions=["key", "key"])
    refusal(ValueError, "`steps`", pieces, steps=0)
    refusal(ValueError, "`hop`", pieces, hop=0)
    refusal(ValueError, "`split`", pieces, split="piece")
    monkeypatch.setattr(sys.modules["keras_vae.data.sequences"], "MAX_BYTES", 100)
    refusal(DataError, "larger hop", pieces)


@pytest.mark.skipif(
    pieces_module.find_named("jsb") is None, reason="needs KERAS_VAE_DATA with jsb_chorales.json"
)
def test_bach_is_split_as_published():
    made = sequences("jsb", augment=False, split="source")
    assert [len(made.pieces[part]) for part in ("train", "validation", "test")] == [229, 76, 77]
    assert (made.schema.low, made.schema.high) == (36, 81)
    assert len(made.test) == 570
    np.testing.assert_allclose(1 - made.new_melody.mean(), 0.446, atol=5e-4)


def test_a_missing_mido_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    (tmp_path / "piece.mid").write_bytes(b"")
    with pytest.raises(DataError, match=r'Install it with: pip install "keras-vae\[music\]"'):
        sequences(tmp_path)
