"""Each graph's files, in their real runtimes, against the model on its own backend."""

import functools

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import graphs, keras_models
from keras_vae import portable_random
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, KINDS, conditions_of, exported, new_folder
from tests.export.test_parity import converts_here

pytestmark = ordinary_on("tensorflow", "torch")
SEEDS = (0, 42, 2**31 - 1)


def load(kind, graph, format, **signature):
    return export.module_of(format).load(exported(kind).path(graph, format), **signature)


def data_of(model, rows):
    """Inputs of a graph that takes data."""
    x = np.random.default_rng(3).uniform(size=(rows, *model.data_shape)).astype("float32")
    return {"x": x, **conditions_of(model, rows)}


def as_model_takes_it(inputs):
    return inputs if len(inputs) > 1 else inputs["x"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_encoder_gives_the_posterior(kind, format, rows):
    model = exported(kind).model
    inputs = data_of(model, rows)
    made = load(kind, "encoder", format)(inputs)
    z_mean, z_log_var = model.encode(as_model_takes_it(inputs))
    assert set(made) == {"z_mean", "z_log_var"}
    # Measured: at most 1e-6.
    np.testing.assert_allclose(made["z_mean"], z_mean, rtol=0, atol=4e-6)
    np.testing.assert_allclose(made["z_log_var"], z_log_var, rtol=0, atol=4e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_scorer_gives_the_negative_elbo_at_the_mean(kind, format):
    model = exported(kind).model
    inputs = data_of(model, 16)
    made = load(kind, "scorer", format)(inputs)
    z_mean, z_log_var = (v.astype("f8") for v in model.encode(as_model_takes_it(inputs)))
    x = inputs["x"].astype("f8").reshape(16, -1)
    mean = model.reconstruct(as_model_takes_it(inputs))
    p = mean.astype("f8").reshape(16, -1)
    reconstruction = -np.sum(x * np.log(p) + (1 - x) * np.log1p(-p), axis=1)
    kl = 0.5 * np.sum(np.exp(z_log_var) + z_mean**2 - 1 - z_log_var, axis=1)
    # From float32 probabilities, whose distance from 1 has few digits; measured: 6e-6.
    np.testing.assert_allclose(made["score"], reconstruction + kl, rtol=3e-5)
    np.testing.assert_allclose(made["x_reconstructed"], mean, rtol=0, atol=2e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_sampler_draws_the_bits_that_the_model_draws(kind, format, seed):
    model = exported(kind).model
    conditions = conditions_of(model, 16)
    batch = conditions or {"index": np.arange(16, dtype="int32")}
    given = {"seed": np.array([seed], "int32"), "temperature": np.array([0.7], "float32")}
    made = load(kind, "sampler", format)({**batch, **given})
    code = model.prior.sample(16, model.latent_dim, 0.7, seed)
    np.testing.assert_array_equal(made["z"].view("uint32"), code.view("uint32"))
    expected = model.sample(*([conditions] if conditions else [16]), temperature=0.7, seed=seed)
    np.testing.assert_allclose(made["x"], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_a_sample_does_not_depend_on_how_many_are_drawn(format):
    given = {"seed": np.array([7], "int32"), "temperature": np.ones(1, "float32")}
    run = load("dense", "sampler", format)
    index = np.arange(100, dtype="int32")
    many = run({"index": index, **given})
    for k in (0, 1, 99):
        one = run({"index": index[k : k + 1], **given})
        np.testing.assert_array_equal(one["z"][0], many["z"][k])
        np.testing.assert_allclose(one["x"][0], many["x"][k], rtol=0, atol=1e-6)
    far = np.array([2**20 - 1, 70000], "int32")
    expected = portable_random.normal(given["seed"], far, 4)
    np.testing.assert_array_equal(run({"index": far, **given})["z"], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", graphs.STATIC_BATCH_SIZES)
def test_static_samplers_draw_the_same(kind, rows):
    model = exported(kind).model
    batch = conditions_of(model, rows) or {"index": np.arange(rows, dtype="int32")}
    inputs = {**batch, "seed": np.array([5], "int32"), "temperature": np.ones(1, "float32")}
    module, path = export.module_of("tflite"), exported(kind).path("sampler", "tflite")
    made, expected = module.load(path, f"sampler_{rows}")(inputs), module.load(path)(inputs)
    np.testing.assert_array_equal(made["z"], expected["z"])


@pytest.mark.parametrize("format", FORMATS)
def test_a_sampler_is_little_larger_than_its_decoder(format):
    for kind in KINDS:
        sizes = [exported(kind).path(g, format).stat().st_size for g in ("sampler", "decoder")]
        assert sizes[0] - sizes[1] < 64_000


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_has_standard_operators_only(graph, format):
    module = export.module_of(format)
    for kind in KINDS:
        path = exported(kind).path(graph, format)
        assert module.forbidden_operators(path) == []
        assert module.read_manifest(path)["graph"] == graph


def test_parameters_are_those_that_the_graph_reads():
    for kind in KINDS:
        found = exported(kind)
        counts = {
            graph: export.module_of("onnx").read_manifest(found.path(graph, "onnx"))["parameters"]
            for graph in GRAPHS
        }
        decoder, encoder = (
            net.count_params() for net in (found.model.decoder, found.model.encoder)
        )
        assert counts == {
            "decoder": decoder,
            "sampler": decoder,
            "encoder": encoder,
            "scorer": decoder + encoder,
            "reconstructor": decoder + encoder,
        }


def make_autoencoder():
    networks = keras_vae.networks
    model = keras_vae.Autoencoder(
        networks.DenseEncoder(2, hidden_units=(4,)), networks.DenseDecoder((4, 4, 1), (4,))
    )
    model.build()
    return model


@functools.cache
def exported_autoencoder():
    """A model and its folder of files, all its graphs exported to both formats."""
    model, folder = make_autoencoder(), new_folder()
    names = ("decoder", "encoder", "scorer", "reconstructor")
    files = export.export_files(model, [(format, "none") for format in FORMATS], names, folder)
    assert all(report.largest_error < 1e-6 for _, report in files)
    return model, folder


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_an_autoencoder_codes_and_scores(format):
    autoencoder, folder = exported_autoencoder()
    inputs = data_of(autoencoder, 3)
    paths = [folder / f"{graph}.{format}" for graph in ("encoder", "scorer")]
    made = [export.module_of(format).load(path)(inputs) for path in paths]
    np.testing.assert_allclose(made[0]["z"], autoencoder.encode(inputs["x"]), atol=1e-6)
    parameters = autoencoder(inputs["x"])["parameters"]
    score = -autoencoder.likelihood.log_prob(inputs["x"], parameters)
    np.testing.assert_allclose(made[1]["score"], keras.ops.convert_to_numpy(score), rtol=1e-5)


# Any Keras model


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A decoder of a user's own that takes its inputs by name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = keras.layers.Embedding(5, 4)
        self.dense = keras.layers.Dense(6, activation="tanh")

    def call(self, z, label, training=None):
        return self.dense(keras.ops.concatenate([z, self.embed(label)], axis=-1))


def functional(container):
    z, label = keras.Input((3,), name="z"), keras.Input((), dtype="int32", name="label")
    h = keras.layers.Concatenate()([z, keras.layers.Embedding(5, 4)(label)])
    x = keras.layers.Reshape((2, 3))(keras.layers.Dense(6, activation="sigmoid")(h))
    return keras.Model(container([("z", z), ("label", label)]), x)


MODELS = {
    "subclassed": Subclassed,
    "functional of a dict": lambda: functional(dict),
    "functional of a list": lambda: functional(lambda pairs: [value for _, value in pairs]),
}
INPUTS = {"z": (3,), "label": ("int32", 5)}


@ordinary_on("tensorflow")
@pytest.mark.parametrize(
    "name",
    [
        "subclassed",
        pytest.param("functional of a dict", marks=converts_here),
        pytest.param("functional of a list", marks=converts_here),
    ],
)
def test_any_keras_decoder_can_be_exported(name, tmp_path):
    model = MODELS[name]()
    model_inputs = {
        "z": np.random.default_rng(0).standard_normal((16, 3), dtype="float32"),
        "label": np.arange(16, dtype="int32") % 5,
    }
    if name == "subclassed":
        expected = model(**model_inputs)
    else:
        expected = model(model_inputs if "dict" in name else list(model_inputs.values()))
    variants = [(format, "none") for format in FORMATS]
    names = ("decoder", "sampler") if name == "subclassed" else ("decoder",)
    files = export.export_files(model, variants, names, tmp_path, inputs=INPUTS)
    for path, report in files:
        assert report.largest_error < 1e-6
        found = export.module_of(path.suffix[1:]).read_manifest(path)
        assert found["latent_dim"] == 3
        assert found["conditions"][0]["size"] == 5
        assert found["conditions"][0]["unknown"] is False
        if "decoder" in path.name:
            made = export.module_of(path.suffix[1:]).load(path)(model_inputs)["x"]
            expected_array = keras.ops.convert_to_numpy(expected)
            np.testing.assert_allclose(made, expected_array, rtol=0, atol=1e-6)


class Spectral(keras.layers.Layer):
    """A layer whose operator no format has."""

    def call(self, x):
        return keras.ops.erfinv(keras.ops.tanh(x))


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_an_operator_that_the_format_lacks_is_named_with_its_layer(format, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), Spectral(name="odd")])
    with pytest.raises(export.ExportError, match=r"Received: Erfinv in \S*/odd\S*\. Write the"):
        export.export(model, format, inputs={"z": (3,)}, out=tmp_path)
    assert not list(tmp_path.iterdir())


@converts_here
def test_a_sequential_model_needs_no_condition(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    path = export.export(model, "onnx", inputs={"codes": (3,)}, out=tmp_path)
    made = export.module_of("onnx").load(path)({"codes": np.ones((2, 3), "float32")})["x"]
    np.testing.assert_allclose(made, model(np.ones((2, 3))), rtol=0, atol=1e-6)
    found = export.module_of("onnx").read_manifest(path)
    assert (found["latent_dim"], found["prior"], found["data_shape"]) == (None, None, [2])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "must name at least one input"),
        ({"z": "float64"}, "must map names to a shape"),
        ({"z": (0,)}, "must map names to a shape"),
        ({"z": ("int32", 0)}, "must map names to a shape"),
        ({"z 1": (3,)}, "must map names to a shape"),
        ({"z": (4,)}, r"must accept the `inputs` \{'z': \(4,\)\}"),
        ({"z": (3,), "more": (1,)}, "must accept the `inputs`"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, words):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=words):
        keras_models.of_keras_model(model, inputs)


def test_a_keras_model_has_no_encoder_graph():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="exported as `decoder` or `sampler`"):
        keras_models.of_keras_model(model, {"z": (3,)}, "encoder")
    with pytest.raises(ValueError, match="needs an input `z`"):
        keras_models.of_keras_model(model, {"codes": (3,)}, "sampler")
