"""What `make demo` shows, and what it hides."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.conftest import BACKEND

PATH = pathlib.Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture
def demo():
    spec = importlib.util.spec_from_file_location("demo", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_shows_its_command_and_time_only(demo, capsys):
    assert demo.step("Speak", "-c", "print('a thousand lines')") == "a thousand lines\n"
    shown, took = capsys.readouterr().out.splitlines()
    assert shown.startswith("Speak   python -c ")
    assert re.fullmatch(r" +\d+ s", took)


def test_a_step_that_fails_shows_all_that_it_said(demo, capsys):
    program = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SystemExit) as caught:
        demo.step("Fail", "-c", program)
    assert str(caught.value).startswith("one\ntwo\n")
    assert "status 3: python -c" in str(caught.value)


def test_a_terminal_shows_the_newest_line_meanwhile(demo, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    demo.output("-c", "print('Epoch 1/2'); print('x' * 99)")
    shown = capsys.readouterr().out
    assert "\n" not in shown
    lines = shown.split("\r\x1b[K")[1:]
    assert lines == [f"{'':8}Epoch 1/2", f"{'':8}{'x' * 31}", ""]


def test_the_activation_comes_first(demo, monkeypatch):
    environment = os.path.join(os.getcwd(), ".venv")
    monkeypatch.setattr(sys, "prefix", environment)
    first, *others = demo.next_commands(pathlib.Path("runs/demo"))
    assert first == "source .venv/bin/activate"
    assert len(others) == 2
    assert all("runs/demo" in line for line in others)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert list(demo.next_commands(pathlib.Path("runs/demo"))) == others


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="the demo runs on Keras' default backend")
def test_the_demo_ends_with_what_to_look_at_and_type(tmp_path):
    command = [sys.executable, PATH, "runs/demo", "--epochs", "1"]
    said = subprocess.run(command, check=True, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    lines = said.stdout.splitlines()
    assert len(lines) <= 40
    found = said.stdout.split("Done in")[1]
    for form in ("tflite", "onnx"):
        assert re.search(rf"decoder\.{form} +\d+ kB +\d\.\de-\d\d +\d\.\d+ ms\n", found)
    pictures = re.findall(r"runs/\S+\.(?:png|gif)", found)
    assert len(pictures) > 5
    assert all((tmp_path / picture).is_file() for picture in pictures)
    assert lines[-4] == "Next:"
    assert lines[-3].endswith("/bin/activate")
