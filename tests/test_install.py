"""Every `pip install` that is shown works in an empty environment, and so does what it is for.

Slow: an environment each, of up to 2 GB, made in pytest's folder and removed at once.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests import shown
from tests.conftest import BACKEND

ROOT = shown.ROOT
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
COMMANDS = sorted(
    {
        *shown.installs(),
        *(f'pip install ".[{extra}]"' for extra in EXTRAS),
    }
)
TRAIN = ["train", "--data", "digits", "--epochs", "1", "--out", "run"]


def test_the_commands_are_found():
    assert {'pip install ".[jax]"', "pip install numpy onnxruntime"} <= set(COMMANDS)
    assert all(re.fullmatch(r"pip install [-\w .,\[\]\"/:]+", command) for command in COMMANDS)


def test_every_extra_that_is_named_is_one():
    paths = [*ROOT.glob("keras_vae/**/*.py"), *ROOT.glob("export/*.py")]
    texts = [*(text for _, text in shown.documents()), *(path.read_text() for path in paths)]
    texts += [" ".join(texts)]
    named = {
        extra
        for text in texts
        for found in re.findall(r"(?:keras-vae|\"\.)\[([\w,]+)\]", text)
        for extra in found.split(",")
    }
    assert named <= set(EXTRAS)
    assert {"tensorflow", "jax", "export", "tfp", "cli"} <= named


class Environment:
    """An empty environment and a copy of the repository as it is checked out."""

    def __init__(self, folder):
        self.folder = folder
        self.source = folder / "source"
        files = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for name in files:
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.source / name)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)

    def run(self, *words, fails=False, **environment):
        """Run a program of the environment, as somebody who has named no backend."""
        env = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "PYTHONPATH")}
        bin = self.folder / "venv" / "bin"
        done = subprocess.run(
            [bin / words[0], *map(str, words[1:])],
            cwd=self.source if words[0] == "pip" else self.folder,
            env={**env, "KERAS_HOME": str(self.folder), "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 2) if fails else (done.returncode == 0), done.stderr[-3000:]
        return done.stdout if not fails else done.stderr

    def install(self, command):
        """Run a `pip install` with the versions that are known to work together."""
        words = [word.strip('"') for word in command.split()[2:]]
        pinned = [] if "-c" in words else ["-c", "constraints.txt"]
        if any(word.startswith("keras-vae") for word in words):
            self.run("pip", "install", "-q", *pinned, ".")
        self.run("pip", "install", "-q", *pinned, *words)

    def has(self, package):
        sites = (self.folder / "venv" / "lib").glob("python*/site-packages")
        return any((site / package / "__init__.py").is_file() for site in sites)


@pytest.fixture
def environment(tmp_path):
    yield Environment(tmp_path)
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="the environments have backends of their own")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_installs_what_it_is_for(environment, command):
    environment.install(command)
    here = [name for name in ("tensorflow", "jax", "torch") if environment.has(name)]
    if environment.has("keras_vae"):
        check_package(environment, here)
    if environment.has("ai_edge_litert") or environment.has("onnxruntime"):
        check_edge(environment)


def check_package(environment, here):
    if not here:
        said = environment.run("keras-vae", "env", fails=True)
        assert "keras-vae needs one of the backends" in said
        assert said.count("\n") == 1
        return
    assert f"backend {here[0]}" in environment.run("keras-vae", "env")
    for missing in {"tensorflow", "jax", "torch"} - set(here):
        said = environment.run("keras-vae", "env", fails=True, KERAS_BACKEND=missing)
        assert f'pip install "keras-vae[{missing}]"' in said
        assert said.count("\n") == 1
    if environment.has("sklearn"):
        environment.run("python", "-m", "keras_vae", *TRAIN)
        environment.run("python", environment.source / "examples" / "quickstart.py")
    exports = ["-m", "export", "--format", "tflite,onnx", "--model", "run"]
    if environment.has("tf2onnx"):
        environment.run("python", *exports)
    else:
        said = environment.run("python", *exports, fails=True)
        assert 'pip install "keras-vae[export]"' in said
        assert said.count("\n") == 1


def check_edge(environment):
    models = pathlib.Path(environment.source, "mobile_demo", "models")
    program = environment.source / "mobile_demo" / "edge" / "sample.py"
    for package, name in (("ai_edge_litert", "decoder.tflite"), ("onnxruntime", "decoder.onnx")):
        if environment.has(package):
            environment.run("python", program, "--model", models / name, "--self-test")
