"""Every diagnosis: provoked, silent for a healthy model, and told by the callback."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import callbacks, doctor, likelihoods
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

HIDDEN = 16


def data(count, seed=0):
    """Images `(count, 6, 5, 1)` of three classes, each moved by two factors, and their labels."""
    rng = np.random.default_rng(seed)
    label = np.arange(count, dtype="int32") % 3
    factors = np.random.default_rng(1).normal(size=(2, 30))
    classes = np.random.default_rng(2).normal(size=(3, 30))
    logits = 1.5 * (rng.normal(size=(count, 2)) @ factors + 2 * classes[label])
    x = (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype("float32")
    return {"x": x.reshape(count, 6, 5, 1), "label": label}


TRAIN, TEST = data(768), data(192, seed=1)


def make(**kwargs):
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(2, (HIDDEN,)),
        keras_vae.networks.DenseDecoder((6, 5, 1), (HIDDEN,)),
        condition={"label": keras_vae.Categorical(3)},
        seed=0,
        **kwargs,
    )
    model.compile(keras.optimizers.Adam(1e-2))
    return model


@pytest.fixture(scope="module")
def healthy():
    """A trained model that nothing is wrong with, and what the callback said of it."""
    said = []
    model = make()
    watching = callbacks.Doctor(TRAIN, TEST, interval=4, say=said.append)
    model.fit(TRAIN, epochs=16, batch_size=32, verbose=0, callbacks=[watching])
    return model, said


@pytest.fixture
def changed(healthy):
    """The healthy model, to be changed: its weights are put back."""
    model, _ = healthy
    before = model.get_weights()
    yield model
    model.set_weights(before)


def names(found):
    return {finding.name for finding in found}


def test_nothing_is_found_in_a_healthy_model(healthy):
    model, said = healthy
    found, left_out = doctor.examine(model, TRAIN, TEST, epochs=16)
    assert found == []
    assert left_out == {}
    assert said == []


def test_a_collapse_is_found_with_its_latents(changed):
    head = changed.encoder.z_mean
    head.kernel.assign(np.array([0.0, 1.0]) * ops.convert_to_numpy(head.kernel))
    variance = changed.encoder.z_log_var
    variance.kernel.assign(np.array([0.0, 1.0]) * ops.convert_to_numpy(variance.kernel))
    variance.bias.assign([0.0, ops.convert_to_numpy(variance.bias)[1]])
    head.bias.assign(np.zeros(2))
    assert names(doctor.examine(changed, TRAIN, TEST)[0]) == set()  # one of two is left
    for part in (head, variance):
        part.kernel.assign(0 * part.kernel)
        part.bias.assign(0 * part.bias)
    found, _ = doctor.examine(changed, TRAIN, TEST)
    [finding] = [finding for finding in found if finding.name == "posterior_collapse"]
    assert finding.number == 0
    assert "0 of 2 latent dimensions" in finding.text
    assert "0.01 nats: 0, 1." in finding.text


def test_training_into_a_collapse_is_told_by_the_callback():
    said = []
    model = make(kl_weight=20.0)
    watching = callbacks.Doctor(TRAIN, interval=2, say=said.append)
    model.fit(TRAIN, epochs=6, batch_size=32, verbose=0, callbacks=[watching])
    [line] = said  # once, although it was seen three times
    assert line.startswith("Doctor: posterior_collapse: 0 of 2")
    assert names(watching.findings) == {"posterior_collapse"}


@pytest.mark.parametrize(("bias", "number"), [(6.5, 6.5), (-25.0, -25.0)])
def test_a_log_variance_that_runs_away_is_found(changed, bias, number):
    changed.encoder.z_log_var.kernel.assign(0 * changed.encoder.z_log_var.kernel)
    changed.encoder.z_log_var.bias.assign([bias, 0.0])
    found, _ = doctor.examine(changed, TRAIN, TEST)
    [finding] = [finding for finding in found if finding.name == "exploding_log_variance"]
    assert finding.number == pytest.approx(number)
    assert f"{bias:.1f}" in finding.text


def test_a_warm_up_that_training_did_not_reach_is_found():
    said = []
    model = make(kl_weight=keras_vae.schedules.LinearWarmup(20))
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True)
    )
    watching = callbacks.Doctor(TRAIN, interval=1, say=said.append)
    model.fit(TRAIN, epochs=20, batch_size=64, verbose=0, callbacks=[watching, stop])
    assert "unfinished_warm_up: The KL's weight rises over 20 epochs, but training has 1" in said[0]
    assert doctor.unfinished_warm_up(20, 20, 1.0, 1.0) is None
    assert doctor.unfinished_warm_up(20, 19, 0.95, 1.0).number == 19


@pytest.mark.parametrize(
    ("likelihood", "change", "words"),
    [
        ("bernoulli", lambda x: x / 255, "divided by 255 twice?"),
        ("bernoulli", lambda x: 2 * x - 1, "outside of the bernoulli likelihood's [0, 1]"),
        ("bernoulli", lambda x: x * np.nan, "NaN"),
        ("bernoulli", lambda x: 0 * x + 0.5, "every value is the same"),
        ("gaussian", lambda x: 255 * x, "standardise"),
        (likelihoods.Gaussian(2.0), lambda x: x, "fixed scale 2 is 4"),
        (likelihoods.Categorical(2), lambda x: 0.3 + 0.4 * x, "2 levels"),
    ],
)
def test_data_that_do_not_fit_are_found(likelihood, change, words):
    model = make(likelihood=likelihood)
    given = {**TRAIN, "x": change(TRAIN["x"])}
    found = doctor.examine_before(model, given)
    [finding] = [finding for finding in found if finding.name == "unfit_data"]
    assert words in finding.text
    if words in ("NaN", "outside of the bernoulli likelihood's [0, 1]"):
        found, left_out = doctor.examine(model, given)
        assert names(found) == {"unfit_data"}
        assert left_out


@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "gaussian", likelihoods.Laplace(0.3), likelihoods.Categorical(2)]
)
def test_data_that_fit_are_passed_over(likelihood):
    assert doctor.examine_before(make(likelihood=likelihood), TRAIN) == []


def test_the_weight_of_a_loss_averaged_over_pixels_is_found():
    for weight in (2.5e-4, 1 / 30):
        found = doctor.examine_before(make(kl_weight=weight), TRAIN)
        assert names(found) == {"rescaled_kl"}
        assert found[0].number == pytest.approx(weight)
        assert "30 pixels" in found[0].text
    warm_up = keras_vae.schedules.LinearWarmup(100)  # begins at 1/100
    for weight in (0.0, 0.1, 4.0, warm_up):
        assert doctor.examine_before(make(kl_weight=weight), TRAIN, epochs=100) == []


def test_a_model_that_knows_its_training_data_by_heart_is_found(changed):
    few = {name: values[:12] for name, values in TRAIN.items()}
    often = {name: np.concatenate([values] * 64) for name, values in few.items()}
    changed.fit(often, epochs=6, batch_size=12, verbose=0)
    found, _ = doctor.examine(changed, few, TEST)
    [finding] = [finding for finding in found if finding.name == "overfitting"]
    assert finding.number > 2
    assert f"a gap of {finding.number:.2f}" in finding.text
    assert "overfitting" not in names(doctor.examine(changed, few)[0])
    same = np.random.default_rng(0).normal(size=50)
    assert doctor.overfitting(same, same) is None


def test_codes_that_the_prior_does_not_draw_are_found(changed):
    head = changed.encoder.z_mean
    head.kernel.assign(4 * ops.convert_to_numpy(head.kernel))
    found, _ = doctor.examine(changed, TRAIN, TEST)
    [finding] = [finding for finding in found if finding.name == "prior_mismatch"]
    assert finding.number > 1
    assert "poor samples" in finding.text


def test_a_prior_fitted_to_the_codes_is_no_mismatch(healthy, tmp_path):
    pytest.importorskip("sklearn")
    model = make()
    model.build()
    model.set_weights(healthy[0].get_weights())
    model.encoder.z_mean.kernel.assign(4 * ops.convert_to_numpy(model.encoder.z_mean.kernel))
    model.fit_prior(TRAIN, "mixture", num_components=3, seed=0)
    found, left_out = doctor.examine(model, TRAIN, TEST)
    assert "prior_mismatch" not in names(found)
    assert set(left_out) == {"posterior_collapse"}


def test_a_decoder_that_ignores_its_label_is_found(changed):
    kernel = changed.decoder.hidden[0].kernel
    values = ops.convert_to_numpy(kernel).copy()
    values[2:] = values[2:].mean(axis=0)
    kernel.assign(values)
    found, _ = doctor.examine(changed, TRAIN, TEST)
    [finding] = [finding for finding in found if finding.name == "ignored_labels"]
    assert finding.number == pytest.approx(0, abs=1e-4)


def test_one_class_alone_cannot_be_ignored(healthy):
    model, _ = healthy
    one = {name: values[TRAIN["label"] == 0] for name, values in TRAIN.items()}
    _, left_out = doctor.examine(model, one)
    assert set(left_out) == {"ignored_labels", "overfitting"}


def test_a_model_without_a_posterior_is_looked_at_as_far_as_it_goes():
    model = keras_vae.Autoencoder(
        keras_vae.networks.DenseEncoder(2, ()), keras_vae.networks.DenseDecoder((6, 5, 1), ())
    )
    found, left_out = doctor.examine(model, TRAIN["x"] / 255)
    assert names(found) == {"unfit_data"}
    assert "Autoencoder has no posterior" in left_out["all but unfit_data"]
