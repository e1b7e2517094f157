"""Likelihoods: what the decoder's output says about the data."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_vae")
class Bernoulli:
    """One probability per pixel, given as a logit.

    Grey values between 0 and 1 are allowed, as in the seeds of this project: then `log_prob` is
    the negative binary cross-entropy, not a normalised density.

    References:
        - Kingma & Welling, 2014, appendix C.1. https://arxiv.org/abs/1312.6114
    """

    name = "bernoulli"
    data_range = (0.0, 1.0)

    def log_prob(self, x, logits):
        """Log-likelihood of `x`, in nats per example.

        Args:
            x: Float tensor `(batch, ...)` in [0, 1].
            logits: Float tensor, same shape.

        Returns:
            Tensor `(batch,)`, summed over all data dimensions.
        """
        x, logits = _flat(x), _flat(logits)
        # Never infinite, unlike the logarithm of a sigmoid; and with the right derivative at a
        # logit of 0, unlike max(logit, 0) + log1p(exp(-|logit|)).
        return -ops.sum(ops.softplus(logits) - logits * x, axis=1)

    def mean(self, logits):
        """The probabilities, in [0, 1]."""
        return ops.sigmoid(logits)

    def from_mean(self, mean):
        """The logits that have a mean: the inverse of `mean`, of probabilities as a device gives.

        A probability that was rounded to 8 bits may be 0 or 1, which no logit gives: none is taken
        closer to them than half of such a step, 1/512.
        """
        mean = ops.clip(ops.convert_to_tensor(mean), 1 / 512, 1 - 1 / 512)
        return ops.log(mean) - ops.log(1 - mean)

    def valid(self, x):
        """Bool tensor `(batch,)`: whether every value of an example is in [0, 1]."""
        low, high = self.data_range
        x = _flat(x)
        return ops.all(ops.logical_and(x >= low, x <= high), axis=1)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _flat(x):
    """Reshape to `(batch, size)`: XLA reduces an axis of length 1, as of grey images, slowly."""
    x = ops.convert_to_tensor(x)
    sizes = x.shape[1:]
    return ops.reshape(x, (ops.shape(x)[0], -1) if None in sizes else (-1, math.prod(sizes)))


def get(identifier):
    """Return a likelihood from its name (`"bernoulli"`) or the likelihood itself.

    Raises:
        ValueError: If there is none of that name.
    """
    if isinstance(identifier, str):
        if identifier == Bernoulli.name:
            return Bernoulli()
        raise ValueError(f"`likelihood` must be 'bernoulli'. Received: {identifier!r}")
    return identifier
