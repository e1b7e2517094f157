"""How the package starts: as a command it chooses the backend, in another program it does not."""

import inspect
import os
import pathlib
import subprocess
import sys

import keras
import pytest

import export
import keras_vae
from keras_vae import processes
from keras_vae.commands import start
from tests.conftest import BACKEND, ordinary_on

GOLDEN = pathlib.Path(__file__).parent / "golden" / "0.1.0"
OTHER = "torch" if BACKEND != "torch" else "jax"


def run(*words, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": BACKEND, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@ordinary_on("torch")
def test_another_program_keeps_its_backend_and_its_command_line(tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("import keras_vae\n")
    (package / "train.py").write_text(
        "import os, sys, keras, mine\n"
        "assert mine.keras_vae.VAE and keras.saving.get_registered_object('keras_vae>VAE')\n"
        "print(keras.backend.backend(), os.environ['KERAS_BACKEND'], os.environ['XLA_FLAGS'])\n"
        "print(*sys.argv[1:])\n"
    )
    words = ["export", "--backend", OTHER, "--devices", "2"]
    status, said, errors = run(
        "-m", "mine.train", *words, folder=tmp_path, XLA_FLAGS="", PYTHONPATH=_with_ours()
    )
    assert status == 0, errors
    assert said.splitlines() == [f"{BACKEND} {BACKEND} ", " ".join(words)]


# Of the family of each, all of whose classes have to be known.
NAMES = ("conditional_vae", "gan", "vq_vae")
LOADED = f"""
import sys
sys.modules.setdefault("tensorflow", None)  # as if not installed: Keras' loading imports it
paths = [{str(GOLDEN)!r} + f"/models/{{name}}.keras" for name in {NAMES!r}]
print(*(type(keras.saving.load_model(path)).__name__ for path in paths))
"""


@ordinary_on("torch")
def test_keras_finds_our_classes_in_files_when_it_is_imported_after_us():
    program = (
        "import sys, keras_vae\n"
        "assert not {'keras', 'numpy'} & set(sys.modules)\n"
        "assert keras_vae.data.load and keras_vae.export.export and 'keras' not in sys.modules\n"
        "import keras\n"
        f"{LOADED}"
        "assert all(hasattr(keras_vae, name) for name in keras_vae.__all__)\n"
    )
    status, said, errors = run("-c", program, folder=GOLDEN, PYTHONPATH=_with_ours())
    assert status == 0, errors
    assert len(said.split()) == len(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import keras, keras_vae", "import keras_vae.networks, keras"])
def test_keras_finds_our_classes_in_files_whatever_is_imported_first(first):
    program = f"{first}\n{LOADED}"
    status, said, errors = run("-c", program, folder=GOLDEN, PYTHONPATH=_with_ours())
    assert status == 0, errors
    assert len(said.split()) == len(NAMES)


@ordinary_on("torch")
def test_a_command_chooses_the_backend():
    program = (
        "import keras_vae, keras_vae.commands.start\n"
        f"keras_vae.commands.start.start_keras({OTHER!r})\n"
        "import keras\n"
        f"assert keras.backend.backend() == {OTHER!r}\n"
    )
    status, said, errors = run("-c", program + LOADED, folder=GOLDEN, PYTHONPATH=_with_ours())
    assert status == 0, errors
    assert len(said.split()) == len(NAMES)


def test_a_name_that_is_not_public_is_refused():
    assert set(keras_vae.__all__) <= set(dir(keras_vae))
    with pytest.raises(AttributeError, match="module 'keras_vae' has no attribute 'AVE'"):
        _ = keras_vae.AVE


def test_a_start_on_another_backend_than_that_of_keras_is_refused():
    with pytest.raises(ValueError, match=f"--backend {OTHER} must be chosen before Keras is"):
        start.start_keras(OTHER)
    assert keras.backend.backend() == BACKEND


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A folder with modules of a user's own that are called as ours are."""
    folder = tmp_path_factory.mktemp("beside")
    package = pathlib.Path(keras_vae.__file__).parent
    names = {path.stem for path in package.glob("[a-z]*")} | {"export"}
    for name in names:
        (folder / f"{name}.py").write_text(f"raise SystemExit('the wrong {name}')\n")
    return folder


def test_the_command_ignores_modules_of_the_current_folder_called_as_ours(beside):
    words = ["-m", "keras_vae", "export", "--format", "coreml"]
    status, said, errors = run(*words, folder=beside, PYTHONPATH=_with_ours())
    assert (status, said) == (2, "")
    assert errors == "error: `format` must be one of tflite, onnx, c. Received: 'coreml'.\n"


def test_the_export_of_the_package_is_the_function():
    assert keras_vae.export.__wrapped__ is export.export
    assert inspect.signature(keras_vae.export) == inspect.signature(export.export)
    assert keras_vae.export.export is keras_vae.export
    for name in export.__all__:
        value = getattr(keras_vae.export, name)
        assert getattr(value, "__wrapped__", value) is getattr(export, name)


@ordinary_on("torch")
def test_a_module_of_the_user_called_export_breaks_nothing_and_stays(tmp_path):
    (tmp_path / "export.py").write_text("import keras_vae\nNAME = 'mine'\n")
    program = """
import sys, export, keras_vae
for _ in range(2):
    try:
        keras_vae.export("nowhere.keras", graph="painter")
    except ValueError as err:
        print(str(err)[:24])
    assert export.NAME == "mine" and sys.modules["export"] is export
    assert not [name for name in sys.modules if name.startswith("export.")]
from keras_vae.commands.main import main
main(["export", "--format", "coreml"])
import export
print(export.NAME, issubclass(keras_vae.export.ExportError, RuntimeError))
"""
    status, said, errors = run("-c", program, folder=tmp_path, PYTHONPATH=_with_ours())
    assert status == 0, errors
    assert said.splitlines() == ["`graph` must be one of d"] * 2 + ["mine True"]
    assert errors == "error: `format` must be one of tflite, onnx, c. Received: 'coreml'.\n"


@ordinary_on("torch")
def test_python_m_export_says_whose_file_runs(tmp_path):
    (tmp_path / "export.py").write_text("import keras_vae\nprint('mine')\n")
    for words, is_said in ((["--format=tflite"], True), (["--epochs", "3"], False), ([], False)):
        status, said, errors = run("-m", "export", *words, folder=tmp_path, PYTHONPATH=_with_ours())
        assert (status, said) == (0, "mine\n")
        assert errors.count("\n") == is_said
        assert (f"runs {tmp_path / 'export.py'}, not that of keras-vae" in errors) is is_said
    words = ["-m", "export", "--format", "coreml"]
    _, _, errors = run(*words, folder=GOLDEN, PYTHONPATH=_with_ours())
    assert errors == "error: `format` must be one of tflite, onnx, c. Received: 'coreml'.\n"


@ordinary_on("torch")
def test_processes_of_the_export_ignore_modules_of_the_current_folder(beside):
    path = GOLDEN / "exported" / "vae_mixture" / "scorer.onnx"
    words = ["-m", "keras_vae", "export", "--verify", path]
    status, said, errors = run(*words, folder=beside, PYTHONPATH=_with_ours())
    assert status == 0, said + errors
    words = ["-c", f"{processes.IMPORT}print(export.__file__)"]
    _, said, _ = run(*words, folder=beside, PYTHONPATH=str(beside))
    assert said.strip() == export.__file__


def _with_ours():
    """A search path with the packages under test, wherever the process runs."""
    return str(pathlib.Path(export.__file__).parents[1])
