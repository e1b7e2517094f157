"""What part of a batch a step works on: all of it, or one replica's rows of a batch for several.

The steps in `keras_vae.training` say which by `working_on`. Whatever draws for the rows of a batch
goes through `current().draw`, and what needs the rows of all replicas, as a mean that is no plain
mean of losses, through `current().gather`.
"""

import contextlib
import threading

import keras
from keras import ops

# TensorFlow traces every replica of one process in a thread of its own.
_step = threading.local()


class Replica:
    """All of a batch: the one replica of a model that is not divided, and what replicas offer."""

    has_others = False

    def draw(self, function, shape, **kwargs):
        """Draw random numbers as if for all of the batch, and keep those of the replica's rows.

        So replicas draw different numbers, and together what one device would draw.

        Args:
            function: Such as `keras.random.normal`, of a shape and of `kwargs`.
            shape: Tuple whose first entry is a multiple of the number of examples: of several
                draws, the batch once for each draw.
        """
        return function(shape, **kwargs)

    def gather(self, tensor, axis=0):
        """Rows of all replicas, in the batch's order. The gradient finds its way back.

        Args:
            tensor: Tensor.
            axis: Int. The axis that is divided.
        """
        return tensor

    def index(self, count):
        """Place of each of the replica's `count` rows in the batch, int32."""
        return ops.arange(count)

    def weighted(self, mean):
        """What a mean over the replica's rows adds to the mean over all rows of the batch."""
        return mean

    def sum(self, tensors):
        """Sums over all replicas of nested tensors or None."""
        return tensors

    def mean(self, tensors):
        """Means over the batch of nested tensors or None, each the mean over the replica's rows."""
        return self.sum(keras.tree.map_structure(self.weighted, tensors))

    def reported(self, logs):
        """Scalars that all replicas have, as Keras takes them."""
        return logs

    def weight(self, count):
        """How many rows count for the metrics where a replica has `count`."""
        return count


class OneOfSeveral(Replica):
    """Rows `start` to `start + count` of the `total` that a batch has.

    A backend adds `gather` and `sums`, which is `sum` for a list of tensors.

    Args:
        count, start, total: Ints, or int32 scalars.
    """

    has_others = True

    def __init__(self, count, start, total):
        self.count = count
        self.divisor = max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)
        self.start = start
        self.total = total

    def draw(self, function, shape, **kwargs):
        copies = shape[0] // self.divisor
        numbers = function((copies * self.total, *shape[1:]), **kwargs)
        numbers = ops.reshape(numbers, (copies, self.total, *shape[1:]))
        return ops.reshape(numbers[:, self.start : self.start + self.count], shape)

    def index(self, count):
        return self.start + ops.arange(count)

    def weighted(self, mean):
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


ALL = Replica()


def current():
    """The `Replica` whose rows the running step works on."""
    return _step.__dict__.get("replica", ALL)


@contextlib.contextmanager
def working_on(replica):
    """Within the block work on a replica's rows, or, with None, on all of a batch."""
    _step.replica = replica or ALL
    try:
        yield _step.replica
    finally:
        _step.replica = ALL
