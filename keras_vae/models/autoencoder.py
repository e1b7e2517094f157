"""The plain autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_vae.models.base import LatentVariableModel
from keras_vae.models.capabilities import Scores
from keras_vae.type_aliases import Examples, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Autoencoder(LatentVariableModel, Scores):
    """Autoencoder: a code without a distribution, so there is nothing to sample from.

    Args:
        encoder: Keras model from `x` to `z`, `(batch, latent)`. Of an encoder with two heads,
            such as `DenseEncoder`, the first is the code and the second stays unused.
        decoder: Keras model from `z` to the likelihood's parameters, shaped like `x`.
        likelihood: Name or object of `keras_vae.likelihoods`.
        seed: Optional int, for the order of the batches.

    Call arguments:
        inputs: `x`, float `(batch, *data_shape)`.
        sample_weight, draw: Unused; they are there for the steps that all models share.
        training: Bool.

    Returns:
        Dict of `"parameters"` `(batch, *data_shape)` and `"z"` `(batch, latent)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> model = keras_vae.Autoencoder(encoder, decoder)
    >>> model.encode(np.zeros((3, 4, 4, 1), "float32")).shape
    (3, 2)

    See also:
        `VAE`, which can be sampled from.

    References:
        - Hinton & Salakhutdinov, 2006. https://doi.org/10.1126/science.1127647
    """

    code_names = ("z",)
    if TYPE_CHECKING:

        def encode(self, inputs: Examples, batch_size: int = 256) -> NDArray[np.float32]: ...

    def call(
        self,
        inputs: Any,
        sample_weight: Tensor | None = None,
        draw: Any = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        x, _ = self.split_inputs(inputs)
        [z] = self.code(x, training=training)
        return {"parameters": self.decoder(z, training=training), "z": z}

    def code(
        self, x: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor]:
        z = self.encoder(x, training=training)
        return (z[0] if isinstance(z, list | tuple) else z,)
