"""Doublings as transposed convolutions in ONNX files: the same numbers in the real runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from export.onnx_doubling import transpose_doublings
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")


def make_model(size=3, use_bias=True, read_twice=False, scales=(1, 1, 2, 2), resize=(), **values):
    rng = np.random.default_rng(size)
    arrays = {
        "scales": np.float32(scales),
        "kernel": rng.normal(size=(4, 5, size, size)).astype("float32"),
        "bias": rng.normal(size=4).astype("float32"),
    }
    modes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
        **dict(resize),
    }
    values = {"kernel_shape": [size] * 2, "pads": [size // 2] * 4, **values}
    inputs = ["doubled", "kernel", *(["bias"] if use_bias else [])]
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["doubled"], **modes),
        helper.make_node("Conv", inputs, ["y"], **values),
    ]
    outputs = ["y", *(["z"] if read_twice else [])]
    if read_twice:
        nodes.append(helper.make_node("Relu", ["doubled"], ["z"]))
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("x", 1, ["batch", 5, 3, 4])],
        [helper.make_tensor_value_info(name, 1, [None] * 4) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def transposed(model):
    made = onnx.ModelProto.FromString(model.SerializeToString())
    shapes = {tensor.name: tuple(tensor.dims) for tensor in made.graph.initializer}
    transpose_doublings(made, shapes)
    onnx.checker.check_model(made, full_check=True)
    return made


def run(model, x):
    model.ir_version = 10
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_numbers_are_those_of_the_doubled_image(size, use_bias):
    model = make_model(size, use_bias)
    made = transposed(model)
    operators = {node.op_type for node in made.graph.node}
    assert "ConvTranspose" in operators
    assert "Resize" not in operators
    kernels = [tuple(t.dims) for t in made.graph.initializer if len(t.dims) == 4]
    assert (4, 5, size, size) in kernels
    assert (5, 4, size + 1, size + 1) not in kernels
    x = np.random.default_rng(0).normal(size=(3, 5, 3, 4)).astype("float32")
    # Measured: 6e-6 of values of 40.
    np.testing.assert_allclose(run(made, x), run(model, x), rtol=0, atol=3e-5)


def test_a_kernel_may_be_that_of_several_convolutions():
    model = make_model()
    again = [("doubled", "doubled_again"), ("y", "z")]
    for node in list(model.graph.node):
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        for before, after in again:
            for names in (copy.input, copy.output):
                names[:] = [after if name == before else name for name in names]
        model.graph.node.append(copy)
    model.graph.node.append(helper.make_node("Add", ["y", "z"], ["sum"]))
    model.graph.output[0].name = "sum"
    made = transposed(model)
    assert [node.op_type for node in made.graph.node].count("ConvTranspose") == 2
    x = np.random.default_rng(0).normal(size=(3, 5, 3, 4)).astype("float32")
    np.testing.assert_allclose(run(made, x), run(model, x), rtol=0, atol=6e-5)


LEFT_ALONE = {
    "an image three times as large": {"scales": (1, 1, 3, 3)},
    "rows alone": {"scales": (1, 1, 2, 1)},
    "a smooth resize": {"resize": {"mode": "linear"}},
    "other pixels": {"resize": {"coordinate_transformation_mode": "align_corners"}},
    "another reader": {"read_twice": True},
    "an even kernel": {"size": 2, "pads": [0, 0, 1, 1]},
    "no zeros around": {"pads": [0] * 4},
    "a stride": {"strides": [2, 2]},
    "a kernel with gaps": {"dilations": [2, 2], "pads": [2] * 4},
}


@pytest.mark.parametrize("kwargs", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_is_no_doubling_and_convolution_is_left_as_it_is(kwargs):
    model = make_model(**kwargs)
    assert [n.op_type for n in transposed(model).graph.node] == [
        n.op_type for n in model.graph.node
    ]
