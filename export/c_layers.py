"""The layers of networks as a C program computes them, normalisation and activation folded in."""

import dataclasses
import itertools

import numpy as np

from export import quantization
from export.c_program import ACTIVATIONS, Layer, literal

ELSEWHERE = 'Export it to "tflite" or "onnx".'


def of(decoder):
    """The layers of a decoder, normalisation and activation folded in."""
    from keras_vae.networks import Conv1DDecoder, ConvDecoder, DenseDecoder

    # Of a subclass, nothing is known.
    if type(decoder) is DenseDecoder:
        layers = [_dense(layer) for layer in (*decoder.hidden, decoder.outputs_dense)]
    elif type(decoder) is ConvDecoder:
        layers = _convolutions(decoder)
    elif type(decoder) is Conv1DDecoder:
        layers = _doubled_steps(decoder)
    else:
        raise ValueError(
            "The C format holds the decoders DenseDecoder, ConvDecoder and Conv1DDecoder as they "
            f"are. Received: {type(decoder).__name__}. {ELSEWHERE}"
        )
    return _finite(layers, "decoder")


def encoders():
    """The encoders that a C program computes."""
    from keras_vae.networks import Conv1DEncoder, DenseEncoder

    return DenseEncoder, Conv1DEncoder


def of_encoder(encoder, data_shape):
    """The layers of one of `encoders`; the last one makes `z_mean` and `z_log_var` in a row.

    Args:
        encoder: The encoder, built.
        data_shape: Tuple of ints, the shape of an example.
    """
    from keras_vae.networks import Conv1DEncoder

    heads = [_dense(layer) for layer in (encoder.z_mean, encoder.z_log_var)]
    both = dataclasses.replace(
        heads[0],
        kernel=np.concatenate([head.kernel for head in heads]),
        bias=np.concatenate([head.bias for head in heads]),
        shape=(2 * encoder.latent_dim,),
        is_float=heads[0].kernel.size < quantization.SMALLEST_WEIGHT,
    )
    if type(encoder) is Conv1DEncoder:
        below = _halved_steps(encoder, data_shape[0])
    else:
        below = map(_dense, encoder.hidden)
    return _finite([*few_in_float(below), both], "encoder")


def few_in_float(layers):
    """Layers of which those of few weights keep them as float32, as in the other formats.

    A score is a sum over all values, to which the rounding of a code adds again and again.
    """
    few = quantization.SMALLEST_WEIGHT
    return tuple(dataclasses.replace(x, is_float=x.kernel.size < few) for x in layers)


def _finite(layers, name):
    if not all(np.isfinite(array).all() for x in layers for array in (x.kernel, x.bias)):
        raise ValueError(
            f"The {name}'s weights must be finite. Received: NaN or infinity. Train it again, or "
            "load an earlier checkpoint."
        )
    return tuple(layers)


def _dense(layer):
    kernel = numpy(layer.kernel).T
    outputs, inputs = kernel.shape
    activation = _activation(layer.activation)
    return Layer("dense", kernel, _bias(layer), (inputs,), (outputs,), activation)


def _convolutions(decoder):
    import keras

    from keras_vae.layers import ResidualBlock

    layers, repeat = [_dense(decoder.project)], 1
    layers[0] = dataclasses.replace(layers[0], shape=tuple(decoder.reshape.target_shape))
    x_shape = height, width, _ = layers[0].shape
    for layer in (*itertools.chain(*decoder.stages), decoder.channels):
        if isinstance(layer, ResidualBlock):
            layers += _residual(layer, x_shape)
            continue
        if isinstance(layer, keras.layers.UpSampling2D):
            repeat, height, width = 2, 2 * height, 2 * width
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            height, width = 2 * height, 2 * width
            kernel = numpy(layer.kernel).transpose(2, 0, 1, 3)
            shape = (height, width, layer.filters)
            layers.append(Layer("transpose", kernel, _bias(layer), x_shape, shape))
        elif isinstance(layer, keras.layers.Cropping2D):
            (_, bottom), (_, right) = layer.cropping
            height, width = height - bottom, width - right
            if repeat == 1:
                shape = (height, width, layers[-1].shape[2])
                layers[-1] = dataclasses.replace(layers[-1], shape=shape)
        elif isinstance(layer, keras.layers.Conv2D):
            kernel = numpy(layer.kernel).transpose(3, 0, 1, 2)
            shape = (height, width, layer.filters)
            layers.append(Layer("convolve", kernel, _bias(layer), x_shape, shape, repeat=repeat))
            repeat = 1
        elif isinstance(layer, keras.layers.BatchNormalization):
            layers[-1] = _normalized(layers[-1], layer)
        else:
            layers[-1] = dataclasses.replace(layers[-1], activation=_activation(layer))
        x_shape = layers[-1].shape
    return layers


def _halved_steps(encoder, steps):
    """The stages of a `Conv1DEncoder`, each of stride 2."""
    layers = []
    for stage in encoder.stages:
        x_shape = steps, stage[0].kernel.shape[1]
        steps = -(-steps // 2)
        layers.append(_along_steps(stage, x_shape, steps))
    return layers


def _doubled_steps(decoder):
    """The layers of a `Conv1DDecoder`, each stage after a repetition of every step."""
    first = _dense(decoder.project)
    layers = [dataclasses.replace(first, shape=tuple(decoder.reshape.target_shape))]
    for stage, steps in zip(decoder.stages, decoder.steps[1:], strict=True):
        layers.append(_along_steps(stage, layers[-1].shape, steps, repeat=2))
    return [*layers, _along_steps([decoder.channels], layers[-1].shape, decoder.steps[-1])]


def _along_steps(stage, x_shape, steps, repeat=1):
    """A convolution along time with the normalisation and the activation after it."""
    import keras

    convolution, *others = stage
    [size], [stride] = convolution.kernel_size, convolution.strides
    kernel = numpy(convolution.kernel).transpose(2, 0, 1)
    # What TensorFlow puts before the first step, so that the last one is within.
    long = steps if repeat > 1 else x_shape[0]
    before = max((steps - 1) * stride + size - long, 0) // 2
    if convolution.padding == "causal":
        before = size - 1
    layer = Layer(
        *("slide", kernel, _bias(convolution), x_shape, (steps, convolution.filters)),
        repeat=repeat,
        stride=stride,
        before=before,
    )
    for other in others:
        if isinstance(other, keras.layers.BatchNormalization):
            layer = _normalized(layer, other)
        else:
            layer = dataclasses.replace(layer, activation=_activation(other))
    return layer


def _residual(block, shape):
    """The two layers of a residual block, the second added to what the first is given."""
    made = []
    for index, convolution in enumerate(block.convolutions):
        kernel = numpy(convolution.kernel).transpose(3, 0, 1, 2)
        layer = Layer("convolve", kernel, _bias(convolution), shape, shape, is_added=index == 1)
        if block.normalizations:
            layer = _normalized(layer, block.normalizations[index])
        made.append(dataclasses.replace(layer, activation=_activation(block.activation)))
    return made


def _normalized(layer, normalization):
    """A layer with the batch normalisation after it folded into its weights."""
    gamma, beta, mean, variance = (
        numpy(weight)
        for weight in (
            normalization.gamma,
            normalization.beta,
            normalization.moving_mean,
            normalization.moving_variance,
        )
    )
    gain = gamma / np.sqrt(variance + normalization.epsilon)
    return dataclasses.replace(
        layer,
        kernel=layer.kernel * gain.reshape(-1, *[1] * (layer.kernel.ndim - 1)),
        bias=(layer.bias - mean) * gain + beta,
    )


def _activation(function):
    """The C expression of an activation, a function or a layer, of a value `v`; None if linear."""
    import keras

    if isinstance(function, keras.layers.LeakyReLU):
        return f"v > 0.0f ? v : {literal(function.negative_slope)} * v"
    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS or getattr(keras.activations, name) is not function:
        raise ValueError(
            f"The C format holds the activations {', '.join(ACTIVATIONS)} and the layer LeakyReLU. "
            f"Received: {name}. {ELSEWHERE}"
        )
    return ACTIVATIONS[name]


def numpy(variable):
    import keras

    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def _bias(layer):
    outputs = layer.units if hasattr(layer, "units") else layer.filters
    return np.zeros(outputs) if layer.bias is None else numpy(layer.bias)
