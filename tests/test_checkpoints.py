"""Interrupted trainings: they go on to the last bit, from whatever ended them."""

import json
import os
import random
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

import keras_vae
from keras_vae import callbacks
from keras_vae.storage import checkpoints, files
from keras_vae.training import settings
from tests.conftest import BACKEND, ordinary_on
from tests.test_training import Batches, assert_same_weights

EPOCHS = 3
STEPS = 12  # of an epoch: 48 images by 4


class Stop(keras.callbacks.Callback):
    """End the training after a step, as a power cut would."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations >= self.steps:
            raise RuntimeError("power cut")


class Watcher(keras.callbacks.Callback):
    """Looks at every batch, as `Stop` does, so that steps are taken one by one."""

    def on_train_batch_end(self, batch, logs=None):
        pass


def fit(model, inputs, *more, **kwargs):
    settings = {"batch_size": 4, "epochs": EPOCHS, "verbose": 0, **kwargs}
    return model.fit(inputs, callbacks=[*more, Watcher()], **settings).history


def checkpoint(folder, every=5, **kwargs):
    return callbacks.Checkpoint(folder, every, **kwargs)


@pytest.fixture
def inputs(images):
    return {"x": images[0], "label": images[1]}


@pytest.fixture
def interrupted(make, inputs, tmp_path):
    """A folder of checkpoints of a training that was cut off in its second epoch."""
    folder = tmp_path / "checkpoints"
    with pytest.raises(RuntimeError, match="power cut"):
        fit(make(), inputs, checkpoint(folder), Stop(STEPS + 11))
    names = [path.name for path in checkpoints.paths(folder)]
    assert names == ["00000001-0000000010.state", "00000001-0000000005.state"]
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "at",
    [
        2 * STEPS + 11,
        *[pytest.param(at, marks=ordinary_on("torch")) for at in (7, 10, STEPS, STEPS + 1)],
    ],
)
def test_a_training_goes_on_to_the_last_bit(make, inputs, tmp_path, at):
    folder = tmp_path / "checkpoints"
    whole, first, resumed = (make(seed=None) for _ in range(3))
    settings = {"validation_data": (inputs,)}
    history = fit(whole, inputs, **settings)
    with pytest.raises(RuntimeError):
        fit(first, inputs, checkpoint(folder), Stop(at), **settings)
    resumed.seed_generator.state.assign([123, 0])  # another process draws another default seed
    assert fit(resumed, inputs, checkpoint(folder), **settings) == history
    assert_same_weights(whole, resumed)
    assert not folder.exists()


@pytest.mark.parametrize(
    "name",
    ["GAN", "averages", "many steps at once", *(["traced"] if BACKEND == "torch" else [])],
)
@ordinary_on("torch")
def test_other_trainings_go_on_too(make, inputs, tmp_path, name):
    folder = tmp_path / "checkpoints"

    def new():
        if name == "GAN":
            random.seed(1)
            networks = keras_vae.networks
            discriminator = networks.DenseDiscriminator((8,))
            model = keras_vae.GAN(networks.DenseDecoder((6, 5, 1), (8,)), discriminator, 3, seed=3)
        else:
            model = make(conv=name == "averages")
        optimizer = keras.optimizers.Adam(1e-2, use_ema=name == "averages", ema_momentum=0.9)
        model.compile(optimizer, jit_compile=True if name == "traced" else "auto")
        return model

    data = inputs["x"] if name == "GAN" else inputs
    settings = {"batch_size": 2, "epochs": 2, "verbose": 0}  # 24 steps of an epoch
    whole = new()
    whole.fit(data, **settings)

    class Cut(callbacks.Checkpoint):
        def _save(self, epoch, step):
            super()._save(epoch, step)
            if (epoch, step > 0) == (0, True):
                raise RuntimeError

    with pytest.raises(RuntimeError):
        new().fit(data, callbacks=Cut(folder, 10), **settings)
    resumed = new()
    resumed.fit(data, callbacks=checkpoint(folder, 10), **settings)
    assert_same_weights(whole, resumed)


@ordinary_on("torch")
def test_other_data_go_on_by_the_epoch(make, inputs, tmp_path):
    folder = tmp_path / "checkpoints"
    whole = make()
    data, settings = Batches((inputs,), 4), {"batch_size": None, "shuffle": False}
    history = fit(whole, data, **settings)
    with pytest.raises(RuntimeError):
        fit(make(), data, checkpoint(folder), Stop(STEPS + 8), **settings)
    assert [path.stem for path in checkpoints.paths(folder)] == ["00000001-0000000000"]
    resumed = make()
    assert fit(resumed, data, checkpoint(folder), **settings) == history
    assert_same_weights(whole, resumed)


@ordinary_on("torch")
def test_a_finished_training_ends_at_once(make, inputs, tmp_path):
    model, again = make(), make()
    history = fit(model, inputs, checkpoint(tmp_path, delete=False))
    assert fit(again, inputs, checkpoint(tmp_path)) == history
    assert_same_weights(model, again)


@ordinary_on("torch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [5, STEPS])
def test_a_signal_finishes_the_step_and_saves(make, inputs, tmp_path, number, at):
    class Send(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == at:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    whole, resumed = make(), make()
    with pytest.raises(callbacks.Interrupted):
        fit(make(), inputs, checkpoint(tmp_path, every=None), Send())
    assert signal.getsignal(number) is before
    name = {5: "00000000-0000000005", STEPS: "00000001-0000000000"}[at]
    assert [path.stem for path in checkpoints.paths(tmp_path)] == [name]
    history = fit(whole, inputs)
    assert fit(resumed, inputs, checkpoint(tmp_path)) == history
    assert_same_weights(whole, resumed)


@ordinary_on("torch")
def test_in_another_thread_signals_are_left_alone(make, inputs, tmp_path):
    errors = []

    def train():
        try:
            fit(make(), inputs, checkpoint(tmp_path))
        except BaseException as err:
            errors.append(err)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert errors == []


@ordinary_on("torch")
def test_a_damaged_checkpoint_is_passed_over(make, inputs, interrupted):
    newest = checkpoints.paths(interrupted)[0]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    whole, resumed = make(), make()
    history = fit(whole, inputs)
    with pytest.warns(UserWarning, match=f"passed over: .*{newest.name} is damaged"):
        kept = fit(resumed, inputs, checkpoint(interrupted, delete=False))
    assert kept == history
    assert_same_weights(whole, resumed)
    for path in checkpoints.paths(interrupted):
        path.write_bytes(path.read_bytes()[:-1])
    model, passed = make(), pytest.warns(UserWarning, match="passed over")
    with passed, pytest.raises(ValueError, match="2 damaged ones"):
        fit(model, inputs, checkpoint(interrupted))


def rewritten(path, change):
    """Change the header of a checkpoint, and make its checksum right again."""
    import hashlib

    header, rest = path.read_bytes()[:-32].split(b"\n", 1)
    header = json.loads(header)
    change(header)
    data = json.dumps(header).encode() + b"\n" + rest
    path.write_bytes(data + hashlib.sha256(data).digest())


@ordinary_on("torch")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.update(schema=2), "schema 1. Received: schema 2"),
        (lambda header: header.pop("history"), "must be a checkpoint"),
        (lambda header: header["arrays"].append(["float32", [2**40]]), "ends early"),
        (lambda header: header["arrays"].append(["object", [1]]), "Python objects"),
        (lambda header: header["arrays"].append(["float32", [-1]]), "shape"),
        (lambda header: header["arrays"].append(3), "must be a checkpoint"),
        (lambda header: header["arrays"].append(["nonsense", [1]]), "must be a checkpoint"),
    ],
)
def test_a_checkpoint_that_lies_is_refused(interrupted, change, words):
    path = checkpoints.paths(interrupted)[0]
    rewritten(path, change)
    with pytest.raises(ValueError, match=words):
        checkpoints.read(path)


def test_bfloat16_and_odd_shapes_are_read_as_written(tmp_path):
    import ml_dtypes

    arrays = [np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3), np.zeros((0, 4), "int64")]
    arrays += [np.float32(3.5).reshape(()), np.array([2**63], "uint64")]
    state = checkpoints.State(2, 5, {"loss": [float("nan"), 0.1]}, arrays)
    read = checkpoints.read(checkpoints.write(tmp_path, state))
    assert (read.epoch, read.step) == (2, 5)
    np.testing.assert_array_equal(read.history["loss"], state.history["loss"])
    for a, b in zip(read.arrays, arrays, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


@ordinary_on("torch")
def test_the_checkpoints_of_another_training_are_refused(make, inputs, interrupted):
    before = names_in(interrupted)
    with pytest.raises(ValueError, match="this very model and optimizer"):
        fit(make("VAE"), inputs["x"], checkpoint(interrupted))
    with pytest.raises(ValueError, match=r"step 10 of an epoch. Received: data of 6 steps"):
        fit(make(), inputs, checkpoint(interrupted), batch_size=8)
    with pytest.raises(ValueError, match="data of unknown steps"):
        fit(make(), Batches((inputs,), 4), checkpoint(interrupted), batch_size=None)
    assert names_in(interrupted) == before


def compiled_with(optimizer, *arguments):
    return lambda model: model.compile(optimizer(*arguments))


ADAM, COSINE = keras.optimizers.Adam, keras.optimizers.schedules.CosineDecay
CHANGED = {
    "learning rate": (compiled_with(ADAM, 1e-5), "learning_rate=0.0"),
    "schedule": (compiled_with(ADAM, COSINE(1e-2, 9)), "with learning_rate=0.0"),
    "optimizer": (compiled_with(keras.optimizers.Adamax, 1e-2), 'optimizer="Adam"'),
    "momentum": (compiled_with(ADAM, 1e-2, 0.5), "beta_1=0.9"),
    "KL": ({"kl_weight": 4.0}, "kl_weight=1.0. Received: kl_weight=4.0"),
    "seed": ({"seed": 4}, "seed=3. Received: seed=4"),
}


@ordinary_on("torch")
@pytest.mark.parametrize(("change", "words"), CHANGED.values(), ids=CHANGED)
def test_other_settings_are_refused(make, inputs, interrupted, change, words):
    before = {path: path.read_bytes() for path in interrupted.iterdir()}
    model = make(**change) if isinstance(change, dict) else make()
    if callable(change):
        change(model)
    with pytest.raises(ValueError, match="or choose another folder for a training of") as raised:
        fit(model, inputs, checkpoint(interrupted))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in interrupted.iterdir()} == before


@ordinary_on("torch")
@pytest.mark.parametrize("name", ["a value", "order", "label", "type", "weights"])
def test_other_data_are_refused(make, inputs, interrupted, name):
    x, label = inputs["x"].copy(), inputs["label"].copy()
    kwargs = {}
    if name == "a value":
        x[33, 2, 2, 0] = np.nextafter(x[33, 2, 2, 0], 1)
    elif name == "order":
        x[[3, 4]] = x[[4, 3]]
    elif name == "label":
        label[47] = 0
    elif name == "type":
        x = x.astype("float64")
    else:
        kwargs["sample_weight"] = np.full(48, 2.0, "float32")
    names = names_in(interrupted)
    given = {"x": x, "label": label}
    with pytest.raises(ValueError, match=r"on these very data. Received: arrays of other"):
        fit(make(), given, checkpoint(interrupted), **kwargs)
    assert names_in(interrupted) == names


@ordinary_on("torch")
def test_batches_of_another_size_that_are_as_many_are_refused(make, images, tmp_path):
    x = images[0][:47]
    with pytest.raises(RuntimeError):
        fit(make("VAE"), x, checkpoint(tmp_path, 1), Stop(2), batch_size=16)
    with pytest.raises(ValueError, match=r"with batch_size=16. Received: 20"):
        fit(make("VAE"), x, checkpoint(tmp_path, 1), batch_size=20)
    fit(make("VAE"), x, checkpoint(tmp_path, 1), batch_size=16)


@ordinary_on("torch")
def test_a_learning_rate_that_a_callback_changed_is_kept(make, inputs, tmp_path):
    """In a new process with what was asked first, and in the same one with what it has become."""

    class Lower(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 1e-2 / (1 + epoch)

    whole, first, second = make(), make(), make()
    fit(whole, inputs, Lower())
    for model in (first, first, second):  # the second time is no new training
        folder = tmp_path / str(id(model))
        stop = [Stop(2 * STEPS + 5)] if model.optimizer.iterations < 2 * STEPS else []
        try:
            fit(model, inputs, checkpoint(folder), Lower(), *stop)
        except RuntimeError:
            assert stop
    again = make()
    fit(again, inputs, checkpoint(tmp_path / str(id(second))), Lower())
    assert_same_weights(whole, first)
    assert_same_weights(whole, again)


@ordinary_on("torch")
@pytest.mark.parametrize("at", [STEPS + 3, STEPS + 8])  # from the epoch's start, and within it
def test_what_callbacks_set_at_the_start_of_an_epoch_is_kept(make, inputs, tmp_path, at):
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-2 / (1 + epoch))

    def new():
        return make(kl_weight=keras_vae.schedules.LinearWarmup(3))

    whole, resumed = new(), new()
    history = fit(whole, inputs, rates)
    with pytest.raises(RuntimeError):
        fit(new(), inputs, rates, checkpoint(tmp_path), Stop(at))
    assert fit(resumed, inputs, rates, checkpoint(tmp_path)) == history
    assert_same_weights(whole, resumed)


@ordinary_on("torch")
def test_early_checkpoints_say_nothing_of_settings(make, inputs, interrupted):
    for path in checkpoints.paths(interrupted):
        rewritten(path, lambda header: header.pop("settings"))
    whole, resumed = make(), make()
    fit(whole, inputs)
    fit(resumed, inputs, checkpoint(interrupted))
    assert_same_weights(whole, resumed)


def test_a_functional_model_has_the_same_settings_when_it_is_built_again():
    def new(units=4):
        x = keras.Input((6, 5, 1))
        h = keras.layers.Dense(units, "relu")(keras.layers.Flatten()(x))
        encoder = keras.Model(x, [keras.layers.Dense(3)(h) for _ in range(2)])
        model = keras_vae.VAE(encoder, keras_vae.networks.DenseDecoder((6, 5, 1), (8,)))
        model.compile(keras.optimizers.Adam(1e-3))
        return settings.of_model(model)

    first, second, other = new(), new(), new(5)
    assert settings.changed(first, second) == []
    assert [name for name, _, _ in settings.changed(first, other)] == ["encoder"]


def test_data_in_files_are_sampled(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (600, 4, 4, 1)).astype("uint8")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    again = np.load(tmp_path / "x.npy", mmap_mode="c")
    assert settings.of_data((mapped, x, None)) == settings.of_data((again, x, None))
    again[599] += 1
    assert settings.of_data((mapped,)) != settings.of_data((again,))
    assert settings.of_data((x,)) == settings.of_data((np.asfortranarray(x),))
    assert settings.of_data((x,)) != settings.of_data((x[:599],))


@ordinary_on("torch")
def test_a_second_training_in_the_folder_is_refused(make, inputs, interrupted):
    before = names_in(interrupted)
    with files.locked(interrupted):
        with pytest.raises(BlockingIOError, match="One process at a time may write into"):
            fit(make(), inputs, checkpoint(interrupted))
        assert names_in(interrupted) == [files.LOCK, *before]
    assert names_in(interrupted) == before


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`every`"):
        callbacks.Checkpoint("x", every=0)


@ordinary_on("torch")
def test_a_training_survives_being_killed():
    # Apart, because a process that has computed cannot be forked.
    command = [sys.executable, "-m", "tests.kills", "--count", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 trainings ended with the weights" in done.stdout
