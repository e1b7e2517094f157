"""TFLite files: writing, running and reading them."""

import importlib.metadata
import pathlib
import struct
import tempfile

import numpy as np

from export import ExportError, graphs, manifest

SUFFIX = ".tflite"
PACKAGES = ("tensorflow", "ai_edge_litert")

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
    """Name and version of the converter."""
    return f"tensorflow.lite {importlib.metadata.version('tensorflow')}"


def export(graph, path, recipe=None, manifest_data=None):
    """Write a graph as a TFLite file.

    The file has a signature named after the graph that takes any batch size, and one per size of
    `graphs.STATIC_BATCH_SIZES` (`decoder_1`, `decoder_16`) for runtimes that take no dynamic
    batch. All of them share one copy of the weights.

    Args:
        graph: The `Graph`.
        path: Where to write.
        recipe: Optional quantization recipe; this version has none.
        manifest_data: Optional bytes, stored as the metadata entry `keras_vae`.

    Raises:
        ValueError: If a recipe is given.
        ExportError: If the converter refuses the graph.
    """
    if recipe is not None:
        raise ValueError(f"This version exports unquantized graphs only. Received: {recipe!r}.")
    content = _convert(graph)
    if manifest_data is not None:
        content = add_metadata(content, {manifest.KEY: manifest_data})
    pathlib.Path(path).write_bytes(content)


def load(path, signature=None):
    """Load a file into the real runtime.

    Args:
        path: A TFLite file.
        signature: Optional name of a signature. Defaults to the first, the one named after the
            graph.

    Returns:
        A function from a dict of NumPy inputs to a dict of NumPy outputs.

    Raises:
        ValueError: If the runtime refuses the file.
    """
    content = pathlib.Path(path).read_bytes()
    if signature is None:
        signature = describe(path)["signatures"][0]["name"]
    runners = {}

    def run(inputs):
        shapes = tuple(sorted((name, value.shape) for name, value in inputs.items()))
        if shapes not in runners:
            # An interpreter that has run cannot be resized: one for each batch size, and only
            # the latest is kept, for each holds the activations of its own.
            runners.clear()
            runners[shapes] = _runner(content, signature, pathlib.Path(path).name)
        try:
            return runners[shapes](**inputs)
        except (RuntimeError, ValueError) as err:
            raise ValueError(
                f"LiteRT cannot run `{signature}` of {pathlib.Path(path).name}: "
                f"{manifest.one_line(err)}"
            ) from err

    return run


def signatures(graph):
    """Names of the signatures that a file has, and the batch size of each (None: any)."""
    return {
        graph.name: None,
        **{f"{graph.name}_{size}": size for size in graphs.STATIC_BATCH_SIZES},
    }


def programs(graph, path):
    """Every way to call the file: name, the batch sizes it takes, and a function to call.

    Yields:
        Tuples `(name, batch_sizes, run)`.
    """
    for name, size in signatures(graph).items():
        yield name, graphs.BATCH_SIZES if size is None else (size,), load(path, name)


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
        Bytes. Every buffer starts at a multiple of 16, as the schema demands and Python's
        generated code, the converter's included, forgets.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuilder(flatbuffers.Builder):
        def StartVector(self, element_size, count, alignment):  # noqa: N802
            is_buffer = element_size == 1 and count > 0
            return super().StartVector(element_size, count, 16 if is_buffer else alignment)

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = list(model.metadata or [])
    for name, data in entries.items():
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers) - 1
        model.metadata.append(entry)
    builder = AlignedBuilder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _convert(graph):
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    functions = {
        name: graph.trace(size).get_concrete_function() for name, size in signatures(graph).items()
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
                f"TensorFlow cannot write to the temporary folder: {manifest.one_line(err)}"
            ) from err
        lite = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        lite.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return lite.convert()
        except (ConverterError, tf.errors.OpError) as err:
            raise ExportError(
                f"TensorFlow's converter cannot express the `{graph.name}` graph in TFLite "
                f"builtins: {manifest.one_line(err)}"
            ) from err


def _runner(content, signature, name):
    from ai_edge_litert.interpreter import Interpreter

    try:
        return Interpreter(model_content=content).get_signature_runner(signature)
    except (RuntimeError, ValueError) as err:
        raise ValueError(f"LiteRT cannot load {name}: {manifest.one_line(err)}") from err


def _open(path):
    return _Model(pathlib.Path(path).read_bytes(), pathlib.Path(path).name)


class _DamagedError(ValueError):
    pass


class _Table:
    """A FlatBuffers table, read with every position checked against the file's size.

    The generated classes trust the file: a flipped bit makes them loop over two billion entries
    or read from the end.
    """

    def __init__(self, content, position):
        self.content = content
        self.position = position
        self.vtable = position - self._read("<i", position)
        self.vtable_size = self._read("<H", self.vtable)

    def number(self, field, form, default=0):
        position = self._field(field)
        return default if position is None else self._read(form, position)

    def tables(self, field, most=65536):
        start, count = self._vector(field, 4)
        if count > most:
            raise _DamagedError(f"a list of {count} entries")
        return [_Table(self.content, self._follow(start + 4 * i)) for i in range(count)]

    def numbers(self, field, form):
        size = struct.calcsize(form)
        start, count = self._vector(field, size)
        return [self._read(form, start + size * i) for i in range(min(count, 65536))]

    def data(self, field):
        start, count = self._vector(field, 1)
        return self.content[start : start + count]

    def text(self, field):
        return self.data(field)[:1000].decode("utf-8", "replace")

    def _vector(self, field, size):
        position = self._field(field)
        if position is None:
            return 0, 0
        position = self._follow(position)
        count = self._read("<I", position)
        if position + 4 + count * size > len(self.content):
            raise _DamagedError("a list that reaches past its end")
        return position + 4, count

    def _field(self, field):
        entry = 4 + 2 * field
        if entry + 2 > self.vtable_size:
            return None
        offset = self._read("<H", self.vtable + entry)
        return self.position + offset if offset else None

    def _follow(self, position):
        return position + self._read("<I", position)

    def _read(self, form, position):
        if not 0 <= position <= len(self.content) - struct.calcsize(form):
            raise _DamagedError("a position outside the file")
        return struct.unpack_from(form, self.content, position)[0]


class _Model:
    """The parts of a TFLite file that can be told without running it.

    Field numbers are those of the schema, `tensorflow/compiler/mlir/lite/schema/schema.fbs`.
    """

    def __init__(self, content, name):
        self.name = name
        if content[4:8] != b"TFL3":
            raise ValueError(f"{name} is no TFLite file, or is cut off.")
        self.root = self._checked(lambda: _Table(content, struct.unpack_from("<I", content)[0]))

    def metadata(self, key):
        return self._checked(lambda: self._metadata(key))

    def operators(self):
        return self._checked(self._operators)

    def signatures(self):
        return self._checked(self._signatures)

    def _checked(self, read):
        try:
            return read()
        except _DamagedError as err:
            raise ValueError(f"{self.name} is damaged or cut off: it points to {err}.") from err

    def _metadata(self, key):
        for entry in self.root.tables(6):
            if entry.text(0) == key:
                return self._at(self.root.tables(4), entry.number(1, "<I")).data(0)
        return None

    def _operators(self):
        from ai_edge_litert.schema_py_generated import BuiltinOperator

        names = {value: name for name, value in vars(BuiltinOperator).items() if name[0] != "_"}
        found = set()
        for code in self.root.tables(1):
            # The old field holds 127 where the code does not fit into a byte.
            number = max(code.number(0, "<b"), code.number(3, "<i"))
            name = names.get(number, f"CUSTOM {number}")
            found.add(f"CUSTOM {code.text(1)}" if name == "CUSTOM" else name)
        return sorted(found)

    def _signatures(self):
        subgraphs = self.root.tables(2)
        found = []
        for entry in self.root.tables(7, most=256):
            tensors = self._at(subgraphs, entry.number(4, "<I")).tables(0)
            ports = [
                [
                    self._port(tensor.text(0), self._at(tensors, tensor.number(1, "<I")))
                    for tensor in entry.tables(field, most=256)
                ]
                for field in (0, 1)
            ]
            found.append({"name": entry.text(2), "inputs": ports[0], "outputs": ports[1]})
        if not found:
            raise ValueError(f"{self.name} has no signature: it was not exported by keras-vae.")
        return sorted(found, key=lambda signature: signature["name"])

    def _port(self, name, tensor):
        from ai_edge_litert.schema_py_generated import TensorType

        types = {value: kind for kind, value in vars(TensorType).items() if kind[0] != "_"}
        shape = tensor.numbers(7, "<i") or tensor.numbers(0, "<i")
        kind = tensor.number(1, "<b")
        return {
            "name": name,
            "dtype": types.get(kind, str(kind)).lower(),
            "shape": ["batch" if size == -1 else size for size in shape],
        }

    def _at(self, items, index):
        if index >= len(items):
            raise _DamagedError("an entry that is not there")
        return items[index]
