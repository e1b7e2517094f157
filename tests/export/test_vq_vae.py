"""The graphs of a model with a codebook: codes go in and come out as int32."""

import functools

import numpy as np
import pytest

import export
import keras_vae
from export import graphs, oracle, parity, verification
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, new_folder
from tests.export.test_parity import converts_here

QUANTIZERS = {
    "codebook": lambda: keras_vae.layers.VectorQuantizer(7, 3),
    "levels": lambda: keras_vae.layers.FiniteScalarQuantizer((3, 2, 2)),
}


def make_model(kind):
    """An untrained model whose weights are large enough to make varied pictures and codes."""
    quantizer = QUANTIZERS[kind]()
    networks = keras_vae.networks
    model = keras_vae.VQVAE(
        networks.ConvGridEncoder(3, (4, 6)),
        networks.ConvGridDecoder((9, 7, 1), (6, 4)),
        quantizer,
    )
    model.build()
    rng = np.random.default_rng(1)
    for weight in (*model.encoder.weights, *model.decoder.weights):
        values = rng.standard_normal(weight.shape) * 0.6
        is_variance = weight.path.endswith("moving_variance")
        weight.assign(0.5 + np.abs(values) if is_variance else values)
    return model


def make_model_with_prior(kind):
    """As `make_model`, with a prior of labels that draws varied codes."""
    model = make_model(kind)
    condition = {"label": keras_vae.Categorical(3)} if kind == "codebook" else None
    prior = keras_vae.MaskGIT((3, 2), model.quantizer.num_codes, condition, 8, 1, 3)
    model.set_prior(prior)
    rng = np.random.default_rng(2)
    for weight in prior.weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.6)
    return model


@functools.cache
def exported_vq_vae(kind):
    """A model and its folder of files, all graphs exported to both formats."""
    model, folder = make_model_with_prior(kind), new_folder()
    variants = [(format, "none") for format in FORMATS]
    names = ("decoder", "encoder", "sampler", "reconstructor")
    export.export_files(model, variants, names, folder)
    return model, folder


@pytest.fixture(scope="module", params=["codebook", pytest.param("levels", marks=pytest.mark.slow)])
def files(request):
    """A model, and its files by graph and format."""
    model, folder = exported_vq_vae(request.param)
    return model, {path.name: path for path in folder.iterdir()}


@converts_here
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_files_code_and_decode_as_the_model_does(files, format, rows):
    model, paths = files
    run = {g: export.module_of(format).load(paths[f"{g}.{format}"]) for g in ("decoder", "encoder")}
    x = np.random.default_rng(3).uniform(size=(rows, 9, 7, 1)).astype("float32")
    [codes] = run["encoder"]({"x": x}).values()
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, model.encode(x))
    codes = np.random.default_rng(4).integers(0, model.quantizer.num_codes, (rows, 3, 2))
    codes = codes.astype("int32")
    made = run["decoder"]({"codes": codes})["x"]
    expected = model.decode(codes)
    assert expected.std() > 0.05
    # Measured: 3e-6.
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_the_manifest_says_what_codes_there_are(files, format):
    model, paths = files
    module = export.module_of(format)
    for graph in ("decoder", "encoder"):
        path = paths[f"{graph}.{format}"]
        found = module.read_manifest(path)
        codes = {"grid_shape": [3, 2], "num_codes": model.quantizer.num_codes}
        assert found["codes"] == codes
        assert found["model"] == "VQVAE"
        assert found["conditions"] == []
        golden = np.array(found["golden"]["codes"])
        assert golden.shape == (2, 6)
        [port] = [
            port
            for side in ("inputs", "outputs")
            for port in module.describe(path)["signatures"][0][side]
            if port["name"] == "codes"
        ]
        assert (port["dtype"], port["shape"]) == ("int32", ["batch", 3, 2])
        assert verification.check_golden(path, module)[0] < 1e-5


@converts_here
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_files_draw_the_codes_of_a_seed_and_decode_them(files, format, rows):
    model, paths = files
    run = export.module_of(format).load(paths[f"sampler.{format}"])
    label = np.arange(rows) % 4
    labels = {"label": label.astype("int32")} if model.prior.condition else {}
    batch = labels or {"index": np.arange(rows, dtype="int32")}
    for temperature in (0.0, 0.8):
        settings = {"seed": np.array([9], "int32"), "temperature": np.array([temperature], "f4")}
        made = run({**batch, **settings})
        codes = model.prior.sample(labels or None, temperature, 9, count=rows)
        assert made["codes"].dtype == np.int32
        # These draws are at least 2e-4 from the next border.
        np.testing.assert_array_equal(made["codes"], codes)
        np.testing.assert_allclose(made["x"], model.decode(codes), rtol=0, atol=1e-5)
    assert len(np.unique(made["codes"])) > 2 or rows == 1


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_the_manifest_says_how_codes_are_drawn(files, format):
    model, paths = files
    found = export.module_of(format).read_manifest(paths[f"sampler.{format}"])
    assert found["prior"] == {"kind": "mask_git", "steps": 3}
    assert [each["name"] for each in found["conditions"]] == list(model.prior.condition)
    assert np.array(found["golden"]["codes"]).shape == (2, 6)


def batch_of_codes():
    """What a sampler of codes gives, and how near its draws came to borders."""
    graph = graphs.sampler(make_model_with_prior("codebook"))
    inputs = parity.examples(graph)
    made = oracle.outputs(graph, inputs)
    order = graph.model.prior.order
    margins = oracle.margins(graph, inputs, made)
    return parity.Batch(inputs, made, {}, {}, margins, order=order), order


@ordinary_on("tensorflow", "torch")
def test_codes_of_a_sampler_may_differ_at_a_tie_and_after_it_alone():
    batch, order = batch_of_codes()
    assert batch.margins["codes"].shape == (16, 3, 2)
    assert batch.margins["codes"][5].min() > 1e-4

    def compare(places):
        codes = batch.outputs["codes"].copy()
        codes.reshape(16, -1)[5, places] ^= 1
        x = batch.outputs["x"].copy()
        x[5] += 1  # other codes make another picture
        parity._compare(lambda _: {"x": x, "codes": codes}, [batch], "none", 16, "file")

    with pytest.raises(parity.ParityError, match="in a token whose draw was"):
        compare(order[2:])
    batch.margins["codes"].reshape(16, -1)[5, order[2]] = 1e-5
    compare(order[2:])
    with pytest.raises(parity.ParityError, match="in a token whose draw was"):
        compare(order[1:])
    with pytest.raises(parity.ParityError, match="`x`"):
        compare([])


def test_inputs_hold_every_code_on_a_grid():
    model = make_model("codebook")
    examples = parity.examples(graphs.decoder(model))
    assert examples["codes"].shape == (16, 3, 2)
    assert set(examples["codes"].reshape(-1).tolist()) == set(range(7))


def test_codes_are_right_or_wrong_but_for_one_tie():
    codes = np.zeros((4, 5), "int32")
    assert parity.difference(codes, codes) == 0
    other = codes.copy()
    other[0, 0] = 6
    assert parity.difference(other, codes) == 0
    other[3, 3] = 1
    assert parity.difference(other, codes) == 1 / 20


@converts_here
@pytest.mark.usefixtures("one_signature")
@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_guidance_is_fixed_in_a_sampler(format):
    model = make_model("codebook")
    kinds = {"label": keras_vae.Categorical(3, unknown_rate=0.1)}
    prior = keras_vae.MaskGIT((3, 2), model.quantizer.num_codes, kinds, 8, 1, 3)
    model.set_prior(prior)
    rng = np.random.default_rng(2)
    for weight in prior.weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.6)
    path = export.export(model, format, "sampler", out=new_folder(), guidance=2.5)
    assert prior.guidance == 1
    module = export.module_of(format)
    assert module.read_manifest(path)["prior"]["guidance"] == 2.5
    label = np.arange(16, dtype="int32") % 3
    settings = {"seed": np.array([9], "int32"), "temperature": np.ones(1, "f4")}
    made = module.load(path)({"label": label, **settings})["codes"]
    expected = prior.sample({"label": label}, seed=9, guidance=2.5)
    np.testing.assert_array_equal(made, expected)
    assert (expected != prior.sample({"label": label}, seed=9)).any()
    assert all(check.passed for check in verification.verify(path, module, model))


def test_guidance_of_what_has_none_is_refused():
    model = make_model_with_prior("codebook")
    with pytest.raises(ValueError, match="label, never unknown"), export.guided(model, 2.0):
        pass
    plain = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, ()), keras_vae.networks.DenseDecoder((6, 5, 1), ())
    )
    with pytest.raises(ValueError, match="`guidance` needs a VQVAE"), export.guided(plain, 2.0):
        pass
