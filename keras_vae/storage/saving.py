"""Writing any Keras model so that it can be read, and reading it as data, never as code."""

import pathlib
import random
import zipfile

import keras
import numpy as np

from keras_vae import keras_internals
from keras_vae.exceptions import is_out_of_memory, reason
from keras_vae.storage import untrusted
from keras_vae.storage.files import replaced


def save_model(model, path):
    """Write any Keras model as a `.keras` file: beside its name, checked, synced and renamed.

    Keras' own `save` leaves half a file under the name when it is interrupted, and writes what
    nobody can load. Classes and functions of your own are taken for what whoever loads the file
    has registered or passes in `custom_objects`.

    Args:
        model: Keras model.
        path: Path of a `.keras` file.

    Raises:
        FloatingPointError: If a weight is not finite. An old file stays.
        OSError: If the file cannot be written, or does not read as written. An old file stays.
        NotLoadableError: If `load_model` would refuse the file. An old file stays.
    """
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if values.dtype.kind not in "iub" and not np.isfinite(values.astype("float32")).all():
            raise FloatingPointError(
                f"The weights must be finite to be saved. Received: {weight.path} with NaN or "
                "infinity. Lower the learning rate."
            )
    path = pathlib.Path(path)
    with replaced(path) as part:
        try:
            keras.saving.save_model(model, part)
        except ValueError as err:
            if "1980" not in str(err):
                raise
            raise OSError(
                f"A .keras file has dates, which begin in 1980. Received: {err}. Set the clock."
            ) from err
        except (NotImplementedError, TypeError) as err:
            raise _not_loadable(path, f"{' '.join(str(err).split())[:200]}.") from err
        with zipfile.ZipFile(part) as archive:
            if (damaged := archive.testzip()) is not None:
                raise OSError(f"{path} must read as it was written; {damaged} does not.")
        try:
            untrusted.inspect(part, is_own=True)
        except ValueError as err:
            raise _not_loadable(path, str(err)) from err
        _check_own_classes(model, path)


def _check_own_classes(model, path):
    """See that layers of classes that are the user's can be made from their configs."""
    own = {}
    for layer in keras_internals.flatten_layers(model):
        if type(layer).__module__.split(".")[0] not in ("keras", "keras_vae"):
            own.setdefault(type(layer), layer)
    state = random.getstate()  # Keras takes seeds from there
    try:
        with keras.saving.custom_object_scope({kind.__name__: kind for kind in own}):
            for kind, layer in own.items():
                kind.from_config(layer.get_config())
    # A constructor may raise anything; that memory runs out here says nothing of a later load.
    except Exception as err:
        if not is_out_of_memory(err):
            raise _not_loadable(
                path,
                f"the class {kind.__name__}, which cannot be made of its get_config(): "
                f"{reason(err) or type(err).__name__}",
            ) from err
    finally:
        random.setstate(state)


class NotLoadableError(ValueError):
    """A model that `load_model` could not read back; `found` is why."""

    def __init__(self, message, found):
        super().__init__(message)
        self.found = found


def _not_loadable(path, found):
    return NotLoadableError(
        f"A model must consist of what `load_model` can read back, so {path} is not written. "
        f"Received: {found} To keep the weights alone: model.save_weights.",
        found,
    )


def load_any(path, custom_objects=None, compile=True, call=None):
    """Load any Keras model with the checks of `load_model`.

    Args:
        path: Path of a `.keras` file.
        custom_objects: As for `load_model`.
        compile: Whether to compile the model as it was saved.
        call: Optional function that calls the model once. A subclassed model has no weights to
            load before.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or may be unsafe.
    """
    if not isinstance(custom_objects, dict | None):
        raise ValueError(
            "`custom_objects` must be a dict from names to classes or functions, such as "
            f'{{"MyEncoder": MyEncoder}}. Received: {custom_objects!r}'
        )
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There must be a .keras file or a run folder at {path}.")
    if path.suffix != ".keras":
        raise ValueError(f"A model must be a .keras file. Received: {path}.")
    unsafe = f"{path} must be a .keras file that is whole and safe to load. Received: "
    try:
        content = untrusted.read(path, custom_objects, compile)
    except ValueError as err:
        raise ValueError(f"{unsafe}{err}") from err
    advice = untrusted.advice(content)
    try:
        with untrusted.copied(content) as copy:
            return _load(copy, path, advice, custom_objects, compile, call)
    except untrusted.TooLargeError as err:
        raise ValueError(f"{unsafe}{err}{advice}") from err


def _load(copy, path, advice, custom_objects, compile, call):
    try:
        model = keras.saving.load_model(copy, custom_objects, compile=compile, safe_mode=True)
        if call is not None:
            call(model)
            model.load_weights(copy)
        return model
    # Constructors that get arguments of a wrong type or range raise almost any type.
    except Exception as err:
        raise ValueError(
            f"{path} must be a model whose classes take what it says. Loading it raised: "
            f"{reason(err) or type(err).__name__}{advice}"
        ) from err
