"""Convolutions of a single row on PyTorch, whose gradients PyTorch itself does not always find."""

import contextlib

import keras
import torch

_CONVOLUTIONS = {
    getattr(torch, f"conv{transpose}{rank}d")
    for transpose in ("", "_transpose")
    for rank in (1, 2, 3)
}


class _PlainStrides(torch.overrides.TorchFunctionMode):
    """Give convolutions images and kernels whose strides say one order of axes.

    With one row and one channel the strides of an image say channels-first and channels-last alike.
    PyTorch 2.13 takes one of them for the image, the other for the gradient of the kernel, and
    raises "grad_weight must be contiguous".
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in _CONVOLUTIONS:
            # A layer of the user's own may name them.
            args = (*map(_plain, args[:2]), *args[2:])
            kwargs |= {name: _plain(kwargs[name]) for name in ("input", "weight") if name in kwargs}
        return function(*args, **kwargs)


def _plain(tensor):
    return tensor.clone(memory_format=torch.contiguous_format)


def differentiable(data):
    """A context for a forward pass over a batch, in which gradients of convolutions are found.

    Args:
        data: Nested tensors of one number of rows.
    """
    rows = len(keras.tree.flatten(data)[0])
    return _PlainStrides() if rows == 1 else contextlib.nullcontext()
