"""The log-likelihood of data by importance sampling, and in bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_vae import likelihoods
from keras_vae.data import as_float
from keras_vae.models.capabilities import Bounds, Encodes, require
from keras_vae.type_aliases import Examples

NUM_SAMPLES = (1, 10, 100, 1000, 5000)
# Rows of the data that are looked at for their levels.
_ROWS = 1000


def log_likelihoods(
    model: Any,
    inputs: Examples,
    num_samples: int | Sequence[int] = NUM_SAMPLES,
    batch_size: int = 64,
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
) -> list[dict[str, Any]]:
    """Estimate the mean of `log p(x)` by importance sampling, with several numbers of samples.

    Args:
        model: `VAE` or `ConditionalVAE`.
        inputs: Arrays as `fit` takes them.
        num_samples: Int or sequence of ints; all of one pass.
        batch_size: Int. Examples computed at once.
        seed: Int, at least 0.
        progress: As for `evaluate`.

    Returns:
        List of dicts, one for each number, in ascending order: `num_samples`; `log_likelihood`,
        the mean over the examples, nats; `standard_error` of that mean as one over a population
        of examples, and `monte_carlo_error`, its standard error by the draws alone, for these
        examples. An error that one example or one sample cannot tell is None.

    Raises:
        ValueError: If the model has no likelihood to estimate, or a number is below 1.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> x = np.zeros((8, 4, 4, 1), "float32")
    >>> found = keras_vae.evaluation.log_likelihoods(vae, x, num_samples=[1, 10])
    >>> [one["num_samples"] for one in found]
    [1, 10]

    See also:
        `VAE.log_likelihood`, of each example; `annealed_log_likelihood`.

    References:
        - Burda et al., 2016, eq. 8. https://arxiv.org/abs/1509.00519
    """
    require(model, Bounds, "A log-likelihood")
    given = [num_samples] if isinstance(num_samples, int) else num_samples
    counts = sorted(set(given))
    estimates, errors = model.log_likelihood(
        inputs, counts, batch_size, seed, with_error=True, progress=progress
    )
    return [
        {"num_samples": count, **mean_and_errors(*of_count)}
        for count, *of_count in zip(counts, estimates, errors, strict=True)
    ]


def mean_and_errors(estimates, errors):
    """Mean over examples of estimates `(n,)` with errors `(n,)`, as `log_likelihoods` gives it."""
    estimates, errors = np.asarray(estimates, "float64"), np.asarray(errors, "float64")
    count = len(estimates)
    of_examples = estimates.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
    of_draws = math.sqrt(np.sum(errors**2)) / len(errors)
    return {
        "log_likelihood": float(estimates.mean()),
        "standard_error": _or_none(of_examples),
        "monte_carlo_error": _or_none(of_draws),
    }


def bits_per_dimension(model: Any, x: ArrayLike, nats: float) -> float | None:
    """Turn a log-likelihood per example into bits per value of the data, where that has a meaning.

    It has one where `p(x)` is a probability: tokens, a likelihood of levels on data that are such,
    and the Bernoulli on data of 0 and 1. A density's bits depend on the scale of the data, and a
    Bernoulli's of greys are of no distribution.

    Args:
        model: A model of this package.
        x: Array `(n, *data_shape)`, as `fit` takes it; its first 1,000 examples are looked at.
        nats: Float, `log p(x)` or a bound of it, per example.

    Returns:
        Float, at least 0, or None where it has no meaning.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder, likelihood="discretized_logistic_mixture")
    >>> vae.build()
    >>> x = np.zeros((4, 4, 4, 1), "uint8")
    >>> round(keras_vae.evaluation.bits_per_dimension(vae, x, nats=-16 * np.log(2)), 3)
    1.0

    See also:
        `log_likelihoods`.
    """
    if not is_discrete(model, x):
        return None
    return -float(nats) / (math.log(2) * math.prod(model.data_shape))


def is_discrete(model, x):
    """Whether a model's likelihood gives probabilities, not densities, to data like `x`."""
    likelihood = model.likelihood
    if likelihood.holds_tokens:
        return True
    if isinstance(likelihood, likelihoods.Bernoulli):
        is_binarized = isinstance(model, Encodes) and model.dynamic_binarization
        return is_binarized or _is_of_levels(x, 2)
    return likelihood.levels is not None and _is_of_levels(x, likelihood.levels)


def _is_of_levels(x, levels):
    """Whether every value of `x` in [0, 1] is one of so many equal steps."""
    at = as_float(x[:_ROWS]).astype("float64") * (levels - 1)
    return bool(np.all(np.abs(at - np.round(at)) < 1e-3))


def _or_none(value):
    return float(value) if math.isfinite(value) else None
