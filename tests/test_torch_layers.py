"""The fast layers of images on PyTorch: what Keras' own compute."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from keras import layers

import keras_vae
from keras_vae import networks
from tests.conftest import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "torch", reason="the layers are those of PyTorch")

X = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype("float32")
LAST = {"data_format": "channels_last"}
SAME = {"padding": "same", **LAST}


def normalization(**kwargs):
    return layers.BatchNormalization(
        momentum=0.9, beta_initializer="ones", gamma_initializer="random_normal", **kwargs
    )


# Those that PyTorch has no faster form of must go on as they do.
LAYERS = {
    "convolution": lambda: layers.Conv2D(2, 3, strides=2, **SAME),
    "depthwise": lambda: layers.DepthwiseConv2D(3, **SAME),
    "pooling": lambda: layers.MaxPooling2D(2, **SAME),
    "1D": lambda: keras.Sequential([layers.Reshape((30, 3)), layers.Conv1D(2, 3, **LAST)]),
    **{
        f"transposed {size} by {stride} {padding}": functools.partial(
            layers.Conv2DTranspose, 2, size, stride, padding=padding, **LAST
        )
        for size, stride in ((4, 2), (2, 2), (3, 1), (3, 2), (1, 2), ((4, 2), 2), (6, (2, 1)))
        for padding in ("same", "valid")
    },
    "normalization": normalization,
    "of gain alone": lambda: normalization(center=False),
    "of shift alone": lambda: normalization(scale=False),
    "of rows": lambda: normalization(axis=1),
    "of vectors": lambda: keras.Sequential([layers.Flatten(), normalization()]),
    "renormalization": lambda: normalization(renorm=True),
    "frozen": lambda: normalization(trainable=False),
    "half": lambda: normalization(dtype="mixed_bfloat16"),
}


def outcome(make, fast):
    """A layer's output, the gradients of a sum of it, and its variables after the call."""
    import torch

    from keras_vae.training import torch_layers

    keras.utils.set_random_seed(1)
    layer = make()
    layer.build(X.shape)
    x = torch.tensor(X, requires_grad=True)
    with torch_layers.fast() if fast else contextlib.nullcontext():
        made = layer(x, training=True)
        weights = torch.arange(made.numel(), dtype=torch.float32).reshape(made.shape).cos()
        trained = [v.value for v in layer.trainable_variables]
        gradients = torch.autograd.grad((made.float() * weights).sum(), [x, *trained])
    tensors = [made, *gradients, *(v.value for v in layer.non_trainable_variables)]
    return [t.detach().float().numpy() for t in tensors if t.is_floating_point()]


@pytest.mark.parametrize("name", LAYERS)
def test_the_fast_layers_compute_what_keras_does(name):
    for one, other in zip(outcome(LAYERS[name], True), outcome(LAYERS[name], False), strict=True):
        # Measured: 3e-6 of gradients of 20.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_normalization_is_that_of_the_batch():
    made, *_, mean, variance = outcome(normalization, True)
    x = X.astype("f8")
    expected = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(mean, 0.1 * expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * expected[1], rtol=1e-5)
    np.testing.assert_allclose(made.mean((0, 1, 2)), 1.0, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 128), (8, 8, 128)])
def test_large_products_are_those_of_matrices(shape):
    import torch

    from keras_vae.training import torch_layers

    generator = np.random.default_rng(0)
    x, w, g = (generator.normal(size=size) for size in (shape, (128, 160), (*shape[:-1], 160)))
    tensors = [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in (x, w)]
    with torch_layers.fast():
        made = keras.ops.matmul(*tensors)
    assert shape != (64, 128) or "Product" in str(made.grad_fn.next_functions)
    by_x, by_w = torch.autograd.grad((made * torch.tensor(g)).sum(), tensors, create_graph=True)
    rows = x.reshape(-1, 128)
    for found, expected in (
        (made, x @ w),
        (by_x, g @ w.T),
        (by_w, rows.T @ g.reshape(-1, 160)),
        # The gradient of a gradient's square.
        (
            torch.autograd.grad((by_x**2).sum() / 2, tensors[1])[0],
            w @ g.reshape(-1, 160).T @ g.reshape(-1, 160),
        ),
    ):
        # Measured: 1e-5 of sums of 40.
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-3)


def test_training_is_fast_and_leaves_keras_as_it_was(monkeypatch):
    import torch

    from keras_vae import keras_internals

    nn, used = keras_internals.torch_nn(), []
    before = nn.conv_transpose, layers.BatchNormalization.call
    own = torch.native_batch_norm
    monkeypatch.setattr(torch, "native_batch_norm", lambda *args: used.append(1) or own(*args))
    model = keras_vae.VAE(networks.ConvEncoder(2, (4,)), networks.ConvDecoder((6, 6, 1), (4,)))
    model.compile("adam")
    model.fit(np.full((4, 6, 6, 1), 9, "uint8"), verbose=0)
    assert len(used) == 2
    assert (nn.conv_transpose, layers.BatchNormalization.call) == before
