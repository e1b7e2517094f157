"""What holds of every model, whatever its shapes, its conditions, its likelihood and its batch.

Hypothesis makes the models: few of them, the same in every run; many with `make test-slow`, which
chooses the profile `slow` of `conftest.py`.
"""

import contextlib
import dataclasses
import math
import pathlib
import tempfile

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import keras_vae
from keras_vae import divergences, likelihoods, networks, objectives, priors
from tests.conftest import BACKEND, ordinary_on
from tests.export.test_parity import converts_here

pytestmark = [pytest.mark.usefixtures("untraced"), ordinary_on("torch")]
# A step of these models runs faster than TensorFlow traces it.
EAGERLY = BACKEND == "tensorflow"

LIKELIHOODS = {
    "bernoulli": likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
    "gaussian": likelihoods.Gaussian,
    "gaussian per pixel": lambda: likelihoods.Gaussian("per_pixel"),
    "laplace": lambda: likelihoods.Laplace(0.5),
    "logistic mixture": lambda: likelihoods.DiscretizedLogisticMixture(2, levels=16),
    "categorical": lambda: likelihoods.Categorical(4),
}
# Kinds of labels of three classes.
LABELS = {
    "categorical": lambda: keras_vae.Categorical(3),
    "learned": lambda: keras_vae.Categorical(3, embedding_dim=2),
    "ordinal": lambda: keras_vae.Ordinal(tuple("abc")),
    "hierarchical": lambda: keras_vae.Hierarchical(("a/b", "a/c", "d")),
    "tags": lambda: keras_vae.MultiLabel(tuple("abc")),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and a batch for it.

    Args:
        network: `"dense"`, `"conv"` or `"ladder"`.
        shape: Tuple of ints, of an example.
        latent_dim: Int; of a ladder that of its lower level, above which is one of size 1.
        likelihood: Key of `LIKELIHOODS`.
        label: Key of `LABELS`, of the condition `label`; None for none.
        numbers: Int, of the condition `angle`; 0 for none.
        prior: `"standard_normal"`, `"conditional_normal"` or `"mixture"`.
        full: Bool. Whether the posterior has a full covariance.
        rows: Int, of the batch.
        dtype: Of the data.
        seed: Int, of weights and data.
    """

    network: str
    shape: tuple
    latent_dim: int
    likelihood: str
    label: str | None
    numbers: int
    prior: str
    full: bool
    rows: int
    dtype: str
    seed: int

    def model(self, **options):
        """The model, with weights larger than a new one's, so that nothing is near a default."""
        networks_of = {"dense": self._dense, "conv": self._conv, "ladder": self._ladder}
        made = {
            "standard_normal": priors.StandardNormal,
            "conditional_normal": priors.ConditionalNormal,
            "mixture": lambda: priors.GaussianMixture(2),
        }[self.prior]()
        options = {"likelihood": LIKELIHOODS[self.likelihood](), "prior": made, **options}
        if self.network == "ladder" or self.full:
            options["posterior"] = "full_covariance" if self.full else "ladder"
        condition = {}
        if self.label:
            condition["label"] = LABELS[self.label]()
        if self.numbers:
            condition["angle"] = keras_vae.Continuous(self.numbers, -9, 10)
        parts = networks_of[self.network]()
        if condition:
            model = keras_vae.ConditionalVAE(*parts, condition=condition, **options)
        else:
            model = keras_vae.VAE(*parts, **options)
        model.build()
        rng = np.random.default_rng(self.seed)
        for weight in (*model.encoder.weights, *model.decoder.weights):
            values = rng.standard_normal(weight.shape) / 2
            is_variance = weight.path.endswith("moving_variance")
            weight.assign(0.5 + np.abs(values) if is_variance else values)
        return model

    def inputs(self, rows=None):
        """A batch as `fit` takes it; the labels include *unknown*."""
        rows = self.rows if rows is None else rows
        rng = np.random.default_rng(self.seed)
        x = rng.integers(0, 256, (rows, *self.shape)).astype("uint8")
        x = x if self.dtype == "uint8" else (x / 255).astype(self.dtype)
        conditions = {}
        if self.label:
            kind = LABELS[self.label]()
            size = (rows, *kind.value_shape)
            conditions["label"] = rng.integers(0, kind.unknown + 1, size).astype("int32")
        if self.numbers:
            conditions["angle"] = rng.standard_normal((rows, self.numbers), dtype="float32")
        return {"x": x, **conditions} if conditions else x

    def _dense(self):
        return (
            networks.DenseEncoder(self.latent_dim, hidden_units=(5,)),
            networks.DenseDecoder(self.shape, hidden_units=(4,)),
        )

    def _conv(self):
        return (
            networks.ConvEncoder(self.latent_dim, hidden_units=(3,)),
            networks.ConvDecoder(self.shape, hidden_units=(3,)),
        )

    def _ladder(self):
        dims, units = (self.latent_dim, 1), (5, 4)
        return (
            networks.LadderEncoder(dims, units, depth=1),
            networks.LadderDecoder(self.shape, dims, units, depth=1),
        )


@st.composite
def cases(draw, priors=("standard_normal", "conditional_normal", "mixture"), **fixed):
    """A `Case`; `fixed` fields are what they are told to be."""
    network = draw(st.sampled_from(fixed.get("networks", ("dense", "conv", "ladder"))))
    sizes = (1, 3) if network != "conv" else (3, 3)
    shape = draw(st.lists(st.integers(1, 6), min_size=sizes[0], max_size=sizes[1]))
    has_label, numbers = draw(st.sampled_from(((False, 0), (True, 0), (False, 2), (True, 1))))
    label = draw(st.sampled_from(sorted(LABELS))) if has_label else None
    allowed = [name for name in priors if label or numbers or name != "conditional_normal"]
    latent_dim = draw(st.integers(1, 4))
    likelihood = draw(st.sampled_from(sorted(LIKELIHOODS)))
    # A picture of 256 levels is none of fewer.
    pictures = () if LIKELIHOODS[likelihood]().levels else ("uint8",)
    return Case(
        network=network,
        shape=tuple(shape),
        latent_dim=latent_dim,
        likelihood=likelihood,
        label=label,
        numbers=numbers,
        prior=draw(st.sampled_from(allowed)),
        full=network != "ladder" and latent_dim > 1 and draw(st.booleans()),
        rows=draw(st.integers(1, 5)),
        dtype=draw(st.sampled_from(("float32", "float64", "float16", *pictures))),
        seed=draw(st.integers(0, 2**16)),
    )


def some(share):
    """Settings of a test that costs more: a share of the profile's examples, at least one."""
    return settings(max_examples=max(1, round(share * settings.default.max_examples)))


# The KL


@settings(max_examples=10 * settings.default.max_examples)
@given(
    st.integers(1, 5),
    st.floats(-1e3, 1e3, width=32),
    st.floats(-30, 20, width=32),
    st.floats(-1e3, 1e3, width=32),
    st.floats(-10, 10, width=32),
    st.integers(0, 2**16),
)
def test_the_kl_of_two_gaussians_is_at_least_zero(size, mean, log_var, other, other_log_var, seed):
    # Far apart, and all but equal, where the terms cancel.
    nearly = np.random.default_rng(seed).normal(size=(4, 2, size)) * [
        [[1]],
        [[1e-3]],
        [[1e-6]],
        [[0]],
    ]
    ends = [np.float32(value) for value in (mean, log_var, other, other_log_var)]
    means, log_vars = (nearly[:, 0] + ends[0]).astype("f4"), (nearly[:, 1] + ends[1]).astype("f4")
    others = np.full_like(means, ends[2]), np.full_like(means, ends[3])
    for q, p in (((means, log_vars), others), ((means, log_vars), (means[::-1], log_vars))):
        kl = ops.convert_to_numpy(divergences.kl_normal(*q, *p))
        assert kl.shape == (4,)
        assert kl.min() >= 0
    assert ops.convert_to_numpy(divergences.kl_normal(means, log_vars, means, log_vars)).max() == 0


@given(cases(priors=("standard_normal", "conditional_normal")))
def test_the_kl_is_at_least_zero_and_the_sum_of_its_dimensions(case):
    model, inputs = case.model(), case.inputs()
    by_dimension = model.kl_by_dimension(inputs)
    outputs = model(keras.tree.map_structure(ops.convert_to_tensor, inputs), draw=False)
    kl = ops.convert_to_numpy(outputs["kl"])
    assert kl.shape == (case.rows,)
    assert by_dimension.shape == (case.rows, model.latent_dim)
    assert np.isfinite(kl).all()
    assert kl.min() >= 0
    np.testing.assert_allclose(by_dimension.sum(axis=1), kl, rtol=1e-5, atol=1e-6)


# The bounds


@given(
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(1, 5),
    st.floats(0.05, 3),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_the_elbo_is_at_most_the_log_likelihood_and_equal_at_the_posterior(
    latent_dim, more, rows, scale, off, full, seed
):
    """Of a linear model both are known: p(x) is a Gaussian, and the posterior is one.

    The decoder's directions are orthogonal, so that the entries of the code are independent given
    the data. The noise of the draws is the points `+-sqrt(latent) e_j`, over which the mean of a
    quadratic function, as the log-likelihood is of the code, is that over N(0, I).
    """
    full, size = full and latent_dim > 1, latent_dim + more
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(size, latent_dim)))[0].T
    directions *= rng.uniform(0.1, 3, (latent_dim, 1))
    bias = rng.normal(size=size)
    variances = 1 / (1 + np.sum(directions**2, axis=1) / scale**2)
    model = keras_vae.VAE(
        networks.DenseEncoder(latent_dim, hidden_units=()),
        networks.DenseDecoder((size,), hidden_units=()),
        likelihood=likelihoods.Gaussian(scale),
        posterior="full_covariance" if full else "diagonal",
        num_samples=2 * latent_dim,
    )
    model.compile(run_eagerly=EAGERLY)
    model.build()
    inverse = directions.T * variances / scale**2
    _assign(model.decoder.outputs_dense, directions, bias)
    noise = off * rng.normal(size=(3, latent_dim))
    _assign(model.encoder.z_mean, inverse, -bias @ inverse + noise[0])
    _assign(model.encoder.z_log_var, np.zeros_like(inverse), np.log(variances) + noise[1])

    points = math.sqrt(latent_dim) * np.concatenate([np.eye(latent_dim), -np.eye(latent_dim)])
    points = np.repeat(points, rows, axis=0).astype("f4")
    x = (rng.normal(size=(rows, latent_dim)) @ directions + bias).astype("f4")

    def normal(shape, **_):
        # TensorFlow asks for the shape of the outputs of another number of rows first.
        return ops.convert_to_tensor(np.resize(points, shape))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.random, "normal", normal)
        elbo = -model.evaluate(x, batch_size=rows, verbose=0, return_dict=True)["loss"]

    covariance = directions.T @ directions + scale**2 * np.eye(size)
    centred = x - bias
    quadratic = np.mean(np.sum(centred * np.linalg.solve(covariance, centred.T).T, axis=1))
    exact = -(quadratic + np.linalg.slogdet(covariance)[1] + size * math.log(2 * math.pi)) / 2
    tolerance = 1e-4 * max(1, abs(exact))
    assert elbo <= exact + tolerance
    if off == 0:
        assert elbo >= exact - tolerance


@some(0.5)
@given(cases(priors=("mixture",)), st.integers(1, 6))
def test_the_elbo_is_at_most_the_importance_weighted_bound_of_the_same_draws(case, draws):
    # Under a mixture, the KL is estimated with the draws: then both are made of the same weights.
    model = case.model(objective=objectives.IWAE(draws, "reparameterized"))
    model.compile(run_eagerly=EAGERLY)
    logs = model.evaluate(case.inputs(), batch_size=case.rows, verbose=0, return_dict=True)
    elbo, bound = -(logs["reconstruction_loss"] + logs["kl_loss"]), -logs["loss"]
    tolerance = 1e-5 * max(1, abs(logs["reconstruction_loss"]), abs(logs["kl_loss"]))
    assert bound >= elbo - tolerance
    if draws == 1:
        assert bound <= elbo + tolerance


# What comes back


@given(cases())
def test_a_loaded_model_gives_the_same_bits(case):
    model, inputs = case.model(), case.inputs()
    with _folder() as folder:
        model.save(folder / "model.keras")
        loaded = keras_vae.load_model(folder / "model.keras")
    conditions = {k: v for k, v in inputs.items() if k != "x"} if model.condition else 2
    for one, other in (
        (model.reconstruct(inputs), loaded.reconstruct(inputs)),
        (model.sample(conditions, seed=1), loaded.sample(conditions, seed=1)),
    ):
        np.testing.assert_array_equal(one, other)


@given(cases(), st.floats(0, 2))
def test_samples_and_reconstructions_are_of_the_shape_and_range_of_the_data(case, temperature):
    model, inputs = case.model(), case.inputs()
    conditions = {k: v for k, v in inputs.items() if k != "x"} if model.condition else case.rows
    low, high = model.likelihood.data_range
    made = model.sample(conditions, temperature, seed=case.seed)
    for images in (made, model.reconstruct(inputs)):
        assert images.shape == (case.rows, *case.shape)
        assert images.dtype == np.float32
        assert np.isfinite(images).all()
        assert images.min() >= low
        assert images.max() <= high
    for codes in model.encode(inputs):
        assert codes.shape == (case.rows, model.latent_dim)
    np.testing.assert_array_equal(made, model.sample(conditions, temperature, seed=case.seed))


@some(0.5)
@given(cases())
def test_an_example_is_encoded_alike_in_any_batch_and_of_any_type(case):
    model, inputs = case.model(), case.inputs()
    together = np.concatenate(model.encode(inputs), axis=1)
    one_by_one = np.concatenate(model.encode(inputs, batch_size=1), axis=1)
    scale = max(1, np.abs(together).max())
    np.testing.assert_allclose(one_by_one / scale, together / scale, rtol=0, atol=1e-5)
    if case.dtype == "uint8":
        floats = {**inputs} if model.condition else {"x": inputs}
        floats["x"] = (floats["x"] / 255).astype("float32")
        floats = floats if model.condition else floats["x"]
        np.testing.assert_allclose(
            np.concatenate(model.encode(floats), axis=1) / scale, together / scale, atol=1e-5
        )


@converts_here
@some(0.2)
@given(cases(), st.sampled_from(("decoder", "sampler", "encoder")))
def test_exported_files_give_what_the_model_gives(case, graph):
    import export

    model = case.model()
    inputs = export.build_graph(model, graph).draw(case.rows, np.random.default_rng(case.seed))
    expected = export.build_graph(model, graph).evaluate(inputs)
    with _folder() as folder:
        # Which itself raises where a file differs from the model.
        files = export.export_files(model, [("tflite", "none"), ("onnx", "none")], [graph], folder)
        for path, _ in files:
            made = export.module_of(path.suffix[1:]).load(path)(inputs)
            assert set(made) == set(expected)
            for name, values in expected.items():
                scale = max(1, np.abs(values).max())
                np.testing.assert_allclose(made[name] / scale, values / scale, rtol=0, atol=1e-5)


def _assign(layer, kernel, bias):
    layer.kernel.assign(kernel.astype("f4"))
    layer.bias.assign(bias.astype("f4"))


@contextlib.contextmanager
def _folder():
    """A new folder: `tmp_path` would be the same for all examples of a test."""
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)
