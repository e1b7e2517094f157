"""Priors against float64 oracles and TFP: densities, divergences, samples, fitting and saving."""

import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import portable_random, priors
from keras_vae.priors.fitted import row_vectors
from tests import oracles
from tests.conftest import BACKEND, make_model, ordinary_on
from tests.test_formulas import tfp  # noqa: F401 - a fixture

pytestmark = ordinary_on("torch")

GENERATOR = np.random.default_rng(0)
Z = GENERATOR.normal(size=(40, 3)).astype("f4")
CONDITION = np.eye(4, 3, dtype="f4")[np.arange(40) % 4]  # the last is unknown
CLASSES = (("label", 0, 3),)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def randomized(prior, *shapes):
    """A prior, built, its weights moved away from where training begins."""
    prior.build(*shapes)
    rng = np.random.default_rng(5)
    for weight in prior.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.6)
    return prior


def conditional_normal():
    return randomized(priors.ConditionalNormal((4,)), (None, 3), (None, 3))


def fitted(rows=4, components=5, seed=3):
    rng = np.random.default_rng(seed)
    shape = (rows, components, 3)
    return priors.FittedMixture.of(
        rng.normal(size=shape) * 2,
        rng.uniform(0.3, 1.5, size=shape),
        rng.dirichlet(np.ones(components), size=rows),
        CLASSES if rows == 4 else (),
    )


def weights_of(prior):
    """The probabilities of the components, as they are drawn."""
    edges = np.pad(prior.thresholds.astype("f8"), ((0, 0), (1, 1)))
    edges[:, -1] = 2**31
    return np.diff(edges) / 2**31


def test_conditional_normal_is_the_density(tfp):  # noqa: F811
    prior = conditional_normal()
    mean, log_var = map(numpy, prior.mean_and_log_var(CONDITION))
    expected = tfp.MultivariateNormalDiag(mean.astype("f8"), np.exp(log_var / 2)).log_prob(Z)
    np.testing.assert_allclose(numpy(prior.log_prob(Z, CONDITION)), expected, rtol=5e-6)
    draws = np.stack([Z, Z + 1])
    both = numpy(prior.log_prob(draws, CONDITION))
    np.testing.assert_allclose(both[0], numpy(prior.log_prob(Z, CONDITION)), rtol=1e-6)


def test_conditional_normal_begins_at_the_standard_normal():
    prior = priors.ConditionalNormal()
    prior.build((None, 3), (None, 3))
    expected = numpy(priors.StandardNormal().log_prob(Z))
    np.testing.assert_allclose(numpy(prior.log_prob(Z, CONDITION)), expected, rtol=1e-6)


def test_closed_forms_of_the_kl_equal_tensorflow_probability(tfp):  # noqa: F811
    mean, log_var = GENERATOR.normal(size=(2, 40, 3)).astype("f4")
    posterior = tfp.MultivariateNormalDiag(mean.astype("f8"), np.exp(log_var.astype("f8") / 2))
    prior = conditional_normal()
    m, v = map(numpy, prior.mean_and_log_var(CONDITION))
    expected = posterior.kl_divergence(tfp.MultivariateNormalDiag(m, np.exp(v / 2)))
    got = numpy(prior.kl(mean, log_var, condition=CONDITION))
    # Measured: 4e-7.
    np.testing.assert_allclose(got, expected, rtol=5e-6)
    one = fitted(components=1)
    at = np.arange(40) % 4
    expected = posterior.kl_divergence(
        tfp.MultivariateNormalDiag(one.means[at, 0], one.scales[at, 0])
    )
    np.testing.assert_allclose(numpy(one.kl(mean, log_var, None, CONDITION)), expected, rtol=5e-6)


def test_mixtures_are_the_density(tfp):  # noqa: F811
    prior = randomized(priors.GaussianMixture(5), (None, 3))
    means, log_vars, logits = (numpy(w).astype("f8") for w in prior.weights)
    expected = tfp.MixtureSameFamily(
        tfp.Categorical(logits=logits), tfp.MultivariateNormalDiag(means, np.exp(log_vars / 2))
    ).log_prob(Z)
    # Measured: 3e-7.
    np.testing.assert_allclose(numpy(prior.log_prob(Z)), expected, rtol=5e-6)
    np.testing.assert_allclose(numpy(prior.fixed().log_prob(Z)), expected, rtol=5e-6)
    by_class = fitted()
    got = numpy(by_class.log_prob(np.stack([Z, -Z]), CONDITION))
    for row in range(4):
        chosen = np.arange(40) % 4 == row
        for z, found in zip((Z, -Z), got, strict=True):
            expected = oracles.mixture_log_density(
                z[chosen].astype("f8"),
                by_class.means[row],
                by_class.scales[row].astype("f8") ** 2,
                weights_of(by_class)[row],
            )
            np.testing.assert_allclose(found[chosen], expected, rtol=5e-6)


def test_vamp_is_the_mean_of_the_pseudo_inputs_posteriors():
    model = make_model(prior=priors.VampPrior(4))
    model.build()
    prior = model.prior
    x = 1 / (1 + np.exp(-numpy(prior.pseudo_inputs).astype("f8")))
    mean, log_var = map(numpy, model.code(x.astype("f4"), prior.pseudo_conditions, training=False))
    expected = oracles.mixture_log_density(Z.astype("f8"), mean, np.exp(log_var), np.full(4, 0.25))
    np.testing.assert_allclose(numpy(prior.log_prob(Z)), expected, rtol=5e-6)
    np.testing.assert_allclose(numpy(prior.fixed().log_prob(Z)), expected, rtol=5e-6)


def flow():
    return randomized(priors.RealNVP(3, (8, 6)), (None, 3), (None, 3))


def couplings_of(prior):
    pairs = {}
    for layer in (c for coupling in prior.couplings for c in [*coupling.hidden, *coupling.heads]):
        pairs[id(layer)] = tuple(numpy(w).astype("f8") for w in layer.weights)
    return [
        {
            "kept": coupling.kept,
            "hidden": [pairs[id(layer)] for layer in coupling.hidden],
            "log_scale": pairs[id(coupling.heads[0])],
            "shift": pairs[id(coupling.heads[1])],
        }
        for coupling in prior.couplings
    ]


def test_the_flow_is_the_papers_and_has_the_density_of_its_numerical_jacobian():
    prior, condition = flow(), CONDITION.astype("f8")
    layers = couplings_of(prior)
    noise = GENERATOR.normal(size=(40, 3))
    z = oracles.real_nvp(noise, condition, layers)
    got = numpy(prior.from_noise(noise.astype("f4"), CONDITION))
    # Measured: 6e-7 of the largest.
    np.testing.assert_allclose(got, z, rtol=0, atol=4e-6 * np.abs(z).max())
    step = 1e-6
    columns = []
    for d in range(3):
        shift = step * np.eye(3)[d]
        above, below = (oracles.real_nvp(noise + s, condition, layers) for s in (shift, -shift))
        columns.append((above - below) / (2 * step))
    _, log_det = np.linalg.slogdet(np.stack(columns, axis=-1))
    expected = oracles.gaussian_log_density(noise, 0.0, np.ones(3)) - log_det
    found = numpy(prior.log_prob(z.astype("f4"), CONDITION))
    # Measured: 2e-6; the noise is that of codes rounded to float32.
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_the_flow_is_invertible():
    prior = flow()
    noise, _ = prior.to_noise(Z, CONDITION)
    # Measured: 1e-6.
    np.testing.assert_allclose(numpy(prior.from_noise(noise, CONDITION)), Z, rtol=0, atol=1e-5)
    draws = numpy(prior.log_prob(np.stack([Z, Z]), CONDITION))
    np.testing.assert_allclose(draws[1], numpy(prior.log_prob(Z, CONDITION)), rtol=1e-5)


def test_the_estimated_kl_is_right_on_average():
    prior = priors.GaussianMixture(3)
    prior.build((None, 1))
    for weight, values in zip(
        prior.weights,
        ([[-2.0], [0.0], [1.5]], [[0.1], [-1.0], [0.5]], [0.2, -0.3, 0.4]),
        strict=True,
    ):
        weight.assign(values)
    mean, log_var, draws = 0.7, -0.8, 40_000
    noise = GENERATOR.normal(size=(draws, 1)).astype("f4")
    full = [np.full((draws, 1), value, "f4") for value in (mean, log_var)]
    got = numpy(prior.kl(*full, z=mean + np.exp(log_var / 2).astype("f4") * noise))
    grid = np.linspace(-8, 9, 20_001)[:, None]
    log_q = oracles.gaussian_log_density(grid, mean, np.full(1, np.exp(log_var)))
    means, log_vars, logits = (numpy(w).astype("f8") for w in prior.weights)
    weights = np.exp(logits) / np.exp(logits).sum()
    log_p = oracles.mixture_log_density(grid, means, np.exp(log_vars), weights)
    exact = np.sum(np.exp(log_q) * (log_q - log_p)) * (grid[1, 0] - grid[0, 0])
    assert abs(got.mean() - exact) < 4 * got.std() / np.sqrt(draws)
    # The mean in the draw's place.
    at_mean = numpy(prior.kl(full[0][:1], full[1][:1]))
    np.testing.assert_allclose(at_mean, numpy(prior.kl(full[0][:1], full[1][:1], full[0][:1])))


def test_samples_have_the_mixtures_moments():
    prior, count = fitted(), 40_000
    weights = weights_of(prior)
    vectors = row_vectors([keras_vae.Categorical(3)])
    for row in range(4):
        z = prior.sample(count, 3, seed=row, condition=np.repeat(vectors[row : row + 1], count, 0))
        mean = weights[row] @ prior.means[row]
        second = weights[row] @ (prior.means[row] ** 2 + prior.scales[row] ** 2)
        spread = np.sqrt(second - mean**2)
        assert np.all(np.abs(z.mean(0) - mean) < 4 * spread / np.sqrt(count))
        squares = (z - mean) ** 2
        error = squares.std(0) / np.sqrt(count)
        assert np.all(np.abs(squares.mean(0) - spread**2) < 4 * error)


def test_components_are_drawn_by_their_weights_and_apart_from_the_noise():
    prior, count = fitted(rows=1), 100_000
    cold = prior.sample(count, 3, temperature=0.0, seed=11)
    match = np.all(cold[:, None] == prior.means[0], axis=-1)
    assert (match.sum(axis=1) == 1).all()
    weights = weights_of(prior)[0]
    expected = count * weights
    # Chi-square of four degrees of freedom: beyond 23.5 once in ten thousand times.
    assert np.sum((match.sum(axis=0) - expected) ** 2 / expected) < 23.5
    at = match.argmax(axis=1)
    noise = (prior.sample(count, 3, seed=11) - cold) / prior.scales[0][at]
    for k in range(5):
        of_component = noise[at == k]
        assert np.all(np.abs(of_component.mean(0)) < 4.5 / np.sqrt(len(of_component)))


def test_uniform_numbers_are_uniform_and_below_two_to_the_31():
    seed, index = np.array([7], "int32"), np.arange(100_000, dtype="int32")
    number = portable_random.uniform(seed, index)
    assert number.dtype == np.int32
    assert number.min() >= 0
    counts = np.bincount(number >> 24, minlength=128)
    # Chi-square of 127 degrees of freedom.
    assert np.sum((counts - counts.mean()) ** 2 / counts.mean()) < 127 + 4 * np.sqrt(2 * 127)
    tensor = portable_random.uniform(ops.convert_to_tensor(seed), ops.convert_to_tensor(index))
    np.testing.assert_array_equal(numpy(tensor), number)


@pytest.mark.parametrize("make", [fitted, lambda: fitted(rows=1), lambda: fitted(components=1)])
def test_a_mixture_draws_the_same_bits_in_a_graph_and_in_parts(make):
    prior = make()
    z = prior.sample(40, 3, 0.7, 42, CONDITION)
    index = np.array([39, 0, 17], "int32")
    tensors = [np.array([42], "int32"), index, np.array([0.7], "f4"), CONDITION[index]]
    seed, rows, temperature, condition = map(ops.convert_to_tensor, tensors)
    drawn = numpy(prior.draw(seed, rows, temperature, 3, condition))
    np.testing.assert_array_equal(drawn.view("u4"), z[index].view("u4"))


def test_a_flow_draws_the_same_in_parts():
    prior = flow()
    z = prior.sample(40, 3, 0.7, 42, CONDITION)
    assert z.dtype == np.float32
    given = [np.array([42], "int32"), np.array([39, 0], "int32"), np.array([0.7], "f4")]
    drawn = numpy(prior.draw(*map(ops.convert_to_tensor, given), 3, CONDITION[[39, 0]]))
    # Measured: 5e-7.
    np.testing.assert_allclose(drawn, z[[39, 0]], rtol=0, atol=4e-6)
    noise = priors.StandardNormal().sample(40, 3, 0.7, 42)
    np.testing.assert_allclose(z, numpy(prior.from_noise(noise, CONDITION)), rtol=0, atol=4e-6)


def test_a_table_of_several_labels_is_the_conditional_normal():
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(3, (4,)),
        keras_vae.networks.DenseDecoder((6, 5, 1), (4,)),
        {"label": keras_vae.Categorical(3), "colour": keras_vae.Categorical(2)},
        prior=priors.ConditionalNormal((5,)),
    )
    model.build()
    for weight in model.prior.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    labels = {
        "label": np.repeat(np.arange(4), 3).astype("int32"),
        "colour": np.tile(np.arange(3), 4).astype("int32"),
    }
    condition = model.encode_condition({k: ops.convert_to_tensor(v) for k, v in labels.items()})
    table = model.prior.fixed()
    assert isinstance(table, priors.FittedMixture)
    expected = numpy(model.prior.log_prob(Z[:12], condition))
    np.testing.assert_allclose(numpy(table.log_prob(Z[:12], condition)), expected, rtol=1e-5)
    cold = model.prior.sample(12, 3, 0.0, 1, condition)
    mean, _ = map(numpy, model.prior.mean_and_log_var(condition))
    np.testing.assert_allclose(cold, mean, rtol=0, atol=1e-6)


def trained(images, **kwargs):
    x, label = images
    model = make_model(**kwargs)
    inputs = {"x": x, "label": label} if model.condition else x
    model.fit(inputs, batch_size=24, epochs=2, verbose=0)
    return model, inputs


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "kernel_density"])
def test_a_fitted_prior_is_saved_trained_on_and_drawn_from(images, tmp_path, kind):
    model, inputs = trained(images)
    standard = model.sample({"label": [0, 1, 2, None]}, seed=1)
    components = {"gaussian": 1, "mixture": 2, "kernel_density": 16}[kind]
    given = {} if kind == "kernel_density" else {"num_components": components}
    prior = model.fit_prior(inputs, kind=kind, seed=0, **given)
    assert model.prior is prior
    assert prior.means.shape == (4, components, 3)
    made = model.sample({"label": [0, 1, 2, None]}, seed=1)
    assert not np.allclose(made, standard, atol=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample({"label": [0, 1, 2, None]}, seed=1), made)
    for one, other in zip(*(m.optimizer.variables for m in (loaded, model)), strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(other))
    logs = [m.fit(inputs, batch_size=24, verbose=0).history for m in (loaded, model)]
    assert logs[0] == logs[1]
    assert np.isfinite(logs[0]["loss"]).all()
    assert np.isfinite(model.log_likelihood(inputs, num_samples=20)).all()


def test_a_model_with_free_bits_takes_a_fitted_prior(make, images, tmp_path):
    model = make("VAE", free_bits=0.1)
    model.build()
    model.fit_prior(images[0], num_components=2, seed=0)
    losses = model.evaluate(images[0], verbose=0, return_dict=True)
    assert losses["loss"] == pytest.approx(losses["reconstruction_loss"] + losses["kl_loss"])
    model.save(tmp_path / "model.keras")
    assert keras_vae.load_model(tmp_path / "model.keras").free_bits == 0


def test_a_fitted_gaussian_has_the_codes_moments(images):
    model, inputs = trained(images)
    model.encoder.z_log_var.bias.assign(np.full(3, -30.0))  # the draw adds nothing
    model.encoder.z_log_var.kernel.assign(np.zeros(model.encoder.z_log_var.kernel.shape))
    prior = model.fit_prior(inputs, "gaussian", seed=0)
    codes = model.encode(inputs)[0]
    for row in range(4):
        chosen = codes[inputs["label"] == row] if row < 3 else codes
        np.testing.assert_allclose(prior.means[row, 0], chosen.mean(0), atol=1e-5)
        # scikit-learn adds 1e-6 to every variance.
        np.testing.assert_allclose(prior.scales[row, 0] ** 2, chosen.var(0) + 1e-6, rtol=1e-3)


def test_a_prior_fitted_to_all_classes_or_without_labels(images):
    model, inputs = trained(images)
    assert model.fit_prior(inputs, "gaussian", per_class=False).means.shape == (1, 1, 3)
    model, inputs = trained(images, name="VAE")
    assert model.fit_prior(inputs, "mixture", num_components=2).means.shape == (1, 2, 3)
    assert model.sample(3, seed=1).shape == (3, 6, 5, 1)


def test_a_fitted_prior_replaces_one_with_weights(images, tmp_path):
    model, inputs = trained(images, prior=priors.GaussianMixture(3))
    trainable = len(model.trainable_variables)
    model.fit_prior(inputs, "gaussian", seed=0)
    assert len(model.trainable_variables) == trainable - 3
    model.fit(inputs, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.prior.means, model.prior.means)


def test_a_better_prior_is_measured_as_one(images):
    """The ELBO and the likelihood rise when the prior learns where the codes are."""
    model, inputs = trained(images, kl_weight=0.01)  # a posterior far from N(0, I)
    model.fit(inputs, batch_size=24, epochs=30, verbose=0)
    results = []
    for fit in (False, True):
        if fit:
            model.fit_prior(inputs, "gaussian", seed=0)
        elbo = keras_vae.evaluation.evaluate(model, inputs)["elbo"]
        results.append((elbo, model.log_likelihood(inputs, num_samples=200, seed=0).mean()))
    assert np.all(np.array(results[1]) > np.array(results[0]))


def test_training_goes_on_with_the_fitted_prior(images):
    """Also where the step was traced before: its KL is that of the new prior."""
    model, inputs = trained(images, kl_weight=0.01)  # a posterior far from N(0, I)
    model.fit(inputs, batch_size=24, epochs=30, verbose=0)
    model.compile(
        keras.optimizers.SGD(0.0), **({"jit_compile": True} if BACKEND == "torch" else {})
    )
    before = model.fit(inputs, batch_size=48, verbose=0).history["kl_loss"][0]
    model.fit_prior(inputs, "gaussian", seed=0)
    after = model.fit(inputs, batch_size=48, verbose=0).history["kl_loss"][0]
    assert after < before - 0.1


def test_a_torn_file_of_a_fitted_prior_is_refused():
    prior = fitted()
    store = {}
    prior.save_own_variables(store)
    for name, value in (("means", np.full((4, 5, 3), np.nan)), ("scales", np.ones((4, 5, 2)))):
        with pytest.raises(ValueError, match="The mixture's parameters must be finite"):
            priors.FittedMixture(CLASSES).load_own_variables({**store, name: value})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: priors.GaussianMixture(0),
            "`num_components` must be a whole number of at least 1",
        ),
        (lambda: priors.VampPrior(2.5), "`num_components` must be a whole number of at least 1"),
        (lambda: priors.RealNVP(1), "`num_layers` must be a whole number of at least 2"),
        (lambda: make_model("VAE", prior=priors.ConditionalNormal()).build(), "with conditions"),
        (
            lambda: keras_vae.VAE(
                keras_vae.networks.DenseEncoder(1, (4,)),
                keras_vae.networks.DenseDecoder((6, 5, 1), (4,)),
                prior=priors.RealNVP(),
            ).build(),
            "`RealNVP` needs at least 2 latent dimensions",
        ),
        (
            lambda: make_model(prior=randomized(priors.GaussianMixture(2), (None, 4))).build(),
            "The prior must be built for what the model has, (None, 3). Received: a Gauss",
        ),
        (
            lambda: make_model("VAE", prior=fitted()).build(),
            "depends on ['label'], which must be labels of the model",
        ),
        (
            lambda: make_model(
                prior=priors.FittedMixture.of(*np.ones((2, 1, 1, 4)), [[1]])
            ).build(),
            "has 4 latent dimensions, the model 3",
        ),
        (lambda: priors.FittedMixture([("label", 0, 10**9)]), "at most 4096 rows"),
        (lambda: priors.FittedMixture.of(Z, Z, Z), "`FittedMixture` needs `means` and `scales`"),
        (
            lambda: priors.FittedMixture.of(Z[None], Z[None] ** 2, np.full((1, 40), 1.0)),
            "each row's sum must be 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError) as raised:
        make()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "spline"}, "`kind` must be one of gaussian, mixture, kernel_density"),
        ({"num_components": 0}, "`num_components` must be a whole number of at least 1"),
        ({"num_components": 17}, "at least 17 examples of each class. Received: 16 of 0"),
        ({"kind": "gaussian", "num_components": 2}, "`kind='gaussian'` has one component"),
        ({"per_class": "colour"}, "`per_class` must be False, or name a label"),
    ],
)
def test_a_fit_that_cannot_be_is_refused_in_one_line(images, arguments, words):
    model, inputs = make_model(), {"x": images[0], "label": images[1]}
    model.build()
    with pytest.raises(ValueError) as raised:
        model.fit_prior(inputs, **arguments)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_fitting_needs_a_trained_model_and_scikit_learn(images, monkeypatch):
    model, inputs = make_model(), {"x": images[0], "label": images[1]}
    with pytest.raises(ValueError, match="`fit_prior` needs a trained model"):
        model.fit_prior(inputs)
    model.build()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install \"keras-vae\[cli\]\""):
        model.fit_prior(inputs)


@pytest.mark.parametrize("prior", [priors.RealNVP(2, (4,)), priors.ConditionalNormal()])
def test_a_prior_learns_under_mixed_precision(images, prior):
    if BACKEND == "tensorflow":
        pytest.skip("one backend less: nothing here depends on it")
    x, label = images
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        prior = type(prior).from_config({**prior.get_config(), "dtype": "mixed_bfloat16"})
        model = make_model(prior=prior)
        history = model.fit({"x": x, "label": label}, epochs=2, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert model.prior.weights[0].dtype == "float32"
