"""Export a trained model to one file that a device can run without Keras.

```python
import export

export.export("runs/digits", format="tflite")    # runs/digits/export/decoder.tflite
```

From the shell: `python -m export --format tflite,onnx --model runs/digits`.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

FORMATS = ("tflite", "onnx")
GRAPHS = ("decoder", "encoder", "sampler", "scorer")
QUANTIZATIONS = ("none", "float16", "int8", "int8-full")

# An accelerator is slow to start for one small batch, and rounds otherwise than a device.
CHILD_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}

__all__ = ["FORMATS", "GRAPHS", "QUANTIZATIONS", "ExportError", "export"]


class ExportError(RuntimeError):
    """A graph could not be converted, or its file failed the check. No file was left."""


def export(model_or_path, format="tflite", graph="decoder", quantize="none", out=None):
    """Export one graph of a model to one file, verified in the runtime that devices use.

    The conversion runs on TensorFlow; where Keras runs on another backend, in a process of its
    own. The file appears under its final name only after `export.parity` has compared it with the
    model.

    Args:
        model_or_path: A model of `keras_vae`, a run folder or a `.keras` file.
        format: `"tflite"` or `"onnx"`.
        graph: `"decoder"`, the only one in this version.
        quantize: `"none"`, the only one in this version.
        out: Optional folder, or a file name that ends with the format's suffix. Defaults to
            `export` in the run folder (beside a `.keras` file), and to the current folder for a
            model.

    Returns:
        `pathlib.Path` of the file, such as `decoder.tflite`.

    Raises:
        ValueError: If an argument is wrong or the model cannot be read.
        FileNotFoundError: If there is no model at the path.
        ModuleNotFoundError: If a package for the format is missing.
        OSError: If the file cannot be written.
        ExportError: If the conversion fails, or the file disagrees with the model.
    """
    [(path, _)] = export_formats(model_or_path, [format], graph, quantize, out)
    return path


def export_formats(
    model_or_path,
    formats,
    graph="decoder",
    quantize="none",
    out=None,
    say=lambda line, done=False: None,
):
    """As `export`, to several formats, and say what was measured.

    Args:
        formats: List of `"tflite"` and `"onnx"`.
        say: Function that is called with a line about each step, and with `done=True` and what
            was measured for each file.

    Returns:
        List of tuples of the `pathlib.Path` and a `parity.Report`, one for each format.
    """
    for format in formats:
        check_arguments(format, graph, quantize)
    if len(formats) > 1 and out is not None and pathlib.Path(out).suffix[1:] in FORMATS:
        raise ValueError(f"`out` must be a folder for several formats. Received: {str(out)!r}.")
    targets = [target_of(model_or_path, format, graph, out) for format in formats]
    export_all = _export_here if _backend() == "tensorflow" else _export_in_child
    reports = export_all(model_or_path, formats, graph, targets, say)
    return list(zip(targets, reports, strict=True))


def check_arguments(format, graph, quantize):
    """Raise a ValueError that says what this version exports, or a ModuleNotFoundError."""
    for name, value, known in (
        ("format", format, FORMATS),
        ("graph", graph, GRAPHS),
        ("quantize", quantize, QUANTIZATIONS),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {value!r}.")
    if graph != "decoder" or quantize != "none":
        raise ValueError(
            "This version exports the `decoder` graph unquantized. Received: "
            f"graph={graph!r}, quantize={quantize!r}."
        )
    for package in module_of(format).PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f'Exporting to "{format}" needs the `{package}` package. Install it with: '
                'pip install "keras-vae[export]".'
            )


def module_of(format):
    """The module that writes and reads a format."""
    return importlib.import_module(f"export.{format}")


def target_of(model_or_path, format, graph="decoder", out=None):
    """The final path of an exported file, as `export` chooses it."""
    suffix = module_of(format).SUFFIX
    if out is not None and pathlib.Path(out).suffix == suffix:
        return pathlib.Path(out)
    if out is None:
        out = "."
        if _is_path(model_or_path):
            path = pathlib.Path(model_or_path)
            out = (path if path.is_dir() else path.parent) / "export"
    return pathlib.Path(out) / f"{graph}{suffix}"


def _export_here(model_or_path, formats, graph, targets, say, origin=None):
    from export import graphs, manifest, parity

    model, training = model_or_path, None
    if _is_path(model_or_path):
        import keras_vae

        say(f"{model_or_path}: loading the model")
        path = pathlib.Path(model_or_path)
        model = keras_vae.load_model(path)
        training = manifest.training_of(path if path.is_dir() else path.parent)
    reports = []
    with graphs.full_precision(model):
        built = graphs.BUILDERS[graph](model)
        expected = parity.reference(built)
        if origin is not None:
            parity.verify_backends(expected, origin)
        for format, target in zip(formats, targets, strict=True):
            module = module_of(format)
            description = manifest.build(built, model, module.converter(), training)
            with _part_of(target) as part:
                say(f"{target.name}: converting")
                module.export(built, part, manifest_data=manifest.dumps(description))
                say(f"{target.name}: comparing with the model in the real runtime")
                reports.append(parity.verify(built, part, module, expected, target.name))
            say(f"{target.name}  {reports[-1]}", done=True)
    return reports


@contextlib.contextmanager
def _part_of(target):
    """Give a path to write to; it takes the target's name only if the block ends well."""
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as err:
        raise OSError(err.errno, err.strerror or str(err), err.filename or str(target)) from err
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _export_in_child(model_or_path, formats, graph, targets, say):
    """Export in a process whose Keras runs on TensorFlow."""
    from export import parity

    with tempfile.TemporaryDirectory() as folder:
        job = {
            "model": os.path.abspath(model_or_path) if _is_path(model_or_path) else None,
            "formats": formats,
            "graph": graph,
            "targets": [os.path.abspath(target) for target in targets],
            "folder": folder,
            "modules": [],
        }
        if job["model"] is None:
            say("saving the model for a TensorFlow process")
            job.update(_save_for_child(model_or_path, graph, folder))
        say("converting and comparing in a TensorFlow process")
        try:
            child = subprocess.run(
                [sys.executable, "-c", "import export; export._child()"],
                input=json.dumps(job),
                capture_output=True,
                text=True,
                env={
                    **os.environ,
                    **CHILD_ENVIRONMENT,
                    "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                },
            )
        finally:
            for target in targets:
                with contextlib.suppress(OSError):
                    target.with_name(target.name + ".part").unlink(missing_ok=True)
        result = pathlib.Path(folder) / "result.json"
        if not result.exists():
            last = child.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise ExportError(
                f"The TensorFlow process of the export ended with status {child.returncode}: "
                f"{last[0][:300]}"
            )
        result = json.loads(result.read_text(encoding="utf-8"))
    if "raised" in result:
        raise _EXCEPTIONS[result["raised"]](*result["arguments"])
    reports = [parity.Report(**fields) for fields in result["reports"]]
    for target, report in zip(targets, reports, strict=True):
        say(f"{target.name}  {report}", done=True)
    return reports


def _save_for_child(model, graph, folder):
    """Save a model and what it computes here, and name the modules that define its parts."""
    import numpy as np

    from export import graphs, parity

    built = graphs.BUILDERS[graph](model)
    kinds = {type(layer) for layer in model._flatten_layers()}
    local = sorted(kind.__name__ for kind in kinds if kind.__module__ == "__main__")
    if local:
        raise ValueError(
            "Exporting from this backend runs in a TensorFlow process, which cannot import a class "
            f"that a script or notebook defines. Received: {', '.join(local)}. Move it to a module "
            "of its own and import that, or run the script with KERAS_BACKEND=tensorflow."
        )
    path = os.path.join(folder, "model.keras")
    model.save(path)
    with graphs.full_precision(model):
        _, outputs = parity.reference(built)
    np.savez(os.path.join(folder, "origin.npz"), **outputs)
    modules = {kind.__module__ for kind in kinds}
    known = ("keras", "keras_vae")
    return {
        "model": path,
        "modules": sorted(name for name in modules if name.split(".")[0] not in known),
    }


def _child():
    """The other end of `_export_in_child`: a job on standard input, the result in a file."""
    job = json.load(sys.stdin)
    folder = pathlib.Path(job["folder"])
    origin = folder / "origin.npz"
    try:
        # The classes come from modules that the caller has imported, never from the file.
        for module in job["modules"]:
            importlib.import_module(module)
        reports = _export_here(
            job["model"],
            job["formats"],
            job["graph"],
            [pathlib.Path(target) for target in job["targets"]],
            lambda line, done=False: None,
            origin if origin.exists() else None,
        )
        result = {"reports": [dataclasses.asdict(report) for report in reports]}
    except tuple(_EXCEPTIONS.values()) as err:
        raised = next(name for name, kind in _EXCEPTIONS.items() if isinstance(err, kind))
        has_errno = isinstance(err, OSError) and err.errno is not None
        arguments = [err.errno, err.strerror, err.filename] if has_errno else [str(err)]
        result = {"raised": raised, "arguments": arguments}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _backend():
    import keras

    return keras.backend.backend()


def _is_path(model_or_path):
    return isinstance(model_or_path, str | os.PathLike)


# An exception crosses the process as the first of these that it is an instance of.
_EXCEPTIONS = {
    kind.__name__: kind
    for kind in (ExportError, ModuleNotFoundError, FileNotFoundError, OSError, ValueError)
}
