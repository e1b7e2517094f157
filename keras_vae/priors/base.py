"""What every prior does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from keras_vae import portable_random, seeds
from keras_vae.distributions import Distribution, Normal
from keras_vae.type_aliases import Shape, Tensor

_MOST_AT_ONCE = 4096


class Prior:
    """A distribution of latent codes, p(z) or p(z | condition).

    `prior(condition)` is a distribution, for losses; `draw` makes the same codes of a seed on every
    backend and in every exported file. A subclass writes `__call__`, `draw` and `manifest`. With
    weights it is a `keras.layers.Layer` too, built by `build_for`.

    Attributes:
        kl_adds_up: Bool. Whether the KL divergence from it is a sum over the latent dimensions,
            in closed form.
        draws_in_training: Bool. Whether it can be drawn from while it is learned, so that
            gradients reach its weights.

    Example:

    >>> import keras_vae
    >>> prior = keras_vae.priors.StandardNormal()
    >>> isinstance(prior, keras_vae.priors.Prior), prior.kl_adds_up
    (True, True)

    See also:
        `StandardNormal`, `ConditionalNormal`, `GaussianMixture`, `VampPrior`, `RealNVP`,
        `FittedMixture`.
    """

    kl_adds_up = False
    draws_in_training = False

    def build_for(self, model: Any) -> None:
        """Create what the prior needs, for a model that knows its sizes.

        Args:
            model: A `LatentVariableModel` whose `latent_dim`, `data_shape` and conditions are set.

        Raises:
            ValueError: If the prior does not fit the model.
        """

    def fixed(self) -> Prior:
        """The prior as it is now, made of constants where that is possible: what is exported."""
        return self

    def __call__(self, condition: Tensor | None = None) -> Distribution:
        """The distribution of codes, as it is now.

        Args:
            condition: Optional float tensor `(batch, size)`, from `encode_condition`.

        Returns:
            `distributions.Distribution` of codes `(..., latent)`; with a condition of codes
            `(batch, latent)` or `(draws, batch, latent)`.
        """
        raise NotImplementedError

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """As `self(condition).log_prob(z)`, nats `(...)`."""
        return self(condition).log_prob(ops.convert_to_tensor(z))

    def kl(
        self,
        z_mean: Tensor,
        z_log_var: Tensor,
        z: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """KL divergence of `N(z_mean, exp(z_log_var))` from the prior, `distributions.Normal.kl`.

        Args:
            z_mean: Float tensor `(batch, latent)`.
            z_log_var: Float tensor, same shape. Natural log of the variance.
            z: Float tensor, same shape: the draw. Without it `z_mean` stands in its place.
            condition: Optional float tensor `(batch, size)`, from `encode_condition`.

        Returns:
            Tensor `(batch,)`, nats per example.
        """
        normal = Normal(ops.convert_to_tensor(z_mean), ops.convert_to_tensor(z_log_var))
        z = normal.loc if z is None else ops.cast(z, normal.loc.dtype)
        return normal.kl(self(condition), z)

    def sample(
        self,
        count: int,
        latent_dim: int,
        temperature: float = 1.0,
        seed: int | None = None,
        condition: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Draw codes, the same ones on every backend and in every exported file.

        Args:
            count: Int, at most 2^20. Number of codes. Code k of a seed does not depend on it.
            latent_dim: Int, at most 4096.
            temperature: Float, at least 0. Scales the standard deviation, of a mixture that of the
                component that was drawn, of a flow that of its base; 0 gives the mean.
            seed: Optional int, from 0 to 2^31 - 1. Defaults to one that
                `keras.utils.set_random_seed` repeats.
            condition: Optional float array `(count, size)`, from `encode_condition`.

        Returns:
            float32 array `(count, latent_dim)`.
        """
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"`temperature` must be at least 0. Received: {temperature!r}")
        seed = seeds.given_or_drawn(seed)
        portable_random.check(seed, count, latent_dim)
        if condition is not None:
            condition = ops.convert_to_numpy(condition)
        prior, seed, temperature = self.fixed(), np.array([seed], "int32"), np.float32(temperature)
        parts = []
        for start in range(0, count, _MOST_AT_ONCE):
            index = np.arange(start, min(start + _MOST_AT_ONCE, count), dtype="int32")
            given = None if condition is None else condition[index]
            z = prior.draw(seed, index, temperature, latent_dim, given, np)
            parts.append(ops.convert_to_numpy(z))
        return np.concatenate(parts)

    def draw(
        self,
        seed: Tensor,
        index: Tensor,
        temperature: Tensor,
        latent_dim: int,
        condition: Tensor | None = None,
        ops: Any = ops,
    ) -> Tensor:
        """As `sample`, unchecked, for chosen examples of a seed, as part of a graph.

        Args:
            seed: Int tensor `(1,)`.
            index: Int tensor `(n,)`. Which examples of the seed.
            temperature: Float tensor `(1,)`.
            latent_dim: Int.
            condition: Optional float tensor `(n, size)`.
            ops: `keras.ops` for tensors, `numpy` for arrays.

        Returns:
            float32 tensor `(n, latent_dim)`.
        """
        raise NotImplementedError

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data: the `kind`, and what it takes to draw from it.

        Without the latter a device needs the `sampler` graph, which draws for itself.
        """
        raise NotImplementedError


def build_layer(prior: Any, *shapes: Shape) -> None:
    """Build a prior that is a layer, or check that it was built for these shapes.

    Raises:
        ValueError: If it belongs to a model of other sizes.
    """
    if not prior.built:
        prior.build(*shapes)
        return
    config = prior.get_build_config()
    built = list((config.get("shapes_dict") or config).values())
    if [list(shape[1:]) for shape in built] != [list(shape[1:]) for shape in shapes]:
        raise ValueError(
            f"The prior must be built for what the model has, {_sizes(shapes)}. Received: a "
            f"{type(prior).__name__} built for {_sizes(built)}. Make a new one."
        )


def _sizes(shapes):
    return " and ".join(str(tuple(shape)) for shape in shapes)


def condition_size(model: Any) -> int:
    """Width of the vector that a model's networks see, 0 without conditions."""
    return model.conditioning.size if model.condition else 0
