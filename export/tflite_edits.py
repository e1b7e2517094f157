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
# What computes sums of products, and rounds them to steps of its own.
_WITH_OWN_STEPS = (
    "ADD",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "SUB",
    "TRANSPOSE_CONV",
)


def compact(model, schema):
    """Drop what says nothing: half of a sampler's own size.

    That is the names of what is neither an input nor an output, descriptions of no quantization,
    copies of constants, tensors and names of operators that no longer occur, and zeros, which a
    loop begins with: FILL makes them. TFLite Micro would plan memory for unused tensors.
    """
    for subgraph in model.subgraphs:
        ports = {*subgraph.inputs, *subgraph.outputs}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in ports:
                tensor.name = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
    _fill_zeros(model, schema)
    _drop_unused_codes(model)
    _drop_unused_tensors(model)
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


def fix_shapes(model, schema):
    """Compute no shapes that are known but for the batch.

    A tensor whose shape is computed gets its memory anew in every run, and the kernels of XNNPACK
    may go on to read the old one: LiteRT 2.3 then gives wrong numbers from the second run on.
    RESHAPE infers one size by itself, and a constant that is spread over another tensor's shape is
    that tensor, limited to the constant. SLICE computes where it ends, STRIDED_SLICE is told.
    """
    for subgraph, operator in list(operators_of(model, schema, "RESHAPE")):
        _say_sizes(model, schema, subgraph, operator)
    for subgraph, operator in list(operators_of(model, schema, "BROADCAST_TO")):
        value, shape = operator.inputs
        _spread_by_limits(model, schema, subgraph, operator, int(value), int(shape))
    for subgraph, operator in list(operators_of(model, schema, "FILL")):
        shape, value = operator.inputs
        _spread_by_limits(model, schema, subgraph, operator, int(value), int(shape))
    for subgraph, operator in list(operators_of(model, schema, "SLICE")):
        _slice_by_ends(model, schema, subgraph, operator)
    for subgraph in model.subgraphs:
        _drop_unread(subgraph)


def _slice_by_ends(model, schema, subgraph, operator):
    """Put STRIDED_SLICE in the place of a SLICE that takes all of an axis, such as the batch."""
    start, size = (_constant(model, schema, subgraph, int(i)) for i in operator.inputs[1:])
    if start is None or size is None or not np.any(size < 0):
        return
    ends = np.where(size < 0, 0, start + size).astype(np.int32)
    steps = np.ones(len(size), np.int32)
    constants = [add_constant(model, schema, subgraph, array) for array in (ends, steps)]
    operator.opcodeIndex = code_index(model, schema, "STRIDED_SLICE")
    operator.inputs = [*operator.inputs[:2], *constants]
    operator.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
    operator.builtinOptions = schema.StridedSliceOptionsT()
    operator.builtinOptions.endMask = sum(1 << axis for axis in np.flatnonzero(size < 0).tolist())


def _say_sizes(model, schema, subgraph, operator):
    """Give a RESHAPE whose sizes are computed those that are known, and -1 where one is not."""
    if len(operator.inputs) != 2:
        return
    if _constant(model, schema, subgraph, int(operator.inputs[1])) is not None:
        return
    sizes = _sizes_of_rows(model, schema, subgraph, int(operator.outputs[0]))
    if sizes is None or np.sum(np.asarray(sizes) < 0) != 1:
        return
    shape = np.array(sizes, "int32")
    operator.inputs = [operator.inputs[0], add_constant(model, schema, subgraph, shape)]
    # It may say its shape twice.
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions = schema.ReshapeOptionsT()
    operator.builtinOptions.newShape = shape


def _sizes_of_rows(model, schema, subgraph, index):
    """A tensor's sizes, -1 where unknown; of a matrix also by the product that reads it."""
    tensor = subgraph.tensors[index]
    sizes = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    if sizes is None or list(sizes) != [-1, -1]:
        return sizes
    readers = [op for op in subgraph.operators if index in [int(i) for i in op.inputs]]
    for reader in readers:
        is_product = is_kind(model.operatorCodes[reader.opcodeIndex], schema, "FULLY_CONNECTED")
        weights = subgraph.tensors[reader.inputs[1]].shape if is_product else None
        if weights is None or int(reader.inputs[0]) != index:
            return sizes
    return [-1, int(weights[1])] if readers else sizes


def _spread_by_limits(model, schema, subgraph, operator, value, shape):
    """Put MAXIMUM and MINIMUM of a tensor and a constant in the place of what spreads the constant.

    Args:
        operator: That which spreads it.
        value, shape: Indices of what it spreads, and of the sizes to which, those of a tensor.
    """
    number = _constant(model, schema, subgraph, value)
    sources = [
        int(made.inputs[0])
        for where, made in operators_of(model, schema, "SHAPE")
        if where is subgraph and int(made.outputs[0]) == shape
    ]
    if number is None or number.size != 1 or not sources:
        return
    [like] = sources
    if subgraph.tensors[like].type != subgraph.tensors[value].type:
        return
    limit = add_constant(model, schema, subgraph, number.reshape(()))
    between = schema.TensorT()
    source = subgraph.tensors[like]
    between.name, between.type, between.hasRank = b"", source.type, True
    between.shape, between.shapeSignature = source.shape, source.shapeSignature
    subgraph.tensors.append(between)
    middle = len(subgraph.tensors) - 1
    place = subgraph.operators.index(operator)
    made = []
    for name, inputs, outputs in (
        ("MAXIMUM", [like, limit], [middle]),
        ("MINIMUM", [middle, limit], operator.outputs),
    ):
        found = schema.OperatorT()
        found.opcodeIndex = code_index(model, schema, name)
        found.inputs, found.outputs = inputs, outputs
        found.builtinOptionsType = schema.BuiltinOptions.MaximumMinimumOptions
        found.builtinOptions = schema.MaximumMinimumOptionsT()
        made.append(found)
    subgraph.operators[place : place + 1] = made


def _drop_unread(subgraph):
    """Drop operators none of whose outputs is read, and those that they alone read."""
    while True:
        read = {int(i) for op in subgraph.operators for i in op.inputs} | {
            int(i) for i in subgraph.outputs
        }
        kept = [op for op in subgraph.operators if any(int(out) in read for out in op.outputs)]
        if len(kept) == len(subgraph.operators):
            return
        subgraph.operators = kept


def _drop_unused_codes(model):
    """Keep those entries of the list of operators that an operator is of."""
    every = [operator for subgraph in model.subgraphs for operator in subgraph.operators]
    used = sorted({operator.opcodeIndex for operator in every})
    places = {old: new for new, old in enumerate(used)}
    for operator in every:
        operator.opcodeIndex = places[operator.opcodeIndex]
    model.operatorCodes = [model.operatorCodes[old] for old in used]


def _drop_unused_tensors(model):
    """Keep those tensors of each subgraph that an operator or a port is of."""
    for at, subgraph in enumerate(model.subgraphs):
        lists = ("inputs", "outputs", "intermediates")
        holders = [(subgraph, name) for name in lists[:2]]
        holders += [(operator, name) for operator in subgraph.operators for name in lists]
        holders = [(each, name) for each, name in holders if getattr(each, name) is not None]
        # A negative one stands for an input that is left out.
        used = {int(i) for each, name in holders for i in getattr(each, name) if i >= 0}
        ports = [
            port
            for signature in model.signatureDefs or ()
            if signature.subgraphIndex == at
            for port in (*(signature.inputs or ()), *(signature.outputs or ()))
        ]
        used |= {port.tensorIndex for port in ports}
        places = {old: new for new, old in enumerate(sorted(used))}
        for each, name in holders:
            setattr(each, name, [places.get(int(i), -1) for i in getattr(each, name)])
        for port in ports:
            port.tensorIndex = places[port.tensorIndex]
        subgraph.tensors = [subgraph.tensors[old] for old in sorted(used)]


def _constant(model, schema, subgraph, index):
    """The array of a constant float32 or int32 tensor, or None."""
    tensor = subgraph.tensors[index]
    data = model.buffers[tensor.buffer].data
    kinds = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32}
    if data is None or len(data) == 0 or tensor.type not in kinds:
        return None
    return np.frombuffer(bytes(data), kinds[tensor.type])


def _fill_zeros(model, schema):
    """Let FILL make the zeros of float32 constants that loops begin with."""
    code = len(model.operatorCodes)
    for subgraph, loop in list(operators_of(model, schema, "WHILE")):
        for index in loop.inputs:
            tensor = subgraph.tensors[index]
            data = model.buffers[tensor.buffer].data
            large = data is not None and len(data) >= 4 * quantization.SMALLEST_WEIGHT
            if tensor.type != schema.TensorType.FLOAT32 or not large or np.any(data):
                continue
            shape = np.array(tensor.shape, np.int32)
            inputs = [
                add_constant(model, schema, subgraph, array)
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


def store_weights(model, schema, quantize, vectors=()):
    """Store the weights of matrix products and convolutions in fewer bits.

    A DEQUANTIZE operator, which the runtime executes once, gives them back as float32.

    Args:
        model, schema: As of all edits.
        quantize: Str.
        vectors: Set of bytes: tables of learned vectors, which are stored in fewer bits, too.
    """
    code = _operator_code(schema, "DEQUANTIZE", 3 if quantize == "float16" else 5)
    stored = {}
    pending = [(*pair, 1) for pair in operators_of(model, schema, *WEIGHT_AXES)]
    pending += [(*pair, 0) for pair in operators_of(model, schema, "GATHER") if vectors]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    model.operatorCodes.append(code)
    for subgraph, operator, place in pending:
        index = operator.inputs[place]
        tensor = subgraph.tensors[index]
        data = model.buffers[tensor.buffer].data
        is_float = tensor.type == schema.TensorType.FLOAT32
        if not is_float or data is None or len(data) < 4 * quantization.SMALLEST_WEIGHT:
            continue
        if place == 0 and bytes(data) not in vectors:
            continue
        axis = WEIGHT_AXES.get(names[codes[operator.opcodeIndex]], 1)
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

    Beyond 6.25 the output is within one step of 0 or 1, and logits reach 50. It is left alone where
    another operator reads it too, as in `x * sigmoid(x)`, or where what makes it has no steps of
    its own: those of what SPLIT or RESHAPE takes and gives are the same.
    """
    makers = {
        id(operator): list(operator.outputs)
        for _, operator in operators_of(model, schema, *_WITH_OWN_STEPS)
    }
    for subgraph, operator in operators_of(model, schema, "LOGISTIC"):
        logits = operator.inputs[0]
        readers = sum(list(each.inputs).count(logits) for each in subgraph.operators)
        is_made = any(logits in makers.get(id(each), ()) for each in subgraph.operators)
        if readers > 1 or not is_made or logits in subgraph.outputs:
            continue
        scheme = subgraph.tensors[logits].quantization
        if scheme is not None and scheme.scale is not None and scheme.scale[0] > LOGIT_STEP:
            scheme.scale = np.array([LOGIT_STEP], np.float32)
            scheme.zeroPoint = np.array([0], np.int64)


def operators_of(model, schema, *names):
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


def is_kind(code, schema, name):
    kind = getattr(schema.BuiltinOperator, name)
    return max(code.builtinCode, code.deprecatedBuiltinCode) == kind


def code_index(model, schema, name):
    """Which entry of the file's operators a builtin is, of its first version; made if need be."""
    for index, code in enumerate(model.operatorCodes):
        if is_kind(code, schema, name) and code.version == 1:
            return index
    model.operatorCodes.append(_operator_code(schema, name, 1))
    return len(model.operatorCodes) - 1


def _operator_code(schema, name, version):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = version
    return code


def add_constant(model, schema, subgraph, array):
    """The index of a new constant in a subgraph."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    model.buffers.append(buffer)
    kinds = {
        "int32": schema.TensorType.INT32,
        "int64": schema.TensorType.INT64,
        "float32": schema.TensorType.FLOAT32,
        "int8": schema.TensorType.INT8,
        "bool": schema.TensorType.BOOL,
    }
    tensor.name, tensor.shape, tensor.hasRank = b"", list(array.shape), True
    tensor.type, tensor.buffer = kinds[array.dtype.name], len(model.buffers) - 1
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1
