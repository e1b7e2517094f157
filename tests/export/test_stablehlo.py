"""TFLite without TensorFlow: by way of StableHLO, from JAX."""

import keras
import numpy as np
import pytest

import export
from export import converters, tflite
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
    # What computes shapes, and what LiteRT's first versions lack.
    assert not {"SHAPE", "STRIDED_SLICE"} & set(tflite.describe(path)["operators"])
    run = tflite.load(path)
    for rows in (1, 3, 16, 3):
        z = np.random.default_rng(rows).standard_normal((rows, model.latent_dim), dtype="f4")
        conditions = conditions_of(model, rows)
        # Measured: 4e-7.
        made = run({"z": z, **conditions})["x"]
        np.testing.assert_allclose(made, model.decode(z, conditions), rtol=0, atol=2e-6)


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
