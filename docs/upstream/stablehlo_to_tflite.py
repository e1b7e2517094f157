"""What litert-converter 0.5.0 gets wrong of StableHLO from JAX 0.10.2, in LiteRT 2.3.0.

    pip install jax==0.10.2 litert-converter==0.5.0 ai-edge-litert==2.3.0
    python docs/upstream/stablehlo_to_tflite.py

Each line is a function, what JAX gives and what the file gives, or why there is none. In an export
`export/jax_operators.py`, `export/tflite_loops.py` and `export/any_batch.py` put other operators in
their places.
"""

import jax
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jax import lax
from jax import numpy as jnp
from litert_converter.mlir import ir, passmanager
from litert_converter.mlir._mlir_libs import converter_api_ext as api

KERNEL = np.ones((3, 3, 1, 1), np.float32)
TABLE = np.arange(8, dtype=np.float32).reshape(4, 2) + 1
NUMBERS = np.array([-2.5, 2.5], np.float32)
SMALL = np.array([1e-6], np.float32)

CASES = {
    # The sign of the divisor, which FLOOR_MOD takes, for that of the number.
    "remainder of -2.5 and 2.5 by 2": (lambda x: lax.rem(x, jnp.float32(2)), NUMBERS),
    # No digits are left of exp(x) - 1.
    "expm1 of 1e-6": (jnp.expm1, SMALL),
    "log1p of 1e-6": (jnp.log1p, SMALL),
    # Uneven padding: (8, 8) is due.
    "shape of a transposed convolution of 3 x 3 by strides of 2": (
        lambda x: lax.conv_transpose(x, KERNEL, (2, 2), "SAME"),
        np.ones((1, 4, 4, 1), np.float32),
    ),
    # Not one of the four: a zero vector, of which EMBEDDING_LOOKUP makes an error.
    "one-hot vector of 4 among 4, times a matrix": (
        lambda k: (k[:, None] == jnp.arange(4)).astype("float32") @ TABLE,
        np.array([4], np.int32),
    ),
    # The loop is there, but is not written, for want of functions of its own.
    "a loop": (lambda x: lax.fori_loop(0, 3, lambda i, h: h * 2, x), NUMBERS),
    "sorted": (jnp.sort, NUMBERS),
}


def convert(function, example):
    """A TFLite file of a function of one tensor."""
    shape = jax.ShapeDtypeStruct(example.shape, example.dtype)
    content = jax.export.export(jax.jit(function), platforms=["cpu"])(shape).mlir_module()
    context = ir.Context()
    api.prepare_mlir_context(context)
    with context:
        module = ir.Module.parse(content)
        api.set_signature(module.operation, "f", ["x"], ["y"])
        api.run_convert_to_tfl_passes(module, passmanager.PassManager(), api.ConvertToTFLConfig())
        return api.export_flatbuffer_to_bytes(module.operation)


def main():
    for name, (function, example) in CASES.items():
        expected = np.asarray(function(example))
        try:
            made = Interpreter(model_content=convert(function, example))
            made = made.get_signature_runner("f")(x=example)["y"]
        except (ValueError, RuntimeError) as err:
            made = " ".join(str(err).split())[:100]
        if "shape" in name:
            expected, made = expected.shape, getattr(made, "shape", made)
        print(f"{name}: JAX {expected}, file {made}")


if __name__ == "__main__":
    main()
