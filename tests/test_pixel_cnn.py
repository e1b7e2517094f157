"""The prior over codes: what each place sees, that it is a distribution, and its draws."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_vae import Categorical, PixelCNN, portable_random
from keras_vae.models.pixel_cnn import draw
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

GENERATOR = np.random.default_rng(0)


def make(grid_shape=(3, 4), num_codes=3, condition=None, **options):
    """A prior with weights large enough that everything shows."""
    options = {"hidden_units": 4, "num_layers": 2, "kernel_size": 3, "seed": 1, **options}
    prior = PixelCNN(grid_shape, num_codes, condition, **options)
    prior.build()
    rng = np.random.default_rng(1)
    for weight in prior.weights:
        weight.assign(0.8 * rng.normal(size=weight.shape))
    return prior


def logits_of(prior, codes):
    return ops.convert_to_numpy(prior(ops.convert_to_tensor(codes)))


def test_a_place_sees_all_before_it_and_nothing_else():
    prior = make(num_layers=3)
    codes = GENERATOR.integers(0, 3, (8, 3, 4)).astype("int32")
    before = logits_of(prior, codes).reshape(8, 12, 3)
    for place in range(12):
        changed = codes.reshape(8, 12).copy()
        changed[:, place] = (changed[:, place] + 1) % 3
        after = logits_of(prior, changed.reshape(8, 3, 4)).reshape(8, 12, 3)
        # Exactly: another code must not change a bit of what comes before it, or of itself.
        np.testing.assert_array_equal(after[:, : place + 1], before[:, : place + 1])
        later = np.abs(after - before).max(axis=(0, 2))[place + 1 :]
        assert (later > 1e-4).all(), (place, later)


def all_grids():
    grids = list(itertools.product(range(2), repeat=4))
    return np.array(grids, "int32").reshape(-1, 2, 2)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_likelihood_sums_to_one(label):
    prior = make((2, 2), 2, {"label": Categorical(2)})
    inputs = {"codes": all_grids(), "label": np.full(16, label, "int32")}
    probabilities = np.exp(prior.log_likelihood(inputs).astype("float64"))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=2e-6)
    assert probabilities.std() > 0.01
    other = prior.log_likelihood({**inputs, "label": np.full(16, (label + 1) % 3, "int32")})
    assert np.abs(np.exp(other) - probabilities).max() > 1e-3


def test_a_seed_takes_the_uniform_numbers_of_every_backend():
    prior = make((2, 2), 4)
    for weight in prior.weights:
        weight.assign(np.zeros(weight.shape))
    high, _ = portable_random.words(np.int64(5), np.arange(6)[:, None], np.arange(4)[None])
    # Equal probabilities: the code is the first two bits.
    np.testing.assert_array_equal(prior.sample(6, seed=5).reshape(6, 4), high // 2**14)


def test_a_draw_inverts_the_cumulated_probabilities():
    logits = np.log([[0.2, 0.5, 0.3]] * 4)
    np.testing.assert_array_equal(draw(logits, np.array([0.1, 0.3, 0.69, 0.71]), 1.0), [0, 1, 1, 2])
    # Squared and normalised: 0.105, 0.658, 0.237.
    np.testing.assert_array_equal(draw(logits, np.array([0.1, 0.11, 0.7, 0.8]), 0.5), [0, 1, 1, 2])


def test_fit_lowers_the_negative_log_likelihood():
    labels = (np.arange(64) % 2).astype("int32")
    codes = np.broadcast_to(labels[:, None, None] + np.array([[0, 1], [1, 0]]), (64, 2, 2))
    inputs = {"codes": codes.astype("int32"), "label": labels}
    prior = PixelCNN((2, 2), 3, {"label": Categorical(2)}, 8, 1, 3, seed=0)
    prior.compile(keras.optimizers.Adam(0.05))
    options = {"batch_size": 16, "validation_data": (inputs, None), "verbose": 0}
    history = prior.fit(inputs, epochs=12, **options).history
    assert set(history) == {"loss", "val_loss"}
    assert history["val_loss"][-1] < 0.2 < history["loss"][0]
    expected = -prior.log_likelihood(inputs).mean()
    np.testing.assert_allclose(prior.evaluate(inputs, verbose=0), expected, rtol=1e-5)
    np.testing.assert_array_equal(prior.sample({"label": [1, 0]}, temperature=0), codes[[1, 0]])
    sevens = prior.sample({"label": 1}, temperature=0, count=3)
    np.testing.assert_array_equal(sevens, codes[[1, 1, 1]])
    assert set(prior.sample(temperature=0, count=8, seed=1)[:, 0, 0].tolist()) == {0, 1}


def test_the_same_seed_trains_the_same_prior(tmp_path):
    codes = GENERATOR.integers(0, 3, (20, 2, 2)).astype("int32")
    losses = []
    for _ in range(2):
        prior = make((2, 2))
        prior.compile(keras.optimizers.Adam(1e-2))
        losses.append(prior.fit(codes, batch_size=8, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    prior.save(tmp_path / "prior.keras")
    loaded = keras.saving.load_model(tmp_path / "prior.keras")
    np.testing.assert_array_equal(loaded.sample(5, seed=0), prior.sample(5, seed=0))
    one, other = (p.fit(codes, batch_size=8, verbose=0).history for p in (prior, loaded))
    assert one == other


CODES = np.zeros((4, 3, 4), "int32")
LABEL = {"label": Categorical(2)}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make(num_codes=1), "`num_codes` must be a whole number of at least 2"),
        (lambda: make(num_layers=0), "`num_layers` must be at least 1"),
        (lambda: make(grid_shape=(3,)), r"`grid_shape` must be \(height, width\)"),
        (lambda: make(kernel_size=4), "`kernel_size` must be odd"),
        (lambda: make().fit(CODES + 3), "from 0 to 2. Received: int32 .* from 3 to 3"),
        (lambda: make().fit(CODES[:, :2]), r"of the shape \(n, 3, 4\)"),
        (lambda: make().fit(CODES.astype("float32")), "Codes must be integers"),
        (lambda: make().fit(CODES, CODES), "takes neither `y` nor weights"),
        (lambda: make().compile(loss="mse"), "takes no `loss`"),
        (lambda: make(condition=LABEL).fit(CODES), r"must be a dict of \['codes', 'label'\]"),
        (lambda: make(condition=LABEL).sample(3), r"sample\(count=3\)"),
        (lambda: make(condition=LABEL).sample([3]), r"dict of the conditions \['label'\]"),
        (lambda: make().sample(2, count=3), r"pass the number of samples, sample\(count=16\)"),
        (lambda: make().fit(CODES, validation_data=(CODES, CODES)), "neither `y` nor weights"),
        (lambda: make().fit(CODES, validation_data=()), "`validation_data` must be .* 0 items"),
        (lambda: make().fit(CODES, validation_data="x"), "`validation_data` must be an array"),
        (lambda: make(condition=LABEL).sample({"label": [3]}), "must be from 0 to 1"),
        (lambda: make().sample({"label": [1]}), "has no conditions"),
        (lambda: make().sample(0), "`count` must be a whole number"),
        (lambda: make().sample(1, temperature=-1), "`temperature` must be at least 0"),
        (lambda: make().sample(1, seed=-1), "`seed` must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as err:
        call()
    assert "\n" not in str(err.value)
