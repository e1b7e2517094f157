"""Decoders of whole numbers: sums that are exact, draws restated in Python's own whole numbers."""

import hashlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.networks import exact
from keras_vae.networks.arithmetic import Floats
from tests.conftest import ordinary_on
from tests.test_sequence_vae import DECODERS, LATENT, STEPS, VOICES, X, make_model

RNG = np.random.default_rng(0)
MELODY = {"melody": keras_vae.Sequence(STEPS, 6)}
each_decoder = pytest.mark.parametrize(
    "kind", ["causal", pytest.param("notes", marks=ordinary_on("tensorflow", "torch"))]
)


def settled(kind, condition=MELODY):
    """A model whose weights are the same numbers on every backend."""
    model, rng = make_model(kind, condition), np.random.default_rng(1)
    model.build()
    for weight in model.trainable_variables:
        fan_in = weight.shape[0] if len(weight.shape) > 1 else 4
        weight.assign(rng.standard_normal(weight.shape) / np.sqrt(fan_in))
    return model


def given(count, condition=MELODY):
    rng = np.random.default_rng(2)
    return {"melody": rng.integers(0, 7, (count, STEPS)).astype("int32")} if condition else count


# Layers


def layers(scale, bias):
    kernel = RNG.standard_normal((40, 12)) * scale
    kernel[:, 0], kernel[:, 1], kernel[3, 2] = 0, kernel[:, 1] * 1e-6, 20 * scale
    return kernel, RNG.standard_normal(12) * bias


@ordinary_on("torch")
@pytest.mark.parametrize(("reads", "gives"), [(0, 6), (5, 6), (6, 6), (8, 6), (6, 0)])
@pytest.mark.parametrize(("scale", "bias"), [(0.1, 0.1), (3.0, 10.0), (1e-3, 300.0)])
def test_no_sum_reaches_the_numbers_that_float32_skips(reads, gives, scale, bias):
    original, offset = layers(scale, bias)
    kernel, added, reach = exact.rounded(original, offset, reads, gives)
    # The finest step of each output: a power of two of which kernel and bias are multiples.
    for column, shift in zip(kernel.T, added, strict=True):
        values = np.append(column, shift)
        step = 2.0**30
        while np.any(values % step):
            step /= 2
        most = reach * np.abs(column).sum() + abs(shift)
        assert most / step <= 2**24
        assert np.abs(column / step).max() <= 127 or step > 1
    assert reach == int(reach) >= 1
    # Within half of one of 64 steps to the largest weight of an output, or of 2^21 to the bias.
    error = np.abs(kernel * 2.0 ** (reads - gives) - original).max(axis=0)
    of_bias = (np.abs(offset) + 2.0 ** (-gives - 1)) * 2.0 ** (reads - 22) + 2.0**-23
    assert np.all(error <= np.maximum(np.abs(original).max(axis=0) / 127, of_bias))


@ordinary_on("torch")
def test_a_layer_computes_what_whole_numbers_do():
    trained = keras.layers.Dense(12)
    trained.build((None, 40))
    for weight, value in zip(trained.weights, layers(0.2, 0.5), strict=True):
        weight.assign(value)
    made = exact.ExactDense(12, signed=True, activation="relu")
    made.build((None, 40))
    most = made.take(trained)
    x = RNG.integers(-3000, 3000, (64, 40))
    kernel, bias, reach = (ops.convert_to_numpy(w).astype("f8") for w in made.weights)
    expected = np.floor(np.clip(x, -reach, reach) @ kernel + bias)
    found = ops.convert_to_numpy(made(ops.convert_to_tensor(x.astype("float32"))))
    np.testing.assert_array_equal(found, np.maximum(expected, 0))
    assert np.abs(expected).max() <= most
    # In steps of 1/64 they are what the trained layer gives, rounded.
    x = RNG.integers(-300, 300, (64, 40)).astype("float32")
    target = ops.convert_to_numpy(trained(ops.convert_to_tensor(x / 64)))
    found = ops.convert_to_numpy(made(ops.convert_to_tensor(x))) / 64
    assert np.abs(found - np.maximum(target, 0)).max() < 0.06 * np.abs(target).max()


@ordinary_on("torch")
def test_features_take_the_room_of_counts_alone():
    """What is 0, 1 or a count of voices, however many there are, leaves room for the others."""
    trained = keras.layers.Dense(12)
    trained.build((None, 40))
    most = {}
    for reads in ("hidden", "features"):
        made = exact.ExactDense(12, reads)
        made.build((None, 40))
        most[reads] = made.take(trained)
    sums = np.abs(ops.convert_to_numpy(trained.kernel)).sum(axis=0).max()
    assert 0.9 < most["features"] / (64 * 64 * sums) < 1.1  # 64 voices, in steps of 1/64
    assert most["features"] > most["hidden"] > most["features"] / 4


@ordinary_on("torch")
def test_weights_that_are_too_large_are_refused_in_one_line():
    model = settled("causal")
    kernel = model.decoder.voices.from_state.kernel
    kernel.assign(ops.convert_to_numpy(kernel) * 1e5)
    with pytest.raises(ValueError, match=r"^An exact decoder needs weights of which sums") as error:
        model.as_exact()
    assert "\n" not in str(error.value)


# Draws


def drawn(logits, uniform, temperature):
    arithmetic = exact.Wholes(logits.shape[1])
    uniform, temperature = (np.asarray(v, "float32") for v in (uniform, temperature))
    tensors = (ops.convert_to_tensor(v) for v in (uniform[:, None, None], temperature[None]))
    words, table = arithmetic.begin_draws(*tensors)
    token, margin = arithmetic.draw(ops.convert_to_tensor(logits), words[:, 0, 0], table)
    assert ops.convert_to_numpy(margin).tolist() == [1.0] * len(logits)
    return ops.convert_to_numpy(token)


@ordinary_on("tensorflow")
@pytest.mark.parametrize("temperature", [0.03125, 0.5, 0.7, 1.0, 2.5, 16.0])
def test_a_draw_is_that_of_pythons_whole_numbers(temperature):
    logits = RNG.integers(-900, 300, (200, 45)).astype("float32")
    numbers = (RNG.integers(0, 2**23, 200) * 2 + 1).tolist()
    numbers[:2] = 1, 2**24 - 1
    steps = round(1024 * temperature)
    inverse = (1024 * 1024 + steps // 2) // steps
    weights = exact.weights_below(45).astype(int).tolist()
    assert weights == [round(4096 * np.exp(-n / 256)) for n in range(len(weights))]
    expected = []
    for row, number in zip(logits.astype(int).tolist(), numbers, strict=True):
        gaps = [min(max(row) - logit, 2047) for logit in row]
        parts = [(gap * inverse + 128) // 256 for gap in gaps]
        weighed = [weights[part] if part < len(weights) else 0 for part in parts]
        wanted, token = sum(weighed) * number >> 24, 0
        while sum(weighed[: token + 1]) <= wanted:
            token += 1
        expected.append(token)
    found = drawn(logits, np.array(numbers) / 2**24, temperature)
    np.testing.assert_array_equal(found, expected)


@ordinary_on("tensorflow")
def test_draws_have_the_probabilities_of_the_softmax():
    logits = np.array([[0, 64, -64, 20, -700]], "float32")
    numbers = (np.arange(20000) + 0.5) / 20000
    for temperature in (0.7, 1.0):
        found = np.bincount(drawn(np.repeat(logits, 20000, 0), numbers, temperature), minlength=5)
        expected = np.exp(logits[0] / 64 / temperature)
        # Measured: 2e-4.
        np.testing.assert_allclose(found / 20000, expected / expected.sum(), atol=6e-4)


@ordinary_on("tensorflow")
def test_at_a_temperature_of_0_the_first_of_the_likeliest_follows():
    logits = np.array([[1, 7, 3, 7], [9, 0, 0, 0], [-5, -5, -6, -5]], "float32")
    for number in (2**-24, 0.5, 1 - 2**-24):
        assert drawn(logits, [number] * 3, 0.0).tolist() == [1, 0, 0]


# Models


@ordinary_on("torch")
@each_decoder
@pytest.mark.parametrize("condition", [MELODY, None])
def test_one_step_after_the_other_is_all_steps_at_once_to_the_last_bit(kind, condition):
    model = settled(kind, condition).as_exact()
    decoder = model.decoder
    z = ops.convert_to_tensor(RNG.standard_normal((16, LATENT)).astype("float32"))
    vector = model.condition_vectors(given(16)) if condition else None
    plan = decoder(z if vector is None else [z, ops.convert_to_tensor(vector)])
    at_once = 64 * ops.convert_to_numpy(decoder.logits(plan, X))
    tokens = ops.convert_to_tensor(X.astype("int32"))
    memory, past = decoder.begin(plan), tokens[:, 0] * 0 - 1
    before = past
    for step in range(STEPS):
        features = decoder.past_features(plan[:, step], past, before)
        h, memory = decoder.advance(memory, plan[:, step], features, step)
        state = decoder.voices.from_state(h)
        for voice in range(VOICES):
            above = tokens[:, step, :voice]
            logits = decoder.voice_logits(state, plan[:, step], past, above, voice)
            np.testing.assert_array_equal(ops.convert_to_numpy(logits), at_once[:, step, voice])
        past, before = tokens[:, step], past
    np.testing.assert_array_equal(at_once, np.floor(at_once))


@each_decoder
def test_every_backend_draws_the_same_tokens(kind):
    model = settled(kind).as_exact()
    made = model.sample(given(100), seed=3)
    assert made.shape == (100, STEPS, VOICES)
    assert hashlib.sha256(made.astype("int8").tobytes()).hexdigest()[:16] == DIGESTS[kind]


# Of the tokens that all three backends drew when this was written.
DIGESTS = {"causal": "576a5541113d9d64", "notes": "6b0cb7a11bb94a72"}


@ordinary_on("torch")
@each_decoder
def test_an_exact_model_is_nearly_the_one_that_it_was_made_of(kind, tmp_path):
    model = settled(kind)
    made = model.as_exact()
    assert made.as_exact() is made
    assert (model.is_exact, made.is_exact) == (False, True)
    inputs = {"x": X, **given(len(X))}
    np.testing.assert_array_equal(made.encode(inputs), model.encode(inputs))
    nats = []
    for one in (model, made):
        one.compile()
        nats.append(one.evaluate(inputs, verbose=0, return_dict=True)["loss"])
    assert abs(nats[0] - nats[1]) < 0.2, nats  # of 24 tokens; measured: 0.03 and 0.05
    made.save(tmp_path / "exact.keras")
    loaded = keras_vae.load_model(tmp_path / "exact.keras")
    samples = [m.sample(given(20), seed=4, token_temperature=1) for m in (made, loaded)]
    np.testing.assert_array_equal(*samples)


@ordinary_on("torch")
def test_what_has_no_exact_form_is_refused_in_one_line():
    real = {"density": keras_vae.Continuous(1)}
    mixture = keras_vae.priors.GaussianMixture(2)
    refused = {
        "must be of causal convolutions": make_model("gru"),
        "must be of causal convolutions, a": make_model("conductor"),
        "without logarithms. Received: density": make_model("causal", real),
        "Received: GaussianMixture": make_model("causal", prior=mixture),
    }
    for words, model in refused.items():
        with pytest.raises(ValueError, match=r"^An exact ") as error:
            model.as_exact()
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^An exact decoder must be of causal convolutions"):
        DECODERS["gru"](exact=True)
    model = settled("causal").as_exact()
    with pytest.raises(ValueError, match=r"must be 0, or from 0.03125 to 16. Received: 0.01"):
        model.sample(given(1), token_temperature=0.01)
    with pytest.raises(ValueError, match=r"^An exact model is not trained"):
        model.fit({"x": X, **given(len(X))})


@ordinary_on("torch")
def test_shares_are_parts_of_256():
    counts = ops.convert_to_tensor(np.arange(0, 65, 4, dtype="float32"))
    found = exact.Wholes(5).share(counts, exact.Wholes(5).reciprocals(64))
    assert ops.convert_to_numpy(found).tolist() == [16 * n for n in range(17)]
    usual = Floats(5).share(counts, Floats(5).reciprocals(64))
    np.testing.assert_allclose(ops.convert_to_numpy(usual), np.arange(17) / 16, atol=1e-7)
