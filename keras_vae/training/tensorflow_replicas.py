"""What the replicas of a model share under a `tf.distribute` strategy."""

import keras
import tensorflow as tf

from keras_vae import keras_internals, replica


def working_on(model, data):
    """A context in which a model's step works on its replica's rows of a batch, `data`."""
    has_others = tf.distribute.has_strategy()
    rows = keras.tree.flatten(data)[0]
    return replica.working_on(_Replica(model, rows) if has_others else None)


class _Replica(replica.OneOfSeveral):
    def __init__(self, model, rows):
        self.context = tf.distribute.get_replica_context()
        self.layers = keras_internals.flatten_layers(model)
        place = self.context.replica_id_in_sync_group
        replicas = self.context.num_replicas_in_sync
        count = tf.shape(rows)[0]
        # In float32, which every device can add up.
        [counts] = self.sums([tf.one_hot(place, replicas) * tf.cast(count, "float32")])
        counts = tf.cast(counts, "int32")
        start = tf.reduce_sum(tf.where(tf.range(replicas) < place, counts, 0))
        super().__init__(count, start, tf.reduce_sum(counts))

    def gather(self, tensor, axis=0):
        return self._meet(self.context.all_gather, tensor, axis)

    def sums(self, tensors):
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        return self._meet(self.context.all_reduce, tf.distribute.ReduceOp.SUM, tensors)

    def reported(self, logs):
        strategy = self.context.strategy
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return logs
        # Keras averages over workers along the first axis.
        return {name: tf.reshape(value, (1,)) for name, value in logs.items()}

    def _meet(self, function, *arguments):
        """Call what the other replicas call, too, and keep what `add_loss` collected here so far.

        Where replicas meet, TensorFlow goes on with another one, which clears it and adds its own.
        """
        losses = [list(keras_internals.added_losses(layer)) for layer in self.layers]
        result = function(*arguments)
        for layer, own in zip(self.layers, losses, strict=True):
            keras_internals.added_losses(layer)[:] = own
        return result

    def update(self, finite, update, variables):
        """Call `update`, in which replicas meet, and take it back unless `finite`.

        A branch of a replica may not hold it.
        """
        before = [tf.identity(variable.value) for variable in variables]
        update()
        for variable, value in zip(variables, before, strict=True):
            variable.assign(tf.where(finite, variable.value, value))

    def agree(self, finite, variables, before):
        """Let variables change by the mean of their changes, and not unless `finite`."""
        changes = [v.value - value for v, value in zip(variables, before, strict=True)]
        for variable, value, change in zip(variables, before, self.mean(changes), strict=True):
            variable.assign(tf.where(finite, value + change, value))


def take_means(optimizer, strategy):
    """Let an optimizer take its gradients for those of all replicas, and not add them up.

    Raises:
        ValueError: If it was made outside of the strategy, or does what Keras cannot do there.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Keras 3.15.1 updates variables of all replicas in a branch of one.
    for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
        if getattr(optimizer, name, None):
            raise ValueError(
                f"`{name}` must be left out under a strategy, where Keras' optimizers fail with "
                f"it. Received: {getattr(optimizer, name)}."
            )
    if keras_internals.strategy_of_optimizer(optimizer) is not strategy:
        raise ValueError(
            "An optimizer that is to train under a strategy must be made under it. Received: one "
            "made outside. Make and compile the model inside strategy.scope()."
        )
    optimizer._all_reduce_sum_gradients = list
