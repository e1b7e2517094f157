"""Which labels occur in training data: where some are *unknown*, every class must."""

import keras
import numpy as np
from keras import ops

from keras_vae import replica
from keras_vae.conditions.wording import is_unknown
from keras_vae.training.inputs import as_given


def check_occurrence(model, inputs):
    """Check of arrays to train on that every class occurs where some labels are *unknown*.

    What says so by None or NaN, or has names, means it, and so does one label for all.
    """
    conditions = inputs if isinstance(inputs, dict) else {}
    for name, kind in model.condition.items():
        values = conditions[name]
        if kind.kind != "categorical" or kind.is_single(values):
            continue
        values = as_given(values)
        if _has_words(values):
            continue
        labels = kind.as_array(values, name)
        kind.check_occurrence(np.bincount(labels, minlength=kind.num_classes + 1) > 0, name)


def _has_words(values):
    """Whether *unknown* is not said by its index alone."""
    if getattr(values, "dtype", None) is not None and values.dtype.kind in "iub":
        return False
    return any(isinstance(v, str) or is_unknown(v) for v in np.ravel(values).tolist())


class CheckOccurrence(keras.callbacks.Callback):
    """As `check_occurrence`, of what the first epoch of a dataset has shown."""

    def on_train_begin(self, logs=None):
        self.is_checked = False
        for tracker in self.model.occurrences.values():
            tracker.forget()

    def on_epoch_end(self, epoch, logs=None):
        for name, tracker in self.model.occurrences.items():
            if not self.is_checked:
                self.model.condition[name].check_occurrence(tracker.occurs(), name)
        self.is_checked = True


class Occurrence(keras.metrics.Metric):
    """Which labels have occurred. That is no number to report: its result is empty.

    Args:
        size: Int. Number of classes, *unknown* included.
    """

    def __init__(self, size, name="occurrence", **kwargs):
        super().__init__(name=name, **kwargs)
        self.seen = self.add_variable((size,), "zeros", name="seen")

    def update_state(self, occurrence):
        """Add what occurs in a batch, float32 `(size,)`, above 0 for the labels that do."""
        [seen] = replica.current().sum([occurrence])  # on all devices
        self.seen.assign(ops.maximum(self.seen, seen))

    def result(self):
        return {}

    def reset_state(self):
        """Nothing: a validation, which resets all metrics, comes before the end of an epoch."""

    def forget(self):
        """Begin anew."""
        self.seen.assign(ops.zeros(self.seen.shape))

    def occurs(self):
        """Bool array `(size,)`."""
        return ops.convert_to_numpy(self.seen) > 0
