"""A training that goes on to the last bit after it was interrupted."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_vae import arguments
from keras_vae.storage import checkpoints
from keras_vae.storage.files import locked, remove_if_empty
from keras_vae.training import settings
from keras_vae.type_aliases import PathLike


class Interrupted(KeyboardInterrupt):
    """Raised by `fit` when it was asked to stop and has saved what is needed to go on.

    Example:

    >>> import keras_vae
    >>> try:
    ...     raise keras_vae.callbacks.Interrupted("asked to stop after epoch 3")
    ... except keras_vae.callbacks.Interrupted as reason:
    ...     print(reason)
    asked to stop after epoch 3

    See also:
        `Checkpoint`.
    """


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

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> checkpoint = keras_vae.callbacks.Checkpoint("checkpoints")
    >>> x = np.zeros((16, 4, 4, 1), "float32")
    >>> vae.fit(x, epochs=2, callbacks=[checkpoint], verbose=0).epoch
    [0, 1]

    See also:
        `Interrupted`, which `fit` raises when it is asked to stop.
    """

    def __init__(self, folder: PathLike, every: int | None = None, delete: bool = True) -> None:
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.every = None if every is None else arguments.whole(every, "every")
        self.delete = delete
        self.history = {}
        self.first = {}
        self.state = None
        self.signal = None

    @contextlib.contextmanager
    def guarding(self, model: Any, batches: Any) -> Iterator[tuple[int, int]]:
        """Hold the folder and listen for signals while `fit` runs; yield where it is to begin.

        Args:
            model: The model, compiled.
            batches: Batches of arrays in an order that can be repeated, or None.

        Yields:
            Tuple of ints: the epoch, and its steps that are behind.
        """
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

    def reload(self) -> None:
        """Go on from what was saved last: Keras may have put averages in the weights' place."""
        self._restore(checkpoints.newest(self.folder).arrays)

    def complete(self, history: Any) -> None:
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

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
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

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        self.behind = self.saved = 0
        # At the start of an epoch it stays what `on_train_begin` restored, but for what other
        # callbacks have set since, such as its learning rate; within one the metrics, which were
        # reset, are those of the steps behind.
        if self.state and self.state.step:
            self.behind = self.saved = self.state.step
            self._restore(self.state.arrays)
        self.state = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # After several steps at once Keras gives the number of the last that there could have been.
        done = self.behind + batch + 1
        if done >= self.steps:  # the epoch's end saves
            return
        if self.signal or (self.every and done - self.saved >= self.every):
            self._save(self.epoch, done)
            self.saved = done
        self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
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
        last = settings.of_model(self.model)
        state = checkpoints.State(epoch, step, self.history, arrays, self.first, last)
        checkpoints.write(self.folder, state)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.ended = True
        if self.delete:
            checkpoints.delete(self.folder)
