"""Tables as they come: CSV and Parquet files, frames, dicts of columns."""

from __future__ import annotations

import csv
import io
import os
import re
from typing import Any

import numpy as np

from keras_vae.data.columns import is_missing
from keras_vae.data.errors import DataError, explained, shortened

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
MISSING = ("", "?", "NaN", "nan")
SEPARATORS = (",", ";", "\t", "|")
# A file is read at once, and needs some times its size in memory.
MAX_BYTES = 2**31
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,?\d+([eE][+-]?\d+)?")
# Lines of a file that are looked at for what separates its values.
_LINES = 20


def is_table(source: Any) -> bool:
    """Whether a path is that of a table, by its ending alone.

    Args:
        source: Str or path.

    Returns:
        Bool.

    Example:

    >>> import keras_vae
    >>> keras_vae.data.is_table("rows.csv"), keras_vae.data.is_table("mnist")
    (True, False)

    See also:
        `is_music`.
    """
    return os.fspath(source).lower().endswith(SUFFIXES)


def read(source, missing=MISSING):
    """Read a table.

    Args:
        source: Path of a `.csv`, `.tsv`, `.txt` or `.parquet` file; a frame of pandas, polars or
            whatever has `columns` and gives a column by its name; or a dict from name to values
            `(n,)`.
        missing: Sequence of str, the values that stand for a missing one; None and NaN do always.

    Returns:
        Tuple of a name for messages, and a dict from a column's name to its values: float64 with
        NaN where one is missing, where all are numbers; else an object array of str, bool and None.

    Raises:
        DataError: If there is none, it cannot be read, or its columns are not of one length, at
            least two.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        name, columns = repr(path), _from_file(path, missing)
    elif isinstance(source, dict):
        name, columns = "The table", source
    elif hasattr(source, "columns") and hasattr(source, "__getitem__"):
        name, columns = "The frame", _from_frame(source)
    else:
        raise DataError(
            "A table must be a path, a frame or a dict of columns. Received: "
            f"{type(source).__name__}."
        )
    columns = {str(column): _values(values, missing) for column, values in columns.items()}
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{column} {count}" for column, count in lengths.items())
        raise DataError(
            f"{name} must have columns of one length. Received: {shortened(listed)}. Pad or cut "
            "them."
        )
    if not columns or next(iter(lengths.values())) < 2:
        raise DataError(
            f"{name} must have at least two rows. Received: {next(iter(lengths.values()), 0)} rows "
            f"of {len(columns)} columns. Check the source."
        )
    return name, columns


def as_csv(columns):
    """Write columns as the content of a CSV file.

    Args:
        columns: Dict from a column's name to its values `(n,)`, numbers or names; NaN or None where
            one is missing.

    Returns:
        Bytes: UTF-8, with a header, by commas. Whole numbers have no point, others nine digits, and
        a missing value is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(as_texts(values) for values in columns.values()), strict=True))
    return text.getvalue().encode()


def as_texts(values):
    """Values of a column as `as_csv` writes them, a list of str."""
    values = np.asarray(values)
    if values.dtype == object:
        return ["" if value is None else str(value) for value in values.tolist()]
    return [
        "" if value != value else str(int(value)) if value == int(value) else f"{value:.9g}"
        for value in values.tolist()
    ]


def _from_file(path, missing):
    if not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no such file"
        raise DataError(
            f"A table must be a .csv or .parquet file. Received: {path!r}, {what}. Check the path."
        )
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise DataError(
            f"{path!r} must be at most {MAX_BYTES / 2**30:.0f} GiB, as it is read at once. "
            f"Received: {size / 2**30:.1f} GiB. Take a part of its rows."
        )
    if path.lower().endswith((".parquet", ".pq")):
        return _from_parquet(path)
    return _from_csv(path, missing)


def _from_parquet(path):
    try:
        from pyarrow import parquet
    except ImportError as err:
        raise DataError(
            "Reading Parquet needs pyarrow, which is not installed. Install it with: "
            "pip install pyarrow."
        ) from err
    with explained(f"{path!r} must be a Parquet file. Received: ", "Write it again, or pass CSV."):
        found = parquet.read_table(path)
    _check_names(found.column_names, repr(path))
    return {name: found[name].to_numpy() for name in found.column_names}


def _from_frame(frame):
    names = [str(name) for name in frame.columns]
    _check_names(names, "The frame")
    return {str(name): np.asarray(frame[name]) for name in frame.columns}


def _from_csv(path, missing):
    advice = "Save it as CSV in UTF-8, with a header."
    with (
        explained(f"{path!r} must be a table of text. Received: ", advice),
        open(path, encoding="utf-8-sig", newline="") as file,
    ):
        first = [line for _, line in zip(range(_LINES), file, strict=False)]
        separator = _separator(first)
        file.seek(0)
        rows = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
        header = [name.strip() for name in next(rows, [])]
        if not any(header):
            raise DataError(f"{path!r} must have a header and rows. Received: an empty file.")
        _check_names(header, repr(path))
        found = []
        for row in rows:
            if len(row) == len(header):
                found.append(row)
            elif row:
                raise DataError(
                    f"{path!r} must have {len(header)} values in every row. Received: {len(row)} "
                    f"in line {rows.line_num}, {shortened(separator.join(row))!r}. Repair it."
                )
    columns = zip(*found, strict=True) if found else [[] for _ in header]
    return {
        name: _parsed([value.strip() for value in values], missing, separator)
        for name, values in zip(header, columns, strict=True)
    }


def _separator(lines):
    """What splits the lines into the most values, of one number."""
    counts = {}
    for separator in SEPARATORS:
        widths = {len(row) for row in csv.reader(lines, delimiter=separator) if row}
        counts[separator] = widths.pop() if len(widths) == 1 else 0
    best = max(SEPARATORS, key=lambda separator: counts[separator])
    if counts[best] > 1:
        return best
    # Where rows differ, the header decides; the row that differs is then named.
    return max(SEPARATORS, key=lambda separator: lines[0].count(separator) if lines else 0)


def _parsed(values, missing, separator):
    """Numbers where all are, else str and None."""
    known = ["nan" if value in missing else value for value in values]
    try:
        return np.array(known).astype("float64")
    except ValueError:
        pass
    if separator != "," and all(v == "nan" or _DECIMAL_COMMA.fullmatch(v) for v in known):
        return np.array([value.replace(",", ".") for value in known]).astype("float64")
    return np.array([None if value in missing else value for value in values], object)


def _values(values, missing):
    """A column as `read` gives it."""
    array = values if isinstance(values, np.ndarray) else np.asarray(list(values), object)
    if array.ndim != 1:
        raise DataError(
            f"A column must be values (n,). Received: shape={array.shape}. Pass each by its own."
        )
    if array.dtype.kind in "iuf":
        return array.astype("float64")
    if array.dtype.kind == "M":
        return array
    known = [
        None if is_missing(v) or (isinstance(v, str) and v.strip() in missing) else v
        for v in array.tolist()
    ]
    if any(v is not None for v in known) and not any(isinstance(v, str | bool) for v in known):
        try:
            return np.array([np.nan if value is None else value for value in known], "float64")
        except (TypeError, ValueError):
            pass
    return np.array([*known, None], object)[:-1]


def _check_names(names, source):
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise DataError(
            f"{source} must have columns of different names. Received: {shortened(repr(twice[0]))} "
            "twice. Rename one."
        )
    if not all(names):
        raise DataError(
            f"{source} must have a name for every column. Received: none for column "
            f"{list(names).index('') + 1}. Name it in the header."
        )
