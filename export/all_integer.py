"""All-integer TFLite files of those that JAX makes, by ai-edge-quantizer.

TensorFlow's converter makes its own.
"""

import copy
import warnings

import numpy as np

from export import graphs, tflite_edits
from export.errors import ExportError
from keras_vae.exceptions import one_line


def quantized(graph, content, inputs):
    """Let a file compute in 8-bit integers.

    Args:
        graph: The `Graph`.
        content: Bytes of its float32 file, whose signature is named after the graph and takes any
            number of examples, and each of whose tensors has a name of its own.
        inputs: Dict of arrays, typical inputs: the range of a tensor is that of its values.

    Returns:
        Bytes. What was float32 of its inputs and outputs is int8.

    Raises:
        ExportError: If an operator has no form of whole numbers.
    """
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.calibrator import CalibrationMode

    made = quantizer.Quantizer(content, recipe.static_wi8_ai8())
    # The other mode reads tensors that nothing uses, too, and fails.
    mode = CalibrationMode.CALIBRATION_PROFILER_BASED
    try:
        with warnings.catch_warnings():
            # Of an interpreter that the quantizer itself uses.
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
            ranges = made.calibrate({graph.name: [inputs]}, num_threads=1, mode=mode)
            result = made.quantize(ranges, enable_progress_report=False)
    except (RuntimeError, ValueError, NotImplementedError) as err:
        raise ExportError(
            f"ai-edge-quantizer cannot express the `{graph.name}` graph in whole numbers: "
            f'{one_line(err)}. Take quantize="int8".'
        ) from err
    return bytes(result.quantized_model)


def prepare(model, schema):
    """An edit that gives each tensor a name of its own, and puts MAXIMUM in the place of MINIMUM.

    ai-edge-quantizer 0.10 tells tensors by their names, and has no MINIMUM.
    """
    for subgraph, operator in list(tflite_edits.operators_of(model, schema, "MINIMUM")):
        made = subgraph.tensors[operator.outputs[0]]
        if made.type == schema.TensorType.FLOAT32:
            _by_maximum(model, schema, subgraph, operator)
    taken = set()
    for at, subgraph in enumerate(model.subgraphs):
        for index, tensor in enumerate(subgraph.tensors):
            name = bytes(tensor.name or b"")
            tensor.name = name if name and name not in taken else name + f"#{at}_{index}".encode()
            taken.add(tensor.name)


def _by_maximum(model, schema, subgraph, operator):
    """Write the smaller of two as the negative of the larger of their negatives."""
    minus = tflite_edits.add_constant(model, schema, subgraph, np.array(-1, np.float32))
    place = subgraph.operators.index(operator)
    made = []

    def add(name, options, inputs, output):
        found = schema.OperatorT()
        found.opcodeIndex = tflite_edits.code_index(model, schema, name)
        found.inputs, found.outputs = inputs, [output]
        found.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        found.builtinOptions = getattr(schema, f"{options}T")()
        made.append(found)
        return output

    def like(index):
        subgraph.tensors.append(copy.copy(subgraph.tensors[index]))
        subgraph.tensors[-1].name, subgraph.tensors[-1].buffer = b"", 0
        return len(subgraph.tensors) - 1

    negated = [add("MUL", "MulOptions", [i, minus], like(i)) for i in operator.inputs]
    [output] = operator.outputs
    larger = add("MAXIMUM", "MaximumMinimumOptions", negated, like(output))
    add("MUL", "MulOptions", [larger, minus], output)
    subgraph.operators[place : place + 1] = made


def hold(content):
    """An edit that puts weights which lie behind a file's description into it.

    Args:
        content: Bytes of the file.
    """

    def put(model, schema):
        for buffer in model.buffers:
            if buffer.offset > 1:
                buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0

    return put


def join(model, schema):
    """An edit that lets LEAKY_RELU and what looks up a constant table take and give int8.

    The quantizer widens what the first reads, and rounds what either gives.
    """
    for subgraph, operator in tflite_edits.operators_of(model, schema, "DEQUANTIZE", "QUANTIZE"):
        given, made = (subgraph.tensors[each[0]] for each in (operator.inputs, operator.outputs))
        made.shapeSignature = given.shapeSignature
    widened = {
        (id(subgraph), int(operator.outputs[0])): operator.inputs[0]
        for subgraph, operator in tflite_edits.operators_of(model, schema, "DEQUANTIZE")
    }
    for subgraph, operator in list(tflite_edits.operators_of(model, schema, "LEAKY_RELU")):
        given = widened.get((id(subgraph), int(operator.inputs[0])))
        if given is not None and _rounds_itself(model, schema, subgraph, operator):
            operator.inputs = [given]
            code = model.operatorCodes[operator.opcodeIndex]
            code.version = max(code.version, 2)
    for subgraph, operator in list(tflite_edits.operators_of(model, schema, "GATHER_ND")):
        table = subgraph.tensors[operator.inputs[0]]
        data = model.buffers[table.buffer].data
        is_known = table.type == schema.TensorType.FLOAT32 and data is not None and len(data)
        if is_known and _rounds_itself(model, schema, subgraph, operator):
            scheme = subgraph.tensors[operator.outputs[0]].quantization
            values = np.frombuffer(bytes(data), np.float32).reshape(table.shape)
            levels = np.round(values / scheme.scale[0]) + scheme.zeroPoint[0]
            levels = np.clip(levels, -128, 127).astype(np.int8)
            index = tflite_edits.add_constant(model, schema, subgraph, levels)
            subgraph.tensors[index].quantization = scheme
            operator.inputs = [index, operator.inputs[1]]


def _rounds_itself(model, schema, subgraph, operator):
    """Let an operator give what QUANTIZE, if that alone reads it, makes of it; tell whether."""
    [made] = operator.outputs
    readers = [each for each in subgraph.operators if made in each.inputs]
    found = [each for _, each in tflite_edits.operators_of(model, schema, "QUANTIZE")]
    if len(readers) != 1 or not any(each is readers[0] for each in found):
        return False
    operator.outputs = readers[0].outputs
    subgraph.operators = [each for each in subgraph.operators if each is not readers[0]]
    return True


def check(graph, model, schema):
    """Raise an ExportError that names operators which go on to compute in float32."""
    codes = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    found = []
    widened = {
        (id(subgraph), int(operator.outputs[0]))
        for subgraph, operator in tflite_edits.operators_of(model, schema, "DEQUANTIZE")
    }
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            if any((id(subgraph), int(index)) in widened for index in operator.inputs):
                code = model.operatorCodes[operator.opcodeIndex]
                place = subgraph.tensors[operator.outputs[0]].name.decode()
                name = codes[max(code.builtinCode, code.deprecatedBuiltinCode)]
                found.append((name, place.partition(";")[0].removeprefix("jit(call)/")))
    if found:
        where = 'operators that ai-edge-quantizer has in whole numbers (quantize="int8" has others)'
        raise graphs.unknown_operators(graph, where, found)
