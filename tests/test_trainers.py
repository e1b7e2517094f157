"""Steps that are faster than Keras' own, and the same: fused updates, several at once, 8 bits."""

import importlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_vae
from keras_vae.training.fitting import STEPS_AT_ONCE
from tests.conftest import BACKEND, ordinary_on
from tests.test_training import Batches, assert_same_weights, weights_of

fused_only = pytest.mark.skipif(BACKEND == "jax", reason="XLA fuses Keras' own update")

OPTIMIZERS = {
    "plain": lambda: keras.optimizers.Adam(1e-3),
    "schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)
    ),
    "betas": lambda: keras.optimizers.Adam(1e-3, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
    "weight decay": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1),
    "clipping": lambda: keras.optimizers.Adam(1e-3, global_clipnorm=1.0),
    "moving average": lambda: keras.optimizers.Adam(1e-3, use_ema=True, ema_overwrite_frequency=20),
    "accumulation": lambda: keras.optimizers.Adam(1e-3, gradient_accumulation_steps=3),
}
SHAPES = [(7, 5), (5,), (3, 3, 2, 4)]


def fuse(optimizer):
    importlib.import_module(f"keras_vae.training.{BACKEND}_adam").fuse(optimizer)
    return optimizer


def other_strides(gradient):
    """The same values in another order of memory, as the gradient of a convolution has them."""
    reversed_axes = np.ascontiguousarray(gradient.transpose())
    return ops.transpose(ops.convert_to_tensor(reversed_axes), tuple(range(gradient.ndim))[::-1])


def train(optimizer, transposed=False):
    """Twenty-five updates by gradients that do not depend on the optimizer."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in SHAPES]
    optimizer.build(variables)
    for step in range(25):
        gradients = [rng.normal(size=shape) / (1 + step) for shape in SHAPES]
        gradients = [gradient.astype("float32") for gradient in gradients]
        as_tensor = other_strides if transposed else ops.convert_to_tensor
        gradients = [as_tensor(gradient) for gradient in gradients]
        optimizer.apply(gradients, variables)
    return [ops.convert_to_numpy(v) for v in [*variables, *optimizer.variables]]


@fused_only
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fused_update_is_that_of_keras(name):
    expected = train(OPTIMIZERS[name]())
    for transposed in (False, True):
        for a, b in zip(train(fuse(OPTIMIZERS[name]()), transposed), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@fused_only
def test_only_keras_own_adam_is_fused(make):
    class Mine(keras.optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            variable.assign_add(gradient)

    update = {"torch": "_parallel_update_step", "tensorflow": "update_step"}[BACKEND]
    for optimizer in (Mine(), keras.optimizers.SGD(), keras.optimizers.Adam(amsgrad=True)):
        assert update not in vars(fuse(optimizer))
    model = make("VAE")
    assert update in vars(model.optimizer)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    assert update in vars(fuse(scaled).inner_optimizer)


def test_8_bit_images_train_as_the_same_floats_do(make):
    x = np.random.default_rng(0).integers(0, 256, (48, 6, 5, 1), "uint8")
    labels = (np.arange(48) % 3).astype("int32")
    floats, bits = make(), make()
    for model, images in ((floats, (x / 255).astype("float32")), (bits, x)):
        inputs = {"x": images, "label": labels}
        model.fit(inputs, batch_size=20, epochs=2, verbose=0)
        model.measured = model.evaluate(inputs, verbose=0)
        model.codes = model.encode(inputs)[0]
    for a, b in zip(weights_of(floats), weights_of(bits), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(floats.measured, bits.measured, rtol=1e-5)
    np.testing.assert_allclose(floats.codes, bits.codes, atol=1e-4)


def test_a_dataset_may_hold_8_bit_images(make):
    x = np.random.default_rng(0).integers(0, 256, (48, 6, 5, 1), "uint8")
    arrays, batches = make("VAE"), make("VAE")
    arrays.fit(x, batch_size=16, shuffle=False, verbose=0)
    batches.fit(Batches((x,)), shuffle=False, verbose=0)
    for a, b in zip(weights_of(arrays), weights_of(batches), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_several_steps_at_once_give_the_weights_of_each(make, images):
    x, label = images
    auto, single = make(), make()
    single.compile(keras.optimizers.Adam(1e-2), steps_per_execution=1)
    histories = [
        # 48 images: 24 batches of 2, one call of 16 and one of 8; then a smaller last batch.
        [model.fit({"x": x, "label": label}, batch_size=size, verbose=0).history for size in (2, 5)]
        for model in (auto, single)
    ]
    assert auto.steps_per_execution == (1 if BACKEND == "torch" else STEPS_AT_ONCE)
    assert single.steps_per_execution == 1
    assert_same_weights(auto, single)
    assert histories[0] == histories[1]


@ordinary_on("tensorflow")
def test_steps_are_taken_one_by_one_where_somebody_looks(make, images, tmp_path):
    x, _ = images
    model = make("VAE")

    def steps(data=x, **kwargs):
        model.fit(data, verbose=0, **kwargs)
        return model.steps_per_execution

    many = 1 if BACKEND == "torch" else STEPS_AT_ONCE
    save = keras.callbacks.ModelCheckpoint
    assert (
        steps(
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]
        )
        == 1
    )
    assert steps(callbacks=[save(tmp_path / "a.keras", save_freq="epoch")]) == many
    assert steps(callbacks=[save(tmp_path / "a.keras", save_freq=1)]) == 1
    assert steps(callbacks=[keras.callbacks.EarlyStopping("loss")]) == many
    assert steps((item for item in [(x[:16],)] * 3), steps_per_epoch=2) == 1
    model.compile("adam", run_eagerly=True)
    assert steps() == 1


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere a loop of convolutions costs nothing")
def test_convolutions_are_not_looped_on_a_cpu(make, images):
    model = make("VAE", conv=True)
    model.fit(images[0], verbose=0)
    assert model.steps_per_execution == 1


def test_a_saved_model_goes_on_choosing_its_steps(make, images, tmp_path):
    model = make("VAE")
    model.fit(images[0], verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").chooses_steps
    model.compile("adam", steps_per_execution=1)
    model.save(tmp_path / "model.keras")
    assert not keras.saving.load_model(tmp_path / "model.keras").chooses_steps


torch_only = pytest.mark.skipif(BACKEND != "torch", reason="the others trace their steps anyway")


def compiled(model, jit_compile):
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    return model


@torch_only
@pytest.mark.parametrize(
    "kind", ["dense", "batch normalisation", "dropout", "sample weights", "loss scale"]
)
def test_a_replayed_step_does_what_the_step_does(make, images, kind):
    x, label = images
    keras.config.set_dtype_policy("mixed_float16" if kind == "loss scale" else "float32")
    try:
        pair = [make(conv=kind == "batch normalisation") for _ in range(2)]
        if kind == "dropout":
            for model in pair:
                model.encoder.hidden.insert(0, keras.layers.Dropout(0.5, seed=3))
    finally:
        keras.config.set_dtype_policy("float32")
    weights = np.linspace(0, 2, len(x)) if kind == "sample weights" else None
    histories = []
    for model, jit_compile in zip(pair, (False, True), strict=True):
        compiled(model, jit_compile)
        # The last batch of each epoch is smaller: a second graph.
        inputs = {"x": x, "label": label}
        fitted = model.fit(inputs, batch_size=20, epochs=4, verbose=0, sample_weight=weights)
        histories.append(fitted.history)
    assert pair[1].traces_steps
    assert len(pair[1].graphs) == 2
    assert histories[0] == histories[1]
    assert_same_weights(*pair)
    for a, b in zip(pair[0].non_trainable_variables, pair[1].non_trainable_variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


@torch_only
def test_a_replay_sees_what_callbacks_and_loading_change(make, images, tmp_path):
    class WarmUp(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.kl_weight.assign(epoch / 2)

    plain, traced = (compiled(make("VAE"), jit) for jit in (False, True))
    for model in (plain, traced):
        model.fit(images[0], epochs=3, verbose=0, callbacks=[WarmUp()])
        model.save_weights(tmp_path / "a.weights.h5")
        model.fit(images[0], verbose=0)
        model.load_weights(tmp_path / "a.weights.h5")
        model.fit(images[0], verbose=0)
    assert_same_weights(plain, traced)


@torch_only
def test_a_step_that_comes_often_is_replayed_unasked(make, images, monkeypatch):
    monkeypatch.setattr("keras_vae.training.torch._OFTEN", 3)
    plain, traced = (compiled(make(), jit) for jit in (False, "auto"))
    inputs = {"x": images[0], "label": images[1]}
    # Two full batches an epoch, and a smaller one.
    for epochs, count in ((1, 0), (1, 1), (1, 2)):
        for model in (plain, traced):
            model.fit(inputs, batch_size=20, epochs=epochs, verbose=0)
        assert len(traced.graphs) == count
    assert not plain.graphs
    assert traced.get_compile_config()["jit_compile"] == "auto"
    assert_same_weights(plain, traced)


class Own(keras.layers.Layer):
    def call(self, x):
        return x + 1.0


class OwnVAE(keras_vae.VAE):
    pass


class OwnLikelihood(keras_vae.likelihoods.Bernoulli):
    pass


@torch_only
@pytest.mark.parametrize("whose", ["layer", "function", "Lambda", "model", "likelihood", "nobody"])
def test_what_may_decide_anew_in_each_step_is_not_replayed_unasked(make, images, whose):
    from keras_vae.training import torch_graph

    model = make("VAE")
    parts = model.encoder, model.decoder
    if whose == "model":
        model = OwnVAE(*parts)
    elif whose == "likelihood":
        model = keras_vae.VAE(*parts, likelihood=OwnLikelihood())
    elif whose != "nobody":
        layer = {
            "layer": Own(),
            "function": keras.layers.Activation(lambda x: x + 1.0),
            "Lambda": keras.layers.Lambda(lambda x: x + 1.0),
        }[whose]
        model.encoder.hidden.append(layer)
    compiled(model, "auto").fit(images[0], verbose=0)
    assert torch_graph.is_known(model) == (whose == "nobody")


@torch_only
def test_a_step_that_no_graph_can_hold_runs_without_one(make, images):
    class Decides(keras.layers.Layer):
        def call(self, x):
            return x * 2 if x.sum() > 0 else x

    plain, traced = (compiled(make("VAE"), jit) for jit in (False, True))
    for model in (plain, traced):
        model.encoder.hidden.append(Decides())
    plain.fit(images[0], verbose=0)
    with pytest.warns(UserWarning, match="runs without a graph"):
        traced.fit(images[0], verbose=0)
    assert not traced.traces_steps
    assert_same_weights(plain, traced)
