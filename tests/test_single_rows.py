"""A batch of one example, the rest of an epoch, teaches what the same example twice does."""

import random

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_vae
from keras_vae import networks
from tests.conftest import make_model, ordinary_on

IMAGE = (6, 5, 1)


def own(*hidden):
    """Networks of the user's own about some layers."""
    encoder = keras.Sequential([*hidden, layers.Flatten(), layers.Dense(3)])
    decoder = keras.Sequential(
        [
            layers.Dense(30),
            layers.Reshape(IMAGE),
            layers.Conv2DTranspose(1, 3, padding="same"),
            layers.Conv2D(1, 3, padding="same"),
        ]
    )
    return encoder, decoder


NETWORKS = {
    "ours": lambda: (
        networks.ConvEncoder(3, hidden_units=(4, 6), batch_normalization=False),
        networks.ConvDecoder(IMAGE, hidden_units=(6, 4), batch_normalization=False),
    ),
    "one filter": lambda: own(layers.Conv2D(1, 3, padding="same"), layers.Conv2D(2, 3, 2)),
    "separable": lambda: own(layers.SeparableConv2D(1, 3), layers.DepthwiseConv2D(3)),
    "1D": lambda: own(layers.Reshape((30, 1)), layers.Conv1D(1, 3), layers.Conv1D(2, 3, 2)),
    "3D": lambda: own(layers.Reshape((6, 5, 1, 1)), layers.Conv3D(1, (3, 3, 1))),
}


@ordinary_on("torch")
@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [*((name, "auto") for name in NETWORKS), ("ours", True), ("one filter", True)],
)
def test_one_row_teaches_what_two_equal_rows_do(name, jit_compile, images):
    """PyTorch finds no gradient of some convolutions of one grey image."""
    x = images[0][:1]
    learnt = []
    for rows in (x, np.repeat(x, 2, axis=0)):
        random.seed(1)
        model = keras_vae.Autoencoder(*NETWORKS[name](), seed=3)
        model.compile(keras.optimizers.SGD(0.01), jit_compile=jit_compile)
        model.fit(rows, batch_size=2, epochs=2, verbose=0)
        learnt.append([ops.convert_to_numpy(weight) for weight in model.trainable_weights])
    for one, two in zip(*learnt, strict=True):
        # Measured: 3e-8.
        np.testing.assert_allclose(one, two, atol=2e-7, rtol=0)


@keras.saving.register_keras_serializable("test_single_rows")
class OwnConvolution(layers.Layer):
    """A layer in PyTorch's words, which may name what it passes."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, shape[-1], 3, 3), name="kernel")

    def call(self, x):
        import torch

        made = torch.conv2d(input=x.permute(0, 3, 1, 2), weight=self.kernel.value, padding=1)
        return made.permute(0, 2, 3, 1)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a layer of PyTorch")
def test_convolutions_by_keyword_train_where_one_image_is_left(images):
    model = keras_vae.Autoencoder(*own(OwnConvolution()))
    model.compile("adam")
    history = model.fit(images[0][:5], batch_size=4, verbose=0).history
    assert history["skipped_updates"] == [0]


def gan():
    return keras_vae.ConditionalGAN(
        networks.ConvDecoder(IMAGE, hidden_units=(6, 4)),
        networks.ConvDiscriminator((4, 6), num_classes=3),
        latent_dim=3,
        condition={"label": keras_vae.Categorical(3)},
    )


def vq_vae():
    encoder = networks.ConvGridEncoder(2, hidden_units=(4,))
    decoder = networks.ConvGridDecoder(IMAGE, hidden_units=(4,))
    return keras_vae.VQVAE(encoder, decoder, keras_vae.layers.VectorQuantizer(4, 2))


MODELS = {
    "VAE": lambda: make_model("VAE", conv=True, compile_model=False),
    "IWAE": lambda: make_model(
        "VAE", conv=True, compile_model=False, objective="iwae", num_samples=2
    ),
    "ConditionalVAE": lambda: make_model(conv=True, compile_model=False),
    "GAN": gan,
    "VQVAE": vq_vae,
}


@ordinary_on("torch")
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_where_one_image_is_left(name, images):
    x, labels = images
    model = MODELS[name]()
    inputs = {"x": x[:5], "label": labels[:5]} if model.condition else x[:5]
    model.compile("adam")
    history = model.fit(inputs, batch_size=4, verbose=0).history
    assert history["skipped_updates"] == [0]


@ordinary_on("torch")
@pytest.mark.parametrize("hidden_units", [1, 4])
def test_a_prior_over_codes_trains_where_one_grid_is_left(hidden_units):
    codes = np.random.default_rng(0).integers(0, 2, (5, 3, 2)).astype("int32")
    prior = keras_vae.PixelCNN((3, 2), 2, hidden_units=hidden_units, num_layers=1)
    prior.compile("adam")
    assert np.isfinite(prior.fit(codes, batch_size=4, verbose=0).history["loss"]).all()
