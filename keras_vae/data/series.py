"""Series, such as those of sensors, cut into windows to train, to calibrate and to test with."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_vae import arguments
from keras_vae.data import columns as kinds
from keras_vae.data import table_sources
from keras_vae.data.errors import DataError, explained, shortened
from keras_vae.data.series_schema import SeriesSchema

PARTS = ("train", "calibration", "test")
# Columns that are taken for the time where nobody says which one is.
TIMES = ("time", "timestamp", "datetime", "date", "ts")
# Of a window: steps that are filled where they are missing.
GAP_SHARE = 1 / 8
# The most memory that the windows of all parts may need.
MAX_BYTES = 16 * 2**30


def series(
    source: Any,
    window: int = 64,
    stride: int = 8,
    channels: Sequence[str] | None = None,
    time: str | None = None,
    conditions: Sequence[str] = (),
    calibration: float = 0.2,
    test: float = 0.2,
    max_gap: int | None = None,
    units: Mapping[str, str] | None = None,
    missing: Collection[str] = table_sources.MISSING,
    schema: SeriesSchema | None = None,
) -> Series:
    """Read a series, and cut it into windows.

    Rows are sorted by their time, and put on a regular grid of the usual step; of two at one time
    the first counts. Up to `max_gap` missing steps or values are filled by a straight line; where
    more are missing no window is taken. Each of this is said in one line. The parts follow each
    other in time, and no window is in two of them.

    Args:
        source: Path of a CSV or Parquet file, or of an `.npy` `(steps, channels)`; a frame; a dict
            from name to values `(steps,)`; an array `(steps, channels)`; or a list of these, one
            for each machine, of the same columns: no window is of two.
        window: Int, steps of a window.
        stride: Int, steps from one window to the next.
        channels: Optional names. Default: all columns of numbers but the time and conditions.
        time: Optional name of the column of times: dates, or numbers of seconds. Default: the
            column called `time`, `timestamp`, `datetime`, `date` or `ts`, if there is one.
        conditions: Names of columns of names, such as a machine or a mode, that a model is
            conditioned on. Windows are taken where they do not change.
        calibration: Share of the steps before the last part, at least 0, for the p-values of an
            `AnomalyDetector`.
        test: Share of the steps, the last ones, at least 0.
        max_gap: Optional int, at least 0. Default: an eighth of the window.
        units: Optional dict from a channel's name to its unit; it is told, not used.
        missing: As for `table`.
        schema: Optional `SeriesSchema` that the series must fit, such as `model.schema`: then its
            channels, window, stride and conditions are taken.

    Returns:
        A `Series`.

    Raises:
        DataError: If a source cannot be read, a channel is constant, no number or missing, or a
            part is shorter than a window.
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> made = keras_vae.data.series(np.sin(np.arange(400) / 5)[:, None], window=16, stride=4)
    >>> made.train.shape, made.calibration.shape, made.test.shape
    ((57, 16, 1), (17, 16, 1), (17, 16, 1))

    See also:
        `series_vae`; `AnomalyDetector`.
    """
    if schema is not None:
        window, stride = schema.window, schema.stride
        channels, conditions = schema.names, tuple(schema.conditions)
    window = arguments.whole(window, "window", 2)
    stride = arguments.whole(stride, "stride")
    max_gap = arguments.whole(int(window * GAP_SHARE) if max_gap is None else max_gap, "max_gap", 0)
    shares = {"calibration": calibration, "test": test}
    if any(not 0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ValueError(
            "`calibration` and `test` must be shares from 0 on, of a sum below 1. Received: "
            f"{calibration!r} and {test!r}."
        )
    conditions = (conditions,) if isinstance(conditions, str) else tuple(conditions)
    sources = source if isinstance(source, list | tuple) else [source]
    if not sources:
        raise DataError("`source` must name a series. Received: an empty list.")
    machines = []
    for each in sources:
        name, found = _read(each, missing)
        chosen = _channels(found, channels, time, conditions, name)
        channels = chosen if channels is None else channels
        machines.append(_Machine.of(name, found, chosen, _time(found, time), conditions))
    step = machines[0].step
    for machine in machines:
        if machine.step != step:
            told = ("without times" if s is None else f"{s:g} s" for s in (step, machine.step))
            raise DataError(
                f"All series must have one step, as a window counts them. Received: "
                f"{' and '.join(told)}. Resample {machine.name}, or make a model of each."
            )
    notes = _Notes()
    pieces = [
        piece
        for machine in machines
        for piece in machine.on_grid(max_gap, notes).pieces(max_gap, calibration, test, notes)
    ]
    notes.say()
    label = machines[0].name if len(machines) == 1 else f"{len(machines)} series"
    if schema is None:
        schema = _schema(pieces, channels, window, stride, conditions, step, units or {}, label)
    return Series(label, pieces, schema)


@dataclasses.dataclass
class _Piece:
    """Consecutive steps of one part, none missing, under the same conditions."""

    part: str
    times: np.ndarray
    values: np.ndarray
    conditions: dict


class Series:
    """Windows of series, split into parts that follow each other in time. `series` makes it.

    Attributes:
        name: Str.
        schema: `SeriesSchema`, which says what the channels are.
        train, calibration, test: What `fit` takes of each part: float32 `(n, window, channels)`,
            or with conditions a dict of it and of theirs.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> made = keras_vae.data.series(np.sin(np.arange(400) / 5)[:, None], window=16, stride=4)
    >>> made.windows("test").shape, made.starts("test")[:2].tolist()
    ((17, 16, 1), [320, 324])

    See also:
        `series`, which makes it; `series_vae`.
    """

    train: Any
    calibration: Any
    test: Any

    def __init__(self, name: str, pieces: Any, schema: SeriesSchema) -> None:
        self.name, self.schema = name, schema
        self._steps = dict.fromkeys(PARTS, 0)
        windows, starts = ({part: [] for part in PARTS} for _ in range(2))
        labels = {part: {name: [] for name in schema.conditions} for part in PARTS}
        for piece in pieces:
            self._steps[piece.part] += len(piece.values)
            if len(piece.values) < schema.window:
                continue
            made = schema.windows(piece.values)
            windows[piece.part].append(made)
            starts[piece.part].append(piece.times[: len(made) * schema.stride : schema.stride])
            for condition, value in piece.conditions.items():
                labels[piece.part][condition] += [value] * len(made)
        self._raw, self._starts, self._labels, needed = {}, {}, labels, 0
        for part in PARTS:
            if self._steps[part] and not windows[part]:
                raise DataError(
                    f"The {part} part of {name} must be at least as long as a window, "
                    f"{schema.window} steps without a gap. Received: {self._steps[part]} steps. "
                    "Take a shorter window, or more data."
                )
            needed += sum(made.size for made in windows[part]) * 4
            if needed > MAX_BYTES:
                raise DataError(
                    f"The windows of {name} must fit into {MAX_BYTES / 2**30:.0f} GiB. Received: "
                    f"more, at a stride of {schema.stride}. Take a larger stride."
                )
            empty = np.zeros((0, *schema.shape), "float32")
            self._raw[part] = np.concatenate([empty, *windows[part]]).astype("float32")
            self._starts[part] = np.concatenate(starts[part]) if starts[part] else np.zeros(0)
        for part in PARTS:
            setattr(self, part, schema.encode(self._raw[part], labels[part]))

    @property
    def conditions(self) -> dict[str, Any]:
        """Dict from a condition's name to its kind, as a model's `condition=` takes it."""
        return self.schema.condition

    def windows(self, part: str) -> NDArray[np.float32]:
        """The windows of a part in units, float32 `(n, window, channels)`."""
        return self._raw[part]

    def labels(self, part: str) -> dict[str, list[Any]]:
        """Dict from a condition's name to the name of each window of a part."""
        return self._labels[part]

    def starts(self, part: str) -> NDArray[Any]:
        """When each window of a part begins: datetimes, seconds, or the number of its row."""
        return self._starts[part]

    def ends(self, part: str) -> NDArray[Any]:
        """When each window of a part ends, as `starts`: its last step."""
        steps, starts = self.schema.window - 1, self._starts[part]
        if starts.dtype.kind == "M":
            return starts + np.timedelta64(round(steps * self.schema.step * 1e6), "us")
        return starts + steps * (self.schema.step or 1)

    def summary(self) -> None:
        """Print how many windows there are, and what each channel is."""
        counts = ", ".join(f"{len(self._raw[part]):,} to {_VERBS[part]}" for part in PARTS)
        window, step = self.schema.window, self.schema.step
        lasts = "" if step is None else f" of {step:g} s"
        print(f"{self.name}: windows of {window} steps{lasts}: {counts}")
        wide = max(map(len, ("channel", *self.schema.names)))
        print(f"{'channel':{wide}}  {'mean':>10}{'std':>10}  unit")
        for name, kind in self.schema.channels.items():
            mean, std = kind.fitted["mean"], kind.fitted["std"]
            print(f"{name:{wide}}  {mean:>10.4g}{std:>10.4g}  {kind.unit or ''}")
        for name, kind in self.schema.conditions.items():
            print(f"{name:{wide}}  condition: {shortened(', '.join(kind.names))}")


_VERBS = {"train": "train with", "calibration": "calibrate by", "test": "test"}


class _Notes:
    """What was done to series, counted, and said in a line each."""

    def __init__(self):
        self.counts = dict.fromkeys(("unsorted", "duplicate", "filled", "gaps", "unknown"), 0)

    def say(self):
        told = {
            "unsorted": "{} steps came out of order and were sorted by their time",
            "duplicate": "{} steps came twice, of which the first ones were kept",
            "filled": "{} missing values were filled by straight lines",
            "gaps": "{} longer gaps split the series: no window goes across one",
            "unknown": "{} steps lack a condition, and no window has them",
        }
        for name, line in told.items():
            if self.counts[name]:
                print(line.format(f"{self.counts[name]:,}"), flush=True)


@dataclasses.dataclass
class _Machine:
    """One series as it was read."""

    name: str
    times: np.ndarray | None
    values: np.ndarray
    conditions: dict
    step: float | None

    @classmethod
    def of(cls, name, found, channels, time, conditions):
        values = np.stack([_numbers(found[c], c, name) for c in channels], axis=1)
        times = None if time is None else _as_times(found[time], time, name)
        labels = {c: np.array([*kinds.texts(found[c]), None], object)[:-1] for c in conditions}
        step = None
        if times is not None:
            ordered = np.unique(_seconds(times))
            if len(ordered) < 2:
                raise DataError(
                    f"Column {time!r} of {name} must have different times. Received: one. Pass "
                    "another column as time."
                )
            step = float(np.median(np.diff(ordered)))
        return cls(name, times, values, labels, step)

    def on_grid(self, max_gap, notes):
        """The same with its steps in order, on a regular grid, NaN where they are missing."""
        if self.times is None:
            return dataclasses.replace(self, times=np.arange(len(self.values)))
        seconds = _seconds(self.times)
        order = np.argsort(seconds, kind="stable")
        notes.counts["unsorted"] += int((np.diff(seconds) < 0).sum())
        # Of a long pause no more is kept than what splits the series.
        jumps = np.round(np.diff(seconds[order]) / self.step).astype("int64")
        at = np.concatenate([[0], np.cumsum(np.minimum(jumps, max_gap + 2))])
        keep = np.concatenate([[True], np.diff(at) > 0])
        notes.counts["duplicate"] += int((~keep).sum())
        order, at = order[keep], at[keep]
        count = at[-1] + 1
        values = np.full((count, self.values.shape[1]), np.nan)
        values[at] = self.values[order]
        owner = np.zeros(count, int)
        owner[at] = np.arange(len(at))
        owner = np.maximum.accumulate(owner)  # of a missing step what was before it
        labels = {name: texts[order][owner] for name, texts in self.conditions.items()}
        late = (np.arange(count) - at[owner]) * self.step
        if self.times.dtype.kind == "M":
            late = np.round(late * 1e6).astype("timedelta64[us]")
        times = self.times[order][owner] + late
        return dataclasses.replace(self, times=times, values=values, conditions=labels)

    def pieces(self, max_gap, calibration, test, notes):
        """The pieces of every part: consecutive steps without gaps, of the same conditions."""
        values = _filled(self.values, max_gap, notes)
        whole = ~np.isnan(values).any(axis=1)
        count = len(values)
        ends = np.round(np.array([1 - calibration - test, 1 - test, 1]) * count).astype(int)
        part = np.searchsorted(ends, np.arange(count), "right")
        borders = part[1:] != part[:-1]
        borders |= whole[1:] != whole[:-1]
        for labels in self.conditions.values():
            borders |= labels[1:] != labels[:-1]
        found = []
        for rows in np.split(np.arange(count), np.flatnonzero(borders) + 1):
            if not whole[rows[0]]:
                notes.counts["gaps"] += 1
                continue
            conditions = {name: labels[rows[0]] for name, labels in self.conditions.items()}
            if None in conditions.values():
                notes.counts["unknown"] += len(rows)
                continue
            name = PARTS[part[rows[0]]]
            found.append(_Piece(name, self.times[rows], values[rows], conditions))
        return found


def _filled(values, max_gap, notes):
    """Values with short gaps in each channel filled by straight lines."""
    values = values.copy()
    for channel in values.T:
        gone = np.isnan(channel)
        if not gone.any() or gone.all():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], gone.astype(int), [0]])))
        for start, end in edges.reshape(-1, 2):
            if start > 0 and end < len(channel) and end - start <= max_gap:
                notes.counts["filled"] += int(end - start)
                ends = channel[start - 1], channel[end]
                channel[start:end] = np.linspace(*ends, end - start + 2)[1:-1]
    return values


def _read(source, missing):
    """A name for messages, and a dict of columns."""
    if isinstance(source, str | os.PathLike) and os.fspath(source).lower().endswith(".npy"):
        path = os.fspath(source)
        with explained(f"{path!r} must be an array of numbers. Received: ", "Save it by np.save."):
            source = np.load(path, allow_pickle=False)
        return repr(path), _of_array(source, repr(path))
    if isinstance(source, np.ndarray):
        return "The series", _of_array(source, "The series")
    return table_sources.read(source, missing)


def _of_array(array, name):
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise DataError(
            f"{name} must be numbers (steps, channels). Received: {array.dtype} {array.shape}."
        )
    names = [f"channel_{k}" for k in range(array.shape[1])]
    return dict(zip(names, array.T.astype("float64"), strict=True))


def _time(found, time):
    """The name of the column of times, or None."""
    if time is not None:
        if time not in found:
            raise DataError(
                f"`time` must be a column: {shortened(', '.join(found))}. Received: {time!r}."
            )
        return time
    return next((name for name in found if name.strip().lower() in TIMES), None)


def _channels(found, channels, time, conditions, name):
    """The names of the channels; or of what is missing an error."""
    others = {*conditions, _time(found, time)}
    listed = shortened(", ".join(found))
    for what, asked in (("channels", channels or ()), ("conditions", conditions)):
        if unknown := [column for column in asked if column not in found]:
            raise DataError(
                f"`{what}` must be columns of {name}: {listed}. Received: {unknown[0]!r}."
            )
    if numeric := [c for c in conditions if np.asarray(found[c]).dtype.kind in "iuf"]:
        raise DataError(
            f"A condition must be a column of names. Received: {numeric[0]!r}, of numbers. Leave "
            "it among the channels, or write its values as names."
        )
    if channels is not None:
        return tuple(channels)
    chosen = [c for c, v in found.items() if c not in others and np.asarray(v).dtype.kind in "iuf"]
    left = [c for c in found if c not in others and c not in chosen]
    if left:
        # It may be a channel with an error in it: then the row is named.
        for column in left:
            known = kinds.present(found[column])
            numeric = sum(_is_number(value) for value in known)
            if known and numeric > 0.9 * len(known):
                _numbers(found[column], column, name)
        raise DataError(
            f"{name} must have columns of numbers beside the time and the conditions. Received: "
            f"{left[0]!r}, of text. Name the channels, or make it a condition."
        )
    if not chosen:
        raise DataError(f"{name} must have a column of numbers. Received: {listed}.")
    return tuple(chosen)


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _numbers(values, column, name):
    values = kinds.numbers(values, column)
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise DataError(
            f"Column {column!r} of {name} must be finite. Received: infinity in row {row + 1}."
        )
    return values


def _as_times(values, column, name):
    """Times: numbers of seconds, or datetimes to the microsecond."""
    values = np.asarray(values)
    if values.dtype.kind == "M":
        times, bad = values.astype("datetime64[us]"), np.isnat(values)
    elif values.dtype.kind in "iuf":
        times, bad = values.astype("float64"), ~np.isfinite(values.astype("float64"))
    else:
        texts = kinds.texts(values)
        times = np.array([_datetime(text) for text in texts], "datetime64[us]")
        bad = np.isnat(times)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"Column {column!r} of {name} must be times, such as 2024-05-31 13:45:00, or numbers. "
            f"Received: {shortened(repr(values[row]))} in row {row + 1}."
        )
    return times


def _datetime(text):
    try:
        return np.datetime64((text or "").strip().removesuffix("Z"), "us")
    except ValueError:
        return np.datetime64("NaT")


def _seconds(times):
    if times.dtype.kind == "M":
        return (times - times.min()) / np.timedelta64(1, "us") / 1e6
    return times.astype("float64")


def _schema(pieces, channels, window, stride, conditions, step, units, name):
    """The schema of the training part, of which alone means and spreads are taken."""
    training = [piece for piece in pieces if piece.part == "train"]
    if not training or max(len(piece.values) for piece in training) < window:
        longest = max((len(piece.values) for piece in training), default=0)
        raise DataError(
            f"{name} must have a stretch to train with of at least a window, {window} steps "
            f"without a gap. Received: {longest}. Take a shorter window, or a larger max_gap."
        )
    values = np.concatenate([piece.values for piece in training])
    fitted = {}
    for k, channel in enumerate(channels):
        low, high = values[:, k].min(), values[:, k].max()
        if low == high:
            raise DataError(
                f"Channel {channel!r} of {name} must change. Received: {low:g} in every step to "
                "train with. Leave it out of channels."
            )
        kind = kinds.Numeric("standard", integer=False, unit=units.get(channel))
        fitted[channel] = kind.fit(values[:, k], channel)
    if unknown := [channel for channel in units if channel not in channels]:
        raise ValueError(f"`units` must be of channels. Received: {unknown[0]!r}.")
    named = {
        condition: kinds.Category().fit(
            [piece.conditions[condition] for piece in pieces], condition
        )
        for condition in conditions
    }
    return SeriesSchema(fitted, window, stride, named, step)
