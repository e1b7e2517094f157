"""What we did not write is never deleted, and replaced only where a command says so."""

import importlib.util
import os
import pathlib
import shutil
import subprocess

import pytest

import keras_vae
from benchmarks import likelihood
from export import parts
from keras_vae import callbacks
from keras_vae.__main__ import main
from keras_vae.storage import checkpoints
from keras_vae.storage.runs import Run
from tests.conftest import SMALL, fails, ordinary_on

ROOT = pathlib.Path(__file__).parents[1]
FOREIGN = ["notes.txt", "old_model.keras", ".lock", "my.state", "1-2.state", "1.npy", "deep/er.txt"]


def put(folder, names=FOREIGN):
    """Write files that are not ours; return them with their content."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine: {name}")
    return contents(folder)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model_and_inputs(make, images):
    return make("VAE"), images[0]


@ordinary_on("torch")
def test_a_checkpoint_deletes_its_own_files_only(model_and_inputs, tmp_path):
    model, x = model_and_inputs
    before = put(tmp_path / "mine")
    half = tmp_path / "mine" / "00000000-0000000001.keras_vae_part.state"
    half.write_text("what a killed process left")
    model.fit(x, verbose=0, callbacks=[callbacks.Checkpoint(tmp_path / "mine", every=1)])
    assert contents(tmp_path / "mine") == before
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        model.fit(x, verbose=0, callbacks=[callbacks.Checkpoint(tmp_path / name)])
    assert (tmp_path / "empty").is_dir()
    assert not (tmp_path / "new").exists()


@ordinary_on("torch")
def test_a_benchmark_deletes_its_own_files_only(tmp_path):
    before = put(tmp_path, [*FOREIGN, "mine.json", "data.npz", "checkpoints/notes.txt"])
    written = ["settings.json", "seconds.json", "model.keras", "config.json", "estimates-0.npz"]
    put(tmp_path, written)
    likelihood.forget(tmp_path)
    assert contents(tmp_path) == before


@ordinary_on("torch")
def test_a_gif_deletes_its_own_frames_only(model_and_inputs, tmp_path):
    model, x = model_and_inputs
    before = put(tmp_path / "training.frames", [*FOREIGN, "frame.npy"])
    model.fit(x, verbose=0, callbacks=[callbacks.SampleGif(tmp_path / "training.gif", 4)])
    assert contents(tmp_path / "training.frames") == before


@ordinary_on("torch")
def test_a_run_deletes_its_own_checkpoints_only(archive, tmp_path, capsys):
    folder = tmp_path / "run"
    before = put(folder, ["notes.txt", "checkpoints/notes.txt", "checkpoints/prior/notes.txt"])
    words = ["train", "--data", str(archive), "--out", str(folder), *SMALL]
    assert main(words) == 0
    assert before.items() <= contents(folder).items()
    for place in ("checkpoints", "checkpoints/prior"):
        checkpoints.write(folder / place, checkpoints.State(0, 1, {}, []))
    assert main([*words, "--overwrite"]) == 0
    assert before.items() <= contents(folder).items()
    assert not list(folder.rglob("*.state"))


@ordinary_on("torch")
@pytest.mark.parametrize("name", ["config.json", "history.csv", "model.keras", "evaluation.json"])
def test_a_run_replaces_no_other_files(archive, tmp_path, capsys, name):
    before = put(tmp_path / "mine", [name])
    words = ["train", "--data", archive, "--out", tmp_path / "mine", *SMALL]
    fails(capsys, words, f"or files of such names: {name}. Choose another --out")
    assert contents(tmp_path / "mine") == before


def test_what_a_training_left_that_saved_nothing_may_be_replaced(tmp_path):
    run = Run(tmp_path)
    run.write_history({"loss": [1.0]})
    run.write_json(run.config_path, {"arguments": {"data": "x"}, "versions": {"keras_vae": "0"}})
    run.check_is_free()
    run.write_json(run.config_path, {**run.config(), "finished": "now"})
    with pytest.raises(FileExistsError, match=r"config\.json, history\.csv"):
        run.check_is_free()


@ordinary_on("torch")
def test_a_file_is_written_beside_its_name_under_one_of_ours(model_and_inputs, tmp_path):
    model, _ = model_and_inputs
    before = put(tmp_path, ["model.part.keras", "x.png.part", "decoder.c.part", "decoder.h.part"])
    model.build()
    model.save(tmp_path / "model.keras")
    with pytest.raises(OSError, match="full"), parts.part_of(tmp_path / "decoder.c", FakeC):
        raise OSError(28, "full")
    with parts.part_of(tmp_path / "decoder.c", FakeC) as part:
        for path in (part, *FakeC.companions(part)):
            path.write_text("code")
    edge = edge_program()
    edge.write(str(tmp_path / "x.png"), b"")
    os.mkdir(tmp_path / "folder")
    with pytest.raises(edge.InputError):
        edge.write(str(tmp_path / "folder"), b"")
    assert before.items() <= contents(tmp_path).items()
    new = {path.name for path in set(contents(tmp_path)) - set(before)}
    assert new == {"model.keras", "decoder.c", "decoder.h", "x.png"}


class FakeC:
    """A format of two files."""

    @staticmethod
    def companions(path):
        return [path.with_name(path.name.replace(".c", ".h"))]


def edge_program():
    path = ROOT / "mobile_demo" / "edge" / "sample.py"
    spec = importlib.util.spec_from_file_location("edge_sample", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_folders_are_never_deleted_with_all_that_is_in_them():
    """But for one that a process made for itself under a name that nobody else has."""
    sources = [
        path
        for folder in ("keras_vae", "export", "mobile_demo", "examples", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts and "rmtree" in path.read_text(encoding="utf-8")
    ]
    assert [path.name for path in sources] == ["launch.py"]
    assert keras_vae.__file__.startswith(str(ROOT))


@ordinary_on("torch")
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_deletes_what_it_made_only(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt", "constraints-oldest.txt"):
        (tmp_path / name).touch()
    before = put(tmp_path, ["runs/mine/model.keras", "dist/other.whl", ".venv/bin/tool", "own/x"])

    def make(*words):
        subprocess.run(["make", *words], cwd=tmp_path, check=True, capture_output=True)

    stub = tmp_path / ".venv" / "bin" / "python"
    stub.write_text('#!/bin/sh\necho "$@" >> said\n')
    stub.chmod(0o755)
    for name in ("demo", "dev"):
        (tmp_path / ".venv" / name).touch()
    make("demo", "RUN=own")
    make("demo")
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["examples/demo.py own", "examples/demo.py --overwrite runs/demo"]
    (tmp_path / "build").mkdir()
    (tmp_path / "dist" / "keras_vae-0.1.0-py3-none-any.whl").touch()
    (tmp_path / ".venv-oldest").mkdir()
    (tmp_path / ".venv-oldest" / "made_by_make").touch()
    make("clean")
    assert before.items() <= contents(tmp_path).items()
    for name in ("build", "dist/keras_vae-0.1.0-py3-none-any.whl", ".venv-oldest"):
        assert not (tmp_path / name).exists()
    (tmp_path / ".venv" / "made_by_make").touch()
    make("clean")
    assert not (tmp_path / ".venv").exists()
