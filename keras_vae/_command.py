"""How the package starts as a command: arguments and files are checked before Keras is imported.

`python -m keras_vae` imports the package before any line of `__main__` runs. So the package leaves
its imports to `start`, which knows what `--backend` and `--devices` say, and which a command calls
once nothing is left to refuse without Keras. `python -m export` does the same. Any other program
gets the package at once, on the backend that Keras is configured for, whatever its own command line
says.
"""

import contextlib
import importlib
import os
import pathlib
import sys

from keras_vae import backends

_EXPORT = pathlib.Path(__file__).resolve().parents[1] / "export" / "__main__.py"


def is_own(argv, whole):
    """Whether a command line starts our own program, `python -m keras_vae` or `keras-vae`.

    Args:
        argv: As `sys.argv`, in which "-m" stands in the program's place while Python looks for it.
        whole: As `sys.orig_argv`, with the words before, which say what `-m` is to run.
    """
    if argv[:1] == ["-m"]:
        return whole[-len(argv) :][0].removeprefix("-m") == "keras_vae"
    return pathlib.PurePath(*argv[:1]).stem in ("keras-vae", "keras-vae-script")


def is_export():
    """Whether this process runs our `python -m export`, by its place: others have one, too."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return path is not None and pathlib.Path(path).resolve() == _EXPORT


# Whether the package waits for `start`.
is_waiting = is_own(getattr(sys, "argv", []), sys.orig_argv) or is_export()


def start(backend=None, devices=1):
    """Import Keras on a backend, and then all of the package.

    TensorFlow's start-up messages are kept off the terminal.

    Args:
        backend: Optional name. Defaults to what Keras is configured for.
        devices: Int. How many a CPU is to pass for, where there is no GPU.

    Raises:
        ValueError: If Keras already runs on another backend, as when a command is called from
            Python.
        ImportError: If the backend is not installed, or none is.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        backends.choose(backend)
        with library_noise_hidden():
            import keras

            if devices > 1:
                from keras_vae import training

                training.prepare_devices(devices)
            # The first operation is what makes TensorFlow look for devices, and speak of them.
            keras.ops.zeros(())
    import keras

    if backend and keras.backend.backend() != backend:
        raise ValueError(
            f"--backend {backend} must be chosen before Keras is imported, which runs on "
            f"{keras.backend.backend()}. Set the environment variable KERAS_BACKEND."
        )
    global is_waiting
    if is_waiting:
        is_waiting = False
        importlib.reload(sys.modules["keras_vae"])


@contextlib.contextmanager
def library_noise_hidden():
    """Send the standard error output elsewhere, below Python: TensorFlow's C++ writes there."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
