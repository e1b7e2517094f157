"""Posteriors q(z|x): what an encoder's outputs say about the code.

`posterior(heads)` is a distribution, from which `draw` takes codes. All are autoregressive
Gaussians: every entry of a code is a Gaussian given those before it, so that `log q(z|x)` of a draw
is the sum of these, in closed form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_vae import arguments
from keras_vae.distributions import (
    Distribution,
    MultivariateNormal,
    Normal,
    by_draw,
    over_draws,
    repeat,
    standard_noise,
)
from keras_vae.type_aliases import Seed, Tensor

# Far outside any useful posterior; beyond it exp() overflows and a single example is NaN.
LOG_VAR_RANGE = (-30.0, 20.0)

POSTERIORS = {}


class Posterior:
    """What a posterior does: `posterior(heads)` is a distribution of codes.

    A subclass has a `name`, by which models take it too, and writes `distribution`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> posterior = keras_vae.posteriors.get("diagonal")
    >>> q = posterior((ops.zeros((4, 2)), ops.zeros((4, 2))))
    >>> tuple(q.kl(keras_vae.distributions.StandardNormal()).shape)
    (4,)

    See also:
        `DiagonalNormal`, `FullCovarianceNormal`, `Ladder`.
    """

    name: str | None = None
    is_diagonal = False  # whether the entries are independent of each other

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name:
            POSTERIORS[cls.name] = cls

    def __call__(
        self, heads: Sequence[Tensor], condition: Tensor | None = None, decoder: Any = None
    ) -> Distribution:
        """The distribution of the codes of a batch, in float32.

        Args:
            heads: What the encoder gave: a tuple of float tensors, of which the first two are
                `z_mean` and `z_log_var`, each `(batch, latent)`. The log-variance is clipped to
                [-30, 20].
            condition: Optional float tensor `(batch, size)`.
            decoder: The model's decoder.

        Returns:
            A distribution with `log_prob`, `kl`, `marginals` and `draw`, as
            `distributions.Normal`.
        """
        z_mean, z_log_var, *others = (ops.cast(head, "float32") for head in heads)
        z_log_var = ops.clip(z_log_var, *LOG_VAR_RANGE)
        return self.distribution(z_mean, z_log_var, *others, condition=condition, decoder=decoder)

    def distribution(
        self,
        z_mean: Tensor,
        z_log_var: Tensor,
        *others: Tensor,
        condition: Tensor | None = None,
        decoder: Any = None,
    ) -> Distribution:
        """As a call, of heads that are cast and clipped."""
        raise NotImplementedError

    def prepare(self, encoder: Any, decoder: Any) -> None:
        """Ask the networks of a new model for what the posterior needs.

        Raises:
            ValueError: If they cannot have it.
        """

    def check(self, code: Any) -> Any:
        """Check what the encoder returns beside `z_mean` and `z_log_var`, and return those."""
        return code

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


@keras.saving.register_keras_serializable("keras_vae")
class DiagonalNormal(Posterior):
    """A Gaussian whose entries are independent: `N(z_mean, exp(z_log_var))`.

    The encoder returns `z_mean` and `z_log_var`, each `(batch, latent)`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> posterior = keras_vae.posteriors.DiagonalNormal()
    >>> tuple(posterior((ops.zeros((4, 2)), ops.zeros((4, 2)))).mean().shape)
    (4, 2)

    See also:
        `FullCovarianceNormal`.

    References:
        - Kingma & Welling, 2014, section 3. https://arxiv.org/abs/1312.6114
    """

    name = "diagonal"
    is_diagonal = True

    def distribution(
        self,
        z_mean: Tensor,
        z_log_var: Tensor,
        condition: Tensor | None = None,
        decoder: Any = None,
    ) -> Normal:
        return Normal(z_mean, z_log_var)


@keras.saving.register_keras_serializable("keras_vae")
class FullCovarianceNormal(Posterior):
    """A Gaussian with any covariance: `N(z_mean, L L^T)`.

    The encoder returns `z_mean` and `z_log_var`, each `(batch, latent)`, and the entries of L below
    its diagonal, row by row, `(batch, latent * (latent - 1) / 2)`. The diagonal of L is
    `exp(z_log_var / 2)`. `networks.DenseEncoder` and `networks.ConvEncoder` get the third head from
    the model. `encode` returns the mean and the log-variance of each entry by itself, the diagonal
    of `L L^T`; its KL divergence is exact wherever the prior's is.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(3, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> model = keras_vae.VAE(encoder, decoder, posterior="full_covariance")
    >>> model.build()
    >>> encoder.full_covariance
    True

    See also:
        `DiagonalNormal`.

    References:
        - Kingma & Welling, 2019, section 2.5.1. https://arxiv.org/abs/1906.02691
    """

    name = "full_covariance"

    def prepare(self, encoder: Any, decoder: Any) -> None:
        if getattr(encoder, "full_covariance", False) is None and not encoder.built:
            encoder.set_full_covariance(True)

    def check(self, code: Any) -> list[Tensor]:
        heads = list(code) if isinstance(code, list | tuple) else [code]
        shapes = [getattr(head, "shape", type(head).__name__) for head in heads]
        size = shapes[0][-1] if isinstance(shapes[0], tuple) else None
        if (
            len(heads) != 3
            or not isinstance(size, int)
            or size < 2
            or tuple(shapes[2]) != (shapes[0][0], size * (size - 1) // 2)
        ):
            raise ValueError(
                "With the full-covariance posterior the encoder must return `z_mean`, `z_log_var` "
                "and the triangle of L below its diagonal, of shapes (batch, latent), "
                "(batch, latent) and (batch, latent * (latent - 1) / 2), latent at least 2. "
                f"Received: {shapes}."
            )
        return heads[:2]

    def distribution(
        self,
        z_mean: Tensor,
        z_log_var: Tensor,
        triangle: Tensor,
        condition: Tensor | None = None,
        decoder: Any = None,
    ) -> MultivariateNormal:
        return MultivariateNormal(z_mean, z_log_var, triangle)


@keras.saving.register_keras_serializable("keras_vae")
class Ladder(Posterior):
    """The hierarchical posterior of the ladder VAE, inferred from the top level down.

    The levels' codes `z_l` have priors `N(mu_l, sigma_l^2)` that a `networks.LadderDecoder`
    or `ConvLadderDecoder` computes from the levels above; the encoder says of each level by itself
    that it is `N(mean_l, exp(log_var_l))`, from the data up. The posterior of a level, given the
    draw of those above, is the product of both Gaussians; that of the top level the encoder's
    alone.

    The model's code is `eps_l = (z_l - mu_l) / sigma_l`, all levels side by side, the top one
    first. In it the prior is N(0, I), so that a ladder is sampled and exported as any VAE; ratios
    of densities are what they are in `z`. With `gain_l = 1 / (1 + exp(log_var_l) / sigma_l^2)`, the
    share of the encoder's precision in both, eq. 12 and 13 of the paper are in these coordinates

        mean of eps_l = gain_l * (mean_l - mu_l) / sigma_l
        variance of eps_l = 1 - gain_l

    The KL divergence, a sum over the levels, is in closed form given the draw of the levels above.

    The encoder returns all levels' means and log-variances, each `(batch, latent)`, the top level
    first, as `networks.LadderEncoder` does.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.LadderEncoder((3, 2), hidden_units=(8, 8))
    >>> decoder = keras_vae.networks.LadderDecoder((4, 4, 1), (3, 2), hidden_units=(8, 8))
    >>> keras_vae.VAE(encoder, decoder, posterior="ladder").sample(2, seed=0).shape
    (2, 4, 4, 1)

    See also:
        `networks.LadderEncoder`, `networks.ConvLadderEncoder`.

    References:
        - Sønderby et al., 2016, section 2.2. https://arxiv.org/abs/1602.02282
    """

    name = "ladder"

    def prepare(self, encoder: Any, decoder: Any) -> None:
        if not hasattr(decoder, "next_level"):
            raise ValueError(
                "The ladder posterior needs a decoder with levels, such as networks.LadderDecoder. "
                f"Received: {type(decoder).__name__}."
            )
        dims = list(decoder.latent_dims)
        known = {"latent_dims": dims, "latent_dim": sum(dims)}
        for name, expected in known.items():
            found = getattr(encoder, name, expected)
            if found != expected:
                raise ValueError(
                    "Encoder and decoder of a ladder must have the same `latent_dims`. Received: "
                    f"{found} and {dims}."
                )

    def distribution(
        self,
        z_mean: Tensor,
        z_log_var: Tensor,
        condition: Tensor | None = None,
        decoder: Any = None,
    ) -> LadderNormal:
        return LadderNormal(z_mean, z_log_var, condition, decoder)


@dataclasses.dataclass(eq=False)
class LadderNormal(Distribution):
    """The codes of a ladder, each level a Gaussian given the draw of those above.

    Args:
        loc, log_var: Float tensors `(batch, latent)`, what the encoder says of all levels.
        condition: Float tensor `(batch, size)`, or None.
        decoder: `networks.LadderDecoder`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> decoder = keras_vae.networks.LadderDecoder((4, 4, 1), (3, 2), hidden_units=(8, 8))
    >>> code = decoder(ops.zeros((6, 5)))
    >>> heads = ops.zeros((6, 5)), ops.zeros((6, 5))
    >>> q = keras_vae.posteriors.LadderNormal(*heads, condition=None, decoder=decoder)
    >>> tuple(q.sample(seed=0).shape)
    (6, 5)

    See also:
        `Ladder`, which makes it of an encoder's heads.
    """

    loc: Tensor
    log_var: Tensor
    condition: Tensor | None
    decoder: Any

    def draw(self, sampling: Callable[..., Tensor] | None, draws: int = 1) -> tuple[Tensor, Normal]:
        """As `Normal.draw`."""
        noise = None
        if sampling is not None:
            noise = standard_noise(sampling, repeat(self.loc, draws))
        return self._descend(draws, lambda given, z: given.from_noise(z), noise)

    def from_noise(self, noise: Tensor) -> Tensor:
        """Draws, of noise of N(0, I), `(batch, latent)` or `(draws, batch, latent)`."""
        return self._descend_by_draw(lambda given, z: given.from_noise(z), noise)[0]

    def log_prob(self, z: Tensor) -> Tensor:
        return self._descend_by_draw(lambda given, z: z, z)[1].log_prob(z)

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        batch = tuple(ops.shape(self.loc))
        noise = (math.prod(shape), *batch)
        z = self.from_noise(keras.random.normal(noise, dtype="float32", seed=seed))
        return ops.reshape(z, (*shape, *batch))

    def kl(
        self, other: Distribution, z: Tensor | None = None, given: Distribution | None = None
    ) -> Tensor:
        """As `Distribution.kl`: each level's in closed form, given the draw of those above.

        So it is an estimate, right on average, that varies less than that of the log-densities.
        """
        if given is None and z is not None:
            given = self._descend_by_draw(lambda given, z: z, z)[1]
        if given is not None and given.kl_is_exact(other):
            return ops.sum(self.kl_by_value(other, given), axis=-1)
        return super().kl(other, z, given)

    def kl_by_value(self, other: Distribution, given: Distribution | None = None) -> Tensor:
        """What each entry adds to `kl`; without a draw, given the means of the levels above."""
        given = self.marginals() if given is None else given
        return over_draws(given.kl_by_value(other), 2)

    def marginals(self) -> Normal:
        """The `Normal` of each entry given the means of the levels above."""
        return self.draw(None)[1]

    def _descend_by_draw(self, choose, given):
        draws = ops.shape(given)[0] if len(given.shape) > 2 else 1
        rows = ops.reshape(given, (-1, given.shape[-1]))
        z, normal = self._descend(draws, choose, rows)
        return by_draw(z, draws), normal

    def _descend(self, draws, choose, given):
        """From the top level down: the codes, and the `Normal` of each entry.

        Args:
            draws: Int, of each example.
            choose: Function from a level's `Normal` and its part of `given` to its codes.
            given: Float tensor `(draws * batch, latent)`, or None to take the means.
        """
        split, rows = self.decoder.split, repeat(self.condition, draws)
        parts = map(split, (repeat(self.loc, draws), repeat(self.log_var, draws)))
        levels = list(zip(*parts, strict=True))
        given = [None] * len(levels) if given is None else split(given)
        made, above = [], None
        for level, ((loc, log_var), part) in enumerate(zip(levels, given, strict=True)):
            if level:
                above = self.decoder.next_level(level - 1, made[-1][0], above, rows)
                loc, log_var = _combined(loc, log_var, *above[1:])
            z = loc if part is None else choose(Normal(loc, log_var), part)
            made.append((z, loc, log_var))
        z, loc, log_var = (ops.concatenate(p, axis=-1) for p in zip(*made, strict=True))
        return z, Normal(by_draw(loc, draws), by_draw(log_var, draws))


def _combined(mean, log_var, prior_mean, prior_log_var):
    """A prior times an encoder's Gaussian, in units of the prior: mean and log-variance."""
    log_odds = prior_log_var - log_var
    shift = (mean - prior_mean) * ops.exp(-prior_log_var / 2)
    return ops.sigmoid(log_odds) * shift, -ops.softplus(log_odds)


def get(identifier: str | Posterior | None) -> Posterior:
    """Return a posterior from its name, None for the diagonal one, or the posterior itself.

    Args:
        identifier: `"diagonal"`, `"full_covariance"`, `"ladder"`, None or a `Posterior`.

    Returns:
        A `Posterior`.

    Raises:
        ValueError: If there is none of that name.

    Example:

    >>> import keras_vae
    >>> type(keras_vae.posteriors.get("full_covariance")).__name__
    'FullCovarianceNormal'
    """
    if isinstance(identifier, Posterior):
        return identifier
    name = "diagonal" if identifier is None else identifier
    return POSTERIORS[arguments.one_of(name, "posterior", tuple(POSTERIORS))]()
