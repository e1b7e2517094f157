"""The README's script, and the wheel as a stranger installs it."""

import os
import pathlib
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile

import pytest

import keras_vae
from export.__main__ import main
from tests.conftest import BACKEND, ordinary_on

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(*words, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_readme_shows_the_quickstart_as_it_is():
    script = (ROOT / "examples" / "quickstart.py").read_text()
    shown = script.split('"""', 2)[2].strip()
    assert shown in (ROOT / "README.md").read_text()


@ordinary_on("tensorflow")
def test_the_quickstart_runs(tmp_path, monkeypatch):
    # With all its epochs tests/test_install.py runs it, on the extra of each backend.
    script = (ROOT / "examples" / "quickstart.py").read_text()
    assert "epochs=20" in script
    (tmp_path / "script.py").write_text(script.replace("epochs=20", "epochs=1"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("script.py", run_name="__main__")
    assert {path.name for path in tmp_path.iterdir()} >= {"model.keras", "sevens.png"}
    assert main(["--model", "model.keras"]) == 0
    assert (tmp_path / "export" / "decoder.tflite").is_file()


def test_the_oldest_versions_are_the_lower_bounds():
    lines = (ROOT / "constraints-oldest.txt").read_text().split()
    pinned = dict(line.split("==") for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [*project["dependencies"], *project["optional-dependencies"]["jax"]]
    for name, bound in (bound.split(">=") for bound in bounds if ">=" in bound):
        assert pinned[name] == bound
    assert {"keras", "numpy", "jax"} <= set(pinned)


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"version: {keras_vae.__version__}\n" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for words in (project["description"], project["authors"][0]["name"]):
        assert words in text


def test_actions_are_pinned_by_hash_and_jobs_may_do_nothing_unasked():
    paths = list((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {path.stem for path in paths} == {"ci", "documentation", "release"}
    for path in paths:
        text = path.read_text()
        assert "\npermissions: {}\n" in text
        used = re.findall(r"uses: (.*)", text)
        assert used
        for action in used:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
        # What they run is what the Makefile, or `.ci/run`, has.
        makefile = (ROOT / "Makefile").read_text()
        for target in re.findall(r"run: make ([\w-]+)", text):
            assert re.search(rf"^([\w-]+ )*{target}( [\w-]+)*:", makefile, re.MULTILINE), target


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.skipif(BACKEND != "torch", reason="the same wheel on every backend")
def test_the_wheel_works_from_any_folder(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = archive.namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"keras_vae", "export"}
    sources = [*ROOT.glob("keras_vae/**/*.py"), *ROOT.glob("export/**/*.py")]
    sources += [*ROOT.glob("*/py.typed"), *ROOT.glob("keras_vae/*.pyi")]
    for source in [*sources, *ROOT.glob("keras_vae/excerpts/*.*")]:
        assert source.relative_to(ROOT).as_posix() in names
    # The licence of the data that come along is among those of the wheel.
    assert any(name.endswith(".dist-info/licenses/keras_vae/excerpts/README.md") for name in names)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = (
        "import export, keras_vae; keras_vae.data.load('mnist_small');"
        "print(keras_vae.__file__, export.__file__)"
    )
    for path in run("-c", program, folder=elsewhere, PYTHONPATH=str(site)).split():
        assert path.startswith(str(site))
    assert "backend torch" in run("-m", "keras_vae", "env", folder=elsewhere, PYTHONPATH=str(site))
    assert "--format" in run("-m", "export", "--help", folder=elsewhere, PYTHONPATH=str(site))


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="one backend is enough; torch is the smallest")
def test_the_wheel_installs_into_an_empty_environment(wheel, tmp_path):
    run("-m", "venv", tmp_path / "venv", folder=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, "torch", wheel], check=True, cwd=tmp_path)
    program = (
        "import sys, numpy as np, keras_vae as kv;"
        "m = kv.VAE(kv.networks.DenseEncoder(2), kv.networks.DenseDecoder((4, 4, 1)));"
        "m.compile(); m.fit(np.zeros((8, 4, 4, 1), 'f4'), verbose=0); print(m.sample(3).shape);"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [python, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["(3, 4, 4, 1)", "False"]
