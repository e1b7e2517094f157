"""Distributions of data and of codes: what likelihoods, posteriors and priors return.

The last axis of a parameter holds the values that one example has, the axes before it hold the
examples: `log_prob` adds up over the last one. Parameters and values broadcast, so that codes
`(draws, batch, latent)` have densities under a posterior `(batch, latent)`. Everything is in nats,
and a `log_prob` is never handed on with another sign.

A subclass writes `log_prob_by_value` (or `log_prob`, where the values of an example depend on each
other), `sample` and, where it has a closed form, `mean`. Where the Kullback-Leibler divergence of
one class from another has a closed form, `register_kl` says so; elsewhere `kl` estimates it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_vae.type_aliases import Seed, Tensor

LOG_2_PI = math.log(2 * math.pi)
# Of a logistic, in half the range of the levels: from here on its mean cut to them is a series.
WIDE_SCALE = 6.0


def log_normal(x: Tensor, loc: Tensor, log_var: Tensor, ops: Any = ops) -> Tensor:
    """Log density of values under normal distributions, each by itself, in nats.

    Args:
        x: Float tensor.
        loc: Float tensor that broadcasts with it.
        log_var: Float tensor, likewise. Natural log of the variance.
        ops: `keras.ops` for tensors, `numpy` for arrays.

    Returns:
        Tensor of the shape that they broadcast to.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> x = np.zeros((3, 2))
    >>> keras_vae.distributions.log_normal(x, loc=x, log_var=x, ops=np).shape
    (3, 2)
    """
    return -(ops.square(x - loc) * ops.exp(-log_var) + log_var + LOG_2_PI) / 2


class Distribution:
    """A distribution for each example of a batch.

    Example:

    >>> import keras_vae
    >>> q = keras_vae.distributions.Normal(loc=0.0, log_var=0.0)
    >>> isinstance(q, keras_vae.distributions.Distribution)
    True

    See also:
        `Normal`, `Bernoulli` and the others here; `register_kl` for a closed form of your own.
    """

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        """Log density or log-probability of each value of an example, nats `(..., size)`."""
        raise NotImplementedError

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density or log-probability of examples.

        Args:
            x: Float tensor `(..., size)` that broadcasts with the parameters.

        Returns:
            Tensor `(...)`, nats.
        """
        return ops.sum(self.log_prob_by_value(x), axis=-1)

    def mean(self) -> Tensor:
        """The mean, `(..., size)`, where it has a closed form."""
        raise NotImplementedError(
            f"The mean of `{type(self).__name__}` has no closed form. Average what `sample` draws."
        )

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        """Draw examples.

        Args:
            seed: Int or `keras.random.SeedGenerator`.
            shape: Tuple of ints, how many of each distribution: axes before those of the
                parameters.

        Returns:
            float32 tensor `(*shape, ..., size)`.
        """
        raise NotImplementedError

    def kl(
        self, other: Distribution, z: Tensor | None = None, given: Distribution | None = None
    ) -> Tensor:
        """KL divergence from another distribution, nats per example `(batch,)`.

        It is exact where `kl_is_exact` says so. Elsewhere it is the Monte Carlo estimate
        `log q(z) - log p(z)`, averaged over the draws: right on average, and of any sign.

        Args:
            other: Distribution.
            z: Draws of this one, `(batch, size)` or `(draws, batch, size)`, for the estimate.
            given: What each value was drawn from given those before it, as `draw` returns it.

        Raises:
            ValueError: If it must be estimated, and there are no draws.
        """
        if self.kl_is_exact(other):
            return ops.sum(self.kl_by_value(other, given), axis=-1)
        if z is None:
            names = type(self).__name__, type(other).__name__
            raise ValueError(
                "The KL divergence of `{}` from `{}` has no closed form: pass `z`, draws of the "
                "former.".format(*names)
            )
        log_ratio = (self if given is None else given).log_prob(z) - other.log_prob(z)
        return over_draws(log_ratio, 1)

    def kl_by_value(self, other: Distribution, given: Distribution | None = None) -> Tensor:
        """What each value of an example adds to an exact `kl`, nats `(batch, size)`."""
        return _closed_form(self, other)(self, other)

    def kl_is_exact(self, other: Distribution) -> bool:
        """Whether the KL divergence from another distribution has a closed form."""
        return _closed_form(self, other) is not None


def by_draw(tensor: Tensor, draws: Any) -> Tensor:
    """Split `(draws * batch, ...)` into `(draws, batch, ...)`; of one draw nothing.

    Args:
        tensor: Tensor `(draws * batch, ...)`.
        draws: Int, or a scalar tensor.

    Returns:
        Tensor `(draws, batch, ...)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> tuple(keras_vae.distributions.by_draw(np.zeros((6, 4), "float32"), draws=2).shape)
    (2, 3, 4)
    """
    if isinstance(draws, int) and draws == 1:
        return tensor
    return ops.reshape(tensor, (draws, -1, *tensor.shape[1:]))


def over_draws(values: Tensor, axes: int) -> Tensor:
    """The mean over the draws of values `(batch, ...)` or `(draws, batch, ...)`.

    Args:
        values: Float tensor.
        axes: Int, how many axes it has without draws.

    Returns:
        Tensor `(batch, ...)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> values = np.ones((5, 3), "float32")  # five draws of three examples
    >>> tuple(keras_vae.distributions.over_draws(values, axes=1).shape)
    (3,)
    """
    return ops.mean(values, axis=0) if len(values.shape) > axes else values


_CLOSED_FORMS = {}
Function = TypeVar("Function", bound=Callable[..., Any])


def register_kl(
    one: type[Distribution], other: type[Distribution]
) -> Callable[[Function], Function]:
    """Decorate a function of two distributions that returns what `kl_by_value` does.

    Args:
        one, other: Their classes. Subclasses have the same form, unless they register their own.

    Example:

    >>> import keras_vae
    >>> class Point(keras_vae.distributions.Normal):
    ...     pass
    ...
    >>> @keras_vae.distributions.register_kl(Point, keras_vae.distributions.StandardNormal)
    ... def kl_of_a_point(q, p):
    ...     return q.loc**2 / 2
    ...
    >>> Point(0.0, 0.0).kl_is_exact(keras_vae.distributions.StandardNormal())
    True
    """

    def register(function):
        _CLOSED_FORMS[one, other] = function
        return function

    return register


def _closed_form(one, other):
    pairs = ((a, b) for a in type(one).__mro__ for b in type(other).__mro__)
    return next((_CLOSED_FORMS[pair] for pair in pairs if pair in _CLOSED_FORMS), None)


# Of codes: normal distributions, and what is made of them


@dataclasses.dataclass(eq=False)
class Normal(Distribution):
    """A normal distribution for each value: a Gaussian with a diagonal covariance.

    Args:
        loc: Float tensor `(..., size)`.
        log_var: Float tensor that broadcasts with it. Natural log of the variance.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> q = keras_vae.distributions.Normal(ops.zeros((4, 2)), ops.zeros((4, 2)))
    >>> tuple(q.sample(seed=0).shape), tuple(q.log_prob(ops.ones((4, 2))).shape)
    ((4, 2), (4,))
    >>> float(q.kl(keras_vae.distributions.StandardNormal())[0])
    0.0

    See also:
        `MultivariateNormal` has any covariance.
    """

    loc: Tensor
    log_var: Tensor

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        return log_normal(x, self.loc, self.log_var)

    def mean(self) -> Tensor:
        return self.loc

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        shape = (*shape, *ops.shape(self.loc + self.log_var))
        return self.from_noise(keras.random.normal(shape, dtype="float32", seed=seed))

    def from_noise(self, noise: Tensor) -> Tensor:
        """Draws, of noise of N(0, I): `loc + exp(log_var / 2) * noise`."""
        return self.loc + ops.exp(self.log_var / 2) * noise

    def marginals(self) -> Normal:
        """The `Normal` of each value by itself: here, the same."""
        return self

    def draw(self, sampling: Callable[..., Tensor] | None, draws: int = 1) -> tuple[Tensor, Normal]:
        """Draw codes through a layer.

        Args:
            sampling: Function from `z_mean` and `z_log_var`, each `(draws * batch, latent)`, to
                draws of those Gaussians, such as `layers.Sampling`; or None, for the mean.
            draws: Int, codes of each example.

        Returns:
            Tuple of the codes `(draws * batch, latent)`, the batch once for each draw, and the
            `Normal` that each entry was drawn from given those before it in the code, `(batch,
            latent)` or `(draws, batch, latent)`: it has the log-density of this draw.
        """
        if sampling is None:
            return self.loc, self
        return sampling(repeat(self.loc, draws), repeat(self.log_var, draws)), self


@dataclasses.dataclass(eq=False)
class StandardNormal(Normal):
    """N(0, I), of examples of any size; to be drawn from, it must know the size.

    Args:
        size: Optional int.

    Example:

    >>> import keras_vae
    >>> tuple(keras_vae.distributions.StandardNormal(size=2).sample(seed=0, shape=(3,)).shape)
    (3, 2)

    See also:
        `priors.StandardNormal`, which makes it for a model.
    """

    loc: Tensor = dataclasses.field(default=0.0, init=False)
    log_var: Tensor = dataclasses.field(default=0.0, init=False)
    size: int | None = None

    def _known_size(self):
        if self.size is None:
            raise ValueError("`StandardNormal` must know its `size` to be drawn from.")
        return self.size

    def mean(self) -> Tensor:
        return ops.zeros((self._known_size(),))

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        shape = (*shape, self._known_size())
        return keras.random.normal(shape, dtype="float32", seed=seed)

    def from_noise(self, noise: Tensor) -> Tensor:
        return noise


@register_kl(Normal, StandardNormal)
def kl_from_standard_normal(q: Normal, p: StandardNormal | None) -> Tensor:
    """Closed form `(loc^2 + expm1(log_var) - log_var) / 2`.

    The textbook's `-(1 + log_var - loc^2 - exp(log_var)) / 2` loses all its digits, and its sign,
    near N(0, I); with `expm1` the relative error in float32 stays within 3e-4.

    Args:
        q: `Normal` of codes `(batch, size)`.
        p: `StandardNormal`, which is not looked at.

    Returns:
        Tensor `(batch, size)`, nats: what each value adds.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> q = keras_vae.distributions.Normal(ops.zeros((4, 2)), ops.zeros((4, 2)))
    >>> tuple(keras_vae.distributions.kl_from_standard_normal(q, None).shape)
    (4, 2)

    See also:
        `divergences.kl_standard_normal`, of arrays.

    References:
        - Kingma & Welling, 2014, appendix B. https://arxiv.org/abs/1312.6114
    """
    return (ops.square(q.loc) + ops.expm1(q.log_var) - q.log_var) / 2


@register_kl(StandardNormal, StandardNormal)
def _kl_of_standard_normals(q, p):
    return q.mean()


@register_kl(Normal, Normal)
def _kl_of_normals(q, p):
    # In units of the second one it is that from N(0, I), and as exact.
    loc = (q.loc - p.loc) / ops.exp(p.log_var / 2)
    return kl_from_standard_normal(Normal(loc, q.log_var - p.log_var), None)


class MultivariateNormal(Distribution):
    """A normal distribution with any covariance, `N(loc, L L^T)`.

    Args:
        loc: Float tensor `(batch, size)`.
        log_var: Float tensor, same shape. The diagonal of L is `exp(log_var / 2)`.
        triangle: Float tensor `(batch, size * (size - 1) / 2)`: the entries of L below its
            diagonal, row by row.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> loc, triangle = ops.zeros((4, 3)), ops.ones((4, 3))  # three entries below the diagonal
    >>> q = keras_vae.distributions.MultivariateNormal(loc, loc, triangle)
    >>> tuple(q.log_prob(loc).shape), tuple(q.sample(seed=0).shape)
    ((4,), (4, 3))

    See also:
        `posteriors.FullCovarianceNormal`, which makes it of an encoder's heads.
    """

    def __init__(self, loc: Tensor, log_var: Tensor, triangle: Tensor) -> None:
        self.loc, self.log_var, self.triangle = loc, log_var, triangle
        self.columns, self.rows = _triangle(loc.shape[-1])

    def log_prob(self, x: Tensor) -> Tensor:
        below = ops.expand_dims(self.columns, 0) * ops.expand_dims(self.triangle, -2)
        diagonal = ops.expand_dims(ops.exp(self.log_var / 2), -1) * ops.eye(x.shape[-1])
        lower = ops.transpose(ops.matmul(below, self.rows), (0, 2, 1)) + diagonal
        error = ops.expand_dims(x - self.loc, -1)
        lower = ops.broadcast_to(lower, (*ops.shape(error)[:-1], x.shape[-1]))
        noise = ops.solve_triangular(lower, error, lower=True)[..., 0]
        return ops.sum(log_normal(noise, 0.0, 0.0) - self.log_var / 2, axis=-1)

    def mean(self) -> Tensor:
        return self.loc

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        shape = (*shape, *ops.shape(self.loc))
        return self.from_noise(keras.random.normal(shape, dtype="float32", seed=seed))

    def from_noise(self, noise: Tensor) -> Tensor:
        return self._given(noise).from_noise(noise)

    def _given(self, noise):
        """The `Normal` of each value given those before it, which this noise makes."""
        shift = ops.matmul(ops.matmul(noise, self.columns) * self.triangle, self.rows)
        return Normal(self.loc + shift, self.log_var + ops.zeros_like(shift))

    def marginals(self) -> Normal:
        """The `Normal` of each value by itself, whose variance is the diagonal of `L L^T`."""
        return Normal(self.loc, self.log_var + 2 * self.dependence())

    def dependence(self) -> Tensor:
        """`log(Sigma_ii / L_ii^2) / 2`, what a value shares with those before it, in nats."""
        explained = ops.matmul(ops.square(self.triangle), self.rows) * ops.exp(-self.log_var)
        # Not log1p, which ONNX lacks; this one's error is 6e-8 nats.
        return ops.log(1 + explained) / 2

    def draw(self, sampling: Callable[..., Tensor] | None, draws: int = 1) -> tuple[Tensor, Normal]:
        """As `Normal.draw`."""
        if sampling is None:
            return self.loc, Normal(self.loc, self.log_var)
        noise = by_draw(standard_noise(sampling, repeat(self.loc, draws)), draws)
        given = self._given(noise)
        return ops.reshape(given.from_noise(noise), (-1, self.loc.shape[-1])), given


@register_kl(MultivariateNormal, Normal)
def _kl_of_multivariate_normal(q, p):
    # The KL of the product of the marginals, and that of q from this product.
    return q.marginals().kl_by_value(p) + q.dependence()


@functools.cache
def _triangle(size):
    """The column of each entry below the diagonal, and its row, as products with ones and zeros.

    Matrices `(size, entries)` and `(entries, size)`: cheaper than to gather and scatter.
    """
    rows, columns = np.tril_indices(size, -1)
    identity = np.eye(size, dtype="float32")
    return identity[:, columns], identity[rows]


class Mixture(Distribution):
    """A mixture of diagonal Gaussians.

    Args:
        locs: Float tensor `(components, size)`, or `(batch, components, size)`.
        log_vars: Float tensor, same shape.
        log_weights: Float tensor `(components,)` or `(batch, components)`, or one for all.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> locs = ops.array([[-1.0, 0.0], [1.0, 0.0]])
    >>> mixture = keras_vae.distributions.Mixture(locs, ops.zeros((2, 2)), ops.log(0.5))
    >>> [float(value) for value in mixture.mean()]
    [0.0, 0.0]

    See also:
        `priors.GaussianMixture` learns one.
    """

    def __init__(self, locs: Tensor, log_vars: Tensor, log_weights: Tensor) -> None:
        self.locs, self.log_vars = ops.convert_to_tensor(locs), ops.convert_to_tensor(log_vars)
        self.log_weights = log_weights

    def log_prob(self, x: Tensor) -> Tensor:
        x = ops.expand_dims(ops.convert_to_tensor(x), -2)
        of_each = self.log_weights + ops.sum(log_normal(x, self.locs, self.log_vars), axis=-1)
        # Not `logsumexp`, which looks for infinities by an operator that TFLite lacks.
        largest = ops.max(of_each, axis=-1, keepdims=True)
        return ops.log(ops.sum(ops.exp(of_each - largest), axis=-1)) + largest[..., 0]

    def mean(self) -> Tensor:
        weights = ops.exp(self.log_weights) * ops.ones_like(self.locs[..., 0])
        return ops.sum(weights[..., None] * self.locs, axis=-2)

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        seed = seed if isinstance(seed, keras.random.SeedGenerator) else _generator(seed)
        log_weights = self.log_weights + ops.zeros_like(self.locs[..., 0])
        uniform = keras.random.uniform((*shape, *ops.shape(log_weights)), seed=seed)
        chosen = ops.argmax(log_weights - ops.log(-ops.log(uniform)), axis=-1)
        chosen = ops.one_hot(chosen, self.locs.shape[-2])[..., None]
        loc = ops.sum(chosen * self.locs, axis=-2)
        return Normal(loc, ops.sum(chosen * self.log_vars, axis=-2)).sample(seed)


class Flow(Distribution):
    """N(0, I) passed through an invertible function.

    Args:
        forward: Function from noise `(..., size)` to values.
        inverse: Function from values to the noise, and the log-determinant of `forward` there.
        shape: Tuple of ints, the batch and the size; or a size alone.

    Example:

    >>> import keras_vae
    >>> import math
    >>> doubled = keras_vae.distributions.Flow(
    ...     lambda noise: 2 * noise, lambda x: (x / 2, 3 * math.log(2)), shape=(4, 3)
    ... )
    >>> tuple(doubled.sample(seed=0).shape)
    (4, 3)

    See also:
        `priors.RealNVP` learns one.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        inverse: Callable[[Tensor], tuple[Tensor, Tensor]],
        shape: Sequence[int],
    ) -> None:
        self.from_noise, self.inverse, self.shape = forward, inverse, shape

    def log_prob(self, x: Tensor) -> Tensor:
        noise, log_determinant = self.inverse(x)
        return StandardNormal().log_prob(noise) - log_determinant

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        noise = keras.random.normal((*shape, *self.shape), dtype="float32", seed=seed)
        return self.from_noise(noise)


def repeat(tensor: Tensor, count: Any) -> Tensor:
    """Return a batch `count` times, one copy after the other; None as it is.

    Args:
        tensor: Tensor `(batch, ...)`, or None.
        count: Int, or a scalar tensor.

    Returns:
        Tensor `(count * batch, ...)`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> [int(value) for value in keras_vae.distributions.repeat(ops.arange(2), 3)]
    [0, 1, 0, 1, 0, 1]
    """
    if tensor is None or (isinstance(count, int) and count == 1):
        return tensor
    return ops.tile(tensor, (count,) + (1,) * (len(tensor.shape) - 1))


def standard_noise(sampling: Callable[..., Tensor], like: Tensor) -> Tensor:
    """Draws of N(0, I) by a sampling layer, of a tensor's shape.

    Args:
        sampling: Function from means and log-variances to draws, such as `layers.Sampling`.
        like: Float tensor.

    Returns:
        Tensor of its shape and dtype.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> sampling = keras_vae.layers.Sampling(seed=0)
    >>> tuple(keras_vae.distributions.standard_noise(sampling, ops.zeros((4, 2))).shape)
    (4, 2)
    """
    zeros = ops.zeros_like(like)
    return ops.cast(sampling(zeros, zeros), like.dtype)


def _generator(seed):
    return keras.random.SeedGenerator(seed)


# Of data


@dataclasses.dataclass(eq=False)
class Bernoulli(Distribution):
    """0 or 1, by the logit of 1.

    Values between them are allowed: `log_prob` is then the negative binary cross-entropy, no
    normalised density.

    Args:
        logits: Float tensor `(..., size)`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> p = keras_vae.distributions.Bernoulli(logits=ops.zeros((4, 16)))
    >>> float(p.mean()[0, 0]), tuple(p.log_prob(ops.ones((4, 16))).shape)
    (0.5, (4,))

    See also:
        `ContinuousBernoulli`, a normalised density of greys.
    """

    logits: Tensor

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        # Never infinite, unlike the logarithm of a sigmoid; and with the right derivative at a
        # logit of 0, unlike max(logit, 0) + log1p(exp(-|logit|)).
        return self.logits * x - ops.softplus(self.logits)

    def mean(self) -> Tensor:
        return ops.sigmoid(self.logits)

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        shape = (*shape, *ops.shape(self.logits))
        uniform = keras.random.uniform(shape, dtype="float32", seed=seed)
        return ops.cast(uniform < ops.sigmoid(ops.cast(self.logits, "float32")), "float32")


class ContinuousBernoulli(Distribution):
    """A density on [0, 1], `p(x) ~ exp(logit * x)`.

    In terms of the paper's parameter it is `C(p) p^x (1 - p)^(1 - x)` with `p = sigmoid(logit)`.
    Both the normaliser and the mean are 0/0 at a logit of 0: within 1 of it they are Taylor series.

    Args:
        logits: Float tensor `(..., size)`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> p = keras_vae.distributions.ContinuousBernoulli(ops.zeros((4, 16)))
    >>> float(p.mean()[0, 0]), tuple(p.sample(seed=0).shape)
    (0.5, (4, 16))

    See also:
        `Bernoulli`.

    References:
        - Loaiza-Ganem & Cunningham, 2019, eqs. 6 to 9. https://arxiv.org/abs/1907.06845
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = ops.convert_to_tensor(logits)

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        near, square, far = self._near_and_far()
        size = ops.abs(far)
        # The series of log(sinh(t/2) / (t/2)); what is left out is below 1e-7.
        series = square * (1 / 24 - square * (1 / 2880 - square / 181440))
        series = self.logits * (x - 0.5) - series
        exact = far * x - ops.relu(far) - ops.log(1 - ops.exp(-size)) + ops.log(size)
        return ops.where(near, series, exact)

    def mean(self) -> Tensor:
        near, square, far = self._near_and_far()
        # The series of (coth(t/2) - 2/t) / 2; what is left out is below 1e-7.
        series = 1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600))
        return 0.5 + ops.where(near, self.logits * series, 0.5 / ops.tanh(far / 2) - 1 / far)

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        logits = ops.cast(self.logits, "float32")
        # By the inverse of the distribution function.
        uniform = keras.random.uniform((*shape, *ops.shape(logits)), dtype="float32", seed=seed)
        size = ops.maximum(ops.abs(logits), 1e-6)
        from_end = -ops.log1p(uniform * ops.expm1(-size)) / size
        return ops.clip(ops.where(logits > 0, 1 - from_end, from_end), 0, 1)

    def _near_and_far(self):
        """Whether a logit is near 0, its square where it is, and the logit where it is not."""
        near = ops.abs(self.logits) < 1
        # Neither branch of a `where` may be infinite, or the gradient is NaN.
        square = ops.where(near, ops.square(self.logits), 0.0)
        return near, square, ops.where(near, 1.0, self.logits)


@dataclasses.dataclass(eq=False)
class Laplace(Distribution):
    """A Laplace distribution for each value.

    Args:
        loc: Float tensor `(..., size)`: medians, and means.
        log_scale: Float tensor that broadcasts with it. Log of the mean absolute deviation.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> p = keras_vae.distributions.Laplace(ops.zeros((4, 16)), ops.zeros((4, 16)))
    >>> tuple(p.log_prob(ops.ones((4, 16))).shape)
    (4,)

    See also:
        `Normal`, for which outliers count more.
    """

    loc: Tensor
    log_scale: Tensor

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        return -ops.abs((x - self.loc) * ops.exp(-self.log_scale)) - math.log(2) - self.log_scale

    def mean(self) -> Tensor:
        return self.loc

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        shape = (2, *shape, *ops.shape(self.loc + self.log_scale))
        exponential = -ops.log(1 - keras.random.uniform(shape, dtype="float32", seed=seed))
        return self.loc + ops.exp(self.log_scale) * (exponential[0] - exponential[1])


@dataclasses.dataclass(eq=False)
class DiscretizedLogisticMixture(Distribution):
    """A mixture of logistic distributions, rounded to levels in [0, 1].

    A level's probability is that of the interval about it; the lowest and the highest level have
    the tails as well, so the probabilities add up to 1. Values count as the nearest level.

    Args:
        logits: Float tensor `(components, ..., size)`, of the components' weights.
        locs: Float tensor, same shape, on a scale where the levels run from -1 to 1.
        log_scales: Float tensor, same shape.
        levels: Int, at least 2.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> of_each = ops.zeros((3, 4, 16))  # three components
    >>> p = keras_vae.distributions.DiscretizedLogisticMixture(of_each, of_each, of_each, 256)
    >>> tuple(p.log_prob(ops.ones((4, 16))).shape)
    (4,)

    See also:
        `CategoricalLevels`.

    References:
        - Salimans et al., 2017, section 2.1. https://arxiv.org/abs/1701.05517
    """

    logits: Tensor
    locs: Tensor
    log_scales: Tensor
    levels: int

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        highest = self.levels - 1
        level = ops.round(x * highest)
        logits, locs, log_scales = (
            _beside(parameter, x) for parameter in (self.logits, self.locs, self.log_scales)
        )
        error = 2 * level / highest - 1 - locs
        by_scale = ops.exp(-log_scales)
        below, above = (error - 1 / highest) * by_scale, (error + 1 / highest) * by_scale
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no digits are lost.
        is_lowest, is_highest = level <= 0, level >= highest
        inside = ops.log(-ops.expm1(-2 / highest * by_scale))
        log_prob = (
            ops.where(is_highest, 0.0, -ops.softplus(-above))
            + ops.where(is_lowest, 0.0, -ops.softplus(below))
            + ops.where(ops.logical_or(is_lowest, is_highest), 0.0, inside)
        )
        return ops.logsumexp(logits + log_prob, axis=0) - ops.logsumexp(logits, axis=0)

    def mean(self) -> Tensor:
        """The mean, cut to [0, 1], before values are rounded to levels.

        It differs from the mean of the rounded values by half a level, 1/510, at most, and by less
        than 1e-5 where a scale exceeds ten levels.
        """
        scale = ops.exp(self.log_scales)
        # The integral of 1 - sigmoid((t - loc) / scale) over t from -1 to 1, halved.
        sharp = ops.minimum(scale, WIDE_SCALE)
        exact = ops.softplus((self.locs + 1) / sharp) - ops.softplus((self.locs - 1) / sharp)
        # Where it is wide, that loses digits: its series; what is left out is below 1e-6.
        wide = ops.maximum(scale, WIDE_SCALE)
        slope = ops.tanh(self.locs / wide / 2)
        series = (1 + slope * (1 - (1 - ops.square(slope)) / wide / wide / 12)) / 2
        means = ops.where(scale < WIDE_SCALE, exact * sharp / 2, series)
        return ops.clip(ops.sum(_probabilities(self.logits) * means, axis=0), 0, 1)

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        components, *batch = ops.shape(self.logits)
        uniform = keras.random.uniform((components + 1, *shape, *batch), dtype="float32", seed=seed)
        chosen = _choose(_after_first(self.logits, shape), uniform[1:])
        loc, scale = (
            ops.sum(ops.where(chosen, _after_first(values, shape), 0.0), axis=0)
            for values in (self.locs, ops.exp(self.log_scales))
        )
        drawn = loc + scale * (ops.log(uniform[0]) - ops.log(1 - uniform[0]))
        highest = self.levels - 1
        return ops.round((ops.clip(drawn, -1, 1) + 1) / 2 * highest) / highest


class CategoricalLevels(Distribution):
    """A probability for each of several levels in [0, 1]. Values count as the nearest level.

    Args:
        logits: Float tensor `(levels, ..., size)`.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> p = keras_vae.distributions.CategoricalLevels(ops.zeros((5, 4, 16)))  # five levels
    >>> tuple(p.sample(seed=0).shape)
    (4, 16)

    See also:
        `DiscretizedLogisticMixture`, of fewer parameters.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.levels = logits, logits.shape[0]

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        is_level = ops.round(x * (self.levels - 1)) == self._all_levels(x)
        chosen = ops.sum(ops.where(is_level, _beside(self.logits, x), 0.0), axis=0)
        return chosen - ops.logsumexp(self.logits, axis=0)

    def mean(self) -> Tensor:
        weighted = _probabilities(self.logits) * self._all_levels(self.logits[0])
        return ops.sum(weighted, axis=0) / (self.levels - 1)

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        logits = _after_first(self.logits, shape)
        wanted = (self.levels, *shape, *ops.shape(self.logits)[1:])
        uniform = keras.random.uniform(wanted, dtype="float32", seed=seed)
        chosen = _choose(logits, uniform)
        level = ops.sum(ops.where(chosen, self._all_levels(uniform[0]), 0.0), axis=0)
        return level / (self.levels - 1)

    def _all_levels(self, like):
        """The levels, along an axis before those of a tensor."""
        shape = (-1,) + (1,) * len(like.shape)
        return ops.reshape(ops.arange(self.levels, dtype="float32"), shape)


@dataclasses.dataclass(eq=False)
class TokenSequence(Distribution):
    """Sequences of tokens of which each depends on those before it.

    Args:
        decoder: `networks.SequenceDecoder`, which has the logits of a token given those before.
        plan: Float tensor `(batch, steps, width)`, as the decoder gives it of a code.
        training: Bool. Whether the decoder hides some of what came before.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> decoder = keras_vae.networks.CausalDecoder((8, 2), num_tokens=5, width=8)
    >>> plan = decoder(ops.zeros((3, 4)))
    >>> tuple(keras_vae.distributions.TokenSequence(decoder, plan).sample(seed=0).shape)
    (3, 8, 2)

    See also:
        `SequenceVAE`, whose likelihood it is.
    """

    decoder: Any
    plan: Tensor
    training: bool = False

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        """Log-probability of each token given those before it, nats `(batch, steps * voices)`.

        Args:
            x: Tokens `(batch, steps, voices)`; that of -1, which is none, is 0.
        """
        logits = ops.cast(self.decoder.logits(self.plan, x, self.training), "float32")
        chosen = ops.cast(x, "int32")[..., None] == ops.arange(logits.shape[-1], dtype="int32")
        logits = ops.where(chosen, logits - ops.logsumexp(logits, axis=-1, keepdims=True), 0.0)
        return flat(ops.sum(logits, axis=-1))

    def mean(self) -> Tensor:
        """The likeliest token after those before it, one by one: int32 `(batch, steps, voices)`.

        Tokens have no mean. These are what `sample` draws at a temperature of 0.
        """
        uniform = ops.full((ops.shape(self.plan)[0], *self.decoder.data_shape), 0.5)
        return self.decoder.generate(self.plan, uniform, ops.zeros((1,)))[0]

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        """Draw sequences: int32 `(*shape, batch, steps, voices)`."""
        plan, rows = self.plan, ops.shape(self.plan)[0]
        for _ in shape:
            plan = plan[None]
        plan = ops.broadcast_to(plan, (*shape, *ops.shape(self.plan)))
        plan = ops.reshape(plan, (-1, *self.plan.shape[1:]))
        sides = self.decoder.data_shape
        uniform = keras.random.uniform((ops.shape(plan)[0], *sides), dtype="float32", seed=seed)
        # In (0, 1): 0 has a probability of 2^-23 or so, and would be the first token always.
        uniform = ops.clip(uniform, 2.0**-24, 1 - 2.0**-24)
        tokens, _ = self.decoder.generate(plan, uniform, ops.ones((1,)))
        return ops.reshape(tokens, (*shape, rows, *sides))


def _after_first(tensor, shape):
    """A tensor with axes of length 1 after its first, as many as `shape` has."""
    for _ in shape:
        tensor = ops.expand_dims(tensor, 1)
    return tensor


def _beside(parameter, x):
    """A parameter `(count, ..., size)` for values that may have more axes before their last."""
    return _after_first(parameter, range(len(x.shape) - len(parameter.shape) + 1))


def _probabilities(logits):
    """Softmax along the first axis, of one entry or more."""
    return ops.exp(logits - ops.logsumexp(logits, axis=0, keepdims=True))


def _choose(logits, uniform):
    """Bool, like `uniform`: one entry along the first axis, by Gumbel's maximum."""
    index = ops.argmax(logits - ops.log(-ops.log(uniform)), axis=0)
    positions = ops.cast(ops.arange(uniform.shape[0]), index.dtype)
    return ops.reshape(positions, (-1,) + (1,) * (len(uniform.shape) - 1)) == index


@dataclasses.dataclass(eq=False)
class Shaped(Distribution):
    """Examples of a shape, such as pictures, each of whose values has a distribution of its own.

    Args:
        make: Function from the parameters to a distribution: from one tensor, or where `count` is
            more than 1 from `(count, batch, size)`.
        parameters: Float tensor `(batch, *sides, count * channels)`: every value's first
            parameter, then every value's second, and so on.
        count: Int.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> logits = ops.zeros((4, 28, 28, 1))
    >>> p = keras_vae.distributions.Shaped(keras_vae.distributions.Bernoulli, logits)
    >>> tuple(p.log_prob(logits).shape), tuple(p.mean().shape)
    ((4,), (4, 28, 28, 1))

    See also:
        `likelihoods.Likelihood`, which makes it of what a decoder gives.
    """

    make: Callable[..., Distribution]
    parameters: Tensor
    count: int = 1

    def log_prob_by_value(self, x: Tensor) -> Tensor:
        """As `Distribution.log_prob_by_value`, the values side by side: `(..., batch, size)`."""
        return self.values().log_prob_by_value(flat(x, len(self.parameters.shape) - 1))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.values().log_prob(flat(x, len(self.parameters.shape) - 1))

    def mean(self) -> Tensor:
        if self.count == 1:
            return self.make(ops.convert_to_tensor(self.parameters)).mean()
        return self._shaped(self.values().mean())

    def sample(self, seed: Seed, shape: Sequence[int] = ()) -> Tensor:
        if self.count == 1:
            return self.make(ops.convert_to_tensor(self.parameters)).sample(seed, shape)
        return self._shaped(self.values().sample(seed, shape), shape)

    def values(self) -> Distribution:
        """The distribution of the values side by side, `(batch, size)`."""
        if self.count == 1:
            return self.make(flat(self.parameters))
        parameters = ops.cast(self.parameters, "float32")
        *sides, channels = parameters.shape[1:]
        sides, channels = math.prod(sides), channels // self.count
        groups = ops.reshape(parameters, (-1, sides, self.count, channels))
        groups = ops.transpose(groups, (2, 0, 1, 3))
        return self.make(ops.reshape(groups, (self.count, -1, sides * channels)))

    def _shaped(self, values, leading=()):
        *sides, channels = self.parameters.shape[1:]
        return ops.reshape(values, (*leading, -1, *sides, channels // self.count))


def flat(x: Tensor, axes: int | None = None) -> Tensor:
    """Join the last `axes` of a tensor, or all but the first: to `(batch, size)`.

    XLA reduces an axis of length 1, as of grey images, slowly.

    Args:
        x: Tensor `(batch, ...)`.
        axes: Optional int.

    Returns:
        Tensor with one axis in the place of those.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> tuple(keras_vae.distributions.flat(ops.zeros((4, 28, 28, 1))).shape)
    (4, 784)
    """
    x = ops.convert_to_tensor(x)
    first = 1 if axes is None else len(x.shape) - axes
    batch, sizes = ops.shape(x)[:first], x.shape[first:]
    if first > 1 or None in sizes:
        return ops.reshape(x, (*batch, -1))
    return ops.reshape(x, (-1, math.prod(sizes)))
