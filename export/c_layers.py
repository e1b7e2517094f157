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
        layers = [dense(layer) for layer in (*decoder.hidden, decoder.outputs_dense)]
    elif type(decoder) is ConvDecoder:
        first = dense(decoder.project, tuple(decoder.reshape.target_shape))
        stages = (*itertools.chain(*decoder.stages), decoder.channels)
        layers = _convolutions(stages, first.shape, [first])
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
    from keras_vae.networks import Conv1DEncoder, ConvEncoder, DenseEncoder

    return ConvEncoder, Conv1DEncoder, DenseEncoder


def of_encoder(encoder, data_shape, has_variance=True):
    """The layers of one of `encoders`; the last one makes `z_mean` and `z_log_var` in a row.

    Args:
        encoder: The encoder, built.
        data_shape: Tuple of ints, the shape of an example.
        has_variance: Whether it makes `z_log_var` at all.
    """
    from keras_vae.networks import Conv1DEncoder, ConvEncoder

    heads = [encoder.z_mean, encoder.z_log_var] if has_variance else [encoder.z_mean]
    if type(encoder) is Conv1DEncoder:
        below = _halved_steps(encoder, data_shape[0])
    elif type(encoder) is ConvEncoder:
        stages = list(itertools.chain(*encoder.stages))
        below = _convolutions(stages, (*data_shape[:2], stages[0].kernel.shape[2]))
    else:
        below = map(dense, encoder.hidden)
    return _finite([*few_in_float(below), joined(heads)], "encoder")


def of_grid(decoder, x_shape):
    """The layers of a `ConvGridDecoder` of a grid of vectors of a shape."""
    from keras_vae.networks import ConvGridDecoder

    if type(decoder) is not ConvGridDecoder:
        raise ValueError(
            "The C format holds the decoder ConvGridDecoder of codes as it is. Received: "
            f"{type(decoder).__name__}. {ELSEWHERE}"
        )
    stages = (decoder.project, *itertools.chain(*decoder.stages), decoder.channels)
    return _finite(_convolutions(stages, x_shape), "decoder")


def of_grid_encoder(encoder, data_shape):
    """The layers of a `ConvGridEncoder` of examples of a shape."""
    from keras_vae.networks import ConvGridEncoder

    if type(encoder) is not ConvGridEncoder:
        raise ValueError(
            "The C format holds the encoder ConvGridEncoder of codes as it is. Received: "
            f"{type(encoder).__name__}. {ELSEWHERE}"
        )
    stages = (*itertools.chain(*encoder.stages), encoder.vectors)
    return _finite(few_in_float(_convolutions(stages, data_shape)), "encoder")


def of_classifier(classifier, data_shape):
    """The layers of a `DenseClassifier` or a `ConvClassifier`; the last one makes the logits.

    Args:
        classifier: The classifier, built.
        data_shape: Tuple of ints, the shape of an example.
    """
    import keras

    from keras_vae.networks import ConvClassifier

    stages = [x for x in itertools.chain(*classifier.stages) if type(x) is not keras.layers.Dropout]
    if type(classifier) is ConvClassifier:
        below = _convolutions(stages, data_shape)
    else:
        below = []
        for layer in stages:
            if isinstance(layer, keras.layers.Dense):
                below.append(dense(layer))
            elif isinstance(layer, keras.layers.BatchNormalization):
                below[-1] = _normalized(below[-1], layer)
            else:
                below[-1] = dataclasses.replace(below[-1], activation=_activation(layer))
    return _finite(few_in_float([*below, dense(classifier.logits)]), "classifier")


def joined(heads):
    """Several `Dense` layers of one input as one, whose outputs lie in a row; few as float32."""
    layers = [dense(head) for head in heads]
    kernel = np.concatenate([layer.kernel for layer in layers])
    return dataclasses.replace(
        layers[0],
        kernel=kernel,
        bias=np.concatenate([layer.bias for layer in layers]),
        shape=(len(kernel),),
        is_float=layers[0].kernel.size < quantization.SMALLEST_WEIGHT,
    )


def of_locations(layers, channels, count):
    """Layers that make the first alone of `count` parameters of each value of some channels."""
    *others, last = layers
    kept = np.arange(channels)
    if last.kind == "dense":
        kept = (np.arange(0, len(last.kernel), channels * count)[:, None] + kept).reshape(-1)
    changed = {"kernel": last.kernel[kept], "bias": last.bias[kept]}
    return (*others, dataclasses.replace(last, **changed, shape=(*last.shape[:-1], len(kept))))


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


def dense(layer, shape=None):
    """A `Dense` layer, of a shape if what it makes has one."""
    kernel = numpy(layer.kernel).T
    outputs, inputs = kernel.shape
    activation = _activation(layer.activation)
    return Layer("dense", kernel, _bias(layer), (inputs,), shape or (outputs,), activation)


def _convolutions(stages, x_shape, layers=()):
    """The layers of images through some of Keras', from a shape on, after those before it."""
    import keras

    from keras_vae.layers import ResidualBlock

    layers, repeat = list(layers), 1
    height, width, _ = x_shape
    for layer in stages:
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
            layers.append(_convolution(layer, x_shape, (height, width), repeat))
            height, width, _ = layers[-1].shape
            repeat = 1
        elif isinstance(layer, keras.layers.BatchNormalization):
            layers[-1] = _normalized(layers[-1], layer)
        else:
            layers[-1] = dataclasses.replace(layers[-1], activation=_activation(layer))
        x_shape = layers[-1].shape if layers else x_shape
    return layers


def _convolution(layer, x_shape, sides, repeat=1):
    """A `Conv2D` of images of some sides, those of `x_shape` repeated and cropped."""
    kernel = numpy(layer.kernel).transpose(3, 0, 1, 2)
    [stride] = set(layer.strides)
    shape = (*(-(-side // stride) for side in sides), layer.filters)
    before = tuple(
        _before(*of_side, stride)
        for of_side in zip(shape[:2], kernel.shape[1:3], sides, strict=True)
    )
    moves = {"repeat": repeat, "stride": stride, "before": before}
    return Layer("convolve", kernel, _bias(layer), x_shape, shape, **moves)


def _before(made, size, taken, stride):
    """What TensorFlow puts before the first place, so that the last one is within."""
    return max((made - 1) * stride + size - taken, 0) // 2


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
    layers = [dense(decoder.project, tuple(decoder.reshape.target_shape))]
    for stage, steps in zip(decoder.stages, decoder.steps[1:], strict=True):
        layers.append(_along_steps(stage, layers[-1].shape, steps, repeat=2))
    return [*layers, _along_steps([decoder.channels], layers[-1].shape, decoder.steps[-1])]


def _along_steps(stage, x_shape, steps, repeat=1):
    """A convolution along time with the normalisation and the activation after it."""
    import keras

    convolution, *others = stage
    [size], [stride] = convolution.kernel_size, convolution.strides
    kernel = numpy(convolution.kernel).transpose(2, 0, 1)
    before = _before(steps, size, steps if repeat > 1 else x_shape[0], stride)
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
        layer = _convolution(convolution, shape, shape[:2])
        layer = dataclasses.replace(layer, is_added=index == 1)
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
    if isinstance(function, keras.layers.ReLU) and (
        (function.max_value, function.negative_slope, function.threshold) == (None, 0.0, 0.0)
    ):
        return ACTIVATIONS["relu"]
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
