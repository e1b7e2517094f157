"""A C program that draws rows of a table, of an exact model: the rows that every backend draws."""

import dataclasses

import numpy as np

from export import c_layers
from export.c_program import Program, array, in_comment, literal, loop

_EXACT = """\
/* A layer of whole numbers: what is read is cut off, what is made rounded down. */
static void exact(const int8_t *weights, const float *steps, const float *biases, float reach,
                  int32_t inputs, int32_t outputs, float *x, float *y)
{
    for (int32_t i = 0; i < inputs; i++) {
        x[i] = x[i] < -reach ? -reach : x[i] > reach ? reach : x[i];
    }
    for (int32_t o = 0; o < outputs; o++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < inputs; i++) {
            sum += weights[o * inputs + i] * (int32_t)x[i];
        }
        y[o] = floorf((float)sum * steps[o] + biases[o]);
    }
}
"""
_LINE = """\
/* The number in units of a score: of a line that begins at the last knot which is not above it.
 * A whole one is a whole base and what is rounded besides. */
static float line(const float *knots, const float *starts, const float *rests, const float *bases,
                  const float *slopes, int32_t count, int is_whole, float score)
{
    int32_t at = 0;
    int32_t end = count;
    while (end - at > 1) {
        const int32_t middle = (at + end) / 2;
        if (knots[middle] <= score) {
            at = middle;
        } else {
            end = middle;
        }
    }
    const float along = slopes[at] * (score - starts[at] - rests[at]);
    return bases[at] + (is_whole ? rintf(along) : along);
}
"""
_SCORE = """\
/* A parameter in steps of 1/64, as a place in a table. */
static int32_t place(float parameter)
{
    const float step = floorf(parameter / 4.0f + 0.5f);
    const float most = %(most)d.0f;
    return (int32_t)(step < -most ? -most : step > most ? most : step) + %(most)d;
}
"""
_NUMBER = """\
/* An odd number below 2^24: a draw from (0, 1) in parts of it. */
static int32_t number(int32_t seed, int32_t index, int32_t dimension)
{
    int32_t half[2];
    rounds(seed, index, dimension, half);
    return 2 * (half[0] * 128 + half[1] / 512) + 1;
}

/* The first name whose weights, and those before it, exceed the whole part of their total. */
static int32_t name(const float *logits, int32_t count, const float *weights, int32_t most,
                    int32_t drawn)
{
    float largest = logits[0];
    int32_t total = 0;
    for (int32_t i = 1; i < count; i++) {
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (int32_t i = 0; i < count; i++) {
        const int32_t gap = ((int32_t)(largest - logits[i]) + 2) / 4;
        total += (int32_t)weights[gap < most ? gap : most];
    }
    const int32_t wanted = (int32_t)((int64_t)total * drawn / 16777216);
    int32_t sum = 0;
    int32_t i = 0;
    for (; i < count - 1; i++) {
        const int32_t gap = ((int32_t)(largest - logits[i]) + 2) / 4;
        sum += (int32_t)weights[gap < most ? gap : most];
        if (sum > wanted) {
            break;
        }
    }
    return i;
}
"""
_LIKELIEST = """\
/* The first of the likeliest names. */
static int32_t likeliest(const float *logits, int32_t count)
{
    int32_t at = 0;
    for (int32_t i = 1; i < count; i++) {
        at = logits[i] > logits[at] ? i : at;
    }
    return at;
}
"""


@dataclasses.dataclass(frozen=True)
class ExactLayer:
    """A `networks.exact.ExactDense`.

    Args:
        weights: int8 array `(outputs, inputs)`; `steps` and `biases` float32 `(outputs,)`.
        reach: Float, what it reads is cut off at, on either side.
        is_hidden: Whether ReLU follows.
    """

    weights: np.ndarray
    steps: np.ndarray
    biases: np.ndarray
    reach: float
    is_hidden: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableProgram(Program):
    """As `Program`, of a table: `x` is a row, a float each column, `z` rounded, draws besides.

    Args:
        layout: `ColumnLayout`.
        schema: `TableSchema`.
    """

    layout: object = None
    schema: object = None

    arithmetic = "int8 weights, whole numbers"
    examples = "row"
    size_of_x = "COLUMNS"
    least_label = -1

    @property
    def all_layers(self):
        return self.layers

    @property
    def work(self):
        inputs = self.layers[0].weights.shape[1]
        sizes = [inputs, *(len(layer.biases) for layer in self.layers)]
        return {"a": max(sizes[0::2]), "b": max(sizes[1::2])}

    def sizes(self):
        return {**super().sizes(), **{name: at for at, name in enumerate(self.macros)}}

    @property
    def macros(self):
        """What the place of each column of `x` is called."""
        found = []
        for name in self.schema.names:
            macro = f"COLUMN_{self.schema.ports[name].upper()}"
            while macro in found:
                macro += "_"
            found.append(macro)
        return found

    def describe_data(self, prefix):
        lines = [
            f"    x: is set to a row of {len(self.schema.names)} floats, numbers in units, and of "
            "names their places:"
        ]
        for macro, name in zip(self.macros, self.schema.names, strict=True):
            kind = self.schema.columns[name]
            if hasattr(kind, "names"):
                what = ", ".join(f"{i} {in_comment(n)}" for i, n in enumerate(kind.names))
            else:
                whole = ", whole" if kind.integer else ""
                unit = f" {in_comment(kind.unit)}" if kind.unit else ""
                what = "{:g} to {:g}".format(*kind.bounds) + unit + whole
            lines.append(f"        x[{prefix.upper()}_{macro}]: {in_comment(name)}, {what}.")
        return lines

    def called(self):
        return {"columns": [self.schema.ports[name] for name in self.schema.names]}

    def functions(self):
        """The texts of the functions that a run calls, after the layers' arrays."""
        return [_EXACT, *self._tables(), _LINE, self._decode()]

    def drawing(self):
        """Those that come after the generator."""
        return [_NUMBER, self._make()] if self.graph == "sampler" else [_LIKELIEST, self._make()]

    @staticmethod
    def _arrays(index, layer):
        return "\n".join(
            [
                array("int8_t", f"weights_{index}", layer.weights),
                array("float", f"steps_{index}", layer.steps),
                array("float", f"biases_{index}", layer.biases),
            ]
        )

    def _tables(self):
        """Constant arrays: of draws and of the maps to units."""
        from keras_vae import exact_columns
        from keras_vae.data.lines import to_units

        parts = []
        if self.graph == "sampler":
            most = (len(exact_columns.scales()) - 1) // 2
            parts.append(_SCORE % {"most": most})
            if self.layout.num_normals:
                parts.append(array("float", "column_scales", exact_columns.scales()))
            if len(self.layout.columns["bernoulli"]):
                parts.append(array("float", "probabilities", exact_columns.probabilities()))
            for names in sorted({int(names.max()) for names in self.layout.names}):
                parts.append(array("float", f"names_{names}", exact_columns.weights(names)))
        for k in self.layout.columns["normal"]:
            lines = to_units(self.schema.columns[self.schema.names[k]])
            starts = np.asarray(lines.starts, "float64")
            rests = starts - starts.astype("float32")
            tables = (("knots", lines.knots), ("starts", starts), ("rests", rests))
            for name, table in (*tables, ("bases", lines.bases), ("slopes", lines.slopes)):
                parts.append(array("float", f"{name}_{k}", np.asarray(table, "float32")))
        return parts

    def _decode(self):
        """The function from what `work` begins with to the parameters of a row, in `work`."""
        lines = [
            "static const float *decode(float *work)",
            "{",
            "    float *const a = work;",
            f"    float *const b = {self.place('b')};",
            *loop(
                self.layers[0].weights.shape[1],
                "a[i] = floorf(a[i] * 256.0f + 0.5f);",
            ),
        ]
        for index, layer in enumerate(self.layers):
            taken, made = "ab"[index % 2], "ab"[1 - index % 2]
            outputs, inputs = layer.weights.shape
            lines += [
                f"    exact(weights_{index}, steps_{index}, biases_{index},",
                f"          {literal(layer.reach)}, {inputs}, {outputs}, {taken}, {made});",
            ]
            if layer.is_hidden:
                lines += loop(outputs, f"{made}[i] = {made}[i] > 0.0f ? {made}[i] : 0.0f;")
        return "\n".join([*lines, f"    return {'ab'[len(self.layers) % 2]};", "}", ""])

    def _make(self):
        """The function from the parameters of a row to `x`."""
        draws = self.graph == "sampler"
        given = "int32_t seed, int32_t index, " if draws else ""
        lines = [f"static void make({given}const float *p, float *x)", "{"]
        layout, place = self.layout, 0
        half, latent = layout.num_normals, self.latent_dim
        if half:
            lines.append("    float score;")
        for at, k in enumerate(layout.columns["normal"]):
            lines.append(f"    score = p[{at}] / 256.0f;")
            if draws:
                lines += [
                    f"    score += floorf(column_scales[place(p[{half + at}])]",
                    f"                    * draw(seed, index, {latent + at}) * 65536.0f)"
                    " / 65536.0f;",
                ]
            lines += self._units(k)
        place += layout.sizes[0]
        drawn = latent + half
        for k in layout.columns["bernoulli"]:
            value = f"p[{place}] >= 0.0f"
            if draws:
                value = (
                    f"(float)number(seed, index, {drawn}) / 16777216.0f\n"
                    f"           < probabilities[place(p[{place}])]"
                )
            lines.append(f"    x[{k}] = {value} ? 1.0f : 0.0f;")
            place, drawn = place + 1, drawn + 1
        for columns, names in zip(layout.groups, layout.names, strict=True):
            most = int(names.max())
            for k, count in zip(columns, names, strict=True):
                value = f"likeliest(p + {place}, {count})"
                if draws:
                    last = f"(int32_t)(sizeof names_{most} / sizeof *names_{most}) - 1"
                    value = (
                        f"name(p + {place}, {count}, names_{most}, {last},\n"
                        f"                       number(seed, index, {drawn}))"
                    )
                lines.append(f"    x[{k}] = (float){value};")
                place, drawn = place + most, drawn + 1
        return "\n".join([*lines, "}", ""])

    def _units(self, k):
        from keras_vae.data import lines
        from keras_vae.data.units import limits

        kind = self.schema.columns[self.schema.names[k]]
        count, whole = len(lines.to_units(kind).knots), int(lines.is_whole(kind))
        names = ", ".join(f"{name}_{k}" for name in ("knots", "starts", "rests", "bases", "slopes"))
        low, high = map(literal, limits(kind))
        code = [f"    score = line({names},", f"                 {count}, {whole}, score);"]
        if kind.transform == "log":
            code.append("    score = expf(score < 88.0f ? score : 88.0f);")
        if kind.integer and not whole:
            code.append("    score = rintf(score);")
        return [
            *code,
            f"    x[{k}] = score < {low} ? {low} : score > {high} ? {high} : score;",
        ]

    def decoding(self):
        given = "seed, index, " if self.graph == "sampler" else ""
        return [f"    make({given}decode(work), x);"]


def of(graph, fields):
    """The program of a graph of a table.

    Args:
        graph: The `Graph`.
        fields: Dict of what every `Program` has, without its layers.

    Raises:
        ValueError: If the model is not exact, or a condition is a number.
    """
    model = graph.model
    if not model.is_exact:
        raise ValueError(
            "The C format holds tables in whole numbers. Received: a model of floats. Pass "
            'quantize="exact".'
        )
    numbers = [condition.name for condition in fields["conditions"] if condition.names is None]
    if numbers:
        raise ValueError(
            "The C format holds tables whose conditions are categories. Received: "
            f"{', '.join(numbers)}, of numbers. {c_layers.ELSEWHERE}"
        )
    layers = [*model.decoder.hidden, model.decoder.outputs_dense]
    return TableProgram(
        **fields,
        layers=tuple(_layer(layer, layer is not layers[-1]) for layer in layers),
        layout=model.likelihood.layout,
        schema=model.schema,
    )


def _layer(layer, is_hidden):
    from export.quantization import as_exact_int8

    kernel, bias, reach = (c_layers.numpy(weight) for weight in layer.weights)
    weights, steps = as_exact_int8(kernel.T, 0)
    return ExactLayer(weights, steps, bias.astype("float32"), float(reach), is_hidden)
