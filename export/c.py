"""C files: writing, compiling and running them, and reading their manifest.

One C99 file and its header hold a decoder with int8 weights, for machines that no runtime fits on.
Nothing is needed but a compiler and `math.h`; nothing is allocated, nothing is kept between calls.
"""

import ctypes
import dataclasses
import itertools
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import textwrap

import numpy as np

from export import graphs, manifest, quantization
from export.parts import PART
from keras_vae.exceptions import one_line

SUFFIX = ".c"
QUANTIZATIONS = ("int8",)
# The package that `export` runs on; the file's own needs are a C compiler's.
PACKAGES = ("tensorflow",)
GRAPHS = ("decoder", "sampler")

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2", "-ffp-contract=off")

# The mean, of one parameter `v`, by the likelihood's name.
LIKELIHOODS = {"bernoulli": "1.0f / (1.0f + expf(-v))"}

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

_ELSEWHERE = 'Export it to "tflite" or "onnx".'

_SIGNATURE = "/* signature: %s */"
_MANIFEST = f"/* {manifest.KEY} manifest: %s */"
# Of C and C++, whose programs include the header; usual macros; and what the functions use.
_TAKEN = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class co_await
    co_return co_yield compl complex concept const const_cast consteval constexpr constinit continue
    decltype default delete do double dynamic_cast else enum errno explicit export extern false far
    float for friend goto huge if imaginary inline int int32_t interface linux long mutable
    namespace near new noexcept noreturn not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast requires restrict return short signed sizeof small static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid
    typename typeof typeof_unqual union unix unsigned using virtual void volatile wchar_t while xor
    xor_eq
    decode draw i index isfinite latent seed temperature work x z
"""

_DOT = """\
/* Four sums at once: each addition need not wait for the last. */
static float dot(const int8_t *weights, const float *x, int32_t size)
{
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    int32_t i = 0;
    for (; i + 3 < size; i += 4) {
        a += (float)weights[i] * x[i];
        b += (float)weights[i + 1] * x[i + 1];
        c += (float)weights[i + 2] * x[i + 2];
        d += (float)weights[i + 3] * x[i + 3];
    }
    for (; i < size; i++) {
        a += (float)weights[i] * x[i];
    }
    return (a + b) + (c + d);
}
"""

_DENSE = """\
static void dense(const int8_t *weights, const float *scales, const float *biases,
                  int32_t inputs, int32_t outputs, const float *x, float *y)
{
    for (int32_t o = 0; o < outputs; o++) {
        y[o] = dot(weights + o * inputs, x, inputs) * scales[o] + biases[o];
    }
}
"""

_CONVOLVE = """\
/* Repeats each pixel of x `repeat` times down and across, crops at the end to height x width, and
 * convolves with zeros around. */
static void convolve(const int8_t *weights, const float *scales, const float *biases,
                     int32_t kernel_height, int32_t kernel_width, int32_t repeat,
                     int32_t x_width, int32_t x_channels,
                     int32_t height, int32_t width, int32_t channels, const float *x, float *y)
{
    const int32_t above = (kernel_height - 1) / 2;
    const int32_t left = (kernel_width - 1) / 2;
    for (int32_t row = 0; row < height; row++) {
        for (int32_t column = 0; column < width; column++) {
            const int8_t *w = weights;
            for (int32_t o = 0; o < channels; o++) {
                float sum = 0.0f;
                for (int32_t i = 0; i < kernel_height; i++) {
                    const int32_t from_row = row + i - above;
                    for (int32_t j = 0; j < kernel_width; j++, w += x_channels) {
                        const int32_t from_column = column + j - left;
                        if (from_row >= 0 && from_row < height
                            && from_column >= 0 && from_column < width) {
                            const float *pixel = x
                                + (from_row / repeat * x_width + from_column / repeat) * x_channels;
                            sum += dot(w, pixel, x_channels);
                        }
                    }
                }
                *y++ = sum * scales[o] + biases[o];
            }
        }
    }
}
"""

_TRANSPOSE = """\
/* The transposed convolution of stride 2, cropped at the end to height x width: each value gathers
 * the pixels of x that would be spread over it. */
static void transpose(const int8_t *weights, const float *scales, const float *biases,
                      int32_t kernel_height, int32_t kernel_width,
                      int32_t x_height, int32_t x_width, int32_t x_channels,
                      int32_t height, int32_t width, int32_t channels, const float *x, float *y)
{
    const int32_t above = kernel_height > 2 ? (kernel_height - 2) / 2 : 0;
    const int32_t left = kernel_width > 2 ? (kernel_width - 2) / 2 : 0;
    for (int32_t row = 0; row < height; row++) {
        for (int32_t column = 0; column < width; column++) {
            const int8_t *w = weights;
            for (int32_t o = 0; o < channels; o++) {
                float sum = 0.0f;
                for (int32_t i = 0; i < kernel_height; i++) {
                    const int32_t twice_row = row + above - i;
                    for (int32_t j = 0; j < kernel_width; j++, w += x_channels) {
                        const int32_t twice_column = column + left - j;
                        if (twice_row >= 0 && twice_row % 2 == 0 && twice_row / 2 < x_height
                            && twice_column >= 0 && twice_column % 2 == 0
                            && twice_column / 2 < x_width) {
                            const float *pixel = x
                                + (twice_row / 2 * x_width + twice_column / 2) * x_channels;
                            sum += dot(w, pixel, x_channels);
                        }
                    }
                }
                *y++ = sum * scales[o] + biases[o];
            }
        }
    }
}
"""

_FUNCTIONS = {"dense": _DENSE, "convolve": _CONVOLVE, "transpose": _TRANSPOSE}

# `keras_vae.portable_random.normal`; its file says why no product overflows.
_DRAW = """\
/* One draw from N(0, 1): the same bits for the same arguments on every machine. */
static float draw(int32_t seed, int32_t index, int32_t dimension)
{
    const int32_t low = seed % 65536;
    const int32_t high = seed / 65536;
    const int32_t mixed = (low * 20077 + high * 25057) % 65536;
    const int32_t key[3] = {low + 40503, high + 35129, mixed + 46337};
    int32_t left = index / 65536 * 4096 + dimension;
    int32_t right = index % 65536;
    for (int32_t n = 0; n < 7; n++) {
        const int32_t sum = right + key[n % 3];
        const int32_t next = (sum * (sum / 16) / 128 + left) % 65536;
        left = right;
        right = next;
    }
    return normal_a[left / 16] + normal_b[right / 16];
}
"""


@dataclasses.dataclass(frozen=True)
class _Layer:
    """One linear map with what follows it, folded into it.

    Args:
        kind: Name of the C function that computes it.
        kernel: float64 array `(outputs, ..., inputs)`.
        bias: float64 array `(outputs,)`.
        x_shape: Shape of what it takes: `(inputs,)` or `(height, width, channels)`.
        shape: Shape of what it makes.
        activation: Optional C expression of a value `v`.
        repeat: How often `convolve` repeats each pixel first.
    """

    kind: str
    kernel: np.ndarray
    bias: np.ndarray
    x_shape: tuple
    shape: tuple
    activation: str | None = None
    repeat: int = 1

    @property
    def arguments(self):
        """What its C function takes between the arrays and the buffers."""
        if self.kind == "dense":
            return math.prod(self.x_shape), math.prod(self.shape)
        if self.kind == "convolve":
            return (*self.kernel.shape[1:3], self.repeat, *self.x_shape[1:], *self.shape)
        return (*self.kernel.shape[1:3], *self.x_shape, *self.shape)


@dataclasses.dataclass(frozen=True)
class _Condition:
    """A condition as the C function takes it; `names` are the classes of a categorical one."""

    name: str
    c_name: str
    size: int
    names: tuple | None

    @property
    def parameter(self):
        """Its declaration."""
        kind = "const float *" if self.names is None else "int32_t "
        return kind + self.c_name


@dataclasses.dataclass(frozen=True)
class _Program:
    """Everything that the two files say, and how.

    Args:
        graph: `"decoder"` or `"sampler"`.
        model: Name of the model's class.
        specs: Tuple of two tuples, the graph's inputs and outputs as `describe` gives them.
        latent_dim: Int.
        conditions: Tuple of `_Condition`.
        layers: Tuple of `_Layer`.
        mean: C expression of the likelihood's mean.
        data_shape: Tuple of ints.
        data_range: Optional tuple of two floats.
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

    @property
    def buffer_sizes(self):
        """Floats of the two parts of `work`, which the layers read and write in turn."""
        shapes = [self.layers[0].x_shape, *(layer.shape for layer in self.layers[:-1])]
        sizes = [math.prod(shape) for shape in shapes]
        return max(sizes[0::2]), max(sizes[1::2], default=0)

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
        sizes = {"LATENT_DIM": self.latent_dim}
        if len(self.data_shape) == 3:
            sizes |= zip(("HEIGHT", "WIDTH", "CHANNELS"), self.data_shape, strict=True)
        sizes |= {"SIZE": math.prod(self.data_shape), "WORK_SIZE": sum(self.buffer_sizes)}
        for condition in self.conditions:
            kind = "DIM" if condition.names is None else "UNKNOWN"
            sizes[f"{condition.c_name.upper()}_{kind}"] = condition.size
        lines = [
            *self._description(prefix),
            f"#ifndef {macro}_H",
            f"#define {macro}_H",
            "",
            "#include <stdint.h>",
            "",
            *(f"#define {macro}_{name} {value}" for name, value in sizes.items()),
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

    def _description(self, prefix):
        """The header's opening comment."""
        macro = prefix.upper()
        names = [parameter.split()[-1].lstrip("*") for parameter in self.parameters]
        shape = " x ".join(map(str, self.data_shape))
        within = ""
        if self.data_range is not None:
            within = " from {:g} to {:g}".format(*self.data_range)
        paragraphs = [
            f"The {self.graph} of a {_in_comment(self.model)[1:-1]}: int8 weights, float "
            "arithmetic, C99 and libm.",
            "",
            "It allocates nothing and keeps nothing between calls: calls with a `work` each may "
            "run at once.",
            "",
            f"    float x[{macro}_SIZE], z[{macro}_LATENT_DIM], work[{macro}_WORK_SIZE];",
            f"    int status = {prefix}_run({', '.join(names)});",
            "",
            "Returns 0; or 1 where an argument is out of its range, and then writes nothing.",
            "",
        ]
        if self.graph == "sampler":
            paragraphs += [
                "    seed: from 0 to 2147483647. The same one gives the same images on every "
                "device.",
                "    index: which image of the seed, from 0 to 1048575.",
                "    temperature: at least 0; 1 draws from the prior, 0 gives its mean.",
            ]
        else:
            paragraphs += [f"    z: {self.latent_dim} floats, the latent code."]
        paragraphs += [f"    {self._describe_condition(entry)}" for entry in self.conditions]
        paragraphs += [f"    x: is set to {math.prod(self.data_shape)} floats{within}, {shape}."]
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

    @staticmethod
    def _describe_condition(condition):
        renamed = condition.name != condition.c_name
        origin = f" (the condition {_in_comment(condition.name)})" if renamed else ""
        if condition.names is None:
            return f"{condition.c_name}{origin}: {condition.size} floats."
        last = condition.size
        if condition.names == tuple(map(str, range(last))):
            classes = f"the class, from 0 to {last - 1}"
        else:
            classes = ", ".join(
                f"{i} {_in_comment(name)}" for i, name in enumerate(condition.names)
            )
        return f"{condition.c_name}{origin}: {classes}; or {last}, unknown."

    def source(self, prefix, header):
        """The text of the C file, which includes a header of this name."""
        from keras_vae import portable_random

        kinds = {layer.kind for layer in self.layers}
        parts = [
            f'/* See {header}. */\n#include "{header}"\n\n#include <math.h>\n',
            *(self._arrays(index, layer) for index, layer in enumerate(self.layers)),
            _DOT,
            *(text for kind, text in _FUNCTIONS.items() if kind in kinds),
            self._decode(),
        ]
        if self.graph == "sampler":
            tables = zip("ab", portable_random.tables(), strict=True)
            parts += [_array("float", f"normal_{name}", table) for name, table in tables]
            parts.append(_DRAW)
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
        }
        return _SIGNATURE % _in_comment(signature) + "\n"

    @staticmethod
    def _arrays(index, layer):
        levels, scales = quantization.as_int8(layer.kernel, axis=0)
        return "\n".join(
            [
                _array("int8_t", f"weights_{index}", levels),
                _array("float", f"scales_{index}", scales),
                _array("float", f"biases_{index}", layer.bias),
            ]
        )

    def _decode(self):
        """The function from what `work` begins with to `x`."""
        first, second = self.buffer_sizes
        lines = [
            "static void decode(float *work, float *x)",
            "{",
            "    float *const a = work;",
            *([f"    float *const b = work + {first};"] if second else []),
        ]
        for index, layer in enumerate(self.layers):
            last = index == len(self.layers) - 1
            taken, made = "ab"[index % 2], "x" if last else "ab"[1 - index % 2]
            arguments = ", ".join(map(str, layer.arguments))
            call = f"    {layer.kind}("
            lines += [
                f"{call}weights_{index}, scales_{index}, biases_{index},",
                f"{' ' * len(call)}{arguments}, {taken}, {made});",
                *_for_each(math.prod(layer.shape), made, layer.activation),
            ]
        lines += [*_for_each(math.prod(self.data_shape), "x", self.mean), "}", ""]
        return "\n".join(lines)

    def _run(self, prefix):
        """The function that the header declares."""
        from keras_vae import portable_random

        refused = [
            f"{entry.c_name} < 0 || {entry.c_name} > {entry.size}"
            for entry in self.conditions
            if entry.names is not None
        ]
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
        lines += _loop(self.latent_dim, code)
        start = self.latent_dim
        for entry in self.conditions:
            value = f"{entry.c_name}[i]"
            if entry.names is not None:
                value = f"i == {entry.c_name} ? 1.0f : 0.0f"
            lines += _loop(entry.size, f"work[{start} + i] = {value};")
            start += entry.size
        return "\n".join([*lines, "    decode(work, x);", "    return 0;", "}", ""])


def converter():
    """Name and version of the converter: this package itself."""
    import keras_vae

    return f"keras-vae {keras_vae.__version__}"


def companions(path):
    """The further files that `export` writes beside a path: the header.

    Args:
        path: Such as `decoder.c`, or `decoder.c.keras_vae_part` whose header is
            `decoder.h.keras_vae_part`.

    Returns:
        List of `pathlib.Path`.

    Raises:
        ValueError: If the name does not end with `.c`, before `PART` if need be.
    """
    path = pathlib.Path(path)
    part = PART if path.name.endswith(PART) else ""
    return [path.with_name(_stem(path) + ".h" + part)]


def convert(graph, quantize=QUANTIZATIONS[0], calibration=None):
    """Read from a graph's model everything that its C files say.

    Batch normalisation is folded into the weights, then each output channel gets a scale.

    Args:
        graph: The `Graph`, `decoder` or `sampler`.
        quantize: One of `QUANTIZATIONS`.
        calibration: Unused; the weights are all that is quantized.

    Returns:
        What `write` takes.

    Raises:
        ValueError: If the graph, its decoder, a condition or the likelihood is none of those that
            the C format holds.
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(
            f"The C format holds int8 weights: `quantize` must be {QUANTIZATIONS[0]!r}. "
            f"Received: {quantize!r}."
        )
    return _program(graph)


def write(content, path, manifest_data=None):
    """Write the C file, and its header beside it.

    Args:
        content: As `convert` returns it.
        path: Where to write. The function and the macros are named after its stem.
        manifest_data: Optional bytes, stored as a comment.
    """
    path = pathlib.Path(path)
    [header] = companions(path)
    prefix = _prefix(_stem(path), content.graph)
    source = content.source(prefix, _stem(path) + ".h")
    if manifest_data is not None:
        source += _MANIFEST % _in_comment(json.loads(manifest_data)) + "\n"
    # As bytes, lines end alike on every system.
    path.write_bytes(source.encode("utf-8"))
    header.write_bytes(content.header(prefix).encode("utf-8"))


def load(path):
    """Compile a file with the system's C compiler and load it.

    This runs what the file says: load only what you would compile yourself.

    Args:
        path: A C file with its header beside it. The environment variable `CC` names another
            compiler than `cc`, `gcc` or `clang`.

    Returns:
        A function from a dict of NumPy inputs to a dict of NumPy outputs.

    Raises:
        ModuleNotFoundError: If there is no C compiler.
        ValueError: If the file is damaged, or the compiler or the function refuses.
    """
    path = pathlib.Path(path)
    signature = _read_signature(path)
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(str(_compile(path, pathlib.Path(folder))))
    function = getattr(library, signature["function"])
    function.restype = ctypes.c_int

    def run(inputs):
        given = _checked(inputs, signature["inputs"], path.name)
        # The first input, `z`, a condition or `index`, has a row for each example.
        rows = len(given[signature["inputs"][0]["name"]])
        outputs = {
            port["name"]: np.empty((rows, *port["shape"][1:]), np.float32)
            for port in signature["outputs"]
        }
        work = np.empty(signature["work_size"], np.float32)
        for row in range(rows):
            arguments = _arguments(signature["conditions"], given, outputs, row)
            if function(*arguments, _pointer(work)):
                raise ValueError(
                    f"{path.name} refuses example {row}: a label, seed, index or temperature is "
                    "out of its range."
                )
        return outputs

    return run


def programs(path):
    """Every way to call the file: name, the batch sizes it takes, and a function to call.

    Yields:
        Tuples `(name, batch_sizes, run)`.
    """
    yield _read_signature(path)["name"], graphs.BATCH_SIZES, load(path)


def read_manifest(path):
    """The manifest of a C file, without compiling it.

    Raises:
        ValueError: If the file holds no manifest, or a damaged one.
    """
    return manifest.loads(_comment(path, _MANIFEST), pathlib.Path(path).name)


def describe(path):
    """Inputs and outputs, without compiling the file; it has no operators.

    The C function makes one example a call; `batch` stands for as many calls.

    Raises:
        ValueError: If the file is damaged.
    """
    signature = _read_signature(path)
    ports = {key: signature[key] for key in ("name", "inputs", "outputs")}
    return {"signatures": [ports], "operators": []}


def forbidden_operators(path):
    """No operators, so none that is forbidden."""
    return []


def _program(graph):
    """Read from a graph's model what the C files say, or refuse it."""
    from keras_vae import portable_random
    from keras_vae.layers.conditioning import Categorical, Continuous
    from keras_vae.models.generative import GenerativeModel
    from keras_vae.priors import StandardNormal

    model = graph.model
    if graph.name not in GRAPHS:
        raise ValueError(
            f"The C format holds the graphs {' and '.join(GRAPHS)}. Received: {graph.name}. "
            f"{_ELSEWHERE}"
        )
    is_own = isinstance(model, GenerativeModel)
    if not is_own or type(model).decode_mean is not GenerativeModel.decode_mean:
        raise ValueError(
            "The C format holds models of `keras_vae` that decode a latent code. Received: "
            f"{type(model).__name__}. {_ELSEWHERE}"
        )
    layers = _layers(model.decoder)
    for name, kind in model.condition.items():
        if type(kind) not in (Categorical, Continuous):
            raise ValueError(
                "The C format holds the conditions Categorical and Continuous. Received: "
                f"{type(kind).__name__} for `{name}`. {_ELSEWHERE}"
            )
    likelihood = model.likelihood.name
    if likelihood not in LIKELIHOODS:
        raise ValueError(
            f"The C format holds the likelihoods {', '.join(LIKELIHOODS)}. Received: "
            f"{likelihood}. {_ELSEWHERE}"
        )
    if graph.name == "sampler":
        if type(model.prior) is not StandardNormal:
            raise ValueError(
                "The C format draws from the prior StandardNormal. Received: "
                f"{type(model.prior).__name__}. Export the `decoder`."
            )
        portable_random.check(0, 1, model.latent_dim)
    data_range = model.likelihood.data_range
    if not all(map(math.isfinite, data_range)):
        data_range = None
    return _Program(
        graph.name,
        type(model).__name__,
        tuple([_port(spec) for spec in specs] for specs in (graph.inputs, graph.outputs)),
        int(model.latent_dim),
        tuple(
            _Condition(name, c_name, kind.size, getattr(kind, "names", None))
            for (name, kind), c_name in zip(
                model.condition.items(), _c_names(model.condition), strict=True
            )
        ),
        layers,
        LIKELIHOODS[likelihood],
        tuple(map(int, model.data_shape)),
        data_range,
    )


def _layers(decoder):
    """The layers of a decoder, normalisation and activation folded in."""
    from keras_vae.networks import ConvDecoder, DenseDecoder

    # Of a subclass, nothing is known.
    if type(decoder) is DenseDecoder:
        layers = [_dense(layer) for layer in (*decoder.hidden, decoder.outputs_dense)]
    elif type(decoder) is ConvDecoder:
        layers = _convolutions(decoder)
    else:
        raise ValueError(
            "The C format holds the decoders DenseDecoder and ConvDecoder as they are. Received: "
            f"{type(decoder).__name__}. {_ELSEWHERE}"
        )
    if not all(np.isfinite(array).all() for x in layers for array in (x.kernel, x.bias)):
        raise ValueError(
            "The decoder's weights must be finite. Received: NaN or infinity. Train it again, or "
            "load an earlier checkpoint."
        )
    return tuple(layers)


def _dense(layer):
    kernel = _numpy(layer.kernel).T
    outputs, inputs = kernel.shape
    activation = _activation(layer.activation)
    return _Layer("dense", kernel, _bias(layer), (inputs,), (outputs,), activation)


def _convolutions(decoder):
    import keras

    layers, repeat = [_dense(decoder.project)], 1
    layers[0] = dataclasses.replace(layers[0], shape=tuple(decoder.reshape.target_shape))
    x_shape = height, width, _ = layers[0].shape
    for layer in (*itertools.chain(*decoder.stages), decoder.channels):
        if isinstance(layer, keras.layers.UpSampling2D):
            repeat, height, width = 2, 2 * height, 2 * width
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            height, width = 2 * height, 2 * width
            kernel = _numpy(layer.kernel).transpose(2, 0, 1, 3)
            shape = (height, width, layer.filters)
            layers.append(_Layer("transpose", kernel, _bias(layer), x_shape, shape))
        elif isinstance(layer, keras.layers.Cropping2D):
            (_, bottom), (_, right) = layer.cropping
            height, width = height - bottom, width - right
            if repeat == 1:
                shape = (height, width, layers[-1].shape[2])
                layers[-1] = dataclasses.replace(layers[-1], shape=shape)
        elif isinstance(layer, keras.layers.Conv2D):
            kernel = _numpy(layer.kernel).transpose(3, 0, 1, 2)
            shape = (height, width, layer.filters)
            layers.append(_Layer("convolve", kernel, _bias(layer), x_shape, shape, repeat=repeat))
            repeat = 1
        elif isinstance(layer, keras.layers.BatchNormalization):
            layers[-1] = _normalized(layers[-1], layer)
        else:
            layers[-1] = dataclasses.replace(layers[-1], activation=_activation(layer))
        x_shape = layers[-1].shape
    return layers


def _normalized(layer, normalization):
    """A layer with the batch normalisation after it folded into its weights."""
    gamma, beta, mean, variance = (
        _numpy(weight)
        for weight in (
            normalization.gamma,
            normalization.beta,
            normalization.moving_mean,
            normalization.moving_variance,
        )
    )
    gain = gamma / np.sqrt(variance + normalization.epsilon)
    return dataclasses.replace(
        layer,
        kernel=layer.kernel * gain[:, None, None, None],
        bias=(layer.bias - mean) * gain + beta,
    )


def _activation(function):
    """The C expression of an activation, a function or a layer, of a value `v`; None if linear."""
    import keras

    if isinstance(function, keras.layers.LeakyReLU):
        return f"v > 0.0f ? v : {_float(function.negative_slope)} * v"
    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS or getattr(keras.activations, name) is not function:
        raise ValueError(
            f"The C format holds the activations {', '.join(ACTIVATIONS)} and the layer LeakyReLU. "
            f"Received: {name}. {_ELSEWHERE}"
        )
    return ACTIVATIONS[name]


def _numpy(variable):
    import keras

    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def _bias(layer):
    outputs = layer.units if hasattr(layer, "units") else layer.filters
    return np.zeros(outputs) if layer.bias is None else _numpy(layer.bias)


def _array(c_type, name, values):
    """The definition of a constant array."""
    values = np.asarray(values).reshape(-1)
    literal, columns = (str, 16) if c_type == "int8_t" else (_float, 5)
    literals = [literal(value) for value in values.tolist()]
    lines = [
        "    " + ", ".join(literals[start : start + columns]) + ","
        for start in range(0, len(literals), columns)
    ]
    return "\n".join([f"static const {c_type} {name}[{len(literals)}] = {{", *lines, "};", ""])


def _float(value):
    """A float32 as the shortest literal that reads back as the same float32."""
    return f"{np.float32(value)!s}f"


def _for_each(count, array, expression):
    """Lines that apply an expression of `v` to every value of an array."""
    if expression is None:
        return []
    return [
        f"    for (int32_t i = 0; i < {count}; i++) {{",
        f"        const float v = {array}[i];",
        f"        {array}[i] = {expression};",
        "    }",
    ]


def _loop(count, statement):
    return [f"    for (int32_t i = 0; i < {count}; i++) {{", f"        {statement}", "    }"]


def _stem(path):
    """`decoder` of `decoder.c`, also where `PART` ends the name."""
    name = pathlib.Path(path).name.removesuffix(PART)
    # It stands in an #include line.
    if not re.fullmatch(rf"[\w .()+-]+{re.escape(SUFFIX)}", name):
        raise ValueError(
            f"The name of a C file must end with {SUFFIX} and hold letters, digits, spaces and "
            f".()+-_ only. Received: {name!r}."
        )
    return name.removesuffix(SUFFIX)


def _prefix(stem, graph):
    """What the names in a file begin with: its stem up to a dot, as C can say it."""
    prefix = re.sub(r"\W", "_", stem.split(".")[0], flags=re.ASCII)
    return prefix if re.match("[A-Za-z]", prefix) else f"{graph}_{prefix}".rstrip("_")


def _c_names(names):
    """Names for C: each an ASCII identifier that means nothing else, in any case."""
    taken, c_names = set(_TAKEN.split()), []
    for name in names:
        c_name = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_0123456789") or "condition"
        # In capitals it could be a macro.
        c_name = c_name.lower() if c_name.isupper() else c_name
        while c_name.lower() in taken:
            c_name += "_"
        taken.add(c_name.lower())
        c_names.append(c_name)
    return c_names


def _in_comment(value):
    """JSON in ASCII that can neither end a comment nor open one, nor hold a trigraph."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("*", "\\u002a").replace("?", "\\u003f")


def _port(spec):
    shape = ["batch" if spec.batched else 1, *map(int, spec.shape[1:])]
    return {"name": spec.name, "dtype": spec.dtype, "shape": shape}


def _comment(path, template):
    """What the last comment of a form holds, or None."""
    before, after = (re.escape(part).encode("ascii") for part in template.split("%s"))
    pattern = b"^" + before + b"(.*)" + after + b"\\r?$"
    found = re.findall(pattern, pathlib.Path(path).read_bytes(), re.MULTILINE)
    return found[-1] if found else None


def _read_signature(path):
    """How to call a file, as it says itself."""
    name, content = pathlib.Path(path).name, _comment(path, _SIGNATURE)
    if content is None:
        raise ValueError(f"{name} is no C file of keras-vae, or is cut off.")
    try:
        signature = json.loads(content)
        for port in (*signature["inputs"], *signature["outputs"]):
            if not (isinstance(port["name"], str) and port["dtype"] in ("float32", "int32")):
                raise ValueError(f"the port {port}")
            if not all(size == "batch" or type(size) is int for size in port["shape"]):
                raise ValueError(f"the shape {port['shape']}")
        if not all(isinstance(signature[key], str) for key in ("name", "function")):
            raise ValueError("its names")
    except (KeyError, TypeError, ValueError, RecursionError) as err:
        raise ValueError(f"The signature of {name} is damaged: {one_line(err)}.") from err
    return signature


def _compile(path, folder):
    """Make a shared library in a folder."""
    [header] = companions(path)
    name = _stem(path)
    shutil.copy(path, folder / f"{name}.c")
    shutil.copy(header, folder / f"{name}.h")
    command = [*_compiler(), *FLAGS, "-shared", "-fPIC", "-o", "library.so", f"{name}.c", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise ValueError(f"{command[0]} cannot compile {path.name}: {one_line(errors[0])}")
    return folder / "library.so"


def _compiler():
    """The C compiler's command."""
    named = shlex.split(os.environ.get("CC", ""))
    for command in [named] if named else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    looked_for = f"{named[0]} (by CC)" if named else ", ".join(COMPILERS)
    raise ModuleNotFoundError(
        f'Exporting to "c" compiles the file to check it, and found no C compiler: {looked_for}. '
        "Install one, such as gcc or clang, or name one in the environment variable CC."
    )


def _checked(inputs, ports, name):
    """The inputs as arrays of the ports' types and shapes."""
    given, rows = {}, None
    for port in ports:
        value = inputs.get(port["name"])
        if value is None:
            raise ValueError(
                f"{name} needs the input `{port['name']}`. Received: {sorted(inputs)}."
            )
        array = np.asarray(value)
        batched = port["shape"][0] == "batch"
        rows = len(array) if batched and rows is None and array.ndim else rows
        shape = (rows if batched else 1, *port["shape"][1:])
        if array.dtype != port["dtype"] or array.shape != shape:
            raise ValueError(
                f"{name} takes `{port['name']}` as {port['dtype']} {shape}. Received: "
                f"{array.dtype} {array.shape}."
            )
        given[port["name"]] = np.ascontiguousarray(array)
    return given


def _arguments(conditions, given, outputs, row):
    """The arguments before `work` of the call for one row."""
    values = [
        _pointer(given[name][row]) if given[name].ndim > 1 else ctypes.c_int32(given[name][row])
        for name in conditions
    ]
    x = _pointer(outputs["x"][row])
    if "z" in given:
        return [_pointer(given["z"][row]), *values, x]
    index = row if conditions else given["index"][row]
    draw = [
        ctypes.c_int32(given["seed"][0]),
        ctypes.c_int32(index),
        ctypes.c_float(given["temperature"][0]),
    ]
    return [*draw, *values, x, _pointer(outputs["z"][row])]


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)
