"""`python -m export`: export a run to files for devices, and inspect or verify such files."""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shlex
import sys

import export as exporter
from export import converters
from keras_vae.commands.output import exit_status
from keras_vae.commands.start import start_keras, stderr_hidden

_EXAMPLES = """examples:
  {0} --format tflite
  {0} --format tflite,onnx --graph decoder,sampler --model runs/digits
  {0} --format tflite --quantize int8 --model runs/digits
  {0} --format tflite,onnx --report --model runs/digits
  {0} --graph encoder --quantize int8 --calibration examples.npz --model model.keras
  {0} --inspect runs/digits/export/decoder.tflite
  {0} --verify runs/digits/export/decoder.tflite --model runs/digits
"""
_LARGEST_FILE = 2**31
_TRAIN_COMMAND = "python -m keras_vae train --model conditional_vae --data digits --out runs/digits"


def main(argv=None, prog="python -m export"):
    """Run the command line.

    Args:
        argv: Optional list of strings. Defaults to the process's own arguments.
        prog: How it was called, for the help.

    Returns:
        Int, the exit status: 0, 2 for wrong usage or bad input, 1 for anything else.
    """
    return exit_status(
        lambda: _run(_parser(prog).parse_args(argv)),
        failures=(exporter.ExportError,),
        interrupted="Interrupted; no unfinished file was left.",
    )


def _run(options):
    if options.inspect is not None:
        return _inspect(pathlib.Path(options.inspect))
    if options.verify is not None:
        return 0 if _verify(pathlib.Path(options.verify), options.model) else 1
    return _export(options)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage above it."""

    def error(self, message):
        raise ValueError(f"{message} (see --help)")


def _parser(prog):
    parser = _Parser(
        prog=prog,
        description="Export a trained model to files that devices run without Keras.",
        epilog=_EXAMPLES.format(prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--format", default="tflite", help=f"{', '.join(exporter.FORMATS)}, or several: tflite,onnx"
    )
    parser.add_argument(
        "--model", help="run folder or .keras file (default: the newest run under runs/)"
    )
    parser.add_argument(
        "--graph",
        default="decoder",
        help=f"{', '.join(exporter.GRAPHS)}, several by commas, or all that the model has "
        "(default: decoder)",
    )
    parser.add_argument(
        "--quantize",
        help="none, float16, int8 (weights), int8-full (all integer), exact (drawn tokens or "
        "rows that are the same everywhere), or several by commas (default: none; for c int8)",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="export every quantization that the formats have, and compare what they cost",
    )
    parser.add_argument(
        "--data",
        help="name or path of the training data, as for train, to round an encoder by and to know "
        "how its test part scores (default: what the run folder names)",
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="typical examples to round int8 and int8-full by: an .npz with an array for each "
        "input, a table, or a folder of images (default: --data, else what the model makes)",
    )
    parser.add_argument(
        "--converter",
        default="auto",
        help=f"auto, {', '.join(converters.BACKENDS)}: stablehlo makes TFLite on JAX and torch "
        "ONNX on PyTorch without TensorFlow (default: auto, the first that is installed)",
    )
    parser.add_argument(
        "--opset", type=int, help="version of the operators in ONNX files (default: 18)"
    )
    parser.add_argument(
        "--guidance",
        type=float,
        help="of the sampler of a vq_vae trained with --unknown-rate, fixed in the file: above 1, "
        "samples that obey more and vary less (default: 1)",
    )
    parser.add_argument("--out", help="folder (default: export in the run folder)")
    parser.add_argument("--inspect", metavar="FILE", help="print the manifest of an exported file")
    parser.add_argument(
        "--verify",
        metavar="FILE",
        help="run the golden sample of a .tflite, .onnx or .c file; with --model compare it with "
        "the model too",
    )
    return parser


def _export(options):
    from export import example_files

    formats, graphs = exporter.names_in(options.format), exporter.names_in(options.graph)
    if options.report and options.quantize:
        raise ValueError("--report exports every quantization; leave --quantize out")
    asked = exporter.names_in(options.quantize)
    groups = _groups(options, formats, graphs, asked)
    exporter.check_opset(options.opset, formats)
    model_path = pathlib.Path(options.model) if options.model else _newest_run()
    _check_model(model_path)
    _check_out(model_path, options, formats[0], graphs[0])
    _check_data(options.data)
    if options.calibration is not None:
        example_files.check(options.calibration)
    with _Steps() as say:
        backend = converters.BACKENDS[converters.chosen(formats[0], options.converter)]
        say(f"starting {converters.NAMES[backend]}")
        _start(backend)
        if graphs == ["all"]:
            graphs = exporter.graphs_of(model_path)
            groups = _groups(options, formats, graphs, asked)
        exported, left_out = [], []
        for variants, members in groups.items():
            made, failed = _export_group(model_path, variants, members, options, say)
            exported += made
            left_out += failed
        if not exported:
            raise exporter.ExportError(left_out[0])
        tables = []
        if options.report or set(asked) - {"none"}:
            tables = _report(model_path, graphs, [path for path, _ in exported], say, options.data)
    path, _ = exported[0]
    print(f"\nWritten to {path.parent}:")
    width = max(len(path.name) for path, _ in exported)
    for written, report in exported:
        print(f"  {written.name.ljust(width)}  {report}")
    for line in left_out:
        print(f"  left out: {line}")
    for table in tables:
        print("\n" + "\n".join(table))
    print(f"\nNext:\n{_next_command(path)}")


def _export_group(model_path, variants, graphs, options, say):
    """Export a group: what was made, and a line for each file of a report that could not be."""

    def export_files(variants, graphs):
        return exporter.export_files(
            model_path,
            variants,
            graphs,
            options.out,
            say=say,
            calibration_data=options.calibration,
            data=options.data,
            converter=options.converter,
            opset=options.opset,
            guidance=options.guidance,
        )

    try:
        return export_files(variants, graphs), []
    except exporter.ExportError:
        if not options.report:
            raise
    # One by one: a report is of all that can be made.
    made, left_out = [], []
    for graph, variant in itertools.product(graphs, variants):
        try:
            made += export_files([variant], [graph])
        except exporter.ExportError as err:
            left_out.append(str(err))
    return made, left_out


def _groups(options, formats, graphs, asked):
    """Dict from the variants that are to be made to a list of graphs, each checked."""
    groups = {}
    for graph in graphs:
        variants = []
        for format in formats:
            known = exporter.module_of(format).QUANTIZATIONS if format in exporter.FORMATS else ()
            # A report is of all that there is; asked for by name, it is refused with the reason.
            left_out = {"exact", *(["int8-full"] if graph in exporter.NOT_ALL_INTEGER else [])}
            every = [name for name in known if name not in left_out]
            variants += exporter.variants_of(format, every if options.report else asked)
        for format, quantize in variants:
            # Of all that a model has, nothing more is known before it is loaded.
            name = "decoder" if graph == "all" else graph
            exporter.check_arguments(format, name, quantize, options.converter)
        groups.setdefault(tuple(variants), []).append(graph)
    return groups


def _check_model(path):
    """See, without Keras, that a run folder or a `.keras` file is there and whole."""
    from keras_vae.storage import archives

    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"There is no model at {path}. Make one with: {_TRAIN_COMMAND}")
    archives.class_of_model(file)


def _check_out(model_path, options, format, graph):
    from keras_vae.storage.files import check_folder_can_be

    target = exporter.target_of(model_path, format, graph, out=options.out)
    check_folder_can_be(target.parent)


def _check_data(source):
    """See, without Keras, that the data can be loaded that are named."""
    from keras_vae import data

    if source is not None and os.path.isdir(source):
        data.load(source, in_memory=False, image_size=2)  # their size is the model's
    elif source is not None and not data.needs_keras(source):
        data.load(source)


def _start(backend):
    """Run Keras on a backend, if it has not been imported, and all of the package."""
    if "keras" not in sys.modules:
        os.environ.update(converters.ENVIRONMENTS[backend])
    start_keras()


def _report(model_path, graphs, paths, say, data=None):
    """Compare the files of each graph, and say what each costs.

    Returns:
        List of lists of lines, a table for each graph.
    """
    from export import report
    from keras_vae.models.capabilities import DrawsTokens
    from keras_vae.storage.runs import Run

    model = exporter.load_model(model_path)
    run = Run(model_path) if model_path.is_dir() else None
    tables = []
    for graph in graphs:
        reporter = report.Reporter(model, graph, run, say=say, data=data)
        rows, pictures = [], {}
        is_picture = "x" in reporter.expected and not isinstance(model, DrawsTokens)
        is_picture = is_picture and len(model.data_shape) == 3 and model.data_shape[-1] in (1, 3)
        if graph in ("decoder", "sampler") and is_picture:
            pictures["Keras"] = reporter.expected["x"]
        for path in paths:
            module = exporter.module_of(path.suffix[1:])
            if module.read_manifest(path)["graph"] != graph:
                continue
            row, made = reporter.measure(path, module)
            rows.append(row)
            if pictures:
                pictures[path.name.partition(".")[2]] = made["x"]
        data_range = model.likelihood.data_range
        saved = report.save(paths[0].parent, graph, rows, reporter.baseline, pictures, data_range)
        tables.append([*report.table(rows, reporter.baseline), *map(str, saved)])
    return tables


def _verify(path, model):
    from export import verification

    module = _module_of_file(path, "--verify runs .tflite, .onnx and .c files")
    if model is not None:
        _check_model(pathlib.Path(model))
        _start(converters.BACKENDS[converters.chosen(path.suffix[1:])])
    passed = True
    checks = verification.verify(path, module, pathlib.Path(model) if model else None)
    while True:
        with stderr_hidden():
            check = next(checks, None)
        if check is None:
            break
        print(check, flush=True)
        passed = passed and check.passed
    print(f"{path.name}: {'verified' if passed else 'FAILED'}")
    return passed


def _module_of_file(path, what):
    """The format's module for a file, after checks that need not read it.

    Args:
        path: The file.
        what: What an option does with which files, to begin an error with.
    """
    format = path.suffix.removeprefix(".")
    if format not in exporter.FORMATS:
        raise ValueError(f"{what}. Received: {path}.")
    size = path.stat().st_size
    if not path.is_file():
        # A pipe or a device never ends.
        raise ValueError(f"{what}. Received: {path}, which is no regular file.")
    if size > _LARGEST_FILE:
        raise ValueError(f"{path} is larger than 2 GiB, the most that a file can be.")
    return exporter.module_of(format)


def _newest_run():
    runs = sorted(pathlib.Path("runs").glob("*/model.keras"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise FileNotFoundError(f"There is no run under runs/. Make one with: {_TRAIN_COMMAND}")
    return runs[-1].parent


def _next_command(path):
    found = exporter.module_of(path.suffix[1:]).read_manifest(path)
    if path.suffix == ".c":
        return shlex.join(["cc", "-std=c99", "-O2", "-c", str(path)])
    if found["graph"] not in ("decoder", "sampler"):
        return shlex.join(["python", "-m", "keras_vae", "export", "--verify", str(path)])
    words = ["python", "mobile_demo/edge/sample.py", "--model", str(path)]
    prior = found["prior"] or {}
    is_drawn = prior.get("kind") == "standard_normal" or "means" in prior
    kind = found.get("data", {}).get("kind")
    if found["graph"] == "decoder" and (kind or not is_drawn):
        return shlex.join([*words, "--self-test"])
    for condition in found["conditions"]:
        if condition["kind"] == "sequence":
            words += ["--melody", "tune.mid"] if condition["name"] == "melody" else []
        elif condition["kind"] == "multi_label":
            words += ["--condition", f"{condition['name']}={condition['names'][0]}"]
        elif condition["kind"] == "continuous":
            ranges = condition.get("range") or [[0, 0]] * condition["size"]
            middle = ",".join(f"{(low + high) / 2:g}" for low, high in ranges)
            words += ["--condition", f"{condition['name']}={middle}"]
        elif condition["name"] == "label":
            words += ["--label", condition["names"][min(7, condition["size"] - 1)]]
        else:
            words += ["--condition", f"{condition['name']}={condition['names'][0]}"]
    count, out = {"notes": ("4", "piece.mid"), "table": ("100", "rows.csv")}.get(
        kind, ("16", "samples.png")
    )
    words += ["--count", count, "--seed", "42", "--out", out]
    return shlex.join(words)


def _inspect(path):
    from export import manifest

    module = _module_of_file(path, "--inspect reads .tflite, .onnx and .c files")
    with stderr_hidden():
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
    known = {key: value for key, value in found.items() if value is not None}
    print(_pretty({**manifest.shorten(known), "file": file}))


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
        self.stack.enter_context(stderr_hidden())
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


if __name__ == "__main__":
    sys.exit(main())
