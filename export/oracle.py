"""What a model gives when it is called as its users call it: what an exported file is held to.

A check must not share code with what it checks. So nothing here calls `Graph.function`, which is
what was exported: models of ours answer by their public methods, other Keras models by a call with
the names that the user gave.
"""

import functools
import inspect

import numpy as np

from export import keras_models, score_oracle, table_oracle, tracing
from keras_vae import keras_internals
from keras_vae.data import SeriesSchema

# Of float32, by which numbers in units may be off beside what follows from the model.
_STEPS = 4


def outputs(graph, inputs, batch_size=64):
    """What the model of a graph gives, some rows at a time.

    Args:
        graph: The `Graph`; of it only the name, the model and the names of the inputs count.
        inputs: Dict of arrays.
        batch_size: Int. Examples computed at once, where a row does not depend on its position.

    Returns:
        Dict of float32 or int32 arrays.
    """
    import keras

    count = graph.count(inputs)
    batch_size = batch_size if graph.row_by_row else count
    parts = []
    with tracing.on_cpu():
        for start in range(0, count, batch_size):
            batch = graph.rows(inputs, slice(start, start + batch_size))
            made = _of(graph)(graph, batch)
            parts.append({key: keras.ops.convert_to_numpy(y) for key, y in made.items()})
    return {
        spec.name: np.concatenate([part[spec.name] for part in parts]).astype(spec.dtype)
        for spec in graph.outputs
    }


def limits(graph, inputs, made):
    """Between which values some of a graph's outputs may lie: those in units, and p-values.

    Args:
        graph: The `Graph`.
        inputs: Dict of arrays.
        made: Dict of arrays, as from `outputs`, or None.

    Returns:
        Dict from the name of an output to a function of a bound to two arrays.
    """
    found = {}
    if graph.in_units:
        with tracing.on_cpu():
            found = table_oracle.limits(graph, inputs, made)
    if made is not None and _is_of_series(graph):
        in_units = [name for name in ("x", "x_reconstructed") if name in made]
        found = {n: functools.partial(_limits_of_series, graph.model, made[n]) for n in in_units}
    if made is not None and "p_value" in made:
        found["p_value"] = functools.partial(score_oracle.limits, graph.model, inputs, made)
    return found


def _of(graph):
    """The function from a graph and its inputs to what its model gives."""
    if graph.in_units:
        return table_oracle.outputs
    if _is_of_series(graph):
        return _of_series
    return (_OTHERS if tracing.own(graph.model) is None else _OWN)[graph.name]


def _is_of_series(graph):
    """Whether windows of a series go in or come out in units."""
    if graph.name == "reconstructor" or not tracing.own(graph.model):
        return False
    return isinstance(graph.model.schema, SeriesSchema)


def _moments(model):
    """The means and standard deviations of a series' channels, float64 `(channels,)`."""
    channels = model.schema.manifest()["channels"]
    return (np.array([channel[key] for channel in channels]) for key in ("mean", "std"))


def _limits_of_series(model, made, bound):
    """Windows in units that are as far off, in standard deviations, as a bound lets them be."""
    mean, std = _moments(model)
    reach = bound * max(1.0, np.abs((made - mean) / std).max()) * std
    reach = reach + _STEPS * np.spacing(np.abs(made).astype("float32"))
    return made - reach, made + reach


def _of_series(graph, inputs):
    """What a model of a series gives, whose windows a file takes and gives in units."""
    mean, std = _moments(graph.model)
    if "x" in inputs:
        inputs = {**inputs, "x": ((inputs["x"] - mean) / std).astype("float32")}
    made = _OWN[graph.name](graph, inputs)
    if graph.name == "sampler" and graph.model.observes:
        made["x"] = _float64(made["x"]) + _observation_noise(graph.model, inputs)
    in_units = {"x", "x_reconstructed"} & set(made)
    return {**made, **{name: _float64(made[name]) * std + mean for name in in_units}}


def _observation_noise(model, inputs):
    """What a Gaussian adds to its means, of the numbers that follow those of the code."""
    from keras_vae import portable_random

    first, size = model.latent_dim, int(np.prod(model.data_shape))
    drawn = portable_random.normal(inputs["seed"], inputs["index"], first + size)[:, first:]
    scale = np.exp(_float64(model.likelihood.log_scale))
    return drawn.astype("float64").reshape(-1, *model.data_shape) * scale


def margins(graph, inputs, made):
    """How near each draw of tokens came to a border between two of them, as a part of 1.

    It is restated from the public logits, in float64, given what was drawn before. An exact model
    draws near no border: 1. Of codes, those after a step in which one differs follow it.

    Args:
        graph: The `Graph`.
        inputs: Dict of arrays.
        made: Dict of arrays, as from `outputs`.

    Returns:
        Dict from the names of outputs that are drawn, tokens or codes, to arrays of their shape.
    """
    from keras_vae.models.capabilities import DrawsTokens

    model = graph.model
    if graph.draws_codes:
        return {"codes": _margins_of_codes(model.prior, inputs, made["codes"])}
    if not isinstance(model, DrawsTokens) or graph.name == "encoder":
        return {}
    reconstructs = graph.name in ("scorer", "reconstructor")
    name = "x_reconstructed" if reconstructs else "x"
    if model.is_exact:
        return {name: np.ones(made[name].shape)}
    z = made["z"] if graph.name == "sampler" else inputs.get("z")
    temperature, conditions = 0.0, _conditions(model, inputs)
    if reconstructs:
        z = model.encode(_examples(model, inputs))[0]
    else:
        temperature = float(inputs["token_temperature"][0])
    plan = model.decode_parameters(_tensors(z), _tensors(conditions))
    logits, uniform = model.decoder.logits(plan, _tensors(made[name])), None
    if temperature:
        index = inputs["index"] if "index" in inputs else np.arange(len(z))
        size = int(np.prod(model.data_shape))
        uniform = _uniforms(int(inputs["seed"][0]), index, model.latent_dim, size)
        uniform = uniform.reshape(made[name].shape)
    return {name: _margins(logits, uniform, temperature)}


def _margins_of_codes(prior, inputs, codes):
    """As `margins`, of the codes that a `MaskGIT` draws."""
    index = inputs["index"] if "index" in inputs else np.arange(len(codes))
    drawn = _uniforms(int(inputs["seed"][0]), index, 0, prior.places)
    uniform = np.empty_like(drawn)
    uniform[:, prior.order] = drawn
    given = {"codes": codes, **_conditions(prior, inputs)} if prior.condition else codes
    logits = prior.logits(_tensors(given))
    return _margins(logits, uniform.reshape(codes.shape), float(inputs["temperature"][0]))


def _margins(logits, uniform, temperature):
    """Of logits `(..., tokens)` and the draws `(...)`, which temperature 0 does without."""
    logits = np.asarray(_arrays(logits), np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    if temperature == 0:
        ordered = np.sort(np.exp(logits), axis=-1)
        return (ordered[..., -1] - ordered[..., -2]) / ordered.sum(axis=-1)
    cumulated = np.cumsum(np.exp(logits / temperature), axis=-1)
    borders = cumulated[..., :-1] / cumulated[..., -1:]
    return np.abs(borders - uniform[..., None]).min(axis=-1)


def _uniforms(seed, index, first, size):
    """The portable generator's numbers for every draw, of 23 bits, `(n, size)`."""
    from keras_vae import portable_random

    dimension = first + np.arange(size)[None]
    high, low = portable_random.words(seed, np.asarray(index)[:, None].astype(np.int64), dimension)
    return (high * 128 + low // 512 + 0.5) / 2**23


def _decoder(graph, inputs):
    if "token_temperature" in inputs:
        return _tokens(graph, inputs, inputs["z"], np.arange(len(inputs["z"])))
    [code] = [inputs[name] for name in ("z", "codes") if name in inputs]
    return {"x": graph.model.decode(code, _conditions(graph.model, inputs))}


def _encoder(graph, inputs):
    made = graph.model.encode(_examples(graph.model, inputs))
    made = made if isinstance(made, tuple) else (made,)
    return dict(zip(graph.model.code_names, made, strict=True))


def _sampler(graph, inputs):
    if graph.draws_codes:
        return _sampler_of_codes(graph.model, inputs)
    model, conditions = graph.model, _conditions(graph.model, inputs)
    condition = None
    if conditions:
        condition = model.encode_condition(_tensors(conditions), training=False)
    z = _draw(model.prior, model.latent_dim, inputs, conditions, condition)
    if "token_temperature" in inputs:
        index = inputs["index"] if "index" in inputs else np.arange(len(z))
        return {**_tokens(graph, inputs, z, index), "z": z}
    return {"x": model.decode(z, conditions), "z": z}


def _sampler_of_codes(model, inputs):
    conditions, index = _conditions(model.prior, inputs), inputs.get("index")
    if conditions:
        index = np.arange(len(next(iter(conditions.values()))))
    seed, temperature = int(inputs["seed"][0]), float(inputs["temperature"][0])
    count = int(index.max()) + 1
    codes = model.prior.sample(conditions or None, temperature, seed, count=count)[index]
    return {"x": model.decode(codes), "codes": codes}


def _tokens(graph, inputs, z, index):
    """What `decode` draws, of examples that need not be the first ones of the seed."""
    model, conditions = graph.model, _conditions(graph.model, inputs)
    first = np.zeros((int(index.max()) + 1, z.shape[1]), "float32")
    given = {n: np.zeros((len(first), *v.shape[1:]), v.dtype) for n, v in conditions.items()}
    first[index] = z
    for name, values in given.items():
        values[index] = conditions[name]
    temperature, seed = float(inputs["token_temperature"][0]), int(inputs["seed"][0])
    x = model.decode(first, given, token_temperature=temperature, seed=seed)[index]
    near = margins(graph, inputs, {"x": x, "z": z})["x"]
    return {"x": x, "margin": near.reshape(len(x), -1).min(axis=1)}


def _scorer(graph, inputs):
    model, examples = graph.model, _examples(graph.model, inputs)
    conditions = _conditions(model, inputs)
    explained = score_oracle.outputs(model, inputs["x"], examples, conditions)
    return {**explained, "x_reconstructed": model.reconstruct(examples)}


def _reconstructor(graph, inputs):
    return {"x_reconstructed": graph.model.reconstruct(_examples(graph.model, inputs))}


def _classifier(graph, inputs):
    return _by_label(graph.model, graph.model.classify(inputs["x"]))


def _by_label(model, found):
    """Probabilities by the names of the label conditions, of which there may be one."""
    names = [name for name, kind in model.condition.items() if kind.kind == "categorical"]
    return found if isinstance(found, dict) else {names[0]: found}


def _keras_model(graph, inputs):
    model, tensors = graph.model, _tensors(inputs)
    structure = keras_internals.nested_inputs(model)
    given, arguments = [tensors], {}
    if len(tensors) == 1 and not isinstance(structure, dict):
        given = list(tensors.values())
    elif structure is None and set(tensors) <= set(inspect.signature(model.call).parameters):
        bound = inspect.signature(model.call).bind(**tensors)
        given, arguments = bound.args, bound.kwargs
    elif structure is not None and not isinstance(structure, dict):
        name_of = keras_models.name_of_input
        named = {tensor.name: tensors.get(name_of(tensor)) for tensor in model.inputs}
        # Where nobody named the model's inputs, they are named in their order.
        given = [list(tensors.values()) if None in named.values() else named]
    made = model(*given, **arguments, training=False)
    if isinstance(made, list | tuple):
        return {f"output_{index}": tensor for index, tensor in enumerate(made)}
    return made if isinstance(made, dict) else {graph.outputs[0].name: made}


def _keras_sampler(graph, inputs):
    from keras_vae.priors import StandardNormal

    conditions = {k: v for k, v in inputs.items() if k not in ("index", "seed", "temperature")}
    [latent_dim] = [spec.shape[1] for spec in graph.outputs if spec.name == "z"]
    z = _draw(StandardNormal(), latent_dim, inputs, conditions)
    return {**_keras_model(graph, {"z": z, **conditions}), "z": z}


def _draw(prior, latent_dim, inputs, conditions, condition=None):
    """Codes of a prior: those of `index`, and without it the first ones."""
    index = inputs.get("index")
    if index is None:
        index = np.arange(len(next(iter(conditions.values()))))
    count = int(index.max()) + 1
    if condition is not None:
        of_row = _arrays(condition)
        placed = np.zeros((count, *of_row.shape[1:]), of_row.dtype)
        placed[index] = of_row
        condition = _tensors(placed)
    seed, temperature = int(inputs["seed"][0]), float(inputs["temperature"][0])
    return prior.sample(count, latent_dim, temperature, seed, condition)[index]


def _conditions(model, inputs):
    return {name: inputs[name] for name in model.condition}


def _examples(model, inputs):
    return {"x": inputs["x"], **_conditions(model, inputs)} if model.condition else inputs["x"]


def _float64(tensor):
    return np.asarray(_arrays(tensor), "float64")


def _arrays(tensor):
    import keras

    return keras.ops.convert_to_numpy(tensor)


def _tensors(arrays):
    import keras

    return keras.tree.map_structure(keras.ops.convert_to_tensor, arrays)


_OWN = {
    "decoder": _decoder,
    "encoder": _encoder,
    "sampler": _sampler,
    "scorer": _scorer,
    "reconstructor": _reconstructor,
    "classifier": _classifier,
}
_OTHERS = {"decoder": _keras_model, "sampler": _keras_sampler}
