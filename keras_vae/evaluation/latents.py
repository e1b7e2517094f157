"""What the latent code carries: active units, its KL by dimension, mutual information."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_vae.distributions import log_normal
from keras_vae.models.importance import log_sum
from keras_vae.training.inputs import check_examples
from keras_vae.type_aliases import Examples

# Variance of a posterior mean over the data above which Burda et al. call a unit active.
ACTIVE_VARIANCE = 0.01
# Examples whose posteriors are mixed: memory is that of 256 times as many numbers, time goes with
# the square.
MOST_EXAMPLES = 10_000
_ROWS_AT_ONCE = 256


def evaluate_latents(
    model: Any,
    inputs: Examples,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Measure what the code of a VAE carries.

    With `q(z)` the mean of the posteriors of all examples given, one draw `z` from each of them
    and `n` examples, the mean KL of the posteriors from the prior is the sum of the mutual
    information and the marginal KL:

    - `I(x; z) = E log q(z|x) - log q(z)`, what the code tells of the example. It cannot exceed
      `log n` here (`most_information`), and near that is an underestimate of what it would be on
      more data; `mutual_information_upper` leaves each example out of its own mixture, and is
      on average above it.
    - `KL(q(z) || p(z)) = E log q(z) - log p(z)`, how far the codes are from what `sample` draws.

    In a conditional model with labels everything is given the label: mixtures are of examples of
    one combination of labels.

    Args:
        model: `VAE` or `ConditionalVAE`.
        inputs: Arrays as `fit` takes them. Of more than 10,000 examples the first are taken.
        batch_size: Int. Examples encoded at once.
        seed: Int, of the draws.
        progress: As for `evaluate`, of the rows of the mixture.

    Returns:
        Dict: `latent_dim`; `active_units`, how many dimensions have a posterior mean that varies
        over the data by more than 0.01 (variance); `kl_per_latent`, list of floats, nats, or None
        for a prior whose KL is no sum over dimensions; `mutual_information`,
        `mutual_information_upper`, `most_information`, `marginal_kl` in nats, and
        `marginal_kl_lower` by the upper one, None for continuous conditions, of which each example
        has its own, and for posteriors that are not diagonal; `code_mean_per_latent` and
        `code_std_per_latent`, of the codes, in units of the prior's draws: 0 and 1 where they are
        alike.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> found = keras_vae.evaluation.evaluate_latents(vae, np.zeros((8, 4, 4, 1), "float32"))
    >>> found["latent_dim"], found["active_units"]
    (2, 0)

    See also:
        `evaluate`.

    References:
        - Burda et al., 2016, section 5.2, for active units. https://arxiv.org/abs/1509.00519
        - Hoffman & Johnson, 2016, ELBO surgery.
          http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
        - Poole et al., 2019, section 2.2, for the upper one. https://arxiv.org/abs/1905.06922
    """
    inputs = model.as_observed(check_examples(model, inputs), seed)
    x, conditions = model.named_inputs(inputs)
    x, conditions = x[:MOST_EXAMPLES], {k: v[:MOST_EXAMPLES] for k, v in conditions.items()}
    inputs = {"x": x, **conditions} if conditions else x
    z_mean, z_log_var = (a.astype("float64") for a in model.encode(inputs, batch_size))
    z = model.draw_codes(inputs, seed, batch_size).astype("float64")
    condition = model.condition_vectors(conditions)
    drawn = model.prior.sample(len(z), z.shape[1], seed=seed, condition=condition)
    location, scale = drawn.mean(axis=0), np.maximum(drawn.std(axis=0), 1e-6)
    return {
        "latent_dim": z.shape[1],
        "active_units": int(np.sum(z_mean.var(axis=0) > ACTIVE_VARIANCE)),
        "kl_per_latent": _kl_per_latent(model, inputs, batch_size),
        **_information(model, z, z_mean, z_log_var, conditions, condition, progress),
        "code_mean_per_latent": ((z.mean(axis=0) - location) / scale).tolist(),
        "code_std_per_latent": (z.std(axis=0) / scale).tolist(),
    }


def log_aggregated_posterior(z, z_mean, z_log_var, own=None, progress=None):
    """Log density of codes under the mean of Gaussians: the aggregated posterior of a data set.

    Args:
        z: Array `(n, latent)`.
        z_mean: Array `(m, latent)`.
        z_log_var: Array, same shape.
        own: Optional int array `(n,)`. The Gaussian that is left out for each code.
        progress: As for `evaluate`.

    Returns:
        float64 array `(n,)`, nats.
    """
    z, z_mean, z_log_var = (np.asarray(a, "float64") for a in (z, z_mean, z_log_var))
    precision = np.exp(-z_log_var)
    at_zero = np.sum(log_normal(0.0, z_mean, z_log_var, np), axis=1)
    count = len(z_mean) - (own is not None)
    results = []
    starts = range(0, len(z), _ROWS_AT_ONCE)
    for start in starts if progress is None else progress(starts):
        rows = z[start : start + _ROWS_AT_ONCE]
        # As products of matrices, without an array of codes, Gaussians and dimensions.
        log_prob = at_zero + rows @ (z_mean * precision).T - rows**2 @ precision.T / 2
        if own is not None:
            log_prob[np.arange(len(rows)), own[start : start + _ROWS_AT_ONCE]] = -np.inf
        results.append(log_sum(log_prob, axis=1))
    return np.concatenate(results) - math.log(count)


def _information(model, z, z_mean, z_log_var, conditions, condition, progress):
    names = ("mutual_information", "mutual_information_upper", "most_information")
    names += ("marginal_kl", "marginal_kl_lower")
    is_continuous = any(kind.kind != "categorical" for kind in model.condition.values())
    if is_continuous or not model.posterior.is_diagonal:
        return dict.fromkeys(names)
    log_q = np.sum(log_normal(z, z_mean, z_log_var, np), axis=1)
    log_prior = _log_prior(model, z, condition)
    mixed, others, most = (np.empty(len(z)) for _ in range(3))
    for rows in groups(conditions, len(z)):
        parts = z[rows], z_mean[rows], z_log_var[rows]
        mixed[rows] = log_aggregated_posterior(*parts, progress=progress)
        most[rows] = math.log(len(rows))
        own = np.arange(len(rows))
        alone = len(rows) == 1
        others[rows] = -np.inf if alone else log_aggregated_posterior(*parts, own, progress)
    lower, upper = np.mean(log_q - mixed), np.mean(log_q - others)
    kl = np.mean(log_q - log_prior)
    values = lower, upper, np.mean(most), kl - lower, kl - upper
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in zip(names, values, strict=True)
    }


def groups(conditions, count):
    """Indices of the examples of each combination of labels."""
    if not conditions:
        return [np.arange(count)]
    labels = np.stack([np.asarray(values) for values in conditions.values()], axis=1)
    _, group = np.unique(labels, axis=0, return_inverse=True)
    return [np.flatnonzero(group == g) for g in range(group.max() + 1)]


def _kl_per_latent(model, inputs, batch_size):
    kl = model.kl_by_dimension(inputs, batch_size)
    return None if kl is None else kl.mean(axis=0, dtype="float64").tolist()


def _log_prior(model, z, condition):
    """The prior's log density of every code `(n,)`, some rows at a time."""
    parts = []
    for start in range(0, len(z), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        given = None if condition is None else ops.convert_to_tensor(condition[rows])
        log_prob = model.prior.log_prob(ops.convert_to_tensor(z[rows].astype("float32")), given)
        parts.append(ops.convert_to_numpy(log_prob))
    return np.concatenate(parts)
