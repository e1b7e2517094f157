"""Images as arrays: their floats, their range, their layout, and binary ones drawn of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae import seeds


def as_float(images: ArrayLike) -> NDArray[np.float32]:
    """Return images `(n, ...)` as float32, by their dtype alone.

    uint8 is an 8-bit picture: 0 to 255 become 0 to 1, whatever the values. Bools become 0 and 1;
    floats and other integers are what they are.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> keras_vae.data.as_float(np.array([0, 255], "uint8")).tolist()
    [0.0, 1.0]
    """
    images = np.asarray(images[:])
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    return images.astype(np.float32, copy=False)


def looks_channels_first(shape: Sequence[int]) -> bool:
    """Whether images `(n, ...)` of a shape seem to have their one or three channels in front.

    Example:

    >>> import keras_vae
    >>> keras_vae.data.looks_channels_first((100, 3, 32, 32))
    True
    """
    return len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) > 4


def binarize(images: ArrayLike, seed: int | np.random.Generator | None) -> NDArray[np.float32]:
    """Draw every pixel as 0 or 1, with its grey value as the probability of 1.

    Args:
        images: `(n, ...)`: uint8, an 8-bit picture; or bools or numbers in [0, 1].
        seed: Int, of which the same gives the same pixels; None for one that
            `keras.utils.set_random_seed` repeats; or a NumPy generator.

    Returns:
        float32 array of the same shape.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> keras_vae.data.binarize(np.array([0, 255], "uint8"), seed=0).tolist()
    [0.0, 1.0]

    See also:
        `VAE`, whose `dynamic_binarization` draws anew in every step.

    References:
        - Burda et al., 2016, section 5. https://arxiv.org/abs/1509.00519
    """
    images = as_float(images)
    rng = np.random.default_rng(seeds.given_or_drawn(seed))
    threshold = rng.random(images.shape, dtype=np.float32)
    return (threshold < images).astype(np.float32)
