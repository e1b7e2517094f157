"""How data reach the steps: from files as from memory, grey or drawn as binary."""

import numpy as np
import pytest
from keras import ops
from PIL import Image

import keras_vae
from keras_vae import data, distributions
from tests.conftest import ordinary_on
from tests.test_training import assert_same_weights


@pytest.fixture
def folder(tmp_path):
    """Ten images of each of three classes, in files."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype="uint8")
    for index, image in enumerate(pixels):
        (tmp_path / str(index % 3)).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / str(index % 3) / f"{index}.png")
    return tmp_path


@ordinary_on("torch")
@pytest.mark.parametrize("shuffle", [True, False])
def test_images_in_files_train_as_those_in_memory(make, folder, shuffle):
    histories, models = [], []
    for in_memory in (True, False):
        dataset = data.load(folder, in_memory=in_memory)
        model = make("ConditionalVAE")
        train = {"x": dataset.x_train, "label": dataset.y_train}
        test = {"x": dataset.x_test, "label": dataset.y_test}
        fitted = model.fit(
            train, validation_data=(test,), batch_size=7, epochs=3, shuffle=shuffle, verbose=0
        )
        histories.append({**fitted.history, "test": model.evaluate(test, verbose=0)})
        models.append(model)
        assert model.reconstruct(test).shape == dataset.x_test.shape
    assert histories[0] == histories[1]
    assert_same_weights(*models)


def test_an_array_mapped_from_a_file_trains_as_one_in_memory(make, tmp_path):
    x = np.random.default_rng(0).random((32, 6, 5, 1), "float32")
    np.save(tmp_path / "x.npy", x)
    models = []
    for array in (x, np.load(tmp_path / "x.npy", mmap_mode="r")):
        models.append(make("VAE"))
        models[-1].fit(array, batch_size=8, epochs=2, verbose=0)
    assert_same_weights(*models)


def test_a_file_that_goes_while_the_model_trains_is_named(make, folder):
    dataset = data.load(folder, in_memory=False)
    dataset.x_train.paths[-1].unlink()
    inputs = {"x": dataset.x_train, "label": dataset.y_train}
    with pytest.raises(Exception, match="must be a complete image"):
        make("ConditionalVAE").fit(inputs, epochs=1, verbose=0)


@ordinary_on("torch")
class TestDynamicBinarization:
    def test_each_step_sees_other_binary_images_with_the_grey_values_as_mean(
        self, make, monkeypatch
    ):
        model, seen, draws = make("VAE", dynamic_binarization=True), [], 400
        call = model.call

        def watched(inputs, **kwargs):
            seen.append(ops.convert_to_numpy(inputs))
            return call(inputs, **kwargs)

        monkeypatch.setattr(model, "call", watched)
        grey = np.random.default_rng(1).random((8, 6, 5, 1), "float32")
        for _ in range(draws):
            model.loss_and_terms((ops.convert_to_tensor(grey),), training=True)
        seen = np.stack(seen[-draws:])
        assert set(np.unique(seen)) == {0, 1}
        errors = np.abs(seen.mean(axis=0) - grey) / np.sqrt(grey * (1 - grey) / draws)
        assert errors.max() < 4.5  # of 240 standard errors

    def test_the_target_is_the_image_that_the_encoder_saw(self, make, monkeypatch):
        model = make("VAE", dynamic_binarization=True)
        pairs = []
        call = model.call
        bernoulli = distributions.Bernoulli.log_prob_by_value

        def watched(inputs, **kwargs):
            pairs.append([inputs])
            return call(inputs, **kwargs)

        def measured(distribution, x):
            pairs[-1].append(ops.reshape(x, (8, 6, 5, 1)))
            return bernoulli(distribution, x)

        monkeypatch.setattr(distributions.Bernoulli, "log_prob_by_value", measured)
        monkeypatch.setattr(model, "call", watched)
        x = ops.convert_to_tensor(np.random.default_rng(1).random((8, 6, 5, 1), "float32"))
        for batch in ((x,), (x, x, ops.ones(8))):
            model.loss_and_terms(batch, training=False)
        for given, target in pairs:
            np.testing.assert_array_equal(*map(ops.convert_to_numpy, (given, target)))

    def test_binary_images_are_left_as_they_are(self, make):
        x = np.random.default_rng(1).integers(0, 2, (32, 6, 5, 1)).astype("float32")
        losses = [
            keras_vae.evaluation.evaluate(make("VAE", dynamic_binarization=binarize), x)
            for binarize in (False, True)
        ]
        assert losses[0] == losses[1]

    def test_the_likelihood_draws_by_its_seed(self, make):
        x = np.random.default_rng(1).random((8, 6, 5, 1), "float32")
        model = make("VAE", dynamic_binarization=True)
        nats = model.log_likelihood(x, num_samples=10, seed=3)
        np.testing.assert_array_equal(model.log_likelihood(x, num_samples=10, seed=3), nats)
        binary = data.binarize(x, 3)
        assert set(np.unique(binary)) == {0, 1}
        np.testing.assert_array_equal(model.log_likelihood(binary, num_samples=10, seed=3), nats)

    def test_it_is_saved_and_trains_the_same_after_loading(self, make, tmp_path):
        x = np.random.default_rng(1).random((32, 6, 5, 1), "float32")
        model = make("VAE", dynamic_binarization=True)
        model.fit(x, epochs=1, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras_vae.load_model(tmp_path / "model.keras")
        assert loaded.dynamic_binarization
        for each in (model, loaded):
            each.fit(x, epochs=1, verbose=0)
        assert_same_weights(model, loaded)
