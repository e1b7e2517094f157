"""A C program that computes a scorer: encoder, decoder, likelihood, KL and p-value."""

import dataclasses
import math

import numpy as np

from export import c_functions, c_layers
from export.c_program import Program, array, chain, literal, loop

# What the value `x` adds to the negative log-likelihood under the parameter `v`. Of a Bernoulli the
# larger part of softplus comes first, so that no exponential overflows.
NEGATIVE_LOG_LIKELIHOODS = {
    "bernoulli": "(v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v))) - v * x[i]",
    "gaussian": "0.5f * (x[i] - v) * (x[i] - v) * {precision} + {offset}",
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
class Scorer(Program):
    """As a `Program`, whose `layers` are those of the encoder and then those of the decoder.

    Args:
        encoder_depth: Int, how many of the layers are the encoder's; the last one has both heads.
        term: C expression of what a value adds to the negative log-likelihood.
        has_kl: Whether the score has the KL besides.
        calibration: Optional `Calibration`.
    """

    encoder_depth: int
    term: str
    has_kl: bool
    calibration: object = None

    arithmetic = "int8 weights, float32 where they are few, float arithmetic"
    examples = "example"

    @property
    def buffer_sizes(self):
        chains = self.layers[: self.encoder_depth], self.layers[self.encoder_depth :]
        sizes = [[math.prod(s) for s in (c[0].x_shape, *(x.shape for x in c[:-1]))] for c in chains]
        first = max(size for found in sizes for size in found[0::2])
        second = max((size for found in sizes for size in found[1::2]), default=0)
        return first, second, 2 * self.latent_dim

    @property
    def parameters(self):
        made = [f"float *{port['name']}" for port in self.specs[1]]
        return [
            "const float *x",
            *(condition.parameter for condition in self.conditions),
            *made,
            "float *work",
        ]

    def buffers(self, macro):
        values = "".join(
            f"{'' if k == 0 else ', '}{name}[{macro}_{self.size_of_x}]"
            for k, name in enumerate(("x", "contribution", "x_reconstructed"))
        )
        outputs = "score, p_value" if self.calibration is not None else "score"
        return f"    float {outputs}, {values}, work[{macro}_WORK_SIZE];"

    def describe_data(self, prefix):
        size = math.prod(self.data_shape)
        shape = " x ".join(map(str, self.data_shape))
        lines = [
            f"    x: {size} finite floats, {shape}.",
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
            f"    contribution: is set to what each value adds to the score, {size} floats.",
            f"    x_reconstructed: is set to what the model makes of x, {size} floats.",
        ]

    def functions(self):
        first, second, _ = self.buffer_sizes
        depth, texts = self.encoder_depth, c_functions.of(self.layers)
        texts.append(chain("encode", "heads", self.layers[:depth], 0, (first, second, 0)))
        texts.append(chain("decode", "x", self.layers[depth:], depth, (first, second, 0)))
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
        size, latent = math.prod(self.data_shape), self.latent_dim
        first, second, _ = self.buffer_sizes
        lines = [
            self.declaration(prefix),
            "{",
            f"    float *const heads = work + {first + second};",
        ]
        lines += ["    float total = 0.0f;"]
        for condition in filter(None, (entry.refused() for entry in self.conditions)):
            lines += [f"    if ({condition}) {{", "        return 1;", "    }"]
        lines += [
            f"    for (int32_t i = 0; i < {size}; i++) {{",
            "        if (!isfinite(x[i])) {",
            "            return 1;",
            "        }",
            "    }",
            *loop(size, "work[i] = x[i];"),
            *self._given(size),
            "    encode(work, heads);",
            *loop(latent, "work[i] = heads[i];"),
            *self._given(latent),
            "    decode(work, x_reconstructed);",
            f"    for (int32_t i = 0; i < {size}; i++) {{",
            "        const float v = x_reconstructed[i];",
            f"        contribution[i] = {self.term};",
            "        total += contribution[i];",
            f"        x_reconstructed[i] = {self.mean or 'v'};",
            "    }",
        ]
        if self.has_kl:
            lines += [
                "    const float kl = divergence(heads);",
                *loop(size, f"contribution[i] += kl / {size}.0f;"),
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
    score, likelihood = model.scoring.score, model.likelihood
    for holds, what, received in _needs(model):
        if not holds:
            raise ValueError(
                f"The C format holds scorers of: {what}. Received: {received}. {c_layers.ELSEWHERE}"
            )
    term = NEGATIVE_LOG_LIKELIHOODS[likelihood.name]
    if likelihood.name == "gaussian":
        log_scale = float(c_layers.numpy(likelihood.log_scale))
        offset = log_scale + 0.5 * math.log(math.tau)
        term = term.format(precision=literal(math.exp(-2 * log_scale)), offset=literal(offset))
    encoder = c_layers.of_encoder(model.encoder)
    return Scorer(
        **said,
        layers=(*encoder, *c_layers.few_in_float(c_layers.of(model.decoder))),
        encoder_depth=len(encoder),
        term=term,
        has_kl=score == "negative_elbo",
        calibration=model.scoring.calibration,
    )


def _needs(model):
    """Yield what must hold of a model, in words, and what it has: each if those before hold."""
    from keras_vae.likelihoods import LocationScale
    from keras_vae.models.vae import VAE
    from keras_vae.networks import DenseDecoder, DenseEncoder
    from keras_vae.posteriors import DiagonalNormal
    from keras_vae.priors import StandardNormal

    score, likelihood = model.scoring.score, model.likelihood
    yield model.schema is None, "data without a schema", type(model.schema).__name__
    is_vae = isinstance(model, VAE) and type(model).infer is VAE.infer
    yield is_vae, "VAEs", type(model).__name__
    for part, kind in ((model.encoder, DenseEncoder), (model.decoder, DenseDecoder)):
        yield type(part) is kind, kind.__name__, type(part).__name__
    posterior = type(model.posterior)
    yield posterior is DiagonalNormal, "diagonal posteriors", posterior.__name__
    fits = likelihood.name in NEGATIVE_LOG_LIKELIHOODS
    if isinstance(likelihood, LocationScale):
        fits = fits and likelihood.scale != "per_pixel" and likelihood.channels is None
    told = f"{likelihood.name}, scale={likelihood.scale!r}"
    yield fits, "Bernoulli, and Gaussians of one scale", told
    yield score in SCORES, " and ".join(SCORES), score
    is_known = score == "reconstruction" or type(model.prior) is StandardNormal
    yield is_known, "the KL against StandardNormal", type(model.prior).__name__
