"""The training step against an oracle that differentiates the ELBO by hand."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from tests import oracles

NAMES = ("encoder/hidden", "encoder/mean", "encoder/log_var", "decoder/hidden", "decoder/output")


def read_weights(model):
    layers = (
        model.encoder.hidden[0],
        model.encoder.z_mean,
        model.encoder.z_log_var,
        model.decoder.hidden[0],
        model.decoder.outputs_dense,
    )
    return {
        name: tuple(ops.convert_to_numpy(w).astype("f8") for w in layer.weights)
        for name, layer in zip(NAMES, layers, strict=True)
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kl_weight", [1.0, 0.25])
def test_loss_and_gradients_equal_the_oracle(make, images, fixed_noise, weighted, kl_weight):
    x, label = images
    model = make(kl_weight=kl_weight, compile_model=False)
    # One step of plain gradient descent with rate 1 moves each weight by its gradient.
    model.compile(keras.optimizers.SGD(1.0))
    model.build()
    before = read_weights(model)
    weight = np.random.default_rng(1).uniform(0, 2, 48) if weighted else np.ones(48)
    logs = model.train_on_batch(
        {"x": x, "label": label},
        sample_weight=weight.astype("f4") if weighted else None,
        return_dict=True,
    )
    after = read_weights(model)
    loss, gradients = oracles.dense_vae_loss_and_gradients(
        before,
        x.reshape(48, -1).astype("f8"),
        np.eye(3)[label],
        fixed_noise.astype("f8"),
        weight,
        kl_weight,
    )
    # Measured on the three backends: 1e-7 relative for the loss, 3e-7 for gradients.
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-6)
    np.testing.assert_allclose(
        logs["loss"], logs["reconstruction_loss"] + kl_weight * logs["kl_loss"], rtol=1e-6
    )
    norm = np.sqrt(sum(np.sum(g**2) for pair in gradients.values() for g in pair))
    np.testing.assert_allclose(logs["gradient_norm"], norm, rtol=1e-5)
    for name in NAMES:
        for old, new, gradient in zip(before[name], after[name], gradients[name], strict=True):
            scale = np.abs(gradient).max()
            np.testing.assert_allclose((old - new) / scale, gradient / scale, atol=2e-6)


def test_layer_penalties_enter_the_loss(images):
    x, _ = images
    encoder = keras_vae.networks.DenseEncoder(3, (8,))
    encoder.hidden[0].kernel_regularizer = keras.regularizers.L2(0.1)
    model = keras_vae.VAE(encoder, keras_vae.networks.DenseDecoder((6, 5, 1), (8,)))
    model.compile()
    logs = model.test_on_batch(x, return_dict=True)
    penalty = 0.1 * np.sum(ops.convert_to_numpy(encoder.hidden[0].kernel) ** 2)
    assert penalty > 0.1
    np.testing.assert_allclose(
        logs["loss"], logs["reconstruction_loss"] + logs["kl_loss"] + penalty, rtol=1e-5
    )


def test_kl_enters_through_add_loss(make, images):
    model = make("VAE")
    outputs = model(images[0], training=True)
    (loss,) = model.losses
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss), ops.convert_to_numpy(outputs["kl"]).mean(), rtol=1e-6
    )
    assert not np.array_equal(
        ops.convert_to_numpy(outputs["z"]), ops.convert_to_numpy(outputs["z_mean"])
    )
    outputs = model(images[0], training=False)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(outputs["z"]), ops.convert_to_numpy(outputs["z_mean"])
    )


def test_bound_stays_below_the_likelihood_and_tightens(make, images):
    x, label = images
    model = make(kl_weight=0.1)  # a posterior far from the prior, so that the bounds differ
    inputs = {"x": x, "label": label}
    model.fit(inputs, epochs=20, batch_size=24, verbose=0)
    logs = [model.evaluate(inputs, verbose=0, return_dict=True) for _ in range(5)]
    elbo = -np.mean([log["reconstruction_loss"] + log["kl_loss"] for log in logs])
    few, many = (
        model.log_likelihood(inputs, num_samples=k, batch_size=48, seed=0).mean() for k in (4, 500)
    )
    assert elbo < few - 0.1
    assert few < many - 0.1


def test_log_likelihood_is_exact_for_a_decoder_that_ignores_the_code(images):
    x, _ = images
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, (4,)), keras_vae.networks.DenseDecoder((6, 5, 1), ())
    )
    model.build()
    for head in (model.encoder.z_mean, model.encoder.z_log_var):
        head.kernel.assign(0.3 * head.kernel)  # a posterior near the prior, but not at it
    kernel, bias = model.decoder.outputs_dense.weights
    kernel.assign(np.zeros(kernel.shape))
    logits = np.random.default_rng(0).normal(size=30).astype("f4")
    bias.assign(logits)
    exact = -oracles.binary_cross_entropy(x.astype("f8"), logits.reshape(1, 6, 5, 1).astype("f8"))
    got = model.log_likelihood(x, num_samples=2000, batch_size=16, seed=0)
    # The estimate's only noise is that of the ratio prior / posterior.
    np.testing.assert_allclose(got, exact, atol=0.05)
