"""Doubling an image and convolving it, in the form that is fast where it runs.

A nearest-neighbour doubling followed by a convolution of an odd size `k`, padded by zeros, is one
transposed convolution of stride 2 whose kernel, of size `k + 1`, is the first one's summed over
boxes of 2 by 2: 16 multiplications for 36 where `k` is 3. The weights are the same ones, and the
results but for rounding.
"""

import contextlib

import keras
from keras import ops

# What each form costs on CPUs is in docs/benchmarks.md.
_TRANSPOSED_ON = ("tensorflow", "torch")
_forced = []


def double_and_convolve(h, double, convolution):
    """Apply a doubling and the convolution after it.

    Args:
        h: Float tensor `(batch, height, width, channels)`.
        double: `UpSampling2D` of factor 2, nearest.
        convolution: A built `Conv2D` of stride 1, "same".

    Returns:
        Float tensor `(batch, 2 height, 2 width, filters)`.
    """
    if not (convolution.built and _is_transposed() and convolution.kernel_size[0] % 2):
        return convolution(double(h))
    h = ops.cast(h, convolution.compute_dtype)
    kernel = smoothed(ops.cast(convolution.kernel, convolution.compute_dtype))
    h = ops.conv_transpose(h, kernel, 2, padding="same", data_format="channels_last")
    return h + ops.cast(convolution.bias, h.dtype) if convolution.use_bias else h


def smoothed(kernel):
    """The kernel `(k + 1, k + 1, out, in)` of the transposed convolution that doubles, too.

    Args:
        kernel: Float tensor `(k, k, in, out)`, `k` odd.
    """
    padded = ops.pad(kernel, [[1, 1], [1, 1], [0, 0], [0, 0]])
    rows = padded[:-1] + padded[1:]
    boxes = rows[:, :-1] + rows[:, 1:]
    # A transposed convolution is the gradient of one: its kernel runs the other way.
    return ops.transpose(ops.flip(boxes, axis=(0, 1)), (0, 1, 3, 2))


@contextlib.contextmanager
def transposed(value):
    """Let doublings be transposed convolutions, or none of them be, within the block.

    Args:
        value: Bool.
    """
    _forced.append(value)
    try:
        yield
    finally:
        _forced.pop()


def _is_transposed():
    return _forced[-1] if _forced else keras.backend.backend() in _TRANSPOSED_ON
