"""Steps on TensorFlow."""

import tensorflow as tf


class Trainer:
    """The steps that Keras' `fit`, `evaluate` and `predict` call, on TensorFlow."""

    def train_step(self, data):
        """Draw, differentiate, and update unless a gradient is not finite."""
        buffers = [tf.identity(v.value) for v in self.buffers]
        with tf.GradientTape() as tape:
            loss, terms = self.loss_and_terms(data, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        if not self.optimizer.built:  # `tf.cond` must not create variables
            self.optimizer.build(variables)
        # Keras' own variables fail here where one is unconnected, as their dtype is a string.
        sources = [v.value for v in variables]
        gradients = tape.gradient(scaled_loss, sources, unconnected_gradients="zero")
        norm, finite = self.gradient_norm(gradients)

        def update():
            self.optimizer.apply(gradients, variables)

        def restore():
            for variable, value in zip(self.buffers, buffers, strict=True):
                variable.assign(value)

        if self.optimizer_skips_updates:
            update()
        else:
            tf.cond(finite, update, lambda: None)
        tf.cond(finite, lambda: None, restore)
        return self.track(data, loss, terms, norm, finite)

    def test_step(self, data):
        """Draw and measure."""
        loss, terms = self.loss_and_terms(data, training=False)
        return self.track(data, loss, terms)

    def predict_step(self, data):
        """Reconstruct from the posterior mean."""
        return self.reconstruction(data)


def devices():
    """Return the names of the devices that the backend sees."""
    return [device.name for device in tf.config.list_physical_devices()]
