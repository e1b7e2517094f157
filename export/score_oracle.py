"""What a model's scores, contributions and p-values are, restated: what a scorer is held to."""

import functools
import math

import numpy as np

# What float32 makes of a p-value, beside what follows from its score.
_P_VALUE_SLACK = 1e-5


def outputs(model, x, examples, conditions):
    """The score of examples, what their values add, and the p-value, restated from public parts.

    Args:
        model: A model that scores.
        x: Array `(n, *data_shape)`.
        examples: As the model takes them, with the conditions.
        conditions: Dict of arrays.
    """
    made = model(_tensors(examples), draw=False, training=False)
    by_value = _by_value(model, x, made["parameters"])
    total = -_float64(model.likelihood.log_prob(_tensors(x), made["parameters"]))
    kind, calibration = model.scoring.score, model.scoring.calibration
    if kind == "negative_elbo" and "kl" in made:
        total = total + _float64(made["kl"])
    elif kind == "negative_log_likelihood" and "kl" in made:
        total, by_value = _importance_weighted(model, x, conditions)
    rest = (total - by_value.sum(axis=1)) / by_value.shape[1]
    contribution = (by_value + rest[:, None]).reshape(len(total), *model.data_shape)
    found = {"score": total, "contribution": contribution}
    if calibration is not None:
        found["p_value"] = _p_values(calibration, total, conditions)
    return found


def _importance_weighted(model, x, conditions):
    """Of fixed draws: the negative logarithm of the mean weight, and terms by value, weighted."""
    given = model.condition_vectors(conditions) if conditions else None
    given = None if given is None else _tensors(given)
    q = model.infer(_tensors(x), given, training=False)
    log_weights, terms = [], []
    for draw in _fixed_noise(model.scoring.num_samples, model.latent_dim).astype("float64"):
        z, moments = q.draw(functools.partial(_moved, draw))
        z, log_var = _float64(z), _float64(moments.log_var)
        log_var = log_var.reshape(len(z), -1)
        codes = _tensors(z.astype("f4"))
        by_value = _by_value(model, x, model.decode_parameters(codes, _tensors(conditions)))
        log_q = -(math.log(math.tau) * len(draw) + (draw**2).sum() + log_var.sum(axis=1)) / 2
        log_p = _float64(model.prior(given).log_prob(codes))
        log_weights.append(-by_value.sum(axis=1) + log_p - log_q)
        terms.append(by_value)
    log_weights = np.stack(log_weights)
    most = log_weights.max(axis=0)
    weights = np.exp(log_weights - most)
    total = -(most + np.log(weights.mean(axis=0)))
    weights /= weights.sum(axis=0)
    return total, (weights[..., None] * np.stack(terms)).sum(axis=0)


def _moved(noise, mean, log_var):
    """A draw of given noise."""
    mean, log_var = _float64(mean), _float64(log_var)
    return _tensors((mean + np.exp(log_var / 2) * noise).astype("float32"))


def _by_value(model, x, parameters):
    return -_float64(model.likelihood.log_prob_by_value(_tensors(x), parameters))


def _fixed_noise(draws, latent_dim):
    from keras_vae import portable_random

    return portable_random.normal(np.zeros(1, "int32"), np.arange(draws), latent_dim)


def _p_values(calibration, scores, conditions):
    """By a table of each group, in float64."""
    groups = np.zeros(len(scores), int)
    if calibration.condition is not None:
        groups = np.array(calibration.group_of_class)[conditions[calibration.condition]]
    found = np.zeros(len(scores))
    for k, group in enumerate(calibration.groups):
        own = groups == k
        found[own] = np.interp(scores[own], group["scores"], group["p_values"])
    return found


def _float64(tensor):
    return np.asarray(_arrays(tensor), "float64")


def limits(model, inputs, made, bound):
    """The p-values of scores that are as far off as their bound lets them be."""
    terms = made["contribution"].astype("float64").reshape(len(made["score"]), -1)
    reach = bound * max(1.0, 2 * np.abs(terms).sum(axis=1).max())
    scores = made["score"].astype("float64")
    given = {name: inputs[name] for name in model.condition}
    ends = (_p_values(model.scoring.calibration, scores + by, given) for by in (reach, -reach))
    low, high = ends
    return low - _P_VALUE_SLACK, high + _P_VALUE_SLACK


def _arrays(tensor):
    import keras

    return keras.ops.convert_to_numpy(tensor)


def _tensors(arrays):
    import keras

    return keras.tree.map_structure(keras.ops.convert_to_tensor, arrays)
