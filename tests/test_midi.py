"""MIDI files: what is written another library reads, and what is read may be anything."""

import io
import struct
import warnings

import numpy as np
import pytest

from keras_vae import data
from keras_vae.data import DataError, Notes, midi
from tests.conftest import ordinary_on

mido = pytest.importorskip("mido", reason="pip install 'keras-vae[music]'")
# No backend computes here.
pytestmark = ordinary_on("torch")

BEAT = 480
SCHEMA = Notes(36, 81, repeats=True)


def note(start, stop, pitch, channel=0):
    """A note from a time to another, in beats, as pairs of a time in ticks and a message."""
    on, off = (mido.Message(kind, note=pitch, channel=channel) for kind in ("note_on", "note_off"))
    return [(round(start * BEAT), on), (round(stop * BEAT), off)]


def track(*notes, end=None, **fields):
    events = sorted((event for each in notes for event in each), key=lambda event: event[0])
    made, now = mido.MidiTrack(), 0
    for time, message in events:
        made.append(message.copy(time=time - now))
        now = time
    rest = 0 if end is None else round(end * BEAT) - now
    made.append(mido.MetaMessage("end_of_track", time=rest))
    return made


def save(path, *tracks, **kwargs):
    mido.MidiFile(tracks=list(tracks), ticks_per_beat=BEAT, **kwargs).save(path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "piece.mid"


def refusal(words, path, function=midi.read, **kwargs):
    with pytest.raises(DataError, match=words) as caught:
        function(path, **kwargs)
    assert str(caught.value).isprintable()
    assert "Received: " in str(caught.value)


# Writing


def random_piece(rng, steps=64):
    pitches = np.sort(rng.integers(36, 82, (steps // 2, 4)))[:, ::-1].repeat(2, axis=0)
    pitches[rng.uniform(size=pitches.shape) < 0.2] = -1
    return SCHEMA.tokens(pitches, rng.uniform(size=pitches.shape) < 0.5)


def test_another_library_reads_what_is_written():
    tokens = np.array([[13, 1], [13, 1], [13, 0], [15, 0], [15 + 46, 0]])
    schema = Notes(36, 81, ("soprano", "bass"), repeats=True)
    content = midi.encode(tokens, schema, tempo=120)
    found = mido.MidiFile(file=io.BytesIO(content))
    assert (found.type, found.ticks_per_beat, len(found.tracks)) == (1, 480, 3)
    first = {message.type: message for message in found.tracks[0]}
    assert first["set_tempo"].tempo == 500_000
    assert (first["time_signature"].numerator, first["time_signature"].denominator) == (4, 4)
    assert [t.name for t in found.tracks[1:]] == ["soprano", "bass"]
    soprano = [
        (m.type, m.note, m.time) for m in found.tracks[1] if m.type in ("note_on", "note_off")
    ]
    assert soprano == [
        *(("note_on", 48, 0), ("note_off", 48, 360)),
        *(("note_on", 50, 0), ("note_off", 50, 120)),
        *(("note_on", 50, 0), ("note_off", 50, 120)),
    ]
    for each in found.tracks:
        assert sum(message.time for message in each) == 5 * 120
    assert found.length == 5 / 4 * 0.5


def test_what_is_written_is_read_again(path):
    rng = np.random.default_rng(0)
    for _ in range(5):
        tokens = random_piece(rng)
        path.write_bytes(midi.encode(tokens, SCHEMA))
        piece = midi.read(path)
        np.testing.assert_array_equal(SCHEMA.tokens(piece.pitches, piece.struck), tokens)


def test_long_rests_and_many_voices_are_written(path):
    schema = Notes(20, 100, [f"voice {n}" for n in range(12)])
    tokens = np.zeros((10_000, 12), int)
    tokens[-1] = np.arange(50, 38, -1)
    path.write_bytes(midi.encode(tokens, schema))
    piece = midi.read(path)
    np.testing.assert_array_equal(piece.pitches, schema.pitches(tokens))
    channels = {m.channel for m in mido.MidiFile(path) if m.type == "note_on"}
    assert len(channels) == 12
    assert midi.DRUMS not in channels


def test_a_harmonisation_is_written_with_its_melody_or_without(path):
    schema = Notes(36, 81, ("alto", "bass"), given={"melody": "soprano"})
    for names, width in ((["soprano", "alto", "bass"], 3), (["alto", "bass"], 2)):
        content = midi.encode(np.full((4, width), 20), schema)
        tracks = mido.MidiFile(file=io.BytesIO(content)).tracks[1:]
        assert [t.name for t in tracks] == names


def test_what_cannot_be_written_is_refused():
    for tokens in (np.zeros((2, 4, 4), int), np.zeros((4, 3), int)):
        with pytest.raises(ValueError, match=r"tokens \(steps, 4\)\. Received"):
            midi.encode(tokens, SCHEMA)
    for tempo in (3.9, 1001, float("nan")):
        with pytest.raises(ValueError, match="`tempo`"):
            midi.encode(np.zeros((4, 4), int), SCHEMA, tempo)


# Reading


def test_notes_fall_on_the_nearest_step(path):
    played = [note(0.02, 0.97, 60), note(1.01, 1.99, 62), note(2.5, 2.52, 64), note(2.8, 4, 65)]
    piece = midi.read(save(path, track(*played)))
    assert piece.pitches[:, 0].tolist() == [60] * 4 + [62] * 4 + [-1, -1, 64] + [65] * 5
    assert np.flatnonzero(piece.struck[:, 0]).tolist() == [0, 4, 10, 11]
    coarse = midi.read(path, steps_per_beat=1)
    assert coarse.pitches[:, 0].tolist() == [60, 62, 64, 65]


def test_a_note_that_is_struck_again_is_told_from_one_that_is_held(path):
    piece = midi.read(save(path, track(note(0, 1, 60), note(1, 2, 60))))
    assert np.flatnonzero(piece.struck).tolist() == [0, 4]
    # Without an end between the two, and with notes that end by a velocity of 0.
    on = mido.Message("note_on", note=60)
    messages = [on, on.copy(time=BEAT), on.copy(velocity=0, time=BEAT)]
    piece = midi.read(save(path, mido.MidiTrack(messages)))
    assert np.flatnonzero(piece.struck).tolist() == [0, 4]
    assert len(piece.pitches) == 8


def test_a_note_without_an_end_lasts_as_long_as_its_track(path):
    on = mido.Message("note_on", note=60)
    end = mido.MetaMessage("end_of_track", time=2 * BEAT)
    assert len(midi.read(save(path, mido.MidiTrack([on, end]))).pitches) == 8


def test_played_notes_may_overlap_a_little(path):
    piece = midi.read(save(path, track(note(0, 1.1, 60), note(1, 2, 62))))
    assert piece.pitches[:, 0].tolist() == [60] * 4 + [62] * 4
    refusal("one note at a time.* 60 and 62", save(path, track(note(0, 1.3, 60), note(1, 2, 62))))


def test_the_longest_note_of_a_step_is_kept(path):
    trill = [note(n / 16, (n + 1) / 16, 60 + n % 2) for n in range(8)]
    piece = midi.read(save(path, track(*trill, note(0.5, 2, 60))))
    assert piece.pitches.shape == (8, 1)
    assert piece.pitches[2:, 0].tolist() == [60] * 6


def test_voices_are_tracks_or_channels_from_the_highest_on(path):
    low, high = [note(0, 4, 40)], [note(0, 2, 70), note(2, 4, 72)]
    apart = midi.read(save(path, track(*low), track(*high)))
    assert apart.pitches[[0, -1]].tolist() == [[70, 40], [72, 40]]
    both = track(*low, *(note(0, 4, 70, channel=3),))
    assert midi.read(save(path, both, type=0)).pitches[0].tolist() == [70, 40]


def test_drums_are_left_out_with_a_line(path):
    drums = track(note(0, 1, 36, channel=9), note(0, 1, 38, channel=9))
    save(path, track(note(0, 1, 60)), drums)
    with pytest.warns(UserWarning, match="drums are left out"):
        assert midi.read(path).pitches.shape == (4, 1)
    refusal("Received: drums alone", save(path, drums))


def test_tempo_and_metre_change_no_step(path):
    plain = midi.read(save(path, track(note(0, 1, 60), note(1, 3, 62))))
    tempi = mido.MidiTrack(
        mido.MetaMessage("set_tempo", tempo=tempo, time=60) for tempo in (500_000, 10, 2**24 - 1)
    )
    tempi.append(mido.MetaMessage("time_signature", numerator=3, denominator=8))
    with_tempi = midi.read(save(path, tempi, track(note(0, 1, 60), note(1, 3, 62))))
    np.testing.assert_array_equal(with_tempi.pitches, plain.pitches)


def test_unusable_files_are_refused(path, tmp_path):
    many = [track(note(0, 1, 60)) for _ in range(200)]
    refusal("at most 16 voices.* Received: 200", save(path, *many))
    refusal("Received: none", save(path, track(end=4)))
    refusal("Received: none", save(path, track(note(1, 1, 60))))
    refusal("Received: a longer one", save(path, track(note(0, 1, 60), end=20_000)))
    refusal("format 2", save(path, track(note(0, 1, 60)), type=2))
    refusal("one note at a time", save(path, track(note(0, 1, 60), note(0, 1, 64))))
    refusal("must be a MIDI file", tmp_path / "none.mid")
    path.write_bytes(bytes(midi.MAX_BYTES + 1))
    refusal("more than", path)


def test_damaged_files_are_refused(path):
    content = midi.encode(np.full((8, 4), 20), SCHEMA)
    header = content[:8]
    for damaged in (
        b"",
        b"MThd",
        b"RIFF" + content[4:],
        content[:40],
        header + struct.pack(">HHH", 1, 5, 0xE728) + content[14:],  # 25 pictures a second
        header + struct.pack(">HHH", 1, 5, 0) + content[14:],
        header + struct.pack(">HHH", 1, 9, 480) + content[14:],  # fewer tracks than it says
        content[:14] + b"MTrk" + struct.pack(">I", 2**31) + content[22:],
        content[:22] + b"\xff" * 2**19,  # a time of as many digits
        content[:22] + b"\xf0\xff\xff\xff\x7f" + content[26:],
    ):
        path.write_bytes(damaged)
        refusal("must be a MIDI file", path)


def test_every_cut_and_every_changed_byte_is_read_or_refused(path):
    content = midi.encode(np.full((2, 2), 20), Notes(36, 81, ("a", "b")))
    rng = np.random.default_rng(0)
    told, damaged = [], [content[:size] for size in range(len(content))]
    for place in range(len(content)):
        damaged.append(content[:place] + rng.bytes(1) + content[place + 1 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drums
        for changed in damaged:
            path.write_bytes(changed)
            try:
                assert midi.read(path).pitches.size
            except DataError as err:
                told.append(str(err))
    assert len(told) > 100
    assert all(line.isprintable() for line in told)


# Melodies and folders


def test_a_melody_is_the_highest_voice_and_its_last_bar_is_filled(path):
    top = [note(0, 2, 72), note(2, 4, 74), note(4, 7.5, 76)]
    save(path, track(note(0, 8, 40)), track(*top))
    melody = midi.read_melody(path, SCHEMA, 32)
    assert melody.tolist() == [37] * 8 + [39] * 8 + [41] * 14 + [0, 0]
    save(path, track(*top))
    assert midi.read_melody(path, SCHEMA, 32).tolist() == melody.tolist()


def test_a_melody_that_does_not_fit_is_refused(path):
    def read(path):
        return midi.read_melody(path, SCHEMA, 32)

    refusal("2 bars, 32 steps. Received: 36", save(path, track(note(0, 9, 60))), read)
    refusal("Received: 16", save(path, track(note(0, 4, 60))), read)
    refusal("from 36 .* 82 at step 16", save(path, track(note(4, 8, 82))), read)
    refusal("one note at a time", save(path, track(note(0, 8, 60), note(0, 8, 64))), read)


def test_a_folder_is_read_in_the_order_of_names_and_split_by_tune(tmp_path):
    rng = np.random.default_rng(0)
    tunes = [rng.integers(48, 82, 12) for _ in range(5)]
    pieces = [np.repeat(np.stack([tune, tune - 12], axis=1), 4, axis=0) for tune in tunes]
    schema = Notes(36, 81, ("voice 1", "voice 2"))
    for number, pitches in enumerate(pieces):
        content = midi.encode(schema.tokens(pitches), schema)
        (tmp_path / f"{number}.MID").write_bytes(content)
    (tmp_path / "readme.txt").write_text("")
    (tmp_path / ".hidden.mid").write_text("")
    made = data.sequences(tmp_path, steps=16)
    assert made.schema.repeats
    assert sum(map(len, made.pieces.values())) == 5
    same = data.sequences(pieces, steps=16)
    np.testing.assert_array_equal(made.pitches("test"), same.pitches("test"))
    for part, numbers in (("train", (0, 1, 2)), ("test", (3,)), ("Valid", (4,))):
        (tmp_path / part).mkdir()
        for number in numbers:
            (tmp_path / f"{number}.MID").rename(tmp_path / part / f"{number}.mid")
    made = data.sequences(tmp_path, steps=16)
    assert {part: len(names) for part, names in made.pieces.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }


def test_an_unusable_folder_is_refused(tmp_path, monkeypatch):
    refusal("must hold .mid files", tmp_path, data.sequences)
    save(tmp_path / "one.mid", track(note(0, 4, 60)))
    save(tmp_path / "two.mid", track(note(0, 4, 60)), track(note(0, 4, 50)))
    refusal("1 in .*one.mid.*, 2 in .*two.mid", tmp_path, data.sequences)
    drums = track(note(0, 1, 36, channel=9))
    save(tmp_path / "one.mid", track(note(0, 4, 60)), track(note(0, 4, 50)), drums)
    with pytest.warns(UserWarning, match="drums of 1 files"):
        refusal("of different tunes|two tunes", tmp_path, data.sequences)
    monkeypatch.setattr(midi, "MAX_BYTES_OF_FOLDER", 100)
    with pytest.warns(UserWarning, match="drums"):
        midi.read(tmp_path / "one.mid")
    refusal("at most 100 bytes", tmp_path, midi.from_folder)
