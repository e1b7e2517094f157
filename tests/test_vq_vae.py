"""The model of codes: its loss, its codebook's state in training, its prior."""

import random

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import evaluation
from keras_vae.layers import FiniteScalarQuantizer, VectorQuantizer
from tests import oracles
from tests.conftest import BACKEND, ordinary_on
from tests.test_training import Batches

pytestmark = ordinary_on("torch")


def make(quantizer=None, **compile_options):
    """A compiled model of the `images`, 6 by 5, with a grid of 3 by 3."""
    random.seed(1)
    networks = keras_vae.networks
    quantizer = quantizer or VectorQuantizer(6, 3, seed=2)
    model = keras_vae.VQVAE(
        networks.ConvGridEncoder(quantizer.dim, (4,)),
        networks.ConvGridDecoder((6, 5, 1), (4,)),
        quantizer,
        seed=3,
    )
    model.compile(keras.optimizers.Adam(1e-2), **compile_options)
    return model


def state(model):
    return [ops.convert_to_numpy(v) for v in model.variables]


def assert_same(one, other, **tolerance):
    for a, b in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(a, b, **tolerance or {"rtol": 0})


def test_the_loss_is_the_reconstruction_and_the_commitment(images):
    x, _ = images
    model = make(VectorQuantizer(6, 3, commitment_weight=0.7, seed=2))
    model.fit(x, batch_size=16, verbose=0)
    z = ops.convert_to_numpy(model.encoder(x, training=False)).astype("float64")
    codebook = ops.convert_to_numpy(model.quantizer.codebook).astype("float64")
    codes = oracles.nearest_codes(z.reshape(-1, 3), codebook).reshape(48, 3, 3)
    commitment = ((z - codebook[codes]) ** 2).sum(axis=(1, 2, 3)).mean()
    logits = ops.convert_to_numpy(model.decoder(codebook[codes].astype("float32")))
    nats = oracles.binary_cross_entropy(x.astype("float64"), logits.astype("float64")).mean()
    for batch_size in (48, 20):
        measured = model.evaluate(x, batch_size=batch_size, return_dict=True, verbose=0)
        expected = {
            "loss": nats + 0.7 * commitment,
            "reconstruction_loss": nats,
            "commitment_loss": commitment,
            "perplexity": oracles.perplexity(codes, 6),
        }
        assert set(measured) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(measured[name], value, rtol=3e-6, err_msg=name)
    np.testing.assert_array_equal(model.encode(x), codes)
    found = evaluation.evaluate(model, x)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=3e-6, err_msg=name)
    mean = model.reconstruct(x).astype("float64")
    np.testing.assert_allclose(found["mean_squared_error"], ((mean - x) ** 2).mean(), rtol=1e-5)
    assert found["codes_used"] == len(set(codes.reshape(-1))) / 6


def test_a_sample_weight_multiplies_both_terms(images):
    x, _ = images
    model = make()
    model.fit(x, verbose=0)
    plain = model.evaluate(x, batch_size=48, return_dict=True, verbose=0)
    weighted = model.evaluate(
        x, batch_size=48, sample_weight=np.full(48, 2.0), return_dict=True, verbose=0
    )
    for name in ("loss", "reconstruction_loss", "commitment_loss"):
        np.testing.assert_allclose(weighted[name], 2 * plain[name], rtol=1e-5)


def test_codes_decode_to_the_reconstruction(images):
    x, _ = images
    model = make()
    model.fit(x, verbose=0)
    codes = model.encode(x)
    assert codes.dtype == np.int32
    assert codes.shape == (48, 3, 3)
    # Measured: 6e-8.
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(x), atol=3e-7)


def test_training_lowers_the_loss_and_uses_the_codes(images):
    x, _ = images
    model = make(VectorQuantizer(6, 3, seed=0))
    history = model.fit(x, batch_size=16, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 3
    assert history["perplexity"][-1] > 3
    rounded = make(FiniteScalarQuantizer((3, 2)))
    history = rounded.fit(x, batch_size=16, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 3
    assert history["loss"] == history["reconstruction_loss"]


def test_a_skipped_step_leaves_the_codebook_as_it_was(images):
    x, _ = images
    model = make()
    model.fit(x, batch_size=16, verbose=0)
    before = [ops.convert_to_numpy(v) for v in model.weights]
    spoilt = x[:16].copy()
    spoilt[3, 0, 0] = np.nan
    history = model.fit(Batches((spoilt,)), shuffle=False, verbose=0).history
    assert history["skipped_updates"] == [1.0]
    assert np.isnan(history["perplexity"]).all()
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(weight))


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch takes one step at a time")
def test_several_steps_at_once_move_the_codebook_as_one_by_one(images):
    x, _ = images
    single, several = make(steps_per_execution=1), make(steps_per_execution=3)
    for model in (single, several):
        model.fit(x, batch_size=16, epochs=2, verbose=0)
    # In a loop, XLA adds in another order.
    assert_same(single, several, atol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="the others trace their steps anyway")
@pytest.mark.parametrize("kind", [None, FiniteScalarQuantizer((3, 2))])
def test_a_replayed_step_moves_the_codebook_as_the_step_does(images, kind):
    x, _ = images
    plain, traced = make(kind, jit_compile=False), make(kind, jit_compile=True)
    for model in (plain, traced):
        model.fit(x, batch_size=20, epochs=3, verbose=0)
    assert traced.traces_steps
    assert_same(plain, traced)


def small_prior(model, **kwargs):
    return keras_vae.PixelCNN(
        model.grid_shape, 6, {"label": keras_vae.Categorical(3)}, 4, 1, 3, seed=0, **kwargs
    )


def test_a_prior_is_fitted_saved_and_trained_on(images, tmp_path):
    x, label = images
    model = make()
    with pytest.raises(ValueError, match="needs a prior over the codes"):
        model.sample(3)
    model.fit(x, batch_size=16, verbose=0)
    trained = state(model)
    inputs = {"x": x, "label": label}
    options = {"epochs": 3, "validation_data": inputs, "verbose": 0}
    history = model.fit_prior(inputs, small_prior(model), **options).history
    assert history["loss"][-1] < history["loss"][0]
    assert len(history["val_loss"]) == 3
    asked = {"label": [0, 1, 2, None]}
    made = model.sample(asked, seed=5)
    assert made.shape == (4, 6, 5, 1)
    np.testing.assert_array_equal(made, model.decode(model.prior.sample(asked, seed=5)))
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(asked, seed=5), made)
    assert loaded.sample({"label": 1}, count=2).shape == (2, 6, 5, 1)
    # The weights of model and prior, and those of both optimizers, are those of the file.
    again = [m.fit_prior(inputs, epochs=1, verbose=0).history for m in (model, loaded)]
    assert again[0] == again[1]
    for a, b in zip(trained, state(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_new_prior_takes_the_labels(images):
    x, label = images
    model = make()
    model.fit(x, verbose=0)
    prior = model._new_prior({"label": label})
    assert prior.condition["label"].num_classes == 3
    assert (prior.grid_shape, prior.num_codes) == ((3, 3), 6)
    assert not model._new_prior({}).condition
    named = model._new_prior({"label": np.array(["owl", "cat"])[label % 2].tolist()})
    assert named.condition["label"].names == ("cat", "owl")
    with pytest.raises(ValueError, match=r"for labels \(n,\) only.*y = np.argmax\(y, axis=1\)"):
        model._new_prior({"angle": np.zeros((48, 2), "float32")})


def flat():
    return keras_vae.VQVAE(
        keras_vae.networks.DenseEncoder(3), keras_vae.networks.DenseDecoder((6, 5, 1)), VQ
    ).build()


def wrong_dim():
    return keras_vae.VQVAE(
        keras_vae.networks.ConvGridEncoder(4, (4,)),
        keras_vae.networks.ConvGridDecoder((6, 5, 1), (4,)),
        VectorQuantizer(6, 3),
    ).build()


def wrong_grid():
    return keras_vae.VQVAE(
        keras_vae.networks.ConvGridEncoder(3, (4, 4)),
        keras_vae.networks.ConvGridDecoder((6, 5, 1), (4,)),
        VectorQuantizer(6, 3),
    ).build()


def not_a_quantizer():
    networks = keras_vae.networks
    ends = networks.ConvGridEncoder(3, (4,)), networks.ConvGridDecoder((6, 5, 1), (4,))
    return keras_vae.VQVAE(*ends, "vq")


def built():
    model = make()
    model.build()
    return model


VQ = VectorQuantizer(6, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras warns of the same
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (flat, "must return a grid of vectors"),
        (wrong_dim, "needs vectors of length 3.*latent_dim to 3"),
        (wrong_grid, "must accept the encoder's latent code of size 2×2×3"),
        (not_a_quantizer, "`quantizer` must be a VectorQuantizer or"),
        (lambda: built().decode(np.full((2, 3, 3), 6)), "from 0 to 5. Received: int64"),
        (lambda: built().decode(np.zeros((2, 4, 3), "int32")), r"of the shape \(n, 3, 3\)"),
        (lambda: built().set_prior(keras_vae.PixelCNN((3, 4), 6)), r"grid_shape=\(3, 3\)"),
        (lambda: built().set_prior(None), "must be a MaskGIT or a PixelCNN"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as err:
        call()
    assert "\n" not in str(err.value)
