"""Callbacks for `fit`."""

import contextlib
import io
import math
import pathlib
import re
import signal
import threading
import time
import weakref

import keras
import numpy as np

from keras_vae import arguments, figures, progress
from keras_vae.event_files import EventFile
from keras_vae.storage import checkpoints
from keras_vae.storage.files import locked, remove_if_empty, write_atomically


def looks_at_batches(callback):
    """Whether a callback wants to be called after every batch, as far as one can tell.

    Keras' bar and history, savers that save by epoch, and our own are content with every few.
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
    """

    def __init__(self, seconds=progress.SECONDS):
        super().__init__()
        self.seconds = arguments.not_negative(seconds, "seconds")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.last = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
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
    """

    def __init__(self, limit=20, interval=10):
        super().__init__()
        self.limit = arguments.whole(limit, "limit")
        self.interval = arguments.whole(interval, "interval")
        self.run = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.steps = 0
        # Not 0 in the rest of an epoch that was interrupted.
        skipped = self.model.skipped_updates_tracker.result()
        self.skipped = int(keras.ops.convert_to_numpy(skipped))

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

    What counts is how many epochs the model has been trained for, in this `fit` and before, or
    Keras' number of the epoch where that is larger, as with `initial_epoch`. `fit` adds this
    callback where the model has a schedule.

    Args:
        schedule: Object of `keras_vae.schedules`.
    """

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        self.model.kl_weight.assign(self.schedule(_epochs_behind(self.model, epoch)))


class CountEpochs(keras.callbacks.Callback):
    """Count in a VAE with a schedule how many epochs it has been trained for.

    `fit` adds this callback before all others, which may save what it counts.
    """

    def on_epoch_end(self, epoch, logs=None):
        if self.model.epochs_trained is not None:
            self.model.epochs_trained.assign(_epochs_behind(self.model, epoch) + 1)


def _epochs_behind(model, epoch):
    trained = model.epochs_trained
    return epoch if trained is None else max(epoch, int(keras.ops.convert_to_numpy(trained)))


class Interrupted(KeyboardInterrupt):
    """Raised by `fit` when it was asked to stop and has saved what is needed to go on."""


# The settings of models when their last `fit` ended: nobody has asked for these anew.
_left = weakref.WeakKeyDictionary()


class Checkpoint(keras.callbacks.Callback):
    """Keep what is needed to go on with an interrupted training, to the last bit.

    After every epoch, and every few steps, the weights, the optimizer, the random states, the
    metrics so far and the history are written to a folder. The same `fit` again goes on from
    there, on the same backend with the very weights that an uninterrupted one would end with,
    whatever ended it: Ctrl-C and SIGTERM finish the step and save, `kill -9` or a power cut lose
    the steps since the last save. Every file is written beside its name, synced, read back and
    renamed; it holds a checksum, and the last two are kept.

    ```python
    checkpoint = keras_vae.callbacks.Checkpoint("runs/mine/checkpoints", every=1000)
    model.fit(x, epochs=50, callbacks=[checkpoint])  # once more, should it be interrupted
    ```

    It goes on as it began: other arguments of the model or its optimizer and arrays of other values
    are refused. More epochs, other callbacks and other validation data are taken as they are.

    Within an epoch only arrays can go on, whose batches come in an order that can be repeated;
    with a dataset or a generator the epoch begins anew. What other callbacks remember, such as the
    patience of `EarlyStopping`, begins anew.

    Args:
        folder: Path of the folder, made if need be. It is for one training at a time. Other files
            in it are left alone.
        every: Optional int. Steps between two saves within an epoch.
        delete: Whether to delete the checkpoints when training has ended as planned, and the
            folder that was made for them, if nothing else is in it.

    Raises:
        ValueError: In `fit`, if the checkpoints are of another model, of other arguments of it or
            of its optimizer, or of other data; or if all are damaged.
        BlockingIOError: In `fit`, if another process trains with the folder.
        FloatingPointError: In `fit`, instead of saving weights that are not finite.
        Interrupted: In `fit`, a `KeyboardInterrupt`, after Ctrl-C or SIGTERM.
    """

    def __init__(self, folder, every=None, delete=True):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.every = None if every is None else arguments.whole(every, "every")
        self.delete = delete
        self.history = {}
        self.first = {}
        self.state = None
        self.signal = None

    @contextlib.contextmanager
    def guarding(self, model, batches):
        """Hold the folder and listen for signals while `fit` runs; yield where it is to begin.

        Args:
            model: The model, compiled.
            batches: Batches of arrays in an order that can be repeated, or None.

        Yields:
            Tuple of ints: the epoch, and its steps that are behind.
        """
        from keras_vae import settings  # which imports models, and they this module

        self.steps = len(batches) if batches else 0
        self.signal = None
        self.ended = False
        is_ours = not self.folder.exists() or bool(checkpoints.paths(self.folder))
        with locked(self.folder), self._listening():
            self.state = checkpoints.newest(self.folder)
            step = self.state.step if self.state else 0
            if step and step >= self.steps:
                raise ValueError(
                    f"{self.folder} holds a training that was interrupted at step {step} of an "
                    f"epoch. Received: data of {self.steps or 'unknown'} steps. Go on with the "
                    "same arrays and batch_size."
                )
            self.first = self._begin_with(model, batches)
            self.history = self.state.history if self.state else {}
            try:
                yield (self.state.epoch, step) if self.state else (0, 0)
            finally:
                _left[model] = settings.of_model(model)
        if self.ended and self.delete and is_ours:
            remove_if_empty(self.folder)

    def _begin_with(self, model, batches):
        """Return the settings that the training began with; raise a ValueError if they changed."""
        from keras_vae import settings  # which imports models, and they this module

        now = settings.of_model(model)
        data = {} if batches is None else {"data": settings.of_data(batches.arrays)}
        steps = {} if batches is None else {"batch_size": str(batches.batch_size)}
        if self.state is None:
            return {**now, **data, **steps}
        first, last = self.state.first, self.state.last
        for name, began, received in settings.changed(first, now, last, _left.get(model, {})):
            raise ValueError(
                f"{self.folder} must hold the training of this very model and optimizer. It began "
                f"with {name}={began}. Received: {name}={received}. Go on with what it began with, "
                "or choose another folder for a training of its own."
            )
        if settings.changed(first, data):
            raise ValueError(
                f"{self.folder} must hold a training on these very data. Received: arrays of other "
                "shapes, types or values. Go on with the same arrays, or choose another folder for "
                "a training of its own."
            )
        for _, began, received in settings.changed(first, steps) if self.state.step else ():
            raise ValueError(
                f"{self.folder} holds a training that was interrupted within an epoch, with "
                f"batch_size={began}. Received: {received}. Go on with the same one."
            )
        return {**now, **data, **steps, **first}

    def reload(self):
        """Go on from what was saved last: Keras may have put averages in the weights' place."""
        self._restore(checkpoints.newest(self.folder).arrays)

    def complete(self, history):
        """Put the epochs before the interruption into the `History` of the rest."""
        history.history = self.history
        history.epoch = list(range(len(next(iter(self.history.values()), []))))

    @contextlib.contextmanager
    def _listening(self):
        if threading.current_thread() is not threading.main_thread():
            yield  # only there can signals be heard
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def listen(number, frame):
            self.signal = number
            signal.signal(number, before[number])  # the second one stops at once

        heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in heard:
            signal.signal(number, listen)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number])

    def on_train_begin(self, logs=None):
        if self.state:
            self._restore(self.state.arrays)

    def _restore(self, arrays):
        variables = self._variables()
        described = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in variables]
        received = [(array.shape, str(array.dtype)) for array in arrays]
        if described != received:
            raise ValueError(
                f"{self.folder} must hold the training of this very model and optimizer. Received: "
                f"{len(received)} variables, {len(described)} in the model, and other shapes or "
                "dtypes. Choose another folder, or delete it to begin anew."
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def _variables(self):
        """Every variable once: of the model, of its metrics and of its optimizers."""
        model = self.model
        both = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
        return list({id(variable): variable for variable in both}.values())

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.behind = self.saved = 0
        # At the start of an epoch it stays what `on_train_begin` restored, but for what other
        # callbacks have set since, such as its learning rate; within one the metrics, which were
        # reset, are those of the steps behind.
        if self.state and self.state.step:
            self.behind = self.saved = self.state.step
            self._restore(self.state.arrays)
        self.state = None

    def on_train_batch_end(self, batch, logs=None):
        # After several steps at once Keras gives the number of the last that there could have been.
        done = self.behind + batch + 1
        if done >= self.steps:  # the epoch's end saves
            return
        if self.signal or (self.every and done - self.saved >= self.every):
            self._save(self.epoch, done)
            self.saved = done
        self._stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._save(epoch + 1, 0)
        self._stop_if_asked()

    def _stop_if_asked(self):
        if self.signal:
            raise Interrupted(f"{signal.Signals(self.signal).name}; the state is saved")

    def _save(self, epoch, step):
        variables = self._variables()
        arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
        weights = {id(weight) for weight in self.model.weights}
        for variable, array in zip(variables, arrays, strict=True):
            if id(variable) in weights and not np.isfinite(array.astype("float32")).all():
                raise FloatingPointError(
                    f"The weights must be finite to be saved, but {variable.path} is not, after "
                    f"epoch {epoch}, step {step}. What was saved before is kept. Lower the "
                    "learning rate."
                )
        from keras_vae import settings  # which imports models, and they this module

        last = settings.of_model(self.model)
        state = checkpoints.State(epoch, step, self.history, arrays, self.first, last)
        checkpoints.write(self.folder, state)

    def on_train_end(self, logs=None):
        self.ended = True
        if self.delete:
            checkpoints.delete(self.folder)


# Pixels of an image in a picture that is made after every epoch: a file of hundreds grows large.
WATCHED_TILE = 32
_FRAME = re.compile(r"\d{6}\.npy")


class _Watch(keras.callbacks.Callback):
    """Draws the same seeds, or the same examples, whenever it is asked.

    Args:
        conditions: What `model.sample` takes: how many samples, or the conditions of each.
        inputs: In place of `conditions`, examples as `fit` takes them: their reconstructions are
            drawn, of a model that cannot sample.
        columns: Optional int, images in a row. Defaults to those of a square.
        seed: Int, for the samples.
    """

    def __init__(self, conditions=None, inputs=None, columns=None, seed=0):
        super().__init__()
        if (conditions is None) == (inputs is None):
            raise ValueError(
                f"`{type(self).__name__}` needs either `conditions` to sample by or `inputs` to "
                "reconstruct. Received: both or none."
            )
        self.conditions = conditions
        self.inputs = inputs
        self.columns = columns
        self.seed = seed

    def picture(self):
        """What the model makes now: uint8 `(height, width)` or `(height, width, 3)`."""
        if self.inputs is None:
            images = self.model.sample(self.conditions, seed=self.seed)
        else:
            images = self.model.reconstruct(self.inputs)
        columns = self.columns or math.ceil(math.sqrt(len(images)))
        data_range = self.model.likelihood.data_range
        return figures.image_grid(images, columns, data_range, smallest=WATCHED_TILE)


class SampleGif(_Watch):
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
        super().__init__(conditions, inputs, columns, seed)
        self.path = pathlib.Path(path)
        self.frames = self.path.with_name(f"{self.path.stem}.frames")
        self.milliseconds = milliseconds

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
        frame = figures.captioned(self.picture(), f"epoch {epoch + 1}")
        buffer = io.BytesIO()
        np.save(buffer, frame)
        write_atomically(self.frames / f"{epoch + 1:06d}.npy", buffer.getvalue())

    def on_train_end(self, logs=None):
        frames = [np.load(path) for path in self._paths()]
        if frames:
            pauses = [*[self.milliseconds] * (len(frames) - 1), 2000]
            write_atomically(self.path, figures.animation(frames, pauses))
        for path in self._paths():
            path.unlink()
        remove_if_empty(self.frames)

    def _paths(self):
        return sorted(p for p in self.frames.glob("*.npy") if _FRAME.fullmatch(p.name))


class TensorBoardLog(_Watch):
    """Write every epoch's scalars, and pictures of the same seeds, for TensorBoard.

    Unlike `keras.callbacks.TensorBoard` it needs no TensorFlow, so it works on every backend:
    scalars of training and validation in the folders `train` and `validation`, where TensorBoard
    shows them in one chart, and a picture in `train`. Look at them with
    `tensorboard --logdir FOLDER`, which is a package of its own.

    Args:
        folder: Path of the folder.
        conditions: As for `SampleGif`.
        inputs: As for `SampleGif`.
        columns: As for `SampleGif`.
        seed: As for `SampleGif`.

    Raises:
        ValueError: If not just one of `conditions` and `inputs` is given.
        ImportError: Without Pillow.
    """

    def __init__(self, folder, conditions=None, inputs=None, columns=None, seed=0):
        super().__init__(conditions, inputs, columns, seed)
        self.folder = pathlib.Path(folder)
        self.files = {}

    def on_train_begin(self, logs=None):
        self.files = {}

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        validation = {n.removeprefix("val_"): v for n, v in logs.items() if n.startswith("val_")}
        training = {name: v for name, v in logs.items() if not name.startswith("val_")}
        for split, values in (("train", training), ("validation", validation)):
            if values:
                values = {name: float(value) for name, value in values.items()}
                self._file(split).scalars(epoch + 1, values)
        picture = self.picture()
        channels = 1 if picture.ndim == 2 else 3
        png = figures.png(picture)
        name = "samples" if self.inputs is None else "reconstructions"
        self._file("train").image(epoch + 1, name, png, *picture.shape[:2], channels)

    def _file(self, split):
        if split not in self.files:
            self.files[split] = EventFile(self.folder / split)
        return self.files[split]


class Doctor(keras.callbacks.Callback):
    """Say in plain words what goes wrong: `keras_vae.doctor` during training.

    It looks at the settings and the data before the first epoch, and at the model after every few
    epochs, once a warm-up of the KL is over, and after the last one. What a model shows once may
    pass, as a collapse in the first epochs; it is said when it is seen twice running, or at the
    end. Every finding is said once. What the curves and the samples say is asked at the end alone:
    of images with one label a small classifier is trained then, which takes some seconds.

    Args:
        train: Arrays as `fit` takes them: the training data, of which the first are looked at.
        test: Optional arrays: data that are not trained on, without which neither overfitting nor
            poor samples are seen.
        interval: Int, at least 1. Epochs between two looks.
        examples: Int. How many of each are looked at.
        say: Function of a line, `print` by default.

    Attributes:
        findings: List of `doctor.Finding`, of the last look.

    Example:

        model.fit(x, epochs=50, callbacks=[keras_vae.callbacks.Doctor(x, x_test)])
    """

    def __init__(self, train, test=None, interval=5, examples=1000, say=print):
        super().__init__()
        self.train = train
        self.test = test
        self.interval = arguments.whole(interval, "interval")
        self.examples = arguments.whole(examples, "examples")
        self.say = say
        self.findings = []
        self.said = set()

    def on_train_begin(self, logs=None):
        from keras_vae import doctor  # which imports models, and they this module

        self.epochs = 0
        self.history = {}
        self.said = set()
        self.findings = doctor.examine_before(
            self.model, self.train, self.params["epochs"], self.examples
        )
        self._say(self.findings)

    def on_epoch_end(self, epoch, logs=None):
        from keras_vae import doctor
        from keras_vae.models.capabilities import Bounds

        self.epochs = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        schedule = self.model.kl_schedule if isinstance(self.model, Bounds) else None
        if self.epochs % self.interval == 0 and (not schedule or schedule.epochs <= self.epochs):
            before = {finding.name for finding in self.findings}
            self.findings = doctor.examine_during(
                self.model, self.train, self.test, self.params["epochs"], self.examples
            )
            self._say([finding for finding in self.findings if finding.name in before])

    def on_train_end(self, logs=None):
        from keras_vae import doctor

        self.findings, _ = doctor.examine(
            self.model, self.train, self.test, self.epochs, self.examples, history=self.history
        )
        self._say(self.findings)

    def _say(self, findings):
        for finding in findings:
            if finding.name not in self.said:
                self.said.add(finding.name)
                self.say(f"Doctor: {finding}")
