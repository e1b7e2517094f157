"""Steps on TensorFlow."""

import keras
import tensorflow as tf

from keras_vae.trainers import tensorflow_adam


class Trainer:
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on TensorFlow."""

    groups_steps = True

    def compile(self, optimizer="adam", jit_compile="auto", **kwargs):
        """As Keras does; its Adam runs as one kernel, and XLA, slower on a CPU, on GPUs only."""
        if jit_compile == "auto" and not tf.config.list_physical_devices("GPU"):
            jit_compile = False
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        for player in self.players:
            tensorflow_adam.fuse(player.optimizer)

    def as_dataset(self, batches):
        """Batches of arrays in the same order, put together by TensorFlow, not by Python.

        What is in files is left to the threads that read them.
        """
        if batches.in_files:
            return batches
        arrays = keras.tree.map_structure(tf.convert_to_tensor, batches.arrays)
        rows = tf.TensorSpec((len(batches.rows),), "int64")
        dataset = tf.data.Dataset.from_generator(lambda: [batches.rows], output_signature=rows)
        dataset = dataset.flat_map(tf.data.Dataset.from_tensor_slices).batch(batches.batch_size)
        dataset = dataset.map(
            lambda rows: keras.tree.map_structure(lambda array: tf.gather(array, rows), arrays)
        )
        return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(1)

    def without_gradients(self, function):
        """A function of tensors that reads the model's variables, to be called many times."""
        return tf.function(function, reduce_retracing=True)

    def global_norm(self, tensors):
        """The Euclidean norm of all tensors joined, in float32."""
        return tf.linalg.global_norm([tf.cast(tensor, "float32") for tensor in tensors])

    def train_step(self, data):
        """For every player: draw, differentiate, and update unless a gradient is not finite."""
        measured = []
        for player in self.players:
            measured.append(self._move(player, data, measured))
        return self.track(data, *self.joined(measured))

    def _move(self, player, data, earlier):
        """Let one player move and return its loss, terms, norm and whether it was finite."""
        buffers = [tf.identity(v.value) for v in self.buffers]
        with tf.GradientTape() as tape:
            loss, terms = player.loss_and_terms(data, training=True)
            scaled_loss = player.optimizer.scale_loss(loss)
        variables = player.variables
        if not self.optimizer.built:  # `tf.cond` must not create variables
            self.optimizer.build(self.trainable_variables)
        # Keras' own variables fail here where one is unconnected, as their dtype is a string.
        sources = [v.value for v in variables]
        gradients = tape.gradient(scaled_loss, sources, unconnected_gradients="zero")
        norm, finite = self.gradient_norm(player, gradients, earlier)

        def update():
            player.optimizer.apply(gradients, variables)

        def restore():
            for variable, value in zip(self.buffers, buffers, strict=True):
                variable.assign(value)

        if player.skips_updates:
            update()
        else:
            tf.cond(finite, update, lambda: None)
        tf.cond(finite, lambda: None, restore)
        return loss, terms, norm, finite

    def test_step(self, data):
        """Draw and measure."""
        loss, terms = self.loss_and_terms(data, training=False)
        return self.track(data, loss, terms)

    def predict_step(self, data):
        """Reconstruct from the posterior mean."""
        return self.reconstruction(data)


def is_out_of_memory(err):
    """Whether an exception says that memory ran out."""
    return isinstance(err, MemoryError | tf.errors.ResourceExhaustedError)


def devices():
    """Return the names of the devices that the backend sees."""
    return [device.name for device in tf.config.list_physical_devices()]
