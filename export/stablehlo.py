"""TFLite from JAX by way of StableHLO: no TensorFlow is needed.

A graph is traced for a known number of examples, for the converter makes the best operators of
known sizes; what takes any number is made of two such traces (`any_batch`).
"""

import contextlib
import importlib.metadata
import re

import numpy as np

from export import (
    any_batch,
    graphs,
    jax_operators,
    tflite_loops,
    tflite_spreading,
    tracing,
)
from export.errors import ExportError
from keras_vae.exceptions import one_line

# In one function.
_MOST_LOOPS = 64


def converter():
    """Name and version of the converter."""
    return f"litert-converter {importlib.metadata.version('litert-converter')}"


def convert(graph, sizes, all_integer=False):
    """Convert a graph to the content of a TFLite file.

    Args:
        graph: The `Graph`, on JAX.
        sizes: Dict from the name of a signature to its batch size, or None for any.
        all_integer: Whether it becomes an all-integer file, which looks labels up in a table.

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
        modules = []
        for name, size in static.items():
            modules += _converted(graph, name, *lowered(graph, size, all_integer))
        module = api.merge_modules(modules) if len(modules) > 1 else modules[0]
        try:
            content = api.export_flatbuffer_to_bytes(module.operation)
        except ValueError as err:
            raise _refused(graph, err) from err
    return content, [tflite_spreading.spread_cheaply, *edits, tflite_loops.join]


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


def _converted(graph, name, content, names, loops):
    """Modules of TFLite's operators: of a function, and of the loops in it."""
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext as api

    module = ir.Module.parse(content)
    api.set_signature(module.operation, name, *names)
    try:
        api.run_convert_to_tfl_passes(module, passmanager.PassManager(), api.ConvertToTFLConfig())
    except ValueError as err:
        raise _refused(graph, err, module) from err
    if _left_over(module):
        raise _refused(graph, None, module)
    modules = [module]
    for index, loop in enumerate(loops):
        for part in ("condition", "body"):
            inner = []
            function = getattr(loop, part)(inner)
            lowered_part = _lowered(function, loop.tensors)
            inputs = [f"in_{at}" for at in range(len(loop.tensors))]
            outputs = ["go_on"] if part == "condition" else [f"out_{n[3:]}" for n in inputs]
            inner_name = tflite_loops.name_of(name, index, part)
            modules += _converted(graph, inner_name, lowered_part, (inputs, outputs), inner)
    return modules


def lowered(graph, batch_size, all_integer=False):
    """A graph as StableHLO for a batch size, of an all-integer file with labels from a table.

    Returns:
        Tuple of bytes of MLIR, the names of inputs and outputs, and a list of
        `jax_operators.Loop`.

    Raises:
        ExportError: If JAX cannot trace it.
    """
    import jax

    from keras_vae.exceptions import reason
    from keras_vae.networks import doubling

    names = [spec.name for spec in graph.inputs]
    labels = tracing.labels_from_table if all_integer else contextlib.nullcontext

    def function(*tensors):
        with (
            doubling.transposed(False),  # LiteRT is slower with it, and rounds it worse
            tracing.unrolled(graph.model),
            labels(),
        ):
            made = graph.function(dict(zip(names, tensors, strict=True)))
        return [made[spec.name] for spec in graph.outputs]

    shapes = [
        jax.ShapeDtypeStruct(
            (batch_size if spec.batched else spec.shape[0], *spec.shape[1:]), np.dtype(spec.dtype)
        )
        for spec in graph.inputs
    ]
    loops = []
    try:
        content = _lowered(jax_operators.replaced(function, loops), shapes)
    except (ValueError, TypeError, NotImplementedError) as err:
        raise ExportError(
            f"The `{graph.name}` graph must be made of operators that JAX has for {batch_size} "
            f"examples. It raised: {reason(err)}"
        ) from err
    outputs = [spec.name for spec in graph.outputs]
    return content, (names, outputs), loops


def _lowered(function, shapes):
    """A function as StableHLO, bytes of MLIR."""
    import jax

    # An input that nothing reads is an input of the file all the same.
    compiled = jax.jit(function, keep_unused=True)
    allowed = [
        jax.export.DisabledSafetyCheck.custom_call(f"{jax_operators.LOOP}{at}")
        for at in range(_MOST_LOOPS)
    ]
    exported = jax.export.export(compiled, platforms=["cpu"], disabled_checks=allowed)
    return exported(*shapes).mlir_module()


def _refused(graph, err, module=None):
    """The error of a graph that the converter cannot express, with the layers that are to blame."""
    named = re.findall(r"failed to legalize operation '([\w.]+)'", str(err))
    is_told = module is not None and (err is None or named)
    if is_told and (found := _left_over(module, named)):
        return graphs.unknown_operators(graph, "TFLite builtins", found)
    return ExportError(
        f"LiteRT's converter cannot express the `{graph.name}` graph in TFLite builtins: "
        f"{one_line(err)}"
    )


def _left_over(module, named=()):
    """Pairs of an operator that TFLite lacks and its place in the model, `layer/operator`.

    Args:
        module: After the passes of the converter.
        named: Names of those that are looked for; by default all that TFLite lacks.
    """
    found, pending = [], [module.operation]
    while pending:
        for region in pending.pop().regions:
            for inner in (each for block in region.blocks for each in block.operations):
                operator = inner.operation
                dialect, _, name = operator.name.partition(".")
                # What stands for a loop is replaced.
                is_loop = name.startswith("custom_call") and jax_operators.LOOP in str(inner)
                is_known = dialect in ("arith", "builtin", "func", "tfl") or is_loop
                if operator.name not in named if named else is_known:
                    pending.append(operator)
                    continue
                places = re.findall(r'"jit\(\w+\)/([^"]*)"', str(operator.location))
                scopes = [
                    scope
                    for scope in (places[0] if places else "").split("/")[:-1]
                    if "(" not in scope and scope != "model"
                ]
                found.append((name, "/".join([*scopes, name])))
    return found
