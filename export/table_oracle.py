"""What a model of a table gives, in units: by its public methods and its schema, in float64.

Draws, and the way to units, have steps: a parameter that rounding moves by 1e-7 may make another
name of a draw, or the next whole number. So a cell of a file is not held to one value, but to
those that follow from parameters within a bound of the model's own, `limits`. What an exact model
makes has no steps to fall from: names and whole numbers are held to one value.
"""

import functools
import math

import numpy as np

from export import score_oracle
from keras_vae.data.lines import is_whole

# Of numbers, beside what follows from their scores: steps of float32 at the column's largest.
_STEPS = 4
# What float32 makes of an exponential, relative.
_EXPONENTIAL = 2e-6


def outputs(graph, inputs):
    """What the model of a graph gives.

    Args:
        graph: The `Graph`; of it only the name, the model and the names of the inputs count.
        inputs: Dict of arrays, in units.

    Returns:
        Dict of arrays.
    """
    return _OUTPUTS[graph.name](graph.model, inputs)


def limits(graph, inputs, made):
    """Between which values each column that a graph makes may lie.

    Args:
        graph: The `Graph`.
        inputs: Dict of arrays, in units.
        made: Dict of arrays, as from `outputs`.

    Returns:
        Dict from an output's name to a function: of a bound, of how far scores (relative, where
        they exceed 1) and probabilities may be from the model's, to the arrays `(low, high)`.
    """
    model = graph.model
    if graph.name in ("encoder", "classifier"):
        return {}
    if model.is_exact:
        return _exact_limits(model.schema, made)
    ending, noise = "", None
    if graph.name in ("scorer", "reconstructor"):
        z = _tuple(model.encode(_examples(model, inputs)))[0]
        ending = "_reconstructed"
    elif graph.name == "decoder":
        z = inputs["z"]
    else:
        z = made["z"]
        noise = model.likelihood.noise(inputs["seed"], inputs["index"], model.latent_dim)
    parameters = model.decode_parameters(_tensors(z), _tensors(conditions(model, inputs)))
    found = _Columns(model.likelihood.layout, _array(parameters), noise)
    ports, kinds = model.schema.ports, model.schema.columns
    of_names = [functools.partial(_in_units, kinds[name]) for name in model.schema.names]
    return {
        ports[name] + ending: functools.cache(functools.partial(in_units, of_bound))
        for name, in_units, of_bound in zip(model.schema.names, of_names, found.limits, strict=True)
    }


def _exact_limits(schema, made):
    """As `limits`, of an exact model: what it makes, of real numbers within float32's steps."""
    found = {}
    for name in schema.names:
        kind, port = schema.columns[name], schema.ports[name]
        slack = 0.0 if hasattr(kind, "names") or is_whole(kind) else _slack(kind, made[port])
        ends = made[port] - slack, made[port] + slack
        found[port] = functools.partial(_whatever_the_bound, ends)
    return found


def _whatever_the_bound(ends, bound):
    return ends


def _decoder(model, inputs):
    return columns(model, model.decode(inputs["z"], conditions(model, inputs)))


def _encoder(model, inputs):
    made = _tuple(model.encode(_examples(model, inputs)))
    return dict(zip(model.code_names, made, strict=True))


def _sampler(model, inputs):
    """Rows of a seed are the first ones: those of an index that comes again are another draw."""
    given, index = conditions(model, inputs), inputs["index"]
    seed, temperature = int(inputs["seed"][0]), float(inputs["temperature"][0])
    x = np.zeros((len(index), *model.data_shape), "float32")
    z = np.zeros((len(index), model.latent_dim), "float32")
    order = np.array([np.sum(index[:k] == value) for k, value in enumerate(index)])
    for turn in range(order.max() + 1):
        rows = np.flatnonzero(order == turn)
        at, count = index[rows], int(index[rows].max()) + 1
        first = {n: np.zeros((count, *v.shape[1:]), v.dtype) for n, v in given.items()}
        for name, values in first.items():
            values[at] = given[name][rows]
        asked = (first,) if first else (count,)
        x[rows] = model.sample(*asked, temperature=temperature, seed=seed)[at]
        vector = model.condition_vectors(first) if first else None
        z[rows] = model.prior.sample(count, model.latent_dim, temperature, seed, vector)[at]
    return {**columns(model, x), "z": z}


def _scorer(model, inputs):
    examples = _examples(model, inputs)
    given = examples if isinstance(examples, dict) else {"x": examples}
    found = score_oracle.outputs(model, given["x"], examples, conditions(model, inputs))
    return {**found, **columns(model, model.reconstruct(examples), "_reconstructed")}


def _reconstructor(model, inputs):
    return columns(model, model.reconstruct(_examples(model, inputs)), "_reconstructed")


def _classifier(model, inputs):
    rows = len(next(iter(inputs.values())))
    asked = {name: np.zeros(rows, "int32") for name in model.schema.conditions}  # of any class
    found = model.classify(_examples(model, {**asked, **inputs}))
    names = [name for name, kind in model.condition.items() if kind.kind == "categorical"]
    return found if isinstance(found, dict) else {names[0]: found}


def columns(model, x, ending=""):
    """Columns by their ports, as a file gives them, of rows as a model gives them."""
    schema, found = model.schema, {}
    for name, values in schema.decode(x).items():
        names = getattr(schema.columns[name], "names", None)
        if names is None:
            values = np.asarray(values, "float32")
        else:
            values = np.array([names.index(value) for value in values], "int32")
        found[schema.ports[name] + ending] = values
    return found


def _examples(model, inputs):
    """Rows as the model takes them, of columns as a file takes them."""
    schema = model.schema
    kinds = schema.columns
    return schema.encode({n: _values(kinds[n], inputs[p]) for n, p in schema.ports.items()})


def conditions(model, inputs):
    """Conditions as the model takes them, of those that a file takes: a dict of arrays."""
    schema = model.schema
    given = {n: _values(schema.columns[n], inputs[n]) for n in schema.conditions}
    return schema.encode_conditions(given)


def _values(kind, given):
    """A column as a table holds it, of what a file takes."""
    if hasattr(kind, "names"):
        return [kind.names[k] if 0 <= k < len(kind.names) else None for k in given.tolist()]
    given = np.asarray(given, "float64").reshape(-1)
    if getattr(kind, "transform", None) == "quantile":
        # A value that the map knows is it, although float32 has rounded it.
        known = np.array(kind.fitted["values"])
        at = np.searchsorted(known.astype("float32"), given.astype("float32"), "right")
        at = np.maximum(at - 1, 0)
        given = np.where(known.astype("float32")[at] == given, known[at], given)
    return given


class _Columns:
    """The distributions of a table's columns in float64, and the draws of them, or their means.

    Attributes:
        limits: List of functions, one a column: of a bound to the arrays `(low, high)`, of numbers
            their scores, of names and counts their indices.
    """

    def __init__(self, layout, parameters, noise):
        normals, binaries, counts, *groups = layout.split(np.asarray(parameters, "float64"))
        normal, uniform = (None, None) if noise is None else (np.asarray(n, "f8") for n in noise)
        self.limits = [None] * len(layout.blocks)
        half = normals.shape[1] // 2
        for k, column in enumerate(layout.columns["normal"]):
            low, high = np.log(0.05), np.log(5.0)
            scale = np.exp(low + (high - low) * _sigmoid(normals[:, half + k]))
            score = normals[:, k] + (0.0 if noise is None else scale * normal[:, k])
            self.limits[column] = functools.partial(_near, score)
        place = 0
        for k, column in enumerate(layout.columns["bernoulli"]):
            probability = _sigmoid(binaries[:, k])
            drawn = np.full(len(probability), 0.5) if noise is None else uniform[:, place]
            borders = 1 - probability[:, None]
            self.limits[column] = functools.partial(_beyond, borders, 1 - drawn, 1)
            place += 1
        half = counts.shape[1] // 2
        for k, column in enumerate(layout.columns["negative_binomial"]):
            mean = np.exp(7 * np.tanh(counts[:, k] / 7))
            shape, most = np.exp(5 * np.tanh(counts[:, half + k] / 5)), layout.blocks[column][1]
            if noise is None:
                self.limits[column] = functools.partial(_near, mean)
            else:
                borders = np.cumsum(_negative_binomial(most, mean, shape), axis=1)
                drawn = uniform[:, place]
                self.limits[column] = functools.partial(_beyond, borders, drawn, most)
            place += 1
        for group, columns, sizes in zip(groups, layout.groups, layout.names, strict=True):
            logits = group.reshape(len(group), len(columns), -1)
            for k, (column, size) in enumerate(zip(columns, sizes, strict=True)):
                probabilities = np.exp(logits[:, k, :size] - logits[:, k, :size].max(1)[:, None])
                probabilities /= probabilities.sum(axis=1, keepdims=True)
                if noise is None:
                    self.limits[column] = functools.partial(_likeliest, probabilities)
                else:
                    borders, drawn = np.cumsum(probabilities, axis=1), uniform[:, place]
                    self.limits[column] = functools.partial(_beyond, borders, drawn, size - 1)
                place += 1


def _near(value, bound):
    reach = bound * np.maximum(1, np.abs(value))
    return value - reach, value + reach


def _beyond(borders, drawn, most, bound):
    """How many borders a number is not below, at most `most`."""
    return tuple(
        np.minimum((borders <= (drawn + reach)[:, None]).sum(axis=1), most)
        for reach in (-bound, bound)
    )


def _likeliest(probabilities, bound):
    """The index of the largest; where another is as large, the least and the largest of both."""
    is_near = probabilities >= probabilities.max(axis=1, keepdims=True) - bound
    last = probabilities.shape[1] - 1
    return is_near.argmax(axis=1), last - is_near[:, ::-1].argmax(axis=1)


def _in_units(kind, of_bound, bound):
    low, high = of_bound(bound)
    if hasattr(kind, "names"):
        return low, high
    low, high = (np.asarray(kind.decode(score), "float64") for score in (low, high))
    slack = _slack(kind, high)
    return low - slack, high + slack


def _slack(kind, values):
    """What float32 makes of numbers in units, beside what follows from their scores."""
    slack = 0.0
    if not hasattr(kind, "most") and not kind.integer:
        slack = _STEPS * float(np.spacing(np.float32(np.abs(kind.bounds).max())))
    if getattr(kind, "transform", None) == "log":
        slack = slack + _EXPONENTIAL * np.abs(values)
    return slack


def _negative_binomial(most, mean, shape):
    """Probabilities of 0 to `most`, float64 `(rows, most + 1)`, by the gamma function."""
    made = np.zeros((len(mean), most + 1))
    for row, (m, r) in enumerate(zip(mean, shape, strict=True)):
        at_zero = r * math.log(r / (r + m))
        for x in range(most + 1):
            chosen = math.lgamma(x + r) - math.lgamma(r) - math.lgamma(x + 1)
            made[row, x] = math.exp(chosen + at_zero + x * math.log(m / (r + m)))
    return made


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def _tuple(made):
    return made if isinstance(made, tuple) else (made,)


def _array(tensor):
    import keras

    return keras.ops.convert_to_numpy(tensor)


def _tensors(arrays):
    import keras

    return keras.tree.map_structure(keras.ops.convert_to_tensor, arrays)


_OUTPUTS = {
    "decoder": _decoder,
    "encoder": _encoder,
    "sampler": _sampler,
    "scorer": _scorer,
    "reconstructor": _reconstructor,
    "classifier": _classifier,
}
