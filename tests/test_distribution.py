"""Training on two devices measures and learns what training on one does."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.__main__ import main
from keras_vae.commands import launch
from keras_vae.replica import OneOfSeveral
from keras_vae.storage import runs
from tests.conftest import BACKEND, ordinary_on
from tests.several import CASES, data, train

ORDINARY = ("conditional_vae", "optimal", "skips") if BACKEND == "torch" else ("conditional_vae",)
# Replicas of TensorFlow wait for each other, each in a thread of its own.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("TF_NUM_")}


def start(command, cwd=None, **environment):
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={**ENVIRONMENT, "KERAS_BACKEND": BACKEND, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def together(command, cwd=None):
    """Start a command as two processes that know of each other, as `torchrun` does."""
    [port] = free_ports(1)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["OMP_NUM_THREADS"] = "1"
    return [start(command, cwd, RANK=rank, LOCAL_RANK=rank, **shared) for rank in "01"]


def finish(*processes, status=0):
    try:
        said = [process.communicate(timeout=500)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [status] * len(processes), said
    return said


def run_on_two(folder, cases):
    """Run cases on two devices of one process, or in two processes, and return what they found."""
    command = [sys.executable, "-m", "tests.several", str(folder / "found.npz"), *cases]
    finish(*(together(command) if BACKEND == "torch" else [start(command)]))
    return dict(np.load(folder / "found.npz"))


def check(found, case):
    expected = train(case)
    assert {name for name in found if name.startswith(f"{case}/")} == {
        f"{case}/{name}" for name in expected
    }
    for name, values in expected.items():
        tolerance = {"rtol": 1e-5, "atol": 1e-6}
        if name == "weights":
            tolerance = {"rtol": 0, "atol": 1e-4}
        np.testing.assert_allclose(found[f"{case}/{name}"], values, **tolerance, err_msg=name)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_on_two(tmp_path_factory.mktemp("two"), ORDINARY)


@ordinary_on("jax", "torch")
@pytest.mark.parametrize("case", ORDINARY)
def test_two_devices_train_as_one_does(found, case):
    check(found, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(set(CASES) - set(ORDINARY)))
def test_two_devices_train_any_model_as_one_does(tmp_path, case):
    check(run_on_two(tmp_path, [case]), case)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a strategy of TensorFlow")
def test_two_workers_train_as_one_does(tmp_path):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    command = [sys.executable, "-m", "tests.several", str(tmp_path / "found.npz")]
    workers = []
    for index in (0, 1):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(config), "RANK": str(index)}
        workers.append(start([*command, "conditional_vae"], **environment))
    finish(*workers)
    check(dict(np.load(tmp_path / "found.npz")), "conditional_vae")


def test_noise_is_that_of_the_rows_of_the_whole_batch():
    numbers = np.arange(2 * 7 * 3).reshape(14, 3)
    share = OneOfSeveral(3, 4, 7)
    drawn = share.draw(lambda shape: ops.convert_to_tensor(numbers), (6, 3))
    expected = numbers.reshape(2, 7, 3)[:, 4:].reshape(6, 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(drawn), expected)


@pytest.mark.skipif(BACKEND != "torch", reason="other engines need one process")
def test_several_processes_end_as_the_first_that_fails(capfd):
    assert launch.run(2, ["evaluate", "nowhere"]) == 2
    assert capfd.readouterr().err.count("There must be a run folder at nowhere") == 1


@pytest.mark.slow
def test_the_command_line_trains_on_two_devices(tmp_path):
    x, y, _ = data(47)
    np.savez(tmp_path / "tiny.npz", x_train=x, y_train=y, x_test=x[:13], y_test=y[:13])
    options = ["--epochs=2", "--hidden-units=8", "--latent-dim=2", "--batch-size=20"]
    options = ["train", *options, f"--data={tmp_path / 'tiny.npz'}", "--out"]
    command = [sys.executable, "-m", "keras_vae", *options, str(tmp_path / "two"), "--devices", "2"]
    [said] = finish(start(command))
    assert "Next: " in said
    assert main([*options, str(tmp_path / "one")]) == 0
    one, two = (runs.Run(tmp_path / name).history() for name in ("one", "two"))
    assert set(one) == set(two)
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert runs.Run(tmp_path / "two").load_model().built


def test_the_command_line_refuses_what_it_cannot_divide(capsys):
    assert main(["train", "--devices", "2", "--model", "vq_vae"]) == 2
    assert "prior trains on one device" in capsys.readouterr().err


@ordinary_on("jax")
def test_the_command_line_refuses_more_devices_than_there_are():
    command = [sys.executable, "-m", "keras_vae", "train", "--devices", "1000"]
    [found] = finish(start(command), status=2)
    # Below the lines that say what was chosen and what is starting.
    *_, starting, error = found.splitlines()
    assert "starting Keras" in starting
    assert error.startswith("error: --devices must be at most")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other engines have no scope of variables")
def test_what_no_strategy_can_train_is_refused():
    import tensorflow as tf

    x, _, _ = data(8)
    model = CASES["autoencoder"]()
    model.compile("adam")
    optimizer = keras.optimizers.Adam()
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(ValueError, match="must be made under it"):
            model.fit(x, verbose=0)
        with pytest.raises(ValueError, match="optimizer that is to train under a strategy"):
            CASES["autoencoder"]().compile(optimizer)
        averaging = {"use_ema": True, "ema_overwrite_frequency": 2}
        for settings in ({"gradient_accumulation_steps": 2}, averaging):
            with pytest.raises(ValueError, match="must be left out under a strategy"):
                CASES["autoencoder"]().compile(keras.optimizers.Adam(**settings))
        with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
            CASES["autoencoder"]().compile("adam", steps_per_execution=2)
        prior = keras_vae.PixelCNN((2, 2), 4)
    prior.compile()
    with pytest.raises(ValueError, match="trains on one device"):
        prior.fit(np.zeros((4, 2, 2), "int32"), verbose=0)


@ordinary_on("jax")
def test_the_documented_program_runs(tmp_path):
    page = (pathlib.Path(__file__).parents[1] / "docs" / "scale_out.md").read_text("utf-8")
    own = {"jax": "keras.distribution", "tensorflow": "Mirrored", "torch": "torch.distributed"}
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [program] = [text for text in programs if own[BACKEND] in text]
    (tmp_path / "train.py").write_text(program)
    command = [sys.executable, str(tmp_path / "train.py")]
    if BACKEND == "torch":
        finish(*together(command, cwd=tmp_path))
        assert keras_vae.load_model(tmp_path / "model.keras").built
    else:
        flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
        finish(start(command, XLA_FLAGS=flags))
