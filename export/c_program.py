"""A C program that computes a decoder or sampler: its text."""

import dataclasses
import json
import math
import textwrap

import numpy as np

from export import c_functions, c_prior, manifest, quantization

# The mean, of one parameter `v`, by the likelihood's name; None is `v` itself.
LIKELIHOODS = {"bernoulli": "1.0f / (1.0f + expf(-v))", "gaussian": None, "laplace": None}

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
    are_tags at channel channel_means channel_stds chosen contribution decode divergence draw edges
    encode factors group_of_class heads i index isfinite kl known latent means middles node offsets
    p_value p_value_of part precisions rounds score seed spread spreads temperature thresholds total
    uniform v value work x x_reconstructed z z_log_var z_mean
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
        stride, before: Of `slide`, steps from one place to the next, and zeros before the first.
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
    before: int = 0
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
            return (*self.kernel.shape[1:3], self.repeat, *self.x_shape[1:], *self.shape)
        return (*self.kernel.shape[1:3], *self.x_shape, *self.shape)


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition as the C function takes it; `names` are the classes of a categorical one or tags.

    The networks see where an ordered one is at least class `i`, of others which class it is, or
    that row of `vectors`, a float array `(size, seen)`, or 1 at the classes of that row of `paths`,
    an int array `(size + 1, depth)` in which `size` is none. Of numbers, `size` is how many the
    function takes, `seen` how many the networks see, `told` the range and the unit in words, and
    `scaling` a middle and a factor for each, or None.
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

    @classmethod
    def of(cls, name, c_name, kind, vectors=None):
        """That of a kind, with the learned vectors of a `Categorical` that has them."""
        if kind.kind == "multi_label":
            return cls(name, c_name, kind.size, kind.names, kind.size, has_tags=True)
        if kind.kind == "categorical":
            return cls(
                *(name, c_name, kind.num_classes, kind.names, kind.size),
                is_ordered=kind.manifest().get("ordered", False),
                vectors=vectors,
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
        levels, scales = quantization.as_int8(self.vectors, axis=1)
        return [
            array("int8_t", f"vectors_of_{self.c_name}", levels),
            array("float", f"scales_of_{self.c_name}", scales),
        ]

    def given(self, start):
        """Lines that put what the networks see into `work` from an index on."""
        if self.vectors is not None:
            label = self.c_name
            level = f"(float)vectors_of_{label}[{label} * {self.seen} + i]"
            value = f"{label} < {self.size} ? {level} * scales_of_{label}[i] : 0.0f"
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


@dataclasses.dataclass(frozen=True)
class Program:
    """Everything that the two files say, and how.

    Args:
        graph: `"decoder"` or `"sampler"`.
        model: Name of the model's class.
        specs: Tuple of two tuples, the graph's inputs and outputs as `describe` gives them.
        latent_dim: Int.
        conditions: Tuple of `Condition`.
        layers: Tuple of `Layer`.
        mean: Optional C expression of the likelihood's mean.
        data_shape: Tuple of ints.
        data_range: Optional tuple of two floats.
        prior: Optional `c_prior.Mixture` that a sampler draws from; None is N(0, I).
    """

    graph: str
    model: str
    specs: tuple
    latent_dim: int
    conditions: tuple
    layers: tuple
    mean: str
    data_shape: tuple
    data_range: tuple | None
    prior: c_prior.Mixture | None = None

    # What a subclass may say otherwise: words of the header, the macro of `x`'s size, the least
    # label of a condition, and how a run ends.
    arithmetic = "int8 weights, float arithmetic"
    examples = "image"
    size_of_x = "SIZE"
    least_label = 0
    call = "decode(work, x);"

    def drawing(self):
        """The texts of functions that come after the generator's."""
        return []

    def called(self):
        """Dict of what `load` must know besides of how to call the file."""
        return {}

    @property
    def buffer_sizes(self):
        """Floats of the parts of `work`: two that the layers read and write in turn, and one more.

        The third is for what is added to another.
        """
        shapes = [self.layers[0].x_shape, *(layer.shape for layer in self.layers[:-1])]
        sizes = [math.prod(shape) for shape in shapes]
        added = [math.prod(layer.shape) for layer in self.layers if layer.is_added]
        return max(sizes[0::2]), max(sizes[1::2], default=0), max(added, default=0)

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
        sizes |= {self.size_of_x: math.prod(self.data_shape), "WORK_SIZE": sum(self.buffer_sizes)}
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

    def describe_data(self, prefix):
        """Lines of the header's comment that say what `x` is set to."""
        within = ""
        if self.data_range is not None:
            within = " from {:g} to {:g}".format(*self.data_range)
        shape = " x ".join(map(str, self.data_shape))
        return [f"    x: is set to {math.prod(self.data_shape)} floats{within}, {shape}."]

    def functions(self):
        """The texts of the functions from what `work` begins with to `x`."""
        return [*c_functions.of(self.layers), self._decode()]

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
            paragraphs += [f"    z: {self.latent_dim} floats, the latent code."]
        paragraphs += [f"    {self._describe_condition(entry)}" for entry in self.conditions]
        paragraphs += self.describe_data(prefix)
        if self.graph == "sampler":
            paragraphs += [f"    z: is set to the latent code, {self.latent_dim} floats."]
        paragraphs += [f"    work: {sum(self.buffer_sizes)} floats to compute with."]
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
            *(self._arrays(index, layer) for index, layer in enumerate(self.layers)),
            *(text for condition in self.conditions for text in condition.arrays()),
            *([_ARE_TAGS] if any(condition.has_tags for condition in self.conditions) else []),
            *self.functions(),
        ]
        if self.graph == "sampler":
            tables = zip("ab", portable_random.tables(), strict=True)
            parts += [array("float", f"normal_{name}", table) for name, table in tables]
            parts.append(c_prior.DRAW)
            if self.prior is not None:
                parts += [array(*table) for table in self.prior.tables] + self.prior.functions
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
            "work_size": sum(self.buffer_sizes),
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

    def _decode(self):
        """The function from what `work` begins with to `x`."""
        return chain("decode", "x", self.layers, 0, self.buffer_sizes, self.mean)

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
        lines = [self.declaration(prefix), "{"]
        if refused:
            lines += [f"    if ({(chr(10) + '        || ').join(refused)}) {{", "        return 1;"]
            lines += ["    }"]
        lines += loop(self.latent_dim, code) if self.prior is None else self.prior.lines()
        lines += self._given(self.latent_dim)
        return "\n".join([*lines, f"    {self.call}", "    return 0;", "}", ""])

    def _given(self, start):
        """Lines that put the conditions into `work` from an index on."""
        lines = []
        for entry in self.conditions:
            lines += entry.given(start)
            start += entry.seen
        return lines


def chain(name, output, layers, first_index, sizes, last=None):
    """The text of a function from what `work` begins with to an output, layer by layer.

    Args:
        name, output: Str, of the function and of what it sets.
        layers: Tuple of `Layer`.
        first_index: Int, the number of the first one's arrays.
        sizes: The floats of the parts of `work`, as `Program.buffer_sizes`.
        last: Optional C expression of every value `v` at the end.
    """
    first, second, third = sizes
    lines = [
        f"static void {name}(float *work, float *{output})",
        "{",
        "    float *const a = work;",
        *([f"    float *const b = work + {first};"] if second and len(layers) > 1 else []),
        *([f"    float *const c = work + {first + second};"] if third else []),
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
    return "\n".join([*lines, *_for_each(size, output, last), "}", ""])


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
