"""A C program that computes an encoder: from data and conditions to the code's parameters."""

import dataclasses

from export import c_layers
from export.c_program import Chain, Program, in_comment, literal, loop, refusal

# The index of a value's channel, where the function's text needs it.
CHANNEL = "const int32_t channel = i % {};"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder(Program):
    """As a `Program`, whose `layers` are those of the encoder; the last one has both heads.

    Args:
        beside_places: Whether conditions are put beside every step or pixel of `x`, rather than
            after it.
        has_variance: Whether there is a `z_log_var`.
    """

    beside_places: bool = False
    has_variance: bool = True

    examples = "example"

    @property
    def arithmetic(self):
        if self.in_float:
            return super().arithmetic
        return "int8 weights, float32 where they are few, float arithmetic"

    @property
    def chains(self):
        return (Chain("encode", "heads", self.layers),)

    @property
    def work(self):
        parts = super().work
        places = self.size // self.data_shape[-1] if self.beside_places else 1
        parts["a"] = max(parts["a"], self.size + places * self.seen)
        return {**parts, "heads": (1 + self.has_variance) * self.latent_dim}

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
        code = "".join(f"{port['name']}[{macro}_LATENT_DIM], " for port in self.specs[1])
        return f"    float x[{macro}_{self.size_of_x}], {code}work[{macro}_WORK_SIZE];"

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
        words = {"z_log_var": "logarithm of its variance", "z_mean": "mean of the code"}
        return [
            *self.describe_x(),
            *(
                f"    {port['name']}: is set to the {words.get(port['name'], 'code')}, "
                f"{self.latent_dim} floats."
                for port in self.specs[1]
            ),
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
        return [
            *refusal(list(filter(None, (entry.refused() for entry in self.conditions)))),
            *self.pointers(),
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
        seen, at = self.seen, "i"
        if self.beside_places and seen:
            channels = self.data_shape[-1]
            at = f"i / {channels} * {channels + seen} + i % {channels}"
        lines = [
            f"    for (int32_t i = 0; i < {self.size}; i++) {{",
            *self.channel(self.series is not None),
            f"        work[{at}] = {self.value};",
            "    }",
        ]
        if at == "i":
            return [*lines, *self.given(self.size)]
        # Beside the first place, and then as there.
        wide = channels + seen
        copied = f"work[(i / {seen} + 1) * {wide} + {channels} + i % {seen}]"
        others = self.size // channels - 1
        copy = loop(others * seen, f"{copied} = work[{channels} + i % {seen}];") if others else []
        return [*lines, *self.given(channels), *copy]

    def _run(self, prefix):
        from keras_vae.posteriors import LOG_VAR_RANGE

        low, high = map(literal, LOG_VAR_RANGE)
        latent = self.latent_dim
        if self.has_variance:
            lines = [
                f"    for (int32_t i = 0; i < {latent}; i++) {{",
                f"        const float v = heads[{latent} + i];",
                "        z_mean[i] = heads[i];",
                f"        z_log_var[i] = v < {low} ? {low} : v > {high} ? {high} : v;",
                "    }",
            ]
        else:
            lines = loop(latent, "z[i] = heads[i];")
        lines = [self.declaration(prefix), "{", *self.encoding(), *lines]
        return "\n".join([*lines, "    return 0;", "}", ""])


def of(model, said):
    """The program of a model's encoder, or a refusal.

    Args:
        model: A model of `keras_vae`, built.
        said: Dict of what every `Program` takes.

    Raises:
        ValueError: If its network, its code or its data are others than the C format encodes.
    """
    refuse("encoders", encoder_needs(model))
    parts = encoder_parts(model)
    layers = c_layers.of_encoder(model.encoder, model.data_shape, parts["has_variance"])
    return Encoder(**said, **parts, layers=layers)


def encoder_parts(model):
    """Dict of what an `Encoder` takes besides its layers."""
    from keras_vae.models import Autoencoder
    from keras_vae.networks import DenseEncoder

    return {
        "beside_places": type(model.encoder) is not DenseEncoder,
        "has_variance": not isinstance(model, Autoencoder),
    }


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
    from keras_vae.models import VAE, Autoencoder
    from keras_vae.posteriors import DiagonalNormal

    yield takes(model)
    is_plain = isinstance(model, Autoencoder) and type(model).code is Autoencoder.code
    is_vae = isinstance(model, VAE) and type(model).infer is VAE.infer
    yield is_plain or is_vae, "autoencoders and VAEs", type(model).__name__
    encoders = c_layers.encoders()
    known = ", ".join(encoder.__name__ for encoder in encoders)
    yield type(model.encoder) in encoders, known, type(model.encoder).__name__
    if is_vae:
        posterior = type(model.posterior)
        yield posterior is DiagonalNormal, "diagonal posteriors", posterior.__name__


def takes(model):
    """What must hold of a model's data, as `refuse` takes it."""
    from keras_vae.data import SeriesSchema

    fits = model.schema is None or isinstance(model.schema, SeriesSchema)
    return fits, "data without a schema, and series", type(model.schema).__name__
