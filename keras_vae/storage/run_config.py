"""`config.json` of a run folder, read without Keras, whose backend it may have to choose."""

import json


def read(path):
    """Return `config.json`: the arguments, seed and versions of a training.

    Args:
        path: `pathlib.Path` of the file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config["arguments"]["data"]  # what every reader needs
    except FileNotFoundError as err:
        raise FileNotFoundError(
            f"A run folder must hold config.json. {path.parent} has none."
        ) from err
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f"{path} is damaged: {err}") from err
    return config
