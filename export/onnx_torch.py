"""ONNX by PyTorch's own exporter: no TensorFlow is needed."""

import contextlib
import functools
import importlib.metadata
import logging
import re
import warnings

import numpy as np

from export import tracing
from export.errors import ExportError
from export.onnx_graphs import graphs_of
from keras_vae import keras_internals
from keras_vae.exceptions import one_line

_LAYER = "layer"


def converter():
    """Name and version of the converter."""
    return f"torch.onnx {importlib.metadata.version('torch')}"


def convert(graph, opset):
    """Convert a graph to an ONNX model, its inputs and outputs named as the graph's.

    Steps that are repeated are written out: PyTorch traces what Python does.

    Args:
        graph: The `Graph`, of a model on PyTorch.
        opset: Int.

    Returns:
        `onnx.ModelProto`.

    Raises:
        ExportError: If the exporter refuses the graph.
    """
    import torch

    from keras_vae.networks import doubling

    example = graph.draw(3, np.random.default_rng(0))
    batch = torch.export.Dim("batch")
    names = [[spec.name for spec in specs] for specs in (graph.inputs, graph.outputs)]

    class Traced(torch.nn.Module):
        # The model is no attribute of it: the exporter puts back attributes with dicts sorted.
        def forward(self, *tensors):
            made = graph.function(dict(zip(names[0], tensors, strict=True)))
            return tuple(made[name] for name in names[1])

    with (
        _silent(),
        torch.no_grad(),
        tracing.upsampling_as_resize(graph.model, _doubled),
        doubling.transposed(False),  # as the other route, so that weights keep their grids
        _layers_named(graph.model) as called,
        _as_onnx_has_it(),
    ):
        exported = None
        try:
            exported = torch.export.export(
                Traced().eval(),
                tuple(torch.from_numpy(np.array(example[name])) for name in names[0]),
                dynamic_shapes=(tuple({0: batch} if s.batched else None for s in graph.inputs),),
            )
            program = torch.onnx.export(
                exported,
                dynamo=True,
                opset_version=opset,
                input_names=names[0],
                output_names=names[1],
                verbose=False,
            )
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as err:
            where = _where(err, called if exported is None else _operators(exported))
            raise ExportError(
                f"PyTorch cannot express the `{graph.name}` graph in ONNX opset {opset}: "
                f"{_reason(err)}{where}. Write the layer with other operations of keras.ops."
            ) from err
    model = program.model_proto
    _forget_origins(model)
    return model


@contextlib.contextmanager
def _silent():
    """Leave out what the exporter logs and warns of, such as packages that it does without."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _doubled(layer, x):
    """What a nearest `UpSampling2D` makes, as the one operator Resize."""
    import torch

    is_last = layer.data_format == "channels_last"
    x = torch.permute(x, (0, 3, 1, 2)) if is_last else x
    x = torch.nn.functional.interpolate(x, scale_factor=tuple(map(float, layer.size)))
    return torch.permute(x, (0, 2, 3, 1)) if is_last else x


def _as_onnx_has_it():
    """Let functions of PyTorch whose translation is wrong run as equal ones, within the block."""
    import torch

    class Replacing(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if function is torch.Tensor.squeeze and _stays(*args, **kwargs):
                return args[0]
            return function(*args, **kwargs)

    return Replacing()


def _stays(x, dim=None):
    """Whether `squeeze` is asked for an axis that is not 1, or of any size; ONNX's fails there.

    Keras' `take` asks for it, and gives what it gets its shape after that.
    """
    return isinstance(dim, int) and not (isinstance(x.shape[dim], int) and x.shape[dim] == 1)


@contextlib.contextmanager
def _layers_named(model):
    """Let the exporter note of each operator which layer it is of, within the block.

    Yields:
        Dict from the latest operator to the name of its layer, `{"": name}`; or nothing.
    """
    from torch.fx import traceback

    latest = {}

    def call_named(name, call, *args, **kwargs):
        latest[""] = name
        with traceback.annotate({_LAYER: name}):
            made = call(*args, **kwargs)
        # Where it failed, the name stays.
        latest.pop("", None)
        return made

    layers = keras_internals.flatten_layers(model, include_self=False)
    layers = [layer for layer in layers if not list(keras_internals.flatten_layers(layer))[1:]]
    before = {id(layer): vars(layer).get("call") for layer in layers}
    try:
        for layer in layers:
            layer.call = functools.partial(call_named, layer.name, layer.call)
        with traceback.preserve_node_meta():
            yield latest
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            if before[id(layer)] is not None:
                layer.call = before[id(layer)]


def _operators(exported):
    """Dict from the operators of a program, such as `aten.add`, to the names of their layers."""
    nodes = [node for node in exported.graph.nodes if node.op == "call_function"]
    layers = (node.meta.get("custom", {}).get(_LAYER) for node in nodes)
    return {str(node.target).rpartition(".")[0]: n for node, n in zip(nodes, layers, strict=True)}


def _where(err, layers):
    """The layer of what an error is about, in words, or nothing."""
    refused = _refused(err) or ""
    # One may be a part of what was called: `aten.linalg_inv_ex` of `aten.linalg_inv`.
    found = [name for name in layers if refused.startswith(name) and layers[name]]
    return f", in the layer {layers[max(found, key=len)]}" if found else ""


def _refused(err):
    """The operator that the exporter has nothing for, or None."""
    found = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", _said(err))
    return found and found[1]


def _reason(err):
    """What the exporter says in one line, without its advice."""
    if refused := _refused(err):
        return f"it has nothing for {refused}"
    said = re.sub(r"\x1b\[\d+m", "", _said(err))
    if found := re.search(r"(?s)Exception encountered when calling .*?\n\n(.*?)\n", said):
        return one_line(found[1]).rstrip(".")
    if found := re.search(r"(?m)^<class '[\w.]*?(\w+)'>: *(.*)$", said):
        return one_line(": ".join(filter(None, found.groups()))).rstrip(".")
    return one_line(said).rstrip(".")


def _said(err):
    """All that an error and its causes say."""
    said = []
    while err is not None:
        said.append(str(err))
        err = err.__cause__
    return "\n".join(said)


def _forget_origins(model):
    """Drop what the exporter notes of every value: lines of code, with paths of this machine."""
    parts = [model]
    for graph in graphs_of(model):
        parts += [graph, *graph.node, *graph.value_info, *graph.input, *graph.output]
        parts += getattr(graph, "initializer", ())
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
