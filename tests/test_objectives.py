"""Objectives against float64 oracles, and gradient estimators against each other."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import objectives, priors
from keras_vae.distributions import Normal
from keras_vae.objectives import ELBO, IWAE, MMD, TotalCorrelation
from tests import oracles
from tests.conftest import BACKEND, ordinary_on

pytestmark = ordinary_on("torch")

WEIGHT = np.random.default_rng(1).uniform(0, 2, 48).astype("f4")


def strong(model):
    """Give a model weights with which its posteriors differ, and are not the true ones."""
    generator = np.random.default_rng(5)
    model.build()
    for variable in model.trainable_variables:
        variable.assign(0.6 * generator.normal(size=variable.shape))
    return model


@pytest.fixture
def noise(monkeypatch):
    """The same noise for every draw of a shape, as an array."""

    def normal(shape, dtype=None, seed=None):
        shape = tuple(int(size) for size in shape)
        return np.random.default_rng(7).normal(size=shape).astype("f4")

    monkeypatch.setattr(
        keras.random, "normal", lambda *a, **k: ops.convert_to_tensor(normal(*a, **k))
    )
    return normal


def parts(model, inputs, noise):
    """In float64, by draw: the codes, their posteriors, and the terms of the bound."""
    z_mean, z_log_var = (array.astype("f8") for array in model.encode(inputs))
    draws, std = model.num_samples, np.exp(z_log_var / 2)
    z = z_mean + std * noise((draws * 48, 3)).astype("f8").reshape(draws, 48, 3)
    x, conditions = (inputs["x"], {"label": inputs["label"]}) if model.condition else (inputs, None)
    log_p = []
    for codes in z.astype("f4"):
        logits = ops.convert_to_numpy(model.decode_parameters(codes, conditions))
        log_p.append(-oracles.binary_cross_entropy(x.astype("f8"), logits.astype("f8")))
    log_prior = oracles.gaussian_log_density(z, 0.0, 1.0)
    log_q = oracles.gaussian_log_density(z, z_mean, np.exp(z_log_var))
    kl = oracles.gaussian_kl(z_mean, z_log_var)
    return {
        "z": z,
        "posterior": (z_mean, z_log_var),
        "log_p": np.array(log_p),
        "log_ratio": log_prior - log_q,
        "kl": kl,
    }


def measured(model, inputs, weight=None):
    """The loss of a whole batch, and its terms."""
    inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    loss, terms = model.loss_and_terms((inputs, None, weight), training=False)
    terms = {name: float(ops.convert_to_numpy(value)) for name, value in terms.items()}
    return float(ops.convert_to_numpy(loss)), terms


# Of losses in float32, sums of 30 pixels and a mean of 48 examples.
RTOL = 1e-6


@pytest.mark.parametrize("gradient", ["reparameterized", "score_function"])
@pytest.mark.parametrize("draws", [1, 4])
def test_the_elbo_is_the_mean_over_the_draws(make, images, noise, draws, gradient):
    inputs = {"x": images[0], "label": images[1]}
    model = strong(make(kl_weight=0.7, num_samples=draws, gradient=gradient))
    loss, terms = measured(model, inputs, WEIGHT)
    expected = parts(model, inputs, noise)
    nats = -expected["log_p"].mean(axis=0)
    np.testing.assert_allclose(terms["reconstruction_loss"], np.mean(WEIGHT * nats), rtol=RTOL)
    np.testing.assert_allclose(terms["kl_loss"], np.mean(WEIGHT * expected["kl"]), rtol=RTOL)
    np.testing.assert_allclose(loss, np.mean(WEIGHT * (nats + 0.7 * expected["kl"])), rtol=RTOL)


@pytest.mark.parametrize("gradient", ["doubly_reparameterized", "reparameterized"])
@pytest.mark.parametrize("draws", [1, 5])
def test_the_iwae_bound_equals_the_paper(make, images, noise, draws, gradient):
    inputs = {"x": images[0], "label": images[1]}
    model = strong(make(kl_weight=0.7, objective=IWAE(draws, gradient)))
    loss, terms = measured(model, inputs, WEIGHT)
    expected = parts(model, inputs, noise)
    log_weights = expected["log_p"] + 0.7 * expected["log_ratio"]
    bound = oracles.log_mean_exp(log_weights)
    np.testing.assert_allclose(loss, np.mean(-WEIGHT * bound), rtol=RTOL)
    nats = -expected["log_p"].mean(axis=0)
    np.testing.assert_allclose(terms["reconstruction_loss"], np.mean(WEIGHT * nats), rtol=RTOL)
    np.testing.assert_allclose(terms["kl_loss"], np.mean(WEIGHT * expected["kl"]), rtol=RTOL)


@pytest.mark.parametrize("dataset_size", [None, 1000])
@pytest.mark.parametrize("draws", [1, 2])
def test_the_total_correlation_equals_the_oracle(make, images, noise, draws, dataset_size):
    objective = TotalCorrelation(3.0, dataset_size, draws)
    model = strong(make("VAE", kl_weight=0.7, objective=objective))
    loss, terms = measured(model, images[0])
    expected = parts(model, images[0], noise)
    correlation = np.mean(
        [oracles.total_correlation(z, *expected["posterior"], dataset_size) for z in expected["z"]]
    )
    # Measured on PyTorch: 7e-8 nats, of 0.005 to 0.02.
    np.testing.assert_allclose(terms["total_correlation"], correlation, atol=3e-7)
    base = -expected["log_p"].mean() + 0.7 * expected["kl"].mean()
    np.testing.assert_allclose(loss, base + 2.0 * correlation, rtol=RTOL)


def test_codes_whose_dimensions_are_independent_have_no_total_correlation():
    """And those whose dimensions are copies have much."""
    generator = np.random.default_rng(0)
    apart = generator.normal(size=(2000, 2)).astype("f4")
    copies = np.repeat(apart[:, :1], 2, axis=1)
    values = []
    for z_mean in (apart, copies):
        z_log_var = np.full_like(z_mean, np.log(0.25))
        z = z_mean + 0.5 * generator.normal(size=z_mean.shape).astype("f4")
        q = Normal(ops.convert_to_tensor(z_mean), ops.convert_to_tensor(z_log_var))
        z = ops.convert_to_tensor(z[None])
        _, terms = TotalCorrelation().penalty(q, None, z, None, ops.mean, None)
        values.append(float(ops.convert_to_numpy(terms["total_correlation"])))
    # Of two Gaussians of variance 1.25 with correlation 0.8: -log(1 - 0.8^2) / 2.
    np.testing.assert_allclose(values, [0.0, -np.log(1 - 0.8**2) / 2], atol=0.05)


@pytest.mark.parametrize("bandwidth", [None, 0.7])
def test_the_mmd_equals_the_oracle(make, images, noise, bandwidth, monkeypatch):
    monkeypatch.setattr(
        keras.random, "randint", lambda *a, **k: ops.convert_to_tensor(np.array([11], "i4"))
    )
    objective = MMD(5.0, bandwidth, num_samples=2)
    model = strong(make("VAE", kl_weight=0.7, objective=objective))
    loss, terms = measured(model, images[0])
    expected = parts(model, images[0], noise)
    drawn = model.prior.sample(96, 3, seed=11).astype("f8")
    mmd = oracles.mmd(expected["z"].reshape(96, 3), drawn, bandwidth or np.sqrt(3))
    np.testing.assert_allclose(terms["mmd"], mmd, atol=2e-6)
    base = -expected["log_p"].mean() + 0.7 * expected["kl"].mean()
    np.testing.assert_allclose(loss, base + 5.0 * mmd, rtol=RTOL)


@pytest.mark.parametrize("weighted", [False, True])
def test_free_bits_are_a_floor_under_each_dimension_of_the_batch(make, images, weighted):
    x, _ = images
    # One dimension over the floor, one under it, and one that only single examples exceed.
    model = make("VAE", kl_weight=0.5, free_bits=0.3)
    model.build()
    for head, bias in ((model.encoder.z_mean, (1.2, 0.0, 0.5)), (model.encoder.z_log_var, None)):
        head.kernel.assign(0.3 * head.kernel)
        if bias:
            head.bias.assign(bias)
    weight = WEIGHT if weighted else None
    loss, terms = measured(model, x, weight)
    z_mean, z_log_var = (array.astype("f8") for array in model.encode(x))
    kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var)
    kl = kl * (WEIGHT[:, None] if weighted else 1.0)
    by_dimension = kl.mean(axis=0)
    assert by_dimension[0] > 0.3 > by_dimension[1]
    counted = np.maximum(by_dimension, 0.3).sum()
    np.testing.assert_allclose(terms["kl_loss"], by_dimension.sum(), rtol=RTOL)
    np.testing.assert_allclose(
        loss - terms["reconstruction_loss"], 0.5 * counted, rtol=1e-5, atol=2e-6
    )


def test_iwae_bounds_rise_from_the_elbo_towards_the_likelihood(make, images):
    x = np.repeat(images[0], 20, axis=0)

    def bound(**kwargs):
        model = strong(make("VAE", **kwargs))
        return -np.mean([measured(model, x)[0] for _ in range(4)]), model

    elbo, model = bound()
    drawn_kl, *rising = (bound(objective="iwae", num_samples=k)[0] for k in (1, 4, 16))
    exact = model.log_likelihood(images[0], num_samples=2000, batch_size=48, seed=0).mean()
    # Means of 3,840 draws each.
    np.testing.assert_allclose(drawn_kl, elbo, atol=0.15)
    assert drawn_kl + 0.2 < rising[0]
    assert rising[0] + 0.2 < rising[1]
    assert rising[1] < exact


def gradients(make, x, repeats=12, **kwargs):
    """The encoder's gradient, several times: each the mean over the batch's own draws."""
    model = strong(make("VAE", compile_model=False, **kwargs))
    # A step of plain gradient descent with rate 1 moves each weight by its gradient.
    model.compile(keras.optimizers.SGD(1.0))
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    count = len(model.encoder.trainable_variables)
    found = []
    for _ in range(repeats):
        for variable, value in zip(model.trainable_variables, before, strict=True):
            variable.assign(value)
        model.train_on_batch(x)
        after = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        moved = [(old - new).ravel() for old, new in zip(before, after, strict=True)]
        found.append((np.concatenate(moved[:count]), np.concatenate(moved[count:])))
    return [np.array(part, "f8") for part in zip(*found, strict=True)]


def assert_same_mean(one, other):
    """Each entry's difference of means, in standard errors, is as differences by chance are."""
    error = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / len(one))
    scores = (one.mean(axis=0) - other.mean(axis=0))[error > 1e-9] / error[error > 1e-9]
    # Of Student's t with about 22 degrees of freedom, in correlated entries.
    assert np.sqrt(np.mean(scores**2)) < 2
    assert np.abs(scores).max() < 5


@pytest.mark.parametrize("kl_weight", [1.0, 0.5])
def test_the_doubly_reparameterized_gradient_has_the_same_mean_and_less_variance(
    make, images, kl_weight
):
    x = np.repeat(images[0][:4], 250, axis=0)
    plain, doubly = (
        gradients(make, x, kl_weight=kl_weight, objective=IWAE(8, gradient))
        for gradient in ("reparameterized", "doubly_reparameterized")
    )
    assert_same_mean(plain[0], doubly[0])
    assert_same_mean(plain[1], doubly[1])
    assert doubly[0].var(axis=0).sum() < 0.8 * plain[0].var(axis=0).sum()


@pytest.mark.parametrize("draws", [1, 4])
def test_the_score_function_has_the_same_mean_and_more_variance(make, images, draws):
    x = np.repeat(images[0][:4], 250, axis=0)
    through, score, bare = (
        gradients(make, x, objective=ELBO(draws, **kwargs))
        for kwargs in (
            {},
            {"gradient": "score_function"},
            {"gradient": "score_function", "baseline": None},
        )
    )
    assert_same_mean(through[0], score[0])
    assert_same_mean(through[0], bare[0])
    assert_same_mean(through[1], score[1])
    spread = [found[0].var(axis=0).sum() for found in (through, score, bare)]
    assert spread[0] < 0.5 * spread[1]
    assert spread[1] < 0.2 * spread[2]


def test_a_score_function_without_others_has_no_baseline(make, images):
    model = make("VAE", gradient="score_function")
    logs = model.fit(images[0][:3], batch_size=1, verbose=0).history
    assert logs["skipped_updates"] == [0.0]


def test_a_loss_scale_does_not_change_the_doubly_reparameterized_gradient(make, images, noise):
    weights = []
    for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
        model = strong(make("VAE", objective=IWAE(4), compile_model=False))
        model.compile(wrap(keras.optimizers.SGD(0.1)), run_eagerly=True)
        model.train_on_batch(images[0])
        weights.append([ops.convert_to_numpy(v) for v in model.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


OPTIONS = [
    {"num_samples": 3, "free_bits": 0.1},
    {"objective": "iwae", "num_samples": 3},
    {"gradient": "score_function"},
    {"objective": TotalCorrelation(2.0, 48)},
    {"objective": MMD(10.0)},
]
IDS = ["draws", "iwae", "score", "total correlation", "mmd"]


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
def test_compiled_steps_give_the_weights_of_single_ones(make, images, options):
    """Grouped on JAX and TensorFlow, replayed from a graph on PyTorch."""
    x, label = images
    inputs = {"x": x, "label": label}
    fast, slow = make(**options), make(**options)
    if BACKEND == "torch":
        fast.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    slow.compile(keras.optimizers.Adam(1e-2), steps_per_execution=1)
    histories = [
        model.fit(inputs, batch_size=16, epochs=2, verbose=0).history for model in (fast, slow)
    ]
    assert BACKEND == "torch" or fast.steps_per_execution > 1
    assert BACKEND != "torch" or (fast.traces_steps and fast.graphs)
    for name, values in histories[0].items():
        # Measured: 1e-7, of the total correlation on TensorFlow; all others are equal.
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-6)
    assert set(histories[0]) == {*fast.loss_terms, "loss", "gradient_norm", "skipped_updates"}
    for a, b in zip(fast.weights, slow.weights, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-5)


def test_evaluation_measures_what_the_model_minimises(make, images):
    model = strong(make("VAE", objective=IWAE(16)))
    found = keras_vae.evaluation.evaluate(model, np.repeat(images[0], 20, axis=0))
    assert found["loss"] < found["reconstruction_loss"] + found["kl_loss"] - 0.2
    assert found["elbo"] == -found["reconstruction_loss"] - found["kl_loss"]


BAD = [
    ({"num_samples": 0}, "`num_samples` must be a whole number of at least 1. Received: 0"),
    ({"num_samples": 2.5}, "`num_samples` must be a whole number"),
    ({"objective": "iwae", "num_samples": 0}, "`num_samples` must be a whole number"),
    ({"free_bits": -0.1}, "`free_bits` must be a number of at least 0. Received: -0.1"),
    ({"free_bits": 0.1, "objective": "iwae"}, "`free_bits` must be 0 with IWAE"),
    ({"objective": "vimco"}, "`objective` must be one of 'elbo', 'iwae', 'total_correlation'"),
    ({"gradient": "straight_through"}, "`gradient` must be one of 'reparameterized', 'score_funct"),
    ({"objective": "iwae", "gradient": "score_function"}, "`gradient` must be one of 'doubly_rep"),
    ({"objective": "mmd", "gradient": "score_function"}, "`gradient` must be left out"),
    ({"objective": IWAE(5), "num_samples": 6}, r"Write: IWAE\(num_samples=6\)"),
    ({"kl_weight": "linear"}, "`kl_weight` must be a number of at least 0. Received: 'linear'"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_options_are_refused_in_one_line(make, options, words):
    with pytest.raises(ValueError, match=words) as error:
        make("VAE", **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make_objective", "words"),
    [
        (lambda: TotalCorrelation(-1.0), "`beta`"),
        (lambda: TotalCorrelation(2.0, dataset_size=1), "`dataset_size` must be .* at least 2"),
        (lambda: MMD(-1.0), "`weight`"),
        (lambda: MMD(bandwidth=0), "`bandwidth` must be above 0"),
        (lambda: ELBO(baseline="mean"), "`baseline` must be one of 'leave_one_out', None"),
        (lambda: objectives.get("ELBO"), "`objective` must be one of"),
    ],
)
def test_bad_arguments_of_an_objective_are_refused(make_objective, words):
    with pytest.raises(ValueError, match=words):
        make_objective()


def test_free_bits_need_a_kl_by_dimension(make):
    with pytest.raises(ValueError, match=r"such as StandardNormal\. Received: GaussianMixture"):
        make("VAE", prior=priors.GaussianMixture(3), free_bits=0.1)
