"""How a model computes while it is exported: the same, by operators that the formats have."""

import contextlib
import functools

import numpy as np

from export.errors import ExportError
from keras_vae import keras_internals


def own(model):
    """The model itself if it is of `keras_vae`, None if it is any other Keras model."""
    from keras_vae.models.generative import GenerativeModel

    return model if isinstance(model, GenerativeModel) else None


def on_cpu():
    """On TensorFlow on the CPU: an accelerator rounds to fewer digits than most devices do."""
    import keras

    on_tensorflow = keras.backend.backend() == "tensorflow"
    return keras.device("cpu:0") if on_tensorflow else contextlib.nullcontext()


def variables_read(graph):
    """The Keras variables that a graph reads, in the order in which it does."""
    import keras

    read = {}

    class Recording(keras.StatelessScope):
        def get_current_value(self, variable):
            read[id(variable)] = variable
            return super().get_current_value(variable)

    example = graph.draw(1, np.random.default_rng(0))
    with Recording():
        graph.function({name: keras.ops.convert_to_tensor(y) for name, y in example.items()})
    return list(read.values())


def ones_like(tensor):
    """Ones of the shape and type of a tensor of integers; on JAX computed of it.

    What JAX knows is a constant in the file, for one number of examples.
    """
    import keras

    on_jax = keras.backend.backend() == "jax"
    return keras.ops.clip(tensor, 1, 1) if on_jax else keras.ops.ones_like(tensor)


@contextlib.contextmanager
def full_precision(model):
    """Let a model that was trained in mixed precision compute in float32, within the block.

    Its variables are float32 already; a device gets what they say, without the rounding of the
    training's arithmetic.
    """
    import keras

    layers = [
        layer
        for layer in keras_internals.flatten_layers(model)
        if layer.compute_dtype != layer.variable_dtype
    ]
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(layer.variable_dtype)
        _forget_compiled(model, layers)
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy
        _forget_compiled(model, layers)


def _forget_compiled(model, changed):
    """Drop what a model of ours compiled when its layers computed in another precision."""
    if changed and own(model) is not None:
        model.forget_compiled()


@contextlib.contextmanager
def upsampling_as_resize(model, resize=None):
    """Let every nearest `UpSampling2D` run as one resize op, which repeats the same pixels.

    Keras 3.15.1 writes it as `repeat`, and for a batch of any size TensorFlow 2.21 cannot tell the
    height and width of what that makes: TFLite's converter then refuses the next convolution.

    Args:
        model: Keras model.
        resize: Optional function from the layer and its input to what it makes. Defaults to the
            one of `keras.ops.image`.
    """
    import keras

    def resize_by_keras(layer, inputs):
        axes = (1, 2) if layer.data_format == "channels_last" else (2, 3)
        size = [inputs.shape[axis] * by for axis, by in zip(axes, layer.size, strict=True)]
        return keras.ops.image.resize(
            inputs, size, interpolation="nearest", data_format=layer.data_format
        )

    layers = [
        layer
        for layer in keras_internals.flatten_layers(model)
        if isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "nearest"
    ]
    try:
        for layer in layers:
            layer.call = functools.partial(resize or resize_by_keras, layer)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


@contextlib.contextmanager
def labels_from_table():
    """Let labels be looked up in a table of their vectors, whose last row, *unknown*, is zero.

    For all-integer files alone, because n one-hot classes take n (n + 1) bytes. TFLite's converter
    makes ONE_HOT of a label that is compared with the classes (TensorFlow 2.21); quantized, that
    operator gives wrong values, and the microcontroller runtime lacks it.
    """
    import keras

    from keras_vae.conditions import Categorical, MultiLabel

    look_up = _look_up_on_jax if keras.backend.backend() == "jax" else _look_up_on_tensorflow

    kinds = [Categorical, *Categorical.__subclasses__(), MultiLabel]
    originals = {kind: vars(kind)["encode"] for kind in kinds if "encode" in vars(kind)}
    try:
        for kind in originals:
            kind.encode = lambda kind, label, table=None: look_up(kind, label, table)
        yield
    finally:
        for kind, original in originals.items():
            kind.encode = original


def _look_up_on_tensorflow(kind, label, table):
    import tensorflow as tf

    with tf.init_scope():  # its values, not the variable
        vectors = kind.vectors() if table is None else _with_unknown(table)
    return tf.gather(vectors, label)


def _look_up_on_jax(kind, label, table):
    from jax import numpy as jnp

    vectors = jnp.asarray(kind.vectors() if table is None else _with_unknown(table))
    return vectors.at[label].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _with_unknown(table):
    return np.pad(table.numpy(), ((0, 1), (0, 0)))


def learned_vectors(model):
    """Set of the bytes of the tables that hold what labels are to the networks."""
    import keras

    from keras_vae.layers import Conditioning

    layers = keras_internals.flatten_layers(model)
    tables = [t for layer in layers if isinstance(layer, Conditioning) for t in layer.weights]
    return {keras.ops.convert_to_numpy(table).tobytes() for table in tables}


@contextlib.contextmanager
def looked_up_plainly():
    """Let `arithmetic.look_up` be GATHER alone, within the block, on TensorFlow.

    Keras adds three operators for indices below 0, which there are none of, at each of 30 look-ups
    in a step.
    """
    import tensorflow as tf

    from keras_vae.networks import arithmetic

    original = arithmetic.look_up
    try:
        arithmetic.look_up = lambda table, index, axis=0: tf.gather(table, index, axis=axis)
        yield
    finally:
        arithmetic.look_up = original


def layers_with_loops(model):
    """A model's recurrent layers that loop over time, wherever they are, as in `Bidirectional`."""
    import keras

    return [
        layer
        for layer in keras_internals.flatten_layers(model)
        if isinstance(layer, keras.layers.RNN) and not layer.unroll
    ]


@contextlib.contextmanager
def unrolled(model):
    """Let recurrent layers write out every step of time, within the block, as `unroll=True` does.

    TFLite's converter refuses the lists in which Keras' loop keeps its steps.

    Args:
        model: Keras model.

    Raises:
        ExportError: At the end of the block, if a layer met a sequence of unknown length.
    """
    unknown = []

    def call_unrolled(layer, call, sequences, *args, **kwargs):
        layer.unroll = sequences.shape[1] is not None
        if not layer.unroll:
            # Keras would wrap what is raised here into a page of arguments.
            unknown.append(layer.name)
        return call(sequences, *args, **kwargs)

    layers = layers_with_loops(model)
    try:
        for layer in layers:
            layer.call = functools.partial(call_unrolled, layer, layer.call)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            layer.unroll = False
    if unknown:
        raise ExportError(
            "A recurrent layer in a TFLite file needs a sequence of known length. Received: time "
            f"of unknown size in {', '.join(dict.fromkeys(unknown))}. Say the length before it, "
            'with RepeatVector, Reshape or an Input; or export with format="onnx".'
        )
