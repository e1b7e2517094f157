"""What `import keras_vae` needs, and where a backend may be imported."""

import ast
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import BACKEND

REPOSITORY = pathlib.Path(__file__).parents[1]
BACKENDS = {"jax", "tensorflow", "torch"}
# Extras of this package, and what the environment of a developer holds besides.
OPTIONAL = {
    *("matplotlib", "sklearn", "PIL", "pandas", "mido", "tensorflow_probability", "tf_keras"),
    *("onnx", "onnxruntime", "tf2onnx", "ai_edge_litert", "ai_edge_quantizer", "flatbuffers"),
    *("setuptools", "build", "hypothesis", "mypy", "pytest", "ruff", "scipy"),
}
# What a backend itself cannot do without.
NEEDED = {"tensorflow": {"flatbuffers"}, "jax": {"scipy"}, "torch": set()}

SCRIPT = """
import sys

class Hiding:
    "A finder of modules that does not find the blocked ones."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {blocked}
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
import keras_vae

assert {blocked}.isdisjoint(sys.modules)
model = keras_vae.VAE(
    keras_vae.networks.DenseEncoder(2, (4,)), keras_vae.networks.DenseDecoder((3, 2), (4,))
)
assert model.sample(5, seed=0).shape == (5, 3, 2)
"""


def test_the_package_needs_keras_and_one_backend_only():
    blocked = (OPTIONAL | BACKENDS) - NEEDED[BACKEND] - {BACKEND}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(blocked=blocked)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr


def backend_imports(source):
    """Names of the backends that Python source imports, at the top or inside functions."""
    imported = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and not node.level:
            imported.append(node.module)
    return BACKENDS & {name.partition(".")[0] for name in imported}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.nn as nn", {"torch"}),
        ("def f():\n    from jax import numpy", {"jax"}),
        ("import os, tensorflow", {"tensorflow"}),
        ("from keras_vae.training.jax import Trainer\nimport jaxtyping", set()),
        ("from .torch import Trainer", set()),
    ],
)
def test_an_import_of_a_backend_is_seen(source, found):
    assert backend_imports(source) == found


def test_only_the_trainers_import_a_backend():
    package = REPOSITORY / "keras_vae"
    found = {
        str(path.relative_to(package)): backend_imports(path.read_text())
        for path in package.rglob("*.py")
    }
    importing = {path: names for path, names in found.items() if names}
    # `training/torch.py`, and what belongs to it: `training/torch_adam.py`.
    expected = {path: {re.split(r"[/_.]", path)[1]} for path in importing}
    assert all(path.startswith("training/") for path in importing)
    assert importing == expected
    assert {name for names in importing.values() for name in names} == set(BACKENDS)


def test_ruff_holds_the_same_line():
    lint = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    rules = lint["flake8-tidy-imports"]
    assert set(rules["banned-api"]) >= BACKENDS
    assert set(rules["banned-module-level-imports"]) >= BACKENDS
    exempt = {
        path
        for path, ignored in lint["per-file-ignores"].items()
        if any(rule.startswith("TID") for rule in ignored)
    }
    assert {path for path in exempt if path.startswith("keras_vae")} == {"keras_vae/training/*"}
