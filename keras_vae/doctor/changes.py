"""The one change to make, where several diagnoses have it in common."""

import numpy as np
from keras import ops

from keras_vae.doctor import thresholds
from keras_vae.models.capabilities import Adversarial, Bounds, DiscreteCodes, DrawsTokens
from keras_vae.priors import StandardNormal


def raised_kl(model, x, epochs):
    """The change that makes a code carry more, or samples vary more."""
    if isinstance(model, Adversarial):
        return "Use spectral_normalization=True in the discriminator."
    if not isinstance(model, Bounds):
        return "Train twice as many epochs."
    kl_weight = end_of_kl_weight(model)
    if kl_weight > 1:
        return "Use kl_weight=1."
    if isinstance(model, DrawsTokens):
        return f"Use total_free_bits={2 * model.total_free_bits or 20:g}."
    if model.likelihood.name == "bernoulli" and share_between(x) > thresholds.MOST_BETWEEN:
        return 'Use likelihood="gaussian": a Bernoulli is for black and white.'
    if model.kl_schedule is None and epochs and epochs > 2:
        return f"Use kl_weight=keras_vae.schedules.LinearWarmup({epochs // 2})."
    return f"Use kl_weight={kl_weight / 2:.2g}."


def mended_prior(model):
    """The change that makes a prior draw the codes that the decoder knows."""
    if isinstance(model, DiscreteCodes):
        return "Train its prior for twice as many epochs."
    if not isinstance(model, Bounds):
        return "Train twice as many epochs."
    if end_of_kl_weight(model) < 1:
        return "Use kl_weight=1."
    if isinstance(model.prior, StandardNormal):
        return "Fit a prior to the codes: model.fit_prior(train)."
    return "Fit a prior to the codes anew: model.fit_prior(train)."


def forgotten_examples(model):
    """The change that makes a model forget its training examples."""
    if isinstance(model, Bounds) and end_of_kl_weight(model) < 1:
        return "Use kl_weight=1."
    return "Train a quarter of the epochs, with hidden_units a quarter as wide."


def end_of_kl_weight(model):
    """The KL's weight at the end of its schedule, or as it is."""
    schedule = model.kl_schedule
    return float(ops.convert_to_numpy(model.kl_weight)) if schedule is None else schedule.end


def share_between(x):
    """The share of values that are neither black nor white: from 0.1 to 0.9."""
    return float(np.mean((x > 0.1) & (x < 0.9)))
