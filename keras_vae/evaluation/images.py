"""How close reconstructions are to their images: squared error, PSNR and SSIM."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae.data import as_float
from keras_vae.training.inputs import check_examples
from keras_vae.type_aliases import Examples

WINDOW, WINDOW_SCALE = 11, 1.5
K1, K2 = 0.01, 0.03


def evaluate_reconstructions(
    model: Any, inputs: Examples, batch_size: int = 256, progress: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Compare the reconstructions of the posterior mean with the data.

    Args:
        model: A model with an encoder.
        inputs: Arrays as `fit` takes them.
        batch_size: Int. Examples computed at once.
        progress: As for `evaluate`.

    Returns:
        Dict of floats: `mean_squared_error` over all values; `psnr`, the peak signal-to-noise ratio
        of that mean in decibels, None for a perfect reconstruction; and `ssim`, the structural
        similarity, averaged over the examples, None for data that are no images. The range that
        both need is that of the likelihood or, where it has none, 1.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.build()
    >>> x = np.zeros((8, 4, 4, 1), "float32")
    >>> sorted(keras_vae.evaluation.evaluate_reconstructions(vae, x))
    ['mean_squared_error', 'psnr', 'ssim']

    See also:
        `ssim`.
    """
    inputs = model.as_observed(check_examples(model, inputs), seed=0)
    x, conditions = model.named_inputs(inputs)
    low, high = model.likelihood.data_range
    data_range = high - low if math.isfinite(high - low) else 1.0
    is_image = len(model.data_shape) == 3 and min(model.data_shape[:2]) >= 3
    errors, similarities = [], []
    starts = range(0, len(x), batch_size)
    for start in starts if progress is None else progress(starts):
        rows = slice(start, start + batch_size)
        real = as_float(x[rows])
        given = {name: values[rows] for name, values in conditions.items()}
        made = model.reconstruct({"x": real, **given} if given else real, batch_size)
        errors.append(mean_squared_errors(real, made))
        if is_image:
            similarities.append(ssim(real, made, data_range))
    error = float(np.mean(np.concatenate(errors)))
    return {
        "mean_squared_error": error,
        "psnr": psnr(error, data_range),
        "ssim": float(np.mean(np.concatenate(similarities))) if is_image else None,
    }


def mean_squared_errors(first, second):
    """Mean squared difference of each pair of arrays `(n, ...)`, float64 `(n,)`."""
    difference = np.asarray(first, "float64") - np.asarray(second, "float64")
    return np.mean(difference.reshape(len(difference), -1) ** 2, axis=1)


def psnr(mean_squared_error, data_range=1.0):
    """Peak signal-to-noise ratio in decibels, `10 log10(range^2 / error)`; None for no error."""
    if mean_squared_error == 0:
        return None
    return 10 * math.log10(data_range**2 / mean_squared_error)


def ssim(first: ArrayLike, second: ArrayLike, data_range: float = 1.0) -> NDArray[np.float64]:
    """Structural similarity of pairs of images.

    The mean of `(2 m n + c1) (2 v12 + c2) / ((m^2 + n^2 + c1) (v1 + v2 + c2))` over all places of
    a Gaussian window of 11x11 pixels with a standard deviation of 1.5, and over the channels;
    `c1 = (0.01 range)^2`, `c2 = (0.03 range)^2`. On smaller images the window is the largest odd
    one that fits.

    Args:
        first: Array `(n, height, width, channels)`.
        second: Array of the same shape.
        data_range: Float. Distance of black and white.

    Returns:
        float64 array `(n,)`, 1 for equal images.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> x = np.random.default_rng(0).random((2, 16, 16, 1))
    >>> keras_vae.evaluation.ssim(x, x).tolist()
    [1.0, 1.0]

    See also:
        `evaluate_reconstructions`.

    References:
        - Wang et al., 2004, eqs. 13 to 17. https://doi.org/10.1109/TIP.2003.819861
    """
    first, second = (np.moveaxis(np.asarray(a, "float64"), -1, 1) for a in (first, second))
    rows, columns = (_windows(size, min(first.shape[2:])) for size in first.shape[2:])

    def local_mean(values):
        return rows @ values @ columns.T

    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    means = local_mean(first), local_mean(second)
    product, squares = means[0] * means[1], means[0] ** 2 + means[1] ** 2
    variances = local_mean(first**2) + local_mean(second**2) - squares
    covariance = local_mean(first * second) - product
    similarity = (2 * product + c1) * (2 * covariance + c2)
    similarity /= (squares + c1) * (variances + c2)
    return similarity.mean(axis=(1, 2, 3))


def _windows(size, smallest):
    """Matrix `(places, size)` that averages under the window at every place along an axis."""
    width = min(WINDOW, smallest - 1 + smallest % 2)
    weights = np.exp(-((np.arange(width) - width // 2) ** 2) / (2 * WINDOW_SCALE**2))
    places = np.zeros((size - width + 1, size))
    for place, row in enumerate(places):
        row[place : place + width] = weights / weights.sum()
    return places
