"""One seed, many uses: no two draw the same numbers, and a seed left out is drawn."""

import itertools
import random

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

import keras_vae
from keras_vae import data, layers, networks, priors, seeds
from keras_vae.evaluation import evaluate
from tests.conftest import make_model, ordinary_on


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn through Keras from here on, as flat arrays."""
    arrays = []
    for name in ("normal", "uniform"):
        function = getattr(keras.random, name)

        def record(*args, function=function, **kwargs):
            numbers = function(*args, **kwargs)
            arrays.append(ops.convert_to_numpy(numbers).ravel())
            return numbers

        monkeypatch.setattr(keras.random, name, record)
    return arrays


def assert_independent(arrays, standard_errors=4.5):
    """That ranks, and ranks of distances from the middle, of no pair go together."""
    assert len(arrays) > 1
    for (i, one), (j, other) in itertools.combinations(enumerate(arrays), 2):
        count = min(len(one), len(other))
        views = [(a[:count], np.abs(a[:count] - np.median(a[:count]))) for a in (one, other)]
        for a, b in itertools.product(*views):
            correlation = stats.spearmanr(a, b).statistic
            assert abs(correlation) < standard_errors / np.sqrt(count - 1), (i, j, correlation)


def test_a_step_draws_other_numbers_for_each_use(drawn, images):
    x, labels = images
    label = keras_vae.Categorical(3, unknown_rate=0.5)
    model = make_model(dynamic_binarization=True, condition={"label": label}, num_samples=400)
    inputs = {"x": ops.convert_to_tensor(x), "label": ops.convert_to_tensor(labels)}
    model.build((None, 6, 5, 1))
    del drawn[:]
    for _ in range(40):  # each draws one number for a label
        model.loss_and_terms((inputs,), training=True)
    uses = {}
    for numbers in drawn:
        uses.setdefault(len(numbers), []).append(numbers)
    # Thresholds of 1,440 pixels, 48 labels, noise of 400 times 48 codes of 3 numbers.
    assert sorted(uses) == [48, 48 * 30, 400 * 48 * 3]
    joined = [np.concatenate(numbers) for numbers in uses.values()]
    assert_independent([numbers[:1920] for numbers in joined])
    # Of each batch the first numbers, too: there, two streams of one state are the same numbers.
    firsts = [np.concatenate([n[:48] for n in numbers]) for numbers in uses.values()]
    assert_independent(firsts)


def test_objects_of_one_seed_draw_other_numbers(drawn):
    layer = layers.Sampling(seed=5)
    layer(ops.zeros((40, 80)), ops.zeros((40, 80)))
    conditioning = keras_vae.layers.conditioning.Conditioning(
        {"label": keras_vae.Categorical(3, unknown_rate=0.5)}, seed=5
    )
    conditioning({"label": ops.zeros((3200,), "int32")}, training=True)
    quantizer = layers.VectorQuantizer(num_codes=3200, dim=1, seed=5)
    quantizer(ops.reshape(ops.linspace(0.0, 1.0, 3200), (1, 3200, 1)), training=True)
    gan = make_gan(seed=5)
    gan.generator_loss((ops.zeros((1600, 6, 5, 1)),), training=True)
    assert_independent([numbers for numbers in drawn if len(numbers) == 3200])
    assert sum(len(numbers) == 3200 for numbers in drawn) == 4


def make_gan(**kwargs):
    gan = keras_vae.GAN(
        networks.DenseDecoder((6, 5, 1), hidden_units=(8,)),
        keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)]),
        latent_dim=2,
        **kwargs,
    )
    gan.compile("adam")
    gan.build((None, 6, 5, 1))
    return gan


def test_initial_weights_of_one_seed_differ():
    vamp = priors.VampPrior(num_components=100, seed=5)
    vamp.build((None, 4, 8, 1), (None, 32))
    mixture = priors.GaussianMixture(num_components=100, seed=5)
    mixture.build((None, 32))
    quantizer = layers.VectorQuantizer(num_codes=100, dim=32, seed=5)
    quantizer.build((None, 32))
    weights = [vamp.pseudo_inputs, vamp.pseudo_conditions, mixture.means, quantizer.codebook]
    assert_independent([ops.convert_to_numpy(weight).ravel() for weight in weights])


def standard_vae(**kwargs):
    """A VAE of 3 latents whose posterior is N(0, I), so that a drawn code is its noise."""
    model = make_model("VAE", **kwargs)
    model.build((None, 6, 5, 1))
    for weight in model.encoder.weights:
        weight.assign(np.zeros(weight.shape))
    return model


def test_numpy_draws_of_one_seed_are_independent():
    model = standard_vae()
    grey = np.full((5, 6, 5, 1), 0.5, "float32")
    noise = [model.draw_codes(grey, seed=seed).ravel() for seed in range(60)]
    # A threshold is the part of all greys that stays black.
    greys = [np.full_like(grey, level) for level in np.linspace(0, 1, 129)[1:]]
    white = [[data.binarize(x, seed).ravel()[:15] for x in greys] for seed in range(60)]
    assert_independent([np.concatenate(noise), 1 - np.mean(white, axis=1).ravel()])


def test_nearby_seeds_have_streams_that_do_not_overlap():
    """Keras on PyTorch adds seed and count: seed 4 would draw next what seed 3 draws then."""
    used = sorted(seeds.fold(seed, name) for seed in range(100) for name in ("sampling", "model"))
    assert min(np.diff(used)) > 1000


def test_an_evaluation_draws_the_same_and_leaves_the_training_alone(make, images):
    x, _ = images
    losses, histories = [], []
    for validates in (True, False):
        model = make("VAE")
        data = {"validation_data": (x[:20],)} if validates else {}
        histories.append(model.fit(x, batch_size=16, epochs=2, verbose=0, **data).history)
        if validates:
            losses.append(histories[0]["val_loss"][-1])
        losses += [model.evaluate(x[:20], batch_size=16, verbose=0)[0] for _ in range(2)]
        losses.append(evaluate(model, x[:20], batch_size=16)["loss"])
    assert histories[0]["loss"] == histories[1]["loss"]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    other = make("VAE", seed=4)
    other.build()
    other.set_weights(model.get_weights())
    assert abs(other.evaluate(x[:20], batch_size=16, verbose=0)[0] - losses[0]) > 1e-3


@ordinary_on("torch")
def test_a_seed_left_out_is_drawn_by_pythons_generator(images):
    """`keras.utils.set_random_seed` sets it, and imports TensorFlow, so it is set here by hand."""
    x, _ = images
    model = standard_vae(dynamic_binarization=True)

    def draws():
        random.seed(11)
        return [
            model.sample(3),
            model.draw_codes(x),
            model.log_likelihood(x, num_samples=2),
            data.binarize(x, None),
        ]

    first = draws()
    for one, again in zip(first, draws(), strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(first[0], model.sample(3))
    prior = keras_vae.PixelCNN((2, 2), 4)
    random.seed(11)
    codes = [prior.sample(8), prior.sample(8)]
    random.seed(11)
    np.testing.assert_array_equal(codes[0], prior.sample(8))
    assert not np.array_equal(*codes)


@ordinary_on("torch")
def test_codes_are_drawn_from_what_the_model_was_trained_on(images):
    """A model of binarised images never saw a grey one, so its prior is fitted to no grey code."""
    x, _ = images
    pixels = keras.Input((6, 5, 1))
    first = keras.layers.Flatten()(pixels)[:, :3]
    encoder = keras.Model(pixels, [first, first * 0 - 30])
    decoder = networks.DenseDecoder((6, 5, 1), hidden_units=(8,))
    vae = keras_vae.VAE(encoder, decoder, dynamic_binarization=True, seed=3)
    codes = vae.draw_codes(x, seed=5)
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-5)
    assert 0.1 < codes.mean() < 0.9


@ordinary_on("torch")
def test_a_prior_over_codes_learns_those_of_binary_images(images, monkeypatch):
    x, _ = images
    encoder = networks.ConvGridEncoder(latent_dim=2, hidden_units=(4,))
    decoder = networks.ConvGridDecoder((6, 5, 1), hidden_units=(4,))
    quantizer = layers.VectorQuantizer(num_codes=4, dim=2)
    vq_vae = keras_vae.VQVAE(encoder, decoder, quantizer, dynamic_binarization=True, seed=3)
    vq_vae.build((None, 6, 5, 1))
    encoded = []
    encode = vq_vae.encode
    monkeypatch.setattr(vq_vae, "encode", lambda x: encoded.append(x) or encode(x))
    monkeypatch.setattr(keras_vae.PixelCNN, "fit", lambda *args, **kwargs: None)
    vq_vae.fit_prior(x)
    assert set(np.unique(encoded)) == {0.0, 1.0}


@ordinary_on("torch")
def test_a_file_of_one_seed_for_all_uses_goes_on_with_several(tmp_path):
    """Early files hold one state for noise, labels and thresholds."""
    label = keras_vae.Categorical(3, unknown_rate=0.5)
    model = make_model(condition={"label": label})
    model.build((None, 6, 5, 1))
    for state in model._random_states():
        state.assign(np.array([3, 7]))
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    states = np.array([ops.convert_to_numpy(state) for state in loaded._random_states()])
    assert len(set(states[:, 0])) == len(states) == 3
    assert set(states[:, 1]) == {7}
