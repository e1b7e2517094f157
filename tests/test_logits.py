"""A network that ends in a sigmoid where logits are due is refused before it trains."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_vae
from keras_vae import likelihoods, networks
from tests.conftest import ordinary_on

IMAGE = (6, 5, 1)


@keras.saving.register_keras_serializable("test_logits")
class Subclassed(keras.Model):
    """A decoder whose end only its values tell."""

    def __init__(self, end="sigmoid", units=30, **kwargs):
        super().__init__(**kwargs)
        self.end = getattr(ops, end)
        self.dense = layers.Dense(units, name="last")
        self.units = units

    def call(self, inputs):
        z = ops.concatenate(inputs, axis=-1) if isinstance(inputs, list) else inputs
        made = self.end(self.dense(layers.Flatten()(z)))
        return ops.reshape(made, (-1, *IMAGE)) if self.units == 30 else made


def functional(end):
    z = keras.Input((3,))
    return keras.Model(z, layers.Reshape(IMAGE)(end(layers.Dense(30)(z))))


def sequential(*ends, activation=None):
    return keras.Sequential([layers.Dense(30, activation), *ends, layers.Reshape(IMAGE)])


SQUASHED = {
    "argument": lambda: sequential(activation="sigmoid"),
    "function": lambda: sequential(activation=ops.sigmoid),
    "softmax": lambda: sequential(activation="softmax"),
    "hard_sigmoid": lambda: sequential(activation="hard_sigmoid"),
    "layer": lambda: sequential(layers.Activation("sigmoid")),
    "softmax layer": lambda: sequential(layers.Softmax()),
    "dropout after it": lambda: sequential(layers.Activation("sigmoid"), layers.Dropout(0.1)),
    "linear after it": lambda: sequential(layers.Activation("sigmoid"), layers.Activation(None)),
    "convolution": lambda: keras.Sequential(
        [
            layers.Dense(30),
            layers.Reshape(IMAGE),
            layers.Conv2D(1, 3, 1, "same", activation="sigmoid"),
        ]
    ),
    "nested": lambda: keras.Sequential([layers.Dense(3), sequential(activation="sigmoid")]),
    "functional": lambda: functional(ops.sigmoid),
    "functional layer": lambda: functional(layers.Activation("sigmoid")),
    "functional nested": lambda: functional(sequential(activation="sigmoid")),
    "time distributed": lambda: keras.Sequential(
        [
            layers.Dense(30),
            layers.Reshape((6, 5)),
            layers.TimeDistributed(layers.Dense(5, activation="sigmoid")),
            layers.Reshape(IMAGE),
        ]
    ),
    "function of the user": lambda: sequential(activation=lambda h: ops.sigmoid(h)),
    "by hand": lambda: functional(lambda h: 1 / (1 + ops.exp(-h))),
    "tanh, moved": lambda: functional(lambda h: (ops.tanh(h) + 1) / 2),
    "cut": lambda: functional(lambda h: ops.clip(h, 0, 1)),
    "rescaled": lambda: functional(lambda h: layers.Rescaling(0.5)(ops.sigmoid(h))),
    "two halves": lambda: functional(
        lambda h: ops.concatenate([ops.sigmoid(h[:, :9]), ops.sigmoid(h[:, 9:])], axis=-1)
    ),
    "subclassed": Subclassed,
    "subclassed, nested": lambda: keras.Sequential([layers.Dense(4), Subclassed()]),
    "subclassed softmax": lambda: Subclassed("softmax"),
}
ONLY_BY_VALUES = list(SQUASHED)[list(SQUASHED).index("function of the user") :]
FREE = {
    "linear": sequential,
    "relu": lambda: sequential(activation="relu"),
    "scaled": lambda: sequential(layers.Activation("sigmoid"), layers.Rescaling(10.0, -5.0)),
    "functional": lambda: functional(lambda h: h * 0.01),
    "normalised": lambda: functional(lambda h: layers.BatchNormalization()(h)),
    "tanh": lambda: functional(ops.tanh),
    "relu6": lambda: functional(ops.relu6),
    "function of the user": lambda: sequential(activation=lambda h: ops.tanh(h)),
    "subclassed": lambda: Subclassed("tanh"),
    "subclassed relu": lambda: Subclassed("relu"),
    "zeros at first": lambda: sequential(layers.Dense(30, kernel_initializer="zeros")),
}


def vae(decoder, likelihood="bernoulli"):
    encoder = networks.DenseEncoder(3, hidden_units=(4,))
    model = keras_vae.VAE(encoder, decoder, likelihood=likelihood, seed=3)
    model.compile("adam")
    return model


@ordinary_on("torch")
@pytest.mark.parametrize("name", SQUASHED)
def test_a_decoder_that_squashes_is_refused(name, images):
    with pytest.raises(ValueError, match=r"decoder must end without an activation") as refusal:
        vae(SQUASHED[name]()).fit(images[0], verbose=0)
    assert "\n" not in str(refusal.value)
    if name not in ONLY_BY_VALUES:
        words = ("sigmoid", "softmax")
        assert any(
            f"that ends in {h}{word}." in str(refusal.value)
            for word in words
            for h in ("", "hard_")
        )


@ordinary_on("torch")
@pytest.mark.parametrize("name", FREE)
def test_a_decoder_that_gives_logits_is_taken(name, images):
    history = vae(FREE[name]()).fit(images[0], verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_a_mean_may_be_squashed(images):
    model = vae(Subclassed(), likelihoods.Gaussian(0.1))
    assert np.isfinite(model.fit(images[0], verbose=0).history["loss"]).all()


@ordinary_on("torch")
@pytest.mark.parametrize("name", ["argument", "subclassed"])
def test_datasets_and_conditional_models_are_checked_as_well(name, images):
    x, labels = images
    encoder = networks.DenseEncoder(3, hidden_units=(4,))
    condition = {"label": keras_vae.Categorical(3)}
    decoder = SQUASHED[name]() if name == "subclassed" else joined()
    model = keras_vae.ConditionalVAE(encoder, decoder, condition=condition)
    model.compile("adam")
    with pytest.raises(ValueError, match="decoder must end without"):
        model.fit({"x": x, "label": labels}, verbose=0)


def joined():
    z, condition = keras.Input((3,)), keras.Input((3,))
    h = layers.Dense(30, activation="sigmoid")(layers.Concatenate()([z, condition]))
    return keras.Model([z, condition], layers.Reshape(IMAGE)(h))


@ordinary_on("torch")
@pytest.mark.parametrize("end", [None, "sigmoid", "subclassed"])
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_both_players_of_a_gan_give_logits(role, end, images):
    made = {
        "generator": lambda end: sequential(activation=end),
        "discriminator": lambda end: keras.Sequential(
            [layers.Flatten(), layers.Dense(1, activation=end)]
        ),
    }
    of_user = {"generator": Subclassed, "discriminator": lambda: Subclassed(units=1)}
    players = {name: make(None) for name, make in made.items()}
    players[role] = of_user[role]() if end == "subclassed" else made[role](end)
    gan = keras_vae.GAN(**players, latent_dim=3, seed=3)
    gan.compile("adam")
    if end is None:
        gan.fit(images[0], verbose=0)
    else:
        with pytest.raises(ValueError, match=f"The {role} must end without an activation"):
            gan.fit(images[0], verbose=0)


def test_a_class_head_gives_logits_too():
    x = keras.Input(IMAGE)
    h = layers.Flatten()(x)
    heads = [layers.Dense(1)(h), layers.Dense(3, activation="softmax")(h)]
    condition = {"label": keras_vae.Categorical(3)}
    gan = keras_vae.ConditionalGAN(
        joined_generator(), keras.Model(x, heads), latent_dim=3, condition=condition
    )
    with pytest.raises(ValueError, match=r"discriminator must end .* in softmax"):
        gan.check_logits()


def joined_generator():
    z, condition = keras.Input((3,)), keras.Input((3,))
    h = layers.Dense(30)(layers.Concatenate()([z, condition]))
    return keras.Model([z, condition], layers.Reshape(IMAGE)(h))


def test_a_model_that_squashes_still_loads(images, tmp_path):
    """Earlier versions saved them; only training on is refused."""
    model = vae(sequential(activation="sigmoid"))
    model.evaluate(images[0], verbose=0)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"squashes what it makes twice\. .* ends in sigmoid"):
        loaded = keras_vae.load_model(tmp_path / "model.keras")
    assert loaded.sample(2, seed=1).shape == (2, *IMAGE)
    with pytest.raises(ValueError, match="decoder must end without"):
        loaded.fit(images[0], verbose=0)
