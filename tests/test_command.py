"""How the package starts: as a command it chooses the backend, in another program it does not."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

import export
from keras_vae import _command
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


@pytest.mark.parametrize(
    ("argv", "whole", "expected"),
    [
        (["-m", "train"], ["python", "-m", "keras_vae", "train"], True),
        (["-m"], ["python", "-um", "keras_vae"], True),
        (["-m", "env"], ["python", "-mkeras_vae", "env"], True),
        (["-m", "train"], ["python", "-m", "mypackage.train", "train"], False),
        (["-m", "-m", "keras_vae"], ["python", "-m", "mine", "-m", "keras_vae"], False),
        (["-m", "keras_vae"], ["python", "-m", "pytest", "keras_vae"], False),
        (["/usr/bin/keras-vae", "env"], ["python", "/usr/bin/keras-vae", "env"], True),
        (["train.py", "keras-vae"], ["python", "train.py", "keras-vae"], False),
        (["-c", "train"], ["python", "-c", "import keras_vae", "train"], False),
        ([""], [""], False),
        ([], ["python"], False),
    ],
)
def test_only_our_own_command_line_is_ours(argv, whole, expected):
    assert _command.is_own(argv, whole) is expected


@ordinary_on("torch")
def test_another_program_keeps_its_backend_and_its_command_line(tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    # Imported while "-m" still stands in the program's place.
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


@ordinary_on("jax")
def test_the_command_has_the_whole_package_once_it_has_started():
    """With what Keras needs to know of our classes, to find them in a file."""
    program = (
        "import sys; sys.argv[:] = ['bin/keras-vae']; import keras_vae, keras_vae._command\n"
        "assert 'keras' not in sys.modules\n"
        f"keras_vae._command.start({OTHER!r})\n"
        "import keras, pathlib\n"
        f"assert keras.backend.backend() == {OTHER!r}\n"
        "assert all(hasattr(keras_vae, name) for name in keras_vae.__all__)\n"
        f"for path in sorted(pathlib.Path({str(GOLDEN)!r}).glob('models/*.keras')):\n"
        "    print(type(keras_vae.load_model(path)).__name__)\n"
    )
    status, said, errors = run("-c", program, folder=GOLDEN, PYTHONPATH=_with_ours())
    assert status == 0, errors
    assert len(said.split()) == len(list(GOLDEN.glob("models/*.keras")))


def test_a_start_on_another_backend_than_that_of_keras_is_refused():
    with pytest.raises(ValueError, match=f"--backend {OTHER} must be chosen before Keras is"):
        _command.start(OTHER)
    assert keras.backend.backend() == BACKEND


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A folder with modules of a user's own that are called as ours are."""
    folder = tmp_path_factory.mktemp("beside")
    package = pathlib.Path(_command.__file__).parent
    names = {path.stem for path in package.glob("[a-z]*")} | {"export"}
    for name in names:
        (folder / f"{name}.py").write_text(f"raise SystemExit('the wrong {name}')\n")
    return folder


def test_the_command_ignores_modules_of_the_current_folder_called_as_ours(beside):
    words = ["-m", "keras_vae", "export", "--format", "coreml"]
    status, said, errors = run(*words, folder=beside, PYTHONPATH=_with_ours())
    assert (status, said) == (2, "")
    assert errors == "error: `format` must be one of tflite, onnx, c. Received: 'coreml'.\n"


@ordinary_on("torch")
def test_processes_of_the_export_ignore_modules_of_the_current_folder(beside):
    path = GOLDEN / "exported" / "vae_mixture" / "scorer.onnx"
    words = ["-m", "keras_vae", "export", "--verify", path]
    status, said, errors = run(*words, folder=beside, PYTHONPATH=_with_ours())
    assert status == 0, said + errors
    words = ["-c", f"{export.IMPORT}print(export.__file__)"]
    _, said, _ = run(*words, folder=beside, PYTHONPATH=str(beside))
    assert said.strip() == export.__file__


def _with_ours():
    """A search path with the packages under test, wherever the process runs."""
    return str(pathlib.Path(export.__file__).parents[1])
