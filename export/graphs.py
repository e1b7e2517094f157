"""The graphs that can be exported: their names, inputs, outputs and what they compute."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

OPSET = 18
BATCH_SIZES = (1, 3, 16)
STATIC_BATCH_SIZES = (1, 16)


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One named input or output of a graph.

    Args:
        name: The name that devices bind by.
        dtype: `"float32"` or `"int32"`.
        shape: Tuple; its first entry is None, the batch.
        num_values: For an int32 input: it takes 0 to `num_values - 1`.
    """

    name: str
    dtype: str
    shape: tuple
    num_values: int | None = None


@dataclasses.dataclass(frozen=True)
class Graph:
    """A function from named tensors to named tensors, as a format file exports it.

    Args:
        name: `"decoder"`.
        inputs: Tuple of `TensorSpec`.
        outputs: Tuple of `TensorSpec`.
        function: From a dict of the backend's tensors to a dict of the backend's tensors.
        model: The model that the function calls.
    """

    name: str
    inputs: tuple
    outputs: tuple
    function: Callable[[dict], dict]
    model: object

    def trace(self, batch_size=None):
        """Trace the function on TensorFlow for one batch size, or for any.

        Returns:
            A `tf.function` with its input signature, so that an integer label stays an integer.
        """
        import tensorflow as tf

        names = [spec.name for spec in self.inputs]
        signature = [
            tf.TensorSpec((batch_size, *spec.shape[1:]), spec.dtype, name=spec.name)
            for spec in self.inputs
        ]

        def traced(*tensors):
            with _upsampling_as_resize(self.model):
                return self.function(dict(zip(names, tensors, strict=True)))

        return tf.function(traced, input_signature=signature, autograph=False)

    @functools.cached_property
    def variables(self):
        """The TensorFlow variables that the graph reads."""
        return list(self.trace().get_concrete_function().graph.variables)

    @property
    def num_parameters(self):
        """Number of weights that the graph reads."""
        return sum(math.prod(variable.shape) for variable in self.variables)

    def evaluate(self, inputs, batch_size=64):
        """Compute from a dict of NumPy arrays to a dict of NumPy arrays, without tracing."""
        import keras

        rows = len(next(iter(inputs.values())))
        parts = []
        # On TensorFlow on the CPU: an accelerator rounds to fewer digits than most devices do.
        on_tensorflow = keras.backend.backend() == "tensorflow"
        with keras.device("cpu:0") if on_tensorflow else contextlib.nullcontext():
            for start in range(0, rows, batch_size):
                outputs = self.function(
                    {
                        name: keras.ops.convert_to_tensor(value[start : start + batch_size])
                        for name, value in inputs.items()
                    }
                )
                parts.append({k: keras.ops.convert_to_numpy(v) for k, v in outputs.items()})
        return {
            spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in self.outputs
        }


def decoder(model):
    """The graph from a latent code and the conditions to the likelihood's mean.

    Args:
        model: A model of `keras_vae` with a latent code.

    Returns:
        A `Graph` with the inputs `z` and one for each condition, and the output `x`.

    Raises:
        ValueError: If the model has no latent code.
    """
    import keras

    if not all(hasattr(model, name) for name in ("decode_mean", "latent_dim", "data_shape")):
        raise ValueError(
            "The `decoder` graph needs a model of `keras_vae` that decodes a latent code. "
            f"Received: {type(model).__name__}."
        )
    if not model.built:
        model.build()
    inputs = [TensorSpec("z", "float32", (None, model.latent_dim))]
    for name, kind in model.condition.items():
        if kind.kind == "categorical":
            inputs.append(TensorSpec(name, "int32", (None,), kind.num_classes + 1))
        else:
            inputs.append(TensorSpec(name, "float32", (None, kind.dim)))

    def function(tensors):
        conditions = {name: tensors[name] for name in model.condition}
        x = model.decode_mean(tensors["z"], conditions)
        return {"x": keras.ops.cast(x, "float32")}

    outputs = (TensorSpec("x", "float32", (None, *model.data_shape)),)
    return Graph("decoder", tuple(inputs), outputs, function, model)


BUILDERS = {"decoder": decoder}


@contextlib.contextmanager
def full_precision(model):
    """Let a model that was trained in mixed precision compute in float32, within the block.

    Its variables are float32 already; a device gets what they say, without the rounding of the
    training's arithmetic.
    """
    import keras

    layers = [
        layer
        for layer in (model, *model._flatten_layers(include_self=False))
        if layer.compute_dtype != layer.variable_dtype
    ]
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(layer.variable_dtype)
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


@contextlib.contextmanager
def _upsampling_as_resize(model):
    """Let every nearest `UpSampling2D` run as one resize op, which repeats the same pixels.

    Keras 3.15.1 writes it as `repeat`, and for a batch of any size TensorFlow 2.21 cannot tell the
    height and width of what that makes: TFLite's converter then refuses the next convolution.
    """
    import keras

    def resize(layer, inputs):
        axes = (1, 2) if layer.data_format == "channels_last" else (2, 3)
        size = [inputs.shape[axis] * by for axis, by in zip(axes, layer.size, strict=True)]
        return keras.ops.image.resize(
            inputs, size, interpolation="nearest", data_format=layer.data_format
        )

    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "nearest"
    ]
    try:
        for layer in layers:
            layer.call = functools.partial(resize, layer)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
