"""`python -m export --verify`: sound files pass, altered and damaged ones fail in one line each."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import export
from export import c, manifest, verification
from export.__main__ import main
from tests.attacks.fuzz import mutated
from tests.export.exported import FORMATS, GRAPHS, exported
from tests.export.test_c import needs_compiler
from tests.export.test_parity import converts_here

# Files are the same whatever backend made them; the other tests here make sure of that.
pytestmark = converts_here


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    output, errors = capsys.readouterr()
    return status, output, errors


@pytest.mark.parametrize("graph", GRAPHS)
def test_exported_files_are_verified(graph, format, capsys):
    for kind in ("dense", "conv"):
        path = exported(kind).path(graph, format)
        status, output, errors = run(capsys, "--verify", path)
        assert (status, errors) == (0, "")
        lines = output.splitlines()
        assert [line[:6] for line in lines[:3]] == ["ok    "] * 3
        assert "largest error" in lines[2]
        assert lines[3] == f"{path.name}: verified"


def test_with_its_model_a_file_is_compared_in_full(format, capsys, tmp_path):
    found = exported("dense")
    path = found.path("sampler", format)
    status, output, _ = run(capsys, "--verify", path, "--model", found.run)
    assert status == 0
    assert "parity with the model: largest error" in output
    exported("conv").model.save(tmp_path / "other.keras")
    status, output, _ = run(capsys, "--verify", path, "--model", tmp_path / "other.keras")
    assert status == 1
    assert "FAILED  parity with the model" in output
    assert output.endswith(f"sampler.{format}: FAILED\n")


def altered(format, tmp_path, change):
    """A file whose manifest a function has changed."""
    from tests.test_edge import with_manifest

    found = export.module_of(format).read_manifest(exported("dense").paths[format])
    change(found)
    return with_manifest(exported("dense"), format, tmp_path, **found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["golden"]["x"][1].__setitem__(3, 0.123), "differs from its golden sample by"),
        (lambda m: m["golden"].pop("z"), "The golden sample"),
        (lambda m: m["golden"].update(z=[[1.0]]), "The golden sample"),
        (lambda m: m["golden"].update(z=[], x=[]), "The golden sample"),
        (lambda m: m["golden"].update(x=[[1, 2], [3]]), "The golden sample"),
        (lambda m: m["golden"].update(conditions=3), "The golden sample"),
        (lambda m: m.update(parameters=10**9), "must hold the weights of 1000000000 parameters"),
    ],
)
def test_an_altered_manifest_fails(change, words, format, tmp_path, capsys):
    status, output, errors = run(capsys, "--verify", altered(format, tmp_path, change))
    assert (status, errors) == (1, "")
    assert "FAILED" in output
    assert words in output


def test_a_weight_that_was_altered_fails(format, tmp_path, capsys):
    content = bytearray(exported("dense").paths[format].read_bytes())
    kernel = np.asarray(exported("dense").model.decoder.weights[-2], "float32")
    kernel = kernel.T if format == "tflite" else kernel
    place = content.find(kernel.tobytes())
    assert place > 0
    content[place : place + kernel.nbytes] = np.full_like(kernel, 3).tobytes()
    path = tmp_path / f"altered.{format}"
    path.write_bytes(content)
    status, output, _ = run(capsys, "--verify", path)
    assert status == 1
    assert "FAILED  golden sample" in output


def test_a_runtime_that_crashes_or_hangs_fails(format, monkeypatch):
    path, module = exported("dense").paths[format], export.module_of(format)
    code = {"crash": "import os; os.abort()", "hang": "import time; time.sleep(60)"}
    monkeypatch.setattr(verification, "SECONDS", 3)
    for name, words in (("crash", "ended with signal 6"), ("hang", "not ended after 3 seconds")):
        monkeypatch.setattr(verification, "_COMMAND", code[name])
        check = verification._run_apart(path, module)
        assert not check.passed
        assert words in check.found


GOLDEN_C = pathlib.Path(export.__file__).parents[1] / "tests/golden/0.1.0/run/export/decoder.int8.c"


def c_file(folder, change=lambda text: text, header=lambda text: text):
    """A C file of an earlier version whose text was changed."""
    for suffix, edit in ((".c", change), (".h", header)):
        text = GOLDEN_C.with_suffix(suffix).read_text()
        (folder / GOLDEN_C.name).with_suffix(suffix).write_text(edit(text))
    return folder / GOLDEN_C.name


@needs_compiler
def test_a_c_file_is_compiled_and_run(tmp_path, capsys):
    status, output, errors = run(capsys, "--verify", c_file(tmp_path))
    assert (status, errors) == (0, "")
    assert "ok      operators: its own functions and libm's alone\n" in output
    assert "ok      golden sample: largest error" in output
    path = c_file(tmp_path, lambda text: text.replace("] + biases[o]", "] - biases[o]"))
    status, output, _ = run(capsys, "--verify", path)
    assert status == 1
    assert "FAILED  golden sample: decoder.int8.c differs from its golden sample" in output


START = "\nstatic void dense("
FOREIGN = [
    ("a call of system", lambda text: text.replace(START, f"\nint system(const char *);{START}")),
    ("the line '#include <stdlib.h>'", lambda text: "#include <stdlib.h>\n" + text),
    ("the name __asm__", lambda text: text.replace(START, f"\n__asm__ x;{START}")),
    ("the character '\"'", lambda text: text.replace(START, f'\nstatic char x[] = "a";{START}')),
    (
        "the function other",
        lambda text: text.replace(START, f"\nint other(int a)\n{{\n}}\n{START}"),
    ),
    (
        "a declaration of a function",
        lambda text: text.replace(START, f"\nint (system)(int);{START}"),
    ),
    ("the mark '\\\\\\n'", lambda text: "/* *\\\n/ int x; /* */\n" + text),
]


@needs_compiler
@pytest.mark.parametrize(("words", "change"), FOREIGN, ids=[words for words, _ in FOREIGN])
def test_a_c_file_that_could_do_more_than_compute_is_not_compiled(
    words, change, tmp_path, capsys, monkeypatch
):
    assert START in GOLDEN_C.read_text()
    monkeypatch.setattr(verification, "_run_apart", None)
    for edits in ({"change": change}, *([{"header": change}] if "line" in words else [])):
        status, output, _ = run(capsys, "--verify", c_file(tmp_path, **edits))
        assert status == 1
        assert words in output
        assert "FAILED  golden sample: not compiled" in output


@pytest.mark.parametrize("format", FORMATS)
def test_what_the_runtime_says_of_a_damaged_file_is_said(format, tmp_path, capsys):
    path = tmp_path / f"damaged.{format}"
    path.write_bytes(exported("dense").paths[format].read_bytes()[:1000])
    status, output, errors = run(capsys, "--verify", path)
    assert (status, output) == (2, "")
    assert errors.count("\n") == 1
    assert {"tflite": " LiteRT says: ", "onnx": " ONNX Runtime says: "}[format] in errors


def test_verify_and_inspect_import_neither_keras_nor_a_backend(tmp_path):
    for name in ("keras", "tensorflow", "jax", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemError('imported')")
    root = pathlib.Path(export.__file__).parents[1]
    files = root / "tests/golden/0.1.0/run/export"
    asked = [
        ["--verify", str(files / "decoder.tflite")],
        ["--verify", str(files / "decoder.onnx")],
        ["--verify", str(files / "decoder.int8.c")],
        ["--inspect", str(files / "decoder.int8.c")],
        ["--help"],
    ]
    code = f"from export.__main__ import main; [main(words) for words in {asked}]"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": verified") == (3 if any(map(shutil.which, c.COMPILERS)) else 2)
    assert "--verify FILE" in done.stdout


def fuzz(option, count, format, tmp_path, capsys):
    rng = np.random.default_rng(count)
    contents = [
        exported(kind).path(graph, format).read_bytes()
        for kind in ("dense", "conv")
        for graph in ("decoder", "sampler")
    ]
    path = tmp_path / f"damaged.{format}"
    statuses = []
    for i in range(count):
        path.write_bytes(mutated(contents[i % len(contents)], rng))
        status, output, errors = run(capsys, option, path)
        assert status in (0, 1, 2)
        if status == 2:
            assert output == "" or option == "--verify"
            assert errors.startswith("error: ")
            assert errors.count("\n") == 1
        else:
            assert errors == ""
        statuses.append(status)
    return statuses


def test_inspect_survives_250_damaged_files_of_each_format(format, tmp_path, capsys):
    statuses = fuzz("--inspect", 250, format, tmp_path, capsys)
    assert statuses.count(2) > 50


def test_verify_survives_damaged_files(format, tmp_path, capsys):
    statuses = fuzz("--verify", 12, format, tmp_path, capsys)
    assert set(statuses) & {1, 2}


@pytest.mark.slow
def test_verify_survives_250_damaged_files_of_each_format(format, tmp_path, capsys):
    statuses = fuzz("--verify", 250, format, tmp_path, capsys)
    assert statuses.count(1) > 10
    assert statuses.count(2) > 50


def test_the_manifest_says_what_the_golden_sample_is():
    found = export.module_of("onnx").read_manifest(exported("dense").path("sampler", "onnx"))
    ports = [
        {"name": "seed", "dtype": "int32", "shape": [1]},
        {"name": "index", "dtype": "int32", "shape": ["batch"]},
        {"name": "x", "dtype": "float32", "shape": ["batch", 8, 8, 1]},
    ]
    arrays = manifest.golden(found, ports, "a.onnx")
    assert arrays["seed"].tolist() == [42]
    assert arrays["index"].tolist() == [0, 1]
    assert arrays["x"].shape == (2, 8, 8, 1)
