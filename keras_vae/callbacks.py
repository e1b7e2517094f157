"""Callbacks for `fit`."""

import math
import pathlib
import shutil

import keras
import numpy as np

from keras_vae import figures


def looks_at_batches(callback):
    """Whether a callback wants to be called after every batch, as far as one can tell.

    Keras' bar and history, savers that save by epoch, and our own are content with every few.
    """
    if isinstance(callback, StopOnSkippedUpdates | keras.callbacks.History):
        return False
    if isinstance(callback, keras.callbacks.ModelCheckpoint | keras.callbacks.BackupAndRestore):
        return callback.save_freq != "epoch"
    base = keras.callbacks.Callback
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(base, name)
        for name in names
    )


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
    """

    def __init__(self, limit=20, interval=10):
        super().__init__()
        self.limit = limit
        self.interval = interval
        self.run = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.steps = self.skipped = 0

    def on_train_batch_end(self, batch, logs=None):
        # After several steps at once Keras gives the number of the last that there could have been.
        done = min(batch + 1, self.params.get("steps") or batch + 1)
        if done - self.steps >= self.interval:
            self._look(done, logs)

    def on_epoch_end(self, epoch, logs=None):
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

    `fit` adds this callback where the model has a schedule.

    Args:
        schedule: Object of `keras_vae.schedules`.
    """

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        self.model.kl_weight.assign(self.schedule(epoch))


class SampleGif(keras.callbacks.Callback):
    """Watch a model learn: the same seeds, or the same examples, drawn after every epoch.

    When training ends, the pictures become an animated GIF that loops. Until then they lie in a
    folder beside it, so that a training that was interrupted and goes on has all of them.

    ```python
    model.fit(x, callbacks=[keras_vae.callbacks.SampleGif("training.gif", 64)])
    ```

    Args:
        path: Path of the GIF.
        conditions: What `model.sample` takes: how many samples, or the conditions of each.
        inputs: In place of `conditions`, examples as `fit` takes them: their reconstructions are
            drawn, of a model that cannot sample.
        columns: Optional int, images in a row. Defaults to those of a square.
        seed: Int, for the samples.
        milliseconds: Int. How long an epoch is shown; the last one stays for two seconds.

    Raises:
        ValueError: If not just one of `conditions` and `inputs` is given.
        ImportError: Without Pillow.
    """

    def __init__(self, path, conditions=None, inputs=None, columns=None, seed=0, milliseconds=250):
        super().__init__()
        if (conditions is None) == (inputs is None):
            raise ValueError("`SampleGif` needs either `conditions` to sample by or `inputs`.")
        self.path = pathlib.Path(path)
        self.frames = self.path.with_name(f"{self.path.stem}.frames")
        self.conditions = conditions
        self.inputs = inputs
        self.columns = columns
        self.seed = seed
        self.milliseconds = milliseconds
        self.begun = False

    def on_train_begin(self, logs=None):
        self.begun = False

    def on_epoch_begin(self, epoch, logs=None):
        if not self.begun:
            self.frames.mkdir(parents=True, exist_ok=True)
            for path in self._paths():
                if int(path.stem) > epoch:  # of a training that went another way
                    path.unlink()
        self.begun = True

    def on_epoch_end(self, epoch, logs=None):
        if self.inputs is None:
            images = self.model.sample(self.conditions, seed=self.seed)
        else:
            images = self.model.reconstruct(self.inputs)
        columns = self.columns or math.ceil(math.sqrt(len(images)))
        grid = figures.image_grid(images, columns, self.model.likelihood.data_range)
        np.save(self.frames / f"{epoch + 1:06d}.npy", figures.captioned(grid, f"epoch {epoch + 1}"))

    def on_train_end(self, logs=None):
        from keras_vae.runs import write_atomically  # which imports the models, and they this file

        pictures = [np.load(path) for path in self._paths()]
        if pictures:
            pauses = [*[self.milliseconds] * (len(pictures) - 1), 2000]
            write_atomically(self.path, figures.animation(pictures, pauses))
        shutil.rmtree(self.frames, ignore_errors=True)

    def _paths(self):
        return sorted(self.frames.glob("*.npy"))
