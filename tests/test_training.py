"""`fit`, `evaluate` and `predict` with every kind of data, and what a user may get wrong."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.callbacks import StopOnSkippedUpdates
from keras_vae.training.bar import ProgressBar
from tests.conftest import BACKEND, ordinary_on

FIT_LOGS = {"loss", "reconstruction_loss", "kl_loss", "gradient_norm", "skipped_updates"}


def weights_of(model):
    return [ops.convert_to_numpy(w) for w in model.weights]


def assert_same_weights(model, other):
    for a, b in zip(weights_of(model), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


class Batches(keras.utils.PyDataset):
    def __init__(self, arrays, batch_size=16):
        super().__init__()
        self.arrays, self.batch_size = arrays, batch_size

    def __len__(self):
        return len(keras.tree.flatten(self.arrays)[0]) // self.batch_size

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return keras.tree.map_structure(lambda array: array[rows], self.arrays)


def as_data_loader(inputs, tuples):
    torch = pytest.importorskip("torch", reason="a DataLoader needs torch")
    rows = [{name: value[i] for name, value in inputs.items()} for i in range(len(inputs["x"]))]
    rows = [(row,) for row in rows] if tuples else rows
    return torch.utils.data.DataLoader(rows, batch_size=16)


def as_tf_dataset(inputs):
    tf = pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")
    return tf.data.Dataset.from_tensor_slices((inputs,)).batch(16)


KINDS = ["arrays", "tf.data", "PyDataset", "DataLoader", "DataLoader of dicts", "generator"]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("arrays", "tf.data") else ordinary_on("torch"))
        for kind in KINDS
    ],
)
def test_every_kind_of_data_trains_the_same(make, images, kind):
    x, label = images
    inputs = {"x": x, "label": label}
    data = {
        "arrays": lambda: inputs,
        "tf.data": lambda: as_tf_dataset(inputs),
        "PyDataset": lambda: Batches((inputs,)),
        "DataLoader": lambda: as_data_loader(inputs, tuples=True),
        "DataLoader of dicts": lambda: as_data_loader(inputs, tuples=False),
        "generator": lambda: (Batches((inputs,))[i % 3] for i in range(6)),
    }[kind]()
    model = make()
    arguments = {"batch_size": 16, "shuffle": False} if kind == "arrays" else {}
    if kind == "PyDataset":  # Keras shuffles the order of its batches
        arguments = {"shuffle": False}
    if kind == "generator":
        arguments = {"steps_per_epoch": 3}
    history = model.fit(data, epochs=2, verbose=0, **arguments)
    assert set(history.history) == FIT_LOGS
    if kind == "DataLoader of dicts":
        validated = make().fit(data, validation_data=data, verbose=0).history["val_kl_loss"]
        kl = make().fit(data, verbose=0).model.evaluate(data, verbose=0)[2]
        assert validated == [kl]
    reference = make()
    reference.fit(inputs, batch_size=16, shuffle=False, epochs=2, verbose=0)
    assert_same_weights(model, reference)


@ordinary_on("torch")
def test_fit_reports_terms_on_validation_data(make, images):
    x, label = images
    model = make()
    inputs = {"x": x, "label": label}
    history = model.fit(inputs, validation_data=(inputs,), epochs=2, verbose=0).history
    assert set(history) == FIT_LOGS | {"val_loss", "val_reconstruction_loss", "val_kl_loss"}
    assert history["loss"][1] < history["loss"][0]
    np.testing.assert_allclose(
        history["val_loss"],
        np.add(history["val_reconstruction_loss"], history["val_kl_loss"]),
        rtol=1e-6,
    )


@ordinary_on("torch")
def test_validation_split_takes_the_last_examples(make, images):
    x, label = images
    x = x.copy()
    x[36:] = 1.0
    seen = make()
    history = seen.fit({"x": x, "label": label}, validation_split=0.25, verbose=0).history
    whole = make()
    whole.fit({"x": x[:36], "label": label[:36]}, verbose=0)
    # The validation draws come after the training's, so the weights are the same.
    for a, b in zip(seen.trainable_weights, whole.trainable_weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    assert np.isfinite(history["val_loss"][0])


def test_evaluate_lists_the_terms_in_the_order_of_the_model(make, images):
    x, label = images
    arguments = {"x": {"x": x, "label": label}, "verbose": 0}
    logs = make().evaluate(return_dict=True, **arguments)
    assert make().evaluate(**arguments) == [
        logs[name] for name in ("loss", "reconstruction_loss", "kl_loss")
    ]


@ordinary_on("torch")
def test_evaluate_draws(make, images):
    x, label = images
    model = make()
    inputs = {"x": x, "label": label}
    losses = [model.evaluate(inputs, batch_size=size, verbose=0) for size in (16, 16, 12)]
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[2][0]  # other batches, other draws
    np.testing.assert_allclose(losses[0][2], losses[2][2], rtol=1e-6)  # the KL has no draw


@ordinary_on("torch")
@pytest.mark.skipif(
    BACKEND == "jax", reason="XLA compiles two programs, which round otherwise by 6e-8"
)
def test_predict_does_not_draw_and_is_the_reconstruction(make, images):
    x, label = images
    model = make()
    inputs = {"x": x, "label": label}
    first, second = (model.predict(inputs, verbose=0) for _ in range(2))
    assert first.tobytes() == second.tobytes() == model.reconstruct(inputs).tobytes()
    assert first.shape == x.shape
    assert first.min() >= 0
    assert first.max() <= 1


def test_a_partial_last_batch_counts_by_its_size(make, images):
    x, label = images
    model = make()
    inputs = {"x": x, "label": label}
    kl = model(inputs, training=False)["kl"]
    logs = model.evaluate(inputs, batch_size=20, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["kl_loss"], ops.convert_to_numpy(kl).mean(), rtol=1e-5)


def test_a_sample_weight_weights_the_whole_example(make, images):
    x, label = images
    weight = np.repeat(np.array([2.0, 0.0], "f4"), 24)
    weighted, half = make(), make()
    inputs = {"x": x, "label": label}
    logs = weighted.evaluate(inputs, sample_weight=weight, verbose=0, return_dict=True)
    kept = {"x": x[:24], "label": label[:24]}
    kl = ops.convert_to_numpy(half(kept, training=False)["kl"]).mean()
    np.testing.assert_allclose(logs["kl_loss"], kl, rtol=1e-5)
    # Weight 2 on half the batch is the mean over that half, in fit as well.
    logs = weighted.fit(inputs, sample_weight=weight, batch_size=48, verbose=0).history
    assert logs["loss"][0] == pytest.approx(
        logs["reconstruction_loss"][0] + logs["kl_loss"][0], rel=1e-6
    )
    np.testing.assert_allclose(logs["kl_loss"][0], kl, rtol=1e-5)


@ordinary_on("torch")
@ordinary_on("torch", "jax")
@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": keras_vae.likelihoods.Gaussian("optimal")},
        {"free_bits": 0.5},
        {"objective": "iwae"},
        {"objective": "mmd"},
        {"objective": keras_vae.objectives.TotalCorrelation(3.0, dataset_size=48)},
    ],
    ids=["optimal scale", "free bits", "iwae", "mmd", "total correlation"],
)
def test_a_batch_of_weights_of_zero_is_not_nan(make, images, options):
    x, _ = images
    model = make("VAE", **options)
    weight = np.where(np.arange(48) < 16, 0.0, 1.0)
    history = model.fit(x, sample_weight=weight, batch_size=16, shuffle=False, verbose=0).history
    assert history["skipped_updates"] == [0]
    assert all(np.isfinite(values).all() for values in history.values())


def test_a_dataset_carries_sample_weights_too(make, images):
    x, label = images
    weight = np.linspace(0, 2, 48, dtype="f4")
    inputs = {"x": x, "label": label}
    from_arrays, from_dataset = make(), make()
    from_arrays.fit(inputs, sample_weight=weight, batch_size=16, shuffle=False, verbose=0)
    from_dataset.fit(Batches((inputs, x, weight)), shuffle=False, verbose=0)
    assert_same_weights(from_arrays, from_dataset)


@ordinary_on("torch")
def test_y_is_the_image_to_reconstruct(make, images):
    x, _ = images
    noisy = np.clip(x + 0.1, 0, 1)
    model, same = make("VAE"), make("VAE")
    denoising = model.evaluate(noisy, x, verbose=0)
    assert denoising[1] != same.evaluate(noisy, verbose=0)[1]
    with pytest.raises(ValueError, match="go into the input dict"):
        model.fit(x, np.zeros(48), verbose=0)


@pytest.mark.parametrize("conv", [False, pytest.param(True, marks=ordinary_on("torch"))])
def test_the_same_seed_gives_the_same_weights(make, images, conv):
    x, label = images
    models = [make(conv=conv) for _ in range(2)]
    for model in models:
        model.fit({"x": x, "label": label}, batch_size=20, epochs=2, verbose=0)
    assert_same_weights(*models)


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            raise KeyboardInterrupt


def make_with_dropout():
    networks = keras_vae.networks
    x = keras.Input((6, 5, 1))
    # On torch, Keras' Dropout without a seed draws from a generator that is in no checkpoint.
    h = keras.layers.Dropout(0.3, seed=1)(keras.layers.Flatten()(x))
    heads = [keras.layers.Dense(3)(h), keras.layers.Dense(3)(h)]
    model = keras_vae.VAE(keras.Model(x, heads), networks.DenseDecoder((6, 5, 1), (8,)))
    model.compile(keras.optimizers.Adam(1e-2))
    return model


@ordinary_on("torch")
@pytest.mark.parametrize("name", ["VAE", "ConditionalVAE", "conv", "dropout"])
def test_a_resumed_run_ends_bit_identical(make, images, tmp_path, name):
    import random

    x, label = images
    inputs = {"x": x, "label": label} if name in ("ConditionalVAE", "conv") else x

    def new():
        random.seed(5)
        if name == "dropout":
            return make_with_dropout()
        # Without a seed of its own, so that the seed itself must survive.
        return make("ConditionalVAE" if name == "conv" else name, conv=name == "conv", seed=None)

    whole, interrupted = new(), new()
    whole.fit(inputs, batch_size=20, epochs=3, verbose=0)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(inputs, batch_size=20, epochs=3, verbose=0, callbacks=[backup, Interrupt()])
    resumed = new()
    resumed.seed_generator.state.assign([123, 0])  # another process draws another default seed
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed.fit(inputs, batch_size=20, epochs=3, verbose=0, callbacks=[backup])
    assert_same_weights(whole, resumed)


class Poison(keras.utils.PyDataset):
    """Good batches, but for those that hold NaN."""

    def __init__(self, x, bad, count=6):
        super().__init__()
        self.x, self.bad, self.count = x, bad, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        x = self.x[:16].copy()
        if index in self.bad:
            x[3, 0] = np.nan
        return (x,)


@pytest.mark.parametrize("conv", [False, pytest.param(True, marks=ordinary_on("torch"))])
def test_a_non_finite_gradient_is_skipped_and_counted(make, images, conv):
    x, _ = images
    model, clean = make("VAE", conv=conv), make("VAE", conv=conv)
    history = model.fit(Poison(x, bad=(4, 5)), shuffle=False, verbose=0).history
    clean.fit(Poison(x, bad=(), count=4), shuffle=False, verbose=0)
    assert history["skipped_updates"] == [2.0]
    assert int(model.optimizer.iterations) == 4
    # Weights, and the averages of batch normalisation, are those without the bad batches.
    assert_same_weights(model, clean)
    assert np.isfinite(history["loss"][0])
    assert np.isfinite(history["gradient_norm"][0])


@pytest.mark.parametrize("count", [6, 50])
def test_a_run_of_skipped_updates_stops_training(make, images, count):
    model = make("VAE")
    with pytest.raises(FloatingPointError, match="updates were skipped"):
        model.fit(Poison(images[0], bad=range(count), count=count), epochs=10, verbose=0)
    assert all(np.isfinite(w).all() for w in weights_of(model))


@ordinary_on("torch")
def test_the_limit_of_skipped_updates_can_be_set(make, images):
    model = make("VAE")
    callbacks = [StopOnSkippedUpdates(limit=1000)]
    data = Poison(images[0], bad=range(30), count=30)
    history = model.fit(data, verbose=0, callbacks=callbacks).history
    assert history["skipped_updates"] == [30.0]
    assert np.isnan(history["loss"][0])


@ordinary_on("torch")
def test_out_of_range_batches_of_a_dataset_never_train(make, images):
    model = make("VAE")
    with pytest.raises(FloatingPointError, match="likelihood's range"):
        model.fit(Batches((255 * images[0],)), epochs=10, verbose=0)


def test_loss_scaling_finds_its_scale_and_trains(make, images):
    x, label = images
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.optimizer_skips_updates
    assert model.encoder.hidden[0].compute_dtype == "float16"
    history = model.fit({"x": x, "label": label}, batch_size=16, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    sampled = model.sample({"label": [0, 1, 2]}, seed=0)
    assert sampled.dtype == np.float32


@ordinary_on("torch")
def test_mixed_bfloat16_trains_a_convolutional_model(make, images):
    x, label = images
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make(conv=True)
    finally:
        keras.config.set_dtype_policy("float32")
    history = model.fit({"x": x, "label": label}, batch_size=16, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on torch")
def test_steps_per_execution_gives_the_same_weights(make, images):
    x, label = images
    one, many = make(), make()
    many.compile(keras.optimizers.Adam(1e-2), steps_per_execution=2)
    for model in (one, many):
        model.fit({"x": x, "label": label}, batch_size=16, epochs=2, verbose=0)
    assert_same_weights(one, many)


@ordinary_on("torch")
def test_eager_execution_gives_the_same_weights(make, images):
    x, label = images
    compiled, eager = make(), make()
    eager.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    for model in (compiled, eager):
        model.fit({"x": x, "label": label}, batch_size=24, verbose=0)
    for a, b in zip(weights_of(compiled), weights_of(eager), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_jit_compile_gives_the_same_weights(make, images, fixed_noise):
    x, label = images
    plain, compiled = make(), make()
    plain.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    compiled.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    for model in (plain, compiled):
        model.fit({"x": x, "label": label}, batch_size=48, epochs=2, verbose=0)
    for a, b in zip(weights_of(plain), weights_of(compiled), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@ordinary_on("torch")
def test_callbacks_see_each_batch(make, images):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(b))
    make("VAE").fit(images[0], batch_size=16, epochs=2, verbose=0, callbacks=callback)
    assert seen == [0, 1, 2, 0, 1, 2]


def test_the_kl_weight_is_a_variable_that_callbacks_can_set(make, images):
    model = make("VAE")

    class WarmUp(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.kl_weight.assign(epoch / 2)

    history = model.fit(images[0], epochs=3, verbose=0, callbacks=[WarmUp()]).history
    np.testing.assert_allclose(
        history["loss"],
        np.array(history["reconstruction_loss"]) + np.arange(3) / 2 * history["kl_loss"],
        rtol=1e-6,
    )


BAD_INPUTS = [
    (lambda x, y: {"x": (255 * x).astype("int64"), "label": y}, "Divide 8-bit images by 255"),
    (lambda x, y: {"x": -x, "label": y}, r"must lie in \[0, 1\]"),
    (lambda x, y: {"x": np.where(x > 0.5, np.nan, x), "label": y}, "must be finite"),
    (lambda x, y: {"x": x, "label": y + 2}, "from 0 to 2, or 3 for unknown"),
    (lambda x, y: {"x": x, "label": y - 1}, "from 0 to 2, or 3 for unknown"),
    (lambda x, y: {"x": x}, r"must have the keys \['x', 'label'\]"),
    (lambda x, y: {"x": x, "label": y, "colour": y}, "must have the keys"),
    (lambda x, y: x, "needs a dict"),
    (lambda x, y: {"x": x[..., 0], "label": y}, r"Add the channels with x\[..., None\]"),
    (lambda x, y: {"x": x[:, :5], "label": y}, "must have the shape"),
    (lambda x, y: {"x": x, "label": y[:7]}, "one value per example"),
    (lambda x, y: {"x": x[:0], "label": y[:0]}, "at least one example"),
]


@pytest.mark.parametrize(("change", "words"), BAD_INPUTS)
def test_bad_input_is_refused_in_one_line(make, images, change, words):
    model = make()
    before = weights_of(model) if model.built else None
    for method in (model.fit, model.evaluate, model.reconstruct):
        arguments = {} if method == model.reconstruct else {"verbose": 0}
        with pytest.raises(ValueError, match=words) as error:
            method(change(*images), **arguments)
        assert "\n" not in str(error.value)
    assert before is None


def test_compile_refuses_what_it_would_ignore(make):
    for arguments in ({"loss": "mse"}, {"loss_weights": [2.0]}):
        with pytest.raises(ValueError, match="takes no"):
            make(compile_model=False).compile("adam", **arguments)


@ordinary_on("tensorflow", "torch")
def test_metrics_are_of_the_reconstruction(make, images):
    x, label = images
    inputs = {"x": x, "label": label}
    model = make(compile_model=False)
    rmse = keras.metrics.RootMeanSquaredError(name="rmse")
    model.compile(keras.optimizers.SGD(0.0), metrics=["mae", rmse], weighted_metrics=["mse"])
    weight = np.linspace(0, 2, 48).astype("f4")
    error = x - model.reconstruct(inputs)
    expected = {
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt(np.square(error).mean()),
        "mse": np.average(np.square(error).mean(axis=(1, 2, 3)), weights=weight),
    }
    history = model.fit(
        inputs, sample_weight=weight, batch_size=20, validation_data=(inputs,), verbose=0
    ).history
    measured = model.evaluate(inputs, batch_size=20, verbose=0, return_dict=True)
    for name in ("mae", "rmse"):
        for found in (history[name][0], history[f"val_{name}"][0], measured[name]):
            assert found == pytest.approx(expected[name], rel=1e-5)
    assert history["mse"][0] == pytest.approx(expected["mse"], rel=1e-5)
    copy = type(model).from_config(model.get_config())
    copy.build()
    copy.compile_from_config(model.get_compile_config())
    assert "rmse" in copy.evaluate(inputs, verbose=0, return_dict=True)


def test_fit_refuses_class_weight_and_bad_weights(make, images):
    model = make("VAE")
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(images[0], class_weight={0: 1.0})
    with pytest.raises(ValueError, match="48 finite numbers"):
        model.fit(images[0], sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="validation_split"):
        model.fit(images[0], validation_split=0.999)


def test_the_bar_ends_where_an_epoch_ends(make, images, capsys):
    model = make("VAE")
    model.compile("adam", steps_per_execution=1 if BACKEND == "torch" else 2)
    model.fit(images[0], batch_size=16, epochs=2, verbose=1)
    model.evaluate(images[0], batch_size=16, verbose=1)
    said = capsys.readouterr().out
    assert said.count("3/3") >= 3
    assert "4/3" not in said
    bar = ProgressBar()
    bar.set_params({"verbose": 1, "epochs": 1, "steps": 23})
    bar.on_epoch_begin(0)
    bar.on_train_batch_end(31)
    assert "32/23" not in capsys.readouterr().out


def test_training_goes_on_after_averaged_weights(images, make):
    """Keras ends `fit` by making the averages the weights: on JAX, the same array twice."""
    x, labels = images
    model = make(compile_model=False)
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    inputs = {"x": x, "label": labels}
    first, second = (model.fit(inputs, epochs=2, verbose=0).history["loss"][-1] for _ in range(2))
    assert second < first
    # A step of `evaluate` gives the weights away, and leaves the averages.
    assert np.isfinite(model.evaluate(inputs, verbose=0)).all()
    for variable in model.optimizer.variables:
        assert np.isfinite(ops.convert_to_numpy(variable)).all()
