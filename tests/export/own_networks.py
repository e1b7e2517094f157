"""Networks as users write them, each with its inputs and with what a format refuses of it."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

NETWORKS = {}
WORDS = ("int32", 11, 6)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of a user.

    Args:
        make: Function that returns the Keras model.
        inputs: As `export.export` takes them.
        refused: Dict from a format, or from `"FORMAT QUANTIZATION"`, to a pattern of what is said.
        outputs: Optional tuple of names, where it is no `x`, or `y` of an `x`.
        is_called_by_name: Whether the inputs are arguments of its `call`.
    """

    make: Callable
    inputs: dict
    refused: dict = dataclasses.field(default_factory=dict)
    outputs: tuple = ()
    is_called_by_name: bool = False

    def refusal(self, format, quantize):
        """What is said of a format and a quantization, or None where the file is made."""
        return self.refused.get(format, self.refused.get(f"{format} {quantize}"))

    def drawn(self, rows, seed):
        """Dict of arrays, inputs of a number of rows."""
        rng = np.random.default_rng(seed)
        return {
            name: rng.integers(0, shape[1], (rows, *shape[2:]), dtype="int32")
            if shape[0] == "int32"
            else rng.standard_normal((rows, *shape), dtype="float32")
            for name, shape in self.inputs.items()
        }


def network(name, inputs, refused=None, outputs=(), is_called_by_name=False):
    """Add the model that a function makes, by a name."""

    def add(make):
        named = outputs or ("y" if "x" in inputs else "x",)
        NETWORKS[name] = Network(make, inputs, refused or {}, named, is_called_by_name)
        return make

    return add


def varied(model):
    """A model whose weights say something: none is 0, and variances are positive."""
    rng = np.random.default_rng(4)
    for weight in model.weights:
        if "seed" in weight.path or "float" not in weight.dtype:
            continue
        fan_in = max(1, int(np.prod(weight.shape[:-1])))
        values = rng.standard_normal(weight.shape) * (1.0 / fan_in**0.5)
        if weight.path.endswith(("gamma", "scale", "moving_variance", "variance")):
            values = rng.uniform(0.5, 1.5, weight.shape)
        elif len(weight.shape) < 2:
            values = rng.standard_normal(weight.shape) * 0.2
        weight.assign(values)
    return model


def functional(inputs, call):
    """A functional model of `call`, of tensors by their names."""
    tensors = {
        name: keras.Input(shape[2:], dtype="int32", name=name)
        if shape[0] == "int32"
        else keras.Input(shape, name=name)
        for name, shape in inputs.items()
    }
    made = call(**tensors)
    return keras.Model(tensors if len(tensors) > 1 else next(iter(tensors.values())), made)


def chain(inputs, *steps):
    """A functional model of one input and layers, or functions, one after the other."""

    def call(**tensors):
        [h] = tensors.values()
        for step in steps:
            h = step(h)
        return h

    return functional(inputs, call)


# Generators of pictures

Z, PICTURE = {"z": (8,)}, {"x": (8, 8, 3)}


def _from_code(*size):
    return layers.Dense(int(np.prod(size))), layers.Reshape(size)


@network("DCGAN", Z)
def _dcgan():
    def block(filters):
        yield layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False)
        yield layers.BatchNormalization()
        yield layers.LeakyReLU(0.2)

    last = layers.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh")
    return chain(Z, *_from_code(2, 2, 8), *block(8), *block(4), last)


def _transposed(kernel):
    def make():
        def call(z):
            h = layers.Reshape((3, 4, 4))(layers.Dense(48)(z))
            made = {}
            for strides in (1, 2, 3, (2, 1)):
                for padding in ("same", "valid"):
                    one = layers.Conv2DTranspose(3, kernel, strides, padding=padding)
                    size = strides if isinstance(strides, int) else "uneven"
                    made[f"{padding}_{size}"] = one(h)
            return made

        return functional(Z, call)

    return make


_SIZES = tuple(f"{padding}_{size}" for size in (1, 2, 3, "uneven") for padding in ("same", "valid"))
for _kernel in (1, 2, 3, 4, 5, 6, (3, 5), (2, 1)):
    _words = "x".join(map(str, _kernel)) if isinstance(_kernel, tuple) else _kernel
    network(f"Conv2DTranspose {_words}", Z, outputs=_SIZES)(_transposed(_kernel))


@network("Conv2DTranspose with output_padding", Z)
def _output_padding():
    return chain(
        Z,
        *_from_code(3, 4, 4),
        layers.Conv2DTranspose(4, 3, 2, padding="same", output_padding=1, activation="relu"),
        layers.Conv2DTranspose(2, 5, 2, padding="valid", output_padding=1),
    )


@network("nearest UpSampling2D", Z)
def _nearest():
    return chain(
        Z,
        *_from_code(2, 3, 4),
        layers.UpSampling2D(2),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.UpSampling2D((3, 1)),
        layers.Conv2D(3, 5, padding="same", activation="sigmoid"),
    )


@network("bilinear UpSampling2D", Z)
def _bilinear():
    return chain(
        Z,
        *_from_code(2, 3, 4),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.UpSampling2D((1, 3), interpolation="bilinear"),
        layers.Conv2D(3, 3, padding="same", activation="sigmoid"),
    )


def _shuffled(h, factor=2):
    """Depth to space by reshaping and transposing."""
    _, height, width, depth = h.shape
    filters = depth // factor**2
    h = layers.Reshape((height, width, factor, factor, filters))(h)
    h = layers.Permute((1, 3, 2, 4, 5))(h)
    return layers.Reshape((height * factor, width * factor, filters))(h)


@network("depth to space by reshape and transpose", Z)
def _pixel_shuffle():
    convolve = layers.Conv2D(12, 3, padding="same", activation="gelu")
    return chain(Z, *_from_code(3, 2, 8), _shuffled, convolve, _shuffled)


@network("super-resolution with PReLU", {"x": (6, 6, 1)})
def _super_resolution():
    return chain(
        {"x": (6, 6, 1)},
        layers.Conv2D(8, 5, padding="same"),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Conv2D(8, 3, padding="same"),
        layers.PReLU(),
        layers.Conv2D(9, 3, padding="same"),
        lambda h: ops.depth_to_space(h, 3),
    )


@network("residual blocks with GroupNormalization", {"z": (8,), "label": ("int32", 4)})
def _group_normalization():
    def block(h, condition, filters):
        skip = layers.Conv2D(filters, 1)(h)
        h = layers.Activation("silu")(layers.GroupNormalization(2)(h))
        h = layers.Conv2D(filters, 3, padding="same")(h)
        h = layers.Add()([h, layers.Reshape((1, 1, filters))(layers.Dense(filters)(condition))])
        h = layers.Activation("silu")(layers.GroupNormalization(4)(h))
        return layers.Add()([layers.Conv2D(filters, 3, padding="same")(h), skip])

    def call(z, label):
        condition = layers.Embedding(4, 5)(label)
        h = layers.Reshape((2, 2, 8))(layers.Dense(32)(z))
        h = layers.UpSampling2D(2)(block(h, condition, 8))
        return layers.Conv2D(3, 3, padding="same", activation="sigmoid")(block(h, condition, 4))

    return functional({"z": (8,), "label": ("int32", 4)}, call)


@network("self-attention over pixels", Z)
def _pixel_attention():
    def attend(h):
        _, height, width, filters = h.shape
        x = layers.Reshape((height * width, filters))(layers.GroupNormalization(2)(h))
        x = layers.MultiHeadAttention(2, 4)(x, x)
        return layers.Add()([h, layers.Reshape((height, width, filters))(x)])

    last = layers.Conv2D(3, 3, padding="same", activation="sigmoid")
    return chain(Z, *_from_code(3, 3, 8), attend, layers.UpSampling2D(2), last)


@network("FiLM by a label", {"z": (8,), "label": ("int32", 4)})
def _film():
    def call(z, label):
        condition = layers.Embedding(4, 6)(label)
        h = layers.Dense(16)(z)
        gain, shift = layers.Dense(16)(condition), layers.Dense(16)(condition)
        h = layers.ELU()(layers.Add()([layers.Multiply()([h, gain]), shift]))
        return layers.Reshape((4, 4, 1))(layers.Dense(16, activation="sigmoid")(h))

    return functional({"z": (8,), "label": ("int32", 4)}, call)


@network("two-dimensional coordinates with sines", Z)
def _coordinates():
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 4)), -1)
    grid = grid.reshape(1, 20, 2).astype("float32")

    def call(z):
        h = layers.RepeatVector(20)(z)
        h = ops.concatenate([h, ops.zeros_like(h[..., :2]) + grid], axis=-1)
        for _ in range(2):
            h = ops.sin(2.0 * layers.Dense(12)(h))
        return layers.Reshape((4, 5, 3))(layers.Dense(3, activation="sigmoid")(h))

    return functional(Z, call)


# What takes pictures


@network("U-Net with skips", PICTURE)
def _u_net():
    def twice(h, filters):
        for _ in range(2):
            h = layers.Conv2D(filters, 3, padding="same", use_bias=False)(h)
            h = layers.ReLU()(layers.BatchNormalization()(h))
        return h

    def call(x):
        first = twice(x, 4)
        second = twice(layers.MaxPooling2D()(first), 6)
        h = layers.Dropout(0.3)(twice(layers.MaxPooling2D()(second), 8))
        h = layers.Concatenate()([second, layers.Conv2DTranspose(6, 2, 2)(h)])
        h = layers.Concatenate()([first, layers.Conv2DTranspose(4, 2, 2)(twice(h, 6))])
        return layers.Conv2D(2, 1, activation="softmax")(twice(h, 4))

    return functional(PICTURE, call)


@network("VGG with Dropout", PICTURE)
def _vgg():
    return chain(
        PICTURE,
        layers.Rescaling(1 / 2),
        layers.Conv2D(6, 3, padding="same", activation="relu"),
        layers.Conv2D(6, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(12, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(5, activation="softmax"),
    )


@network("LeNet with AveragePooling2D", {"x": (10, 9, 1)})
def _le_net():
    return chain(
        {"x": (10, 9, 1)},
        layers.ZeroPadding2D(((2, 1), (0, 2))),
        layers.Conv2D(4, 5, activation="tanh"),
        layers.AveragePooling2D(2, padding="same"),
        layers.Conv2D(6, 3, activation="tanh"),
        layers.AveragePooling2D((2, 1)),
        layers.Flatten(),
        layers.Dense(4),
    )


@network("residual network with strides", PICTURE)
def _residual_network():
    def block(h, filters, strides):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(h)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x))
        if strides > 1:
            h = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides)(h))
        return layers.ReLU()(layers.Add()([x, h]))

    return chain(
        PICTURE,
        layers.Conv2D(4, 7, 2, padding="same"),
        layers.MaxPooling2D(3, 2, padding="same"),
        lambda h: block(h, 4, 1),
        lambda h: block(h, 8, 2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    )


@network("MobileNet blocks with squeeze and excitation", PICTURE)
def _mobile():
    def block(h, filters):
        x = layers.Conv2D(12, 1, use_bias=False)(h)
        x = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.DepthwiseConv2D(3, 2, padding="valid", use_bias=False)(x)
        x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(12, 1, activation="hard_sigmoid")(layers.Conv2D(3, 1)(gate))
        return layers.Conv2D(filters, 1)(layers.Multiply()([x, gate]))

    return chain(
        PICTURE,
        layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2, activation="relu"),
        lambda h: block(h, 8),
        layers.SeparableConv2D(4, 3, 2, padding="same"),
        layers.GlobalMaxPooling2D(),
    )


@network("dilated convolutions and Resizing", PICTURE)
def _dilated():
    def call(x):
        h = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        made = [
            layers.Conv2D(4, 3, padding="same", dilation_rate=rate, activation="relu")(h)
            for rate in (1, 2, 3)
        ]
        pooled = layers.GlobalAveragePooling2D(keepdims=True)(h)
        made.append(layers.UpSampling2D(8, interpolation="bilinear")(layers.Conv2D(4, 1)(pooled)))
        h = layers.Conv2D(2, 1)(layers.Concatenate()(made))
        return layers.Resizing(12, 11)(h)

    return functional(PICTURE, call)


@network("Inception branches", PICTURE)
def _inception():
    def call(x):
        pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
        branches = [
            layers.Conv2D(3, 1, activation="relu")(x),
            layers.Conv2D(3, (1, 5), padding="same")(layers.Conv2D(3, (5, 1), padding="same")(x)),
            layers.Conv2D(2, 1)(pooled),
            layers.MaxPooling2D(3, 1, padding="same")(x),
        ]
        h = layers.Concatenate()(branches)
        return layers.Cropping2D(((1, 2), (0, 1)))(layers.Activation("mish")(h))

    return functional(PICTURE, call)


@network("noise and every dropout", PICTURE)
def _noisy():
    return chain(
        PICTURE,
        layers.GaussianNoise(0.5),
        layers.Conv2D(6, 3, padding="same", activation="selu"),
        layers.SpatialDropout2D(0.3),
        layers.GaussianDropout(0.3),
        layers.AlphaDropout(0.2),
        layers.ActivityRegularization(1e-3),
        layers.Conv2D(3, 3, padding="same", activation="softplus"),
    )


@network("augmentation and normalisation inside", PICTURE)
def _augmented():
    return chain(
        PICTURE,
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.2),
        layers.RandomContrast(0.3),
        layers.RandomTranslation(0.1, 0.1),
        layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06]),
        layers.CenterCrop(6, 5),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
    )


@network("MLP-Mixer", PICTURE)
def _mixer():
    def block(h):
        x = layers.Permute((2, 1))(layers.LayerNormalization()(h))
        x = layers.Dense(16)(layers.Dense(6, activation="gelu")(x))
        h = layers.Add()([h, layers.Permute((2, 1))(x)])
        x = layers.Dense(6, activation="gelu")(layers.LayerNormalization()(h))
        return layers.Add()([h, layers.Dense(5)(x)])

    patches = layers.Conv2D(5, 2, 2)
    last = layers.GlobalAveragePooling1D()
    return chain(PICTURE, patches, layers.Reshape((16, 5)), block, block, last, layers.Dense(3))


@keras.saving.register_keras_serializable("tests")
class Positions(layers.Layer):
    """Adds a learned vector to each place of a sequence."""

    def build(self, shape):
        self.table = layers.Embedding(shape[1], shape[2])
        self.table.build((None,))

    def call(self, x):
        return x + self.table(ops.arange(x.shape[1]))


@keras.saving.register_keras_serializable("tests")
class ClassToken(layers.Layer):
    """Puts a learned vector before a sequence."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[2]), name="token")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[2]))
        return ops.concatenate([token, x], axis=1)


def _transformer_block(h, heads=2, **attention):
    x = layers.LayerNormalization(epsilon=1e-6)(h)
    h = layers.Add()([h, layers.MultiHeadAttention(heads, 3, dropout=0.1)(x, x, **attention)])
    x = layers.Dense(12, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(h))
    return layers.Add()([h, layers.Dense(h.shape[-1])(layers.Dropout(0.1)(x))])


@network("vision transformer", PICTURE)
def _vision_transformer():
    return chain(
        PICTURE,
        layers.Conv2D(6, 4, 4),
        layers.Reshape((4, 6)),
        ClassToken(),
        Positions(),
        _transformer_block,
        layers.LayerNormalization(),
        lambda h: h[:, 0],
        layers.Dense(3, activation="softmax"),
    )


@network("siamese pair", {"left": (8, 8, 1), "right": (8, 8, 1)})
def _siamese():
    tower = keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(5)], name="tower"
    )

    def call(left, right):
        distance = ops.abs(tower(left) - tower(right))
        return layers.Dense(1, activation="sigmoid")(distance)

    return functional({"left": (8, 8, 1), "right": (8, 8, 1)}, call)


@network("critic with spectral normalisation", PICTURE)
def _critic():
    return chain(
        PICTURE,
        layers.SpectralNormalization(layers.Conv2D(4, 4, 2, padding="same")),
        layers.LeakyReLU(0.1),
        layers.SpectralNormalization(layers.Conv2D(6, 4, 2, padding="same")),
        layers.LayerNormalization(axis=(1, 2, 3)),
        layers.Flatten(),
        layers.SpectralNormalization(layers.Dense(1)),
    )


@network("frozen backbone of keras.applications", {"x": (32, 32, 3)})
def _backbone():
    backbone = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None, pooling="avg"
    )
    backbone.trainable = False
    head = layers.Dense(4, activation="softmax")
    return chain(
        {"x": (32, 32, 3)}, layers.Rescaling(0.5, 0.1), lambda x: backbone(x, training=False), head
    )


@network("voxels", {"x": (4, 4, 4, 1)})
def _voxels():
    return chain(
        {"x": (4, 4, 4, 1)},
        layers.Conv3D(3, 3, padding="same", activation="relu"),
        layers.Conv3DTranspose(2, 2, 2),
        layers.GlobalAveragePooling3D(),
    )


@network("pictures of any size", {"x": (9, 7, 3)})
def _any_size():
    x = keras.Input((None, None, 3), name="x")
    h = layers.Conv2D(6, 3, 2, padding="same", activation="relu")(x)
    h = layers.UpSampling2D(2)(layers.Conv2D(4, 3, padding="same")(h))
    return keras.Model(x, layers.Conv2D(3, 3, padding="same", activation="sigmoid")(h))


@network("denoiser of a diffusion", {"x": (8, 8, 1), "t": (1,)})
def _denoiser():
    frequencies = np.exp(-np.arange(4) * 0.7).astype("float32")

    def block(h, time, filters):
        x = layers.Conv2D(filters, 3, padding="same")(
            layers.Activation("silu")(layers.GroupNormalization(1)(h))
        )
        x = x + layers.Dense(filters)(time)[:, None, None]
        x = layers.Conv2D(filters, 3, padding="same")(layers.Activation("silu")(x))
        return layers.Conv2D(filters, 1)(h) + x

    def call(x, t):
        angles = t * frequencies
        time = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        time = layers.Dense(8, activation="silu")(time)
        first = block(x, time, 4)
        h = block(layers.AveragePooling2D(2)(first), time, 6)
        h = layers.UpSampling2D(2)(h)
        return layers.Conv2D(1, 3, padding="same")(block(layers.Concatenate()([h, first]), time, 4))

    return functional({"x": (8, 8, 1), "t": (1,)}, call)


# Sequences

SERIES = {"x": (12, 3)}


@network("WaveNet", SERIES)
def _wave_net():
    def call(x):
        h, skips = layers.Conv1D(6, 1)(x), []
        for rate in (1, 2, 4):
            gate, value = (
                layers.Conv1D(6, 2, padding="causal", dilation_rate=rate, activation=name)(h)
                for name in ("sigmoid", "tanh")
            )
            made = layers.Multiply()([gate, value])
            skips.append(layers.Conv1D(6, 1)(made))
            h = layers.Add()([h, layers.Conv1D(6, 1)(made)])
        return layers.Conv1D(2, 1)(layers.ReLU()(layers.Add()(skips)))

    return functional(SERIES, call)


@network("autoencoder of Conv1DTranspose", SERIES)
def _conv1d_transpose():
    return chain(
        SERIES,
        layers.Conv1D(6, 5, 2, padding="same", activation="relu"),
        layers.Conv1D(8, 3, 3, padding="same", activation="relu"),
        layers.Conv1DTranspose(8, 4, 3, padding="same", activation="relu"),
        layers.Conv1DTranspose(6, 3, 2, padding="same", activation="relu"),
        layers.Conv1DTranspose(3, 5, 1, padding="valid"),
        layers.Cropping1D((2, 2)),
    )


@network("temporal convolutions with SpatialDropout1D", SERIES)
def _temporal():
    def block(h):
        x = layers.ZeroPadding1D((2, 0))(h)
        x = layers.SpatialDropout1D(0.2)(layers.Conv1D(3, 3, activation="relu")(x))
        return layers.Add()([h, layers.SeparableConv1D(3, 3, padding="same")(x)])

    pooled = layers.MaxPooling1D(2), layers.AveragePooling1D(3), layers.GlobalMaxPooling1D()
    return chain(SERIES, block, block, layers.UpSampling1D(2), *pooled)


@network("stacked LSTM", SERIES)
def _lstm():
    return chain(
        SERIES,
        layers.LSTM(6, return_sequences=True, dropout=0.1),
        layers.LSTM(4, recurrent_dropout=0.1),
        layers.Dense(2),
    )


@network("LSTM written out", SERIES)
def _unrolled():
    return chain(
        SERIES,
        layers.LSTM(5, return_sequences=True, unroll=True),
        layers.GRU(4, unroll=True, reset_after=False),
        layers.Dense(2),
    )


@network("GRU decoder of a code", Z)
def _gru():
    return chain(
        Z,
        layers.RepeatVector(5),
        layers.GRU(6, return_sequences=True),
        layers.TimeDistributed(layers.Dense(4, activation="relu")),
        layers.TimeDistributed(layers.Dense(2)),
    )


@network("Bidirectional with attention", SERIES)
def _bidirectional():
    def call(x):
        h = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum")(x)
        h = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(h)
        h = layers.AdditiveAttention()([h, h])
        return layers.Dense(2)(layers.GlobalAveragePooling1D()(h))

    return functional(SERIES, call)


@network("encoder and decoder with states", SERIES)
def _states():
    def call(x):
        _, *states = layers.LSTM(5, return_state=True)(x)
        code, memory = states
        h = layers.RepeatVector(4)(layers.Dense(5, activation="tanh")(code))
        return layers.Dense(3)(
            layers.LSTM(5, return_sequences=True)(h, initial_state=[code, memory])
        )

    return functional(SERIES, call)


@network("cells of SimpleRNN backwards", SERIES)
def _simple_rnn():
    return chain(
        SERIES,
        layers.SimpleRNN(5, return_sequences=True, go_backwards=True),
        layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)]),
    )


@network("ConvLSTM2D", {"x": (3, 4, 4, 1)})
def _conv_lstm():
    return chain(
        {"x": (3, 4, 4, 1)},
        layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True),
        layers.TimeDistributed(layers.Conv2D(2, 3, padding="same")),
        layers.TimeDistributed(layers.MaxPooling2D()),
    )


@network("masked series", SERIES, {"tflite int8-full": "whole numbers"})
def _masked():
    return chain(SERIES, layers.Masking(0.0), layers.LSTM(4), layers.Dense(2))


# Words and tables


@network("classifier of words", {"words": WORDS})
def _words_classifier():
    return chain(
        {"words": WORDS},
        layers.Embedding(11, 5),
        layers.Conv1D(6, 3, padding="same", activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(3, activation="softmax"),
    )


@network("words with a mask into a GRU", {"words": WORDS})
def _masked_words():
    return chain(
        {"words": WORDS},
        layers.Embedding(11, 5, mask_zero=True),
        layers.GRU(4),
        layers.Dense(3, activation="softmax"),
    )


@network("transformer of words", {"words": WORDS})
def _words_transformer():
    return chain(
        {"words": WORDS},
        layers.Embedding(11, 6, mask_zero=True),
        Positions(),
        _transformer_block,
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    )


@network("causal language model", {"words": WORDS})
def _language():
    def block(h):
        x = layers.RMSNormalization()(h)
        x = layers.GroupQueryAttention(4, 4, 2)(x, x, use_causal_mask=True)
        h = layers.Add()([h, x])
        x = layers.RMSNormalization()(h)
        gated = layers.Multiply()([layers.Dense(8, activation="silu")(x), layers.Dense(8)(x)])
        return layers.Add()([h, layers.Dense(6)(gated)])

    def call(words):
        embedding = layers.ReversibleEmbedding(11, 6)
        h = block(block(embedding(words)))
        return embedding(layers.RMSNormalization()(h), reverse=True)

    return functional({"words": WORDS}, call)


@network(
    "translation with cross-attention",
    {"words": WORDS, "said": ("int32", 7, 4)},
)
def _translation():
    def call(words, said):
        memory = _transformer_block(Positions()(layers.Embedding(11, 6)(words)))
        h = Positions()(layers.Embedding(7, 6)(said))
        h = _transformer_block(h, use_causal_mask=True)
        h = layers.Add()([h, layers.MultiHeadAttention(2, 3)(h, memory)])
        return layers.Dense(7, activation="softmax")(h)

    return functional({"words": WORDS, "said": ("int32", 7, 4)}, call)


@network("recommender", {"user": ("int32", 9), "item": ("int32", 12)})
def _recommender():
    def call(user, item):
        vectors = [layers.Embedding(9, 4)(user), layers.Embedding(12, 4)(item)]
        bias = layers.Flatten()(layers.Embedding(12, 1)(item[:, None]))
        return layers.Add()([layers.Dot(axes=1, normalize=True)(vectors), bias])

    return functional({"user": ("int32", 9), "item": ("int32", 12)}, call)


TABLE = {"age": (1,), "income": (1,), "job": ("int32", 5)}


@network("wide and deep with outputs by name", TABLE, outputs=("price", "sold"))
def _wide_and_deep():
    def call(age, income, job):
        numbers = [layers.Normalization(mean=[1.0], variance=[2.0])(v) for v in (age, income)]
        boxes = layers.Discretization([-1.0, 0.0, 1.0], output_mode="one_hot")(age)
        wide = layers.CategoryEncoding(5, output_mode="one_hot")(job)
        deep = layers.Concatenate()([*numbers, layers.Embedding(5, 3)(job)])
        deep = layers.Dense(6, activation="relu")(layers.BatchNormalization()(deep))
        h = layers.Concatenate()([wide, deep, boxes])
        return {"price": layers.Dense(1)(h), "sold": layers.Dense(2, activation="softmax")(h)}

    return functional(TABLE, call)


@network("mixture of experts", {"x": (6,)})
def _experts():
    def call(x):
        gate = layers.Dense(3, activation="softmax")(x)
        made = ops.stack([layers.Dense(4, activation="elu")(x) for _ in range(3)], axis=1)
        return ops.sum(made * gate[..., None], axis=1)

    return functional({"x": (6,)}, call)


@network("self-normalising network", {"x": (6,)})
def _selu():
    steps = (layers.Dense(8, activation="selu"), layers.AlphaDropout(0.1))
    highway = layers.Dense(8, activation="celu")
    return chain({"x": (6,)}, *steps, highway, layers.UnitNormalization(), layers.Dense(2))


@network("several outputs in a list", {"x": (6,)}, outputs=("output_0", "output_1", "output_2"))
def _list():
    def call(x):
        h = layers.Dense(5, activation="swish")(x)
        return [h, layers.Dense(2)(h), layers.Dense(1, activation="exponential")(h)]

    return functional({"x": (6,)}, call)


@network("int64 labels", {"z": (8,), "label": ("int32", 4)})
def _int64():
    z, label = keras.Input((8,), name="z"), keras.Input((), dtype="int64", name="label")
    h = layers.Concatenate()([z, layers.Embedding(4, 3)(label)])
    return keras.Model([z, label], layers.Dense(5, activation="sigmoid")(h))


@network("int64 words", {"words": WORDS})
def _int64_words():
    words = keras.Input((6,), dtype="int64", name="words")
    h = layers.GlobalAveragePooling1D()(layers.Embedding(11, 4)(words))
    return keras.Model(words, layers.Dense(2)(h))


# Classes, and ways to write a model


@keras.saving.register_keras_serializable("tests")
class Residual(layers.Layer):
    """A layer made of others."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first, self.second = layers.Dense(units, activation="relu"), layers.Dense(units)
        self.normalization = layers.LayerNormalization()
        self.dropout = layers.Dropout(0.2)

    def call(self, x, training=None):
        h = self.dropout(self.second(self.first(x)), training=training)
        return self.normalization(x + h)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A model of arguments by name, that branches where it trains."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding, self.residual = layers.Embedding(4, 8), Residual(8)
        self.head = layers.Dense(3)

    def call(self, z, label, training=None):
        h = self.residual(z + self.embedding(label), training=training)
        return ops.tanh(self.head(h)) if not training else self.head(h)


@keras.saving.register_keras_serializable("tests")
class SubclassedOfADict(keras.Model):
    """A model of a dict, which returns one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding, self.hidden = layers.Embedding(4, 8), layers.Dense(8, activation="gelu")

    def call(self, inputs):
        h = self.hidden(inputs["z"]) + self.embedding(inputs["label"])
        return {"mean": h[:, :4], "scale": ops.softplus(h[:, 4:])}


@network("subclassed, by arguments", {"z": (8,), "label": ("int32", 4)}, is_called_by_name=True)
def _subclassed():
    model = Subclassed()
    model(np.zeros((1, 8), "f4"), np.zeros(1, "i4"))
    return model


@network("subclassed, of a dict", {"z": (8,), "label": ("int32", 4)}, outputs=("mean", "scale"))
def _subclassed_of_a_dict():
    model = SubclassedOfADict()
    model({"z": np.zeros((1, 8), "f4"), "label": np.zeros(1, "i4")})
    return model


@network("Sequential of models", {"x": (6, 5, 1)})
def _nested():
    encoder = keras.Sequential(
        [keras.Input((6, 5, 1)), layers.Flatten(), layers.Dense(4)], name="encoder"
    )
    code = keras.Input((4,))
    decoder = keras.Model(code, layers.Reshape((6, 5, 1))(layers.Dense(30)(code)), name="decoder")
    return keras.Sequential([keras.Input((6, 5, 1)), encoder, Residual(4), decoder])


@network("mixed precision", Z)
def _mixed():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        return chain(
            Z,
            *_from_code(3, 3, 8),
            layers.Conv2DTranspose(6, 3, 2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(3, 3, padding="same", activation="sigmoid", dtype="float32"),
        )
    finally:
        keras.mixed_precision.set_global_policy("float32")


@keras.saving.register_keras_serializable("tests")
class NearestCode(layers.Layer):
    """The nearest of learned vectors, as a codebook has them."""

    def build(self, shape):
        self.codes = self.add_weight(shape=(7, shape[-1]), name="codes")

    def call(self, x):
        distances = ops.sum((x[..., None, :] - self.codes) ** 2, axis=-1)
        return ops.take(self.codes, ops.argmin(distances, axis=-1), axis=0)


@network("codebook", {"x": (4, 3)})
def _codebook():
    return chain({"x": (4, 3)}, layers.Dense(5), NearestCode(), layers.Dense(2))


# What is refused


@keras.saving.register_keras_serializable("tests")
class DrawsACode(layers.Layer):
    """The layer of many tutorials, which draws whenever it is called."""

    def build(self, shape):
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seeds)


@network("a draw inside", {"x": (6,)}, {"tflite": "draws_a_code", "onnx": "draws_a_code"})
def _draws():
    return chain({"x": (6,)}, layers.Dense(4), DrawsACode(name="draws_a_code"), layers.Dense(2))


@keras.saving.register_keras_serializable("tests")
class BatchDeviation(layers.Layer):
    """What discriminators see of their whole batch."""

    def call(self, x):
        return ops.concatenate([x, ops.zeros_like(x[:, :1]) + ops.mean(ops.std(x, axis=0))], -1)


@network(
    "statistics of the batch",
    {"x": (6,)},
    # The bound of int8-full is wider than what the rest of a batch changes.
    {"onnx": "disagrees"} | {f"tflite {q}": "disagrees" for q in ("none", "float16", "int8")},
)
def _batch_statistics():
    return chain({"x": (6,)}, layers.Dense(4), BatchDeviation(), layers.Dense(2))


@network("hashed labels", {"k": ("int32", 9)}, {"tflite": "hashed", "onnx": "hashed"})
def _hashed():
    return chain({"k": ("int32", 9)}, layers.Hashing(5, name="hashed"), layers.Embedding(5, 3))


@network("a matrix's inverse", {"x": (3, 3)}, {"tflite": "inverted", "onnx": "inverted"})
def _inverted():
    @keras.saving.register_keras_serializable("tests")
    class Inverse(layers.Layer):
        def call(self, x):
            return ops.inv(0.1 * x + 5.0 * ops.eye(3))

    return chain({"x": (3, 3)}, Inverse(name="inverted"))


@network("a Fourier transform", {"x": (8,)}, {"onnx": "spectrum", "tflite": "spectrum"})
def _fourier():
    @keras.saving.register_keras_serializable("tests")
    class Spectrum(layers.Layer):
        def call(self, x):
            real, imaginary = ops.fft((x, ops.zeros_like(x)))
            return ops.sqrt(real**2 + imaginary**2 + 1e-6)

    return chain({"x": (8,)}, Spectrum(name="spectrum"))
