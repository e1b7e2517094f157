"""Classes and functions of a model that are the user's, for another process that loads its file."""

import importlib
import sys
import types

import keras

from keras_vae import keras_internals
from keras_vae.storage import untrusted

_NOT_OWN = ("builtins", "keras", "keras_vae", "numpy")


def described(model):
    """Say where the classes and functions are defined that are neither Keras' nor ours.

    Args:
        model: Keras model.

    Returns:
        List of pairs of a module and a name in it, as `found` takes them.

    Raises:
        ValueError: If a process that imports the module would not find one.
    """
    things = _parts(model)
    return _places({t if isinstance(t, types.FunctionType) else type(t) for t in things})


def described_in_file(path):
    """As `described`, of what a `.keras` file names and this process has registered."""
    try:
        content = untrusted.inspect(path, is_own=True)
    except (OSError, ValueError):  # which whoever loads it will say
        return []
    kinds = {keras.saving.get_registered_object(name) for name in _names(content.config)}
    return _places(kinds - {None})


def _places(kinds):
    own = {}
    for kind in kinds:
        if kind.__module__.split(".")[0] not in _NOT_OWN:
            own[kind.__module__, kind.__qualname__] = kind
    apart = [
        name
        for (module, name), kind in own.items()
        if module == "__main__" or getattr(sys.modules.get(module), name, None) is not kind
    ]
    if apart:
        raise ValueError(
            "Another process cannot import a class or function that a script, a notebook or a "
            f"function defines. Received: {', '.join(sorted(apart))}. Move it to a module of its "
            "own and import that."
        )
    return sorted(own)


def found(pairs):
    """Import what `described` names: a dict for `custom_objects`."""
    return {name: getattr(importlib.import_module(module), name) for module, name in pairs}


def _names(config):
    """What a config, parsed from JSON, calls classes and functions."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield from (
                config[key]
                for key in ("registered_name", "config")
                if isinstance(config.get(key), str)
            )
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from _names(item)


def _parts(model):
    """The layers of a model and its optimizer, and what these hold that has a config."""
    for holder in [
        *keras_internals.flatten_layers(model),
        model.optimizer if model.compiled else None,
    ]:
        if holder is not None:
            yield holder
            for name, value in vars(holder).items():
                is_function = isinstance(value, types.FunctionType) and name.endswith("activation")
                if is_function or hasattr(value, "get_config"):
                    yield value
