"""Guidance of priors over codes, against NumPy."""

import keras
import numpy as np
import pytest

import keras_vae
from keras_vae import networks, portable_random
from tests.conftest import ordinary_on

GRID, CODES = (3, 2), 7


def make(family, unknown_rate=0.1):
    kinds = {"label": keras_vae.Categorical(3, unknown_rate=unknown_rate)}
    options = {"num_steps": 3} if family == "MaskGIT" else {}
    prior = getattr(keras_vae, family)(
        GRID, CODES, kinds, hidden_units=8, num_layers=2, seed=0, **options
    )
    prior.build()
    rng = np.random.default_rng(0)
    for weight in prior.weights:
        weight.assign(0.5 * rng.standard_normal(weight.shape).astype("float32"))
    return prior


def logits_of(prior, codes, label):
    inputs = {"codes": codes, "label": label}
    found = prior.logits(inputs) if isinstance(prior, keras_vae.MaskGIT) else prior(inputs)
    return np.asarray(keras.ops.convert_to_numpy(found), "float64")


@ordinary_on("torch")
@pytest.mark.parametrize("family", ["MaskGIT", "PixelCNN"])
def test_codes_are_drawn_by_guided_logits(family):
    prior, label = make(family), np.arange(12, dtype="int32") % 3
    codes = prior.sample({"label": label}, seed=5, guidance=2.5)
    asked = logits_of(prior, codes, label)
    free = logits_of(prior, codes, np.full(12, 3, "int32"))
    guided = free + 2.5 * (asked - free)
    p = np.exp(guided - guided.max(axis=-1, keepdims=True))
    below = np.cumsum(p / p.sum(axis=-1, keepdims=True), axis=-1)
    index, place = np.arange(12)[:, None], np.arange(6)[None]
    high, low = portable_random.words(np.int64(5), index, place)
    uniform = (high * 65536.0 + low + 0.5) / 2**32
    if family == "MaskGIT":  # places take their numbers in the order of drawing
        uniform = uniform[:, np.argsort(prior.order)]
    expected = (below < uniform.reshape(12, *GRID, 1)).sum(axis=-1)
    np.testing.assert_array_equal(codes, expected)
    assert (codes != prior.sample({"label": label}, seed=5)).any()


@ordinary_on("torch")
@pytest.mark.parametrize("family", ["MaskGIT", "PixelCNN"])
def test_no_guidance_is_sampling_and_none_of_it_leaves_conditions_out(family):
    prior, label = make(family), np.arange(6, dtype="int32") % 3
    plain = prior.sample({"label": label}, seed=5)
    np.testing.assert_array_equal(plain, prior.sample({"label": label}, seed=5, guidance=1.0))
    free = prior.sample({"label": [None] * 6}, seed=5)
    np.testing.assert_array_equal(free, prior.sample({"label": label}, seed=5, guidance=0.0))


def test_a_prior_that_always_saw_its_conditions_is_not_guided():
    with pytest.raises(ValueError, match=r"^`guidance` needs a prior .* label, never unknown"):
        make("MaskGIT", unknown_rate=0.0).sample({"label": [0]}, guidance=2.0)
    with pytest.raises(ValueError, match="`guidance` must be at least 0"):
        make("MaskGIT").sample({"label": [0]}, guidance=-1.0)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, (4,)),
        networks.DenseDecoder((6, 5, 1), (4,)),
        {"label": keras_vae.Categorical(3)},
    )
    with pytest.raises(ValueError, match=r"^`guidance` needs a VQVAE"):
        model.sample({"label": [0]}, guidance=2.0)


def test_a_prior_keeps_its_guidance(tmp_path):
    prior, label = make("MaskGIT"), np.arange(12, dtype="int32") % 3
    plain, config = prior.sample({"label": label}, seed=5), prior.get_config()
    assert "guidance" not in config
    prior.guidance = 2.5
    guided = prior.sample({"label": label}, seed=5)
    np.testing.assert_array_equal(guided, prior.sample({"label": label}, seed=5, guidance=2.5))
    np.testing.assert_array_equal(plain, prior.sample({"label": label}, seed=5, guidance=1.0))
    prior.save(tmp_path / "prior.keras")
    assert keras.saving.load_model(tmp_path / "prior.keras").guidance == 2.5
    with pytest.raises(ValueError, match="`guidance` must be at least 0"):
        prior.guidance = -1.0
