"""Schedules of the KL's weight: their values, in training, after a resumed run, and saved."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.callbacks import Checkpoint
from keras_vae.schedules import Constant, CosineWarmup, Cyclical, LinearWarmup
from keras_vae.training.fitting import STEPS_AT_ONCE
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
    for each in (model, loaded):  # another `fit` goes on
        each.fit(images[0], epochs=2, verbose=0)
        assert int(ops.convert_to_numpy(each.epochs_trained)) == 5
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


def weights_of_epochs(history):
    """The KL's weight in every epoch of a `History`."""
    history = {name: np.array(values) for name, values in history.history.items()}
    return (history["loss"] - history["reconstruction_loss"]) / history["kl_loss"]


@pytest.fixture
def ramped(make):
    """Makes a model whose KL's weight is the number of the epoch, counted from 1, up to 5."""
    return lambda: make("VAE", kl_weight=LinearWarmup(5, end=5.0))


def test_a_ramp_goes_on_in_every_later_fit(ramped, images, tmp_path):
    model, x = ramped(), images[0]

    def fit(model, **settings):
        return weights_of_epochs(model.fit(x, verbose=0, **settings))

    # The weight is a difference of two means in float32; measured: within 2e-5 of it.
    near = {"rtol": 1e-4}
    np.testing.assert_allclose(fit(model, epochs=1), [1], **near)  # shorter than the ramp
    np.testing.assert_allclose(fit(model, epochs=2), [2, 3], **near)
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(fit(loaded, epochs=3), [4, 5, 5], **near)
    # As Keras goes on: the epochs behind are not counted twice.
    np.testing.assert_allclose(fit(model, initial_epoch=3, epochs=4), [4], **near)
    np.testing.assert_allclose(fit(ramped(), initial_epoch=2, epochs=4), [3, 4], **near)


@pytest.mark.parametrize("every", [None, 1])
def test_an_interrupted_second_fit_goes_on_in_the_ramp(ramped, images, tmp_path, every):
    """After an epoch's end and within one, of a model that had been trained and saved."""

    class Interrupt(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == 6:  # of 4 in an epoch
                raise KeyboardInterrupt

    first = ramped()
    first.fit(images[0], batch_size=12, epochs=1, verbose=0)
    first.save(tmp_path / "model.keras")

    def go_on(*callbacks):
        model = keras_vae.load_model(tmp_path / "model.keras")
        checkpoint = Checkpoint(tmp_path / "checkpoints", every)
        settings = {"batch_size": 12, "epochs": 3, "verbose": 0}
        history = model.fit(images[0], callbacks=[checkpoint, *callbacks], **settings)
        return model, weights_of_epochs(history)

    with pytest.raises(KeyboardInterrupt):
        go_on(Interrupt())
    resumed, weights = go_on()
    np.testing.assert_allclose(weights, [2, 3, 4], rtol=1e-4)
    whole, _ = go_on()
    assert_same_weights(whole, resumed)


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
