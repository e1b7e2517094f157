"""The manifest: what a device must know about a file, inside the file."""

import importlib.metadata
import json
import math
import pathlib

import numpy as np

from export import told_calibration
from export.quantization import QUANTIZATIONS, TOLERANCES
from keras_vae.data import SeriesSchema, TableSchema
from keras_vae.exceptions import one_line

KEY = "keras_vae"
SCHEMA = 1
MAX_BYTES = 64 * 2**20
GOLDEN_SEED = 42
GOLDEN_DECIMALS = 6
GOLDEN_TOKEN_TEMPERATURE = 0.7
# Samples that say between which values a model's pictures lie, where its likelihood does not.
RANGE_SAMPLES = 64
# Two examples, or one of larger images: a value takes nine bytes of text.
GOLDEN_MAX_VALUES = 4096

# What a condition says beside its name, kind, size and names, where it has it.
_SIZES = ("num_classes", "dim", "num_values", "num_tags")
_TOLD = ("steps", "ordered", "num_leaves", "range", "unit")

_TYPES = {
    "schema": int,
    "graph": str,
    "model": str,
    "quantization": str,
    "parameters": int,
    "conditions": list,
    "versions": dict,
    "golden": dict,
}


def build(
    graph, converter, quantize="none", training=None, run=None, held_out=None, picture_range=None
):
    """Describe an exported graph.

    Args:
        graph: The `Graph`.
        converter: String, name and version of the converter.
        quantize: How the file is quantized.
        training: Optional dict, as from `training_of`.
        run: Optional function from the inputs to the outputs of the converted file. A quantized
            file's golden sample is what it gives itself: that is what a device must repeat.
        held_out: Optional dict of arrays, held-out examples as the graphs take them; from them
            come the map of the latent space and the percentiles of the scores.
        picture_range: Optional list, as from `range_of`, which it defaults to.

    Returns:
        Dict that JSON can hold.
    """
    from export.tracing import own

    model = own(graph.model)
    shapes = {spec.name: spec.shape for spec in (*graph.inputs, *graph.outputs)}
    data_shape = shapes.get("x", shapes.get("x_reconstructed", (None, None)))[1:]
    data_shape = (model and model.data_shape) or data_shape
    code = shapes.get("z", ())
    latent_dim = (model and model.latent_dim) or (code[1] if len(code) == 2 else None)
    likelihood = model and model.likelihood
    if model:
        prior = None if model.prior is None else model.prior.manifest()
    else:
        prior = None if latent_dim is None else {"kind": "standard_normal"}
    return {
        "schema": SCHEMA,
        "graph": graph.name,
        "model": type(graph.model).__name__,
        "latent_dim": None if latent_dim is None else int(latent_dim),
        **_codebook(model),
        "data_shape": None if None in data_shape else [int(size) for size in data_shape],
        "data_range": _data_range(model),
        "range": picture_range or range_of(graph, known=bool(training or held_out)),
        "conditions": _conditions(graph),
        **_classes(graph),
        "prior": prior,
        **_data(model),
        "likelihood": likelihood.name if likelihood else None,
        **({"takes_pictures": False} if model and not _takes_pictures(model) else {}),
        "quantization": quantize,
        "parameters": graph.num_parameters,
        "training": training,
        "map": _map(graph, held_out),
        "scores": _scores(graph, held_out, run),
        **told_calibration.of(graph),
        "versions": _versions(converter),
        "golden": _golden(graph, quantize, run),
    }


def range_of(graph, known=False):
    """Between which values a model's pictures are drawn, in all of its files: black and white.

    That is the range of its likelihood. Where that has none, it is [0, 1] if the data are known,
    and else what the model itself makes of some codes of its prior.

    Args:
        graph: A `Graph` of the model.
        known: Whether the data are those of a run, or were named: images that lie in [0, 1].

    Returns:
        List of two floats, or None for a model without an output `x` that is a picture.
    """
    from export.graphs import decoder
    from export.tracing import own

    model = own(graph.model)
    if found := _data_range(model):
        return found
    if model and not _takes_pictures(model):
        return None
    if known:
        return [0.0, 1.0]
    source = decoder(model) if model else graph
    if "x" not in {spec.name for spec in source.outputs}:
        return None
    made = source.evaluate(source.draw(RANGE_SAMPLES, np.random.default_rng(GOLDEN_SEED)))["x"]
    low, high = float(f"{made.min():.3g}"), float(f"{made.max():.3g}")
    return [low, high] if low < high else [0.0, 1.0]


def _takes_pictures(model):
    return model.likelihood.takes_pictures and model.schema is None


def _data_range(model):
    """The range of a model's data, as its likelihood has it, or None; of no model None."""
    data_range = model.likelihood.data_range if model else (-math.inf, math.inf)
    return [float(v) for v in data_range] if all(map(math.isfinite, data_range)) else None


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
        ValueError: If there is no manifest, or it is damaged, or of a newer schema; then the
            message names the version to install, the one that wrote it.
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
    # First, for a newer schema may lack what the others are asked for.
    _check_schema(manifest, source)
    for key, kind in _TYPES.items():
        if not isinstance(manifest.get(key), kind) or isinstance(manifest.get(key), bool):
            raise ValueError(f"The manifest of {source} is damaged: `{key}` is missing or wrong.")
    if not _is_data(manifest.get("data", {})):
        raise ValueError(f"The manifest of {source} is damaged: `data` is missing or wrong.")
    if manifest["quantization"] not in QUANTIZATIONS:
        raise ValueError(f"The manifest of {source} is damaged: its quantization is unknown.")
    return manifest


def _is_data(data):
    """Whether what is said of the data can be read: of a table each column's kind and port."""
    if not isinstance(data, dict) or data.get("kind") != "table":
        return isinstance(data, dict)
    columns = data.get("columns")
    return isinstance(columns, dict) and all(
        isinstance(column, dict) and all(isinstance(column.get(k), str) for k in ("kind", "port"))
        for column in columns.values()
    )


def _check_schema(manifest, source):
    """Raise a ValueError that says which version reads a manifest, if this one does not."""
    schema, versions = manifest.get("schema"), manifest.get("versions")
    if type(schema) is not int or schema < 1:
        raise ValueError(f"The manifest of {source} is damaged: `schema` is missing or wrong.")
    if schema > SCHEMA:
        # Here alone, for it brings Keras along.
        from keras_vae.version import __version__, requirement

        written_by = versions.get("keras_vae") if isinstance(versions, dict) else None
        package = requirement(written_by) or "-U keras-vae"
        raise ValueError(
            f"The manifest of {source} must have a schema up to {SCHEMA} for keras-vae "
            f"{__version__}. Received: schema {schema}. Install the version that wrote it, "
            f'pip install "{package}", or export the file again with this one.'
        )


def shorten(value, longest=8):
    """A copy for the eye: lists of more than `longest` numbers keep their first three."""
    if isinstance(value, dict):
        return {key: shorten(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) > longest and all(isinstance(item, int | float) for item in value):
            return [*value[:3], f"... {len(value)} numbers"]
        return [shorten(item, longest) for item in value]
    return value


def exact(array):
    """float32 values as the shortest decimals that read back as the same float32, NaN as None."""
    values = np.asarray(array, np.float32).reshape(-1)
    return [None if np.isnan(value) else float(str(value)) for value in values]


def golden(manifest, ports, source):
    """The arrays of a file's golden sample for some of its inputs or outputs.

    Args:
        manifest: The manifest.
        ports: List of dicts with `name`, `dtype` and `shape`, the batch axis first.
        source: The file's name, for the errors.

    Returns:
        Dict of arrays.

    Raises:
        ValueError: If the golden sample is damaged.
    """
    sample = manifest["golden"]
    try:
        values = {**sample, **sample["conditions"]}
        settings = ("seed", "temperature", "token_temperature")
        values.update({name: [sample[name]] for name in settings if name in sample})
        found = {}
        for port in ports:
            kind = np.int32 if port["dtype"] == "int32" else np.float32
            array = np.array(values[port["name"]], kind)
            found[port["name"]] = array.reshape(len(array), *port["shape"][1:])
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise ValueError(f"The golden sample of {source} is damaged: {one_line(err)}") from err
    return found


def golden_magnitudes(manifest, source):
    """How large what each output of the golden sample is made of is, where the file says so.

    Args:
        manifest: The manifest.
        source: The file's name, for the errors.

    Returns:
        Dict from names of outputs to floats, empty for a file that does not say it.

    Raises:
        ValueError: If it is damaged.
    """
    found = manifest["golden"].get("magnitudes", {})
    if not isinstance(found, dict) or not all(
        type(value) in (int, float) and 0 <= value < math.inf for value in found.values()
    ):
        raise ValueError(f"The golden sample of {source} is damaged: `magnitudes` is wrong.")
    return found


def _codebook(model):
    """The grid of codes that a vector-quantized model takes in the place of a latent code."""
    from keras_vae.models.capabilities import DiscreteCodes

    if not isinstance(model, DiscreteCodes):
        return {}
    num_codes = int(model.quantizer.num_codes)
    return {"codes": {"grid_shape": list(model.grid_shape), "num_codes": num_codes}}


def _data(model):
    """What the schema of a model says of its data, such as that tokens are notes."""
    return {"data": model.schema.manifest()} if model and model.schema else {}


def _map(graph, held_out):
    """A plane through the latent space that shows most of it, or None without data or encoder.

    Of the posterior means of held-out examples, their mean and the two directions in which they
    vary most, each 2.5 standard deviations long: the point (u, v) of a square from -1 to 1 is the
    code `origin + u x + v y`.
    """
    from keras_vae.models.capabilities import DiscreteCodes, Encodes

    model = graph.model
    has_codes = isinstance(model, Encodes) and not isinstance(model, DiscreteCodes)
    is_known = held_out is not None and "x" in held_out
    is_known = is_known and not isinstance(model.schema, SeriesSchema)  # in units
    if (
        graph.name in ("scorer", "reconstructor", "classifier")
        or not is_known
        or not has_codes
        or model.latent_dim < 2
    ):
        return None
    inputs = held_out if model.condition else held_out["x"]
    means = model.encode_means(model.as_observed(inputs, seed=0)).astype(np.float64)
    values, directions = np.linalg.eigh(np.cov(means.T))
    axes = 2.5 * np.sqrt(np.maximum(values[-2:], 0)) * directions[:, -2:]
    # An eigenvector's sign is an accident: the largest entry is positive, on every machine.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return {"origin": exact(means.mean(axis=0)), "x": exact(axes[:, 1]), "y": exact(axes[:, 0])}


def _scores(graph, held_out, run=None):
    """Percentiles 0, 1, ..., 100 of the scores of held-out examples by `run`, or None."""
    from export import file_calibration

    if graph.name != "scorer" or held_out is None:
        return None
    scores = file_calibration.scores(graph, run or graph.evaluate, held_out).astype(np.float64)
    return np.round(np.percentile(scores, np.arange(101)), 4).tolist()


def _golden(graph, quantize, run):
    from export import parity
    from export.graphs import draw_codes
    from export.tracing import own
    from keras_vae import portable_random
    from keras_vae.priors.base import Prior

    sizes = [math.prod(spec.shape[1:]) for spec in (*graph.inputs, *graph.outputs) if spec.batched]
    count = 2 if 2 * sum(sizes) <= GOLDEN_MAX_VALUES else 1
    inputs = graph.draw(count, np.random.default_rng(GOLDEN_SEED))
    position = np.arange(count, dtype=np.int32)
    for spec in graph.inputs:
        if spec.name == "seed":
            inputs["seed"] = np.array([GOLDEN_SEED], np.int32)
        elif spec.name == "temperature":
            inputs["temperature"] = np.ones(1, np.float32)
        elif spec.name == "token_temperature":
            inputs["token_temperature"] = np.full(1, GOLDEN_TOKEN_TEMPERATURE, np.float32)
        elif spec.name == "index" and graph.name == "sampler":
            inputs["index"] = position
        elif spec.num_values is not None and len(spec.shape) == 1:
            # The first class and the last: neither the reserved index nor all the same.
            inputs[spec.name] = np.array([0, max(spec.num_values - 2, 0)][:count], np.int32)
    if any(spec.name == "z" and len(spec.shape) == 2 for spec in graph.inputs):
        if own(graph.model) and isinstance(graph.model.prior, Prior):
            inputs["z"] = draw_codes(graph.model, GOLDEN_SEED, count, inputs)
        else:
            seed, [latent_dim] = np.array([GOLDEN_SEED], np.int32), inputs["z"].shape[1:]
            inputs["z"] = portable_random.normal(seed, position, latent_dim)
    outputs = (graph.evaluate if run is None else run)(inputs)
    magnitudes = parity.magnitudes(graph, inputs, quantize)
    own = ("x", "z", "codes", "seed", "temperature", "token_temperature")
    conditions = {spec.name for spec in graph.inputs} - set(own)
    return {
        "seed": GOLDEN_SEED,
        "temperature": 1.0,
        **(
            {"token_temperature": GOLDEN_TOKEN_TEMPERATURE} if "token_temperature" in inputs else {}
        ),
        "tolerance": TOLERANCES[quantize],
        "conditions": {name: _plain(inputs[name]) for name in inputs if name in conditions},
        **{name: _plain(inputs[name]) for name in ("x", "z", "codes") if name in inputs},
        **{
            name: _plain(value) if name in ("z", "codes", *graph.in_units) else _rounded(value)
            for name, value in outputs.items()
        },
        # A reader that does not know them judges by the outputs alone, more strictly.
        "magnitudes": {name: float(f"{most.max():.4g}") for name, most in magnitudes.items()},
    }


def _plain(array):
    """Rows of ints, or of floats that read back as the same float32."""
    if array.dtype == np.int32:
        return array.tolist() if array.ndim == 1 else array.reshape(len(array), -1).tolist()
    return exact(array) if array.ndim == 1 else [exact(row) for row in array]


def _rounded(array):
    values = np.round(array.astype(np.float64), GOLDEN_DECIMALS)
    return values.tolist() if array.ndim == 1 else values.reshape(len(array), -1).tolist()


def _conditions(graph):
    """The named inputs besides the data, the code, the seed and the temperature."""
    from export.tracing import own

    if graph.name == "classifier":
        return []  # they are what comes out
    if model := own(graph.model):
        kinds = model.prior.condition if graph.draws_codes else model.condition
        return [
            {**_condition(name, kind), **_of_column(model.schema, name)}
            for name, kind in kinds.items()
        ]
    described = []
    for spec in graph.inputs:
        reserved = ("x", "z", "seed", "temperature", "token_temperature")
        if spec.name in reserved or (spec.name == "index" and graph.name == "sampler"):
            continue
        if spec.dtype == "int32":
            names = [str(i) for i in range(spec.num_values)]
            described.append(
                {
                    "name": spec.name,
                    "kind": "categorical",
                    "size": spec.num_values,
                    "names": names,
                    "unknown": False,
                }
            )
        else:
            size = math.prod(spec.shape[1:])
            described.append({"name": spec.name, "kind": "continuous", "size": size, "names": None})
    return described


def _of_column(schema, name):
    """Range and unit of a condition that is a number of a table: files take it in units."""
    from keras_vae.data.units import is_number, limits

    column = schema.columns[name] if isinstance(schema, TableSchema) else None
    if column is None or not is_number(column):
        return {}
    return {
        "range": [[float(end) for end in limits(column)]],
        **({"unit": column.unit} if column.unit else {}),
    }


def _condition(name, kind):
    described = kind.manifest()
    has_unknown = described["kind"] in ("categorical", "sequence") or described.get("unknown")
    return {
        "name": name,
        "kind": described["kind"],
        "size": next(described[key] for key in _SIZES if key in described),
        "names": described.get("names"),
        **{key: described[key] for key in _TOLD if key in described},
        **({"unknown": True} if has_unknown else {}),
    }


def _classes(graph):
    """The names of the classes whose probabilities a classifier gives, by its outputs."""
    if graph.name != "classifier":
        return {}
    return {"classes": {n: list(k.leaf_names) for n, k in graph.model.label_kinds.items()}}


def _versions(converter):
    import keras

    import keras_vae

    backend = keras.backend.backend()
    return {
        "keras_vae": getattr(keras_vae, "__version__", None),
        "keras": keras.__version__,
        backend: importlib.metadata.version(backend),
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
