"""Every activation of Keras, and the operators and layers that a decoder may use, by name.

A case is a function of keras tensors to one with a batch axis: `v`, `(batch, 6)`; `p`, which is `v`
made positive; `a`, an image `(batch, 4, 6, 4)`; `s`, a sequence `(batch, 5, 4)`; `k`, an integer
`(batch,)` from 0 to 4.
"""

import functools

import keras
import numpy as np
from keras import activations, layers, ops

INPUTS = {"v": (6,), "a": (4, 6, 4), "s": (5, 4), "k": ("int32", 5)}
RNG = np.random.default_rng(5)


def model_of(cases):
    """A functional model of the four inputs that makes the output of every case, by number."""
    tensors = {
        name: keras.Input((), dtype="int32", name=name)
        if shape[0] == "int32"
        else keras.Input(shape, name=name)
        for name, shape in INPUTS.items()
    }
    given = {**tensors, "p": ops.exp(tensors["v"])}
    outputs = {
        f"case_{index}": ops.cast(case(**given), "float32")
        for index, case in enumerate(cases.values())
    }
    model = keras.Model(list(tensors.values()), outputs)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if weight.dtype == "float32":
            # Averages of a batch normalisation stay variances.
            values = np.abs(rng.standard_normal(weight.shape)) * 0.4 + 0.1
            weight.assign(values)
    return model


def of(name, function):
    """A case of the input with a name."""
    return lambda **given: function(given[name])


def named(input_name, names, case):
    """A case for each operator of some names: `case(operator, input)`."""
    return {
        name: of(input_name, functools.partial(case, getattr(ops, name))) for name in names.split()
    }


def labelled(cases, words):
    """The same cases, with words after their names."""
    return {f"{name} {words}": case for name, case in cases.items()}


def layer(name, make):
    """A case of a new layer, or a function, on the input with a name."""
    return lambda **given: make()(given[name])


def constant(*shape):
    return RNG.standard_normal(shape, dtype="float32")


def _activations():
    cases = {}
    for name, function in sorted(vars(activations).items()):
        if name.startswith("_") or not callable(function):
            continue
        if name in ("get", "serialize", "deserialize", "threshold"):
            continue
        cases[f"activation {name}"] = layer("v", functools.partial(layers.Activation, function))
    more = {
        "threshold": lambda v: activations.threshold(v, 0.3, -1.0),
        "gelu approximate": lambda v: activations.gelu(v, approximate=True),
        "relu options": lambda v: activations.relu(v, 0.1, 1.2, 0.2),
        "celu 2": lambda v: activations.celu(v, 2.0),
        "elu 2": lambda v: activations.elu(v, 2.0),
    }
    cases |= {f"activation {name}": of("v", function) for name, function in more.items()}
    of_axis = named("a", "log_softmax softmax", lambda f, a: f(a, axis=1))
    return cases | labelled(of_axis, "of an axis")


def _elementwise():
    of_any = """absolute arcsinh arctan cbrt ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor
        isfinite isinf isnan isneginf isposinf log_sigmoid logical_not nan_to_num negative rad2deg
        round sigmoid sign signbit sin sinc sinh square tan tanh trunc"""
    of_positive = "cbrt log log10 log1p log2 reciprocal rsqrt sqrt"
    of_two = """add arctan2 divide divide_no_nan equal floor_divide fmax fmin fmod greater
        greater_equal hypot isclose less less_equal logaddexp logaddexp2 maximum minimum mod
        multiply not_equal subtract"""
    cases = {
        **named("v", of_any, lambda f, v: f(v)),
        **labelled(named("p", of_positive, lambda f, p: f(p)), "of positive"),
        **named("v", of_two, lambda f, v: f(v, ops.flip(v, axis=-1) + 0.25)),
        **named("v", "arccos arcsin arctanh", lambda f, v: f(0.9 * ops.tanh(v))),
        **named(
            "v",
            "logical_and logical_or logical_xor",
            lambda f, v: f(v > 0, ops.flip(v, axis=-1) > 0),
        ),
        **labelled(named("k", "floor_divide left_shift mod", lambda f, k: f(k + 3, 2)), "of ints"),
    }
    return cases | {
        "arccosh": of("p", lambda p: ops.arccosh(1 + p)),
        "cast": of("v", lambda v: ops.cast(v * 3, "int32")),
        "cast to bool": of("v", lambda v: ops.cast(v, "bool")),
        "clip": of("v", lambda v: ops.clip(v, -0.5, 0.7)),
        "digitize": of("v", lambda v: ops.digitize(v, np.array([-1.0, 0.0, 1.0]))),
        # What has no digits left near 0 if it is computed without care.
        "expm1 near 0": of("v", lambda v: 1e5 * ops.expm1(1e-5 * v)),
        "log1p near 0": of("v", lambda v: 1e5 * ops.log1p(1e-5 * v)),
        "power": lambda v, p, **_: ops.power(p, v),
        "stop_gradient": of("v", ops.stop_gradient),
        "where": of("v", lambda v: ops.where(v > 0, v, -2 * v)),
        "where of a scalar": of("v", lambda v: ops.where(v > 0, v, 0.0)),
        "select": of("v", lambda v: ops.select([v > 1, v > 0], [v, 2 * v], 0.5)),
    }


def _reductions():
    of_axes = "all amax amin any count_nonzero logsumexp max mean min prod ptp std sum var"
    of_one = "argmax argmin argsort cumprod cumsum sort"
    cases = {
        **named("v", f"{of_axes} {of_one}", lambda f, v: f(v, axis=-1)),
        **labelled(named("a", of_axes, lambda f, a: f(a, axis=(1, 2))), "of axes"),
        **labelled(named("a", of_one, lambda f, a: f(a, axis=1)), "of an axis"),
    }
    return cases | {
        "average": of("v", lambda v: ops.average(v, axis=-1)),
        "diff": of("v", lambda v: ops.diff(v, axis=-1)),
        "moments": of("a", lambda a: ops.moments(a, axes=[1, 2])[1]),
        "norm": of("v", lambda v: ops.norm(v, axis=-1)),
        "norm 1": of("v", lambda v: ops.norm(v, ord=1, axis=-1)),
        "normalize": of("v", lambda v: ops.normalize(v, axis=-1)),
        "top_k": of("v", lambda v: ops.top_k(v, 3)[0]),
        "top_k indices": of("v", lambda v: ops.top_k(v, 3)[1]),
    }


def _shapes():
    padding = ((0, 0), (1, 2), (1, 1), (0, 0))
    table, rows = constant(5, 3), np.array([-1, 2])
    cases = {
        "broadcast_to": of("v", lambda v: v + ops.broadcast_to(ops.arange(6.0), (1, 6))),
        "concatenate": of("v", lambda v: ops.concatenate([v, 2 * v], axis=-1)),
        "diagonal": of("a", lambda a: ops.diagonal(a, axis1=1, axis2=3)),
        "diagonal off": of("a", lambda a: ops.diagonal(a, -1, axis1=1, axis2=2)),
        "diagonal above": of("a", lambda a: ops.diagonal(a, 2, axis1=1, axis2=2)),
        "expand_dims": of("v", lambda v: ops.expand_dims(v, 1)),
        "eye": of("s", lambda s: s[:, :4] + ops.eye(4)),
        "flip": of("a", lambda a: ops.flip(a, axis=2)),
        "full_like": of("v", lambda v: v + ops.full_like(v, 2.0)),
        "linspace": of("v", lambda v: v * ops.linspace(0.0, 1.0, 6)),
        "moveaxis": of("a", lambda a: ops.moveaxis(a, 3, 1)),
        "one_hot": of("k", lambda k: ops.one_hot(k, 5)),
        "multi_hot": of("k", lambda k: ops.multi_hot(k[:, None], 5)),
        "ones_like": of("v", lambda v: v + ops.ones_like(v)),
        "pad": of("a", lambda a: ops.pad(a, padding)),
        "pad with a value": of("a", lambda a: ops.pad(a, padding, "constant", 2.5)),
        "pad reflecting": of("a", lambda a: ops.pad(a, padding, "reflect")),
        "pad symmetric": of("a", lambda a: ops.pad(a, padding, "symmetric")),
        "repeat": of("a", lambda a: ops.repeat(a, 2, axis=1)),
        "repeat each": of("v", lambda v: ops.repeat(v, [1, 2, 0, 1, 3, 1], axis=1)),
        "reshape": of("v", lambda v: ops.reshape(v, (-1, 2, 3))),
        "roll": of("a", lambda a: ops.roll(a, 2, axis=2)),
        "roll back": of("a", lambda a: ops.roll(a, (-1, 3), axis=(1, 2))),
        "rot90": of("a", lambda a: ops.rot90(a, axes=(1, 2))),
        "scatter": of("k", lambda k: ops.one_hot(k, 5) + ops.scatter([[1]], [2.0], (5,))),
        "slice": of("a", lambda a: a[:, 1:3, ::2, -1]),
        "slice backwards": of("a", lambda a: a[:, ::-1]),
        "split": of("v", lambda v: ops.split(v, 3, axis=-1)[1]),
        "split at": of("v", lambda v: ops.split(v, [2], axis=-1)[1]),
        "squeeze": of("v", lambda v: ops.squeeze(ops.expand_dims(v, 1), 1)),
        "stack": of("v", lambda v: ops.stack([v, 2 * v], axis=1)),
        "swapaxes": of("a", lambda a: ops.swapaxes(a, 1, 2)),
        "take": of("v", lambda v: ops.take(v, [0, 3, 3], axis=1)),
        "take from the end": of("v", lambda v: ops.take(v, rows, axis=1)),
        "take rows": of("k", lambda k: ops.take(table, k, axis=0)),
        "take computed rows": of("k", lambda k: ops.take(table, k - 2, axis=0)),
        "take_along_axis": of("v", lambda v: ops.take_along_axis(v, ops.argsort(-v), axis=-1)),
        "tile": of("a", lambda a: ops.tile(a, (1, 2, 1, 3))),
        "trace": of("a", lambda a: ops.trace(a, axis1=1, axis2=3)),
        "transpose": of("a", lambda a: ops.transpose(a, (0, 2, 1, 3))),
        "tril": of("s", ops.tril),
        "triu": of("s", lambda s: ops.triu(s, k=1)),
        "unstack": of("a", lambda a: ops.unstack(a, axis=1)[1]),
        "zeros_like": of("v", lambda v: v + ops.zeros_like(v)),
    }
    return cases


def _products():
    w, m = constant(6, 3), constant(4, 4)
    cases = {
        "matmul": of("v", lambda v: ops.matmul(v, w)),
        "matmul of two": of("s", lambda s: ops.matmul(s, ops.transpose(s, (0, 2, 1)))),
        "dot": of("v", lambda v: ops.dot(v, w)),
        "cross": of("v", lambda v: ops.cross(v[:, :3], v[:, 3:])),
        "cdist": of("s", lambda s: ops.cdist(s, s)),
    }
    equations = "bij,bij->b bij,bkj->bik bij,bij->bj bij,bkj->bk bij,bij->bji"
    for equation in equations.split():
        cases[f"einsum {equation}"] = of("s", lambda s, e=equation: ops.einsum(e, s, s))
    return cases | {
        "einsum bij,jk->bik": of("s", lambda s: ops.einsum("bij,jk->bik", s, m)),
        "einsum bi,bj->bij": of("v", lambda v: ops.einsum("bi,bj->bij", v, v)),
        "einsum bhqd,bhkd->bhqk": of("a", lambda a: ops.einsum("bhqd,bhkd->bhqk", a, a)),
        "einsum bij->bji": of("s", lambda s: ops.einsum("bij->bji", s)),
        "einsum bij->b": of("s", lambda s: ops.einsum("bij->b", s)),
    }


def _networks():
    k1, k2, depth, point = (
        constant(*shape) for shape in ((3, 4, 5), (3, 3, 4, 8), (3, 3, 4, 2), (1, 1, 8, 5))
    )
    ones = np.ones(4, "float32")
    image = ops.image
    cases = {
        "conv1d": of("s", lambda s: ops.conv(s, k1, 1, "same")),
        "conv1d dilated": of("s", lambda s: ops.conv(s, k1, 1, "same", dilation_rate=2)),
        "conv2d": of("a", lambda a: ops.conv(a, k2, 1, "same")),
        "conv2d strided": of("a", lambda a: ops.conv(a, k2, 2, "same")),
        "conv2d valid": of("a", lambda a: ops.conv(a, k2, 1, "valid")),
        "conv2d dilated": of("a", lambda a: ops.conv(a, k2, 1, "same", dilation_rate=2)),
        "depthwise_conv": of("a", lambda a: ops.depthwise_conv(a, depth, 1, "same")),
        "depthwise_conv strided": of("a", lambda a: ops.depthwise_conv(a, depth, 2, "same")),
        "depthwise_conv dilated": of(
            "a", lambda a: ops.depthwise_conv(a, depth, 1, "same", dilation_rate=2)
        ),
        "separable_conv": of("a", lambda a: ops.separable_conv(a, depth, point, 1, "same")),
        "adaptive_average_pool": of("a", lambda a: ops.adaptive_average_pool(a, (3, 4))),
        "adaptive_max_pool": of("a", lambda a: ops.adaptive_max_pool(a, (3, 4))),
        "average_pool": of("a", lambda a: ops.average_pool(a, 3, 2, "same")),
        "average_pool valid": of("a", lambda a: ops.average_pool(a, 3, 1, "valid")),
        "max_pool": of("a", lambda a: ops.max_pool(a, 2, 2, "same")),
        "max_pool valid": of("a", lambda a: ops.max_pool(a, 3, 1, "valid")),
        "depth_to_space": of("a", lambda a: ops.depth_to_space(a, 2)),
        "space_to_depth": of("a", lambda a: ops.space_to_depth(a, 2)),
        "batch_normalization": of(
            "a", lambda a: ops.batch_normalization(a, ones, 2 * ones, axis=-1)
        ),
        "layer_normalization": of("a", lambda a: ops.layer_normalization(a, ones, ones)),
        "rms_normalization": of("a", lambda a: ops.rms_normalization(a, ones)),
        "dot_product_attention": of("a", lambda a: ops.dot_product_attention(a, a, a)),
        "binary_crossentropy": of(
            "v", lambda v: ops.binary_crossentropy(ops.sigmoid(-v), v, from_logits=True)
        ),
        "categorical_crossentropy": of(
            "v", lambda v: ops.categorical_crossentropy(ops.softmax(-v), v, from_logits=True)
        ),
        "crop_images": of(
            "a", lambda a: image.crop_images(a, 1, 1, target_height=2, target_width=3)
        ),
        "pad_images": of("a", lambda a: image.pad_images(a, 1, 1, target_height=7, target_width=9)),
        "extract_patches": of("a", lambda a: image.extract_patches(a, (2, 2))),
        "gaussian_blur": of("a", image.gaussian_blur),
        "rgb_to_grayscale": of("a", lambda a: image.rgb_to_grayscale(a[..., :3])),
        "sobel_edges": of("a", image.sobel_edges),
    }
    for how in ("nearest", "bilinear", "bicubic", "lanczos3"):
        # To whole multiples, to fewer pixels, and by a factor that is no float32.
        for size in ((8, 12), (3, 4), (5, 7)):
            cases[f"resize {how} {size}"] = of(
                "a", lambda a, how=how, size=size: image.resize(a, size, how)
            )
    cases["resize antialias"] = of("a", lambda a: image.resize(a, (3, 4), antialias=True))
    return cases


def _layers():
    cases = {
        "Activation of a Dense": ("v", lambda: layers.Dense(3, activation="gelu")),
        "AdditiveAttention": ("s", lambda: lambda s: layers.AdditiveAttention()([s, s])),
        "Attention": ("s", lambda: lambda s: layers.Attention()([s, s])),
        "AveragePooling1D": ("s", lambda: layers.AveragePooling1D(2)),
        "AveragePooling2D": ("a", lambda: layers.AveragePooling2D(2)),
        "BatchNormalization": ("a", layers.BatchNormalization),
        "CategoryEncoding": ("k", lambda: layers.CategoryEncoding(5, output_mode="one_hot")),
        "CenterCrop": ("a", lambda: layers.CenterCrop(2, 3)),
        "Conv1D causal": ("s", lambda: layers.Conv1D(3, 3, padding="causal", dilation_rate=2)),
        "Conv1D groups": ("s", lambda: layers.Conv1D(8, 3, groups=2, padding="same")),
        "Conv1DTranspose": ("s", lambda: layers.Conv1DTranspose(3, 4, 2, padding="same")),
        "Conv2D groups": ("a", lambda: layers.Conv2D(8, 3, groups=2, padding="same")),
        "Conv2D groups strided": ("a", lambda: layers.Conv2D(8, 3, 2, groups=2)),
        "Conv2D depthwise by groups": ("a", lambda: layers.Conv2D(4, 3, groups=4, padding="same")),
        "Conv2DTranspose": ("a", lambda: layers.Conv2DTranspose(3, 4, 2, padding="same")),
        "Conv2DTranspose valid": ("a", lambda: layers.Conv2DTranspose(3, 3, 3)),
        "Conv2DTranspose stride 1": ("a", lambda: layers.Conv2DTranspose(3, 3, padding="same")),
        "Conv2DTranspose padded": (
            "a",
            lambda: layers.Conv2DTranspose(3, 3, 2, padding="same", output_padding=1),
        ),
        "Conv3D": ("a", lambda: _voxels(layers.Conv3D(2, 3, padding="same"))),
        "Conv3DTranspose": ("a", lambda: _voxels(layers.Conv3DTranspose(2, 3, 2, padding="same"))),
        "Cropping2D": ("a", layers.Cropping2D),
        "Cropping1D": ("s", layers.Cropping1D),
        "DepthwiseConv1D": ("s", lambda: layers.DepthwiseConv1D(3, padding="same")),
        "DepthwiseConv2D": (
            "a",
            lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        ),
        "Discretization": ("v", lambda: layers.Discretization([-1.0, 0.0, 1.0])),
        "Dot": ("v", lambda: lambda v: layers.Dot(1)([v, v * 2])),
        "Dropout": ("a", lambda: layers.Dropout(0.5)),
        "EinsumDense": ("s", lambda: layers.EinsumDense("abc,cd->abd", (None, 3))),
        "Embedding": ("k", lambda: layers.Embedding(5, 3)),
        "Flatten": ("a", layers.Flatten),
        "GaussianNoise": ("a", lambda: layers.GaussianNoise(0.5)),
        "GlobalAveragePooling2D": ("a", layers.GlobalAveragePooling2D),
        "GlobalMaxPooling1D": ("s", layers.GlobalMaxPooling1D),
        "GroupNormalization": ("a", lambda: layers.GroupNormalization(2)),
        "GroupNormalization of each channel": ("a", lambda: layers.GroupNormalization(-1)),
        "GroupQueryAttention": ("s", lambda: lambda s: layers.GroupQueryAttention(3, 4, 2)(s, s)),
        "LayerNormalization": ("a", layers.LayerNormalization),
        "LeakyReLU": ("a", layers.LeakyReLU),
        "MaxPooling1D": ("s", layers.MaxPooling1D),
        "MultiHeadAttention": ("s", lambda: lambda s: layers.MultiHeadAttention(2, 3)(s, s)),
        "Normalization": ("a", lambda: layers.Normalization(mean=1.0, variance=2.0)),
        "PReLU": ("a", layers.PReLU),
        "Permute": ("a", lambda: layers.Permute((3, 1, 2))),
        "RMSNormalization": ("a", layers.RMSNormalization),
        "RepeatVector": ("v", lambda: layers.RepeatVector(3)),
        "Rescaling": ("a", lambda: layers.Rescaling(2.0, 1.0)),
        "Resizing": ("a", lambda: layers.Resizing(5, 7)),
        "SeparableConv1D": ("s", lambda: layers.SeparableConv1D(5, 3, padding="same")),
        "SeparableConv2D": ("a", lambda: layers.SeparableConv2D(5, 3, padding="same")),
        "SpatialDropout2D": ("a", lambda: layers.SpatialDropout2D(0.5)),
        "SpectralNormalization": (
            "a",
            lambda: layers.SpectralNormalization(layers.Conv2D(2, 3)),
        ),
        "TimeDistributed": ("s", lambda: layers.TimeDistributed(layers.Dense(3))),
        "UnitNormalization": ("a", layers.UnitNormalization),
        "UpSampling1D": ("s", lambda: _then(layers.UpSampling1D(2), layers.Conv1D(2, 3))),
        "UpSampling2D": ("a", lambda: _then(layers.UpSampling2D(2), layers.Conv2D(2, 3))),
        "UpSampling3D": ("a", lambda: _voxels(layers.UpSampling3D(2))),
        "ZeroPadding1D": ("s", layers.ZeroPadding1D),
        "ZeroPadding2D": ("a", layers.ZeroPadding2D),
    }
    for how in ("bilinear", "bicubic", "lanczos3"):
        make = functools.partial(layers.UpSampling2D, 2, interpolation=how)
        cases[f"UpSampling2D {how}"] = ("a", make)
    for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"):
        kind = getattr(layers, name)
        cases[name] = ("a", lambda kind=kind: lambda a: kind()([a, a * 2]))
    return {f"layer {name}": layer(*case) for name, case in cases.items()}


def _then(*several):
    def call(x):
        for one in several:
            x = one(x)
        return x

    return call


def _voxels(one):
    return _then(layers.Reshape((4, 6, 4, 1)), one)


def _square(s):
    return s[:, :4] + 5 * ops.eye(4)


GROUPS = {
    "activations": _activations,
    "elementwise": _elementwise,
    "reductions": _reductions,
    "shapes": _shapes,
    "products": _products,
    "networks": _networks,
    "layers": _layers,
}

# What a format refuses, by the operator of TensorFlow that it has nothing for.
REFUSED = {
    "median": (of("v", lambda v: ops.median(v, axis=-1)), {"tflite": "Ceil"}),
    "quantile": (of("v", lambda v: ops.quantile(v, 0.3, axis=-1)), {"tflite": "Ceil"}),
    "erfinv": (of("v", lambda v: ops.erfinv(0.9 * ops.tanh(v))), {"*": "Erfinv"}),
    "i0": (of("v", ops.i0), {"*": "BesselI0"}),
    "nextafter": (of("v", lambda v: ops.nextafter(v, v + 1)), {"*": "NextAfter"}),
    "gcd": (of("k", lambda k: ops.gcd(k + 3, 2)), {"*": "any number of examples"}),
    "lcm": (of("k", lambda k: ops.lcm(k + 3, 2)), {"*": "any number of examples"}),
    "in_top_k": (lambda k, v, **_: ops.in_top_k(k, v, 3), {"*": "InTopKV2"}),
    "map": (
        of("s", lambda s: ops.swapaxes(ops.map(lambda x: 2 * x, ops.swapaxes(s, 0, 1)), 0, 1)),
        {"tflite": "TensorListReserve"},
    ),
    "slice_update": (
        of("s", lambda s: ops.slice_update(s, (0, 0, 0), 2 * s)),
        {"onnx": "XlaDynamicUpdateSlice"},
    ),
    "associative_scan": (
        of("s", lambda s: ops.associative_scan(ops.add, s, axis=1)),
        {"onnx": "tf2onnx made an invalid model"},
    ),
    "cast to float16": (
        of("v", lambda v: ops.cast(v, "float16")),
        {"onnx": "disagrees with the model"},
    ),
    "sparse_categorical_crossentropy": (
        lambda k, v, **_: ops.sparse_categorical_crossentropy(k, v, from_logits=True),
        {"tflite": "SparseSoftmaxCrossEntropyWithLogits"},
    ),
    "rgb_to_hsv": (
        of("a", lambda a: ops.image.rgb_to_hsv(ops.sigmoid(a[..., :3]))),
        {"*": "RGBToHSV"},
    ),
    "hsv_to_rgb": (
        of("a", lambda a: ops.image.hsv_to_rgb(ops.sigmoid(a[..., :3]))),
        {"*": "HSVToRGB"},
    ),
    "affine_transform": (
        of("a", lambda a: ops.image.affine_transform(a, np.array([1, 0.1, 0, 0, 1, 0, 0, 0.0]))),
        {"*": "ImageProjectiveTransformV3"},
    ),
    "cholesky": (of("s", lambda s: ops.cholesky(_square(0 * s))), {"*": "Cholesky"}),
    "det": (of("s", lambda s: ops.det(_square(s))), {"tflite": "MatrixDeterminant"}),
    "inv": (of("s", lambda s: ops.inv(_square(s))), {"*": "MatrixInverse"}),
    "qr": (of("s", lambda s: ops.qr(_square(s))[1]), {"*": "Qr"}),
    "solve": (of("s", lambda s: ops.solve(_square(s), s[:, :4])), {"*": "MatrixSolve"}),
    "fft": (of("v", lambda v: ops.fft((v, v * 0))[0]), {"*": "FFT"}),
    "rfft": (of("v", lambda v: ops.rfft(ops.tile(v, (1, 2))[:, :8], 8)[0]), {"onnx": "RFFT"}),
    "Conv3D groups": (
        layer("a", lambda: _then(layers.Reshape((4, 6, 2, 2)), layers.Conv3D(4, 2, groups=2))),
        {"tflite": "CONV_3D|Conv3D", "onnx": "ONNX Runtime cannot run"},
    ),
    "MaxPooling3D": (layer("a", lambda: _voxels(layers.MaxPooling3D())), {"tflite": "MaxPool3D"}),
}
