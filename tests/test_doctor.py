"""Every diagnosis: on numbers, provoked, silent for a healthy model, and told by the callback."""

import random

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
    """A trained model that nothing is wrong with, its history, and what the callback said of it."""
    said = []
    random.seed(0)  # Keras' initializers take their seeds from here
    model = make()
    watching = callbacks.Doctor(TRAIN, TEST, interval=8, say=said.append)
    history = model.fit(TRAIN, epochs=24, batch_size=32, verbose=0, callbacks=[watching]).history
    return model, history, said


def examine(model, train=TRAIN, test=TEST, **options):
    """What is found, and what is left out, of all but the samples."""
    return doctor.examine(model, train, test, scorecard=False, **options)


@pytest.fixture
def changed(healthy):
    """The healthy model, to be changed: its weights are put back."""
    model, *_ = healthy
    before = model.get_weights()
    yield model
    model.set_weights(before)


def names(found):
    return {finding.name for finding in found}


def test_nothing_is_found_in_a_healthy_model(healthy):
    model, history, said = healthy
    found, left_out = doctor.examine(model, TRAIN, TEST, epochs=24, history=history)
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
    found, _ = examine(changed)
    [finding] = [finding for finding in found if finding.name == "dead_latents"]
    assert "1 of 2 latent dimensions are dead, 0:" in finding.text
    for part in (head, variance):
        part.kernel.assign(0 * part.kernel)
        part.bias.assign(0 * part.bias)
    found, _ = examine(changed)
    [finding] = [finding for finding in found if finding.name == "posterior_collapse"]
    assert finding.number == 0
    assert "0 of 2 latent dimensions" in finding.text
    assert "explains 0 % of what varies" in finding.text


BERNOULLI = likelihoods.Bernoulli()
FALLING = [100.0 * 0.5**epoch for epoch in range(12)]
LABEL = {"accuracy": 0.95, "real_accuracy": 0.97, "variance_explained": 0.4}
ANGLE = {"error": 6.0, "real_error": 4.0, "correlation": 0.95, "real_correlation": 0.98}
ANGLE |= {"variance_explained": 0.2}
TAGS = {"precision": {"red": 0.9, "big": 1.0}, "real_precision": {"red": 0.95, "big": 0.9}}
TAGS |= {"variance_explained": 0.1}
CODE = {"explained": 0.57, "explained_by_components": 0.6, "dead": [], "count": 4}
FINE = {
    "unfit_data": {
        "likelihood": BERNOULLI,
        "smallest": 0.0,
        "largest": 1.0,
        "deviation": 0.3,
        "is_uint8": True,
    },
    "squashed_logits": {"reason": None, "smallest": 0.0, "largest": 1.0},
    "bernoulli_colours": {"likelihood": BERNOULLI, "channels": 3, "between": 0.01},
    "rescaled_kl": {"kl_weight": 0.1, "num_values": 784},
    "unfinished_warm_up": {"warm_up_epochs": 5, "epochs": 5, "kl_weight": 1.0, "end": 1.0},
    "meaningless_labels": {"real_accuracy": 0.9, "count": 200, "chance": 0.1},
    "unstable_training": {"losses": FALLING},
    "unconverged": {"losses": FALLING},
    "overfitting": {"train_elbo": np.arange(-100.0, 0), "test_elbo": np.arange(-102.0, -2)},
    "exploding_log_variance": {"z_log_var": np.full((3, 2), -3.0)},
    "posterior_collapse": CODE,
    "low_kl": {**CODE, "kl": 9.0},
    "dead_latents": {"dead": [1], "count": 4},
    "unused_codes": {"codes_used": 0.9, "num_codes": 32, "perplexity": 20.0},
    "prior_mismatch": {"means": np.zeros((2, 3)), "stds": np.ones((2, 3)), "counts": [90, 90]},
    "ignored_labels": {"label_nats": 20.0},
    "ignored_conditions": {"nats": {"angle": 20.0, "tags": 9.0}},
    "missed_labels": {"sample_accuracy": 0.93, "real_accuracy": 0.97},
    "missed_conditions": {"obedience": {"label": LABEL, "angle": ANGLE, "tags": TAGS}},
    "alike_samples": {"diversity": 0.8},
    "copied_images": {"copied_samples": 0.01},
    "copied_rows": {"close_samples": 0.08, "close_held_out": 0.01},
    "other_units": {"at_least": 0.02, "channel": "bar", "factor": 1.1},
    "contaminated_calibration": {"reach": 4.0, "share": 0.0, "count": 500},
}
# What is changed in it, and words that must be said.
ILL = [
    ("unfit_data", {"largest": 1 / 255}, "read as 0 to 255, but run from 0 to 1", "x.astype(bool)"),
    ("unfit_data", {"largest": 16 / 255}, "run from 0 to 16", "x.astype('float32') / 16"),
    ("unfit_data", {"largest": 255.0, "is_uint8": False}, "0 to 255, outside", "x / 255"),
    ("unfit_data", {"largest": 16.0, "is_uint8": False}, "0 to 16, outside", "x / 16"),
    (
        "squashed_logits",
        {"reason": "Sigmoid. Remove it."},
        "squashed twice. Sigmoid.",
        "Remove the",
    ),
    ("bernoulli_colours", {"between": 0.4}, "40 % of the values", 'likelihood="gaussian"'),
    ("rescaled_kl", {"kl_weight": 1 / 784}, "averaged over 784 pixels", "kl_weight=1"),
    ("unfinished_warm_up", {"epochs": 2, "kl_weight": 0.4}, "0.4 instead of 1", "at least 5"),
    ("meaningless_labels", {"real_accuracy": 0.12}, "12 % of the test images", "in one order"),
    ("unstable_training", {"losses": [9.0, 5, 8, 4, 7, 5]}, "120 % of what it fell", "by 10"),
    ("unstable_training", {"gradient_norms": [9e6, 3.0, 3.0]}, "3e+06 times", "by 10"),
    ("unstable_training", {"learning_rate": 0.1}, "Adam's learning rate is 0.1", "by 10"),
    ("unstable_training", {"skipped_updates": 3.0}, "3 updates were not finite", "by 10"),
    ("unconverged", {"losses": [9.0, 8, 7, 6, 5, 4]}, "60 % was in their second", "Train 12"),
    ("overfitting", {"test_elbo": np.arange(-150.0, -50)}, "a gap of 50.00, 1.7 times", "Halve"),
    ("overfitting", {"test_elbo": np.arange(-150.0, -50), "best_epoch": 7}, "heart", "Train 7"),
    ("exploding_log_variance", {"z_log_var": np.array([[6.5]])}, "a variance of 665", "by 10"),
    ("exploding_log_variance", {"z_log_var": np.array([[-25.0]])}, "falls to -25", "by 10"),
    ("exploding_log_variance", {"z_log_var": -25 * np.ones(1), "kl_weight": 0.1}, "", "weight=1"),
    ("posterior_collapse", {"explained": 0.01, "raise_kl": "Do."}, "explains 1 % of", "Do."),
    ("posterior_collapse", {"dead": [0, 1, 2, 3], "raise_kl": "Do."}, "0 of 4 latent", "Do."),
    ("low_kl", {"explained": 0.25, "raise_kl": "Do."}, "of 9.0 nats is little", "Do."),
    ("dead_latents", {"dead": [1, 3]}, "2 of 4 latent dimensions are dead, 1, 3", "latent_dim=2"),
    ("unused_codes", {"codes_used": 0.2, "num_codes": 50}, "10 of 50 codes", "num_codes=16"),
    ("prior_mismatch", {"means": np.eye(2, 3) * 3, "names": "ab"}, "of class a, with mean 3", ""),
    ("ignored_labels", {"label_nats": 0.1}, "only 0.10 nats worse", "Halve latent_dim"),
    ("ignored_conditions", {"nats": {"angle": 9.0, "tags": 0.2}}, "wrong tags makes", "Halve lat"),
    (
        "missed_conditions",
        {"obedience": {"label": LABEL, "angle": {**ANGLE, "error": 40.0, "correlation": 0.1}}},
        "reads of samples is 40 from what was asked, with a correlation of 0.10",
        "",
    ),
    ("missed_conditions", {"obedience": {"a": {**LABEL, "accuracy": 0.4}}}, "40 % of the samp", ""),
    (
        "missed_conditions",
        {"obedience": {"label": LABEL, "tags": {**TAGS, "precision": {"red": 0.2, "big": 0.3}}}},
        "a tag of tags in 25 % of the samples",
        "",
    ),
    ("missed_labels", {"sample_accuracy": 0.8}, "80 % of the samples", ""),
    ("missed_labels", {"sample_accuracy": 0.8}, "one in 5 ", ""),
    ("alike_samples", {"diversity": 0.2, "of": " of a class"}, "of a class differ 0.20", ""),
    ("copied_images", {"copied_samples": 0.4}, "40 % of the samples are not half as far", ""),
    ("copied_rows", {"close_samples": 0.4}, "40 % of the drawn rows are as near to a training", ""),
    ("other_units", {"at_least": 1.0, "factor": 1e3}, "'bar' is 1,000 times", "Give 'bar' in the"),
    ("other_units", {"at_least": 1.0}, "100 % of the examples score higher than all", "Calibrate"),
    ("contaminated_calibration", {"reach": 40.0, "share": 0.031}, "about 3.1 %", "nation=0.04"),
]


@pytest.mark.parametrize(("name", "changed", "words", "change"), ILL)
def test_every_diagnosis_says_the_number_and_the_change(name, changed, words, change):
    assert doctor.diagnose(FINE) == []
    [finding] = doctor.diagnose({**FINE, name: {**FINE[name], **changed}})
    assert finding.name == name
    assert words in finding.text
    assert change in finding.change
    assert str(finding) == f"{name}: {finding.text} {finding.change}"


def test_every_diagnosis_is_asked_and_tried():
    assert set(FINE) == {name for name, *_ in ILL} == set(doctor.DIAGNOSES)


def test_a_collapse_is_no_low_kl_as_well():
    numbers = {name: {**FINE[name], "explained": 0.0} for name in ("posterior_collapse", "low_kl")}
    assert names(doctor.diagnose(numbers)) == {"posterior_collapse"}


def test_what_components_explain_is_what_a_code_of_their_number_can():
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(30, 3)))
    label = np.arange(400) % 2
    x = (rng.normal(size=(400, 3)) * (3, 2, 1)) @ axes.T + 50 * label[:, None]
    rows = [np.flatnonzero(label == value) for value in (0, 1)]
    shares = [
        doctor.codes.explained_by_components(x, rows, x, rows, count) for count in (1, 2, 3, 30)
    ]
    np.testing.assert_allclose(shares, [9 / 14, 13 / 14, 1, 1], atol=0.03)
    few, rows_of_few = x[:20], [rows[0][:10], rows[1][:10]]  # fewer than they have values
    share = doctor.codes.explained_by_components(few, rows_of_few, x, rows, 3)
    assert share == pytest.approx(1)
    assert doctor.codes.explained_by_reconstructions(x, x, rows) == 1
    means = np.stack([x[group].mean(axis=0) for group in rows])[label]
    assert doctor.codes.explained_by_reconstructions(means, x, rows) == pytest.approx(0)


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
    found, _ = examine(changed)
    [finding] = [finding for finding in found if finding.name == "exploding_log_variance"]
    assert finding.number == pytest.approx(number)
    assert f"{bias:.1f}" in finding.text


def test_the_log_variance_of_one_example_is_no_alarm():
    z_log_var = np.full((5, 2), -3.0)
    z_log_var[0] = -30.0, 9.0
    assert doctor.exploding_log_variance(z_log_var) is None
    z_log_var[:3, 1] = 9.0
    assert doctor.exploding_log_variance(z_log_var).number == 9.0


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
        ("gaussian", lambda x: 255 * x, "deviation of 127"),
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
        found, left_out = examine(model, given, None)
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
    found, _ = examine(changed, few)
    [finding] = [finding for finding in found if finding.name == "overfitting"]
    assert finding.number > 2
    assert f"a gap of {finding.number:.2f}" in finding.text
    assert "overfitting" not in names(examine(changed, few, None)[0])
    same = np.random.default_rng(0).normal(size=50)
    assert doctor.overfitting(same, same) is None


def test_codes_that_the_prior_does_not_draw_are_found(changed):
    head = changed.encoder.z_mean
    head.kernel.assign(4 * ops.convert_to_numpy(head.kernel))
    found, _ = examine(changed)
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
    found, left_out = examine(model)
    assert "prior_mismatch" not in names(found)
    assert set(left_out) == {"unconverged"}


def test_a_decoder_that_ignores_its_label_is_found(changed):
    kernel = changed.decoder.hidden[0].kernel
    values = ops.convert_to_numpy(kernel).copy()
    values[2:] = values[2:].mean(axis=0)
    kernel.assign(values)
    found, _ = examine(changed)
    [finding] = [finding for finding in found if finding.name == "ignored_labels"]
    assert finding.number == pytest.approx(0, abs=1e-4)


def test_a_decoder_that_ignores_a_number_or_tags_is_found():
    rng = np.random.default_rng(0)
    model = keras_vae.ConditionalVAE(
        keras_vae.networks.DenseEncoder(2, ()),
        keras_vae.networks.DenseDecoder((6, 5, 1), (8,)),
        condition={
            "angle": keras_vae.Continuous(1, low=-60, high=60, unknown_rate=0.1),
            "tags": keras_vae.MultiLabel(["red", "big"]),
        },
    )
    model.build()
    x, tags = TEST["x"], rng.integers(0, 2, (len(TEST["x"]), 2))
    angle = np.where(rng.random(len(x)) < 0.5, np.nan, rng.uniform(-60, 60, len(x)))
    inputs = {"x": x, "angle": angle.astype("float32"), "tags": tags.astype("int32")}
    kernel = model.decoder.hidden[0].kernel
    values = ops.convert_to_numpy(kernel).copy()
    values[2:] = 0.0
    kernel.assign(values)
    found, left_out = examine(model, inputs, inputs)
    [finding] = [finding for finding in found if finding.name == "ignored_conditions"]
    assert finding.number == pytest.approx(0, abs=1e-5)
    assert "A wrong angle" in finding.text or "A wrong tags" in finding.text
    assert "ignored_conditions" not in left_out
    same = {**inputs, "angle": np.full_like(inputs["angle"], 3.0), "tags": 0 * inputs["tags"]}
    _, left_out = examine(model, same, same)
    assert left_out["ignored_conditions"] == "it needs two values of a condition in the data"


def test_one_class_alone_cannot_be_ignored(healthy):
    model, *_ = healthy
    one = {name: values[TRAIN["label"] == 0] for name, values in TRAIN.items()}
    _, left_out = examine(model, one, None)
    assert set(left_out) == {"ignored_labels", "overfitting", "unconverged"}


def test_a_model_without_a_posterior_is_looked_at_as_far_as_it_goes():
    model = keras_vae.Autoencoder(
        keras_vae.networks.DenseEncoder(2, ()), keras_vae.networks.DenseDecoder((6, 5, 1), ())
    )
    model.build()
    found, left_out = doctor.examine(model, TRAIN["x"] / 255)
    assert "unfit_data" in names(found)
    assert set(left_out) == {"unconverged", "missed_labels", "alike_samples"}
    assert left_out["alike_samples"] == "an Autoencoder has no prior to sample from"


def test_a_decoder_that_squashes_is_found_in_a_model_that_got_in():
    squashing = [keras.layers.Dense(30, "sigmoid"), keras.layers.Reshape((6, 5, 1))]
    model = keras_vae.VAE(
        keras_vae.networks.DenseEncoder(2, ()),
        keras.Sequential([keras.Input((2,)), *squashing]),
    )
    model.build((None, 6, 5, 1))
    [finding] = doctor.examine_before(model, TRAIN["x"])
    assert finding.name == "squashed_logits"
    assert 0.5 < finding.number < 0.7312
    assert "ends in sigmoid." in finding.text


def test_a_gan_and_a_vq_vae_are_looked_at_as_far_as_they_go():
    networks = keras_vae.networks
    gan = keras_vae.ConditionalGAN(
        networks.DenseDecoder((6, 5, 1), (4,)),
        networks.DenseDiscriminator((4,), num_classes=3),
        latent_dim=2,
        condition={"label": keras_vae.Categorical(3)},
    )
    gan.build()
    judged = {"sample_accuracy": 0.4, "real_accuracy": 1.0, "diversity": 0.1}
    found, left_out = doctor.examine(
        gan, TRAIN, TEST, history={"loss": [3.0] * 9}, scorecard=judged
    )
    assert names(found) == {"missed_labels", "alike_samples"}
    assert set(left_out) == {"unconverged", "low_kl"}
    assert "spectral_normalization=True" in found[-1].change
    vq_vae = keras_vae.VQVAE(
        networks.ConvGridEncoder(2, (4,)),
        networks.ConvGridDecoder((6, 6, 1), (4,)),
        keras_vae.layers.VectorQuantizer(64, 2),
    )
    vq_vae.build()
    x = np.zeros((20, 6, 6, 1), "float32")
    x[:, :3] = 1
    found, left_out = doctor.examine(vq_vae, x, x, history={"loss": [3.0, 2.0, 1.0]})
    assert names(found) == {"unused_codes", "unconverged"}
    assert "scorecard" in left_out["alike_samples"]


def test_a_warm_up_is_no_rise_of_the_loss():
    model = make(kl_weight=keras_vae.schedules.LinearWarmup(6))
    kl = [9.0, 8, 7, 6, 6, 6]
    reconstruction = [50.0, 20, 12, 10, 9.5, 9.4]
    rising = [10.0, 20, 30, 40, 50, 60]
    history = {"loss": rising, "reconstruction_loss": reconstruction, "kl_loss": kl}
    numbers, _ = doctor.measure(model, TRAIN, history=history, scorecard=False)
    assert numbers["unconverged"]["losses"] == [59, 28, 19, 16, 15.5, 15.4]
    assert numbers["unstable_training"]["learning_rate"] == pytest.approx(0.01)
