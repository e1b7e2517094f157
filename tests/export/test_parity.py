"""An exported file computes what its model computes, or does not exist."""

import errno
import json
import os
import pathlib
import subprocess

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import graphs, parity
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, KINDS, conditions_of, exported, make_model

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
converts_here = pytest.mark.skipif(
    not ON_TENSORFLOW, reason="on other backends the conversion runs in a process of its own"
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


@ordinary_on("tensorflow", "torch")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_files_compute_what_the_model_computes_on_its_backend(kind, format, rows):
    model = exported(kind).model
    run = export.module_of(format).load(exported(kind).paths[format])
    z = np.random.default_rng(0).standard_normal((rows, model.latent_dim), dtype=np.float32)
    conditions = conditions_of(model, rows)
    expected = model.decode(z, conditions)
    assert expected.std() > 0.1
    made = run({"z": z, **conditions})
    assert list(made) == ["x"]
    assert made["x"].dtype == np.float32
    # Measured: at most 6e-7 on each backend.
    np.testing.assert_allclose(made["x"], expected, rtol=0, atol=2e-6)


@ordinary_on("tensorflow", "torch")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", graphs.STATIC_BATCH_SIZES)
def test_static_signatures_compute_the_same(kind, rows):
    path, model = exported(kind).paths["tflite"], exported(kind).model
    inputs = {"z": np.ones((rows, model.latent_dim), np.float32), **conditions_of(model, rows)}
    module = export.module_of("tflite")
    made = module.load(path, f"decoder_{rows}")(inputs)["x"]
    np.testing.assert_allclose(made, module.load(path)(inputs)["x"], rtol=0, atol=1e-6)


@ordinary_on("tensorflow", "torch")
def test_static_signatures_share_the_weights():
    from ai_edge_litert import schema_py_generated as schema

    for kind in KINDS:
        model = schema.Model.GetRootAs(exported(kind).paths["tflite"].read_bytes(), 0)
        sizes = [model.Buffers(i).DataLength() for i in range(model.BuffersLength())]
        manifest_size = max(sizes)
        weights = 4 * sum(np.prod(w.shape) for w in exported(kind).model.decoder.weights)
        assert sum(sizes) - manifest_size < 1.5 * weights


@ordinary_on("tensorflow", "torch")
def test_outputs_are_bound_by_name_and_batches_vary_in_one_program():
    model, path = exported("conv").model, exported("conv").paths["tflite"]
    run = export.module_of("tflite").load(path)
    for rows in (2, 5, 2):
        inputs = {**conditions_of(model, rows), "z": np.zeros((rows, 3), np.float32)}
        assert run(inputs)["x"].shape == (rows, 9, 7, 3)


@ordinary_on("tensorflow", "torch")
@pytest.mark.parametrize("format", FORMATS)
def test_no_operator_is_outside_the_standard_ones(format):
    module = export.module_of(format)
    for kind in KINDS:
        assert module.forbidden_operators(exported(kind).paths[format]) == []
        assert module.describe(exported(kind).paths[format])["operators"]


def test_examples_hold_every_class_and_unknown():
    examples = parity.examples(graphs.decoder(make_model("conv")))
    assert sorted(set(examples["label"].tolist())) == [0, 1, 2, 3, 4]
    assert examples["angle"].shape == (16, 2)


@ordinary_on("tensorflow", "torch")
@pytest.mark.parametrize("format", FORMATS)
def test_conditions_keep_their_types(format):
    [described, *_] = export.module_of(format).describe(exported("conv").paths[format])[
        "signatures"
    ]
    inputs = {port["name"]: (port["dtype"], port["shape"]) for port in described["inputs"]}
    assert inputs == {
        "z": ("float32", ["batch", 3]),
        "label": ("int32", ["batch"]),
        "angle": ("float32", ["batch", 2]),
    }
    assert described["outputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 9, 7, 3]}]


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_with_other_weights_is_refused_and_nothing_is_left(format, folder, monkeypatch):
    model = make_model("dense")
    module = export.module_of(format)
    convert = module.convert

    def convert_zeroed(*arguments):
        kernel = model.decoder.weights[-2]
        values = keras.ops.convert_to_numpy(kernel)
        kernel.assign(np.zeros_like(values))
        content = convert(*arguments)
        kernel.assign(values)
        return content

    monkeypatch.setattr(module, "convert", convert_zeroed)
    folder.mkdir()
    (folder / f"decoder.{format}").write_text("older")
    with pytest.raises(parity.ParityError, match=r"decoder\..*`x`.*disagrees.*bound 1e-05"):
        export.export(model, format, out=folder)
    assert [path.name for path in folder.iterdir()] == [f"decoder.{format}"]
    assert (folder / f"decoder.{format}").read_text() == "older"


@converts_here
def test_a_file_without_weights_is_refused(folder, monkeypatch):
    import tensorflow as tf

    def convert_without_weights(graph, *_):
        # What the converter makes, without an error, of variables that nobody holds.
        function = graph.trace().get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module()).convert()

    monkeypatch.setattr(export.module_of("tflite"), "_convert", convert_without_weights)
    with pytest.raises(parity.ParityError, match=r"decoder\.tflite"):
        export.export(make_model("dense"), out=folder)
    monkeypatch.setattr(graphs.Graph, "num_parameters", 10_000)
    with pytest.raises(parity.ParityError, match="must hold the weights of 10000 parameters"):
        export.export(make_model("dense"), "onnx", out=folder)
    assert not list(folder.glob("*"))


@converts_here
def test_a_model_that_gives_nan_is_refused(folder):
    model = make_model("dense")
    weight = model.decoder.weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(export.ExportError, match="NaN"):
        export.export(model, out=folder)
    assert not list(folder.glob("*"))


@converts_here
def test_a_full_disk_is_one_error_and_leaves_nothing(folder, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left") as caught:
        export.export(make_model("dense"), "onnx", out=folder)
    assert "decoder.onnx" in str(caught.value.filename)
    assert not list(folder.glob("*"))


@converts_here
def test_a_model_in_mixed_precision_is_exported_in_float32(folder):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model("conv")
    finally:
        keras.config.set_dtype_policy("float32")
    [(_, report)] = export.export_files(model, [("onnx", "none")], out=folder)
    assert report.largest_error < 1e-5
    assert model.decoder.compute_dtype == "float16"


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_transposed_convolutions_can_be_exported(format, folder):
    model = make_model("conv", transposed=True, batch_normalization=False)
    [(_, report)] = export.export_files(model, [(format, "none")], out=folder)
    # Measured: 2e-7.
    assert report.largest_error < 2e-6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"format": "coreml"}, "`format` must be one of tflite, onnx"),
        ({"graph": "painter"}, "`graph` must be one of"),
        ({"quantize": "int4"}, "`quantize` must be one of"),
        ({"quantize": "int8-full", "format": "onnx"}, "onnx format has .* none, float16, int8"),
        (
            {"format": "c", "quantize": "float16"},
            "The c format has the quantizations int8, none, exact. Received: 'float16'",
        ),
        ({"quantize": "int8-full", "graph": "scorer"}, "does not fit into 8 bits"),
        ({"quantize": "int8-full", "graph": "sampler"}, "is not the one of the seed"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(arguments, words):
    with pytest.raises(ValueError, match=words):
        export.export(None, **arguments)


def test_something_else_than_a_model_is_refused():
    with pytest.raises(ValueError, match="Received: Sequential"):
        graphs.decoder(keras.Sequential([keras.layers.Dense(2)]))


@converts_here
def test_a_path_without_a_model_is_refused_and_no_folder_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        export.export(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(export.module_of("onnx"), "PACKAGES", {"tensorflow": ("no_such_package",)})
    with pytest.raises(ModuleNotFoundError, match=r"`no_such_package`.*pip install"):
        export.export(make_model("dense"), "onnx")


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        ({"raised": "ExportError", "arguments": ["no such op"]}, export.ExportError, "no such op"),
        ({"raised": "OSError", "arguments": [28, "No space", "a"]}, OSError, "No space"),
        (None, export.ExportError, "status -9: it said nothing"),
    ],
)
def test_errors_of_the_tensorflow_process_come_back(result, kind, words, tmp_path, monkeypatch):
    def run(command, input, **options):
        job = json.loads(input)
        pathlib.Path(job["jobs"][0]["target"] + export.parts.PART).write_text("half")
        if result:
            (pathlib.Path(job["folder"]) / "result.json").write_text(json.dumps(result))
        return subprocess.CompletedProcess(command, -9, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("export.converters.runs_here", lambda backend: False)
    with pytest.raises(kind, match=words):
        export.export(make_model("dense"), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_class_that_only_the_script_knows_is_named(tmp_path, monkeypatch):
    model = make_model("conv")
    monkeypatch.setattr(type(model.decoder), "__module__", "__main__")
    monkeypatch.setattr("export.converters.runs_here", lambda backend: False)
    with pytest.raises(ValueError, match=r"Received: CustomDecoder\. Move it to a module"):
        export.export(model, out=tmp_path)


@converts_here
def test_a_model_without_a_prior_can_be_exported(folder):
    networks = keras_vae.networks
    model = keras_vae.Autoencoder(
        networks.DenseEncoder(2, hidden_units=(4,)), networks.DenseDecoder((4, 4, 1))
    )
    path = export.export(model, "onnx", out=folder)
    found = export.module_of("onnx").read_manifest(path)
    assert found["prior"] is None
    assert found["model"] == "Autoencoder"


def test_a_model_that_computes_otherwise_on_tensorflow_is_refused(tmp_path):
    graph = graphs.decoder(make_model("conv"))
    expected = parity.reference(graph)
    parity.save_reference(expected, tmp_path / "same.npz")
    parity.verify_backends(expected, tmp_path / "same.npz")
    [batch] = expected[16]
    np.savez(tmp_path / "other.npz", x_0=batch.outputs["x"][:, ::-1])
    with pytest.raises(parity.ParityError, match=r"the model on .*, `x`: disagrees"):
        parity.verify_backends(expected, tmp_path / "other.npz")


def test_import_loads_neither_keras_nor_tensorflow():
    code = (
        "import sys, export; "
        "sys.exit(len({'keras', 'tensorflow', 'numpy', 'onnx'} & set(sys.modules)))"
    )
    root = pathlib.Path(export.__file__).parents[1]
    done = subprocess.run(
        [os.sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr


@converts_here
def test_operators_that_read_variables_or_draw_are_refused(monkeypatch):
    found = exported("dense")
    graph = graphs.decoder(found.model)
    for format, operator in (("tflite", "LOGISTIC"), ("onnx", "Sigmoid")):
        module = export.module_of(format)
        monkeypatch.setattr(module, "_FORBIDDEN", (operator,))
        with pytest.raises(parity.ParityError, match=f"standard, .* only. Received: {operator}"):
            parity.verify(graph, found.paths[format], module, parity.reference(graph))
