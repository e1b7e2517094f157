"""C programs of a model with a codebook: from its codes to data, and back."""

import dataclasses
import math

import numpy as np

from export import c_encoder, c_layers, c_program
from export.c_program import array, refusal

_NEAREST = """\
/* The first of the nearest vectors of the codebook. */
static int32_t nearest(const float *v)
{
    int32_t at = 0;
    float best = 0.0f;
    for (int32_t code = 0; code < %(codes)d; code++) {
        const float *c = codebook + code * %(dim)d;
        float product = 0.0f, square = 0.0f;
        for (int32_t i = 0; i < %(dim)d; i++) {
            product += v[i] * c[i];
            square += c[i] * c[i];
        }
        if (code == 0 || 2.0f * product - square > best) {
            best = 2.0f * product - square;
            at = code;
        }
    }
    return at;
}
"""
_LEVELS = """\
/* The code of rounded values: of the first one the level changes first. */
static int32_t nearest(const float *v)
{
    static const int32_t levels[%(dim)d] = {%(levels)s};
    int32_t code = 0, base = 1;
    for (int32_t i = 0; i < %(dim)d; i++) {
        code += base * (int32_t)rintf((tanhf(v[i]) + 1.0f) / 2.0f * (float)(levels[i] - 1));
        base *= levels[i];
    }
    return code;
}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OfCodes:
    """What a program of codes has besides.

    Args:
        grid: Tuple of ints, how many codes an example has, down and across.
        codebook: float32 array `(num_codes, dim)`.
    """

    grid: tuple
    codebook: np.ndarray

    @property
    def places(self):
        return math.prod(self.grid)

    def sizes(self):
        sizes = super().sizes()
        del sizes["LATENT_DIM"]
        return {"CODES": self.places, "NUM_CODES": len(self.codebook), **sizes}

    def codes_in_words(self):
        height, width = self.grid
        return f"{self.places} ints from 0 to {len(self.codebook) - 1}, {height} x {width}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder(_OfCodes, c_program.Program):
    """As a `Program`, of codes in the place of `z`."""

    @property
    def parameters(self):
        return ["const int32_t *codes", "float *x", "float *work"]

    def buffers(self, macro):
        return f"    float x[{macro}_SIZE], work[{macro}_WORK_SIZE]; int32_t codes[{macro}_CODES];"

    def describe_code(self):
        return [f"    codes: {self.codes_in_words()}."]

    def functions(self):
        return [array("float", "codebook", self.codebook), *super().functions()]

    def _run(self, prefix):
        dim = self.codebook.shape[1]
        refused = refusal([f"codes[i] < 0 || codes[i] >= {len(self.codebook)}"])
        lines = [
            *(self.declaration(prefix), "{"),
            f"    for (int32_t i = 0; i < {self.places}; i++) {{",
            *(f"    {line}" for line in refused),
            "    }",
            *self.pointers(),
            *c_program.loop(
                self.places * dim, f"work[i] = codebook[codes[i / {dim}] * {dim} + i % {dim}];"
            ),
            *self.decoding(),
        ]
        return "\n".join([*lines, "    return 0;", "}", ""])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder(_OfCodes, c_encoder.Encoder):
    """As an `Encoder`, whose last layer makes the vectors that codes stand for.

    Args:
        levels: Optional tuple of ints, of a `FiniteScalarQuantizer`.
    """

    levels: tuple | None = None

    @property
    def work(self):
        return {**super().work, "heads": self.places * self.codebook.shape[1]}

    @property
    def parameters(self):
        return ["const float *x", "int32_t *codes", "float *work"]

    def buffers(self, macro):
        return f"    float x[{macro}_SIZE], work[{macro}_WORK_SIZE]; int32_t codes[{macro}_CODES];"

    def describe_data(self, prefix):
        return [*self.describe_x(), f"    codes: is set to {self.codes_in_words()}."]

    def functions(self):
        said = {"codes": len(self.codebook), "dim": self.codebook.shape[1]}
        if self.levels is not None:
            said["levels"] = ", ".join(map(str, self.levels))
            return [*super().functions(), _LEVELS % said]
        return [array("float", "codebook", self.codebook), *super().functions(), _NEAREST % said]

    def _run(self, prefix):
        dim = self.codebook.shape[1]
        lines = [self.declaration(prefix), "{", *self.encoding()]
        lines += c_program.loop(self.places, f"codes[i] = nearest(heads + i * {dim});")
        return "\n".join([*lines, "    return 0;", "}", ""])


def of(graph, said, likelihood):
    """The program of a decoder or an encoder of codes, or a refusal.

    Args:
        graph: The `Graph`, of a model with a codebook.
        said: Dict of what every `Program` takes.
        likelihood: `c_likelihoods.Likelihood` of means.

    Raises:
        ValueError: If its networks or its codebook are others than the C format holds.
    """
    from keras_vae.layers import FiniteScalarQuantizer, VectorQuantizer

    model = graph.model
    quantizer = model.quantizer
    is_known = type(quantizer) in (VectorQuantizer, FiniteScalarQuantizer)
    known = "VectorQuantizer and FiniteScalarQuantizer"
    c_encoder.refuse("codebooks", [(is_known, known, type(quantizer).__name__)])
    codes = {"grid": tuple(model.grid_shape), "codebook": c_layers.numpy(quantizer.codebook)}
    if graph.name == "decoder":
        layers = c_layers.of_grid(model.decoder, (*codes["grid"], quantizer.dim))
        count = model.likelihood.parameters_per_value
        if likelihood.count < count:
            layers = c_layers.of_locations(layers, said["data_shape"][-1], count)
        return Decoder(**said, **codes, layers=layers, likelihood=likelihood)
    layers = c_layers.of_grid_encoder(model.encoder, said["data_shape"])
    levels = getattr(quantizer, "levels", None)
    levels = levels and tuple(map(int, levels))
    return Encoder(**said, **codes, layers=layers, levels=levels)
