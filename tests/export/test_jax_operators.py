"""What the way from JAX to TFLite gets wrong or lacks is replaced by what computes the same."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import export
from export import jax_operators, keras_models, stablehlo, tflite, tflite_edits
from tests.export.test_families import make_sequence_vae

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="these are operators of JAX"
)


def converted(graph, folder):
    """The signature of a graph that takes any number of examples, as a function."""
    content, edits = stablehlo.convert(graph, {graph.name: None})
    path = folder / "graph.tflite"
    path.write_bytes(tflite._edited(content, *edits, tflite_edits.fix_shapes, tflite_edits.compact))
    assert tflite.forbidden_operators(path) == []
    return tflite.load(path)


def compared(function, folder, shape=(6,), bound=2e-6, data=None):
    """Compare a file of a function of a Keras tensor with Keras, for several batch sizes."""
    x = keras.Input(shape, name="v")
    made = function(x)
    made = list(made) if isinstance(made, tuple) else [made]
    model = keras.Model(x, [ops.cast(each, "float32") for each in made])
    run = converted(keras_models.of_keras_model(model, {"v": shape}), folder)
    rng = np.random.default_rng(0)
    for rows in (1, 3, 20):
        inputs = rng.standard_normal((rows, *shape)).astype("f4") if data is None else data[:rows]
        found = run({"v": inputs}).values()
        for one, other in zip(found, keras.tree.flatten(model(inputs)), strict=True):
            other = np.asarray(other)
            assert one.shape == other.shape
            scale = max(1, np.abs(other).max())
            np.testing.assert_allclose(one, other, rtol=0, atol=bound * scale)


@pytest.mark.parametrize(
    ("kernel", "padding"),
    [
        ((3, 4), "same"),
        *(
            pytest.param(kernel, padding, marks=pytest.mark.slow)
            for kernel, padding in (
                (2, "same"),
                (5, "same"),
                (2, "valid"),
                ((3, 4), "valid"),
                (5, "valid"),
            )
        ),
    ],
)
def test_transposed_convolutions_of_any_kernel_and_stride(kernel, padding, tmp_path):
    each = [layers.Conv2DTranspose(2, kernel, s, padding=padding) for s in (1, 2, 3)]
    compared(lambda x: tuple(layer(x) for layer in each), tmp_path, (4, 5, 2))


@pytest.mark.slow
def test_transposed_convolutions_with_an_output_padding_and_along_time(tmp_path):
    padded = layers.Conv2DTranspose(3, 3, 2, padding="same", output_padding=1)
    compared(padded, tmp_path, (4, 5, 2))
    time = [layers.Conv1DTranspose(3, k, 2, padding="same") for k in (3, 4, 5)]
    compared(lambda x: tuple(layer(x) for layer in time), tmp_path, (5, 2))


def test_remainders_have_the_sign_that_they_have_in_keras(tmp_path):
    def function(x):
        whole = ops.cast(ops.round(9 * x), "int32")
        return ops.fmod(x, 0.4), ops.mod(x, 0.4), ops.fmod(whole, 4), ops.mod(whole, -4)

    compared(function, tmp_path)


def test_whole_quotients_are_rounded_down(tmp_path):
    def function(x):
        whole = ops.cast(ops.round(9 * x), "int32")
        return ops.floor_divide(x, 0.4), ops.floor_divide(whole, 4), ops.floor_divide(whole, -3)

    compared(function, tmp_path)


def test_functions_keep_their_digits_near_0(tmp_path):
    near = (1e-5 * np.random.default_rng(1).standard_normal((20, 6))).astype("f4")
    compared(lambda x: (1e5 * ops.expm1(x), 1e5 * ops.log1p(x)), tmp_path, data=near)
    compared(lambda x: (ops.expm1(x), ops.log1p(ops.exp(x)), ops.cbrt(x)), tmp_path)


def test_bits_and_truths(tmp_path):
    def function(x):
        whole = ops.cast(ops.round(9 * ops.abs(x)), "int32")
        return ops.logical_xor(x > 0, x > 0.5), ops.left_shift(whole, 3)

    compared(function, tmp_path)


def test_a_label_that_is_unknown_is_no_row_of_a_matrix(tmp_path):
    """Of one-hot vectors times a matrix the converter makes a look-up, which has no such row."""
    label = keras.Input((), dtype="int32", name="label")
    vectors = ops.equal(ops.expand_dims(label, 1), np.arange(4, dtype="int32"))
    vectors = ops.cast(vectors, "float32")
    model = keras.Model(label, layers.Dense(3, use_bias=False)(vectors))
    run = converted(keras_models.of_keras_model(model, {"label": ("int32", 5)}), tmp_path)
    labels = np.arange(5, dtype="int32")
    made = run({"label": labels})["x"]
    np.testing.assert_allclose(made, np.asarray(model(labels)), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(made[4], 0)


def test_loops_become_loops(tmp_path):
    def within(outer, inner):
        def step(at, state):
            return ops.fori_loop(0, inner, lambda k, h: 0.5 * h + ops.sin(state) + k, state)

        return lambda x: ops.fori_loop(0, outer, step, x)

    x = keras.Input((3,), name="v")
    model = keras.Model(x, within(3, 2)(layers.Dense(3)(x)))
    graph = keras_models.of_keras_model(model, {"v": (3,)})
    content, edits = stablehlo.convert(graph, {"decoder_1": 1, "decoder_16": 16})
    path = tmp_path / "loop.tflite"
    path.write_bytes(tflite._edited(content, *edits, tflite_edits.compact))
    described = tflite.describe(path)
    assert [each["name"] for each in described["signatures"]] == ["decoder_1", "decoder_16"]
    assert "WHILE" in described["operators"]
    v = np.random.default_rng(0).standard_normal((16, 3)).astype("f4")
    run = tflite.load(path, "decoder_16")
    for _ in range(2):
        np.testing.assert_allclose(run({"v": v})["x"], np.asarray(model(v)), rtol=2e-6)


@pytest.mark.slow
def test_a_model_that_draws_tokens_draws_the_same(tmp_path):
    model = make_sequence_vae()
    path = export.export(model, "tflite", "decoder", out=tmp_path, converter="stablehlo")
    assert "WHILE" in tflite.describe(path)["operators"]


def test_what_no_file_can_hold_is_refused_by_its_layer(tmp_path):
    class Sorted(layers.Layer):
        def call(self, x):
            return ops.sort(x, axis=-1)

    x = keras.Input((6,), name="v")
    model = keras.Model(x, layers.Dense(2)(Sorted(name="sorter")(layers.Dense(4)(x))))
    graph = keras_models.of_keras_model(model, {"v": (6,)})
    with pytest.raises(export.ExportError, match=r"Received: sort in \w+/sorter\. Write") as caught:
        stablehlo.convert(graph, {"decoder": None})
    assert "\n" not in str(caught.value)


def test_what_numbers_the_examples_is_refused(tmp_path):
    x = keras.Input((3,), name="v")

    class Numbered(layers.Layer):
        def call(self, x):
            return x * ops.cast(ops.arange(ops.shape(x)[0]), "float32")[:, None]

    graph = keras_models.of_keras_model(keras.Model(x, Numbered()(x)), {"v": (3,)})
    content, edits = stablehlo.convert(graph, {"decoder": None})
    with pytest.raises(export.ExportError, match="numbers them"):
        tflite._edited(content, *edits)


def test_the_replacements_are_needed(tmp_path, monkeypatch):
    """Without them files are wrong, which the next version of the converter may mend."""
    monkeypatch.setattr(jax_operators, "_REPLACEMENTS", {})
    for function, shape in (
        (layers.Conv2DTranspose(2, 3, 2, padding="same"), (4, 5, 2)),
        (lambda x: ops.fmod(x, 0.4), (6,)),
    ):
        with pytest.raises((AssertionError, ValueError)):
            compared(function, tmp_path, shape)


def test_upsamplings_become_resizes_and_spreads_products(tmp_path):
    compared(layers.UpSampling2D((2, 3)), tmp_path, (4, 7, 2), bound=0)
    operators = tflite.describe(tmp_path / "graph.tflite")["operators"]
    assert operators == ["RESIZE_NEAREST_NEIGHBOR"]
    # A runtime may take another pixel, where a factor of 1 / 49 is rounded down.
    each = [layers.UpSampling2D(7), layers.UpSampling2D(2)]
    compared(lambda x: tuple(layer(x) for layer in each), tmp_path, (7, 7, 2), bound=0)
    assert "BROADCAST_TO" not in tflite.describe(tmp_path / "graph.tflite")["operators"]


def test_a_vector_is_spread_over_a_picture(tmp_path):
    def function(x):
        picture = ops.broadcast_to(x[:, None, None], (ops.shape(x)[0], 3, 4, 6))
        return ops.concatenate([picture, ops.ones_like(picture)], axis=-1)

    class Spread(layers.Layer):
        def call(self, x):
            return function(x)

    compared(Spread(), tmp_path, bound=0)
    assert "BROADCAST_TO" not in tflite.describe(tmp_path / "graph.tflite")["operators"]
