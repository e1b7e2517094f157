"""A C program that computes an encoder: from data and conditions to the code's parameters."""

import dataclasses
import math

from export import c_functions, c_layers
from export.c_program import Program, array, chain, in_comment, literal, loop

# The index of a value's channel, where the function's text needs it.
CHANNEL = "const int32_t channel = i % {};"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder(Program):
    """As a `Program`, whose `layers` are those of the encoder; the last one has both heads.

    Args:
        series: Optional `SeriesSchema`, whose windows are standardised first.
        beside_steps: Whether conditions are put beside every step of `x`, rather than after it.
    """

    series: object = None
    beside_steps: bool = False

    arithmetic = "int8 weights, float32 where they are few, float arithmetic"
    examples = "example"

    @property
    def size(self):
        """The number of values of an example."""
        return math.prod(self.data_shape)

    @property
    def buffer_sizes(self):
        first, second = _largest(self.layers)
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

    def sizes(self):
        steps = zip(("STEPS", "CHANNELS"), self.data_shape, strict=True) if self.series else ()
        return {**dict(steps), **super().sizes()}

    def buffers(self, macro):
        code = f"{macro}_LATENT_DIM"
        return (
            f"    float x[{macro}_{self.size_of_x}], z_mean[{code}], z_log_var[{code}], "
            f"work[{macro}_WORK_SIZE];"
        )

    def describe_x(self):
        """Lines of the header's comment that say what `x` is."""
        shape = " x ".join(map(str, self.data_shape))
        if self.series is None:
            return [f"    x: {self.size} finite floats, {shape}."]
        units = [
            in_comment(name) + (f" in {in_comment(kind.unit)}" if kind.unit else "")
            for name, kind in self.series.channels.items()
        ]
        return [
            f"    x: {self.size} finite floats, step by step, {shape}: as the sensors give them, "
            f"{', '.join(units)}."
        ]

    def describe_data(self, prefix):
        return [
            *self.describe_x(),
            f"    z_mean: is set to the mean of the code, {self.latent_dim} floats.",
            f"    z_log_var: is set to the logarithm of its variance, {self.latent_dim} floats.",
        ]

    def functions(self):
        first, second, _ = self.buffer_sizes
        return [
            *c_functions.of(self.layers),
            chain("encode", "heads", self.layers, 0, (first, second, 0)),
            *self.moments(),
        ]

    def moments(self):
        """The texts of what windows of a series are standardised by."""
        if self.series is None:
            return []
        return [
            array("float", "channel_means", self.series.mean),
            array("float", "channel_stds", self.series.std),
        ]

    @property
    def value(self):
        """The C expression of the value `i` as the model takes it."""
        scaled = "(x[i] - channel_means[channel]) / channel_stds[channel]"
        return "x[i]" if self.series is None else scaled

    def channel(self, is_used):
        """Lines that say which channel the value `i` is of, where that is used."""
        return [f"        {CHANNEL.format(self.data_shape[-1])}"] if is_used else []

    def encoding(self):
        """Lines that check the arguments and set `heads`, which is in `work`."""
        lines = [f"    float *const heads = work + {sum(self.buffer_sizes[:2])};"]
        for entry in self.conditions:
            if entry.names is not None:
                at = entry.c_name
                lines += [
                    f"    if ({at} < 0 || {at} > {entry.size}) {{",
                    "        return 1;",
                    "    }",
                ]
        return [
            *lines,
            f"    for (int32_t i = 0; i < {self.size}; i++) {{",
            "        if (!isfinite(x[i])) {",
            "            return 1;",
            "        }",
            "    }",
            *self._take(),
            "    encode(work, heads);",
        ]

    def _take(self):
        """Lines that put `x` and the conditions into `work`."""
        seen = sum(entry.seen for entry in self.conditions)
        at = "i"
        if self.beside_steps and seen:
            steps, channels = self.data_shape
            at = f"i / {channels} * {channels + seen} + i % {channels}"
        lines = [
            f"    for (int32_t i = 0; i < {self.size}; i++) {{",
            *self.channel(self.series is not None),
            f"        work[{at}] = {self.value};",
            "    }",
        ]
        if at == "i":
            return [*lines, *self._given(self.size)]
        # Beside the first step, and then as there.
        wide = channels + seen
        copied = f"work[(i / {seen} + 1) * {wide} + {channels} + i % {seen}]"
        copy = loop((steps - 1) * seen, f"{copied} = work[{channels} + i % {seen}];")
        return [*lines, *self._given(channels), *copy]

    def _run(self, prefix):
        from keras_vae.posteriors import LOG_VAR_RANGE

        low, high = map(literal, LOG_VAR_RANGE)
        latent = self.latent_dim
        return "\n".join(
            [
                self.declaration(prefix),
                "{",
                *self.encoding(),
                f"    for (int32_t i = 0; i < {latent}; i++) {{",
                f"        const float v = heads[{latent} + i];",
                "        z_mean[i] = heads[i];",
                f"        z_log_var[i] = v < {low} ? {low} : v > {high} ? {high} : v;",
                "    }",
                "    return 0;",
                "}",
                "",
            ]
        )


def _largest(layers):
    """Floats of the two parts of `work` that a chain of layers reads and writes in turn."""
    shapes = [layers[0].x_shape, *(layer.shape for layer in layers[:-1])]
    sizes = [math.prod(shape) for shape in shapes]
    return max(sizes[0::2]), max(sizes[1::2], default=0)


def sizes_of(*chains):
    """Floats of the two parts of `work` that several chains need, one after the other."""
    return tuple(max(sizes) for sizes in zip(*map(_largest, chains), strict=True))


def of(model, said):
    """The program of a model's encoder, or a refusal.

    Args:
        model: A model of `keras_vae`, built.
        said: Dict of what every `Program` takes.

    Raises:
        ValueError: If its network, its code or its data are others than the C format encodes.
    """
    refuse("encoders", encoder_needs(model))
    return Encoder(
        **said, **encoder_parts(model), layers=c_layers.of_encoder(model.encoder, model.data_shape)
    )


def encoder_parts(model):
    """Dict of what an `Encoder` takes besides its layers."""
    from keras_vae.networks import Conv1DEncoder

    return {"series": model.schema, "beside_steps": type(model.encoder) is Conv1DEncoder}


def refuse(what, needs):
    """Raise a ValueError that names the first thing that must hold of a model and does not.

    Args:
        what: Str, what the C format holds.
        needs: Iterable of tuples of a bool, what must hold, and what there is.
    """
    for holds, kinds, received in needs:
        if not holds:
            raise ValueError(
                f"The C format holds {what} of: {kinds}. Received: {received}. {c_layers.ELSEWHERE}"
            )


def encoder_needs(model):
    """Yield what must hold of a model, in words, and what it has: each if those before hold."""
    from keras_vae.data import SeriesSchema
    from keras_vae.models.vae import VAE
    from keras_vae.posteriors import DiagonalNormal

    schema = model.schema
    fits = schema is None or isinstance(schema, SeriesSchema)
    yield fits, "data without a schema, and series", type(schema).__name__
    is_vae = isinstance(model, VAE) and type(model).infer is VAE.infer
    yield is_vae, "VAEs", type(model).__name__
    name = type(model.encoder).__name__
    yield type(model.encoder) in c_layers.encoders(), "DenseEncoder and Conv1DEncoder", name
    posterior = type(model.posterior)
    yield posterior is DiagonalNormal, "diagonal posteriors", posterior.__name__
