"""Numbers as conditions: every file scales them as the model does, and knows NaN as *unknown*."""

import functools
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

pytestmark = converts_here

LABEL = (np.arange(20) % 4).astype("int32")  # the last is unknown
ANGLE = np.random.default_rng(2).uniform((-60, 990), (60, 1030), (20, 2)).astype("float32")
ANGLE[::3] = np.nan
MIDDLE = np.broadcast_to(np.array([0, 1010], "float32"), (20, 2))
GIVEN = {"label": LABEL, "angle": ANGLE}
Z = np.random.default_rng(3).standard_normal((20, 3)).astype("float32")
SETTINGS = {"seed": np.array([9], "int32"), "temperature": np.array([0.7], "float32")}


@functools.cache
def model():
    kinds = {
        "label": keras_vae.Categorical(3, "abc"),
        "angle": keras_vae.Continuous(2, (-60, 990), (60, 1030), "degrees", unknown_rate=0.1),
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
    run, path = load("decoder", format, quantize)
    expected = model().decode(Z, GIVEN)
    tolerance = 1e-6 if quantize == "none" else 0.05
    np.testing.assert_allclose(run({"z": Z, **GIVEN})["x"], expected, rtol=0, atol=tolerance)
    middle = model().decode(Z, {**GIVEN, "angle": MIDDLE})
    assert np.abs(middle - expected)[::3].max() > 3 * tolerance  # unknown is not the middle
    [_, told] = export.module_of(format).read_manifest(path)["conditions"]
    assert told == {
        "name": "angle",
        "kind": "continuous",
        "size": 2,
        "names": None,
        "range": [[-60, 60], [990, 1030]],
        "unit": "degrees",
        "unknown": True,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize("format", FORMATS)
def test_a_sampler_draws_what_the_model_draws(load, format):
    run, _ = load("sampler", format)
    expected = model().sample(GIVEN, temperature=0.7, seed=9)
    np.testing.assert_allclose(run({**GIVEN, **SETTINGS})["x"], expected, rtol=0, atol=2e-6)


@pytest.mark.skipif(not any(map(shutil.which, c.COMPILERS)), reason="there is no C compiler")
@ordinary_on("tensorflow", "torch")
def test_c_takes_numbers_in_their_unit_and_nan(load):
    run, path = load("sampler", "c", "int8")
    found = run({**GIVEN, **SETTINGS})["x"]
    expected = model().sample(GIVEN, temperature=0.7, seed=9)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)
    header = " ".join(path.with_suffix(".h").read_text().replace("\n *", " ").split())
    assert "angle: 2 floats, trained on -60 to 60, 990 to 1030 degrees; or NaN, unknown." in header


def test_an_all_integer_file_has_no_nan(folder):
    with pytest.raises(ExportError, match=r"8 bits hold no NaN. Received: angle"):
        export.export_files(model(), [("tflite", "int8-full")], ("decoder",), folder / "full")
