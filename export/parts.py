"""Files that take their names when they are whole and checked."""

import contextlib
import os

# A name that nobody else gives a file: what is there under it is ours to delete.
PART = ".keras_vae_part"


@contextlib.contextmanager
def part_of(target, module):
    """Give a path to write to; it takes the target's name only if the block ends well.

    A format that writes further files beside it names them by `companions`.
    """
    parts = parts_of(target, module)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield parts[-1]
        for written in parts:
            with written.open("rb+") as file:
                os.fsync(file.fileno())
        for written in parts:
            os.replace(written, written.with_name(written.name.removesuffix(PART)))
    except OSError as err:
        raise OSError(err.errno, err.strerror or str(err), err.filename or str(target)) from err
    finally:
        delete(parts)


def parts_of(target, module):
    """The files that are written in place of a target, itself the last."""
    companions = getattr(module, "companions", lambda path: [])
    part = target.with_name(target.name + PART)
    return [*companions(part), part]


def delete(parts):
    for part in parts:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
