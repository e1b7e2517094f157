"""A doubling and a convolution as one transposed convolution: the same numbers."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vae.networks import ConvDecoder, doubling

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("use_bias", [True, False])
def test_both_forms_are_the_convolution_of_the_doubled_image(size, use_bias):
    h = GENERATOR.normal(size=(2, 3, 4, 5)).astype("float32")
    double = keras.layers.UpSampling2D(data_format="channels_last")
    convolution = keras.layers.Conv2D(
        2, size, padding="same", use_bias=use_bias, data_format="channels_last"
    )
    convolution.build((None, 6, 8, 5))
    for weight in convolution.weights:
        weight.assign(GENERATOR.normal(size=weight.shape))
    kernel = ops.convert_to_numpy(convolution.kernel).astype("f8")
    bias = ops.convert_to_numpy(convolution.bias) if use_bias else 0.0
    around = size // 2
    doubled = np.kron(h.astype("f8"), np.ones((1, 2, 2, 1)))
    padded = np.pad(doubled, ((0, 0), (around, around), (around, around), (0, 0)))
    expected = sum(
        padded[:, i : i + 6, j : j + 8] @ kernel[i, j] for i in range(size) for j in range(size)
    )
    for value in (True, False):
        with doubling.transposed(value):
            made = ops.convert_to_numpy(doubling.double_and_convolve(h, double, convolution))
        # Measured: 8e-6 of values of 40.
        np.testing.assert_allclose(made, expected + bias, rtol=0, atol=5e-5)


def test_a_decoder_takes_the_form_of_its_backend(monkeypatch):
    z = GENERATOR.normal(size=(2, 3)).astype("float32")
    decoder = ConvDecoder((8, 12, 1), (4, 2))
    decoder(z)
    used = []
    smoothed = doubling.smoothed
    monkeypatch.setattr(doubling, "smoothed", lambda kernel: used.append(1) or smoothed(kernel))
    made = ops.convert_to_numpy(decoder(z))
    assert len(used) == (0 if keras.backend.backend() == "jax" else 2)
    with doubling.transposed(False):
        np.testing.assert_allclose(made, ops.convert_to_numpy(decoder(z)), atol=1e-6)
    assert len(used) in (0, 2)
