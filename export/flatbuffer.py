"""TFLite files read as flatbuffers, with every position checked."""

import struct


class DamagedError(ValueError):
    pass


class Table:
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
            raise DamagedError(f"a list of {count} entries")
        return [Table(self.content, self._follow(start + 4 * i)) for i in range(count)]

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
            raise DamagedError("a list that reaches past its end")
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
            raise DamagedError("a position outside the file")
        return struct.unpack_from(form, self.content, position)[0]


class Model:
    """The parts of a TFLite file that can be told without running it.

    Field numbers are those of the schema, `tensorflow/compiler/mlir/lite/schema/schema.fbs`.
    """

    def __init__(self, content, name):
        self.name = name
        if content[4:8] != b"TFL3":
            raise ValueError(f"{name} is no TFLite file, or is cut off.")
        self.root = self._checked(lambda: Table(content, struct.unpack_from("<I", content)[0]))

    def metadata(self, key):
        return self._checked(lambda: self._metadata(key))

    def operators(self):
        return self._checked(self._operators)

    def signatures(self):
        return self._checked(self._signatures)

    def _checked(self, read):
        try:
            return read()
        except DamagedError as err:
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
            raise DamagedError("an entry that is not there")
        return items[index]
