"""What models and networks share whose `.keras` file `load_model` reads, and `load_model`."""

from __future__ import annotations

import collections
import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import keras_internals
from keras_vae.storage import saving
from keras_vae.type_aliases import PathLike


class StoredModel(keras.Model):
    """A Keras model that is saved whole or not at all, and goes on from its file as it was.

    Beside the weights the file says which layers and weights are frozen, and holds the states of
    the random generators. A subclass with a build config of its own adds `frozen()` to it and ends
    `build_from_config` with `freeze`.
    """

    # Of a model from a file: which weights its optimizer moves, if not those that are trainable.
    optimized = None
    # Whether it makes data, unlike a network or a prior that is saved alone.
    makes_data = False

    def fault(self) -> str | None:
        """What whoever loads the model is to be warned of, after the name of the file; or None."""
        return None

    def save(
        self, filepath: PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """As Keras does, as a `.keras` file: written beside its name, checked, synced and renamed.

        Raises:
            FileExistsError: If the file is there, and `overwrite` is False.
            FloatingPointError: If a weight is not finite. The old file stays.
            OSError: If it cannot be written. The old file stays.
            ValueError: If it could not be loaded again, as what is no `.keras` file. The old file
                stays.
        """
        if not isinstance(filepath, str | os.PathLike):
            super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        path = pathlib.Path(filepath)
        if zipped is False or path.suffix != ".keras":
            name = path.with_name(path.name.partition(".")[0] or "model")
            unzipped = " and zipped=False" if zipped is False else ""
            raise ValueError(
                f"A model is saved as one .keras file. Received: {path}{unzipped}. Save it by "
                f'save("{name}.keras"), or its weights alone by save_weights("{name}.weights.h5").'
            )
        if not overwrite and os.path.exists(filepath):
            raise FileExistsError(
                f"{os.fspath(filepath)} is there already. Choose another path, or pass "
                "overwrite=True."
            )
        saving.save_model(self, filepath)

    def load_weights(self, filepath: PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """As Keras does; a model that is not built is built first, if it knows its shapes.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the model is not built and cannot be, or the file has other weights.
        """
        self.build_for_weights()
        if isinstance(filepath, str | os.PathLike) and not os.path.exists(filepath):
            raise FileNotFoundError(f"There must be a file of weights at {os.fspath(filepath)}.")
        try:
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        except ValueError as err:
            said = str(err).split("\n\n")
            raise ValueError(
                f"The file must hold the weights of this {type(self).__name__}. Loading "
                f"{filepath} raised: {' '.join(said[len(said) > 1].split())}"
            ) from err

    def build_for_weights(self) -> None:
        """Create the weights, where that takes no data."""

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()
        return {**config, **self.frozen()} if config else config

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config({k: v for k, v in config.items() if k != "frozen"})
        self.freeze(config)

    def frozen(self) -> dict[str, Any]:
        """What is not to be trained, for a build config; {} if everything is, as in a new model.

        Under `frozen` are the positions of frozen layers among all layers and of frozen weights
        among all weights, but for those that no layer trains; and, where something was frozen after
        the optimizer was built, the positions of the weights that it knows.
        """
        layers, weights = keras_internals.flatten_layers(self), self.weights
        ours = {id(v) for layer in layers for v in keras_internals.own_trainable_variables(layer)}
        found = {
            "layers": [i for i, layer in enumerate(layers) if not layer.trainable],
            "weights": [i for i, v in enumerate(weights) if id(v) in ours and not v.trainable],
        }
        if not any(found.values()):
            return {}
        known = {id(v) for v in _known_to(getattr(self, "optimizer", None))}
        optimized = [i for i, v in enumerate(weights) if id(v) in known]
        if known and optimized != [i for i, v in enumerate(weights) if v.trainable]:
            found["optimized"] = optimized
        return {"frozen": found}

    def freeze(self, config: dict[str, Any]) -> None:
        """Freeze what a build config says. Files without a word of it leave all as it is."""
        if "frozen" not in config:
            return
        layers, weights = (set(config["frozen"][name]) for name in ("layers", "weights"))
        for i, layer in enumerate(
            keras_internals.flatten_layers(self)
        ):  # what is around comes first
            layer.trainable = i not in layers
        for i, weight in enumerate(self.weights):
            if i in weights:
                weight.trainable = False
        if "optimized" in config["frozen"]:
            self.optimized = tuple(config["frozen"]["optimized"])

    def build_optimizer(self) -> None:
        """Build the optimizer of a model from a file for the weights that it knew."""
        if self.optimized is None:
            self.optimizer.build(self.trainable_variables)
            return
        config = self.frozen()
        self.trainable = True
        for i, weight in enumerate(self.weights):
            weight.trainable = i in self.optimized
        self.optimizer.build(self.trainable_variables)
        self.freeze(config)

    def save_own_variables(self, store: Any) -> None:
        """Save also the state of every random generator, without which a resumed run drifts."""
        if self.built and self.compiled and not self.optimizer.built:
            # Loading builds it, and Keras warns of a file that has no variables for it.
            self.optimizer.build(self.trainable_variables)
        super().save_own_variables(store)
        for index, state in enumerate(self._random_states()):
            store[f"random_state_{index}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store: Any) -> None:
        names = store.keys()
        own = {name: store[name] for name in names if not name.startswith("random_state_")}
        super().load_own_variables(own)
        if len(own) == len(names):  # a part of a model, of which early files of 0.1.0 say nothing
            return
        states = self._random_states()
        stored = [np.asarray(store[f"random_state_{index}"]) for index in range(len(states))]
        # Early files of 0.1.0 have one seed for several uses, which then drew the same numbers.
        uses = collections.Counter(int(seed) for seed, _ in stored)
        for state, (seed, count) in zip(states, stored, strict=True):
            if uses[int(seed)] > 1:
                seed = ops.convert_to_numpy(state)[0]
            state.assign(np.array([seed, count]))

    def _random_states(self):
        weights = {id(weight) for weight in self.weights}
        return [variable for variable in self.variables if id(variable) not in weights]


def _known_to(optimizer):
    """The weights for which an optimizer, or those of several players, was built."""
    if optimizer is None or not optimizer.built:
        return []
    each = [getattr(o, "inner_optimizer", o) for o in getattr(optimizer, "optimizers", [optimizer])]
    return [variable for one in each for variable in keras_internals.known_variables(one)]


def load_model(path: PathLike, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Load a model, network or prior of this package, whichever backend trained it.

    The file is taken for data, never for code. Before Keras sees any of it, these must hold: it is
    a local file with the members that Keras writes and no others; every class in its config is one
    of Keras' plain layers, optimizers, initializers and such, or is registered in this process, or
    is in `custom_objects`; its weights are finite and as large as they say; and its config asks
    for no more parameters than it holds. `save` checks the same before it writes.

    Args:
        path: A `.keras` file, or a run folder that holds `model.keras`.
        custom_objects: Optional dict from name to class or function, for those of your own that are
            not registered. The name is that of the class, with or without the package that it was
            registered for. What you name is trusted: it gets its arguments from the file.

    Returns:
        The model, compiled as it was saved. One that ends in a sigmoid where logits are due comes
        with a warning; `fit` refuses it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model of this package, is damaged or may be unsafe; or if
            `keras.config.enable_unsafe_deserialization` was called in this process.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> vae.save("model.keras")
    >>> type(keras_vae.load_model("model.keras")).__name__
    'VAE'

    See also:
        `export.export`, which makes files for devices.
    """
    path = pathlib.Path(os.fspath(path))
    if path.is_dir():
        if not (path / "model.keras").is_file():
            raise FileNotFoundError(
                f"A run folder must hold model.keras. Received: {path}, which has none. Train "
                f"one with: python -m keras_vae train --out {path}"
            )
        path = path / "model.keras"
    model = saving.load_any(path, custom_objects)
    if not isinstance(model, StoredModel):
        raise ValueError(
            f"{path} must be a model of keras-vae. Received: a {type(model).__name__}."
        )
    if (fault := model.fault()) is not None:
        # Earlier versions trained such, and what was trained is to be read for ever.
        warnings.warn(f"{path} {fault}", stacklevel=2)
    return model


def load_generative_model(path: PathLike, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """As `load_model`, a model that makes data: no network or prior that was saved alone."""
    model = load_model(path, custom_objects)
    if not model.makes_data:
        raise ValueError(
            f"{path} must be a model that makes data, such as a VAE. Received: a "
            f"{type(model).__name__} alone."
        )
    return model
