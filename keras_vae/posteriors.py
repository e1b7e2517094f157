"""Posteriors q(z|x): what an encoder's outputs say about the code, and how a code is drawn.

All are autoregressive Gaussians: every entry of a code is a Gaussian given those before it. So a
draw comes with the means and log-variances that its entries were drawn with, and
`log q(z|x) = objectives.log_normal(z, z_mean, z_log_var)` is exact.
"""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vae import arguments
from keras_vae.layers.sampling import reparameterize, repeat

# Far outside any useful posterior; beyond it exp() overflows and a single example is NaN.
LOG_VAR_RANGE = (-30.0, 20.0)


@dataclasses.dataclass(frozen=True)
class Draw:
    """Codes drawn from the posteriors of a batch, or their means.

    Args:
        z: Float tensor `(draws * batch, latent)`, the batch once for each draw.
        z_mean: Float tensor like `z`: the mean of each entry given those before it. Of a posterior
            whose entries are independent, `(batch, latent)`, which all draws have in common.
        z_log_var: Float tensor like `z_mean`. Natural log of the variance.
        heads: Tuple of what the encoder gave, float tensors `(batch, ...)`.
        condition: Float tensor `(batch, size)`, or None.
        draws: Int.
    """

    z: Any
    z_mean: Any
    z_log_var: Any
    heads: tuple
    condition: Any = None
    draws: int = 1

    def average(self, values):
        """The mean over the draws, `(batch, ...)`, of values `(draws * batch, ...)`."""
        if isinstance(self.draws, int) and self.draws == 1:
            return values
        return ops.mean(ops.reshape(values, (self.draws, -1, *values.shape[1:])), axis=0)


@keras.saving.register_keras_serializable("keras_vae")
class DiagonalNormal:
    """A Gaussian whose entries are independent: `N(z_mean, exp(z_log_var))`.

    The encoder returns `z_mean` and `z_log_var`, each `(batch, latent)`.

    References:
        - Kingma & Welling, 2014, section 3. https://arxiv.org/abs/1312.6114
    """

    is_diagonal = True

    def prepare(self, encoder, decoder):
        """Ask the networks of a new model for what the posterior needs.

        Raises:
            ValueError: If they cannot have it.
        """

    def check(self, code):
        """Check what the encoder returns beside `z_mean` and `z_log_var`, and return those."""
        return code

    def heads(self, code):
        """What the encoder returned, in float32, the log-variance clipped to [-30, 20]."""
        z_mean, z_log_var, *others = code
        z_log_var = ops.clip(ops.cast(z_log_var, "float32"), *LOG_VAR_RANGE)
        return (
            ops.cast(z_mean, "float32"),
            z_log_var,
            *(ops.cast(other, "float32") for other in others),
        )

    def draw(self, heads, condition=None, decoder=None, draws=1, sampling=None):
        """Draw codes, or take the mean.

        Args:
            heads: Tuple of tensors, from `heads`.
            condition: Optional float tensor `(batch, size)`.
            decoder: The model's decoder.
            draws: Int. Codes of each example.
            sampling: Function from `z_mean` and `z_log_var`, each `(draws * batch, latent)`, to
                draws of those Gaussians, such as `layers.Sampling`. Without it there is no noise.

        Returns:
            `Draw`.
        """
        z_mean, z_log_var = heads
        z = z_mean
        if sampling is not None:
            z = sampling(repeat(z_mean, draws), repeat(z_log_var, draws))
        return Draw(z, z_mean, z_log_var, heads, condition, draws)

    def marginal(self, drawn):
        """Mean and log-variance `(batch, latent)` of each entry by itself: what `encode` gives.

        Args:
            drawn: `Draw` of the mean.
        """
        return drawn.z_mean, drawn.z_log_var

    def kl(self, prior, drawn):
        """KL divergence from a prior, `(batch,)`, nats, estimated by the draws where it must be."""
        code = (repeat(tensor, drawn.draws) for tensor in self.marginal(drawn))
        condition = repeat(drawn.condition, drawn.draws)
        return drawn.average(prior.kl(*code, z=drawn.z, condition=condition))

    def kl_by_dimension(self, prior, drawn):
        """As `kl`, `(batch, latent)`, of a prior whose KL is a sum over the dimensions."""
        return prior.kl_by_dimension(*self.marginal(drawn), drawn.condition)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("keras_vae")
class FullCovarianceNormal(DiagonalNormal):
    """A Gaussian with any covariance: `N(z_mean, L L^T)`.

    The encoder returns `z_mean` and `z_log_var`, each `(batch, latent)`, and the entries of L below
    its diagonal, row by row, `(batch, latent * (latent - 1) / 2)`. The diagonal of L is
    `exp(z_log_var / 2)`. `networks.DenseEncoder` and `networks.ConvEncoder` get the third head from
    the model. `encode` returns the mean and the log-variance of each entry by itself, the diagonal
    of `L L^T`; its KL divergence is exact wherever the prior's is.

    References:
        - Kingma & Welling, 2019, section 2.5.1. https://arxiv.org/abs/1906.02691
    """

    is_diagonal = False

    def prepare(self, encoder, decoder):
        if getattr(encoder, "full_covariance", False) is None and not encoder.built:
            encoder.set_full_covariance(True)

    def check(self, code):
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

    def draw(self, heads, condition=None, decoder=None, draws=1, sampling=None):
        if sampling is None:
            return Draw(heads[0], *heads[:2], heads, condition, draws)
        z_mean, z_log_var, triangle = (repeat(head, draws) for head in heads)
        noise = _standard(sampling, z_mean)
        columns, rows = _triangle(z_mean.shape[-1])
        z_mean = z_mean + ops.matmul(ops.matmul(noise, columns) * triangle, rows)
        z = reparameterize(z_mean, z_log_var, noise)
        return Draw(z, z_mean, z_log_var, heads, condition, draws)

    def marginal(self, drawn):
        z_mean, z_log_var, _ = drawn.heads
        return z_mean, z_log_var + 2 * self._dependence(drawn)

    def kl(self, prior, drawn):
        # The KL of the product of the marginals, and that of q from this product, which does not
        # depend on the prior: exact or estimated, the first is the prior's.
        return super().kl(prior, drawn) + ops.sum(self._dependence(drawn), axis=-1)

    def kl_by_dimension(self, prior, drawn):
        return super().kl_by_dimension(prior, drawn) + self._dependence(drawn)

    def _dependence(self, drawn):
        """`log(Sigma_ii / L_ii^2) / 2`, what each entry shares with those before it, in nats."""
        z_mean, z_log_var, triangle = drawn.heads
        _, rows = _triangle(z_mean.shape[-1])
        explained = ops.matmul(ops.square(triangle), rows) * ops.exp(-z_log_var)
        # Not log1p, which ONNX lacks; this one's error is 6e-8 nats.
        return ops.log(1 + explained) / 2


@keras.saving.register_keras_serializable("keras_vae")
class Ladder(DiagonalNormal):
    """The hierarchical posterior of the ladder VAE, inferred from the top level down.

    The levels' codes `z_l` have priors `N(mu_l, sigma_l^2)` that a `networks.LadderDecoder`
    computes from the levels above; the encoder says of each level by itself that it is
    `N(mean_l, exp(log_var_l))`, from the data up. The posterior of a level, given the draw of those
    above, is the product of both Gaussians; that of the top level the encoder's alone.

    The model's code is `eps_l = (z_l - mu_l) / sigma_l`, all levels side by side, the top one
    first. In it the prior is N(0, I), so that a ladder is sampled and exported as any VAE; ratios
    of densities are what they are in `z`. With `gain_l = 1 / (1 + exp(log_var_l) / sigma_l^2)`, the
    share of the encoder's precision in both, eq. 12 and 13 of the paper are in these coordinates

        mean of eps_l = gain_l * (mean_l - mu_l) / sigma_l
        variance of eps_l = 1 - gain_l

    The KL divergence, a sum over the levels, is in closed form given the draw of the levels above.

    The encoder returns all levels' means and log-variances, each `(batch, latent)`, the top level
    first, as `networks.LadderEncoder` does.

    References:
        - Sønderby et al., 2016, section 2.2. https://arxiv.org/abs/1602.02282
    """

    is_diagonal = False

    def prepare(self, encoder, decoder):
        if not hasattr(decoder, "next_level"):
            raise ValueError(
                "The ladder posterior needs a decoder with levels, networks.LadderDecoder. "
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

    def draw(self, heads, condition=None, decoder=None, draws=1, sampling=None):
        means, log_vars = (decoder.split(repeat(head, draws)) for head in heads)
        rows = repeat(condition, draws)
        noises = [None] * len(means)
        if sampling is not None:
            noises = decoder.split(_standard(sampling, repeat(heads[0], draws)))
        made, above = [], None
        for level, (mean, log_var, noise) in enumerate(zip(means, log_vars, noises, strict=True)):
            if level:
                above = decoder.next_level(level - 1, made[-1][0], above, rows)
                mean, log_var = _combined(mean, log_var, *above[1:])
            z = mean if noise is None else reparameterize(mean, log_var, noise)
            made.append((z, mean, log_var))
        joined = (ops.concatenate(parts, axis=-1) for parts in zip(*made, strict=True))
        return Draw(*joined, heads, condition, draws)

    def kl(self, prior, drawn):
        condition = repeat(drawn.condition, drawn.draws)
        kl = prior.kl(drawn.z_mean, drawn.z_log_var, z=drawn.z, condition=condition)
        return drawn.average(kl)

    def kl_by_dimension(self, prior, drawn):
        condition = repeat(drawn.condition, drawn.draws)
        return drawn.average(prior.kl_by_dimension(drawn.z_mean, drawn.z_log_var, condition))


def _combined(mean, log_var, prior_mean, prior_log_var):
    """A prior times an encoder's Gaussian, in units of the prior: mean and log-variance."""
    log_odds = prior_log_var - log_var
    shift = (mean - prior_mean) * ops.exp(-prior_log_var / 2)
    return ops.sigmoid(log_odds) * shift, -ops.softplus(log_odds)


def _standard(sampling, like):
    """Draws of N(0, I), of a tensor's shape."""
    zeros = ops.zeros_like(like)
    return ops.cast(sampling(zeros, zeros), like.dtype)


@functools.cache
def _triangle(size):
    """The column of each entry below the diagonal, and its row, as products with ones and zeros.

    Matrices `(size, entries)` and `(entries, size)`: cheaper than to gather and scatter.
    """
    rows, columns = np.tril_indices(size, -1)
    identity = np.eye(size, dtype="float32")
    return identity[:, columns], identity[rows]


POSTERIORS = {
    "diagonal": DiagonalNormal,
    "full_covariance": FullCovarianceNormal,
    "ladder": Ladder,
}


def get(identifier):
    """Return a posterior from its name, None for the diagonal one, or the posterior itself."""
    if isinstance(identifier, DiagonalNormal):
        return identifier
    name = "diagonal" if identifier is None else identifier
    return POSTERIORS[arguments.one_of(name, "posterior", tuple(POSTERIORS))]()
