"""Operators of Keras in exported files: each agrees with the model, or is refused in one line."""

import contextlib
import math

import keras
import numpy as np
import pytest
from keras import layers

import export
import keras_vae
from export import c_layers, keras_models, operators, parity
from tests.export.exported import FORMATS
from tests.export.operators import GROUPS, INPUTS, REFUSED, model_of
from tests.export.test_parity import converts_here

pytestmark = [converts_here, pytest.mark.usefixtures("one_signature")]


def make(cases, format, folder):
    """Export the cases as the outputs of one model, and compare them with it."""
    graph = keras_models.of_keras_model(model_of(cases), INPUTS)
    expected = parity.reference(graph)
    module = export.module_of(format)
    path = folder / f"cases.{format}"
    module.write(module.convert(graph), path)
    names = ", ".join(f"case_{index} is {name}" for index, name in enumerate(cases))
    try:
        return parity.verify(graph, path, module, expected), path
    except parity.ParityError as err:
        raise AssertionError(f"{err} ({names})") from err


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("group", GROUPS)
def test_operators_compute_what_the_model_computes(group, format, tmp_path):
    report, path = make(GROUPS[group](), format, tmp_path)
    assert export.module_of(format).forbidden_operators(path) == []
    # Measured: at most 2e-6, of the tangent.
    assert report.largest_error < 1e-5


def alone():
    for group, cases in GROUPS.items():
        for name, case in cases().items():
            yield pytest.param(name, case, id=f"{group}, {name}")


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("name", "case"), list(alone()))
def test_each_operator_can_be_exported_alone(name, case, format, tmp_path):
    make({name: case}, format, tmp_path)


REFUSALS = [
    pytest.param(
        name,
        format,
        words.get(format, words.get("*")),
        marks=() if name in ("erfinv", "gcd", "associative_scan") else pytest.mark.slow,
    )
    for name, (_, words) in REFUSED.items()
    for format in FORMATS
]


@pytest.mark.parametrize(("name", "format", "words"), REFUSALS)
def test_what_a_format_lacks_is_refused_in_one_line(name, format, words, tmp_path):
    graph = keras_models.of_keras_model(model_of({name: REFUSED[name][0]}), INPUTS)
    module, path = export.module_of(format), tmp_path / f"case.{format}"
    expected = parity.reference(graph)

    def attempt():
        module.write(module.convert(graph), path)
        parity.verify(graph, path, module, expected)

    if words is None:
        attempt()
        return
    with pytest.raises(export.ExportError, match=words) as caught:
        attempt()
    assert len(str(caught.value).splitlines()) == 1


# The replacements themselves, without a converter


def evaluate(function, x, format):
    """What a function of a tensor gives, in a graph of a format's operators."""
    import tensorflow as tf

    def traced(x):
        with operators.replaced(format):
            return function(x)

    run = tf.function(traced, input_signature=[tf.TensorSpec((None,))], autograph=False)
    return run(tf.constant(x)).numpy(), run.get_concrete_function().graph.get_operations()


X = np.concatenate([-np.geomspace(1e-30, 30, 500), [0.0], np.geomspace(1e-30, 30, 500)])
X = X.astype("float32")
UNIT = X[np.abs(X) < 1]
ABOVE = 1 + np.abs(X)
EXACT = {
    "Acos": ("acos", UNIT, np.arccos),
    "Acosh": ("acosh", ABOVE, np.arccosh),
    "Asin": ("asin", UNIT, np.arcsin),
    "Asinh": ("asinh", X, np.arcsinh),
    "Atan": ("atan", X, np.arctan),
    "Atanh": ("atanh", UNIT, np.arctanh),
    "Cosh": ("cosh", X, np.cosh),
    "Erf": ("erf", X, np.vectorize(math.erf)),
    "Expm1": ("expm1", X, np.expm1),
    "Log1p": ("log1p", np.concatenate([UNIT, ABOVE]), np.log1p),
    "Sinh": ("sinh", X, np.sinh),
    "Softplus": ("softplus", X, lambda x: np.logaddexp(0, x)),
    "Tan": ("tan", X, np.tan),
}


@pytest.mark.parametrize("name", EXACT)
def test_replacements_are_exact_near_zero_too(name):
    import tensorflow as tf

    function, x, oracle = EXACT[name]
    made, created = evaluate(getattr(tf.math, function), x, "tflite")
    assert name not in {operator.type for operator in created}
    # Of the value itself, down to 1e-30. Measured: 1.3e-6, of the inverse hyperbolic tangent.
    np.testing.assert_allclose(made, oracle(x.astype("float64")), rtol=5e-6, atol=1e-37)


def test_replacements_hold_far_from_zero():
    import tensorflow as tf

    x = np.array([-np.inf, -200.0, -60.0, 60.0, 200.0, np.inf], "float32")
    for name, expected in (
        ("expm1", np.expm1),
        ("erf", np.sign),
        ("sinh", np.sinh),
        ("cosh", np.cosh),
        ("atan", np.arctan),
        ("softplus", lambda x: np.logaddexp(0, x)),
    ):
        made, _ = evaluate(getattr(tf.math, name), x, "tflite")
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(made, expected(x), rtol=1e-6, err_msg=name)
    made, _ = evaluate(tf.math.log1p, np.array([-1.0, 1e30, 3e38], "float32"), "onnx")
    np.testing.assert_allclose(made, [-np.inf, np.log(1e30), np.log(3e38)], rtol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_the_sign_of_zero_is_told(format):
    x = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf], "float32")
    made, _ = evaluate(keras.ops.signbit, x, format)
    np.testing.assert_array_equal(made, np.signbit(x))


def test_only_the_indices_of_an_input_do_not_count_from_the_end():
    table = np.arange(5.0, dtype="float32")

    def rows(index):
        return keras.ops.take(table, keras.ops.cast(index, "int32"))

    for function, is_kept in ((rows, False), (lambda x: rows(x - 2), True)):
        made, created = evaluate(function, np.array([2.0, 3.0], "float32"), "tflite")
        [gather] = [operator for operator in created if operator.type == "GatherV2"]
        assert (gather.inputs[1].op.type == "SelectV2") == is_kept
    np.testing.assert_array_equal(made, [0.0, 1.0])


def test_a_maximum_of_what_was_selected_is_not_taken_for_that_of_keras():
    def function(x):
        x = keras.ops.reshape(x, (-1, 3))
        chosen = keras.ops.where(keras.ops.logical_and(x > 0, x < 2), -1.0, x)
        return keras.ops.argmax(chosen, axis=-1)

    made, _ = evaluate(function, np.array([1.0, 0.5, 0.0], "float32"), "tflite")
    np.testing.assert_array_equal(made, [2])


def test_what_is_replaced_is_replaced_while_a_graph_is_traced_only():
    import tensorflow as tf

    create = tf.__internal__.FuncGraph._create_op_internal
    with contextlib.suppress(ZeroDivisionError), operators.replaced("onnx"):
        assert tf.__internal__.FuncGraph._create_op_internal is not create
        raise ZeroDivisionError
    assert tf.__internal__.FuncGraph._create_op_internal is create
    assert not tf.config.functions_run_eagerly()
    traced = tf.function(tf.math.log1p).get_concrete_function(tf.TensorSpec(()))
    assert "Log1p" in {operator.type for operator in traced.graph.get_operations()}


# Whole models


def varied(model):
    """Weights that are large enough to tell the outputs apart."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.5)
    return model


def dense(activation):
    networks = keras_vae.networks
    model = keras_vae.VAE(
        networks.DenseEncoder(2, (4,), activation=activation),
        networks.DenseDecoder((4, 4, 1), (40,), activation=activation),
    )
    model.build()
    return varied(model)


def test_gelu_goes_to_every_format(tmp_path):
    variants = [(format, "none") for format in FORMATS]
    model = dense("gelu")
    for _, report in export.export_files(model, variants, ("decoder", "scorer"), tmp_path):
        # Measured: 2e-7.
        assert report.largest_error < 2e-6
    variants = [(format, "int8") for format in ("tflite", "onnx", "c")]
    for _, report in export.export_files(model, variants, out=tmp_path):
        # Measured: 0.02, of the weights in 8 bits.
        assert report.largest_error < 0.05


def test_the_converter_keeps_gelu_as_one_operator(tmp_path):
    [(path, _)] = export.export_files(dense("gelu"), [("tflite", "none")], out=tmp_path)
    assert "GELU" in export.module_of("tflite").describe(path)["operators"]


def test_a_gelu_that_is_no_operator_of_its_own_is_written_out(tmp_path):
    v = keras.Input((4,), name="v")
    # They share `v / 2` and `-v` with it.
    model = keras.Model(v, [keras.ops.gelu(v, approximate=False), v * 0.5, -v])
    [(path, report)] = export.export_files(
        model, [("tflite", "none")], out=tmp_path, inputs={"v": (4,)}
    )
    assert "GELU" not in export.module_of("tflite").describe(path)["operators"]
    assert report.largest_error < 1e-6


@keras.saving.register_keras_serializable("tests")
class LayerScale(layers.Layer):
    """A learned factor for each channel, as ConvNeXt has it."""

    def build(self, shape):
        self.gamma = self.add_weight(name="gamma", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.gamma


@keras.saving.register_keras_serializable("tests")
class StochasticDepth(layers.Layer):
    """Drops a branch of some examples in training."""

    def call(self, x, training=None):
        if not training:
            return x
        kept = keras.random.uniform((keras.ops.shape(x)[0], 1, 1, 1)) < 0.9
        return keras.ops.where(kept, x / 0.9, 0.0)


def convnext_block(h, grouped):
    """A block of ConvNeXt, whose depthwise convolution Keras writes with groups."""
    channels = h.shape[-1]
    if grouped:
        x = layers.Conv2D(channels, 7, padding="same", groups=channels)(h)
    else:
        x = layers.DepthwiseConv2D(7, padding="same")(h)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Activation("gelu")(layers.Dense(4 * channels)(x))
    x = LayerScale()(layers.Dense(channels)(x))
    return layers.Add()([h, StochasticDepth()(x)])


@pytest.mark.parametrize("format", FORMATS)
def test_convnext_blocks_can_be_exported(format, tmp_path):
    z, label = keras.Input((3,), name="z"), keras.Input((), dtype="int32", name="label")
    h = layers.Concatenate()([z, layers.Embedding(4, 3)(label)])
    h = layers.Reshape((3, 2, 6))(layers.Dense(36)(h))
    h = convnext_block(layers.UpSampling2D(2)(h), grouped=True)
    h = layers.Conv2DTranspose(4, 2, strides=2)(layers.LayerNormalization()(h))
    h = convnext_block(h, grouped=False)
    model = varied(keras.Model([z, label], layers.Conv2D(1, 1, activation="sigmoid")(h)))
    inputs = {"label": ("int32", 4), "z": (3,)}
    for quantize in ("none", "int8"):
        variants = [(format, quantize)]
        [(_, report)] = export.export_files(model, variants, out=tmp_path, inputs=inputs)
        # Measured: 5e-7, and 0.03 with weights in 8 bits.
        assert report.largest_error < (3e-6 if quantize == "none" else 0.1)


def test_networks_of_a_users_own_can_be_exported(tmp_path):
    """Those of examples/own_networks.py: residual blocks whose channels a label scales."""

    def residual(h, condition):
        inner = layers.Dense(8, activation="gelu")(layers.LayerNormalization()(h))
        gain = layers.Dense(8, activation="sigmoid")(condition)
        return layers.Add()([h, layers.Dense(8)(layers.Multiply()([inner, gain]))])

    x, condition = keras.Input((4, 4, 1)), keras.Input((3,))
    h = residual(layers.Dense(8)(layers.Flatten()(x)), condition)
    encoder = keras.Model([x, condition], [layers.Dense(2)(h), layers.Dense(2)(h)])
    z, condition = keras.Input((2,)), keras.Input((3,))
    h = residual(layers.Dense(8)(z), condition)
    decoder = keras.Model([z, condition], layers.Reshape((4, 4, 1))(layers.Dense(16)(h)))
    kind = {"label": keras_vae.Categorical(3)}
    model = keras_vae.ConditionalVAE(encoder, decoder, condition=kind)
    model.build((None, 4, 4, 1))
    variants = [(format, "none") for format in FORMATS]
    for _, report in export.export_files(varied(model), variants, ("sampler", "scorer"), tmp_path):
        # Measured: 3e-7.
        assert report.largest_error < 2e-6


def test_the_c_format_holds_an_activation_or_refuses_it_in_one_line():
    names = set(c_layers.ACTIVATIONS)
    for name, function in vars(keras.activations).items():
        if name.startswith("_") or name in ("get", "serialize", "deserialize"):
            continue
        if function.__name__ in names:
            assert c_layers._activation(function) is not None or name == "linear"
            continue
        with pytest.raises(
            ValueError, match=f"holds the activations .* Received: {name}"
        ) as caught:
            c_layers._activation(function)
        assert len(str(caught.value).splitlines()) == 1
