"""How named conditions become the one vector that networks see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import keras
from keras import ops

from keras_vae import replica, seeds
from keras_vae.type_aliases import Shape, Tensor


@keras.saving.register_keras_serializable("keras_vae")
class Conditioning(keras.layers.Layer):
    """Turn named conditions into the one vector that encoder, decoder and prior see.

    It has the learned vectors of labels with an `embedding_dim`, for each a table
    `(num_classes, size)`.

    Args:
        condition: Dict from name to a kind of `keras_vae.conditions`.
        seed: Optional int, for the values that training replaces with *unknown*.

    Call arguments:
        conditions: Dict with a tensor for each name: int `(batch,)` for a categorical one, float
            `(batch, dim)` for a continuous one, int `(batch, steps)` for a sequence.
        training: Bool. Only in training are values replaced, at each one's `unknown_rate`.

    Returns:
        float32 tensor `(batch, size)`, the encodings side by side in the order of `condition`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> layer = keras_vae.layers.Conditioning({"label": keras_vae.Categorical(3)})
    >>> tuple(layer({"label": np.array([0, 2])}).shape)
    (2, 3)

    See also:
        `ConditionalVAE`, which has one.
    """

    def __init__(
        self, condition: Mapping[str, Any], seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.condition = dict(condition)
        self.seed = seed
        self.seed_generator = None
        if any(kind.unknown_rate for kind in self.condition.values()):
            self.seed_generator = seeds.stream(seed, "unknown")
        self.tables = {}
        # Where nothing is learned, it needs no shapes.
        self.built = not self._embedded()

    def build(self, conditions_shape: Any = None) -> None:
        """Create the tables of learned vectors."""
        for name, kind in self._embedded().items():
            self.tables[name] = self.add_weight(
                shape=(kind.num_classes, kind.size),
                initializer=keras.initializers.RandomNormal(stddev=1.0),
                dtype="float32",
                name=f"{name}_embedding",
            )
        self.built = True

    def _embedded(self):
        """The kinds whose vectors are learned, by name."""
        kinds = self.condition.items()
        return {name: kind for name, kind in kinds if getattr(kind, "embedding_dim", 0)}

    @property
    def size(self) -> int:
        """Width of the vector."""
        return sum(kind.size for kind in self.condition.values())

    def hide(self, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditions as a training step sees them: at each one's rate *unknown*."""
        hidden = dict(conditions)
        for name, kind in self.condition.items():
            if not kind.unknown_rate:
                continue
            value = conditions[name]
            uniform, shape = keras.random.uniform, ops.shape(value)
            if kind.value_shape:  # unknown as a whole
                shape = (shape[0], 1)
            drawn = replica.current().draw(uniform, shape, seed=self.seed_generator)
            if kind.kind == "categorical":
                hidden[name] = kind.hide(value, drawn)
            else:
                unknown = ops.cast(kind.unknown, value.dtype)
                hidden[name] = ops.where(drawn < kind.unknown_rate, unknown, value)
        return hidden

    def call(self, conditions: Mapping[str, Tensor], training: bool | None = None) -> Tensor:
        if training:
            conditions = self.hide(conditions)
        encodings = []
        for name, kind in self.condition.items():
            value, table = conditions[name], self.tables.get(name)
            encodings.append(kind.encode(value) if table is None else kind.encode(value, table))
        return ops.concatenate(encodings, axis=-1)

    def compute_output_shape(self, conditions_shape: Any) -> Shape:
        batch = next(iter(conditions_shape.values()))[0]
        return (batch, self.size)

    def get_config(self) -> dict[str, Any]:
        condition = {
            name: keras.saving.serialize_keras_object(kind) for name, kind in self.condition.items()
        }
        return {**super().get_config(), "condition": condition, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        condition = {name: deserialize(kind) for name, kind in config["condition"].items()}
        return cls(**{**config, "condition": condition})
