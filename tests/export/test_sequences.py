"""Files of models that draw tokens: a loop of builtin operators that draws what Keras draws."""

import functools
import importlib.util
import pathlib
import random

import numpy as np
import pytest
from keras import ops

import export
import keras_vae
from export import graphs, oracle, parity, quantization, report, tflite_edits, verification
from keras_vae.data import Notes, midi
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, new_folder
from tests.export.test_parity import converts_here

STEPS, VOICES, TOKENS, VALUES = 6, 2, 5, 7
DRAW = ("decoder", "sampler")
LOOPS = {"tflite": "WHILE", "onnx": "Loop"}


def make_sequence_vae(condition=True):
    """A model whose weights are large enough that the code and the past count."""
    random.seed(1)
    networks = keras_vae.networks
    given = {"melody": "soprano"} if condition else None
    model = keras_vae.SequenceVAE(
        networks.SequenceEncoder(3, TOKENS, 6, 1, 8),
        networks.CausalDecoder((STEPS, VOICES), TOKENS, 6, dilations=(1, 2), past_dropout=0.2),
        condition={"melody": keras_vae.Sequence(STEPS, VALUES)} if condition else None,
        schema=Notes(60, 63, ("alto", "bass"), given=given),
    )
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(ops.convert_to_numpy(weight) + 0.3 * rng.standard_normal(weight.shape))
    return model


@functools.cache
def exported_sequence_vae():
    """A model and its folder of files, the graphs that draw exported to both formats."""
    model, folder = make_sequence_vae(), new_folder()
    export.export_files(model, [(format, "none") for format in FORMATS], DRAW, folder)
    export.export_files(model, [(format, "exact") for format in FORMATS], ("sampler",), folder)
    return model, folder


@functools.cache
def exported_with_other_graphs():
    """The same, and the graphs that do not draw."""
    model, folder = exported_sequence_vae()
    others = [graph for graph in GRAPHS if graph not in DRAW]
    export.export_files(model, [(format, "none") for format in FORMATS], others, folder)
    return model, folder


def run(graph, format, inputs):
    _, folder = exported_sequence_vae()
    return export.module_of(format).load(folder / f"{graph}.{format}")(inputs)


def settings(seed=5, token_temperature=0.7):
    return {
        "seed": np.array([seed], "int32"),
        "token_temperature": np.array([token_temperature], "float32"),
    }


MELODY = np.random.default_rng(0).integers(0, VALUES + 1, (4, STEPS)).astype("int32")


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_draws_the_tokens_that_keras_draws(format):
    model, _ = exported_sequence_vae()
    inputs = {"melody": MELODY, "temperature": np.array([0.9], "float32"), **settings()}
    made = run("sampler", format, inputs)
    assert made["x"].dtype == np.int32
    expected = model.sample({"melody": MELODY}, temperature=0.9, seed=5)
    near = made["margin"] < 1e-4
    assert near.sum() <= 1
    np.testing.assert_array_equal(made["x"][~near], expected[~near])
    # Other numbers are drawn with another seed, and none at a temperature of 0.
    other = run("sampler", format, {**inputs, **settings(seed=6)})
    assert (other["x"] != made["x"]).any()
    cold = {"melody": MELODY, "z": made["z"], **settings(token_temperature=0)}
    again = {**cold, **settings(seed=7, token_temperature=0)}
    found = [run("decoder", format, given)["x"] for given in (cold, again)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(found[0], model.decode(made["z"], {"melody": MELODY}))


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_gives_the_same_when_it_is_run_again(format):
    """LiteRT's loops over a batch of any size do not: files have none."""
    _, folder = exported_sequence_vae()
    rng = np.random.default_rng(3)
    for _, sizes, run in export.module_of(format).programs(folder / f"decoder.{format}"):
        for size in sizes:
            inputs = {
                "z": rng.standard_normal((size, 3)).astype("float32"),
                "melody": rng.integers(0, VALUES, (size, STEPS)).astype("int32"),
            }
            made = [run({**inputs, **settings(seed)})["x"] for seed in (1, 2, 3, 1, 2, 3)]
            for one, other in zip(made[:3], made[3:], strict=True):
                np.testing.assert_array_equal(one, other)


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_the_loop_is_a_builtin_and_nothing_draws(format):
    _, folder = exported_sequence_vae()
    path, module = folder / f"sampler.{format}", export.module_of(format)
    assert module.forbidden_operators(path) == []
    assert LOOPS[format] in module.describe(path)["operators"]
    manifest = module.read_manifest(path)
    [melody] = manifest["conditions"]
    assert melody == {
        "name": "melody",
        "kind": "sequence",
        "size": VALUES,
        "names": None,
        "steps": STEPS,
        "unknown": True,
    }
    assert manifest["golden"]["token_temperature"] == 0.7


@converts_here
def test_an_onnx_loop_hands_on_what_it_changes_alone():
    """Weights that are handed on are no constants, and stay float32 in a file of int8."""
    import onnx

    _, folder = exported_sequence_vae()
    [loop] = [n for n in onnx.load(folder / "sampler.onnx").graph.node if n.op_type == "Loop"]
    [body] = [entry.g for entry in loop.attribute if entry.name == "body"]
    carried = zip(body.input[2:], body.output[1:], strict=True)
    assert [before.name for before, after in carried if before.name == after.name] == []
    assert len(loop.input) == len(body.input) == len(body.output) + 1 == len(loop.output) + 2


@converts_here
def test_a_tflite_file_holds_no_constant_twice():
    from ai_edge_litert import schema_py_generated as schema

    _, folder = exported_sequence_vae()
    content = (folder / "sampler.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    held = [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]
    assert len(held) == len(set(held)) > 10
    assert len(model.buffers) - len(held) <= 1


@ordinary_on("torch")
def test_zeros_that_a_loop_begins_with_are_made_by_fill():
    from ai_edge_litert import schema_py_generated as schema

    zeros, ones = schema.BufferT(), schema.BufferT()
    zeros.data = np.zeros(4 * 2048, np.uint8)
    ones.data = np.ones(4 * 2048, np.uint8)
    model, graph, loop = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    graph.inputs, graph.outputs, graph.tensors = [], [], []
    for buffer in (1, 2):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = [2, 1024], schema.TensorType.FLOAT32, buffer
        graph.tensors.append(tensor)
    loop.opcodeIndex, loop.inputs, loop.outputs = 0, [0, 1], []
    graph.operators, model.subgraphs = [loop], [graph]
    model.buffers, model.operatorCodes = [schema.BufferT(), zeros, ones], []
    model.operatorCodes.append(tflite_edits._operator_code(schema, "WHILE", 1))
    tflite_edits.compact(model, schema)
    fill, last = graph.operators
    assert last is loop
    assert (fill.opcodeIndex, list(fill.outputs)) == (1, [0])
    made = [bytes(model.buffers[graph.tensors[at].buffer].data) for at in fill.inputs]
    assert made == [np.array([2, 1024], "int32").tobytes(), bytes(4)]
    assert graph.tensors[0].buffer == 0
    assert bytes(model.buffers[graph.tensors[1].buffer].data) == bytes(ones.data)
    assert len(model.buffers) == 4


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_an_exact_file_draws_the_tokens_that_keras_draws_to_the_last_one(format):
    model, folder = exported_sequence_vae()
    path, module = folder / f"sampler.exact.{format}", export.module_of(format)
    exact, run = model.as_exact(), module.load(path)
    melody = np.random.default_rng(1).integers(0, VALUES + 1, (16, STEPS)).astype("int32")
    for seed, token_temperature in enumerate((0, 0.1, 0.7, 1, 1.3, 16)):
        given = settings(seed, token_temperature)
        made = run({"melody": melody, "temperature": np.array([0.9], "float32"), **given})
        options = {"temperature": 0.9, "seed": seed, "token_temperature": token_temperature}
        np.testing.assert_array_equal(made["x"], exact.sample({"melody": melody}, **options))
        assert made["margin"].tolist() == [1.0] * 16
    assert module.read_manifest(path)["quantization"] == "exact"
    error, runs = verification.check_golden(path, module)
    assert error == 0
    assert runs > 1
    graph = graphs.sampler(exact)
    expected = parity.reference(graph)
    parity.verify(graph, path, module, expected, "exact")
    # A single token that differs is an error.
    expected[16][0].outputs["x"][7, 3, 0] += 1
    with pytest.raises(parity.ParityError, match="in a token whose draw was 1 from a border"):
        parity.verify(graph, path, module, expected, "exact")


@converts_here
@pytest.mark.parametrize("graph", ["sampler", pytest.param("scorer", marks=pytest.mark.slow)])
def test_the_report_asks_no_more_at_once_than_a_file_takes(graph):
    model, folder = exported_sequence_vae() if graph in DRAW else exported_with_other_graphs()
    reporter = report.Reporter(model, graph)
    rows = [reporter.measure(folder / f"{graph}.{f}", export.module_of(f))[0] for f in FORMATS]
    if graph == "scorer":
        assert all(row.largest_error < 1e-3 and row.psnr > 80 for row in rows)
        return
    # A draw within rounding of a border, of 1,920.
    assert all(row.largest_error <= 2 / 160 and row.psnr is None for row in rows)
    row, made = reporter.measure(folder / "sampler.exact.tflite", export.module_of("tflite"))
    others = made["x"] != reporter.expected["x"]
    assert made["x"].shape == (160, STEPS, VOICES)
    assert row.mean_error == pytest.approx(others.mean())
    assert 0 < row.mean_error < row.largest_error < 1
    head, _, line = report.table([row], reporter.baseline)
    assert "other samples  other tokens" in head
    assert f"{others.mean():.1%}" in line


@pytest.mark.slow
def test_what_has_no_exact_file_is_refused_in_one_line(tmp_path):
    model = make_sequence_vae()
    refused = [
        (model, "encoder", "exact", "The encoder cannot be exact: a code is made of real numbers."),
        (model, "scorer", "exact", "The scorer cannot be exact: a score is a real number."),
        (model.as_exact(), "decoder", "int8", 'An exact model is exported with quantize="exact".'),
    ]
    for one, graph, quantize, words in refused:
        with pytest.raises(ValueError, match=f"^{words}") as error:
            export.export(one, graph=graph, quantize=quantize, out=tmp_path)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r'^quantize="exact" needs a model with a decoder'):
        export.models_of(keras_vae.models.VAE, [export.Job("decoder", "exact", "tflite", "x")])
    with pytest.raises(ValueError, match=r"^The C format holds .* Sequence for") as error:
        export.export(model, format="c", quantize="exact", out=tmp_path)


@converts_here
def test_a_layer_that_no_condition_needs_is_not_rounded():
    graph = graphs.sampler(make_sequence_vae())
    with quantization.rounded(graph, graph.draw(4, np.random.default_rng(0))):
        made = graph.evaluate(graph.draw(2, np.random.default_rng(1)))
    assert made["x"].shape == (2, STEPS, VOICES)


@ordinary_on("torch")
def test_a_token_that_differs_without_need_is_found():
    model = make_sequence_vae()
    graph = graphs.decoder(model)
    inputs = {
        "z": np.random.default_rng(0).standard_normal((4, 3)).astype("float32"),
        "melody": MELODY,
        **settings(),
    }
    made = oracle.outputs(graph, inputs)
    margins = oracle.margins(graph, inputs, made)
    np.testing.assert_allclose(margins["x"].reshape(4, -1).min(axis=1), made["margin"], atol=1e-6)
    batch = parity.Batch(inputs, made, {}, {}, margins)

    def compare(found):
        return parity._compare(lambda _: dict(found), [batch], "none", 4, "file")

    assert compare(made) == 0
    place = np.unravel_index(np.argsort(margins["x"], axis=None)[-1], margins["x"].shape)
    wrong = made["x"].copy()
    wrong[place] = (wrong[place] + 1) % TOKENS
    with pytest.raises(parity.ParityError, match="disagrees with the model in a token whose draw"):
        compare({**made, "x": wrong})
    with pytest.raises(parity.ParityError, match="`margin` at batch size 4: disagrees"):
        compare({**made, "margin": made["margin"] + 0.01})
    near = parity.Batch(inputs, made, {}, {}, {"x": np.full_like(margins["x"], 1e-6)})
    assert parity._compare(lambda _: {**made, "x": wrong}, [near], "none", 4, "file") == 0


@ordinary_on("torch")
def test_what_the_graphs_compute_is_what_the_model_gives():
    """On every backend: the loop is Keras' own."""
    for condition in (True, False):
        model = make_sequence_vae(condition)
        for name in GRAPHS:
            graph = graphs.BUILDERS[name](model)
            inputs = graph.draw(5, np.random.default_rng(2))
            found, expected = graph.evaluate(inputs), oracle.outputs(graph, inputs)
            assert set(found) == {spec.name for spec in graph.outputs}
            for spec in graph.outputs:
                assert found[spec.name].dtype == spec.dtype
                np.testing.assert_allclose(found[spec.name], expected[spec.name], atol=2e-5)


@ordinary_on("torch")
def test_an_all_integer_file_of_a_loop_is_refused_in_one_line():
    with pytest.raises(export.ExportError, match=r"^An all-integer file must be a graph") as error:
        export.module_of("tflite").convert(graphs.decoder(make_sequence_vae()), "int8-full")
    assert "\n" not in str(error.value)


@converts_here
def test_c_refuses_the_loop_in_one_line():
    with pytest.raises(ValueError, match=r"^The C format holds .* Sequence for") as error:
        export.module_of("c").convert(graphs.decoder(make_sequence_vae()))
    assert "\n" not in str(error.value)


# The program for devices

PROGRAM = pathlib.Path(__file__).parents[2] / "mobile_demo" / "edge" / "sample.py"
TUNE = [1, 1, 1, 4, 4, 0]


@pytest.fixture
def edge(capsys, tmp_path, monkeypatch):
    """Calls the program in an empty folder with a melody."""
    spec = importlib.util.spec_from_file_location("edge_sample", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    tune = Notes(60, 63, ("soprano",))
    for name, tokens in {"tune": TUNE, "long": 9 * TUNE}.items():
        pathlib.Path(f"{name}.mid").write_bytes(midi.encode(np.array(tokens)[:, None], tune))

    def call(*arguments):
        status = module.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


@converts_here
@pytest.mark.parametrize("format", ["tflite", "onnx", "exact.tflite", "exact.onnx"])
def test_a_device_harmonises_a_melody_as_keras_does(format, edge):
    model, folder = exported_sequence_vae()
    if format.startswith("exact"):
        model = model.as_exact()
        assert edge("--model", folder / f"sampler.{format}", "--self-test")[0] == 0
    options = ("--model", folder / f"sampler.{format}", "--melody", "tune.mid", "--seed", 5)
    status, said, errors = edge(*options, "--count", 3, "--out", "x.npy")
    assert (status, errors) == (0, "")
    settings = "seed 5, temperature 1, token temperature 0.7"
    assert said.startswith(f"3 pieces of melody given, {settings}\n")
    pieces = np.load("x.npy")
    assert pieces[..., 0].tolist() == [TUNE] * 3
    np.testing.assert_array_equal(pieces[..., 1:], model.sample({"melody": [TUNE] * 3}, seed=5))
    status, said, _ = edge(*options, "--count", 3, "--out", "x.mid")
    assert (status, said.splitlines()[2:]) == (0, ["x-1.mid", "x-2.mid", "x-3.mid"])
    for number, piece in enumerate(pieces, 1):
        assert pathlib.Path(f"x-{number}.mid").read_bytes() == midi.encode(piece, model.schema)


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_device_plays_without_a_melody_and_tests_itself(format, edge):
    model, folder = exported_sequence_vae()
    path = folder / f"sampler.{format}"
    status, said, _ = edge("--model", path, "--count", 1, "--seed", 7, "--token-temperature", 0)
    assert (status, said.splitlines()[-1]) == (0, "samples.mid")
    assert said.startswith("1 pieces of melody unknown, seed 7, ")
    unknown = {"melody": [[VALUES] * STEPS]}
    expected = model.sample(unknown, seed=7, token_temperature=0)[0]
    expected = np.pad(expected, ((0, 0), (1, 0)))
    assert pathlib.Path("samples.mid").read_bytes() == midi.encode(expected, model.schema)
    assert edge("--model", path, "--self-test")[0] == 0


@converts_here
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--melody", "none.mid"], "none.mid: No such file"),
        (["--melody", "long.mid"], "must have 6 steps, 0.375 bars, not 54"),
        (["--melody", "tune.mid", "--out", "x.png"], "--out must end with .mid or .npy"),
        (["--token-temperature", "-1"], "--token-temperature must be at least 0"),
        (["--count", "1001"], "too many at once"),
        (["--label", "7"], "takes no --label"),
        (["--score", "image.png"], "this model is of music"),
    ],
)
def test_what_no_music_can_be_made_of_is_refused(edge, arguments, words):
    _, folder = exported_sequence_vae()
    status, said, errors = edge("--model", folder / "sampler.onnx", *arguments)
    assert (status, said) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert words in errors


@converts_here
def test_a_device_draws_no_notes_by_a_decoder(edge):
    _, folder = exported_sequence_vae()
    status, _, errors = edge("--model", folder / "decoder.onnx")
    assert (status, "use the sampler" in errors) == (2, True)


@converts_here
@pytest.mark.slow
def test_a_harmoniser_that_hears_intervals_is_exported(tmp_path):
    """Its loop hands a tensor on, and takes rests of negative numbers: both went wrong."""
    from tests.test_sequence_vae import notes_model, shaken

    model = notes_model()
    model.build()
    plain = [("tflite", "none"), ("onnx", "none")]
    rounded = [("tflite", "int8"), ("tflite", "exact"), ("onnx", "exact")]
    files = export.export_files(shaken(model), plain, GRAPHS, tmp_path)
    files += export.export_files(model, rounded, ("decoder", "sampler"), tmp_path)
    assert len(files) == len(plain) * len(GRAPHS) + 2 * len(rounded)
