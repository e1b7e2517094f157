"""Schedules of the KL's weight: their values, in training, after a resumed run, and saved."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.models.generative import STEPS_AT_ONCE
from keras_vae.schedules import Constant, CosineWarmup, Cyclical, LinearWarmup
from tests.conftest import BACKEND, ordinary_on
from tests.test_training import assert_same_weights

pytestmark = ordinary_on("torch")

VALUES = [
    (Constant(0.3), [0.3, 0.3, 0.3]),
    (LinearWarmup(4), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
    (LinearWarmup(1), [1.0, 1.0]),
    (LinearWarmup(2, start=3.0, end=1.0), [2.0, 1.0, 1.0]),
    (CosineWarmup(4), [(1 - np.sqrt(0.5)) / 2, 0.5, (1 + np.sqrt(0.5)) / 2, 1.0, 1.0]),
    (Cyclical(4), [0.5, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.5]),
    (Cyclical(3, ratio=1.0, end=0.6), [0.2, 0.4, 0.6, 0.2, 0.4, 0.6]),
]


@pytest.mark.parametrize(("schedule", "values"), VALUES)
def test_values(schedule, values):
    np.testing.assert_allclose([schedule(e) for e in range(len(values))], values, rtol=1e-12)


def test_fit_follows_the_schedule_in_grouped_steps(make, images, tmp_path):
    model = make("VAE", kl_weight=LinearWarmup(2, end=0.5))
    history = model.fit(images[0], epochs=3, verbose=0).history
    np.testing.assert_allclose(
        history["loss"],
        np.array(history["reconstruction_loss"]) + np.array([0.25, 0.5, 0.5]) * history["kl_loss"],
        rtol=1e-6,
    )
    assert model.steps_per_execution == (1 if BACKEND == "torch" else STEPS_AT_ONCE)
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.kl_schedule, LinearWarmup)
    assert float(ops.convert_to_numpy(loaded.kl_weight)) == 0.5
    for each in (model, loaded):  # another `fit` begins anew
        each.fit(images[0], epochs=2, verbose=0)
    assert_same_weights(model, loaded)


def test_a_resumed_run_goes_on_in_the_schedule(make, images, tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def train(*callbacks):
        model = make("VAE", kl_weight=CosineWarmup(4))
        history = model.fit(images[0], epochs=4, verbose=0, callbacks=list(callbacks))
        return model, history.history

    whole, history = train()
    backup = keras.callbacks.BackupAndRestore
    with pytest.raises(KeyboardInterrupt):
        train(backup(tmp_path), Interrupt())
    resumed, rest = train(backup(tmp_path))
    assert rest["loss"] == history["loss"][-len(rest["loss"]) :]
    assert len(rest["loss"]) < 4
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("schedule", [LinearWarmup(4), CosineWarmup(4), Cyclical(4)])
def test_a_schedule_that_never_reaches_its_end_is_refused(make, images, schedule):
    model = make("VAE", kl_weight=schedule)
    with pytest.raises(ValueError, match=r"takes 4 epochs\. Received: epochs=3") as error:
        model.fit(images[0], epochs=3, verbose=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make_schedule", "words"),
    [
        (lambda: LinearWarmup(0), "`epochs` must be a whole number of at least 1. Received: 0"),
        (lambda: CosineWarmup(2.5), "`epochs`"),
        (lambda: Constant(-1.0), "`value`"),
        (lambda: LinearWarmup(3, end=float("nan")), "`end`"),
        (lambda: Cyclical(3, ratio=0.0), "`ratio`"),
        (lambda: Cyclical(3, ratio=1.5), "`ratio`"),
    ],
)
def test_bad_arguments_are_refused(make_schedule, words):
    with pytest.raises(ValueError, match=words):
        make_schedule()
