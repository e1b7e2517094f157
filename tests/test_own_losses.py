"""What a subclass adds to a loss is reported, and `compute_loss` is all that `fit` lowers."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import evaluation, objectives
from tests.conftest import make_model, ordinary_on
from tests.test_training import Batches


def number(tensor):
    return float(ops.convert_to_numpy(tensor))


def parts(**kwargs):
    networks = keras_vae.networks
    return networks.DenseEncoder(3, (8,)), networks.DenseDecoder((6, 5, 1), (8,), **kwargs)


class WithCodeSize(keras_vae.VAE):
    """Reports one term more than it says anywhere, and lowers it."""

    def loss_and_terms(self, data, training):
        loss, terms = super().loss_and_terms(data, training)
        x, _ = self.split_inputs(keras.utils.unpack_x_y_sample_weight(data)[0])
        size = ops.mean(ops.square(self.code(x)[0]))
        return loss + size, {**terms, "code_size": size}


def test_a_term_of_ones_own_is_tracked_and_reported(images):
    x = images[0]
    model = WithCodeSize(*parts(), seed=3)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(x, epochs=2, validation_data=(x,), verbose=0).history
    assert {"code_size", "val_code_size"} <= set(history)
    total = sum(np.array(history[name]) for name in ("reconstruction_loss", "kl_loss", "code_size"))
    np.testing.assert_allclose(history["loss"], total, rtol=1e-6)
    expected = np.mean(np.square(model.encode(x)[0]))
    measured = model.evaluate(x, verbose=0, return_dict=True)
    # float32 means of 48 numbers in another order; measured: 1e-7.
    np.testing.assert_allclose(measured["code_size"], expected, rtol=1e-6)
    assert history["val_code_size"][-1] == pytest.approx(expected, rel=1e-6)
    assert evaluation.evaluate(model, x)["code_size"] == pytest.approx(expected, rel=1e-6)


def test_a_term_is_found_whatever_trains_or_measures_first(images):
    x = images[0]
    reshape = keras.layers.Reshape((6, 5, 1))
    decoder = keras.Sequential([keras.layers.Dense(30), reshape])  # does not say what it makes
    model = WithCodeSize(parts()[0], decoder)
    model.compile("adam")
    assert "code_size" in model.fit(Batches((x,)), verbose=0).history
    for name in ("train_on_batch", "test_on_batch"):
        other = WithCodeSize(*parts(), seed=3)
        other.build()
        other.compile("adam")
        assert "code_size" in getattr(other, name)(x[:8], return_dict=True)


class WithSharpness(keras_vae.GAN):
    def generator_loss(self, data, training):
        loss, terms = super().generator_loss(data, training)
        return loss, {**terms, "twice": 2 * loss}


@ordinary_on("torch")
def test_a_player_may_report_a_term_of_ones_own(images):
    networks = keras_vae.networks
    model = WithSharpness(parts()[1], networks.DenseDiscriminator((8,)), latent_dim=3, seed=3)
    model.compile("adam")
    history = model.fit(images[0], verbose=0).history
    np.testing.assert_allclose(history["twice"], 2 * np.array(history["generator_loss"]), rtol=1e-6)


class Shrinking(objectives.ELBO):
    """An objective with a term of its own."""

    def penalty(self, q, p, z, log_likelihood, average, prior_codes):
        size = average(ops.sum(ops.square(q.loc), axis=-1))
        return objectives.Loss(size, {"shrinking": size})


@ordinary_on("torch")
def test_an_objective_may_report_a_term_that_it_does_not_name(images):
    model = make_model("VAE", objective=Shrinking())
    history = model.fit(images[0], verbose=0).history
    sizes = (history[name][0] for name in ("reconstruction_loss", "kl_loss", "shrinking"))
    assert history["loss"][0] == pytest.approx(sum(sizes), rel=1e-6)


def test_a_term_that_is_no_scalar_is_refused(images):
    class PerExample(keras_vae.VAE):
        def loss_and_terms(self, data, training):
            loss, terms = super().loss_and_terms(data, training)
            return loss, {**terms, "each": ops.ones((2,)) * loss}

    model = PerExample(*parts())
    model.compile("adam")
    with pytest.raises(ValueError, match=r"must report scalars\. Received: each, of shape \(2,\)"):
        model.fit(images[0], verbose=0)


@pytest.mark.parametrize("name", ["Autoencoder", "ConditionalVAE"])
def test_compute_loss_is_what_fit_lowers(images, fixed_noise, name):
    x, label = images
    inputs = {"x": x, "label": label} if name == "ConditionalVAE" else x
    model = make_model(name, compile_model=False)
    # A penalty of the weights, beside what the model adds itself.
    model.decoder.hidden[0].kernel_regularizer = keras.regularizers.L2(0.1)
    model.compile(keras.optimizers.SGD(0.0))
    weight = np.linspace(0.5, 2, 48).astype("float32")
    settings = {"batch_size": 48, "shuffle": False, "verbose": 0, "sample_weight": weight}
    expected = model.fit(inputs, **settings).history["loss"][0]
    tensors = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    found = model.compute_loss(x=tensors, sample_weight=ops.convert_to_tensor(weight))
    assert number(found) == pytest.approx(expected, rel=1e-6)
    terms = model.loss_and_terms((tensors, None, None), training=True)[1]
    assert number(model.compute_loss(tensors)) > sum(map(number, terms.values()))


def test_compute_loss_refuses_what_it_would_ignore(images):
    x = ops.convert_to_tensor(images[0])
    model = make_model("VAE")
    with pytest.raises(ValueError, match="takes no `y_pred`, because it calls the model itself"):
        model.compute_loss(x=x, y_pred=x)
    discriminator = keras_vae.networks.DenseDiscriminator((8,))
    gan = keras_vae.GAN(parts()[1], discriminator, latent_dim=3)
    with pytest.raises(
        ValueError, match=r"one loss\. Received: a GAN, which has discriminator_loss"
    ):
        gan.compute_loss(x=x)


def test_a_loss_that_fit_would_not_call_is_refused():
    class Own(keras_vae.VAE):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.zeros(())

    with pytest.raises(ValueError, match="by `loss_and_terms`, which `fit` calls"):
        Own(*parts()).compile("adam")
