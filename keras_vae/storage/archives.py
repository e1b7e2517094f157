"""Zip archives from elsewhere (`.keras`, `.npz`), checked before anything in them is read."""

import contextlib
import json
import os
import stat
import struct
import zipfile

# The list of members, which `zipfile` reads at once and turns into 15 times as much memory.
MAX_DIRECTORY_BYTES = 2**21
# What the config.json of a `.keras` file may be.
MAX_CONFIG_BYTES = 2**24
# A member that is no more than this may be packed as tightly as can be.
MAX_SMALL_MEMBER = 2**26
# Deflate reaches 1032; blank parts of real images 120.
MAX_EXPANSION = 200

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LONGEST_COMMENT = 2**16 - 1
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def opened(path):
    """Open a zip archive whose members are plain, apart from each other and of sizes they can have.

    Args:
        path: Path of a file.

    Yields:
        `zipfile.ZipFile`. Its members have distinct names, lie apart from each other in the file,
        are regular, stored or deflated and not encrypted, and do not expand without bound.

    Raises:
        ValueError: If one of these does not hold, or the file is damaged. The message says what
            was found, as the end of a sentence.
    """
    with open(path, "rb") as file:
        _check_directory(file)
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, struct.error) as err:
            raise ValueError(f"a damaged archive: {err}") from err
        with archive:
            _check_members(archive)
            yield archive


def read(archive, name):
    """The bytes of a member, whose check sum must be right.

    Raises:
        ValueError: If they are damaged.
    """
    try:
        with archive.open(name) as file:
            return file.read()
    except (zipfile.BadZipFile, zipfile.zlib.error, EOFError, NotImplementedError) as err:
        raise ValueError(f"a damaged archive: {err or 'it ends early'}") from err


def class_of_model(path):
    """The name of the class of the model in a `.keras` file, by a look that needs no Keras.

    Args:
        path: `pathlib.Path` of a file.

    Raises:
        ValueError: If it is no such file, or damaged.
    """
    return config_of_model(path)[0]


def config_of_model(path):
    """As `class_of_model`, with the model's own config, a dict: `(name, config)`."""
    if path.suffix != ".keras":
        raise ValueError(f"A model must be a .keras file. Received: {path}.")
    try:
        with opened(path) as archive:
            if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
                raise ValueError(f"a config.json of more than {MAX_CONFIG_BYTES} bytes")
            config = json.loads(read(archive, "config.json"))
        return str(config["class_name"]), dict(config["config"])
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise ValueError(
            f"{path} must be a .keras file that is whole and safe to load. Received: {err}"
        ) from err


def _check_directory(file):
    """Refuse a list of members that is too long, before `zipfile` reads it."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read()
    # As `zipfile` looks for it: the last record without a comment, else the last with one.
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise ValueError("no archive, or one that is cut off")
    directory = _END.unpack_from(tail, at)[5]
    before = start + at - _LOCATOR_64.size - _END_64.size
    if before >= 0:
        file.seek(before)
        both = file.read(_END_64.size + _LOCATOR_64.size)
        if both[_END_64.size :][:4] == b"PK\6\7" and both[:4] == b"PK\6\6":
            directory = _END_64.unpack_from(both)[8]
    if directory > MAX_DIRECTORY_BYTES:
        raise ValueError(f"an archive whose list of members is {directory} bytes long")
    file.seek(0)


def _check_members(archive):
    members = sorted(archive.infolist(), key=lambda info: info.header_offset)
    names = {info.filename for info in members}
    if len(names) < len(members):
        raise ValueError("an archive that holds a member twice")
    ends = [info.header_offset for info in members[1:]] + [archive.start_dir]
    for info, end in zip(members, ends, strict=True):
        name = ascii(info.filename[:100])
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            raise ValueError(f"an archive in which {name} is no regular file")
        if info.flag_bits & 1:
            raise ValueError(f"an archive in which {name} is encrypted")
        # Other methods expand a few bytes without bound.
        if info.compress_type not in _METHODS:
            raise ValueError(f"an archive with zip compression method {info.compress_type}")
        start = info.header_offset
        if start < 0 or start + _LOCAL_HEADER_BYTES + info.compress_size > end:
            raise ValueError(f"an archive in which {name} overlaps with what is around it")
        large = info.file_size > MAX_SMALL_MEMBER
        if large and info.file_size > MAX_EXPANSION * info.compress_size:
            raise ValueError(
                f"an archive in which {name} expands from {info.compress_size} bytes to "
                f"{info.file_size}"
            )
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise ValueError(f"an archive in which {name} has two sizes")
