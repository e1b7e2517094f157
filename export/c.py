"""C files: writing, compiling and running them, and reading their manifest.

One C99 file and its header hold a graph with int8 or float32 weights, for machines that no runtime
fits on; of a table a decoder in whole numbers, whose rows are those of every backend.
Nothing is needed but a compiler and `math.h`; nothing is allocated, nothing is kept between calls.
"""

import ctypes
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import numpy as np

from export import (
    c_classifier,
    c_codes,
    c_encoder,
    c_layers,
    c_likelihoods,
    c_prior,
    c_reading,
    c_scorer,
    c_tables,
    graphs,
    manifest,
)
from export.c_program import (
    FLAGS,
    MANIFEST,
    SIGNATURE,
    TAKEN,
    Condition,
    Program,
    in_comment,
)
from export.parts import PART
from keras_vae.exceptions import one_line

SUFFIX = ".c"
QUANTIZATIONS = ("int8", "none", "exact")
# On what it is made: it needs no converter.
PACKAGES = {"tensorflow": ("tensorflow",), "stablehlo": ("jax",)}
GRAPHS = ("decoder", "encoder", "sampler", "scorer", "reconstructor", "classifier")

COMPILERS = ("cc", "gcc", "clang")


def converter():
    """Name and version of the converter: this package itself."""
    import keras_vae

    return f"keras-vae {keras_vae.__version__}"


def companions(path):
    """The further files that `export` writes beside a path: the header.

    Args:
        path: Such as `decoder.c`, or `decoder.c.keras_vae_part` whose header is
            `decoder.h.keras_vae_part`.

    Returns:
        List of `pathlib.Path`.

    Raises:
        ValueError: If the name does not end with `.c`, before `PART` if need be.
    """
    path = pathlib.Path(path)
    part = PART if path.name.endswith(PART) else ""
    return [path.with_name(_stem(path) + ".h" + part)]


def convert(graph, quantize=QUANTIZATIONS[0], calibration=None):
    """Read from a graph's model everything that its C files say.

    Batch normalisation is folded into the weights, then each output channel gets a scale.

    Args:
        graph: The `Graph`, one of `GRAPHS`.
        quantize: One of `QUANTIZATIONS`.
        calibration: Unused; the weights are all that is quantized.

    Returns:
        What `write` takes.

    Raises:
        ValueError: If the graph, its decoder, a condition or the likelihood is none of those that
            the C format holds.
    """
    if quantize not in QUANTIZATIONS:
        known = " or ".join(map(repr, QUANTIZATIONS))
        raise ValueError(
            f"The C format holds int8 or float32 weights: `quantize` must be {known}. Received: "
            f"{quantize!r}."
        )
    return _program(graph, quantize == "none")


def write(content, path, manifest_data=None):
    """Write the C file, and its header beside it.

    Args:
        content: As `convert` returns it.
        path: Where to write. The function and the macros are named after its stem.
        manifest_data: Optional bytes, stored as a comment.
    """
    path = pathlib.Path(path)
    [header] = companions(path)
    prefix = _prefix(_stem(path), content.graph)
    source = content.source(prefix, _stem(path) + ".h")
    if manifest_data is not None:
        source += MANIFEST % in_comment(json.loads(manifest_data)) + "\n"
    # As bytes, lines end alike on every system.
    path.write_bytes(source.encode("utf-8"))
    header.write_bytes(content.header(prefix).encode("utf-8"))


def load(path):
    """Compile a file with the system's C compiler and load it.

    This runs what the file says: load only what you would compile yourself.

    Args:
        path: A C file with its header beside it. The environment variable `CC` names another
            compiler than `cc`, `gcc` or `clang`.

    Returns:
        A function from a dict of NumPy inputs to a dict of NumPy outputs.

    Raises:
        ModuleNotFoundError: If there is no C compiler.
        ValueError: If the file is damaged, or the compiler or the function refuses.
    """
    path = pathlib.Path(path)
    signature = _read_signature(path)
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(str(_compile(path, pathlib.Path(folder))))
    function = getattr(library, signature["function"])
    function.restype = ctypes.c_int

    def run(inputs):
        given = _checked(inputs, signature["inputs"], path.name)
        # The first input, `z`, a condition or `index`, has a row for each example.
        rows = len(given[signature["inputs"][0]["name"]])
        columns = signature.get("columns")
        outputs = {
            port["name"]: np.empty((rows, *port["shape"][1:]), port["dtype"])
            for port in signature["outputs"]
            if columns is None or port["name"] not in columns
        }
        if columns is not None:
            outputs["x"] = np.empty((rows, len(columns)), np.float32)
        work = np.empty(signature["work_size"], np.float32)
        for row in range(rows):
            arguments = _arguments(signature["conditions"], given, outputs, row)
            if function(*arguments, _pointer(work)):
                raise ValueError(
                    f"{path.name} refuses example {row}: a label, seed, index, temperature or "
                    "value is out of its range."
                )
        if columns is not None:
            dtypes = {port["name"]: port["dtype"] for port in signature["outputs"]}
            row = outputs.pop("x").T
            outputs |= {n: x.astype(dtypes[n]) for n, x in zip(columns, row, strict=True)}
        return outputs

    return run


def try_runtime(path):
    """Nothing: a compiler is not given what may be no file of ours."""


def programs(path):
    """Every way to call the file: name, the batch sizes it takes, and a function to call.

    Yields:
        Tuples `(name, batch_sizes, run)`.
    """
    yield _read_signature(path)["name"], graphs.BATCH_SIZES, load(path)


def read_manifest(path):
    """The manifest of a C file, without compiling it.

    Raises:
        ValueError: If the file holds no manifest, or a damaged one.
    """
    return manifest.loads(_comment(path, MANIFEST), pathlib.Path(path).name)


def describe(path):
    """Inputs and outputs, without compiling the file; it has no operators.

    The C function makes one example a call; `batch` stands for as many calls.

    Raises:
        ValueError: If the file is damaged.
    """
    signature = _read_signature(path)
    ports = {key: signature[key] for key in ("name", "inputs", "outputs")}
    return {"signatures": [ports], "operators": []}


def forbidden_operators(path):
    """What no file of ours holds, such as calls of other functions than those of `math.h`."""
    [header] = companions(path)
    return c_reading.foreign(path, header, _read_signature(path)["function"])


def _program(graph, in_float=False):
    """Read from a graph's model what the C files say, or refuse it."""
    from keras_vae import portable_random
    from keras_vae.conditions import Categorical, Continuous, Hierarchical, MultiLabel, Ordinal
    from keras_vae.data import SeriesSchema
    from keras_vae.models.capabilities import DiscreteCodes
    from keras_vae.models.generative import GenerativeModel

    model = graph.model
    if graph.name not in GRAPHS:
        raise ValueError(
            f"The C format holds the graphs {', '.join(GRAPHS)}. Received: {graph.name}. "
            f"{c_layers.ELSEWHERE}"
        )
    is_own = isinstance(model, GenerativeModel)
    if not is_own or type(model).decode_mean is not GenerativeModel.decode_mean:
        raise ValueError(
            "The C format holds models of `keras_vae` that decode a latent code. Received: "
            f"{type(model).__name__}. {c_layers.ELSEWHERE}"
        )
    for name, kind in model.condition.items():
        if type(kind) not in (Categorical, Continuous, Hierarchical, MultiLabel, Ordinal):
            raise ValueError(
                "The C format holds the conditions Categorical, Ordinal, Hierarchical, MultiLabel "
                f"and Continuous. Received: {type(kind).__name__} for `{name}`. "
                f"{c_layers.ELSEWHERE}"
            )
    conditions = tuple(
        Condition.of(name, c_name, kind, _vectors(model, name), in_float)
        for (name, kind), c_name in zip(
            model.condition.items(), _c_names(model.condition), strict=True
        )
    )
    data_range = model.likelihood.data_range
    if not all(map(math.isfinite, data_range)):
        data_range = None
    said = {
        "graph": graph.name,
        "model": type(model).__name__,
        "specs": tuple([_port(spec) for spec in specs] for specs in (graph.inputs, graph.outputs)),
        "latent_dim": int(model.latent_dim),
        "conditions": conditions,
        "data_shape": tuple(map(int, model.data_shape)),
        "data_range": data_range,
        "in_float": in_float,
    }
    if graph.name == "sampler":
        said["prior"] = c_prior.of(model.prior, conditions, said["latent_dim"])
        portable_random.check(0, 1, model.latent_dim)
    takes_data = graph.name not in ("decoder", "sampler")
    if isinstance(model.schema, SeriesSchema) and graph.name != "reconstructor":
        said["series"] = model.schema
    has_codes = isinstance(model, DiscreteCodes) and graph.name in ("decoder", "encoder")
    if graph.name in ("encoder", "classifier") and not has_codes:
        return (c_encoder if graph.name == "encoder" else c_classifier).of(model, said)
    if graph.in_units and not takes_data:
        return c_tables.of(graph, said)
    observes = graph.name == "sampler" and model.observes
    purpose = "score" if graph.name == "scorer" else "draw" if observes else "mean"
    likelihood = c_likelihoods.of(model.likelihood, model.data_shape[-1], purpose)
    if likelihood is None:
        raise ValueError(
            f"The C format holds the likelihoods {', '.join(c_likelihoods.names())}. Received: "
            f"{model.likelihood.name}. {c_layers.ELSEWHERE}"
        )
    if has_codes:
        return c_codes.of(graph, said, likelihood)
    said["likelihood"] = likelihood
    if graph.name == "scorer":
        return c_scorer.of(model, said)
    if takes_data:
        c_encoder.refuse("reconstructors", c_encoder.encoder_needs(model))
    layers = c_layers.of(model.decoder)
    count = model.likelihood.parameters_per_value
    if likelihood.count < count:
        layers = c_layers.of_locations(layers, said["data_shape"][-1], count)
    if takes_data:
        return c_scorer.reconstructor_of(model, {**said, "layers": c_layers.few_in_float(layers)})
    return Program(**said, layers=layers, observes=observes)


def _vectors(model, name):
    """The learned vectors of a label, a float array, or None."""
    import keras

    table = model.conditioning.tables.get(name)
    return None if table is None else keras.ops.convert_to_numpy(table)


def _stem(path):
    """`decoder` of `decoder.c`, also where `PART` ends the name."""
    name = pathlib.Path(path).name.removesuffix(PART)
    # It stands in an #include line.
    if not re.fullmatch(rf"[\w .()+-]+{re.escape(SUFFIX)}", name):
        raise ValueError(
            f"The name of a C file must end with {SUFFIX} and hold letters, digits, spaces and "
            f".()+-_ only. Received: {name!r}."
        )
    return name.removesuffix(SUFFIX)


def _prefix(stem, graph):
    """What the names in a file begin with: its stem up to a dot, as C can say it."""
    prefix = re.sub(r"\W", "_", stem.split(".")[0], flags=re.ASCII)
    return prefix if re.match("[A-Za-z]", prefix) else f"{graph}_{prefix}".rstrip("_")


def _c_names(names):
    """Names for C: each an ASCII identifier that means nothing else, in any case."""
    taken, c_names = set(TAKEN.split()), []
    for name in names:
        c_name = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_0123456789") or "condition"
        # In capitals it could be a macro.
        c_name = c_name.lower() if c_name.isupper() else c_name
        while c_name.lower() in taken or re.fullmatch(r"couple_\d+", c_name.lower()):
            c_name += "_"
        taken.add(c_name.lower())
        c_names.append(c_name)
    return c_names


def _port(spec):
    shape = ["batch" if spec.batched else 1, *map(int, spec.shape[1:])]
    return {"name": spec.name, "dtype": spec.dtype, "shape": shape}


def _comment(path, template):
    """What the last comment of a form holds, or None."""
    before, after = (re.escape(part).encode("ascii") for part in template.split("%s"))
    pattern = b"^" + before + b"(.*)" + after + b"\\r?$"
    found = re.findall(pattern, pathlib.Path(path).read_bytes(), re.MULTILINE)
    return found[-1] if found else None


def _read_signature(path):
    """How to call a file, as it says itself."""
    name, content = pathlib.Path(path).name, _comment(path, SIGNATURE)
    if content is None:
        raise ValueError(f"{name} is no C file of keras-vae, or is cut off.")
    try:
        signature = json.loads(content)
        for port in (*signature["inputs"], *signature["outputs"]):
            if not (isinstance(port["name"], str) and port["dtype"] in ("float32", "int32")):
                raise ValueError(f"the port {port}")
            if not all(size == "batch" or type(size) is int for size in port["shape"]):
                raise ValueError(f"the shape {port['shape']}")
        if not all(isinstance(signature[key], str) for key in ("name", "function")):
            raise ValueError("its names")
    except (KeyError, TypeError, ValueError, RecursionError) as err:
        raise ValueError(f"The signature of {name} is damaged: {one_line(err)}.") from err
    return signature


def _compile(path, folder):
    """Make a shared library in a folder."""
    [header] = companions(path)
    name = _stem(path)
    shutil.copy(path, folder / f"{name}.c")
    shutil.copy(header, folder / f"{name}.h")
    command = [*_compiler(), *FLAGS, "-shared", "-fPIC", "-o", "library.so", f"{name}.c", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise ValueError(f"{command[0]} cannot compile {path.name}: {one_line(errors[0])}")
    return folder / "library.so"


def _compiler():
    """The C compiler's command."""
    named = shlex.split(os.environ.get("CC", ""))
    for command in [named] if named else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    looked_for = f"{named[0]} (by CC)" if named else ", ".join(COMPILERS)
    raise ModuleNotFoundError(
        f'Exporting to "c" compiles the file to check it, and found no C compiler: {looked_for}. '
        "Install one, such as gcc or clang, or name one in the environment variable CC."
    )


def _checked(inputs, ports, name):
    """The inputs as arrays of the ports' types and shapes."""
    given, rows = {}, None
    for port in ports:
        value = inputs.get(port["name"])
        if value is None:
            raise ValueError(
                f"{name} needs the input `{port['name']}`. Received: {sorted(inputs)}."
            )
        array = np.asarray(value)
        batched = port["shape"][0] == "batch"
        rows = len(array) if batched and rows is None and array.ndim else rows
        shape = (rows if batched else 1, *port["shape"][1:])
        if array.dtype != port["dtype"] or array.shape != shape:
            raise ValueError(
                f"{name} takes `{port['name']}` as {port['dtype']} {shape}. Received: "
                f"{array.dtype} {array.shape}."
            )
        given[port["name"]] = np.ascontiguousarray(array)
    return given


def _arguments(conditions, given, outputs, row):
    """The arguments before `work` of the call for one row."""
    values = [
        _pointer(given[name][row]) if given[name].ndim > 1 else ctypes.c_int32(given[name][row])
        for name in conditions
    ]
    if "x" in given:
        made = [_pointer(array[row : row + 1]) for array in outputs.values()]
        return [_pointer(given["x"][row]), *values, *made]
    x = _pointer(outputs["x"][row])
    if code := {"z", "codes"} & set(given):
        return [_pointer(given[code.pop()][row]), *values, x]
    index = given["index"][row] if "index" in given else row
    draw = [
        ctypes.c_int32(given["seed"][0]),
        ctypes.c_int32(index),
        ctypes.c_float(given["temperature"][0]),
    ]
    return [*draw, *values, x, _pointer(outputs["z"][row])]


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)
