"""Diagnoses of the calibration of a detector: of what its p-values are made, and of what asked."""

import math

import numpy as np

from keras_vae.data import SeriesSchema
from keras_vae.doctor import thresholds
from keras_vae.doctor.finding import Finding

# The p-value whose score tells how far the upper tail reaches.
TAIL = 0.01


def contaminated_calibration(reach, share, count):
    """Whether some of the examples that p-values are made of were anomalies.

    Args:
        reach: Float, how far the highest hundredth of the scores lies above their median, in units
            of how far the highest quarter does.
        share: Float, the share of the scores beyond `MOST_REACH` such units.
        count: Int, the examples of the calibration.
    """
    if reach <= thresholds.MOST_REACH:
        return None
    asked = math.ceil(100 * share) / 100
    return Finding(
        "contaminated_calibration",
        reach,
        f"Of {count:,} scores that p-values are made of, the highest hundredth lies {reach:.3g} "
        f"times as far above the median as the highest quarter: about {100 * share:.1f} % of these "
        "examples are anomalies, and such will give no alarm.",
        f"Calibrate by examples without them, or with contamination={asked:.2g}.",
    )


def other_units(at_least, channel=None, factor=None):
    """Whether examples are not at all like those that p-values are made of, as of another unit.

    Args:
        at_least: Float, the share of held-out examples whose p-value is the least there is.
        channel: Optional str, the channel of a series whose size differs most.
        factor: Optional float, how many times as large it is as in training.
    """
    if at_least <= thresholds.MOST_AT_LEAST:
        return None
    seen = (
        f"{100 * at_least:.0f} % of the examples score higher than all that p-values are made of, "
        "so that every one is in alarm"
    )
    change = "Calibrate by examples such as these, if they are normal."
    if factor is not None and max(factor, 1 / factor) > thresholds.MOST_FACTOR:
        times = f"{factor:,.0f} times" if factor > 1 else f"1/{1 / factor:,.0f} of"
        seen += f": {channel!r} is {times} what it was in training"
        change = f"Give {channel!r} in the unit that it was trained in."
    return Finding("other_units", at_least, seen + ".", change)


def of_calibration(model, inputs, x, seen):
    """What the diagnoses of a calibrated model ask.

    Args:
        model: A model that scores, calibrated.
        inputs: Held-out examples, as `fit` takes them.
        x: Their data, an array.
        seen: Whether the model was trained on them.
    """
    calibration = model.scoring.calibration
    numbers = {"contaminated_calibration": max(map(tail_of, calibration.groups), key=_reach)}
    if seen:
        return numbers
    from keras_vae.detector import AnomalyDetector

    name = calibration.condition
    groups = [0] * len(x) if name is None else np.take(calibration.group_of_class, inputs[name])
    least = np.array([group["p_values"][-1] for group in calibration.groups])[groups]
    # Half a step above: what is at the floor but for rounding.
    at_least = AnomalyDetector(model).p_value(inputs) <= 1.5 * least
    numbers["other_units"] = {"at_least": float(np.mean(at_least))}
    if isinstance(model.schema, SeriesSchema):
        numbers["other_units"] |= _largest_factor(model.schema, x)
    return numbers


def tail_of(group):
    """The arguments of `contaminated_calibration`, of one of `Calibration.groups`."""
    scores, p_values = (np.array(group[key]) for key in ("scores", "p_values"))
    tail, quarter, median = np.interp(
        [-max(TAIL, 2 / (group["count"] + 1)), -0.25, -0.5], -p_values, scores
    )
    step = quarter - median
    if step <= 0:
        return {"reach": 0.0, "share": 0.0, "count": group["count"]}
    share = float(np.interp(median + thresholds.MOST_REACH * step, scores, p_values))
    return {"reach": float((tail - median) / step), "share": share, "count": group["count"]}


def _reach(tail):
    return tail["reach"]


def _largest_factor(schema, x):
    """The channel whose root mean square differs most from that of training, and how many times."""
    mean, std = (np.asarray(moment, "float64") for moment in (schema.mean, schema.std))
    size = np.sqrt(np.mean((x.astype("float64") * std + mean) ** 2, axis=(0, 1)))
    factors = np.maximum(size, 1e-30) / np.sqrt(mean**2 + std**2)
    worst = int(np.abs(np.log(factors)).argmax())
    return {"channel": schema.names[worst], "factor": float(factors[worst])}
