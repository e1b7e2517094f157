"""A VAE's files compute what it computes, whatever its posterior."""

import functools
import tempfile

import keras
import numpy as np
import pytest

import export
import keras_vae
from keras_vae import networks
from tests import oracles
from tests.export.exported import FORMATS, GRAPHS
from tests.export.test_parity import converts_here

pytestmark = [converts_here, pytest.mark.usefixtures("one_signature")]

SHAPE = (8, 8, 1)
DIMS, UNITS = (4, 3, 2), (12, 8, 6)
X = np.random.default_rng(3).uniform(size=(16, *SHAPE)).astype("f4")
LABEL = (np.arange(16) % 4).astype("int32")  # the last is unknown
INPUTS = {"x": X, "label": LABEL}
POSTERIORS = (
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("full_covariance", "conv_ladder")),
    "ladder",
)
STAGES = {"latent_channels": (1, 2), "hidden_units": (4, 6), "levels": 2}


def make(posterior):
    """An untrained model with a posterior."""
    parts = {
        "full_covariance": lambda: (
            networks.DenseEncoder(3, (8,)),
            networks.DenseDecoder(SHAPE, (8,)),
        ),
        "conv_ladder": lambda: (
            networks.ConvLadderEncoder(SHAPE, **STAGES),
            networks.ConvLadderDecoder(SHAPE, **STAGES),
        ),
        "ladder": lambda: (
            networks.LadderEncoder(DIMS, UNITS),
            networks.LadderDecoder(SHAPE, DIMS, UNITS),
        ),
    }[posterior]()
    kinds = {"label": keras_vae.Categorical(3, "abc")}
    model = keras_vae.ConditionalVAE(
        *parts, condition=kinds, posterior=posterior.removeprefix("conv_")
    )
    model.build()
    rng, spread = np.random.default_rng(1), 0.2 if posterior == "conv_ladder" else 0.4
    for weight in (*model.encoder.weights, *model.decoder.weights):
        weight.assign(rng.normal(size=weight.shape) * spread)
    return model


@functools.cache
def made(posterior):
    """As `make`, and the folder of the model's exported files."""
    model = make(posterior)
    folder = tempfile.TemporaryDirectory()
    variants = [(format, "none") for format in FORMATS]
    export.export_files(model, variants, GRAPHS, folder.name)
    return model, folder


def load(posterior, graph, format):
    return export.module_of(format).load(f"{made(posterior)[1].name}/{graph}.{format}")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_encoder_gives_what_encode_gives(posterior, format):
    model, _ = made(posterior)
    found = load(posterior, "encoder", format)(INPUTS)
    for name, expected in zip(("z_mean", "z_log_var"), model.encode(INPUTS), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_scorer_gives_the_negative_elbo_at_the_mean(posterior, format):
    model, _ = made(posterior)
    found = load(posterior, "scorer", format)(INPUTS)
    z_mean, z_log_var = (array.astype("f8") for array in model.encode(INPUTS))
    kl = oracles.gaussian_kl(z_mean, z_log_var)
    if posterior == "full_covariance":
        # Half the log of what independent entries would have as a determinant over the true one.
        one_hot = np.eye(4, dtype="f4")[LABEL][:, :3]
        _, log_var, _ = model.encoder([X, one_hot])
        kl += 0.5 * np.sum(z_log_var - keras.ops.convert_to_numpy(log_var), axis=1)
        assert np.std(kl) > 0.1
    p = model.reconstruct(INPUTS).astype("f8").reshape(16, -1)
    x = X.reshape(16, -1).astype("f8")
    nats = -np.sum(x * np.log(p) + (1 - x) * np.log1p(-p), axis=1)
    np.testing.assert_allclose(found["score"], nats + kl, rtol=3e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_decoder_and_sampler_draw_what_the_model_draws(posterior, format):
    model, _ = made(posterior)
    inputs = {"label": LABEL, "seed": np.array([9], "int32"), "temperature": np.ones(1, "f4")}
    found = load(posterior, "sampler", format)(inputs)
    code = model.prior.sample(16, model.latent_dim, seed=9)
    np.testing.assert_array_equal(found["z"].view("u4"), code.view("u4"))
    expected = model.sample({"label": LABEL}, seed=9)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found["x"], expected, rtol=0, atol=4e-6)
    decoded = load(posterior, "decoder", format)({"z": code, "label": LABEL})
    np.testing.assert_allclose(decoded["x"], expected, rtol=0, atol=4e-6)
