"""How a C program draws a latent code: from N(0, I), or from a mixture of Gaussians in tables."""

import dataclasses

import numpy as np

# `keras_vae.portable_random.normal`; its file says why no product overflows.
DRAW = """\
/* Seven rounds over a seed, an image and a dimension: two halves of 16 bits each. */
static void rounds(int32_t seed, int32_t index, int32_t dimension, int32_t half[2])
{
    const int32_t low = seed % 65536;
    const int32_t high = seed / 65536;
    const int32_t mixed = (low * 20077 + high * 25057) % 65536;
    const int32_t key[3] = {low + 40503, high + 35129, mixed + 46337};
    half[0] = index / 65536 * 4096 + dimension;
    half[1] = index % 65536;
    for (int32_t n = 0; n < 7; n++) {
        const int32_t sum = half[1] + key[n % 3];
        const int32_t next = (sum * (sum / 16) / 128 + half[0]) % 65536;
        half[0] = half[1];
        half[1] = next;
    }
}

/* One draw from N(0, 1): the same bits for the same arguments on every machine. */
static float draw(int32_t seed, int32_t index, int32_t dimension)
{
    int32_t half[2];
    rounds(seed, index, dimension, half);
    return normal_a[half[0] / 16] + normal_b[half[1] / 16];
}
"""
# `keras_vae.portable_random.uniform`, of the last dimension.
_UNIFORM = """\
/* A whole number from 0 to 2147483647. */
static int32_t uniform(int32_t seed, int32_t index)
{
    int32_t half[2];
    rounds(seed, index, 4095, half);
    return half[0] * 32768 + half[1] / 2;
}
"""


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A `priors.FittedMixture` as tables.

    Args:
        means, scales: float32 arrays `(rows, components, latent)`.
        thresholds: int32 array `(rows, components - 1)`: how many of a row's `uniform` reaches is
            the component.
        labels: Tuple of `(c_name, num_classes)`, the labels that a row stands for, the last
            changing first.
    """

    means: np.ndarray
    scales: np.ndarray
    thresholds: np.ndarray
    labels: tuple

    @property
    def tables(self):
        """C types, names and values of the constant arrays."""
        thresholds = [("int32_t", "thresholds", self.thresholds)] if self.thresholds.size else []
        return [("float", "means", self.means), ("float", "spreads", self.scales), *thresholds]

    @property
    def functions(self):
        return [_UNIFORM] if self.thresholds.size else []

    def lines(self):
        """The statements that set `z` and the beginning of `work`."""
        _, components, latent_dim = self.means.shape
        lines = ["    int32_t at = 0;"]
        lines += [f"    at = at * {count + 1} + {name};" for name, count in self.labels]
        if components > 1:
            lines += [
                "    const int32_t chosen = uniform(seed, index);",
                f"    const int32_t *const edges = thresholds + at * {components - 1};",
                f"    at *= {components};",
                f"    for (int32_t i = 0; i < {components - 1}; i++) {{",
                "        at += chosen >= edges[i];",
                "    }",
            ]
        return [
            *lines,
            f"    for (int32_t i = 0; i < {latent_dim}; i++) {{",
            "        /* Two roundings, also where the compiler would make one of them. */",
            "        const volatile float part = draw(seed, index, i) * temperature;",
            f"        const volatile float spread = part * spreads[at * {latent_dim} + i];",
            f"        work[i] = z[i] = spread + means[at * {latent_dim} + i];",
            "    }",
        ]


def of(prior, conditions):
    """The tables of a model's prior; None for N(0, I).

    Args:
        prior: Object of `keras_vae.priors`.
        conditions: Tuple of `c_program.Condition`.

    Raises:
        ValueError: If it is no prior that the C format draws from.
    """
    from keras_vae.priors import FittedMixture, StandardNormal

    if type(prior) is StandardNormal:
        return None
    if type(prior) is not FittedMixture:
        raise ValueError(
            "The C format draws from the priors StandardNormal and FittedMixture, which fit_prior "
            f"makes. Received: {type(prior).__name__}. Export the `decoder`, or fit the prior."
        )
    c_names = {condition.name: condition.c_name for condition in conditions}
    labels = tuple((c_names[name], count) for name, _, count in prior.classes)
    return Mixture(prior.means, prior.scales, prior.thresholds, labels)
