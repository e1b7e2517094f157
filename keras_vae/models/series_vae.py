"""A variational autoencoder of the right sizes for windows of a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_vae import likelihoods
from keras_vae.data.series_schema import SeriesSchema
from keras_vae.models.conditional_vae import ConditionalVAE
from keras_vae.models.vae import VAE
from keras_vae.networks.series import Conv1DDecoder, Conv1DEncoder


def series_vae(
    schema: SeriesSchema,
    latent_dim: int = 8,
    hidden_units: Sequence[int] = (32, 64),
    kernel_size: int = 5,
    causal: bool = False,
    **kwargs: Any,
) -> VAE:
    """Make a model of windows of a series: what its channels do together, and how usual it is.

    Args:
        schema: `data.SeriesSchema`, such as `data.series("machine.csv").schema`.
        latent_dim: Int, size of the latent code.
        hidden_units: Tuple of ints, the channels of the encoder's stages; the decoder has them the
            other way.
        kernel_size: Int, steps.
        causal: Bool, whether the convolutions look at no later step.
        **kwargs: As for `VAE`. The likelihood is by default a Gaussian whose scale is the best of
            each channel, `Gaussian("optimal", channels)`.

    Returns:
        A `ConditionalVAE`; without conditions a `VAE`. It is not compiled.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> made = keras_vae.data.series(np.sin(np.arange(400) / 5)[:, None], window=16, stride=4)
    >>> model = keras_vae.series_vae(made.schema, latent_dim=2, hidden_units=(8,))
    >>> made.schema.decode(model.sample(3, seed=1)).shape
    (3, 16, 1)

    See also:
        `data.series`; `AnomalyDetector`.
    """
    options = {"kernel_size": kernel_size, "causal": causal}
    encoder = Conv1DEncoder(latent_dim, hidden_units, **options)
    decoder = Conv1DDecoder(schema.shape, tuple(hidden_units)[::-1], **options)
    likelihood = likelihoods.Gaussian("optimal", channels=len(schema.channels))
    kwargs = {"likelihood": likelihood, "schema": schema, **kwargs}
    if not schema.conditions:
        return VAE(encoder, decoder, **kwargs)
    return ConditionalVAE(encoder, decoder, schema.condition, **kwargs)
