"""How a C program draws a code from a prior other than N(0, I), and what the KL is from it."""

import dataclasses
import math

import numpy as np

from export import c_layers, c_random
from export.c_program import Chain, array, literal, loop

# Two roundings, also where the compiler would make one of them.
_SPREAD = """\
        const volatile float part = draw(seed, index, i) * temperature;
        const volatile float spread = part * spreads[at * {latent} + i];
        work[i] = z[i] = spread + means[at * {latent} + i];"""
_LOG_DENSITY = """\
/* Of a code under the components of a row. */
static float log_density(const float *code, int32_t row)
{
    float most = 0.0f, total = 0.0f;
    for (int32_t k = row * %(components)d; k < (row + 1) * %(components)d; k++) {
        float sum = log_weights[k];
        for (int32_t i = 0; i < %(latent)d; i++) {
            const float error = (code[i] - means[k * %(latent)d + i]) / spreads[k * %(latent)d + i];
            sum -= 0.5f * error * error + logf(spreads[k * %(latent)d + i]) + %(constant)s;
        }
        if (k == row * %(components)d || sum > most) {
            total = total * expf(most - sum) + 1.0f;
            most = sum;
        } else {
            total += expf(sum - most);
        }
    }
    return logf(total) + most;
}
"""
_CONSTANT = literal(0.5 * math.log(math.tau))


class Prior:
    """What a program has of a prior, besides its own arrays and functions, `texts`.

    `work` is a dict of parts that it takes of `work`, `chains` are its networks. `lines` set `z`
    and the beginning of `work` to a draw; `divergence` add to `kl` that of the code in `heads` from
    it. Both take a function that gives the lines which put the conditions into `work` from an index
    on.
    """

    chains = ()
    work = {}  # noqa: RUF012
    texts = ()


@dataclasses.dataclass(frozen=True)
class Mixture(Prior):
    """A `priors.FittedMixture` as tables.

    Args:
        means, scales: float32 arrays `(rows, components, latent)`.
        thresholds: int32 array `(rows, components - 1)`: how many of a row's `uniform` reaches is
            the component.
        labels: Tuple of `(c_name, num_classes)`, the labels that a row stands for, the last
            changing first.
        log_weights: Optional array `(rows, components)`, of a scorer.
    """

    means: np.ndarray
    scales: np.ndarray
    thresholds: np.ndarray
    labels: tuple
    log_weights: np.ndarray | None = None

    @property
    def components(self):
        return self.means.shape[1]

    @property
    def texts(self):
        texts = [array("float", "means", self.means), array("float", "spreads", self.scales)]
        if self.log_weights is not None:
            if self.components > 1:
                _, _, latent = self.means.shape
                said = {"components": self.components, "latent": latent, "constant": _CONSTANT}
                texts += [array("float", "log_weights", self.log_weights), _LOG_DENSITY % said]
        elif self.thresholds.size:
            texts += [array("int32_t", "thresholds", self.thresholds), c_random.UNIFORM]
        return texts

    def _row(self):
        lines = ["    int32_t at = 0;"]
        return lines + [f"    at = at * {count + 1} + {name};" for name, count in self.labels]

    def lines(self, given):
        latent, lines = self.means.shape[-1], self._row()
        if self.components > 1:
            lines += [
                "    const int32_t chosen = uniform(seed, index);",
                f"    const int32_t *const edges = thresholds + at * {self.components - 1};",
                f"    at *= {self.components};",
                f"    for (int32_t i = 0; i < {self.components - 1}; i++) {{",
                "        at += chosen >= edges[i];",
                "    }",
            ]
        return [
            *lines,
            f"    for (int32_t i = 0; i < {latent}; i++) {{",
            *_SPREAD.format(latent=latent).splitlines(),
            "    }",
        ]

    def divergence(self, given):
        latent = self.means.shape[-1]
        if self.components > 1:
            return [*self._row(), "    kl -= log_density(heads, at);", *_entropy(latent)]
        scale = f"spreads[at * {latent} + i]"
        return [
            *self._row(),
            f"    for (int32_t i = 0; i < {latent}; i++) {{",
            f"        const float apart = (heads[i] - means[at * {latent} + i]) / {scale};",
            f"        const float wide = {_bounded(latent)} - 2.0f * logf({scale});",
            "        kl += 0.5f * (apart * apart + expm1f(wide) - wide);",
            "    }",
        ]


@dataclasses.dataclass(frozen=True)
class ConditionalNormal(Prior):
    """A `priors.ConditionalNormal` as a network of the conditions.

    Args:
        layers: Tuple of `c_program.Layer`, the last one makes mean and log-variance in a row.
        latent: Int, size of the code.
    """

    layers: tuple
    latent: int

    @property
    def chains(self):
        return (Chain("moments", "latent", self.layers),)

    @property
    def work(self):
        return {"latent": 2 * self.latent}

    def lines(self, given):
        return [
            *given(0),
            "    moments(work, latent);",
            f"    for (int32_t i = 0; i < {self.latent}; i++) {{",
            "        const float part = draw(seed, index, i) * temperature;",
            f"        const float spread = expf(latent[{self.latent} + i] / 2.0f) * part;",
            "        work[i] = z[i] = latent[i] + spread;",
            "    }",
        ]

    def divergence(self, given):
        return [
            *given(0),
            "    moments(work, latent);",
            f"    for (int32_t i = 0; i < {self.latent}; i++) {{",
            f"        const float v = latent[{self.latent} + i];",
            "        const float apart = (heads[i] - latent[i]) / expf(v / 2.0f);",
            f"        const float wide = {_bounded(self.latent)} - v;",
            "        kl += 0.5f * (apart * apart + expm1f(wide) - wide);",
            "    }",
        ]


@dataclasses.dataclass(frozen=True)
class Flow(Prior):
    """A `priors.RealNVP` as its networks, which see every other entry of a code.

    Args:
        networks: Tuple of tuples of `c_program.Layer`, the last one of each makes log-scale and
            shift in a row.
        kept: Tuple of 0 and 1: which entries each one sees, the even or the odd ones.
        latent: Int, size of the code.
        seen: Int, how many numbers the networks see of the conditions.
    """

    networks: tuple
    kept: tuple
    latent: int
    seen: int

    @property
    def chains(self):
        networks = enumerate(self.networks)
        return tuple(Chain(f"couple_{k}", "latent", layers) for k, layers in networks)

    @property
    def work(self):
        beside = {"beside": self.seen} if self.seen else {}
        return {"latent": 2 * self.latent, "code": self.latent, **beside}

    def _couple(self, k, others):
        """Lines that set `latent` by a network, and every entry that it does not see."""
        beside = loop(self.seen, f"work[{self.latent} + i] = beside[i];") if self.seen else []
        return [
            *loop(self.latent, f"work[i] = i % 2 == {self.kept[k]} ? code[i] : 0.0f;"),
            *beside,
            f"    couple_{k}(work, latent);",
            f"    for (int32_t i = {1 - self.kept[k]}; i < {self.latent}; i += 2) {{",
            "        const float scale = 2.0f * tanhf(latent[i] / 2.0f);",
            *(f"        {line}" for line in others),
            "    }",
        ]

    def _beside(self, given):
        """Lines that keep the conditions where no layer writes."""
        kept = loop(self.seen, f"beside[i] = work[{self.latent} + i];") if self.seen else []
        return [*given(self.latent), *kept]

    def lines(self, given):
        lines = self._beside(given)
        lines += loop(self.latent, "code[i] = draw(seed, index, i) * temperature;")
        moved = f"code[i] = code[i] * expf(scale) + latent[{self.latent} + i];"
        for k in range(len(self.networks)):
            lines += self._couple(k, [moved])
        return [*lines, *loop(self.latent, "work[i] = z[i] = code[i];")]

    def divergence(self, given):
        lines = [*self._beside(given), *loop(self.latent, "code[i] = heads[i];")]
        back = f"code[i] = (code[i] - latent[{self.latent} + i]) * expf(-scale);"
        for k in reversed(range(len(self.networks))):
            lines += self._couple(k, [back, "kl += scale;"])
        half = f"kl += 0.5f * code[i] * code[i] + {_CONSTANT};"
        return [*lines, *loop(self.latent, half), *_entropy(self.latent)]


def _bounded(latent):
    """The C expression of the log-variance of the entry `i` of a code, within its range."""
    from keras_vae.posteriors import LOG_VAR_RANGE

    low, high = map(literal, LOG_VAR_RANGE)
    return f"fminf(fmaxf(heads[{latent} + i], {low}), {high})"


def _entropy(latent):
    """Lines that add the log-density of a code's mean, of its posterior, to `kl`."""
    return loop(latent, f"kl -= 0.5f * {_bounded(latent)} + {_CONSTANT};")


def of(prior, conditions, latent_dim, scores=False):
    """What a program has of a model's prior; None for N(0, I).

    Args:
        prior: Object of `keras_vae.priors`.
        conditions: Tuple of `c_program.Condition`.
        latent_dim: Int.
        scores: Whether it is for the KL, rather than for draws.

    Raises:
        ValueError: If it is no prior that the C format draws from.
    """
    from keras_vae import priors

    if type(prior) in (priors.GaussianMixture, priors.VampPrior, priors.ConditionalNormal):
        prior = prior.fixed()
    if type(prior) is priors.StandardNormal:
        return None
    if type(prior) is priors.ConditionalNormal:
        return ConditionalNormal(_network(prior.hidden, prior.heads), latent_dim)
    if type(prior) is priors.RealNVP:
        networks = tuple(_network(c.hidden, c.heads) for c in prior.couplings)
        kept = tuple(coupling.parity for coupling in prior.couplings)
        return Flow(networks, kept, latent_dim, sum(entry.seen for entry in conditions))
    if type(prior) is not priors.FittedMixture:
        known = ", ".join(sorted(set(priors.__all__) - {"Prior"}))
        raise ValueError(
            f"The C format draws from the priors {known}. Received: {type(prior).__name__}. Export "
            "the `decoder`, or fit the prior."
        )
    c_names = {condition.name: condition.c_name for condition in conditions}
    labels = tuple((c_names[name], count) for name, _, count in prior.classes)
    scales, log_weights = prior.scales, None
    if scores:
        scales, log_weights = np.maximum(scales, 1e-15), _log_weights(prior)
    return Mixture(prior.means, scales, prior.thresholds, labels, log_weights)


def _network(hidden, heads):
    return c_layers.few_in_float([*map(c_layers.dense, hidden), c_layers.joined(heads)])


def _log_weights(prior):
    """As `FittedMixture` has them: 0 is half of a part of 2^31."""
    from keras_vae import portable_random

    edges = np.pad(prior.thresholds.astype("float64"), ((0, 0), (1, 1)))
    edges[:, -1] = portable_random.SEEDS
    return np.log(np.maximum(np.diff(edges), 0.5) / portable_random.SEEDS)
