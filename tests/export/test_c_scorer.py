"""A scorer as a C file scores as Keras does, and refuses what it cannot hold."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import c, graphs, quantization
from keras_vae import networks
from tests.conftest import ordinary_on
from tests.export.test_c import needs_compiler, refused
from tests.export.test_parity import converts_here

pytestmark = [converts_here, ordinary_on("tensorflow")]
SHAPE = (5, 2)
MODES = {"mode": keras_vae.Categorical(names=["idle", "busy"])}
OUTPUTS = {"score", "p_value", "contribution", "x_reconstructed"}


def examples(rows, seed, likelihood):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, *SHAPE))
    x = 1 / (1 + np.exp(-x)) if likelihood == "bernoulli" else x
    return {"x": x.astype("float32"), "mode": rng.integers(0, 2, rows).astype("int32")}


@functools.cache
def detector_of(likelihood="gaussian", score="negative_elbo", hidden=(8,)):
    """Of weights that a file holds as they are, so that it differs by rounding in float32.

    These are few, or lie on the grid of int8.
    """
    keras.utils.set_random_seed(3)
    gaussian = keras_vae.likelihoods.Gaussian(0.7)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(3, hidden),
        networks.DenseDecoder(SHAPE, hidden),
        MODES,
        likelihood=gaussian if likelihood == "gaussian" else likelihood,
        seed=1,
    )
    model.build((None, *SHAPE))
    for weight in model.trainable_variables:
        if len(weight.shape) == 2 and np.prod(weight.shape) >= quantization.SMALLEST_WEIGHT:
            kernel = keras.ops.convert_to_numpy(weight).astype("float64").T
            levels, scales = quantization.as_int8(kernel, axis=0)
            weight.assign((levels * np.reshape(scales, (-1, 1))).T)
    return keras_vae.AnomalyDetector(model, score).calibrate(examples(400, 1, likelihood))


@needs_compiler
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(
    ("score", "hidden"),
    [
        ("negative_elbo", (8,)),
        ("reconstruction", (9, 6)),
        pytest.param("negative_elbo", (), marks=pytest.mark.slow),
        pytest.param("negative_elbo", (128,), marks=pytest.mark.slow),
    ],
)
def test_it_scores_as_the_detector_does(likelihood, score, hidden, tmp_path):
    detector = detector_of(likelihood, score, hidden)
    data = examples(256, 4, likelihood)
    path = export.export(detector, "c", "scorer", "int8", tmp_path, calibration_data=data)
    assert ("int8_t weights" in path.read_text()) is (hidden == (128,))
    given = examples(64, 2, likelihood)
    given["mode"][::3] = 2  # unknown
    made = c.load(path)(given)
    assert set(made) == OUTPUTS
    np.testing.assert_allclose(made["score"], detector.score(given), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(made["p_value"], detector.p_value(given), atol=1e-5)
    expected = detector.contributions(given)
    np.testing.assert_allclose(made["contribution"], expected, rtol=1e-4, atol=1e-5)
    sums = made["contribution"].sum(axis=(1, 2))
    np.testing.assert_allclose(made["score"], sums, rtol=1e-5, atol=1e-5)
    assert c.read_manifest(path)["calibration"]["group_of_class"] == [1, 2, 0]


@needs_compiler
def test_what_is_no_number_or_no_class_is_refused(tmp_path):
    data = examples(256, 4, "gaussian")
    path = export.export(detector_of(), "c", "scorer", "int8", tmp_path, calibration_data=data)
    for wrong in (np.nan, np.inf):
        given = examples(3, 2, "gaussian")
        given["x"][1, 2, 0] = wrong
        with pytest.raises(ValueError, match="refuses example 1"):
            c.load(path)(given)
    for label in (-1, 3):
        given = {**examples(1, 2, "gaussian"), "mode": np.array([label], "int32")}
        with pytest.raises(ValueError, match="refuses example 0"):
            c.load(path)(given)


def test_scorers_of_other_networks_and_scores_are_refused():
    class Encoder(networks.DenseEncoder):
        """An encoder of the user's own."""

    model = keras_vae.VAE(Encoder(2, (4,)), networks.DenseDecoder((4,), (4,)))
    model.build((None, 4))
    with refused("scorers of: ConvEncoder, Conv1DEncoder, DenseEncoder", "Encoder"):
        c.convert(graphs.scorer(model))
    model = keras_vae.VAE(networks.DenseEncoder(2, (4,)), networks.DenseDecoder((4,), (4,)))
    model.build((None, 4))
    model.scoring = dataclasses.replace(model.scoring, score="negative_log_likelihood")
    with refused("scorers of: negative_elbo and reconstruction", "negative_log_likelihood"):
        c.convert(graphs.scorer(model))
