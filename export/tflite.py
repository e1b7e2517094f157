"""TFLite files: writing, running and reading them."""

import functools
import importlib.metadata
import importlib.util
import pathlib
import re
import sys
import tempfile
import warnings

import numpy as np

from export import (
    all_integer,
    flatbuffer,
    graphs,
    manifest,
    quantization,
    stablehlo,
    tflite_edits,
    tracing,
)
from export.errors import ExportError
from keras_vae import processes
from keras_vae.exceptions import one_line

SUFFIX = ".tflite"
QUANTIZATIONS = ("none", "float16", "int8", "int8-full", "exact")
# What each converter needs.
PACKAGES = {
    "tensorflow": ("tensorflow", "ai_edge_litert"),
    "stablehlo": ("jax", "litert_converter", "ai_edge_litert"),
}
# And for int8-full files, without TensorFlow.
ALL_INTEGER_PACKAGES = ("ai_edge_quantizer",)

# What keeps the weights outside the graph, or draws: each makes a file that converts without an
# error and is wrong on a device.
_FORBIDDEN = (
    "DELEGATE",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
    "CALL_ONCE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "RANDOM_STANDARD_NORMAL",
    "RANDOM_UNIFORM",
    "MULTINOMIAL",
)


def converter():
    """Name and version of the converter, that of the backend on which Keras runs."""
    if _on_jax():
        return stablehlo.converter()
    return f"tensorflow.lite {importlib.metadata.version('tensorflow')}"


def check_all_integer(graph):
    """Raise an ExportError if a graph cannot be all-integer, before its weights are rounded."""
    if graph.loops:
        raise ExportError(
            f"An all-integer file must be a graph without a loop. Received: the `{graph.name}` of "
            f'a {type(graph.model).__name__}, which draws tokens. Take quantize="int8".'
        )
    if graph.draws_codes:
        raise ExportError(
            f"An all-integer file must be a graph that draws nothing. Received: the `{graph.name}` "
            f'of a {type(graph.model).__name__}, which draws codes. Take quantize="int8".'
        )
    if graph.in_units:
        raise ExportError(
            f"An all-integer file must be of data near 0. Received: the `{graph.name}` of a "
            f'{type(graph.model).__name__} of a table, in units. Take quantize="int8".'
        )
    if names := [s.name for s in graph.inputs if s.unknown]:
        raise ExportError(
            "An all-integer file must be of conditions without unknown numbers, for 8 bits hold no "
            f'NaN. Received: {names[0]}, which may be unknown. Take quantize="int8".'
        )


def convert(graph, quantize="none", calibration=None):
    """Convert a graph to the content of a TFLite file.

    The file has a signature named after the graph that takes any batch size, and one per size of
    `graphs.STATIC_BATCH_SIZES` (`decoder_1`, `decoder_16`) for runtimes that take no dynamic
    batch. All of them share one copy of the weights. An all-integer file has the first alone, for
    microcontrollers plan memory for every signature; they take it at batch size 1. A graph with a
    loop has the others alone: with XNNPACK, its default, LiteRT 2.3.0 computes a loop over a batch
    of any size rightly once, and wrongly from the second run on.

    Args:
        graph: The `Graph`.
        quantize: One of `QUANTIZATIONS`.
        calibration: Dict of arrays, typical inputs; for `"int8-full"`.

    Returns:
        Bytes.

    Raises:
        ExportError: If the converter refuses the graph.
    """
    if quantize == "int8-full":
        check_all_integer(graph)
    if _on_jax():
        is_full = quantize == "int8-full"
        converted, edits = stablehlo.convert(graph, signatures(graph, quantize), is_full)
        if is_full:
            whole = _edited(converted, *edits, tflite_edits.fix_shapes, all_integer.prepare)
            batch = quantization.for_ranges(graph, calibration)
            converted = all_integer.quantized(graph, whole, batch)
            check = functools.partial(all_integer.check, graph)
            edits = [all_integer.hold(converted), all_integer.join, check]
    else:
        converted, edits = _convert(graph, quantize, calibration), []
    if quantize == "int8-full":
        _check_all_integer(graph, converted)
    content = _edited(converted, *edits, tflite_edits.fix_shapes, tflite_edits.compact)
    if quantize == "int8-full":
        return _edited(content, tflite_edits.saturate_logits)
    if quantize != "none":
        vectors = tracing.learned_vectors(graph.model)
        return _edited(
            content,
            functools.partial(tflite_edits.store_weights, quantize=quantize, vectors=vectors),
        )
    return content


def write(content, path, manifest_data=None):
    """Write a converted file.

    Args:
        content: Bytes, as `convert` returns them.
        path: Where to write.
        manifest_data: Optional bytes, stored as the metadata entry `keras_vae`.
    """
    if manifest_data is not None:
        content = add_metadata(content, {manifest.KEY: manifest_data})
    pathlib.Path(path).write_bytes(content)


def load(path, signature=None):
    """Load a file into the real runtime.

    Args:
        path: A TFLite file.
        signature: Optional name of a signature. Defaults to the first, the one named after the
            graph; where there are static ones alone, to the smallest that holds the examples.

    Returns:
        A function from a dict of NumPy inputs to a dict of NumPy outputs.

    Raises:
        ValueError: If the runtime refuses the file.
    """
    content = pathlib.Path(path).read_bytes()
    if signature is None:
        described = describe(path)["signatures"]
        signature = described[0]["name"]
        if _static_size(signature):
            return _load_static(path, described)
    runners = {}

    def run(inputs):
        shapes = tuple(sorted((name, value.shape) for name, value in inputs.items()))
        if shapes not in runners:
            # An interpreter that has run cannot be resized: one for each batch size, and only
            # the latest is kept, for each holds the activations of its own.
            runners.clear()
            runners[shapes] = _runner(content, signature, pathlib.Path(path).name)
        try:
            return _run(runners[shapes], inputs)
        except (RuntimeError, ValueError, TypeError) as err:
            raise ValueError(
                f"LiteRT cannot run `{signature}` of {pathlib.Path(path).name}: {one_line(err)}"
            ) from err

    return run


def signatures(graph, quantize="none"):
    """Names of the signatures that a file has, and the batch size of each (None: any)."""
    static = {f"{graph.name}_{size}": size for size in graphs.STATIC_BATCH_SIZES}
    if graph.loops:
        return static
    return {graph.name: None, **(static if quantize != "int8-full" else {})}


def _static_size(signature):
    """The batch size in the name of a signature, or None."""
    size = signature.rpartition("_")[2]
    return int(size) if size.isdigit() else None


def _load_static(path, described):
    """As `load`, of a file with static signatures alone: the last example fills a batch up."""
    names = {_static_size(entry["name"]): entry["name"] for entry in described}
    most = max(names)
    [largest] = [entry for entry in described if entry["name"] == names[most]]
    batched = {port["name"] for port in largest["inputs"] if port["shape"][0] == most}
    loaded = {size: load(path, name) for size, name in names.items()}

    def run(inputs):
        count = max(len(value) for name, value in inputs.items() if name in batched)
        if count > most:
            raise ValueError(
                f"{pathlib.Path(path).name} takes at most {most} examples at once. Received: "
                f"{count}."
            )
        size = min(size for size in loaded if size >= count)
        index = np.minimum(np.arange(size), count - 1)
        made = loaded[size]({n: v[index] if n in batched else v for n, v in inputs.items()})
        return {name: value[:count] for name, value in made.items()}

    return run


def programs(path):
    """Every way to call the file: name, the batch sizes it takes, and a function to call.

    Yields:
        Tuples `(name, batch_sizes, run)`.
    """
    for signature in describe(path)["signatures"]:
        size = _static_size(signature["name"])
        sizes = (size,) if size else graphs.BATCH_SIZES
        yield signature["name"], sizes, load(path, signature["name"])


def read_manifest(path):
    """The manifest of a TFLite file, without running it.

    Raises:
        ValueError: If the file is damaged or holds no manifest.
    """
    return manifest.loads(_open(path).metadata(manifest.KEY), pathlib.Path(path).name)


def describe(path):
    """Signatures with their inputs and outputs, and the operators, without running the file.

    Raises:
        ValueError: If the file is damaged.
    """
    model = _open(path)
    return {"signatures": model.signatures(), "operators": model.operators()}


def forbidden_operators(path):
    """Operators that are no TFLite builtins, or that no exported graph may hold."""
    operators = _open(path).operators()
    return [name for name in operators if name in _FORBIDDEN or name.startswith("CUSTOM")]


def add_metadata(content, entries):
    """Return a TFLite file with further metadata entries.

    Args:
        content: Bytes of a TFLite file.
        entries: Dict from name to bytes.

    Returns:
        Bytes.
    """

    def add(model, schema):
        model.metadata = list(model.metadata or [])
        for name, data in entries.items():
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            model.buffers.append(buffer)
            entry = schema.MetadataT()
            entry.name, entry.buffer = name, len(model.buffers) - 1
            model.metadata.append(entry)

    return _edited(content, add)


def arena(path):
    """Bytes of working memory that TFLite Micro needs for a file, as measured by running it once.

    Returns:
        Int, or None where the `tflite-micro` package is missing or cannot run the file.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        return None
    # In a process of its own: it prints what it allocates, and a file may crash it.
    code = "from export import tflite; tflite._run_in_micro()"
    child = processes.run(code, str(path), capture_output=True, timeout=60)
    found = re.search(r"Arena allocation total (\d+) bytes", child.stdout + child.stderr)
    return int(found[1]) if found and child.returncode == 0 else None


def _run_in_micro():
    """The other end of `arena`."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(sys.argv[1])
    for index in range(len(describe(sys.argv[1])["signatures"][0]["inputs"])):
        detail = interpreter.get_input_details(index)
        interpreter.set_input(np.zeros(detail["shape"], detail["dtype"]), index)
    interpreter.invoke()
    interpreter.print_allocations()


def _check_all_integer(graph, content):
    """Raise an ExportError that names what LiteRT cannot run in 8 bits, if it cannot run a file.

    Args:
        graph: The `Graph`.
        content: Bytes, as the converter made them, whose tensors are named by layers.
    """
    from ai_edge_litert.interpreter import Interpreter

    example = graph.rows(graph.draw(2, np.random.default_rng(0)), slice(0, 2))
    try:
        _run(Interpreter(model_content=content).get_signature_runner(graph.name), example)
    except (RuntimeError, ValueError) as err:
        refused = _named_operators(content, re.findall(r"([A-Z][A-Z_0-9]+) node #(\d+)", str(err)))
        if not refused:
            raise ExportError(
                f"LiteRT cannot run the `{graph.name}` graph in whole numbers: {one_line(err)}. "
                'Take quantize="int8".'
            ) from err
        where = 'operators that LiteRT runs in whole numbers (quantize="int8" has others)'
        raise graphs.unknown_operators(graph, where, refused) from err


def _named_operators(content, found):
    """Pairs of an operator and its place in the model, of pairs of it and its index in the file."""
    from ai_edge_litert import schema_py_generated as schema

    main = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    outputs = [(name, main.operators[int(index)].outputs[0]) for name, index in found]
    return [(name, main.tensors[output].name.decode()) for name, output in outputs]


def _on_jax():
    import keras

    return keras.backend.backend() == "jax"


def _convert(graph, quantize, calibration, format="tflite"):
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    functions = {
        name: graph.trace(size, format, quantize == "int8-full").get_concrete_function()
        for name, size in signatures(graph, quantize).items()
    }
    # By way of a SavedModel, for that refuses a variable which nobody holds. The converter's other
    # routes leave it out without an error, and the file of a few kilobytes returns NaN.
    holder = tf.Module()
    holder.held = graph.variables
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(holder, folder, signatures=functions)
        except tf.errors.OpError as err:
            raise ExportError(
                f"TensorFlow cannot write to the temporary folder: {one_line(err)}"
            ) from err
        lite = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        lite.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize == "int8-full":
            lite.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            lite.optimizations = [tf.lite.Optimize.DEFAULT]
            lite.inference_input_type = lite.inference_output_type = tf.int8
            # At once: the converter averages the ranges of batches, and small ones are narrow.
            batch = quantization.for_ranges(graph, calibration)
            lite.representative_dataset = lambda: iter([(graph.name, batch)])
        try:
            with warnings.catch_warnings():
                # Of an interpreter that the converter itself uses.
                warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
                return lite.convert()
        except (ConverterError, tf.errors.OpError, RuntimeError, ValueError) as err:
            calls = ("StatefulPartitionedCall", "PartitionedCall")
            places = re.findall(r'fused\["(\w+):", "([^"@]+)@', str(err))
            if any(operator == "Erfc" for operator, _ in places) and format == "tflite":
                # It knows the operators of a GELU together, but not if one of them is used twice.
                return _convert(graph, quantize, calibration, "tflite without GELU")
            if refused := [place for place in places if place[0] not in calls]:
                raise graphs.unknown_operators(graph, "TFLite builtins", refused) from err
            raise ExportError(
                f"TensorFlow's converter cannot express the `{graph.name}` graph in TFLite "
                f"builtins, quantize={quantize!r}: {one_line(err)}"
            ) from err


def _edited(content, *edits):
    """A file after functions have changed its `ModelT`."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for edit in edits:
        edit(model, schema)
    return _packed(model)


def _packed(model):
    """The bytes of a `ModelT`.

    Every buffer starts at a multiple of 16, as the schema demands and Python's generated code, the
    converter's included, forgets.
    """
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):
        def StartVector(self, element_size, count, alignment):  # noqa: N802
            is_buffer = element_size == 1 and count > 0
            return super().StartVector(element_size, count, 16 if is_buffer else alignment)

    builder = AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _run(runner, inputs):
    """Call a signature with float inputs and outputs, whatever it takes and gives."""
    details = runner.get_input_details()
    given = {}
    for name, value in inputs.items():
        scale, zero_point = details[name]["quantization"] if name in details else (0, 0)
        if scale and value.dtype == np.float32:
            levels = np.iinfo(details[name]["dtype"])
            value = np.clip(np.round(value / scale + zero_point), levels.min, levels.max)
            value = value.astype(details[name]["dtype"])
        given[name] = value
    details = runner.get_output_details()
    made = {}
    for name, value in runner(**given).items():
        scale, zero_point = details[name]["quantization"]
        if scale:
            value = (value.astype(np.float32) - zero_point) * np.float32(scale)
        made[name] = value
    return made


def _runner(content, signature, name):
    from ai_edge_litert.interpreter import Interpreter

    try:
        return Interpreter(model_content=content).get_signature_runner(signature)
    except (RuntimeError, ValueError) as err:
        raise ValueError(f"LiteRT cannot load {name}: {one_line(err)}") from err


def try_runtime(path):
    """Load a file as a device does, without a look at it first.

    Raises:
        ValueError: With the words of the runtime, where it refuses the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=pathlib.Path(path).read_bytes()).allocate_tensors()
    except (RuntimeError, ValueError) as err:
        raise ValueError(f"LiteRT says: {one_line(err)}") from err


def _open(path):
    return flatbuffer.Model(pathlib.Path(path).read_bytes(), pathlib.Path(path).name)
