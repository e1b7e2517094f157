"""Networks that squash what they give, where logits are due: the loss would squash it again."""

import keras
import numpy as np
from keras import ops

from keras_vae import keras_internals

# They end in the range [0, 1], as what a likelihood makes of logits does.
SQUASHING = frozenset({"sigmoid", "hard_sigmoid", "softmax", "sparse_sigmoid", "sparsemax"})
# Layers and operations of Keras that leave values as they are.
_KEEPS_VALUES = """
    Reshape Flatten Permute Identity Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D
    Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D RepeatVector
    Transpose Squeeze ExpandDims GetItem Cast Moveaxis
""".split()  # noqa: SIM905
_ROWS = 64
# Of the inputs that show the range of a network: small ones, and large ones at which whatever is
# not squashed leaves [0, 1].
_SCALES = (1.0, 1000.0)
# A network whose last weights are 0 at first gives 0, whatever its end is.
_LEAST_SPREAD = 1e-3


def check(network, role, why, inputs=()):
    """Refuse a network that ends in a sigmoid or softmax.

    Args:
        network: Keras model whose first output must be logits.
        role: Str. What the network is, for the error: "decoder".
        why: Str. Who takes the logits, for the error.
        inputs: Shapes of its inputs, `(None, ...)`, of which the first is varied and the others
            are 0; none for a network that is not built: then its layers alone are looked at.

    Raises:
        ValueError: If its last activation is one of `SQUASHING` or, where that cannot be told from
            its layers, if its values never leave [0, 1].
    """
    if type(network).__module__.startswith("keras_vae."):
        return  # ours end in none
    found = _end(network)
    if found is None:
        return
    if found == "":
        if not inputs or not _stays_in_unit_range(network, inputs):
            return
        found = "what never leaves [0, 1], such as a sigmoid"
    raise ValueError(
        f"The {role} must end without an activation: {why}. Received: a {role} "
        f"{network.name!r} that ends in {found}. Remove it from the last layer."
    )


def _end(network):
    """The squashing activation that a network ends in, None for none, "" where it is not known."""
    if isinstance(network, keras.Sequential):
        return _end_of_layers(network.layers)
    if getattr(network, "outputs", None):
        ends = [_end_of_tensor(tensor) for tensor in network.outputs]
        return next((end for end in ends if end), "" if "" in ends else None)
    return _end_of_operation(network)


def _end_of_layers(layers):
    for layer in reversed(layers):
        if type(layer).__name__ not in _KEEPS_VALUES and not _is_linear(layer):
            return _end_of_operation(layer)
    return None


def _end_of_tensor(tensor):
    operation, given = keras_internals.history(tensor)
    if type(operation).__name__ in _KEEPS_VALUES or _is_linear(operation):
        return _end_of_tensor(given[0]) if len(given) == 1 else ""
    return _end_of_operation(operation)


def _is_linear(operation):
    return isinstance(operation, keras.layers.Activation) and _name(operation) == "linear"


def _end_of_operation(operation):
    """As `_end`, of a layer, an operation of `keras.ops` or a model within the network."""
    if isinstance(operation, keras.Model):
        is_known = isinstance(operation, keras.Sequential) or getattr(operation, "outputs", None)
        return _end(operation) if is_known else ""
    if isinstance(operation, keras.layers.Wrapper):
        return _end_of_operation(operation.layer)
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    name = _name(operation)
    if name in SQUASHING:
        return name
    if name is not None and _is_of_keras(operation.activation):
        return None
    # An operation of keras.ops, such as Sigmoid, is a class of its own.
    as_function = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(operation).__name__)
    if as_function.lstrip("_") in SQUASHING:
        return as_function.lstrip("_")
    # What else squashes, as `(tanh(h) + 1) / 2`, only its values tell.
    return ""


def _is_of_keras(activation):
    """Whether an activation is one of Keras' own, which does what its name says."""
    module = getattr(activation, "__module__", None) or type(activation).__module__
    return module.partition(".")[0] == "keras"


def _name(operation):
    """Name of the activation of a layer that has one."""
    activation = getattr(operation, "activation", None)
    if isinstance(activation, keras.layers.Layer):
        return type(activation).__name__.lower()
    return getattr(activation, "__name__", None)


def _stays_in_unit_range(network, shapes):
    """Whether an output varies, but within [0, 1] only."""
    rng = np.random.default_rng(0)
    found = []
    for scale in _SCALES:
        varied, *others = ((_ROWS, *shape[1:]) for shape in shapes)
        first = (scale * rng.standard_normal(varied)).astype("float32")
        given = [first, *(np.zeros(shape, "float32") for shape in others)]
        given = [ops.convert_to_tensor(array) for array in given]
        made = network(given if len(given) > 1 else given[0], training=False)
        found.append([ops.convert_to_numpy(head).ravel() for head in keras.tree.flatten(made)])
    heads = [np.concatenate(values).astype("float64") for values in zip(*found, strict=True)]
    return any(
        values.min() >= 0 and values.max() <= 1 and np.ptp(values) > _LEAST_SPREAD
        for values in heads
    )
