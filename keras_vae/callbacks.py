"""Callbacks for `fit`: those that training needs, and those that draw or examine."""

from __future__ import annotations

import io
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_vae import arguments, doctor, figures
from keras_vae.event_files import EventFile
from keras_vae.models.capabilities import Bounds
from keras_vae.storage.files import remove_if_empty, write_atomically
from keras_vae.training.callbacks import (
    CountEpochs,
    ProgressLines,
    ScheduledKLWeight,
    StopOnSkippedUpdates,
    looks_at_batches,
)
from keras_vae.training.checkpoint import Checkpoint, Interrupted
from keras_vae.type_aliases import Conditions, Examples, PathLike

__all__ = [
    "Checkpoint",
    "CountEpochs",
    "Doctor",
    "Interrupted",
    "ProgressLines",
    "SampleGif",
    "ScheduledKLWeight",
    "StopOnSkippedUpdates",
    "TensorBoardLog",
    "looks_at_batches",
]

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

    def __init__(
        self,
        conditions: Conditions | int | None = None,
        inputs: Examples | None = None,
        columns: int | None = None,
        seed: int = 0,
    ) -> None:
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

    def picture(self) -> NDArray[np.uint8]:
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

    Example:

    >>> import keras_vae
    >>> import pathlib
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> gif = keras_vae.callbacks.SampleGif("training.gif", conditions=4)
    >>> x = np.zeros((16, 4, 4, 1), "float32")
    >>> history = vae.fit(x, callbacks=[gif], verbose=0)
    >>> pathlib.Path("training.gif").read_bytes()[:3]
    b'GIF'

    See also:
        `TensorBoardLog`.
    """

    def __init__(
        self,
        path: PathLike,
        conditions: Conditions | int | None = None,
        inputs: Examples | None = None,
        columns: int | None = None,
        seed: int = 0,
        milliseconds: int = 250,
    ) -> None:
        super().__init__(conditions, inputs, columns, seed)
        self.path = pathlib.Path(path)
        self.frames = self.path.with_name(f"{self.path.stem}.frames")
        self.milliseconds = milliseconds

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.begun = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.begun:
            self.frames.mkdir(parents=True, exist_ok=True)
            for path in self._paths():
                if int(path.stem) > epoch:  # of a training that went another way
                    path.unlink()
        self.begun = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        frame = figures.captioned(self.picture(), f"epoch {epoch + 1}")
        buffer = io.BytesIO()
        np.save(buffer, frame)
        write_atomically(self.frames / f"{epoch + 1:06d}.npy", buffer.getvalue())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
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

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> log = keras_vae.callbacks.TensorBoardLog("logs", conditions=4)
    >>> x = np.zeros((16, 4, 4, 1), "float32")
    >>> vae.fit(x, callbacks=[log], verbose=0).epoch
    [0]

    See also:
        `SampleGif`.
    """

    def __init__(
        self,
        folder: PathLike,
        conditions: Conditions | int | None = None,
        inputs: Examples | None = None,
        columns: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(conditions, inputs, columns, seed)
        self.folder = pathlib.Path(folder)
        self.files = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.files = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
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

    >>> import keras_vae
    >>> import numpy as np
    >>> encoder = keras_vae.networks.DenseEncoder(2, hidden_units=(8,))
    >>> decoder = keras_vae.networks.DenseDecoder((4, 4, 1), hidden_units=(8,))
    >>> vae = keras_vae.VAE(encoder, decoder)
    >>> vae.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 4, 4, 1), "float32")
    >>> said = []
    >>> watch = keras_vae.callbacks.Doctor(x[:48], x[48:], say=said.append)
    >>> history = vae.fit(x[:48], callbacks=[watch], verbose=0)
    >>> len(said) == len(watch.findings)
    True

    See also:
        `doctor.examine`, after training.
    """

    def __init__(
        self,
        train: Examples,
        test: Examples | None = None,
        interval: int = 5,
        examples: int = 1000,
        say: Callable[[str], Any] = print,
    ) -> None:
        super().__init__()
        self.train = train
        self.test = test
        self.interval = arguments.whole(interval, "interval")
        self.examples = arguments.whole(examples, "examples")
        self.say = say
        self.findings = []
        self.said = set()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.epochs = 0
        self.history = {}
        self.said = set()
        self.findings = doctor.examine_before(
            self.model, self.train, self.params["epochs"], self.examples
        )
        self._say(self.findings)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
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

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.findings, _ = doctor.examine(
            self.model, self.train, self.test, self.epochs, self.examples, history=self.history
        )
        self._say(self.findings)

    def _say(self, findings):
        for finding in findings:
            if finding.name not in self.said:
                self.said.add(finding.name)
                self.say(f"Doctor: {finding}")
