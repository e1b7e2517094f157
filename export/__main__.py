"""`python -m export`: export a run to files for devices, or print what a file says of itself."""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import sys

import export as exporter
from export import manifest

_EXAMPLES = """examples:
  python -m export --format tflite
  python -m export --format tflite,onnx --model runs/digits
  python -m export --inspect runs/digits/export/decoder.tflite
"""
_BAD_PLACES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_LARGEST_FILE = 2**31
_TRAIN_COMMAND = "python -m keras_vae train --model conditional_vae --data digits --out runs/digits"


def main(argv=None):
    """Run the command line.

    Args:
        argv: Optional list of strings. Defaults to the process's own arguments.

    Returns:
        Int, the exit status: 0, 2 for wrong usage or bad input, 1 for anything else.
    """
    try:
        options = _parser().parse_args(argv)
        if options.inspect is not None:
            _inspect(pathlib.Path(options.inspect))
        else:
            _export(options)
    except (_UsageError, ValueError, ImportError) as err:
        return _fail(err, 2)
    except exporter.ExportError as err:
        return _fail(err, 1)
    except OSError as err:
        return _fail(_describe_os_error(err), 2 if isinstance(err, _BAD_PLACES) else 1)
    except KeyboardInterrupt:
        return _fail("Interrupted; no unfinished file was left.", 1)
    return 0


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage above it."""

    def error(self, message):
        raise _UsageError(f"{message} (see --help)")


def _parser():
    parser = _Parser(
        prog="python -m export",
        description="Export a trained model to files that devices run without Keras.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--format", default="tflite", help=f"{', '.join(exporter.FORMATS)}, or several: tflite,onnx"
    )
    parser.add_argument(
        "--model", help="run folder or .keras file (default: the newest run under runs/)"
    )
    parser.add_argument("--graph", default="decoder", help="which graph (default: decoder)")
    parser.add_argument("--quantize", default="none", help="how to quantize (default: none)")
    parser.add_argument("--out", help="folder (default: export in the run folder)")
    parser.add_argument("--inspect", metavar="FILE", help="print the manifest of an exported file")
    return parser


def _export(options):
    formats = list(dict.fromkeys(word.strip() for word in options.format.split(",")))
    for format in formats:
        exporter.check_arguments(format, options.graph, options.quantize)
    model_path = pathlib.Path(options.model) if options.model else _newest_run()
    if not (model_path / "model.keras" if model_path.is_dir() else model_path).is_file():
        raise FileNotFoundError(
            f"There is no model at {model_path}. Make one with: {_TRAIN_COMMAND}"
        )
    if "keras" not in sys.modules:
        os.environ.update(exporter.CHILD_ENVIRONMENT)
    with _Steps() as say:
        say("starting TensorFlow")
        exported = exporter.export_formats(
            model_path, formats, options.graph, options.quantize, options.out, say
        )
    path, _ = exported[0]
    print(f"\nWritten to {path.parent}. Next:\n{_next_command(path, formats[0])}")


def _newest_run():
    runs = sorted(pathlib.Path("runs").glob("*/model.keras"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise FileNotFoundError(f"There is no run under runs/. Make one with: {_TRAIN_COMMAND}")
    return runs[-1].parent


def _next_command(path, format):
    words = ["python", "mobile_demo/edge/sample.py", "--model", str(path)]
    found = exporter.module_of(format).read_manifest(path)
    if found["prior"] is None:
        return shlex.join([*words, "--self-test"])
    for condition in found["conditions"]:
        if condition["kind"] == "continuous":
            zeros = ",".join(["0"] * condition["size"])
            words += ["--condition", f"{condition['name']}={zeros}"]
        elif condition["name"] == "label":
            words += ["--label", condition["names"][min(7, condition["size"] - 1)]]
        else:
            words += ["--condition", f"{condition['name']}={condition['names'][0]}"]
    words += ["--count", "16", "--seed", "42", "--out", "samples.png"]
    return shlex.join(words)


def _inspect(path):
    format = path.suffix.removeprefix(".")
    if format not in exporter.FORMATS:
        raise ValueError(f"--inspect reads .tflite and .onnx files. Received: {path}.")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path} is larger than 2 GiB, the most that either format can hold.")
    module = exporter.module_of(format)
    with _library_noise_hidden():
        found = module.read_manifest(path)
        described = module.describe(path)
    file = {
        "name": path.name,
        "bytes": path.stat().st_size,
        "signatures": {
            signature["name"]: {
                side: {port["name"]: _in_words(port) for port in signature[side]}
                for side in ("inputs", "outputs")
            }
            for signature in described["signatures"]
        },
        "operators": described["operators"],
    }
    print(_pretty({**manifest.shorten(found), "file": file}))


def _in_words(port):
    return f"{port['dtype']} ({', '.join(str(size) for size in port['shape'])})"


def _pretty(value, indent=0):
    """JSON in which a list of plain values takes one line."""
    if isinstance(value, dict) and value:
        inside = " " * (indent + 2)
        items = (
            f"{inside}{_scalar(key)}: {_pretty(item, indent + 2)}" for key, item in value.items()
        )
        return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        inside = " " * (indent + 2)
        items = (f"{inside}{_pretty(item, indent + 2)}" for item in value)
        return "[\n" + ",\n".join(items) + "\n" + " " * indent + "]"
    return _scalar(value)


def _scalar(value):
    return json.dumps(value, ensure_ascii=False)


class _Steps:
    """Say what is being done: one moving line on a terminal, plain lines elsewhere.

    What the libraries write to the standard error output meanwhile is not shown.
    """

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.status = None
        if sys.stdout.isatty():
            import rich.console
            import rich.text

            self.text = rich.text.Text
            self.console = rich.console.Console(highlight=False)
            self.status = self.stack.enter_context(self.console.status(""))
        self.stack.enter_context(_library_noise_hidden())
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def __call__(self, line, done=False):
        if self.status is None:
            print(line, flush=True)
        elif done:
            self.console.print(self.text(line))
        else:
            self.status.update(self.text(line))


@contextlib.contextmanager
def _library_noise_hidden():
    """Send the standard error output elsewhere, below Python: TensorFlow's C++ writes there."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def _describe_os_error(err):
    if err.errno is None:
        return err
    return f"{err.filename}: {err.strerror}" if err.filename else err.strerror


def _fail(message, status):
    print(f"error: {manifest.one_line(message, limit=1000)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
