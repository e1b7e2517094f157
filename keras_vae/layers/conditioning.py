"""How named conditions become the one vector that networks see."""

import keras
from keras import ops

from keras_vae import replica, seeds


@keras.saving.register_keras_serializable("keras_vae")
class Conditioning(keras.layers.Layer):
    """Turn named conditions into the one vector that encoder and decoder see.

    Args:
        condition: Dict from name to `Categorical`, `Ordinal`, `Continuous` or `Sequence`.
        seed: Optional int, for the values that training replaces with *unknown*.

    Call arguments:
        conditions: Dict with a tensor for each name: int `(batch,)` for a categorical one, float
            `(batch, dim)` for a continuous one, int `(batch, steps)` for a sequence.
        training: Bool. Only in training are values replaced, at each one's `unknown_rate`.

    Returns:
        float32 tensor `(batch, size)`, the encodings side by side in the order of `condition`.
    """

    def __init__(self, condition, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.condition = dict(condition)
        self.seed = seed
        self.seed_generator = None
        if any(kind.unknown_rate for kind in self.condition.values()):
            self.seed_generator = seeds.stream(seed, "unknown")
        self.built = True

    @property
    def size(self):
        """Width of the vector."""
        return sum(kind.size for kind in self.condition.values())

    def call(self, conditions, training=None):
        encodings = []
        for name, kind in self.condition.items():
            value = conditions[name]
            if kind.unknown_rate and training:
                uniform, shape = keras.random.uniform, ops.shape(value)
                if kind.kind == "continuous":  # a vector is unknown as a whole
                    shape = (shape[0], 1)
                drawn = replica.current().draw(uniform, shape, seed=self.seed_generator)
                unknown = ops.cast(kind.unknown, value.dtype)
                value = ops.where(drawn < kind.unknown_rate, unknown, value)
            encodings.append(kind.encode(value))
        return ops.concatenate(encodings, axis=-1)

    def compute_output_shape(self, conditions_shape):
        batch = next(iter(conditions_shape.values()))[0]
        return (batch, self.size)

    def get_config(self):
        condition = {
            name: keras.saving.serialize_keras_object(kind) for name, kind in self.condition.items()
        }
        return {**super().get_config(), "condition": condition, "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        condition = {name: deserialize(kind) for name, kind in config["condition"].items()}
        return cls(**{**config, "condition": condition})
