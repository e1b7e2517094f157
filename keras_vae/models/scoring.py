"""Scores of how unusual examples are, and what each of their values adds to them.

All are nats per example, the higher the more unusual, and the same for the same example always:
nothing is drawn.

| score | is |
|---|---|
| `negative_elbo` | -log p(x given z) + KL, at the posterior mean z |
| `negative_log_likelihood` | -log mean_k w_k, the importance weights of fixed draws of z |
| `reconstruction` | -log p(x given z) at the posterior mean z: what the code cannot say |

What a value adds is its own term of -log p(x given z), and an equal share of the rest.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments, portable_random
from keras_vae.calibration import Calibration
from keras_vae.distributions import Normal, StandardNormal
from keras_vae.models.capabilities import Bounds
from keras_vae.models.generative import join
from keras_vae.priors.base import Prior
from keras_vae.type_aliases import Conditions, Tensor

SCORES = ("negative_elbo", "negative_log_likelihood", "reconstruction")
NUM_SAMPLES = 16
# Of the draws of `negative_log_likelihood`.
SEED = 0


@dataclasses.dataclass(frozen=True)
class Scoring:
    """By which score a model tells what is unusual, and what normal examples score.

    Args:
        score: One of `SCORES`.
        num_samples: Int, the draws of `negative_log_likelihood`.
        calibration: Optional `Calibration`.
    """

    score: str = "negative_elbo"
    num_samples: int = NUM_SAMPLES
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        arguments.one_of(self.score, "score", SCORES)
        arguments.whole(self.num_samples, "num_samples")

    def get_config(self) -> dict[str, Any]:
        calibration = self.calibration and self.calibration.get_config()
        return {**dataclasses.asdict(self), "calibration": calibration}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        calibration = config["calibration"] and Calibration.from_config(config["calibration"])
        return cls(config["score"], config["num_samples"], calibration)


def scored(
    model: Any, x: Tensor, condition: Tensor | None, prior: Prior | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The score of examples, as tensors, by `model.scoring`.

    Args:
        model: A model that `Scores`, built.
        x: Float tensor `(batch, *data_shape)`.
        condition: Optional float tensor `(batch, size)`, from `encode_condition`.
        prior: Optional `priors.Prior` in place of the model's, such as `prior.fixed()`.

    Returns:
        Tuple of the score `(batch,)`; the contributions `(batch, *data_shape)`, which add up to
        it; the sum of the absolute values of all terms, `(batch,)`; and the likelihood's
        parameters at the posterior mean. Nats, and the decoder's output.
    """
    prior, kind = prior or model.prior, model.scoring.score
    is_weighted = isinstance(model, Bounds) and kind == "negative_log_likelihood"
    kl = 0.0
    if isinstance(model, Bounds):
        q = model.infer(x, condition, training=False)
        z, given = q.draw(None)
        if kind == "negative_elbo":
            kl = q.kl(prior(condition), z, given)
    else:
        z = model.code(x, condition, training=False)[0]
    parameters = model.decoder(join(z, condition), training=False)
    if is_weighted:
        score, by_value = _importance_weighted(model, x, condition, prior)
        rest = score - ops.sum(by_value, axis=1)
    else:
        by_value = -model.likelihood(parameters).log_prob_by_value(x)
        rest = kl + ops.zeros_like(by_value[:, 0])
        score = ops.sum(by_value, axis=1) + rest
    magnitude = ops.sum(ops.abs(by_value), axis=1) + ops.abs(rest)
    contributions = by_value + (rest / by_value.shape[1])[:, None]
    contributions = ops.reshape(contributions, (-1, *model.data_shape))
    return score, contributions, magnitude, parameters


def _importance_weighted(model, x, condition, prior):
    """The negative log-likelihood `(batch,)`, and the values' terms of the reconstruction."""
    draws = model.scoring.num_samples
    q, p = model.infer(x, condition, training=False), prior(condition)
    log_weights, terms = [], []
    # One after the other: of a batch times the draws, XNNPACK loses the shapes.
    for draw in fixed_noise(draws, model.latent_dim):
        z, given = q.draw(functools.partial(_with_noise, draw))
        parameters = model.decoder(join(z, condition), training=False)
        terms.append(-model.likelihood(parameters).log_prob_by_value(x))
        log_q = StandardNormal().log_prob(draw[None]) - ops.sum(given.log_var, axis=-1) / 2
        log_weights.append(p.log_prob(z) - ops.sum(terms[-1], axis=1) - log_q)
    log_weights = ops.stack(log_weights, axis=1)
    log_mean = ops.logsumexp(log_weights, axis=1) - np.log(draws).astype("float32")
    weights = ops.unstack(ops.exp(log_weights - log_mean[:, None]) / draws, draws, axis=1)
    return -log_mean, sum(w[:, None] * by_value for w, by_value in zip(weights, terms, strict=True))


def _with_noise(noise, z_mean, z_log_var):
    return Normal(z_mean, z_log_var).from_noise(ops.convert_to_tensor(noise))


def fixed_noise(draws: int, latent_dim: int) -> NDArray[np.float32]:
    """The draws of N(0, I) that every example is scored with, float32 `(draws, latent)`."""
    seed, index = np.array([SEED], "int32"), np.arange(draws, dtype="int32")
    return portable_random.normal(seed, index, latent_dim)


def label_of(model: Any) -> str | None:
    """The name of the one condition that is a label, by which p-values are made, or None."""
    labels = [name for name, kind in model.condition.items() if kind.kind == "categorical"]
    return labels[0] if len(labels) == 1 else None


def names_of(model: Any, label: str | None) -> tuple[str, ...]:
    """The names of a label's classes, or their numbers as text; () for None."""
    if label is None:
        return ()
    kind = model.condition[label]
    return kind.names or tuple(str(k) for k in range(kind.num_classes))


def p_values(model: Any, score: Tensor, conditions: Conditions) -> Tensor:
    """The calibrated p-values `(batch,)` of scores, as tensors."""
    calibration = model.scoring.calibration
    labels = conditions.get(calibration.condition) if calibration.condition else None
    return calibration.p_values(score, labels, keras.ops)
