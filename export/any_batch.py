"""Of two TFLite subgraphs that take 13 and 16 examples, one that takes any number.

A converter that knows every size makes the best operators. So a graph is converted twice, and where
the two differ the number of examples is told: in the shapes of tensors, and in constants such as
the sizes of a RESHAPE, of which each is replaced by what serves any number. What differs otherwise
is refused.
"""

import numpy as np

from export import tflite_edits
from export.errors import ExportError

# Prime to each other, so that no size is a multiple of both.
SIZES = (13, 16)

# Whose inputs are spread over each other.
_SPREADING = (
    "ADD",
    "SUB",
    "MUL",
    "DIV",
    "MAXIMUM",
    "MINIMUM",
    "POW",
    "EQUAL",
    "NOT_EQUAL",
    "LESS",
    "LESS_EQUAL",
    "GREATER",
    "GREATER_EQUAL",
    "FLOOR_MOD",
    "FLOOR_DIV",
    "SQUARED_DIFFERENCE",
    "LOGICAL_AND",
    "LOGICAL_OR",
    "RIGHT_SHIFT",
    "SELECT_V2",
)


def any_batch(model, schema, signature, twin):
    """Let a signature that takes `SIZES[0]` examples take any number.

    Args:
        model, schema: As of all edits (`tflite_edits`).
        signature: The name of the signature.
        twin: The name of the same graph's signature that takes `SIZES[1]`.

    Raises:
        ExportError: If the two differ by more than the number of examples.
    """
    found = {bytes(each.signatureKey).decode(): each for each in model.signatureDefs}
    subgraphs = [model.subgraphs[found[name].subgraphIndex] for name in (signature, twin)]
    _Pair(model, schema, *subgraphs).merge()


class _Pair:
    """A subgraph that is changed, and its twin."""

    def __init__(self, model, schema, subgraph, twin):
        self.model, self.schema, self.subgraph, self.twin = model, schema, subgraph, twin
        self.names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
        self.twins = dict(zip(map(int, subgraph.inputs), map(int, twin.inputs), strict=True))
        self.made = []
        self.zeros = None

    def merge(self):
        pairs = list(zip(self.subgraph.operators, self.twin.operators, strict=False))
        same_names = [self._name(one) == self._name(other) for one, other in pairs]
        if len(self.subgraph.operators) != len(self.twin.operators) or not all(same_names):
            raise self._refused("it is made of other operators")
        for one, other in pairs:
            places = ((one.inputs, other.inputs), (one.outputs, other.outputs))
            for mine, its in places:
                self.twins.update(zip(map(int, mine), map(int, its), strict=True))
        self.sizes = {index: self._sizes(index) for index in self.twins if index >= 0}
        for one in self.subgraph.operators:
            one.inputs = [int(index) for index in one.inputs]
            self._generalise(one)
        self.subgraph.operators = self.made
        for index, sizes in self.sizes.items():
            if -1 in sizes:
                tensor = self.subgraph.tensors[index]
                tensor.shape = np.abs(np.array(sizes, np.int32))
                tensor.shapeSignature = np.array(sizes, np.int32)

    def _generalise(self, operator):
        name = self._name(operator)
        changed = [
            place
            for place, index in enumerate(operator.inputs)
            if index >= 0 and self._differs(index)
        ]
        if name == "RESHAPE":
            self._reshape(operator)
        elif name == "BROADCAST_TO" and changed == [1]:
            return self._spread(operator)
        elif name == "SLICE" and changed == [2]:
            index = operator.inputs[2]
            operator.inputs[2] = self._constant(self._marked(index))
        elif name == "STRIDED_SLICE" and changed == [2]:
            self._slice_to_the_end(operator)
        elif name == "TRANSPOSE_CONV" and 0 in changed:
            operator.inputs[0] = self._shape_of(operator)
        else:
            for place in changed:
                operator.inputs[place] = self._rows(operator, name, operator.inputs[place])
        self.made.append(operator)
        return None

    def _reshape(self, operator):
        sizes = self.sizes[int(operator.outputs[0])]
        if sizes.count(-1) == 0:
            return
        if sizes.count(-1) > 1:
            raise self._refused("two sizes of a tensor depend on it")
        shape = np.array(sizes, np.int32)
        operator.inputs = [operator.inputs[0], self._constant(shape)]
        operator.builtinOptionsType = self.schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = self.schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = shape

    def _slice_to_the_end(self, operator):
        index = operator.inputs[2]
        begin = self._value(self.subgraph, operator.inputs[1])
        sizes = self.sizes[operator.inputs[0]]
        for axis in np.flatnonzero(self._marked(index) == -1):
            if begin[axis] or sizes[axis] != -1:
                raise self._refused("some of the examples are taken")
            operator.builtinOptions.endMask |= 1 << int(axis)

    def _spread(self, operator):
        """A product with ones, which spreads a tensor as BROADCAST_TO does."""
        index, out = operator.inputs[0], int(operator.outputs[0])
        sizes = [1] * (len(self.sizes[out]) - len(self.sizes[index])) + self.sizes[index]
        kinds = self.schema.TensorType
        is_bool = self.subgraph.tensors[index].type == kinds.BOOL
        if sizes.count(-1) < self.sizes[out].count(-1):
            name = "LOGICAL_OR" if is_bool else "ADD"
            index = self._operator(name, [index, self._zero_rows(index, out)], sizes=out)
            sizes = [-1 if s == -1 else m for m, s in zip(sizes, self.sizes[out], strict=True)]
            self._set_sizes(index, sizes)
        tensor = self.subgraph.tensors[index]
        factors = [
            1 if mine == size else size for mine, size in zip(sizes, self.sizes[out], strict=True)
        ]
        if is_bool:
            name, other = "LOGICAL_OR", self._constant(np.zeros(factors, bool))
        else:
            name, other = "MUL", self._constant(np.ones(factors, self._dtype(tensor)))
        self._operator(name, [index, other], out)

    def _rows(self, operator, name, index):
        """A constant in place of one that has the same row for each example."""
        rows = self._value(self.subgraph, index)
        if self.sizes[index][0] != -1 or self.sizes[index].count(-1) != 1:
            raise self._refused(f"a constant of {name} depends on it")
        if np.any(rows != rows[:1]) or np.any(rows[:1] != self._twin_value(index)[:1]):
            raise self._refused(f"a constant of {name} numbers them")
        row = self._constant(rows[:1])
        full = self.sizes[int(operator.outputs[0])]
        others = [other for other in operator.inputs if other != index]
        if name in _SPREADING and any(self.sizes[other] == full for other in others):
            return row
        kinds = self.schema.TensorType
        is_bool = self.subgraph.tensors[index].type == kinds.BOOL
        name = "LOGICAL_OR" if is_bool else "ADD"
        return self._operator(name, [row, self._zero_rows(index, index)], sizes=index)

    def _zero_rows(self, like, out):
        """Zeros `(batch, 1, ...)` of a tensor's type and of the rank of another."""
        sizes = self.sizes[out]
        if sizes[0] != -1 or self.subgraph.tensors[out].shape[0] != SIZES[0]:
            raise self._refused("a tensor is spread along its examples")
        kinds = self.schema.TensorType
        if self.zeros is None:
            source = next(
                index
                for index in map(int, self.subgraph.inputs)
                if self.sizes.get(index, [0])[:1] == [-1]
            )
            shape = [-1] + [1] * (len(self.sizes[source]) - 1)
            begin, size = np.zeros(len(shape), np.int32), np.array(shape, np.int32)
            first = self._operator(
                "SLICE",
                [source, self._constant(begin), self._constant(size)],
                sizes=shape,
                kind=self.subgraph.tensors[source].type,
                options="SliceOptions",
            )
            # Of no value, not even of NaN.
            self.zeros = self._operator(
                "LESS", [first, first], sizes=shape, kind=kinds.BOOL, options="LessOptions"
            )
        kind = self.subgraph.tensors[like].type
        shape = [-1] + [1] * (len(sizes) - 1)
        zeros = self.zeros
        if kind != kinds.BOOL:
            zeros = self._operator("CAST", [zeros], sizes=self.sizes[zeros], kind=kind)
        if len(shape) == len(self.sizes[self.zeros]):
            return zeros
        target = self._constant(np.array(shape, np.int32))
        return self._operator("RESHAPE", [zeros, target], sizes=shape, kind=kind)

    def _shape_of(self, operator):
        """The sizes of what a transposed convolution makes, of which the first is its input's."""
        kinds = self.schema.TensorType
        image, sizes = operator.inputs[2], self.sizes[int(operator.outputs[0])]
        shape = self._operator(
            "SHAPE", [image], sizes=[4], kind=kinds.INT32, options="ShapeOptions"
        )
        self.made[-1].builtinOptions.outType = kinds.INT32
        ends = [self._constant(np.array([n], np.int32)) for n in (0, 1)]
        count = self._operator(
            "SLICE", [shape, *ends], sizes=[1], kind=kinds.INT32, options="SliceOptions"
        )
        rest = self._constant(np.array(sizes[1:], np.int32))
        return self._operator(
            "CONCATENATION",
            [count, rest],
            sizes=[4],
            kind=kinds.INT32,
            options="ConcatenationOptions",
        )

    def _operator(self, name, inputs, out=None, sizes=None, kind=None, options=None):
        """Append a new operator, and return the index of what it gives.

        Args:
            inputs: List of indices of tensors.
            out: Optional index; else a tensor is made, of the `sizes`, a list or those of another
                tensor, and of the `kind`, by default that of the first input.
        """
        operator = self.schema.OperatorT()
        operator.opcodeIndex = tflite_edits.code_index(self.model, self.schema, name)
        if options or name in ("ADD", "MUL"):
            options = options or {"ADD": "AddOptions", "MUL": "MulOptions"}[name]
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, options + "T")()
        if out is None:
            tensor = self.schema.TensorT()
            first = self.subgraph.tensors[inputs[0]].type
            tensor.name, tensor.type, tensor.hasRank = b"", first if kind is None else kind, True
            self.subgraph.tensors.append(tensor)
            out = len(self.subgraph.tensors) - 1
            self._set_sizes(out, self.sizes[sizes] if isinstance(sizes, int) else sizes)
        operator.inputs, operator.outputs = list(inputs), [out]
        self.made.append(operator)
        return out

    def _set_sizes(self, index, sizes):
        self.sizes[index] = list(sizes)
        self.subgraph.tensors[index].shape = np.abs(np.array(sizes, np.int32))

    def _constant(self, array):
        index = tflite_edits.add_constant(self.model, self.schema, self.subgraph, array)
        self.sizes[index] = list(array.shape)
        return index

    def _name(self, operator):
        code = self.model.operatorCodes[operator.opcodeIndex]
        return self.names[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def _sizes(self, index):
        """The sizes of a tensor, -1 where it is the number of examples or a multiple of it."""
        mine, its = (
            [] if tensor.shape is None else [int(size) for size in tensor.shape]
            for tensor in (self.subgraph.tensors[index], self.twin.tensors[self.twins[index]])
        )
        if len(mine) != len(its):
            raise self._refused("a tensor has another rank")
        if any(a != b and a * SIZES[1] != b * SIZES[0] for a, b in zip(mine, its, strict=True)):
            raise self._refused("a size is no multiple of it")
        return [a if a == b else -1 for a, b in zip(mine, its, strict=True)]

    def _differs(self, index):
        """Whether a tensor is a constant that has another value in the twin."""
        mine = self._bytes(self.subgraph, index)
        return mine is not None and mine != self._bytes(self.twin, self.twins[index])

    def _marked(self, index):
        """A constant of sizes, with -1 for the number of examples."""
        mine, its = self._value(self.subgraph, index), self._twin_value(index)
        if mine.shape != its.shape or np.any((mine != its) & (mine * SIZES[1] != its * SIZES[0])):
            raise self._refused("a size is no multiple of it")
        return np.where(mine == its, mine, -1).astype(mine.dtype)

    def _bytes(self, subgraph, index):
        data = self.model.buffers[subgraph.tensors[index].buffer].data
        return None if data is None or len(data) == 0 else bytes(data)

    def _value(self, subgraph, index):
        tensor = subgraph.tensors[index]
        values = np.frombuffer(self._bytes(subgraph, index), self._dtype(tensor))
        return values.reshape([] if tensor.shape is None else tensor.shape)

    def _twin_value(self, index):
        return self._value(self.twin, self.twins[index])

    def _dtype(self, tensor):
        kinds = self.schema.TensorType
        dtypes = {kinds.FLOAT32: "f4", kinds.INT32: "i4", kinds.INT64: "i8", kinds.BOOL: "?"}
        if tensor.type not in dtypes:
            raise self._refused("a tensor of another type depends on it")
        return np.dtype(dtypes[tensor.type])

    def _refused(self, why):
        return ExportError(
            "A graph must be made of the same operators for any number of examples. Received one "
            f"that is not: {why}. Write the layer with other operations of keras.ops."
        )
