"""The check that an exported file computes what the model computes."""

import dataclasses
import functools
import math
import pathlib

import numpy as np

from export import graphs, oracle
from export.converters import NAMES
from export.errors import ExportError
from export.quantization import BOUNDS, SMALLEST_BYTES_PER_PARAMETER

# Between a model on its own backend and on that of the conversion. Wide, for an accelerator may
# round products to 10 bits; a mistake in the translation, such as another padding, is larger.
BACKEND_BOUND = 5e-3
LARGEST_BATCH = max(graphs.BATCH_SIZES)
# How often a bound is halved to see how much of it was needed.
_HALVES = 10
# How near to a border between two tokens a draw may be for a file to draw the other one.
MARGINS = {"none": 1e-4, "float16": 5e-3, "int8": 0.2, "exact": 0.0}
# By which weights and inputs are shaken to see how far an output follows: small enough for it to
# follow linearly, and far above the rounding of float32.
_SHAKE = 2.0**-12
_SHAKES = 2
# Of the output's change over that of the weights. Networks of usual weights have 1 to 7 of it and
# lose no more than `BOUNDS` say; only what exceeds it widens a bound.
_USUAL_GAIN = 8.0
# Of the same. A bound of 1e-5 never becomes more than 1 %, which tells wrong files from right ones.
_LARGEST_GAIN = 1000.0


class ParityError(ExportError):
    """A file does not compute what the model computes."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured while a file was checked.

    Args:
        largest_error: Float, over all outputs, batch sizes and classes, in units of the output, or
            of its largest value or what it is a sum of, where that exceeds 1 (`difference`).
        size: Int, bytes of the file.
        parameters: Int, number of weights that the graph reads.
        p_values: Str, words about those of a file with rounded weights, or none.
    """

    largest_error: float
    size: int
    parameters: int
    p_values: str = ""

    def __str__(self):
        words = f"{self.size / 1e6:.2f} MB  within {self.largest_error:.1e} of the model"
        return f"{words}  {self.p_values}" if self.p_values else words


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a model computes of some inputs.

    Args:
        inputs, outputs: Dicts of arrays.
        exact, lossy: Dicts of `magnitudes`, for files that are not quantized and for others.
        margins: Dict of `oracle.margins`, of outputs that are drawn, tokens or codes.
        limits: Dict of `oracle.limits`, of outputs in units.
        order: Optional int array, in which order codes are drawn; tokens are from the first on.
    """

    inputs: dict
    outputs: dict
    exact: dict
    lossy: dict
    margins: dict = dataclasses.field(default_factory=dict)
    limits: dict = dataclasses.field(default_factory=dict)
    order: np.ndarray | None = None

    def magnitude(self, output, quantize):
        """The `magnitudes` of an output, an array `(rows,)`; or 0 where there are none."""
        return (self.exact if quantize == "none" else self.lossy).get(output, 0.0)


def reference(graph, seed=0):
    """What a model itself gives on batches of each size in which every class occurs.

    Args:
        graph: The `Graph`.
        seed: Int, for the inputs that are drawn.

    Returns:
        Dict from batch size to a list of `Batch`.

    Raises:
        ParityError: If an output is not finite.
    """
    inputs = examples(graph, seed)
    rows = graph.count(inputs)
    exact, lossy = (magnitudes(graph, inputs, quantize, seed) for quantize in ("none", "int8"))
    outputs = oracle.outputs(graph, inputs) if graph.row_by_row else None
    limits = oracle.limits(graph, inputs, outputs)
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
            sizes = ({k: v[index] for k, v in found.items()} for found in (exact, lossy))
            margins = oracle.margins(graph, batch, made)
            of_rows = {name: functools.partial(_at, of, index) for name, of in limits.items()}
            order = graph.model.prior.order if graph.draws_codes else None
            batches[size].append(Batch(batch, made, *sizes, margins, of_rows, order))
    # Uncompiled, too: TensorFlow's fused kernels make 0 of a NaN that a ReLU follows.
    for outputs in (graph.evaluate(inputs), *(b.outputs for b in batches[LARGEST_BATCH])):
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise ParityError(
                    f"The model itself gives NaN or infinity in `{name}`. Train it again, or load "
                    "an earlier checkpoint."
                )
    return batches


def magnitudes(graph, inputs, quantize="none", seed=0):
    """How large what an output is made of is: the scale of the rounding that a right file may show.

    Terms that cancel leave a small output, and the rounding of large ones. A sum's terms are those
    that the graph tells of (`absolute_sums`), and what is in units is as large as it spreads. What
    cancels inside layers is seen from outside:
    every weight and float input is moved by one part in 4096, up or down at random, and the
    output's change, by that part, is the root of the sum of its squared terms. Of a quantized file
    only the former counts: where every rounding is multiplied, few bits are too few.

    Args:
        graph: The `Graph`.
        inputs: Dict of arrays.
        quantize: How the file is quantized.
        seed: Int, of the directions.

    Returns:
        Dict from names of float outputs to float arrays `(rows,)`.
    """
    sums = graph.evaluate(inputs, function=graph.absolute_sums) if graph.absolute_sums else {}
    # What tokens or codes are drawn jumps: their margins say how far rounding may reach.
    is_smooth = not (graph.loops or graph.draws_codes)
    gains = _gains(graph, inputs, seed) if quantize == "none" and is_smooth else {}
    rows = graph.count(inputs)
    names = [spec.name for spec in graph.outputs if spec.dtype == "float32"]
    units = {name: np.full(rows, graph.in_units[name]) for name in names if name in graph.in_units}
    return {
        name: np.fmax(sums.get(name, 0.0), gains.get(name, 0.0)) for name in {**gains, **sums}
    } | units


def _gains(graph, inputs, seed):
    """How much more than usual each float output follows the weights and inputs.

    What is in units has steps, and goes through others: it is left alone.
    """
    import keras

    rng = np.random.default_rng(seed)
    outputs = graph.evaluate(inputs)
    found = {
        spec.name: np.zeros(len(outputs[spec.name]))
        for spec in graph.outputs
        if spec.dtype == "float32" and spec.name not in graph.in_units
    }
    weights = [weight for weight in graph.model.weights if "float" in weight.dtype]
    values = [keras.ops.convert_to_numpy(weight) for weight in weights]

    def shaken(array):
        if array.dtype.kind != "f":
            return array
        return array * np.where(rng.random(array.shape) < 0.5, 1 - _SHAKE, 1 + _SHAKE).astype("f4")

    try:
        for _ in range(_SHAKES):
            for weight, value in zip(weights, values, strict=True):
                weight.assign(shaken(value))
            moved = {n: v if n in graph.in_units else shaken(v) for n, v in inputs.items()}
            made = graph.evaluate(moved)
            for name, most in found.items():
                change = np.abs(made[name].astype(np.float64) - outputs[name])
                change = change.reshape(len(most), -1).max(axis=1, initial=0.0)
                np.fmax(most, np.minimum(change / _SHAKE / _USUAL_GAIN, _LARGEST_GAIN), out=most)
    finally:
        for weight, value in zip(weights, values, strict=True):
            weight.assign(value)
    return found


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
    largest_error = 0.0
    try:
        programs = list(module.programs(path))
    except ValueError as err:
        raise ParityError(f"{name} cannot be run: {err}") from err
    for program, batch_sizes, run in programs:
        for batch_size in batch_sizes:
            where = f"{name}, {program}"
            error = _compare(run, expected[batch_size], quantize, batch_size, where)
            largest_error = max(largest_error, error)
    return Report(largest_error, size, parameters)


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


def verify_backends(expected, path, is_exact=False, bound=BACKEND_BOUND):
    """Compare a model, where it is converted, with what it gave on the backend it came from.

    Args:
        expected: The batches that `reference` returned here.
        path: An `.npz` of the same by `save_reference`, of the other backend.
        is_exact: Whether they must be the same to the last bit.
        bound: Float. Largest error allowed, for outputs up to 1; larger outputs scale it.

    Raises:
        ParityError: If they differ by more.
    """
    with np.load(path, allow_pickle=False) as origin:
        for i, batch in enumerate(expected[LARGEST_BATCH]):
            if "codes" in batch.margins:
                _compare_samples_of_codes(batch, origin[f"x_{i}"], origin[f"codes_{i}"], bound)
                continue
            for name, array in batch.outputs.items():
                where = f"{_model_here()}, `{name}`"
                magnitude = batch.magnitude(name, "none")
                if name in batch.limits:
                    _within(origin[f"{name}_{i}"], array, batch.limits[name], bound, where)
                elif is_exact:
                    _error(array, origin[f"{name}_{i}"], 0.0, where, ties=0)
                else:
                    _error(array, origin[f"{name}_{i}"], bound, where, magnitude)


def _model_here():
    import keras

    return f"the model on {NAMES[keras.backend.backend()]}"


def _compare_samples_of_codes(batch, x, codes, bound):
    """Raise a ParityError unless codes are equal but for ties, and pictures where codes are."""
    where, made = _model_here(), batch.outputs
    agree = _agree(made["codes"], codes, batch.margins["codes"], bound, where, batch.order)
    if agree.any():
        _error(made["x"][agree], x[agree], bound, f"{where}, `x`")


def save_reference(expected, path):
    """Write the outputs that `reference` returned, for `verify_backends`."""
    batches = enumerate(expected[LARGEST_BATCH])
    np.savez(path, **{f"{name}_{i}": y for i, b in batches for name, y in b.outputs.items()})


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


def _compare(run, batches, quantize, batch_size, name):
    largest_error = 0.0
    for batch in batches:
        try:
            made = run(batch.inputs)
        except ValueError as err:
            raise ParityError(f"{name}, batch size {batch_size}: {err}") from err
        where = f"{name}, batch size {batch_size}"
        agree = _rows_that_agree(batch, made, batch_size, quantize, where)
        for output, target in batch.outputs.items():
            if output in batch.margins:
                continue
            where = f"{name}, `{output}` at batch size {batch_size}"
            if output == "margin" and output in made:
                if agree.any():
                    found = made[output][agree]
                    _error(found, target[agree], MARGINS[quantize], where)
                continue
            if output in batch.limits:
                found = made.get(output)
                error = _within(found, target, batch.limits[output], BOUNDS[quantize], where)
            else:
                found, magnitude = made.get(output), batch.magnitude(output, quantize)
                if "codes" in batch.margins:  # other codes make another picture
                    _check_layout(found, target, where)
                    found, target = found[agree], target[agree]
                    if not agree.any():
                        continue
                error = _error(found, target, BOUNDS[quantize], where, magnitude)
            largest_error = max(largest_error, error)
    return largest_error


def _rows_that_agree(batch, made, rows, quantize, where):
    """Bool array `(rows,)`: of which examples all that is drawn is what the model draws."""
    agree = np.ones(rows, bool)
    for output, margins in batch.margins.items():
        found, target, bound = made.get(output), batch.outputs[output], MARGINS[quantize]
        agree &= _agree(found, target, margins, bound, f"{where}, `{output}`", batch.order)
    return agree


def _at(limits, index, bound):
    """The limits of some rows."""
    return tuple(end[index] for end in limits(bound))


def _within(made, expected, limits, bound, where):
    """The least bound, or twice it, whose limits hold all values; or a ParityError."""

    def outside(bound):
        low, high = limits(bound)
        return ~((low <= made) & (made <= high))  # also of NaN

    _check_layout(made, expected, where)
    if outside(bound).any():
        at = int(outside(bound).argmax())
        low, high = (np.ravel(ends)[at] for ends in limits(bound))
        row = at // (made.size // len(made))
        raise ParityError(
            f"{where}: disagrees with the model, {made.flat[at]:g} in row {row}, where it gives "
            f"{expected.flat[at]:g}, and {low:g} to {high:g} within its bound, {bound:.3g}."
        )
    if not outside(bound / 2**_HALVES).any():
        return 0.0
    while not outside(bound / 2).any():
        bound /= 2
    return bound


def _agree(made, expected, margins, bound, where, order=None):
    """Bool array `(rows,)`: whether all tokens of an example are those of the model.

    A token that differs changes those after it, so the first that differs is what is judged: its
    draw must have been so near to a border between two tokens that rounding decides.
    """
    _check_layout(made, expected, where)
    order = slice(None) if order is None else order
    differs = (made != expected).reshape(len(expected), -1)[:, order]
    first = differs.argmax(axis=1)
    at_first = margins.reshape(len(expected), -1)[:, order][np.arange(len(expected)), first]
    agree = ~differs.any(axis=1)
    worst = float(np.max(at_first[~agree], initial=0.0))
    if not worst <= bound:
        raise ParityError(
            f"{where}: disagrees with the model in a token whose draw was {worst:.3g} from a "
            f"border, bound {bound:.3g}."
        )
    return agree


def _check_layout(made, expected, where):
    if made is None or made.shape != expected.shape or made.dtype != expected.dtype:
        received = "nothing" if made is None else f"{made.dtype} {made.shape}"
        raise ParityError(
            f"{where}: must be {expected.dtype} {expected.shape}. Received: {received}."
        )


def _error(made, expected, bound, where, magnitude=0.0, ties=1):
    _check_layout(made, expected, where)
    error = difference(made, expected, magnitude, ties)
    # Written so that NaN fails too.
    if not error <= bound:
        raise ParityError(
            f"{where}: disagrees with the model, largest error {error:.3g}, bound {bound:.3g}."
        )
    return error


def difference(made, expected, magnitude=0.0, ties=1):
    """The largest difference of two arrays, relative to their size where that exceeds 1.

    Their size is the largest entry, or `magnitude`, that of what the entries are sums of. Of
    integers, which are right or wrong: the share of those that differ, but for one of them,
    which may be a tie that rounding decides, or for `ties` of them.
    """
    if np.issubdtype(expected.dtype, np.integer):
        return max(0, int(np.sum(made != expected)) - ties) / expected.size
    scale = max(1.0, float(np.max(np.abs(expected))), float(np.max(magnitude)))
    return float(np.max(np.abs(made.astype(np.float64) - expected))) / scale
