"""What goes into a model: what its dtype, range and layout mean, the same on every way in."""

import random
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import likelihoods, networks
from tests.conftest import ordinary_on


class Batches(keras.utils.PyDataset):
    """Batches of 16 of nested arrays."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(keras.tree.flatten(self.arrays)[0]) // 16)

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return keras.tree.map_structure(lambda array: array[rows], self.arrays)


def one_line(error):
    return "\n" not in str(error.value)


# What the values of a dtype are


@pytest.fixture
def binary(images):
    """Images of 0 and 1, float32."""
    return (images[0] > 0.5).astype("float32")


def test_a_dark_picture_beside_a_bright_one_is_the_same_picture(make, binary):
    model = make("VAE")
    dark, bright = binary[:1].astype("uint8"), np.full((1, 6, 5, 1), 255, "uint8")

    def made(x):
        return [*model.encode(x), model.reconstruct(x)]

    ways = made(dark), made(np.concatenate([dark, bright])), made(dark / np.float32(255))
    for alone, beside, meant in zip(*ways, strict=True):
        # Of one row and of two, of NumPy and of the backend: measured 6e-8.
        np.testing.assert_allclose(alone[0], beside[0], rtol=0, atol=5e-7)
        np.testing.assert_allclose(alone[0], meant[0], rtol=0, atol=5e-7)
    scores = [model.log_likelihood(x, 8, seed=0) for x in (dark, dark / np.float32(255))]
    np.testing.assert_allclose(*scores, rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "divisor"),
    [
        ("uint8", 255),
        ("bool", 1),
        *(pytest.param(dtype, 1, marks=ordinary_on("torch")) for dtype in ("int32", "float32")),
    ],
)
@pytest.mark.parametrize("name", ["VAE", pytest.param("GAN", marks=ordinary_on("torch"))])
def test_the_dtype_alone_says_what_values_are_in_arrays_and_in_datasets(
    make, binary, name, dtype, divisor
):
    def made():
        if name == "VAE":
            return make()
        random.seed(1)
        generator = networks.DenseDecoder((6, 5, 1), (8,))
        model = keras_vae.GAN(generator, networks.DenseDiscriminator((8,)), 3, seed=3)
        model.compile("adam")
        model.build()
        return model

    def wrapped(x):
        return {"x": x, "label": np.arange(48, dtype="int32") % 3} if name == "VAE" else x

    expected = made().evaluate(wrapped(binary / np.float32(divisor)), batch_size=16, verbose=0)
    x = binary.astype(dtype)
    for given in (wrapped(x), Batches((wrapped(x),))):
        found = made().evaluate(given, batch_size=16, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)  # measured 2e-7


@ordinary_on("torch")
def test_fit_says_that_uint8_of_0_and_1_is_read_as_0_to_255(make, binary):
    model = make("VAE")
    with pytest.warns(UserWarning, match="none of its values exceeds 1") as said:
        model.fit(binary.astype("uint8"), verbose=0)
    said = [str(warning.message) for warning in said if "uint8" in str(warning.message)]
    assert [text.count("\n") for text in said] == [0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(binary.astype(bool), verbose=0)
        model.fit((255 * binary).astype("uint8"), verbose=0)
        model.evaluate(binary.astype("uint8"), verbose=0)


@ordinary_on("torch")
def test_uint8_is_refused_where_a_picture_has_no_meaning(binary):
    def model(likelihood):
        encoder, decoder = networks.DenseEncoder(2, (4,)), networks.DenseDecoder((6, 5, 1), (4,))
        return keras_vae.VAE(encoder, decoder, likelihood=likelihood)

    classes = binary.astype("uint8")
    with pytest.raises(ValueError, match=r"x.astype\('float32'\) / 3") as error:
        model(likelihoods.Categorical(4)).encode(classes)
    assert one_line(error)
    for likelihood in (
        likelihoods.Categorical(256),
        likelihoods.DiscretizedLogisticMixture(1, 16),
        likelihoods.Gaussian(),
    ):
        model(likelihood).encode(classes)
    assert model(likelihoods.Categorical(4)).encode(binary)[0].shape == (48, 2)


@ordinary_on("torch")
@pytest.mark.parametrize(
    "largest", [np.float64(1.0000000000000002), np.nextafter(np.float32(1), np.float32(2))]
)
def test_rounding_beyond_the_range_is_none(make, images, largest):
    x = images[0].astype(largest.dtype)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = largest, -np.finfo(largest.dtype).eps / 8
    for data in (x, Batches((x,))):
        model = make("VAE")
        history = model.fit(data, batch_size=16, verbose=0).history
        assert history["skipped_updates"] == [0]
        assert np.isfinite(history["loss"]).all()
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        make("VAE").fit(x + 1e-4, verbose=0)


@ordinary_on("torch")
def test_only_whole_numbers_are_taken_for_8_bit_images(make, images):
    with pytest.raises(ValueError, match="Divide 8-bit images"):
        make("VAE").encode(np.round(255 * images[0]))
    with pytest.raises(ValueError, match=r"to 1\.[0-9]+\.$"):
        make("VAE").encode(1.3 * images[0])


# Channels last


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


IMAGE = np.random.default_rng(0).uniform(size=(2, 7, 6, 3)).astype("float32")
CODE = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
GRID = np.random.default_rng(2).normal(size=(2, 2, 2, 4)).astype("float32")
NETWORKS = {
    "conv encoder": (lambda: networks.ConvEncoder(3, (4, 2)), IMAGE),
    "conv decoder": (lambda: networks.ConvDecoder((7, 6, 3), (4, 2)), CODE),
    "transposed": (lambda: networks.ConvDecoder((7, 6, 3), (4, 2), transposed=True), CODE),
    "grid encoder": (lambda: networks.ConvGridEncoder(3, (4, 2)), IMAGE),
    "grid decoder": (lambda: networks.ConvGridDecoder((7, 6, 3), (4, 2)), GRID),
    "conv discriminator": (
        lambda: networks.ConvDiscriminator((4, 2), spectral_normalization=True),
        IMAGE,
    ),
    "dense discriminator": (lambda: networks.DenseDiscriminator((4,)), IMAGE),
    "dense encoder": (lambda: networks.DenseEncoder(3, (4,)), IMAGE),
    "ladder encoder": (lambda: networks.LadderEncoder((3, 2), (4, 4)), IMAGE),
    "conv ladder encoder": (
        lambda: networks.ConvLadderEncoder((7, 6, 3), (1, 1), (4, 2)),
        IMAGE,
    ),
    "conv ladder decoder": (lambda: networks.ConvLadderDecoder((4, 4, 3), (1,), (2,)), CODE),
    "pixel cnn": (
        lambda: keras_vae.PixelCNN((3, 4), 5, hidden_units=4, num_layers=2),
        np.arange(24, dtype="int32").reshape(2, 3, 4) % 5,
    ),
}


@ordinary_on("tensorflow", "torch")
@pytest.mark.parametrize("name", NETWORKS)
def test_channels_are_last_whatever_keras_is_configured_to(name, request):
    network, inputs = NETWORKS[name]

    def made():
        random.seed(0)
        outputs = network()(ops.convert_to_tensor(inputs))
        return [ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]

    expected = made()
    request.getfixturevalue("channels_first")
    for one, other in zip(made(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@ordinary_on("torch")
def test_the_judge_of_samples_has_channels_last(channels_first):
    from keras_vae.data import Dataset
    from keras_vae.evaluation.classifier import train_classifier

    x, y = np.repeat(IMAGE, 8, axis=0), np.arange(16, dtype="int32") % 2
    classifier = train_classifier(Dataset("x", x, y, x, y, ("0", "1")), epochs=1)
    assert tuple(classifier.layers[0].kernel.shape) == (3, 3, 3, 16)
