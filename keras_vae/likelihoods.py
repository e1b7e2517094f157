"""Likelihoods: what the decoder's output says about the data.

| name | data | parameters per value | what for |
|---|---|---|---|
| `bernoulli` | 0 and 1, or greys in [0, 1] | 1 | black and white; the default |
| `continuous_bernoulli` | [0, 1] | 1 | greys, with a normalised density |
| `gaussian` | any number | 1, or 2 | colours; measurements |
| `laplace` | any number | 1, or 2 | the same with outliers |
| `discretized_logistic_mixture` | levels in [0, 1] | 3 per component | 8-bit images |
| `categorical` | levels in [0, 1] | 1 per level | few levels of any distribution |
| `Table(blocks)` | columns of several kinds | by column | tables, with missing values |

A decoder gives `parameters_per_value` parameters for each value of the data, as so many groups of
channels: `(batch, *data_shape[:-1], parameters_per_value * data_shape[-1])`, of which the first
`data_shape[-1]` channels are every value's first parameter, and so on; a `Table` has a layout of
its own. Whatever the likelihood, uint8 is an 8-bit picture, whose 0 to 255 stand for 0 to 1; a
`Categorical` of other than 256 levels, and a `Table`, refuse it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments, column_distributions, distributions, exact_columns, portable_random
from keras_vae.arguments import bounds
from keras_vae.distributions import Distribution, Shaped, flat
from keras_vae.type_aliases import Seed, Shape, Tensor

# Of the logarithm of every scale that is learnt. The smallest scale, 9e-4, is a quarter of the
# step between two of 256 levels in [0, 1].
LOG_SCALE_RANGE = (-7.0, 7.0)
# Of the moving average of optimal scales: about the last ten batches.
MOMENTUM = 0.9

LIKELIHOODS = {}


class Likelihood:
    """What a decoder's output says about the data: `likelihood(parameters)` is a distribution.

    A subclass has a `name`, by which models take it too, a `data_range` and
    `parameters_per_value`, and writes `distribution`.

    Attributes:
        data_range: Tuple of the least and the largest value that the data may have.
        parameters_per_value: Int, how many parameters the decoder gives for each value of the data.
        holds_tokens: Bool. Whether data are whole numbers that stand for symbols: then uint8 is
            what it is, no picture.
        takes_pictures: Bool. Whether uint8, an 8-bit picture, has a meaning.
        takes_missing: Bool. Whether a value may be NaN, which is then left out.
        observes: Bool. Whether it has `noise` and `from_noise`, draws that are the same everywhere;
            a model says by its own `observes` whether `sample` makes them unasked.
        takes_logits: Bool. Whether the parameters are any numbers, so that no sigmoid or softmax
            may come before.
        levels: Int, how many values in [0, 1] there are, or None for any.
        scale: "shared", a number or what else a density with a location has, or None.

    Example:

    >>> import keras_vae
    >>> class HalfNormal(keras_vae.likelihoods.Likelihood):
    ...     data_range = (0.0, float("inf"))
    ...
    ...     def distribution(self, parameters):
    ...         return keras_vae.distributions.Normal(parameters, 0.0)
    ...
    >>> HalfNormal().parameters_shape((4, 4, 1))
    (4, 4, 1)

    See also:
        `LocationScale`, for a density with a location and a scale.
    """

    name: str | None = None
    data_range: tuple[float, float] = (0.0, 1.0)
    parameters_per_value: int = 1
    holds_tokens = False
    takes_pictures = True
    takes_logits = True
    levels: int | None = None
    scale: float | str | None = None
    takes_missing = False
    observes = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls) and isinstance(cls.name, str):
            LIKELIHOODS[cls.name] = cls

    def __call__(self, parameters: Tensor) -> Distribution:
        """The distribution of data.

        Args:
            parameters: Float tensor, as the decoder gives them: `(batch, *data_shape[:-1],
                parameters_per_value * data_shape[-1])`.

        Returns:
            `distributions.Distribution` of data `(batch, *data_shape)`.
        """
        return Shaped(self.distribution, parameters, self.parameters_per_value)

    def parameters_shape(self, data_shape: Shape) -> Shape:
        """The shape of an example's parameters, as the decoder gives them: a tuple of ints."""
        return (*data_shape[:-1], data_shape[-1] * self.parameters_per_value)

    def distribution(self, parameters: Tensor) -> Distribution:
        """The distribution of each value by itself; it may be a class of `distributions`.

        Args:
            parameters: Float tensor `(..., size)`; of several a value,
                `(parameters_per_value, batch, size)`.
        """
        raise NotImplementedError

    def in_training(
        self, parameters: Tensor, x: Tensor, mean: Callable[[Tensor], Tensor]
    ) -> Distribution:
        """As a call, of a batch to train on: with what is best for this batch, if there is such.

        Args:
            parameters: As for a call.
            x: Float tensor `(batch, *data_shape)`.
            mean: Function from values `(batch,)` to their mean over all rows of the batch, weighted
                by the sample weights; 0 where all of these are 0. A step may see only some of the
                rows, those of its device: nothing else may reduce over them.
        """
        return self(parameters)

    def valid(self, x: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether every value of an example is finite and in the range."""
        low, high = bounds(*self.data_range)
        x = flat(x)
        inside = ops.logical_and(x >= low, x <= high)
        return ops.all(ops.logical_and(inside, ops.isfinite(x)), axis=1)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """As `self(parameters).log_prob(x)`, nats per example `(batch,)`."""
        return self(parameters).log_prob(x)

    def log_prob_by_value(self, x: Tensor, parameters: Tensor) -> Tensor:
        """As `self(parameters).log_prob_by_value(x)`, nats `(batch, size)`."""
        return self(parameters).log_prob_by_value(x)

    def mean(self, parameters: Tensor) -> Tensor:
        """As `self(parameters).mean()`, `(batch, *data_shape)`."""
        return self(parameters).mean()

    def sample(self, parameters: Tensor, seed: Seed) -> Tensor:
        """As `self(parameters).sample(seed)`, float32 `(batch, *data_shape)`."""
        return self(parameters).sample(seed)

    def from_mean(self, mean: Tensor) -> Tensor:
        """The parameters that have a mean: none for a likelihood of several for each value."""
        raise ValueError(
            "`from_mean` needs a likelihood of one parameter for each value. Received: "
            f"{self.name} with {self.parameters_per_value}, which no mean determines."
        )

    def as_exact(self) -> Likelihood:
        """The likelihood of an exact decoder's parameters: `networks.exact`."""
        return self

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


@keras.saving.register_keras_serializable("keras_vae")
class Bernoulli(Likelihood):
    """One probability per pixel, given as a logit.

    Grey values between 0 and 1 are allowed, as in the seeds of this project: then `log_prob` is
    the negative binary cross-entropy, not a normalised density, and `sample` still draws 0 or 1.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> likelihood = keras_vae.likelihoods.Bernoulli()
    >>> px = likelihood(ops.zeros((4, 28, 28, 1)))  # what a decoder gives: logits
    >>> float(px.mean()[0, 0, 0, 0]), tuple(px.log_prob(ops.ones((4, 28, 28, 1))).shape)
    (0.5, (4,))

    See also:
        `ContinuousBernoulli`, for greys.

    References:
        - Kingma & Welling, 2014, appendix C.1. https://arxiv.org/abs/1312.6114
    """

    name = "bernoulli"
    distribution = distributions.Bernoulli

    def from_mean(self, mean: Tensor) -> Tensor:
        """The logits that have a mean: the inverse of `mean`, of probabilities as a device gives.

        A probability that was rounded to 8 bits may be 0 or 1, which no logit gives: none is taken
        closer to them than half of such a step, 1/512.
        """
        mean = ops.clip(ops.convert_to_tensor(mean), 1 / 512, 1 - 1 / 512)
        return ops.log(mean) - ops.log(1 - mean)


@keras.saving.register_keras_serializable("keras_vae")
class ContinuousBernoulli(Likelihood):
    """A density on [0, 1], `p(x) ~ exp(logit * x)`: the Bernoulli of grey values, normalised.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> px = keras_vae.likelihoods.ContinuousBernoulli()(ops.zeros((4, 28, 28, 1)))
    >>> tuple(px.log_prob(ops.ones((4, 28, 28, 1))).shape)
    (4,)

    See also:
        `Bernoulli`, for black and white.

    References:
        - Loaiza-Ganem & Cunningham, 2019, eqs. 6 to 9. https://arxiv.org/abs/1907.06845
    """

    name = "continuous_bernoulli"
    distribution = distributions.ContinuousBernoulli

    def from_mean(self, mean: Tensor) -> Tensor:
        """The logits that have a mean, taken from 1/512 to 1 - 1/512, by bisection."""
        mean = ops.clip(ops.convert_to_tensor(mean), 1 / 512, 1 - 1 / 512)
        low, high = ops.full_like(mean, -512.0), ops.full_like(mean, 512.0)
        for _ in range(40):
            middle = (low + high) / 2
            below = self.mean(middle) < mean
            low, high = ops.where(below, middle, low), ops.where(below, high, middle)
        return middle


class LocationScale(Likelihood, keras.layers.Layer):
    """A density of `(x - location) / scale`, on all numbers: Gaussian and Laplace.

    It is a layer because it may have a weight, which is trained, saved and loaded with the model.
    A decoder gives the locations; with scales per pixel, also the log-scales `s`, of which
    `7 tanh(s / 7)` is taken. A subclass has a `name` and writes `of`; for the scale "optimal" also
    `deviation` and `log_best`.

    Args:
        scale: A number, `"shared"`, `"optimal"` or `"per_pixel"`, as of a `Gaussian`.
        channels: Optional int, the size of the data's last axis, as of a `Gaussian`.

    Example:

    >>> import keras_vae
    >>> issubclass(keras_vae.likelihoods.Gaussian, keras_vae.likelihoods.LocationScale)
    True
    >>> float(keras_vae.likelihoods.Gaussian(scale=1).log_scale)
    0.0

    See also:
        `Gaussian`, `Laplace`.
    """

    data_range = (-math.inf, math.inf)
    takes_logits = False

    def __init__(
        self,
        scale: float | Literal["shared", "optimal", "per_pixel"] = "shared",
        channels: int | None = None,
    ) -> None:
        super().__init__(name=type(self).name)
        is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not (0 < scale < math.inf if is_number else scale in ("shared", "optimal", "per_pixel")):
            raise ValueError(
                "`scale` must be a finite number above 0, 'shared', 'optimal' or 'per_pixel'. "
                f"Received: {scale!r}"
            )
        if scale == "optimal" and type(self).log_best is LocationScale.log_best:
            raise ValueError(
                "`scale` must be a number, 'shared' or 'per_pixel' where no formula gives the best "
                f"one. Received: 'optimal' for {type(self).__name__}."
            )
        if channels is not None and scale not in ("shared", "optimal"):
            raise ValueError(
                "`channels` goes with the scale 'shared' or 'optimal', of which each channel then "
                f"has its own. Received: {channels!r} with {scale!r}."
            )
        self.scale = scale
        self.channels = channels if channels is None else arguments.whole(channels, "channels")
        self.parameters_per_value = 2 if scale == "per_pixel" else 1
        if scale in ("shared", "optimal"):
            # In units of 7 nats, because Adam moves every weight by its learning rate a step: a
            # scale that fits to 0.1 is found in some hundred steps, not in thousands.
            self.position = self.add_weight(
                name="log_scale_over_7",
                shape=() if channels is None else (self.channels,),
                initializer="zeros",
                dtype="float32",
                trainable=scale == "shared",
            )
        self.built = True

    @property
    def log_scale(self) -> Tensor:
        """Logarithm of the scale, a number or a scalar tensor; of channels a tensor of theirs."""
        if self.scale == "shared":
            return _bounded(LOG_SCALE_RANGE[1] * ops.convert_to_tensor(self.position))
        if self.scale == "optimal":
            return LOG_SCALE_RANGE[1] * ops.convert_to_tensor(self.position)
        if self.scale == "per_pixel":
            raise ValueError("`log_scale` needs one scale for all values. Received: 'per_pixel'.")
        return math.log(self.scale)

    def distribution(self, parameters: Tensor) -> Distribution:
        if self.scale == "per_pixel":
            return self.of(parameters[0], _bounded(parameters[1]))
        return self.of(parameters, self._by_value(ops.cast(self.log_scale, "float32"), parameters))

    def _by_value(self, log_scale, parameters):
        """The log-scale of each value of examples `(..., size)`: of channels, those of its own."""
        if self.channels is None:
            return log_scale
        return ops.tile(log_scale, parameters.shape[-1] // self.channels)

    def in_training(
        self, parameters: Tensor, x: Tensor, mean: Callable[[Tensor], Tensor]
    ) -> Distribution:
        if self.scale != "optimal":
            return self(parameters)
        # At its optimum, the derivative by the scale is 0: nothing is lost by stopping it.
        error = ops.stop_gradient(flat(x) - flat(ops.cast(parameters, "float32")))
        deviation = self.deviation(error)
        if self.channels is None:
            by_channel = [ops.mean(deviation, axis=1)]
        else:
            shape = (-1, deviation.shape[1] // self.channels, self.channels)
            deviation = ops.mean(ops.reshape(deviation, shape), axis=1)
            by_channel = ops.unstack(deviation, self.channels, axis=1)
        has_weight = mean(ops.ones_like(by_channel[0])) > 0
        means = [mean(values) for values in by_channel]
        best = self.log_best(means[0] if self.channels is None else ops.stack(means))
        log_scale = ops.clip(best, *LOG_SCALE_RANGE)
        log_scale = ops.where(has_weight, log_scale, self.log_scale)
        position = log_scale / LOG_SCALE_RANGE[1]
        self.position.assign(MOMENTUM * self.position + (1 - MOMENTUM) * position)
        return Shaped(
            lambda parameters: self.of(parameters, self._by_value(log_scale, parameters)),
            parameters,
        )

    def mean(self, parameters: Tensor) -> Tensor:
        """The means, of any size: float `(batch, *data_shape)`."""
        parameters = ops.convert_to_tensor(parameters)
        return parameters[..., : parameters.shape[-1] // self.parameters_per_value]

    def from_mean(self, mean: Tensor) -> Tensor:
        """The parameters that have a mean: the mean itself, but for scales per pixel."""
        if self.parameters_per_value > 1:
            return super().from_mean(mean)
        return ops.convert_to_tensor(mean)

    def get_config(self) -> dict[str, Any]:
        # Where it is left out, earlier versions read the file, too.
        channels = {} if self.channels is None else {"channels": self.channels}
        return {"scale": self.scale, **channels}

    def of(self, loc: Tensor, log_scale: Tensor) -> Distribution:
        """The distribution of a location and a log-scale."""
        raise NotImplementedError

    def deviation(self, error: Tensor) -> Tensor:
        """What `log_best` takes the mean of."""
        raise NotImplementedError

    def log_best(self, deviation: Tensor) -> Tensor:
        """Logarithm of the scale under which errors of a mean deviation are likeliest."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("keras_vae")
class Gaussian(LocationScale):
    """A normal distribution per value, about the mean that the decoder gives.

    Args:
        scale: The standard deviation.
            A number: fixed. 1 makes the squared error of tutorials, and blurs images in [0, 1].
            `"shared"`: one for all values, a trained weight, at first 1; the sigma-VAE.
            `"optimal"`: one for all values, set in every training step to the best for its
            batch, the root of the mean squared error; elsewhere, the moving (geometric) mean of
            these over about ten steps. The optimal sigma-VAE; it needs no learning rate.
            `"per_pixel"`: the decoder gives its logarithm as a second parameter of each value.
            Whatever is learnt is kept within exp(-7) to exp(7).
        channels: Optional int, the size of the data's last axis. With "shared" or "optimal": each
            channel has a scale of its own, as sensors of different precision need it.

    Raises:
        ValueError: If `scale` is none of these, or `channels` goes with another.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> likelihood = keras_vae.likelihoods.Gaussian("per_pixel")
    >>> likelihood.parameters_shape((28, 28, 3))
    (28, 28, 6)
    >>> tuple(likelihood(ops.zeros((4, 28, 28, 6))).mean().shape)
    (4, 28, 28, 3)

    See also:
        `Laplace`, for data with outliers.

    References:
        - Rybkin et al., 2021, section 3. https://arxiv.org/abs/2006.13202
    """

    name = "gaussian"
    observes = True

    def of(self, loc: Tensor, log_scale: Tensor) -> Distribution:
        return distributions.Normal(loc, 2 * log_scale)

    def noise(
        self, seed: Tensor, index: Tensor, first: int, ops: Any = np, size: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `Table.noise`: of N(0, 1), one for each of the `size` values of an example."""
        return portable_random.normals_and_uniforms(seed, index, first, size, 0, ops)

    def from_noise(
        self, parameters: Tensor, normal: Tensor, uniform: Tensor | None = None
    ) -> Tensor:
        """As `sample`, with what `noise` gives: float32 `(batch, *data_shape)`."""
        mean = ops.cast(self.mean(parameters), "float32")
        if self.scale == "per_pixel":
            log_scale = _bounded(ops.cast(parameters, "float32")[..., mean.shape[-1] :])
        else:
            log_scale = ops.cast(self.log_scale, "float32")
        return mean + ops.exp(log_scale) * ops.reshape(normal, (-1, *mean.shape[1:]))

    def deviation(self, error: Tensor) -> Tensor:
        return ops.square(error)

    def log_best(self, deviation: Tensor) -> Tensor:
        return ops.log(deviation) / 2


@keras.saving.register_keras_serializable("keras_vae")
class Laplace(LocationScale):
    """A Laplace distribution per value, about the median that the decoder gives.

    Its log density falls with the absolute error, so outliers count less than with a `Gaussian`.

    Args:
        scale: The mean absolute deviation: a number, `"shared"`, `"optimal"` (the mean absolute
            error) or `"per_pixel"`, as of a `Gaussian`.

    Raises:
        ValueError: If `scale` is none of these.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> px = keras_vae.likelihoods.Laplace(scale=0.1)(ops.zeros((4, 28, 28, 3)))
    >>> tuple(px.log_prob(ops.ones((4, 28, 28, 3))).shape)
    (4,)

    See also:
        `Gaussian`.
    """

    name = "laplace"

    def of(self, loc: Tensor, log_scale: Tensor) -> Distribution:
        return distributions.Laplace(loc, log_scale)

    def deviation(self, error: Tensor) -> Tensor:
        return ops.abs(error)

    def log_best(self, deviation: Tensor) -> Tensor:
        return ops.log(deviation)


class _Levels(Likelihood):
    """A distribution of data that take `levels` values in [0, 1], a step of 1 / (levels - 1) apart.

    A value between two levels counts as the nearer one.
    """

    def __init__(self, levels: int) -> None:
        if not (type(levels) is int and levels >= 2):
            raise ValueError(f"`levels` must be a whole number of at least 2. Received: {levels!r}")
        self.levels = levels


@keras.saving.register_keras_serializable("keras_vae")
class DiscretizedLogisticMixture(_Levels):
    """A mixture of logistic distributions per value, rounded to 256 levels in [0, 1].

    A level's probability is that of the interval about it; the lowest and the highest level have
    the tails as well, so the probabilities add up to 1. Unlike the paper's, every value has a
    mixture of its own, and channels are independent of each other given the latent code.

    Args:
        components: Int, of the mixture. The decoder gives three parameters of each: first
            all logits of the weights, then all means, then all log-scales, both on the paper's
            scale, where the levels run from -1 to 1. Of a log-scale `s`, `7 tanh(s / 7)` is taken.
        levels: Int, at least 2.

    Raises:
        ValueError: If a number is too small.

    Example:

    >>> import keras_vae
    >>> likelihood = keras_vae.likelihoods.DiscretizedLogisticMixture(components=5)
    >>> likelihood.parameters_per_value, likelihood.parameters_shape((32, 32, 3))
    (15, (32, 32, 45))

    See also:
        `Categorical`, for few levels.

    References:
        - Salimans et al., 2017, section 2.1. https://arxiv.org/abs/1701.05517
    """

    name = "discretized_logistic_mixture"

    def __init__(self, components: int = 5, levels: int = 256) -> None:
        super().__init__(levels)
        if not (type(components) is int and components >= 1):
            raise ValueError(
                f"`components` must be a whole number of at least 1. Received: {components!r}"
            )
        self.components = components
        self.parameters_per_value = 3 * components

    def distribution(self, parameters: Tensor) -> Distribution:
        logits, locs, log_scales = (
            parameters[start : start + self.components]
            for start in range(0, 3 * self.components, self.components)
        )
        return distributions.DiscretizedLogisticMixture(
            logits, locs, _bounded(log_scales), self.levels
        )

    def get_config(self) -> dict[str, Any]:
        return {"components": self.components, "levels": self.levels}


# `keras_vae.Categorical`, the condition, has the name without more.
@keras.saving.register_keras_serializable("keras_vae", name="CategoricalLikelihood")
class Categorical(_Levels):
    """A probability for each of 256 levels in [0, 1], per value.

    Level `k` is the value `k / (levels - 1)`, so that data, encoder and pictures are on the same
    scale as with any other likelihood: uint8 images have their 256 levels as they are. For class
    maps, pass `classes / (levels - 1)`; the mean of such has no meaning, but `sample` has. uint8,
    which is an 8-bit picture always, is refused with other than 256 levels, lest a class map in
    uint8 be taken for one.

    Args:
        levels: Int, at least 2. The decoder gives so many parameters per value, the levels' logits.

    Raises:
        ValueError: If `levels` is too small.

    Example:

    >>> import keras_vae
    >>> likelihood = keras_vae.likelihoods.Categorical(levels=4)
    >>> likelihood.parameters_shape((28, 28, 1))
    (28, 28, 4)

    See also:
        `DiscretizedLogisticMixture`, for many levels.
    """

    name = "categorical"
    distribution = distributions.CategoricalLevels

    def __init__(self, levels: int = 256) -> None:
        super().__init__(levels)
        self.parameters_per_value = levels

    def get_config(self) -> dict[str, Any]:
        return {"levels": self.levels}

    @property
    def takes_pictures(self) -> bool:
        return self.levels == 256


@keras.saving.register_keras_serializable("keras_vae", name="TableLikelihood")
class Table(Likelihood):
    """A product over the columns of a table, each with a distribution of its own.

    A missing value, NaN, is left out. The scale of a normal column is kept within 0.05 and 5, of
    numbers near N(0, 1).

    Args:
        blocks: Sequence of one block a column: `("normal",)`, `("bernoulli",)` of 0 and 1,
            `("negative_binomial", most)` of counts, of which draws beyond `most` are it, and
            `("categorical", n)` of the indices 0 to n - 1. `data.TableSchema.blocks` has them.
        exact: Whether parameters are whole numbers of 1/256, of which draws are the same
            everywhere: `VAE.as_exact` makes such a model.

    Raises:
        ValueError: If a block is none of these, or `exact` with a count.

    Example:

    >>> import keras_vae
    >>> likelihood = keras_vae.likelihoods.Table([("normal",), ("categorical", 3)])
    >>> likelihood.parameters_shape((2,)), likelihood.takes_missing
    ((5,), True)

    See also:
        `table_vae`, which makes it of a schema.
    """

    data_range = (-math.inf, math.inf)
    takes_pictures = False
    takes_logits = False
    takes_missing = True
    observes = True

    def __init__(self, blocks: Sequence[Sequence[Any]], exact: bool = False) -> None:
        self.name, self.exact = "table", bool(exact)
        plain = ((block,) if isinstance(block, str) else tuple(block) for block in blocks)
        self.layout = column_distributions.layout(tuple(plain))
        self.parameters_per_value = max(2, round(self.layout.size / len(self.layout.blocks)))
        if self.exact and len(self.layout.most):
            raise ValueError(
                "An exact model of a table must have no counts, whose probabilities are made of "
                "logarithms. Received: a negative binomial. Take data.Numeric() for the column."
            )

    def parameters_shape(self, data_shape: Shape) -> Shape:
        return (*data_shape[:-1], self.layout.size)

    def __call__(self, parameters: Tensor) -> Distribution:
        kind = exact_columns.ExactColumns if self.exact else column_distributions.Columns
        return kind(self.layout, parameters)

    def as_exact(self) -> Table:
        return Table(self.layout.blocks, exact=True)

    def valid(self, x: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether every value is NaN or one that its column may have."""
        low = [-math.inf if kind == "normal" else 0.0 for kind, *_ in self.layout.blocks]
        high = [
            {"categorical": most[0] - 1 if most else 0, "bernoulli": 1}.get(kind, math.inf)
            for kind, *most in self.layout.blocks
        ]
        known = ops.where(ops.abs(x) < 1e30, x, 0.0)
        inside = ops.logical_and(
            known >= ops.convert_to_tensor(np.array(low, "f4")),
            known <= ops.convert_to_tensor(np.array(high, "f4")),
        )
        whole = known == ops.floor(known)
        free = np.array([kind == "normal" for kind, *_ in self.layout.blocks])
        fits = ops.logical_and(inside, ops.logical_or(whole, free))
        return ops.all(ops.logical_and(fits, ops.logical_or(x != x, ops.abs(x) < 1e30)), axis=1)

    def noise(
        self, seed: Tensor, index: Tensor, first: int, ops: Any = np, size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """What rows are drawn with, by the portable generator: the same bits everywhere.

        Args:
            seed: Integer array or tensor `(1,)`, from 0 to 2^31 - 1.
            index: Integer array or tensor `(n,)`. Which examples of the seed.
            first: Int. Dimensions that the code of an example takes.
            ops: As for `portable_random.normal`.
            size: Int, values of an example: of a table known.

        Returns:
            Tuple of float32 arrays or tensors: of N(0, 1), one a normal column, and of (0, 1), one
            for each other column.
        """
        sizes = self.layout.num_normals, self.layout.num_uniforms
        return portable_random.normals_and_uniforms(seed, index, first, *sizes, ops)

    def from_noise(self, parameters: Tensor, normal: Tensor, uniform: Tensor) -> Tensor:
        """As `sample`, with what `noise` gives: float32 `(batch, columns)`."""
        return self(parameters).from_noise(normal, uniform)

    def fill(self, x: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows with what is missing taken from a mean, as whole numbers where others are such."""
        free = np.array([kind == "normal" for kind, *_ in self.layout.blocks])
        return np.where(np.isnan(x), np.where(free, mean, np.rint(mean)), x).astype("float32")

    def get_config(self) -> dict[str, Any]:
        # Where it is left out, earlier versions read the file, too.
        exact = {"exact": True} if self.exact else {}
        return {"blocks": [list(block) for block in self.layout.blocks], **exact}


class Autoregressive(Likelihood):
    """Tokens of which each has a probability given those before it, of a sequence's decoder.

    A `SequenceVAE` makes it of its decoder, whose layers it shares: it has no weights of its own.

    Args:
        decoder: `networks.SequenceDecoder`.

    Example:

    >>> import keras_vae
    >>> decoder = keras_vae.networks.CausalDecoder((8, 2), num_tokens=5, width=8)
    >>> keras_vae.likelihoods.Autoregressive(decoder).data_range
    (-1.0, 4.0)

    See also:
        `SequenceVAE`, which makes it of its decoder.
    """

    holds_tokens = True
    takes_pictures = False
    takes_logits = False  # of the plan that the decoder gives; its logits stay within

    def __init__(self, decoder: Any) -> None:
        self.name = "autoregressive"
        self.decoder = decoder
        self.data_range = (-1.0, decoder.num_tokens - 1.0)

    def __call__(self, parameters: Tensor) -> Distribution:
        return distributions.TokenSequence(self.decoder, parameters)

    def in_training(
        self, parameters: Tensor, x: Tensor, mean: Callable[[Tensor], Tensor]
    ) -> Distribution:
        return distributions.TokenSequence(self.decoder, parameters, training=True)

    def valid(self, x: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether every value is a token, or -1 for none."""
        x = flat(x)
        whole = ops.all(x == ops.floor(x), axis=1)
        return ops.logical_and(super().valid(x), whole)


def get(identifier: str | Likelihood) -> Likelihood:
    """Return a likelihood from its name, such as `"bernoulli"`, or the likelihood itself.

    `"gaussian_optimal"` is `Gaussian("optimal")`.

    Args:
        identifier: Str or `Likelihood`.

    Returns:
        A `Likelihood`.

    Raises:
        ValueError: If there is none of that name, or it is no likelihood.

    Example:

    >>> import keras_vae
    >>> likelihood = keras_vae.likelihoods.get("gaussian_optimal")
    >>> type(likelihood).__name__, likelihood.scale
    ('Gaussian', 'optimal')
    """
    if isinstance(identifier, str) and identifier in LIKELIHOODS:
        return LIKELIHOODS[identifier]()
    if identifier == "gaussian_optimal":
        return Gaussian("optimal")
    if not isinstance(identifier, Likelihood):
        names = ", ".join(map(repr, (*LIKELIHOODS, "gaussian_optimal")))
        raise ValueError(
            f"`likelihood` must be one of {names}, or an object of `keras_vae.likelihoods`. "
            f"Received: {identifier!r}"
        )
    return identifier


def _bounded(log_scale):
    """Within `LOG_SCALE_RANGE`, with a gradient that leads back where a cut would have none."""
    largest = LOG_SCALE_RANGE[1]
    return largest * ops.tanh(log_scale / largest)
