"""Models of tables: they learn, draw rows in units, fill gaps, and give the same rows again."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import data, likelihoods, networks
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

ROWS = 400


def columns():
    """Height and job follow from the sex; every seventh cell is missing."""
    rng = np.random.default_rng(0)
    sex = rng.integers(0, 2, ROWS)
    height = 165 + 15 * sex + rng.normal(0, 3, ROWS)
    job = np.where(rng.random(ROWS) < 0.9, sex, 2)
    made = {
        "height": height.tolist(),
        "job": [("nurse", "smith", "cook")[k] for k in job],
        "calls": rng.poisson(1 + 4 * sex).tolist(),
        "sex": [("f", "m")[k] for k in sex],
    }
    for name in ("height", "job", "calls"):
        gaps = rng.random(ROWS) < 1 / 7
        made[name] = [None if gap else value for gap, value in zip(gaps, made[name], strict=True)]
    return made


@pytest.fixture(scope="module")
def table():
    return data.table(columns(), "sex", {"calls": data.Count()})


@pytest.fixture(scope="module")
def model(table):
    keras.utils.set_random_seed(0)
    model = keras_vae.table_vae(table.schema, latent_dim=2, hidden_units=(32,), seed=0)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(table.train, epochs=30, batch_size=64, verbose=0)
    return model


def test_the_loss_falls_and_nothing_is_skipped(model, table):
    history = model.history.history
    assert history["loss"][-1] < history["loss"][0] - 1
    assert sum(history["skipped_updates"]) == 0
    assert np.isfinite(model.log_likelihood(table.test, 8, seed=0)).all()


def test_rows_are_drawn_in_units_with_the_asked_condition(model, table):
    asked = ["f", "m"] * 300
    drawn = table.schema.decode(
        model.sample({"sex": asked}, seed=1), table.schema.encode_conditions({"sex": asked})
    )
    assert drawn["sex"].tolist() == asked
    for sex, height, job in (("f", 165, "nurse"), ("m", 180, "smith")):
        of = np.array(asked) == sex
        # Half of the distance between both.
        assert abs(drawn["height"][of].mean() - height) < 7.5
        assert (drawn["job"][of] == job).mean() > 0.6
    # Draws, no means: heights spread as they do.
    assert drawn["height"][np.array(asked) == "f"].std() > 1.5
    assert drawn["calls"].dtype == "int64"


def test_conditions_that_are_numbers_are_asked_for_in_units():
    made = data.table(columns() | {"age": list(range(20, 220, 2)) * 4}, ["sex", "age"])
    model = keras_vae.table_vae(made.schema, 2, (8,))
    of_each = [model.sample({"sex": ["f", "m"], "age": [37, 52.5]}, seed=1)]
    encoded = made.schema.encode_conditions({"sex": ["f", "m"], "age": [37, 52.5]})
    assert encoded["age"].shape == (2, 1)
    np.testing.assert_array_equal(*of_each, model.sample(encoded, seed=1))
    one = {"sex": "f", "age": 37}
    single = model.sample(one, count=5, seed=1)
    # A batch of another size may round otherwise.
    np.testing.assert_allclose(single[0], of_each[0][0], rtol=1e-5)
    given = made.schema.encode_conditions(one)
    np.testing.assert_array_equal(single, model.sample(given, count=5, seed=1))
    other = model.sample({"sex": "f", "age": 38}, count=5, seed=1)
    assert (single != other).any()
    refusal("must be known in every", model.sample, {"sex": "f", "age": [37, None]})
    refusal("must be numbers", model.sample, {"sex": "f", "age": "old"})


def test_a_seed_gives_the_same_rows_and_means_are_no_draws(model):
    asked = {"sex": ["f", "m"] * 10}
    one = model.sample(asked, seed=3)
    np.testing.assert_array_equal(one, model.sample(asked, seed=3))
    assert (one != model.sample(asked, seed=4)).any()
    assert (one != model.sample(asked, seed=3, observation=False)).any()
    # Any part of the rows is the same rows.
    first = model.sample({"sex": ["f", "m"]}, seed=3)
    np.testing.assert_allclose(first, one[:2], rtol=1e-5, atol=1e-6)


def test_gaps_are_filled_and_nothing_else_is_changed(model, table):
    rows = table.train
    filled = model.impute(rows)
    gaps = np.isnan(rows["x"])
    assert gaps.sum() > 50
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~gaps], rows["x"][~gaps])
    decoded = table.schema.decode(filled, {"sex": rows["sex"]})
    of_gap = gaps[:, 0]
    expected = np.where(decoded["sex"] == "f", 165, 180)
    # By the mean of all it would be 7.5 off.
    assert np.abs(decoded["height"] - expected)[of_gap].mean() < 5
    model.fit({**rows, "x": filled}, epochs=1, verbose=0)  # whole numbers where others are such


def test_a_gap_is_filled_with_what_is_expected_given_the_rest():
    """By the integral over a code of one dimension, in place of draws of it."""
    rows = columns()
    made = data.table(rows, ["sex"], {"calls": data.Count()})
    wide = keras_vae.table_vae(made.schema, latent_dim=1, hidden_units=(16,))
    wide.build()
    rng = np.random.default_rng(3)
    for weight in wide.decoder.trainable_variables:
        weight.assign(rng.standard_normal(weight.shape) * 0.7)
    for weight in wide.encoder.trainable_variables:  # which knows nothing: the weights tell
        weight.assign(np.zeros(weight.shape))
    x = made.train["x"][~np.isnan(made.train["x"]).any(axis=1)][:20].copy()
    gaps = np.arange(20) % x.shape[1]
    x[np.arange(20), gaps] = np.nan
    given = {"x": x, "sex": made.train["sex"][:20]}
    found = wide.impute(given, num_samples=4000)
    z = np.linspace(-8, 8, 1601, dtype="float32")[:, None]
    for row in range(20):
        sex = {"sex": np.repeat(given["sex"][row : row + 1], len(z))}
        parameters = wide.decode_parameters(ops.convert_to_tensor(z), sex)
        px = wide.likelihood(parameters)
        known = np.repeat(x[row : row + 1], len(z), axis=0)
        log_weight = ops.convert_to_numpy(px.log_prob(ops.convert_to_tensor(known))).astype("f8")
        weight = np.exp(log_weight - log_weight.max() - z[:, 0] ** 2 / 2)
        weight /= weight.sum()
        kind, *_ = made.schema.blocks[gaps[row]]
        if kind == "categorical":
            [logits] = px.groups
            probabilities = ops.convert_to_numpy(ops.softmax(logits, axis=-1))[:, 0]
            share = weight @ probabilities
            second, first = np.sort(share)[-2:]
            assert first - second < 0.05 or found[row, gaps[row]] == share.argmax()
            continue
        expected = weight @ ops.convert_to_numpy(px.mean())[:, gaps[row]]
        expected = expected if kind == "normal" else np.rint(expected)
        # Measured: 0.02 of numbers near N(0, 1); a count may be rounded to the other side.
        assert abs(found[row, gaps[row]] - expected) <= (0.1 if kind == "normal" else 1)


def test_a_loaded_model_draws_the_same_rows(model, table, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras_vae.load_model(path)
    assert loaded.schema == table.schema
    asked = {"sex": ["f", "m"] * 10}
    np.testing.assert_array_equal(loaded.sample(asked, seed=3), model.sample(asked, seed=3))


def test_every_model_objective_and_prior_takes_it():
    table = data.table(columns(), drop="sex")
    blocks = table.schema.blocks
    for kwargs in (
        {"objective": "iwae", "num_samples": 2},
        {"prior": keras_vae.priors.RealNVP(2, (4,))},
        {"posterior": "full_covariance", "free_bits": 0.1},
    ):
        model = keras_vae.table_vae(table.schema, 2, (8,), **kwargs)
        model.compile("adam")
        model.fit(table.train, epochs=1, verbose=0)
        assert np.isfinite(model.evaluate(table.test, verbose=0, return_dict=True)["loss"])
        assert model.sample(3, seed=0).shape == (3, 3)
    parts = networks.TableEncoder(blocks, 2), networks.TableDecoder(blocks)
    other = keras_vae.Autoencoder(*parts, likelihood=likelihoods.Table(blocks))
    other.compile("adam")
    other.fit(table.train, epochs=1, verbose=0)


def refusal(words, function, *args, **kwargs):
    with pytest.raises(ValueError, match=words) as caught:
        function(*args, **kwargs)
    assert "Received: " in str(caught.value)


def test_what_does_not_fit_is_refused(model, table):
    schema = table.schema
    wrong = {**table.train, "x": table.train["x"] + 0.5}
    refusal("must hold in every column what its kind has", model.fit, wrong, verbose=0)
    refusal(
        "needs the likelihood of its columns",
        keras_vae.table_vae,
        schema,
        likelihood=likelihoods.Table([("normal",)] * 3),
    )
    decoder = networks.DenseDecoder((3,), (4,))
    parts = networks.TableEncoder(schema.blocks, 2), decoder
    refusal("must be a data.TableSchema", keras_vae.VAE, *parts, schema="x")
    short = keras_vae.VAE(*parts, likelihood=likelihoods.Table(schema.blocks))
    refusal("Use a networks.TableDecoder", short.build)
    plain = keras_vae.VAE(networks.DenseEncoder(2, (4,)), networks.DenseDecoder((3,), (4,)))
    refusal("needs a likelihoods.Table", plain.sample, 2, observation=True)
    refusal("`impute` needs", plain.impute, np.zeros((2, 3), "float32"))
