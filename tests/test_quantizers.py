"""Codes and vectors: the nearest code, the codebook's average, restarts, rounding, gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vae.layers import FiniteScalarQuantizer, VectorQuantizer
from keras_vae.layers.quantizers import usage
from keras_vae.metrics import Perplexity
from tests import oracles
from tests.conftest import ordinary_on

# JAX compiles each of these operations by itself, for seconds.
pytestmark = ordinary_on("tensorflow", "torch")
GENERATOR = np.random.default_rng(0)
Z = GENERATOR.normal(size=(5, 3, 4, 2)).astype("float32")
LEVELS = (4, 3, 2)
SCALARS = (1.5 * GENERATOR.normal(size=(5, 3, 4, 3))).astype("float32")


def call(layer, z, training=False):
    return [ops.convert_to_numpy(y) for y in layer(ops.convert_to_tensor(z), training=training)]


def state(layer):
    return [ops.convert_to_numpy(v) for v in (layer.codebook, layer.usage)]


def test_a_vector_becomes_its_nearest_code():
    layer = VectorQuantizer(6, 2)
    vectors, codes, distance = call(layer, Z)
    codebook, _ = state(layer)
    z = Z.astype("float64").reshape(-1, 2)
    expected = oracles.nearest_codes(z, codebook.astype("float64"))
    np.testing.assert_array_equal(codes.reshape(-1), expected)
    assert codes.shape == (5, 3, 4)
    assert len(set(expected)) > 3
    np.testing.assert_array_equal(vectors, codebook[codes])
    squares = ((z - codebook[expected]) ** 2).reshape(5, -1).sum(axis=1)
    # Measured on PyTorch: 7e-8.
    np.testing.assert_allclose(distance, squares, rtol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.embed(codes)), vectors)


def test_the_codebook_is_the_moving_average_of_its_vectors():
    layer = VectorQuantizer(4, 2, decay=0.9, restart_below=0)
    layer.build(Z.shape)
    layer.usage.assign([1.0, 2.0, 3.0, 4.0])
    codebook, used = (array.astype("float64") for array in state(layer))
    for step in range(3):
        z = Z + 0.3 * step
        call(layer, z, training=True)
        codebook, used = oracles.codebook_step(
            z.astype("float64").reshape(-1, 2), codebook, used, 0.9
        )
        # Measured on PyTorch: 1e-7.
        np.testing.assert_allclose(state(layer)[0], codebook, atol=1e-6)
        np.testing.assert_allclose(state(layer)[1], used, rtol=1e-6)


def test_a_code_that_stands_for_nothing_stays_where_restarts_are_off():
    layer = VectorQuantizer(2, 2, restart_below=0)
    layer.build(Z.shape)
    layer.codebook.assign([[0.0, 0.0], [50.0, 50.0]])
    call(layer, Z, training=True)
    np.testing.assert_array_equal(state(layer)[0][1], [50.0, 50.0])


def test_dead_codes_restart_at_vectors_of_the_batch():
    layer = VectorQuantizer(6, 2, seed=0)
    layer.build(Z.shape)
    # Two codes in use among four that are too far away.
    codebook = np.full((6, 2), 1e3, "float32")
    codebook[:2] = [[-1.0, 0.0], [1.0, 0.0]]
    layer.codebook.assign(codebook)
    layer.usage.assign([10.0, 10.0, 0.0, 0.0, 0.0, 0.0])
    call(layer, Z, training=True)
    after, used = state(layer)
    rows = {tuple(row) for row in Z.reshape(-1, 2)}
    assert [tuple(row) in rows for row in after] == [False, False, True, True, True, True]
    np.testing.assert_array_equal(used[2:], 60 / 6)
    _, codes, _ = call(layer, Z)
    assert set(codes.reshape(-1)) >= {2, 3}


def test_the_first_batch_fills_the_codebook():
    layer = VectorQuantizer(16, 2, seed=0)
    for _ in range(2):
        call(layer, Z, training=True)
    _, codes, _ = call(layer, Z)
    assert len(set(codes.reshape(-1))) > 8


def test_restarts_prefer_what_is_coded_badly():
    layer = VectorQuantizer(4, 2, seed=0)
    layer.build((None, 2))
    layer.codebook.assign([[0.0, 0.0], [1e3, 0.0], [1e3, 0.0], [1e3, 0.0]])
    layer.usage.assign([100.0, 0.0, 0.0, 0.0])
    z = np.zeros((40, 2), "float32")
    z[17] = [3.0, 4.0]
    call(layer, z, training=True)
    np.testing.assert_array_equal(state(layer)[0][1:], [[3.0, 4.0]] * 3)


def test_only_training_moves_the_codebook():
    layer = VectorQuantizer(6, 2)
    call(layer, Z)
    before = state(layer)
    call(layer, 3 * Z)
    for one, other in zip(before, state(layer), strict=True):
        np.testing.assert_array_equal(one, other)


def test_scalars_are_rounded_to_their_levels():
    layer = FiniteScalarQuantizer(LEVELS)
    vectors, codes, distance = call(layer, SCALARS)
    expected, index = oracles.finite_scalar_quantization(SCALARS.astype("float64"), LEVELS)
    np.testing.assert_allclose(vectors, expected, atol=1e-7)
    np.testing.assert_array_equal(codes, index[..., 0] + 4 * index[..., 1] + 12 * index[..., 2])
    squares = ((np.tanh(SCALARS.astype("float64")) - expected) ** 2).reshape(5, -1).sum(axis=1)
    np.testing.assert_allclose(distance, squares, rtol=1e-6)


def test_every_product_of_levels_is_a_code():
    layer = FiniteScalarQuantizer(LEVELS)
    assert layer.num_codes == len({tuple(row) for row in layer.codebook}) == 24
    # 0.8 instead of 1, which no tanh reaches.
    _, codes, _ = call(layer, np.arctanh(0.8 * layer.codebook).astype("float32")[:, None])
    np.testing.assert_array_equal(codes[:, 0], np.arange(24))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.embed(codes[:, 0])), layer.codebook)


class Straight(keras.Model):
    """Vectors that are weights, quantized: a weighted sum of the outputs is the loss."""

    def __init__(self, quantizer, z):
        super().__init__()
        self.quantizer = quantizer
        self.start = z
        self.z = self.add_weight(shape=z.shape, initializer="zeros")
        self.z.assign(z)

    def call(self, factors):
        vectors, _, distance = self.quantizer(self.z)
        entries = ops.sum(vectors * factors[:, None, None, :-1])
        return ops.reshape(entries + ops.sum(distance) * factors[0, -1], (1, 1))

    def gradient(self, factors, distance_factor=0.0):
        """By `z`, of the entries times `factors` plus the distance times its factor."""
        self.compile(keras.optimizers.SGD(1.0), loss=lambda y, made: made)
        self.train_on_batch(np.array([[*factors, distance_factor]], "float32"), np.zeros((1, 1)))
        return self.start - ops.convert_to_numpy(self.z)


def test_the_gradient_passes_straight_through():
    model = Straight(VectorQuantizer(4, 2), Z[:1])
    np.testing.assert_allclose(
        model.gradient([2.0, -3.0]), np.broadcast_to([2.0, -3.0], (1, 3, 4, 2)), rtol=1e-5
    )
    model = Straight(FiniteScalarQuantizer(LEVELS), SCALARS[:1])
    slope = 1 - np.tanh(SCALARS[:1].astype("float64")) ** 2
    np.testing.assert_allclose(model.gradient([2.0, -3.0, 1.0]), slope * [2, -3, 1], atol=3e-6)


def test_the_distance_pulls_the_vectors_and_not_the_codes():
    layer = VectorQuantizer(4, 2)
    model = Straight(layer, Z[:1])
    made = model.gradient([0.0, 0.0], 0.5)
    codebook, _ = state(layer)
    z = Z[:1].astype("float64")
    nearest = codebook[oracles.nearest_codes(z.reshape(-1, 2), codebook)].reshape(z.shape)
    np.testing.assert_allclose(made, z - nearest, atol=1e-6)
    assert not layer.trainable_variables


def test_perplexity_is_the_exponential_of_the_entropy():
    codes = GENERATOR.integers(0, 5, (7, 3, 3)) ** 2 % 6
    metric = Perplexity(6)
    assert np.isnan(float(metric.result()))
    # In two batches of different size, as in one.
    for batch in (codes[:2], codes[2:]):
        metric.update_state(usage(ops.convert_to_tensor(batch.astype("int32")), 6), len(batch))
    np.testing.assert_allclose(float(metric.result()), oracles.perplexity(codes, 6), rtol=1e-6)
    metric.reset_state()
    metric.update_state(np.eye(6, dtype="float32")[2])
    np.testing.assert_allclose(float(metric.result()), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VectorQuantizer(1, 2), "`num_codes` must be a whole number of at least 2"),
        (lambda: VectorQuantizer(2.5, 2), "`num_codes` must be a whole"),
        (lambda: VectorQuantizer(4, 0), "`dim` must be a whole number of at least 1"),
        (lambda: VectorQuantizer(4, 2, decay=1.0), r"`decay` must be in \[0, 1\)"),
        (
            lambda: VectorQuantizer(4, 2, commitment_weight=-1),
            "`commitment_weight` must be a number of at",
        ),
        (lambda: FiniteScalarQuantizer((3, 1)), "`levels` must be whole numbers of at least 2"),
        (lambda: FiniteScalarQuantizer(()), "one number of at least 2 per entry"),
        (lambda: FiniteScalarQuantizer((1024, 1025)), "product of `levels` must be at most"),
        (lambda: VectorQuantizer(4, 3)(Z), "needs vectors of length 3.*latent_dim to 3"),
        (lambda: FiniteScalarQuantizer((3,))(Z), "needs vectors of length 1"),
    ],
)
def test_what_cannot_be_quantized_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError, match=words) as err:
        make()
    assert "\n" not in str(err.value)
