"""TensorFlow operators that a format lacks, replaced by others that compute the same.

Whatever calls TensorFlow while a graph is traced, be it Keras, TensorFlow itself or a layer of a
user's own, creates its operators in one place, `FuncGraph._create_op_internal`; `replaced` changes
what is created there. A replacement is a function from the operator's inputs (tensors of the graph)
and its attributes to one tensor; or to None, for an operator that stays as it is. The model itself
is not changed, and so what a file is held to comes without any of this.
"""

import contextlib
import functools

import numpy as np

# erf(x) = tanh(x p(x^2)) for |x| <= 3.9, beyond which float32 has no more digits of 1 - erf(x).
# Weighted least squares for the smallest largest error: 1.4e-7, and 6e-7 of erf(x) near 0.
_ERF = (
    1.12837970,
    0.102765487,
    -1.84397270e-4,
    -6.25706992e-4,
    8.97076817e-5,
    -5.98488444e-6,
    1.58914565e-7,
)
_ERF_END = 3.9
# What is computed at once where its inputs are known.
_COMPUTED = ("Cast", "RealDiv", "StridedSlice")


@contextlib.contextmanager
def replaced(format):
    """Let operators that a format lacks be created as their replacements, within the block.

    Args:
        format: `"tflite"`, `"tflite without GELU"` or `"onnx"`.
    """
    import tensorflow as tf

    replacements = _REPLACEMENTS[format]

    graph_type = tf.__internal__.FuncGraph
    create, capture = graph_type._create_op_internal, graph_type.capture
    active = set()

    def create_replaced(graph, op_type, inputs, *args, **kwargs):
        replace = replacements.get(op_type)
        if replace is not None and op_type not in active:
            attributes = kwargs.get("attrs") or (args[3] if len(args) > 3 else {})
            # What it is made of may hold the operator itself.
            active.add(op_type)
            try:
                with graph.as_default():
                    made = replace(*inputs, **attributes)
            finally:
                active.discard(op_type)
            if made is not None:
                name = kwargs.get("name") or (args[2] if len(args) > 2 else None)
                return tf.identity(made, name=name).op
        return create(graph, op_type, inputs, *args, **kwargs)

    def capture_known(graph, tensor, *args, **kwargs):
        # What is known now is a constant: tf2onnx would make it an input.
        if hasattr(tensor, "numpy") and tensor.dtype not in (tf.resource, tf.variant):
            with graph.as_default():
                return tf.constant(tensor.numpy())
        return capture(graph, tensor, *args, **kwargs)

    # A function that is compiled by itself, as Keras does grouped convolutions, becomes part of
    # the graph.
    eagerly = tf.config.functions_run_eagerly()
    try:
        graph_type._create_op_internal, graph_type.capture = create_replaced, capture_known
        tf.config.run_functions_eagerly(True)
        yield
    finally:
        graph_type._create_op_internal, graph_type.capture = create, capture
        tf.config.run_functions_eagerly(eagerly)


def _known(tensor):
    """The value of what follows from constants and from the sizes that are known, or None."""
    import tensorflow as tf

    value, operator = tf.get_static_value(tensor), tensor.op
    if value is not None:
        return value
    if operator.type == "Shape":
        return [-1 if size is None else size for size in operator.inputs[0].shape]
    values = [_known(value) for value in operator.inputs]
    if operator.type not in _COMPUTED or any(value is None for value in values):
        return None
    arguments = operator.op_def.input_arg
    inferred = {argument.type_attr for argument in arguments}
    attributes = {entry.name for entry in operator.op_def.attr} - inferred
    with tf.init_scope():
        value = getattr(tf.raw_ops, operator.type)(
            **{
                argument.name: tf.constant(value, source.dtype)
                for argument, value, source in zip(arguments, values, operator.inputs, strict=True)
            },
            **{name: operator.get_attr(name) for name in attributes},
        ).numpy()
    # In a slice of a shape, -1 is the batch's size.
    return None if operator.type == "StridedSlice" and (value < 0).any() else value


# In both formats


def _expm1(x, **_):
    """Exact near 0, where the `exp(x) - 1` of TFLite's converter has no digits left."""
    import tensorflow as tf

    return tf.tanh(x / 2) * (tf.exp(x) + 1)


def _log1p(x, **_):
    """Exact near 0, where `log(1 + x)` has no digits left: the series of `2 atanh(x / (2 + x))`.

    Of the terms that are left out, the first is at most 5e-9 of the value.
    """
    import tensorflow as tf

    ratio = x / (2 + x)
    square = ratio * ratio
    series = 1 / 11
    for order in (9, 7, 5, 3, 1):
        series = series * square + 1 / order
    return tf.where(tf.abs(x) < 0.4, 2 * ratio * series, tf.math.log(1 + x))


def _cumprod(x, axis, exclusive=None, reverse=None, **_):
    import tensorflow as tf

    axis = tf.get_static_value(axis)
    if axis is None or x.shape[int(axis)] is None or exclusive.b or reverse.b:
        return None
    products = tf.unstack(x, axis=int(axis))
    for index in range(1, len(products)):
        products[index] = products[index - 1] * products[index]
    return tf.stack(products, axis=int(axis))


def _argmax(x, axis, output_type, **_):
    import tensorflow as tf

    x = _with_negative_zeros(x)
    return tf.raw_ops.ArgMax(input=x, dimension=axis, output_type=output_type.type)


def _argmin(x, axis, output_type, **_):
    import tensorflow as tf

    x = _with_negative_zeros(x)
    return tf.raw_ops.ArgMin(input=x, dimension=axis, output_type=output_type.type)


def _with_negative_zeros(x):
    """What Keras compares, before it takes -0 for less than 0, which takes five more operators."""
    import tensorflow as tf

    chosen = x.op
    if chosen.type != "SelectV2" or chosen.inputs[0].op.type != "LogicalAnd":
        return x
    condition, least, plain = chosen.inputs
    is_zero = condition.op.inputs[0].op
    is_least = tf.get_static_value(least) == -np.finfo(np.float32).tiny
    is_keras = is_least and is_zero.type == "Equal" and is_zero.inputs[0].name == plain.name
    return plain if is_keras else x


def _gather(x, indices, axis, batch_dims=None, **_):
    """Without letting an input's values count from the end, which takes three more operators.

    No label or word is negative, and the microcontroller runtime lacks one of those operators.
    """
    import tensorflow as tf

    chosen = indices.op
    if chosen.type != "SelectV2" or chosen.inputs[0].op.type != "Less":
        return None
    condition, _, plain = chosen.inputs
    source = plain.op
    while source.type in ("Cast", "Identity", "Reshape"):
        source = source.inputs[0].op
    if source.type != "Placeholder" or condition.op.inputs[0].name != plain.name:
        return None
    return tf.raw_ops.GatherV2(params=x, indices=plain, axis=axis, batch_dims=batch_dims.i)


def _sign_bit(x, y, **_):
    """The sign of a float by arithmetic, where Keras takes it from the bits."""
    import tensorflow as tf

    if x.op.type != "Bitcast" or tf.get_static_value(y) != tf.int32.min:
        return None
    x = x.op.inputs[0]
    # The quotient tells -0 from 0, and the comparison -infinity.
    is_negative = tf.logical_or(tf.less(x, 0), tf.less(1 / x, 0))
    return tf.where(is_negative, tf.int32.min, 0)


def _cross(x, y, **_):
    import tensorflow as tf

    a, b = tf.unstack(x, 3, axis=-1), tf.unstack(y, 3, axis=-1)
    pairs = ((1, 2), (2, 0), (0, 1))
    return tf.stack([a[i] * b[j] - a[j] * b[i] for i, j in pairs], axis=-1)


def _broadcast_shape(x, y, **_):
    """The shape of two together, of one rank; one that is 1 takes the other."""
    import tensorflow as tf

    if x.shape[0] is None or x.shape[0] != y.shape[0]:
        return None
    return tf.where(tf.equal(x, 1), y, x)


def _scale_and_translate(image, size, scale, translation, kernel_type, antialias, **_):
    import tensorflow as tf

    def resize(image, axis):
        is_other = np.arange(2) != axis
        return tf.raw_ops.ScaleAndTranslate(
            images=image,
            size=np.where(is_other, np.int32(1), size),
            scale=np.where(is_other, np.float32(1), scale),
            translation=np.where(is_other, np.float32(0), translation),
            kernel_type=kernel_type.s,
            antialias=antialias.b,
        )

    size, scale, translation = (_known(tensor) for tensor in (size, scale, translation))
    if size is None or scale is None or translation is None:
        return None
    return _resize_by_matrices(image, resize)


def _resize(image, size, align_corners, half_pixel_centers, *, operator, **_):
    import tensorflow as tf

    size = tf.get_static_value(size)

    def resize(image, axis):
        return getattr(tf.raw_ops, operator)(
            images=image,
            size=[int(size[i]) if i == axis else 1 for i in (0, 1)],
            align_corners=align_corners.b,
            half_pixel_centers=half_pixel_centers.b,
        )

    return None if size is None else _resize_by_matrices(image, resize)


def _resize_by_matrices(image, resize):
    """A resize is linear along each axis: a product with what it makes of the unit vectors."""
    import tensorflow as tf

    for axis, equation in ((0, "bhwc,hk->bkwc"), (1, "bhwc,wk->bhkc")):
        count = image.shape[axis + 1]
        if count is None:
            return None
        with tf.init_scope():
            unit = tf.reshape(tf.eye(count), (count, *((count, 1) if axis == 0 else (1, count)), 1))
            matrix = tf.reshape(resize(unit, axis), (count, -1)).numpy()
        image = tf.einsum(equation, image, tf.constant(matrix))
    return image


# TFLite


def _erf(x, **_):
    import tensorflow as tf

    x = tf.clip_by_value(x, -_ERF_END, _ERF_END)
    square = x * x
    slope = _ERF[-1]
    for coefficient in reversed(_ERF[:-1]):
        slope = slope * square + coefficient
    return tf.tanh(x * slope)


def _erfc(x, **_):
    import tensorflow as tf

    return 1 - tf.math.erf(x)


def _erfc_but_in_gelu(x, **_):
    """That of `tf.nn.gelu` is left: the converter makes one operator of it and those around it."""
    import tensorflow as tf

    *_, outer, _ = ("", *tf.compat.v1.get_default_graph().get_name_scope().split("/"))
    return None if outer.startswith("Gelu") else _erfc(x)


def _sinh(x, **_):
    return (_expm1(x) - _expm1(-x)) / 2


def _cosh(x, **_):
    import tensorflow as tf

    return (tf.exp(x) + tf.exp(-x)) / 2


def _softplus(x, **_):
    """Of any size, where the `log(1 + exp(x))` of TFLite's converter is infinite from 89 on."""
    import tensorflow as tf

    return tf.maximum(x, 0) + tf.math.log1p(tf.exp(-tf.abs(x)))


def _tan(x, **_):
    import tensorflow as tf

    return tf.sin(x) / tf.cos(x)


def _atan(x, **_):
    import tensorflow as tf

    return tf.atan2(x, tf.ones_like(x))


def _asin(x, **_):
    import tensorflow as tf

    return tf.atan2(x, tf.sqrt((1 - x) * (1 + x)))


def _acos(x, **_):
    import tensorflow as tf

    return tf.atan2(tf.sqrt((1 - x) * (1 + x)), x)


def _asinh(x, **_):
    import tensorflow as tf

    size = tf.abs(x)
    square = size * size
    return tf.sign(x) * _log1p(size + square / (1 + tf.sqrt(1 + square)))


def _acosh(x, **_):
    import tensorflow as tf

    above = x - 1
    return _log1p(above + tf.sqrt(above) * tf.sqrt(above + 2))


def _atanh(x, **_):
    import tensorflow as tf

    size = tf.abs(x)
    return tf.sign(x) * _log1p(2 * size / (1 - size)) / 2


def _roll(x, shifts, axes, **_):
    import tensorflow as tf

    shifts, axes = tf.get_static_value(shifts), tf.get_static_value(axes)
    if shifts is None or axes is None:
        return None
    for shift, axis in zip(shifts.reshape(-1), axes.reshape(-1), strict=True):
        size = x.shape[int(axis)]
        if size is None:
            return None
        first = size - int(shift) % size
        x = tf.concat(tf.split(x, [first, size - first], axis=int(axis))[::-1], axis=int(axis))
    return x


def _diagonal(x, k, padding, **_):
    """One diagonal: of the rows in one line, every `columns + 1`st."""
    import tensorflow as tf

    k, (rows, columns) = tf.get_static_value(k), x.shape[-2:]
    if k is None or k.size != 1 or None in x.shape[1:]:
        return None
    k = int(k.reshape(()))
    count = min(rows, columns - k) if k >= 0 else min(rows + k, columns)
    start = k if k >= 0 else -k * columns
    line = tf.reshape(x, (-1, *x.shape[1:-2], rows * columns))
    return line[..., start : start + (count - 1) * (columns + 1) + 1 : columns + 1]


def _left_shift(x, y, **_):
    import tensorflow as tf

    places = tf.get_static_value(y)
    return None if places is None else x * tf.constant(2**places, x.dtype)


def _einsum(*operands, equation, **_):
    """A sum of products where no matrix product is left, which is all that the converter makes."""
    import tensorflow as tf

    sources, _, target = equation.s.decode().partition("->")
    sources = sources.split(",")
    if len(sources) != 2 or any(len(set(labels)) < len(labels) for labels in sources):
        return None
    if not "".join([*sources, target]).isalpha():
        return None
    own = [set(sources[i]) - set(sources[1 - i]) for i in (0, 1)]
    if all(own) and own[0] | own[1] <= set(target):
        return None
    summed = "".join(label for label in sources[0] if label not in target and label in sources[1])
    aligned = []
    for labels, operand in zip(sources, operands, strict=True):
        alone = [label for label in labels if label not in target + summed]
        operand = tf.reduce_sum(operand, [labels.index(label) for label in alone])
        labels = [label for label in labels if label not in alone]
        kept = [label for label in target + summed if label in labels]
        operand = tf.transpose(operand, [labels.index(label) for label in kept])
        for axis, label in enumerate(target + summed):
            operand = operand if label in labels else tf.expand_dims(operand, axis)
        aligned.append(operand)
    product = aligned[0] * aligned[1]
    return tf.reduce_sum(product, list(range(len(target), len(target + summed))))


# ONNX


def _resize_unless_whole(image, size, *, operator, **attributes):
    """A resize by a scale, in float32, with which the size is no whole number: 6 x (7/6) < 7."""
    import tensorflow as tf

    known = tf.get_static_value(size)
    if known is None or None in image.shape[1:3]:
        return None
    sizes = np.array(image.shape[1:3])
    if np.all(sizes * (known / sizes).astype(np.float32).astype(np.float64) >= known):
        return None
    return _resize(image, size, operator=operator, **attributes)


def _transposed_and_padded(sizes, kernel, x, strides, padding, data_format, dilations, **_):
    """A transposed convolution that leaves pixels at its end without any: they are padded.

    Where the kernel is smaller than the stride, or by `output_padding`. tf2onnx writes a padding
    of less than none.
    """
    import tensorflow as tf
    from tensorflow.python.framework import tensor_util

    asked = tensor_util.constant_value_as_shape(sizes)[1:3]
    if data_format.s != b"NHWC" or set(dilations.list.i) != {1} or None in (*asked, *x.shape[1:3]):
        return None
    margins, reached = [], []
    axes = zip(asked, x.shape[1:3], kernel.shape[:2], strides.list.i[1:3], strict=True)
    for size, count, width, stride in axes:
        made = (count - 1) * stride + width
        before = max(made - size, 0) // 2 if padding.s == b"SAME" else 0
        reached.append(made)
        margins.append((before, size - made + before))
    if all(after <= 0 for _, after in margins):
        return None
    whole = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.stack([tf.shape(x)[0], *reached, kernel.shape[2]]),
        filter=kernel,
        out_backprop=x,
        strides=list(strides.list.i),
        padding="VALID",
    )
    (top, bottom), (left, right) = margins
    padded = tf.pad(whole, [(0, 0), (0, max(bottom, 0)), (0, max(right, 0)), (0, 0)])
    return padded[:, top : top + asked[0], left : left + asked[1]]


def _bucketize(x, boundaries, **_):
    import tensorflow as tf

    reached = x[..., None] >= tf.constant(list(boundaries.list.f), x.dtype)
    return tf.reduce_sum(tf.cast(reached, "int32"), axis=-1)


_BOTH = {
    "ArgMax": _argmax,
    "ArgMin": _argmin,
    "BitwiseAnd": _sign_bit,
    "BroadcastArgs": _broadcast_shape,
    "Cross": _cross,
    "Cumprod": _cumprod,
    "Expm1": _expm1,
    "GatherV2": _gather,
    "Log1p": _log1p,
    # TensorFlow takes its weights from a table; with others, ONNX Runtime differs by 4e-4.
    "ResizeBicubic": functools.partial(_resize, operator="ResizeBicubic"),
    "ScaleAndTranslate": _scale_and_translate,
}
_TFLITE = {
    **_BOTH,
    "Acos": _acos,
    "Acosh": _acosh,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Einsum": _einsum,
    "Erf": _erf,
    "Erfc": _erfc,
    "LeftShift": _left_shift,
    "MatrixDiagPartV3": _diagonal,
    "Roll": _roll,
    "Sinh": _sinh,
    "Softplus": _softplus,
    "Tan": _tan,
}
_REPLACEMENTS = {
    "tflite": {**_TFLITE, "Erfc": _erfc_but_in_gelu},
    "tflite without GELU": _TFLITE,
    "onnx": {
        **_BOTH,
        "Bucketize": _bucketize,
        "Conv2DBackpropInput": _transposed_and_padded,
        "Erfc": _erfc,
        **{
            name: functools.partial(_resize_unless_whole, operator=name)
            for name in ("ResizeBilinear", "ResizeNearestNeighbor")
        },
    },
}
