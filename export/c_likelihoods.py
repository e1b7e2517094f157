"""What a C program makes of a decoder's parameters: means, and how unlikely values are."""

import dataclasses
import math

import numpy as np

from export import c_layers
from export.c_program import array, literal

# Of a location and a scale that the decoder gives, `p` their first one.
_LOG_SCALE = "7.0f * tanhf(p[{apart}] / 7.0f)"
_CONTINUOUS_MEAN = """\
/* The mean of a density exp(v x) on [0, 1]; near v = 0, where it is 0/0, by its series. */
static float continuous_mean(float v)
{
    const float s = v * v;
    if (s < 1.0f) {
        return 0.5f + v * (1.0f / 12.0f - s * (1.0f / 720.0f
               - s * (1.0f / 30240.0f - s / 1209600.0f)));
    }
    return 0.5f + 0.5f / tanhf(v / 2.0f) - 1.0f / v;
}
"""
_CONTINUOUS_TERM = """\
/* What a value adds to the negative log-likelihood under a density exp(v x) on [0, 1]. */
static float continuous_term(float v, float value)
{
    const float s = v * v, most = fabsf(v);
    if (s < 1.0f) {
        return v * (0.5f - value) + s * (1.0f / 24.0f - s * (1.0f / 2880.0f - s / 181440.0f));
    }
    return (v > 0.0f ? v : 0.0f) - v * value + log1pf(-expf(-most)) - logf(most);
}
"""
_SOFTPLUS = """\
static float softplus(float v)
{
    return (v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v)));
}
"""
# Sums over entries that lie apart, the largest one first, so that no exponential overflows.
_LARGEST = """\
static float largest_of(const float *p, int32_t count)
{
    float most = p[0];
    for (int32_t k = 1; k < count; k++) {
        most = p[k * %(apart)d] > most ? p[k * %(apart)d] : most;
    }
    return most;
}
"""
_LEVELS_MEAN = """\
/* The mean of levels in [0, 1] by their logits. */
static float levels_mean(const float *p)
{
    const float most = largest_of(p, %(levels)d);
    float sum = 0.0f, total = 0.0f;
    for (int32_t k = 0; k < %(levels)d; k++) {
        const float weight = expf(p[k * %(apart)d] - most);
        sum += weight;
        total += weight * (float)k;
    }
    return total / sum / %(highest)d.0f;
}
"""
_LEVELS_TERM = """\
/* What a value, of the nearest level, adds to the negative log-likelihood. */
static float levels_term(const float *p, float value)
{
    const float most = largest_of(p, %(levels)d), level = rintf(value * %(highest)d.0f);
    float sum = 0.0f;
    for (int32_t k = 0; k < %(levels)d; k++) {
        sum += expf(p[k * %(apart)d] - most);
    }
    sum = logf(sum) + most;
    return level < 0.0f || level > %(highest)d.0f ? sum : sum - p[(int32_t)level * %(apart)d];
}
"""
_LOGISTIC_MEAN = """\
/* The mean of a mixture of logistics, each cut to [0, 1]; of wide ones by its series. */
static float logistic_mean(const float *p)
{
    const float most = largest_of(p, %(count)d);
    float sum = 0.0f, total = 0.0f;
    for (int32_t k = 0; k < %(count)d; k++) {
        const float weight = expf(p[k * %(apart)d] - most);
        const float loc = p[(%(count)d + k) * %(apart)d];
        const float scale = expf(7.0f * tanhf(p[(2 * %(count)d + k) * %(apart)d] / 7.0f));
        const float slope = tanhf(loc / scale / 2.0f);
        const float narrow = (1.0f - slope * slope) / scale / scale / 12.0f;
        float mean = (1.0f + slope * (1.0f - narrow)) / 2.0f;
        if (scale < %(wide)s) {
            mean = (softplus((loc + 1.0f) / scale) - softplus((loc - 1.0f) / scale)) * scale / 2.0f;
        }
        sum += weight;
        total += weight * mean;
    }
    total /= sum;
    return total < 0.0f ? 0.0f : total > 1.0f ? 1.0f : total;
}
"""
_LOGISTIC_TERM = """\
/* What a value, of the nearest level, adds to the negative log-likelihood. */
static float logistic_term(const float *p, float value)
{
    const float level = rintf(value * %(highest)d.0f), most = largest_of(p, %(count)d);
    float sum = 0.0f, total = 0.0f, above = 0.0f;
    for (int32_t k = 0; k < %(count)d; k++) {
        const float error = 2.0f * level / %(highest)d.0f - 1.0f - p[(%(count)d + k) * %(apart)d];
        const float by = expf(-7.0f * tanhf(p[(2 * %(count)d + k) * %(apart)d] / 7.0f));
        float part = p[k * %(apart)d];
        sum += expf(part - most);
        if (level < %(highest)d.0f) {
            part -= softplus(-(error + 1.0f / %(highest)d.0f) * by);
        }
        if (level > 0.0f) {
            part -= softplus((error - 1.0f / %(highest)d.0f) * by);
        }
        if (level > 0.0f && level < %(highest)d.0f) {
            part += logf(-expm1f(-2.0f / %(highest)d.0f * by));
        }
        if (k == 0 || part > above) {
            total = total * expf(above - part) + 1.0f;
            above = part;
        } else {
            total += expf(part - above);
        }
    }
    return logf(sum) + most - logf(total) - above;
}
"""


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """How a program makes means, terms and draws of a decoder's parameters, in C expressions.

    They are of `v`, the one parameter of a value; or of `p`, where the first of several is, and the
    others are `apart` from each other; of `channel`, that of the value; and of `value` itself.

    Args:
        count: Int, the parameters of each value.
        apart: Int, the number of channels of the data.
        mean: Expression of the mean, or None for `v`.
        term: Optional one of what a value adds to the negative log-likelihood.
        spread: Optional one of the standard deviation by which values are drawn.
        texts: Tuple of the texts of functions and arrays that these use.
        by_channel: Whether `term` or `spread` uses `channel`.
    """

    count: int = 1
    apart: int = 1
    mean: str | None = None
    term: str | None = None
    spread: str | None = None
    texts: tuple = ()
    by_channel: bool = False

    def parameters(self, start):
        """A statement that declares `p` of the value `i`, of parameters from a place on."""
        place = f"{start} + i / {self.apart} * {self.apart * self.count} + i % {self.apart}"
        return f"const float *const p = {place};"


def of(likelihood, channels, purpose):
    """The `Likelihood` of a model's one, or None where the C format has it not.

    Args:
        likelihood: Object of `keras_vae.likelihoods`.
        channels: Int, the size of the data's last axis.
        purpose: `"mean"`, `"draw"` or `"score"`: means, with draws or terms besides.
    """
    from keras_vae import likelihoods

    kind = type(likelihood)
    if kind is likelihoods.Bernoulli:
        # The larger part of softplus first, so that no exponential overflows.
        term = "(v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v))) - v * value"
        return Likelihood(mean="1.0f / (1.0f + expf(-v))", term=term)
    if kind is likelihoods.ContinuousBernoulli:
        texts = (_CONTINUOUS_MEAN, *([_CONTINUOUS_TERM] if purpose == "score" else []))
        term = "continuous_term(v, value)"
        return Likelihood(mean="continuous_mean(v)", term=term, texts=texts)
    if kind in (likelihoods.Gaussian, likelihoods.Laplace):
        return _location_scale(likelihood, channels, purpose, kind is likelihoods.Gaussian)
    if kind is likelihoods.Categorical:
        said = {"apart": channels, "levels": likelihood.levels, "highest": likelihood.levels - 1}
        return _of_several("levels", (_LARGEST,), likelihood, said, purpose)
    if kind is likelihoods.DiscretizedLogisticMixture:
        from keras_vae.distributions import WIDE_SCALE

        said = {"apart": channels, "highest": likelihood.levels - 1, "wide": literal(WIDE_SCALE)}
        said["count"] = likelihood.components
        return _of_several("logistic", (_SOFTPLUS, _LARGEST), likelihood, said, purpose)
    return None


def names():
    """The names of the likelihoods that there is something of."""
    from keras_vae import likelihoods

    classes = likelihoods.LIKELIHOODS.values()
    return [c.name for c in classes if of(c(), 1, "mean") is not None]


_TEXTS = {"levels": (_LEVELS_MEAN, _LEVELS_TERM), "logistic": (_LOGISTIC_MEAN, _LOGISTIC_TERM)}


def _of_several(name, helpers, likelihood, said, purpose):
    mean, term = _TEXTS[name]
    texts = (*helpers, mean, *([term] if purpose == "score" else []))
    return Likelihood(
        likelihood.parameters_per_value,
        said["apart"],
        f"{name}_mean(p)",
        f"{name}_term(p, value)",
        texts=tuple(text % said for text in texts),
    )


def _location_scale(likelihood, channels, purpose, is_gaussian):
    """That of a location and a scale; of means alone, nothing but the location is computed."""
    if purpose == "mean":
        return Likelihood()
    if likelihood.scale == "per_pixel":
        log_scale = _LOG_SCALE.format(apart=channels)
        term = _term(is_gaussian, "p[0]", f"({log_scale})", f"expf(-({log_scale}))")
        return Likelihood(2, channels, "p[0]", term, f"expf({log_scale})")
    log_scale = c_layers.numpy(likelihood.log_scale)
    tables = {"offsets": log_scale, "precisions": np.exp(-log_scale), "widths": np.exp(log_scale)}
    of_each = likelihood.channels is not None
    offset, precision, width = (
        f"{name}[channel]" if of_each else literal(values) for name, values in tables.items()
    )
    used = ("widths",) if purpose == "draw" else ("offsets", "precisions")
    texts = tuple(array("float", name, tables[name]) for name in used) if of_each else ()
    term = _term(is_gaussian, "v", offset, precision)
    return Likelihood(term=term, spread=width, texts=texts, by_channel=of_each)


def _term(is_gaussian, location, log_scale, precision):
    if not is_gaussian:
        return f"fabsf((value - {location}) * {precision}) + {log_scale} + {literal(math.log(2))}"
    error = f"(value - {location}) * {precision}"
    constant = literal(0.5 * math.log(math.tau))
    return f"0.5f * ({error}) * ({error}) + {log_scale} + {constant}"
