"""The map by quantiles: monotone, piecewise linear, from the values of a column to N(0, 1)."""

import statistics

import numpy as np

# Places where the map is told; between them it is a straight line.
QUANTILES = 256
# Values that so many rows have, and at least three, cover an interval; others are points.
REPEATED = 0.01


def fit(values):
    """Values at some quantiles, and the ends and the middle of what they cover of N(0, 1).

    Args:
        values: float64 `(n,)`, none missing, at least two different ones.

    Returns:
        Dict of lists of one length and of `std`, as the other functions take them.
    """
    ordered = np.sort(values)
    knots = np.unique(ordered)
    if len(knots) > QUANTILES:
        places = np.linspace(0, len(ordered) - 1, QUANTILES).round().astype(int)
        knots = np.unique(ordered[places])
    low, high = (np.searchsorted(ordered, knots, side) for side in ("left", "right"))
    middle, repeated = (low + high) / 2, high - low >= max(3, REPEATED * len(ordered))
    low, high = np.where(repeated, low, middle), np.where(repeated, high, middle)
    least = 0.5 / len(ordered)
    standard = statistics.NormalDist()

    def score(ranks):
        probabilities = np.clip(ranks / len(ordered), least, 1 - least)
        return [standard.inv_cdf(p) for p in probabilities.tolist()]

    return {
        "values": knots.tolist(),
        "low": score(low),
        "middle": score(middle),
        "high": score(high),
        "std": float(values.std()),
    }


def to_normal(x, values, low, middle, high, std):
    """Normal scores: of a told value its middle, between two a line, beyond all a line, too."""
    values, low, middle, high = (np.asarray(part) for part in (values, low, middle, high))
    right = np.searchsorted(values, np.where(np.isnan(x), values[0], x))
    inside = np.clip(right, 1, len(values) - 1)
    share = (x - values[inside - 1]) / (values[inside] - values[inside - 1])
    score = high[inside - 1] + share * (low[inside] - high[inside - 1])
    score = np.where(x < values[0], low[0] + (x - values[0]) / std, score)
    score = np.where(x > values[-1], high[-1] + (x - values[-1]) / std, score)
    told = values[np.minimum(right, len(values) - 1)] == x
    return np.where(told, middle[np.minimum(right, len(values) - 1)], score)


def from_normal(score, values, low, middle, high, std):
    """The values of normal scores; beyond the ends of all, the least and the largest value."""
    ends = np.stack([low, high], axis=1).ravel()
    return np.interp(score, ends, np.repeat(values, 2))
