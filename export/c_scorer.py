"""A C program that computes a scorer: encoder, decoder, likelihood, KL and p-value."""

import dataclasses
import math

import numpy as np

from export import c_encoder, c_functions, c_layers
from export.c_program import array, chain, literal, loop

# What a value adds to the negative log-likelihood under the parameter `v`. Of a Bernoulli the
# larger part of softplus comes first, so that no exponential overflows.
NEGATIVE_LOG_LIKELIHOODS = {
    "bernoulli": "(v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v))) - v * value",
    "gaussian": "0.5f * (value - v) * (value - v) * {precision} + {offset}",
}
SCORES = ("negative_elbo", "reconstruction")

_KL = """\
/* Of the diagonal Gaussian of the code against N(0, I): expm1f keeps it exact near 0. */
static float divergence(const float *heads)
{
    float sum = 0.0f;
    for (int32_t i = 0; i < %d; i++) {
        const float mean = heads[i], given = heads[%d + i];
        const float v = given < %s ? %s : given > %s ? %s : given;
        sum += 0.5f * (mean * mean + expm1f(v) - v);
    }
    return sum;
}
"""
_P_VALUE = """\
/* By straight lines between the scores that are kept of the calibration. */
static float p_value_of(float value, int32_t group)
{
    const int32_t first = group_starts[group], last = group_starts[group + 1] - 1;
    if (value <= kept_scores[first]) {
        return kept_p_values[first];
    }
    for (int32_t i = first + 1; i <= last; i++) {
        if (value < kept_scores[i]) {
            const float part = (value - kept_scores[i - 1]) / (kept_scores[i] - kept_scores[i - 1]);
            return kept_p_values[i - 1] + part * (kept_p_values[i] - kept_p_values[i - 1]);
        }
    }
    return kept_p_values[last];
}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scorer(c_encoder.Encoder):
    """As an `Encoder`, whose `layers` are those of the encoder and then those of the decoder.

    Args:
        encoder_depth: Int, how many of the layers are the encoder's.
        term: C expression of what a value adds to the negative log-likelihood.
        has_kl: Whether the score has the KL besides.
        scales: Optional pair of arrays, of each channel the precision and the term of its scale.
        calibration: Optional `Calibration`.
    """

    encoder_depth: int
    term: str
    has_kl: bool
    scales: tuple | None = None
    calibration: object = None

    @property
    def chains(self):
        """The layers of the encoder, and those of the decoder."""
        return self.layers[: self.encoder_depth], self.layers[self.encoder_depth :]

    @property
    def buffer_sizes(self):
        return (*c_encoder.sizes_of(*self.chains), 2 * self.latent_dim)

    def buffers(self, macro):
        values = "".join(
            f"{'' if k == 0 else ', '}{name}[{macro}_{self.size_of_x}]"
            for k, name in enumerate(("x", "contribution", "x_reconstructed"))
        )
        outputs = "score, p_value" if self.calibration is not None else "score"
        return f"    float {outputs}, {values}, work[{macro}_WORK_SIZE];"

    def describe_data(self, prefix):
        lines = [
            *self.describe_x(),
            "    score: is set to how unusual x is, nats: the higher the more.",
        ]
        if self.calibration is not None:
            rate = f"{self.calibration.false_alarms:g}"
            lines += [
                "    p_value: is set to the share of normal examples that score as high; in alarm "
                f"up to {rate}."
            ]
        return [
            *lines,
            f"    contribution: is set to what each value adds to the score, {self.size} floats.",
            f"    x_reconstructed: is set to what the model makes of x, {self.size} floats.",
        ]

    def functions(self):
        first, second, _ = self.buffer_sizes
        texts = c_functions.of(self.layers)
        encoder, decoder = self.chains
        texts.append(chain("encode", "heads", encoder, 0, (first, second, 0)))
        texts.append(chain("decode", "x", decoder, len(encoder), (first, second, 0)))
        texts += self.moments()
        for name, values in zip(("precisions", "offsets"), self.scales or (), strict=False):
            texts.append(array("float", name, values))
        if self.has_kl:
            from keras_vae.posteriors import LOG_VAR_RANGE

            low, high = map(literal, LOG_VAR_RANGE)
            texts.append(_KL % (self.latent_dim, self.latent_dim, low, low, high, high))
        if self.calibration is not None:
            groups = self.calibration.groups
            starts = np.cumsum([0, *(len(group["scores"]) for group in groups)])
            texts.append(array("int32_t", "group_starts", starts))
            if self.calibration.condition is not None:
                of_class = self.calibration.group_of_class
                texts.append(array("int32_t", "group_of_class", of_class))
            for name in ("scores", "p_values"):
                kept = np.concatenate([group[name] for group in groups])
                texts.append(array("float", f"kept_{name}", kept))
            texts.append(_P_VALUE)
        return texts

    def _run(self, prefix):
        made = self.mean or "v"
        if self.series is not None:
            made = f"{made} * channel_stds[channel] + channel_means[channel]"
        lines = [
            self.declaration(prefix),
            "{",
            *self.encoding(),
            "    float total = 0.0f;",
            *loop(self.latent_dim, "work[i] = heads[i];"),
            *self._given(self.latent_dim),
            "    decode(work, x_reconstructed);",
            f"    for (int32_t i = 0; i < {self.size}; i++) {{",
            *self.channel(self.series is not None or self.scales is not None),
            f"        const float value = {self.value}, v = x_reconstructed[i];",
            f"        contribution[i] = {self.term};",
            "        total += contribution[i];",
            f"        x_reconstructed[i] = {made};",
            "    }",
        ]
        if self.has_kl:
            lines += [
                "    const float kl = divergence(heads);",
                *loop(self.size, f"contribution[i] += kl / {self.size}.0f;"),
                "    total += kl;",
            ]
        lines += ["    *score = total;"]
        if self.calibration is not None:
            name = self.calibration.condition
            [group] = [
                f"group_of_class[{entry.c_name}]" for entry in self.conditions if entry.name == name
            ] or ["0"]
            lines += [f"    *p_value = p_value_of(total, {group});"]
        return "\n".join([*lines, "    return 0;", "}", ""])


def of(model, said):
    """The program of a model's scorer, or a refusal.

    Args:
        model: A model of `keras_vae`, built.
        said: Dict of what every `Program` takes.

    Raises:
        ValueError: If its networks, its code, its likelihood or its score are others than the C
            format scores by.
    """
    c_encoder.refuse("scorers", _needs(model))
    likelihood = model.likelihood
    term, scales = NEGATIVE_LOG_LIKELIHOODS[likelihood.name], None
    if likelihood.name == "gaussian":
        log_scale = c_layers.numpy(likelihood.log_scale)
        scales = np.exp(-2 * log_scale), log_scale + 0.5 * math.log(math.tau)
        if likelihood.channels is None:
            precision, offset = map(literal, scales)
            term, scales = term.format(precision=precision, offset=offset), None
        else:
            term = term.format(precision="precisions[channel]", offset="offsets[channel]")
    encoder = c_layers.of_encoder(model.encoder, model.data_shape)
    return Scorer(
        **said,
        **c_encoder.encoder_parts(model),
        layers=(*encoder, *c_layers.few_in_float(c_layers.of(model.decoder))),
        encoder_depth=len(encoder),
        term=term,
        has_kl=model.scoring.score == "negative_elbo",
        scales=scales,
        calibration=model.scoring.calibration,
    )


def _needs(model):
    """As `c_encoder.encoder_needs`, of a scorer."""
    from keras_vae.likelihoods import LocationScale
    from keras_vae.networks import Conv1DDecoder, DenseDecoder
    from keras_vae.priors import StandardNormal

    score, likelihood, decoder = model.scoring.score, model.likelihood, type(model.decoder)
    yield from c_encoder.encoder_needs(model)
    fits = decoder in (DenseDecoder, Conv1DDecoder)
    yield fits, "DenseDecoder and Conv1DDecoder", decoder.__name__
    fits = likelihood.name in NEGATIVE_LOG_LIKELIHOODS
    if isinstance(likelihood, LocationScale):
        fits = fits and likelihood.scale != "per_pixel"
    told = f"{likelihood.name}, scale={likelihood.scale!r}"
    yield fits, "Bernoulli, and Gaussians of one scale or one for each channel", told
    yield score in SCORES, " and ".join(SCORES), score
    is_known = score == "reconstruction" or type(model.prior) is StandardNormal
    yield is_known, "the KL against StandardNormal", type(model.prior).__name__
