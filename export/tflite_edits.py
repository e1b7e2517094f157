"""Changes of converted TFLite files: smaller ones, weights of fewer bits."""

import numpy as np

from export import quantization

# The axis of the output channels in the weights of each operator, which are its second input.
WEIGHT_AXES = {
    "FULLY_CONNECTED": 0,
    "CONV_2D": 0,
    "TRANSPOSE_CONV": 0,
    "DEPTHWISE_CONV_2D": 3,
}
LOGIT_STEP = 12.5 / 255


def compact(model, schema):
    """Drop what says nothing: half of a sampler's own size.

    That is the names of what is neither an input nor an output, descriptions of no quantization,
    copies of constants, and zeros, which a loop begins with: FILL makes them.
    """
    for subgraph in model.subgraphs:
        ports = {*subgraph.inputs, *subgraph.outputs}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in ports:
                tensor.name = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
    _fill_zeros(model, schema)
    kept, places = model.buffers[:1], {b"": 0}  # the first is that of what is no constant
    tensors = (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors)
    for holder in (*tensors, *(model.metadata or ())):
        buffer = model.buffers[holder.buffer]
        data = b"" if buffer.data is None else bytes(buffer.data)
        if data not in places:
            places[data] = len(kept)
            kept.append(buffer)
        holder.buffer = places[data]
    model.buffers = kept


def _fill_zeros(model, schema):
    """Let FILL make the zeros of float32 constants that loops begin with."""
    code = len(model.operatorCodes)
    for subgraph, loop in list(_operators_of(model, schema, "WHILE")):
        for index in loop.inputs:
            tensor = subgraph.tensors[index]
            data = model.buffers[tensor.buffer].data
            large = data is not None and len(data) >= 4 * quantization.SMALLEST_WEIGHT
            if tensor.type != schema.TensorType.FLOAT32 or not large or np.any(data):
                continue
            shape = np.array(tensor.shape, np.int32)
            inputs = [
                _add_constant(model, schema, subgraph, array)
                for array in (shape, np.zeros((), np.float32))
            ]
            fill = schema.OperatorT()
            fill.opcodeIndex, fill.inputs, fill.outputs = code, inputs, [int(index)]
            fill.builtinOptionsType = schema.BuiltinOptions.FillOptions
            fill.builtinOptions = schema.FillOptionsT()
            subgraph.operators.insert(0, fill)
            tensor.buffer = 0
            if len(model.operatorCodes) == code:
                model.operatorCodes.append(_operator_code(schema, "FILL", 1))


def store_weights(model, schema, quantize):
    """Store the weights of matrix products and convolutions in fewer bits.

    A DEQUANTIZE operator, which the runtime executes once, gives them back as float32.
    """
    code = _operator_code(schema, "DEQUANTIZE", 3 if quantize == "float16" else 5)
    stored = {}
    pending = list(_operators_of(model, schema, *WEIGHT_AXES))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    model.operatorCodes.append(code)
    for subgraph, operator in pending:
        index = operator.inputs[1]
        tensor = subgraph.tensors[index]
        data = model.buffers[tensor.buffer].data
        is_float = tensor.type == schema.TensorType.FLOAT32
        if not is_float or data is None or len(data) < 4 * quantization.SMALLEST_WEIGHT:
            continue
        axis = WEIGHT_AXES[names[codes[operator.opcodeIndex]]]
        if tensor.buffer not in stored:
            weights = np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)
            buffer, scheme = schema.BufferT(), None
            if quantize != "float16":
                found = quantization.STORED[quantize](weights, axis)
                if found is None:
                    continue
                weights, step = found
                scheme = schema.QuantizationParametersT()
                scheme.scale, scheme.quantizedDimension = step, axis
                scheme.zeroPoint = np.zeros(len(step), np.int64)
            else:
                weights = weights.astype(np.float16)
            buffer.data = np.frombuffer(weights.tobytes(), np.uint8)
            model.buffers.append(buffer)
            stored[tensor.buffer] = len(model.buffers) - 1, scheme
        narrow = schema.TensorT()
        narrow.name, narrow.shape, narrow.hasRank = b"", tensor.shape, True
        kind = schema.TensorType
        narrow.type = kind.FLOAT16 if quantize == "float16" else kind.INT8
        narrow.buffer, narrow.quantization = stored[tensor.buffer]
        subgraph.tensors.append(narrow)
        widen = schema.OperatorT()
        widen.opcodeIndex = len(model.operatorCodes) - 1
        widen.inputs, widen.outputs = [len(subgraph.tensors) - 1], [index]
        widen.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
        widen.builtinOptions = schema.DequantizeOptionsT()
        subgraph.operators.insert(0, widen)
        tensor.buffer = 0
    for buffer in stored:
        model.buffers[buffer].data = None


def saturate_logits(model, schema):
    """Spend the 8 bits of a sigmoid's input on the range in which its 8-bit output moves.

    Beyond 6.25 the output is within one step of 0 or 1, and logits reach 50.
    """
    for subgraph, operator in _operators_of(model, schema, "LOGISTIC"):
        scheme = subgraph.tensors[operator.inputs[0]].quantization
        if scheme is not None and scheme.scale is not None and scheme.scale[0] > LOGIT_STEP:
            scheme.scale = np.array([LOGIT_STEP], np.float32)
            scheme.zeroPoint = np.array([0], np.int64)


def _operators_of(model, schema, *names):
    """Pairs of a subgraph and an operator, for the operators of some names."""
    wanted = {
        index
        for index, code in enumerate(model.operatorCodes)
        if max(code.builtinCode, code.deprecatedBuiltinCode)
        in [getattr(schema.BuiltinOperator, name) for name in names]
    }
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            if operator.opcodeIndex in wanted:
                yield subgraph, operator


def _operator_code(schema, name, version):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = version
    return code


def _add_constant(model, schema, subgraph, array):
    """The index of a new constant in a subgraph."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    model.buffers.append(buffer)
    kinds = {"int32": schema.TensorType.INT32, "float32": schema.TensorType.FLOAT32}
    tensor.name, tensor.shape, tensor.hasRank = b"", list(array.shape), True
    tensor.type, tensor.buffer = kinds[array.dtype.name], len(model.buffers) - 1
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1
