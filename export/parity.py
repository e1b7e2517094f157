"""The check that an exported file computes what the model computes."""

import dataclasses
import math
import pathlib
import statistics
import time

import numpy as np

from export import ExportError, graphs, oracle
from export.quantization import BOUNDS, SMALLEST_BYTES_PER_PARAMETER

# Between a model on its own backend and on TensorFlow. Wide, for an accelerator may round products
# to 10 bits; a mistake in the translation, such as another padding, is larger.
BACKEND_BOUND = 5e-3
LARGEST_BATCH = max(graphs.BATCH_SIZES)


class ParityError(ExportError):
    """A file does not compute what the model computes."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured while a file was checked.

    Args:
        largest_error: Float, over all outputs, batch sizes and classes, in units of the output, or
            of its largest value where that exceeds 1.
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
    """What a model itself gives on batches of each size in which every class occurs.

    Args:
        graph: The `Graph`.
        seed: Int, for the inputs that are drawn.

    Returns:
        Dict from batch size to a list of pairs of dicts of arrays, inputs and outputs.

    Raises:
        ParityError: If an output is not finite.
    """
    inputs = examples(graph, seed)
    rows = graph.count(inputs)
    outputs = oracle.outputs(graph, inputs) if graph.row_by_row else None
    batches = {}
    for size in graphs.BATCH_SIZES:
        batches[size] = []
        for start in range(0, rows, size):
            # The last batch is filled from the first rows: a static signature takes no other size.
            index = np.arange(start, start + size) % rows
            batch = graph.rows(inputs, index)
            if outputs is None:
                made = oracle.outputs(graph, batch)
            else:
                made = {name: array[index] for name, array in outputs.items()}
            batches[size].append((batch, made))
    # Uncompiled, too: TensorFlow's fused kernels make 0 of a NaN that a ReLU follows.
    for outputs in (graph.evaluate(inputs), *(outputs for _, outputs in batches[LARGEST_BATCH])):
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise ParityError(
                    f"The model itself gives NaN or infinity in `{name}`. Train it again, or load "
                    "an earlier checkpoint."
                )
    return batches


def verify(graph, path, module, expected, quantize="none", name=None):
    """Compare a file with its model at every batch size of `graphs.BATCH_SIZES`.

    Args:
        graph: The `Graph`.
        path: The file.
        module: The format's module, such as `export.tflite`.
        expected: The batches that `reference` returned.
        quantize: How the file is quantized, which sets the bound.
        name: Optional name of the file in errors.

    Returns:
        A `Report`.

    Raises:
        ParityError: With the worst output, its error and the bound; or the operator that is not
            allowed; or the size of a file that holds no weights.
    """
    path = pathlib.Path(path)
    name = name or path.name
    check_operators(path, module, name)
    size, parameters = path.stat().st_size, graph.num_parameters
    check_size(size, parameters, quantize, name)
    largest_error, timed = 0.0, math.nan
    try:
        programs = list(module.programs(path))
    except ValueError as err:
        raise ParityError(f"{name} cannot be run: {err}") from err
    for program, batch_sizes, run in programs:
        for batch_size in batch_sizes:
            where = f"{name}, {program}"
            error = _compare(run, expected[batch_size], BOUNDS[quantize], batch_size, where)
            largest_error = max(largest_error, error)
            if math.isnan(timed) and batch_size == batch_sizes[-1]:
                timed = milliseconds(run, expected[batch_size][0][0]) / batch_size
    return Report(largest_error, timed, size, parameters)


def check_operators(path, module, name):
    """Raise a ParityError if a file holds an operator that no exported file may hold."""
    forbidden = module.forbidden_operators(path)
    if forbidden:
        raise ParityError(
            f"{name} must hold standard, deterministic operators only. Received: "
            f"{', '.join(forbidden)}."
        )


def check_size(size, parameters, quantize, name):
    """Raise a ParityError if a file is too small to hold its weights."""
    if size < SMALLEST_BYTES_PER_PARAMETER[quantize] * parameters:
        raise ParityError(
            f"{name} must hold the weights of {parameters} parameters. Received: a file of {size} "
            "bytes."
        )


def verify_backends(expected, path, bound=BACKEND_BOUND):
    """Compare a model on TensorFlow with what it computed on the backend that it came from.

    Args:
        expected: The batches that `reference` returned, on TensorFlow.
        path: An `.npz` of the same by `save_reference`, of the other backend.
        bound: Float. Largest error allowed, for outputs up to 1; larger outputs scale it.

    Raises:
        ParityError: If they differ by more.
    """
    with np.load(path, allow_pickle=False) as origin:
        for i, (_, outputs) in enumerate(expected[LARGEST_BATCH]):
            for name, array in outputs.items():
                _error(array, origin[f"{name}_{i}"], bound, f"the model on TensorFlow, `{name}`")


def save_reference(expected, path):
    """Write the outputs that `reference` returned, for `verify_backends`."""
    batches = enumerate(expected[LARGEST_BATCH])
    np.savez(path, **{f"{name}_{i}": y for i, (_, made) in batches for name, y in made.items()})


def examples(graph, seed=0):
    """Inputs in which every value of every integer input occurs.

    Args:
        graph: The `Graph`.
        seed: Int.

    Returns:
        Dict from name to an array, of at least 16 rows where there is a row for each example.
    """
    rows = max(
        LARGEST_BATCH,
        *(math.ceil((s.num_values or 0) / math.prod(s.shape[1:])) for s in graph.inputs),
    )
    return graph.draw(rows, np.random.default_rng(seed))


def _compare(run, batches, bound, batch_size, name):
    largest_error = 0.0
    for inputs, outputs in batches:
        try:
            made = run(inputs)
        except ValueError as err:
            raise ParityError(f"{name}, batch size {batch_size}: {err}") from err
        for output, target in outputs.items():
            where = f"{name}, `{output}` at batch size {batch_size}"
            error = _error(made.get(output), target, bound, where)
            largest_error = max(largest_error, error)
    return largest_error


def _error(made, expected, bound, where):
    if made is None or made.shape != expected.shape or made.dtype != expected.dtype:
        received = "nothing" if made is None else f"{made.dtype} {made.shape}"
        raise ParityError(
            f"{where}: must be {expected.dtype} {expected.shape}. Received: {received}."
        )
    error = difference(made, expected)
    # Written so that NaN fails too.
    if not error <= bound:
        raise ParityError(
            f"{where}: disagrees with the model, largest error {error:.3g}, bound {bound:.3g}."
        )
    return error


def difference(made, expected):
    """The largest difference of two arrays, relative to the largest entry where that exceeds 1.

    Of integers, which are right or wrong: the share of those that differ, but for one of them,
    which may be a tie that rounding decides.
    """
    if np.issubdtype(expected.dtype, np.integer):
        return max(0, int(np.sum(made != expected)) - 1) / expected.size
    scale = max(1.0, float(np.max(np.abs(expected))))
    return float(np.max(np.abs(made.astype(np.float64) - expected))) / scale


def milliseconds(run, batch, seconds=0.2, repeats=50):
    """Median milliseconds of a call."""
    run(batch)
    times = []
    begin = time.perf_counter()
    while len(times) < repeats and (len(times) < 3 or time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
