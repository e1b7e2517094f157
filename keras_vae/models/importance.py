"""The mean of importance weights that come in chunks, as logarithms."""

import numpy as np


def log_mean(chunks, counts):
    """Logarithm of the mean of the first weights, for several numbers of them in one pass.

    Args:
        chunks: Iterable of float arrays `(draws, batch)`, logarithms of weights, one chunk after
            the other.
        counts: Ints, of weights, in ascending order; the last is how many there are.

    Returns:
        Tuple of float64 arrays `(len(counts), batch)`: the logarithms, and their standard errors,
        the weights' standard deviation over `sqrt(count)` times their mean (the delta method); NaN
        for one weight, which tells of no spread.
    """
    total = squares = -np.inf
    seen, results = 0, []
    for chunk in chunks:
        chunk = np.asarray(chunk, "float64")
        for count in counts:
            if seen < count <= seen + len(chunk):
                part = chunk[: count - seen]
                sums = np.logaddexp(total, log_sum(part)), np.logaddexp(squares, log_sum(2 * part))
                results.append(_mean_and_error(*sums, count))
        total, squares = (
            np.logaddexp(total, log_sum(chunk)),
            np.logaddexp(squares, log_sum(2 * chunk)),
        )
        seen += len(chunk)
    means, errors = zip(*results, strict=True)
    return np.stack(means), np.stack(errors)


def log_sum(values, axis=0):
    """Logarithm of the sum of what `values` are the logarithms of, along an axis."""
    largest = np.max(values, axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(values - largest), axis=axis))
    return total + np.squeeze(largest, axis=axis)


def _mean_and_error(log_total, log_squares, count):
    if count == 1:
        return log_total, np.full_like(log_total, np.nan)
    variance = np.maximum(count * np.exp(log_squares - 2 * log_total) - 1, 0)
    return log_total - np.log(count), np.sqrt(variance / (count - 1))
