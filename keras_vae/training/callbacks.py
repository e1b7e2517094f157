"""Callbacks that training itself needs, and adds."""

from __future__ import annotations

import math
import time
from typing import Any

import keras

from keras_vae import arguments, progress
from keras_vae.schedules import Schedule
from keras_vae.training.checkpoint import Checkpoint


def looks_at_batches(callback: Any) -> bool:
    """Whether a callback wants to be called after every batch, as far as one can tell.

    Keras' bar and history, savers that save by epoch, and our own are content with every few.

    Example:

    >>> import keras_vae
    >>> import keras
    >>> callback = keras.callbacks.LambdaCallback(on_train_batch_end=print)
    >>> keras_vae.callbacks.looks_at_batches(callback)
    True
    """
    kinds = keras.callbacks.History | keras.callbacks.ProgbarLogger
    if isinstance(callback, Checkpoint | ProgressLines | StopOnSkippedUpdates | kinds):
        return False
    if isinstance(callback, keras.callbacks.ModelCheckpoint | keras.callbacks.BackupAndRestore):
        return callback.save_freq != "epoch"
    base = keras.callbacks.Callback
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(base, name)
        for name in names
    )


class ProgressLines(keras.callbacks.Callback):
    """Print a line every few seconds of an epoch, for where Keras' bar is not: a file or a pipe.

    With `fit(verbose=2)`, which prints a line at the end of each epoch.

    Args:
        seconds: Float, at least 0. Between two lines.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> lines = keras_vae.callbacks.ProgressLines(seconds=10)
    >>> x = np.zeros((16, 4, 4, 1), "float32")
    >>> vae.fit(x, callbacks=[lines], verbose=0).epoch
    [0]
    """

    def __init__(self, seconds: float = progress.SECONDS) -> None:
        super().__init__()
        self.seconds = arguments.not_negative(seconds, "seconds")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        self.last = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now, steps = time.monotonic(), self.params.get("steps")
        if now - self.last < self.seconds or batch + 1 >= (steps or math.inf):
            return
        self.last = now
        of_all = f" of {steps}" if steps else ""
        loss = (logs or {}).get("loss")
        so_far = "" if loss is None else f", loss so far {float(loss):.2f}"
        print(f"Epoch {self.epoch + 1}: step {batch + 1}{of_all}{so_far}", flush=True)


class StopOnSkippedUpdates(keras.callbacks.Callback):
    """Stop training with an error when update after update is skipped.

    A train step whose gradient or loss is not finite leaves the weights as they are. A few such
    steps are harmless (mixed precision finds its loss scale that way); a run of them means that
    nothing is learnt any more. `fit` adds this callback unless one is passed.

    Args:
        limit: Int. Length of the run, in steps, that stops training.
        interval: Int. Steps between two looks at the counter; a look waits for the device.

    Raises:
        FloatingPointError: In `fit`, after the run.

    Example:

    >>> import keras_vae
    >>> keras_vae.callbacks.StopOnSkippedUpdates(limit=100).limit
    100
    """

    def __init__(self, limit: int = 20, interval: int = 10) -> None:
        super().__init__()
        self.limit = arguments.whole(limit, "limit")
        self.interval = arguments.whole(interval, "interval")
        self.run = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps = 0
        # Not 0 in the rest of an epoch that was interrupted.
        skipped = self.model.skipped_updates.result()
        self.skipped = int(keras.ops.convert_to_numpy(skipped))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # After several steps at once Keras gives the number of the last that there could have been.
        done = min(batch + 1, self.params.get("steps") or batch + 1)
        if done - self.steps >= self.interval:
            self._look(done, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._look(None, logs)

    def _look(self, steps, logs):
        skipped = int(logs["skipped_updates"])
        new_skipped = skipped - self.skipped
        new_steps = new_skipped if steps is None else steps - self.steps
        if new_skipped and new_skipped >= new_steps:
            self.run += new_skipped
        elif steps is not None or new_skipped:
            self.run = 0
        self.skipped = skipped
        self.steps = self.steps if steps is None else steps
        if self.run >= self.limit:
            raise FloatingPointError(
                f"The gradient must be finite, but the last {self.run} updates were skipped "
                "because it was not. Check the data for NaN and for values outside the "
                "likelihood's range, or lower the learning rate."
            )


class ScheduledKLWeight(keras.callbacks.Callback):
    """Set a VAE's `kl_weight` at the start of every epoch, also after a resumed run's jump ahead.

    What counts is how many epochs the model has been trained for, in this `fit` and before, or
    Keras' number of the epoch where that is larger, as with `initial_epoch`. `fit` adds this
    callback where the model has a schedule.

    Args:
        schedule: Object of `keras_vae.schedules`.

    Example:

    >>> import keras_vae
    >>> warm_up = keras_vae.schedules.LinearWarmup(epochs=5)
    >>> keras_vae.callbacks.ScheduledKLWeight(warm_up).schedule(4)
    1.0

    See also:
        `VAE`, whose `kl_weight` may be a schedule: then `fit` adds it.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.kl_weight.assign(self.schedule(_epochs_behind(self.model, epoch)))


class CountEpochs(keras.callbacks.Callback):
    """Count in a VAE with a schedule how many epochs it has been trained for.

    `fit` adds this callback before all others, which may save what it counts.

    Example:

    >>> import keras_vae
    >>> import keras
    >>> isinstance(keras_vae.callbacks.CountEpochs(), keras.callbacks.Callback)
    True

    See also:
        `ScheduledKLWeight`; `fit` adds both.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.model.epochs_trained is not None:
            self.model.epochs_trained.assign(_epochs_behind(self.model, epoch) + 1)


def _epochs_behind(model, epoch):
    trained = model.epochs_trained
    return epoch if trained is None else max(epoch, int(keras.ops.convert_to_numpy(trained)))
