"""Graphs of any Keras model, whose inputs the user names."""

import functools
import inspect
import re

import numpy as np

from export.graphs import Graph, sampler_over
from export.ports import TensorSpec, as_float32, draw_inputs
from keras_vae import keras_internals

# What Keras names an input that nobody named.
_UNNAMED = re.compile(r"keras_tensor(_\d+)?")


def of_keras_model(model, inputs, name="decoder"):
    """The graph of any Keras model: what it computes as `decoder`, or with its draw as `sampler`.

    Args:
        model: A functional, sequential or subclassed `keras.Model`. Several inputs are bound by
            name: to those of a functional model's `keras.Input`, or in their order where none of
            those has a name; to arguments of a subclassed model's `call`, else as a dict.
        inputs: Dict from name to the shape of one example, `(16,)`, for a float32 input; or to
            `"int32"` for one integer an example; or to `("int32", 10)`, which says that it takes
            0 to 9. Plain `"int32"` is checked with 0 and 1 only.
        name: `"decoder"`, or `"sampler"` for a model with an input `z` of shape `(latent,)`, which
            is then drawn from N(0, I).

    Returns:
        A `Graph`. Its output is `x`, or `y` where an input is `x`, or the keys of a dict that the
        model returns, or `output_0`, `output_1`, ... for a list.

    Raises:
        ValueError: If the inputs are not of this form, or a functional model's have other names,
            or the model refuses them, or returns an output by the name of an input.
    """
    import keras

    from keras_vae.priors import StandardNormal

    if name not in ("decoder", "sampler"):
        raise ValueError(
            "A model with `inputs` of your own is exported as `decoder` or `sampler`, by what "
            f"they mean. Received: graph={name!r}."
        )

    specs = tuple(_input_spec(key, value) for key, value in dict(inputs).items())
    if not specs:
        raise ValueError("`inputs` must name at least one input, such as {'z': (16,)}.")
    names = [spec.name for spec in specs]
    call = _how_to_call(model, names)

    def function(tensors):
        return {key: as_float32(y) for key, y in by_name(call(tensors), names).items()}

    draw = functools.partial(draw_inputs, specs)
    example = draw(2, np.random.default_rng(0))
    try:
        made = function({key: keras.ops.convert_to_tensor(y) for key, y in example.items()})
    except Exception as err:
        raise ValueError(
            f"`{type(model).__name__}` must accept the `inputs` {dict(inputs)}. It raised: "
            f"{type(err).__name__}: {str(err).strip().splitlines()[0][:300]}"
        ) from err
    if taken := set(made) & set(names):
        raise ValueError(
            f"`{type(model).__name__}` must return outputs of other names than its inputs'. "
            f"Received: {', '.join(sorted(taken))}. Rename the key of the dict that it returns."
        )
    outputs = tuple(
        TensorSpec(key, "float32", (None, *map(int, y.shape[1:]))) for key, y in made.items()
    )
    graph = Graph("decoder", specs, outputs, function, model, draw)
    if name == "decoder":
        return graph
    if not any(spec.name == "z" and len(spec.shape) == 2 for spec in specs):
        raise ValueError(
            "The `sampler` graph needs an input `z` of shape (latent,) in `inputs`. "
            f"Received: {dict(inputs)}."
        )
    return sampler_over(graph, StandardNormal())


def by_name(made, inputs):
    """What a model returns as a dict.

    Args:
        made: A tensor, or a list or a dict of tensors.
        inputs: Names of the model's inputs; no value of a file has two meanings.
    """
    if isinstance(made, list | tuple):
        return {f"output_{index}": y for index, y in enumerate(made)}
    return made if isinstance(made, dict) else {"y" if "x" in inputs else "x": made}


def _input_spec(name, value):
    if isinstance(name, str) and name.isidentifier():
        if value == "int32":
            return TensorSpec(name, "int32", (None,), 2)
        if isinstance(value, list | tuple):
            is_whole = [type(n) is int and n > 0 for n in value]
            if len(value) > 1 and value[0] == "int32" and all(is_whole[1:]):
                return TensorSpec(name, "int32", (None, *value[2:]), value[1])
            if all(is_whole):
                return TensorSpec(name, "float32", (None, *value))
    raise ValueError(
        "`inputs` must map names to a shape such as (16,), to 'int32', to ('int32', 10), or to "
        f"('int32', 10, 12) for several. Received: {name!r}: {value!r}."
    )


def _how_to_call(model, names):
    """A function from a dict of tensors to what the model makes of them, each bound by its name.

    Raises:
        ValueError: If a functional model has inputs of other names.
    """
    import keras

    structure = keras_internals.nested_inputs(model)
    several = isinstance(structure, dict) or len(keras.tree.flatten(structure)) > 1
    if len(names) == 1 and not several:
        return lambda tensors: model(tensors[names[0]], training=False)
    if structure is None:
        arguments = inspect.signature(model.call).parameters
        if all(name in arguments for name in names):
            return lambda tensors: model(**tensors, training=False)
        return lambda tensors: model(dict(tensors), training=False)
    if isinstance(structure, dict):
        own = list(structure)
    else:
        own = [name_of_input(tensor) for tensor in keras.tree.flatten(structure)]
        if len(own) == len(names) and all(_UNNAMED.fullmatch(name) for name in own):
            own = names
    if set(own) != set(names):
        raise ValueError(
            f"`inputs` must name the model's inputs {', '.join(own)}. Received: {', '.join(names)}."
        )
    if isinstance(structure, dict):
        return lambda tensors: model(dict(tensors), training=False)

    def call(tensors):
        given = [tensors[name] for name in own]
        return model(keras.tree.pack_sequence_as(structure, given), training=False)

    return call


def name_of_input(tensor):
    """The name of a functional model's input, without what Keras adds where it copies one."""
    return re.sub("(CLONE)+$", "", tensor.name)
