"""Loading what was trained, on any backend."""

import os
import pathlib
import zipfile

import keras

from keras_vae.models.generative import GenerativeModel, reason


def load_model(path):
    """Load a model of this package, whichever backend trained it.

    Keras' safe mode is on: no code from the file runs.

    Args:
        path: A `.keras` file, or a run folder that holds `model.keras`.

    Returns:
        The model, compiled as it was saved.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a model of this package, or is damaged.
    """
    path = pathlib.Path(os.fspath(path))
    if path.is_dir():
        if not (path / "model.keras").is_file():
            raise FileNotFoundError(
                f"A run folder must hold model.keras. Received: {path}, which has none. Train "
                f"one with: python -m keras_vae train --out {path}"
            )
        path = path / "model.keras"
    if not path.is_file():
        raise FileNotFoundError(f"There must be a .keras file or a run folder at {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"A model must be a .keras file. Received: {path}, which is none or cut.")
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as err:
        raise ValueError(
            f"{path} must be a model of keras-vae, with every class of your own registered by "
            "keras.saving.register_keras_serializable and imported. Loading it raised: "
            f"{reason(err)}"
        ) from err
    if not isinstance(model, GenerativeModel):
        raise ValueError(
            f"{path} must be a model of keras-vae. Received: a {type(model).__name__}."
        )
    return model
