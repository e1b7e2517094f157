"""Maps of a column's numbers to scores and back as straight lines: what devices compute in float32.

They are those of `columns.Numeric`, which computes them in float64, but for numbers that are whole
and for conditions: so that these are the same everywhere, they have one way.
"""

import dataclasses

import numpy as np

# Below all numbers: where the first line of a map begins.
LOWEST = -3e38
# Beyond it float32 skips whole numbers.
MOST_WHOLE = 2**24


@dataclasses.dataclass(frozen=True)
class Lines:
    """A monotone, piecewise linear map: from `knots[k]` on `bases[k] + slopes[k] (x - starts[k])`.

    Args:
        knots: Sequence of numbers in their order, the first `LOWEST`.
        starts, bases, slopes: Sequences of the same length.
        at_starts: Optional sequence, what exactly `starts[k]` becomes. Default: `bases`.
        whole: Whether `bases` are whole numbers, and the product is rounded to one.
    """

    knots: list
    starts: list
    bases: list
    slopes: list
    at_starts: list | None = None
    whole: bool = False


def to_scores(kind):
    """The `Lines` by which a fitted `Numeric` or `Count` encodes numbers; of "log", logarithms."""
    if getattr(kind, "transform", None) != "quantile":
        mean, std = _line(kind)
        return Lines([LOWEST], [mean], [0.0], [1 / std])
    values = np.array(kind.fitted["values"])
    low, middle, high = (np.array(kind.fitted[name]) for name in ("low", "middle", "high"))
    beyond = 1 / kind.fitted["std"]
    between = (low[1:] - high[:-1]) / np.diff(values)
    return Lines(
        [LOWEST, *values],
        [values[0], *values],
        [low[0], *high],
        [beyond, *between, beyond],
        [low[0], *middle],
    )


def to_units(kind):
    """As `to_scores`, the way back."""
    if getattr(kind, "transform", None) != "quantile":
        mean, std = _line(kind)
        whole = np.round(mean) if is_whole(kind) else mean
        return Lines([LOWEST], [(whole - mean) / std], [whole], [std], whole=is_whole(kind))
    ends = np.stack([kind.fitted["low"], kind.fitted["high"]], axis=1).ravel().astype("float32")
    values = np.repeat(np.array(kind.fitted["values"], "float64"), 2)
    steps = np.diff(ends.astype("float64"))
    last = np.append(steps > 0, True)  # of the ends at one place, where a value follows another
    between = np.diff(values)[last[:-1]] / steps[last[:-1]]
    ends, values = ends[last], values[last]
    bases = [kind.fitted["values"][0], *values]
    bases = np.round(bases) if is_whole(kind) else bases
    slopes = [0.0, *between, 0.0]
    return Lines([LOWEST, *ends], [ends[0], *ends], bases, slopes, whole=is_whole(kind))


def is_whole(kind):
    """Whether a fitted `Numeric` is of whole numbers that float32 has, and of no logarithms."""
    return (
        getattr(kind, "integer", False)
        and kind.transform != "log"
        and np.abs(kind.bounds).max() < MOST_WHOLE
    )


def whole_numbers(kind, scores):
    """The whole numbers of scores, by the very float32 operations of a file: float64 array."""
    lines = to_units(kind)
    base, along, _ = _along(lines, np.asarray(scores, "float32"))
    return (base + np.round(along)).astype("float64")


def scores(kind, values):
    """The scores of numbers, none missing, by the very float32 operations of a file.

    Args:
        kind: A fitted `Numeric`, but of "log", or `Count`.
        values: Float array.

    Returns:
        float32 array of the same shape.
    """
    lines, values = to_scores(kind), np.asarray(values, "float32")
    base, along, at = _along(lines, values)
    if lines.at_starts is None:
        return base + along
    starts, at_starts = (np.asarray(table, "float32") for table in (lines.starts, lines.at_starts))
    return np.where(values == starts[at], at_starts[at], base + along)


def _along(lines, x):
    """Of float32 numbers where their lines begin, how far they have risen, and which they are."""
    tables = (lines.starts, lines.bases, lines.slopes)
    starts, bases, slopes = (np.asarray(table, "float32") for table in tables)
    at = np.searchsorted(np.asarray(lines.knots, "float32"), x, "right") - 1
    rests = (np.asarray(lines.starts, "float64") - starts).astype("float32")
    return bases[at], slopes[at] * (x - starts[at] - rests[at]), at


def has_scores(kind):
    """Whether `scores` takes a kind: numbers without logarithms, which every runtime rounds."""
    return not hasattr(kind, "names") and getattr(kind, "transform", None) != "log"


def _line(kind):
    """The mean and the scale of a map that is a single line."""
    if not hasattr(kind, "transform"):
        return 0.0, 1.0
    return kind.fitted["mean"], kind.fitted["std"]
