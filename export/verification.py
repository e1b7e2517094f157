"""The check of a file by itself, on any machine and of any origin: `python -m export --verify`.

What can be told without running the file is read first, with every position checked. Then the
file runs in the real runtime in a process of its own, for a damaged file can crash a runtime. A C
file is compiled there, if it calls nothing but its own functions and those of `math.h`; that it
stays within its arrays nobody can see beforehand, so compile none that you would not trust so far.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from export import manifest, parity, tracing
from export.quantization import TOLERANCES
from keras_vae import processes
from keras_vae.exceptions import one_line

SECONDS = 60
# What a runtime may allocate: this, and a few copies of the file.
MEMORY = 3 * 2**29
COPIES = 8
_COMMAND = "from export import verification; verification._child()"
# A thread's stack counts as memory, whether it is used or not.
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
# Inputs that have one value for the whole batch.
_SINGLE = ("seed", "temperature", "token_temperature")


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was checked: what, whether it holds, and what was found."""

    what: str
    passed: bool
    found: str

    def __str__(self):
        return f"{'ok    ' if self.passed else 'FAILED'}  {self.what}: {self.found}"


def verify(path, module, model=None, inputs=None):
    """Check a file: its operators, its size, its golden sample, and that all it gives is finite.

    Args:
        path: The file.
        module: The format's module, such as `export.tflite`.
        model: Optional model or path, to compare the file with it as the export did.
        inputs: Optional dict, as for `export.export`, for a model that is not one of ours.

    Yields:
        A `Check` for each thing that was checked.

    Raises:
        ValueError: If the file holds no readable manifest, or the model cannot be read.
    """
    path = pathlib.Path(path)
    try:
        found = module.read_manifest(path)
        described = module.describe(path)
        forbidden = module.forbidden_operators(path)
    except ValueError as err:
        raise ValueError(f"{one_line(err)}{_said_by_runtime(path, module)}") from err
    operators = described["operators"]
    words = f"{len(operators)}, all standard" if operators else "its own functions and libm's alone"
    if forbidden:
        words = f"not allowed: {', '.join(forbidden)}"
    yield Check("operators", not forbidden, words)
    size, parameters = path.stat().st_size, found["parameters"]
    try:
        parity.check_size(size, parameters, found["quantization"], path.name)
        per_parameter = f", {size / parameters:.2f} bytes a parameter" if parameters else ""
        yield Check("size", True, f"{size} bytes{per_parameter}")
    except parity.ParityError as err:
        yield Check("size", False, str(err))
    if forbidden and path.suffix == ".c":
        yield Check("golden sample", False, "not compiled, for it may do more than compute")
    else:
        yield _run_apart(path, module)
    if model is not None:
        yield _compare(path, module, found, model, inputs)


def check_golden(path, module):
    """Run a file's golden sample in every program, in this process.

    Returns:
        Tuple of the largest error, as `parity.difference` gives it, and the number of runs.

    Raises:
        ValueError: If the runtime refuses the file, an output is not finite or too far from the
            golden sample.
    """
    path = pathlib.Path(path)
    found = module.read_manifest(path)
    described = {entry["name"]: entry for entry in module.describe(path)["signatures"]}
    tolerance = TOLERANCES[found["quantization"]]
    ties = 0 if found["quantization"] == "exact" else 1
    magnitudes = manifest.golden_magnitudes(found, path.name)
    largest_error, runs = 0.0, 0
    for name, batch_sizes, run in module.programs(path):
        ports = described[name]
        inputs = manifest.golden(found, ports["inputs"], path.name)
        outputs = manifest.golden(found, ports["outputs"], path.name)
        batched = {port["name"] for port in ports["inputs"] if port["name"] not in _SINGLE}
        count = min((len(inputs[key]) for key in batched), default=0)
        if not count or any(len(value) < count for value in outputs.values()):
            raise ValueError(f"The golden sample of {path.name} is damaged: it is empty.")
        for size in batch_sizes:
            index = np.arange(size) % count
            made = run({k: v[index] if k in batched else v for k, v in inputs.items()})
            for output, expected in outputs.items():
                rows, magnitude = min(size, count), magnitudes.get(output, 0.0)
                error = _error(made, output, expected, rows, magnitude, path.name, ties)
                largest_error = max(largest_error, error)
            runs += 1
    if not largest_error <= tolerance:
        raise ValueError(
            f"{path.name} differs from its golden sample by {largest_error:.2g}, more than "
            f"{tolerance:g}."
        )
    return largest_error, runs


def _error(made, output, expected, rows, magnitude, name, ties):
    array = made.get(output)
    if array is None or array.shape[1:] != expected.shape[1:] or len(array) < rows:
        raise ValueError(f"{name} gives no `{output}` of the shape that its manifest says.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} gives NaN or infinity in `{output}`.")
    # The golden sample comes first; what fills the batch up has another place in a sampler's seed.
    return parity.difference(array[:rows], expected[:rows], magnitude, ties)


def _said_by_runtime(path, module):
    """What a device's runtime says of a file that cannot be read, a sentence, or nothing."""
    check = _run_apart(path, module, "loading")
    return "" if check.passed or " says: " not in check.found else f" {check.found.rstrip('.')}."


def _run_apart(path, module, what="golden sample"):
    try:
        child = processes.run(
            _COMMAND,
            environment=_ENVIRONMENT,
            input=json.dumps([str(path.resolve()), module.__name__, what]),
            capture_output=True,
            timeout=SECONDS,
        )
        answer = json.loads(child.stdout.strip().splitlines()[-1])
        return Check(what, answer["passed"], answer["found"])
    except subprocess.TimeoutExpired:
        return Check(what, False, f"it had not ended after {SECONDS} seconds")
    except (ValueError, IndexError, KeyError, TypeError):
        ended = f"signal {-child.returncode}" if child.returncode < 0 else child.returncode
        return Check(what, False, f"the runtime ended with {ended} while it ran the file")


def _child():
    """The other end of `_run_apart`: a path on standard input, the answer on standard output."""
    path, name, what = json.load(sys.stdin)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit = MEMORY + COPIES * os.path.getsize(path)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.dup(1)
    os.dup2(2, 1)  # what a runtime prints is no answer
    try:
        module = importlib.import_module(name)
        if what == "loading":
            module.try_runtime(path)
            result = {"passed": True, "found": "it is loaded"}
        else:
            error, runs = check_golden(path, module)
            result = {"passed": True, "found": f"largest error {error:.1e} in {runs} runs"}
    except ValueError as err:
        result = {"passed": False, "found": one_line(err)}
    except MemoryError:
        result = {"passed": False, "found": "the file asks for more memory than there is"}
    except ImportError as err:
        missing = f"a package is missing: {err.name}" if err.name else one_line(err)
        result = {"passed": False, "found": missing}
    os.write(answer, json.dumps(result).encode())


def _compare(path, module, found, model, inputs):
    import export

    what = "parity with the model"
    if isinstance(model, str | pathlib.Path):
        model = export.load_model(model, inputs)
    prior = found.get("prior") or {}
    guidance = prior.get("guidance", 1.0) if prior.get("kind") == "mask_git" else None
    try:
        with tracing.full_precision(model), export.guided(model, guidance):
            built = export.build_graph(model, found["graph"], inputs)
            expected = parity.reference(built)
            report = parity.verify(built, path, module, expected, found["quantization"])
    except (KeyError, export.ExportError) as err:
        return Check(what, False, one_line(err))
    return Check(what, True, f"largest error {report.largest_error:.1e} at batch sizes 1, 3, 16")
