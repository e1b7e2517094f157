"""Models of tables of whole numbers: rows restated in whole numbers, the same on every backend."""

import hashlib
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import column_distributions, data, exact_columns, likelihoods, portable_random
from keras_vae.data import lines, quantiles
from keras_vae.networks import TableDecoder, exact
from tests.conftest import ordinary_on

RNG = np.random.default_rng(0)
ROWS = 400
# Large whole numbers, of which rounding would make others; most gains are 0.
TABLE = {
    "weight": RNG.integers(12_000, 1_500_000, ROWS),
    "gain": np.where(RNG.random(ROWS) < 0.7, 0, RNG.integers(1, 99_999, ROWS)),
    "height": 165 + 8 * RNG.standard_normal(ROWS),
    "year": RNG.integers(1990, 2020, ROWS),
    "job": np.array(["nurse", "cook", "smith"])[RNG.integers(0, 3, ROWS)],
    "town": np.array([f"town {n}" for n in range(12)])[RNG.integers(0, 12, ROWS)],
    "vip": np.array(["no", "yes"])[RNG.integers(0, 2, ROWS)],
    "sex": np.array(["f", "m"])[RNG.integers(0, 2, ROWS)],
}
MADE = data.table(TABLE, ["sex", "year"], {"gain": data.Numeric("standard")})


def settled(made=MADE, **kwargs):
    """A model whose weights and prior are the same numbers on every backend."""
    model = keras_vae.table_vae(made.schema, latent_dim=3, hidden_units=(16, 12), **kwargs)
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        fan_in = weight.shape[0] if len(weight.shape) > 1 else 4
        weight.assign(1.5 * rng.standard_normal(weight.shape) / np.sqrt(fan_in))
    means, scales = rng.standard_normal((1, 4, 3)), np.exp(rng.standard_normal((1, 4, 3)) - 1)
    prior = keras_vae.priors.FittedMixture.of(means, scales, np.full((1, 4), 0.25))
    model.replace_prior(prior)
    return model


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, "float32"))


# Draws


@ordinary_on("torch")
@pytest.mark.parametrize("names", [2, 3, 1000])
def test_a_name_is_the_first_whose_whole_weights_exceed_the_whole_part_of_the_total(names):
    layout = column_distributions.layout((("categorical", names), ("categorical", names)))
    logits = np.round(256 * 2 * RNG.standard_normal((30, 2, names))) / 256
    number = 2 * RNG.integers(0, 2**23, (30, 2)) + 1  # in parts of 2^24
    number[:2] = [[1], [2**24 - 1]]
    # Of three alike the second ends where this number begins: it is the third's.
    logits[2], number[2] = 0, 11_184_811
    columns = exact_columns.ExactColumns(layout, tensor(logits.reshape(30, -1)))
    found = columns.from_noise(tensor(np.zeros((30, 0))), tensor(number / 2**24))
    largest = 2 ** int(math.log2(2**24 / names))
    for row in range(30):
        for column in range(2):
            values = logits[row, column]
            gaps = [math.floor((max(values) - v) * 64 + 0.5) for v in values]
            weights = [round(largest * math.exp(-gap / 64)) for gap in gaps]
            wanted = math.floor(Fraction(sum(weights) * int(number[row, column]), 2**24))
            below = [sum(weights[: k + 1]) <= wanted for k in range(names)]
            assert float(found[row, column]) == below.index(False)


@ordinary_on("torch")
def test_numbers_and_binary_values_are_drawn_by_steps_of_a_64th():
    layout = column_distributions.layout((("normal",), ("bernoulli",)))
    parameters = np.round(256 * RNG.standard_normal((200, 3)) * 3) / 256
    seed, index = np.array([3]), np.arange(200)
    normal, uniform = portable_random.normals_and_uniforms(seed, index, 0, 1, 1)
    found = exact_columns.ExactColumns(layout, tensor(parameters))
    found = ops.convert_to_numpy(found.from_noise(tensor(normal), tensor(uniform)))
    loc, scale, logit = parameters.T
    share = 1 / (1 + np.exp(-np.floor(scale * 64 + 0.5) / 64))
    scale = 0.05 * 100**share
    expected = loc + np.floor(scale * normal[:, 0] * 65536) / 65536
    np.testing.assert_allclose(found[:, 0], expected, atol=1.1 / 65536)
    assert np.all(found[:, 0] * 65536 % 1 == 0)
    logit = np.floor(logit * 64 + 0.5) / 64
    np.testing.assert_array_equal(found[:, 1], uniform[:, 0] < 1 / (1 + np.exp(-logit)))


def test_every_backend_draws_the_same_rows():
    model = settled().as_exact()
    years = np.linspace(1980, 2030, 500)
    columns = model.schema.decode(model.sample({"sex": ["f", "m"] * 250, "year": years}, seed=3))
    text = "\n".join(f"{name} {values.tolist()}" for name, values in columns.items())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGEST


# Of the rows that all three backends drew when this was written.
DIGEST = "ad0cc455011eedc2"


@ordinary_on("torch")
def test_an_exact_model_of_a_table_is_nearly_the_one_that_it_was_made_of(tmp_path):
    model = settled()
    made = model.as_exact()
    assert made.as_exact() is made
    assert (model.is_exact, made.is_exact) == (False, True)
    np.testing.assert_array_equal(made.encode(MADE.test), model.encode(MADE.test))
    asked = {"sex": ["f", "m"] * 1000, "year": np.arange(2000) // 100 + 1995}
    drawn = [m.sample(asked, seed=1) for m in (model, made)]
    differ = np.mean(np.abs(drawn[0] - drawn[1]) > 0.1, axis=0)
    assert differ.max() < 0.1, differ
    # What rounding moves on average is made up for.
    numbers = [x[:, :3] for x in drawn]
    assert np.abs(np.mean(numbers[0] - numbers[1], axis=0)).max() < 0.01
    made.save(tmp_path / "exact.keras")
    loaded = keras_vae.load_model(tmp_path / "exact.keras")
    np.testing.assert_array_equal(loaded.sample(asked, seed=1), drawn[1])


@ordinary_on("torch")
def test_a_model_without_conditions_or_hidden_layers_has_an_exact_form():
    made = data.table({name: TABLE[name] for name in ("height", "job")})
    model = keras_vae.table_vae(made.schema, latent_dim=2, hidden_units=(8,))
    assert model.as_exact().sample(5, seed=1).shape == (5, 2)


@ordinary_on("torch")
def test_what_of_tables_has_no_exact_form_is_refused_in_one_line():
    rows = {**TABLE, "calls": RNG.poisson(3, ROWS)}
    counted = data.table(rows, ["sex"], {"calls": data.Count()})
    real = data.table(TABLE, ["height"], {"height": data.Numeric("log")})
    curved = keras_vae.VAE(
        keras_vae.networks.TableEncoder(real.schema.blocks, 2, (8,)),
        TableDecoder(real.schema.blocks, (8,), activation="tanh"),
        likelihood=likelihoods.Table(real.schema.blocks),
    )
    vae = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, (4,)), keras_vae.networks.DenseDecoder((4,), (4,))
    )
    refused = {
        "must have no counts": keras_vae.table_vae(counted.schema, 2, (8,)),
        "without logarithms. Received: height": keras_vae.table_vae(real.schema, 2, (8,)),
        "a TableDecoder with ReLU. Received: TableDecoder": curved,
        "Received: DenseDecoder": vae,
    }
    for words, model in refused.items():
        with pytest.raises(ValueError, match=r"^An exact ") as error:
            model.as_exact()
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^An exact model is not trained"):
        settled().as_exact().fit(MADE.train)


# Units


@ordinary_on("torch")
@pytest.mark.parametrize("name", ["weight", "gain", "year"])
def test_whole_numbers_are_the_nearest_to_the_map(name):
    kind = MADE.schema.columns[name]
    scores = np.linspace(-6, 6, 20_001).astype("float32")
    if kind.transform == "quantile":
        exact_values = quantiles.from_normal(scores.astype("float64"), **kind.fitted)
    else:
        exact_values = scores * kind.fitted["std"] + kind.fitted["mean"]
    found = kind.decode(scores)
    assert np.all(found == np.floor(found))
    clipped = np.clip(exact_values, *kind.bounds)
    # A half, and what the last bit of a slope moves.
    assert np.abs(found - clipped).max() < 0.5 + 1e-6 * np.abs(kind.bounds).max()
    assert np.all(np.diff(found) >= 0)
    values = np.array(TABLE[name])
    np.testing.assert_array_equal(kind.decode(kind.encode(values).astype("float32")), values)


@ordinary_on("torch")
def test_whole_numbers_beyond_those_of_float32_are_computed_in_float64():
    values = 2**24 + 2 * np.arange(100)
    kind = data.Numeric("standard").fit(values)
    assert not lines.is_whole(kind)
    np.testing.assert_array_equal(kind.decode(kind.encode(values)), values)


@ordinary_on("torch")
def test_what_rounding_moves_on_average_is_made_up_for_in_the_biases():
    rng = np.random.default_rng(2)
    trained = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(20)]
    made = [
        exact.ExactDense(64, "row", signed=True, activation="relu"),
        exact.ExactDense(20, gives="parameters"),
    ]
    for pair, inputs in zip(zip(trained, made, strict=True), (6, 64), strict=True):
        for layer in pair:
            layer.build((None, inputs))
        for weight in pair[0].weights:
            weight.assign(rng.standard_normal(weight.shape))
    rows = rng.standard_normal((500, 6))

    def bias_of_outputs():
        x, y = tensor(rows), tensor(np.floor(rows * 256 + 0.5))
        for one, other in zip(trained, made, strict=True):
            x, y = one(x), other(y)
        return np.abs(np.mean(ops.convert_to_numpy(x - y / 256), axis=0)).max()

    for one, other in zip(trained, made, strict=True):
        other.take(one)
    before = bias_of_outputs()
    exact.centre(list(zip(trained, made, strict=True)), rows)
    assert bias_of_outputs() < 0.005 < 0.02 < before
