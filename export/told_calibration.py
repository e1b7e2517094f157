"""What a manifest tells of scores and p-values."""

import numpy as np

from keras_vae.data import SeriesSchema


def of(graph):
    """What a file scores by, and what normal examples score, as far as it is known.

    Beside a reconstructor a device computes the score "reconstruction" alone, with the scale.
    """
    from export.tracing import own

    if graph.name not in ("scorer", "reconstructor") or not (model := own(graph.model)):
        return {}
    score, calibration = model.scoring.score, model.scoring.calibration
    told, scale = {}, model.likelihood.scale
    if graph.name == "reconstructor":
        calibration = calibration if score == "reconstruction" else None
        score = "reconstruction"
        if isinstance(model.schema, SeriesSchema):
            told["standardised"] = True
        if scale not in (None, "per_pixel"):
            told["likelihood_scale"] = _scales(model.likelihood)
    told["calibration"] = None if calibration is None else calibration.manifest()
    return {"score": score, **told}


def _scales(likelihood):
    """The scale of all values, a float, or that of each channel, a list."""
    import keras

    found = np.exp(np.asarray(keras.ops.convert_to_numpy(likelihood.log_scale), "float64"))
    return [float(f"{s:.9g}") for s in found] if found.ndim else float(f"{found:.9g}")
