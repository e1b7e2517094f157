"""Reader of the HDF5 files in which Keras stores weights, for files that may not be trusted.

The HDF5 library trusts its file: one altered byte can make it crash the process or loop for ever.
This reader knows the part of the format that Keras writes and refuses everything else: links to
other places, data outside the file, filters, virtual data sets. Every position is checked against
the size, every object may be reached once, and no array is larger than its bytes.

References:
    - HDF5 File Format Specification 3.0.
      https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import math
import struct

import ml_dtypes
import numpy as np

MAX_OBJECTS = 100_000
MAX_DEPTH = 64
MAX_NAME_BYTES = 512
_MAX_MESSAGES = 64
_UNDEFINED = 2**64 - 1

# Messages of an object's header. What is passed over has no say in where or how data lie.
_DATASPACE, _DATATYPE, _LAYOUT, _CONTINUATION, _SYMBOL_TABLE = 0x01, 0x03, 0x08, 0x10, 0x11
_PASSED_OVER = {0x00: "nil", 0x04: "old fill", 0x05: "fill", 0x0C: "attribute", 0x12: "time"}
_REFUSED = {
    0x02: "a group of a newer kind",
    0x06: "a link of a newer kind",
    0x07: "data in another file",
    0x0A: "a group of a newer kind",
    0x0B: "data that went through a filter",
}
_GROUP_NODE = 0


class DamagedError(ValueError):
    """What is wrong with a file, as the end of a sentence."""


def read(content):
    """Read all arrays of a file.

    Args:
        content: Bytes of an HDF5 file as `h5py` writes it by default.

    Returns:
        Tuple of a dict from path, such as `"decoder/vars/0"`, to array, a view of `content`; and
        the list of the paths of all groups, parents first.

    Raises:
        DamagedError: If the file is damaged, or holds what Keras does not write.
    """
    return _Reader(memoryview(content)).read()


class _Reader:
    def __init__(self, content):
        self.content = content
        self.seen = set()
        self.arrays = {}
        self.groups = []
        self.bytes_left = len(content)

    def read(self):
        if bytes(self.content[:8]) != b"\x89HDF\r\n\x1a\n":
            raise DamagedError("no HDF5 file")
        versions = self._unpack("<4B", 8)
        sizes = self._unpack("<2B", 13)
        base, _, end, _ = self._unpack("<4Q", 24)
        if versions[0] != 0 or sizes != (8, 8) or base != 0:
            raise DamagedError("an HDF5 file of a kind that Keras does not write")
        if end > len(self.content):
            raise DamagedError("an HDF5 file that is cut off")
        self._object(self._unpack("<Q", 64)[0], "", 0)
        return self.arrays, self.groups

    def _object(self, address, path, depth):
        if depth > MAX_DEPTH:
            raise DamagedError(f"groups of more than {MAX_DEPTH} levels, at {path[:100]!a}")
        if address in self.seen or len(self.seen) >= MAX_OBJECTS:
            raise DamagedError(f"an object twice, or too many, at {path[:100]!a}")
        self.seen.add(address)
        messages = self._messages(address)
        if _SYMBOL_TABLE in messages:
            if path:
                self.groups.append(path)
            tree, heap = struct.unpack_from("<2Q", self._of(messages, _SYMBOL_TABLE, 16))
            for name, child in self._entries(tree, self._heap(heap)):
                self._object(child, f"{path}/{name}" if path else name, depth + 1)
        elif path:
            self.arrays[path] = self._array(messages, path)
        else:
            raise DamagedError("a file without a group")

    def _messages(self, address):
        """Return a dict from type to content of the messages that say what an object is."""
        version, _, count, _, size = self._unpack("<BBHII", address)
        if version != 1 or count > _MAX_MESSAGES:
            raise DamagedError(f"an object header of version {version} with {count} messages")
        found, blocks = {}, [(address + 16, size)]
        while blocks and count:
            place, size = blocks.pop(0)
            block = self._slice(place, size)
            at = 0
            while at + 8 <= size and count:
                kind, length, _ = struct.unpack_from("<HHB", block, at)
                content = block[at + 8 : at + 8 + length]
                at, count = at + 8 + length, count - 1
                if len(content) < length:
                    raise DamagedError("a message that reaches past its end")
                if kind == _CONTINUATION:
                    blocks.append(struct.unpack_from("<2Q", self._long_enough(content, 16)))
                elif kind in (_DATASPACE, _DATATYPE, _LAYOUT, _SYMBOL_TABLE):
                    if kind in found:
                        raise DamagedError("an object that is described twice")
                    found[kind] = content
                elif kind not in _PASSED_OVER:
                    raise DamagedError(_REFUSED.get(kind, f"a message of type {kind}"))
        if count:
            raise DamagedError("an object header that is cut off")
        return found

    def _heap(self, address):
        """The bytes that hold the names of a group's members."""
        signature, version, size, _, data = self._unpack("<4sB3x3Q", address)
        if signature != b"HEAP" or version != 0:
            raise DamagedError("no heap where the names should be")
        return self._slice(data, size)

    def _entries(self, address, heap, depth=0):
        """Yield the name and address of each member of a group."""
        if address in self.seen or len(self.seen) >= MAX_OBJECTS or depth > MAX_DEPTH:
            raise DamagedError("a list of members twice, or too many")
        self.seen.add(address)
        if bytes(self._slice(address, 4)) == b"SNOD":
            version, count = self._unpack("<BxH", address + 4)
            entries = self._slice(address + 8, 40 * count)
            if version != 1:
                raise DamagedError("a list of members of another version")
            for at in range(0, 40 * count, 40):
                name, child, cached = struct.unpack_from("<QQI", entries, at)
                if cached not in (0, 1):
                    raise DamagedError("a link to another place")
                yield self._name(heap, name), child
            return
        signature, kind, _, count = self._unpack("<4sBBH", address)
        if signature != b"TREE" or kind != _GROUP_NODE:
            raise DamagedError("no list of members where it should be")
        # Keys, which are sorted names, stand between the addresses.
        children = self._slice(address + 24 + 8, 16 * count)
        for at in range(0, 16 * count, 16):
            [child] = struct.unpack_from("<Q", children, at)
            yield from self._entries(child, heap, depth + 1)

    def _name(self, heap, at):
        name = bytes(heap[at : at + MAX_NAME_BYTES]).split(b"\0")[0] if at < len(heap) else b""
        try:
            name = name.decode("utf-8")
        except UnicodeDecodeError as err:
            raise DamagedError("a name that is no text") from err
        if not name or "/" in name or name in (".", "..") or not name.isprintable():
            raise DamagedError(f"the name {name!a}")
        return name

    def _array(self, messages, path):
        shape = self._shape(self._of(messages, _DATASPACE, 4))
        dtype = _dtype(self._of(messages, _DATATYPE, 8))
        size = math.prod(shape) * dtype.itemsize
        layout = self._of(messages, _LAYOUT, 2)
        version, kind = struct.unpack_from("<2B", layout)
        if version != 3 or kind not in (0, 1):
            raise DamagedError(f"an array that is not stored in one piece, {path!a}")
        if kind == 0:
            stored = layout[4 : 4 + struct.unpack_from("<H", self._long_enough(layout, 4), 2)[0]]
        else:
            place, length = struct.unpack_from("<2Q", self._long_enough(layout, 18), 2)
            stored = self._slice(place, length) if place != _UNDEFINED else b""
        if len(stored) != size or size > self.bytes_left:
            raise DamagedError(
                f"an array {path!a} of {size} bytes, of which the file holds {len(stored)}"
            )
        self.bytes_left -= size
        return np.frombuffer(stored, dtype).reshape(shape)

    def _shape(self, message):
        version, rank = struct.unpack_from("<2B", message)
        start = {1: 8, 2: 4}.get(version)
        if start is None or rank > 32:
            raise DamagedError(f"an array of {rank} axes, in a message of version {version}")
        shape = struct.unpack_from(f"<{rank}Q", self._long_enough(message, start + 8 * rank), start)
        if max(shape, default=0) > len(self.content):
            raise DamagedError(f"an array of shape {shape}")
        return shape

    def _of(self, messages, kind, least):
        if kind not in messages:
            raise DamagedError("an object that is neither a group nor an array")
        return self._long_enough(messages[kind], least)

    def _long_enough(self, content, least):
        if len(content) < least:
            raise DamagedError("a message that is cut off")
        return content

    def _slice(self, start, size):
        if start + size > len(self.content):
            raise DamagedError("a position outside the file")
        return self.content[start : start + size]

    def _unpack(self, form, start):
        return struct.unpack(form, self._slice(start, struct.calcsize(form)))


def _dtype(message):
    """The type of an array's elements: a plain number, or what `h5py` stores of one."""
    class_and_version, low, _, _, size = struct.unpack_from("<4BI", message)
    kind = class_and_version & 15
    is_little_endian = low & 1 == 0
    if kind == 0 and size in (1, 2, 4, 8) and is_little_endian:
        return np.dtype(f"{'i' if low & 8 else 'u'}{size}")
    if kind == 1 and size in (2, 4, 8) and is_little_endian:
        return np.dtype(f"f{size}")
    if kind == 5 and size == 2:
        return np.dtype(ml_dtypes.bfloat16)
    if kind == 8 and size == 1:
        return np.dtype(bool)
    raise DamagedError(f"an array of no plain numbers (HDF5 class {kind}, {size} bytes)")
