"""What any version of the package wrote can be read, and gives what it gave."""

import importlib.util
import json
import pathlib
import shutil
import zipfile

import keras
import numpy as np
import pytest

import export
import keras_vae
from export import c, parity, verification
from export.quantization import TOLERANCES
from keras_vae.__main__ import main
from keras_vae.storage import runs
from tests.conftest import ordinary_on
from tests.export.test_parity import converts_here
from tests.golden import files

NOT_ON_JAX = ordinary_on("tensorflow", "torch")
EDGE = pathlib.Path(__file__).parents[2] / "mobile_demo" / "edge" / "sample.py"
# Registered, but made by the classes around them: a file of a model does not name them.
INSIDE = {
    *("Average", "Averages", "Conditioning", "Count", "MaskedConv2D", "Perplexity", "Sampling"),
    *("RandomShift", "ResidualBlock", "SpectralNormalization"),
}


def kept(*patterns):
    """Parameters of a test: the files of all versions that match."""
    paths = [path for pattern in patterns for path in files.FOLDER.glob(f"[0-9]*/**/{pattern}")]
    return [
        pytest.param(path, id=path.relative_to(files.FOLDER).as_posix()) for path in sorted(paths)
    ]


def some(params, every):
    """Parameters of which each backend but JAX, which compiles every model, takes all."""
    return [
        param if index % every == 0 else pytest.param(*param.values, id=param.id, marks=NOT_ON_JAX)
        for index, param in enumerate(params)
    ]


def assert_close(made, expected, name=""):
    """Compare arrays, relative to the largest entry where that exceeds 1."""
    scale = max(1.0, float(np.abs(expected).max()))
    # Measured over the pairs of the backends: at most 5e-7.
    np.testing.assert_allclose(made / scale, expected / scale, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("path", some(kept("models/*.keras"), every=5))
def test_a_model_gives_what_it_gave(path):
    parts = files.read(path.with_suffix(".npz"))
    measured = files.measure(keras_vae.load_model(path), parts["inputs"])
    assert set(parts["expected"]) <= set(measured)
    for name, expected in parts["expected"].items():
        assert_close(measured[name], expected, name)


@pytest.mark.parametrize("path", kept("run"))
def test_a_run_folder_is_read_and_used(path, tmp_path, capsys):
    folder = shutil.copytree(path, tmp_path / "run")
    run = runs.Run(folder)
    assert len(run.history()["loss"]) == run.config()["arguments"]["epochs"]
    measured = json.loads(run.evaluation_path.read_text())
    assert main(["evaluate", str(folder)]) == 0
    again = json.loads(run.evaluation_path.read_text())
    assert set(measured) <= set(again)
    # Both are estimates, of one draw for each of 360 images; measured: 0.1 nats.
    np.testing.assert_allclose(again["elbo"], measured["elbo"], atol=0.5)
    command = ["sample", str(folder), "--count", "2", "--seed", "42", "--out"]
    assert main([*command, str(tmp_path / "samples.npy")]) == 0
    assert_close(np.load(tmp_path / "samples.npy"), np.load(folder / "samples.npy"))


@converts_here
@pytest.mark.parametrize("path", kept("*.tflite", "*.onnx"))
def test_an_exported_file_gives_what_it_gave(path):
    check_exported(path)


@converts_here
@pytest.mark.skipif(not any(map(shutil.which, c.COMPILERS)), reason="there is no C compiler")
@pytest.mark.parametrize("path", kept("*.c"))
def test_an_exported_c_file_gives_what_it_gave(path):
    check_exported(path)


def check_exported(path):
    module, parts = export.module_of(path.suffix[1:]), files.read(path.parent / "expected.npz")
    manifest = module.read_manifest(path)
    assert not module.forbidden_operators(path)
    made = module.load(path)(parts[manifest["graph"]])
    assert set(made) == set(parts[path.name])
    for name, expected in parts[path.name].items():
        assert parity.difference(made[name], expected) <= TOLERANCES[manifest["quantization"]]
    # Every signature, at every batch size, against the sample in the file itself.
    verification.check_golden(path, module)


@converts_here
@pytest.mark.parametrize("path", kept("run/export/*.tflite", "run/export/*.onnx"))
def test_the_program_for_devices_reads_an_exported_file(path, capsys):
    spec = importlib.util.spec_from_file_location("edge_sample", EDGE)
    edge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(edge)
    assert edge.main(["--model", str(path), "--self-test"]) == 0


def test_every_class_that_a_file_can_name_is_kept_by_this_version():
    named = set()
    for path in (files.FOLDER / keras_vae.__version__).glob("models/*.keras"):
        with zipfile.ZipFile(path) as archive:
            named |= set(_registered_names(json.loads(archive.read("config.json"))))
    ours = {
        name.removeprefix("keras_vae>")
        for name, kind in keras.saving.get_custom_objects().items()
        if name.startswith("keras_vae>") and kind.__module__.startswith("keras_vae.")
    }
    missing = ours - named - INSIDE
    assert not missing, f"add {missing} to tests/golden/models.py: python -m tests.golden.write"


def _registered_names(value):
    """The names of the package's classes in a config."""
    if isinstance(value, dict):
        name = value.get("registered_name")
        if isinstance(name, str) and name.startswith("keras_vae>"):
            yield name.removeprefix("keras_vae>")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _registered_names(item)
