"""Checks of single arguments: each returns what it was given, or raises one line.

The command line checks with them before it imports Keras.
"""

from __future__ import annotations

import functools
import math
import numbers

# By how much rounding in float32 may lead beyond an end of a range, in parts of that end or of 1:
# `MinMaxScaler` gives 1.0000000000000002 and, in float32, 1.0000001.
ROUNDING = 1e-6


def whole(value, name, least=1):
    """Return a whole number of at least `least` as an int, or raise a ValueError."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. Received: {value!r}"
        )
    return int(value)


def wholes(value, name, least=1, example="(256, 128)"):
    """Return a sequence of whole numbers of at least `least` as a tuple, or raise a ValueError."""
    try:
        if isinstance(value, str | dict | set):
            raise TypeError
        return tuple(whole(each, name, least) for each in value)
    except (TypeError, ValueError) as err:
        raise ValueError(
            f"`{name}` must be whole numbers of at least {least}, such as {example}. Received: "
            f"{value!r}"
        ) from err


def shape(value, name):
    """Return the shape of an example as a tuple, or raise a ValueError."""
    return wholes(value, name, example="(28, 28, 1)")


def image_shape(value, name):
    """Return `(height, width, channels)` as a tuple of ints, or raise a ValueError."""
    value = shape(value, name)
    if len(value) != 3:
        raise ValueError(f"`{name}` must be (height, width, channels). Received: {value}")
    return value


def part_of_one(value, name):
    """Return a number of at least 0 and below 1 as a float, or raise a ValueError."""
    if not (isinstance(value, numbers.Real) and 0 <= value < 1):
        raise ValueError(f"`{name}` must be in [0, 1). Received: {value!r}")
    return float(value)


def activation(value):
    """Return what Keras knows as an activation, as it came, or raise a ValueError."""
    import keras

    try:
        keras.activations.get(value)
    except (TypeError, ValueError) as err:
        raise ValueError(
            "`activation` must be a function or the name of one in keras.activations. Received: "
            f"{value!r}"
        ) from err
    return value


def layer(value, name):
    """Return a Keras model or layer, or raise a ValueError."""
    import keras

    if not isinstance(value, keras.layers.Layer):
        raise ValueError(f"`{name}` must be a Keras model or layer. Received: {value!r}")
    return value


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


@functools.cache
def bounds(low: float, high: float) -> tuple[float, float]:
    """The ends of a range, moved apart by what rounding in float32 may add.

    Args:
        low, high: Floats, infinite or not.

    Example:

    >>> import keras_vae
    >>> keras_vae.data.bounds(0.0, 1.0)
    (-1e-06, 1.000001)
    """
    return low - ROUNDING * max(1.0, abs(low)), high + ROUNDING * max(1.0, abs(high))
