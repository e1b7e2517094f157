"""Frozen parts stay as they are, and a training that would train nothing is refused."""

import keras
import numpy as np
import pytest

import keras_vae
from tests.conftest import BACKEND, make_model, ordinary_on
from tests.test_training import weights_of


def make_gan():
    networks = keras_vae.networks
    decoder, discriminator = networks.DenseDecoder((6, 5, 1), (8,)), networks.DenseDiscriminator
    return keras_vae.GAN(decoder, discriminator((8,)), latent_dim=3, seed=3)


MODELS = {
    "Autoencoder": lambda: make_model("Autoencoder", compile_model=False),
    "VAE": lambda: make_model("VAE", compile_model=False),
    "GAN": make_gan,
}


SLOW = ordinary_on("torch")


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("VAE", 0),
        ("GAN", 1),
        *(pytest.param(*case, marks=SLOW) for case in [("VAE", 1), ("GAN", 0)]),
    ],
)
def test_a_frozen_part_stays_and_the_other_is_trained(images, name, index):
    model = MODELS[name]()
    model.build()
    frozen, trained = (getattr(model, model.part_names[i]) for i in (index, 1 - index))
    frozen.trainable = False
    # On PyTorch the step is traced.
    model.compile("adam", jit_compile=True if BACKEND == "torch" else "auto")
    before = [weights_of(part) for part in (frozen, trained)]
    history = model.fit(images[0], verbose=0).history
    assert history["gradient_norm"][0] > 0
    after = [weights_of(part) for part in (frozen, trained)]
    for old, new in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(new, old)
    assert all((new != old).any() for old, new in zip(before[1], after[1], strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_frozen_parts_is_refused(images, name):
    model = MODELS[name]()
    for part in model.part_names:
        getattr(model, part).trainable = False
    model.compile("adam")
    words = rf"needs weights to train\. Received: {name} with all parts frozen\. Set trainable=True"
    with pytest.raises(ValueError, match=words) as error:
        model.fit(images[0], verbose=0)
    assert "\n" not in str(error.value)
    if name != "GAN":  # without weights in question nothing is refused
        assert model.predict(images[0], verbose=0).shape == images[0].shape


@pytest.mark.parametrize(
    "before", [True, pytest.param(False, marks=ordinary_on("torch", "tensorflow"))]
)
def test_what_is_frozen_or_thawed_after_compile_is_refused(images, before):
    """Where a step is compiled already, it would go on as it was."""
    model = make_model("VAE", compile_model=False)
    model.encoder.trainable = before
    model.compile("adam")
    model.fit(images[0], verbose=0)
    model.encoder.trainable = not before
    with pytest.raises(ValueError, match=r"6 whose `trainable` has changed since\. Call compile"):
        model.fit(images[0], verbose=0)
    model.compile("adam")
    kept = weights_of(model.encoder)
    model.fit(images[0], verbose=0)
    now = weights_of(model.encoder)
    assert all((a == b).all() == before for a, b in zip(kept, now, strict=True))


@ordinary_on("torch")
def test_a_loss_that_depends_on_no_trained_weight_trains_nothing(images):
    """As that of an autoencoder on its encoder's second head, which it does not use."""
    model = make_model("Autoencoder", compile_model=False)
    model.build()
    model.decoder.trainable = False
    for layer in model.encoder.layers:
        layer.trainable = layer.name == "z_log_var"
    model.compile("adam")
    before = weights_of(model)
    history = model.fit(images[0], verbose=0).history
    assert history["gradient_norm"] == [0.0]
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(new, old)


@ordinary_on("torch")
def test_a_codebook_follows_frozen_networks_until_it_is_frozen():
    networks = keras_vae.networks
    quantizer = keras_vae.layers.VectorQuantizer(6, 3, seed=1)
    encoder, decoder = networks.ConvGridEncoder(3, (4,)), networks.ConvGridDecoder((8, 8, 1), (4,))
    model = keras_vae.VQVAE(encoder, decoder, quantizer, seed=1)
    x = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
    encoder.trainable = decoder.trainable = False
    model.build()
    model.compile("adam")
    before = keras.ops.convert_to_numpy(quantizer.codebook)
    model.fit(x, verbose=0)
    assert (keras.ops.convert_to_numpy(quantizer.codebook) != before).any()
    quantizer.trainable = False
    with pytest.raises(ValueError, match="Received: VQVAE with all parts frozen"):
        model.fit(x, verbose=0)
    decoder.trainable = True
    model.compile("adam")
    before = keras.ops.convert_to_numpy(quantizer.codebook)
    model.fit(x, verbose=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(quantizer.codebook), before)
