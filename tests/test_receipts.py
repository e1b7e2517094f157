"""The published figures are those of their receipts."""

import argparse
import json
import pathlib
import re
import shutil

import pytest

from benchmarks import receipts

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path):
    """A copy of all that the tables are made of."""
    for name in (*receipts.DOCUMENTS, "benchmarks/tables.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "benchmarks" / "receipts", tmp_path / "benchmarks" / "receipts")
    return tmp_path


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_table_agrees_with_its_receipts():
    assert receipts.differences() == ""


def test_a_figure_changed_in_a_document_is_found(copy):
    replace(copy / "docs/benchmarks.md", "| -87.8 nats |", "| -86.8 nats |")
    assert "-86.8" in receipts.differences(copy)


def test_a_figure_changed_in_a_receipt_is_found(copy):
    path = copy / "benchmarks" / "receipts" / "likelihood-vae.json"
    replace(path, '"log_likelihood": -87.7', '"log_likelihood": -86.7')
    assert "+| `VAE` | -86.8 nats" in receipts.differences(copy)


def test_a_figure_without_a_receipt_is_refused(copy):
    (copy / "benchmarks" / "receipts" / "import_time.json").unlink()
    with pytest.raises(ValueError, match=r"No receipt has .*import_time\.result\.seconds"):
        receipts.update(copy)
    path = copy / "benchmarks" / "receipts" / "vq_vae.json"
    replace(path, '"codes_used": 1.0', '"codes_used": null')
    with pytest.raises(ValueError, match=r"vq_vae\.result\.codes_used.*does not know"):
        receipts.update(copy)


def test_a_table_must_be_in_one_document_and_among_the_tables(copy):
    old, new = "<!-- receipts: training -->", "<!-- receipts: other -->"
    replace(copy / "docs" / "benchmarks.md", old, new)
    with pytest.raises(ValueError, match="Not: other, training"):
        receipts.update(copy)


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_no_table_has_figures_of_its_own():
    """Neither outside of the markers, nor between them but in a slot."""
    figure = re.compile(r"\d\.\d|\d %|\d (s|ms|kB|MB|nats|min)\b")
    for name in receipts.DOCUMENTS:
        text = receipts.BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
        assert [row for row in rows(text) if figure.search(row)] == []
    tables = receipts.SLOT.sub("", (ROOT / "benchmarks" / "tables.md").read_text(encoding="utf-8"))
    for row in rows(tables):
        _, _, *cells = row.split("|")
        assert not figure.search("|".join(cells)), row


def test_every_receipt_says_how_it_was_measured():
    for name, receipt in receipts.load().items():
        assert tuple(receipt) == receipts.FIELDS, name
        assert set(receipt["machine"]) == {"processor", "architecture", "cores", "cores_used"}
        assert receipt["command"], name
        assert receipt["versions"], name
        assert receipt["result"], name
        known = *receipt["machine"].values(), receipt["wall_seconds"], receipt["cpu_seconds"]
        assert None not in known, name
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", receipt["date"]), name
        # No folder of the machine that measured.
        assert not re.search(r'["\s=]/\w', json.dumps(receipt)), name


def test_a_benchmark_writes_its_receipt(tmp_path, monkeypatch, capsys):
    (tmp_path / "benchmarks" / "receipts").mkdir(parents=True)
    monkeypatch.setattr(receipts, "ROOT", tmp_path)
    words = ["example.py", "vae", "--receipt", "example", "--seed", "3"]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(receipts, "PINNED", True)
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--seed", type=int)
    receipts.add_option(parser)
    receipts.finish(parser.parse_args(words[1:]), {"loss": 1.5})
    assert json.loads(capsys.readouterr().out) == {"loss": 1.5}
    [receipt] = receipts.load(tmp_path).values()
    assert tuple(receipt) == receipts.FIELDS
    assert receipt["command"] == (
        "KERAS_BACKEND=jax taskset -c 0 python benchmarks/example.py vae --seed 3"
    )
    assert (receipt["seed"], receipt["configuration"]) == (3, {"config": "vae"})
    assert receipt["result"] == {"loss": 1.5}
    assert receipt["wall_seconds"] >= 0
    assert receipt["versions"]["keras"]


def test_slots_show_figures_as_people_write_them():
    known = {"a": {"result": {"share": 0.9639, "bytes": 1305248, "error": 1.3e-6, "n": 2e7}}}
    text = "{a.result.share:.1f %} {a.result.bytes:.0f kB} {a.result.error:.1e} {a.result.n:.0e}"
    assert receipts.fill(text, known) == "96.4 % 1305 kB 1.3e-6 2e7"
