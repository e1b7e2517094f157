"""TFLite from JAX by way of StableHLO: no TensorFlow is needed.

A graph is traced for a known number of examples, for the converter makes the best operators of
known sizes; what takes any number is made of two such traces (`any_batch`).
"""

import importlib.metadata

import numpy as np

from export import any_batch, tracing
from export.errors import ExportError
from keras_vae.exceptions import one_line


def converter():
    """Name and version of the converter."""
    return f"litert-converter {importlib.metadata.version('litert-converter')}"


def convert(graph, sizes):
    """Convert a graph to the content of a TFLite file.

    Args:
        graph: The `Graph`, on JAX.
        sizes: Dict from the name of a signature to its batch size, or None for any.

    Returns:
        Tuple of bytes and a list of edits that are due, functions of a `ModelT` and the schema.

    Raises:
        ExportError: If the converter refuses the graph.
    """
    from litert_converter.mlir import ir
    from litert_converter.mlir._mlir_libs import converter_api_ext as api

    static, edits = {}, []
    for name, size in sizes.items():
        static[name] = size or any_batch.SIZES[0]
        if size is None:
            twin = next((n for n, s in sizes.items() if s == any_batch.SIZES[1]), f"{name}_twin")
            edits.append(_merge(name, twin, is_left_out=twin not in sizes))
            if twin not in sizes:
                static[twin] = any_batch.SIZES[1]
    context = ir.Context()
    api.prepare_mlir_context(context)
    with context:
        modules = [_converted(graph, name, size) for name, size in static.items()]
        module = api.merge_modules(modules) if len(modules) > 1 else modules[0]
        try:
            return api.export_flatbuffer_to_bytes(module.operation), edits
        except ValueError as err:
            raise _refused(graph, err) from err


def _merge(name, twin, is_left_out):
    """An edit that lets a signature take any number of examples, by its twin."""

    def merge(model, schema):
        any_batch.any_batch(model, schema, name, twin)
        if is_left_out:
            # The last one, and none of its subgraphs is another's.
            model.signatureDefs = [
                each for each in model.signatureDefs if bytes(each.signatureKey).decode() != twin
            ]
            model.subgraphs = model.subgraphs[: len(model.signatureDefs)]

    return merge


def _converted(graph, name, batch_size):
    """A module of TFLite's operators for one batch size."""
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext as api

    module = ir.Module.parse(lowered(graph, batch_size))
    names = ([spec.name for spec in specs] for specs in (graph.inputs, graph.outputs))
    api.set_signature(module.operation, name, *names)
    try:
        api.run_convert_to_tfl_passes(module, passmanager.PassManager(), api.ConvertToTFLConfig())
    except ValueError as err:
        raise _refused(graph, err) from err
    return module


def lowered(graph, batch_size):
    """A graph as StableHLO for a batch size, bytes of MLIR.

    Raises:
        ExportError: If JAX cannot trace it.
    """
    import jax

    from keras_vae.exceptions import reason
    from keras_vae.networks import doubling

    names = [spec.name for spec in graph.inputs]

    def function(*tensors):
        with (
            doubling.transposed(False),  # LiteRT is slower with it, and rounds it worse
            tracing.unrolled(graph.model),
        ):
            made = graph.function(dict(zip(names, tensors, strict=True)))
        return [made[spec.name] for spec in graph.outputs]

    shapes = [
        jax.ShapeDtypeStruct(
            (batch_size if spec.batched else spec.shape[0], *spec.shape[1:]), np.dtype(spec.dtype)
        )
        for spec in graph.inputs
    ]
    # An input that nothing reads is an input of the file all the same.
    compiled = jax.jit(function, keep_unused=True)
    try:
        return jax.export.export(compiled, platforms=["cpu"])(*shapes).mlir_module()
    except (ValueError, TypeError, NotImplementedError) as err:
        raise ExportError(
            f"The `{graph.name}` graph must be made of operators that JAX has for {batch_size} "
            f"examples. It raised: {reason(err)}"
        ) from err


def _refused(graph, err):
    return ExportError(
        f"LiteRT's converter cannot express the `{graph.name}` graph in TFLite builtins: "
        f"{one_line(err)}"
    )
