"""Kullback-Leibler divergences of arrays and tensors, in nats per example.

They are those of `distributions.Normal`, for losses that are written by hand.
"""

from __future__ import annotations

from keras import ops

from keras_vae.distributions import Normal, StandardNormal
from keras_vae.type_aliases import Tensor


def kl_standard_normal(z_mean: Tensor, z_log_var: Tensor, by_dimension: bool = False) -> Tensor:
    """KL divergence of a diagonal Gaussian from N(0, I), `distributions.kl_from_standard_normal`.

    Args:
        z_mean: Float tensor `(batch, latent)`.
        z_log_var: Float tensor, same shape. Natural log of the variance.
        by_dimension: Bool. Whether to leave the latent dimensions apart.

    Returns:
        Tensor `(batch,)`, nats per example, summed over the latent dimensions; or
        `(batch, latent)`, by dimension.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> z_mean, z_log_var = np.zeros((4, 2), "float32"), np.zeros((4, 2), "float32")
    >>> kl = keras_vae.divergences.kl_standard_normal(z_mean, z_log_var)
    >>> tuple(kl.shape), float(kl[0])
    ((4,), 0.0)

    See also:
        `kl_normal`, from any other Gaussian.

    References:
        - Kingma & Welling, 2014, appendix B. https://arxiv.org/abs/1312.6114
    """
    return _kl(by_dimension, StandardNormal(), z_mean, z_log_var)


def kl_normal(
    z_mean: Tensor,
    z_log_var: Tensor,
    prior_mean: Tensor,
    prior_log_var: Tensor,
    by_dimension: bool = False,
) -> Tensor:
    """KL divergence of a diagonal Gaussian from another.

    Args:
        z_mean: Float tensor `(batch, latent)`.
        z_log_var: Float tensor, same shape. Natural log of the variance.
        prior_mean: Float tensor that broadcasts to this shape.
        prior_log_var: Float tensor like `prior_mean`.
        by_dimension: Bool. Whether to leave the latent dimensions apart.

    Returns:
        As `kl_standard_normal`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> zeros = np.zeros((4, 2), "float32")
    >>> tuple(keras_vae.divergences.kl_normal(zeros, zeros, zeros, zeros, by_dimension=True).shape)
    (4, 2)

    See also:
        `kl_standard_normal`.
    """
    other = Normal(*map(ops.convert_to_tensor, (prior_mean, prior_log_var)))
    return _kl(by_dimension, other, z_mean, z_log_var)


def _kl(by_dimension, other, *parameters):
    normal = Normal(*map(ops.convert_to_tensor, parameters))
    return normal.kl_by_value(other) if by_dimension else normal.kl(other)
