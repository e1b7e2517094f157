"""TensorBoard's event files, written without TensorFlow.

A file is a row of records: a length, its checksum, an `Event` in protobuf's encoding, and that
one's checksum. Of both formats this writes the little that scalars and images take: the writer of
the `tensorboard` package, which no backend brings, has a web server and gRPC along.

References:
    - https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
    - https://protobuf.dev/programming-guides/encoding/
"""

import functools
import os
import pathlib
import socket
import struct
import time

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
# Castagnoli's polynomial, its bits reversed.
_POLYNOMIAL = 0x82F63B78


class EventFile:
    """A file of scalars and images for TensorBoard, which reads it while it grows.

    Args:
        folder: Path of the folder. Each `EventFile` is a new file in it.
    """

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        self._write(_field(3, _BYTES, b"brain.Event:2"))

    def scalars(self, step, values):
        """Add a dict from names to floats."""
        summary = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, name.encode()) + _field(2, _FLOAT, value))
            for name, value in values.items()
        )
        self._write(_field(2, _VARINT, step) + _field(5, _BYTES, summary))

    def image(self, step, name, png, height, width, channels):
        """Add an image, as the bytes of a PNG file.

        Args:
            step: Int.
            name: Str.
            png: Bytes.
            height, width: Ints.
            channels: Int, 1 or 3.
        """
        sizes = [_field(n + 1, _VARINT, size) for n, size in enumerate((height, width, channels))]
        picture = b"".join(sizes) + _field(4, _BYTES, png)
        value = _field(1, _BYTES, name.encode()) + _field(4, _BYTES, picture)
        self._write(_field(2, _VARINT, step) + _field(5, _BYTES, _field(1, _BYTES, value)))

    def _write(self, fields):
        event = _field(1, _DOUBLE, time.time()) + fields
        length = struct.pack("<Q", len(event))
        with open(self.path, "ab") as file:
            file.write(length + _masked_checksum(length) + event + _masked_checksum(event))


def _field(number, kind, value):
    """One field of a protobuf message."""
    tag = _varint(number << 3 | kind)
    if kind == _VARINT:
        return tag + _varint(value)
    if kind == _BYTES:
        return tag + _varint(len(value)) + value
    return tag + struct.pack("<d" if kind == _DOUBLE else "<f", value)


def _varint(value):
    """A whole number, seven bits a byte, the lowest first."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _masked_checksum(data):
    checksum = crc32c(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data):
    """The checksum CRC-32C of bytes (RFC 3720, appendix B.4)."""
    table, checksum = _table(), 0xFFFFFFFF
    for byte in data:
        checksum = table[(checksum ^ byte) & 255] ^ checksum >> 8
    return checksum ^ 0xFFFFFFFF


@functools.cache
def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table
