"""Encoders and scorers of series as C files compute what Keras does, in units."""

import functools

import keras
import numpy as np
import pytest

import keras_vae
from export import c, graphs, quantization
from keras_vae import data, networks
from tests.export.test_c import needs_compiler, refused, sanitized
from tests.export.test_parity import converts_here

pytestmark = converts_here
UNITS = {"flow": "l/min", "bar": "mbar"}


@functools.cache
def series_of(window, has_modes):
    time = np.arange(700)
    noise = np.random.default_rng(0).normal(0, 0.2, (2, 700))
    columns = {"flow": 20 + np.sin(time / 5) + noise[0], "bar": 2000 + 50 * noise[1]}
    if has_modes:
        columns["mode"] = np.array(["idle", "busy"], object)[(time // 40) % 2]
    conditions = "mode" if has_modes else ()
    return data.series(columns, window, 1, conditions=conditions, units=UNITS, calibration=0.6)


@functools.cache
def detector_of(
    window=13, causal=False, has_modes=True, score="negative_elbo", dense=False, on_grid=True
):
    """Of weights that a file holds as they are: few, or on the grid of int8, unless asked."""
    keras.utils.set_random_seed(2)
    schema = series_of(window, has_modes).schema
    model = keras_vae.series_vae(schema, 3, (6, 40), 5, causal, seed=0)
    if dense:
        model = keras_vae.VAE(
            networks.DenseEncoder(3, (50,)),
            networks.DenseDecoder(schema.shape, (50,)),
            likelihood=keras_vae.likelihoods.Gaussian(0.4),
            schema=schema,
        )
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values, shape = keras.ops.convert_to_numpy(weight).astype("float64"), weight.shape
        if weight.path.endswith("moving_variance"):
            values = 0.5 + rng.random(shape)
        elif weight.path.endswith(("moving_mean", "beta", "bias")):
            values = 0.3 * rng.standard_normal(shape)
        elif "log_scale" in weight.path and shape:
            values = np.array([-0.2, 0.1])
        elif on_grid and len(shape) > 1 and np.prod(shape) >= quantization.SMALLEST_WEIGHT:
            levels, scales = quantization.as_int8(values, axis=-1)
            values = levels * scales
        weight.assign(values)
    return keras_vae.AnomalyDetector(model, score).calibrate(
        series_of(window, has_modes).calibration
    )


def written(graph, folder, **options):
    path = folder / f"{graph}.c"
    c.write(c.convert(graphs.BUILDERS[graph](detector_of(**options).model)), path)
    return path


def inputs_of(window=13, has_modes=True, **_):
    """Windows in units, as a file takes them, and the same as the model takes them."""
    made = series_of(window, has_modes)
    x = made.windows("test")[:24].astype("float32")
    if not has_modes:
        return {"x": x}, made.schema.encode(x)
    mode = np.arange(24, dtype="int32") % 3  # 2 is unknown
    standardised = (x - made.schema.mean) / made.schema.std
    return {"x": x, "mode": mode}, {"x": standardised, "mode": mode}


CASES = [
    {},
    {"causal": True},
    {"window": 16, "has_modes": False, "score": "reconstruction"},
    {"window": 9, "has_modes": False, "causal": True},
    {"window": 12, "has_modes": False, "dense": True},
]


@needs_compiler
@pytest.mark.parametrize("options", CASES, ids=str)
def test_a_scorer_scores_as_the_detector_does(options, tmp_path):
    detector, (given, taken) = detector_of(**options), inputs_of(**options)
    path = written("scorer", tmp_path, **options)
    made = c.load(path)(given)
    assert "int8_t weights" in path.read_text()
    assert "float weights" in path.read_text()
    np.testing.assert_allclose(made["score"], detector.score(taken), rtol=2e-5)
    np.testing.assert_allclose(made["p_value"], detector.p_value(taken), atol=2e-5)
    expected = detector.contributions(taken)
    np.testing.assert_allclose(made["contribution"], expected, rtol=1e-3, atol=1e-4)
    schema = detector.model.schema
    reconstructed = schema.decode(detector.model.reconstruct(taken))
    np.testing.assert_allclose(made["x_reconstructed"], reconstructed, rtol=2e-6)


@needs_compiler
def test_what_rounding_costs_is_little(tmp_path):
    detector, (given, taken) = detector_of(on_grid=False), inputs_of()
    made = c.load(written("scorer", tmp_path, on_grid=False))(given)
    scores = detector.score(taken)
    off = np.abs(made["score"] - scores).max() / np.ptp(scores)
    # Measured: 0.0037 of the spread of scores, and 0.0054.
    assert 1e-5 < off < 0.01
    assert np.abs(made["p_value"] - detector.p_value(taken)).max() < 0.01


@needs_compiler
@pytest.mark.parametrize("options", CASES, ids=str)
def test_an_encoder_gives_the_code(options, tmp_path):
    detector, (given, taken) = detector_of(**options), inputs_of(**options)
    made = c.load(written("encoder", tmp_path, **options))(given)
    assert list(made) == ["z_mean", "z_log_var"]
    for found, expected in zip(made.values(), detector.model.encode(taken), strict=True):
        assert expected.std() > 0.01
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@needs_compiler
def test_windows_without_a_schema_are_taken_as_they_are(tmp_path):
    keras.utils.set_random_seed(0)
    likelihood = keras_vae.likelihoods.Gaussian("optimal", channels=3)
    model = keras_vae.VAE(
        networks.Conv1DEncoder(2, (4,), batch_normalization=False),
        networks.Conv1DDecoder((7, 3), (4,), kernel_size=4),
        likelihood=likelihood,
    )
    model.build()
    likelihood.position.assign([-0.3, 0.0, 0.1])
    x = np.random.default_rng(0).standard_normal((5, 7, 3)).astype("float32")
    for graph in ("scorer", "encoder", "decoder"):
        c.write(c.convert(graphs.BUILDERS[graph](model)), tmp_path / f"{graph}.c")
    made = c.load(tmp_path / "scorer.c")({"x": x})
    detector = keras_vae.AnomalyDetector(model)
    np.testing.assert_allclose(made["score"], detector.score(x), rtol=1e-5)
    np.testing.assert_allclose(made["contribution"], detector.contributions(x), rtol=1e-4)
    z = c.load(tmp_path / "encoder.c")({"x": x})["z_mean"]
    np.testing.assert_allclose(z, model.encode(x)[0], atol=1e-6)
    made = c.load(tmp_path / "decoder.c")({"z": z})["x"]
    # Of weights in 8 bits, measured: 0.004.
    np.testing.assert_allclose(made, model.decode(z), atol=0.02)


@needs_compiler
def test_an_encoder_of_pictures_is_held_to_the_range_of_its_variance(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras_vae.VAE(networks.DenseEncoder(2, (4,)), networks.DenseDecoder((3, 3, 1), (4,)))
    model.build()
    model.encoder.z_log_var.bias.assign([-100.0, 50.0])
    c.write(c.convert(graphs.encoder(model)), tmp_path / "encoder.c")
    x = np.random.default_rng(0).random((5, 3, 3, 1), "float32")
    made = c.load(tmp_path / "encoder.c")({"x": x})
    np.testing.assert_allclose(made["z_mean"], model.encode(x)[0], atol=1e-6)
    np.testing.assert_array_equal(made["z_log_var"], np.tile([-30.0, 20.0], (5, 1)))


@needs_compiler
@pytest.mark.parametrize("graph", ["encoder", "scorer"])
def test_what_is_no_number_or_no_class_is_refused(graph, tmp_path):
    run, (given, _) = c.load(written(graph, tmp_path)), inputs_of()
    for wrong in (np.nan, np.inf):
        x = given["x"].copy()
        x[1, 2, 0] = wrong
        with pytest.raises(ValueError, match="refuses example 1"):
            run({**given, "x": x})
    with pytest.raises(ValueError, match="refuses example 0"):
        run({**given, "mode": given["mode"] - 1})


MAIN = """\
#include <stdio.h>
#include "scorer.h"
static const float x[] = {%s};
int main(void)
{
    static float work[SCORER_WORK_SIZE], added[SCORER_SIZE], made[SCORER_SIZE];
    float score, p_value;
    if (scorer_run(x, 1, &score, &p_value, added, made, work)) {
        return 2;
    }
    printf("%%.9g", score);
    return SCORER_STEPS == 13 && SCORER_CHANNELS == 2 ? 0 : 3;
}
"""


@needs_compiler
def test_a_program_stays_within_its_buffers(tmp_path):
    written("scorer", tmp_path)
    given, taken = inputs_of()
    assert '13 x 2: as the sensors give them, "flow" in "l/min", "bar" in "mbar"' in " ".join(
        (tmp_path / "scorer.h").read_text().replace(" *", " ").split()
    )
    (tmp_path / "main.c").write_text(MAIN % ", ".join(f"{v:.9e}f" for v in given["x"][1].flat))
    assert sanitized(tmp_path, "scorer.c") == pytest.approx(detector_of().score(taken)[1], rel=2e-5)
    assert "alloc" not in (tmp_path / "scorer.c").read_text().split("/* signature")[0]


@needs_compiler
@pytest.mark.parametrize("graph", ["decoder", "sampler", "reconstructor"])
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_windows_are_made_in_units(graph, quantize, tmp_path):
    made = graphs.BUILDERS[graph](detector_of().model)
    c.write(c.convert(made, quantize), tmp_path / f"{graph}.c")
    given = made.draw(8, np.random.default_rng(0))
    found = c.load(tmp_path / f"{graph}.c")(given)
    for name, expected in made.evaluate(given).items():
        scale = np.abs(expected).reshape(-1, expected.shape[-1]).max(axis=0)
        # Measured: 4e-7 and 0.003 of each channel's size.
        bound = {"none": 3e-6, "int8": 0.01}[quantize]
        np.testing.assert_allclose(found[name] / scale, expected / scale, rtol=0, atol=bound)


def test_other_codes_are_refused():
    decoder = networks.DenseDecoder((8, 8, 1), (4,))
    model = keras_vae.VAE(networks.DenseEncoder(2, (4,)), decoder, posterior="full_covariance")
    model.build((None, 8, 8, 1))
    with refused("encoders of: ", "FullCovarianceNormal"):
        c.convert(graphs.encoder(model))
