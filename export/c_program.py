"""A C program that computes a decoder or sampler: its text."""

import dataclasses
import json
import math
import textwrap

import numpy as np

from export import c_functions, c_random, manifest, quantization

# By the name in `keras.activations`, with the defaults that they have there.
ACTIVATIONS = {
    "linear": None,
    "relu": "v > 0.0f ? v : 0.0f",
    "relu6": "v > 6.0f ? 6.0f : v > 0.0f ? v : 0.0f",
    "leaky_relu": "v > 0.0f ? v : 0.2f * v",
    "elu": "v > 0.0f ? v : expm1f(v)",
    "selu": "1.05070099f * (v > 0.0f ? v : 1.67326324f * expm1f(v))",
    "gelu": "0.5f * v * (1.0f + erff(v * 0.707106781f))",
    "silu": "v / (1.0f + expf(-v))",
    "mish": "v * tanhf((v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v))))",
    "sigmoid": "1.0f / (1.0f + expf(-v))",
    "hard_sigmoid": "v > 3.0f ? 1.0f : v > -3.0f ? v / 6.0f + 0.5f : 0.0f",
    "hard_silu": "v > 3.0f ? v : v > -3.0f ? v * (v / 6.0f + 0.5f) : 0.0f",
    "tanh": "tanhf(v)",
    "softplus": "(v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v)))",
    "softsign": "v / (1.0f + fabsf(v))",
    "exponential": "expf(v)",
}
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2", "-ffp-contract=off")
SIGNATURE = "/* signature: %s */"
# What a call takes of the stack at most, with libm's functions; a test measures it.
STACK_BYTES = 1024
MANIFEST = f"/* {manifest.KEY} manifest: %s */"
# Of C and C++, whose programs include the header; usual macros; and what the functions use.
TAKEN = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class co_await
    co_return co_yield compl complex concept const const_cast consteval constexpr constinit continue
    decltype default delete do double dynamic_cast else enum errno explicit export extern false far
    float for friend goto huge if imaginary inline int int32_t interface linux long mutable
    namespace near new noexcept noreturn not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast requires restrict return short signed sizeof small static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid
    typename typeof typeof_unqual union unix unsigned using virtual void volatile wchar_t while xor
    xor_eq
    apart are_tags at beside best channel channel_means channel_stds chosen code codebook codes
    continuous_mean continuous_term contribution decode divergence draw edges encode factors
    group_of_class heads i index isfinite kl known largest_of latent levels_mean levels_term
    log_density log_weights logistic_mean logistic_term means middles moments nearest node
    offsets p p_value p_value_of parameters part precisions rounds scale score seed softmax
    softplus spread spreads temperature thresholds total uniform v value wide widths work x
    x_reconstructed z z_log_var z_mean
"""
_ARE_TAGS = """\
static int are_tags(const int32_t *values, int32_t size)
{
    for (int32_t i = 0; i < size; i++) {
        if (values[i] < 0 || values[i] > 2) {
            return 0;
        }
    }
    return 1;
}
"""


@dataclasses.dataclass(frozen=True)
class Layer:
    """One linear map with what follows it, folded into it.

    Args:
        kind: Name of the C function that computes it.
        kernel: float64 array `(outputs, ..., inputs)`.
        bias: float64 array `(outputs,)`.
        x_shape: Shape of what it takes: `(inputs,)`, `(height, width, channels)`, or of `slide`
            `(steps, channels)`.
        shape: Shape of what it makes.
        activation: Optional C expression of a value `v`.
        repeat: How often `convolve` repeats each pixel first, and `slide` each step.
        stride, before: Of both, from one place to the next, and zeros before the first: an int,
            or a pair of rows and columns.
        is_added: Whether the result is added to what the layer before was given.
        is_float: Whether the weights stay float32.
    """

    kind: str
    kernel: np.ndarray
    bias: np.ndarray
    x_shape: tuple
    shape: tuple
    activation: str | None = None
    repeat: int = 1
    stride: int = 1
    before: int | tuple = 0
    is_added: bool = False
    is_float: bool = False

    @property
    def function(self):
        """The name of the C function that computes it."""
        return f"{self.kind}_float" if self.is_float else self.kind

    @property
    def arguments(self):
        """What its C function takes between the arrays and the buffers."""
        if self.kind == "dense":
            return math.prod(self.x_shape), math.prod(self.shape)
        if self.kind == "slide":
            steps = self.x_shape[0] if self.repeat == 1 else self.shape[0]
            moves = self.kernel.shape[1], self.before, self.stride, self.repeat
            return (*moves, steps, self.x_shape[1], *self.shape)
        if self.kind == "convolve":
            sides = (self.x_shape if self.repeat == 1 else self.shape)[:2]
            moves = *self.kernel.shape[1:3], *self.before, self.stride, self.repeat
            return (*moves, *sides, self.x_shape[2], *self.shape)
        return (*self.kernel.shape[1:3], *self.x_shape, *self.shape)


@dataclasses.dataclass(frozen=True)
class Chain:
    """Layers one after the other, of which the program makes a function.

    Args:
        name, output: Str, of the function and of what it sets.
        layers: Tuple of `Layer`.
        last: Optional C expression of every value `v` at the end.
    """

    name: str
    output: str
    layers: tuple
    last: str | None = None


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition as the C function takes it; `names` are the classes of a categorical one or tags.

    The networks see where an ordered one is at least class `i`, of others which class it is, or
    that row of `vectors`, a float array `(size, seen)` that stays `in_float` or is rounded, or 1 at
    the classes of that row of `paths`, an int array `(size + 1, depth)` in which `size` is none. Of
    numbers, `size` is how many the function takes, `seen` how many the networks see, `told` the
    range and the unit in words, and `scaling` a middle and a factor for each, or None.
    """

    name: str
    c_name: str
    size: int
    names: tuple | None
    seen: int
    is_ordered: bool = False
    has_unknown: bool = True
    told: str | None = None
    scaling: tuple | None = None
    vectors: np.ndarray | None = None
    paths: np.ndarray | None = None
    has_tags: bool = False
    in_float: bool = False

    @classmethod
    def of(cls, name, c_name, kind, vectors=None, in_float=False):
        """That of a kind, with the learned vectors of a `Categorical` that has them."""
        if kind.kind == "multi_label":
            return cls(name, c_name, kind.size, kind.names, kind.size, has_tags=True)
        if kind.kind == "categorical":
            return cls(
                *(name, c_name, kind.num_classes, kind.names, kind.size),
                is_ordered=kind.manifest().get("ordered", False),
                vectors=vectors,
                in_float=in_float,
                paths=getattr(kind, "paths", None),
            )
        return cls(
            *(name, c_name, kind.dim, None, kind.size),
            has_unknown=bool(kind.unknown_rate),
            told=kind.described_range(),
            scaling=kind.scaling(),
        )

    @property
    def parameter(self):
        """Its declaration."""
        kind = "const float *" if self.names is None else "int32_t "
        return ("const int32_t *" if self.has_tags else kind) + self.c_name

    def refused(self, least=0):
        """C expression that holds where it is out of its range, or None of numbers."""
        if self.has_tags:
            return f"!are_tags({self.c_name}, {self.size})"
        if self.names is None:
            return None
        return f"{self.c_name} < {least} || {self.c_name} > {self.size}"

    def arrays(self):
        """The texts of its constant arrays."""
        if self.paths is not None:
            return [array("int32_t", f"paths_of_{self.c_name}", self.paths)]
        if self.vectors is None:
            return []
        if self.in_float:
            return [array("float", f"vectors_of_{self.c_name}", self.vectors)]
        levels, scales = quantization.as_int8(self.vectors, axis=1)
        return [
            array("int8_t", f"vectors_of_{self.c_name}", levels),
            array("float", f"scales_of_{self.c_name}", scales),
        ]

    def given(self, start):
        """Lines that put what the networks see into `work` from an index on."""
        if self.vectors is not None:
            label = self.c_name
            level = f"vectors_of_{label}[{label} * {self.seen} + i]"
            level = level if self.in_float else f"(float){level} * scales_of_{label}[i]"
            value = f"{label} < {self.size} ? {level} : 0.0f"
            return loop(self.seen, f"work[{start} + i] = {value};")
        if self.has_tags:
            tag = f"{self.c_name}[i]"
            value = f"{tag} == 1 ? 1.0f : {tag} == 0 ? -1.0f : 0.0f"
            return loop(self.size, f"work[{start} + i] = {value};")
        if self.paths is not None:
            label, depth = self.c_name, self.paths.shape[1]
            return [
                *loop(self.seen, f"work[{start} + i] = 0.0f;"),
                f"    for (int32_t i = 0; i < {depth}; i++) {{",
                f"        const int32_t node = paths_of_{label}[{label} * {depth} + i];",
                f"        if (node < {self.size}) {{",
                f"            work[{start} + node] = 1.0f;",
                "        }",
                "    }",
            ]
        if self.names is not None:
            seen = f"i == {self.c_name}"
            if self.is_ordered:
                seen = f"i <= {self.c_name} && {self.c_name} < {self.size}"
            return loop(self.size, f"work[{start} + i] = {seen} ? 1.0f : 0.0f;")
        value, before, after = f"{self.c_name}[i]", [], []
        if self.scaling is not None:
            value = f"({value} - middles[i]) * factors[i]"
            for name, values in zip(("middles", "factors"), self.scaling, strict=True):
                before += array("float", name, values).splitlines()
        if self.has_unknown:
            value = f"known ? {value} : 0.0f"
            before += [
                "int known = 1;",
                *loop(self.size, f"known = known && {self.c_name}[i] == {self.c_name}[i];", ""),
            ]
            after = [f"work[{start + self.size}] = known ? 1.0f : 0.0f;"]
        lines = [*before, *loop(self.size, f"work[{start} + i] = {value};", ""), *after]
        if not before:
            return [f"    {line}" for line in lines]
        return ["    {", *(f"        {line}" for line in lines), "    }"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """Everything that the two files say, and how.

    Args:
        graph: `"decoder"` or `"sampler"`.
        model: Name of the model's class.
        specs: Tuple of two tuples, the graph's inputs and outputs as `describe` gives them.
        latent_dim: Int.
        conditions: Tuple of `Condition`.
        layers: Tuple of `Layer`, of the decoder.
        likelihood: Optional `c_likelihoods.Likelihood`.
        data_shape: Tuple of ints.
        data_range: Optional tuple of two floats.
        prior: Optional object of `c_prior`, that a sampler draws from; None is N(0, I).
        series: Optional `SeriesSchema`, whose windows are in units.
        observes: Whether a sampler draws data from the likelihood, too.
        in_float: Whether all weights stay float32.
    """

    graph: str
    model: str
    specs: tuple
    latent_dim: int
    conditions: tuple
    layers: tuple
    likelihood: object = None
    data_shape: tuple
    data_range: tuple | None
    prior: object = None
    series: object = None
    observes: bool = False
    in_float: bool = False

    # What a subclass may say otherwise: words of the header, the macro of `x`'s size and the least
    # label of a condition.
    examples = "image"
    size_of_x = "SIZE"
    least_label = 0

    @property
    def arithmetic(self):
        """Words about its weights and its arithmetic."""
        return f"{'float32' if self.in_float else 'int8'} weights, float arithmetic"

    def drawing(self):
        """The texts of functions that come after the generator's."""
        return []

    def called(self):
        """Dict of what `load` must know besides of how to call the file."""
        return {}

    @property
    def size(self):
        """The number of values of an example."""
        return math.prod(self.data_shape)

    @property
    def seen(self):
        """How many numbers the networks see of the conditions."""
        return sum(entry.seen for entry in self.conditions)

    @property
    def chains(self):
        """Tuple of `Chain`: of the decoder, and of the prior."""
        of_prior = self.prior.chains if self.prior is not None else ()
        return (Chain("decode", "x", self.layers, self._of_decoded), *of_prior)

    @property
    def _of_decoded(self):
        """The C expression of what the decoder's end makes of `v`, or None."""
        if self.observes or self.likelihood.count > 1:
            return None
        return self.in_units(self.likelihood.mean)

    def in_units(self, value):
        """The C expression in units of one as the model has it; None is `v`."""
        if self.series is None:
            return value
        channel = f"i % {self.data_shape[-1]}"
        return f"({value or 'v'}) * channel_stds[{channel}] + channel_means[{channel}]"

    @property
    def all_layers(self):
        """Those of all chains."""
        return tuple(layer for chain in self.chains for layer in self.kept(chain.layers))

    def kept(self, layers):
        """Layers as their weights are kept."""
        if not self.in_float:
            return layers
        return tuple(dataclasses.replace(layer, is_float=True) for layer in layers)

    @property
    def work(self):
        """Dict from the parts of `work` to their floats: `a` and `b`, which layers read and write
        in turn, `c` for what is added to another, and more by name.
        """
        sizes = [_sizes_of(chain.layers) for chain in self.chains]
        parts = dict(zip("abc", map(max, zip(*sizes, strict=True)), strict=True))
        parts["a"] = max(parts["a"], self.latent_dim + self.seen)
        if self.likelihood is not None and self.likelihood.count > 1:
            parts["parameters"] = self.size * self.likelihood.count
        return parts | (self.prior.work if self.prior is not None else {})

    @property
    def work_size(self):
        return sum(self.work.values())

    def place(self, name):
        """Where a part of `work` begins, a C expression."""
        names = list(self.work)
        return f"work + {sum(self.work[other] for other in names[: names.index(name)])}"

    def pointers(self, *left_out):
        """Lines that declare the parts of `work` beside those of the layers."""
        named = [name for name in self.work if name not in ("a", "b", "c", *left_out)]
        return [f"    float *const {name} = {self.place(name)};" for name in named]

    @property
    def parameters(self):
        """The declarations of the function's parameters."""
        conditions = [condition.parameter for condition in self.conditions]
        if self.graph == "sampler":
            first = ["int32_t seed", "int32_t index", "float temperature"]
            return [*first, *conditions, "float *x", "float *z", "float *work"]
        return ["const float *z", *conditions, "float *x", "float *work"]

    def declaration(self, prefix):
        """The function without its body or semicolon."""
        start = f"int {prefix}_run("
        lines = textwrap.wrap(
            ", ".join(name.replace(" ", "\0") for name in self.parameters),
            max(98 - len(start), 40),
            break_long_words=False,
        )
        return (start + ("\n" + " " * len(start)).join(lines) + ")").replace("\0", " ")

    def header(self, prefix):
        """The text of the header."""
        macro = prefix.upper()
        lines = [
            *self._description(prefix),
            f"#ifndef {macro}_H",
            f"#define {macro}_H",
            "",
            "#include <stdint.h>",
            "",
            *(f"#define {macro}_{name} {value}" for name, value in self.sizes().items()),
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"{self.declaration(prefix)};",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
        ]
        return "\n".join(lines) + "\n"

    def sizes(self):
        """Dict from the ends of macros' names to what they are."""
        sizes = {"LATENT_DIM": self.latent_dim}
        if len(self.data_shape) == 3:
            sizes |= zip(("HEIGHT", "WIDTH", "CHANNELS"), self.data_shape, strict=True)
        sizes |= {self.size_of_x: math.prod(self.data_shape), "WORK_SIZE": self.work_size}
        for condition in self.conditions:
            is_array = condition.names is None or condition.has_tags
            kind = "DIM" if is_array else "UNKNOWN"
            sizes[f"{condition.c_name.upper()}_{kind}"] = condition.size
        return sizes

    def buffers(self, macro):
        """A line of the header's comment that declares what a call needs."""
        return (
            f"    float x[{macro}_{self.size_of_x}], z[{macro}_LATENT_DIM], "
            f"work[{macro}_WORK_SIZE];"
        )

    def describe_code(self):
        """Lines of the header's comment that say what the code is."""
        return [f"    z: {self.latent_dim} floats, the latent code."]

    def describe_data(self, prefix):
        """Lines of the header's comment that say what `x` is set to."""
        within = ""
        if self.data_range is not None:
            within = " from {:g} to {:g}".format(*self.data_range)
        shape = " x ".join(map(str, self.data_shape))
        return [f"    x: is set to {math.prod(self.data_shape)} floats{within}, {shape}."]

    def functions(self):
        """The texts of the functions from what `work` begins with to `x`."""
        return [
            *self.moments(),
            *c_functions.of(self.all_layers),
            *(self.likelihood.texts if self.likelihood is not None else ()),
            *self.chain_functions(),
        ]

    def chain_functions(self):
        """The texts of the functions of all chains."""
        texts, first = [], 0
        for each in self.chains:
            kept = dataclasses.replace(each, layers=self.kept(each.layers))
            texts.append(_chain(kept, first, self.work))
            first += len(each.layers)
        return texts

    def moments(self):
        """The texts of what windows of a series are standardised by."""
        if self.series is None:
            return []
        return [
            array("float", "channel_means", self.series.mean),
            array("float", "channel_stds", self.series.std),
        ]

    def _description(self, prefix):
        """The header's opening comment."""
        macro = prefix.upper()
        names = [parameter.split()[-1].lstrip("*") for parameter in self.parameters]
        paragraphs = [
            f"The {self.graph} of a {in_comment(self.model)[1:-1]}: {self.arithmetic}, "
            "C99 and libm.",
            "",
            "It allocates nothing and keeps nothing between calls: calls with a `work` each may "
            "run at once.",
            "",
            self.buffers(macro),
            f"    int status = {prefix}_run({', '.join(names)});",
            "",
            "Returns 0; or 1 where an argument is out of its range, and then writes nothing.",
            "",
        ]
        if self.graph == "sampler":
            paragraphs += [
                f"    seed: from 0 to 2147483647. The same one gives the same {self.examples}s on "
                "every device.",
                f"    index: which {self.examples} of the seed, from 0 to 1048575.",
                "    temperature: at least 0; 1 draws from the prior, 0 gives its mean.",
            ]
        elif self.graph == "decoder":
            paragraphs += self.describe_code()
        paragraphs += [f"    {self._describe_condition(entry)}" for entry in self.conditions]
        paragraphs += self.describe_data(prefix)
        if self.graph == "sampler":
            paragraphs += [f"    z: is set to the latent code, {self.latent_dim} floats."]
        paragraphs += [f"    work: {self.work_size} floats to compute with."]
        paragraphs += ["", *self._memory()]
        lines = []
        for paragraph in paragraphs:
            indent = " " * (len(paragraph) - len(paragraph.lstrip()))
            lines += textwrap.wrap(
                paragraph,
                96,
                subsequent_indent=indent * 2,
                break_long_words=False,
                break_on_hyphens=False,
            ) or [""]
        return ["/* " + lines[0], *(f" * {line}".rstrip() for line in lines[1:]), " */"]

    def _memory(self):
        """Lines of the header's comment that say what memory a call takes."""
        return [
            f"Memory: the arrays above, of which `work` has {4 * self.work_size} bytes; no heap; a "
            f"stack of at most {STACK_BYTES} bytes, that of libm's functions included. Weights and "
            "tables are constant, and may stay in flash."
        ]

    def _describe_condition(self, condition):
        renamed = condition.name != condition.c_name
        origin = f" (the condition {in_comment(condition.name)})" if renamed else ""
        if condition.names is None:
            told = f", trained on {in_comment(condition.told)[1:-1]}" if condition.told else ""
            nan = "; or NaN, unknown" if condition.has_unknown else ""
            floats = "1 float" if condition.size == 1 else f"{condition.size} floats"
            return f"{condition.c_name}{origin}: {floats}{told}{nan}."
        if condition.has_tags:
            tags = ", ".join(f"{i} {in_comment(name)}" for i, name in enumerate(condition.names))
            return (
                f"{condition.c_name}{origin}: {condition.size} ints, 1 for a tag, 0 for none, 2 "
                f"for unknown; {tags}."
            )
        last = condition.size
        if condition.names == tuple(map(str, range(last))):
            classes = f"the class, from 0 to {last - 1}"
        else:
            classes = ", ".join(f"{i} {in_comment(name)}" for i, name in enumerate(condition.names))
        below = "" if self.least_label == 0 else f"{self.least_label} or "
        return f"{condition.c_name}{origin}: {classes}; or {below}{last}, unknown."

    def source(self, prefix, header):
        """The text of the C file, which includes a header of this name."""
        from keras_vae import portable_random

        parts = [
            f'/* See {header}. */\n#include "{header}"\n\n#include <math.h>\n',
            *(self._arrays(index, layer) for index, layer in enumerate(self.all_layers)),
            *(text for condition in self.conditions for text in condition.arrays()),
            *([_ARE_TAGS] if any(condition.has_tags for condition in self.conditions) else []),
            *self.functions(),
        ]
        if self.graph == "sampler":
            tables = zip("ab", portable_random.tables(), strict=True)
            parts += [array("float", f"normal_{name}", table) for name, table in tables]
            parts.append(c_random.DRAW)
            if self.prior is not None:
                parts += self.prior.texts
        parts += self.drawing()
        return "\n".join([*parts, self._run(prefix), self._signature(prefix)])

    def _signature(self, prefix):
        """The comment that says how to call the file, for `describe` and `load`."""
        inputs, outputs = self.specs
        signature = {
            "name": self.graph,
            "inputs": inputs,
            "outputs": outputs,
            "function": f"{prefix}_run",
            "conditions": [condition.name for condition in self.conditions],
            "work_size": self.work_size,
            **self.called(),
        }
        return SIGNATURE % in_comment(signature) + "\n"

    @staticmethod
    def _arrays(index, layer):
        if layer.is_float:
            weights = array("float", f"weights_{index}", layer.kernel)
            return "\n".join([weights, array("float", f"biases_{index}", layer.bias)])
        levels, scales = quantization.as_int8(layer.kernel, axis=0)
        return "\n".join(
            [
                array("int8_t", f"weights_{index}", levels),
                array("float", f"scales_{index}", scales),
                array("float", f"biases_{index}", layer.bias),
            ]
        )

    def _run(self, prefix):
        """The function that the header declares."""
        from keras_vae import portable_random

        refused = list(filter(None, (c.refused(self.least_label) for c in self.conditions)))
        code = "work[i] = z[i];"
        if self.graph == "sampler":
            code = "work[i] = z[i] = draw(seed, index, i) * temperature;"
            refused = [
                f"seed < 0 || index < 0 || index >= {portable_random.MOST_EXAMPLES}",
                "!(temperature >= 0.0f && isfinite(temperature))",
                *refused,
            ]
        lines = [self.declaration(prefix), "{", *refusal(refused), *self.pointers()]
        if self.prior is None:
            lines += loop(self.latent_dim, code)
        else:
            lines += self.prior.lines(self.given)
        lines += [*self.given(self.latent_dim), *self.decoding()]
        return "\n".join([*lines, "    return 0;", "}", ""])

    def decoding(self):
        """Lines that set `x` by what `work` begins with."""
        likelihood = self.likelihood
        output = "parameters" if likelihood.count > 1 else "x"
        lines = [f"    decode(work, {output});"]
        if likelihood.count == 1 and not self.observes:
            return lines
        lines.append(f"    for (int32_t i = 0; i < {self.size}; i++) {{")
        if likelihood.by_channel:
            lines.append(f"        const int32_t channel = i % {self.data_shape[-1]};")
        if likelihood.count > 1:
            lines.append(f"        {likelihood.parameters('parameters')}")
        else:
            lines.append("        const float v = x[i];")
        value = likelihood.mean or "v"
        if self.observes:
            value += f" + {likelihood.spread} * draw(seed, index, {self.latent_dim} + i)"
        return [*lines, f"        x[i] = {self.in_units(value)};", "    }"]

    def given(self, start):
        """Lines that put the conditions into `work` from an index on."""
        lines = []
        for entry in self.conditions:
            lines += entry.given(start)
            start += entry.seen
        return lines


def refusal(conditions):
    """Lines that return 1 where one of some C expressions holds."""
    if not conditions:
        return []
    return [
        f"    if ({(chr(10) + '        || ').join(conditions)}) {{",
        "        return 1;",
        "    }",
    ]


def _sizes_of(layers):
    """Floats of the parts of `work` that layers read and write in turn, and of what is added."""
    shapes = [layers[0].x_shape, *(layer.shape for layer in layers[:-1])]
    sizes = [math.prod(shape) for shape in shapes]
    added = [math.prod(layer.shape) for layer in layers if layer.is_added]
    return max(sizes[0::2]), max(sizes[1::2], default=0), max(added, default=0)


def _chain(chain, first_index, work):
    """The text of a function from what `work` begins with to an output, layer by layer.

    Args:
        chain: `Chain`.
        first_index: Int, the number of the first layer's arrays.
        work: Dict of the floats of the parts of `work`.
    """
    layers, output = chain.layers, chain.output
    _, second, _ = _sizes_of(layers)
    has_third = any(layer.is_added for layer in layers)
    lines = [
        f"static void {chain.name}(float *work, float *{output})",
        "{",
        "    float *const a = work;",
        *([f"    float *const b = work + {work['a']};"] if second and len(layers) > 1 else []),
        *([f"    float *const c = work + {work['a'] + work['b']};"] if has_third else []),
    ]
    for index, layer in enumerate(layers):
        is_last, number = index == len(layers) - 1, first_index + index
        taken, made = "ab"[index % 2], output if is_last else "ab"[1 - index % 2]
        arguments = ", ".join(map(str, layer.arguments))
        call, into = f"    {layer.function}(", "c" if layer.is_added else made
        scales = "" if layer.is_float else f"scales_{number}, "
        lines += [
            f"{call}weights_{number}, {scales}biases_{number},",
            f"{' ' * len(call)}{arguments}, {taken}, {into});",
            *_for_each(math.prod(layer.shape), made, layer.activation, layer.is_added),
        ]
    size = math.prod(layers[-1].shape)
    return "\n".join([*lines, *_for_each(size, output, chain.last), "}", ""])


def array(c_type, name, values):
    """The definition of a constant array."""
    values = np.asarray(values).reshape(-1)
    as_text, columns = (literal, 5) if c_type == "float" else (str, 16 if c_type == "int8_t" else 6)
    literals = [as_text(value) for value in values.tolist()]
    lines = [
        "    " + ", ".join(literals[start : start + columns]) + ","
        for start in range(0, len(literals), columns)
    ]
    return "\n".join([f"static const {c_type} {name}[{len(literals)}] = {{", *lines, "};", ""])


def literal(value):
    """A float32 as the shortest literal that reads back as the same float32."""
    return f"{np.float32(value)!s}f"


def _for_each(count, values, expression, is_added=False):
    """Lines that apply an expression of `v` to every value of an array, with `c` added or not."""
    if expression is None and not is_added:
        return []
    return [
        f"    for (int32_t i = 0; i < {count}; i++) {{",
        f"        const float v = {values}[i]{' + c[i]' if is_added else ''};",
        f"        {values}[i] = {expression or 'v'};",
        "    }",
    ]


def loop(count, statement, indent="    "):
    lines = [f"for (int32_t i = 0; i < {count}; i++) {{", f"    {statement}", "}"]
    return [f"{indent}{line}" for line in lines]


def in_comment(value):
    """JSON in ASCII that can neither end a comment nor open one, nor hold a trigraph."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("*", "\\u002a").replace("?", "\\u003f")
