"""Keras' layers as PyTorch computes them fastest on a CPU: the same results but for rounding.

Keras 3.15 keeps images channels last, and copies each to channels first for a convolution and, for
a transposed one, computes it so. It normalises a batch in a dozen passes over it where PyTorch has
a kernel of three. That is half of the training step of a convolutional model. Products of matrices
PyTorch gives to MKL, which takes twice as long for them as oneDNN on processors of AMD.
"""

import contextlib

import keras
import torch

from keras_vae import keras_internals


@contextlib.contextmanager
def fast():
    """A context in which Keras' layers are fast, whoever made them."""
    nn = keras_internals.torch_nn()
    faster = [
        (keras_internals.torch_numpy(), "matmul", _matmul),
        (nn, keras_internals.CHANNELS_FIRST, _channels_first),
        (nn, "conv_transpose", _conv_transpose),
        (keras.layers.BatchNormalization, "call", _normalized),
    ]
    before = [getattr(owner, name) for owner, name, _ in faster]
    try:
        for (owner, name, replacing), own in zip(faster, before, strict=True):
            setattr(owner, name, replacing(own))
        yield
    finally:
        for (owner, name, _), own in zip(faster, before, strict=True):
            setattr(owner, name, own)


# Of smaller products the call costs more than it saves.
_SMALLEST_PRODUCT = 2**20


def _matmul(own):
    """Large products of single precision with a matrix, such as those of dense layers."""
    if not (
        torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return own

    def matmul(x1, x2):
        x1, x2 = map(keras.ops.convert_to_tensor, (x1, x2))
        is_single = x1.dtype == x2.dtype == torch.float32 and x1.device.type == "cpu"
        if not (is_single and x1.ndim >= 2 and x2.ndim == 2):
            return own(x1, x2)
        if x1.numel() * x2.shape[1] < _SMALLEST_PRODUCT or x1.shape[-1] != x2.shape[0]:
            return own(x1, x2)
        made = _Product.apply(x1.reshape(-1, x1.shape[-1]), x2)
        return made.reshape(*x1.shape[:-1], x2.shape[1])

    return matmul


class _Product(torch.autograd.Function):
    """The product of two matrices by oneDNN, whatever their strides."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        by_a, by_b = ctx.needs_input_grad
        return (
            _Product.apply(gradient, b.t()) if by_a else None,
            _Product.apply(a.t(), gradient) if by_b else None,
        )


def _channels_first(own):
    """A view where Keras makes a copy: PyTorch's kernels take channels last in place."""

    def transpose(inputs):
        return inputs.permute(0, 3, 1, 2) if inputs.ndim == 4 else own(inputs)

    return transpose


def _conv_transpose(own):
    """Transposed convolutions of images, channels last, whose borders are cut off evenly."""

    def conv_transpose(
        inputs,
        kernel,
        strides=1,
        padding="valid",
        output_padding=None,
        data_format=None,
        dilation_rate=1,
    ):
        inputs, kernel = map(keras.ops.convert_to_tensor, (inputs, kernel))
        stride = strides if isinstance(strides, int) else strides[0]
        size = kernel.shape[0]
        is_even = size >= stride and (size - stride) % 2 == 0
        is_square = strides in (stride, (stride, stride)) and kernel.shape[1] == size
        is_plain = output_padding is None and dilation_rate in (1, (1, 1))
        is_same = padding == "same" and data_format == "channels_last" and inputs.ndim == 4
        if not (is_same and is_plain and is_square and is_even):
            return own(inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)
        made = torch.nn.functional.conv_transpose2d(
            inputs.permute(0, 3, 1, 2),
            kernel.permute(3, 2, 0, 1),
            stride=stride,
            padding=(size - stride) // 2,
        )
        return made.permute(0, 2, 3, 1)

    return conv_transpose


def _normalized(own):
    """Batch normalisation in training, in single precision, over the last axis of images."""

    def call(self, inputs, training=None, mask=None):
        is_last = self.axis in (-1, 3) and inputs.ndim == 4 and inputs.dtype == torch.float32
        if not (training and self.trainable and is_last) or mask is not None or self.renorm:
            return own(self, inputs, training=training, mask=mask)
        made, mean, inverse = torch.native_batch_norm(
            inputs.permute(0, 3, 1, 2),
            self.gamma.value if self.scale else None,
            self.beta.value if self.center else None,
            None,
            None,
            True,
            0.0,
            self.epsilon,
        )
        with torch.no_grad():
            variance = inverse**-2 - self.epsilon
            for variable, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                variable.assign(variable.value.lerp(value, 1 - self.momentum))
        return keras.ops.cast(made.permute(0, 2, 3, 1), self.compute_dtype)

    return call
