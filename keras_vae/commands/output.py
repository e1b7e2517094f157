"""Lines that commands print."""

import shlex
import sys


def command_line(*words):
    return f"python -m keras_vae {shlex.join(map(str, words))}"


def print_next(*words):
    """Print the next command, ready to paste."""
    print(f"Next: {command_line(*words)}")


def print_next_export(run):
    print_next("export", "--format", "tflite,onnx", "--model", run)


def report_error(message, status):
    """Print one line about an error, and return the exit status."""
    print_error(f"error: {message}" if str(message).strip() else f"error: {type(message).__name__}")
    return status


def print_error(text):
    """Print one line to where errors go."""
    print(" ".join(text.split()), file=sys.stderr)
