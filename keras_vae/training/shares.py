"""What part of a batch a step works on: all of it, or a replica's share of a batch of many."""

import os

import keras
from keras import ops


class Whole:
    """All of a batch: the share of a model that nothing is divided for, and what shares offer."""

    def __bool__(self):
        """Whether there are other shares."""
        return False

    def draw(self, function, shape, **kwargs):
        """Draw random numbers as if for all of the batch, and keep those of the share's rows.

        So replicas draw different numbers, and together what one device would draw.

        Args:
            function: Such as `keras.random.normal`, of a shape and of `kwargs`.
            shape: Tuple whose first entry is a multiple of the number of examples: of several
                draws, the batch once for each draw.
        """
        return function(shape, **kwargs)

    def gather(self, tensor, axis=0):
        """Rows of all shares, in the batch's order. The gradient finds its way back.

        Args:
            tensor: Tensor.
            axis: Int. The axis that is divided.
        """
        return tensor

    def index(self, count):
        """Place of each of the share's `count` rows in the batch, int32."""
        return ops.arange(count)

    def part(self, mean):
        """What a mean over the share's rows adds to the mean over all rows of the batch."""
        return mean

    def sum(self, tensors):
        """Sums over all shares of nested tensors or None."""
        return tensors

    def mean(self, tensors):
        """Means over the batch of nested tensors or None, each the mean over the share's rows."""
        return self.sum(keras.tree.map_structure(self.part, tensors))

    def reported(self, logs):
        """Scalars that all replicas have, as Keras takes them."""
        return logs

    def weight(self, count):
        """How many rows count for the metrics where a share has `count`."""
        return count


class Share(Whole):
    """Rows `start` to `start + count` of the `total` that a batch has.

    A backend adds `gather` and `sums`, which is `sum` for a list of tensors.

    Args:
        count, start, total: Ints, or int32 scalars.
    """

    def __init__(self, count, start, total):
        self.count = count
        self.divisor = max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)
        self.start = start
        self.total = total

    def __bool__(self):
        return True

    def draw(self, function, shape, **kwargs):
        copies = shape[0] // self.divisor
        numbers = function((copies * self.total, *shape[1:]), **kwargs)
        numbers = ops.reshape(numbers, (copies, self.total, *shape[1:]))
        return ops.reshape(numbers[:, self.start : self.start + self.count], shape)

    def index(self, count):
        return self.start + ops.arange(count)

    def part(self, mean):
        if mean is None:
            return None
        weight = ops.cast(self.count, mean.dtype) / ops.cast(self.total, mean.dtype)
        # The mean of no rows is NaN.
        return ops.where(self.count > 0, mean * weight, ops.zeros_like(mean))

    def sum(self, tensors):
        leaves = keras.tree.flatten(tensors)
        present = [leaf for leaf in leaves if leaf is not None]
        sums = iter(self.sums(present) if present else ())
        sums = [None if leaf is None else next(sums) for leaf in leaves]
        return keras.tree.pack_sequence_as(tensors, sums)

    def weight(self, count):
        return self.total


def cores():
    """How many devices a CPU may pass for."""
    return os.cpu_count() or 1
