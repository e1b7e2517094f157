"""Who moves in a training step, and by which optimizer."""

import dataclasses
from collections.abc import Callable

import keras

from keras_vae import keras_internals


@dataclasses.dataclass(frozen=True)
class Player:
    """A loss, the part of the model that it moves, and the optimizer that moves it.

    Most models have one player, themselves. Where there are several, every training step lets one
    after the other move, each against what those before it have become.

    Args:
        loss_and_terms: Function of a batch and of `training` that returns a scalar loss and a dict
            of the scalars that are reported.
        part: Keras model. Its trainable variables are differentiated and moved; all others stand.
        optimizer: Keras optimizer of these variables.
    """

    loss_and_terms: Callable
    part: keras.Model
    optimizer: keras.optimizers.Optimizer

    @property
    def variables(self):
        """The trainable variables of the part."""
        return self.part.trainable_variables

    @property
    def skips_updates(self):
        """Whether the optimizer itself skips a non-finite gradient, which it then must see."""
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)


class JointOptimizer(keras.optimizers.Optimizer):
    """One optimizer for each player; a training step applies them one by one.

    Args:
        optimizers: List of Keras optimizers, one for each part.
        parts: Function that returns the Keras models whose variables they move.
    """

    def __init__(self, optimizers, parts, name="joint"):
        super().__init__(learning_rate=0.0, name=name)
        self.optimizers = list(optimizers)
        self.parts = parts

    def build(self, variables):
        for optimizer, part in zip(self.optimizers, self.parts(), strict=True):
            if not optimizer.built:
                optimizer.build(part.trainable_variables)
        self.built = True

    @property
    def variables(self):
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]

    @property
    def iterations(self):
        return self.optimizers[0].iterations

    @property
    def learning_rate(self):
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        raise ValueError(
            "Each player has a learning rate of its own. Set that of "
            "`model.optimizer.optimizers[0]` or `[1]`, or give the optimizers schedules."
        )

    def finalize_variable_values(self, var_list):
        for optimizer in self.optimizers:
            optimizer.finalize_variable_values(keras_internals.known_variables(optimizer))

    def save_own_variables(self, store):
        """Save nothing: Keras saves each of `optimizers`."""

    def load_own_variables(self, store):
        """Load nothing, as nothing is saved."""

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {"optimizers": [serialize(optimizer) for optimizer in self.optimizers]}


def as_optimizer(value, name):
    """A Keras optimizer, from one or its name, or a ValueError of one line."""
    try:
        return keras.optimizers.get(value)
    except (ValueError, TypeError) as err:
        raise ValueError(
            f"`{name}` must be a Keras optimizer or the name of one. Received: {value!r}"
        ) from err


class TermsOf(keras.Operation):
    """The terms of a model's loss, as a function of which Keras finds the shapes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, data):
        _, terms = self.model.loss_and_terms(data, training=True)
        return terms
