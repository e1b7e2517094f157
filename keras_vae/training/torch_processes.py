"""What the processes of a `torch.distributed` group share that train one model."""

import keras
import numpy as np
import torch
from torch import distributed

from keras_vae import replica


def are_several():
    """Whether this process trains together with others."""
    is_initialized = distributed.is_available() and distributed.is_initialized()
    return is_initialized and distributed.get_world_size() > 1


def working_on(data):
    """A context in which a step works on its process' rows of a batch, `data`."""
    return replica.working_on(_Process(keras.tree.flatten(data)[0]) if are_several() else None)


def part(rows):
    """Of the rows of a batch those of this process."""
    return np.array_split(rows, distributed.get_world_size())[distributed.get_rank()]


def agree(variables):
    """Give variables the values that they have in the first process."""
    with torch.no_grad():
        for variable in variables:
            value = variable.value.contiguous()
            distributed.broadcast(value, src=0)
            variable.assign(value)


class _Process(replica.OneOfSeveral):
    def __init__(self, rows):
        rank, size = distributed.get_rank(), distributed.get_world_size()
        counts = torch.zeros(size, dtype=torch.int64, device=rows.device)
        counts[rank] = len(rows)
        distributed.all_reduce(counts)
        self.counts = counts.tolist()
        super().__init__(len(rows), sum(self.counts[:rank]), sum(self.counts))

    def gather(self, tensor, axis=0):
        return _Gather.apply(tensor.movedim(axis, 0), self).movedim(0, axis)

    def sums(self, tensors):
        joined = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        distributed.all_reduce(joined)
        parts = joined.split([tensor.numel() for tensor in tensors])
        return [p.reshape(t.shape).to(t.dtype) for p, t in zip(parts, tensors, strict=True)]


class _Gather(torch.autograd.Function):
    """The rows of all processes, each of which may have another number of them."""

    @staticmethod
    def forward(ctx, rows, process):
        # A row may stand for several of an example, as in a grid of codes.
        lengths = torch.zeros(len(process.counts), dtype=torch.int64, device=rows.device)
        lengths[distributed.get_rank()] = len(rows)
        distributed.all_reduce(lengths)
        ctx.lengths = lengths.tolist()
        padded = rows.new_zeros((max(ctx.lengths), *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in ctx.lengths]
        distributed.all_gather(gathered, padded)
        return torch.cat([one[:length] for one, length in zip(gathered, ctx.lengths, strict=True)])

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient.split(ctx.lengths)[distributed.get_rank()], None
