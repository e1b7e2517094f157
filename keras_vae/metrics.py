"""Metrics that the models report."""

import keras


@keras.saving.register_keras_serializable("keras_vae")
class Average(keras.metrics.Mean):
    """A weighted mean that is NaN, not 0, when nothing was counted.

    An epoch whose every update was skipped must not report a loss of 0.
    """

    def update_state(self, value, weight=1.0):
        """Count a scalar with a weight.

        Args:
            value: float32 scalar.
            weight: float32 scalar.
        """
        self.total.assign_add(value * weight)
        self.count.assign_add(weight)

    def result(self):
        return self.total / self.count
