"""What commands print, and the status that they end with."""

import shlex
import sys

from keras_vae.exceptions import is_out_of_memory, one_line

BAD_INPUT = (
    ValueError,
    ImportError,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def command_line(*words):
    return f"python -m keras_vae {shlex.join(map(str, words))}"


def print_next(*words):
    """Print the next command, ready to paste."""
    print(f"Next: {command_line(*words)}")


def print_next_export(run, model=None):
    """Print the command that exports a run's decoder, or what a model of codes is sampled by."""
    from keras_vae.models import MaskGIT

    is_of_codes = model is not None and isinstance(model.prior, MaskGIT)
    which = ("--graph", "sampler") if is_of_codes else ()
    print_next("export", "--format", "tflite,onnx", *which, "--model", run)


def exit_status(command, traceback=False, failures=(), interrupted="interrupted"):
    """Run a command; what goes wrong as it may is one line on the standard error output.

    Args:
        command: Function without arguments that returns an exit status, or None for 0.
        traceback: Whether to raise what would be one line.
        failures: Tuple of types of exceptions that are expected besides the usual ones.
        interrupted: Str, what is printed after Ctrl-C.

    Returns:
        Int: the command's status, 2 for bad input, 1 for anything else.
    """
    try:
        return command() or 0
    except KeyboardInterrupt:
        return print_error(interrupted, 1)
    except Exception as err:
        is_expected = isinstance(err, (*BAD_INPUT, *failures, OSError, FloatingPointError))
        if traceback or not (is_expected or is_out_of_memory(err)):
            raise
        if not is_expected and not (isinstance(err, MemoryError) and str(err)):
            err = MemoryError("Memory ran out. train needs less with a smaller --batch-size.")
        return print_error(err, 2 if isinstance(err, BAD_INPUT) else 1)


def print_error(err, status):
    """Print an exception, or a text, as one line, and return the exit status."""
    if isinstance(err, OSError) and err.errno is not None:
        err = f"{err.filename}: {err.strerror}" if err.filename else err.strerror
    print(f"error: {one_line(err, limit=1000) or type(err).__name__}", file=sys.stderr)
    return status
