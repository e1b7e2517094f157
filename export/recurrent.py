"""Recurrent layers without a loop, for a format that has none."""

import contextlib
import functools

from export.errors import ExportError


def layers_with_loops(model):
    """A model's recurrent layers that loop over time, wherever they are, as in `Bidirectional`."""
    import keras

    return [
        layer
        for layer in model._flatten_layers()
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
