"""What a model of several players needs of Keras: one optimizer of theirs, one list of terms."""

import keras

from keras_vae import keras_internals


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
        self.names = list(terms)
        return terms

    def compute_output_spec(self, data):
        # JAX sorts the names; everywhere they are reported in the order of the model.
        terms = super().compute_output_spec(data)
        return {name: terms[name] for name in self.names}
