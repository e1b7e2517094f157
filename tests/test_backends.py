"""Which backend the package takes, and what it says of those that are not there."""

import importlib.util
import json
import os
import sys

import keras
import pytest

from keras_vae import _lazy, backends
from keras_vae.__main__ import main


@pytest.fixture
def there(monkeypatch, tmp_path):
    """Choose as a new process would, on a machine of these packages, config and environment."""

    def choose(*installed, config=None, environment=None, name=None):
        monkeypatch.delitem(sys.modules, "keras")
        monkeypatch.setattr(backends, "is_installed", lambda package: package in installed)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        if config is not None:
            (tmp_path / "keras.json").write_text(config)
        if environment is not None:
            monkeypatch.setenv("KERAS_BACKEND", environment)
        try:
            backends.choose(name)
        finally:
            sys.modules["keras"] = keras
        return os.environ.get("KERAS_BACKEND")

    return choose


BY_KERAS = json.dumps({"backend": "tensorflow"})


@pytest.mark.parametrize("config", [None, BY_KERAS, "{}", "not json", "[]"])
def test_where_nothing_names_a_backend_the_first_that_is_installed_is_taken_and_named(
    there, capsys, config
):
    assert there("torch", "jax", config=config) == "jax"
    assert capsys.readouterr().err == (
        "keras-vae: no backend is named; taking jax, the first of tensorflow, jax, torch that is "
        "installed. KERAS_BACKEND names another.\n"
    )


@pytest.mark.parametrize(
    ("named", "taken"),
    [
        ({}, None),
        ({"config": BY_KERAS}, None),
        ({"config": '{"backend": "jax"}'}, None),
        ({"environment": "torch"}, "torch"),
        ({"environment": "torch", "config": '{"backend": "jax"}'}, "torch"),
        ({"environment": "torch", "name": "jax"}, "jax"),
        ({"name": "jax"}, "jax"),
        ({"name": "tensorflow"}, None),
        ({"environment": ""}, ""),
    ],
)
def test_what_is_named_or_is_keras_own_default_is_taken_without_a_word(there, capsys, named, taken):
    assert there(*backends.BACKENDS, **named) == taken
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"environment": "jax"}, 'jax from KERAS_BACKEND.*pip install "keras-vae\\[jax\\]"'),
        ({"environment": "tensorflow"}, 'pip install "keras-vae\\[tensorflow\\]"'),
        ({"config": '{"backend": "jax"}'}, r"jax from .*keras\.json.*choose one .*: torch\."),
        ({"name": "jax"}, 'from --backend.*pip install "keras-vae\\[jax\\]"'),
        ({"environment": "numpy"}, "tensorflow, jax or torch. Received: numpy, from KERAS_BACKEND"),
    ],
)
def test_a_backend_that_is_named_must_be_installed(there, named, words):
    with pytest.raises(ImportError, match=words) as error:
        there("torch", **named)
    assert "\n" not in str(error.value)


def test_without_any_backend_one_line_says_how_to_install_one(there):
    with pytest.raises(ImportError, match=r'pip install "keras-vae\[tensorflow\]", or with \[jax'):
        there()


def test_once_keras_is_imported_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(backends, "is_installed", lambda package: False)
    before = os.environ.get("KERAS_BACKEND")
    backends.choose("jax")
    backends.choose()
    assert os.environ.get("KERAS_BACKEND") == before


def test_it_is_chosen_before_keras_is_imported_by_whomever(monkeypatch):
    chosen = []
    monkeypatch.setattr(backends, "choose", lambda: chosen.append("keras" in sys.modules))
    monkeypatch.delitem(sys.modules, "keras")
    spec = _lazy._Finder(()).find_spec("keras")
    assert spec.origin == keras.__file__
    assert not chosen
    importlib.util.module_from_spec(spec)
    sys.modules["keras"] = keras
    assert chosen == [False]


def test_a_folder_that_a_package_left_behind_is_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "left_behind").mkdir()
    (tmp_path / "is_there.py").touch()
    monkeypatch.setitem(sys.modules, "blocked", None)
    names = ("left_behind", "blocked", "no_such_package", "is_there")
    assert [backends.is_installed(name) for name in names] == [False, False, False, True]
    assert "is_there" not in sys.modules


@pytest.mark.parametrize("command", [["evaluate", "x"], ["env"], ["train"], ["figures", "x"]])
def test_every_command_says_of_a_missing_backend_in_one_line(monkeypatch, capsys, command):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(backends, "is_installed", lambda package: package == "torch")
    status = main([*command, "--backend", "jax"])
    sys.modules["keras"] = keras
    assert status == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: The backend jax must be installed")
    assert said.err.count("\n") == 1
