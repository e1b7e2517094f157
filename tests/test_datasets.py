"""What the batches of a data set must hold, and what the second item of a pair means."""

import random
import warnings

import keras
import numpy as np
import pytest

import keras_vae
from keras_vae import networks
from tests.conftest import BACKEND, ordinary_on


class Batches(keras.utils.PyDataset):
    """Batches of 16, the last one of 8, of nested arrays."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays = keras.tree.map_structure(lambda array: array[:40], arrays)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return keras.tree.map_structure(lambda array: array[rows], self.arrays)


def generator(arrays):
    batches = Batches(arrays)
    return (batches[index] for index in range(3))


def loader(arrays):
    torch = pytest.importorskip("torch")
    arrays = keras.tree.map_structure(lambda array: array[:40], arrays)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return keras.tree.map_structure(lambda array: torch.tensor(array[index]), arrays)

    return torch.utils.data.DataLoader(Rows(), batch_size=16)


def tf_dataset(arrays, batch_size=16):
    tensorflow = pytest.importorskip("tensorflow")
    arrays = keras.tree.map_structure(lambda array: array[:40], arrays)
    dataset = tensorflow.data.Dataset.from_tensor_slices(arrays)
    return dataset.batch(batch_size) if batch_size else dataset


# Those of another backend, which takes seconds to import, are left to `test-slow`.
KINDS = [
    Batches,
    pytest.param(generator, marks=ordinary_on("torch")),
    pytest.param(loader, marks=ordinary_on("torch")),
    pytest.param(tf_dataset, marks=ordinary_on("tensorflow")),
]


def make_gan(name="ConditionalGAN", **kwargs):
    random.seed(1)
    conditional = name == "ConditionalGAN"
    discriminator = networks.DenseDiscriminator((8,), num_classes=3 if conditional else None)
    if conditional:
        kwargs["condition"] = {"label": keras_vae.Categorical(3)}
    model = getattr(keras_vae, name)(
        networks.DenseDecoder((6, 5, 1), (8,)), discriminator, latent_dim=3, seed=3, **kwargs
    )
    model.compile("adam")
    return model


def make_prior(condition=True):
    random.seed(1)
    kinds = {"label": keras_vae.Categorical(3)} if condition else {}
    prior = keras_vae.PixelCNN((3, 2), 5, kinds, hidden_units=4, num_layers=1, seed=3)
    prior.compile("adam")
    return prior


CODES = np.random.default_rng(0).integers(0, 5, (40, 3, 2)).astype("int32")


def losses(model, data):
    """What `evaluate` gives of a model that is not trained."""
    measured = model.evaluate(data, verbose=0)
    return measured if isinstance(measured, list) else [measured]


def refused(words, call, *args, **kwargs):
    """Check that a call raises one line with the words, before anything is trained."""
    with pytest.raises(ValueError, match=words) as error:
        call(*args, verbose=0, **kwargs)
    assert "\n" not in str(error.value)


# Keras says so of every generator whose end it did not know.
pytestmark = pytest.mark.filterwarnings("ignore:Your input ran out of data")


# Pairs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["ConditionalVAE", "ConditionalGAN"])
def test_a_conditional_model_takes_the_label_of_a_pair(make, images, kind, name):
    x, label = images
    model = make if name == "ConditionalVAE" else make_gan
    expected = losses(model(), Batches(({"x": x, "label": label},)))
    found = losses(model(), kind((x, label[:, None].astype("int64"))))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@ordinary_on("torch", "tensorflow")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["VAE", pytest.param("GAN", marks=ordinary_on("torch"))])
def test_a_model_without_conditions_ignores_labels_and_says_so_once(make, images, kind, name):
    x, label = images
    model = make_gan if name == "GAN" else make
    expected = losses(model(name), Batches((x,)))
    model = model(name)
    labels = np.eye(3, dtype="float32")[label] if kind == Batches else label
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = losses(model, kind((x, labels)))
        model.fit(kind((x, labels)), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    lines = [str(each.message) for each in said if "labels beside" in str(each.message)]
    assert [line.count("\n") for line in lines] == [0]


@ordinary_on("torch", "tensorflow")
@pytest.mark.parametrize("kind", [Batches, pytest.param(loader, marks=ordinary_on("torch"))])
def test_validation_takes_the_same_pairs(make, images, kind):
    x, label = images
    model = make()
    history = model.fit(
        {"x": x, "label": label}, validation_data=kind((x, label)), verbose=0
    ).history
    assert np.isfinite(history["val_loss"]).all()
    model = make("VAE")
    with pytest.warns(UserWarning, match="`VAE` does not use"):
        history = model.fit(x, validation_data=kind((x, label)), verbose=0).history
    # Drawn anew: measured 0.11, where a label taken for the target gave NaN.
    expected = model.evaluate(x[:40], verbose=0)[0]
    np.testing.assert_allclose(history["val_loss"], expected, rtol=0, atol=0.5)


def test_a_prior_over_codes_takes_the_label_of_a_pair():
    label = np.arange(40, dtype="int32") % 3
    expected = losses(make_prior(), Batches(({"codes": CODES, "label": label},)))
    np.testing.assert_allclose(losses(make_prior(), Batches((CODES, label))), expected, rtol=1e-6)


@ordinary_on("torch")
def test_a_prior_over_codes_is_told_of_wrong_batches_as_models_are():
    label = np.arange(40, dtype="int32") % 3
    with pytest.warns(UserWarning, match="`PixelCNN` does not use"):
        make_prior(condition=False).fit(Batches((CODES, label)), verbose=0)
    for data in (Batches((CODES[..., None], label)), Batches((CODES[:, :2], label))):
        refused(r"must have the shape \(batch, 3, 2\)", make_prior().fit, data)
    refused("Codes must be integers", make_prior(False).fit, Batches((CODES / 5,)))
    refused("must be an array", make_prior(False).fit, [CODES])


@ordinary_on("torch", "tensorflow")
@pytest.mark.parametrize("kind", KINDS)
def test_batches_need_no_tuple(make, images, kind):
    x, label = images
    for name, data in (("ConditionalVAE", {"x": x, "label": label}), ("VAE", x)):
        expected = losses(make(name), Batches((data,)))
        np.testing.assert_allclose(losses(make(name), kind(data)), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_batch_says_the_shape_of_the_data(images, kind):
    """Of networks that do not say it; also where that batch is a pair."""
    x, label = images
    random.seed(1)
    z, code = keras.Input((2,)), keras.Input((3,))
    image, beside = keras.Input((6, 5, 1)), keras.Input((3,))
    h = keras.layers.Concatenate()([keras.layers.Flatten()(image), beside])
    encoder = keras.Model([image, beside], [keras.layers.Dense(2)(h), keras.layers.Dense(2)(h)])
    made = keras.layers.Dense(30)(keras.layers.Concatenate()([z, code]))
    decoder = keras.Model([z, code], keras.layers.Reshape((6, 5, 1))(made))
    model = keras_vae.ConditionalVAE(encoder, decoder, {"label": keras_vae.Categorical(3)}, seed=0)
    model.compile("adam")
    model.fit(kind((x, label)), verbose=0)
    assert model.data_shape == (6, 5, 1)


# What is refused


WRONG = {
    "channels first": (lambda x, y: np.moveaxis(x, -1, 1), r"np.moveaxis\(x, 1, -1\)"),
    "no channels": (lambda x, y: x[..., 0], r"x\[..., None\]"),
    "flat": (lambda x, y: x.reshape(48, -1), r"x.reshape\(-1, 6, 5, 1\)"),
    "of another size": (lambda x, y: x[:, :5], r"Received: \(.*, 5, 5, 1\)"),
    "a target of another shape": (lambda x, y: (x, np.repeat(x, 3, -1)), "a target of their shape"),
    "four items": (lambda x, y: (x, y, y, y), "Received: 4 items"),
    "no x": (lambda x, y: {"image": x}, "must have the keys"),
    "complex": (lambda x, y: x + 1j, "must be numbers"),
    "weights of pixels": (lambda x, y: (x, x, x), "Sample weights of a batch"),
}


@ordinary_on("torch")
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_batches_are_one_line(make, images, wrong):
    change, words = WRONG[wrong]
    data = change(*images)
    for model in (make("VAE"), make_gan("GAN")):
        refused(words, model.fit, generator(data))
        refused(words, model.evaluate, generator(data))
        refused(words, model.fit, images[0], validation_data=generator(data))


@pytest.mark.parametrize("name", ["VAE", pytest.param("GAN", marks=ordinary_on("torch"))])
def test_wrong_batches_leave_a_model_as_it_is(make, images, name):
    x, _ = images
    wrong = np.moveaxis(x, -1, 1)
    model = make_gan(name) if name == "GAN" else make(name)
    model.fit(x, verbose=0)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    refused(r"np.moveaxis\(x, 1, -1\)", model.evaluate, Batches((wrong,)))
    refused(r"np.moveaxis\(x, 1, -1\)", model.fit, Batches((wrong,)))
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(weight))
    model.evaluate(x, verbose=0)
    refused(r"np.moveaxis\(x, 1, -1\)", model.fit, x, validation_data=Batches((wrong,)))
    model.evaluate(x, verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_batches_of_every_kind_of_dataset_are_one_line(make, images, kind):
    x, label = images
    for name, data in (
        ("VAE", (np.moveaxis(x, -1, 1), label)),
        ("ConditionalVAE", {"x": np.moveaxis(x, -1, 1), "label": label}),
    ):
        refused("np.moveaxis", make(name).fit, kind(data))
    model = make()
    for labels, words in (
        (np.eye(3, dtype="float32")[label], r"y = np\.argmax\(y, axis=1\)"),
        (label == 1, "Cast it to int32"),
    ):
        for data in ((x, labels), {"x": x, "label": labels}):
            refused(words, model.fit, kind(data))


def test_names_in_batches_are_answered_with_the_line_that_makes_numbers(make, images):
    x, label = images
    names = np.array(["cat", "dog", "owl"])[label]
    model = make(condition={"label": keras_vae.Categorical(names=["cat", "dog", "owl"])})
    model.build()
    line = r'y = model\.condition\["label"\]\.as_array\(y\)'.replace('"', "'")
    for data in ({"x": x, "label": names}, (x, names.astype(object))):
        refused(line, model.fit, Batches(data))
        refused(line, model.fit, generator(data))
        refused(line, model.evaluate, Batches(data))
    assert model.condition["label"].as_array(names).tolist() == label.tolist()
    if BACKEND == "tensorflow":
        lookup = keras.layers.StringLookup(
            vocabulary=model.condition["label"].names, num_oov_indices=0
        )
        refused(r"StringLookup\(.*\.names, num_oov_indices=0\)", model.fit, tf_dataset((x, names)))
        data = tf_dataset((x, names)).map(lambda x, y: (x, lookup(y)))
        assert np.isfinite(model.evaluate(data, verbose=0)).all()


@ordinary_on("tensorflow")
def test_a_dataset_without_batches_is_one_line(make, images):
    x, label = images
    for data in (x, (x, label)):
        words = "a single example: make batches"
        refused(words, make("VAE").fit, tf_dataset(data, batch_size=None))


@pytest.mark.skipif(BACKEND != "torch", reason="elsewhere it is one of a wrong shape")
def test_a_loader_without_batches_is_one_line(make, images):
    import torch

    dataset = torch.utils.data.TensorDataset(torch.tensor(images[0]))
    words = "a single example: make batches"
    refused(words, make("VAE").fit, torch.utils.data.DataLoader(dataset, batch_size=None))


@ordinary_on("torch")
def test_values_out_of_range_are_one_line_in_evaluation(make, images):
    x, label = images
    model = make("VAE")
    for wrong in (255 * x, np.where(x > 0.5, np.nan, x)):
        refused("Received: NaN", model.evaluate, Batches((wrong,)))
        refused("Received: NaN", model.fit, x, validation_data=Batches((wrong,)))
    model = make()
    refused("labels that are no class", model.evaluate, Batches((x, label + 2)))


@ordinary_on("torch")
@pytest.mark.parametrize("wrong", [[np.zeros((4, 6, 5, 1))], (1, 2), "mnist", None, {"x": 3}, 7])
def test_what_is_neither_array_nor_dataset_is_one_line(make, wrong):
    for method in (make("VAE").fit, make("VAE").evaluate):
        refused("must be an array, a dict of arrays", method, wrong)


@ordinary_on("torch")
def test_a_dataset_is_not_split(make, images):
    refused("`validation_split`", make("VAE").fit, Batches((images[0],)), validation_split=0.2)


@pytest.mark.skipif(BACKEND != "torch", reason="traced steps are PyTorch's")
def test_a_traced_step_says_what_is_wrong_and_nothing_else(make, images):
    model = make("VAE")
    model.compile("adam", jit_compile=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        refused("np.moveaxis", model.fit, Batches((np.moveaxis(images[0], -1, 1),)))


# Channels first


@ordinary_on("torch")
@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 6, 7)])
def test_convolutions_are_not_trained_on_what_looks_like_channels_first(shape):
    x = np.random.default_rng(0).uniform(size=(16, *shape)).astype("float32")

    def model(encoder, decoder):
        made = keras_vae.VAE(encoder, decoder)
        made.compile("adam")
        return made

    for data in (x, Batches((x,))):
        conv = model(networks.ConvEncoder(2, (4,)), networks.ConvDecoder(shape, (4,)))
        refused(r"np.moveaxis\(x, 1, -1\)", conv.fit, data)
    model(networks.DenseEncoder(2, (4,)), networks.DenseDecoder(shape, (4,))).fit(x, verbose=0)
    last = np.moveaxis(x, 1, -1)
    model(networks.ConvEncoder(2, (4,)), networks.ConvDecoder(last.shape[1:], (4,))).fit(
        last, verbose=0
    )
