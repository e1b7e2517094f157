"""Every likelihood leaves in both formats: its mean by the decoder, the bound by the scorer."""

import json
import random

import numpy as np
import pytest

import export
import keras_vae
from export import graphs, manifest, onnx, tflite
from keras_vae import likelihoods
from keras_vae.networks import DenseDecoder, DenseEncoder
from tests.export.exported import VARIANTS
from tests.export.test_parity import converts_here

pytestmark = [converts_here, pytest.mark.usefixtures("one_signature")]

SHAPE = (2, 3, 3)
EACH = [
    likelihoods.ContinuousBernoulli(),
    likelihoods.Gaussian("shared"),
    likelihoods.Laplace("per_pixel"),
    likelihoods.DiscretizedLogisticMixture(2),
    likelihoods.Categorical(5),
]


@pytest.mark.parametrize(
    "likelihood",
    [
        pytest.param(each, id=each.name, marks=() if index in (1, 3) else pytest.mark.slow)
        for index, each in enumerate(EACH)
    ],
)
def test_decoder_and_scorer_compute_what_the_model_computes(likelihood, tmp_path):
    random.seed(0)
    model = keras_vae.VAE(DenseEncoder(2, (4,)), DenseDecoder(SHAPE, (4,)), likelihood=likelihood)
    model.build()
    if likelihood.name == "gaussian":
        likelihood.position.assign(-0.15)
    # Raises where a file and its model differ: by 1e-5 of the largest value at most.
    export.export_files(model, VARIANTS, ["decoder", "scorer"], tmp_path)
    bounded = likelihood.name not in ("gaussian", "laplace")
    ranges = [
        module.read_manifest(tmp_path / f"{graph}.{module.__name__.split('.')[1]}")["range"]
        for module in (tflite, onnx)
        for graph in ("decoder", "scorer")
    ]
    assert ranges == [ranges[0]] * 4  # one for a model
    low, high = ranges[0]
    assert low < high
    if not bounded:
        samples = model.sample(500, seed=5)
        # Of 64 samples, and wide enough for these; measured: 0.999 of the values.
        assert np.mean((samples >= low) & (samples <= high)) > 0.95
        assert high - low < 2 * np.ptp(samples)
        # What the model makes may lie anywhere; images that are named lie in [0, 1].
        assert manifest.range_of(graphs.decoder(model), known=True) == [0.0, 1.0]
    x = np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype("float32")
    outputs = model(x, draw=False, training=False)
    parameters = np.asarray(outputs["parameters"])
    expected = np.asarray(outputs["kl"]) - np.asarray(likelihood.log_prob(x, parameters))
    for module, suffix in ((tflite, "tflite"), (onnx, "onnx")):
        path = tmp_path / f"scorer.{suffix}"
        found = json.loads(json.dumps(module.read_manifest(path)))
        assert found["likelihood"] == likelihood.name
        assert found["data_range"] == ([0, 1] if bounded else None)
        if bounded:
            assert found["range"] == [0, 1]
        # The bound of every file's parity.
        made = module.load(path)({"x": x})
        np.testing.assert_allclose(made["score"], expected, rtol=1e-5)
        assert made["x_reconstructed"].shape == (3, *SHAPE)
