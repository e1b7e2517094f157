"""Changes of converted TFLite files: what they compute stays the same."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import export
from export import tflite, tflite_edits
from tests.export.test_parity import converts_here

pytestmark = converts_here


@pytest.fixture(scope="module")
def converted():
    """A file with shapes that are computed of the batch, as Keras' Flatten and `ones_like` do."""
    import tensorflow as tf

    def function(x):
        flat = tf.reshape(x, (tf.shape(x)[0], 12))
        plane = tf.ones_like(x[..., :1]) * tf.reshape(flat[:, :2], (tf.shape(flat)[0], 1, 1, 2))
        lines = tf.fill((tf.shape(x)[0], 3), 2.0) * flat[:, :3]
        return {"plane": plane, "lines": lines, "back": tf.reshape(flat, (tf.shape(x)[0], 3, 4))}

    spec = tf.TensorSpec((None, 2, 3, 2), tf.float32, name="x")
    traced = tf.function(function, input_signature=[spec], autograph=False)
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [traced.get_concrete_function()]
    ).convert()


def operators(content):
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    codes = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    return {codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators}


def outputs(content, x):
    interpreter = Interpreter(model_content=content)
    [given] = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    made = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    return sorted(made, key=lambda array: array.shape)


def test_shapes_that_are_known_but_for_the_batch_are_computed_no_more(converted):
    fixed = tflite._edited(converted, tflite_edits.fix_shapes)
    assert {"SHAPE", "PACK", "BROADCAST_TO"} <= operators(converted)
    # A constant that is spread over a shape which no tensor has stays, and is right.
    assert operators(converted) - operators(fixed) == {"BROADCAST_TO"}
    for batch_size in (1, 3, 7):
        x = np.random.default_rng(batch_size).normal(size=(batch_size, 2, 3, 2)).astype("f4")
        x[0, 0, 0, 0] = np.inf if batch_size == 3 else x[0, 0, 0, 0]
        with np.errstate(invalid="ignore"):
            flat = x.reshape(batch_size, 12)
            expected = [2 * flat[:, :3], flat.reshape(batch_size, 3, 4)]
            expected.append(np.ones((1, 2, 3, 1), "f4") * flat[:, None, None, :2])
        for found in (outputs(converted, x), outputs(fixed, x)):
            for made, value in zip(found, sorted(expected, key=lambda a: a.shape), strict=True):
                np.testing.assert_array_equal(made, value)


@pytest.mark.usefixtures("one_signature")
@pytest.mark.parametrize("is_gated", [False, True], ids=["swish", "split"])
def test_sigmoids_share_their_input_with_others_in_all_integer_files(is_gated, tmp_path):
    """Values beyond 6.25, where a sigmoid is 1, count for what else reads them."""
    z = keras.Input((4,), name="z")
    h = keras.layers.Dense(8, kernel_initializer="identity", use_bias=False)(z) * 8.0
    if is_gated:
        gate, value = keras.ops.split(h, 2, axis=-1)
        h = keras.ops.sigmoid(gate) * keras.ops.tanh(value) + keras.ops.sigmoid(value)
    else:
        h = keras.ops.silu(keras.layers.Dense(4)(h))
    model = keras.Model(z, h)
    path = export.export(model, inputs={"z": (4,)}, quantize="int8-full", out=tmp_path)
    codes = np.random.default_rng(0).normal(size=(8, 4)).astype("f4")
    made, expected = tflite.load(path)({"z": codes})["x"], np.asarray(model(codes))
    # Measured: 0.02 of the largest value, and 0.5 where the input was cut off at 6.25.
    assert np.abs(made - expected).max() < 0.06 * max(1.0, np.abs(expected).max())
