"""The private names of Keras that this package needs, each with its reason, and nowhere else.

A test asks Keras for each of them, so that a version without one is noticed at once, by its name.
Methods of Keras that are overridden have to stand in the class that overrides them: they are in
`OVERRIDDEN`, and the test asks for them, too. What is here was last seen in Keras 3.15.1.
"""

import contextlib
import importlib

# Where methods and attributes of Keras are overridden or set, each with why.
OVERRIDDEN = {
    # What is wrong with the first batch is to be said before Keras builds the model with it.
    "_symbolic_build": "keras_vae/training/fitting.py",
    # One metric reports all terms, which Keras would sort by their names.
    "_flatten_metrics_in_order": "keras_vae/training/steps.py",
    # The state that Keras takes out of a model while JAX computes, which a failure must not lose.
    "_get_jax_state": "keras_vae/training/jax.py",
    "_jax_state": "keras_vae/training/jax.py",
    # Adam as one kernel, of many variables at once.
    "_parallel_update_step": "keras_vae/training/torch_adam.py",
    # What the gradients are summed by, which are means here.
    "_all_reduce_sum_gradients": "keras_vae/training/tensorflow_replicas.py",
}


def flatten_layers(model, include_self=True):
    """A model's layers at every depth, itself first. `Model.layers` has those of the top alone."""
    return list(model._flatten_layers(include_self=include_self))


def own_trainable_variables(layer):
    """The variables that a layer itself made to be trained, frozen or not, without its parts'."""
    return layer._trainable_variables


def known_variables(optimizer):
    """The variables for which an optimizer was built. Its public `variables` are its own alone."""
    return optimizer._trainable_variables


def adam_slots(optimizer, variables):
    """The moving means of variables' gradients, and of their squares, in Keras' Adam: two lists."""
    indices = [optimizer._get_variable_index(variable) for variable in variables]
    slots = optimizer._momentums, optimizer._velocities
    return tuple([kind[index] for index in indices] for kind in slots)


@contextlib.contextmanager
def unlocked(model):
    """A context in which a built model takes other parts and metrics, which Keras forbids."""
    model._tracker.unlock()
    try:
        yield
    finally:
        model._tracker.lock()


def untrack(model, part):
    """Let a model that is `unlocked` forget a part: to set another one does not do that."""
    model._tracker.untrack(part)


def nested_inputs(model):
    """The symbolic inputs of a functional model, as nested as it takes them; None of another."""
    return getattr(model, "_inputs_struct", None)


def history(tensor):
    """The operation that gave a symbolic tensor, and the list of tensors that it was given."""
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


def added_losses(layer):
    """The list in which a layer keeps what `add_loss` gave it, to be put back after a detour."""
    return layer._losses


def strategy_of(model):
    """The `tf.distribute` strategy in which a model was made, or None: the public one is never."""
    return model._distribute_strategy


def strategy_of_optimizer(optimizer):
    """As `strategy_of`, of an optimizer, which without one has TensorFlow's default."""
    return optimizer._distribution_strategy


def torch_random():
    """The module whose `torch_seed_generator` every random function of Keras asks on PyTorch.

    A traced step puts generators of its own there, which it can seed anew for each replay.
    """
    return importlib.import_module("keras.src.backend.torch.random")


# The function of `torch_nn` that copies channels-last inputs to channels first.
CHANNELS_FIRST = "_transpose_spatial_inputs"


def torch_nn():
    """The module whose `conv`, `conv_transpose` and `CHANNELS_FIRST` Keras' layers use on PyTorch.

    Training puts functions there that do the same with fewer copies.
    """
    return importlib.import_module("keras.src.backend.torch.nn")


def torch_numpy():
    """The module whose `matmul` Keras' dense layers use on PyTorch, replaced as in `torch_nn`."""
    return importlib.import_module("keras.src.backend.torch.numpy")
