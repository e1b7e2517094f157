"""What a training was begun with: its settings and its data, to be compared when it goes on."""

import hashlib
import json
import warnings
import zlib

import keras
import numpy as np

from keras_vae.training import inputs as model_inputs

SAMPLED = 256  # rows that are looked at of arrays that are in files
BLOCK = 2**22  # bytes
LONGEST = 200  # characters of a value that are kept as they are
# Of a config, what differs from one model to the next that is the same.
_NOT_SETTINGS = {
    *("name", "shared_object_id", "build_config", "compile_config"),
    *("inbound_nodes", "input_layers", "output_layers", "autocast"),
}


def of_model(model):
    """The arguments of a model and of its optimizers.

    Args:
        model: Compiled Keras model.

    Returns:
        Dict from a name, such as `"learning_rate"`, to a str: the value as JSON, or if it is long
        its SHA-256. What no config says is left out.
    """
    found = {"model": type(model).__name__, **_arguments(model)}
    optimizer = model.optimizer if model.compiled else None  # `fit` tells
    optimizers = getattr(optimizer, "optimizers", [optimizer])
    for index, optimizer in enumerate(optimizers):
        prefix = f"optimizer {index + 1}: " if len(optimizers) > 1 else ""
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        given = {"optimizer": json.dumps(type(optimizer).__name__), **_arguments(optimizer)}
        found.update({prefix + name: value for name, value in given.items()})
    return found


def of_data(arrays):
    """A fingerprint of nested arrays.

    It is the SHA-256 of their shapes and dtypes, of rows that are spread over them and, where they
    are in memory, of the CRC-32 of every block.

    Args:
        arrays: Nested arrays or `ImageFiles`.

    Returns:
        Str of hexadecimal digits.
    """
    digest = hashlib.sha256()
    for array in keras.tree.flatten(arrays):
        if array is None:  # targets, where there are weights alone
            digest.update(b"None")
            continue
        digest.update(f"{array.dtype} {tuple(array.shape)}".encode())
        rows = np.unique(np.linspace(0, len(array) - 1, SAMPLED).astype(int))
        digest.update(np.ascontiguousarray(array[rows]).tobytes())
        if not model_inputs.is_in_files(array):
            step = max(1, BLOCK // max(1, array[:1].nbytes))
            for start in range(0, len(array), step):
                block = np.ascontiguousarray(array[start : start + step])
                digest.update(zlib.crc32(block).to_bytes(4, "little"))
    return digest.hexdigest()


def changed(first, now, *others):
    """The settings that are not what they were.

    Args:
        first: Dict, the settings that a training began with.
        now: Dict, those with which it is to go on.
        *others: Dicts of those that it had later: a callback may change a learning rate.

    Returns:
        List of tuples of a name, its first value and the one of now.
    """
    return [
        (name, value, now[name])
        for name, value in first.items()
        if name in now and now[name] not in (value, *(other.get(name) for other in others))
    ]


def _arguments(thing):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what cannot be loaded, which is not asked here
            config = thing.get_config()
            config = {name: keras.saving.serialize_keras_object(v) for name, v in config.items()}
            return {
                name: _short(json.dumps(_stripped(value), sort_keys=True, default=repr))
                for name, value in config.items()
                if name not in _NOT_SETTINGS
            }
    # A model of the user's own need not have a config to be trained.
    except (NotImplementedError, TypeError, ValueError, AttributeError, OSError):
        return {}


def _stripped(value):
    if isinstance(value, dict):
        if value.get("class_name") in ("DTypePolicy", "DTypePolicyMap"):
            return value["config"]
        return {k: _stripped(v) for k, v in value.items() if k not in _NOT_SETTINGS}
    return [_stripped(item) for item in value] if isinstance(value, list | tuple) else value


def _short(text):
    return text if len(text) <= LONGEST else hashlib.sha256(text.encode()).hexdigest()
