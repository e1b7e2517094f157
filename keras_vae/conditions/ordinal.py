"""A label out of classes that have an order."""

import keras
import numpy as np
from keras import ops

from keras_vae.conditions.categorical import Categorical, several_names


@keras.saving.register_keras_serializable("keras_vae")
class Ordinal(Categorical):
    """A label out of classes that have an order, such as sizes, grades or stages.

    The networks see the thermometer vector: entry k is 1 where the label is class k or one above
    it. So neighbours look alike, and what is learned of a class helps those beside it. *Unknown* is
    the zero vector; of every class the first entry is 1.

    Args:
        names: Sequence of distinct strings, from the lowest class to the highest.
        unknown_rate, allow_absent_classes: As for `Categorical`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        - Cheng et al., 2008, section 3, for the vector. https://arxiv.org/abs/0704.1028
    """

    def __init__(self, names, unknown_rate=0.0, allow_absent_classes=False):
        names = several_names(names, "Ordinal(names=['low', 'high'])")
        super().__init__(len(names), names, unknown_rate, allow_absent_classes, embedding_dim=0)

    @property
    def is_one_hot(self):
        return False

    def encode(self, label, table=None):
        """Turn int labels `(batch,)` into thermometers `(batch, size)`, zero for *unknown*."""
        label = ops.reshape(ops.cast(label, "int32"), (-1, 1))
        reached = label >= ops.arange(self.num_classes, dtype="int32")
        return ops.cast(ops.logical_and(reached, label < self.num_classes), "float32")

    def vectors(self):
        vectors = np.tri(self.num_classes + 1, self.size, dtype="float32")
        vectors[-1] = 0.0
        return vectors

    def places(self):
        return np.array([self.num_classes, *[-1] * (self.num_classes - 1)], "float32")

    def manifest(self):
        return {**super().manifest(), "ordered": True}

    def get_config(self):
        config = super().get_config()
        del config["num_classes"]
        return config

    @classmethod
    def from_config(cls, config):
        return cls(**config)
