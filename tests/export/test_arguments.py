"""What `export` takes where an argument is left out, and what it says it needs."""

import pathlib
import shutil

import numpy as np
import pytest

import export
import keras_vae
from export.__main__ import main
from keras_vae import networks
from tests.conftest import ordinary_on
from tests.export.exported import exported

MODEL = pathlib.Path(__file__).parents[1] / "golden" / "0.1.0" / "models" / "vae.keras"


def fails(capsys, arguments, words):
    assert main([str(word) for word in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert words in said


@pytest.mark.slow
def test_every_format_exports_by_its_name_alone(tmp_path):
    model = exported("dense").model
    made = export.export(model, format=export.FORMATS, out=tmp_path)
    assert [path.name for path in made] == ["decoder.tflite", "decoder.onnx", "decoder.int8.c"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["decoder.tflite"]),
        ({"format": "tflite, onnx"}, ["decoder.tflite", "decoder.onnx"]),
        ({"format": ("tflite", "c")}, ["decoder.tflite", "decoder.int8.c"]),
        ({"format": ["onnx"], "quantize": "none,int8"}, ["decoder.onnx", "decoder.int8.onnx"]),
        ({"graph": ("encoder", "scorer", "encoder")}, ["encoder.tflite", "scorer.tflite"]),
    ],
)
def test_python_and_the_command_line_make_the_same_files(
    arguments, expected, monkeypatch, tmp_path
):
    asked = []

    def record(model, jobs, *rest):
        asked.append([job.target for job in jobs])
        raise export.ExportError("enough")

    shutil.copy(MODEL, tmp_path / "model.keras")
    for name in ("_export_here", "_export_in_child"):
        monkeypatch.setattr(export, name, record)
    with pytest.raises(export.ExportError):
        export.export(tmp_path, **arguments)
    words = [
        word
        for name, value in arguments.items()
        for word in (f"--{name}", value if isinstance(value, str) else ",".join(value))
    ]
    assert main([*words, "--model", str(tmp_path)]) == 1
    assert asked == [[str(tmp_path / "export" / name) for name in expected]] * 2


def test_several_files_are_a_list_and_one_is_a_path(monkeypatch):
    made = [("a", None), ("b", None)]
    monkeypatch.setattr(export, "export_files", lambda *_, **__: made)
    assert export.export(None, "tflite,onnx") == ["a", "b"]
    assert export.export(None, ("tflite", "onnx")) == ["a", "b"]
    made = made[:1]
    assert export.export(None) == "a"
    assert export.export(None, ["tflite"]) == ["a"]
    with pytest.raises(ValueError, match="`format` and `graph` must name something"):
        export.export(None, ())


@ordinary_on("tensorflow")
def test_a_file_from_python_knows_the_data_that_are_named(tmp_path):
    model = exported("dense").model
    path = export.export(model, "onnx", "scorer", "int8", out=tmp_path, data="digits")
    found = export.module_of("onnx").read_manifest(path)
    run = export.module_of("onnx").read_manifest(exported("dense").path("scorer", "onnx"))
    assert len(found["scores"]) == 101
    # The same data, weights of 8 bits: measured 0.03 nats of 40.
    assert found["scores"][50] == pytest.approx(run["scores"][50], rel=0.01)


@ordinary_on("tensorflow")
def test_a_model_file_is_rounded_by_the_data_that_are_named(tmp_path, capsys):
    model = tmp_path / "mine.keras"
    exported("dense").model.save(model)
    arguments = ["--format", "onnx", "--quantize", "int8", "--model", model]
    words = "Export from a run folder, name them by `calibration_data` (--calibration) or the data"
    full = ["--format", "tflite", "--quantize", "int8-full", "--model", model]
    fails(capsys, [*full, "--graph", "encoder"], words)
    np.savez(tmp_path / "examples.npz", x=np.random.default_rng(0).random((64, 8, 8, 1), "float32"))
    said = "no examples were given, so by those that the model makes"
    given = [], ["--data", "digits"], ["--calibration", str(tmp_path / "examples.npz")]
    for graph, more in (("decoder", given[0]), *(("encoder", more) for more in given)):
        assert main([*map(str, arguments), "--graph", graph, *more]) == 0
        assert (tmp_path / "export" / f"{graph}.int8.onnx").is_file()
        assert (said in capsys.readouterr().out) is (graph == "encoder" and not more)
    fails(capsys, [*arguments, "--graph", "encoder", "--data", "nowhere"], "nowhere")
    fails(capsys, [*arguments, "--graph", "encoder", "--data", "mnist"], "(28, 28, 1)")


@ordinary_on("tensorflow")
@pytest.mark.parametrize("shape", [(7,), (9, 2)])
def test_what_quantization_costs_is_told_of_what_is_no_picture(shape, tmp_path, capsys):
    decoder = networks.DenseDecoder(shape, (5,))
    model = keras_vae.VAE(networks.DenseEncoder(2, (5,)), decoder)
    model.build()
    model.save(tmp_path / "mine.keras")
    arguments = ["--format", "c", "--model", str(tmp_path / "mine.keras"), "--quantize", "int8"]
    assert main(arguments) == 0
    assert "decoder.int8.c" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "export").iterdir()}
    assert names == {"decoder.int8.c", "decoder.int8.h", "decoder.report.json"}


def test_data_for_a_model_of_any_kind_are_refused():
    with pytest.raises(ValueError, match=r"`data` must be left out with `inputs`.*'digits'"):
        export.export_files("x.keras", [("onnx", "none")], inputs={"z": (3,)}, data="digits")
