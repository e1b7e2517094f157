"""The prior over codes that is drawn in a few steps: its density, its draws, its order."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import Categorical, MaskGIT, portable_random
from keras_vae.models import mask_git
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

GENERATOR = np.random.default_rng(0)


def make(grid_shape=(3, 4), num_codes=3, condition=None, **options):
    """An untrained prior whose weights are large enough to make it tell codes apart."""
    options = {"hidden_units": 6, "num_layers": 2, "num_steps": 3, "seed": 1, **options}
    prior = MaskGIT(grid_shape, num_codes, condition, **options)
    prior.build()
    for weight in prior.weights:
        weight.assign(GENERATOR.normal(size=weight.shape) * 0.6)
    return prior


def all_grids():
    return np.indices((2,) * 4).reshape(4, -1).T.reshape(-1, 2, 2).astype("int32")


def logits_of(prior, codes):
    return ops.convert_to_numpy(prior.logits(codes)).astype("float64")


def log_softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_probabilities_of_all_grids_sum_to_one(num_steps):
    prior = make((2, 2), 2, num_steps=num_steps)
    np.testing.assert_allclose(np.exp(prior.log_likelihood(all_grids())).sum(), 1, rtol=2e-6)


def test_a_code_depends_on_those_of_earlier_steps_alone():
    prior = make()
    steps = np.empty(12, int)
    steps[prior.order] = np.searchsorted(prior.bounds, np.arange(12), side="right") - 1
    steps = steps.reshape(3, 4)
    codes = GENERATOR.integers(0, 3, (1, 3, 4)).astype("int32")
    before = logits_of(prior, codes)
    for row, column in np.ndindex(3, 4):
        other = codes.copy()
        other[0, row, column] = (other[0, row, column] + 1) % 3
        moved = np.abs(logits_of(prior, other) - before)[0].max(axis=-1) > 1e-9
        np.testing.assert_array_equal(moved, steps > steps[row, column])


def test_the_log_likelihood_is_that_of_the_logits():
    prior = make(condition={"label": Categorical(2)})
    codes = GENERATOR.integers(0, 3, (5, 3, 4)).astype("int32")
    inputs = {"codes": codes, "label": np.array([0, 1, 2, 0, 1], "int32")}
    log_p = log_softmax(logits_of(prior, inputs))
    expected = np.take_along_axis(log_p, codes[..., None], axis=-1).sum(axis=(1, 2, 3))
    # Measured: 3e-7.
    np.testing.assert_allclose(prior.log_likelihood(inputs), expected, rtol=2e-6)
    other = prior.log_likelihood({**inputs, "label": np.array([1, 0, 0, 1, 0], "int32")})
    assert np.abs(other - expected).min() > 1e-3


def test_draws_are_those_of_the_logits_by_portable_numbers():
    prior = make()
    codes = prior.sample(6, temperature=0.7, seed=5)
    high, low = portable_random.words(np.int64(5), np.arange(6)[:, None], np.arange(12)[None])
    uniform = np.empty((6, 12))
    uniform[:, prior.order] = (high * 128 + low // 512 + 0.5) / 2**23
    p = np.exp(log_softmax(logits_of(prior, codes) / 0.7))
    expected = (np.cumsum(p, axis=-1) < uniform.reshape(6, 3, 4, 1)).sum(axis=-1)
    np.testing.assert_array_equal(codes, expected)
    assert codes.dtype == np.int32


def test_the_loss_of_training_is_that_of_a_step_on_average():
    prior = make((2, 2), 3, num_steps=2)
    codes = GENERATOR.integers(0, 3, (1, 2, 2)).astype("int32")
    # What each step predicts of what it hides; of a place that two steps predict, the mean.
    exact = ops.convert_to_numpy(prior(codes, training=False)).reshape(-1)[prior.order]
    first = int(prior.bounds[1])
    hidden = ops.convert_to_numpy(prior(np.repeat(codes, 4000, axis=0), training=True))
    hidden = hidden.reshape(4000, -1)[:, prior.order]
    only_later = hidden[:, :first] == 0
    assert set(np.unique(only_later.mean(axis=1))) == {0.0, 1.0}
    np.testing.assert_allclose(hidden[:, :first].mean(axis=0), exact[:first], rtol=0.06)
    later = hidden[only_later[:, 0], first:]
    np.testing.assert_allclose(later, np.broadcast_to(exact[first:], later.shape), rtol=1e-5)


def test_fit_lowers_the_negative_log_likelihood(tmp_path):
    labels = (np.arange(64) % 2).astype("int32")
    codes = np.broadcast_to(labels[:, None, None] + np.array([[0, 1], [1, 0]]), (64, 2, 2))
    inputs = {"codes": codes.astype("int32"), "label": labels}
    prior = MaskGIT((2, 2), 3, {"label": Categorical(2)}, 8, 1, 2, seed=0)
    prior.compile(keras.optimizers.Adam(0.05))
    history = prior.fit(inputs, batch_size=16, epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.3 < history["loss"][0]
    expected = -prior.log_likelihood(inputs).mean()
    np.testing.assert_allclose(prior.evaluate(inputs, verbose=0), expected, rtol=1e-5)
    np.testing.assert_array_equal(prior.sample({"label": [1, 0]}, temperature=0), codes[[1, 0]])
    prior.save(tmp_path / "prior.keras")
    loaded = keras_vae.load_model(tmp_path / "prior.keras")
    asked = {"label": [0, 1, None] * 5}
    np.testing.assert_array_equal(loaded.sample(asked, seed=0), prior.sample(asked, seed=0))
    one, other = (p.fit(inputs, batch_size=16, verbose=0).history for p in (prior, loaded))
    assert one == other


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (3, 8), (16, 16)])
def test_the_order_holds_every_place_once_and_spreads_the_first_ones(shape):
    order = mask_git.halton_order(shape)
    assert sorted(order) == list(range(math.prod(shape)))
    rows, columns = np.divmod(order[:4], shape[1])
    if min(shape) > 4:
        apart = np.abs(rows[:, None] - rows) + np.abs(columns[:, None] - columns)
        assert apart[np.triu_indices(4, 1)].min() >= 2


def test_halton_numbers_are_mirrored_digits():
    # 6 is 110 in base 2 and 20 in base 3: 0.011 and 0.02.
    assert [mask_git._scaled(6, base, 1000) for base in (2, 3)] == [375, 222]


@pytest.mark.parametrize(("places", "steps"), [(49, 8), (49, 6), (4, 8), (1, 3), (256, 12)])
def test_steps_grow_along_a_cosine(places, steps):
    bounds = mask_git.cosine_bounds(places, steps)
    assert (bounds[0], bounds[-1]) == (0, places)
    assert (np.diff(bounds) > 0).all()
    assert len(bounds) <= steps + 1
    if places == 49 and steps == 8:
        assert bounds.tolist() == [0, 1, 4, 9, 15, 22, 31, 40, 49]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make(num_steps=0), "`num_steps` must be a whole number of at least 1"),
        (lambda: make(num_layers=0), "`num_layers` must be a whole number of at least 1"),
        (lambda: MaskGIT((64, 64), 3), "must have less than 4096 places"),
        (lambda: make().fit(np.full((4, 3, 4), 3)), "from 0 to 2. Received"),
        (lambda: make().compile(loss="mse"), "a MaskGIT has its own loss"),
        (lambda: make().sample(1, temperature=-1), "`temperature` must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as err:
        call()
    assert "\n" not in str(err.value)
