"""Checks of single arguments: each returns what it was given, or raises one line."""

import math
import numbers


def whole(value, name, least=1):
    """Return a whole number of at least `least` as an int, or raise a ValueError."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. Received: {value!r}"
        )
    return int(value)


def not_negative(value, name):
    """Return a finite number of at least 0 as a float, or raise a ValueError."""
    if not (isinstance(value, numbers.Real) and math.isfinite(value) and value >= 0):
        raise ValueError(f"`{name}` must be a number of at least 0. Received: {value!r}")
    return float(value)


def one_of(value, name, choices):
    """Return a value that is one of some, or raise a ValueError that lists them."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be one of {listed}. Received: {value!r}")
    return value
