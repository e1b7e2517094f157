"""Codes that are worth decoding: between two codes, along a dimension, over the prior."""

import statistics

import numpy as np

from keras_vae.models.generative import join
from keras_vae.priors import StandardNormal
from keras_vae.training.batched import in_batches

# Codes drawn to find quantiles of a prior that has no formula for them.
DRAWS = 4096


def between(first, second, steps, spherical=False):
    """Codes on the way from one code to another, both included.

    Args:
        first: Float array `(n, size)`.
        second: Float array, same shape.
        steps: Int, at least 2.
        spherical: Whether the way is an arc on which the length changes evenly, rather than a
            straight line. Draws from N(0, I) of many dimensions all have nearly one length, and
            the middle of a straight line is shorter than any of them.

    Returns:
        float32 array `(n, steps, size)`.

    References:
        - White, 2016, section 2. https://arxiv.org/abs/1609.04468
    """
    first, second = (np.asarray(code, "float64")[:, None] for code in (first, second))
    share = np.linspace(0, 1, steps)[:, None]
    if not spherical:
        return ((1 - share) * first + share * second).astype("float32")
    lengths = [np.linalg.norm(code, axis=-1, keepdims=True) for code in (first, second)]
    a, b = first / np.maximum(lengths[0], 1e-12), second / np.maximum(lengths[1], 1e-12)
    angle = np.arccos(np.clip(np.sum(a * b, axis=-1, keepdims=True), -1, 1))
    safe = np.maximum(np.sin(angle), 1e-6)
    arc = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / safe
    direction = np.where(np.sin(angle) < 1e-6, (1 - share) * a + share * b, arc)
    length = (1 - share) * lengths[0] + share * lengths[1]
    return (length * direction).astype("float32")


def prior_quantiles(model, probabilities, conditions=None):
    """Quantiles of each latent dimension under the model's prior.

    Args:
        model: A model with a prior over vectors.
        probabilities: Float array `(n,)`, between 0 and 1.
        conditions: For a conditional model a dict from name to one value.

    Returns:
        float32 array `(n, latent)`: of N(0, I) by its formula, of any other prior from 4,096 draws.
    """
    if isinstance(model.prior, StandardNormal):
        quantiles = [statistics.NormalDist().inv_cdf(float(p)) for p in probabilities]
        return np.repeat(np.array(quantiles, "float32")[:, None], model.latent_dim, axis=1)
    vectors = None
    if model.condition:
        repeated = {name: np.repeat([value], DRAWS, axis=0) for name, value in conditions.items()}
        vectors = model.condition_vectors(repeated)
    z = model.prior.sample(DRAWS, model.latent_dim, seed=0, condition=vectors)
    return np.quantile(z, probabilities, axis=0).astype("float32")


def plane(first, second):
    """Codes of two dimensions on a grid, row by row from the top, as a picture is read.

    Args:
        first: Float array `(side,)`, increasing: the first coordinate, to the right.
        second: Float array `(side,)`, increasing: the second one, upwards.

    Returns:
        float32 array `(side * side, 2)`.
    """
    across, up = np.meshgrid(first, second[::-1])
    return np.stack([across.ravel(), up.ravel()], axis=-1).astype("float32")


def traversals(start, values):
    """Copies of a code in which one dimension after the other takes some values.

    Args:
        start: Float array `(latent,)`.
        values: Float array `(steps, latent)`: what each dimension is to take.

    Returns:
        float32 array `(latent, steps, latent)`.
    """
    steps, latent = np.shape(values)
    codes = np.tile(np.asarray(start, "float32"), (latent, steps, 1))
    for dimension in range(latent):
        codes[dimension, :, dimension] = np.asarray(values)[:, dimension]
    return codes


def decode(model, z, vectors=None, batch_size=256):
    """Decode codes under vectors that need not belong to one class, but may lie between two.

    Args:
        model: A model with a decoder of vectors.
        z: Float array `(n, latent)`.
        vectors: For a conditional model a float array `(n, size)`, of `model.condition_vectors`.
        batch_size: Int. Examples computed at once.

    Returns:
        float32 array `(n, *data_shape)`, the likelihood's mean.
    """

    model._ensure_built()  # a compiled function must not create weights

    def mean(batch):
        parameters = model.decoder(join(batch["z"], batch.get("vectors")), training=False)
        return [model.likelihood.mean(parameters)]

    arrays = {"z": np.asarray(z, "float32")}
    if vectors is not None:
        arrays["vectors"] = np.asarray(vectors, "float32")
    return in_batches(model.as_compiled(mean), arrays, batch_size)[0]
