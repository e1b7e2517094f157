"""Files made to read, write, run or exhaust something when they are opened; none is committed.

Each function writes one into a folder and returns its path. What it plays on is in its name; the
Keras advisories of 2024 to 2026 are beside the functions that repeat them.
"""

import base64
import dataclasses
import io
import json
import os
import pathlib
import pickle
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

MODELS = pathlib.Path(__file__).parents[2] / "mobile_demo" / "models"
CANARY = "canary.txt"
ATTACKS = {}
SOUND = {}


@dataclasses.dataclass(frozen=True)
class Attack:
    """A file to be refused: how it is made, by which reader it is opened, and what that says."""

    name: str
    reader: str
    words: str
    make: Callable


def attack(reader, words):
    """Register a function that writes an attack.

    Args:
        reader: One of `readers.READERS`.
        words: What the refusal says.
    """

    def register(make):
        name = make.__name__.replace("_", " ")
        ATTACKS[name] = Attack(name, reader, words, make)
        return make

    return register


# A sound model, and what is changed in it


def sound_model():
    """The members of a small conditional VAE's `.keras` file, as a dict of bytes."""
    if not SOUND:
        SOUND.update(_sound_model())
    return SOUND


def _sound_model():
    import keras

    import keras_vae

    networks = keras_vae.networks
    model = keras_vae.ConditionalVAE(
        networks.DenseEncoder(2, hidden_units=(5,)),
        networks.DenseDecoder((4, 4, 1), hidden_units=(5,)),
        condition={"label": keras_vae.Categorical(3)},
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    model.build()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path, members, method=zipfile.ZIP_STORED):
    """Write an archive of pairs of a name or `ZipInfo`, and bytes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def with_members(folder, method=zipfile.ZIP_STORED, **changes):
    """The sound model with other content under `config`, `weights` or `metadata`."""
    names = {"config": "config.json", "weights": "model.weights.h5", "metadata": "metadata.json"}
    members = {**sound_model(), **{names[name]: content for name, content in changes.items()}}
    return write_zip(folder / "model.keras", members.items(), method)


def with_config(folder, change):
    """The sound model after a function has changed its config."""
    config = json.loads(sound_model()["config.json"])
    return with_members(folder, config=json.dumps(change(config) or config))


def with_encoder(folder, encoder):
    """The sound model with a Keras object in the encoder's place."""
    return with_config(folder, lambda config: config["config"].update(encoder=encoder))


def keras_object(module, class_name, registered_name=None, /, **config):
    """The config of an object, as Keras writes it."""
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": registered_name,
    }


def in_sequential(*layers):
    """The config of a `Sequential` of layers."""
    first = keras_object("keras.layers", "InputLayer", batch_shape=[None, 3], name="input")
    return keras_object("keras", "Sequential", name="sequential", layers=[first, *layers])


def with_weights(folder, change):
    """The sound model after a function has changed its weights, an open `h5py.File`."""
    import h5py

    buffer = io.BytesIO(sound_model()["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        change(file)
    return with_members(folder, weights=buffer.getvalue())


def replaced(name, **options):
    """A change of the weights that makes one array anew."""

    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return change


_WEIGHT = "optimizer/vars/2"
_REFUSED_CLASS = "which may not be loaded from a file"

# Classes and functions of a config


@attack("model", _REFUSED_CLASS)
def lambda_layer(folder):
    """CVE-2024-3660: bytecode in the config."""
    code = {"code": base64.b64encode(b"\xe3").decode(), "defaults": None, "closure": None}
    function = {"class_name": "__lambda__", "config": code}
    return with_encoder(
        folder, in_sequential(keras_object("keras.layers", "Lambda", function=function))
    )


@attack("model", _REFUSED_CLASS)
def bare_lambda(folder):
    return with_encoder(folder, {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}})


@attack("model", _REFUSED_CLASS)
def module_of_the_standard_library(folder):
    """CVE-2025-1550: any module and function."""
    return with_encoder(
        folder,
        {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "function",
        },
    )


@attack("model", _REFUSED_CLASS)
def class_of_the_standard_library(folder):
    return with_encoder(folder, keras_object("subprocess", "Popen", args=["touch", CANARY]))


@attack("model", _REFUSED_CLASS)
def function_that_loads_a_model(folder):
    """CVE-2025-8747 and CVE-2025-9906: a function of Keras itself as the gadget."""
    return with_encoder(
        folder,
        {
            "module": "keras.models",
            "class_name": "function",
            "config": "load_model",
            "registered_name": "function",
        },
    )


@attack("model", _REFUSED_CLASS)
def function_that_switches_safe_mode_off(folder):
    """CVE-2025-9906."""
    return with_encoder(
        folder,
        {
            "module": "keras.config",
            "class_name": "function",
            "config": "enable_unsafe_deserialization",
            "registered_name": "function",
        },
    )


@attack("model", _REFUSED_CLASS)
def function_that_downloads(folder):
    """CVE-2025-8747: get_file."""
    return with_encoder(
        folder,
        keras_object("keras.utils", "get_file", origin="http://127.0.0.1:9/a", fname=CANARY),
    )


@attack("model", _REFUSED_CLASS)
def registered_name_of_a_harmless_class(folder):
    encoder = keras_object("keras.layers", "Lambda", registered_name="Dense", function="relu")
    return with_encoder(folder, in_sequential(encoder))


@attack("model", _REFUSED_CLASS)
def config_of_an_older_version(folder):
    """CVE-2024-3660 again: without a module, older rules apply, which know no safe mode."""
    return with_encoder(folder, {"class_name": "Lambda", "config": {"function": ["4wAAAA=="]}})


@attack("model", _REFUSED_CLASS)
def string_lookup_that_reads_a_file(folder):
    """CVE-2025-12058: a vocabulary that is a path or an address."""
    layer = keras_object("keras.layers", "StringLookup", vocabulary="/etc/passwd")
    return with_encoder(folder, in_sequential(layer))


@attack("model", _REFUSED_CLASS)
def text_vectorization_that_reads_a_file(folder):
    layer = keras_object("keras.layers", "TextVectorization", vocabulary="/etc/passwd")
    return with_encoder(folder, in_sequential(layer))


@attack("model", _REFUSED_CLASS)
def saved_model_layer(folder):
    layer = keras_object("keras.layers", "TFSMLayer", filepath="/tmp/saved_model")
    return with_encoder(folder, in_sequential(layer))


@attack("model", _REFUSED_CLASS)
def torch_module_layer(folder):
    module = base64.b64encode(pickle.dumps(print)).decode()
    return with_encoder(folder, keras_object("keras.layers", "TorchModuleWrapper", module=module))


@attack("model", _REFUSED_CLASS)
def private_module_of_keras(folder):
    return with_encoder(folder, keras_object("keras.src.saving.saving_lib", "DiskIOStore"))


@attack("model", _REFUSED_CLASS)
def type_specification(folder):
    return with_encoder(
        folder,
        {
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "tensorflow",
            "registered_name": None,
            "config": [[1], "float32"],
        },
    )


@attack("model", _REFUSED_CLASS)
def array_of_the_config(folder):
    array = {"class_name": "__numpy__", "config": {"value": 0, "dtype": "V1000000000"}}
    return with_encoder(folder, array)


@attack("model", "Only input tensors may be passed as positional arguments")
def layer_that_runs_while_it_is_loaded(folder):
    repeat = keras_object("keras.layers", "RepeatVector", n=10**10, name="repeat")
    repeat = {**repeat, "name": "repeat", "inbound_nodes": [{"args": [[[1.0]]], "kwargs": {}}]}
    functional = keras_object(
        "keras.src.models.functional",
        "Functional",
        name="functional",
        layers=[repeat],
        input_layers=[],
        output_layers=["repeat", 0, 0],
    )
    return with_encoder(folder, functional)


@attack("model without safe mode", "enable_unsafe_deserialization() was called")
def model_that_meets_a_process_without_safe_mode(folder):
    """CVE-2024-3660 where the switch was thrown before; the file itself is sound."""
    return with_members(folder)


# Sizes of a config


@attack("model", "no more parameters than its file holds")
def dense_layer_of_a_billion_units(folder):
    def change(config):
        config["config"]["encoder"]["config"]["hidden_units"] = [10**9]

    return with_config(folder, change)


@attack("model", "no more parameters than its file holds")
def many_layers_of_middling_size(folder):
    def change(config):
        config["config"]["encoder"]["config"]["hidden_units"] = [3000] * 50

    return with_config(folder, change)


@attack("model", "a config with hidden_units of length 100000")
def many_small_layers(folder):
    def change(config):
        config["config"]["encoder"]["config"]["hidden_units"] = [1] * 100_000

    return with_config(folder, change)


@attack("model", "a config of more than 4000 objects")
def many_layers_that_do_nothing(folder):
    layer = keras_object("keras.layers", "Identity")
    return with_encoder(folder, in_sequential(*[layer] * 20_000))


@attack("model", "no more parameters than its file holds")
def embedding_of_a_terabyte(folder):
    layer = keras_object(
        "keras.layers", "Embedding", input_dim=10**9, output_dim=256, name="embedding"
    )
    layer["build_config"] = {"input_shape": [None, 3]}
    return with_encoder(folder, in_sequential(layer))


@attack("model", "a config of a shape with 3e+06")
def shape_of_millions_of_columns(folder):
    """A layer that is refused, after which Keras computes with 83 rows of them on PyTorch."""

    def change(config):
        config["config"]["decoder"]["build_config"]["input_shape"][1][1] = 3 * 10**6

    return with_config(folder, change)


@attack("model", "a config with num_classes=1e+09")
def billion_classes(folder):
    def change(config):
        config["config"]["condition"]["label"]["config"].update(num_classes=10**9, names=None)

    return with_config(folder, change)


@attack("model", "a config with kernel_size")
def kernel_of_a_million_pixels(folder):
    layer = keras_object("keras.layers", "Conv2D", filters=1, kernel_size=[10**6, 10**6])
    return with_encoder(folder, in_sequential(layer))


@attack("model", "a config with depth=1e+09")
def levels_of_a_billion_layers(folder):
    encoder = keras_object(
        "keras_vae.networks.ladder",
        "LadderEncoder",
        "keras_vae>LadderEncoder",
        latent_dims=[1],
        hidden_units=[1],
        depth=10**9,
    )
    return with_encoder(folder, encoder)


@attack("model", "a config that makes more than")
def levels_of_a_thousand_layers_each(folder):
    encoder = keras_object(
        "keras_vae.networks.ladder",
        "LadderEncoder",
        "keras_vae>LadderEncoder",
        latent_dims=[1] * 900,
        hidden_units=[1] * 900,
        depth=900,
    )
    return with_encoder(folder, encoder)


@attack("model", "a config with num_ops=1e+09")
def billion_augmentations(folder):
    return with_encoder(
        folder, in_sequential(keras_object("keras.layers", "RandAugment", num_ops=10**9))
    )


@attack("model", "a config with kernel_size")
def mask_of_a_million_pixels(folder):
    layer = keras_object(
        "keras_vae.layers.masked_convolution",
        "MaskedConv2D",
        "keras_vae>MaskedConv2D",
        filters=1,
        kernel_size=10**6 + 1,
        stack="vertical",
        sees_center=True,
    )
    return with_encoder(folder, in_sequential(layer))


@attack("model", "the class 'keras.layers.Lambda'")
def lambda_layer_in_a_pipeline(folder):
    inner = keras_object("keras.layers", "Lambda", function="relu")
    return with_encoder(
        folder, in_sequential(keras_object("keras.layers", "Pipeline", layers=[inner]))
    )


@attack("model", "a config with num_layers")
def billion_layers(folder):
    prior = keras_object(
        "keras_vae.priors.real_nvp", "RealNVP", "keras_vae>RealNVP", num_layers=10**9
    )
    return with_config(folder, lambda config: config["config"].update(prior=prior))


@attack("model", "a config.json that is damaged")
def deep_json(folder):
    return with_members(folder, config=b"[" * 200_000 + b"]" * 200_000)


@attack("model", "a config of more than 100 levels")
def json_just_below_the_depth_that_python_refuses(folder):
    return with_members(folder, config=b'{"a":' * 400 + b"0" + b"}" * 400)


@attack("model", "a config.json that is damaged")
def number_of_a_million_digits(folder):
    return with_members(folder, config=b'{"a":' + b"9" * 10**6 + b"}")


# Archives


@attack("model", "a config.json of 50000009 bytes")
def config_that_expands(folder):
    """A few kilobytes that become megabytes of JSON, and those a hundred times as many objects."""
    config = b'{"a": [' + b" " * (5 * 10**7) + b"]}"
    return with_members(folder, zipfile.ZIP_DEFLATED, config=config)


@attack("model", "expands from")
def weights_that_expand(folder):
    return with_members(folder, zipfile.ZIP_DEFLATED, weights=bytes(2**26 + 2**20))


@attack("model", "overlaps with what is around it")
def overlapping_entries(folder):
    """One block of data under several names, as in the bomb without recursion."""
    path = with_members(folder)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\1\2")
    [start] = struct.unpack_from("<L", content, place + 42)
    for name in (b"config.json", b"metadata.json"):
        entry = content.index(b"PK\1\2", content.rindex(name, 0, place + 46) - 46)
        struct.pack_into("<L", content, entry + 42, start)
    path.write_bytes(content)
    return path


@attack("model", "overlaps with what is around it")
def member_before_the_beginning(folder):
    """A list of members that says it begins later than it does: `zipfile` subtracts that of all."""
    path = with_members(folder)
    content = bytearray(path.read_bytes())
    [start] = struct.unpack_from("<L", content, len(content) - 6)
    struct.pack_into("<L", content, len(content) - 6, start + 10**5)
    path.write_bytes(content)
    return path


@attack("model", "holds a member twice")
def duplicate_members(folder):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        members = [*sound_model().items(), ("config.json", b"{}")]
        return write_zip(folder / "model.keras", members)


@attack("model", "an archive with '../../canary.txt'")
def zip_slip(folder):
    return write_zip(folder / "model.keras", [*sound_model().items(), (f"../../{CANARY}", b"a")])


@attack("model", "an archive with '/tmp/canary.txt'")
def absolute_path(folder):
    return write_zip(folder / "model.keras", [*sound_model().items(), (f"/tmp/{CANARY}", b"a")])


@attack("model", "an archive with '..\\\\canary.txt'")
def path_of_windows(folder):
    return write_zip(folder / "model.keras", [*sound_model().items(), (f"..\\{CANARY}", b"a")])


@attack("model", "is no regular file")
def symbolic_link_as_a_member(folder):
    link = zipfile.ZipInfo("model.weights.h5")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    members = {**sound_model()}
    members.pop("model.weights.h5")
    return write_zip(folder / "model.keras", [*members.items(), (link, b"/etc/passwd")])


@attack("model", "an archive with 'assets/")
def further_members(folder):
    member = ("assets/string_lookup/vocabulary.txt", b"a\nb")
    return write_zip(folder / "model.keras", [*sound_model().items(), member])


@attack("model", "zip compression method 14")
def method_that_expands_without_bound(folder):
    return with_members(folder, zipfile.ZIP_LZMA)


@attack("model", "whose list of members is")
def archive_of_a_million_members(folder):
    record = b"PK\1\2" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    directory = record * 200_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), 0, 0)
    path = folder / "model.keras"
    path.write_bytes(directory + end)
    return path


@attack("model", "is encrypted")
def encrypted_member(folder):
    path = with_members(folder)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\1\2")
    content[place + 8] |= 1
    path.write_bytes(content)
    return path


# HDF5


@attack("model", "a link to another place")
def soft_link(folder):
    import h5py

    def change(file):
        del file[_WEIGHT]
        file[_WEIGHT] = h5py.SoftLink("/optimizer/vars/0")

    return with_weights(folder, change)


@attack("model", "weights that are damaged or unsafe")
def external_link(folder):
    """An array of another file of the reader's."""
    import h5py

    def change(file):
        del file[_WEIGHT]
        file[_WEIGHT] = h5py.ExternalLink("/etc/passwd", "/")

    return with_weights(folder, change)


@attack("model", "data in another file")
def external_storage(folder):
    """The same, by where an array's bytes lie."""
    return with_weights(
        folder, replaced(_WEIGHT, shape=(5, 5), dtype="u1", external=[("/etc/passwd", 0, 25)])
    )


@attack("model", "weights that are damaged or unsafe")
def virtual_data_set(folder):
    import h5py

    def change(file):
        del file[_WEIGHT]
        layout = h5py.VirtualLayout((5, 5), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "a", (5, 5))
        file.create_virtual_dataset(_WEIGHT, layout)

    return with_weights(folder, change)


@attack("model", "weights that are damaged or unsafe")
def data_set_that_expands(folder):
    """A shape of terabytes that no data stand behind."""
    return with_weights(
        folder, replaced(_WEIGHT, shape=(10**6, 10**6), dtype="f4", chunks=(10**3, 10**3))
    )


@attack("model", "an array of shape")
def data_set_of_a_terabyte(folder):
    return with_weights(folder, replaced(_WEIGHT, shape=(10**6, 10**6), dtype="f4"))


@attack("model", "data that went through a filter")
def compressed_data_set(folder):
    return with_weights(
        folder, replaced(_WEIGHT, data=np.zeros((400, 400), "f4"), compression="gzip")
    )


@attack("model", "an array of no plain numbers")
def array_of_objects(folder):
    import h5py

    kind = h5py.string_dtype()
    return with_weights(folder, replaced(_WEIGHT, data=np.array(["a"], object), dtype=kind))


@attack("model", "an object twice")
def group_that_holds_itself(folder):
    def change(file):
        file["decoder/again"] = file["decoder"]

    return with_weights(folder, change)


@attack("model", "weights that are not finite")
def weights_that_are_not_numbers(folder):
    def change(file):
        file[_WEIGHT][...] = np.nan

    return with_weights(folder, change)


@attack("model", "weights that are damaged or unsafe")
def weights_of_noise(folder):
    return with_members(folder, weights=np.random.default_rng(0).bytes(5000))


# What is no file


@attack("model", "There must be a .keras file")
def pipe_instead_of_a_file(folder):
    os.mkfifo(folder / "model.keras")
    return folder / "model.keras"


@attack("model", "There must be a .keras file")
def device_instead_of_a_file(folder):
    (folder / "model.keras").symlink_to("/dev/zero")
    return folder / "model.keras"


@attack("model", "which has none")
def folder_instead_of_a_file(folder):
    (folder / "model.keras").mkdir()
    return folder / "model.keras"


@attack("model", "There must be a .keras file")
def link_to_itself(folder):
    (folder / "model.keras").symlink_to(folder / "model.keras")
    return folder / "model.keras"


@attack("inspect", "which is no regular file")
def pipe_instead_of_an_exported_file(folder):
    os.mkfifo(folder / "decoder.onnx")
    return folder / "decoder.onnx"


@attack("verify", "which is no regular file")
def device_instead_of_an_exported_file(folder):
    (folder / "decoder.tflite").symlink_to("/dev/zero")
    return folder / "decoder.tflite"


@attack("data", "which is neither")
def device_instead_of_data(folder):
    (folder / "a.npz").symlink_to("/dev/zero")
    return folder / "a.npz"


# NumPy


def npz(folder, method=zipfile.ZIP_DEFLATED, **changes):
    """An `.npz` of a sound set, some of its members replaced by bytes."""
    arrays = {
        "x_train": np.zeros((8, 4, 4), "u1"),
        "y_train": np.arange(8) % 2,
        "x_test": np.zeros((4, 4, 4), "u1"),
        "y_test": np.arange(4) % 2,
    }
    members = {name: changes.pop(name, None) or npy(array) for name, array in arrays.items()}
    members = {f"{name}.npy": content for name, content in {**members, **changes}.items()}
    return write_zip(folder / "a.npz", members.items(), method)


def npy(array, allow_pickle=False):
    """The bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def npy_header(shape, dtype="|u1"):
    """The bytes of a header alone."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


class _Touch:
    def __reduce__(self):
        return os.system, (f"touch {CANARY}",)


@attack("data", "dtype object")
def pickled_array(folder):
    content = npy(np.array([_Touch()], object), allow_pickle=True)
    return npz(folder, x_train=content)


@attack("data", "a plain array of numbers or text")
def pickled_class_names(folder):
    return npz(folder, class_names=npy(np.array([_Touch(), 1], object), allow_pickle=True))


@attack("data", "must begin with the header of a NumPy array")
def bare_pickle(folder):
    return npz(folder, x_train=pickle.dumps(_Touch()))


@attack("data", "must hold as many bytes as its header says")
def header_of_a_terabyte(folder):
    return npz(folder, x_train=npy_header((10**6, 10**3, 10**3)) + bytes(100))


@attack("data", "must hold as many bytes as its header says")
def header_of_a_negative_size(folder):
    return npz(folder, x_train=npy_header((-1, 4, 4)) + bytes(100))


@attack("data", "must begin with the header of a NumPy array")
def header_of_code(folder):
    header = b"__import__('os').system('touch canary.txt')".ljust(117) + b"\n"
    return npz(folder, x_train=b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)


@attack("data", "expands from")
def images_that_expand(folder):
    return npz(folder, x_train=npy_header((2**16 + 2**10, 32, 32)) + bytes(2**26 + 2**20))


@attack("data", "holds a member twice")
def array_that_is_there_twice(folder):
    import warnings

    members = [(name, b"") for name in ("x_train.npy", "x_train.npy")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return write_zip(folder / "a.npz", members)


@attack("data", "is no regular file")
def link_in_an_npz(folder):
    link = zipfile.ZipInfo("x_train.npy")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return write_zip(folder / "a.npz", [(link, b"/etc/passwd")])


# Folders of images


def png(width, height, content=b""):
    """A grey PNG that says of itself what it likes."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(content)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def image_folder(folder, content):
    """Two classes of three images each, one image of which is given."""
    sound = png(4, 4, bytes(20))
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(3):
            (folder / "images" / name / f"{i}.png").write_bytes(sound)
    (folder / "images" / "cat" / "0.png").write_bytes(content)
    return folder / "images"


@attack("data", "must be a complete image")
def image_of_a_gigapixel(folder):
    return image_folder(folder, png(2**15, 2**15, bytes(10**6)))


@attack("data", "must be a complete image")
def image_that_is_cut_off(folder):
    return image_folder(folder, png(4, 4, bytes(20))[:40])


@attack("data", "a link to somewhere else")
def link_out_of_the_image_folder(folder):
    images = image_folder(folder, png(4, 4, bytes(20)))
    (images / "cat" / "1.png").unlink()
    (images / "cat" / "1.png").symlink_to("/etc/passwd")
    return images


@attack("data", "a link to somewhere else")
def class_that_is_a_link(folder):
    images = image_folder(folder, png(4, 4, bytes(20)))
    (images / "etc").symlink_to("/etc")
    return images


# ONNX


def onnx_model(folder, change):
    """The decoder of the demo after a function has changed it."""
    import onnx

    model = onnx.load_model_from_string((MODELS / "decoder.onnx").read_bytes())
    change(model)
    path = folder / "decoder.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def outside(location):
    """A change that says the first weight's data are in another file."""

    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = tensor.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


@attack("inspect", "a tensor whose data are in another file")
def onnx_data_at_an_absolute_path(folder):
    return onnx_model(folder, outside("/etc/passwd"))


@attack("verify", "a tensor whose data are in another file")
def onnx_data_in_a_parent_folder(folder):
    return onnx_model(folder, outside("../../../../etc/passwd"))


@attack("verify", "a tensor whose data are in another file")
def onnx_data_beside_it(folder):
    return onnx_model(folder, outside("weights.bin"))


@attack("verify", "it says of a tensor that its shape is")
def onnx_weight_of_a_terabyte(folder):
    def change(model):
        model.graph.initializer[0].dims[:] = [10**6, 10**6]

    return onnx_model(folder, change)


@attack("verify", "it says of a tensor that its shape is")
def onnx_weight_of_a_negative_size(folder):
    def change(model):
        model.graph.initializer[0].dims[:] = [-5, 3]

    return onnx_model(folder, change)


@attack("verify", "FAILED")
def onnx_operator_that_makes_a_terabyte(folder):
    def change(model):
        from onnx import helper, numpy_helper

        shape = numpy_helper.from_array(np.array([10**6, 10**6]), "huge")
        model.graph.initializer.append(shape)
        model.graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["made"]))
        model.graph.output.append(helper.make_tensor_value_info("made", 1, [10**6, 10**6]))

    return onnx_model(folder, change)


@attack("verify", "FAILED")
def onnx_operator_of_another_domain(folder):
    def change(model):
        model.graph.node[0].domain = "com.attacker"

    return onnx_model(folder, change)


@attack("verify", "FAILED")
def onnx_weights_that_are_not_numbers(folder):
    def change(model):
        for tensor in model.graph.initializer:
            if tensor.data_type == 1 and tensor.raw_data:
                count = len(tensor.raw_data) // 4
                tensor.raw_data = np.full(count, np.nan, "f4").tobytes()

    return onnx_model(folder, change)


def with_manifest(folder, format, content):
    """The decoder of the demo with other bytes as its manifest."""
    path = folder / f"decoder.{format}"
    if format == "onnx":

        def change(model):
            [entry] = (entry for entry in model.metadata_props if entry.key == "keras_vae")
            entry.value = content

        return onnx_model(folder, change)
    from export import tflite

    def change(model, schema):
        [entry] = (entry for entry in model.metadata if entry.name == b"keras_vae")
        model.buffers[entry.buffer].data = np.frombuffer(content.encode(), np.uint8)

    path.write_bytes(tflite._edited((MODELS / "decoder.tflite").read_bytes(), change))
    return path


def manifest_with(**changes):
    """The demo's manifest as text, with some entries changed."""
    from export import tflite

    return json.dumps({**tflite.read_manifest(MODELS / "decoder.tflite"), **changes})


@attack("inspect", "Install the version that wrote it")
def manifest_of_a_newer_schema(folder):
    return with_manifest(folder, "tflite", manifest_with(schema=99))


@attack("inspect", "Install the version that wrote it")
def onnx_manifest_of_a_newer_schema(folder):
    return with_manifest(folder, "onnx", manifest_with(schema=99))


@attack("inspect", "is damaged")
def manifest_of_deep_json(folder):
    return with_manifest(folder, "tflite", "[" * 200_000)


@attack("inspect", "its quantization is unknown")
def manifest_with_a_path(folder):
    return with_manifest(folder, "onnx", manifest_with(quantization="../../etc/passwd"))


@attack("verify", "FAILED")
def manifest_of_a_terabyte(folder):
    return with_manifest(folder, "tflite", manifest_with(parameters=10**12))


# TFLite


@attack("verify", "damaged or cut off")
def tflite_that_is_cut_off(folder):
    path = folder / "decoder.tflite"
    path.write_bytes((MODELS / "decoder.tflite").read_bytes()[:1000])
    return path


@attack("inspect", "damaged or cut off")
def tflite_with_a_huge_offset(folder):
    content = bytearray((MODELS / "decoder.tflite").read_bytes())
    struct.pack_into("<I", content, 0, 2**32 - 8)
    path = folder / "decoder.tflite"
    path.write_bytes(content)
    return path


@attack("verify", "FAILED")
def tflite_weights_that_are_not_numbers(folder):
    from export import tflite

    def change(model, schema):
        for tensor in model.subgraphs[0].tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type == schema.TensorType.FLOAT32 and data is not None and len(data):
                values = np.full(len(data) // 4, np.nan, "f4").tobytes()
                model.buffers[tensor.buffer].data = np.frombuffer(values, np.uint8)

    path = folder / "decoder.tflite"
    path.write_bytes(tflite._edited((MODELS / "decoder.tflite").read_bytes(), change))
    return path


@attack("verify", "FAILED")
def tflite_tensor_of_a_terabyte(folder):
    from export import tflite

    def change(model, schema):
        for subgraph in model.subgraphs:
            for index in subgraph.inputs:
                subgraph.tensors[index].shape = np.array([2**20, 2**10], np.int32)
                subgraph.tensors[index].shapeSignature = None

    path = folder / "decoder.tflite"
    path.write_bytes(tflite._edited((MODELS / "decoder.tflite").read_bytes(), change))
    return path


def clean(folder):
    """Empty a folder, whatever an attack has left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    pathlib.Path(folder).mkdir(parents=True)
