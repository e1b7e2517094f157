"""Metrics that the models report."""

import keras


@keras.saving.register_keras_serializable("keras_vae")
class Average(keras.metrics.Mean):
    """A weighted mean that is NaN, not 0, when nothing was counted.

    An epoch whose every update was skipped must not report a loss of 0.
    """

    def result(self):
        return self.total / self.count
