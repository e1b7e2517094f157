"""A doubling and the convolution after it as one transposed convolution, in an ONNX file.

ONNX Runtime needs 16 multiplications then where it needed 36 of a 3 by 3 kernel. The file keeps
that kernel: the one of 4 by 4, its sums over boxes of 2 by 2, is made by operators of constants
alone, which ONNX Runtime executes once, when it loads the file.
"""

import numpy as np

from export.onnx_graphs import readers_of


def transpose_doublings(model, shapes):
    """Replace every nearest-neighbour doubling that is read by one convolution alone.

    The convolution's kernel must be odd, of stride 1, and padded to keep the size.

    Args:
        model: `onnx.ModelProto`, changed in place.
        shapes: Dict from the name of a constant to its shape. It may be stored in fewer bits.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for resize in [node for node in model.graph.node if node.op_type == "Resize"]:
        [doubled] = resize.output
        scales = constants.get(resize.input[2]) if len(resize.input) == 3 else None
        if scales is None or not np.array_equal(numpy_helper.to_array(scales), (1, 1, 2, 2)):
            continue
        if not _is_nearest(resize) or readers_of(model, doubled) != 1:
            continue
        for convolution in (n for n in model.graph.node if n.op_type == "Conv"):
            shape = shapes.get(convolution.input[1])
            if convolution.input[0] == doubled and shape and _keeps_size(convolution, shape):
                _transpose(model.graph, resize, convolution, shape)
                break


def _is_nearest(resize):
    """Whether each pixel becomes four that are equal to it."""
    values = _attributes(resize)
    how = values.get("coordinate_transformation_mode"), values.get("nearest_mode")
    # As tf2onnx and as PyTorch say it.
    known = (b"half_pixel", b"round_prefer_ceil"), (b"asymmetric", b"floor")
    return values.get("mode") == b"nearest" and how in known


def _keeps_size(convolution, shape):
    """Whether it is of stride 1, its kernel `(out, in, k, k)` odd, with zeros around the image."""
    sizes, values = shape[2:], _attributes(convolution)
    return (
        len(sizes) == 2
        and sizes[0] == sizes[1]
        and sizes[0] % 2 == 1
        and values.get("group", 1) == 1
        and list(values.get("strides", (1, 1))) == [1, 1]
        and list(values.get("dilations", (1, 1))) == [1, 1]
        and list(values.get("pads", (0,) * 4)) == [sizes[0] // 2] * 4
    )


def _transpose(graph, resize, convolution, shape):
    """Put one transposed convolution, and what makes its kernel, in the place of both."""
    from onnx import helper, numpy_helper

    filters, channels, size, _ = shape
    kernel = convolution.input[1]
    # By its output: a decoder may run several times in a graph, with the same kernel.
    name = f"{convolution.output[0]}_kernel"

    def constant(part, value):
        tensor = numpy_helper.from_array(np.asarray(value), f"{name}_{part}")
        graph.initializer.append(tensor)
        return tensor.name

    images = constant("images", np.int64([-1, 1, size, size]))
    kernels = constant("kernels", np.int64([filters, channels, size + 1, size + 1]))
    box = constant("box", np.ones((1, 1, 2, 2), "float32"))
    last, first = constant("last", np.int64([-1, -1])), constant("first", np.int64([-size - 2] * 2))
    axes, back = constant("axes", np.int64([2, 3])), constant("back", np.int64([-1, -1]))
    make = helper.make_node
    made = [
        make("Reshape", [kernel, images], [f"{name}_1"]),
        make("Conv", [f"{name}_1", box], [f"{name}_2"], kernel_shape=[2, 2], pads=[1] * 4),
        make("Reshape", [f"{name}_2", kernels], [f"{name}_3"]),
        # A transposed convolution is the gradient of one: its kernel runs the other way.
        make("Slice", [f"{name}_3", last, first, axes, back], [f"{name}_4"]),
        make("Transpose", [f"{name}_4"], [name], perm=[1, 0, 2, 3]),
        make(
            "ConvTranspose",
            [resize.input[0], name, *convolution.input[2:]],
            convolution.output,
            name=convolution.name,
            kernel_shape=[size + 1] * 2,
            strides=[2, 2],
            pads=[size // 2] * 4,
        ),
    ]
    place = list(graph.node).index(convolution)
    nodes = list(graph.node)
    nodes[place : place + 1] = made
    nodes.remove(resize)
    del graph.node[:]
    graph.node.extend(nodes)


def _attributes(node):
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
