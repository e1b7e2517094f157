"""Disks that are full, files that vanish, memory and numbers that run out: nothing is lost."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import data
from keras_vae.__main__ import main
from keras_vae.callbacks import StopOnSkippedUpdates
from keras_vae.exceptions import is_out_of_memory
from keras_vae.storage import checkpoints
from keras_vae.training.batched import in_batches
from tests.conftest import BACKEND, SMALL, fails, make_model, ordinary_on


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def files_end_at(size):
    """No file can grow beyond so many bytes: the kernel refuses, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# A disk that is full


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "{run}"],
        ["figures", "{run}", "--only", "reconstructions"],
        ["sample", "{run}", "--out", "{run}/samples.png"],
    ],
    ids=lambda words: words[0],
)
@ordinary_on("torch")
def test_a_full_disk_leaves_old_results(run, capsys, words):
    words = [word.format(run=run) for word in words]
    assert main(words) == 0
    before = contents(run)
    with files_end_at(100):
        fails(capsys, words, "File too large", status=1)
    assert contents(run) == before


@ordinary_on("torch")
def test_a_full_disk_ends_training_and_loses_nothing(run, archive, tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["train", "--data", archive, "--out", folder, *SMALL]
    with files_end_at(3000):  # enough for config.json, too little for a checkpoint
        fails(capsys, arguments, "File too large", status=1)
    assert {path.name for path in folder.iterdir()} == {"config.json", "checkpoints", "history.csv"}
    assert main([str(word) for word in arguments]) == 0
    a, b = keras_vae.load_model(folder), keras_vae.load_model(run)
    for weight, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), ops.convert_to_numpy(other))


def test_a_full_disk_keeps_the_old_model(images, tmp_path):
    model = make_model()
    model.fit({"x": images[0], "label": images[1]}, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    before = contents(tmp_path)
    with files_end_at(path.stat().st_size // 2), pytest.raises(OSError, match="File too large"):
        model.save(path)
    assert contents(tmp_path) == before


def test_a_disk_that_returns_other_bytes_is_noticed(tmp_path, monkeypatch):
    state = checkpoints.State(0, 1, {}, [np.arange(3)])
    first = checkpoints.write(tmp_path, state)
    real = os.replace

    def replace(source, target):
        os.truncate(source, 20)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="must read as it was written"):
        checkpoints.write(tmp_path, checkpoints.State(0, 2, {}, [np.arange(3)]))
    assert checkpoints.paths(tmp_path) == [first]
    np.testing.assert_array_equal(checkpoints.newest(tmp_path).arrays[0], np.arange(3))


# The clock


@ordinary_on("torch")
def test_a_clock_that_goes_backwards_changes_nothing(run, archive, tmp_path, monkeypatch):
    now = time.time()
    hours = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(hours))
    assert main(["train", "--data", str(archive), "--out", str(tmp_path / "run"), *SMALL]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seconds"] >= 0
    a, b = keras_vae.load_model(tmp_path / "run"), keras_vae.load_model(run)
    for weight, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), ops.convert_to_numpy(other))


@ordinary_on("torch")
def test_a_board_without_a_clock_says_what_to_do(archive, tmp_path, capsys, monkeypatch):
    arguments = ["train", "--data", archive, "--out", tmp_path / "run", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 100.0)  # 1970, as it is until the network is there
        fails(capsys, arguments, "begin in 1980", status=1)
    assert main([*map(str, arguments), "--resume"]) == 0


# Data that vanish


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(40):
            pixels = generator.integers(0, 255, (6, 5)).astype("uint8")
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("fault", ["removed", "truncated", "replaced by another size"])
def test_a_file_that_changes_while_it_streams_is_one_line(pictures, fault):
    from PIL import Image

    dataset = data.load(str(pictures), in_memory=False)
    model = make_model("VAE")

    class Harm(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                path = dataset.x_train.paths[3]
                if fault == "removed":
                    os.remove(path)
                elif fault == "truncated":
                    os.truncate(path, 40)
                else:
                    Image.new("L", (9, 9)).save(path)

    with pytest.raises(data.DataError) as raised:
        model.fit(dataset.x_train, batch_size=8, epochs=3, verbose=0, callbacks=[Harm()])
    assert "\n" not in str(raised.value)
    assert str(dataset.x_train.paths[3]) in str(raised.value)


@pytest.mark.skipif(BACKEND != "torch", reason="the workers are PyTorch's")
def test_a_worker_that_dies_ends_the_training(tmp_path):
    script = """
import os, numpy, torch
from tests.conftest import make_model
class Deadly(torch.utils.data.Dataset):
    def __len__(self):
        return 48
    def __getitem__(self, index):
        if index == 30:
            os._exit(1)
        return (numpy.full((6, 5, 1), 0.5, "float32"),)
if __name__ == "__main__":
    model = make_model("VAE")
    model.fit(torch.utils.data.DataLoader(Deadly(), batch_size=8, num_workers=1), verbose=0)
"""
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode != 0  # with an error of PyTorch's, and without hanging


# Memory


@ordinary_on("torch")
def test_where_memory_runs_out_fewer_rows_are_computed():
    sizes = []

    def double(rows):
        sizes.append(int(rows.shape[0]))
        if sizes[-1] > 3:
            ops.zeros((2**46,), "float32")  # 256 TiB: what the backend itself raises
        return [rows * 2]

    (doubled,) = in_batches(double, np.arange(20.0, dtype="float32"), 10)
    np.testing.assert_array_equal(doubled, 2 * np.arange(20.0))
    assert sizes == [10, 5, 3, 3, 3, 1, 3, 3, 3, 1]


def test_log_likelihoods_are_the_same_where_memory_runs_out(make, images, monkeypatch):
    """What is computed again draws again what it drew, though its streams were used."""
    x, _ = images
    model = make("VAE")
    expected = model.log_likelihood(x, num_samples=[1, 40], batch_size=16, seed=5)
    log_weights, sizes = model._log_weights, []

    def fail(x, *others):
        sizes.append(len(x))
        if sizes[-1] > 5:
            raise MemoryError
        return log_weights(x, *others)

    monkeypatch.setattr(model, "_log_weights", fail)
    monkeypatch.setattr(model, "as_compiled", lambda function: function)
    found = model.log_likelihood(x, num_samples=[1, 40], batch_size=16, seed=5)
    assert max(sizes) == 16
    # Off by 2e-6 at most: sums of other numbers of rows are rounded otherwise.
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_memory_that_never_suffices_is_one_line():
    def fail(rows):
        raise MemoryError

    with pytest.raises(MemoryError, match=r"compute one example. It ran out"):
        in_batches(fail, np.arange(4.0), 4)


def test_a_backend_that_runs_out_of_memory_is_understood():
    with pytest.raises(Exception) as raised:
        keras.ops.convert_to_numpy(keras.ops.zeros((2**45,)) + 1)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("a shape that does not fit"))


@ordinary_on("torch")
def test_a_command_that_runs_out_of_memory_says_so(run, archive, tmp_path, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(keras_vae.ConditionalVAE, "fit", fail)
    arguments = ["train", "--data", archive, "--out", tmp_path / "run", *SMALL]
    fails(capsys, arguments, "Memory ran out", status=1)


# Numbers


class Faulty(keras.utils.PyDataset):
    """Batches of which some, by their number over all epochs, are spoilt."""

    def __init__(self, x, faults, count=12):
        super().__init__()
        self.x, self.faults, self.count = x, faults, count
        self.epoch = 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        x = self.x[index % 4 * 12 : index % 4 * 12 + 12].copy()
        value = self.faults.get(self.epoch * self.count + index)
        if value is not None:
            x[index % 12, 0, 0, 0] = value
        return (x,)

    def begin(self, epoch, logs):
        self.epoch = epoch


@pytest.mark.parametrize(
    "policy",
    [
        "float32",
        pytest.param("mixed_bfloat16", marks=ordinary_on("torch")),
        pytest.param("mixed_float16", marks=ordinary_on("torch")),
    ],
)
def test_spoilt_batches_are_skipped_and_training_recovers(images, tmp_path, policy):
    """NaN, infinity and values out of range at random steps: each is skipped and counted."""
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model("VAE")
    finally:
        keras.config.set_dtype_policy("float32")
    generator = np.random.default_rng(4)
    steps = generator.choice(36, size=9, replace=False)
    faults = dict(zip(steps, [np.nan, np.inf, -np.inf, 1e30, 7.0, -3.0] * 2, strict=False))
    dataset = Faulty(images[0], faults)
    counter = keras.callbacks.LambdaCallback(on_epoch_begin=dataset.begin)
    settings = {"batch_size": None, "epochs": 3, "verbose": 0, "shuffle": False}
    history = model.fit(dataset, callbacks=counter, **settings).history
    skipped = [sum(epoch * 12 <= step < epoch * 12 + 12 for step in faults) for epoch in range(3)]
    if policy != "mixed_float16":  # whose optimizer also skips while it looks for a loss scale
        assert history["skipped_updates"] == skipped
    assert np.isfinite([history[name] for name in ("loss", "gradient_norm")]).all()
    assert history["loss"][-1] < history["loss"][0]
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight).astype("float32")).all()
    model.save(tmp_path / "model.keras")


class Exploding(keras.layers.Layer):
    """Passes a tensor on, with a gradient that is infinite or NaN at some of its calls."""

    def __init__(self, steps, factor, **kwargs):
        super().__init__(**kwargs)
        self.steps, self.factor = steps, factor
        self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return x
        bad = ops.any(ops.equal(self.calls, ops.convert_to_tensor(self.steps, "int32")))
        self.calls.assign_add(1)
        # A value of nearly 0 whose derivative overflows: the loss is finite, the gradient is not.
        tiny = (x - ops.stop_gradient(x)) * ops.where(bad, self.factor, 0.0)
        return x + tiny


@pytest.mark.parametrize("factor", [float("inf"), 3e38])
def test_exploding_gradients_are_skipped_and_counted(images, factor):
    steps = [2, 7, 8]
    networks = keras_vae.networks
    x = keras.Input((6, 5, 1))
    hidden = Exploding(steps, factor)(keras.layers.Dense(8)(keras.layers.Flatten()(x)))
    encoder = keras.Model(x, [keras.layers.Dense(3)(hidden), keras.layers.Dense(3)(hidden)])
    model = keras_vae.VAE(encoder, networks.DenseDecoder((6, 5, 1), (8,)), seed=1)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(images[0], batch_size=8, epochs=2, verbose=0).history
    assert history["skipped_updates"] == [1.0, 2.0]
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all()


@ordinary_on("torch")
def test_weights_that_are_not_finite_are_never_saved(images, tmp_path):
    model = make_model()
    path, folder = tmp_path / "model.keras", tmp_path / "checkpoints"
    model.build()
    model.save(path)
    before = path.read_bytes()

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 8:
                weight = self.model.trainable_variables[0]
                weight.assign(weight * np.inf)

    checkpoint = keras_vae.callbacks.Checkpoint(folder, every=3)
    inputs = {"x": images[0], "label": images[1]}
    with pytest.raises(
        FloatingPointError, match=r"must be finite to be saved, but .* epoch 0, step 9"
    ):
        model.fit(inputs, batch_size=4, verbose=0, callbacks=[Spoil(), checkpoint])
    assert [path.stem[-2:] for path in checkpoints.paths(folder)] == ["06", "03"]
    with pytest.raises(FloatingPointError, match="must be finite to be saved"):
        model.save(path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "model.keras"]
    shutil.rmtree(folder)
    model = make_model()
    model.fit(inputs, batch_size=4, verbose=0, callbacks=[StopOnSkippedUpdates(), checkpoint])
