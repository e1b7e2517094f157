"""Numbers as conditions: every file scales them as the model does, and knows NaN as *unknown*."""

import functools
import json
import shutil

import numpy as np
import pytest

import export
import keras_vae
from export import c
from export.errors import ExportError
from keras_vae import networks
from tests.conftest import ordinary_on
from tests.export.exported import FORMATS
from tests.export.test_parity import converts_here
from tests.test_edge import edge, run  # noqa: F401 - fixtures

pytestmark = converts_here

LABEL = (np.arange(20) % 4).astype("int32")  # the last is unknown
ANGLE = np.random.default_rng(2).uniform(-60, 60, (20, 1)).astype("float32")
ANGLE[::3] = np.nan
WIND = np.random.default_rng(4).uniform((0, 990), (20, 1030), (20, 2)).astype("float32")
GIVEN = {"label": LABEL, "angle": ANGLE, "wind": WIND}
Z = np.random.default_rng(3).standard_normal((20, 3)).astype("float32")
SETTINGS = {"seed": np.array([9], "int32"), "temperature": np.array([0.7], "float32")}


@functools.cache
def model():
    kinds = {
        # First: by its rows a sampler counts.
        "angle": keras_vae.Continuous(1, -60, 60, "degrees", unknown_rate=0.1),
        "wind": keras_vae.Continuous(2, (0, 990), (20, 1030)),
        "label": keras_vae.Categorical(3, "abc"),
    }
    made = keras_vae.ConditionalVAE(
        networks.DenseEncoder(3, (8,)), networks.DenseDecoder((8, 8, 1), (8,)), condition=kinds
    )
    made.build()
    rng = np.random.default_rng(1)
    for weight in made.decoder.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("numbers")


@pytest.fixture(scope="module")
def load(folder):
    """A function that gives a graph's file in its runtime."""

    @functools.cache
    def loaded(graph, format, quantize="none"):
        export.export_files(model(), [(format, quantize)], (graph,), folder)
        [path] = [
            p
            for p in folder.glob(f"{graph}*.{format}")
            if ("int8" in p.name) == (quantize == "int8") or format == "c"
        ]
        return export.module_of(format).load(path), path

    return loaded


@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("quantize", ["none", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_decoder_takes_numbers_in_their_unit_and_nan(load, format, quantize):
    run_file, path = load("decoder", format, quantize)
    expected = model().decode(Z, GIVEN)
    tolerance = 1e-6 if quantize == "none" else 0.05
    np.testing.assert_allclose(run_file({"z": Z, **GIVEN})["x"], expected, rtol=0, atol=tolerance)
    middle = model().decode(Z, {**GIVEN, "angle": np.zeros((20, 1))})
    assert np.abs(middle - expected)[::3].max() > 3 * tolerance  # unknown is not the middle
    angle, wind, _ = export.module_of(format).read_manifest(path)["conditions"]
    told = {"kind": "continuous", "names": None}
    angle_told = {"range": [[-60, 60]], "unit": "degrees", "unknown": True}
    assert angle == {"name": "angle", "size": 1, **told, **angle_told}
    assert wind == {"name": "wind", "size": 2, **told, "range": [[0, 20], [990, 1030]]}


@pytest.mark.slow
@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize("format", FORMATS)
def test_a_sampler_draws_what_the_model_draws(load, format):
    run_file, _ = load("sampler", format)
    expected = model().sample(GIVEN, temperature=0.7, seed=9)
    np.testing.assert_allclose(run_file({**GIVEN, **SETTINGS})["x"], expected, rtol=0, atol=2e-6)


@pytest.mark.skipif(not any(map(shutil.which, c.COMPILERS)), reason="there is no C compiler")
@ordinary_on("tensorflow", "torch")
def test_c_takes_numbers_in_their_unit_and_nan(load):
    run_file, path = load("sampler", "c", "int8")
    found = run_file({**GIVEN, **SETTINGS})["x"]
    expected = model().sample(GIVEN, temperature=0.7, seed=9)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)
    header = " ".join(path.with_suffix(".h").read_text().replace("\n *", " ").split())
    assert "angle: 1 float, trained on -60 to 60 degrees; or NaN, unknown." in header
    assert "wind: 2 floats, trained on 0 to 20, 990 to 1030." in header


def test_an_all_integer_file_has_no_nan(folder):
    with pytest.raises(ExportError, match=r"8 bits hold no NaN. Received: angle"):
        export.export_files(model(), [("tflite", "int8-full")], ("decoder",), folder / "full")


WIND_OF_ROW = ("--condition", "wind=10,1000")
SEED = ("--seed", 4, "--out", "x.npy")


@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize(
    ("graph", "format"),
    [
        ("decoder", "tflite"),
        ("decoder", "onnx"),
        pytest.param("sampler", "onnx", marks=pytest.mark.slow),
    ],
)
def test_a_device_sweeps_what_the_model_sweeps(load, run, graph, format):  # noqa: F811
    asked = ("--label", "c,a", "--condition", "angle=-60:30:4", *WIND_OF_ROW, "--count", 3, *SEED)
    status, output, errors = run("--model", load(graph, format)[1], *asked)
    assert (status, errors) == (0, "")
    assert output.startswith("24 images of angle -60 to 30 degrees in 4 steps and wind [10.0, 1000")
    found = np.load("x.npy").reshape(6, 4, 8, 8, 1)
    labels = [2, 2, 2, 0, 0, 0]
    for column, angle in enumerate((-60.0, -30.0, 0.0, 30.0)):
        given = {"label": labels, "angle": angle, "wind": [10, 1000]}
        expected = model().sample(given, seed=4, count=6)
        np.testing.assert_allclose(found[:, column], expected, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("one_signature")
def test_a_device_draws_without_a_number_and_says_where_one_leads_too_far(load, run):  # noqa: F811
    path = load("decoder", "onnx")[1]
    for angle in ((), ("--condition", "angle=unknown")):
        asked = ("--label", "b", *angle, *WIND_OF_ROW, "--count", 5, *SEED)
        status, output, errors = run("--model", path, *asked)
        assert (status, errors) == (0, "")
        assert "angle unknown and wind" in output
        given = {"label": "b", "angle": None, "wind": [10, 1000]}
        expected = model().sample(given, seed=4, count=5)
        np.testing.assert_allclose(np.load("x.npy"), expected, rtol=0, atol=2e-6)
    status, _, errors = run("--model", path, "--condition", "angle=0:180:3", *WIND_OF_ROW, *SEED)
    said = "warning: angle 90 is outside of what the model was trained on, -60 to 60 degrees\n"
    assert (status, errors) == (0, said)
    assert len(np.load("x.npy")) == 9


@pytest.mark.usefixtures("one_signature")
def test_a_device_refuses_what_is_no_number_in_one_line(load, run):  # noqa: F811
    path = load("decoder", "onnx")[1]
    for angle, words in [
        ("3:3:5", "a sweep must have 2 to 1000 steps between two different numbers"),
        ("3:5:1", "a sweep must have 2 to 1000 steps"),
        ("3:5", "a sweep must be FIRST:LAST:STEPS, as in angle=-60:60:7, not '3:5'"),
        ("x", "angle must be a number within -60 to 60 degrees or unknown, as in --condition ang"),
        ("nan", "angle must be a number"),
    ]:
        status, _, errors = run("--model", path, "--condition", f"angle={angle}", *WIND_OF_ROW)
        assert (status, errors.count("\n")) == (2, 1)
        assert words in errors
    status, _, errors = run("--model", path, "--condition", "wind=unknown")
    assert "wind must be 2 numbers within 0 to 20, 990 to 1030, as in" in errors


@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize(
    "change",
    [{"range": [[5, 5]]}, {"range": [1, 2]}, {"range": []}, {"range": [[0, 1e999]]}, {"unit": 5}],
)
def test_a_damaged_range_is_refused(load, edge, change):  # noqa: F811
    found = export.module_of("onnx").read_manifest(load("decoder", "onnx")[1])
    edge.check_manifest(json.dumps(found).encode(), "x")
    found["conditions"][0] |= change
    with pytest.raises(edge.InputError, match=r"is damaged: (range|unit)"):
        edge.check_manifest(json.dumps(found).encode(), "x")
