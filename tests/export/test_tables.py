"""Files of models of tables: columns in units go in and come out, and rows are drawn."""

import csv
import functools
import importlib.util
import json
import pathlib
import random

import numpy as np
import pytest
from keras import ops

import export
import keras_vae
from export import graphs, manifest, oracle, parity, ports, report, verification
from keras_vae import data
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS, GRAPHS, new_folder
from tests.export.test_parity import converts_here

pytestmark = pytest.mark.usefixtures("one_signature")

ROWS = 60
RNG = np.random.default_rng(0)
# Most gains are 0; names with spaces, and one that is another input's.
TABLE = {
    "gain": np.where(RNG.random(ROWS) < 0.7, 0, RNG.integers(1, 9000, ROWS)).tolist(),
    "height cm": (165 + 8 * RNG.standard_normal(ROWS)).tolist(),
    "seed": np.exp(10 + RNG.standard_normal(ROWS)).tolist(),
    "calls": RNG.poisson(3, ROWS).tolist(),
    "job": np.array(["nurse", "cook", "smith"])[RNG.integers(0, 3, ROWS)].tolist(),
    "vip": np.array(["no", "yes"])[RNG.integers(0, 2, ROWS)].tolist(),
    "age": RNG.integers(18, 80, ROWS).tolist(),
    "sex": np.array(["f", "m"])[RNG.integers(0, 2, ROWS)].tolist(),
}
KINDS = {
    "seed": data.Numeric("log", unit="EUR"),
    "calls": data.Count(most=12),
    "age": data.Numeric("standard"),
}
NUMBERS = ("gain", "height_cm", "column_seed", "calls")
FILES = [
    ("decoder", "onnx"),
    ("encoder", "onnx"),
    ("reconstructor", "onnx"),
    *((g, f) for g in ("sampler", "scorer") for f in FORMATS),
]


def make_table_vae(conditions=("age", "sex"), columns=tuple(TABLE)):
    """An untrained model whose weights are large enough that the code counts."""
    random.seed(1)
    rows = {name: TABLE[name] for name in columns}
    kinds = {name: kind for name, kind in KINDS.items() if name in rows}
    schema = data.table(rows, conditions, kinds).schema
    model = keras_vae.table_vae(schema, latent_dim=3, hidden_units=(8,))
    model.build()
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(ops.convert_to_numpy(weight) + 0.3 * rng.standard_normal(weight.shape))
    return model


@functools.cache
def exported_table():
    """A model and its folder of files."""
    model, folder = make_table_vae(), new_folder()
    for format in FORMATS:
        chosen = [graph for graph, other in FILES if other == format]
        export.export_files(model, [(format, "none")], chosen, folder)
    export.export_files(model, [("onnx", "int8")], ["sampler"], folder)
    return model, folder


def load(graph, format):
    return export.module_of(format).load(exported_table()[1] / f"{graph}.{format}")


def given(rows, seed=5):
    """What a sampler takes, and the conditions as `sample` takes them."""
    age, sex = np.linspace(20, 70, rows), np.arange(rows) % 3
    inputs = {
        "index": np.arange(rows, dtype="int32"),
        "age": age.astype("float32")[:, None],
        "sex": sex.astype("int32"),
        "seed": np.array([seed], "int32"),
        "temperature": np.array([0.9], "float32"),
    }
    asked = {"age": age.astype("float32"), "sex": [["f", "m", None][k] for k in sex]}
    return inputs, asked


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_draws_the_rows_that_keras_draws_in_units(format):
    model, _ = exported_table()
    inputs, asked = given(400)
    made, schema = load("sampler", format)(inputs), model.schema
    x = model.sample(schema.encode_conditions(asked), temperature=0.9, seed=5)
    expected = schema.decode(x)
    assert set(made) == {*schema.ports.values(), "z"} - {"age", "sex"}
    for name, values in expected.items():
        kind, found = schema.columns[name], made[schema.ports[name]]
        assert found.shape == (400,)
        if hasattr(kind, "names"):
            assert found.dtype == np.int32
            assert [kind.names[k] for k in found] == values.tolist()
        else:
            spread = np.ptp(kind.bounds) if name != "calls" else 12
            whole = name in ("gain", "calls")
            # A half may be rounded to either side.
            assert not whole or np.sum(found != values) <= 1
            np.testing.assert_allclose(found, values, rtol=0, atol=whole or 1e-5 * spread)
    assert (made["gain"] == 0).mean() > 0.2
    # Any rows of the seed can be drawn, in any order.
    some = [7, 3]
    again = load("sampler", format)({n: v[some] if len(v) > 1 else v for n, v in inputs.items()})
    for name, values in again.items():
        np.testing.assert_allclose(values, made[name][some], rtol=1e-5, atol=1e-5)


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_scores_rows_with_gaps_in_units(format):
    model, _ = exported_table()
    columns = {name: list(values[:16]) for name, values in TABLE.items()}
    for row, name in enumerate(model.schema.names):
        columns[name][row] = None
    columns["sex"][9] = None
    made = load("scorer", format)(ports.of(model).arrays(columns))
    encoded = model.schema.encode(columns)
    z_mean, z_log_var = (v.astype("f8") for v in model.encode(encoded))
    kl = 0.5 * np.sum(np.exp(z_log_var) + z_mean**2 - 1 - z_log_var, axis=1)
    conditions = {name: ops.convert_to_tensor(encoded[name]) for name in model.condition}
    parameters = model.decode_parameters(ops.convert_to_tensor(z_mean.astype("f4")), conditions)
    log_prob = ops.convert_to_numpy(model.likelihood.log_prob(encoded["x"], parameters))
    np.testing.assert_allclose(made["score"], kl - log_prob, rtol=1e-5)
    assert {"score", "contribution"} | {
        f"{model.schema.ports[n]}_reconstructed" for n in model.schema.names
    } == set(made)
    if format == "onnx":
        found = load("encoder", format)(ports.of(model).arrays(columns))
        np.testing.assert_allclose(found["z_mean"], z_mean, rtol=0, atol=4e-6)


@converts_here
def test_a_decoder_gives_what_is_expected_in_units():
    model, _ = exported_table()
    inputs, asked = given(16)
    z = np.random.default_rng(0).standard_normal((16, 3)).astype("float32")
    made = load("decoder", "onnx")({"z": z, "age": inputs["age"], "sex": inputs["sex"]})
    expected = model.schema.decode(model.decode(z, model.schema.encode_conditions(asked)))
    for name in ("job", "vip"):
        names = model.schema.columns[name].names
        assert [names[k] for k in made[name]] == expected[name].tolist()
    np.testing.assert_allclose(made["height_cm"], expected["height cm"], rtol=1e-6)


@converts_here
@pytest.mark.parametrize(("graph", "format"), [("sampler", "tflite"), ("scorer", "onnx")])
def test_the_manifest_holds_the_columns(graph, format):
    model, folder = exported_table()
    path, module = folder / f"{graph}.{format}", export.module_of(format)
    assert module.forbidden_operators(path) == []
    found = module.read_manifest(path)
    assert found["data"] == model.schema.manifest()
    seed = found["data"]["columns"]["seed"]
    assert (seed["port"], seed["unit"], seed["kind"]) == ("column_seed", "EUR", "numeric")
    assert "fitted" not in seed
    assert found["data"]["columns"]["job"]["names"] == list(model.schema.columns["job"].names)
    assert found["range"] is None
    error, runs = verification.check_golden(path, module)
    assert error < 1e-6
    assert runs
    content = json.dumps({**found, "data": {"kind": "table", "columns": 3}}).encode()
    with pytest.raises(ValueError, match="is damaged: `data` is missing or wrong"):
        manifest.loads(content, "file")


@converts_here
def test_rounded_weights_are_held_to_their_bound_and_reported():
    model, folder = exported_table()
    path, module = folder / "sampler.int8.onnx", export.module_of("onnx")
    row, _ = report.Reporter(model, "sampler").measure(path, module)
    assert row.psnr is None
    assert not row.of_tokens
    assert row.mean_error < 0.01
    assert "largest error" in report.table([row], {"elbo": None, "accuracy": None})[0]


@ordinary_on("torch")
@pytest.mark.parametrize("conditions", [("age", "sex"), ()])
def test_what_the_graphs_compute_is_what_the_model_gives(conditions):
    """On every backend, also without numbers to ask for."""
    model = make_table_vae(conditions)
    for name in GRAPHS:
        graph = graphs.BUILDERS[name](model)
        inputs = graph.draw(40, np.random.default_rng(2))
        found, expected = graph.evaluate(inputs), oracle.outputs(graph, inputs)
        limits = oracle.limits(graph, inputs, expected)
        for spec in graph.outputs:
            assert found[spec.name].dtype == expected[spec.name].dtype == spec.dtype
            if spec.name in limits:
                parity._within(
                    found[spec.name], expected[spec.name], limits[spec.name], 1e-5, spec.name
                )
            else:
                np.testing.assert_allclose(
                    found[spec.name], expected[spec.name], rtol=1e-5, atol=1e-5
                )


@ordinary_on("torch")
@pytest.mark.parametrize("columns", [("height cm", "gain"), ("job", "vip")])
def test_a_table_may_be_of_numbers_or_of_names_alone(columns):
    model = make_table_vae((), columns)
    for name in ("sampler", "scorer"):
        graph = graphs.BUILDERS[name](model)
        inputs = graph.draw(8, np.random.default_rng(2))
        found, expected = graph.evaluate(inputs), oracle.outputs(graph, inputs)
        for port in ("height_cm", "job"):
            if port in found:
                np.testing.assert_allclose(found[port], expected[port], rtol=1e-5)


@ordinary_on("torch")
@pytest.mark.parametrize("graph", ["decoder", "sampler"])
def test_a_cell_that_differs_without_need_is_found(graph):
    model = make_table_vae()
    graph = graphs.BUILDERS[graph](model)
    inputs = graph.draw(30, np.random.default_rng(0))
    made = oracle.outputs(graph, inputs)
    batch = parity.Batch(inputs, made, {}, {}, {}, oracle.limits(graph, inputs, made))

    def compare(found, quantize="none"):
        return parity._compare(lambda _: found, [batch], quantize, 30, "file")

    assert compare(made) == 0
    bounds = model.schema.columns["height cm"].bounds
    for name in (*NUMBERS, "job", "vip"):
        values = made[name].copy()
        step = 1e-3 * np.ptp(bounds) if name == "height_cm" else 1
        # Of what lies near a border there is little.
        values[3] += -step if values[3] >= {"job": 2, "vip": 1}.get(name, 1e9) else step
        with pytest.raises(parity.ParityError, match=f"`{name}` at batch size 30: disagrees"):
            compare({**made, name: values})
    # What is rounded may move a little, but for a value that many rows have.
    step = np.float32(1e-5 * np.ptp(bounds))
    has_room = made["height_cm"] + 2 * step < batch.limits["height_cm"](5e-3)[1]
    near = made["height_cm"] + np.where(has_room, step, np.float32(0))
    assert has_room.any()
    assert 0 < compare({**made, "height_cm": near}, "float16") <= 5e-3


@ordinary_on("torch")
def test_what_has_no_file_is_refused_in_one_line(tmp_path):
    model = make_table_vae()
    refused = [
        (
            lambda: export.module_of("c").convert(graphs.sampler(model)),
            "The C format holds tables in whole numbers",
        ),
        (
            lambda: export.module_of("tflite").convert(graphs.decoder(model), "int8-full"),
            "An all-integer file must be of data near 0",
        ),
    ]
    index = {**TABLE, "index": TABLE["sex"]}
    other = keras_vae.table_vae(data.table(index, "index", KINDS).schema, 2, (4,))
    refused.append((lambda: graphs.sampler(other), "A condition must have a name that no other"))
    parts = model.encoder, model.decoder
    bare = keras_vae.ConditionalVAE(*parts, model.condition, likelihood=model.likelihood)
    refused.append((lambda: graphs.scorer(bare), "A model of a table must have a schema"))
    for call, words in refused:
        with pytest.raises((ValueError, export.ExportError), match=f"^{words}") as error:
            call()
        assert "\n" not in str(error.value)
        assert "Received: " in str(error.value)


@ordinary_on("torch")
def test_data_are_given_as_a_graph_takes_them(tmp_path):
    model = make_table_vae()
    path = tmp_path / "rows.csv"
    write_rows(path, {**TABLE, "id": list(range(ROWS))})
    found = export.examples.dataset(model, None, path)
    held_out = export.examples.held_out(model, None, lambda *_, **__: None, path)
    graph = graphs.scorer(model)
    assert set(held_out) == {spec.name for spec in graph.inputs}
    scores = graph.evaluate(held_out)["score"]
    np.testing.assert_allclose(
        scores, graph.evaluate(ports.of(model).arrays(found.columns("test")))["score"]
    )
    assert len(scores) == ROWS // 5
    calibration = export.examples.calibration_of(graph, None, None, path)
    assert len(calibration["job"]) == ROWS - ROWS // 5
    write_rows(path, {name: TABLE[name] for name in list(TABLE)[1:]})
    with pytest.raises(data.DataError, match="Received: none of 'gain'"):
        export.examples.dataset(model, None, path)


# The program for devices

PROGRAM = pathlib.Path(__file__).parents[2] / "mobile_demo" / "edge" / "sample.py"


def write_rows(path, columns, separator=",", encoding="utf-8"):
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@pytest.fixture
def edge(capsys, tmp_path, monkeypatch):
    """Calls the program in an empty folder."""
    spec = importlib.util.spec_from_file_location("edge_sample", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)

    def call(graph, format, *arguments):
        path = exported_table()[1] / f"{graph}.{format}"
        status = module.main(["--model", str(path), *map(str, arguments)])
        return status, *capsys.readouterr()

    call.module = module
    return call


@converts_here
@pytest.mark.parametrize("format", FORMATS)
def test_a_device_writes_the_rows_that_keras_draws(format, edge):
    model, _ = exported_table()
    asked = ("--condition", "age=30.5", "--condition", "sex=m", "--seed", 5)
    status, said, errors = edge("sampler", format, *asked, "--count", 1500, "--out", "rows.csv")
    assert (status, errors) == (0, "")
    assert said.startswith("1500 rows of age 30.5 and sex m, seed 5, temperature 1\n")
    text = pathlib.Path("rows.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    given = model.schema.encode_conditions({"age": 30.5, "sex": "m"})
    expected = model.schema.decode(model.sample(given, count=1500, seed=5), given)
    assert list(rows[0]) == list(TABLE)
    assert {(row["age"], row["sex"]) for row in rows} == {("30.5", "m")}
    for name in ("job", "vip", "calls"):
        differ = np.sum([row[name] for row in rows] != expected[name].astype(str))
        assert differ <= 1  # a draw within rounding of a border
    heights = np.array([row["height cm"] for row in rows], "f8")
    spread = np.ptp(model.schema.columns["height cm"].bounds)
    np.testing.assert_allclose(heights, expected["height cm"], rtol=0, atol=1e-5 * spread)
    assert all("." not in row["gain"] for row in rows)
    # And scores them.
    status, said, errors = edge("scorer", format, "--score", "rows.csv")
    assert (status, errors, said.splitlines()[-1]) == (0, "", "scored.csv")
    assert said.startswith("1500 rows scored, ")


@converts_here
def test_a_device_scores_files_as_people_save_them(edge):
    columns = {**TABLE, "job": [None, *TABLE["job"][1:]]}
    write_rows("rows.csv", columns)
    assert edge("scorer", "onnx", "--score", "rows.csv")[0] == 0
    expected = pathlib.Path("scored.csv").read_text().splitlines()
    model, _ = exported_table()
    scores = load("scorer", "onnx")(ports.of(model).arrays(columns))["score"]
    found = [float(line.rpartition(",")[2]) for line in expected[1:]]
    np.testing.assert_allclose(found, scores, rtol=1e-5)
    # With a byte-order mark, semicolons and decimal commas.
    commas = {
        name: [str(v).replace(".", ",") if v is not None else "?" for v in values]
        for name, values in columns.items()
    }
    write_rows("other.csv", commas, ";", "utf-8-sig")
    assert edge("scorer", "onnx", "--score", "other.csv", "--out", "b.csv")[0] == 0
    other = pathlib.Path("b.csv").read_text().splitlines()
    assert other[0] == ";".join([*TABLE, "score"])
    assert [line.rpartition(";")[2] for line in other] == [
        line.rpartition(",")[2] for line in expected
    ]


@converts_here
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_device_tests_files_of_tables(graph, edge):
    status, said, _ = edge(graph, "onnx", "--self-test")
    assert (status, said.strip().rpartition(" ")[2]) == (0, "ok")


def changed(name, row, value):
    return {**TABLE, name: [value if k == row else v for k, v in enumerate(TABLE[name])]}


@converts_here
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"gain": [1]},
            "rows.csv must have the columns gain, height cm, seed, calls, job, vip, age",
        ),
        ({**TABLE, "id": [1] * ROWS}, "it has id besides"),
        (changed("job", 39, "pilot"), "'job' must be one of {jobs}, not 'pilot' in row 40"),
        (changed("height cm", 2, "tall"), "'height cm' must be numbers, not 'tall' in row 3"),
        (changed("height cm", 2, "1e60"), "must be numbers that float32 holds, not '1e60'"),
        (changed("seed", 0, -1), "'seed' must be above 0, not '-1' in row 1"),
        (
            changed("calls", 5, 1.5),
            "'calls' must be counts, whole numbers of at least 0, not '1.5'",
        ),
        (changed("age", 7, ""), "'age' must be known, not nothing in row 8"),
        ("gain,gain\n1,2\n", "it has 'gain' twice"),
        ("", "it is empty"),
        ("gain,job\n1,2,3\n", "must have 2 values in every row, not 3 as in line 2"),
        ('gain,job\n1,"2\n', "is no CSV file in UTF-8"),
        (b"gain,job\n1,\xff\n", "is no CSV file in UTF-8"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(columns, words, edge):
    if isinstance(columns, dict):
        write_rows("rows.csv", columns)
    else:
        content = columns if isinstance(columns, bytes) else columns.encode()
        pathlib.Path("rows.csv").write_bytes(content)
    status, said, errors = edge("scorer", "onnx", "--score", "rows.csv")
    jobs = ", ".join(exported_table()[0].schema.columns["job"].names)
    assert (status, said) == (2, "")
    assert words.format(jobs=jobs) in errors
    assert errors.count("\n") == 1
    assert [path.name for path in pathlib.Path().iterdir()] == ["rows.csv"]


@converts_here
@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("job", {"kind": "category", "port": "job", "names": ["cook", "cook"]}),
        ("job", {"kind": "category", "port": 3, "names": ["cook", "nurse"]}),
        ("job", {"kind": "picture", "port": "job"}),
        ("job", "cook"),
        ("calls", {"kind": "count", "port": "calls", "most": 1.5}),
        ("gain", {"kind": "numeric", "port": "gain", "bounds": [1, 0], "integer": True}),
        ("gain", {"kind": "count", "port": "job", "most": 3}),
        ("other", {"kind": "count", "port": "other", "most": 3}),
        ("sex", {"kind": "binary", "port": "sex", "names": ["m", "f"]}),
    ],
)
def test_a_manifest_of_no_table_is_refused(name, column, edge):
    found = export.module_of("onnx").read_manifest(exported_table()[1] / "sampler.onnx")
    edge.module.check_manifest(json.dumps(found).encode(), "file")
    found["data"]["columns"][name] = column
    with pytest.raises(edge.module.InputError, match="of file is damaged: data"):
        edge.module.check_manifest(json.dumps(found).encode(), "file")


@converts_here
@pytest.mark.parametrize(
    ("graph", "arguments", "words"),
    [
        ("sampler", ["--condition", "age=30"], "this model needs --condition sex=NAME, of f, m"),
        ("sampler", ["--condition", "sex=f"], "age must be a number"),
        ("sampler", ["--condition", "sex=x", "--condition", "age=3"], "sex must be one of f, m"),
        ("sampler", ["--condition", "job=cook"], "with a name of age, sex, not 'job=cook'"),
        ("sampler", ["--out", "rows.png"], "--out must end with .csv"),
        ("sampler", ["--label", "f"], "takes no --label"),
        ("sampler", ["--score", "rows.csv"], "scores rows by the scorer, not the sampler"),
        ("decoder", [], "draws rows by the sampler, not the decoder"),
        ("scorer", ["--score", "none.csv"], "none.csv: No such file"),
        ("scorer", ["--score", "rows.png"], "--score takes a .csv file"),
    ],
)
def test_what_no_row_can_be_made_of_is_refused(graph, arguments, words, edge):
    status, said, errors = edge(graph, "onnx", *arguments)
    assert (status, said, errors.count("\n")) == (2, "", 1)
    assert words in errors


@converts_here
@pytest.mark.parametrize("format", [*FORMATS, "c"])
def test_an_exact_file_draws_the_very_rows_of_the_exact_model(format, tmp_path):
    columns = [name for name in TABLE if name != "calls"]
    conditions = ["sex"] if format == "c" else ["sex", "age"]
    model = make_table_vae(conditions, columns)
    path = export.export(model, format, "sampler", "exact", out=tmp_path)
    inputs, asked = given(400)
    inputs = {n: v for n, v in inputs.items() if n != "age" or n in conditions}
    made = export.module_of(format).load(path)(inputs)
    model = model.as_exact()
    x = model.sample(model.schema.encode_conditions(asked), temperature=0.9, seed=5)
    for name, values in model.schema.decode(x).items():
        kind, found = model.schema.columns[name], made[model.schema.ports[name]]
        if hasattr(kind, "names"):
            assert [kind.names[k] for k in found] == values.tolist()
        elif kind.integer:
            np.testing.assert_array_equal(found, values)
        else:
            np.testing.assert_allclose(found, values, rtol=3e-6)  # of an exponential


@converts_here
def test_c_holds_tables_in_whole_numbers_alone(tmp_path):
    rows = {"a b": [1, 2, 3, 5] * 9, "A_b": [0.5, 2.5, 1.25, 9] * 9, "d*/": ["x", "*/", "y"] * 12}
    model = keras_vae.table_vae(data.table(rows).schema, 2, (4,))
    path = export.export(model, "c", "decoder", "exact", out=tmp_path)
    header = path.with_name("decoder.exact.h").read_text()
    assert "#define DECODER_COLUMN_A_B 0\n" in header
    assert "#define DECODER_COLUMN_A_B_ 1\n" in header
    z = np.random.default_rng(0).standard_normal((20, 2)).astype("float32")
    made = export.module_of("c").load(path)({"z": z})
    exact = model.as_exact()
    for name, values in exact.schema.decode(exact.decode(z)).items():
        names = getattr(exact.schema.columns[name], "names", None)
        found = made[exact.schema.ports[name]]
        if names:
            assert [names[k] for k in found] == values.tolist()
        else:
            np.testing.assert_allclose(found, values, rtol=1e-6)
    for graph, quantize, words in (
        ("decoder", "int8", 'in whole numbers. Received: a model of floats. Pass quantize="exact"'),
        ("scorer", "exact", "cannot be exact"),
    ):
        with pytest.raises((ValueError, export.ExportError), match=words):
            export.export(model, "c", graph, quantize, out=tmp_path)
