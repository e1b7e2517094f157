"""The manifest: what a device must know about a file, inside the file."""

import importlib.metadata
import json
import math
import pathlib

import numpy as np

KEY = "keras_vae"
SCHEMA = 1
MAX_BYTES = 64 * 2**20
GOLDEN_SEED = 42
GOLDEN_DECIMALS = 6
# Two examples, or one of larger images: a value takes nine bytes of text.
GOLDEN_MAX_VALUES = 4096

_TYPES = {
    "schema": int,
    "graph": str,
    "model": str,
    "latent_dim": int,
    "data_shape": list,
    "conditions": list,
    "versions": dict,
    "golden": dict,
}


def build(graph, model, converter, training=None):
    """Describe an exported graph.

    Args:
        graph: The `Graph`.
        model: The model that it comes from.
        converter: String, name and version of the converter.
        training: Optional dict, as from `training_of`.

    Returns:
        Dict that JSON can hold.
    """
    data_range = model.likelihood.data_range if getattr(model, "likelihood", None) else None
    finite = data_range is not None and all(math.isfinite(value) for value in data_range)
    return {
        "schema": SCHEMA,
        "graph": graph.name,
        "model": type(model).__name__,
        "latent_dim": int(model.latent_dim),
        "data_shape": [int(size) for size in model.data_shape],
        "data_range": [float(value) for value in data_range] if finite else None,
        "conditions": [_condition(name, kind) for name, kind in model.condition.items()],
        "prior": model.prior.manifest() if model.prior is not None else None,
        "likelihood": model.likelihood.name if getattr(model, "likelihood", None) else None,
        "quantization": "none",
        "training": training,
        "versions": _versions(converter),
        "golden": _golden(graph, model),
    }


def training_of(run):
    """What a run folder says about the training, or None without a run folder.

    Args:
        run: Optional path of a folder with `config.json` and perhaps `evaluation.json`.

    Returns:
        Dict with `data`, `epochs` and `elbo` (nats per example), each None where unknown; or
        None.
    """
    config = _read_json(pathlib.Path(run) / "config.json") if run else None
    if config is None:
        return None
    evaluation = _read_json(pathlib.Path(run) / "evaluation.json") or {}
    arguments = config.get("arguments")
    arguments = arguments if isinstance(arguments, dict) else {}
    data = arguments.get("data")
    if isinstance(data, str) and ("/" in data or "\\" in data):
        # A path says nothing on another machine, and may say too much about this one.
        data = pathlib.PurePath(data.replace("\\", "/")).name
    return {"data": data, "epochs": arguments.get("epochs"), "elbo": evaluation.get("elbo")}


def dumps(manifest):
    """The manifest as UTF-8 bytes."""
    text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def loads(data, source):
    """Parse a manifest and check that what readers rely on is there.

    Args:
        data: Bytes, or None where the file holds none.
        source: The file's name, for the errors.

    Returns:
        Dict.

    Raises:
        ValueError: If there is no manifest, or it is damaged, or of a newer schema.
    """
    if data is None:
        raise ValueError(f"{source} holds no `{KEY}` manifest: it was not exported by keras-vae.")
    if len(data) > MAX_BYTES:
        raise ValueError(f"{source} holds a manifest of {len(data)} bytes: it is damaged.")
    try:
        manifest = json.loads(bytes(data).decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"The manifest of {source} is damaged: {one_line(err)}") from err
    if not isinstance(manifest, dict):
        raise ValueError(f"The manifest of {source} is damaged: it is not a JSON object.")
    for key, kind in _TYPES.items():
        if not isinstance(manifest.get(key), kind) or isinstance(manifest.get(key), bool):
            raise ValueError(f"The manifest of {source} is damaged: `{key}` is missing or wrong.")
    if manifest["schema"] != SCHEMA:
        raise ValueError(
            f"The manifest of {source} has the schema {manifest['schema']}, this version of "
            f"keras-vae reads {SCHEMA}. Update keras-vae, or export the file again."
        )
    return manifest


def shorten(value, longest=8):
    """A copy for the eye: lists of more than `longest` numbers keep their first three."""
    if isinstance(value, dict):
        return {key: shorten(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) > longest and all(isinstance(item, int | float) for item in value):
            return [*value[:3], f"... {len(value)} numbers"]
        return [shorten(item, longest) for item in value]
    return value


def one_line(err, limit=300):
    """An exception's text on one line, without the control characters a file may put there."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(err)).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def exact(array):
    """float32 values as the shortest decimals that read back as the same float32."""
    return [float(str(value)) for value in np.asarray(array, np.float32).reshape(-1)]


def _golden(graph, model):
    values = math.prod(model.data_shape)
    count = 2 if 2 * values <= GOLDEN_MAX_VALUES else 1
    noise = np.random.default_rng(GOLDEN_SEED).standard_normal(
        (count, model.latent_dim), dtype=np.float32
    )
    inputs = {"z": noise}
    for spec in graph.inputs[1:]:
        if spec.num_values is not None:
            # The first class and the last: neither the reserved index nor all the same.
            inputs[spec.name] = np.array([0, spec.num_values - 2][:count], np.int32)
        else:
            steps = np.linspace(-1, 1, count * spec.shape[1], dtype=np.float32)
            inputs[spec.name] = steps.reshape(count, spec.shape[1])
    x = graph.evaluate(inputs)["x"].reshape(count, -1).astype(np.float64)
    return {
        "seed": GOLDEN_SEED,
        "temperature": 1.0,
        "conditions": {
            name: value.tolist() if value.dtype == np.int32 else [exact(row) for row in value]
            for name, value in inputs.items()
            if name != "z"
        },
        "z": [exact(row) for row in noise],
        "x": [[round(value, GOLDEN_DECIMALS) for value in row] for row in x.tolist()],
    }


def _condition(name, kind):
    described = kind.manifest()
    return {
        "name": name,
        "kind": described["kind"],
        "size": described.get("num_classes", described.get("dim")),
        "names": described.get("names"),
    }


def _versions(converter):
    import keras

    import keras_vae

    return {
        "keras_vae": getattr(keras_vae, "__version__", None),
        "keras": keras.__version__,
        "tensorflow": importlib.metadata.version("tensorflow"),
        "converter": converter,
    }


def _read_json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{path} is not readable as JSON: {one_line(err)}") from err
    return content if isinstance(content, dict) else None


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON number")
