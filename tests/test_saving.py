"""What is saved can be loaded, and goes on as it was; what could not be is not written."""

import json
import random

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import layers, models, networks
from keras_vae.storage import stored, untrusted
from tests.conftest import make_model, ordinary_on
from tests.test_conformance import LAYERS, public_classes
from tests.test_faults import contents, files_end_at

SHAPE = (6, 5, 1)
# Why each public layer of Keras that is not taken from a file is not.
REFUSED = {
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer"), "runs code"),
    "TorchModuleWrapper": "unpickles",
    **dict.fromkeys(("IntegerLookup", "StringLookup", "TextVectorization"), "may read a file"),
    **dict.fromkeys(("HashedCrossing", "Hashing"), "allocates by a number"),
    **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), "allocates by a number"),
    **dict.fromkeys(("Layer", "Wrapper"), "a base class"),
}


def vae_of(*between, shape=SHAPE, units=3):
    """A VAE whose encoder is a functional model with some layers in it."""
    x = h = keras.Input(shape)
    for layer in between:
        h = layer(h)
    h = keras.layers.Flatten()(h)
    encoder = keras.Model(x, [keras.layers.Dense(units)(h) for _ in range(2)])
    return keras_vae.VAE(encoder, networks.DenseDecoder(shape, (4,)), seed=1)


def assert_loads(model, folder, custom_objects=None):
    """Save a model, and see that the loaded one computes the same."""
    model.build()
    model.save(folder / "model.keras")
    loaded = keras_vae.load_model(folder / "model.keras", custom_objects)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    z = np.random.default_rng(0).normal(size=(4, model.latent_dim)).astype("float32")
    conditions = {name: np.zeros(4, "int32") for name in model.condition}
    decoded = [each.decode(z, conditions) for each in (model, loaded)]
    np.testing.assert_array_equal(*decoded)
    return loaded


def convnext_layers():
    from keras.src.applications.convnext import LayerScale, StochasticDepth

    return [LayerScale(1e-6, 1), StochasticDepth(0.1)]


def many_classes():
    return keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (1,)),
        networks.DenseDecoder(SHAPE, (1,)),
        condition={"label": layers.Categorical(10_001)},
    )


KINDS = {
    "RandomFlip": lambda: vae_of(keras.layers.RandomFlip()),
    "RandomTranslation": lambda: vae_of(keras.layers.RandomTranslation(0.1, 0.1, seed=1)),
    "a pipeline": lambda: vae_of(keras.layers.Pipeline([keras.layers.RandomFlip()])),
    "ConvNeXt": lambda: vae_of(*convnext_layers()),
    "Conv1D of 1,024 units": lambda: vae_of(
        keras.layers.Conv1D(1024, 1024, padding="same"), shape=(16, 1)
    ),
    "10,001 classes": many_classes,
    "101 layers": lambda: keras_vae.VAE(
        networks.DenseEncoder(2, (1,) * 101), networks.DenseDecoder(SHAPE, (1,))
    ),
    "operations": lambda: vae_of(
        lambda h: ops.image.resize(ops.cast(h, "float32"), (8, 8)),
        lambda h: ops.stop_gradient(h) + ops.clip(h[:, 1:], 0.0, 1.0)[:, :1],
    ),
}


@ordinary_on("torch")
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_real_models_can_be_loaded(tmp_path, make):
    assert_loads(make(), tmp_path)


def test_what_a_file_holds_limits_what_its_config_may_ask_for():
    layer = keras.saving.serialize_keras_object(keras.layers.Dense(1))
    config = {"layers": [layer] * 1100}  # and a policy and two initializers each
    empty = untrusted.Limits.of({})
    with pytest.raises(ValueError, match="a config of more than 4000 objects"):
        untrusted.check_config(config, empty)
    # One number in memory: a large process would write each of a million zeros, 18 GB.
    held = {str(i): np.broadcast_to(0.0, (1000, 1000)) for i in range(2200)}
    untrusted.check_config(config, untrusted.Limits.of(held))
    for name, value in (("num_classes", 10**5), ("depth", 1100), ("kernel_size", [300, 300])):
        config = {**layer, "config": {name: value}}
        with pytest.raises(ValueError, match=f"a config with {name}="):
            untrusted.check_config(config, empty)
        untrusted.check_config(config, untrusted.Limits.of(held))
        mine = {"class_name": "Mine", "config": {name: value}, "registered_name": "Mine"}
        untrusted.check_config(mine, empty, {"Mine": Own})


def test_every_layer_of_keras_is_taken_or_refused_for_a_reason():
    taken, names = untrusted._CLASSES["keras.layers"], {}
    for name, value in vars(keras.layers).items():
        if isinstance(value, type) and issubclass(value, keras.Layer):
            names.setdefault(value, set()).add(name)  # `MaxPool2D` is `MaxPooling2D`
    assert set().union(*(own for own in names.values() if not own & taken)) == set(REFUSED)
    assert taken <= set().union(*names.values())


def double(x):
    return 2 * x


class Own(keras.layers.Layer):
    """Not registered."""

    def call(self, x):
        return 3 * x


@keras.saving.register_keras_serializable("tests_of_saving")
class Registered(Own):
    """Registered in this process."""


class Incomplete(keras.layers.Layer):
    """Its config leaves out an argument that is no plain data."""

    def __init__(self, thing, **kwargs):
        super().__init__(**kwargs)
        self.thing = thing

    def call(self, x):
        return x


class Forgetful(Incomplete):
    """Its config leaves out an argument."""

    def get_config(self):
        return {"name": self.name}


UNREADABLE = {
    "Lambda": (lambda: vae_of(keras.layers.Lambda(double)), "keras.layers.Lambda"),
    "lambda": (lambda: vae_of(keras.layers.Dense(3, activation=lambda x: x)), "without a name"),
    "spectrogram": (
        lambda: vae_of(keras.layers.STFTSpectrogram(fft_length=256), shape=(512, 1)),
        "STFTSpectrogram",
    ),
    "no config": (lambda: vae_of(Incomplete(object())), "must override `get_config()`"),
    "half a config": (lambda: vae_of(Forgetful(3)), "Forgetful, which cannot be made of its get"),
    "deep": (lambda: vae_of(nested(60)), "levels"),
}


def nested(depth):
    model = keras.Sequential([keras.layers.Identity()])
    for _ in range(depth):
        model = keras.Sequential([model])
    return model


@ordinary_on("torch")
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(("make", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_nobody_could_load_is_not_written(tmp_path, make, words):
    path = tmp_path / "model.keras"
    path.write_bytes(b"an older model")
    model = make()
    model.build()
    with pytest.raises(ValueError, match=r"must consist of what `load_model` can read") as raised:
        model.save(path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert contents(tmp_path) == {path: b"an older model"}


@ordinary_on("torch")
def test_custom_objects_are_honoured(tmp_path):
    ours = {"Own": Own, "double": double}
    make = [Own, Registered, lambda: keras.layers.Dense(3, activation=double)]
    loaded = assert_loads(vae_of(*(each() for each in make)), tmp_path, ours)
    assert type(loaded.encoder.layers[1]) is Own
    with pytest.raises(ValueError, match=r"or pass custom_objects=\{.double.: double\}"):
        keras_vae.load_model(tmp_path / "model.keras", {"Own": Own})
    with keras.saving.custom_object_scope(ours):
        keras_vae.load_model(tmp_path / "model.keras")


@ordinary_on("torch")
def test_a_class_is_found_by_its_name_without_its_package(tmp_path):
    config = keras.saving.serialize_keras_object(Registered())
    config["registered_name"] = "elsewhere>Registered"
    limits = untrusted.Limits.of({})
    with pytest.raises(ValueError, match=r"pass custom_objects=\{.Registered.: Registered\}"):
        untrusted.check_config({"layer": config}, limits)
    untrusted.check_config({"layer": config}, limits, {"Registered": Own})
    found = keras.saving.deserialize_keras_object(config, custom_objects={"Registered": Own})
    assert type(found) is Own


@ordinary_on("torch")
def test_what_is_named_in_custom_objects_is_trusted(tmp_path):
    model = vae_of(keras.layers.Lambda(double))
    model.build()
    keras.saving.save_model(model, tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"keras.layers.Lambda"):
        keras_vae.load_model(tmp_path / "model.keras")
    named = {"Lambda": keras.layers.Lambda, "double": double}
    keras_vae.load_model(tmp_path / "model.keras", named)


# Classes that are saved alone

STORED = {cls: (make, inputs) for cls, make, inputs, _ in LAYERS if issubclass(cls, keras.Model)}
CODES, TOKENS = np.ones((2, 4), "float32"), np.arange(32).reshape(2, 8, 2) % 5
STORED |= {
    networks.SequenceEncoder: (lambda: networks.SequenceEncoder(4, 5, 4, 1, 8), TOKENS),
    networks.NotesEncoder: (lambda: networks.NotesEncoder(4, 5, 60, 8, 4, 4), TOKENS),
    networks.CausalDecoder: (lambda: networks.CausalDecoder((8, 2), 5, 4), CODES),
    networks.NotesDecoder: (lambda: networks.NotesDecoder((8, 2), 5, 60, 4, 4, 4), CODES),
    networks.GRUDecoder: (lambda: networks.GRUDecoder((8, 2), 5, 4, 5), CODES),
    networks.ConductorDecoder: (
        lambda: networks.ConductorDecoder((8, 2), 5, 4, 5, segment=4),
        CODES,
    ),
}


@pytest.mark.parametrize("cls", STORED, ids=lambda cls: cls.__name__)
@ordinary_on("torch")
def test_a_network_or_prior_is_saved_alone(tmp_path, cls):
    make, inputs = STORED[cls]
    model = make()
    expected = keras.tree.map_structure(ops.convert_to_numpy, model(inputs))
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras_vae.load_model(path)
    assert type(loaded) is cls
    made = keras.tree.map_structure(ops.convert_to_numpy, loaded(inputs))
    keras.tree.map_structure(np.testing.assert_array_equal, made, expected)
    before = contents(tmp_path)
    with files_end_at(path.stat().st_size // 2), pytest.raises(OSError, match="File too large"):
        model.save(path)
    assert contents(tmp_path) == before
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(path, overwrite=False)


def test_every_public_model_is_saved_in_this_way():
    public = {cls for cls in public_classes() if issubclass(cls, keras.Model)}
    assert {cls for cls in public if not issubclass(cls, stored.StoredModel)} == set()
    generative = {cls for cls in public if issubclass(cls, models.generative.GenerativeModel)}
    bases = {networks.GaussianEncoder, networks.SequenceDecoder}
    assert public - generative - bases == set(STORED)


def test_a_trained_prior_goes_on(tmp_path):
    codes = np.random.default_rng(0).integers(0, 4, (24, 2, 3)).astype("int32")
    inputs = {"codes": codes, "label": np.arange(24) % 3}
    random.seed(1)
    kind = layers.Categorical(3, unknown_rate=0.5)
    model = models.PixelCNN((2, 3), 4, {"label": kind}, 4, 2, 3, seed=1)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(inputs, batch_size=8, verbose=0)
    model.save(tmp_path / "prior.keras")
    loaded = keras_vae.load_model(tmp_path / "prior.keras")
    drawn = [each.sample({"label": [0, 1, 2]}, seed=3) for each in (model, loaded)]
    np.testing.assert_array_equal(*drawn)
    losses = [each.fit(inputs, batch_size=8, verbose=0).history for each in (model, loaded)]
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="must be a model that makes data"):
        stored.load_generative_model(tmp_path / "prior.keras")


# What is frozen


def moved(model, inputs):
    """Which weights a training moves, by their positions."""
    before = [ops.convert_to_numpy(weight) for weight in model.weights]
    model.fit(inputs, batch_size=16, verbose=0)
    after = [ops.convert_to_numpy(weight) for weight in model.weights]
    return [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if (a != b).any()]


def freeze_part(model):
    model.encoder.trainable = False


def freeze_layer(model):
    model.decoder.hidden[0].trainable = False


def freeze_normalization(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def freeze_all_but_a_layer(model):
    model.encoder.trainable = False
    model.encoder.z_mean.trainable = True


def freeze_a_weight(model):
    model.encoder.z_mean.kernel.trainable = False


SELDOM = "part with normalization"
FREEZE = {
    "part": (freeze_part, False),
    "part with normalization": (freeze_part, True),
    "layer": (freeze_layer, False),
    "normalization": (freeze_normalization, True),
    "all but a layer": (freeze_all_but_a_layer, False),
    "a weight": (freeze_a_weight, False),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=ordinary_on("torch", *["tensorflow"] * (n == SELDOM))) for n in FREEZE],
)
def test_what_is_frozen_stays_frozen(images, tmp_path, name):
    freeze, conv = FREEZE[name]
    model = make_model("VAE", conv)
    model.build()
    freeze(model)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    flags = [layer.trainable for layer in model._flatten_layers()]
    x = images[0]
    still = set(range(len(model.weights))) - set(moved(model, x))
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    assert [layer.trainable for layer in loaded._flatten_layers()] == flags
    assert [w.trainable for w in loaded.weights] == [w.trainable for w in model.weights]
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    assert still
    assert set(range(len(loaded.weights))) - set(moved(loaded, x)) == still


@ordinary_on("torch")
def test_an_optimizer_that_knew_more_is_loaded_whole(images, tmp_path):
    model = make_model("VAE")
    model.fit(images[0], verbose=0)
    model.encoder.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    assert [w.trainable for w in loaded.weights] == [w.trainable for w in model.weights]


@ordinary_on("torch")
def test_players_and_priors_stay_frozen(images, tmp_path):
    random.seed(1)
    gan = keras_vae.GAN(networks.DenseDecoder(SHAPE, (4,)), networks.DenseDiscriminator((4,)), 3)
    gan.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    gan.build()
    gan.generator.hidden[0].trainable = False
    still = set(range(len(gan.weights))) - set(moved(gan, images[0]))
    gan.save(tmp_path / "gan.keras")
    loaded = keras_vae.load_model(tmp_path / "gan.keras")
    assert set(range(len(loaded.weights))) - set(moved(loaded, images[0])) == still
    prior = models.PixelCNN((3, 3), 4, None, 4, 2, 3)
    prior.build()
    prior.embedding.trainable = False
    prior.save(tmp_path / "prior.keras")
    assert not keras_vae.load_model(tmp_path / "prior.keras").embedding.trainable
    vqvae = keras_vae.VQVAE(
        networks.ConvGridEncoder(2, (4,)),
        networks.ConvGridDecoder(SHAPE, (4,)),
        layers.VectorQuantizer(4, 2),
        prior,
    )
    vqvae.build()
    vqvae.encoder.trainable = False
    vqvae.save(tmp_path / "vqvae.keras")
    loaded = keras_vae.load_model(tmp_path / "vqvae.keras")
    assert not loaded.prior.embedding.trainable
    assert not any(weight.trainable for weight in loaded.encoder.weights)


@ordinary_on("torch")
def test_a_new_model_says_nothing_of_it(tmp_path):
    model = make_model("VAE", conv=True)
    model.build()
    assert set(model.get_build_config()) == {"data_shape", "keras_vae"}
    json.dumps(model.get_build_config())


# What a file may be called, and weights alone


def test_what_load_model_would_not_read_is_not_saved(tmp_path):
    model = vae_of()
    model.build()
    for name in ("m.h5", "m.weights.h5", "m", "m.json"):
        with pytest.raises(ValueError, match=r'save_weights\(".*m\.weights\.h5"\)') as raised:
            model.save(tmp_path / name)
        line = str(raised.value).split("Save it by ")[1].split(", or")[0]
        assert line == f'save("{tmp_path / "m"}.keras")'
    with pytest.raises(ValueError, match="zipped=False"):
        model.save(tmp_path / "m.keras", zipped=False)
    with pytest.raises(FileNotFoundError, match=r"needs the folder .*no, which is not there"):
        model.save(tmp_path / "no" / "m.keras")
    assert not list(tmp_path.iterdir())


def test_a_fresh_model_takes_weights(tmp_path):
    def vae(units=3):
        return keras_vae.VAE(networks.DenseEncoder(units, (4,)), networks.DenseDecoder(SHAPE, (4,)))

    def prior():
        return models.PixelCNN((2, 2), 3, None, 4, 1, 3)

    for make in (vae, prior):
        model, other = make(), make()
        model.build()
        for name in ("own.weights.h5", "own.keras"):
            (model.save_weights if "weights" in name else model.save)(tmp_path / name)
            other.load_weights(tmp_path / name)
            for one, loaded in zip(model.weights, other.weights, strict=True):
                np.testing.assert_array_equal(*map(ops.convert_to_numpy, (one, loaded)))
    with pytest.raises(ValueError, match="must hold the weights of this VAE") as raised:
        vae(units=2).load_weights(tmp_path / "own.weights.h5")
    assert "\n" not in str(raised.value)
    with pytest.raises(FileNotFoundError, match="There must be a file of weights at"):
        vae().load_weights(tmp_path / "none.weights.h5")
    unknown = vae_of()
    unknown.decoder.data_shape = unknown.data_shape = None
    with pytest.raises(ValueError, match="is not built and its decoder does not say"):
        unknown.load_weights(tmp_path / "own.weights.h5")


def test_classes_of_a_script_are_loaded_as_the_error_says(tmp_path):
    script = """
import keras
class Head(keras.layers.Dense):
    pass
class Encoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flatten, self.heads = keras.layers.Flatten(), [Head(3), Head(3)]
    def call(self, x):
        return [head(self.flatten(x)) for head in self.heads]
"""
    defined = {"__name__": "__main__"}
    exec(script, defined)
    model = keras_vae.VAE(defined["Encoder"](), networks.DenseDecoder(SHAPE, (4,)))
    model.build()
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="If it is not Keras' own but yours") as raised:
        keras_vae.load_model(tmp_path / "model.keras")
    again = {"__name__": "__main__"}  # as another process that defines them
    exec(script, again)
    custom_objects = eval(str(raised.value).split("or pass custom_objects=")[1][:-1], again)
    loaded = keras_vae.load_model(tmp_path / "model.keras", custom_objects)
    np.testing.assert_array_equal(loaded.sample(2, seed=0), model.sample(2, seed=0))
