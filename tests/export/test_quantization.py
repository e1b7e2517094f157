"""Fewer bits: the rounding against NumPy, the files against the model, the report, TFLite Micro."""

import contextlib
import json

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import graphs, quantization, report
from export.__main__ import main
from keras_vae.priors import fitted
from keras_vae.storage.runs import Run
from tests.conftest import ordinary_on
from tests.export.test_families import make_sequence_vae
from tests.export.test_parity import converts_here

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order(monkeypatch):
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))


VARIANTS = [
    (format, quantize)
    for format in ("tflite", "onnx")
    for quantize in export.module_of(format).QUANTIZATIONS
    if quantize != "exact"  # of models that draw tokens alone: tests/export/test_sequences.py
]


def test_weights_on_a_grid_are_kept_exactly_in_any_layout_and_scale():
    levels = RNG.integers(-127, 128, (40, 6))
    levels[:, 2] //= 2  # a channel that uses half of its levels
    step = RNG.uniform(1e-4, 1e-2, 6)
    weights = (levels * step).astype("float32")
    for axis, array in ((1, weights), (0, weights.T), (2, weights.reshape(8, 5, 6))):
        stored, steps = quantization.as_int8(array, axis)
        shape = [1] * array.ndim
        shape[axis] = 6
        np.testing.assert_allclose(stored * steps.reshape(shape), array, rtol=3e-7)


def test_other_weights_are_rounded_to_the_nearest_level():
    weights = RNG.standard_normal((50, 4)).astype("float32")
    weights[:, 3] = 0
    stored, steps = quantization.as_int8(weights, 1)
    assert stored.dtype == np.int8
    np.testing.assert_allclose(steps[:3], np.abs(weights[:, :3]).max(axis=0) / 127, rtol=1e-6)
    assert np.all(np.abs(stored * steps - weights) <= steps / 2 * 1.001)


def test_whole_numbers_times_powers_of_two_are_stored_exactly():
    rng = np.random.default_rng(0)
    whole = rng.integers(-127, 128, (40, 6))
    whole[:, 0], whole[:, 1] = 0, 64
    weights = (whole * 2.0 ** np.array([0, -30, 3, -7, -9, 20])).astype("float32")
    for array, axis in ((weights, 1), (weights.T.copy(), 0)):
        levels, steps = quantization.as_exact_int8(array, axis)
        assert levels.dtype == np.int8
        np.testing.assert_array_equal(levels * np.expand_dims(steps, 1 - axis), array)
        assert np.all(np.log2(steps) % 1 == 0)
    # Others have no such form.
    assert quantization.as_exact_int8(weights + np.float32(0.1), 1) is None


def test_rounding_together_is_better_than_one_by_one():
    # Inputs that move together, as a layer's do.
    x = RNG.standard_normal((4000, 64)) @ RNG.standard_normal((64, 64)) * 0.3
    weights = RNG.standard_normal((64, 32)).astype("float32")
    step = np.abs(weights).max(axis=0) / 127
    nearest = np.round(weights / step) * step
    together = quantization.round_together(weights, x.T @ x / len(x))
    levels = together / step
    np.testing.assert_allclose(levels, np.round(levels), rtol=0, atol=1e-3)
    assert np.abs(np.round(levels)).max() <= 127
    errors = [np.mean((x @ made - x @ weights) ** 2) for made in (nearest, together)]
    # Measured: 0.51.
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("options", [{"strides": 1}, {"strides": 2}, {"dilation_rate": 2}])
@pytest.mark.parametrize(
    ("kind", "padding"), [(2, "same"), (2, "valid"), (1, "same"), (1, "valid"), (1, "causal")]
)
def test_a_convolutions_inputs_are_seen_as_its_kernel_sees_them(kind, padding, options):
    layer = {
        1: lambda: keras.layers.Conv1D(2, 3, padding=padding, **options),
        2: lambda: keras.layers.Conv2D(2, (3, 2), padding=padding, **options),
    }[kind]()
    x = RNG.standard_normal((*(2, 7, 5)[: kind + 1], 3)).astype("float32")
    made = keras.ops.convert_to_numpy(layer(x)).reshape(-1, 2)
    moments = quantization._Moments(layer)
    moments.add(layer, keras.ops.convert_to_tensor(x))
    kernel = keras.ops.convert_to_numpy(layer.kernel).reshape(-1, 2)
    # The mean of the squared outputs is a quadratic form in the kernel.
    expected = np.mean(made.astype("f8") ** 2, axis=0)
    np.testing.assert_allclose(np.diag(kernel.T @ moments.mean() @ kernel), expected, rtol=1e-5)


def test_many_images_at_once_are_seen_as_few_at_a_time_are():
    layer = keras.layers.Conv2D(2, 3)
    # So large that not every place is looked at.
    x = RNG.standard_normal((150, 12, 12, 3)).astype("float32")
    layer.build(x.shape)
    together, apart = quantization._Moments(layer), quantization._Moments(layer)
    together.add(layer, keras.ops.convert_to_tensor(x))
    for start in range(0, 150, 64):
        apart.add(layer, keras.ops.convert_to_tensor(x[start : start + 64]))
    assert together.count == apart.count > 4096
    np.testing.assert_allclose(together.mean(), apart.mean(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("shape", "rows"), [((28, 28, 1), 4096), ((64, 64, 3), 682)])
def test_of_large_images_fewer_are_taken(shape, rows):
    networks = keras_vae.networks
    model = keras_vae.VAE(networks.DenseEncoder(2, (4,)), networks.DenseDecoder(shape, (4,)))
    model.build((None, *shape))
    assert len(quantization.calibration(graphs.decoder(model))["z"]) == rows


@pytest.fixture(scope="module")
def model():
    """A decoder large enough for its weights to be stored in fewer bits."""
    networks = keras_vae.networks
    keras.utils.set_random_seed(0)
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(4, hidden_units=(48,)),
        networks.DenseDecoder((8, 8, 1), hidden_units=(64, 64)),
        condition={"label": keras_vae.Categorical(10)},
    )
    model.build()
    for weight in model.decoder.weights:
        weight.assign(2 * keras.ops.convert_to_numpy(weight))
    return model


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantized")
    made = export.export_files(model, VARIANTS, ["decoder"], folder)
    return dict(zip(VARIANTS, made, strict=True))


# Measured: 1e-7, 3e-4, 3e-3, 3e-2.
LARGEST = {"none": 1e-6, "float16": 1e-3, "int8": 1e-2, "int8-full": 6e-2}


@converts_here
@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_quantized_files_stay_near_the_model(variant, files, model):
    path, checked = files[variant]
    assert path.name == f"decoder.{variant[1]}.{variant[0]}".replace(".none", "")
    module = export.module_of(variant[0])
    z = np.random.default_rng(1).standard_normal((200, 4), dtype="float32")
    label = np.arange(200, dtype="int32") % 10
    made = module.load(path)({"z": z, "label": label})["x"]
    error = np.abs(made - model.decode(z, {"label": label})).max()
    assert error <= LARGEST[variant[1]]
    assert (error > 1e-5) == (variant[1] != "none")
    assert checked.largest_error <= LARGEST[variant[1]]
    assert module.read_manifest(path)["quantization"] == variant[1]
    assert module.forbidden_operators(path) == []


@converts_here
def test_int8_weights_are_the_same_in_both_formats(files):
    z = np.random.default_rng(1).standard_normal((20, 4), dtype="float32")
    inputs = {"z": z, "label": np.arange(20, dtype="int32") % 10}
    made = [
        export.module_of(format).load(files[format, "int8"][0])(inputs)["x"]
        for format in ("tflite", "onnx")
    ]
    np.testing.assert_allclose(*made, rtol=0, atol=1e-6)


@converts_here
def test_fewer_bits_make_smaller_files(files):
    def weights(variant):
        """Bytes beyond what is the same in every variant: operators and manifest."""
        path = files[variant][0]
        found = export.module_of(variant[0]).read_manifest(path)
        return path.stat().st_size, found["parameters"]

    for format in ("tflite", "onnx"):
        none, parameters = weights((format, "none"))
        assert none - weights((format, "float16"))[0] > 1.5 * parameters
        assert none - weights((format, "int8"))[0] > 1.9 * parameters


@converts_here
def test_rounding_leaves_the_model_as_it_was(model, tmp_path):
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    export.export(model, "onnx", quantize="int8", out=tmp_path)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert "call" not in vars(model.decoder.hidden[0])


@converts_here
def test_rounding_makes_the_file_better(model, tmp_path):
    graph = graphs.decoder(model)
    inputs = graph.draw(500, np.random.default_rng(2))
    expected = model.decode(inputs["z"], {"label": inputs["label"]})
    errors = []
    for name, rows in (("alone", None), ("together", 2048)):
        rounding = contextlib.nullcontext()
        if rows:
            rounding = quantization.rounded(graph, quantization.calibration(graph, rows=rows))
        with rounding:
            content = export.module_of("onnx").convert(graph, "int8")
        path = tmp_path / f"{name}.onnx"
        export.module_of("onnx").write(content, path)
        made = export.module_of("onnx").load(path)(inputs)["x"]
        errors.append(np.mean((made - expected) ** 2))
    # Measured: 0.2.
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.slow
@converts_here
def test_a_convolutional_decoder_is_quantized(tmp_path):
    networks = keras_vae.networks
    model = keras_vae.VAE(
        networks.ConvEncoder(3, hidden_units=(4,)),
        networks.ConvDecoder((9, 7, 3), hidden_units=(16, 24)),
    )
    model.build()
    for weight in model.decoder.weights:
        values = RNG.standard_normal(weight.shape) * 0.3
        weight.assign(0.5 + np.abs(values) if weight.path.endswith("variance") else values)
    for path, report_ in export.export_files(
        model, [v for v in VARIANTS if v[1] != "none"], out=tmp_path
    ):
        quantize = export.module_of(path.suffix[1:]).read_manifest(path)["quantization"]
        # Measured: 7e-4, 2e-2, 1.2e-1.
        assert report_.largest_error < {"float16": 3e-3, "int8": 6e-2, "int8-full": 0.25}[quantize]


@converts_here
def test_an_encoder_is_rounded_on_examples(model, tmp_path):
    with pytest.raises(ValueError, match="Rounding the `encoder` needs typical examples"):
        export.export(model, graph="encoder", quantize="int8-full", out=tmp_path)
    with pytest.raises(ValueError, match=r"must be a dict of arrays for \['x', 'label'\]"):
        export.export(
            model, graph="encoder", quantize="int8", out=tmp_path, calibration_data={"x": 1}
        )
    data = {
        "x": RNG.uniform(size=(300, 8, 8, 1)).astype("float32"),
        "label": np.arange(300) % 10,
    }
    for quantize in ("int8", "int8-full"):
        path = export.export(
            model, graph="encoder", quantize=quantize, out=tmp_path, calibration_data=data
        )
        made = export.module_of("tflite").load(path)({**data, "label": data["label"].astype("i4")})
        expected, _ = model.encode(data)
        # Measured: 2e-3 and 5e-2 of a range of 5.
        np.testing.assert_allclose(
            made["z_mean"], expected, rtol=0, atol=1e-2 if quantize == "int8" else 0.15
        )


@converts_here
def test_many_classes_cost_a_table_in_all_integer_files_alone(tmp_path):
    networks = keras_vae.networks
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, hidden_units=(4,)),
        networks.DenseDecoder((4, 4, 1), hidden_units=(4,)),
        condition={"label": keras_vae.Categorical(300, embedding_dim=0)},
    )
    model.build()
    variants = [("tflite", "none"), ("onnx", "none"), ("tflite", "int8-full")]
    made = export.export_files(model, variants, ["decoder"], tmp_path)
    # Measured: 15,168, 10,687 and 97,424, with 5,200 of weights and a table of 90,300 int8.
    sizes = [path.stat().st_size for path, _ in made]
    assert max(sizes[:2]) < 30_000
    assert sizes[2] < 120_000
    for path, report_ in made[:2]:
        assert report_.largest_error < 1e-6, path.name


@converts_here
@pytest.mark.slow
def test_learned_vectors_are_all_that_many_classes_cost(tmp_path):
    networks, sizes = keras_vae.networks, {}
    variants = [("tflite", "none"), ("onnx", "none"), ("tflite", "int8"), ("onnx", "int8")]
    variants += [("tflite", "float16"), ("onnx", "float16"), ("tflite", "int8-full")]
    for count in (4, 3000):
        model = keras_vae.ConditionalVAE(
            networks.DenseEncoder(2, hidden_units=(4,)),
            networks.DenseDecoder((4, 4, 1), hidden_units=(4,)),
            condition={"label": keras_vae.Categorical(count, embedding_dim=16)},
        )
        model.build()
        made = export.export_files(model, variants, ["decoder"], tmp_path / str(count))
        names = len(json.dumps(list(map(str, range(count))), separators=(",", ":")))
        sizes[count] = np.array([path.stat().st_size - names for path, _ in made])
    bytes_each = np.array([4, 4, 1, 1, 2, 2, 1])
    extra = sizes[3000] - sizes[4] - (3000 - 4) * 16 * bytes_each
    # Beside the names. Measured: at most 894.
    assert np.abs(extra).max() < 1500


@converts_here
def test_an_all_integer_decoder_runs_in_tflite_micro(files, model):
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    path, _ = files["tflite", "int8-full"]
    module = export.module_of("tflite")
    interpreter = runtime.Interpreter.from_file(str(path))
    details = [interpreter.get_input_details(i) for i in range(2)]
    z = np.random.default_rng(1).standard_normal((5, 4), dtype="float32")
    for row in range(5):
        for i, detail in enumerate(details):
            value = np.array([row], "int32")
            if detail["dtype"] == np.int8:
                scale, zero = (
                    detail["quantization_parameters"][k][0] for k in ("scales", "zero_points")
                )
                value = np.clip(np.round(z[row : row + 1] / scale + zero), -128, 127).astype("int8")
            interpreter.set_input(value, i)
        interpreter.invoke()
        scheme = interpreter.get_output_details(0)["quantization_parameters"]
        made = (interpreter.get_output(0).astype("f4") - scheme["zero_points"]) * scheme["scales"]
        inputs = {"z": z[row : row + 1], "label": np.array([row], "int32")}
        # Five steps of 8 bits: the runtimes round in other places. Measured: three.
        np.testing.assert_allclose(made, module.load(path)(inputs)["x"], rtol=0, atol=5.02 / 256)
    assert 1000 < module.arena(path) < 100_000


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "config.json").write_text(json.dumps({"arguments": {"data": "digits"}}))
    return folder


@pytest.mark.slow
@converts_here
def test_the_report_compares_every_variant(run, capsys):
    assert main(["--format", "tflite,onnx", "--report", "--model", str(run)]) == 0
    output = capsys.readouterr().out
    found = json.loads((run / "export" / "decoder.report.json").read_text())
    names = [f"decoder.{q}.{f}".replace(".none", "") for f, q in VARIANTS]
    assert [row["file"] for row in found["files"]] == names
    by_name = {row["file"]: row for row in found["files"]}
    assert by_name["decoder.tflite"]["largest_error"] < 1e-6
    assert abs(by_name["decoder.tflite"]["elbo_change"]) < 1e-3
    assert by_name["decoder.int8-full.tflite"]["largest_error"] > 1e-3
    assert by_name["decoder.tflite"]["accuracy"] == found["model"]["accuracy"]
    for row in found["files"]:
        assert row["size"] == (run / "export" / row["file"]).stat().st_size
        assert row["psnr"] > 25
        assert row["milliseconds"] > 0
        assert row["file"] in output
    assert "right class" in output
    assert Run(run).classifier_path.is_file()
    assert (run / "export" / "decoder.report.png").read_bytes()[:4] == b"\x89PNG"


@converts_here
def test_a_report_without_data_leaves_those_columns_empty(model, tmp_path):
    assert report.Reporter(model, "encoder").baseline == {"elbo": None, "accuracy": None}
    (tmp_path / "config.json").write_text(json.dumps({"arguments": {"data": "gone.npz"}}))
    said = []
    reporter = report.Reporter(
        model, "decoder", Run(tmp_path), say=lambda line, done: said.append(line)
    )
    assert reporter.baseline == {"elbo": None, "accuracy": None}
    assert "no ELBO and no classes" in said[0]


@converts_here
def test_the_report_draws_codes_of_the_classes_that_it_asks_for(run, model, monkeypatch):
    trained = model.prior
    [(name, start, count)] = fitted.classes_of(model)
    means = np.broadcast_to(np.arange(count + 1.0)[:, None, None], (count + 1, 1, model.latent_dim))
    prior = fitted.FittedMixture.of(
        means, np.full(means.shape, 1e-3), np.ones((count + 1, 1)), [(name, start, count)]
    )
    monkeypatch.setattr(report.Reporter, "_classifier", lambda self, run: "a classifier")
    try:
        model.replace_prior(prior)
        drawn = report.Reporter(model, "decoder", Run(run)).inputs
    finally:
        model.replace_prior(trained)
    assert set(drawn["label"]) == set(range(count))
    np.testing.assert_allclose(drawn["z"].mean(axis=1), drawn["label"], atol=0.01)


@pytest.mark.slow
@converts_here
def test_the_elbo_of_the_report_is_that_of_the_evaluation(run, model):
    dataset = keras_vae.data.load("digits")
    x, y = dataset.x_test[:500], dataset.y_test[:500]
    expected = keras_vae.evaluation.evaluate(model, {"x": x, "label": y})
    at_mean = -expected["reconstruction_loss_at_mean"] - expected["kl_loss"]
    for graph in ("decoder", "encoder", "scorer"):
        reporter = report.Reporter(model, graph, Run(run))
        # Probabilities beyond 1/512 are few here.
        assert reporter.baseline["elbo"] == pytest.approx(at_mean, rel=2e-3)


@ordinary_on("torch")
def test_what_no_integers_can_hold_is_refused_before_it_is_rounded(monkeypatch):
    def rounded(*arguments):
        raise AssertionError("rounded before it was refused")

    monkeypatch.setattr(quantization, "rounded", rounded)
    monkeypatch.setattr(export.converters, "runs_here", lambda backend: True)
    model = make_sequence_vae()
    words = "An all-integer file must be a graph without a loop. Received: the `decoder` of a Sequ"
    with pytest.raises(export.ExportError, match=words) as error:
        export.export(model, format="tflite", quantize="int8-full")
    assert "\n" not in str(error.value)
