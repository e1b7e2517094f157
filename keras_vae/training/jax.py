"""Steps on JAX, where state goes in and comes out of every step."""

import contextlib
import itertools
import os

import jax
import keras
import numpy as np

from keras_vae import keras_internals
from keras_vae.training.players import TermsOf


class Guard:
    """Keep a model's weights where a step fails: Keras takes them away while it computes."""

    def _get_jax_state(self, purge_model_variables=False, **wanted):
        state = super()._get_jax_state(purge_model_variables=purge_model_variables, **wanted)
        # At the end of `fit` Keras makes an optimizer's averages (`use_ema`) the weights.
        kept = self.optimizer.variables if self.compiled and self.optimizer else ()
        if wanted.get("optimizer_variables"):
            kept = ()
        state = _each_its_own(state, kept)
        if purge_model_variables:
            # What the first step of an epoch fails with must not cost the model its weights.
            names = [name for name, is_wanted in wanted.items() if is_wanted]
            self._jax_state = dict(zip(names, state, strict=True))
        return state

    def evaluate(self, *args, **kwargs):
        with self._keeping_state():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args, **kwargs):
        with self._keeping_state():
            return super().predict(*args, **kwargs)

    @contextlib.contextmanager
    def _keeping_state(self):
        try:
            yield
        except BaseException:  # Ctrl-C, too
            self.jax_state_sync()
            raise

    def without_gradients(self, function):
        """A function of tensors that reads the model's variables, to be called many times."""

        def random_states():
            # What is no layer of the model, such as the prior of a VQVAE, draws for itself.
            known = {id(variable) for variable in self.variables}
            return [state for state in self._random_states() if id(state) in known]

        @jax.jit
        def stateless(values, *tensors):
            variables = _pairs(self.variables, values)
            with keras.StatelessScope(variables, collect_losses=True) as scope:
                results = function(*tensors)
            return results, _values(scope, random_states())

        def compiled(*tensors):
            results, states = stateless([v.value for v in self.variables], *tensors)
            for variable, state in zip(random_states(), states, strict=True):
                variable.assign(state)
            return results

        return compiled


def _each_its_own(state, kept):
    """The state, of which no two variables share an array: a step gives each array away.

    Args:
        state: Nested lists of arrays.
        kept: Variables that a step does not take, whose arrays it must leave.
    """
    seen = {id(variable.value) for variable in kept}

    def own(array):
        if id(array) in seen:
            return jax.numpy.copy(array)
        seen.add(id(array))
        return array

    return keras.tree.map_structure(own, state)


class Trainer(Guard):
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on JAX."""

    @property
    def groups_steps(self):
        """Whether a loop of steps is faster than one by one: with convolutions not on a CPU."""
        has_convolutions = any(
            isinstance(layer, keras.layers.Layer) and "Conv" in type(layer).__name__
            for layer in keras_internals.flatten_layers(self)
        )
        return not has_convolutions or jax.default_backend() != "cpu"

    @property
    def divides_batches(self):
        """Whether devices are to take their parts of a batch, even if it is not a multiple."""
        return keras.distribution.distribution() is not None and jax.process_count() == 1

    def building(self):
        """A context in which variables are made."""
        return contextlib.nullcontext()

    def divided(self, batches):
        """Batches of arrays that Keras can divide among its distribution's devices."""
        if self.divides_batches:
            mesh = keras.distribution.distribution().device_mesh
            devices = mesh.shape[0]
            if batches.batch_size % devices or batches.count % devices:
                batches.prepare = lambda rows: _padded(batches, rows, devices)
        return batches

    def as_dataset(self, batches):
        """Batches of arrays as `fit` takes them."""
        return self.divided(batches)

    def make_train_function(self, force=False):
        """As Keras does, but for several steps an execution: those are one compiled loop."""
        is_loop = self.steps_per_execution > 1 and self.jit_compile and not self.run_eagerly
        if not is_loop or keras.distribution.distribution() is not None:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = self._loop()

    def _loop(self):
        """Return a function of state and iterator that takes up to `steps_per_execution` steps."""

        def steps(state, batches, count):
            def step(index, state):
                batch = jax.tree.map(lambda array: array[index], batches)
                _, state = self.train_step(state, batch)
                return tuple(map(list, state))

            state = jax.lax.fori_loop(0, count, step, tuple(map(list, state)))
            with keras.StatelessScope(_pairs(self.metrics_variables, state[-1])):
                logs = {}
                for metric in self.metrics:
                    result = metric.result()
                    logs |= result if isinstance(result, dict) else {metric.name: result}
            return logs, state

        steps = jax.jit(steps, donate_argnums=0)

        def function(state, iterator):
            taken = list(itertools.islice(iterator, self.steps_per_execution))
            if not taken:
                raise StopIteration
            # The last batch of an epoch may be smaller: it makes a loop of its own.
            for _, same in itertools.groupby(taken, key=_shapes):
                same = list(same)
                # The number of steps is an argument, so that fewer compile nothing new.
                padded = same + same[-1:] * (self.steps_per_execution - len(same))
                padded = padded if len(same) > 1 else same
                batches = jax.tree.map(_stacked, *padded)
                logs, state = steps(state, batches, len(same))
            return logs, state

        return function

    needs_terms_first = True

    def terms_of(self, batch):
        """The terms of the loss as symbolic tensors, of a symbolic batch."""
        return TermsOf(self).compute_output_spec(batch)

    def train_step(self, state, data):
        """For every player: draw, differentiate, and update unless a gradient is not finite."""
        *state, metrics = state
        data = _unpadded(data)
        measured = []
        for player in self.players:
            state, numbers = self._move(player, state, data, measured)
            measured.append(numbers)
        logs, metrics = self._track(state[:2], metrics, self.track_players, data, measured)
        return logs, (*state, metrics)

    def _move(self, player, state, data, earlier):
        """Let one player move: the new state, and its loss, terms, norm and finiteness."""
        trainable, non_trainable, optimizer = state
        own = _Some(player.variables, self.trainable_variables)
        slots = _Some(player.optimizer.variables, self.optimizer.variables)

        def scaled_loss(weights):
            loss, (terms, drawn) = self._loss(
                player, own.put(trainable, weights), non_trainable, data, training=True
            )
            with keras.StatelessScope(_pairs(self.optimizer.variables, optimizer)):
                return player.optimizer.scale_loss(loss), (loss, terms, drawn)

        weights, state_of_optimizer = own.of(trainable), slots.of(optimizer)
        differentiate = jax.value_and_grad(scaled_loss, has_aux=True)
        (_, (loss, terms, drawn)), gradients = differentiate(weights)
        flat = [gradient.astype("float32").ravel() for gradient in gradients]
        norm = jax.numpy.sqrt(sum(jax.numpy.vdot(gradient, gradient) for gradient in flat))
        with keras.StatelessScope(_pairs(self.optimizer.variables, optimizer)):
            norm, finite = self.gradient_norm(player, norm, earlier)

        def update():
            new = player.optimizer.stateless_apply(state_of_optimizer, gradients, weights)
            return tuple(map(list, new))

        if player.skips_updates:
            new = update()
        else:
            new = jax.lax.cond(finite, update, lambda: (weights, state_of_optimizer))
        buffers = {id(v) for v in self.buffers}
        non_trainable = [
            jax.numpy.where(finite, new, old) if id(v) in buffers else new
            for v, new, old in zip(self.non_trainable_variables, drawn, non_trainable, strict=True)
        ]
        state = own.put(trainable, new[0]), non_trainable, slots.put(optimizer, new[1])
        return state, (loss, terms, norm, finite)

    def test_step(self, state, data):
        """Draw and measure."""
        trainable, non_trainable, metrics = state
        data = _unpadded(data)
        loss, (terms, non_trainable) = self._loss(
            self, trainable, non_trainable, data, training=False
        )
        state = trainable, non_trainable
        logs, metrics = self._track(state, metrics, self.track, data, loss, terms)
        return logs, (trainable, non_trainable, metrics)

    def predict_step(self, state, data):
        """Reconstruct from the posterior mean."""
        trainable, non_trainable = state
        with keras.StatelessScope(self._variables(trainable, non_trainable)):
            return self.reconstruction(data), non_trainable

    def _variables(self, trainable, non_trainable):
        return _pairs(self.trainable_variables, trainable) + _pairs(
            self.non_trainable_variables, non_trainable
        )

    def _loss(self, player, trainable, non_trainable, data, training):
        variables = self._variables(trainable, non_trainable)
        with keras.StatelessScope(variables, collect_losses=True) as scope:
            loss, terms = player.loss_and_terms(data, training)
        return loss, (terms, _values(scope, self.non_trainable_variables))

    def _track(self, state, metrics, track, *measured):
        variables = self._variables(*state) + _pairs(self.metrics_variables, metrics)
        with keras.StatelessScope(variables) as scope:
            logs = track(*measured)
        return logs, _values(scope, self.metrics_variables)


class _Some:
    """Where some variables are among all, to take and to put the values of these alone."""

    def __init__(self, some, all_variables):
        positions = {id(variable): index for index, variable in enumerate(all_variables)}
        self.positions = [positions[id(variable)] for variable in some]

    def of(self, values):
        return [values[position] for position in self.positions]

    def put(self, values, new):
        values = list(values)
        for position, value in zip(self.positions, new, strict=True):
            values[position] = value
        return values


def _padded(batches, rows, devices):
    """A batch whose last row is repeated until it divides evenly, and how many rows are true.

    JAX can compute with arrays that do not divide evenly, but not transfer them. The number of
    rows is in a shape, where the compiler sees it.
    """
    count = len(rows)
    rows = np.append(rows, np.repeat(rows[-1:], -count % devices))
    return ({"padded": batches.load(rows), "count": np.zeros((devices, count), "bool")},)


def _unpadded(data):
    """The true rows of a batch that may be padded."""
    batch = data[0] if isinstance(data, tuple | list) else data
    if not isinstance(batch, dict) or set(batch) != {"padded", "count"}:
        return data
    count = batch["count"].shape[1]
    return jax.tree.map(lambda array: array[:count], batch["padded"])


def _pairs(variables, values):
    return list(zip(variables, values, strict=True))


def _stacked(*arrays):
    """Batches as one array, where they are: on the device or in NumPy."""
    return (jax.numpy if isinstance(arrays[0], jax.Array) else np).stack(arrays)


def _shapes(batch):
    """The shapes and dtypes of a batch, to compare it with others."""
    return str(jax.tree.map(lambda array: (array.shape, array.dtype), batch))


def _values(scope, variables):
    return [scope.get_current_value(variable) for variable in variables]


def devices():
    """Return the names of the devices that the backend sees."""
    return [str(device) for device in jax.devices()]


def is_divided(model):
    """Whether a model's batches are divided among several devices."""
    return keras.distribution.distribution() is not None


def prepare_devices(count):
    """Let the CPU pass for several devices, before the first operation."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "device_count" not in flags:
        count = min(count, os.cpu_count() or 1)
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"


def find_devices():
    """Names of the devices that a batch can be divided among."""
    return keras.distribution.list_devices()


@contextlib.contextmanager
def on_devices(count):
    """A context in which models train on several devices of this machine.

    Args:
        count: Int.
    """
    with keras.distribution.DataParallel(devices=find_devices()[:count]).scope():
        yield
