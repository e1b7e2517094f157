"""Whatever the prior, exported files and the edge sampler draw the codes that the model draws."""

import functools
import json
import tempfile

import numpy as np
import pytest

import export
import keras_vae
from export import graphs
from keras_vae import priors
from keras_vae.__main__ import main as keras_vae_main
from tests.export.exported import FORMATS
from tests.export.test_parity import converts_here
from tests.test_edge import edge, run  # noqa: F401 - fixtures

pytestmark = [converts_here, pytest.mark.usefixtures("one_signature")]

LABELS = (np.arange(24) % 4).astype("int32")  # the last is unknown
ANGLE = np.random.default_rng(2).normal(size=(24, 2)).astype("f4")


def fitted(components):
    rng = np.random.default_rng(3)
    shape = (4, components, 3)
    return priors.FittedMixture.of(
        rng.normal(size=shape),
        rng.uniform(0.3, 1.5, size=shape),
        rng.dirichlet(np.ones(components), size=4),
        [("label", 2, 3)],
    )


# How to make each, and the graphs that the tests below read.
PRIORS = {
    "fitted": (lambda: fitted(5), ("decoder", "sampler", "scorer")),
    "kernels": (lambda: fitted(1000), ("decoder", "sampler")),
    "normal": (lambda: priors.ConditionalNormal((4,)), ("sampler",)),
    "vamp": (lambda: priors.VampPrior(6), ("decoder", "scorer")),
    "flow": (lambda: priors.RealNVP(2, (8,)), ("decoder", "sampler", "scorer")),
}


# Converting each takes a dozen seconds; these two have all that the others have.
ORDINARY = ("fitted", "flow")


def with_graph(graph):
    return [
        pytest.param(name, marks=() if name in ORDINARY else pytest.mark.slow)
        for name, (_, graphs) in PRIORS.items()
        if graph in graphs
    ]


@functools.cache
def made(name):
    """A model with a prior, and the folder of its exported files."""
    networks = keras_vae.networks
    kinds = {"angle": keras_vae.Continuous(2), "label": keras_vae.Categorical(3, "abc")}
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(3, (8,)),
        networks.DenseDecoder((8, 8, 1), (8,)),
        condition=kinds,
        prior=PRIORS[name][0](),
    )
    model.build()
    rng = np.random.default_rng(1)
    for weight in (*model.decoder.weights, *model.prior.weights):
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    folder = tempfile.TemporaryDirectory()
    variants = [(format, "none") for format in FORMATS]
    export.export_files(model, variants, PRIORS[name][1], folder.name)
    return model, folder


def load(name, graph, format):
    return export.module_of(format).load(f"{made(name)[1].name}/{graph}.{format}")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", with_graph("sampler"))
def test_the_sampler_draws_what_the_model_draws(name, format):
    model, _ = made(name)
    conditions = {"label": LABELS, "angle": ANGLE}
    inputs = {"seed": np.array([9], "int32"), "temperature": np.array([0.7], "f4")}
    found = load(name, "sampler", format)({**conditions, **inputs})
    code = graphs.draw_codes(model, 9, len(LABELS), conditions, 0.7)
    if name in ("fitted", "kernels"):
        np.testing.assert_array_equal(found["z"].view("u4"), code.view("u4"))
    # Measured, where a network computes the code: 4e-7 of the largest.
    np.testing.assert_allclose(found["z"], code, rtol=0, atol=1e-6 * np.abs(code).max())
    expected = model.sample(conditions, temperature=0.7, seed=9)
    np.testing.assert_allclose(found["x"], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", with_graph("scorer"))
def test_the_scorer_takes_the_kl_at_the_mean(name, format):
    model, _ = made(name)
    x = np.random.default_rng(4).uniform(size=(24, 8, 8, 1)).astype("f4")
    found = load(name, "scorer", format)({"x": x, "label": LABELS, "angle": ANGLE})
    inputs = {"x": x, "label": LABELS, "angle": ANGLE}
    outputs = model(inputs, draw=False, training=False)
    expected = np.asarray(outputs["kl"]) - np.asarray(
        model.likelihood.log_prob(x, outputs["parameters"])
    )
    # Measured: 2e-7.
    np.testing.assert_allclose(found["score"], expected, rtol=2e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["fitted", pytest.param("vamp", marks=pytest.mark.slow)])
def test_the_edge_sampler_draws_by_the_manifest(name, format, run):  # noqa: F811
    model, folder = made(name)
    path = f"{folder.name}/decoder.{format}"
    asked = ("--label", "b,unknown", "--condition", "angle=0.5,-1", "--count", 9, "--seed", 4)
    status, _, errors = run("--model", path, *asked, "--out", "x.npy")
    assert (status, errors) == (0, "")
    labels = {"label": [1] * 9 + [None] * 9, "angle": np.full((18, 2), (0.5, -1))}
    np.testing.assert_allclose(np.load("x.npy"), model.sample(labels, seed=4), rtol=0, atol=1e-6)
    status, output, _ = run("--model", path, "--self-test")
    assert (status, "latent code of seed 42 equal: ok" in output) == (0, True)


def test_the_edge_sampler_draws_the_same_bits(edge):  # noqa: F811
    for name in ("fitted", "vamp"):
        model, folder = made(name)
        found = export.module_of("onnx").read_manifest(f"{folder.name}/decoder.onnx")
        conditions = {"label": LABELS, "angle": ANGLE}
        z = edge.draw_code(found, conditions, 2**31 - 1, len(LABELS), 0.7)
        code = graphs.draw_codes(model, 2**31 - 1, len(LABELS), conditions, 0.7)
        np.testing.assert_array_equal(z.view("u4"), code.view("u4"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flow", "real_nvp"),
        pytest.param("kernels", "gaussian_mixture", marks=pytest.mark.slow),
    ],
)
def test_a_prior_too_large_for_the_edge_needs_the_sampler(name, kind, run):  # noqa: F811
    model, folder = made(name)
    angle = ("--condition", "angle=0,0")
    status, output, errors = run("--model", f"{folder.name}/decoder.onnx", *angle)
    assert (status, output) == (2, "")
    assert f"does not draw from the prior {kind} itself: use the sampler" in errors
    assert errors.count("\n") == 1
    assert run("--model", f"{folder.name}/decoder.onnx", "--self-test")[0] == 0
    path = f"{folder.name}/sampler.onnx"
    asked = ("--label", "b", *angle, "--count", 9, "--seed", 4, "--out", "x.npy")
    assert run("--model", path, *asked)[0] == 0
    expected = model.sample({"label": [1] * 9, "angle": np.zeros((9, 2))}, seed=4)
    np.testing.assert_allclose(np.load("x.npy"), expected, rtol=0, atol=2e-6)
    assert run("--model", path, "--self-test")[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"components": 2},
        {"components": True},
        {"components": "5"},
        {"conditions": ["colour"]},
        {"conditions": 1},
        {"means": ["x"] * 60},
        {"means": [1e999] * 60},
        {"means": [[1.0] * 60]},
        {"thresholds": [-1] * 16},
        {"kind": "beta"},
        {"kind": 5},
    ],
)
def test_a_damaged_prior_is_refused(change, edge):  # noqa: F811
    _, folder = made("fitted")
    found = export.module_of("onnx").read_manifest(f"{folder.name}/decoder.onnx")
    data = json.dumps({**found, "prior": {**found["prior"], **change}})
    edge.check_manifest(json.dumps(found).encode(), "x")
    with pytest.raises(edge.InputError, match="is damaged: prior"):
        edge.check_manifest(data.encode(), "x")


def test_quantization_is_calibrated_on_codes_of_the_prior():
    model, _ = made("fitted")
    z = graphs.decoder(model).draw(4000, np.random.default_rng(0))["z"]
    weights = np.diff(np.pad(model.prior.thresholds / 2**31, ((0, 0), (1, 0))), append=1)
    mean = np.einsum("rk,rkd->d", weights, model.prior.means) / 4
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.08)
    assert np.abs(mean).max() > 0.2


@pytest.mark.slow
def test_the_command_line_trains_with_a_prior(tmp_path, capsys):
    folder = str(tmp_path / "run")
    words = ["train", "--epochs", "1", "--hidden-units", "8", "--out", folder]
    assert keras_vae_main([*words, "--prior", "fitted_mixture"]) == 0
    loaded = keras_vae.load_model(folder)
    assert loaded.prior.num_components == 10
    assert keras_vae_main(["sample", folder, "--out", str(tmp_path / "x.png")]) == 0
    assert keras_vae_main([*words, "--overwrite", "--prior", "vamp"]) == 0
    assert isinstance(keras_vae.load_model(folder).prior, priors.VampPrior)
    capsys.readouterr()
    for model, prior in (("autoencoder", "vamp"), ("vae", "conditional_normal")):
        assert keras_vae_main([*words, "--model", model, "--prior", prior]) == 2
        assert "--prior" in capsys.readouterr().err
