"""Models with classes and functions of a user's own are exported on every backend."""

import keras
import numpy as np
import pytest

import export
import keras_vae
from keras_vae.storage import own_objects, stored
from tests.conftest import BACKEND, ordinary_on

SHAPE = (6, 5, 1)


def doubled(x):
    """An activation that is registered nowhere."""
    return 2.0 * x


class Tripled(keras.layers.Layer):
    """A layer that is registered nowhere."""

    def call(self, x):
        return 3.0 * x


@keras.saving.register_keras_serializable("tests_of_own_objects")
class Registered(Tripled):
    """A layer that is registered where it is imported."""


def own_model(*more):
    x, z = keras.Input(SHAPE), keras.Input((3,))
    h = keras.layers.Flatten()(keras.layers.RandomFlip()(x))
    encoder = keras.Model(x, [keras.layers.Dense(3)(h) for _ in range(2)])
    h = z
    for layer in (keras.layers.Dense(30, activation=doubled), Tripled(), Registered(), *more):
        h = layer(h)
    decoder = keras.Model(z, keras.layers.Reshape(SHAPE)(h))
    model = keras_vae.VAE(encoder, decoder)
    model.build((None, *SHAPE))
    return model


@ordinary_on("tensorflow")  # elsewhere it starts a process of its own
def test_own_classes_and_functions_are_exported(tmp_path):
    model = own_model()
    path = export.export(model, "onnx", out=tmp_path)
    z = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    made = export.module_of("onnx").load(path)({"z": z})["x"]
    # Measured: 6e-8.
    np.testing.assert_allclose(made, model.decode(z), atol=5e-7)


def test_what_is_own_is_found_in_a_model_and_in_its_file(tmp_path):
    model = own_model()
    here = [(__name__, name) for name in ("Registered", "Tripled", "doubled")]
    assert own_objects.described(model) == here
    assert own_objects.found(here) == {
        "Registered": Registered,
        "Tripled": Tripled,
        "doubled": doubled,
    }
    model.save(tmp_path / "model.keras")
    assert own_objects.described_in_file(tmp_path / "model.keras") == here[:1]
    keras_vae.load_model(tmp_path / "model.keras", own_objects.found(here))
    assert own_objects.described_in_file(tmp_path / "nothing.keras") == []


def in_the_script(x):
    return x


in_the_script.__module__ = "__main__"


@pytest.mark.skipif(BACKEND == "tensorflow", reason="no process of its own")
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: keras.layers.Dense(30, activation=in_the_script), "Received: in_the_script. Move"),
        (lambda: keras.layers.Lambda(doubled), "cannot hold the class 'keras.layers.Lambda'"),
    ],
    ids=["script", "lambda"],
)
def test_what_another_process_cannot_have_is_one_line(tmp_path, layer, words):
    with pytest.raises(ValueError, match=r"runs in a TensorFlow process\.") as raised:
        export.export(own_model(layer()), "onnx", out=tmp_path)
    assert words in str(raised.value)
    assert "Or run the script with KERAS_BACKEND=tensorflow." in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@ordinary_on("torch")
def test_a_prior_alone_is_no_model_to_export(tmp_path):
    prior = keras_vae.PixelCNN((2, 2), 3, None, 4, 1, 3)
    prior.build()
    prior.save(tmp_path / "prior.keras")
    with pytest.raises(ValueError, match="must be a model that makes data"):
        stored.load_generative_model(tmp_path / "prior.keras")
