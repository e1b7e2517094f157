"""A label out of classes that have an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae.conditions.categorical import Categorical, several_names
from keras_vae.type_aliases import Tensor


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

    Example:

    >>> import keras_vae
    >>> size = keras_vae.Ordinal(["small", "medium", "large"])
    >>> size.vectors()
    array([[1., 0., 0.],
           [1., 1., 0.],
           [1., 1., 1.],
           [0., 0., 0.]], dtype=float32)

    See also:
        `Categorical`, whose classes have no order; `Continuous`.

    References:
        - Cheng et al., 2008, section 3, for the vector. https://arxiv.org/abs/0704.1028
    """

    def __init__(
        self, names: Sequence[str], unknown_rate: float = 0.0, allow_absent_classes: bool = False
    ) -> None:
        names = several_names(names, "Ordinal(names=['low', 'high'])")
        super().__init__(len(names), names, unknown_rate, allow_absent_classes, embedding_dim=0)

    @property
    def is_one_hot(self) -> bool:
        return False

    def encode(self, label: Tensor, table: Tensor | None = None) -> Tensor:
        """Turn int labels `(batch,)` into thermometers `(batch, size)`, zero for *unknown*."""
        label = ops.reshape(ops.cast(label, "int32"), (-1, 1))
        reached = label >= ops.arange(self.num_classes, dtype="int32")
        return ops.cast(ops.logical_and(reached, label < self.num_classes), "float32")

    def vectors(self) -> NDArray[np.float32]:
        vectors = np.tri(self.num_classes + 1, self.size, dtype="float32")
        vectors[-1] = 0.0
        return vectors

    def places(self) -> NDArray[np.float32]:
        return np.array([self.num_classes, *[-1] * (self.num_classes - 1)], "float32")

    def manifest(self) -> dict[str, Any]:
        return {**super().manifest(), "ordered": True}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["num_classes"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
