"""Where the golden files are, and what the things in them must give.

`tests/golden/VERSION/` holds what that version wrote: `models/NAME.keras` and, beside each, an
`.npz` of inputs and of what the model gave for them; a run folder `run/` with its exported files;
and in `exported/` those of other models. Beside exported files, `expected.npz` holds inputs of each
graph and what every file gave for them in its runtime.
"""

import pathlib

import numpy as np
from keras import ops

FOLDER = pathlib.Path(__file__).parent
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if path.name[0].isdigit())


def measure(model, inputs):
    """What a model gives without a draw of the backend's own, the same on all three.

    Args:
        model: Any model of the package, built.
        inputs: Dict of arrays: `"x"` and the conditions, or what a prior over codes takes.

    Returns:
        Dict from names to arrays.
    """
    conditions = {name: values for name, values in inputs.items() if name != "x"}
    given = inputs if model.condition else inputs["x"]
    found = {"optimizer": model.optimizer.variables, "random_states": model._random_states()}
    if hasattr(model, "encode"):
        codes = model.encode(given)
        found["code"] = codes if isinstance(codes, tuple) else [codes]
        found["reconstruction"] = [model.reconstruct(given)]
    if getattr(model, "infers_labels", False):
        found["classes"] = [model.classify(given)]
    if hasattr(model, "log_likelihood"):
        found["log_likelihood"] = [model.log_likelihood(given, [1, 8], seed=0)]
    if hasattr(model, "sample"):
        found["sample"] = [model.sample(conditions or len(inputs["x"]), seed=42)]
    if hasattr(model, "discriminator"):
        judged = model.discriminator(inputs["x"], training=False)
        found["judgement"] = judged if isinstance(judged, list | tuple) else [judged]
    return {
        name: np.concatenate([ops.convert_to_numpy(array).reshape(-1) for array in arrays])
        for name, arrays in found.items()
    }


def read(path):
    """The arrays of an `.npz`, as a dict of dicts by the two parts of their names."""
    parts = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name, array in arrays.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = array
    return parts


def write(path, parts):
    """Write what `read` reads."""
    arrays = {f"{part}/{name}": a for part, own in parts.items() for name, a in own.items()}
    np.savez_compressed(path, **arrays)
