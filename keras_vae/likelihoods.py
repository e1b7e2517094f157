"""Likelihoods: what the decoder's output says about the data.

| name | data | numbers a value | what for |
|---|---|---|---|
| `bernoulli` | 0 and 1, or greys in [0, 1] | 1 | black and white; the default |
| `continuous_bernoulli` | [0, 1] | 1 | greys, with a normalised density |
| `gaussian` | any number | 1, or 2 | colours; measurements |
| `laplace` | any number | 1, or 2 | the same with outliers |
| `discretized_logistic_mixture` | levels in [0, 1] | 3 a component | 8-bit images |
| `categorical` | levels in [0, 1] | 1 a level | few levels of any distribution |

A decoder gives `parameters_per_value` numbers for each value of the data, as so many groups of
channels: `(batch, *data_shape[:-1], parameters_per_value * data_shape[-1])`, of which the first
`data_shape[-1]` channels are every value's first number, and so on. Whatever the likelihood, uint8
is an 8-bit picture, whose 0 to 255 stand for 0 to 1; a `Categorical` of other than 256 levels
refuses it.
"""

import math

import keras
from keras import ops

from keras_vae.data import bounds

# Of the logarithm of every scale that is learnt. The smallest scale, 9e-4, is a quarter of the
# step between two of 256 levels in [0, 1].
LOG_SCALE_RANGE = (-7.0, 7.0)
# Of the moving average of optimal scales: about the last ten batches.
MOMENTUM = 0.9


class _Likelihood:
    """What likelihoods share: a range, a size and a config."""

    data_range = (0.0, 1.0)
    parameters_per_value = 1
    levels = None  # how many values in [0, 1] there are, a step apart; None of a density
    scale = None  # "shared", a number, ...: of a density with a location
    takes_pictures = True  # uint8
    takes_logits = True  # any numbers, so that no sigmoid or softmax may come before

    def valid(self, x):
        """Bool tensor `(batch,)`: whether every value of an example is in the range."""
        low, high = bounds(self.data_range)
        x = _flat(x)
        return ops.all(ops.logical_and(x >= low, x <= high), axis=1)

    def log_prob(self, x, parameters):
        """Log-likelihood of `x`, in nats per example: the sum over the data of `log_prob_by_value`.

        Args:
            x: Float tensor `(batch, *data_shape)`.
            parameters: Float tensor, as the decoder gives them.

        Returns:
            Tensor `(batch,)`.
        """
        return ops.sum(self.log_prob_by_value(x, parameters), axis=1)

    def from_mean(self, mean):
        """The parameters that have a mean: none for a likelihood of several numbers a value."""
        raise ValueError(
            f"`from_mean` needs a likelihood of one number a value. Received: {self.name} with "
            f"{self.parameters_per_value}, which no mean determines."
        )

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("keras_vae")
class Bernoulli(_Likelihood):
    """One probability per pixel, given as a logit.

    Grey values between 0 and 1 are allowed, as in the seeds of this project: then `log_prob` is
    the negative binary cross-entropy, not a normalised density, and `sample` still draws 0 or 1.

    References:
        - Kingma & Welling, 2014, appendix C.1. https://arxiv.org/abs/1312.6114
    """

    name = "bernoulli"

    def log_prob_by_value(self, x, logits):
        """Log-likelihood of each value of `x`, in nats.

        Args:
            x: Float tensor `(batch, ...)` in [0, 1].
            logits: Float tensor, same shape.

        Returns:
            Tensor `(batch, size)`.
        """
        x, logits = _flat(x), _flat(logits)
        # Never infinite, unlike the logarithm of a sigmoid; and with the right derivative at a
        # logit of 0, unlike max(logit, 0) + log1p(exp(-|logit|)).
        return logits * x - ops.softplus(logits)

    def mean(self, logits):
        """The probabilities, in [0, 1]."""
        return ops.sigmoid(logits)

    def sample(self, logits, seed):
        """Draw data, each value 0 or 1.

        Args:
            logits: Float tensor `(batch, ...)`.
            seed: Int or `keras.random.SeedGenerator`.

        Returns:
            float32 tensor, same shape.
        """
        uniform = keras.random.uniform(ops.shape(logits), dtype="float32", seed=seed)
        return ops.cast(uniform < ops.sigmoid(ops.cast(logits, "float32")), "float32")

    def from_mean(self, mean):
        """The logits that have a mean: the inverse of `mean`, of probabilities as a device gives.

        A probability that was rounded to 8 bits may be 0 or 1, which no logit gives: none is taken
        closer to them than half of such a step, 1/512.
        """
        mean = ops.clip(ops.convert_to_tensor(mean), 1 / 512, 1 - 1 / 512)
        return ops.log(mean) - ops.log(1 - mean)


@keras.saving.register_keras_serializable("keras_vae")
class ContinuousBernoulli(_Likelihood):
    """A density on [0, 1], `p(x) ~ exp(logit * x)`: the Bernoulli of grey values, normalised.

    In terms of the paper's parameter it is `C(p) p^x (1 - p)^(1 - x)` with `p = sigmoid(logit)`.
    Both the normaliser and the mean are 0/0 at a logit of 0: within 1 of it they are Taylor series.

    References:
        - Loaiza-Ganem & Cunningham, 2019, eqs. 6 to 9. https://arxiv.org/abs/1907.06845
    """

    name = "continuous_bernoulli"

    def log_prob_by_value(self, x, logits):
        """Log density of each value of `x`, in nats.

        Args:
            x: Float tensor `(batch, ...)` in [0, 1].
            logits: Float tensor, same shape.

        Returns:
            Tensor `(batch, size)`, positive where the density exceeds 1.
        """
        x, logits = _flat(x), _flat(logits)
        near, square, far = _near_and_far(logits)
        size = ops.abs(far)
        # The series of log(sinh(t/2) / (t/2)); what is left out is below 1e-7.
        series = square * (1 / 24 - square * (1 / 2880 - square / 181440))
        series = logits * (x - 0.5) - series
        exact = far * x - ops.relu(far) - ops.log(1 - ops.exp(-size)) + ops.log(size)
        return ops.where(near, series, exact)

    def mean(self, logits):
        """The mean, in [0, 1]. It is `sigmoid(logits)` at 0 only, elsewhere nearer to 1/2."""
        logits = ops.convert_to_tensor(logits)
        near, square, far = _near_and_far(logits)
        # The series of (coth(t/2) - 2/t) / 2; what is left out is below 1e-7.
        series = 1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600))
        return 0.5 + ops.where(near, logits * series, 0.5 / ops.tanh(far / 2) - 1 / far)

    def sample(self, logits, seed):
        """Draw data, by the inverse of the distribution function.

        Args:
            logits: Float tensor `(batch, ...)`.
            seed: Int or `keras.random.SeedGenerator`.

        Returns:
            float32 tensor, same shape, in [0, 1].
        """
        logits = ops.cast(logits, "float32")
        uniform = keras.random.uniform(ops.shape(logits), dtype="float32", seed=seed)
        size = ops.maximum(ops.abs(logits), 1e-6)
        from_end = -ops.log1p(uniform * ops.expm1(-size)) / size
        return ops.clip(ops.where(logits > 0, 1 - from_end, from_end), 0, 1)

    def from_mean(self, mean):
        """The logits that have a mean, taken from 1/512 to 1 - 1/512, by bisection."""
        mean = ops.clip(ops.convert_to_tensor(mean), 1 / 512, 1 - 1 / 512)
        low, high = ops.full_like(mean, -512.0), ops.full_like(mean, 512.0)
        for _ in range(40):
            middle = (low + high) / 2
            below = self.mean(middle) < mean
            low, high = ops.where(below, middle, low), ops.where(below, high, middle)
        return middle


class _LocationScale(_Likelihood, keras.layers.Layer):
    """A density of `(x - location) / scale`, on all numbers: Gaussian and Laplace.

    It is a layer because it may have a weight, which is trained, saved and loaded with the model.
    """

    data_range = (-math.inf, math.inf)
    takes_logits = False

    def __init__(self, scale="shared"):
        super().__init__(name=type(self).name)
        is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not (0 < scale < math.inf if is_number else scale in ("shared", "optimal", "per_pixel")):
            raise ValueError(
                "`scale` must be a finite number above 0, 'shared', 'optimal' or 'per_pixel'. "
                f"Received: {scale!r}"
            )
        self.scale = scale
        self.parameters_per_value = 2 if scale == "per_pixel" else 1
        if scale in ("shared", "optimal"):
            # In units of 7 nats, because Adam moves every weight by its learning rate a step: a
            # scale that fits to 0.1 is found in some hundred steps, not in thousands.
            self.position = self.add_weight(
                name="log_scale_over_7",
                shape=(),
                initializer="zeros",
                dtype="float32",
                trainable=scale == "shared",
            )
        self.built = True

    @property
    def log_scale(self):
        """Logarithm of the scale, a number or a scalar tensor; of one scale for all values."""
        if self.scale == "shared":
            return _bounded(LOG_SCALE_RANGE[1] * ops.convert_to_tensor(self.position))
        if self.scale == "optimal":
            return LOG_SCALE_RANGE[1] * ops.convert_to_tensor(self.position)
        if self.scale == "per_pixel":
            raise ValueError("`log_scale` needs one scale for all values. Received: 'per_pixel'.")
        return math.log(self.scale)

    def log_prob_by_value(self, x, parameters):
        """Log density of each value of `x`, in nats.

        Args:
            x: Float tensor `(batch, *data_shape)`.
            parameters: Float tensor, same shape: the means. Per pixel, `(batch,
                *data_shape[:-1], 2 * channels)`: then also the log-scales `s`, of which
                `7 tanh(s / 7)` is taken.

        Returns:
            Tensor `(batch, size)`, positive where the density exceeds 1.
        """
        location, log_scale = self._split(parameters)
        return self._log_prob_by_value(_flat(x), location, log_scale)

    def log_prob_in_training(self, x, parameters, mean):
        """As `log_prob`, with the best scale for this batch where that is what `scale` says.

        Args:
            x: As for `log_prob_by_value`.
            parameters: As for `log_prob_by_value`.
            mean: Function from values `(batch,)` to their mean over all rows of the batch, weighted
                by the sample weights; 0 where all of these are 0. A step may see only some of the
                rows, those of its device: nothing else may reduce over them.

        Returns:
            Tensor `(batch,)`. The moving average that `log_prob` uses is updated.
        """
        if self.scale != "optimal":
            return self.log_prob(x, parameters)
        x, location = _flat(x), _flat(ops.cast(parameters, "float32"))
        # At its optimum, the derivative by the scale is 0: nothing is lost by stopping it.
        error = ops.mean(self._deviation(ops.stop_gradient(x - location)), axis=1)
        has_weight = mean(ops.ones_like(error)) > 0
        log_scale = ops.clip(self._log_best(mean(error)), *LOG_SCALE_RANGE)
        log_scale = ops.where(has_weight, log_scale, self.log_scale)
        position = log_scale / LOG_SCALE_RANGE[1]
        self.position.assign(MOMENTUM * self.position + (1 - MOMENTUM) * position)
        return ops.sum(self._log_prob_by_value(x, location, log_scale), axis=1)

    def mean(self, parameters):
        """The means, of any size: float `(batch, *data_shape)`."""
        parameters = ops.convert_to_tensor(parameters)
        return parameters[..., : parameters.shape[-1] // self.parameters_per_value]

    def sample(self, parameters, seed):
        """Draw data.

        Args:
            parameters: As for `log_prob_by_value`.
            seed: Int or `keras.random.SeedGenerator`.

        Returns:
            float32 tensor `(batch, *data_shape)`.
        """
        location, log_scale = self._split(parameters)
        drawn = location + ops.exp(log_scale) * self._standard_sample(ops.shape(location), seed)
        return _unflat(drawn, parameters, self.parameters_per_value)

    def from_mean(self, mean):
        """The parameters that have a mean: the mean itself, but for scales per pixel."""
        if self.parameters_per_value > 1:
            return super().from_mean(mean)
        return ops.convert_to_tensor(mean)

    def valid(self, x):
        """Bool tensor `(batch,)`: whether every value of an example is finite."""
        return ops.all(ops.isfinite(_flat(x)), axis=1)

    def get_config(self):
        return {"scale": self.scale}

    def _split(self, parameters):
        """Locations `(batch, size)` and log-scales, the same or a scalar."""
        groups = _groups(parameters, self.parameters_per_value)
        if self.scale == "per_pixel":
            return groups[0], _bounded(groups[1])
        return groups[0], ops.cast(self.log_scale, "float32")

    def _log_prob_by_value(self, x, location, log_scale):
        return self._standard_log_prob((x - location) * ops.exp(-log_scale)) - log_scale


@keras.saving.register_keras_serializable("keras_vae")
class Gaussian(_LocationScale):
    """A normal distribution per value, about the mean that the decoder gives.

    Args:
        scale: The standard deviation.
            A number: fixed. 1 makes the squared error of tutorials, and blurs images in [0, 1].
            `"shared"`: one for all values, a trained weight, at first 1; the sigma-VAE.
            `"optimal"`: one for all values, set in every training step to the best for its
            batch, the root of the mean squared error; elsewhere, the moving (geometric) mean of
            these over about ten steps. The optimal sigma-VAE; it needs no learning rate.
            `"per_pixel"`: the decoder gives its logarithm beside each mean: two numbers a value.
            Whatever is learnt is kept within exp(-7) to exp(7).

    Raises:
        ValueError: If `scale` is none of these.

    References:
        - Rybkin et al., 2021, section 3. https://arxiv.org/abs/2006.13202
    """

    name = "gaussian"

    def _standard_log_prob(self, z):
        return -(ops.square(z) + math.log(2 * math.pi)) / 2

    def _standard_sample(self, shape, seed):
        return keras.random.normal(shape, dtype="float32", seed=seed)

    def _deviation(self, error):
        return ops.square(error)

    def _log_best(self, mean_square):
        return ops.log(mean_square) / 2


@keras.saving.register_keras_serializable("keras_vae")
class Laplace(_LocationScale):
    """A Laplace distribution per value, about the median that the decoder gives.

    Its log density falls with the absolute error, so outliers count less than with a `Gaussian`.

    Args:
        scale: The mean absolute deviation: a number, `"shared"`, `"optimal"` (the mean absolute
            error) or `"per_pixel"`, as of a `Gaussian`.

    Raises:
        ValueError: If `scale` is none of these.
    """

    name = "laplace"

    def _standard_log_prob(self, z):
        return -(ops.abs(z) + math.log(2))

    def _standard_sample(self, shape, seed):
        exponential = -ops.log(1 - keras.random.uniform((2, *shape), dtype="float32", seed=seed))
        return exponential[0] - exponential[1]

    def _deviation(self, error):
        return ops.abs(error)

    def _log_best(self, mean_absolute):
        return ops.log(mean_absolute)


class _Levels(_Likelihood):
    """A distribution of data that take `levels` values in [0, 1], a step of 1 / (levels - 1) apart.

    A value between two levels counts as the nearer one.
    """

    def __init__(self, levels):
        if not (type(levels) is int and levels >= 2):
            raise ValueError(f"`levels` must be a whole number of at least 2. Received: {levels!r}")
        self.levels = levels

    def _level(self, x):
        """The level of each value, a whole number from 0 to `levels - 1`, float `(batch, size)`."""
        return ops.round(_flat(x) * (self.levels - 1))


@keras.saving.register_keras_serializable("keras_vae")
class DiscretizedLogisticMixture(_Levels):
    """A mixture of logistic distributions per value, rounded to 256 levels in [0, 1].

    A level's probability is that of the interval about it; the lowest and the highest level have
    the tails as well, so the probabilities add up to 1. Unlike the paper's, every value has a
    mixture of its own, and channels are independent of each other given the latent code.

    Args:
        components: Int, of the mixture. The decoder gives three numbers a value for each: first
            all logits of the weights, then all means, then all log-scales, both on the paper's
            scale, where the levels run from -1 to 1. Of a log-scale `s`, `7 tanh(s / 7)` is taken.
        levels: Int, at least 2.

    Raises:
        ValueError: If a number is too small.

    References:
        - Salimans et al., 2017, section 2.1. https://arxiv.org/abs/1701.05517
    """

    name = "discretized_logistic_mixture"

    def __init__(self, components=5, levels=256):
        super().__init__(levels)
        if not (type(components) is int and components >= 1):
            raise ValueError(
                f"`components` must be a whole number of at least 1. Received: {components!r}"
            )
        self.components = components
        self.parameters_per_value = 3 * components

    def log_prob_by_value(self, x, parameters):
        """Log-probability of each value of `x`, in nats.

        Args:
            x: Float tensor `(batch, *data_shape)` in [0, 1].
            parameters: Float tensor `(batch, *data_shape[:-1], 3 * components * channels)`.

        Returns:
            Tensor `(batch, size)`, never positive.
        """
        logits, mean, log_scale = self._split(parameters)
        level, highest = self._level(x), self.levels - 1
        error = 2 * level / highest - 1 - mean
        by_scale = ops.exp(-log_scale)
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

    def mean(self, parameters):
        """The mean of the mixture, cut to [0, 1], before it is rounded to levels.

        It differs from the mean of the rounded values by half a level, 1/510, at most, and by less
        than 1e-5 where a scale exceeds ten levels.
        """
        logits, mean, log_scale = self._split(parameters)
        scale = ops.exp(log_scale)
        # The integral of 1 - sigmoid((t - mean) / scale) over t from -1 to 1.
        means = ops.softplus((mean + 1) / scale) - ops.softplus((mean - 1) / scale)
        means = ops.sum(_probabilities(logits) * means * scale / 2, axis=0)
        means = ops.clip(means, 0, 1)
        return _unflat(means, parameters, self.parameters_per_value)

    def sample(self, parameters, seed):
        """Draw data, of which each value is a level.

        Args:
            parameters: As for `log_prob_by_value`.
            seed: Int or `keras.random.SeedGenerator`.

        Returns:
            float32 tensor `(batch, *data_shape)` in [0, 1].
        """
        logits, mean, log_scale = self._split(parameters)
        shape = (self.components + 1, *ops.shape(logits)[1:])
        uniform = keras.random.uniform(shape, dtype="float32", seed=seed)
        chosen = _choose(logits, uniform[1:])
        mean, scale = (
            ops.sum(ops.where(chosen, values, 0.0), axis=0) for values in (mean, ops.exp(log_scale))
        )
        drawn = mean + scale * (ops.log(uniform[0]) - ops.log(1 - uniform[0]))
        highest = self.levels - 1
        level = ops.round((ops.clip(drawn, -1, 1) + 1) / 2 * highest)
        return _unflat(level / highest, parameters, self.parameters_per_value)

    def get_config(self):
        return {"components": self.components, "levels": self.levels}

    def _split(self, parameters):
        """Logits, means and log-scales, each `(components, batch, size)`."""
        groups, count = _groups(parameters, self.parameters_per_value), self.components
        return groups[:count], groups[count : 2 * count], _bounded(groups[2 * count :])


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
        levels: Int, at least 2. The decoder gives so many numbers a value, the levels' logits.

    Raises:
        ValueError: If `levels` is too small.
    """

    name = "categorical"

    def __init__(self, levels=256):
        super().__init__(levels)
        self.parameters_per_value = levels

    def log_prob_by_value(self, x, parameters):
        """Log-probability of each value of `x`, in nats.

        Args:
            x: Float tensor `(batch, *data_shape)` in [0, 1].
            parameters: Float tensor `(batch, *data_shape[:-1], levels * channels)`.

        Returns:
            Tensor `(batch, size)`, never positive.
        """
        logits = _groups(parameters, self.levels)
        is_level = self._level(x) == self._all_levels()
        chosen = ops.sum(ops.where(is_level, logits, 0.0), axis=0)
        return chosen - ops.logsumexp(logits, axis=0)

    def mean(self, parameters):
        """The mean, in [0, 1]."""
        probabilities = _probabilities(_groups(parameters, self.levels))
        means = ops.sum(probabilities * self._all_levels(), axis=0) / (self.levels - 1)
        return _unflat(means, parameters, self.levels)

    def sample(self, parameters, seed):
        """Draw data, of which each value is a level.

        Args:
            parameters: As for `log_prob_by_value`.
            seed: Int or `keras.random.SeedGenerator`.

        Returns:
            float32 tensor `(batch, *data_shape)` in [0, 1].
        """
        logits = _groups(parameters, self.levels)
        uniform = keras.random.uniform(ops.shape(logits), dtype="float32", seed=seed)
        level = ops.sum(ops.where(_choose(logits, uniform), self._all_levels(), 0.0), axis=0)
        return _unflat(level / (self.levels - 1), parameters, self.levels)

    def get_config(self):
        return {"levels": self.levels}

    @property
    def takes_pictures(self):
        return self.levels == 256

    def _all_levels(self):
        return ops.arange(self.levels, dtype="float32")[:, None, None]


def get(identifier):
    """Return a likelihood from its name, such as `"bernoulli"`, or the likelihood itself.

    Raises:
        ValueError: If there is none of that name, or it is no likelihood.
    """
    if isinstance(identifier, str) and identifier in LIKELIHOODS:
        return LIKELIHOODS[identifier]()
    if isinstance(identifier, type) or not hasattr(identifier, "log_prob"):
        names = ", ".join(map(repr, LIKELIHOODS))
        raise ValueError(
            f"`likelihood` must be one of {names}, or an object of `keras_vae.likelihoods`. "
            f"Received: {identifier!r}"
        )
    return identifier


LIKELIHOODS = {
    cls.name: cls
    for cls in (
        Bernoulli,
        ContinuousBernoulli,
        Gaussian,
        Laplace,
        DiscretizedLogisticMixture,
        Categorical,
    )
}


def _flat(x):
    """Reshape to `(batch, size)`: XLA reduces an axis of length 1, as of grey images, slowly."""
    x = ops.convert_to_tensor(x)
    sizes = x.shape[1:]
    return ops.reshape(x, (ops.shape(x)[0], -1) if None in sizes else (-1, math.prod(sizes)))


def _groups(parameters, count):
    """The `count` numbers that a decoder gives for each value, float32 `(count, batch, size)`."""
    parameters = ops.cast(parameters, "float32")
    *sides, channels = parameters.shape[1:]
    sides, channels = math.prod(sides), channels // count
    groups = ops.reshape(parameters, (-1, sides, count, channels))
    return ops.reshape(ops.transpose(groups, (2, 0, 1, 3)), (count, -1, sides * channels))


def _unflat(values, parameters, count):
    """Reshape `(batch, size)` to the data's shape, that of the parameters but for the channels."""
    *sides, channels = parameters.shape[1:]
    return ops.reshape(values, (-1, *sides, channels // count))


def _bounded(log_scale):
    """Within `LOG_SCALE_RANGE`, with a gradient that leads back where a cut would have none."""
    largest = LOG_SCALE_RANGE[1]
    return largest * ops.tanh(log_scale / largest)


def _near_and_far(logits):
    """Whether a logit is near 0, its square where it is, and the logit where it is not."""
    near = ops.abs(logits) < 1
    # Neither branch of a `where` may be infinite, or the gradient is NaN.
    return near, ops.where(near, ops.square(logits), 0.0), ops.where(near, 1.0, logits)


def _probabilities(logits):
    """Softmax along the first axis, of one entry or more."""
    return ops.exp(logits - ops.logsumexp(logits, axis=0, keepdims=True))


def _choose(logits, uniform):
    """Bool `(count, batch, size)`: one of `count` for each value, by Gumbel's maximum."""
    index = ops.argmax(logits - ops.log(-ops.log(uniform)), axis=0)
    positions = ops.cast(ops.arange(logits.shape[0]), index.dtype)
    return positions[:, None, None] == index
