"""The encoders and decoders: image sizes, widths, precision, and upsampling against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vae.layers import ResidualBlock
from keras_vae.networks import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder
from tests.conftest import ordinary_on

pytestmark = ordinary_on("torch")

GENERATOR = np.random.default_rng(0)
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (45, 60, 1)]
Z = GENERATOR.normal(size=(2, 3)).astype("float32")


def images(shape):
    return GENERATOR.uniform(size=(2, *shape)).astype("float32")


def filters(network):
    """Channels of every convolution in the stages, in order."""
    layers = [layer for stage in network.stages for layer in stage]
    return [layer.filters for layer in layers if hasattr(layer, "filters")]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolutional_pair_takes_and_makes_any_image_size(shape, transposed):
    x = images(shape)
    codes = ConvEncoder(3, hidden_units=(2, 4))(x)
    assert [tuple(code.shape) for code in codes] == [(2, 3), (2, 3)]
    decoder = ConvDecoder(shape, hidden_units=(4, 2), transposed=transposed)
    logits = ops.convert_to_numpy(decoder(codes[0]))
    assert logits.shape == x.shape
    assert np.isfinite(logits).all()
    assert logits.std() > 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (45, 60, 1)])
def test_the_number_of_stages_is_that_of_the_hidden_units(shape):
    for hidden_units in ((4,), (4, 2, 4, 2, 4)):
        encoder = ConvEncoder(3, hidden_units)
        decoder = ConvDecoder(shape, hidden_units)
        assert filters(encoder) == list(hidden_units)
        assert filters(decoder) == list(hidden_units)
        spec = encoder(keras.KerasTensor((None, *shape)))[0]
        assert tuple(decoder(spec).shape) == (None, *shape)
        # Each stage halves the image, rounding up: 45x60 is 2x2 after five.
        height, width = (-(-side // 2 ** len(hidden_units)) for side in shape[:2])
        smallest = height * width * hidden_units[-1]
        assert tuple(encoder.z_mean.kernel.shape) == (smallest, 3)
        assert tuple(decoder.project.kernel.shape) == (3, smallest)


def test_dense_networks_have_the_widths_asked_for():
    encoder, decoder = DenseEncoder(3, (7, 5)), DenseDecoder((4, 2), (5, 6, 7))
    made = decoder(encoder(images((4, 2)))[0])
    assert tuple(made.shape) == (2, 4, 2)
    assert [layer.units for layer in encoder.hidden] == [7, 5]
    assert [layer.units for layer in decoder.hidden] == [5, 6, 7]


def test_convolutions_have_a_bias_or_batch_normalisation():
    for normalised in (True, False):
        for network in (
            ConvEncoder(3, (2,), batch_normalization=normalised),
            ConvDecoder((8, 8, 1), (2,), batch_normalization=normalised),
        ):
            (stage,) = network.stages
            kinds = {type(layer).__name__ for layer in stage}
            (convolution,) = (layer for layer in stage if hasattr(layer, "filters"))
            assert ("BatchNormalization" in kinds) == normalised
            assert convolution.use_bias == (not normalised)
            assert stage[-1].negative_slope == 0.2


@pytest.mark.parametrize("network", [DenseEncoder, ConvEncoder, DenseDecoder, ConvDecoder])
def test_every_network_sees_its_condition(network):
    # Made here, where the seed is fixed: a unit that is off for an example hides its condition.
    if "Encoder" in network.__name__:
        network, tensor = network(3, (16,)), images((8, 8, 1))
    else:
        network, tensor = network((8, 8, 1), (16,)), Z
    condition = np.eye(2, 5, dtype="float32")
    made, other = (
        ops.convert_to_numpy(keras.tree.flatten(network([tensor, values]))[0])
        for values in (condition, condition[::-1].copy())
    )
    assert np.all(np.abs(made - other).reshape(2, -1).max(axis=1) > 1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_ends_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        encoders = [DenseEncoder(3, (4,)), ConvEncoder(3, (4,))]
        decoders = [DenseDecoder((8, 8, 1), (4,)), ConvDecoder((8, 8, 1), (4,))]
    finally:
        keras.config.set_dtype_policy("float32")
    inner = [encoders[0].hidden[0], encoders[1].stages[0][0], decoders[0].hidden[0]]
    assert {layer.compute_dtype for layer in inner} == {policy.removeprefix("mixed_")}
    symbolic = [encoder(keras.KerasTensor((None, 8, 8, 1))) for encoder in encoders]
    symbolic += [decoder(keras.KerasTensor((None, 3))) for decoder in decoders]
    assert {tensor.dtype for tensor in keras.tree.flatten(symbolic)} == {"float32"}
    for decoder in decoders:
        assert keras.backend.standardize_dtype(decoder(Z).dtype) == "float32"


def convolve_in_numpy(image, kernel, bias):
    """Convolution of stride 1 in float64: zeros around the image, kernel not flipped."""
    height, width, _ = image.shape
    size = kernel.shape[0]
    pad = size // 2
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    made = np.zeros((height, width, kernel.shape[3])) + bias
    for row in range(size):
        for column in range(size):
            made += padded[row : row + height, column : column + width] @ kernel[row, column]
    return made


def test_the_decoder_repeats_pixels_then_convolves():
    decoder = ConvDecoder((5, 8, 2), hidden_units=(3,), batch_normalization=False)
    decoder(Z)
    convolution = next(layer for layer in decoder.stages[0] if hasattr(layer, "filters"))
    for layer in (decoder.project, convolution, decoder.channels):
        layer.bias.assign(GENERATOR.normal(size=layer.bias.shape))
    (w, b), (kernel, bias), (last_kernel, last_bias) = (
        [ops.convert_to_numpy(v).astype("f8") for v in layer.weights]
        for layer in (decoder.project, convolution, decoder.channels)
    )
    expected = []
    for z in Z.astype("f8"):
        smallest = (z @ w + b).reshape(3, 4, 3)
        doubled = np.kron(smallest, np.ones((2, 2, 1)))[:5, :8]
        h = convolve_in_numpy(doubled, kernel, bias)
        h = np.where(h > 0, h, 0.2 * h)
        expected.append(convolve_in_numpy(h, last_kernel, last_bias))
    # Measured: 4e-7 on each backend.
    got = ops.convert_to_numpy(decoder(Z))
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_a_residual_block_adds_two_convolutions_to_what_it_is_given():
    x = GENERATOR.normal(size=(2, 5, 4, 3)).astype("float32")
    block = ResidualBlock(3, batch_normalization=False, negative_slope=0.3)
    new = ops.convert_to_numpy(block(x))
    np.testing.assert_allclose(new, np.where(x > 0, x, 0.3 * x), atol=0.5)
    for weight in block.weights:
        weight.assign(GENERATOR.normal(size=weight.shape))
    first, last = (
        [ops.convert_to_numpy(v).astype("f8") for v in layer.weights]
        for layer in block.convolutions
    )
    for image, made in zip(x.astype("f8"), ops.convert_to_numpy(block(x)), strict=True):
        h = convolve_in_numpy(image, *first)
        h = image + convolve_in_numpy(np.where(h > 0, h, 0.3 * h), *last)
        # Measured: 4e-6 of values of 30.
        np.testing.assert_allclose(made, np.where(h > 0, h, 0.3 * h), rtol=0, atol=4e-5)


def test_a_residual_block_normalises_both_convolutions():
    x = GENERATOR.normal(size=(64, 4, 4, 2)).astype("float32")
    block = ResidualBlock(2)
    block.build(x.shape)
    block.normalizations[1].gamma.assign([1.0, 1.0])
    added = ops.convert_to_numpy(block(x, training=True))
    added = np.where(added > 0, added, added / 0.2) - x
    np.testing.assert_allclose(added.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(added.std((0, 1, 2)), 1, atol=1e-2)
    assert float(np.abs(ops.convert_to_numpy(block.normalizations[1].moving_mean)).max()) > 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (45, 60, 1)])
def test_residual_blocks_stand_where_images_are_small(shape):
    encoder = ConvEncoder(3, (2, 4), residual_blocks=2)
    decoder = ConvDecoder(shape, (4, 2), residual_blocks=2)
    assert tuple(decoder(encoder(images(shape))[0]).shape) == (2, *shape)
    for network, widths in ((encoder, (2, 4)), (decoder, (4, 4))):
        for stage, width in zip(network.stages, widths, strict=True):
            blocks = [layer for layer in stage if isinstance(layer, ResidualBlock)]
            assert [block.options["filters"] for block in blocks] == [width] * 2
    assert "residual_blocks" not in ConvEncoder(3).get_config()  # as earlier versions wrote it


def test_batch_normalisation_uses_the_batch_in_training_only():
    x = images((8, 8, 1))
    encoder = ConvEncoder(3, (4,))
    training = ops.convert_to_numpy(encoder(x, training=True)[0])
    again, single = (ops.convert_to_numpy(encoder(part, training=False)[0]) for part in (x, x[:1]))
    assert np.abs(training - again).max() > 1e-3
    np.testing.assert_allclose(single, again[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConvDecoder((28, 28)), "must be (height, width, channels). Received: (28, 28)"),
        (lambda: ConvDecoder((1, 28, 28, 1)), "must be (height, width, channels)"),
        (lambda: ConvEncoder(3, hidden_units=()), "`hidden_units` must name at least one stage"),
        (lambda: ConvDecoder((8, 8, 1), ()), "`hidden_units` must name at least one stage"),
    ],
)
def test_wrong_shapes_are_refused_in_one_line(make, words):
    with pytest.raises(ValueError) as error:
        make()
    assert words in str(error.value)
    assert "\n" not in str(error.value)
