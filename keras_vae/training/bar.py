"""Keras' progress bar, which ends where an epoch ends."""

import keras


class ProgressBar(keras.callbacks.ProgbarLogger):
    """As Keras' own. That counts a last group of fewer steps as a whole one, 32/23 (3.15.1)."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self._within(batch), logs)

    def on_test_batch_end(self, batch, logs=None):
        super().on_test_batch_end(self._within(batch), logs)

    def on_predict_batch_end(self, batch, logs=None):
        super().on_predict_batch_end(self._within(batch), logs)

    def _within(self, batch):
        return batch if self.target is None else min(batch, self.target - 1)


def with_bar(callbacks):
    """Callbacks as a list that has a progress bar; those of a `fit` in progress as they are."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    callbacks = list(keras.tree.flatten(callbacks or []))
    if not any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks):
        callbacks.append(ProgressBar())
    return callbacks
