"""Diagnoses of the data and of the settings, which need no trained model."""

import math

import numpy as np
from keras import ops

from keras_vae.data import as_float, bounds
from keras_vae.doctor import changes, thresholds
from keras_vae.doctor.finding import Finding
from keras_vae.models.capabilities import Bounds, Encodes


def unfit_data(likelihood, smallest, largest, deviation, rounding=0.0, is_uint8=False):
    """Whether the values of the data are none that the likelihood is for.

    Args:
        likelihood: Object of `keras_vae.likelihoods`.
        smallest, largest: Floats, the range of the data, of uint8 in units of 255.
        deviation: Float, the standard deviation of all values.
        rounding: Float, the root of the mean squared distance of the values from the likelihood's
            levels.
        is_uint8: Whether the data are uint8, which is read as 0 to 255.
    """
    low, high = likelihood.data_range
    least, most = bounds(*likelihood.data_range)
    is_density = math.isinf(high)
    scale = likelihood.scale
    seen = f"The data run from {smallest:.4g} to {largest:.4g}"
    if not (math.isfinite(smallest) and math.isfinite(largest)):
        number, problem = math.nan, "The data hold NaN or infinity, of which no loss is one."
        change = "Remove those examples."
    elif is_uint8 and largest < thresholds.LEAST_BRIGHT:
        number = round(255 * largest)
        problem = (
            f"The data are uint8, which is read as 0 to 255, but run from {255 * smallest:.0f} to "
            f"{number}: the model sees all but black."
        )
        kind = "bool" if number <= 1 else f"'float32') / {number}"
        change = f"Pass x.astype({kind}{')' if number <= 1 else ''}."
    elif smallest < least or largest > most:
        number = largest if largest > most else smallest
        problem = f"{seen}, outside of the {likelihood.name} likelihood's [{low:g}, {high:g}]."
        change = f"Pass {_rescaled(smallest, largest)}."
    elif deviation == 0:
        number, problem = 0.0, f"{seen}: every value is the same."
        change = "Check how they are loaded."
    elif not is_density and largest < (high - low) / 20:
        number = largest
        problem = (
            f"{seen}, a sliver of the {likelihood.name} likelihood's [{low:g}, {high:g}]: were "
            "they divided by 255 twice?"
        )
        change = "Divide them once."
    elif is_density and deviation > thresholds.MOST_DEVIATION:
        number = deviation
        problem = (
            f"{seen} with a standard deviation of {deviation:.3g}, far from what networks begin "
            "with."
        )
        change = f"Pass {_rescaled(smallest, largest)}."
    elif is_density and isinstance(scale, int | float) and scale > 2 * deviation:
        number = scale / deviation
        problem = (
            f"The {likelihood.name} likelihood's fixed scale {scale:.3g} is {number:.1f} times the "
            f"data's standard deviation {deviation:.3g}: it takes the images for noise."
        )
        change = "Use scale='shared', which is learnt."
    elif rounding > 0.1 * deviation:
        number = rounding / deviation
        problem = (
            f"The {likelihood.levels} levels of the {likelihood.name} likelihood round the data by "
            f"{rounding:.3g}, {100 * number:.0f} % of their standard deviation."
        )
        change = "Use more of them."
    else:
        return None
    return Finding("unfit_data", float(number), problem, change)


def squashed_logits(reason, smallest, largest):
    """Whether a network ends in a sigmoid or softmax whose values are taken for logits.

    Args:
        reason: Str, what `check_logits` says; None if nothing is wrong.
        smallest, largest: Floats, the range of what the model makes of data.
    """
    if reason is None:
        return None
    what = reason.rpartition(" Remove ")[0] or reason
    return Finding(
        "squashed_logits",
        largest,
        f"Nothing that the model makes is below {smallest:.3f} or above {largest:.3f}: it is "
        f"squashed twice. {what}",
        "Remove the activation from the last layer, and train again.",
    )


def bernoulli_colours(likelihood, channels, between):
    """Whether the Bernoulli likelihood, of black and white, is to make colours.

    Args:
        likelihood: Object of `keras_vae.likelihoods`.
        channels: Int, of an image.
        between: Float, the share of values from 0.1 to 0.9.
    """
    if likelihood.name != "bernoulli" or channels != 3 or between <= thresholds.MOST_BETWEEN:
        return None
    return Finding(
        "bernoulli_colours",
        between,
        f"{100 * between:.0f} % of the values of these colours are neither 0 nor 1, all that a "
        "Bernoulli draws: most of its loss is of what no code can tell, and little is left for the "
        "code to win.",
        'Use likelihood="gaussian".',
    )


def rescaled_kl(kl_weight, num_values):
    """Whether the KL's weight is that of a loss averaged over pixels.

    Args:
        kl_weight: Float. The weight, at the end of its schedule.
        num_values: Int. Values of an example: pixels times channels.
    """
    if kl_weight == 0 or kl_weight > max(1e-3, 1.5 / num_values):
        return None
    return Finding(
        "rescaled_kl",
        kl_weight,
        f"kl_weight is {kl_weight:.3g}, about what a loss averaged over {num_values} pixels would "
        f"need ({1 / num_values:.3g}). Losses here are summed over pixels, so the KL hardly counts "
        "and samples will be poor.",
        "Use kl_weight=1, the bound itself.",
    )


def unfinished_warm_up(warm_up_epochs, epochs, kl_weight, end):
    """Whether training ended before the KL's weight reached its end.

    Args:
        warm_up_epochs: Int. Epochs that the schedule takes.
        epochs: Int. Epochs that were, or are to be, trained.
        kl_weight: Float. The weight in the last of them.
        end: Float. Where the schedule ends.
    """
    if epochs >= warm_up_epochs:
        return None
    return Finding(
        "unfinished_warm_up",
        float(epochs),
        f"The KL's weight rises over {warm_up_epochs} epochs, but training has {epochs}: it ends "
        f"at {kl_weight:.3g} instead of {end:.3g}, so the codes are not those that are sampled.",
        f"Train at least {warm_up_epochs} epochs.",
    )


def of_settings(model, inputs, epochs):
    """What needs no trained model."""
    given, _ = model.named_inputs(inputs)
    x = values_of(model, given)
    has_pixels = not (model.likelihood.holds_tokens or model.likelihood.takes_missing)
    numbers = _of_pixels(model, x, given.dtype == np.uint8) if has_pixels else {}
    is_valid = bool(ops.all(model.likelihood.valid(x)))
    try:
        if is_valid:
            model.check_logits()
    except ValueError as err:
        made = model.reconstruct(inputs) if isinstance(model, Encodes) else model.sample(len(x))
        numbers["squashed_logits"] = {
            "reason": str(err),
            "smallest": float(made.min()),
            "largest": float(made.max()),
        }
    if isinstance(model, Bounds):
        schedule = model.kl_schedule
        kl_weight = changes.end_of_kl_weight(model)
        numbers["rescaled_kl"] = {"kl_weight": kl_weight, "num_values": math.prod(x.shape[1:])}
        if schedule is not None and epochs is not None:
            numbers["unfinished_warm_up"] = {
                "warm_up_epochs": schedule.epochs,
                "epochs": epochs,
                "kl_weight": schedule(max(epochs - 1, 0)),
                "end": kl_weight,
            }
    return numbers


def values_of(model, x):
    """Examples as floats: tokens as they are, of others what their dtype says."""
    return np.asarray(x, "float32") if model.likelihood.holds_tokens else as_float(x)


def _of_pixels(model, x, is_uint8):
    return {
        "unfit_data": {
            "likelihood": model.likelihood,
            "smallest": float(x.min()),
            "largest": float(x.max()),
            "deviation": float(x.std(dtype="float64")),
            "rounding": _rounding(model.likelihood, x),
            "is_uint8": is_uint8,
        },
        "bernoulli_colours": {
            "likelihood": model.likelihood,
            "channels": x.shape[-1] if x.ndim == 4 else 0,
            "between": changes.share_between(x),
        },
    }


def _rescaled(smallest, largest):
    """The expression that brings data to where networks begin."""
    if smallest >= 0 and largest > 1:
        return f"x / {255 if 128 < largest <= 255 else largest:g}"
    if smallest >= -1 and largest <= 1:
        return "(x + 1) / 2"
    return "(x - x.mean()) / x.std()"


def _rounding(likelihood, x):
    if likelihood.levels is None:
        return 0.0
    at = x.astype("float64") * (likelihood.levels - 1)
    return float(np.sqrt(np.mean((at - np.round(at)) ** 2))) / (likelihood.levels - 1)
