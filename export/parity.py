"""The check that an exported file computes what the model computes."""

import dataclasses
import math
import pathlib
import statistics
import time

import numpy as np

from export import ExportError

BOUND = 1e-5
# Between a model on its own backend and on TensorFlow. Wide, for an accelerator may round products
# to 10 bits; a mistake in the translation, such as another padding, is larger.
BACKEND_BOUND = 5e-3
TIMED_BATCH = 16
# A file holds its weights as 4 bytes each; a converter may fold a few of them away (a zero bias, a
# batch normalisation), never half.
SMALLEST_BYTES_PER_PARAMETER = 2.0


class ParityError(ExportError):
    """A file does not compute what the model computes."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured while a file was checked.

    Args:
        largest_error: Float, over all outputs, batch sizes and classes.
        milliseconds: Float, median per example in the real runtime at batch size 16.
        size: Int, bytes of the file.
        parameters: Int, number of weights that the graph reads.
    """

    largest_error: float
    milliseconds: float
    size: int
    parameters: int

    def __str__(self):
        return (
            f"{self.size / 1e6:.2f} MB  largest error {self.largest_error:.1e}  "
            f"{self.milliseconds:.3f} ms an image"
        )


def reference(graph, seed=0):
    """What a model computes on one seeded batch that holds every class.

    Args:
        graph: The `Graph`.
        seed: Int, for the latent codes.

    Returns:
        Tuple of two dicts of arrays: the inputs and the outputs.

    Raises:
        ParityError: If an output is not finite.
    """
    inputs = examples(graph, seed)
    outputs = graph.evaluate(inputs)
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ParityError(
                f"The model itself gives NaN or infinity in `{name}`. Train it again, or load an "
                "earlier checkpoint."
            )
    return inputs, outputs


def verify(graph, path, module, expected, name=None, bound=BOUND):
    """Compare a file with its model at every batch size of `graphs.BATCH_SIZES`.

    Args:
        graph: The `Graph`.
        path: The file.
        module: The format's module, such as `export.tflite`.
        expected: The inputs and outputs that `reference` returned.
        name: Optional name of the file in errors.
        bound: Float. Largest error allowed, for outputs up to 1; larger outputs scale it.

    Returns:
        A `Report`.

    Raises:
        ParityError: With the worst output, its error and the bound; or the operator that is not
            allowed; or the size of a file that holds no weights.
    """
    path = pathlib.Path(path)
    name = name or path.name
    forbidden = module.forbidden_operators(path)
    if forbidden:
        raise ParityError(
            f"{name} must hold standard, deterministic operators only. Received: "
            f"{', '.join(forbidden)}."
        )
    size, parameters = path.stat().st_size, graph.num_parameters
    if size < SMALLEST_BYTES_PER_PARAMETER * parameters:
        raise ParityError(
            f"{name} must hold the weights of {parameters} parameters. Received: a file of {size} "
            "bytes."
        )
    largest_error, milliseconds = 0.0, math.nan
    for program, batch_sizes, run in module.programs(graph, path):
        for batch_size in batch_sizes:
            error = _compare(run, expected, batch_size, bound, f"{name}, {program}")
            largest_error = max(largest_error, error)
        if program == graph.name:
            batch = {key: value[:TIMED_BATCH] for key, value in expected[0].items()}
            milliseconds = _milliseconds(run, batch) / TIMED_BATCH
    return Report(largest_error, milliseconds, size, parameters)


def verify_backends(expected, path, bound=BACKEND_BOUND):
    """Compare a model on TensorFlow with what it computed on the backend that it came from.

    Args:
        expected: The inputs and outputs that `reference` returned, on TensorFlow.
        path: An `.npz` of the outputs that it returned on the other backend.
        bound: Float. Largest error allowed, for outputs up to 1; larger outputs scale it.

    Raises:
        ParityError: If they differ by more.
    """
    _, outputs = expected
    with np.load(path, allow_pickle=False) as origin:
        for name, array in outputs.items():
            _error(array, origin[name], bound, f"the model on TensorFlow, `{name}`")


def examples(graph, seed=0):
    """Inputs in which every value of every integer input occurs.

    Args:
        graph: The `Graph`.
        seed: Int.

    Returns:
        Dict from name to an array of at least 16 rows.
    """
    rng = np.random.default_rng(seed)
    rows = max(TIMED_BATCH, *(spec.num_values or 0 for spec in graph.inputs))
    inputs = {}
    for spec in graph.inputs:
        if spec.num_values is None:
            inputs[spec.name] = rng.standard_normal((rows, *spec.shape[1:]), dtype=np.float32)
        else:
            # Shuffled, so that two conditions do not always meet in the same pairs.
            inputs[spec.name] = rng.permutation(np.arange(rows) % spec.num_values).astype(np.int32)
    return inputs


def _compare(run, expected, batch_size, bound, name):
    inputs, outputs = expected
    rows = len(next(iter(inputs.values())))
    largest_error = 0.0
    for start in range(0, rows, batch_size):
        # The last batch is filled from the first rows: a static signature takes no other size.
        index = np.arange(start, start + batch_size) % rows
        try:
            made = run({key: value[index] for key, value in inputs.items()})
        except ValueError as err:
            raise ParityError(f"{name}, batch size {batch_size}: {err}") from err
        for output, target in outputs.items():
            where = f"{name}, `{output}` at batch size {batch_size}"
            error = _error(made.get(output), target[index], bound, where)
            largest_error = max(largest_error, error)
    return largest_error


def _error(made, expected, bound, where):
    if made is None or made.shape != expected.shape or made.dtype != expected.dtype:
        received = "nothing" if made is None else f"{made.dtype} {made.shape}"
        raise ParityError(
            f"{where}: must be {expected.dtype} {expected.shape}. Received: {received}."
        )
    error = float(np.max(np.abs(made.astype(np.float64) - expected)))
    allowed = bound * max(1.0, float(np.max(np.abs(expected))))
    # Written so that NaN fails too.
    if not error <= allowed:
        raise ParityError(
            f"{where}: disagrees with the model, largest error {error:.3g}, bound {allowed:.3g}."
        )
    return error


def _milliseconds(run, batch, seconds=0.2, repeats=50):
    run(batch)
    times = []
    begin = time.perf_counter()
    while len(times) < repeats and (len(times) < 3 or time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
