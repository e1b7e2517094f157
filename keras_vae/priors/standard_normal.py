"""The standard normal prior."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from keras_vae import distributions, portable_random
from keras_vae.priors.base import Prior
from keras_vae.type_aliases import Tensor


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal(Prior):
    """N(0, I): every latent dimension is an independent standard normal.

    Example:

    >>> import keras_vae
    >>> prior = keras_vae.priors.StandardNormal()
    >>> prior.sample(count=3, latent_dim=2, seed=42).shape
    (3, 2)

    See also:
        `ConditionalNormal`, which knows the label.
    """

    kl_adds_up = True
    draws_in_training = True

    latent_dim: int | None = None

    def build_for(self, model: Any) -> None:
        self.latent_dim = model.latent_dim

    def __call__(self, condition: Tensor | None = None) -> distributions.StandardNormal:
        return distributions.StandardNormal(self.latent_dim)

    def draw(
        self,
        seed: Tensor,
        index: Tensor,
        temperature: Tensor,
        latent_dim: int,
        condition: Tensor | None = None,
        ops: Any = ops,
    ) -> Tensor:
        return portable_random.normal(seed, index, latent_dim, ops) * temperature

    def manifest(self) -> dict[str, Any]:
        return {"kind": "standard_normal"}

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
