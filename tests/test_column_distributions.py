"""The product of columns: is each column's part the distribution that it is said to be?"""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_vae import column_distributions, likelihoods
from keras_vae.networks import TableDecoder, TableEncoder
from keras_vae.networks.tables import row_features
from tests import oracles
from tests.conftest import BACKEND, ordinary_on

pytestmark = ordinary_on("torch")

# Of every kind, in no order; two groups of categories, one of them padded.
BLOCKS = (
    *(("categorical", 3), ("normal",), ("negative_binomial", 40), ("bernoulli",)),
    *(("categorical", 70), ("normal",), ("categorical", 5), ("negative_binomial", 20)),
)
RNG = np.random.default_rng(0)
LAYOUT = column_distributions.layout(BLOCKS)


def numpy(tensor):
    return ops.convert_to_numpy(tensor).astype("f8")


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, "f4"))


def rows(parameters):
    """The parameters of each column, from those of rows `(n, size)`, by the documented layout."""
    normal, counts = [1, 5], [2, 7]
    found, place = {}, 0

    def take(width):
        nonlocal place
        place += width
        return parameters[:, place - width : place]

    loc, scale, logit = take(2), take(2), take(1)
    mean, shape = take(2), take(2)
    low, high = np.log(column_distributions.SCALES)
    scale = np.exp(low + (high - low) / (1 + np.exp(-scale)))
    mean, shape = np.exp(7 * np.tanh(mean / 7)), np.exp(5 * np.tanh(shape / 5))
    for k in range(2):
        found[normal[k]] = np.stack([loc[:, k], scale[:, k]], axis=1)
        found[counts[k]] = np.stack([mean[:, k], shape[:, k]], axis=1)
    found[3] = logit
    padded = take(10).reshape(-1, 2, 5)
    found[0], found[6] = padded[:, 0, :3], padded[:, 1]
    found[4] = take(70)
    assert place == parameters.shape[1] == LAYOUT.size
    return [found[column] for column in range(len(BLOCKS))]


def values(count):
    """Rows of which every fifth value is missing."""
    x = np.stack(
        [
            RNG.normal(size=count) if kind == "normal" else RNG.integers(0, (most or [2])[0], count)
            for kind, *most in BLOCKS
        ],
        axis=1,
    ).astype("f4")
    x[RNG.random(x.shape) < 0.2] = np.nan
    return x.astype("f8")


def test_log_prob_of_every_column_is_the_references():
    parameters, x = (RNG.normal(size=(200, LAYOUT.size)) * 2).astype("f4"), values(200)
    likelihood = likelihoods.Table(BLOCKS)
    found = numpy(likelihood.log_prob_by_value(tensor(x), tensor(parameters)))
    expected = oracles.columns(x, BLOCKS, rows(parameters.astype("f8")))
    # Measured: 2e-5, of counts far from their mean.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    total = numpy(likelihood.log_prob(tensor(x), tensor(parameters)))
    np.testing.assert_allclose(total, found.sum(axis=1), rtol=1e-5)


def test_missing_values_add_nothing():
    x, parameters = np.full((3, len(BLOCKS)), np.nan), RNG.normal(size=(3, LAYOUT.size))
    found = likelihoods.Table(BLOCKS).log_prob(tensor(x), tensor(parameters))
    np.testing.assert_array_equal(numpy(found), 0)


@pytest.mark.skipif(BACKEND != "torch", reason="takes the gradient by PyTorch")
def test_parameters_of_missing_values_do_not_learn():
    import torch

    x, parameters = np.full((3, len(BLOCKS)), np.nan), RNG.normal(size=(3, LAYOUT.size))
    free = torch.tensor(parameters.astype("f4"), requires_grad=True)
    with torch.enable_grad():
        likelihoods.Table(BLOCKS).log_prob(tensor(x), free).sum().backward()
    np.testing.assert_array_equal(free.grad.numpy(), 0)


@pytest.mark.parametrize("shape", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("mean", [0.01, 3.0, 300.0])
def test_counts_keep_their_digits(mean, shape):
    x = np.array([0, 1, 2, 10, 100, 1000])
    found = column_distributions.log_negative_binomial(
        tensor(x), tensor(np.log(mean)), tensor(np.log(shape))
    )
    expected = scipy.stats.nbinom(shape, shape / (shape + mean)).logpmf(x)
    # Measured: 1e-4 nats, at a count of 1000.
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-5, atol=3e-4)


def drawn(count):
    parameters = np.repeat(RNG.normal(size=(1, LAYOUT.size)).astype("f4"), count, axis=0)
    return parameters, numpy(likelihoods.Table(BLOCKS).sample(tensor(parameters), seed=3))


def test_draws_have_the_probabilities():
    parameters, x = drawn(20_000)
    for column, own in enumerate(rows(parameters[:1].astype("f8"))):
        kind, *most = BLOCKS[column]
        if kind == "normal":
            p = scipy.stats.kstest(x[:, column], scipy.stats.norm(*own[0]).cdf).pvalue
        else:
            names = np.arange({"bernoulli": 2}.get(kind) or most[0] + (kind != "categorical"))
            alone = [np.repeat(own, len(names), axis=0)]
            log_prob = oracles.columns(names[:, None].astype("f8"), [BLOCKS[column]], alone)
            expected = np.exp(log_prob[:, 0])
            expected[-1] += 1 - expected.sum()  # draws beyond the most are it
            counts = np.bincount(x[:, column].astype(int), minlength=len(names))
            assert len(counts) == len(names)
            often = expected * len(x) > 5
            observed = [*counts[often], counts[~often].sum()]
            wanted = [*(expected[often] * len(x)), max(expected[~often].sum() * len(x), 1e-9)]
            if wanted[-1] < 1:
                observed, wanted = observed[:-1], wanted[:-1]
                wanted = np.array(wanted) * sum(observed) / sum(wanted)
            p = scipy.stats.chisquare(observed, wanted, sum_check=False).pvalue
        assert p > 1e-4, (column, kind)


def test_the_mean_is_what_is_expected_or_likeliest():
    parameters, x = drawn(20_000)
    mean = numpy(likelihoods.Table(BLOCKS).mean(tensor(parameters[:1])))[0]
    own = rows(parameters[:1].astype("f8"))
    for column, (kind, *_) in enumerate(BLOCKS):
        if kind == "categorical":
            assert mean[column] == own[column].argmax()
        else:
            error = 4.5 * x[:, column].std() / np.sqrt(len(x))
            assert abs(mean[column] - x[:, column].mean()) < error, column


def test_what_no_column_may_have_is_not_valid():
    likelihood = likelihoods.Table(BLOCKS)
    right = np.array([2, -3.5, 7, 1, 69, np.nan, np.nan, 0])
    assert numpy(likelihood.valid(tensor(right[None])))[0]
    for column, value in ((0, 3), (0, -1), (0, 0.5), (1, np.inf), (2, -1), (2, 0.5), (3, 2)):
        wrong = right.copy()
        wrong[column] = value
        assert not numpy(likelihood.valid(tensor(wrong[None])))[0], (column, value)


def test_an_encoder_sees_that_a_value_is_missing_and_not_what_it_is():
    encoder = TableEncoder(BLOCKS, 2, (3,))
    x = np.nan_to_num(values(2))
    gap = x.copy()
    gap[:, 0] = np.nan
    features = [numpy(row_features(encoder.blocks, tensor(each))) for each in (x, gap)]
    names = features[0].shape[1] - features[1].shape[1]
    assert names == 0
    differs = np.flatnonzero((features[0] != features[1]).any(axis=0))
    assert 0 in differs  # the mark
    np.testing.assert_array_equal(features[1][:, differs], 0)
    # Every other value is seen: a 1 for each name, and what is a number as it is.
    np.testing.assert_array_equal(features[0][:, :8], 1)
    np.testing.assert_allclose(features[0][:, 8:10], x[:, [1, 5]], rtol=1e-6)
    one_hot = features[0][:, 8 + 2 + 1 + 2 :]
    np.testing.assert_array_equal(one_hot.sum(axis=1), 3)


def test_a_decoder_gives_the_parameters_of_every_column():
    assert TableDecoder(BLOCKS, (3,))(np.zeros((2, 4), "f4")).shape == (2, LAYOUT.size)


@pytest.mark.parametrize("block", ["gamma", ("categorical",), ("categorical", 1), ("normal", 2)])
def test_other_blocks_are_refused(block):
    with pytest.raises(ValueError, match="Received: "):
        likelihoods.Table([block])
    with pytest.raises(ValueError, match="at least one"):
        likelihoods.Table([])


def test_a_likelihood_comes_back_from_its_config():
    likelihood = likelihoods.Table(BLOCKS)
    config = keras.saving.serialize_keras_object(likelihood)
    assert keras.saving.deserialize_keras_object(config).layout.blocks == BLOCKS
