"""Kill a training again and again, and see that it ends with the weights of one left in peace.

    KERAS_BACKEND=jax python -m tests.kills --count 70

Half of the kills hit the process while it saves: after a random one of the writes, syncs, renames
and deletions of a save, the write being only half done. Of the others most come at a random moment
as SIGKILL, some as SIGTERM, which saves first. What was killed is started anew, in a process of its
own, until its training ends; then the next training begins.
"""

import argparse
import collections
import contextlib
import io
import multiprocessing
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

import keras
import numpy as np

import keras_vae
from keras_vae import callbacks
from keras_vae.storage import checkpoints, files
from tests.several import without_tensorflow

EPOCHS, EXAMPLES, BATCH_SIZE, EVERY = 6, 160, 4, 4
STEPS = EPOCHS * EXAMPLES // BATCH_SIZE
SECONDS = 600


def train(folder, out, plan, progress):
    """Train in this process, which dies by the plan, and write the weights.

    Args:
        folder: Path of the checkpoints.
        out: Path of the weights, written when training has ended.
        plan: None, or what saving does that kills, and which occurrence of it.
        progress: Shared int: the steps done.
    """
    if plan is not None:
        _die_while_saving(*plan)
    random.seed(3)
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(EXAMPLES, 6, 5, 1)).astype("float32")
    label = np.arange(EXAMPLES) % 3
    networks = keras_vae.networks
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(3, (32,)),
        networks.DenseDecoder((6, 5, 1), (32,)),
        condition={"label": keras_vae.Categorical(3)},
        seed=1,
    )
    model.compile(keras.optimizers.Adam(1e-2), steps_per_execution="auto")

    class Progress(callbacks.Checkpoint):
        def on_train_batch_end(self, batch, logs=None):
            progress.value = int(self.epoch * self.steps + self.behind + batch + 1)
            super().on_train_batch_end(batch, logs)

    inputs = {"x": x, "label": label}
    model.fit(
        inputs,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        verbose=0,
        validation_data=({name: values[:64] for name, values in inputs.items()},),
        callbacks=[Progress(folder, every=EVERY, delete=False)],
    )
    values = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    history = [np.array(values) for _, values in sorted(model.history.history.items())]
    np.savez(out, *values, *history)


def _die_while_saving(event, count):
    """End this process by SIGKILL at the given occurrence of something that saving does."""

    def countdown(left):
        while left > 1:
            left -= 1
            yield False
        yield True

    due = countdown(count)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    class HalfWritten(io.FileIO):
        def write(self, data):
            if next(due):
                super().write(data[: len(data) // 2])
                die()
            return super().write(data)

    def deadly(function):
        def call(*args, **kwargs):
            if next(due):
                die()
            return function(*args, **kwargs)

        return call

    if event == "write":
        files.open = lambda path, mode: (HalfWritten if mode == "wb" else open)(path, mode)
    else:
        setattr(os, event, deadly(getattr(os, event)))


def start(*arguments):
    """A process of its own, which has imported all that this one has."""
    process = multiprocessing.get_context("fork").Process(target=_quiet, args=arguments)
    process.start()
    return process


def _quiet(*arguments):
    with contextlib.suppress(KeyboardInterrupt):  # of SIGTERM
        train(*arguments)
        return
    os._exit(1)


def wait(process, until=lambda: False):
    """Wait until a process has ended or something holds, at most `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    while process.is_alive() and not until():
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"A training must end within {SECONDS} s.")
        time.sleep(2e-4)


def kill(kind, chosen, folder, out, progress):
    """Start or go on with a training, and kill it; return whether it was before its end.

    Args:
        kind: "save", "kill" or "term".
        chosen: `random.Random`.
        folder, out, progress: As for `train`.
    """
    if kind == "save":
        event = chosen.choice(["write", "write", "fsync", "replace", "unlink"])
        count = chosen.randint(1, 150 if event == "write" else 5)
        process = start(folder, out, (event, count), progress)
        wait(process)
    else:
        target = _behind(folder) + chosen.randint(1, STEPS // 5)
        progress.value = 0
        process = start(folder, out, None, progress)
        wait(process, lambda: progress.value >= target)
        time.sleep(chosen.random() * 1e-3)
        process.kill() if kind == "kill" else process.terminate()
        wait(process)
    process.join()
    if process.exitcode == 1 and kind != "term":
        raise RuntimeError("A training that was killed must go on. It raised an error.")
    return process.exitcode != 0


def _behind(folder):
    """The steps that the last checkpoint of a folder has behind it."""
    last = checkpoints.paths(folder)[:1]
    epoch, step = map(int, last[0].stem.split("-")) if last else (0, 0)
    return epoch * STEPS // EPOCHS + step


def same(path, other):
    with np.load(path) as a, np.load(other) as b:
        return a.files == b.files and all(np.array_equal(a[name], b[name]) for name in a.files)


def run(count, seed=0, say=print):
    """Kill trainings so many times; return how many trainings ended as they should, of how many.

    Args:
        count: Int. Kills; half of them during a save.
        seed: Int.
        say: Function of a line.
    """
    chosen = random.Random(seed)
    progress = multiprocessing.get_context("fork").Value("q", 0)
    kinds = ["save"] * (count - count // 2) + ["kill"] * (count // 2 - count // 8)
    kinds += ["term"] * (count // 8)
    chosen.shuffle(kinds)
    done = collections.Counter()
    good = 0
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        whole = temporary / "whole.npz"
        process = start(temporary / "whole", whole, None, progress)
        process.join(SECONDS)
        trainings = 0
        while kinds:
            trainings += 1
            folder, out = temporary / str(trainings), temporary / f"{trainings}.npz"
            while kinds and not out.exists():
                if kill(kinds[-1], chosen, folder, out, progress):
                    done[kinds.pop()] += 1
                    say(f"{sum(done.values())} of {count} kills, training {trainings}")
            if not out.exists():
                process = start(folder, out, None, progress)
                process.join(SECONDS)
            good += same(whole, out)
        say(
            f"{sum(done.values())} kills ({done['save']} in a save, {done['kill']} at any moment, "
            f"{done['term']} SIGTERM); {good} of {trainings} trainings ended with the weights and "
            f"history of the one left in peace, {keras.backend.backend()}"
        )
    return good, trainings


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=70, help="kills to survive")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    without_tensorflow()
    good, trainings = run(args.count, args.seed)
    return 0 if good == trainings else 1


if __name__ == "__main__":
    sys.exit(main())
