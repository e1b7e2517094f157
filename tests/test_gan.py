"""GANs: both losses, whose turn it is, what bounds the discriminator, and bad input."""

import random

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae import networks
from keras_vae.conditions import Continuous, Hierarchical, MultiLabel, Ordinal, Sequence
from keras_vae.layers import Categorical, SpectralNormalization
from tests import oracles
from tests.conftest import BACKEND, ordinary_on
from tests.test_training import Interrupt, Poison, assert_same_weights, weights_of

pytestmark = ordinary_on("torch")

SHAPE = (6, 5, 1)
# A step of these models runs faster than TensorFlow traces it.
EAGERLY = BACKEND == "tensorflow"


def make(conditional=True, spectral=False, conv=False, compile_model=True, rate=1e-2, **kwargs):
    """A small GAN with fixed initial weights."""
    random.seed(1)
    options = {
        "num_classes": 3 if conditional else None,
        "spectral_normalization": spectral,
    }
    if conv:
        parts = networks.ConvDecoder(SHAPE, (4,)), networks.ConvDiscriminator((4,), 3, **options)
    else:
        parts = networks.DenseDecoder(SHAPE, (4,)), networks.DenseDiscriminator((5,), **options)
    kwargs = {"latent_dim": 3, "seed": 3, **kwargs}
    if conditional:
        kwargs.setdefault("condition", {"label": Categorical(3)})
    model = getattr(keras_vae, "ConditionalGAN" if conditional else "GAN")(*parts, **kwargs)
    if compile_model:
        model.compile(keras.optimizers.Adam(rate, beta_1=0.5), run_eagerly=EAGERLY)
    return model


def inputs_of(model, images):
    x, label = images
    return {"x": x, "label": label} if model.condition else x


def float64_weights(model):
    """The weights as the oracle takes them, and the Keras variables beside them."""
    generator, discriminator = model.generator, model.discriminator
    parts = {
        "generator/hidden": generator.hidden[0],
        "generator/output": generator.outputs_dense,
        "discriminator/hidden": discriminator.stages[0][0],
        "discriminator/logit": discriminator.logit,
    }
    if model.condition:
        parts["discriminator/classes"] = discriminator.class_logits
    variables = {name: (layer.kernel, layer.bias) for name, layer in parts.items()}
    arrays = {
        name: [ops.convert_to_numpy(v).astype("float64") for v in pair]
        for name, pair in variables.items()
    }
    return arrays, variables


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_are_those_of_the_papers(images, fixed_noise, conditional, smoothing):
    model = make(conditional, label_smoothing=smoothing)
    model.build()
    x, label = images
    label = np.where(np.arange(48) % 5 == 0, 3, label).astype("int32")  # some are unknown
    weight = np.linspace(0, 2, 48, dtype="float32")
    logs = model.evaluate(
        inputs_of(model, (x, label)),
        sample_weight=weight,
        batch_size=48,
        verbose=0,
        return_dict=True,
    )
    _, _, terms = oracles.dense_gan_losses(
        float64_weights(model)[0],
        x.reshape(48, -1).astype("float64"),
        fixed_noise.astype("float64"),
        np.eye(4, 3)[label] if conditional else None,
        smoothing,
        weight,
    )
    assert set(logs) == set(terms) == set(model.loss_terms)
    for name, value in terms.items():
        # Measured on PyTorch: 7e-8.
        np.testing.assert_allclose(logs[name], value, rtol=1e-6)


@pytest.mark.parametrize("conditional", [False, True])
def test_a_step_moves_the_discriminator_and_then_the_generator_against_it(
    images, fixed_noise, conditional
):
    model = make(conditional, label_smoothing=0.1, compile_model=False)
    model.compile(keras.optimizers.SGD(0.5), discriminator_optimizer=keras.optimizers.SGD(2.0))
    model.run_eagerly = EAGERLY
    model.build()
    x, label = images
    weights, variables = float64_weights(model)
    before = {name: [array.copy() for array in pair] for name, pair in weights.items()}
    given = (x.reshape(48, -1).astype("f8"), fixed_noise.astype("f8"))
    given = (*given, np.eye(3)[label] if conditional else None, 0.1)
    model.fit(inputs_of(model, images), batch_size=48, shuffle=False, verbose=0)
    # The discriminator first; the generator's loss then reads its new weights.
    for loss, player, rate in ((0, "discriminator", 2.0), (1, "generator", 0.5)):
        own = [array for name, pair in weights.items() if name.startswith(player) for array in pair]
        steps = [
            oracles.numerical_gradient(
                lambda loss=loss: oracles.dense_gan_losses(weights, *given)[loss], array
            )
            for array in own
        ]
        for array, step in zip(own, steps, strict=True):
            array -= rate * step
    for name, pair in variables.items():
        for variable, expected, old in zip(pair, weights[name], before[name], strict=True):
            assert np.abs(expected - old).max() > 1e-3
            # Measured on PyTorch: 1.5e-7.
            np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=6e-7)


@pytest.mark.parametrize("still", ["generator", "discriminator"])
@pytest.mark.parametrize("conv", [False, True])
def test_each_player_moves_its_own_weights_only(images, conv, still):
    model = make(conv=conv, spectral=conv, compile_model=False)
    rates = {"generator": 0.1, "discriminator": 0.1, still: 0.0}
    optimizers = [keras.optimizers.SGD(rates[name]) for name in ("generator", "discriminator")]
    model.compile(optimizers[0], discriminator_optimizer=optimizers[1], run_eagerly=EAGERLY)
    model.build()
    before = {n: _trainable(model, n) for n in rates}
    model.fit(inputs_of(model, images), batch_size=16, verbose=0)
    for name in rates:
        for old, new in zip(before[name], _trainable(model, name), strict=True):
            assert np.array_equal(old, new) == (name == still)


def _trainable(model, part):
    return [ops.convert_to_numpy(v) for v in getattr(model, part).trainable_variables]


def test_the_default_optimizer_of_the_discriminator_is_another_alike():
    model = make(compile_model=False)
    model.compile(keras.optimizers.Adam(0.02, beta_1=0.3))
    one, other = model.optimizer.optimizers
    assert one is not other
    assert one.get_config() == other.get_config()


def test_a_perfect_guess_costs_log_2(images, monkeypatch):
    model = make(conditional=False)
    model.build()
    for variable in model.discriminator.logit.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    logs = model.evaluate(images[0], verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["generator_loss"], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(logs["discriminator_loss"], 2 * np.log(2), rtol=1e-6)


def test_smoothing_is_of_real_images_only():
    model = make(conditional=False, label_smoothing=0.2)
    ones = ops.ones((1,))

    def loss(real, generated):
        logits = [ops.convert_to_tensor([value], "float32") for value in (real, generated)]
        return float(model.discriminator_terms(logits[:1], logits[1:], None, ones)[0])

    # The best logit of a real image is no longer infinite; that of a generated one is.
    best = np.log(0.8 / 0.2)
    assert loss(best, -5.0) < min(loss(best + 0.1, -5.0), loss(best - 0.1, -5.0))
    assert loss(best, -50.0) < loss(best, -5.0)


def test_every_condition_is_named_by_its_own_logits():
    kinds = {"label": Categorical(3), "colour": Categorical(2)}
    parts = networks.DenseDecoder(SHAPE, (4,)), networks.DenseDiscriminator((5,), num_classes=5)
    model = keras_vae.ConditionalGAN(*parts, kinds, latent_dim=3)
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    label, colour = np.array([0, 2, 3, 1]), np.array([1, 0, 0, 2])  # 3 and 2 are unknown
    conditions = {"label": ops.convert_to_tensor(label), "colour": ops.convert_to_tensor(colour)}
    nats = model._class_losses(ops.convert_to_tensor(logits), conditions)
    expected = [
        -sum(
            np.log(np.exp(own[value]) / np.exp(own).sum())
            for own, value in ((row[:3], label[i]), (row[3:], colour[i]))
            if value < len(own)
        )
        for i, row in enumerate(logits.astype("float64"))
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(nats), expected, rtol=1e-5)


KINDS = {
    "label": Hierarchical(["animal/cat", "animal/dog", "car"], unknown_rate=0.2),
    "grade": Ordinal(["low", "high"]),
    "tags": MultiLabel(["red", "big"], unknown_rate=0.2),
    "angle": Continuous(2, low=-60, high=60, unknown_rate=0.2),
}


def of_all_kinds(**kwargs):
    random.seed(1)
    parts = networks.DenseDecoder(SHAPE, (4,)), networks.DenseDiscriminator((5,), num_classes=9)
    return keras_vae.ConditionalGAN(*parts, KINDS, latent_dim=3, seed=3, **kwargs)


def test_every_kind_of_condition_is_read_by_the_discriminator():
    read = np.random.default_rng(0).normal(size=(3, 9)).astype("float32")
    values = {
        "label": np.array([1, 3, 4], "int32"),  # dog, animal, unknown
        "grade": np.array([0, 1, 2], "int32"),
        "tags": np.array([[1, 0], [2, 1], [2, 2]], "int32"),
        "angle": np.array([[30, -60], [0, 60], [np.nan, np.nan]], "float32"),
    }
    nats = of_all_kinds()._class_losses(
        ops.convert_to_tensor(read), {n: ops.convert_to_tensor(v) for n, v in values.items()}
    )
    read, expected = read.astype("float64"), np.zeros(3)
    p = [np.exp(row[:3]) / np.exp(row[:3]).sum() for row in read]
    expected[:2] -= np.log([p[0][1], p[1][:2].sum()])
    p = [np.exp(row[3:5]) / np.exp(row[3:5]).sum() for row in read]
    expected[:2] -= np.log([p[0][0], p[1][1]])
    p = 1 / (1 + np.exp(-read[:, 5:7]))
    expected[:2] -= [np.log(p[0, 0] * (1 - p[0, 1])), np.log(p[1, 1])]
    away = read[:2, 7:] - [[0.5, -1], [0, 1]]
    expected[:2] += (away**2).sum(axis=1) / (2 * 0.25**2)
    np.testing.assert_allclose(ops.convert_to_numpy(nats), expected, rtol=1e-5)


def test_a_gan_of_all_kinds_trains_samples_and_is_read_from_its_file(images, tmp_path):
    model, rng = of_all_kinds(), np.random.default_rng(0)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=EAGERLY)
    inputs = {
        "x": images[0],
        "label": rng.integers(0, 5, 48),
        "grade": ["low", "high"] * 24,
        "tags": rng.integers(0, 3, (48, 2)),
        "angle": rng.uniform(-60, 60, (48, 2)),
    }
    history = model.fit(inputs, epochs=2, batch_size=16, verbose=0).history
    assert np.isfinite(history["class_loss"] + history["generated_class_loss"]).all()
    asked = {"label": "animal", "grade": "high", "tags": ["red"], "angle": [30.0, 0.0]}
    made = model.sample(asked, seed=1, count=4)
    assert made.shape == (4, *SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(asked, seed=1, count=4), made)


def test_a_label_decides_the_image_after_training(images):
    x, label = images
    model = make(rate=2e-2, latent_dim=2, compile_model=False)
    model.compile(keras.optimizers.Adam(2e-2, beta_1=0.5))
    model.fit({"x": x, "label": label}, batch_size=16, epochs=60, verbose=0)
    made = model.sample({"label": np.repeat([0, 1, 2], 20)}, seed=0)
    rows = made.mean(axis=(2, 3)).argmax(axis=1)
    assert np.mean(rows == np.repeat([0, 1, 2], 20)) > 0.9


@pytest.mark.parametrize("conv", [False, True])
def test_spectral_normalisation_bounds_every_layer(images, conv):
    model = make(conv=conv, spectral=True, rate=1e-3)
    model.fit(inputs_of(model, images), batch_size=16, epochs=5, verbose=0)
    layers = [
        layer
        for layer in model.discriminator._flatten_layers()
        if isinstance(layer, SpectralNormalization)
    ]
    assert len(layers) == 2

    def gains():
        """The largest singular values of the divided kernels."""
        for layer in layers:
            norm = ops.convert_to_numpy(layer.spectral_norm()[0])
            kernel = ops.convert_to_numpy(layer.layer.kernel) / norm
            yield np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]

    # The estimate lags behind weights that move; measured: at most 1.028.
    assert all(1 - 1e-5 < gain < 1.08 for gain in gains())
    for _ in range(200):
        for layer in layers:
            layer.direction.assign(layer.spectral_norm()[1])
    assert all(1 - 1e-5 < gain < 1 + 1e-5 for gain in gains())


def test_a_spectrally_normalised_discriminator_is_lipschitz(images):
    model = make(spectral=True)
    inputs = inputs_of(model, images)
    model.fit(inputs, batch_size=16, epochs=5, verbose=0)
    x = images[0]
    logit = ops.convert_to_numpy(model.discriminator(x, training=False)[0])[:, 0]
    distance = np.linalg.norm((x[:, None] - x[None]).reshape(48, 48, -1), axis=-1)
    assert np.all(np.abs(logit[:, None] - logit) <= 1.05 * distance + 1e-6)
    assert np.ptp(logit) > 0


def test_the_division_is_differentiated():
    # With one output, the divided kernel is a unit vector, whatever its length is.
    layer = SpectralNormalization(keras.layers.Dense(1, use_bias=False))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    made = ops.convert_to_numpy(layer(x))
    kernel = ops.convert_to_numpy(layer.layer.kernel)
    np.testing.assert_allclose(made, x @ kernel / np.linalg.norm(kernel), rtol=1e-5, atol=1e-6)
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    model.train_on_batch(x, np.ones((20, 1)))
    step = ops.convert_to_numpy(layer.layer.kernel) - kernel
    assert np.abs(step).max() > 1e-3
    np.testing.assert_allclose(np.sum(step * kernel), 0, atol=1e-6)


@pytest.mark.parametrize("conv", [False, True])
def test_a_resumed_run_ends_bit_identical(images, tmp_path, conv):
    def new():
        random.seed(5)
        return make(conv=conv, spectral=conv, seed=None)

    whole, interrupted = new(), new()
    inputs = inputs_of(whole, images)
    whole.fit(inputs, batch_size=20, epochs=3, verbose=0)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(inputs, batch_size=20, epochs=3, verbose=0, callbacks=[backup, Interrupt()])
    resumed = new()
    resumed.seed_generator.state.assign([123, 0])  # another process draws another default seed
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed.fit(inputs, batch_size=20, epochs=3, verbose=0, callbacks=[backup])
    assert_same_weights(whole, resumed)


def test_both_optimizers_come_back_with_their_state(images, tmp_path):
    model = make(compile_model=False)
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 50)
    slow = keras.optimizers.SGD(1e-3, momentum=0.9)
    options = {"discriminator_optimizer": slow, "run_eagerly": EAGERLY}
    model.compile(keras.optimizers.Adam(schedule), **options)
    inputs = inputs_of(model, images)
    model.fit(inputs, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_vae.load_model(tmp_path / "model.keras")
    kinds = [type(optimizer).__name__ for optimizer in loaded.optimizer.optimizers]
    assert kinds == ["Adam", "SGD"]
    for a, b in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    assert int(loaded.optimizer.iterations) == 3
    histories = [m.fit(inputs, batch_size=16, verbose=0).history for m in (model, loaded)]
    assert histories[0] == histories[1]
    assert_same_weights(model, loaded)


@pytest.mark.parametrize("conv", [False, True])
def test_a_non_finite_gradient_moves_nobody(images, conv):
    model, clean = (make(conditional=False, conv=conv, spectral=True) for _ in range(2))
    history = model.fit(Poison(images[0], bad=(4, 5)), shuffle=False, verbose=0).history
    clean.fit(Poison(images[0], bad=(), count=4), shuffle=False, verbose=0)
    assert history["skipped_updates"] == [2.0]
    assert [int(each.iterations) for each in model.optimizer.optimizers] == [4, 4]
    # Weights, the averages of batch normalisation and the directions of spectral normalisation.
    assert_same_weights(model, clean)
    assert np.isfinite([values[0] for values in history.values()]).all()


def test_a_run_of_skipped_updates_stops_training(images):
    with pytest.raises(FloatingPointError, match="updates were skipped"):
        make(False).fit(Poison(images[0], bad=range(6)), epochs=10, verbose=0)


def test_8_bit_images_train_as_the_same_floats_do(images):
    x = np.random.default_rng(0).integers(0, 256, (48, *SHAPE), "uint8")
    floats, bits = make(), make()
    for model, array in ((floats, (x / 255).astype("float32")), (bits, x)):
        model.fit({"x": array, "label": images[1]}, batch_size=20, epochs=2, verbose=0)
    for a, b in zip(weights_of(floats), weights_of(bits), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("conv", [False, True])
def test_however_steps_run_the_weights_are_the_same(images, conv):
    options = [{"steps_per_execution": 1}, {"run_eagerly": True}]
    options += [{"jit_compile": True}] if BACKEND == "torch" else [{"steps_per_execution": 2}]
    models = [make(conv=conv, spectral=True, compile_model=False) for _ in options]
    for model, kwargs in zip(models, options, strict=True):
        model.compile(keras.optimizers.Adam(1e-2, beta_1=0.5), **kwargs)
        model.fit(inputs_of(model, images), batch_size=20, epochs=2, verbose=0)
    assert BACKEND != "torch" or models[2].traces_steps
    for a, *others in zip(*map(weights_of, models), strict=True):
        for b in others:
            # Adam's first steps turn the last digit of a small gradient into many.
            np.testing.assert_allclose(a, b, atol=2e-4 if conv else 2e-5)


def test_loss_scaling_finds_its_scale_for_both(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make(spectral=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.optimizer_skips_updates
    inputs = inputs_of(model, images)
    model.fit(inputs, batch_size=16, epochs=10, verbose=0)
    assert all(int(each.iterations) > 5 for each in model.optimizer.optimizers)
    assert np.isfinite(model.evaluate(inputs, verbose=0)).all()
    assert model.sample({"label": [0, None]}, seed=0).dtype == np.float32


def test_penalties_count(images):
    random.seed(1)
    x = keras.Input(SHAPE)
    h = keras.layers.Flatten()(x)
    logit = keras.layers.Dense(1, kernel_regularizer="l2", activity_regularizer="l2")(h)
    parts = networks.DenseDecoder(SHAPE, (4,)), keras.Model(x, logit)
    model = keras_vae.GAN(*parts, latent_dim=3)
    model.compile("sgd")
    loss, terms = model.discriminator_loss((ops.convert_to_tensor(images[0]),), training=True)
    penalty = sum(ops.convert_to_numpy(value) for value in model.discriminator.losses)
    assert penalty > 0
    expected = ops.convert_to_numpy(terms["discriminator_loss"]) + penalty
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_samples_repeat_with_the_seed():
    model = make()
    labels = {"label": [0, 1, "2", None]}
    first, second = (model.sample(labels, seed=5) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.shape == (4, *SHAPE)
    assert first.min() >= 0
    assert first.max() <= 1
    z = model.prior.sample(4, 3, seed=5)
    np.testing.assert_array_equal(first, model.decode(z, labels))
    unconditional = make(conditional=False)
    assert unconditional.sample(3, temperature=0.0, seed=1).std(axis=0).max() == 0


BAD_MODELS = [
    (lambda: make(latent_dim=0), "`latent_dim` must be"),
    (lambda: make(label_smoothing=1.0), r"`label_smoothing` must be in \[0, 1\)"),
    (lambda: make(class_loss_weight=-1.0), "`class_loss_weight` must be a number of at least 0"),
    (lambda: make(condition={"voice": Sequence(4, 3)}), "must be labels .* kind for: voice"),
    (lambda: make(condition={}), "`condition` must be a dict"),
    (
        lambda: make(False, condition={"label": Categorical(3)}),
        "`GAN` takes no `condition`. Use `ConditionalGAN`",
    ),
    (
        lambda: keras_vae.ConditionalGAN(
            networks.DenseDecoder(SHAPE),
            networks.DenseDiscriminator(),
            {"label": Categorical(3)},
            latent_dim=2,
        ).build(),
        "needs a class head: .* Make it with num_classes=3",
    ),
    (
        lambda: keras_vae.GAN(
            networks.DenseDecoder(SHAPE), networks.DenseDiscriminator(num_classes=3), 2
        ).build(),
        "must return one logit per example",
    ),
    (
        lambda: keras_vae.GAN(networks.DenseEncoder(2), networks.ConvDiscriminator(), 2).build(),
        "generator must return one tensor",
    ),
    (lambda: make().build((None, 7, 7, 1)), "generator must make what the data are"),
    (
        lambda: networks.DenseDiscriminator(num_classes=0),
        "`num_classes` must be a whole number of at least 1",
    ),
    (lambda: SpectralNormalization(keras.layers.Dense(3)), "needs a linear layer"),
    (
        lambda: SpectralNormalization(keras.layers.Dense(3, use_bias=False), power_iterations=0),
        "`power_iterations` must be",
    ),
]


@pytest.mark.parametrize(("build", "words"), BAD_MODELS)
def test_bad_models_are_refused_in_one_line(build, words):
    with pytest.raises(ValueError, match=words) as error:
        build()
    assert "\n" not in str(error.value)


BAD_CALLS = [
    (lambda m, x, y: m.fit(x), "needs a dict with the keys"),
    (lambda m, x, y: m.fit({"x": x}), "must have the keys"),
    (lambda m, x, y: m.fit({"x": x, "label": y + 3}), "must be from 0 to 2"),
    (lambda m, x, y: m.fit({"x": x + 1, "label": y}), r"must lie in \[0, 1\]"),
    (lambda m, x, y: m.fit({"x": x, "label": y}, x), "takes no `y`"),
    (lambda m, x, y: m.fit({"x": x[:, :4], "label": y}), "must have the shape"),
    (lambda m, x, y: m.predict({"x": x, "label": y}), "has no encoder"),
    (lambda m, x, y: m.compile(loss="mse"), "takes no `loss`"),
    (lambda m, x, y: setattr(m.optimizer, "learning_rate", 1.0), "a learning rate of its own"),
    (
        lambda m, x, y: m.compile(
            m.optimizer.optimizers[0], discriminator_optimizer=m.optimizer.optimizers[0]
        ),
        "must be two optimizers",
    ),
]


@pytest.mark.parametrize(("call", "words"), BAD_CALLS)
def test_bad_calls_are_refused_in_one_line(images, call, words):
    with pytest.raises(ValueError, match=words) as error:
        call(make(), *images)
    assert "\n" not in str(error.value)
