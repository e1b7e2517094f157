"""Files that are whole or not there, and folders that one process at a time writes into."""

import contextlib
import os
import pathlib

# Names that nobody else gives a file: what is there under them is ours, to replace and to delete.
LOCK = ".keras_vae.lock"
PART = ".keras_vae_part"


def write_atomically(path, data):
    """Write bytes beside a file's final name, sync, then rename.

    A full disk, a lost machine or a killed process leaves the old file or none, never half of one.

    Args:
        path: `pathlib.Path` of the file.
        data: Bytes, or an iterable of them.

    Raises:
        OSError: If they cannot be written. The old file is as it was.
    """
    with replaced(path) as part, open(part, "wb") as file:
        for piece in [data] if isinstance(data, bytes) else data:
            file.write(piece)


@contextlib.contextmanager
def replaced(path):
    """Yield a name beside a file's own; what is written there replaces the file, if all goes well.

    Args:
        path: `pathlib.Path` of the file. The other name ends the same way.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path} needs the folder {path.parent}, which is not there. Make it first."
        )
    part = path.with_name(f"{path.stem}{PART}{path.suffix}")
    try:
        yield part
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def check_folder_can_be(folder):
    """See that files can be written into a folder, or that it can be made, and leave all as it is.

    Args:
        folder: Path.

    Raises:
        NotADirectoryError: If it, or what is to hold it, is a file.
        PermissionError: If it may not be written.
    """
    place = pathlib.Path(folder).absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{folder} must be a folder. Received: {place}, which is a file.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} must be writable. Received: {place}, which is not.")


def remove_if_empty(folder):
    """Remove a folder if nothing is left in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _sync(path):
    """Wait until a file, or a folder's list of files, is on the disk."""
    if path.is_dir() and os.name == "nt":  # where a folder cannot be opened
        return
    number = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def locked(folder):
    """Keep other processes from writing into a folder. The system frees it when this one ends.

    Args:
        folder: Path of a folder, made if need be.

    Raises:
        BlockingIOError: If another process holds it.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with open(path, "a+b") as file:
        try:
            _lock(file)
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise BlockingIOError  # its holder ended just now, and took it away
        except OSError as err:
            raise BlockingIOError(
                f"One process at a time may write into {folder}. Another one does. Wait for it, "
                "or choose another folder."
            ) from err
        try:
            yield
        finally:
            if os.name != "nt":  # where an open file cannot be deleted
                path.unlink(missing_ok=True)


def _lock(file):
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
