"""Which kind a column of a table is, where nobody says it, and which columns say nothing."""

import re

import numpy as np

from keras_vae.data.columns import Binary, Category, Numeric, is_missing, numbers, present, texts
from keras_vae.data.errors import DataError, shortened

_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(:\d{2})?")
# Of a column so long it is said that all its values differ.
MANY = 20
# Names of categories are short, and come again.
MOST_WORDS, MOST_DISTINCT = 4.0, 0.5
# From this share of numbers on a column is taken for one of numbers.
MOSTLY = 0.9


def infer(table, name):
    """Say the kinds of columns, not fitted.

    Args:
        table: Dict from a column's name to its values, as `table_sources.read` gives them: numbers,
            or str, bool and None.
        name: Str, the table's, for errors.

    Returns:
        Dict from name to kind.

    Raises:
        DataError: If columns say nothing that a model could learn: one line names each and why.
    """
    found, useless = {}, {}
    for column, values in table.items():
        kind = _kind(values, column)
        (useless if isinstance(kind, str) else found)[column] = kind
    if useless:
        listed = "; ".join(f"{column!r} {why}" for column, why in useless.items())
        raise DataError(
            f"{name} must have columns that can be learnt. Received: {shortened(listed)}. Leave "
            f"them out with drop={list(useless)}, or say what they are with "
            f"kinds={{{next(iter(useless))!r}: ...}}."
        )
    return found


def _kind(values, name):
    """A kind, or a few words that say why there is none."""
    values = np.asarray(values)
    if values.dtype.kind in "iuf":
        return _kind_of_numbers(values.astype("float64"))
    if values.dtype.kind == "M":
        return "is a date"
    known = present(None if is_missing(value) else value for value in values.tolist())
    distinct = set(known)
    if not known:
        return "is empty"
    if len(distinct) == 1:
        return f"is {shortened(repr(known[0]))} in every row"
    if len(distinct) == 2:
        return Binary()
    if not all(isinstance(value, str) for value in known):
        raise DataError(
            f"Column {name!r} must hold numbers or names. Received: both. Make them one of these."
        )
    _check_mostly_numbers(values, known, name)
    if all(map(_DATE.fullmatch, known[:100])):
        return "is a date"
    if len(known) >= MANY and len(distinct) == len(known):
        return "is different in every row, an identifier"
    words = np.mean([len(value.split()) for value in known[:1000]])
    if len(known) >= MANY and (words > MOST_WORDS or len(distinct) > MOST_DISTINCT * len(known)):
        return "is free text"
    return Category()


def _kind_of_numbers(values):
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if not len(known):
        return "is empty"
    if len(distinct) == 1:
        return f"is {distinct[0]:g} in every row"
    if len(distinct) == 2 and np.isfinite(distinct).all():
        return Binary()
    whole = bool((distinct == np.floor(distinct)).all())
    if whole and len(values) >= MANY and len(distinct) == len(values):
        steps = np.diff(values)
        if (steps > 0).all() or (steps < 0).all() or np.ptp(distinct) == len(values) - 1:
            return "counts the rows, an identifier"
    return Numeric()


def _check_mostly_numbers(values, known, name):
    """Refuse text among numbers, where it is an error more likely than a name."""
    wrong = [value for value in dict.fromkeys(known) if not _is_number(value)]
    if not wrong or sum(value in set(wrong) for value in known) > (1 - MOSTLY) * len(known):
        return
    numbers([None if v is None else v for v in texts(values)], name)  # which says the row


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
