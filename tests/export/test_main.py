"""The command line: what it prints, and one line for every mistake."""

import errno
import json
import os

import numpy as np
import pytest

import export
from export.__main__ import _export_group, _newest_run, _next_command, _parser, main
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, exported

# JAX, too, converts in a process that imports TensorFlow.
pytestmark = ordinary_on("tensorflow", "torch")


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    output, errors = capsys.readouterr()
    return status, output, errors


@ordinary_on("tensorflow")
def test_a_line_for_each_file_and_the_next_command():
    found = exported("dense")
    lines = found.output.splitlines()
    results = [line for line in lines if " of the model" in line and line[0] != " "]
    names = [f"{graph}.{format}" for graph in GRAPHS for format in FORMATS]
    assert [line.split("  ")[0] for line in results] == names
    assert all(" MB  within " in line for line in results)
    assert " ms" not in found.output  # which the report and the device measure
    assert lines[-1] == (
        f"python mobile_demo/edge/sample.py --model {found.paths['tflite']} "
        "--count 16 --seed 42 --out samples.png"
    )
    table = lines[lines.index(f"Written to {found.run / 'export'}:") + 1 :]
    assert [line.split()[0] for line in table[: len(names)]] == names
    assert sorted(os.listdir(found.run / "export")) == sorted(names)


@pytest.mark.parametrize("is_report", [True, False])
def test_a_report_leaves_out_what_cannot_be_made_and_names_it(is_report, monkeypatch):
    variants = [("tflite", "none"), ("tflite", "int8-full")]

    def export_files(model, variants, graphs, *rest, **options):
        if ("tflite", "int8-full") in variants:
            raise export.ExportError("decoder.int8-full.tflite is far off")
        return [(f"{graph}.{format}", None) for graph in graphs for format, _ in variants]

    monkeypatch.setattr(export, "export_files", export_files)
    options = _parser("export").parse_args(["--report"] * is_report)
    arguments = "model", variants, ["decoder"], options, print
    if not is_report:
        with pytest.raises(export.ExportError, match="is far off"):
            _export_group(*arguments)
        return
    made, left_out = _export_group(*arguments)
    assert made == [("decoder.tflite", None)]
    assert left_out == ["decoder.int8-full.tflite is far off"]


def test_the_next_command_names_a_class_and_continuous_conditions(format):
    command = _next_command(exported("conv").paths[format])
    assert "--label crow --condition angle=0,0 --count 16 --seed 42" in command


def test_inspect_prints_the_manifest_and_the_signatures(format, capsys):
    path = exported("conv").paths[format]
    status, output, errors = run(capsys, "--inspect", path)
    assert (status, errors) == (0, "")
    found = json.loads(output)
    assert found["latent_dim"] == 3
    assert None not in found.values()  # as are the scores of a decoder
    assert found["golden"]["x"][0][-1] == "... 189 numbers"
    assert found["file"]["bytes"] == path.stat().st_size
    assert found["file"]["signatures"]["decoder"] == {
        "inputs": {
            "z": "float32 (batch, 3)",
            "label": "int32 (batch)",
            "angle": "float32 (batch, 2)",
        },
        "outputs": {"x": "float32 (batch, 9, 7, 3)"},
    }
    expected = ["decoder", "decoder_1", "decoder_16"] if format == "tflite" else ["decoder"]
    assert list(found["file"]["signatures"]) == expected


def test_inspect_of_a_cut_off_file_is_one_line(format, tmp_path, capsys):
    content = exported("conv").paths[format].read_bytes()
    path = tmp_path / f"cut.{format}"
    for size in [0, 1, 4, 7, 8, 20, *range(100, len(content) - 1, len(content) // 25)]:
        path.write_bytes(content[:size])
        status, output, errors = run(capsys, "--inspect", path)
        assert (status, output) == (2, "")
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1
        assert path.name in errors


def test_inspect_of_a_damaged_file_is_one_line_or_the_manifest(format, tmp_path, capsys):
    content = bytearray(exported("dense").paths[format].read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / f"damaged.{format}"
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 30):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        status, output, errors = run(capsys, "--inspect", path)
        assert status == (2 if errors else 0)
        assert errors.count("\n") == (0 if output else 1)


def test_inspect_of_a_file_of_something_else_is_one_line(format, tmp_path, capsys):
    path = tmp_path / f"other.{format}"
    for content in (b"hello world" * 100, b"\0" * 1000, b"\xff" * 1000, b"\0\0\0\x0cTFL3" * 9):
        path.write_bytes(content)
        status, output, errors = run(capsys, "--inspect", path)
        assert (status, output) == (2, "")
        assert errors.count("\n") == 1


def test_inspect_of_a_huge_file_is_one_line(format, tmp_path, capsys):
    path = tmp_path / f"huge.{format}"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)
    status, _, errors = run(capsys, "--inspect", path)
    assert status == 2
    assert "larger than 2 GiB" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "coreml"], "`format` must be one of tflite, onnx, c. Received: 'coreml'"),
        (["--format", "tflite,"], "`format` must be one of"),
        (["--graph", "painter"], "`graph` must be one of decoder, encoder, sampler, scorer"),
        (["--quantize", "int4"], "`quantize` must be one of none, float16, int8, int8-full, exact"),
        (["--format", "onnx", "--quantize", "int8-full"], "The onnx format has the quantizations"),
        (["--graph", "decoder,scorer", "--quantize", "int8-full"], "does not fit into 8 bits"),
        (["--report", "--quantize", "int8"], "--report exports every quantization"),
        (["--speed"], "unrecognized arguments: --speed"),
        (["--model", "nowhere"], "no model at nowhere. Make one with: python -m keras_vae train"),
        ([], "no run under runs/. Make one with: python -m keras_vae train"),
        (["--inspect", "nothing.onnx"], "nothing.onnx: No such file or directory"),
        (["--verify", "nothing.onnx"], "nothing.onnx: No such file or directory"),
        (["--verify", "model.keras"], "--verify runs .tflite, .onnx and .c files. Received"),
        (["--inspect", "."], "--inspect reads .tflite, .onnx and .c files"),
    ],
)
def test_mistakes_are_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run(capsys, *arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert words in errors


@pytest.mark.parametrize(("number", "expected"), [(errno.EACCES, 2), (errno.ENOSPC, 1)])
def test_a_file_that_cannot_be_written_is_one_line(number, expected, monkeypatch, capsys):
    folder = exported("dense").run  # made by the function that is about to refuse

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number), "out/decoder.tflite")

    monkeypatch.setattr(export, "export_files", refuse)
    status, _, errors = run(capsys, "--model", folder)
    assert (status, errors) == (expected, f"error: out/decoder.tflite: {os.strerror(number)}\n")


def test_a_failed_check_is_one_line_and_status_1(monkeypatch, capsys):
    folder = exported("dense").run

    def refuse(*arguments, **options):
        raise export.ExportError("decoder.tflite: disagrees\nwith the model")

    monkeypatch.setattr(export, "export_files", refuse)
    status, _, errors = run(capsys, "--model", folder)
    assert (status, errors) == (1, "error: decoder.tflite: disagrees with the model\n")


def test_the_newest_run_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(["new", "old", "empty"]):
        (tmp_path / "runs" / name).mkdir(parents=True)
        if name != "empty":
            (tmp_path / "runs" / name / "model.keras").touch()
            os.utime(tmp_path / "runs" / name / "model.keras", (1e9 - age, 1e9 - age))
    assert _newest_run().name == "new"
