"""Export a trained model to files that a device can run without Keras.

```python
import export

export.export("runs/digits", format="tflite")    # runs/digits/export/decoder.tflite
export.export(my_keras_model, inputs={"z": (16,), "label": ("int32", 10)}, quantize="int8")
```

From the shell: `python -m export --format tflite,onnx --model runs/digits`, or, in a folder that
holds an `export.py` of its own, `python -m keras_vae export` with the same arguments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from export import converters
from export.errors import ExportError
from export.parts import delete, part_of, parts_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from keras_vae.type_aliases import PathLike

FORMATS = ("tflite", "onnx", "c")
GRAPHS = ("decoder", "encoder", "sampler", "scorer", "reconstructor", "classifier")
# Of a run's scorer that nobody has calibrated: a device may ask for another rate.
FALSE_ALARMS = 0.01
NOT_ALL_INTEGER = {
    "sampler": "a latent code of 8 bits is not the one of the seed. Export the decoder as "
    "int8-full and draw the code beside it, or use --format c.",
    "scorer": "a score in nats does not fit into 8 bits. Export the reconstructor, and compute the "
    "score beside it.",
}
NOT_EXACT = {
    "encoder": "a code is made of real numbers. Quantize it as none.",
    "scorer": "a score is a real number. Quantize it as none.",
    "reconstructor": "what it makes is made of real numbers. Quantize it as none.",
    "classifier": "probabilities are real numbers. Quantize it as none.",
}

__all__ = ["FORMATS", "GRAPHS", "ExportError", "export", "export_files"]


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to make: which graph, how quantized, in which format, where, and by what."""

    graph: str
    quantize: str
    format: str
    target: str
    converter: str = "tensorflow"
    opset: int | None = None
    guidance: float | None = None

    @property
    def backend(self):
        """The backend of Keras that it is made on."""
        return converters.BACKENDS[self.converter]


def export(
    model_or_path: Any,
    format: str | Sequence[str] = "tflite",
    graph: str | Sequence[str] = "decoder",
    quantize: str | Sequence[str] | None = None,
    out: PathLike | None = None,
    inputs: Mapping[str, Any] | None = None,
    calibration_data: Mapping[str, ArrayLike] | PathLike | None = None,
    data: PathLike | None = None,
    converter: Literal["auto", "tensorflow", "stablehlo", "torch"] = "auto",
    opset: int | None = None,
    guidance: float | None = None,
) -> pathlib.Path | Any:
    """Export graphs of a model to files, each verified in the runtime that devices use.

    The conversion runs on TensorFlow, or for TFLite on JAX and for ONNX on PyTorch; where Keras
    runs on another backend, in a process of its own. A file appears under its final name only after
    `export.parity` has compared it with the model. `format`, `graph` and `quantize` may each be
    several, as a sequence or as the command line takes them, `"tflite,onnx"`: every combination is
    one file.

    Args:
        model_or_path: A model of `keras_vae`, an `AnomalyDetector`, a run folder or a `.keras`
            file; or any Keras model, with `inputs`.
        format: `"tflite"`, `"onnx"` or `"c"`.
        graph: `"decoder"`, `"encoder"`, `"sampler"`, `"scorer"`, `"reconstructor"` or
            `"classifier"`; or `"all"`, those that the model has.
        quantize: `"none"`, `"float16"`, `"int8"` (int8 weights, float arithmetic),
            `"int8-full"` (all integer; TFLite only) or `"exact"` (a model that draws tokens, or
            rows of a table, in whole numbers: `VAE.as_exact`, the same everywhere). ONNX has
            all but `"int8-full"`, C has `"int8"`, `"none"` and `"exact"`. Defaults to `"none"`, of
            C to `"int8"`.
        out: Optional folder, or a file name that ends with the format's suffix. Defaults to
            `export` in the run folder (beside a `.keras` file), and to the current folder for a
            model.
        inputs: Optional dict that says what a Keras model of your own takes: from each input's
            name to the shape of one float32 example, `(16,)`, to `"int32"` for one integer an
            example, to `("int32", 10)` for one of ten classes, or to `("int32", 50, 12)` for
            twelve of fifty words. An input named `z` is taken for a latent code with the prior
            N(0, I).
        calibration_data: Optional dict from input names to arrays of typical examples, by which
            `"int8"` and `"int8-full"` round; or the path of an `.npz` of such arrays, of a table
            or of a folder, as `data` takes them. Defaults, for a decoder or sampler, to draws from
            the prior; for what takes examples, to `data`, and without it `"int8"` rounds by what
            the model makes of its prior. If a model was calibrated by them, such files have
            p-values of what they score them.
        data: Optional name or path of the data that the model was trained on, as `data.load` takes
            it. From its test part a scorer's file knows how such examples score, and a decoder's
            where their codes lie. Defaults to what the run folder names; else files do without.
        converter: `"tensorflow"`, its own converters; `"stablehlo"`, `litert-converter` on JAX,
            for TFLite and C without TensorFlow; `"torch"`, PyTorch's own exporter, for ONNX
            without TensorFlow; or `"auto"`, the first of them that is installed and has the
            format. The manifest says which it was.
        opset: Optional int, the version of the operators in ONNX files, from 18 on. Defaults to 18.
        guidance: Optional float, at least 0, of the `sampler` of a `VQVAE`, as of its `sample`; it
            is fixed in the file. By default that of the model's prior, 1 unless it was set.

    Returns:
        `pathlib.Path` of the file, such as `decoder.tflite` or `decoder.int8.tflite`; a list of
        them, one graph after the other, where several are asked for.

    Raises:
        ValueError: If an argument is wrong or the model cannot be read.
        FileNotFoundError: If there is no model at the path.
        ModuleNotFoundError: If a package for the format is missing.
        OSError: If the file cannot be written.
        ExportError: If the conversion fails, or the file disagrees with the model.

    Example:

    >>> import export
    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> export.export(vae, format="tflite", quantize="int8").name
    'decoder.int8.tflite'

    See also:
        `export_files`, which also says what was measured.
    """
    formats, graphs, asked = names_in(format), names_in(graph), names_in(quantize)
    if graphs == ["all"]:
        graphs = graphs_of(model_or_path, inputs)
    if not (formats and graphs):
        raise ValueError(
            f"`format` and `graph` must name something. Received: {format!r}, {graph!r}."
        )
    variants = [pair for each in formats for pair in variants_of(each, asked)]
    exported = export_files(
        model_or_path,
        variants,
        graphs,
        out,
        inputs,
        calibration_data,
        data=data,
        converter=converter,
        opset=opset,
        guidance=guidance,
    )
    paths = [path for path, _ in exported]
    named = [value or "" for value in (format, graph, quantize)]
    is_one = all(isinstance(name, str) and "," not in name and name != "all" for name in named)
    return paths[0] if is_one else paths


def _model_of(model_or_path):
    """What is exported of an `AnomalyDetector`: its model, which it has set and calibrated."""
    if _is_path(model_or_path):
        return model_or_path
    from keras_vae.detector import AnomalyDetector

    is_detector = isinstance(model_or_path, AnomalyDetector)
    return model_or_path.exported() if is_detector else model_or_path


def _calibrated_by(model_or_path, jobs):
    """The examples that a detector was calibrated by, as graphs take them, if a file needs them."""
    calibrated_by = getattr(model_or_path, "calibrated_by", None)
    if calibrated_by is None or not any(job.quantize.startswith("int8") for job in jobs):
        return None
    from export import file_calibration

    return file_calibration.as_graphs_take(model_or_path.model, calibrated_by)


def names_in(value):
    """The names in `"tflite,onnx"` or in a sequence of names, each once; [] for None."""
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",")]
    elif value is None or not hasattr(value, "__iter__"):
        value = [] if value is None else [value]
    value = list(value)
    return [name for at, name in enumerate(value) if name not in value[:at]]


def variants_of(format, quantizations=()):
    """Pairs of a format and each quantization, by default the first that the format has."""
    known = module_of(format).QUANTIZATIONS[:1] if format in FORMATS else ("none",)
    return [(format, name) for name in quantizations or known]


def export_files(
    model_or_path: Any,
    variants: Sequence[tuple[str, str]],
    graphs: Sequence[str] = ("decoder",),
    out: PathLike | None = None,
    inputs: Mapping[str, Any] | None = None,
    calibration_data: Mapping[str, ArrayLike] | PathLike | None = None,
    say: Callable[..., Any] = lambda line, done=False: None,
    data: PathLike | None = None,
    converter: str = "auto",
    opset: int | None = None,
    guidance: float | None = None,
) -> list[tuple[pathlib.Path, Any]]:
    """As `export`, every variant of every graph, and what was measured.

    Args:
        variants: List of pairs of a format and a quantization.
        graphs: List of names.
        say: Function that is called with a line about each step, and with `done=True` and what
            was measured for each file.
        model_or_path, out, inputs, calibration_data, data, converter, opset, guidance: As for
            `export`.

    Returns:
        List of tuples of the `pathlib.Path` and a `parity.Report`, one for each file.

    Example:

    >>> import export
    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> [(path, report)] = export.export_files(vae, [("tflite", "none")], ["decoder"])
    >>> path.name
    'decoder.tflite'

    See also:
        `export`.
    """
    model = _model_of(model_or_path)
    if inputs is not None and data is not None:
        raise ValueError(
            "`data` must be left out with `inputs`, those of a Keras model of any kind. Received: "
            f"{data!r}. Pass `calibration_data`."
        )
    jobs = []
    check_opset(opset, [format for format, _ in variants])
    for graph, (format, quantize) in itertools.product(graphs, variants):
        check_arguments(format, graph, quantize, converter)
        target = target_of(model, format, graph, quantize, out)
        chosen = converters.chosen(format, converter)
        asked = opset if format == "onnx" else None
        jobs.append(Job(graph, quantize, format, str(target), chosen, asked, guidance))
    if len({job.target for job in jobs}) < len(jobs):
        raise ValueError(f"`out` must be a folder for several files. Received: {str(out)!r}.")
    calibrated_by = _calibrated_by(model_or_path, jobs)
    reports = {}
    for backend in dict.fromkeys(job.backend for job in jobs):
        export_all = _export_here if converters.runs_here(backend) else _export_in_child
        mine = [job for job in jobs if job.backend == backend]
        made = export_all(model, mine, inputs, calibration_data, say, data, calibrated_by)
        reports |= dict(zip(mine, made, strict=True))
    return [(pathlib.Path(job.target), reports[job]) for job in jobs]


def check_arguments(format, graph, quantize, converter="auto"):
    """Raise a ValueError that says what can be exported, or a ModuleNotFoundError."""
    from export.quantization import QUANTIZATIONS

    for name, value, known in (
        ("format", format, FORMATS),
        ("graph", graph, GRAPHS),
        ("quantize", quantize, QUANTIZATIONS),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {value!r}.")
    module = module_of(format)
    if quantize not in module.QUANTIZATIONS:
        raise ValueError(
            f"The {format} format has the quantizations {', '.join(module.QUANTIZATIONS)}. "
            f"Received: {quantize!r}."
        )
    if quantize == "int8-full" and graph in NOT_ALL_INTEGER:
        raise ValueError(
            f"The {graph} cannot be int8-full: {NOT_ALL_INTEGER[graph]} Quantize it as int8."
        )
    if quantize == "exact" and graph in NOT_EXACT:
        raise ValueError(f"The {graph} cannot be exact: {NOT_EXACT[graph]}")
    chosen = converters.chosen(format, converter)
    if chosen == "stablehlo" and quantize == "int8-full":
        converters.require(module.ALL_INTEGER_PACKAGES, format, chosen)


def check_opset(opset, formats):
    """Raise a ValueError unless ONNX files of some formats can be of an opset, or it is None."""
    if opset is None:
        return
    if "onnx" not in formats:
        raise ValueError(f"`opset` is of ONNX files. Received: {opset!r} with {formats}.")
    module_of("onnx").check_opset(opset)


def module_of(format):
    """The module that writes and reads a format."""
    return importlib.import_module(f"export.{format}")


def target_of(model_or_path, format, graph="decoder", quantize="none", out=None):
    """The final path of an exported file, as `export` chooses it."""
    suffix = module_of(format).SUFFIX
    if out is not None and pathlib.Path(out).suffix == suffix:
        return pathlib.Path(out)
    if out is None:
        out = "."
        if _is_path(model_or_path):
            path = pathlib.Path(model_or_path)
            out = (path if path.is_dir() else path.parent) / "export"
    quantized = "" if quantize == "none" else f".{quantize}"
    return pathlib.Path(out) / f"{graph}{quantized}{suffix}"


def _export_here(
    model_or_path,
    jobs,
    inputs,
    calibration_data,
    say,
    data=None,
    calibrated_by=None,
    origin=None,
    custom_objects=None,
):
    from export import examples, file_calibration, manifest, parity, quantization, tflite, tracing

    model, run, training, held_out = model_or_path, None, None, None
    if _is_path(model_or_path):
        say(f"{model_or_path}: loading the model")
        path = pathlib.Path(model_or_path)
        model = load_model(path, inputs, custom_objects)
        run = path if path.is_dir() else path.parent
        training = manifest.training_of(run)
    if inputs is None and (run is not None or data is not None):
        held_out = examples.held_out(model, run, say, data)
    if held_out is not None and origin is None and _is_path(model_or_path):
        _calibrate(model, jobs, held_out, say)
    reports = {}
    with tracing.full_precision(model), guided(model, jobs[0].guidance):
        models = models_of(model, jobs)
        for name, form in dict.fromkeys((job.graph, _form(job)) for job in jobs):
            built = build_graph(models[form], name, inputs)
            expected = parity.reference(built)
            picture_range = manifest.range_of(built, known=bool(training or held_out))
            if origin is not None:
                parity.verify_backends(expected, origin / f"{name}.{form}.npz", form == "exact")
            for quantize in dict.fromkeys(job.quantize for job in jobs if _form(job) == form):
                chosen = [job for job in jobs if (job.graph, job.quantize) == (name, quantize)]
                calibration, rounded, scored = None, contextlib.nullcontext(), None
                if quantize == "int8-full":
                    tflite.check_all_integer(built)
                if quantize.startswith("int8"):
                    say(f"{name}: rounding the weights for {quantize}")
                    given = examples.calibration_of(built, calibration_data, run, data, quantize)
                    if given is None and built.takes_data:
                        say(f"{name}: no examples were given, so by those that the model makes")
                    calibration = quantization.calibration(built, given)
                    rounded = quantization.rounded(built, calibration)
                    if file_calibration.is_asked(built, quantize):
                        known = examples.calibrating(
                            model, run, data, [calibrated_by, given, held_out]
                        )
                        scored = file_calibration.scored(built, known, calibration)
                with rounded:
                    for job in chosen:
                        say(f"{pathlib.Path(job.target).name}: converting")
                        reports[job] = _make(
                            built,
                            job,
                            expected,
                            calibration,
                            scored,
                            training,
                            held_out,
                            picture_range,
                            say,
                        )
    return [reports[job] for job in jobs]


@contextlib.contextmanager
def guided(model, guidance):
    """Within the block let a model's prior draw codes with a guidance; None leaves its own."""
    if guidance is None:
        yield
        return
    from keras_vae.models.capabilities import DiscreteCodes
    from keras_vae.models.code_prior import CodePrior

    prior = model.prior if isinstance(model, DiscreteCodes) else None
    if not isinstance(prior, CodePrior):
        raise ValueError(
            "`guidance` needs a VQVAE, whose prior has logits to sharpen. Received: a "
            f"{type(model).__name__}."
        )
    before, prior.guidance = prior.guidance, guidance
    try:
        yield
    finally:
        prior.guidance = before


def _calibrate(model, jobs, held_out, say):
    """Give a model whose scorer is exported p-values by held-out examples, if it has none."""
    from keras_vae.calibration import Calibration, least_examples
    from keras_vae.models import scoring

    if "scorer" not in {job.graph for job in jobs} or model.scoring.calibration is not None:
        return
    graph = build_graph(model, "scorer")
    if graph.count(held_out) < least_examples(FALSE_ALARMS):
        return
    name = scoring.label_of(model)
    labels = held_out[name] if name else None
    scores = graph.evaluate(held_out)["score"]
    made = Calibration.fit(scores, FALSE_ALARMS, 0.0, labels, name, scoring.names_of(model, name))
    model.scoring = dataclasses.replace(model.scoring, calibration=made)
    say(f"scorer: p-values by {len(scores):,} held-out examples, alarms at {FALSE_ALARMS:.0%}")


def _make(graph, job, expected, calibration, scored, training, held_out, picture_range, say):
    from export import file_calibration, manifest, parity

    module, target = module_of(job.format), pathlib.Path(job.target)
    settings = {} if job.opset is None else {"opset": job.opset}
    content = module.convert(graph, job.quantize, calibration, **settings)
    with part_of(target, module) as part, contextlib.ExitStack() as stack:
        run, note = None, ""
        if job.quantize != "none":
            module.write(content, part)
            run = module.load(part)
        if scored is not None:
            own, note = file_calibration.of_file(graph, run, scored)
            stack.enter_context(file_calibration.held(graph.model, own))
            if graph.name == "scorer" and scored.are_known:
                graph = build_graph(graph.model, graph.name)
                content = module.convert(graph, job.quantize, calibration, **settings)
                module.write(content, part)
                run = module.load(part)
                file_calibration.check(graph, run, scored.examples)
        described = manifest.build(
            graph, module.converter(), job.quantize, training, run, held_out, picture_range
        )
        module.write(content, part, manifest.dumps(described))
        say(f"{target.name}: comparing with the model in the real runtime")
        report = parity.verify(graph, part, module, expected, job.quantize, target.name)
    report = dataclasses.replace(report, p_values=note)
    say(f"{target.name}  {report}", done=True)
    return report


def load_model(path, inputs=None, custom_objects=None):
    """Load what `export` takes as a path: a model of ours, or with `inputs` any Keras model."""
    from keras_vae.storage import saving, stored

    if inputs is None:
        return stored.load_generative_model(path, custom_objects)
    from export import keras_models

    return saving.load_any(
        path, custom_objects, compile=False, call=lambda m: keras_models.of_keras_model(m, inputs)
    )


def build_graph(model, name, inputs=None):
    """The `graphs.Graph` of a name; of any Keras model if its inputs are given."""
    from export import graphs, keras_models

    if inputs is not None:
        return keras_models.of_keras_model(model, inputs, name)
    return graphs.BUILDERS[name](model)


def graphs_of(model_or_path, inputs=None):
    """Names of the graphs that a model has, of what `export` takes."""
    model = _model_of(model_or_path)
    if _is_path(model):
        model = load_model(pathlib.Path(model), inputs)
    found = []
    for name in GRAPHS:
        with contextlib.suppress(ValueError):
            build_graph(model, name, inputs)
            found.append(name)
    return found


def models_of(model, jobs):
    """The model that each job is of, by its form: "float", itself, or "exact", in whole numbers.

    Raises:
        ValueError: If it has no such form, or would lose it.
    """
    from keras_vae.models.capabilities import DrawsExactly, require

    models = {"float": model}
    for job in jobs:
        if _form(job) == "exact" and "exact" not in models:
            require(model, DrawsExactly, 'quantize="exact"')
            models["exact"] = model.as_exact()
        elif job.quantize in ("none", "exact") or not isinstance(model, DrawsExactly):
            continue
        elif model.is_exact:
            raise ValueError(
                f'An exact model is exported with quantize="exact". Received: {job.quantize!r}.'
            )
    return models


def _form(job):
    return "exact" if job.quantize == "exact" else "float"


def _export_in_child(
    model_or_path, jobs, inputs, calibration_data, say, data=None, calibrated_by=None
):
    """Export in a process whose Keras runs on the jobs' backend."""
    import numpy as np

    from export import parity
    from keras_vae import processes
    from keras_vae.storage import own_objects

    [backend] = {job.backend for job in jobs}
    name = converters.NAMES[backend]
    with tempfile.TemporaryDirectory() as folder:
        message = {
            "model": os.path.abspath(model_or_path) if _is_path(model_or_path) else None,
            "jobs": [
                dataclasses.asdict(dataclasses.replace(job, target=os.path.abspath(job.target)))
                for job in jobs
            ],
            "inputs": inputs,
            "arrays": {"calibrated_by": calibrated_by},
            "calibration_path": None,
            "data": None if data is None else os.fspath(data),
            "folder": folder,
            "origin": False,
            "own_objects": [],
        }
        if calibration_data is not None and _is_path(calibration_data):
            message["calibration_path"] = os.path.abspath(calibration_data)
        else:
            message["arrays"]["calibration_data"] = calibration_data
        for key, arrays in message["arrays"].items():
            if arrays is not None:
                message["arrays"][key] = os.path.join(folder, f"{key}.npz")
                np.savez(message["arrays"][key], **arrays)
        if message["model"] is None:
            say(f"saving the model for a {name} process")
            message.update(_save_for_child(model_or_path, jobs, inputs, folder, backend))
        else:
            path = pathlib.Path(message["model"])
            path = path / "model.keras" if path.is_dir() else path
            message["own_objects"] = own_objects.described_in_file(path)
        say(f"converting and comparing in a {name} process")
        try:
            child = processes.run(
                "export._child()",
                environment=converters.ENVIRONMENTS[backend],
                input=json.dumps(message),
                capture_output=True,
            )
        finally:
            for job in jobs:
                delete(parts_of(pathlib.Path(job.target), module_of(job.format)))
        result = pathlib.Path(folder) / "result.json"
        if not result.exists():
            raise ExportError(f"The {name} process of the export {processes.end_of(child)}")
        result = json.loads(result.read_text(encoding="utf-8"))
    if "raised" in result:
        raise _EXCEPTIONS[result["raised"]](*result["arguments"])
    reports = [parity.Report(**fields) for fields in result["reports"]]
    for job, report in zip(jobs, reports, strict=True):
        say(f"{pathlib.Path(job.target).name}  {report}", done=True)
    return reports


def _save_for_child(model, jobs, inputs, folder, backend):
    """Save a model and what it computes here, and name what of it is neither Keras' nor ours."""
    from export import parity, tracing
    from keras_vae.storage import own_objects, saving

    here = f"Exporting from this backend runs in a {converters.NAMES[backend]} process."
    otherwise = f"Or run the script with KERAS_BACKEND={backend}."
    try:
        own = own_objects.described(model)
    except ValueError as err:
        raise ValueError(f"{here} {err} {otherwise}") from err
    with tracing.full_precision(model):
        models = models_of(model, jobs)
        for name, form in dict.fromkeys((job.graph, _form(job)) for job in jobs):
            expected = parity.reference(build_graph(models[form], name, inputs))
            parity.save_reference(expected, os.path.join(folder, f"{name}.{form}.npz"))
    path = os.path.join(folder, "model.keras")
    try:
        saving.save_model(model, path)
    except saving.NotLoadableError as err:
        raise ValueError(
            f"{here} It gets the model as a file, which cannot hold {err.found} {otherwise}"
        ) from err
    return {"model": path, "origin": True, "own_objects": own}


def _child():
    """The other end of `_export_in_child`: a job on standard input, the result in a file."""
    import numpy as np

    from keras_vae.storage import own_objects

    message = json.load(sys.stdin)
    folder = pathlib.Path(message["folder"])
    try:
        # The classes come from modules that the caller has imported, never from the file.
        custom_objects = own_objects.found(message["own_objects"])
        given = {}
        for name, path in message["arrays"].items():
            given[name] = None
            if path is not None:
                with np.load(path, allow_pickle=False) as arrays:
                    given[name] = dict(arrays)
        reports = _export_here(
            message["model"],
            [Job(**job) for job in message["jobs"]],
            message["inputs"],
            message["calibration_path"] or given["calibration_data"],
            lambda line, done=False: None,
            message["data"],
            given["calibrated_by"],
            folder if message["origin"] else None,
            custom_objects,
        )
        result = {"reports": [dataclasses.asdict(report) for report in reports]}
    except tuple(_EXCEPTIONS.values()) as err:
        raised = next(name for name, kind in _EXCEPTIONS.items() if isinstance(err, kind))
        has_errno = isinstance(err, OSError) and err.errno is not None
        arguments = [err.errno, err.strerror, err.filename] if has_errno else [str(err)]
        result = {"raised": raised, "arguments": arguments}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _is_path(model_or_path):
    return isinstance(model_or_path, str | os.PathLike)


# An exception crosses the process as the first of these that it is an instance of.
_EXCEPTIONS = {
    kind.__name__: kind
    for kind in (ExportError, ModuleNotFoundError, FileNotFoundError, OSError, ValueError)
}
