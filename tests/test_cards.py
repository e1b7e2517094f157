"""The card of a run names its files by hashes, and a folder is compared with them."""

import hashlib
import json
import pathlib
import re
import shlex
import shutil

import pytest

from keras_vae.commands.main import main
from tests.conftest import ordinary_on

GOLDEN = pathlib.Path(__file__).parent / "golden" / "0.1.0" / "run"
pytestmark = ordinary_on("torch")


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(GOLDEN, copy)
    assert main(["card", str(copy), "--licence", "CC0"]) == 0
    return copy


def test_a_card_holds_arguments_measures_and_hashes(folder):
    card = (folder / "card.md").read_text()
    assert card.startswith("---\nlibrary_name: keras-vae\n")
    shown = ("Licence: CC0.", "| latent_dim | 3 |", "| seed | 0 |", "| kl_loss | 0.5935 |")
    assert [words for words in shown if words not in card] == []
    files = [folder / "model.keras", *(p for p in folder.glob("export/*") if p.is_file())]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_a_card_says_how_to_sample_the_model_by_what_was_exported(folder):
    card = (folder / "card.md").read_text()
    assert 'samples = model.sample({"label": "0"}, count=16, seed=42)' in card
    assert "python sample.py --model export/sampler.tflite --label 0 --count 16" in card
    assert 'create("export/sampler.onnx")' in card
    assert '#include "export/sampler.int8.h"' in card
    assert "license: other" in card
    assert "## Quantization" not in card
    rows = [{"file": "decoder.int8.tflite", "largest_error": 0.02, "elbo_change": -0.01}]
    report = {"files": [{**rows[0], "accuracy": None}]}
    (folder / "export" / "decoder.report.json").write_text(json.dumps(report))
    assert main(["card", str(folder)]) == 0
    card = (folder / "card.md").read_text()
    assert "| decoder.int8.tflite | 0.02 | -0.01 |  |" in card
    assert "license" not in card


def test_words_of_a_run_are_no_markdown_and_no_commands(folder):
    """A run folder may be of anybody: nothing in it becomes a link, HTML or a command."""
    config = json.loads((folder / "config.json").read_text())
    bad = "$(rm x) | <script> [x](y)\n```\n# H"
    config["class_names"] = [bad, "b"]
    config["versions"] = {bad: bad}
    config["arguments"]["data"] = bad
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["card", str(folder)]) == 0
    card = (folder / "card.md").read_text()
    outside = re.sub(r"^```.*?^```$", "", card, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\)(<script|\[x\]|```)", outside)
    assert "\n# H" not in card
    [command] = re.findall(r"python sample.py .*", card)
    assert shlex.split(command)[5] == "$(rm x) | <script> [x](y)  # H"


def test_verify_finds_what_was_changed_or_lost(folder, capsys):
    assert main(["card", "--verify", str(folder)]) == 0
    with open(folder / "model.keras", "ab") as file:
        file.write(b"x")
    assert main(["card", "--verify", str(folder)]) == 1
    assert "model.keras: has another hash" in capsys.readouterr().out
    (folder / "model.keras").unlink()
    assert main(["card", "--verify", str(folder)]) == 1
    assert "model.keras: is missing" in capsys.readouterr().out


def test_verify_reads_nothing_outside_the_folder(folder, capsys):
    (folder.parent / "secret").write_bytes(b"s")
    known = hashlib.sha256(b"s").hexdigest()
    (folder / "card.md").write_text(f"| `../secret` | 1 | `{known}` |\n")
    assert main(["card", "--verify", str(folder)]) == 1
    assert "../secret: is outside the folder" in capsys.readouterr().out


def test_a_card_without_hashes_is_refused(folder, capsys):
    (folder / "card.md").write_text("nothing\n")
    assert main(["card", "--verify", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
