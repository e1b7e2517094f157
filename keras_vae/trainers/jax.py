"""Steps on JAX, where state goes in and comes out of every step."""

import jax
import keras


class Trainer:
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on JAX."""

    def train_step(self, state, data):
        """Draw, differentiate, and update unless a gradient is not finite."""
        trainable, non_trainable, optimizer, metrics = state
        differentiate = jax.value_and_grad(self._scaled_loss, has_aux=True)
        (_, (loss, terms, drawn)), gradients = differentiate(
            trainable, non_trainable, optimizer, data
        )
        with keras.StatelessScope(_pairs(self.optimizer.variables, optimizer)):
            norm, finite = self.gradient_norm(gradients)

        def update():
            new = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            return tuple(map(list, new))

        if self.optimizer_skips_updates:
            trainable, optimizer = update()
        else:
            keep = (list(trainable), list(optimizer))
            trainable, optimizer = jax.lax.cond(finite, update, lambda: keep)
        buffers = {id(v) for v in self.buffers}
        non_trainable = [
            jax.numpy.where(finite, new, old) if id(v) in buffers else new
            for v, new, old in zip(self.non_trainable_variables, drawn, non_trainable, strict=True)
        ]
        logs, metrics = self._track(metrics, data, loss, terms, norm, finite)
        return logs, (trainable, non_trainable, optimizer, metrics)

    def test_step(self, state, data):
        """Draw and measure."""
        trainable, non_trainable, metrics = state
        loss, (terms, non_trainable) = self._loss(trainable, non_trainable, data, training=False)
        logs, metrics = self._track(metrics, data, loss, terms)
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

    def _loss(self, trainable, non_trainable, data, training):
        variables = self._variables(trainable, non_trainable)
        with keras.StatelessScope(variables, collect_losses=True) as scope:
            loss, terms = self.loss_and_terms(data, training)
        return loss, (terms, _values(scope, self.non_trainable_variables))

    def _scaled_loss(self, trainable, non_trainable, optimizer, data):
        loss, (terms, drawn) = self._loss(trainable, non_trainable, data, training=True)
        with keras.StatelessScope(_pairs(self.optimizer.variables, optimizer)):
            return self.optimizer.scale_loss(loss), (loss, terms, drawn)

    def _track(self, metrics, *measured):
        with keras.StatelessScope(_pairs(self.metrics_variables, metrics)) as scope:
            logs = self.track(*measured)
        return logs, _values(scope, self.metrics_variables)


def _pairs(variables, values):
    return list(zip(variables, values, strict=True))


def _values(scope, variables):
    return [scope.get_current_value(variable) for variable in variables]


def devices():
    """Return the names of the devices that the backend sees."""
    return [str(device) for device in jax.devices()]
