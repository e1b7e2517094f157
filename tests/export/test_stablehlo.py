"""TFLite without TensorFlow: by way of StableHLO, from JAX."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import export
from export import converters, quantization, tflite
from tests.conftest import ordinary_on
from tests.export.exported import conditions_of, make_model
from tests.export.without_tensorflow import export_sampler

on_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="on other backends it runs in a process of its own"
)


@ordinary_on("torch")
def test_no_tensorflow_is_needed(tmp_path):
    export_sampler(tmp_path, "jax", "tflite")
    versions = tflite.read_manifest(tmp_path / "sampler.tflite")["versions"]
    assert versions["converter"].startswith("litert-converter ")
    assert "tensorflow" not in versions


@on_jax
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_files_compute_what_the_model_computes(kind, tmp_path):
    model = make_model(kind)
    path = export.export(model, converter="stablehlo", out=tmp_path)
    assert [s["name"] for s in tflite.describe(path)["signatures"]] == [
        "decoder",
        "decoder_1",
        "decoder_16",
    ]
    # It computes no shapes.
    assert "SHAPE" not in tflite.describe(path)["operators"]
    run = tflite.load(path)
    for rows in (1, 3, 16, 3):
        z = np.random.default_rng(rows).standard_normal((rows, model.latent_dim), dtype="f4")
        conditions = conditions_of(model, rows)
        # Measured: 4e-7.
        made = run({"z": z, **conditions})["x"]
        np.testing.assert_allclose(made, model.decode(z, conditions), rtol=0, atol=2e-6)


@pytest.fixture
def few_examples(monkeypatch):
    """As many as make ranges of small models."""
    monkeypatch.setattr(quantization, "CALIBRATION_ROWS", 256)


def integer_file(model, graph, folder, converter="stablehlo"):
    """An all-integer file, and the largest error of its first output for 64 examples."""
    built = export.build_graph(model, graph)
    data = built.draw(256, np.random.default_rng(3)) if built.takes_data else None
    path = export.export(
        model, "tflite", graph, "int8-full", folder, calibration_data=data, converter=converter
    )
    inputs = built.draw(64, np.random.default_rng(4))
    name = built.outputs[0].name
    return path, np.abs(tflite.load(path)(inputs)[name] - built.evaluate(inputs)[name]).max()


@on_jax
def test_an_all_integer_file_computes_in_whole_numbers(few_examples, tmp_path):
    path, error = integer_file(make_model("conv"), "decoder", tmp_path)
    # Measured: 0.099, of weights that are large.
    assert error < 0.2
    described = tflite.describe(path)
    [signature] = described["signatures"]
    kinds = {p["name"]: p["dtype"] for p in (*signature["inputs"], *signature["outputs"])}
    assert kinds == {"z": "int8", "label": "int32", "angle": "int8", "x": "int8"}
    assert {"GATHER_ND", "LEAKY_RELU"} < set(described["operators"])
    # With a batch of any size, SLICE of int8 may be wrong from the second run on.
    assert not {"DEQUANTIZE", "SLICE"} & set(described["operators"])
    # TFLite Micro would plan memory for others.
    [subgraph] = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0).subgraphs
    used = {i for each in subgraph.operators for i in (*each.inputs, *each.outputs)}
    assert used == set(range(len(subgraph.tensors)))


@pytest.mark.slow
@on_jax
@pytest.mark.parametrize("graph", ["decoder", "encoder", "reconstructor"])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_an_all_integer_file_is_as_close_as_that_of_tensorflow(kind, graph, few_examples, tmp_path):
    model = make_model(kind)
    found = {
        converter: integer_file(model, graph, tmp_path / converter, converter)
        for converter in ("stablehlo", "tensorflow")
    }
    sizes = {converter: path.stat().st_size for converter, (path, _) in found.items()}
    assert sizes["stablehlo"] < 1.5 * sizes["tensorflow"]
    assert found["stablehlo"][1] < 1.5 * found["tensorflow"][1]


@on_jax
def test_what_has_no_whole_numbers_is_refused_by_operator_and_layer(few_examples, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("exponential", name="e")])
    with pytest.raises(export.ExportError, match=r"Received: EXP in .*e"):
        export.export(
            model,
            "tflite",
            quantize="int8-full",
            inputs={"z": (2,)},
            out=tmp_path,
            converter="stablehlo",
        )
    assert not list(tmp_path.iterdir())


def test_an_all_integer_file_needs_a_package_that_the_error_names(monkeypatch):
    monkeypatch.setattr(tflite, "PACKAGES", {"stablehlo": ("numpy",)})
    monkeypatch.setattr(tflite, "ALL_INTEGER_PACKAGES", ("no_such_package",))
    with pytest.raises(ModuleNotFoundError, match=r"`no_such_package`.*\[export-lite\]"):
        export.export("nothing.keras", quantize="int8-full", converter="stablehlo")


@pytest.mark.parametrize(
    ("format", "converter", "words"),
    [
        ("onnx", "stablehlo", r"The onnx format has the converters tensorflow, torch\. "),
        ("tflite", "magic", r"`converter` must be one of auto, tensorflow, stablehlo, torch\. "),
    ],
)
def test_a_converter_that_a_format_lacks_is_refused(format, converter, words):
    with pytest.raises(ValueError, match=words):
        converters.chosen(format, converter)


def test_auto_is_the_first_that_is_installed(monkeypatch):
    packages = {"tensorflow": ("no_such_package",), "stablehlo": ("numpy",)}
    assert converters.chosen("tflite") == "tensorflow"
    monkeypatch.setattr(tflite, "PACKAGES", packages)
    assert converters.chosen("tflite") == "stablehlo"
    with pytest.raises(ModuleNotFoundError, match=r"`no_such_package`.*\[export\]"):
        converters.chosen("tflite", "tensorflow")
    monkeypatch.setattr(tflite, "PACKAGES", dict.fromkeys(packages, ("no_such_package",)))
    with pytest.raises(ModuleNotFoundError, match=r"\[export\]"):
        converters.chosen("tflite")
    with pytest.raises(ModuleNotFoundError, match=r"\[export-lite\]"):
        converters.chosen("tflite", "stablehlo")
