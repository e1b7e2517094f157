"""Loops of TFLite files, put together of parts that were converted each by itself.

`litert-converter` 0.5 has a loop in its own language, but cannot write it into a file.
"""

from export import tflite_edits

_OF_LOOPS = "/loop_"


def name_of(signature, index, part):
    """The name of the signature of a part of a loop.

    Args:
        signature: That of the function in which the loop is.
        index: Int, which of its loops.
        part: `"condition"` or `"body"`.
    """
    return f"{signature}{_OF_LOOPS}{index}/{part}"


def join(model, schema):
    """An edit (`tflite_edits`) that puts a WHILE in place of each call that stands for a loop."""
    from export.jax_operators import LOOP

    names = {bytes(each.signatureKey).decode(): each for each in model.signatureDefs}
    for name, signature in names.items():
        subgraph = model.subgraphs[signature.subgraphIndex]
        for operator in subgraph.operators:
            target = getattr(operator.builtinOptions2, "callTargetName", None)
            target = bytes(target).decode() if isinstance(target, bytes) else target
            if target is None or not target.startswith(LOOP):
                continue
            index = int(target.removeprefix(LOOP))
            options = schema.WhileOptionsT()
            options.condSubgraphIndex, options.bodySubgraphIndex = (
                names[name_of(name, index, part)].subgraphIndex for part in ("condition", "body")
            )
            operator.opcodeIndex = tflite_edits.code_index(model, schema, "WHILE")
            operator.builtinOptionsType = schema.BuiltinOptions.WhileOptions
            operator.builtinOptions = options
            operator.builtinOptions2Type, operator.builtinOptions2 = 0, None
    model.signatureDefs = [each for name, each in names.items() if _OF_LOOPS not in name]
