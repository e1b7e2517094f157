"""Every example runs, prints what it shows and leaves its pictures."""

import json
import pathlib
import re
import runpy
import sys

import pytest
from PIL import Image

from tests.conftest import BACKEND
from tests.shown import shown
from tests.test_sequence_commands import write_scales

ROOT = pathlib.Path(__file__).parents[1]
# Where each runs in the ordinary suite; all run on all backends in `make test-slow`.
BACKEND_OF = {
    "autoencoder": "torch",
    "backends": None,  # it starts a process for each backend
    "colour": "torch",
    "conditional_vae": "tensorflow",
    "export_to_device": "tensorflow",
    "gan": "torch",
    "interpolation": "torch",
    "manifold": "torch",
    "own_images": "torch",
    "own_networks": "torch",
    "sensor_anomaly": None,
    "tables": None,
    "vae_by_hand": "jax",
    "vq_vae": "torch",
}
# These have tests of their own, or take a minute and no arguments.
ELSEWHERE = {"chorale_morph", "demo", "harmoniser", "quickstart", "score_function"}
# An import of TensorFlow costs more than the rest.
FASTER = {"backends": ["--backends", "jax"]}


def run(path, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")


def check_pictures(folder, said):
    """What was printed are pictures that show something."""
    paths = re.findall(r"\S+\.(?:png|gif)", said)
    assert paths
    for path in paths:
        with Image.open(folder / path) as picture:
            low, high = picture.convert("L").getextrema()
        assert high - low > 100


def test_every_example_is_tested():
    found = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert found == set(BACKEND_OF) | ELSEWHERE


def here_or_slow(backends):
    """Names, of which those that belong to another backend are slow."""
    slow = pytest.mark.slow
    return [
        pytest.param(name, marks=() if own == BACKEND else slow) for name, own in backends.items()
    ]


@pytest.mark.parametrize("name", here_or_slow(BACKEND_OF))
def test_an_example_runs(name, tmp_path, capsys, monkeypatch):
    arguments = ["--epochs", "1", "--out", tmp_path, *FASTER.get(name, [])]
    run(ROOT / "examples" / f"{name}.py", arguments, monkeypatch)
    check_pictures(tmp_path, capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["harmoniser", "chorale_morph"])
def test_an_example_of_music_runs(name, tmp_path, capsys, monkeypatch):
    scales = tmp_path / "scales.json"
    write_scales(scales)
    out = tmp_path / "out"
    arguments = ["--epochs", "1", "--data", scales, "--out", out]
    run(ROOT / "examples" / f"{name}.py", arguments, monkeypatch)
    check_pictures(tmp_path, capsys.readouterr().out)
    assert {path.suffix for path in out.iterdir()} == {".mid", ".png", ".wav"}


@pytest.mark.slow
def test_the_score_function_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "examples" / "score_function.py", [], monkeypatch)
    check_pictures(tmp_path, capsys.readouterr().out)


NOTEBOOKS = {
    "chorales": None,  # two minutes
    "conditional_vae_to_device": "tensorflow",
    "first_vae": "jax",
    "is_it_good": None,  # a minute
    "own_data": None,
    "tables": "torch",
}


def run_notebook(path, folder, monkeypatch):
    """Run a notebook's cells as Jupyter would, but for a single epoch; return their variables."""
    monkeypatch.chdir(folder)
    names, notebook = {}, json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"], f"{path.name} must be stored without outputs"
        source = re.sub(r"^%.*$", "", "".join(cell["source"]), flags=re.MULTILINE)
        source = re.sub(r"^EPOCHS = \d+$", "EPOCHS = 1", source, flags=re.MULTILINE)
        exec(compile(source, path.name, "exec"), names)
    assert names["EPOCHS"] == 1
    return names


def test_every_notebook_is_tested():
    found = {path.stem for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")}
    assert found == set(NOTEBOOKS)


@pytest.mark.parametrize("name", here_or_slow(NOTEBOOKS))
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    path = ROOT / "examples" / "notebooks" / f"{name}.ipynb"
    names = run_notebook(path, tmp_path, monkeypatch)
    if name == "conditional_vae_to_device":
        assert names["difference"] < 1e-5


def sources():
    """Python that is shown: examples, notebooks, and blocks of the documents."""
    for path in [*ROOT.glob("examples/*.py"), *ROOT.glob("examples/notebooks/*.ipynb")]:
        yield path.name, path.read_text(encoding="utf-8")
    for piece in shown():
        if piece.language == "python":
            yield piece.name, piece.text


def test_the_package_is_imported_before_keras():
    """It takes a backend that is installed; Keras takes TensorFlow, installed or not."""
    firsts = {
        name: re.search(r"^[ \"]*(?:import|from) (keras_vae|keras|export)\b", text, re.MULTILINE)
        for name, text in sources()
    }
    assert {name: first[1] for name, first in firsts.items() if first and first[1] == "keras"} == {}
    assert sum(first is not None for first in firsts.values()) > 15
