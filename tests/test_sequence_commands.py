"""The command line on pieces of music, as a user would run it."""

import json
import pathlib

import numpy as np
import pytest

import export
import keras_vae
from export import examples
from export.__main__ import _next_command
from keras_vae import data, doctor, networks
from keras_vae.__main__ import main
from keras_vae.commands import sequences as command
from keras_vae.data.notes import NO_STEP
from keras_vae.evaluation import evaluate, sequences
from keras_vae.storage.runs import Run
from tests.conftest import fails, ordinary_on

STEPS = 16
SMALL = ["--steps", STEPS, "--epochs", 1, "--batch-size", 64, "--latent-dim", 4]


def piece(rng):
    """A scale's notes in four voices, a beat each."""
    soprano = rng.choice([72, 74, 76, 77, 79], 9)
    return [[int(n), int(n) - 5, int(n) - 12, int(n) - 24] for n in soprano for _ in range(4)]


def write_scales(path):
    rng, counts = np.random.default_rng(0), {"train": 3, "valid": 1, "test": 2}
    path.write_text(
        json.dumps({name: [piece(rng) for _ in range(n)] for name, n in counts.items()})
    )


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    path = tmp_path_factory.mktemp("music") / "scales.json"
    write_scales(path)
    return path


@pytest.fixture(scope="module")
def run(music, tmp_path_factory):
    """A run folder of a harmoniser that has seen next to nothing."""
    folder = tmp_path_factory.mktemp("runs") / "scales"
    words = ["train", "--data", music, "--model", "sequence_vae", "--condition", "melody,key"]
    assert main([*map(str, [*words, "--out", folder, *SMALL])]) == 0
    return folder


@ordinary_on("torch")
def test_train_leaves_a_run_folder_that_says_what_the_notes_are(run, capsys):
    names = {path.name for path in run.iterdir()}
    assert names == {"model.keras", "config.json", "history.csv", "evaluation.json"}
    config, model = Run(run).config(), keras_vae.load_model(run)
    assert config["arguments"]["condition"] == ["melody", "key"]
    assert config["arguments"]["total_free_bits"] == 13 == model.total_free_bits
    assert config["arguments"]["past_noise"] == 0.03 == model.decoder.past_noise
    assert config["arguments"]["prior_share"] == 0.2 == model.prior_share
    assert config["data_shape"] == [STEPS, 3]
    assert data.Notes.from_config(config["schema"]) == model.schema == Run(run).schema()
    found = json.loads((run / "evaluation.json").read_text())["music"]
    assert {"test", "samples", "test_pieces"} <= set(found)
    assert found["test_pieces"]["chords_on_beats"] == 1
    fails(capsys, ["train", "--resume", "--out", run], "--resume needs an interrupted run")


@ordinary_on("torch")
def test_evaluate_measures_notes_and_names_a_code_that_does_nothing(run, capsys):
    assert main(["evaluate", str(run), "--doctor", "--examples", "3"]) == 0
    said = capsys.readouterr().out
    for words in ("bound_per_step", "samples at 0.7", "in_scale", "Next: python -m keras_vae fig"):
        assert words in said
    results = json.loads((run / "evaluation.json").read_text())
    assert results["music"]["test"]["windows"] == 3
    assert results["music"]["test"]["bound_per_step"] * STEPS == pytest.approx(-results["elbo"])
    assert results["bits_per_dimension"] > 0
    found = {finding["name"]: finding["change"] for finding in results["findings"]["found"]}
    assert found["posterior_collapse"] == "Use total_free_bits=26."
    assert not {"unfit_data", "bernoulli_colours", "low_kl"} & set(found)


@ordinary_on("torch")
def test_samples_are_the_melody_with_the_voices_of_the_model(run, capsys, tmp_path):
    for name in ("piece.npy", "again.npy", "piece.mid", "piece.wav"):
        words = ["sample", run, "--seed", 42, "--count", 3, "--out", tmp_path / name]
        assert main([*map(str, words)]) == 0
    assert "3 pieces of 16 steps under melodies of test pieces" in capsys.readouterr().out
    pieces, schema = np.load(tmp_path / "piece.npy"), Run(run).schema()
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), pieces)
    assert pieces.shape == (3, STEPS, 4)
    windows = Run(run).dataset().tokens("test")[..., 0]
    assert all((windows == melody).all(axis=1).any() for melody in pieces[..., 0])
    joined = command.one_after_another(pieces, schema)
    assert joined.shape == (3 * STEPS + 2 * 16, 4)
    np.testing.assert_array_equal(joined[STEPS : STEPS + 16], 0)
    np.testing.assert_array_equal(joined[-STEPS:], pieces[-1])
    assert (tmp_path / "piece.mid").read_bytes() == data.midi.encode(joined, schema)
    assert (tmp_path / "piece.wav").read_bytes()[:4] == b"RIFF"


@ordinary_on("torch")
def test_a_melody_of_ones_own_gets_the_other_voices(run, tmp_path):
    pytest.importorskip("mido", reason="pip install 'keras-vae[music]'")
    schema = Run(run).schema()
    own = schema.tokens(np.repeat([72, 74, 76, 72], 4)[:, None])
    alone = data.Notes(schema.low, schema.high, ["soprano"])
    (tmp_path / "own.mid").write_bytes(data.midi.encode(own, alone))
    words = ["sample", run, "--melody", tmp_path / "own.mid", "--count", 2]
    assert main([*map(str, words), "--out", str(tmp_path / "piece.npy")]) == 0
    melodies = schema.pitches(np.load(tmp_path / "piece.npy")[..., 0])
    np.testing.assert_array_equal(melodies, np.tile(schema.pitches(own[:, 0]), (2, 1)))


@ordinary_on("torch")
def test_figures_are_piano_rolls(run, capsys):
    assert main(["figures", str(run)]) == 0
    assert "Left out" not in capsys.readouterr().out
    made = {path.stem for path in (run / "figures").iterdir()}
    assert made == {"learning_curves", "piano_rolls", "piano_rolls_between", "kl_by_dimension"}


@ordinary_on("torch")
@pytest.mark.parametrize(
    ("words", "said"),
    {
        "evaluate RUN --scorecard": "--scorecard judges images. Received: a SequenceVAE",
        "figures RUN --only samples": "--only must name pictures, of learning_curves, piano_rolls",
        "figures RUN --label 3": "Pieces of music have no class to show. Received: 3",
        "sample RUN --label 3": "A SequenceVAE takes no --label",
        "sample RUN --out x.png": "--out must end with .mid, .wav or .npy for music",
        "sample RUN --token-temperature -1": "`--token-temperature` must be",
        "train --data MUSIC --out NEW --model sequence_vae --decoder conductor --steps 12": (
            "--decoder conductor needs whole bars, --steps of 16, 32 and so on. Received: 12"
        ),
        "train --data MUSIC --out NEW --model sequence_vae --kl-warmup 9": (
            "--kl-warmup must be at most --epochs, 3. Received: 9"
        ),
        "train --data MUSIC --out NEW --model sequence_vae --past-noise 0.1 --decoder gru": (
            "--past-noise needs --decoder notes. Received: --decoder gru"
        ),
        "train --data MUSIC --out NEW --model sequence_vae --past-noise -0.1": (
            "`--past-noise` must be in [0, 1). Received: -0.1"
        ),
        "train --data MUSIC --out NEW --model sequence_vae --steps 99": "at least `steps` steps",
        "train --data MUSIC --out RUN --model sequence_vae": "holds a run already",
    }.items(),
)
def test_what_does_not_fit_is_refused_in_one_line(run, music, words, said, capsys, tmp_path):
    places = {"RUN": run, "MUSIC": music, "NEW": tmp_path / "new"}
    fails(capsys, [places.get(word, word) for word in words.split()], said)
    assert not list(tmp_path.iterdir())


@ordinary_on("torch")
def test_export_takes_its_examples_from_the_pieces(run):
    model, found = keras_vae.load_model(run), Run(run).dataset()
    held_out = examples.held_out(model, run, print)
    assert {name: values.dtype.name for name, values in held_out.items()} == {
        "x": "int32",
        "melody": "int32",
        "key": "int32",
    }
    np.testing.assert_array_equal(held_out["x"], found.test["x"])
    typical = examples.calibration_of(export.build_graph(model, "encoder"), None, run)
    np.testing.assert_array_equal(typical["x"], found.train["x"])
    named = examples.dataset(model, None, Run(run).config()["arguments"]["data"])
    assert named.schema == model.schema
    assert set(named.test) == set(held_out)


@ordinary_on("torch")
def test_the_next_command_of_a_harmoniser_gives_it_a_melody(monkeypatch):
    manifest = {
        "graph": "sampler",
        "prior": None,
        "data": {"kind": "notes"},
        "conditions": [{"name": "melody", "kind": "sequence"}],
    }
    monkeypatch.setattr("export.tflite.read_manifest", lambda path: manifest)
    command = _next_command(pathlib.Path("sampler.tflite"))
    assert command.endswith("--melody tune.mid --count 4 --seed 42 --out piece.mid")


def make_model(**options):
    encoder = networks.SequenceEncoder(2, 5, 4, 1, 4)
    decoder = networks.CausalDecoder((4, 2), 5, 4, dilations=(1,))
    return keras_vae.SequenceVAE(encoder, decoder, seed=0, **options)


@ordinary_on("torch")
def test_figures_of_merit_count_steps_and_onsets(monkeypatch):
    x = np.array([[[1, 2], [1, 2], [3, 2], [0, 2]], [[1, 1], [2, 1], [-1, -1], [-1, -1]]], "int8")
    model = make_model(schema=data.Notes(60, 63, ["high", "low"]))
    made = np.array([[[1, 2], [1, 2], [1, 2], [0, 2]], [[1, 1], [1, 1], [0, 0], [0, 0]]], "int32")
    monkeypatch.setattr(model, "reconstruct", lambda inputs, batch_size: made)
    found = sequences.evaluate_sequences(model, x)
    assert found["windows"] == 2
    assert found["tokens_right"] == 10 / 12
    # Onsets: two at each beginning, 3 after 1, 2 after 1. The last two are wrong.
    assert found["onsets_right"] == 4 / 6
    terms = evaluate(model, x)
    assert found["bound_per_step"] == pytest.approx(-terms["elbo"] / 3)  # 4 steps and 2
    samples = sequences.compare_samples(model, x)
    assert samples["test_pieces"]["notes_per_bar"] > 0
    model.schema = None
    assert sequences.compare_samples(model, x) == {}
    # Without a schema an onset is a change, of a rest, too.
    assert sequences.onsets(model, x).sum() == found["onsets_right"] * 6 + 3


@ordinary_on("torch")
def test_the_code_of_tokens_is_judged_by_those_that_it_brings_back(monkeypatch):
    model = make_model()
    x = np.array([[[1, 2]] * 4, [[3, 4]] * 4, [[1, 4]] * 4, [[3, 2]] * 4], "int8")
    codes = np.arange(8, dtype="float32").reshape(4, 2)
    by_code = {tuple(code): tokens for code, tokens in zip(codes, x, strict=True)}
    decode = lambda z, conditions: np.stack([by_code[tuple(code)] for code in z])  # noqa: E731
    monkeypatch.setattr(model, "decode", decode)
    assert doctor.codes.explained_tokens(model, x, codes) == 1
    monkeypatch.setattr(model, "decode", lambda z, conditions: np.tile(x[:1], (4, 1, 1)))
    assert doctor.codes.explained_tokens(model, x, codes) == 0
    code = {"explained_by_components": None, "dead": [], "count": 4, "raise_kl": "Do."}
    assert doctor.posterior_collapse(0.4, **code) is None
    assert "explains 5 % of what varies from one" in doctor.posterior_collapse(0.05, **code).text


def test_no_step_of_a_melody_is_none_of_a_piece():
    schema = data.Notes(60, 62, ["low"], given={"melody": "high"})
    melody = np.array([[1, schema.num_tokens]])
    together = schema.together(np.array([[[2], [NO_STEP]]]), {"melody": melody})
    np.testing.assert_array_equal(together, [[[1, 2], [NO_STEP, NO_STEP]]])


def test_windows_to_show_have_new_melodies_where_there_are_any():
    scale = np.arange(60, 92)[:, None] - [0, 12]
    made = data.sequences({"train": [scale], "test": [np.tile(scale[::-1], (4, 1))]}, steps=16)
    assert len(made.new_melody) == 8
    made.new_melody[:] = [0, 1, 0, 1, 0, 1, 1, 0]
    assert made.rows_to_show(2).tolist() == [1, 6]
    assert made.rows_to_show(6).tolist() == [1, 1, 3, 3, 5, 6]
    made.new_melody[:] = False
    assert made.rows_to_show(2).tolist() == [0, 7]


def test_music_is_known_by_its_name(tmp_path):
    assert data.is_music("jsb")
    assert data.is_music("nosuch.json")
    assert not data.is_music("digits")
    assert not data.is_music(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "A.MID").touch()
    assert data.is_music(tmp_path)
