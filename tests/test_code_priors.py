"""The priors over codes: what all of them have in common about their draws."""

import numpy as np
import pytest

from keras_vae import Categorical
from tests import test_mask_git, test_pixel_cnn
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

of_each = pytest.mark.parametrize(
    "kind", [test_mask_git, test_pixel_cnn], ids=["MaskGIT", "PixelCNN"]
)


@of_each
def test_draws_follow_the_likelihood(kind):
    options = {"num_steps": 2} if kind is test_mask_git else {}
    prior = kind.make((2, 2), 2, **options)
    grids = kind.all_grids()
    expected = np.exp(prior.log_likelihood(grids).astype("float64"))
    count = 4000
    drawn = prior.sample(count, seed=3, batch_size=count).reshape(count, 4)
    found = np.bincount(drawn @ [8, 4, 2, 1], minlength=16) / count
    error = (found - expected) / np.sqrt(expected * (1 - expected) / count)
    assert np.abs(error).max() < 3.5


@of_each
def test_a_seed_gives_the_same_codes_however_many_are_drawn(kind):
    prior = kind.make(condition={"label": Categorical(2)})
    five, two = (prior.sample({"label": [0, 1] * 2}, seed=9, batch_size=b) for b in (4, 2))
    np.testing.assert_array_equal(five, two)
    assert five.dtype == np.int32
    assert (prior.sample({"label": [0, 1] * 2}, seed=10) != five).any()
    assert prior.sample({"label": ["1", None]}).shape == (2, 3, 4)


@of_each
def test_temperature_zero_takes_the_likeliest(kind):
    prior = kind.make()
    codes = prior.sample(2, temperature=0)
    np.testing.assert_array_equal(codes, kind.logits_of(prior, codes).argmax(axis=-1))
