"""Spreads tensors of TFLite files by operators that take a quarter of the time of BROADCAST_TO."""

import numpy as np

from export import tflite_edits


def spread_cheaply(model, schema):
    """An edit (`tflite_edits`) of files that `litert-converter` makes.

    A nearest-neighbour upsampling, which comes as two BROADCAST_TO between three RESHAPE, becomes
    RESIZE_NEAREST_NEIGHBOR, and another BROADCAST_TO along other axes than the first a product
    with ones.
    """
    for subgraph in model.subgraphs:
        _upsample(model, schema, subgraph)
    for subgraph, operator in list(tflite_edits.operators_of(model, schema, "BROADCAST_TO")):
        _multiply(model, schema, subgraph, operator)


def _upsample(model, schema, subgraph):
    kinds = ("RESHAPE", "BROADCAST_TO", "RESHAPE", "BROADCAST_TO", "RESHAPE")
    for first in list(subgraph.operators):
        chain = _chain(model, schema, subgraph, first, kinds)
        sizes = [_sizes(subgraph, operator.outputs[0]) for operator in chain]
        factors = _factors(sizes)
        if factors is None:
            continue
        batch, height, _, width, channels = sizes[0]
        large = [height * factors[0], width * factors[1]]
        place = subgraph.operators.index(chain[-1])
        image = int(first.inputs[0])
        made = []
        if _sizes(subgraph, image) != [batch, height, width, channels]:
            shape = np.array([batch, height, width, channels], np.int32)
            image = _tensor(schema, subgraph, shape, subgraph.tensors[image].type)
            first.inputs = [
                int(first.inputs[0]),
                tflite_edits.add_constant(model, schema, subgraph, shape),
            ]
            first.outputs, first.builtinOptions = [image], schema.ReshapeOptionsT()
            first.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            first.builtinOptions.newShape = shape
            made.append(first)
        resize = schema.OperatorT()
        resize.opcodeIndex = tflite_edits.code_index(model, schema, "RESIZE_NEAREST_NEIGHBOR")
        size = tflite_edits.add_constant(model, schema, subgraph, np.array(large, np.int32))
        resize.inputs, resize.outputs = [image, size], [int(chain[-1].outputs[0])]
        resize.builtinOptionsType = schema.BuiltinOptions.ResizeNearestNeighborOptions
        resize.builtinOptions = schema.ResizeNearestNeighborOptionsT()
        subgraph.operators[place : place + 1] = [*made, resize]
        for operator in chain[:-1]:
            # By identity, for `first` may be in its new place.
            at = next(i for i, each in enumerate(subgraph.operators) if each is operator)
            if not (operator is first and at >= place):
                del subgraph.operators[at]
                place -= 1


def _chain(model, schema, subgraph, first, kinds):
    """The operators of some kinds that follow each other, each read by the next alone; or []."""
    chain = [first]
    for kind in kinds:
        if not tflite_edits.is_kind(model.operatorCodes[chain[-1].opcodeIndex], schema, kind):
            return []
        if len(chain) == len(kinds):
            return chain
        out = int(chain[-1].outputs[0])
        readers = [op for op in subgraph.operators if out in [int(i) for i in op.inputs]]
        if len(readers) != 1 or out in [int(i) for i in subgraph.outputs]:
            return []
        chain.append(readers[0])
    return []


def _factors(sizes):
    """By how much height and width grow in such a chain, or None if it is another."""
    if [len(each) for each in sizes] != [5, 5, 5, 5, 4]:
        return None
    batch, height, one, width, channels = sizes[0]
    by_height, by_width = sizes[1][2], sizes[3][3]
    tall = height * by_height
    expected = [
        [batch, height, 1, width, channels],
        [batch, height, by_height, width, channels],
        [batch, tall, width, 1, channels],
        [batch, tall, width, by_width, channels],
        [batch, tall, width * by_width, channels],
    ]
    if one != 1 or sizes != expected:
        return None
    # As the runtime computes which pixel is the nearest.
    for size, factor in ((height, by_height), (width, by_width)):
        scale = np.float32(size) / np.float32(size * factor)
        nearest = np.floor(np.arange(size * factor, dtype=np.float32) * scale)
        if np.any(nearest != np.repeat(np.arange(size), factor)):
            return None
    return by_height, by_width


def _multiply(model, schema, subgraph, operator):
    index, out = int(operator.inputs[0]), int(operator.outputs[0])
    kinds = schema.TensorType
    dtypes = {kinds.FLOAT32: np.float32, kinds.INT32: np.int32}
    mine, its = _sizes(subgraph, index), _sizes(subgraph, out)
    dtype = dtypes.get(subgraph.tensors[index].type)
    if dtype is None or not mine or len(mine) != len(its) or mine[0] != its[0]:
        return
    ones = np.ones([1 if a == b else b for a, b in zip(mine, its, strict=True)], dtype)
    operator.opcodeIndex = tflite_edits.code_index(model, schema, "MUL")
    operator.inputs = [index, tflite_edits.add_constant(model, schema, subgraph, ones)]
    operator.builtinOptionsType = schema.BuiltinOptions.MulOptions
    operator.builtinOptions = schema.MulOptionsT()


def _tensor(schema, subgraph, shape, kind):
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.hasRank, tensor.shape = b"", kind, True, shape
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1


def _sizes(subgraph, index):
    shape = subgraph.tensors[int(index)].shape
    return [] if shape is None else [int(size) for size in shape]
