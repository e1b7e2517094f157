"""The readers that attacks and damaged files are tried on: each returns None or the refusal."""

import contextlib
import io
import pathlib
import resource
import warnings

import keras

import export
import keras_vae


def read_model(path):
    """Load a model."""
    return _refusal(keras_vae.load_model, path)


def read_data(path):
    """Load a set of images."""
    return _refusal(keras_vae.data.load, path)


def read_file(option, path):
    """Inspect or verify an exported file by the command."""
    from export.__main__ import main

    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main([option, str(path)])
    if status == 0:
        return None
    if status == 2:
        assert errors.getvalue().startswith("error: ")
        return errors.getvalue().removeprefix("error: ").removesuffix("\n")
    [failure, *_] = [line for line in output.getvalue().splitlines() if "FAILED" in line]
    return failure


def read_model_without_safe_mode(path):
    """Load a model as in a process that switched Keras' safe mode off."""
    from keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(False):
        return read_model(path)


def by_keras(path):
    """Load a model by Keras alone, in its safe mode and with 4 GiB of memory more than there is."""
    size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**32,) * 2)
    try:
        keras.saving.load_model(path, safe_mode=True)
    except Exception as err:  # it raises almost any type
        return str(err) or type(err).__name__


READERS = {
    "model": read_model,
    "model without safe mode": read_model_without_safe_mode,
    "data": read_data,
    "inspect": lambda path: read_file("--inspect", path),
    "verify": lambda path: read_file("--verify", path),
}


def _refusal(read, path):
    with warnings.catch_warnings():
        # What is read with a warning, such as of an animation its first frame, is read.
        warnings.simplefilter("ignore", UserWarning)
        try:
            read(path)
        except (ValueError, FileNotFoundError, export.ExportError) as err:
            return str(err)
    return None
