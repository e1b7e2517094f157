"""Fewer bits for the weights, chosen so that the outputs change little.

`float16` and `int8` store the weights of dense and convolutional layers in fewer bits; the
arithmetic stays in float32, so every runtime gives the same small error. `int8-full` computes in
8-bit integers throughout, as microcontrollers and NPUs want it.

Rounding each weight to the nearest of 255 steps leaves an error that adds up over the layers.
Before storing them as int8, `rounded` chooses the roundings of a whole layer together: the error
of one weight is made up for by those not yet rounded, weighted by how the layer's inputs move
together on calibration data (Frantar et al.). On the default MNIST decoder that cuts the largest
pixel error of 2,000 samples from 0.051 to 0.019.

`exact` is of decoders that draw tokens or rows, and no approximation of a file: the model itself is
rounded (`VAE.as_exact`), and its file gives the same bits as it, so that its bounds are 0.

References:
    - Frantar et al., 2022, GPTQ / OPTQ. https://arxiv.org/abs/2210.17323
"""

import contextlib
import math

import numpy as np

from keras_vae import keras_internals

QUANTIZATIONS = ("none", "float16", "int8", "int8-full", "exact")

# Largest error that a file may have against its model, for outputs up to 1; larger ones scale it.
# Without quantization it is a matter of rounding; else the bound tells a lossy file from a broken
# one, and `python -m export --report` shows what the loss costs.
BOUNDS = {"none": 1e-5, "float16": 5e-3, "int8": 0.1, "int8-full": 0.3, "exact": 0.0}
# Largest difference between two runtimes that run the same file.
TOLERANCES = {"none": 1e-5, "float16": 1e-4, "int8": 1e-3, "int8-full": 0.02, "exact": 0.0}
# A smaller file than this holds no weights: a converter folds few of them away, never half.
SMALLEST_BYTES_PER_PARAMETER = {
    "none": 2.0,
    "float16": 1.0,
    "int8": 0.5,
    "int8-full": 0.5,
    "exact": 0.5,
}

CALIBRATION_ROWS = 4096
# Of larger images fewer do: a sampler computes all of them at once, in every layer.
_MOST_CALIBRATION_VALUES = 2**23
# For the ranges of all-integer files, taken from one batch: as many as memory allows, for what
# lies beyond them is cut off. With 512 examples one sample in a hundred was off by over 0.1.
RANGE_ROWS = 2048
_MOST_RANGE_VALUES = 2**22
SMALLEST_WEIGHT = 1024
# Of images, that is, in which a convolution's inputs are looked at, in so many images at once.
_MOST_POSITIONS = 4096
_IMAGES_AT_ONCE = 64
_LEVELS = 127
# Bits of a float32 after the first.
_EXACT_BITS = 23
_DAMPING = 0.01


def calibration(graph, data=None, rows=CALIBRATION_ROWS):
    """Inputs that are typical of a graph's use.

    Args:
        graph: The `Graph`.
        data: Optional dict of arrays, examples by input name, 8-bit images as uint8 or not.
            Without it they are drawn: codes from the prior, over all classes.
        rows: Int. Number of examples; of large ones fewer are taken, 64 at least.

    Returns:
        Dict of arrays.
    """
    rng = np.random.default_rng(1)
    rows = min(rows, max(64, _MOST_CALIBRATION_VALUES // _values(graph)))
    if data is None:
        return graph.draw(rows, rng)
    # Here, for `--inspect` and `--verify` do without Keras.
    from keras_vae.data import as_float

    count = graph.count(data)
    index = rng.permutation(count)[:rows] if count >= rows else rng.integers(0, count, rows)
    rows = graph.rows(data, index)
    return {n: as_float(array) if array.dtype == np.uint8 else array for n, array in rows.items()}


def for_ranges(graph, inputs):
    """As many of the inputs as the ranges of an all-integer file are taken from."""
    most = max(64, min(RANGE_ROWS, _MOST_RANGE_VALUES // _values(graph)))
    return graph.rows(inputs, slice(0, most))


def _values(graph):
    """How many numbers the largest input or output has for each example."""
    return max(math.prod(spec.shape[1:]) for spec in (*graph.inputs, *graph.outputs))


@contextlib.contextmanager
def rounded(graph, inputs):
    """Let the weights of a graph's dense and convolutional layers lie on int8 grids, in the block.

    Layers are rounded in the order in which data pass them, each on what the rounded layers
    before it give. Transposed and grouped convolutions keep their weights, which are rounded one
    by one when they are stored.

    Args:
        graph: The `Graph`.
        inputs: Dict of arrays, as from `calibration`.
    """
    import keras

    read = {id(variable) for variable in graph.variables}
    layers = [
        layer
        for layer in keras_internals.flatten_layers(graph.model)
        if type(layer) in (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
        and layer.built  # not where a model has no use for it, such as of a missing condition
        and not read.isdisjoint((id(layer.kernel), id(layer.kernel.value)))
        and np.prod(layer.kernel.shape) >= SMALLEST_WEIGHT
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "data_format", "channels_last") != "channels_first"
    ]
    order = []
    with _recording(layers, lambda layer, _: order.append(layer)):
        graph.evaluate(graph.rows(inputs, slice(0, 2)))
    originals = [(layer.kernel, keras.ops.convert_to_numpy(layer.kernel)) for layer in layers]
    try:
        for layer in dict.fromkeys(order):
            moments = _Moments(layer)
            with _recording([layer], moments.add):
                graph.evaluate(inputs)
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            columns = kernel.reshape(-1, kernel.shape[-1])
            layer.kernel.assign(round_together(columns, moments.mean()).reshape(kernel.shape))
        yield
    finally:
        for kernel, original in originals:
            kernel.assign(original)


def round_together(weights, moments):
    """Round a matrix so that its product with typical inputs changes little.

    Args:
        weights: Float array `(inputs, outputs)`.
        moments: Float array `(inputs, inputs)`, the mean of the inputs' outer products.

    Returns:
        float32 array, in each column whole multiples, -127 to 127, of one step.
    """
    weights = weights.astype(np.float64)
    damping = _DAMPING * np.mean(np.diag(moments)) + 1e-12
    # The inputs that move most come first, while all others are left to make up for them.
    order = np.argsort(-np.diag(moments))
    moments = moments[np.ix_(order, order)] + damping * np.eye(len(order))
    left = weights[order]
    factor = np.linalg.cholesky(np.linalg.inv(moments)).T
    step = _step(np.abs(left).max(axis=0))
    made = np.empty_like(left)
    for i in range(len(left)):
        made[i] = np.clip(np.round(left[i] / step), -_LEVELS, _LEVELS) * step
        error = (left[i] - made[i]) / factor[i, i]
        left[i + 1 :] -= np.outer(factor[i, i + 1 :], error)
    result = np.empty_like(made)
    result[order] = made
    return result.astype(np.float32)


def as_int8(weights, axis):
    """Store weights as int8 with one step for each output channel.

    Args:
        weights: Float array.
        axis: Int, the axis of the output channels.

    Returns:
        Tuple of an int8 array of the same shape and a float32 array of steps `(channels,)`. A
        channel that lies on a grid already, such as `rounded` makes, keeps it exactly: also where
        a converter has transposed the weights or multiplied a channel by a batch normalisation.
    """
    channels = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    largest = np.abs(channels).max(axis=1)
    step = _step(largest)
    open_ = np.ones(len(channels), bool)
    for levels in range(_LEVELS, _LEVELS // 2, -1):
        candidate = _step(largest, levels)
        ratio = channels[open_] / candidate[open_, None]
        fits = np.abs(ratio - np.round(ratio)).max(axis=1) < 2e-3
        found = np.flatnonzero(open_)[fits]
        step[found] = candidate[found]
        open_[found] = False
        if not open_.any():
            break
    shape = [1] * weights.ndim
    shape[axis] = -1
    levels = np.clip(np.round(weights / step.reshape(shape)), -_LEVELS, _LEVELS)
    return levels.astype(np.int8), step.astype(np.float32)


def as_exact_int8(weights, axis):
    """As `as_int8`, of weights that are whole numbers, -127 to 127, times powers of two.

    Args:
        weights: Float array.
        axis: Int, the axis of the output channels.

    Returns:
        Tuple as of `as_int8`, whose product is exactly the weights; None if there is no such one.
    """
    channels = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    # The largest power of two of which all of a channel are multiples.
    exponent = np.floor(np.log2(np.maximum(np.abs(channels).max(axis=1), 2.0**-64)))
    step = 2.0 ** (exponent - _EXACT_BITS)
    for _ in range(_EXACT_BITS):
        wider = np.all(channels % (2 * step[:, None]) == 0, axis=1)
        step = np.where(wider, 2 * step, step)
    shape = [1] * weights.ndim
    shape[axis] = -1
    levels = weights / step.reshape(shape)
    if np.abs(levels).max() > _LEVELS or np.any(levels % 1 != 0):
        return None
    return levels.astype(np.int8), step.astype(np.float32)


def _step(largest, levels=_LEVELS):
    return np.where(largest > 0, largest, 1.0) / levels


class _Moments:
    """The mean outer product of what a layer's kernel is multiplied with."""

    def __init__(self, layer):
        self.layer = layer
        self.total = 0.0
        self.count = 0

    def add(self, layer, x):
        import keras

        if isinstance(layer, keras.layers.Dense):
            return self._add(x)
        # Patches are as many times larger than the images as a kernel has places.
        for start in range(0, x.shape[0], _IMAGES_AT_ONCE):
            self._add(_patches(layer, x[start : start + _IMAGES_AT_ONCE]))

    def _add(self, x):
        import keras

        x = keras.ops.convert_to_numpy(x)
        x = x.reshape(-1, x.shape[-1])
        every = -(-len(x) // _MOST_POSITIONS)
        x = x[::every].astype(np.float64)
        self.total = self.total + x.T @ x
        self.count += len(x)

    def mean(self):
        return self.total / self.count


def _patches(layer, x):
    """What a convolution's kernel is multiplied with at each place, `(..., places of a kernel)`."""
    import keras

    size, strides, dilation, padding = (
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        layer.padding,
    )
    if isinstance(layer, keras.layers.Conv1D):  # a picture of one column
        if padding == "causal":
            before = dilation[0] * (size[0] - 1)
            x, padding = keras.ops.pad(x, ((0, 0), (before, 0), (0, 0))), "valid"
        x, size, strides, dilation = x[:, :, None], (*size, 1), (*strides, 1), (*dilation, 1)
    return keras.ops.image.extract_patches(
        x, size, strides, dilation, padding, data_format="channels_last"
    )


@contextlib.contextmanager
def _recording(layers, record):
    """Call `record(layer, input)` whenever one of the layers is called, within the block."""

    def recording(layer, call):
        def call_and_record(x, *args, **kwargs):
            record(layer, x)
            return call(x, *args, **kwargs)

        return call_and_record

    try:
        for layer in layers:
            layer.call = recording(layer, layer.call)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


# How weights become int8.
STORED = {"int8": as_int8, "exact": as_exact_int8}
