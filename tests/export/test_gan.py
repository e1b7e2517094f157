"""A GAN's files: the decoder and the sampler of any model, and no other graph."""

import functools
import json

import numpy as np
import pytest

import export
import keras_vae
from tests.export.exported import FORMATS, new_folder
from tests.export.test_graphs import SEEDS
from tests.export.test_parity import converts_here
from tests.test_edge import edge  # noqa: F401 - a fixture

pytestmark = converts_here

NAMES = ("one", "two", "three")


def make_gan(conditional):
    """An untrained GAN whose weights are large enough to make varied pictures."""
    networks = keras_vae.networks
    generator = networks.ConvDecoder((8, 8, 1), hidden_units=(6, 4))
    kind = {"label": keras_vae.Categorical(3, NAMES)}
    if conditional:
        discriminator = networks.ConvDiscriminator((4,), num_classes=3, spectral_normalization=True)
        model = keras_vae.ConditionalGAN(generator, discriminator, condition=kind, latent_dim=5)
    else:
        model = keras_vae.GAN(generator, networks.DenseDiscriminator((4,)), latent_dim=5)
    model.compile()
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.generator.weights:
        values = rng.standard_normal(weight.shape) * 0.4
        is_variance = weight.path.endswith("moving_variance")
        weight.assign(0.5 + np.abs(values) if is_variance else values)
    return model


@functools.cache
def exported_gan(conditional):
    """A model and its folder of files, both graphs exported to both formats."""
    folder, model = new_folder(), make_gan(conditional)
    model.save(folder / "model.keras")
    arguments = {"data": "digits", "epochs": 3}
    (folder / "config.json").write_text(json.dumps({"arguments": arguments}))
    variants = [(format, "none") for format in FORMATS]
    export.export_files(folder, variants, ("decoder", "sampler"))
    return model, folder / "export"


@pytest.fixture(scope="module", params=[False, True], ids=["GAN", "ConditionalGAN"])
def files(request):
    return exported_gan(request.param)


@pytest.mark.parametrize("format", FORMATS)
def test_both_graphs_make_the_samples_of_the_model(files, format):
    model, folder = files
    module = export.module_of(format)
    run = {g: module.load(folder / f"{g}.{format}") for g in ("decoder", "sampler")}
    for seed in SEEDS:
        labels = {"label": (np.arange(16) % 4).astype("int32")} if model.condition else {}
        batch = labels or {"index": np.arange(16, dtype="int32")}
        given = {"seed": np.array([seed], "int32"), "temperature": np.array([0.7], "float32")}
        made = run["sampler"]({**batch, **given})
        z = model.prior.sample(16, 5, 0.7, seed)
        np.testing.assert_array_equal(made["z"].view("uint32"), z.view("uint32"))
        expected = model.sample(labels or 16, temperature=0.7, seed=seed)
        assert np.ptp(expected) > 0.5
        np.testing.assert_allclose(made["x"], expected, rtol=0, atol=2e-6)
        decoded = run["decoder"]({"z": z, **labels})["x"]
        np.testing.assert_allclose(decoded, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_the_manifest_says_what_a_device_needs(files, format):
    model, folder = files
    manifest = export.module_of(format).read_manifest(folder / f"decoder.{format}")
    assert manifest["model"] == type(model).__name__
    assert manifest["latent_dim"] == 5
    assert manifest["data_shape"] == [8, 8, 1]
    assert manifest["data_range"] == [0.0, 1.0]
    assert manifest["prior"] == {"kind": "standard_normal"}
    assert manifest["likelihood"] == "bernoulli"
    assert manifest["map"] is None
    assert manifest["training"] == {"data": "digits", "epochs": 3, "elbo": None}
    assert manifest["parameters"] == model.generator.count_params()
    names = [condition["names"] for condition in manifest["conditions"]]
    assert names == ([list(NAMES)] if model.condition else [])


@pytest.mark.parametrize("graph", ["decoder", "sampler"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_edge_sampler_samples_from_the_file(files, format, graph, edge, tmp_path):  # noqa: F811
    model, folder = files
    out = tmp_path / "x.npy"
    arguments = ["--model", folder / f"{graph}.{format}", "--count", 5, "--seed", 42, "--out", out]
    arguments += ["--label", "two"] if model.condition else []
    assert edge.main([str(argument) for argument in arguments]) == 0
    expected = model.sample({"label": ["two"] * 5} if model.condition else 5, seed=42)
    np.testing.assert_allclose(np.load(out), expected, rtol=0, atol=2e-6)
