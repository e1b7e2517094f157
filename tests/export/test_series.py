"""Models of series leave in units: files take and give what sensors read."""

import functools

import keras
import numpy as np
import pytest

import export
import keras_vae
from keras_vae import data
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, new_folder
from tests.export.test_parity import converts_here

pytestmark = ordinary_on("tensorflow")


def columns_of(steps):
    """Readings of two sensors, and a mode, as a dict of columns."""
    time = np.arange(steps)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, steps))
    mode = np.array(["idle", "busy"], object)[(time // 500) % 2]
    flow = 20 + (1 + (mode == "busy")) * np.sin(time / 5) + noise[0]
    return {"flow": flow, "bar": 2000 + 100 * (np.cos(time / 9) + noise[1]), "mode": mode}


@functools.cache
def exported_series():
    """A calibrated model of two channels and a mode, its data and its folder of files."""
    made = data.series(columns_of(3000), 12, 1, conditions="mode", calibration=0.3)
    keras.utils.set_random_seed(0)
    model = keras_vae.series_vae(made.schema, 3, (4, 6), 3, seed=0)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(made.train, batch_size=64, epochs=2, verbose=0)
    detector, folder = keras_vae.AnomalyDetector(model).calibrate(made.calibration), new_folder()
    variants = [(format, "none") for format in FORMATS]
    export.export_files(detector, variants, GRAPHS, folder)
    return detector, made, folder


@pytest.mark.parametrize("format", FORMATS)
def test_a_scorer_takes_what_sensors_read(format):
    detector, made, folder = exported_series()
    run = export.module_of(format).load(folder / f"scorer.{format}")
    windows, labels = made.windows("test")[:16], made.test["mode"][:16]
    found = run({"x": windows, "mode": labels})
    given = {"x": made.test["x"][:16], "mode": labels}
    np.testing.assert_allclose(found["score"], detector.score(given), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["p_value"], detector.p_value(given), atol=1e-3)
    reconstructed = made.schema.decode(detector.model.reconstruct(given))
    np.testing.assert_allclose(found["x_reconstructed"], reconstructed, rtol=1e-5)
    np.testing.assert_allclose(found["contribution"].sum(axis=(1, 2)), found["score"], rtol=1e-4)


# Of windows in standard deviations, of codes and scores in their spread, of p-values as they are.
# Measured: 1.5e-4 and 7.3e-4.
LOSSES = {"float16": 6e-4, "int8": 3e-3}


@functools.cache
def wide_detector():
    """Of a model with enough weights to be stored in fewer bits, not trained."""
    _, made, _ = exported_series()
    keras.utils.set_random_seed(1)
    model = keras_vae.series_vae(made.schema, 3, (24, 48), seed=0)
    model.build()
    return keras_vae.AnomalyDetector(model).calibrate(made.calibration)


@converts_here
@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize(
    ("format", "quantize"),
    [
        ("onnx", "int8"),
        ("onnx", "float16"),
        ("tflite", "int8"),
        ("tflite", "float16"),
    ],
)
@pytest.mark.slow
def test_fewer_bits_change_little(format, quantize, tmp_path):
    _, made, _ = exported_series()
    detector, loss = wide_detector(), LOSSES[quantize]
    given = {"x": made.windows("train").astype("float32"), "mode": made.train["mode"]}
    of_data = export.export(
        detector, format, ("scorer", "encoder"), quantize, tmp_path, calibration_data=given
    )
    sampler = export.export(detector, format, "sampler", quantize, tmp_path)
    score, encode, sample = map(export.module_of(format).load, (*of_data, sampler))
    test = {"x": made.windows("test").astype("float32"), "mode": made.test["mode"]}
    asked = {"seed": np.array([7], "int32"), "temperature": np.ones(1, "float32")}
    asked |= {"index": np.arange(3, dtype="int32"), "mode": np.array([0, 1, 2], "int32")}
    model, std = detector.model, made.schema.std
    scores, (z_mean, _), found = detector.score(made.test), model.encode(made.test), score(test)
    drawn = made.schema.decode(model.sample({"mode": [0, 1, 2]}, seed=7))
    reconstructed = made.schema.decode(model.reconstruct(made.test))
    off = {
        "score": (found["score"] - scores) / np.ptp(scores),
        "p_value": found["p_value"] - detector.p_value(made.test),
        "z_mean": (encode(test)["z_mean"] - z_mean) / np.ptp(z_mean),
        "x_reconstructed": (found["x_reconstructed"] - reconstructed) / std,
        "x": (sample(asked)["x"] - drawn) / std,
    }
    off = {name: float(np.abs(by).max()) for name, by in off.items()}
    assert max(off.values()) < loss, off
    assert min(off.values()) > loss / 500, off  # something is rounded
    told = export.module_of(format).read_manifest(of_data[0])
    assert told["quantization"] == quantize
    keeps_calibration = told["calibration"] == detector.calibration.manifest()
    assert keeps_calibration is (quantize == "float16")


@pytest.mark.parametrize("format", FORMATS)
def test_a_sampler_gives_what_sensors_would_read(format):
    detector, made, folder = exported_series()
    run = export.module_of(format).load(folder / f"sampler.{format}")
    asked = {"seed": np.array([7], "int32"), "temperature": np.ones(1, "float32")}
    asked["index"] = np.arange(3, dtype="int32")
    found = run({"mode": np.array([0, 1, 2], "int32"), **asked})["x"]
    drawn = detector.model.sample({"mode": [0, 1, 2]}, seed=7)
    np.testing.assert_allclose(found, made.schema.decode(drawn), rtol=1e-5)
    assert 1500 < found[..., 1].mean() < 2500


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_manifest_says_what_the_channels_are(graph, format):
    _, made, folder = exported_series()
    told = export.module_of(format).read_manifest(folder / f"{graph}.{format}")
    assert told["data"] == made.schema.manifest()
    assert told["data"]["channels"][0]["name"] == "flow"
    assert told["takes_pictures"] is False
    assert told["range"] is None
    assert told.get("standardised", False) is (graph == "reconstructor")
    if graph == "reconstructor":
        assert len(told["likelihood_scale"]) == 2


@converts_here
@pytest.mark.parametrize("graph", ["scorer", "encoder", "decoder", "reconstructor"])
def test_a_report_tells_the_elbo_of_standardised_windows(graph, tmp_path):
    from export import report

    detector, made, folder = exported_series()
    reporter = report.Reporter(detector.model, graph, data=columns_of(3000))
    scores = detector.score({name: values[: report.HELD_OUT] for name, values in made.test.items()})
    if graph == "reconstructor":
        assert reporter.baseline["elbo"] is None
        return
    assert reporter.baseline["elbo"] == pytest.approx(-scores.mean(), rel=1e-4)
    row, _ = reporter.measure(folder / f"{graph}.onnx", export.module_of("onnx"))
    assert abs(row.elbo_change) < 1e-3


@converts_here
def test_a_wrong_unit_is_seen():
    from export import graphs, parity

    detector, *_ = exported_series()
    graph = graphs.scorer(detector.model)
    [batch] = parity.reference(graph)[16][:1]
    made = {name: array.copy() for name, array in batch.outputs.items()}
    made["x_reconstructed"][:, :, 0] *= 1.001
    with pytest.raises(parity.ParityError, match="`x_reconstructed`"):
        parity._compare(lambda _: made, [batch], "none", 16, "file")
