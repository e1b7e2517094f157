"""A label out of classes that are leaves of a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from keras_vae.conditions.categorical import RULED_OUT, Categorical, several_names
from keras_vae.conditions.wording import shortened
from keras_vae.type_aliases import Tensor

SEPARATOR = "/"


@keras.saving.register_keras_serializable("keras_vae")
class Hierarchical(Categorical):
    """A label out of classes in groups within groups, such as `"animal/dog/husky"`.

    The values are the nodes of the tree: first the classes, which are its leaves, in their order,
    then the groups, such as `"animal/dog"` and `"animal"`. So one can sample by a group, and train
    on examples of which only that is known. The networks see 1 at every node on the way from the
    root to the label, and 0 elsewhere; of *unknown* the zero vector.

    Args:
        names: Sequence of distinct strings, the classes: names from the root, separated by `/`.
        unknown_rate: Float in [0, 1). Share of the labels that each training step replaces with one
            of the groups above it or *unknown*, drawn anew every time, each of these alike. Without
            it, groups that no example is labelled with are not learned, and none of a model with a
            classifier, which sums over the classes in a group.
        allow_absent_classes: As for `Categorical`.

    Raises:
        ValueError: If a class is a group of others, too, or an argument is out of range.

    Example:

    >>> import keras_vae
    >>> label = keras_vae.Hierarchical(["animal/cat", "animal/dog", "plant/oak"])
    >>> label.leaf_names, label.num_classes
    (('animal/cat', 'animal/dog', 'plant/oak'), 5)
    >>> label.as_array(["animal", "plant/oak"])
    array([3, 2], dtype=int32)

    See also:
        `Categorical`, without groups.

    References:
        - Vendrov et al., 2016, for labels as all that is above them.
          https://arxiv.org/abs/1511.06361
    """

    def __init__(
        self, names: Sequence[str], unknown_rate: float = 0.0, allow_absent_classes: bool = False
    ) -> None:
        leaves = several_names(names, "Hierarchical(names=['animal/cat', 'animal/dog', 'car'])")
        leaves = tuple(str(name) for name in leaves)
        for name in leaves:
            if not all(part.strip() for part in name.split(SEPARATOR)):
                raise ValueError(
                    f"`names` must be names separated by single {SEPARATOR!r}, such as "
                    f"'animal/dog'. Received: {shortened(name)}"
                )
        groups = dict.fromkeys(group for name in leaves for group in groups_of(name))
        if both := [name for name in leaves if name in groups]:
            raise ValueError(
                "`names` must be classes, of which none is a group of others. Received: "
                f"{both[0]!r} and {next(n for n in leaves if both[0] in groups_of(n))!r}. Name "
                f"it {both[0] + SEPARATOR + 'other'!r}."
            )
        nodes = (*leaves, *groups)
        super().__init__(len(nodes), nodes, unknown_rate, allow_absent_classes, embedding_dim=0)
        self._num_leaves = len(leaves)
        depth = max(name.count(SEPARATOR) for name in leaves) + 2
        # Of every node, and of *unknown*, itself and all above it; *unknown* is above the root.
        self.paths = np.full((len(nodes) + 1, depth), self.unknown, "int32")
        for index, name in enumerate(nodes):
            path = [self._indices[node] for node in (name, *groups_of(name))]
            self.paths[index, : len(path)] = path

    @property
    def num_leaves(self) -> int:
        return self._num_leaves

    @property
    def is_one_hot(self) -> bool:
        return False

    def encode(self, label: Tensor, table: Tensor | None = None) -> Tensor:
        """Turn int labels `(batch,)` into paths `(batch, size)`, zero for *unknown*."""
        label = ops.reshape(ops.cast(label, "int32"), (-1,))
        inside = ops.logical_and(label >= 0, label <= self.unknown)
        paths = ops.convert_to_tensor(self.paths[:, :-1])
        path = ops.take(paths, ops.where(inside, label, self.unknown), axis=0)
        nodes = ops.arange(self.num_classes, dtype="int32")
        return ops.sum(ops.cast(path[:, :, None] == nodes, "float32"), axis=1)

    def hide(self, label: Tensor, drawn: Tensor) -> Tensor:
        """Labels of which some are replaced with a node above or *unknown*.

        Args:
            label: Int tensor `(batch,)`.
            drawn: Float tensor `(batch,)`, uniform in [0, 1).
        """
        inside = ops.logical_and(label >= 0, label <= self.unknown)
        row = ops.cast(ops.where(inside, label, ops.cast(self.unknown, label.dtype)), "int32")
        levels = ops.take(ops.convert_to_tensor(self.levels()), row, axis=0)
        # A number below the rate is uniform within it, too.
        up = ops.floor(drawn / self.unknown_rate * ops.cast(levels, "float32"))
        up = ops.clip(ops.cast(up, "int32") + 1, 0, self.paths.shape[1] - 1)
        flat = ops.convert_to_tensor(self.paths.reshape(-1))
        above = ops.take(flat, row * self.paths.shape[1] + up, axis=0)
        hidden = ops.logical_and(inside, drawn < self.unknown_rate)
        return ops.where(hidden, ops.cast(above, label.dtype), label)

    def levels(self) -> NDArray[np.int32]:
        """How many levels are above each node, *unknown* one of them: int32 NumPy array."""
        return np.sum(self.paths != self.unknown, axis=1, dtype="int32")

    def log_prob(self, log_p: Tensor, label: Tensor) -> Tensor:
        """As of a `Categorical`; of a group the sum over the classes in it."""
        return ops.logsumexp(log_p + self._ruled_out(label), axis=-1)

    def given(self, log_p: Tensor, label: Tensor) -> Tensor:
        """As of a `Categorical`; of a group the classes in it are left."""
        return ops.log_softmax(log_p + self._ruled_out(label), axis=-1)

    def count(self, label: Tensor) -> Tensor:
        """How many classes an example of each label may be of, float32 `(batch,)`."""
        counts = ops.convert_to_tensor(self.leaves().sum(axis=1).astype("float32"))
        return ops.take(counts, ops.cast(label, "int32"), axis=0)

    def leaves(self) -> NDArray[np.bool_]:
        """Which classes each node has below it, *unknown* the last: bool `(nodes + 1, leaves)`."""
        nodes = np.arange(self.num_classes + 1)
        return np.any(self.paths[None, : self.num_leaves] == nodes[:, None, None], axis=-1)

    def of_nodes(self, probabilities: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of all nodes `(n, nodes)`: of a group the sum over the classes in it.

        Args:
            probabilities: Array `(n, num_leaves)`, as `classify` returns it.
        """
        return np.asarray(probabilities) @ self.leaves()[: self.num_classes].T.astype("float32")

    def _ruled_out(self, label):
        """0 for every class that a label leaves, and `RULED_OUT` for the others."""
        penalty = np.where(self.leaves(), 0.0, RULED_OUT).astype("float32")
        return ops.take(ops.convert_to_tensor(penalty), ops.cast(label, "int32"), axis=0)

    def members(self, labels: NDArray[Any], index: int) -> NDArray[np.bool_]:
        return np.any(self.paths[labels] == index, axis=1)

    def vectors(self) -> NDArray[np.float32]:
        nodes = np.arange(self.num_classes)
        return np.any(self.paths[:, :, None] == nodes, axis=1).astype("float32")

    def places(self) -> NDArray[np.float32]:
        # From the root down: what a node adds to what is above it.
        places = np.zeros(self.num_classes, "float32")
        for index in np.argsort(self.levels()[:-1], kind="stable"):
            above = [node for node in self.paths[index, 1:] if node != self.unknown]
            places[index] = self.unknown - index - places[above].sum()
        return places

    def manifest(self) -> dict[str, Any]:
        return {**super().manifest(), "num_leaves": self.num_leaves}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["num_classes"]
        return {**config, "names": list(self.leaf_names)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def groups_of(name):
    """The groups that a node is in by its name, the nearest first."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
