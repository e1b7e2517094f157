"""What a model gives when it is called as its users call it: what an exported file is held to.

A check must not share code with what it checks. So nothing here calls `Graph.function`, which is
what was exported: models of ours answer by their public methods, other Keras models by a call with
the names that the user gave.
"""

import inspect

import numpy as np

from export import keras_models, tracing
from keras_vae import keras_internals


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
    compute = _OTHERS if tracing.own(graph.model) is None else _OWN
    parts = []
    with tracing.on_cpu():
        for start in range(0, count, batch_size):
            batch = graph.rows(inputs, slice(start, start + batch_size))
            made = compute[graph.name](graph, batch)
            parts.append({key: keras.ops.convert_to_numpy(y) for key, y in made.items()})
    return {
        spec.name: np.concatenate([part[spec.name] for part in parts]).astype(spec.dtype)
        for spec in graph.outputs
    }


def _decoder(graph, inputs):
    [code] = [inputs[name] for name in ("z", "codes") if name in inputs]
    return {"x": graph.model.decode(code, _conditions(graph.model, inputs))}


def _encoder(graph, inputs):
    made = graph.model.encode(_examples(graph.model, inputs))
    made = made if isinstance(made, tuple) else (made,)
    return dict(zip(graph.model.code_names, made, strict=True))


def _sampler(graph, inputs):
    model, conditions = graph.model, _conditions(graph.model, inputs)
    condition = None
    if conditions:
        condition = model.encode_condition(_tensors(conditions), training=False)
    z = _draw(model.prior, model.latent_dim, inputs, conditions, condition)
    return {"x": model.decode(z, conditions), "z": z}


def _scorer(graph, inputs):
    model, examples = graph.model, _examples(graph.model, inputs)
    made = model(_tensors(examples), draw=False, training=False)
    score = -model.likelihood.log_prob(_tensors(inputs["x"]), made["parameters"])
    return {
        "score": score + made["kl"] if "kl" in made else score,
        "x_reconstructed": model.reconstruct(examples),
    }


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
    return made if isinstance(made, dict) else {"x": made}


def _keras_sampler(graph, inputs):
    from keras_vae.priors import StandardNormal

    conditions = {k: v for k, v in inputs.items() if k not in ("index", "seed", "temperature")}
    [latent_dim] = [spec.shape[1] for spec in graph.outputs if spec.name == "z"]
    z = _draw(StandardNormal(), latent_dim, inputs, conditions)
    return {**_keras_model(graph, {"z": z, **conditions}), "z": z}


def _draw(prior, latent_dim, inputs, conditions, condition=None):
    """Codes of a prior: those of `index`, and with conditions the first ones."""
    index = inputs.get("index")
    if conditions:
        index = np.arange(len(next(iter(conditions.values()))))
    seed, temperature = int(inputs["seed"][0]), float(inputs["temperature"][0])
    return prior.sample(int(index.max()) + 1, latent_dim, temperature, seed, condition)[index]


def _conditions(model, inputs):
    return {name: inputs[name] for name in model.condition}


def _examples(model, inputs):
    return {"x": inputs["x"], **_conditions(model, inputs)} if model.condition else inputs["x"]


def _tensors(arrays):
    import keras

    return keras.tree.map_structure(keras.ops.convert_to_tensor, arrays)


_OWN = {"decoder": _decoder, "encoder": _encoder, "sampler": _sampler, "scorer": _scorer}
_OTHERS = {"decoder": _keras_model, "sampler": _keras_sampler}
