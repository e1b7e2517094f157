"""What says how far a long part has come, where no bar is drawn."""

import numpy as np
import pytest

from keras_vae import callbacks, progress


def test_a_long_part_says_its_share_and_the_time_left(monkeypatch, capsys):
    clock = iter([0, 4, 11, 15, 40])  # before, and after each
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.bar("Counting")(range(10, 50, 10))) == [10, 20, 30, 40]
    assert capsys.readouterr().out == "Counting: 50 %, about 11 s left\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s"), (42.4, "about 42 s"), (99.9, "about 100 s"), (840, "about 14 minutes")],
)
def test_times_are_said_in_words(seconds, words):
    assert progress.about(seconds) == words


def test_lines_come_within_an_epoch_and_steps_are_still_taken_at_once(make, images, capsys):
    model, x = make(), {"x": images[0], "label": images[1]}
    # 48 images: TensorFlow and JAX take 16 of 24 steps at once.
    model.fit(x, batch_size=2, epochs=2, verbose=0, callbacks=[callbacks.ProgressLines(0)])
    lines = capsys.readouterr().out.splitlines()
    steps = 16 if model.groups_steps else 1
    assert model.steps_per_execution == steps
    assert len(lines) == 2 * (24 - 1) // steps
    assert lines[0].startswith(f"Epoch 1: step {steps} of 24, loss so far ")
    assert lines[-1].startswith("Epoch 2: step ")
    assert np.isfinite(float(lines[-1].split()[-1]))


def test_no_line_comes_before_its_time(make, images, capsys):
    model = make("VAE")
    model.fit(images[0], batch_size=24, verbose=0, callbacks=[callbacks.ProgressLines()])
    assert capsys.readouterr().out == ""
