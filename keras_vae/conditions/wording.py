"""Words for *unknown*, and values and names in the few words that an error has room for."""

import numpy as np

UNKNOWN = "unknown"


def is_unknown(value):
    """Whether a value is missing by its kind: None or NaN."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def shortened(value, limit=80):
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def listing(names, limit=20):
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
