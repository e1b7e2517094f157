"""A `.keras` file from elsewhere, checked and written anew before Keras sees it.

A config may name any class of Keras, and some of these read files or run code; the library that
reads the weights can be crashed by one altered byte. So nothing of the file goes to Keras: its
config is checked against lists of what models are made of, its arrays are read by `hdf5`, and
Keras is given a new archive made of the two.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import sys
import tempfile
import threading
import zipfile

import keras
import ml_dtypes
import numpy as np

from keras_vae.storage import archives, hdf5
from keras_vae.version import requirement

MAX_METADATA_BYTES = 2**16
MAX_CONFIG_DEPTH = 100
# What a file of no weights at all may ask for, such as a scalar that a class added later.
FREE_PARAMETERS = 2**16
FREE_LAYERS = 1000
FREE_OBJECTS = 4000
# Of a layer with one array: itself, its initializers and policy, and others without an array.
OBJECTS_OF_ARRAY = 32
# How many chains of how many steps `AugMix` unrolls.
MAX_CHAIN = 32

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# What Keras makes of data alone. Of its public layers those are left out that load files
# (StringLookup, TFSMLayer), run code (Lambda, JaxLayer) or allocate by a number (the spectrograms,
# Hashing); a test knows each of them.
_LAYERS = """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add
    AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
    AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
    Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D
    Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU
    EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity InputLayer
    LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxNumBoundingBoxes MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute
    Pipeline RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization
    RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU
    RepeatVector Rescaling Reshape Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D
    SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D
    SpectralNormalization StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
_MODELS = frozenset({"Functional", "Sequential"})
_POLICIES = frozenset({"DTypePolicy", "FloatDTypePolicy", "DTypePolicyMap"})
_CLASSES = {
    "keras": _MODELS | _POLICIES,
    "keras.models": _MODELS,
    "keras.src.models.functional": _MODELS,
    "keras.dtype_policies": _POLICIES,
    "keras.layers": frozenset(_LAYERS.split()),
    "keras.src.applications.convnext": frozenset({"LayerScale", "StochasticDepth"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
    "keras.src.ops.core": frozenset({"Cast", "SaturateCast", "StopGradient", "Slice", "Unstack"}),
}
_FAMILIES = {
    "keras.constraints": keras.constraints.Constraint,
    "keras.initializers": keras.initializers.Initializer,
    "keras.losses": keras.losses.Loss,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    "keras.regularizers": keras.regularizers.Regularizer,
}
# What functional models are made of where tensors are added, sliced or reshaped.
_OPERATIONS = frozenset(
    f"keras.src.ops.{name}" for name in ("image", "linalg", "math", "nn", "numpy")
)
_TORCH_OPTIMIZERS = "keras.src.backend.torch.optimizers."
_PLAIN = ("__keras_tensor__", "__ellipsis__", "__slice__")
# Arguments with one entry for each layer.
_LISTS = frozenset({"hidden_units", "latent_dims"})
_NO_ACTIVATIONS = ("get", "serialize", "deserialize")
_loading = threading.Lock()


class UnknownClassError(ValueError):
    """A class or function that is neither one of Keras' plain ones nor known to this process."""

    def __init__(self, name, module):
        super().__init__(name)
        self.name = str(name)
        self.place = self.name if module is None else f"{module}.{name}"


class TooLargeError(ValueError):
    """What a config asks for beyond what its file holds, as the end of a sentence."""


@dataclasses.dataclass(frozen=True)
class Content:
    """What is in a `.keras` file that was checked.

    Attributes:
        config: Dict.
        metadata: Dict.
        arrays: Dict from path to array, the weights.
        groups: List of the paths of all groups of arrays, parents first.
    """

    config: dict
    metadata: dict
    arrays: dict
    groups: list

    @property
    def limits(self):
        """`Limits` of what the config may ask for."""
        return Limits.of(self.arrays)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a config may ask for, by what its file holds: for those who read and who write it.

    Attributes:
        parameters: Int, numbers in weights, and any size by which something is allocated.
        layers: Int, layers that are no entries of the config, and times that a loop is unrolled.
        objects: Int, entries of the config with a class.
    """

    parameters: int
    layers: int
    objects: int

    @classmethod
    def of(cls, arrays):
        """The limits of a file with these arrays."""
        return cls(
            sum(array.size for array in arrays.values()) + FREE_PARAMETERS,
            len(arrays) + FREE_LAYERS,
            max(OBJECTS_OF_ARRAY * len(arrays), FREE_OBJECTS),
        )

    @property
    def sizes(self):
        """Dict from an argument, by which a class allocates or loops, to its largest value."""
        tables = ("embedding_dim", "kernel_size", "num_classes", "num_codes")
        by_parameters = dict.fromkeys(tables, self.parameters)
        loops = ("bins", "depth", "num_layers", "num_ops", "power_iterations")
        chains = dict.fromkeys(("chain_depth", "num_chains"), MAX_CHAIN)
        return {**by_parameters, **dict.fromkeys(loops, self.layers), **chains}


def read(path, custom_objects=None, compile=True):
    """Read and check a `.keras` file.

    Args:
        path: Path of the file.
        custom_objects: Optional dict from name to class, further classes that are allowed.
        compile: Whether to keep what says how the model was compiled.

    Returns:
        `Content`.

    Raises:
        ValueError: If the file is refused. The message is what was found, as the end of a
            sentence.
    """
    if not in_safe_mode():
        raise ValueError(
            "a process in which keras.config.enable_unsafe_deserialization() was called, so that "
            "any file could run code"
        )
    return inspect(path, custom_objects, compile)


def inspect(path, custom_objects=None, compile=True, is_own=False):
    """As `read`, also in a process that may run code of files.

    Args:
        is_own: Whether this process wrote the file: classes and functions that are not Keras' are
            known to whoever will load it.
    """
    content = _read(path)
    if not compile:
        content.config.pop("compile_config", None)
    try:
        check_config(content.config, content.limits, custom_objects, is_own)
    except ValueError as err:
        raise ValueError(f"{err}{advice(content)}") from err
    return content


def advice(content):
    """What to install for a file that a newer version wrote, to end an error with; else nothing."""
    built = content.config.get("build_config")
    package = requirement(built.get("keras_vae")) if isinstance(built, dict) else None
    return f' (A newer version wrote the file: pip install "{package}".)' if package else ""


@contextlib.contextmanager
def copied(content):
    """Give a new `.keras` file for Keras to load within the block.

    Within it no weight is made for which there are no data: what a config asks for is counted
    before it is allocated.

    Args:
        content: `Content`.

    Yields:
        Path of the new file.

    Raises:
        TooLargeError: If the block asks for more.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "model.keras"
        with zipfile.ZipFile(copy, "w") as archive:
            archive.writestr("metadata.json", json.dumps(content.metadata))
            archive.writestr("config.json", json.dumps(content.config))
            archive.writestr("model.weights.h5", _as_hdf5(content))
        limits = content.limits
        layers = limits.layers + json.dumps(content.config).count('"class_name"')
        with _loading, _bounded(limits.parameters, layers):
            yield copy


def in_safe_mode():
    """Whether this process still refuses code in a file."""
    try:
        # Nothing that could run: outside safe mode it fails for want of a value.
        keras.saving.deserialize_keras_object(
            {"class_name": "__lambda__", "config": {}}, safe_mode=True
        )
    except ValueError:
        return True
    except KeyError:
        return False
    return False


def check_config(config, limits, custom_objects=None, is_own=False):
    """Check a config, parsed from JSON: every class, every depth and the sizes.

    It names optimizers by their public module, whichever backend wrote the file, and classes of
    `custom_objects` by the name that they have there.

    Args:
        config: Dict.
        limits: `Limits`.
        custom_objects: As for `read`.
        is_own: As for `inspect`.

    Raises:
        ValueError: As for `read`.
    """
    pending, objects, unknown = [(config, 0, False)], 0, []
    while pending:
        value, depth, is_shape = pending.pop()
        if depth > MAX_CONFIG_DEPTH:
            raise ValueError(f"a config of more than {MAX_CONFIG_DEPTH} levels")
        if isinstance(value, dict):
            if "class_name" in value:
                objects += 1
                if objects > limits.objects:
                    raise ValueError(f"a config of more than {limits.objects} objects")
                try:
                    _check_class(value, limits, custom_objects, is_own)
                except UnknownClassError as err:
                    unknown.append(err)
            pending += [
                (item, depth + 1, is_shape or name == "build_config")
                for name, item in value.items()
            ]
        elif isinstance(value, list):
            pending += [(item, depth + 1, is_shape) for item in value]
        # On PyTorch, Keras computes with arrays of the shape once a layer cannot be built.
        elif is_shape and isinstance(value, int | float) and value > limits.parameters:
            raise ValueError(f"a config of a shape with {value:.6g}, more than {limits.parameters}")
    if unknown:
        places = sorted({err.place[:100] for err in unknown})[:5]
        names = sorted({err.name for err in unknown if err.name.isidentifier()})
        own = ", ".join(f'"{name}": {name}' for name in names)[:200]
        raise ValueError(
            f"the class {' and '.join(map(ascii, places))}, which may not be loaded from a file. "
            "If it is not Keras' own but yours, import the module that registers it, or pass "
            f"custom_objects={{{own}}}."
        )


def _read(path):
    with archives.opened(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if set(sizes) != _MEMBERS:
            odd = sorted(set(sizes) ^ _MEMBERS)[0]
            missing = odd in _MEMBERS
            raise ValueError(f"an archive {'without' if missing else 'with'} {odd[:100]!a}")
        for name, most in (
            ("config.json", archives.MAX_CONFIG_BYTES),
            ("metadata.json", MAX_METADATA_BYTES),
        ):
            if sizes[name] > most:
                raise ValueError(f"a {name} of {sizes[name]} bytes, more than {most}")
        config = _parsed(archives.read(archive, "config.json"), "config.json")
        metadata = _parsed(archives.read(archive, "metadata.json"), "metadata.json")
        try:
            arrays, groups = hdf5.read(archives.read(archive, "model.weights.h5"))
        except hdf5.DamagedError as err:
            raise ValueError(f"weights that are damaged or unsafe: {err}") from err
    for name, array in arrays.items():
        if array.dtype.kind not in "iub" and not np.isfinite(array).all():
            raise ValueError(f"weights that are not finite, in {name!a}")
    return Content(config, metadata, arrays, groups)


def _parsed(content, name):
    try:
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as err:
        raise ValueError(f"a {name} that is damaged: {err}") from err
    if not isinstance(parsed, dict):
        raise ValueError(f"a {name} that is no JSON object")
    return parsed


def _as_hdf5(content):
    """The weights as the bytes of an HDF5 file. On a full disk h5py ends the process."""
    import h5py

    with h5py.File("weights", "w", driver="core", backing_store=False) as file:
        for group in content.groups:
            file.create_group(group)
        for name, array in content.arrays.items():
            stored = file.create_dataset(name, data=array)
            if array.dtype == ml_dtypes.bfloat16:
                stored.attrs["dtype"] = "bfloat16"
        file.flush()
        return file.id.get_file_image()


def _check_class(value, limits, custom_objects, is_own):
    """Refuse a class that is neither of Keras' plain ones nor known to this process."""
    name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name", name)
    if not isinstance(name, str) or not isinstance(registered, str | None):
        raise ValueError("a class whose name is no text")
    if name in _PLAIN:
        return
    is_keras = str(module).split(".")[0] == "keras"
    if name == "function":
        name = value.get("config")
        is_named = isinstance(name, str) and name.replace(">", "").isidentifier()
        if is_named and (known := _known(name, custom_objects)):
            value["config"] = known
            return
        if _is_activation(name, module) or (is_named and is_own and not is_keras):
            return
    elif isinstance(value.get("config"), dict):
        if registered and (known := _known(registered, custom_objects)):
            value["registered_name"] = known
            if known.startswith("keras_vae>"):
                _check_arguments(value["config"], limits)
            return
        # On PyTorch, Keras names its own module for what it exports as keras.optimizers.
        if isinstance(module, str) and module.startswith(_TORCH_OPTIMIZERS):
            module = value["module"] = "keras.optimizers"
        # Without a module, Keras goes by rules of older versions.
        if registered in (None, name) and _is_plain(name, module):
            _check_arguments(value["config"], limits)
            return
        if known := _known(name, custom_objects):
            value["registered_name"] = known
            return
        if is_own and not is_keras and name.isidentifier() and registered:
            return
    raise UnknownClassError(name, module)


def _known(name, custom_objects):
    """The name of a class or function, with its package or without, by which it is known here."""
    for each in (name, name.rpartition(">")[2]):
        if keras.saving.get_registered_object(each, custom_objects=custom_objects) is not None:
            return each
    return None


def _is_plain(name, module):
    if not isinstance(module, str):
        return False
    if module in _FAMILIES:
        found = getattr(_module(module), name, None)
        return isinstance(found, type) and issubclass(found, _FAMILIES[module])
    if module in _OPERATIONS:
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and issubclass(found, keras.Operation)
    return name in _CLASSES.get(module, ())


def _module(name):
    found = keras
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def _is_activation(name, module):
    known = isinstance(name, str) and name.islower() and name not in _NO_ACTIVATIONS
    return (
        known
        and module in ("builtins", "keras.activations")
        and not name.startswith("_")
        and callable(getattr(keras.activations, name, None))
    )


def _check_arguments(config, limits):
    for name, most in limits.sizes.items():
        value = config.get(name)
        numbers = value if isinstance(value, list) else [value]
        numbers = [number for number in numbers if isinstance(number, int | float)]
        if not all(number <= most for number in (*numbers, math.prod(numbers))):
            size = max(numbers, key=abs)
            raise ValueError(f"a config with {name}={size:.6g}, more than {most}")
    for name, value in config.items():
        if isinstance(value, list) and name in _LISTS and len(value) > limits.layers:
            raise ValueError(f"a config with {name} of length {len(value)}")
        if name.endswith("activation") and isinstance(value, dict) and "class_name" not in value:
            raise ValueError(
                f"the code of a function without a name as {name}, which may not be loaded from a "
                "file. Give it a name, and register it or pass it in custom_objects."
            )


@contextlib.contextmanager
def _bounded(parameters, layers):
    """Count the layers of this thread and the parameters that they ask for, and refuse more."""
    init, add, thread = keras.Layer.__init__, keras.Layer.add_weight, threading.get_ident()
    asked = made = 0

    def refusal():
        if made > layers:
            return f"a config that makes more than {layers} layers"
        return (
            f"a config that asks for {asked} parameters or more, and it must ask for no more "
            f"parameters than its file holds, {parameters}"
        )

    def exceeds():
        return asked > parameters or made > layers

    def count_layer(layer, *args, **kwargs):
        nonlocal made
        if threading.get_ident() == thread:
            made += 1
            if exceeds():
                raise TooLargeError(refusal())
        init(layer, *args, **kwargs)

    def count_weight(layer, shape=None, *args, **kwargs):
        nonlocal asked
        if threading.get_ident() == thread:
            asked += math.prod(int(size) for size in shape or ())
            if exceeds():
                raise TooLargeError(refusal())
        return add(layer, shape, *args, **kwargs)

    keras.Layer.__init__, keras.Layer.add_weight = count_layer, count_weight
    try:
        yield
    except Exception as err:
        # Keras goes on after some errors, to fail with others.
        if exceeds():
            raise TooLargeError(refusal()) from err
        raise
    finally:
        keras.Layer.__init__, keras.Layer.add_weight = init, add
