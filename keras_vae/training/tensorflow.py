"""Steps on TensorFlow."""

import contextlib
import os

import keras
import tensorflow as tf

from keras_vae import keras_internals
from keras_vae.training import tensorflow_adam, tensorflow_replicas
from keras_vae.training.players import TermsOf


class Guard:
    """Look at a batch before a step takes it, by the model's `check_batch`.

    A step that is traced for batches of another shape before may know no shapes.
    """

    def make_train_function(self, force=False):
        super().make_train_function(force)
        self.train_function = self._guarded(self.train_function)

    def make_test_function(self, force=False):
        super().make_test_function(force)
        self.test_function = self._guarded(self.test_function)

    def _guarded(self, function):
        if hasattr(function, "looks_at"):
            return function

        def guarded(iterator):
            spec = getattr(iterator, "element_spec", None)
            if spec is not guarded.looks_at:
                guarded.looks_at = spec
                specs = keras.tree.flatten(spec)
                # Not of what a strategy divides, nor of batches whose shapes are unknown.
                if all(isinstance(s, tf.TensorSpec) and s.shape.rank is not None for s in specs):
                    self.check_batch(keras.tree.map_structure(_symbolic, spec))
            return function(iterator)

        guarded.looks_at = None
        return guarded

    def without_gradients(self, function):
        """A function of tensors that reads the model's variables, to be called many times."""
        return tf.function(function, reduce_retracing=True, autograph=False)


class Trainer(Guard):
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on TensorFlow."""

    divides_batches = False  # a strategy does

    @property
    def groups_steps(self):
        """Whether several steps may be taken at once: Keras cannot under a strategy."""
        return keras_internals.strategy_of(self) is None

    def compile(self, optimizer="adam", jit_compile="auto", **kwargs):
        """As Keras does; its Adam runs as one kernel, and XLA, slower on a CPU, on GPUs only."""
        if kwargs.get("steps_per_execution", 1) > 1 and not self.groups_steps:
            # https://github.com/keras-team/keras/issues/19246, with keras 3.15.1, tensorflow 2.21
            raise ValueError(
                "`steps_per_execution` must be 1 under a strategy, as Keras' loop of steps fails "
                f"there. Received: {kwargs['steps_per_execution']}. Leave it out."
            )
        if jit_compile == "auto" and not tf.config.list_physical_devices("GPU"):
            jit_compile = False
        with self.building():
            super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
            for player in self.players:
                if tf.distribute.has_strategy():
                    tensorflow_replicas.take_means(player.optimizer, self.distribute_strategy)
                tensorflow_adam.fuse(player.optimizer)

    def building(self):
        """A context in which variables are made, on all devices of the model's strategy.

        Raises:
            ValueError: If the model was made outside of the strategy that is in use.
        """
        if keras_internals.strategy_of(self) is not None:
            return keras_internals.strategy_of(self).scope()
        if tf.distribute.has_strategy():
            raise ValueError(
                f"A `{type(self).__name__}` that is to train under a strategy must be made under "
                "it. Received: one made outside. Make and compile it inside strategy.scope()."
            )
        return contextlib.nullcontext()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """As Keras does, but for a model that is built: several workers fail there."""
        if not self.built:
            super()._maybe_symbolic_build(iterator, data_batch)

    def divided(self, batches):
        """Batches as Keras takes them, which divides them itself under a strategy."""
        return batches

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
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(1)
        # Workers divide every batch: they hold the same data in the same order.
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return dataset.with_options(options)

    needs_terms_first = True

    def terms_of(self, batch):
        """The terms of the loss as symbolic tensors, of a symbolic batch."""
        return TermsOf(self).compute_output_spec(batch)

    def train_step(self, data):
        """For every player: draw, differentiate, and update unless a gradient is not finite."""
        measured = []
        with tensorflow_replicas.working_on(self, data) as replica:
            for player in self.players:
                measured.append(self._move(player, data, measured, replica))
            return replica.reported(self.track_players(data, measured))

    def _move(self, player, data, earlier, replica):
        """Let one player move and return its loss, terms, norm and whether it was finite."""
        buffers = [tf.identity(v.value) for v in self.buffers]
        with tf.GradientTape() as tape:
            # TensorFlow's own variables keep whether they were trainable when they were made.
            for variable in player.variables:
                tape.watch(variable.value)
            loss, terms = player.loss_and_terms(data, training=True)
            scaled_loss = player.optimizer.scale_loss(replica.weighted(loss))
        variables = player.variables
        if not self.optimizer.built:  # `tf.cond` must not create variables
            self.optimizer.build(self.trainable_variables)
        # Keras' own variables fail here where one is unconnected, as their dtype is a string.
        sources = [v.value for v in variables]
        gradients = tape.gradient(scaled_loss, sources, unconnected_gradients="zero")
        # Of a look-up they have a row for each time; the norm and Adam take the sum of these.
        gradients = replica.sum([tf.convert_to_tensor(gradient) for gradient in gradients])
        loss, terms = replica.mean((loss, terms))
        norm = tf.linalg.global_norm([tf.cast(gradient, "float32") for gradient in gradients])
        norm, finite = self.gradient_norm(player, norm, earlier)

        def update():
            player.optimizer.apply(gradients, variables)

        def restore():
            for variable, value in zip(self.buffers, buffers, strict=True):
                variable.assign(value)

        if player.skips_updates:
            update()
        elif replica.has_others:
            replica.update(finite, update, [*variables, *player.optimizer.variables])
        else:
            tf.cond(finite, update, lambda: None)
        if replica.has_others:
            replica.agree(finite, self.buffers, buffers)
        else:
            tf.cond(finite, lambda: None, restore)
        return loss, terms, norm, finite

    def test_step(self, data):
        """Draw and measure."""
        with tensorflow_replicas.working_on(self, data) as replica:
            loss, terms = replica.mean(self.loss_and_terms(data, training=False))
            return replica.reported(self.track(data, loss, terms))

    def predict_step(self, data):
        """Reconstruct from the posterior mean."""
        return self.reconstruction(data)


def _symbolic(spec):
    return keras.KerasTensor(spec.shape, spec.dtype.name)


def devices():
    """Return the names of the devices that the backend sees."""
    return [device.name for device in tf.config.list_physical_devices()]


def is_divided(model):
    """Whether a model's batches are divided among several devices."""
    return keras_internals.strategy_of(model) is not None or tf.distribute.has_strategy()


def prepare_devices(count):
    """Let the CPU pass for several devices where there is no GPU, before the first operation."""
    if not tf.config.list_physical_devices("GPU"):
        [cpu] = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * min(count, (os.cpu_count() or 1))
        tf.config.set_logical_device_configuration(cpu, parts)


def find_devices():
    """Names of the devices that a batch can be divided among: GPUs, or else what the CPU is."""
    gpus = tf.config.list_logical_devices("GPU")
    return [device.name for device in gpus or tf.config.list_logical_devices("CPU")]


@contextlib.contextmanager
def on_devices(count):
    """A context in which models are made that train on several devices of this machine.

    Args:
        count: Int.
    """
    tf.get_logger().setLevel("ERROR")  # it names the devices, and counts what it adds up
    with tf.distribute.MirroredStrategy(find_devices()[:count]).scope():
        yield
