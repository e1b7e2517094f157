"""C programs of an encoder and a decoder: reconstructors, and scorers with KL and p-value."""

import dataclasses

import numpy as np

from export import c_encoder, c_layers, c_prior
from export.c_program import Chain, array, literal, loop

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
class Reconstructor(c_encoder.Encoder):
    """As an `Encoder`, with a decoder and a likelihood.

    Args:
        encoder_layers: Tuple of `Layer`; `layers` are those of the decoder.
    """

    encoder_layers: tuple

    @property
    def chains(self):
        of_prior = self.prior.chains if self.prior is not None else ()
        encode = Chain("encode", "heads", self.encoder_layers)
        return (encode, Chain("decode", "x", self.layers), *of_prior)

    def buffers(self, macro):
        size = f"[{macro}_{self.size_of_x}]"
        return f"    float x{size}, x_reconstructed{size}, work[{macro}_WORK_SIZE];"

    def describe_data(self, prefix):
        made = f"    x_reconstructed: is set to what the model makes of x, {self.size} floats."
        return [*self.describe_x(), made]

    def reconstruction(self, *others):
        """Lines that decode the code in `heads`, and others about each `value` and parameter.

        The parameter is `v`, or where `p` is the first of several.
        """
        likelihood, made = self.likelihood, self.likelihood.mean or "v"
        if self.series is not None:
            made = f"({made}) * channel_stds[channel] + channel_means[channel]"
        output, start = "x_reconstructed", "        const float v = x_reconstructed[i];"
        if likelihood.count > 1:
            output, start = "parameters", f"        {likelihood.parameters('parameters')}"
        lines = [
            *loop(self.latent_dim, "work[i] = heads[i];"),
            *self.given(self.latent_dim),
            f"    decode(work, {output});",
        ]
        if made == "v" and not others:
            return lines
        return [
            *lines,
            f"    for (int32_t i = 0; i < {self.size}; i++) {{",
            *self.channel(self.series is not None or likelihood.by_channel),
            start,
            *others,
            f"        x_reconstructed[i] = {made};",
            "    }",
        ]

    def _run(self, prefix):
        lines = [self.declaration(prefix), "{", *self.encoding(), *self.reconstruction()]
        return "\n".join([*lines, "    return 0;", "}", ""])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scorer(Reconstructor):
    """As a `Reconstructor`, with a score and a prior.

    Args:
        has_kl: Whether the score has the KL besides.
        calibration: Optional `Calibration`.
    """

    has_kl: bool
    calibration: object = None

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
        texts = super().functions()
        if self.has_kl and self.prior is None:
            from keras_vae.posteriors import LOG_VAR_RANGE

            low, high = map(literal, LOG_VAR_RANGE)
            texts.append(_KL % (self.latent_dim, self.latent_dim, low, low, high, high))
        if self.prior is not None:
            texts += self.prior.texts
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
        lines = [
            self.declaration(prefix),
            "{",
            *self.encoding(),
            "    float total = 0.0f;",
            *self.reconstruction(
                f"        const float value = {self.value};",
                f"        contribution[i] = {self.likelihood.term};",
                "        total += contribution[i];",
            ),
        ]
        if self.has_kl:
            if self.prior is None:
                lines.append("    const float kl = divergence(heads);")
            else:
                lines += ["    float kl = 0.0f;", *self.prior.divergence(self.given)]
            lines += [
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
    parts = c_encoder.encoder_parts(model)
    encoder = c_layers.of_encoder(model.encoder, model.data_shape, parts["has_variance"])
    has_kl = model.scoring.score == "negative_elbo" and parts["has_variance"]
    prior = None
    if has_kl:
        prior = c_prior.of(model.prior, said["conditions"], said["latent_dim"], scores=True)
    return Scorer(
        **{**said, **parts, "prior": prior},
        layers=c_layers.few_in_float(c_layers.of(model.decoder)),
        encoder_layers=encoder,
        has_kl=has_kl,
        calibration=model.scoring.calibration,
    )


def reconstructor_of(model, said):
    """The program of a model's reconstructor, of what a `Program` takes and `layers`."""
    parts = c_encoder.encoder_parts(model)
    encoder = c_layers.of_encoder(model.encoder, model.data_shape, parts["has_variance"])
    return Reconstructor(**said, **parts, encoder_layers=encoder)


def _needs(model):
    """As `c_encoder.encoder_needs`, of a scorer."""
    yield from c_encoder.encoder_needs(model)
    score = model.scoring.score
    yield score in SCORES, " and ".join(SCORES), score
