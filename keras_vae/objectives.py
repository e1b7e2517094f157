"""Objectives: what a VAE minimises, from what it drew and how well that explains the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

import keras
from keras import ops

from keras_vae import arguments, replica
from keras_vae.distributions import Distribution, Normal
from keras_vae.type_aliases import Tensor


class Loss(NamedTuple):
    """What a training step lowers, and what of it is reported.

    Attributes:
        total: Scalar, nats per example.
        terms: Dict of scalars by their names.

    Example:

    >>> import keras_vae
    >>> loss = keras_vae.objectives.Loss(total=90.0, terms={"reconstruction_loss": 70.0})
    >>> loss.total - loss.terms["reconstruction_loss"]
    20.0
    """

    total: Tensor
    terms: dict[str, Tensor]


def weighted_mean(values: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Mean of values `(batch,)`, or `(draws, batch)`, each times its example's weight.

    Args:
        values: Float tensor.
        sample_weight: Optional float tensor `(batch,)`. Default: 1 of each.

    Returns:
        Scalar, the sum of the products over the number of values.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> weights = ops.array([2.0, 0.0, 1.0, 1.0])
    >>> float(keras_vae.objectives.weighted_mean(ops.ones((4,)), weights))
    1.0

    See also:
        `mean_over_rows`, over the rows of all devices.
    """
    if sample_weight is not None:
        values = values * ops.cast(ops.reshape(sample_weight, (-1,)), values.dtype)
    return ops.mean(values)


def mean_over_rows(values: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """The weighted mean of values `(batch,)` over all rows of a batch, those of other devices too.

    For statistics that no gradient passes. It is 0 where all weights are 0.

    Args:
        values: Float tensor `(batch,)`.
        sample_weight: Optional float tensor `(batch,)`. Default: 1 of each.

    Returns:
        Scalar, the sum of the products over the sum of the weights.

    Example:

    >>> import keras_vae
    >>> from keras import ops
    >>> values, weights = ops.array([1.0, 5.0]), ops.array([1.0, 0.0])
    >>> float(keras_vae.objectives.mean_over_rows(values, weights))
    1.0

    See also:
        `weighted_mean`.
    """
    weight = ops.ones_like(values)
    if sample_weight is not None:
        weight = ops.cast(ops.reshape(sample_weight, (-1,)), values.dtype)
    sums = [ops.sum(ops.stop_gradient(values * weight)), ops.sum(ops.stop_gradient(weight))]
    weighted, total = replica.current().sum(sums)
    return ops.where(total > 0, weighted / ops.where(total > 0, total, 1.0), 0.0)


class Objective:
    """The reconstruction loss and a penalty of the codes, which a subclass writes.

    The model adds `kl_weight` times the KL divergence, by `add_loss`, if `adds_kl`.

    Args:
        num_samples: Int, at least 1. L, the codes drawn for each example. The reconstruction loss
            is their mean, the estimate of Kingma & Welling (2014), eq. 7.

    Attributes:
        adds_kl: Bool. Whether the KL divergence is a term of its own.
        uses_prior: Bool. Whether it looks at the prior; `p` is None elsewhere.
        draws_prior: Bool. Whether it draws codes from the prior.
        needs_diagonal: Bool. Whether it takes the entries of a posterior for independent.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> class Halved(keras_vae.objectives.Objective):
    ...     def penalty(self, q, p, z, log_likelihood, average, prior_codes):
    ...         return keras_vae.objectives.Loss(average(log_likelihood) / 2, {})
    ...
    >>> Halved(num_samples=2).get_config()
    {'num_samples': 2}

    See also:
        `ELBO`, `IWAE`, `TotalCorrelation`, `MMD`.
    """

    adds_kl = True
    uses_prior = False
    draws_prior = False
    needs_diagonal = False

    def __init__(self, num_samples: int = 1) -> None:
        self.num_samples = arguments.whole(num_samples, "num_samples")

    def gradient_gate(self, z: Tensor) -> dict[str, Tensor]:
        """Decide what gradients may do on their way back through a draw.

        Args:
            z: Float tensor `(L * batch, latent)`, drawn by reparameterisation.

        Returns:
            Dict with `"z"`, the same values, and perhaps a `"gate"` for `__call__`.
        """
        return {"z": z}

    def __call__(
        self,
        q: Distribution,
        p: Distribution | None,
        z: Tensor,
        log_likelihood: Tensor,
        average: Callable[[Tensor], Tensor],
        kl_weight: Tensor = 1.0,
        prior_codes: Callable[[Tensor], Tensor] | None = None,
        gate: Tensor | None = None,
    ) -> Loss:
        """Measure a batch.

        Args:
            q: `distributions.Normal`, of which each entry of `z` was drawn given those before it:
                of codes `(batch, latent)`, or `(L, batch, latent)`.
            p: The prior's distribution, if `uses_prior`.
            z: Float tensor `(L * batch, latent)`; the batch L times, one draw after the other.
            log_likelihood: Float tensor `(L * batch,)`, `log p(x|z)`.
            average: Function from values `(batch,)` or `(L, batch)` to their mean, weighted by the
                examples' weights.
            kl_weight: Float or scalar tensor.
            prior_codes: Function from codes `(L, batch, latent)` to as many of the prior's, for
                what `draws_prior`.
            gate: What `gradient_gate` returned beside `z`.

        Returns:
            `Loss` without the KL: its terms are `"reconstruction_loss"` and those of the penalty,
            float32 scalars in nats per example.
        """
        log_likelihood = self.by_draw(log_likelihood)
        reconstruction = -average(log_likelihood)
        total, terms = reconstruction, {"reconstruction_loss": reconstruction}
        penalty = self.penalty(q, p, self.by_draw(z), log_likelihood, average, prior_codes)
        if penalty is None:
            return Loss(total, terms)
        return Loss(total + penalty.total, {**terms, **penalty.terms})

    def penalty(
        self,
        q: Distribution,
        p: Distribution | None,
        z: Tensor,
        log_likelihood: Tensor,
        average: Callable[[Tensor], Tensor],
        prior_codes: Callable[[Tensor], Tensor] | None,
    ) -> Loss | None:
        """What is added to the reconstruction loss, as a `Loss`, or None.

        The arguments are those of a call, all by draw: `z` is `(L, batch, latent)`.
        """
        return None

    def by_draw(self, tensor: Tensor) -> Tensor:
        """Split `(L * batch, ...)` into `(L, batch, ...)`."""
        return ops.reshape(tensor, (self.num_samples, -1, *tensor.shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


@keras.saving.register_keras_serializable("keras_vae")
class ELBO(Objective):
    """The evidence lower bound, `E[-log p(x|z)] + kl_weight * KL(q(z|x) || p(z))`.

    Args:
        num_samples: Int, at least 1. Codes drawn for each example.
        gradient: How the encoder learns from the reconstruction loss: `"reparameterized"`, through
            the draws, or `"score_function"` (REINFORCE), from the losses of the draws alone, as if
            the decoder could not be differentiated. Both are unbiased; the second varies far more.
        baseline: What the score function takes off a draw's loss, without bias:
            `"leave_one_out"`, the mean loss of the example's other draws, or with `num_samples=1`
            of the batch's other examples; or None.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> objective = keras_vae.objectives.ELBO(num_samples=5)
    >>> keras_vae.VAE(encoder, decoder, objective=objective).num_samples
    5

    See also:
        `IWAE`, whose bound is tighter.

    References:
        - Kingma & Welling, 2014, eq. 7. https://arxiv.org/abs/1312.6114
        - Williams, 1992, for the score function. https://doi.org/10.1007/BF00992696
        - Kool et al., 2019, for the baseline. https://openreview.net/forum?id=r1lgTGL5DE
    """

    def __init__(
        self,
        num_samples: int = 1,
        gradient: Literal["reparameterized", "score_function"] = "reparameterized",
        baseline: Literal["leave_one_out"] | None = "leave_one_out",
    ) -> None:
        super().__init__(num_samples)
        self.gradient = arguments.one_of(
            gradient, "gradient", ("reparameterized", "score_function")
        )
        self.baseline = arguments.one_of(baseline, "baseline", ("leave_one_out", None))
        self.needs_diagonal = gradient == "score_function"

    def gradient_gate(self, z: Tensor) -> dict[str, Tensor]:
        return {"z": ops.stop_gradient(z) if self.gradient == "score_function" else z}

    def penalty(
        self,
        q: Distribution,
        p: Distribution | None,
        z: Tensor,
        log_likelihood: Tensor,
        average: Callable[[Tensor], Tensor],
        prior_codes: Callable[[Tensor], Tensor] | None,
    ) -> Loss | None:
        """With the score function a zero whose derivative is its estimate; else nothing."""
        if self.gradient != "score_function":
            return None
        losses = -ops.stop_gradient(log_likelihood)
        if self.baseline:
            # Of the other draws; and of the other examples where there is one draw of each.
            axis = 0 if self.num_samples > 1 else 1
            everyone = losses if axis == 0 else replica.current().gather(losses, axis=1)
            others = ops.cast(ops.shape(everyone)[axis] - 1, losses.dtype)
            of_others = ops.sum(everyone, axis=axis, keepdims=True) - losses
            losses = losses - of_others / ops.maximum(others, 1.0)
        log_q = q.log_prob(ops.cast(z, "float32"))
        return Loss(average(losses * (log_q - ops.stop_gradient(log_q))), {})

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gradient": self.gradient, "baseline": self.baseline}


@keras.saving.register_keras_serializable("keras_vae")
class IWAE(Objective):
    """The importance-weighted bound, which tightens with the number of draws.

    Minimises `-log mean_k w_k`, `log w_k = log p(x|z_k) + kl_weight * (log p(z_k) - log q(z_k|x))`;
    with the weight 1 this bounds `-log p(x)` from above, and with one draw it is the negative ELBO
    with a drawn KL. `reconstruction_loss` and `kl_loss` are reported as for the ELBO.

    Args:
        num_samples: Int, at least 1. K.
        gradient: `"doubly_reparameterized"`, whose signal for the encoder does not drown in noise
            as K grows, or `"reparameterized"`, the bound's plain derivative. Both have the same
            expectation.

    Example:

    >>> import keras_vae
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> model = keras_vae.VAE(encoder, decoder, objective="iwae", num_samples=10)
    >>> type(model.objective).__name__, model.num_samples
    ('IWAE', 10)

    See also:
        `ELBO`; `VAE.log_likelihood` measures by the same bound.

    References:
        - Burda et al., 2016, eq. 8. https://arxiv.org/abs/1509.00519
        - Tucker et al., 2019, for the doubly reparameterized gradient.
          https://arxiv.org/abs/1810.04152
    """

    adds_kl = False
    uses_prior = True

    def __init__(
        self,
        num_samples: int = 50,
        gradient: Literal["doubly_reparameterized", "reparameterized"] = "doubly_reparameterized",
    ) -> None:
        super().__init__(num_samples)
        choices = ("doubly_reparameterized", "reparameterized")
        self.gradient = arguments.one_of(gradient, "gradient", choices)
        self.needs_diagonal = gradient == "doubly_reparameterized"

    def gradient_gate(self, z: Tensor) -> dict[str, Tensor]:
        if self.gradient == "reparameterized":
            return {"z": z}
        gated = _gate(ops.cast(z, "float32"))
        return {"z": gated[..., :-2], "gate": gated[..., -2:]}

    def __call__(
        self,
        q: Distribution,
        p: Distribution | None,
        z: Tensor,
        log_likelihood: Tensor,
        average: Callable[[Tensor], Tensor],
        kl_weight: Tensor = 1.0,
        prior_codes: Callable[[Tensor], Tensor] | None = None,
        gate: Tensor | None = None,
    ) -> Loss:
        z, log_likelihood = ops.cast(self.by_draw(z), "float32"), self.by_draw(log_likelihood)
        if gate is not None:
            q = Normal(ops.stop_gradient(q.loc), ops.stop_gradient(q.log_var))
        log_weights = kl_weight * (p.log_prob(z) - q.log_prob(z)) + log_likelihood
        log_sum = ops.logsumexp(log_weights, axis=0)
        total = -average(log_sum - math.log(self.num_samples))
        if gate is not None:
            # Through its draw, a normalised weight w multiplies the gradient once more; with a
            # kl_weight b other than 1 the same steps as in the paper lead to 1 - b + b w.
            weights = ops.stop_gradient(ops.exp(log_weights - log_sum))
            factor = 1 - kl_weight * (1 - weights)
            gate = self.by_draw(gate)
            total = total + ops.sum(factor * gate[..., 0] + gate[..., 1])
        return Loss(total, {"reconstruction_loss": -average(log_likelihood)})

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gradient": self.gradient}


@keras.saving.register_keras_serializable("keras_vae")
class TotalCorrelation(Objective):
    """The ELBO with the dependence between latent dimensions weighted by beta (β-TC-VAE).

    Adds `(beta - 1) * TC`, `TC = KL(q(z) || prod_j q(z_j))`, to the ELBO's loss, whose KL holds TC
    once already: then it has the weight beta in all, and the rest of the KL keeps `kl_weight`. The
    mixture `q(z)` of all posteriors is estimated from those of the batch, as `total_correlation`.

    Args:
        beta: Float, at least 0.
        dataset_size: Optional int, the number of training examples, `len(x_train)`. With it a
            code's own posterior counts as one of so many (stratified sampling, the others sharing
            their weight evenly, which has the paper's mean). Without, each of the batch counts
            the same: weighted sampling, less the constant `(latent - 1) * log(dataset_size)`, in
            which alone the size enters. The gradient is the same then.
        num_samples: Int, at least 1. Codes drawn for each example.

    Example:

    >>> import keras_vae
    >>> keras_vae.objectives.TotalCorrelation(beta=6.0, dataset_size=60_000).get_config()
    {'num_samples': 1, 'beta': 6.0, 'dataset_size': 60000}

    See also:
        `ELBO`, with a `kl_weight` on all of the KL.

    References:
        - Chen et al., 2018, section 3 and appendix C. https://arxiv.org/abs/1802.04942
    """

    needs_diagonal = True

    def __init__(
        self, beta: float = 6.0, dataset_size: int | None = None, num_samples: int = 1
    ) -> None:
        super().__init__(num_samples)
        self.beta = arguments.not_negative(beta, "beta")
        if dataset_size is not None:
            dataset_size = arguments.whole(dataset_size, "dataset_size", least=2)
        self.dataset_size = dataset_size

    def penalty(
        self,
        q: Distribution,
        p: Distribution | None,
        z: Tensor,
        log_likelihood: Tensor,
        average: Callable[[Tensor], Tensor],
        prior_codes: Callable[[Tensor], Tensor] | None,
    ) -> Loss:
        z = ops.expand_dims(ops.cast(z, "float32"), 2)
        # Codes of the replica's rows, posteriors of the whole batch.
        everyone = Normal(replica.current().gather(q.loc), replica.current().gather(q.log_var))
        log_q = everyone.log_prob_by_value(z)  # (L, batch of codes, batch of posteriors, latent)
        log_weight = self._log_weight(
            replica.current().index(ops.shape(z)[1]), ops.shape(everyone.loc)[0]
        )
        joint = ops.logsumexp(ops.sum(log_q, axis=-1) + log_weight, axis=2)
        single = ops.logsumexp(log_q + ops.expand_dims(log_weight, -1), axis=2)
        correlation = average(joint - ops.sum(single, axis=-1))
        return Loss((self.beta - 1) * correlation, {"total_correlation": correlation})

    def _log_weight(self, code, batch):
        """Log-weight `(codes, batch)` of each posterior in the mixture q(z), for each code."""
        count = ops.cast(batch, "float32")
        if self.dataset_size is None:
            return -ops.reshape(ops.log(count), (1, 1))
        own = 1 / self.dataset_size
        others = (1 - own) / ops.maximum(count - 1, 1.0)
        is_own = ops.expand_dims(code, 1) == ops.expand_dims(ops.arange(batch), 0)
        return ops.log(ops.where(is_own, own, others))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta": self.beta,
            "dataset_size": self.dataset_size,
        }


@keras.saving.register_keras_serializable("keras_vae")
class MMD(Objective):
    """The ELBO and a distance of all codes together from the prior (InfoVAE).

    Adds `weight * MMD`, the squared maximum mean discrepancy between the batch's codes and as many
    draws of the prior: `mean k(z, z') + mean k(p, p') - 2 mean k(z, p)` over all pairs, with the
    kernel `k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))`. It is at least 0. In the paper's terms,
    `kl_weight` is 1 - alpha and `weight` alpha + lambda - 1; with `kl_weight=0` nothing pulls
    single posteriors to the prior. Sample weights do not enter it.

    Args:
        weight: Float, at least 0.
        bandwidth: Optional float above 0. Defaults to the square root of the latent size, where
            two draws of N(0, I) have k = 1/e or so.
        num_samples: Int, at least 1. Codes drawn for each example.

    Example:

    >>> import keras_vae
    >>> objective = keras_vae.objectives.MMD(weight=500.0)
    >>> objective.draws_prior, objective.get_config()
    (True, {'num_samples': 1, 'weight': 500.0, 'bandwidth': None})

    See also:
        `ELBO`.

    References:
        - Zhao et al., 2019. https://arxiv.org/abs/1706.02262
        - Gretton et al., 2012, eq. 5. https://jmlr.org/papers/v13/gretton12a.html
    """

    draws_prior = True

    def __init__(
        self, weight: float = 1000.0, bandwidth: float | None = None, num_samples: int = 1
    ) -> None:
        super().__init__(num_samples)
        self.weight = arguments.not_negative(weight, "weight")
        if bandwidth is not None and arguments.not_negative(bandwidth, "bandwidth") == 0:
            raise ValueError("`bandwidth` must be above 0. Received: 0")
        self.bandwidth = bandwidth

    def penalty(
        self,
        q: Distribution,
        p: Distribution | None,
        z: Tensor,
        log_likelihood: Tensor,
        average: Callable[[Tensor], Tensor],
        prior_codes: Callable[[Tensor], Tensor],
    ) -> Loss:
        latent_dim = z.shape[-1]
        z = replica.current().gather(ops.cast(z, "float32"), axis=1)
        z, drawn = (ops.reshape(codes, (-1, latent_dim)) for codes in (z, prior_codes(z)))
        scale = 2 * (latent_dim if self.bandwidth is None else self.bandwidth**2)

        def similarity(one, other):
            squares = [ops.sum(ops.square(a), axis=-1) for a in (one, other)]
            distance = ops.expand_dims(squares[0], 1) + ops.expand_dims(squares[1], 0)
            distance = distance - 2 * ops.matmul(one, ops.transpose(other))
            return ops.mean(ops.exp(-ops.maximum(distance, 0.0) / scale))

        mmd = similarity(z, z) + similarity(drawn, drawn) - 2 * similarity(z, drawn)
        return Loss(self.weight * mmd, {"mmd": mmd})

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight, "bandwidth": self.bandwidth}


OBJECTIVES = {"elbo": ELBO, "iwae": IWAE, "total_correlation": TotalCorrelation, "mmd": MMD}


def get(identifier: str | Objective, **options: Any) -> Objective:
    """Return an objective from its name and options, or the objective itself.

    Args:
        identifier: `"elbo"`, `"iwae"`, `"total_correlation"`, `"mmd"` or an `Objective`.
        **options: Arguments for a name; those that are None are left out.

    Returns:
        An `Objective`.

    Raises:
        ValueError: If there is none of that name, or it does not take an option.

    Example:

    >>> import keras_vae
    >>> keras_vae.objectives.get("iwae", num_samples=10).num_samples
    10
    """
    options = {name: value for name, value in options.items() if value is not None}
    if isinstance(identifier, Objective):
        if options:
            raise ValueError(
                f"`{next(iter(options))}` must be an argument of the objective where that is an "
                f"object. Write: {type(identifier).__name__}({_written(options)})."
            )
        return identifier
    arguments.one_of(identifier, "objective", tuple(OBJECTIVES))
    cls = OBJECTIVES[identifier]
    if "gradient" in options and cls not in (ELBO, IWAE):
        raise ValueError(
            f"`gradient` must be left out with the objective {identifier!r}, whose penalty needs "
            f"the reparameterized one. Received: {options['gradient']!r}"
        )
    return cls(**options)


@ops.custom_gradient
def _gate(z):
    """`z` and two columns of zeros, whose gradients' ratio multiplies the gradient of `z`.

    So a loss can weight the gradient that reaches a draw by what is known only after the draw was
    decoded. It is a ratio so that a loss scale cancels.
    """

    def gradient(*arguments, upstream=None):
        upstream = arguments[-1] if upstream is None else upstream
        return upstream[..., :-2] * upstream[..., -2:-1] / upstream[..., -1:]

    zeros = ops.zeros_like(z[..., :1])
    return ops.concatenate([z, zeros, zeros], axis=-1), gradient


def _written(options):
    return ", ".join(f"{name}={value!r}" for name, value in options.items())
