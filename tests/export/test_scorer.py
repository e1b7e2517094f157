"""Scorers in their real runtimes: scores by name, what adds to them, and p-values."""

import json

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import graphs, parity
from keras_vae import networks
from keras_vae.models.scoring import SCORES
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS
from tests.export.test_parity import converts_here

pytestmark = ordinary_on("tensorflow")
SHAPE = (5, 2)


def detector_of(score="negative_elbo", **options):
    keras.utils.set_random_seed(3)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(3, (8,)),
        networks.DenseDecoder(SHAPE, (8,)),
        {"mode": keras_vae.Categorical(names=["idle", "busy"])},
        likelihood="gaussian",
        seed=1,
        **options,
    )
    model.build((None, *SHAPE))
    return keras_vae.AnomalyDetector(model, score, num_samples=4).calibrate(examples(400, 1))


def examples(rows, seed):
    rng = np.random.default_rng(seed)
    mode = rng.integers(0, 2, rows).astype("int32")
    x = rng.standard_normal((rows, *SHAPE)) * (1 + mode)[:, None, None]
    return {"x": x.astype("float32"), "mode": mode}


@pytest.mark.parametrize(
    ("score", "posterior"),
    [
        pytest.param(score, posterior, marks=pytest.mark.slow if posterior or k else ())
        for k, (score, posterior) in enumerate(
            [*((score, None) for score in SCORES), (SCORES[1], "full_covariance")]
        )
    ],
)
def test_a_file_gives_what_the_detector_gives(score, posterior, tmp_path):
    detector, inputs = detector_of(score, posterior=posterior), examples(16, 2)
    paths = export.export(detector, ",".join(FORMATS), "scorer", "none", out=tmp_path)
    for path in paths:
        module = export.module_of(path.suffix[1:])
        for rows in (1, 3, 16):
            given = {name: array[:rows] for name, array in inputs.items()}
            made = module.load(path)(given)
            assert set(made) == {"score", "p_value", "contribution", "x_reconstructed"}
            np.testing.assert_allclose(made["score"], detector.score(given), rtol=1e-5)
            np.testing.assert_allclose(made["p_value"], detector.p_value(given), atol=1e-5)
            expected = detector.contributions(given)
            np.testing.assert_allclose(made["contribution"], expected, rtol=1e-4, atol=1e-5)
        unknown = {**inputs, "mode": np.full(16, 2, "int32")}
        np.testing.assert_allclose(
            module.load(path)(unknown)["p_value"], detector.p_value(unknown), atol=1e-5
        )


def test_the_file_says_how_it_is_calibrated(tmp_path):
    detector = detector_of("reconstruction")
    path = export.export(detector, "onnx", "scorer", out=tmp_path)
    found = export.module_of("onnx").read_manifest(path)
    assert found["score"] == "reconstruction"
    told = found["calibration"]
    assert len(json.dumps(told)) < 4096
    assert told["false_alarms"] == 0.01
    assert told["condition"] == "mode"
    assert told["group_of_class"] == [1, 2, 0]
    np.testing.assert_allclose(told["thresholds"], detector.calibration.thresholds(), rtol=1e-6)
    assert told["groups"][1]["count"] + told["groups"][2]["count"] == 400


@pytest.mark.slow
def test_rounded_scorers_are_held_to_their_p_values(tmp_path):
    detector = detector_of()
    data = examples(64, 5)
    paths = export.export(
        detector, "tflite,onnx", "scorer", "float16,int8", tmp_path, calibration_data=data
    )
    for path in paths:
        made = export.module_of(path.suffix[1:]).load(path)(data)
        # Measured: 0.02 at int8.
        assert np.abs(made["p_value"] - detector.p_value(data)).max() < 0.1


@converts_here
def test_a_wrong_p_value_is_refused(monkeypatch):
    detector = detector_of()
    graph = graphs.scorer(detector.model)
    expected = parity.reference(graph)
    [batch] = expected[16][:1]
    assert "p_value" in batch.limits
    made = {name: array.copy() for name, array in batch.outputs.items()}
    assert parity._compare(lambda _: made, [batch], "none", 16, "file") < 1e-6
    made["p_value"][3] += 0.001
    with pytest.raises(parity.ParityError, match="`p_value`"):
        parity._compare(lambda _: made, [batch], "none", 16, "file")


def test_a_run_is_calibrated_by_its_held_out_examples(tmp_path):
    from keras_vae.commands.main import main

    run = tmp_path / "run"
    settings = ["--epochs", "1", "--latent-dim", "2", "--hidden-units", "8"]
    main(["train", "--data", "digits", "--model", "vae", *settings, "--out", str(run)])
    path = export.export(run, "onnx", "scorer")
    found = export.module_of("onnx").read_manifest(path)
    assert found["calibration"]["groups"][0]["count"] == 359
    assert found["calibration"]["condition"] is None


def test_a_score_can_be_computed_beside_an_all_integer_reconstructor(tmp_path):
    detector, data = detector_of("reconstruction"), examples(256, 6)
    path = export.export(
        detector, "tflite", "reconstructor", "int8-full", tmp_path, calibration_data=data
    )
    told = export.module_of("tflite").read_manifest(path)
    assert told["score"] == "reconstruction"
    assert told["likelihood_scale"] == 1.0
    assert told["calibration"]["groups"][0]["count"] == 400
    made = export.module_of("tflite").load(path)(data)["x_reconstructed"]
    score = 0.5 * np.sum((data["x"] - made) ** 2 + np.log(2 * np.pi), axis=(1, 2))
    expected = detector.score(data)
    # Measured: 0.004 of the spread of scores.
    assert np.abs(score - expected).max() < 0.02 * np.ptp(expected)


def test_a_reconstructor_tells_no_p_values_of_another_score(tmp_path):
    path = export.export(detector_of().model, "onnx", "reconstructor", out=tmp_path)
    told = export.module_of("onnx").read_manifest(path)
    assert told["calibration"] is None
    assert set(export.module_of("onnx").load(path)(examples(3, 1))) == {"x_reconstructed"}
