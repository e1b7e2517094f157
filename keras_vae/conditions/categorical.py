"""A label out of a fixed set of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_vae import arguments
from keras_vae.conditions.wording import UNKNOWN, is_unknown, listing, shortened
from keras_vae.type_aliases import Tensor

# Of more classes each has a learned vector of this size, unless somebody says otherwise.
MOST_ONE_HOT, EMBEDDING_DIM = 256, 32
# In the place of the logarithm of 0, which no product may meet.
RULED_OUT = -1e9


@keras.saving.register_keras_serializable("keras_vae")
class Categorical:
    """A label out of a fixed set of classes.

    Index `num_classes` is reserved for *unknown*: the label is missing, and the model sees the
    zero vector in its place. Train with `unknown_rate` above 0 (or with unlabelled examples) if
    the model is to sample without a label.

    The networks see a one-hot vector, or of many classes a learned one (`layers.Conditioning` has
    the table), so that a step costs the same however many classes there are. Priors that are fitted
    for each class, the class head of a `ConditionalGAN` and exact decoders need one-hot vectors.

    Args:
        num_classes: Optional int, at least 1. Defaults to the number of `names`.
        names: Optional sequence of `num_classes` distinct strings. Defaults to the indices.
        unknown_rate: Float in [0, 1). Share of the labels that each training step replaces with
            *unknown*, drawn anew every time.
        allow_absent_classes: Bool. Whether training data may hold *unknown* and yet lack a class.
            By default that is refused, for labels that count from 1 to `num_classes` look so.
        embedding_dim: Optional int. Size of the learned vectors; 0 for one-hot ones. Defaults to 0
            up to 256 classes, and to 32 above.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import keras_vae
    >>> label = keras_vae.Categorical(names=["cat", "dog", "owl"], unknown_rate=0.1)
    >>> label.as_array(["owl", "cat", None])
    array([2, 0, 3], dtype=int32)
    >>> label.size, label.names[label.num_leaves - 1]
    (3, 'owl')

    See also:
        `Ordinal`, `Hierarchical` and `MultiLabel`, for labels in an order, in groups, and several.
    """

    kind = "categorical"

    def __init__(
        self,
        num_classes: int | None = None,
        names: Sequence[str] | None = None,
        unknown_rate: float = 0.0,
        allow_absent_classes: bool = False,
        embedding_dim: int | None = None,
    ) -> None:
        if num_classes is None:
            names = several_names(names)
            num_classes = len(names)
        elif hasattr(num_classes, "__iter__"):
            raise ValueError(
                "`num_classes` must be a whole number of at least 1. Received: "
                f"{shortened(num_classes)}. Pass names as Categorical(names=...)."
            )
        self.num_classes = arguments.whole(num_classes, "num_classes")
        self.unknown_rate = arguments.part_of_one(unknown_rate, "unknown_rate")
        self.allow_absent_classes = bool(allow_absent_classes)
        if embedding_dim is None:
            embedding_dim = EMBEDDING_DIM if self.num_classes > MOST_ONE_HOT else 0
        self.embedding_dim = arguments.whole(embedding_dim, "embedding_dim", 0)
        names = range(num_classes) if names is None else names
        if not hasattr(names, "__iter__"):
            raise ValueError(
                f"`names` must be {num_classes} different strings, one per class. Received: "
                f"{names!r}"
            )
        self.names = tuple(str(name) for name in names)
        self._indices = {name: index for index, name in enumerate(self.names)}
        if not len(self._indices) == len(self.names) == self.num_classes:
            raise ValueError(
                f"`names` must be {num_classes} different strings, one per class. "
                f"Received: {list(self.names)}"
            )

    @property
    def unknown(self) -> int:
        """The index that stands for a missing label."""
        return self.num_classes

    @property
    def size(self) -> int:
        """Width of the vector that the networks see."""
        return self.embedding_dim or self.num_classes

    @property
    def num_leaves(self) -> int:
        """How many classes an example can be of: the first of the indices."""
        return self.num_classes

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """Their names."""
        return self.names[: self.num_leaves]

    @property
    def is_one_hot(self) -> bool:
        """Whether the networks see 1 at the class and 0 elsewhere."""
        return not self.embedding_dim

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of one example's value."""
        return ()

    def is_single(self, values: Any) -> bool:
        """Whether it is one label, index or name, and no sequence of them."""
        return np.ndim(values) == 0

    def as_array(self, values: Any, name: str = "label") -> NDArray[np.int32]:
        """Check labels and return them as an int32 array.

        Args:
            values: Sequence `(n,)` or `(n, 1)` of whole numbers from 0 to `num_classes` (the last
                is *unknown*), or of class names. NaN, `None` and the string `"unknown"`, where no
                class has that name, are *unknown*.
            name: The condition's name, for the error.

        Returns:
            int32 array `(n,)`.

        Raises:
            ValueError: If a value is no class. Nothing is clipped.
        """
        if not isinstance(values, np.ndarray):
            values = np.asarray(values, dtype=object)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            hint = ""
            if values.ndim == 2:
                hint = " If it is one-hot, pass y = np.argmax(y, axis=1)."
            raise ValueError(f"`{name}` must have the shape (n,). Received: {values.shape}.{hint}")
        indices = values
        if values.dtype.kind not in "iu":
            indices = np.array([self._index(value, name) for value in values.tolist()], "int64")
        outside = (indices < 0) | (indices > self.num_classes)
        if outside.any():
            at = int(np.argmax(outside))
            hint = ""
            if set(indices[outside].tolist()) == {-1}:
                hint = f" If -1 is unknown, pass np.where(y == -1, {self.num_classes}, y)."
            raise ValueError(
                f"`{name}` must be from 0 to {self.num_classes - 1}, or {self.num_classes} for "
                f"unknown. Received: {indices[at]} at position {at}. The classes are: "
                f"{listing(self.names)}.{hint}"
            )
        return indices.astype("int32")

    def check_occurrence(self, occurs: NDArray[np.bool_], name: str = "label") -> None:
        """Check that training data which hold *unknown* hold every class, too.

        Args:
            occurs: Bool array `(num_classes + 1,)`: which indices occur.
            name: The condition's name, for the error.

        Raises:
            ValueError: If not, unless `allow_absent_classes`.
        """
        absent = np.flatnonzero(~np.asarray(occurs[: self.num_leaves]))
        if self.allow_absent_classes or not occurs[self.unknown] or not len(absent):
            return
        raise ValueError(
            f"`{name}` must hold every class if it holds {self.unknown}, which means unknown. "
            f"Received: {self.unknown}, and never {absent[0]} ({self.names[absent[0]]}). Classes "
            "count from 0: pass y - 1 if yours count from 1; else Categorical(..., "
            "allow_absent_classes=True)."
        )

    def _index(self, value, name):
        if is_unknown(value):
            return self.unknown
        if isinstance(value, str):
            if value in self._indices:
                return self._indices[value]
            if value == UNKNOWN:
                return self.unknown
            hint = ""
            if value.isdecimal():
                hint = " Pass y.astype('int32')."
            elif self.names == tuple(map(str, range(self.num_classes))):
                hint = (
                    " Make numbers of names: names, y = np.unique(y, return_inverse=True), and "
                    "Categorical(names=names)."
                )
            raise ValueError(
                f"`{name}` must be a class. Received: {str(value)!r}. The classes are: "
                f"{listing(self.names)}.{hint}"
            )
        if isinstance(value, bool | np.bool_) or not _is_whole(value):
            hint = ""
            if isinstance(value, bool | np.bool_):
                hint = ". Pass y.astype('int32')."
            elif isinstance(value, bytes):
                hint = ". Pass y.astype(str)."
            raise ValueError(f"`{name}` must be whole numbers or names. Received: {value!r}{hint}")
        return int(value)

    def encode(self, label: Tensor, table: Tensor | None = None) -> Tensor:
        """Turn int labels `(batch,)` into float vectors `(batch, size)`, zero for *unknown*.

        Args:
            label: Int tensor.
            table: Float tensor `(num_classes, size)`, the learned vectors, where there are any.
        """
        label = ops.reshape(ops.cast(label, "int32"), (-1, 1))
        if table is None:
            return ops.cast(label == ops.arange(self.num_classes, dtype="int32"), "float32")
        known = ops.logical_and(label >= 0, label < self.num_classes)
        row = ops.where(known, label, 0)[:, 0]
        return ops.cast(known, "float32") * ops.take(table, row, axis=0)

    def valid(self, label: Tensor) -> Tensor:
        """Bool tensor `(batch,)`: whether each label is a class or *unknown*."""
        inside = ops.logical_and(label >= 0, label <= self.num_classes)
        if "float" in keras.backend.standardize_dtype(label.dtype):
            inside = ops.logical_and(inside, label == ops.floor(label))
        return ops.reshape(inside, (-1,))

    def occurrence(self, label: Tensor) -> Tensor:
        """float32 `(num_classes + 1,)` of labels `(batch,)`: above 0 for every one that occurs."""
        valid = self.valid(label)
        index = ops.where(valid, ops.reshape(ops.cast(label, "int32"), (-1,)), 0)
        counts = ops.cast(valid, "float32")
        return ops.scatter(index[:, None], counts, (self.num_classes + 1,))

    def hide(self, label: Tensor, drawn: Tensor) -> Tensor:
        """Labels of which those are *unknown* where `drawn`, as many, is below `unknown_rate`."""
        return ops.where(drawn < self.unknown_rate, ops.cast(self.unknown, label.dtype), label)

    def members(self, labels: NDArray[Any], index: int) -> NDArray[np.bool_]:
        """Bool array: which of an array of labels are of a class."""
        return labels == index

    def log_prob(self, log_p: Tensor, label: Tensor) -> Tensor:
        """Log probabilities of labels `(batch,)`: 0 of *unknown*.

        Args:
            log_p: Float tensor `(batch, num_leaves)`, those of the classes.
            label: Int tensor `(batch,)`.
        """
        label = ops.cast(label, "int32")
        row = ops.clip(label, 0, self.num_leaves - 1)
        own = ops.take_along_axis(log_p, row[:, None], axis=-1)[:, 0]
        return ops.where(label == self.unknown, 0.0, own)

    def given(self, log_p: Tensor, label: Tensor) -> Tensor:
        """Log probabilities of the classes, given what labels say: of *unknown* nothing.

        Args:
            log_p: Float tensor `(batch, num_leaves)`.
            label: Int tensor `(batch,)`.

        Returns:
            Tensor of the shape of `log_p`, -1e9 for a class that the label rules out.
        """
        label = ops.cast(label, "int32")[:, None]
        is_class = label == ops.arange(self.num_leaves, dtype="int32")
        return ops.where(label == self.unknown, log_p, ops.where(is_class, 0.0, RULED_OUT))

    def count(self, label: Tensor) -> Tensor:
        """How many classes an example of each label may be of, float32 `(batch,)`."""
        return ops.where(ops.cast(label, "int32") == self.unknown, float(self.num_leaves), 1.0)

    def vectors(self) -> NDArray[np.float32]:
        """What `encode` makes of every index, *unknown* the last: float32 NumPy array.

        There are none where vectors are learned.
        """
        return np.eye(self.num_classes + 1, self.size, dtype="float32")

    def places(self) -> NDArray[np.float32]:
        """float32 `(size,)`: times a label's vector it is by how much `unknown` is above it."""
        return np.arange(self.num_classes, 0, -1, dtype="float32")

    def manifest(self) -> dict[str, Any]:
        """What a device must know, as plain data."""
        return {"kind": self.kind, "num_classes": self.num_classes, "names": list(self.names)}

    def get_config(self) -> dict[str, Any]:
        return {
            "num_classes": self.num_classes,
            "names": list(self.names),
            "unknown_rate": self.unknown_rate,
            # Where it is left out, earlier versions read the file, too.
            **({"allow_absent_classes": True} if self.allow_absent_classes else {}),
            **({"embedding_dim": self.embedding_dim} if self.embedding_dim else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{"embedding_dim": 0, **config})  # which earlier versions do not write


def _is_whole(value):
    try:
        return int(value) == value
    except (TypeError, ValueError, OverflowError):
        return False


def several_names(names, example=None):
    """Names of classes as a tuple, or a ValueError, which shows how it is done."""
    if names is None or isinstance(names, str) or not hasattr(names, "__iter__"):
        if example is None:
            raise ValueError(
                "`num_classes` must be a whole number, as in Categorical(10), or left out where "
                "there are names, as in Categorical(names=['cat', 'dog']). Received: "
                f"names={names!r}"
            )
        raise ValueError(f"`names` must be strings, as in {example}. Received: {names!r}")
    return tuple(names)
