"""The manifest says what a device must know, and survives what files go through."""

import json

import numpy as np
import pytest

import export
import keras_vae
from export import flatbuffer, manifest
from keras_vae import data
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, KINDS, NAMES, exported

# JAX, too, converts in a process that imports TensorFlow.
pytestmark = ordinary_on("tensorflow", "torch")


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


def read(kind, format):
    return export.module_of(format).read_manifest(exported(kind).paths[format])


def test_manifest_says_what_the_model_is(format):
    found = read("conv", format)
    assert found["schema"] == 1
    assert found["graph"] == "decoder"
    assert found["model"] == "ConditionalVAE"
    assert found["latent_dim"] == 3
    assert found["data_shape"] == [9, 7, 3]
    assert found["data_range"] == [0, 1]
    assert found["prior"] == {"kind": "standard_normal"}
    assert found["likelihood"] == "bernoulli"
    assert found["quantization"] == "none"
    assert found["parameters"] == exported("conv").model.decoder.count_params()
    assert found["training"] is None
    assert found["versions"]["keras_vae"] == keras_vae.__version__
    assert found["conditions"] == [
        {"name": "label", "kind": "categorical", "size": 4, "names": list(NAMES), "unknown": True},
        {"name": "angle", "kind": "continuous", "size": 2, "names": None},
    ]


def test_manifest_says_how_the_run_was_trained(format):
    assert read("dense", format)["training"] == {"data": "digits", "epochs": 3, "elbo": -12.5}
    assert read("dense", format)["conditions"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_both_formats_hold_the_same_manifest(kind):
    first, second = (read(kind, format) for format in FORMATS)
    assert first["versions"].pop("converter") != second["versions"].pop("converter")
    assert first == second


@pytest.mark.parametrize("kind", KINDS)
def test_golden_sample_is_what_the_model_makes(kind, format):
    model, golden = exported(kind).model, read(kind, format)["golden"]
    z = np.array(golden["z"], np.float32)
    drawn = model.prior.sample(len(z), model.latent_dim, seed=golden["seed"])
    np.testing.assert_array_equal(z, drawn)
    expected = model.decode(z, golden["conditions"])
    # Six decimals are kept.
    np.testing.assert_allclose(
        np.array(golden["x"]).reshape(expected.shape), expected, rtol=0, atol=2e-6
    )


def test_latent_codes_are_written_so_that_they_read_back_exactly():
    bits = np.random.default_rng(0).integers(0, 2**32, 2000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    read_back = np.array(json.loads(json.dumps(manifest.exact(values))), np.float32)
    np.testing.assert_array_equal(read_back, values)


def test_tflite_buffers_start_at_multiples_of_16():
    from ai_edge_litert import schema_py_generated as schema

    content = exported("conv").paths["tflite"].read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in map(model.Buffers, range(model.BuffersLength()))
        if buffer.DataLength()
    ]
    assert len(starts) > 5
    assert {start % 16 for start in starts} == {0}


def test_metadata_that_was_there_is_kept():
    from export import tflite

    content = exported("dense").paths["tflite"].read_bytes()
    model = flatbuffer.Model(tflite.add_metadata(content, {"note": b"hello"}), "a.tflite")
    assert model.metadata("note") == b"hello"
    assert json.loads(model.metadata("keras_vae"))["schema"] == 1
    assert model.metadata("min_runtime_version")


def test_training_is_read_from_the_run_folder(tmp_path):
    assert manifest.training_of(None) is None
    assert manifest.training_of(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    assert manifest.training_of(tmp_path) == {"data": None, "epochs": None, "elbo": None}
    arguments = {"data": "/home/me/data.npz", "epochs": 2}
    (tmp_path / "config.json").write_text(json.dumps({"arguments": arguments}))
    assert manifest.training_of(tmp_path) == {"data": "data.npz", "epochs": 2, "elbo": None}
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match=r"evaluation\.json is not readable"):
        manifest.training_of(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "holds no `keras_vae` manifest"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "not a JSON object"),
        (b"{}", "`schema` is missing"),
        (b'{"schema": true}', "`schema` is missing"),
        (b'{"schema": 0}', "`schema` is missing"),
        (b'{"schema": 1}', "`graph` is missing"),
        (b'{"schema": NaN}', "NaN is no JSON number"),
    ],
)
def test_damaged_manifests_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        manifest.loads(data, "a.onnx")


@pytest.mark.parametrize(
    ("versions", "package"),
    [
        ({"keras_vae": "7.1.0"}, "keras-vae>=7.1.0"),
        ({"keras_vae": "7.1.0rc2+local"}, "keras-vae>=7.1.0rc2"),
        # Damaged: nothing of it is shown, and no version before this one reads more.
        ({"keras_vae": '7"; rm -r "/'}, "-U keras-vae"),
        ({"keras_vae": "0.0.1"}, "-U keras-vae"),
        ({"keras_vae": None}, "-U keras-vae"),
        ({}, "-U keras-vae"),
        ("7.1.0", "-U keras-vae"),
    ],
)
def test_a_newer_schema_is_refused_with_the_version_that_reads_it(versions, package):
    # Of what it may hold nothing else is known.
    newer = {"schema": manifest.SCHEMA + 1, "versions": versions}
    with pytest.raises(ValueError, match=f"Received: schema {newer['schema']}") as error:
        manifest.loads(manifest.dumps(newer), "a.onnx")
    assert f'pip install "{package}"' in str(error.value)
    assert "\n" not in str(error.value)


def test_older_schemas_are_read(monkeypatch):
    found = read("dense", "onnx")
    monkeypatch.setattr(manifest, "SCHEMA", manifest.SCHEMA + 1)
    assert manifest.loads(manifest.dumps(found), "a.onnx") == found


def test_long_lists_are_shortened_for_the_eye():
    shortened = manifest.shorten({"x": [list(range(100))], "names": ["a"] * 20})
    assert shortened == {"x": [[0, 1, 2, "... 100 numbers"]], "names": ["a"] * 20}


def test_the_map_shows_where_held_out_codes_are(format):
    found = exported("dense")
    module, x = export.module_of(format), data.load("digits").x_test
    made = module.read_manifest(found.path("decoder", format))["map"]
    codes, _ = found.model.encode(x[:2000])
    np.testing.assert_allclose(made["origin"], codes.mean(axis=0), rtol=0, atol=1e-5)
    x_axis, y_axis = np.array(made["x"]), np.array(made["y"])
    assert abs(x_axis @ y_axis) < 1e-5 * (x_axis @ x_axis)
    # No direction varies more than the first, and 2.5 standard deviations are shown.
    unit = x_axis / np.linalg.norm(x_axis)
    spread = np.std(codes @ unit, ddof=1)
    np.testing.assert_allclose(np.linalg.norm(x_axis), 2.5 * spread, rtol=1e-5)
    directions = np.random.default_rng(0).standard_normal((200, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.std(codes @ directions.T, axis=0, ddof=1).max() <= spread * (1 + 1e-6)
    assert module.read_manifest(exported("conv").path("decoder", format))["map"] is None


def test_the_scorer_knows_how_held_out_examples_score(format):
    path = exported("dense").path("scorer", format)
    percentiles = export.module_of(format).read_manifest(path)["scores"]
    assert len(percentiles) == 101
    x = data.load("digits").x_test
    scores = export.module_of(format).load(path)({"x": x})["score"]
    np.testing.assert_allclose(percentiles[50], np.median(scores), rtol=1e-4)
    np.testing.assert_allclose(percentiles[100], scores.max(), rtol=1e-4)
