"""A file with rounded weights holds p-values of its own scores, where that can be."""

import contextlib
import functools

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import examples as known_examples
from export import file_calibration, graphs, quantization, told_calibration
from keras_vae import data, networks
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS
from tests.export.test_c import needs_compiler
from tests.export.test_parity import converts_here

pytestmark = [converts_here, ordinary_on("tensorflow"), pytest.mark.usefixtures("one_signature")]
SHAPE = (8, 4)
MODES = {"mode": keras_vae.Categorical(names=["idle", "busy"])}
COUNT = 400


def examples(rows, seed):
    rng = np.random.default_rng(seed)
    mode = rng.integers(0, 2, rows).astype("int32")
    x = rng.standard_normal((rows, *SHAPE)) * (0.2 + 0.1 * mode)[:, None, None]
    return {"x": x.astype("float32"), "mode": mode}


@functools.cache
def detector_of(score="negative_elbo"):
    keras.utils.set_random_seed(3)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (256,)),
        networks.DenseDecoder(SHAPE, (256,)),
        MODES,
        likelihood=keras_vae.likelihoods.Gaussian(0.3),
        seed=1,
    )
    model.build((None, *SHAPE))
    model.encoder.z_mean.bias.assign([1.0, -1.0])
    return keras_vae.AnomalyDetector(model, score).calibrate(examples(COUNT, 1))


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Round so coarsely that scores move by much, for such small models."""

    @contextlib.contextmanager
    def rounded(graph, inputs):
        kernel = graph.model.decoder.outputs_dense.kernel
        given = keras.ops.convert_to_numpy(kernel)
        step = np.abs(given).max() / 4
        kernel.assign(np.round(given / step) * step)
        try:
            yield
        finally:
            kernel.assign(given)

    monkeypatch.setattr(quantization, "rounded", rounded)


def rank_p_values(own, labels, scores, of):
    """The conformal p-values of each class by their definition, float64."""
    found = np.empty(len(scores))
    for k in np.unique(of):
        kept = own[labels == k]
        at_least = (kept[None] >= scores[of == k, None]).sum(axis=1)
        found[of == k] = (1 + at_least) / (len(kept) + 1)
    return found


def exported(format, folder, graph="scorer", quantize="int8", model=None, **given):
    """The function of a file, what its manifest says of the calibration, and the report's words."""
    given = given or {"calibration_data": examples(COUNT, 7)}
    [(path, report)] = export.export_files(
        model or detector_of(), [(format, quantize)], [graph], folder, **given
    )
    module = export.module_of(format)
    return module.load(path), module.read_manifest(path)["calibration"], report.p_values


@pytest.mark.parametrize("format", [*FORMATS, pytest.param("c", marks=needs_compiler)])
def test_p_values_are_those_of_what_the_file_scores(format, tmp_path):
    detector, given = detector_of(), examples(300, 2)
    run, told, words = exported(format, tmp_path)
    held_out, made = examples(COUNT, 1), run(given)
    own = run(held_out)["score"]
    expected = rank_p_values(own, held_out["mode"], made["score"], given["mode"])
    # A line between two scores is up to a step above: measured 0.018, of 195 and 205 examples.
    assert np.abs(made["p_value"] - expected).max() < 0.025
    # By the model's scores they are off by 0.042.
    stale = detector.calibration.p_values(made["score"].astype("f8"), given["mode"])
    assert np.abs(stale - expected).max() > 0.035
    assert words == "p-values by its own scores of 400 examples"
    assert told["groups"][0]["count"] == COUNT
    assert min(told["groups"][0]["scores"]) == pytest.approx(own.min(), rel=1e-5)
    assert told["group_of_class"] == [1, 2, 0]
    # The model keeps its own.
    assert detector.calibration.manifest() != told


def test_where_the_examples_are_not_at_hand_the_report_says_how_far_p_values_are_off(tmp_path):
    detector = detector_of()
    run, told, words = exported("onnx", tmp_path, model=detector.model)
    assert told == detector.calibration.manifest()
    given = examples(COUNT, 7)
    off = np.abs(run(given)["p_value"] - detector.p_value(given))
    assert (
        words == f"p-values by the model's scores, off by {off.mean():.1g}, at most {off.max():.1g}"
    )


@pytest.mark.parametrize("graph", ["scorer", "reconstructor"])
def test_examples_are_known_by_the_p_values_that_they_make(graph):
    detector = detector_of("reconstruction")
    scorer, right = graphs.scorer(detector.model), examples(COUNT, 1)
    wrong = [None, examples(COUNT, 5), examples(COUNT - 1, 1), {"x": right["x"]}]
    assert file_calibration.examples_of(scorer, wrong) is None
    found = file_calibration.examples_of(scorer, [*wrong, right])
    np.testing.assert_array_equal(found["x"], right["x"])
    made = graphs.BUILDERS[graph](detector.model)
    for candidates, is_known in ((wrong, False), ([right], True)):
        scored = file_calibration.scored(made, candidates, examples(50, 3))
        assert scored.are_known is is_known
        expected = detector.score(right if is_known else examples(50, 3))
        np.testing.assert_allclose(scored.scores, expected, rtol=1e-4, atol=1e-3)


def test_a_reconstructors_manifest_holds_what_is_scored_beside_it(tmp_path):
    detector, held_out = detector_of("reconstruction"), examples(COUNT, 1)
    given = {"calibration_data": examples(COUNT, 7), "model": detector}
    run, told, words = exported("tflite", tmp_path, "reconstructor", "int8-full", **given)
    error = (held_out["x"] - run(held_out)["x_reconstructed"]).astype("f8") / 0.3
    own = np.sum(error**2 / 2 + np.log(0.3 * np.sqrt(2 * np.pi)), axis=(1, 2))
    assert words == "p-values by its own scores of 400 examples"
    assert max(told["groups"][0]["scores"][:-1]) == pytest.approx(own.max(), rel=1e-4)
    assert detector.score(held_out).max() != pytest.approx(own.max(), rel=1e-3)


def test_files_that_are_not_rounded_and_other_graphs_keep_the_calibration():
    model = detector_of().model
    assert file_calibration.is_asked(graphs.scorer(model), "int8")
    for graph, quantize in (("scorer", "float16"), ("encoder", "int8"), ("reconstructor", "int8")):
        assert not file_calibration.is_asked(graphs.BUILDERS[graph](model), quantize)
    assert "likelihood_scale" in told_calibration.of(graphs.reconstructor(model))


def test_p_values_of_other_scores_are_refused(tmp_path):
    detector = detector_of()
    run, *_ = exported("onnx", tmp_path)
    graph = graphs.scorer(detector.model)
    with pytest.raises(export.ExportError, match="must be those of its own scores"):
        file_calibration.check(graph, run, examples(COUNT, 1))
    file_calibration.check(graph, graph.evaluate, examples(COUNT, 1))


def test_a_series_is_calibrated_by_the_part_for_it():
    time = np.arange(1500)
    columns = {"flow": 20 + np.sin(time / 5), "mode": np.array(["a", "b"])[(time // 300) % 2]}
    made = data.series(columns, 8, 1, conditions="mode")
    keras.utils.set_random_seed(0)
    model = keras_vae.series_vae(made.schema, 2, (4,), 3, seed=0)
    model.build()
    detector = keras_vae.AnomalyDetector(model).calibrate(made.calibration)
    graph = graphs.scorer(model)
    known = known_examples.calibrating(model, None, columns, [None])
    from_data = file_calibration.examples_of(graph, known)
    from_detector = file_calibration.as_graphs_take(model, detector.calibrated_by)
    np.testing.assert_allclose(from_detector["x"], from_data["x"], rtol=1e-6)
    np.testing.assert_array_equal(from_detector["mode"], from_data["mode"])
    np.testing.assert_allclose(from_data["x"], made.windows("calibration"), rtol=1e-6)
    assert file_calibration.examples_of(graph, [from_detector]) is not None


def test_pictures_and_tables_are_taken_as_graphs_take_them():
    model = detector_of().model
    given = {"x": np.full((2, *SHAPE), 255, "uint8"), "mode": np.zeros(2, "int32")}
    assert file_calibration.as_graphs_take(model, given)["x"].max() == 1.0
    columns = {"age": np.array([31.0, np.nan, 45.0] * 20), "job": np.array(["a", "b", None] * 20)}
    table = data.table(columns)
    model = keras_vae.table_vae(table.schema, 2, (4,))
    model.build()
    found = file_calibration.as_graphs_take(model, table.train)
    assert set(found) == {spec.name for spec in graphs.scorer(model).inputs}
    assert quantization.calibration(graphs.scorer(model), found)
