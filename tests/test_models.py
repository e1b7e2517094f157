"""What a user calls on a model beside `fit`: encode, decode, reconstruct, sample, load."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import seeds
from keras_vae.networks import DenseDecoder, DenseEncoder

SHAPE = (6, 5, 1)


def small(**kwargs):
    """A conditional model with names and a continuous condition, built and not trained."""
    condition = {
        "label": keras_vae.Categorical(3, names=("cat", "dog", "owl")),
        "angle": keras_vae.Continuous(2),
    }
    parts = DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,))
    return keras_vae.ConditionalVAE(*parts, condition=condition, **kwargs)


def refused(function, *args, exception=ValueError, **kwargs):
    """The one line in which a call is refused."""
    with pytest.raises(exception) as error:
        function(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert message
    return message


def functional(shape, *widths, inputs=1):
    """A functional model with one head per width; further inputs are conditions of size 3."""
    first, *rest = [keras.Input(shape), *(keras.Input((3,)) for _ in range(inputs - 1))]
    h = keras.layers.Flatten()(first)
    h = keras.layers.Concatenate()([h, *rest]) if rest else h
    heads = [keras.layers.Dense(width)(h) for width in widths]
    return keras.Model([first, *rest] if rest else first, heads if len(heads) > 1 else heads[0])


def functional_decoder(latent_dim, shape=SHAPE):
    z = keras.Input((latent_dim,))
    h = keras.layers.Dense(int(np.prod(shape)))(z)
    return keras.Model(z, keras.layers.Reshape(shape)(h))


# Parts that do not fit together


def test_a_decoder_for_another_latent_size_is_refused(images):
    built = DenseDecoder(SHAPE, (8,))
    built(np.zeros((1, 4), "float32"))
    for decoder in (functional_decoder(4), built):
        model = keras_vae.VAE(DenseEncoder(3, (8,)), decoder)
        model.compile()
        message = refused(model.fit, images[0], verbose=0)
        assert message.startswith("The decoder must accept the encoder's latent code of size 3.")
        assert "4" in message.split("It raised: ")[1]


@pytest.mark.parametrize(
    ("cls", "widths"), [("VAE", (3, 2)), ("VAE", (3,)), ("VAE", (3, 3, 3)), ("Autoencoder", (3, 2))]
)
def test_an_encoder_must_have_the_heads_that_the_model_needs(cls, widths):
    encoder = functional(SHAPE, *widths)
    message = refused(getattr(keras_vae, cls)(encoder, DenseDecoder(SHAPE, (8,))).build)
    assert message.startswith("The encoder must return `z")
    assert message.endswith(f"Received: {[(None, width) for width in widths]}.")


def test_an_encoder_that_returns_a_dict_is_refused():
    x = keras.Input(SHAPE)
    head = keras.layers.Dense(3)(keras.layers.Flatten()(x))
    encoder = keras.Model(x, {"z_mean": head, "z_log_var": head})
    message = refused(keras_vae.VAE(encoder, DenseDecoder(SHAPE, (8,))).build)
    assert message.startswith("The encoder must return `z_mean` and `z_log_var`")
    assert message.endswith("Received: ['dict'].")


def test_an_encoder_for_other_data_is_refused():
    model = keras_vae.VAE(functional((7, 5, 1), 3, 3), DenseDecoder(SHAPE, (8,)))
    message = refused(model.build)
    assert message.startswith("The encoder must accept examples of shape (6, 5, 1). It raised: ")


def test_an_encoder_without_an_input_for_the_condition_is_refused():
    condition = {"label": keras_vae.Categorical(3)}
    for encoder, fits in (
        (functional(SHAPE, 3, 3), False),
        (functional(SHAPE, 3, 3, inputs=2), True),
    ):
        model = keras_vae.ConditionalVAE(encoder, DenseDecoder(SHAPE, (8,)), condition=condition)
        if fits:
            model.build()
        else:
            assert "and a condition of size 3" in refused(model.build)


def test_a_decoder_that_makes_another_shape_is_refused(images):
    model = keras_vae.VAE(DenseEncoder(3, (8,)), functional_decoder(3, (6, 4, 1)))
    model.compile()
    message = refused(model.fit, images[0], verbose=0)
    assert message.startswith("The decoder must make what the data are, (6, 5, 1).")
    model = keras_vae.VAE(DenseEncoder(3, (8,)), DenseDecoder((6, 4, 1), (8,)))
    model.compile()
    assert "(n, 6, 4, 1)" in refused(model.fit, images[0], verbose=0)


def test_a_model_that_knows_no_shape_says_how_to_build_it(images):
    model = keras_vae.VAE(functional(SHAPE, 3, 3), functional_decoder(3))
    assert "model.build((None, 28, 28, 1))" in refused(model.sample, 2)
    model.build((None, *SHAPE))
    assert model.sample(2).shape == (2, *SHAPE)


@pytest.mark.parametrize(
    "condition",
    [None, {}, ["label"], {"label": 10}, {5: keras_vae.Continuous(1)}]
    + [{name: keras_vae.Continuous(1)} for name in ("x", "z", "seed", "temperature", "no name")],
)
def test_conditions_need_a_name_and_a_kind(condition):
    make = keras_vae.ConditionalVAE
    message = refused(make, DenseEncoder(3), DenseDecoder(SHAPE), condition=condition)
    assert message.startswith("`condition` must be a dict of at least one name")


@pytest.mark.parametrize("cls", [keras_vae.VAE, keras_vae.Autoencoder])
def test_models_without_conditions_refuse_them(cls):
    condition = {"label": keras_vae.Categorical(3)}
    message = refused(cls, DenseEncoder(3), DenseDecoder(SHAPE), condition=condition)
    assert message == f"`{cls.__name__}` takes no `condition`. Use `ConditionalVAE`."


def test_bad_settings_of_a_model_are_refused():
    parts = DenseEncoder(3), DenseDecoder(SHAPE)
    for kl_weight in (-1.0, float("nan"), float("inf")):
        assert "`kl_weight`" in refused(keras_vae.VAE, *parts, kl_weight=kl_weight)
    assert "'bernoulli'" in refused(keras_vae.VAE, *parts, likelihood="gauss")


# Arrays in, arrays out


def test_every_answer_is_a_float32_array_of_the_right_shape(images):
    x, label = images
    inputs = {"x": x, "label": label, "angle": np.zeros((48, 2))}
    conditions = {name: inputs[name] for name in ("label", "angle")}
    model = small()
    model.build()
    z_mean, z_log_var = model.encode(inputs)
    made = {
        (48, 3): [z_mean, z_log_var],
        (48, *SHAPE): [
            model.decode(z_mean, conditions),
            model.reconstruct(inputs),
            model.sample(conditions, seed=0),
        ],
    }
    for shape, arrays in made.items():
        for array in arrays:
            assert isinstance(array, np.ndarray)
            assert array.shape == shape
            assert array.dtype == np.float32
            assert np.isfinite(array).all()
    # Reconstructing is decoding the posterior mean. Measured: 6e-8.
    np.testing.assert_allclose(made[48, *SHAPE][0], made[48, *SHAPE][1], atol=1e-6)
    # The batch size is a matter of memory alone. Measured: 2e-7.
    np.testing.assert_allclose(model.encode(inputs, batch_size=24)[0], z_mean, atol=1e-6)


def test_the_decoder_makes_probabilities(images):
    model = keras_vae.VAE(DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,)))
    far = model.decode(np.full((2, 3), 1e4))
    assert far.min() >= 0
    assert far.max() <= 1
    assert far.std() > 0.4


def test_labels_may_be_names_indices_or_unknown():
    model = small()
    angle = np.zeros((4, 2))
    by_name, by_index = (
        model.sample({"label": label, "angle": angle}, seed=1)
        for label in (["owl", "cat", None, "dog"], np.array([2, 0, 3, 1]))
    )
    np.testing.assert_array_equal(by_name, by_index)
    mixed = model.sample({"label": ["owl", 0, None, np.int64(1)], "angle": angle.tolist()}, seed=1)
    np.testing.assert_array_equal(by_name, mixed)
    other = model.sample({"label": ["cat"] * 4, "angle": angle}, seed=1)
    differs = np.any(other != by_name, axis=(1, 2, 3))
    assert differs.tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (["bird"], "Received: 'bird'. The classes are: cat, dog, owl."),
        ([4], "from 0 to 2, or 3 for unknown. Received: 4 at position 0"),
        ([0, -1], "Received: -1 at position 1"),
        ([True], "must be whole numbers or names. Received: True"),
        (np.array([False]), "must be whole numbers or names"),
        ([1.5], "must be whole numbers or names. Received: 1.5"),
        (np.array([0.5], "float32"), "must be whole numbers or names"),
        ([float("inf")], "must be whole numbers or names. Received: inf"),
        ([b"cat"], "must be whole numbers or names"),
        ([[0, 1]], "`label` must have the shape (n,). Received: (1, 2)"),
        (4, "from 0 to 2, or 3 for unknown. Received: 4"),
        ("bird", "Received: 'bird'. The classes are: cat, dog, owl."),
        ([], "a whole number from 1 to 1048576"),
    ],
)
def test_a_wrong_label_is_refused_in_one_line(label, words):
    model = small()
    angle = np.zeros((np.size(label) if isinstance(label, list) else 1, 2))
    assert words in refused(model.sample, {"label": label, "angle": angle})


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"label": [1]}, "needs a dict of the conditions ['angle', 'label']. Received: ['label']"),
        ({}, "needs a dict of the conditions ['angle', 'label']. Received: []"),
        ({"label": [1], "angle": [[0, 0]], "size": [1]}, "Received: ['angle', 'label', 'size']"),
        ([1, 2], "needs a dict of the conditions ['angle', 'label']. Received: ['list']"),
        (7, "takes the number of samples by its name: sample(count=7)"),
        (None, "whose range it knows. Received: no value of angle"),
        ({"label": [1, 2], "angle": [[0.0, 0.0]]}, "`angle` must hold one value per example"),
        (
            {"label": [1], "angle": [[0.0]]},
            "`angle` must have the shape (n, 2), such as [[0.0, 0.0]]. Received: (1, 1)",
        ),
        ({"label": [1], "angle": [[0.0, np.nan]]}, "`angle` must be finite"),
    ],
)
def test_wrong_conditions_are_refused_in_one_line(conditions, words):
    assert words in refused(small().sample, conditions)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temperature": -0.1}, "`temperature` must be at least 0"),
        ({"temperature": float("nan")}, "`temperature` must be at least 0"),
        ({"temperature": float("inf")}, "`temperature` must be at least 0"),
        ({"seed": -1}, "`seed` must be a whole number from 0 to 2147483647"),
        ({"seed": 0.5}, "`seed` must be a whole number from 0 to 2147483647"),
        ({"seed": "7"}, "`seed` must be a whole number from 0 to 2147483647"),
    ],
)
def test_a_wrong_seed_or_temperature_is_refused_in_one_line(arguments, words):
    assert words in refused(small().sample, {"label": [1], "angle": [[0, 0]]}, **arguments)


def test_a_single_value_is_that_of_all_samples():
    model = small()
    angles = np.zeros((3, 2))
    expected = model.sample({"label": [1] * 3, "angle": angles}, seed=1)
    for label in (1, "dog", np.int64(1), np.array(1), np.str_("dog"), ops.convert_to_tensor(1)):
        made = model.sample({"label": label, "angle": angles}, seed=1)
        np.testing.assert_array_equal(made, expected)
    for arguments in ({"count": 3}, {"count": np.int64(3)}):
        made = model.sample({"label": 1, "angle": [0.0, 0.0]}, seed=1, **arguments)
        np.testing.assert_array_equal(made, expected)
    assert model.sample({"label": None, "angle": (0, 0)}).shape == (1, *SHAPE)
    z = model.prior.sample(3, 3, seed=1)
    np.testing.assert_array_equal(model.decode(z, {"label": "dog", "angle": [0, 0]}), expected)
    x = np.zeros((3, *SHAPE), "float32")
    one, each = (
        model.encode({"x": x, "label": label, "angle": angles})[0] for label in (2, [2, 2, 2])
    )
    np.testing.assert_array_equal(one, each)
    words = "`label` must hold one value per example. Received: 2 values for 3 examples."
    assert words in refused(model.sample, {"label": [0, 1], "angle": [0, 0]}, count=3)


def test_samples_without_a_label_are_of_drawn_ones():
    parts = DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,))
    model = keras_vae.ConditionalVAE(*parts, {"label": keras_vae.Categorical(3)})
    made = model.sample(count=16, seed=4)
    labels = seeds.generator(4, "label label").integers(3, size=16)
    assert set(labels) == {0, 1, 2}
    np.testing.assert_array_equal(made, model.sample({"label": labels}, seed=4))
    assert model.sample().shape == (1, *SHAPE)
    unconditional = keras_vae.VAE(DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,)))
    assert unconditional.sample(count=2).shape == (2, *SHAPE)
    assert "Pass sample(count=16)" in refused(unconditional.sample, {"label": [7]})


def test_a_wrong_count_or_code_is_refused_in_one_line():
    model = keras_vae.VAE(DenseEncoder(3, (8,)), DenseDecoder(SHAPE, (8,)))
    for count in (0, -1, 2.0, [1, 2]):
        assert "`count` must be a whole number" in refused(model.sample, count)
    for shape in ((4, 2), (3,), (0, 3), (2, 3, 1)):
        assert "`z` must have the shape (n, 3)" in refused(model.decode, np.zeros(shape))
    assert "needs a dict of the conditions []" in refused(
        model.decode, np.zeros((1, 3)), {"label": [1]}
    )


def test_the_same_seed_gives_the_same_images():
    model = small()
    conditions = {"label": ["cat", "dog", "owl"], "angle": np.zeros((3, 2))}
    first, again = (model.sample(conditions, seed=42) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, model.sample(conditions, seed=43))
    assert not np.array_equal(model.sample(conditions), model.sample(conditions))


def test_temperature_scales_the_code_and_zero_is_the_priors_mean():
    model = small()
    conditions = {"label": ["cat"] * 3, "angle": np.zeros((3, 2))}
    coldest = model.sample(conditions, temperature=0, seed=1)
    # Rows of a product may differ in the last bit. Measured: 6e-8.
    np.testing.assert_allclose(coldest, np.repeat(coldest[:1], 3, axis=0), atol=1e-6)
    np.testing.assert_array_equal(coldest, model.decode(np.zeros((3, 3)), conditions))
    z = model.prior.sample(3, 3, seed=1)
    halved = model.sample(conditions, temperature=0.5, seed=1)
    np.testing.assert_array_equal(halved, model.decode(z / 2, conditions))


def test_an_autoencoder_learns_a_code_and_samples_nothing(make, images):
    x, _ = images
    model = make("Autoencoder")
    history = model.fit(x, batch_size=24, epochs=15, verbose=0).history
    assert set(history) == {"loss", "reconstruction_loss", "gradient_norm", "skipped_updates"}
    assert history["loss"][-1] < history["loss"][0] - 1
    assert history["loss"] == history["reconstruction_loss"]
    z = model.encode(x)
    assert isinstance(z, np.ndarray)
    assert z.shape == (48, 3)
    np.testing.assert_allclose(model.decode(z), model.reconstruct(x), atol=1e-6)
    assert not hasattr(model, "sample")
    assert not hasattr(model, "log_likelihood")


# Loading


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A folder with the `model.keras` of a model that was built and never trained."""
    folder = tmp_path_factory.mktemp("run")
    model = small()
    model.compile()
    model.build()
    model.save(folder / "model.keras")
    return folder


def test_a_model_loads_from_its_file_or_its_run_folder(run_folder):
    made = []
    for path in (run_folder, str(run_folder), run_folder / "model.keras"):
        model = keras_vae.load_model(path)
        assert type(model) is keras_vae.ConditionalVAE
        assert model.condition["label"].names == ("cat", "dog", "owl")
        made.append(model.sample({"label": ["owl"], "angle": [[0, 1]]}, seed=0))
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def test_a_functional_network_with_operations_loads(images, tmp_path):
    x = images[0]
    pixels = keras.Input(x.shape[1:])
    flat = keras.ops.reshape(pixels, (-1, 30)) * 2 - 1
    h = keras.layers.Dense(6)(keras.ops.concatenate([keras.ops.tanh(flat), flat[:, :2]], axis=1))
    encoder = keras.Model(pixels, (h[:, :3], h[:, 3:]))
    model = keras_vae.VAE(encoder, keras_vae.networks.DenseDecoder(x.shape[1:], (4,)))
    model.build()
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.encode(x)[0], model.encode(x)[0])


def test_what_is_not_there_is_said_in_one_line(tmp_path):
    message = refused(keras_vae.load_model, tmp_path / "a.keras", exception=FileNotFoundError)
    assert message == f"There must be a .keras file or a run folder at {tmp_path / 'a.keras'}."
    message = refused(keras_vae.load_model, tmp_path, exception=FileNotFoundError)
    assert f"{tmp_path}, which has none" in message
    assert message.endswith(f"python -m keras_vae train --out {tmp_path}")


def rewrite(source, target, change):
    """Copy a zip file, each entry's bytes passed through `change(name, content)`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


def write_sequential(_, path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)


def write_cut(source, path):
    content = source.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_zip(_, path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hello.txt", "hello")


def without(ending):
    return lambda source, path: rewrite(
        source, path, lambda name, content: None if name.endswith(ending) else content
    )


def with_config(config):
    return lambda source, path: rewrite(
        source, path, lambda name, content: config if name == "config.json" else content
    )


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda source, path: path.write_bytes(b""), "no archive, or one that is cut off"),
        (lambda source, path: path.write_text("not a model"), "no archive"),
        (write_cut, "no archive, or one that is cut off"),
        (write_zip, "an archive without 'config.json'"),
        (write_sequential, "Received: a Sequential."),
        (without(".h5"), "an archive without 'model.weights.h5'"),
        (with_config(b"{"), "a config.json that is damaged: Expecting property name"),
        (with_config(b"[]"), "a config.json that is no JSON object"),
    ],
    ids=["empty", "text", "cut", "zip", "sequential", "no weights", "cut config", "empty config"],
)
def test_a_file_of_something_else_is_refused_in_one_line(run_folder, tmp_path, write, words):
    path = tmp_path / "model.keras"
    write(run_folder / "model.keras", path)
    message = refused(keras_vae.load_model, path)
    assert str(path) in message
    assert words in message
    assert refused(keras_vae.load_model, tmp_path) == message


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("7.1.0", '(A newer version wrote the file: pip install "keras-vae>=7.1.0".)'),
        ('7"; rm', ""),
        ("0.0.1", ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("change", ["class", "argument"])
def test_a_file_of_a_newer_version_is_refused_with_what_reads_it(
    run_folder, tmp_path, change, version, advice
):
    def edit(name, content):
        if name != "config.json":
            return content
        config = json.loads(content)
        assert config["build_config"]["keras_vae"] == keras_vae.__version__
        config["build_config"]["keras_vae"] = version
        if change == "class":
            names = {"class_name": "Newer", "registered_name": "keras_vae>Newer"}
            config["config"]["prior"].update(names)
        else:
            config["config"]["newer"] = 1
        return json.dumps(config)

    rewrite(run_folder / "model.keras", tmp_path / "model.keras", edit)
    message = refused(keras_vae.load_model, tmp_path)
    assert ("Newer" if change == "class" else "newer") in message.split("(A newer")[0]
    assert message.endswith(advice)
    assert advice or "pip install" not in message


def test_another_file_ending_is_refused_in_one_line(run_folder, tmp_path):
    shutil.copy(run_folder / "model.keras", tmp_path / "model.zip")
    assert "must be a .keras file" in refused(keras_vae.load_model, tmp_path / "model.zip")


def test_a_class_that_is_not_registered_is_named_and_may_be_passed(tmp_path):
    class Unregistered(DenseEncoder):
        pass

    model = keras_vae.VAE(Unregistered(3, (8,)), DenseDecoder(SHAPE, (8,)))
    model.build()
    model.save(tmp_path / "model.keras")
    message = refused(keras_vae.load_model, tmp_path)
    assert "Unregistered', which may not be loaded from a file" in message
    custom_objects = eval(message.split("or pass custom_objects=")[1][:-1], locals())
    assert "must be a dict" in refused(keras_vae.load_model, tmp_path, [Unregistered])
    loaded = keras_vae.load_model(tmp_path, custom_objects)
    assert type(loaded.encoder) is Unregistered
