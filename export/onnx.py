"""ONNX files: writing, running and reading them."""

import contextlib
import importlib.metadata
import math
import pathlib

import numpy as np

from export import graphs, manifest, onnx_doubling, onnx_torch, quantization, tracing
from export.errors import ExportError
from export.onnx_graphs import graphs_of, graphs_within, is_read
from keras_vae.exceptions import one_line

SUFFIX = ".onnx"
QUANTIZATIONS = ("none", "float16", "int8", "exact")
# What each converter needs.
PACKAGES = {
    "tensorflow": ("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
    "torch": ("torch", "onnxscript", "onnx", "onnxruntime"),
}

_STANDARD_DOMAINS = ("", "ai.onnx")
_FORBIDDEN = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def converter():
    """Name and version of the converter, that of the backend on which Keras runs."""
    if _on_torch():
        return onnx_torch.converter()
    return f"tf2onnx {importlib.metadata.version('tf2onnx')}"


def convert(graph, quantize="none", calibration=None, opset=graphs.OPSET):
    """Convert a graph to an ONNX model, its batch axis named `batch`.

    Args:
        graph: The `Graph`.
        quantize: One of `QUANTIZATIONS`.
        calibration: Unused; the weights are all that is quantized.
        opset: Int, `graphs.OPSET` or a later version of the operators.

    Returns:
        `onnx.ModelProto`.

    Raises:
        ExportError: If the converter refuses the graph.
    """
    made = onnx_torch.convert(graph, graphs.OPSET) if _on_torch() else _convert(graph)
    model = _declared(graph, made)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    if quantize != "none":
        _store_weights(model, quantize, tracing.learned_vectors(graph.model))
    onnx_doubling.transpose_doublings(model, shapes)
    for tensor in [t for t in model.graph.initializer if not is_read(model, t.name)]:
        model.graph.initializer.remove(tensor)
    return model if opset == graphs.OPSET else _of_opset(graph, model, opset)


def check_opset(opset):
    """Raise a ValueError unless files can be of a version of the operators."""
    import onnx

    latest = onnx.defs.onnx_opset_version()
    if type(opset) is not int or not graphs.OPSET <= opset <= latest:
        raise ValueError(
            f"`opset` must be a whole number from {graphs.OPSET} to {latest}, the latest of onnx "
            f"{onnx.__version__}. Received: {opset!r}."
        )


def write(content, path, manifest_data=None):
    """Write a converted file.

    Args:
        content: `onnx.ModelProto`, as `convert` returns it.
        path: Where to write.
        manifest_data: Optional bytes, stored as the metadata property `keras_vae`.
    """
    if manifest_data is not None:
        content.metadata_props.add(key=manifest.KEY, value=manifest_data.decode("utf-8"))
    pathlib.Path(path).write_bytes(content.SerializeToString(deterministic=True))


def load(path):
    """Load a file into the real runtime.

    Args:
        path: An ONNX file.

    Returns:
        A function from a dict of NumPy inputs to a dict of NumPy outputs.

    Raises:
        ValueError: If the runtime refuses the file or the inputs.
    """
    import onnxruntime

    name = pathlib.Path(path).name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    refusals = _runtime_errors()
    try:
        # From bytes, a file has no folder to take further files from.
        session = onnxruntime.InferenceSession(
            pathlib.Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except refusals as err:
        raise ValueError(f"ONNX Runtime cannot load {name}: {one_line(err)}") from err
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs):
        try:
            return dict(zip(outputs, session.run(outputs, inputs), strict=True))
        except refusals as err:
            raise ValueError(f"ONNX Runtime cannot run {name}: {one_line(err)}") from err

    return run


def try_runtime(path):
    """Load a file as a device does, without a look at it first.

    Raises:
        ValueError: With the words of the runtime, where it refuses the file.
    """
    try:
        load(path)
    except ValueError as err:
        raise ValueError(f"ONNX Runtime says: {one_line(err.__cause__)}") from err


def programs(path):
    """Every way to call the file: name, the batch sizes it takes, and a function to call.

    Yields:
        Tuples `(name, batch_sizes, run)`.
    """
    [signature] = describe(path)["signatures"]
    yield signature["name"], graphs.BATCH_SIZES, load(path)


def read_manifest(path):
    """The manifest of an ONNX file, without running it.

    Raises:
        ValueError: If the file is damaged or holds no manifest.
    """
    with _damage_named(path):
        properties = {entry.key: entry.value for entry in _read(path).metadata_props}
    value = properties.get(manifest.KEY)
    name = pathlib.Path(path).name
    return manifest.loads(None if value is None else _text(value).encode("utf-8"), name)


def describe(path):
    """Inputs and outputs, and the operators, without running the file.

    Raises:
        ValueError: If the file is damaged.
    """
    with _damage_named(path):
        model = _read(path)
        signature = {
            "name": _text(model.graph.name),
            "inputs": [_port(value) for value in model.graph.input],
            "outputs": [_port(value) for value in model.graph.output],
        }
        return {"signatures": [signature], "operators": sorted(set(_operators(model)))}


def forbidden_operators(path):
    """Operators outside the standard domain, or that draw."""
    model = _read(path)
    domains = {entry.domain for entry in model.opset_import} - set(_STANDARD_DOMAINS)
    found = {name for name in _operators(model) if "." in name or name in _FORBIDDEN}
    return sorted(found | {f"domain {domain}" for domain in domains})


def _convert(graph):
    import onnx
    import tensorflow as tf
    import tf2onnx

    traced = graph.trace(format="onnx")
    try:
        model, _ = tf2onnx.convert.from_function(
            traced, input_signature=traced.input_signature, opset=graphs.OPSET
        )
    except (ValueError, NotImplementedError, tf.errors.OpError) as err:
        raise ExportError(
            f"tf2onnx cannot express the `{graph.name}` graph in ONNX opset {graphs.OPSET}: "
            f"{one_line(err)}"
        ) from err
    refused = [
        (node.op_type, node.name)
        for node in model.graph.node
        if not onnx.defs.has(node.op_type, graphs.OPSET, node.domain)
    ]
    if refused:
        raise graphs.unknown_operators(graph, f"ONNX opset {graphs.OPSET}", refused)
    _free_of_invariants(model)
    for node in model.graph.node:
        if node.op_type == "Resize":
            _modernize_resize(node)
    return model


def _on_torch():
    import keras

    return keras.backend.backend() == "torch"


def _declared(graph, model):
    """A converted model with the names and shapes of a graph, checked.

    Converters name the batch axis as they like, and import domains that they do not use.
    """
    import onnx

    model.graph.name = graph.name
    del model.graph.value_info[:]
    del model.opset_import[:]
    model.opset_import.add(domain="", version=graphs.OPSET)
    declared = {spec.name: spec for spec in (*graph.inputs, *graph.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        spec = declared[value.name]
        value.type.tensor_type.shape.CopyFrom(
            onnx.helper.make_tensor_type_proto(
                onnx.TensorProto.FLOAT,
                ("batch" if spec.batched else spec.shape[0], *spec.shape[1:]),
            ).tensor_type.shape
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        name = converter().partition(" ")[0]
        raise ExportError(f"{name} made an invalid model: {one_line(err)}") from err
    return model


def _of_opset(graph, model, opset):
    """A converted model of a later version of the operators.

    Raises:
        ExportError: If ONNX cannot say what they are in that version.
    """
    import onnx

    try:
        made = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(made, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        raise ExportError(
            f"ONNX cannot bring the `{graph.name}` graph to opset {opset}: {one_line(err)}. "
            f"Take opset {graphs.OPSET}."
        ) from err
    return made


def _free_of_invariants(model):
    """Let the body of a loop read what no step changes, such as weights, from around the loop.

    tf2onnx hands it from step to step, so that a weight is no constant there.
    """
    for loop in (node for node in model.graph.node if node.op_type == "Loop"):
        [body] = [entry.g for entry in loop.attribute if entry.name == "body"]
        # Before the values that are handed on stand the step and whether to go on, behind what
        # leaves the body those that are gathered from every step.
        kept, outside, count = [], {}, len(loop.input) - 2
        ends = loop.output[:count], body.input[2:], body.output[1 : 1 + count]
        carried = zip(loop.input[2:], *ends, strict=True)
        for place, (given, made, before, after) in enumerate(carried):
            if before.name == after.name and not is_read(model, made):
                outside[before.name] = given
            else:
                kept.append(place)
        for field, first in ((loop.input, 2), (loop.output, 0), (body.input, 2), (body.output, 1)):
            handed_on = [field[first + place] for place in kept]
            entries = [*field[:first], *handed_on, *field[first + count :]]
            del field[:]
            field.extend(entries)
        for node in (node for graph in graphs_within(body) for node in graph.node):
            for place, name in enumerate(node.input):
                node.input[place] = outside.get(name, name)


def _store_weights(model, quantize, vectors):
    """Store the weights of matrix products and convolutions, and learned vectors, in fewer bits.

    Cast (and Mul by the step) give them back as float32. ONNX Runtime does that once, when it
    loads the file; DequantizeLinear, the operator made for it, it would execute in every run.
    """
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    widen = []
    for node in (node for graph in graphs_of(model) for node in graph.node):
        axis = _weight_axis(node)
        place = 0 if node.op_type == "Gather" else 1
        tensor = weights.get(node.input[place]) if axis is not None else None
        if tensor is None:
            continue
        array = numpy_helper.to_array(tensor)
        if place == 0 and array.tobytes() not in vectors:
            continue
        del weights[tensor.name]
        if array.dtype != np.float32 or array.size < quantization.SMALLEST_WEIGHT:
            continue
        name, stored = tensor.name, None
        if quantize != "float16":
            stored = quantization.STORED[quantize](array, axis)
            if stored is None:
                continue
            array, step = stored
            shape = [1] * array.ndim
            shape[axis] = -1
            step = numpy_helper.from_array(step.reshape(shape), f"{name}_step")
            model.graph.initializer.append(step)
            widen.append(helper.make_node("Mul", [f"{name}_levels", step.name], [name]))
        else:
            array = array.astype(np.float16)
        target = f"{name}_levels" if stored else name
        cast = helper.make_node("Cast", [f"{name}_stored"], [target], to=1)
        widen.insert(0, cast)
        tensor.CopyFrom(numpy_helper.from_array(array, f"{name}_stored"))
    nodes = [*widen, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _weight_axis(node):
    """The axis of the output channels in a node's weights, or None where it has none.

    They are its second input, of a look-up its first.
    """
    if node.op_type == "Gemm":
        transposed = any(entry.name == "transB" and entry.i for entry in node.attribute)
        return 0 if transposed else 1
    return {"Gather": 1, "MatMul": -1, "Conv": 0, "ConvTranspose": 1}.get(node.op_type)


def _modernize_resize(node):
    """Take TensorFlow's nearest resize out of the mode that ONNX deprecated in opset 13.

    Both choose pixel `floor((i + 0.5) / scale)`; for the old one ONNX Runtime 1.31 prints a
    warning whenever it loads the file.
    """
    attributes = {attribute.name: attribute for attribute in node.attribute}
    coordinates = attributes.get("coordinate_transformation_mode")
    if coordinates is not None and coordinates.s == b"tf_half_pixel_for_nn":
        coordinates.s = b"half_pixel"
        attributes["nearest_mode"].s = b"round_prefer_ceil"


def _read(path):
    import onnx

    path = pathlib.Path(path)
    content = path.read_bytes()
    model = onnx.load_model_from_string(content)
    if not model.ir_version or not model.graph.node:
        raise ValueError(f"{path.name} is no ONNX file, or is cut off: it holds no graph.")
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(
                f"{path.name} must hold all of its weights. Received: a tensor whose data are in "
                "another file. Export it again with python -m export."
            )
        # Two values of four bits fit into a byte.
        if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > 2 * len(content):
            raise ValueError(
                f"{path.name} is damaged: it says of a tensor that its shape is "
                f"{one_line(list(tensor.dims), 60)}, and holds {len(content)} bytes."
            )
    return model


@contextlib.contextmanager
def _damage_named(path):
    """Turn what protobuf raises into one line; a text is decoded only when it is read."""
    import google.protobuf.message

    try:
        yield
    except (google.protobuf.message.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ValueError(
            f"{pathlib.Path(path).name} is no ONNX file, or is damaged or cut off."
        ) from err


def _operators(model):
    for graph in graphs_of(model):
        for node in graph.node:
            domain, operator = _text(node.domain), _text(node.op_type)
            yield operator if domain in _STANDARD_DOMAINS else f"{domain}.{operator}"


def _tensors(model):
    """Every tensor that a model stores: weights, and constants of its operators."""
    for graph in graphs_of(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _port(value):
    import onnx

    kind = value.type.tensor_type.elem_type
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return {
        "name": _text(value.name),
        "dtype": {"FLOAT": "float32"}.get(names.get(kind), str(names.get(kind, kind)).lower()),
        "shape": [
            _text(size.dim_param) or int(size.dim_value)
            for size in value.type.tensor_type.shape.dim
        ],
    }


def _text(value):
    """A text of the file: protobuf gives bytes where it is no UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _runtime_errors():
    """ONNX Runtime's exceptions, which share no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (kind for kind in vars(state).values() if isinstance(kind, type))
    return (*(kind for kind in own if issubclass(kind, Exception)), ValueError, RuntimeError)
