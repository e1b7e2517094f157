"""How near samples are to the training images, to tell whether a model copies them."""

import numpy as np

from keras_vae import seeds
from keras_vae.data import as_float

# Images of which the nearest training image is looked for.
MOST_IMAGES = 1000
# Samples count as close as the closest part of held-out images.
CLOSE = 0.01
_TRAINING_AT_ONCE = 4096


def nearest_images(images, among):
    """The nearest of some images, by the Euclidean distance of their pixels.

    Args:
        images: Array `(n, ...)`, floats in [0, 1] or uint8.
        among: Array `(m, ...)` of the same shape of an image, m at least 1.

    Returns:
        Tuple of int64 `(n,)`, which of `among` is the nearest to each, the first of several; and
        float64 `(n,)`, the distances.
    """
    flat = _flat(images)
    index, least = np.zeros(len(flat), np.int64), np.full(len(flat), np.inf)
    for start in range(0, len(among), _TRAINING_AT_ONCE):
        part = _flat(among[start : start + _TRAINING_AT_ONCE])
        # The square of the image itself, which all have in common, is left out.
        found = np.sum(part**2, axis=1) - 2 * flat @ part.T
        first = found.argmin(axis=1)
        values = found[np.arange(len(flat)), first]
        closer = values < least
        index[closer], least[closer] = start + first[closer], values[closer]
    # In float32 the square of a small distance is lost between large ones: compute it anew.
    difference = flat.astype("float64") - _flat(among[index])
    return index, np.linalg.norm(difference, axis=1)


def closeness(samples, dataset, seed=0):
    """Compare how near samples and held-out images are to the training images.

    Args:
        samples: Float array `(n, *data_shape)` in [0, 1], of all classes alike.
        dataset: `data.Dataset`.
        seed: Int. Of more than 1,000 samples or test images that many are drawn.

    Returns:
        Dict: `nearest_distance` and `nearest_distance_of_held_out`, the median distance from an
        image to the nearest training image; `close_samples` and `close_held_out`, the shares that
        are as close as the closest 1 % of held-out images; and `copied_samples`, the share that is
        less than half as far. Far more close samples than that are copies, or they are smoother
        than images are, for what lacks detail is close to much; copied ones are copies.
    """
    rng = seeds.generator(seed, "nearest")
    some = [_some(images, rng) for images in (samples, dataset.x_test)]
    made, held_out = (nearest_images(images, dataset.x_train)[1] for images in some)
    limit = np.quantile(held_out, CLOSE, method="higher") + 1e-6
    return {
        "nearest_distance": float(np.median(made)),
        "nearest_distance_of_held_out": float(np.median(held_out)),
        "close_samples": float(np.mean(made <= limit)),
        "close_held_out": float(np.mean(held_out <= limit)),
        "copied_samples": float(np.mean(made < limit / 2)),
    }


def _some(images, rng):
    if len(images) <= MOST_IMAGES:
        return images
    return images[rng.choice(len(images), MOST_IMAGES, replace=False)]


def _flat(images):
    images = as_float(images)
    return images.reshape(len(images), -1)
