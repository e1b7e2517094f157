"""Labelled image sets: named ones, an `.npz` file, or a folder of images of any size.

Files are untrusted: what they claim is checked before memory is allocated for it, nothing is
unpickled, and whatever is refused is refused in one line.
"""

import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vae import seeds
from keras_vae.data.errors import DataError, explained, shortened
from keras_vae.data.image_folders import ImageFiles, find

# The most memory that the arrays of one set may need.
MAX_BYTES = 16 * 2**30
# A folder whose images need more than this is read while a model trains, batch by batch.
MAX_BYTES_OF_FOLDER = 2**30
# Labels stay below this: a larger one is an identifier, not a class.
MAX_CLASSES = 100_000
# By how much rounding in float32 may lead beyond an end of a range, in parts of that end or of 1:
# `MinMaxScaler` gives 1.0000000000000002 and, in float32, 1.0000001.
ROUNDING = 1e-6

_DIGIT_NAMES = tuple("0123456789")
_CLASS_NAMES = {
    "digits": _DIGIT_NAMES,
    "mnist": _DIGIT_NAMES,
    "mnist_small": _DIGIT_NAMES,
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}
# The sets that come with the package.
_EXCERPTS = Path(__file__).parents[1] / "excerpts"
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_NPY_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NPY_HEADER_BYTES = 2**14


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, split into a training and a test set.

    Attributes:
        name: Str. The set's name, or that of the file or folder it came from.
        x_train: `(n, height, width, channels)`, uint8 from 0 to 255 where the source is uint8,
            else float32 in [0, 1]; an `ImageFiles` where the images stay in their files. Models
            take any of them; `as_float` gives floats.
        y_train: int32 `(n,)`, from 0 to `len(class_names) - 1`.
        x_test: As `x_train`, of the same image shape.
        y_test: As `y_train`.
        class_names: Tuple of str, one per label.
    """

    name: str
    x_train: "np.ndarray | ImageFiles"
    y_train: np.ndarray
    x_test: "np.ndarray | ImageFiles"
    y_test: np.ndarray
    class_names: tuple[str, ...]


def load(
    data: str | os.PathLike,
    in_memory: bool | None = None,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Load a set of labelled images by name or from a path.

    - `"digits"`: scikit-learn's 8x8 handwritten digits. Needs no download.
    - `"mnist_small"`: 8,000 training and 1,000 test images of MNIST, 28x28, as many of each digit.
      They come with the package (`excerpts/README.md` says from where).
    - `"mnist"`, `"fashion_mnist"`, `"cifar10"`: `NAME.npz` in the folder that the environment
      variable `KERAS_VAE_DATA` names; without that file, `keras.datasets`, which downloads.
    - A path to an `.npz` with `x_train`, `y_train`, `x_test`, `y_test` and, optionally,
      `class_names`. Images are uint8, 0 to 255 whatever the values; or bools, or numbers in
      [0, 1]. Channels come last.
    - A path to a folder with one sub-folder of images per class, or with `train` and `test`
      folders that hold these (or `training` and `testing`; without the second, `val`, `valid` or
      `validation` is the test set). Images in sub-folders of a class are of that class. All images
      have one size, once they are turned as their EXIF orientation says: PNG, JPEG, BMP, GIF, TIFF
      or WebP. What else is there is passed over with a warning that counts it, unless hidden.
      Classes are in natural order, 2 before 10.

    8-bit images stay uint8; where some have 16 bits of grey, all become float32. Where a source
    comes without a test set, a fifth of each class becomes one, the same fifth every time. A name
    wins over a path: for a folder called `digits` say `./digits`.

    Args:
        data: Str or path.
        in_memory: Whether a folder's images are read at once; otherwise they become `ImageFiles`,
            so that a folder may be larger than the memory. Default: if they need at most 1 GiB.
        class_names: Optional sequence of str, the classes that the data must have, in the order of
            their labels: those of a model that was trained on it. Models of folders whose order
            was that of text, 10 before 2, need it.

    Returns:
        A `Dataset`.

    Raises:
        DataError: If the data is missing, unreadable or unusable.

    Example:

    >>> digits = load("digits")
    >>> digits.x_train.shape, digits.x_test.shape, digits.class_names[7]
    ((1438, 8, 8, 1), (359, 8, 8, 1), '7')
    """
    source = os.fspath(data)
    if source == "digits":
        dataset = _load_digits()
    elif source == "mnist_small":
        dataset = _load_npz(os.fspath(_EXCERPTS / f"{source}.npz"), source, _CLASS_NAMES[source])
    elif source in _CLASS_NAMES:
        dataset = _load_named(source)
    elif os.path.isdir(source):
        dataset = _load_folder(source, in_memory, class_names)
    elif os.path.isfile(source):
        dataset = _load_npz(source, Path(source).stem)
    else:
        raise DataError(
            f"Data must be one of {', '.join(_CLASS_NAMES)}, or the path of an .npz file or a "
            f"folder of images. Received: {source!r}, which is neither. Check the spelling."
        )
    if class_names is not None and dataset.class_names != tuple(class_names):
        raise DataError(
            f"{source!r} must have the classes {shortened(repr(list(class_names)))}. Received: "
            f"{shortened(repr(list(dataset.class_names)))}. Load the data that the model was "
            "trained on."
        )
    return dataset


def needs_keras(source):
    """Whether `load` leaves a set to `keras.datasets`, which downloads it the first time."""
    is_here = source in ("digits", "mnist_small") or source not in _CLASS_NAMES
    return not is_here and _kept(source) is None


def bounds(data_range):
    """The ends of a range, moved apart by what rounding in float32 may add.

    Args:
        data_range: Pair of floats, infinite or not.
    """
    low, high = data_range
    return low - ROUNDING * max(1.0, abs(low)), high + ROUNDING * max(1.0, abs(high))


def as_float(images):
    """Return images `(n, ...)` as float32, by their dtype alone.

    uint8 is an 8-bit picture: 0 to 255 become 0 to 1, whatever the values. Bools become 0 and 1;
    floats and other integers are what they are.
    """
    images = np.asarray(images[:])
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    return images.astype(np.float32, copy=False)


def looks_channels_first(shape):
    """Whether images `(n, ...)` of a shape seem to have their one or three channels in front."""
    return len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) > 4


def binarize(images, seed):
    """Draw every pixel as 0 or 1, with its grey value as the probability of 1.

    Args:
        images: `(n, ...)`: uint8, an 8-bit picture; or bools or numbers in [0, 1].
        seed: Int, of which the same gives the same pixels; None for one that
            `keras.utils.set_random_seed` repeats; or a NumPy generator.

    Returns:
        float32 array of the same shape.

    References:
        - Burda et al., 2016, section 5. https://arxiv.org/abs/1509.00519
    """
    images = as_float(images)
    rng = np.random.default_rng(seeds.given_or_drawn(seed))
    threshold = rng.random(images.shape, dtype=np.float32)
    return (threshold < images).astype(np.float32)


def _load_digits():
    try:
        from sklearn.datasets import load_digits
    except ImportError as err:
        raise DataError(
            'The data set "digits" needs scikit-learn, which is not installed. Install it with: '
            'pip install "keras-vae[cli]".'
        ) from err
    digits = load_digits()
    train, test = _split(digits.target)
    x, y = digits.images / 16, digits.target
    return _dataset("digits", "digits", x[train], y[train], x[test], y[test], _DIGIT_NAMES)


def _load_named(name):
    if (path := _kept(name)) is not None:
        return _load_npz(path, name, _CLASS_NAMES[name])

    import keras

    folder = os.environ.get("KERAS_VAE_DATA", "")
    with explained(
        f"{name}.npz must be in the folder that KERAS_VAE_DATA names, or keras.datasets must be "
        f"able to download it. Received: KERAS_VAE_DATA={folder!r} without that file, and from "
        "keras.datasets: ",
        f"Put {name}.npz, with {', '.join(_ARRAYS)}, into a folder and set KERAS_VAE_DATA to it.",
    ):
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    if x_train.ndim == 4 and keras.config.image_data_format() == "channels_first":
        x_train, x_test = np.moveaxis(x_train, 1, -1), np.moveaxis(x_test, 1, -1)
    return _dataset(name, name, x_train, y_train, x_test, y_test, _CLASS_NAMES[name])


def _kept(name):
    """The path of a named set in the folder that `KERAS_VAE_DATA` names, or None."""
    folder = os.environ.get("KERAS_VAE_DATA", "")
    path = os.path.join(folder, f"{name}.npz")
    return path if folder and os.path.isfile(path) else None


def _load_npz(path, name, class_names=None):
    from keras_vae.storage import archives

    readable = f"{path!r} must be a complete .npz file. Received: "
    advice = "Write it again with np.savez_compressed."
    with contextlib.ExitStack() as stack:
        with explained(readable, advice):
            archive = stack.enter_context(archives.opened(path))
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise ValueError("an archive that holds an array twice")
        if missing := [array for array in _ARRAYS if array not in entries]:
            raise DataError(
                f"{path!r} must hold the arrays {', '.join(_ARRAYS)}. Received: no "
                f"{', '.join(missing)}, only {shortened(repr(sorted(entries)))}. Rename or add "
                "the missing arrays."
            )
        entries = {array: entries[array] for array in (*_ARRAYS, "class_names") if array in entries}
        headers = {array: _header(archive, info, path) for array, info in entries.items()}
        _check_memory(sum(header.nbytes for header in headers.values()), path)
        # What can be refused by the headers and the labels alone is, before images are read.
        for array in ("x_train", "x_test"):
            _check_images(headers[array], array, repr(path))
        with explained(readable, advice):
            arrays = {a: _read_entry(archive, entries[a]) for a in entries if a[0] != "x"}
        for array in ("y_train", "y_test"):
            count = headers[array.replace("y", "x")].shape[0]
            arrays[array] = _labels(arrays[array], count, array, repr(path))
        with explained(readable, advice):
            arrays |= {a: _read_entry(archive, entries[a]) for a in entries if a[0] == "x"}
            if "class_names" in arrays:
                class_names = tuple(arrays.pop("class_names").ravel()[: MAX_CLASSES + 1].tolist())
    return _dataset(repr(path), name, **arrays, class_names=class_names)


@dataclasses.dataclass(frozen=True)
class _Header:
    """What an array in a file says of itself; `nbytes` is what it needs once it is loaded."""

    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int


def _header(archive, info, path):
    """Read and check the header of an array of a zip file."""
    with explained(
        f"{info.filename!r} in {path!r} must begin with the header of a NumPy array. Received: ",
        "Write the file again with np.savez_compressed.",
    ):
        # A header may announce 4 GB of itself, which NumPy would read before refusing it.
        with archive.open(info) as entry:
            start = io.BytesIO(entry.read(_NPY_HEADER_BYTES))
        shape, _, dtype = _NPY_HEADER_READERS[np.lib.format.read_magic(start)](start)
    if dtype.kind not in "biufU" or dtype.itemsize == 0:
        raise DataError(
            f"{info.filename!r} in {path!r} must be a plain array of numbers or text. Received: "
            f"dtype {shortened(str(dtype))}, which is not read from a file that may not be "
            "trusted. Convert it before saving."
        )
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start.tell() + size != info.file_size:
        raise DataError(
            f"{info.filename!r} in {path!r} must hold as many bytes as its header says. Received: "
            f"shape={shortened(str(shape))} of {dtype}, in {info.file_size} bytes. Write the "
            "file again with np.savez_compressed."
        )
    # All numbers but uint8 become float32 or, as labels, int32.
    needed = math.prod(shape) * max(4, dtype.itemsize) if dtype != np.uint8 else size
    return _Header(shape, dtype, needed)


def _read_entry(archive, info):
    with archive.open(info) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)


def _load_folder(path, in_memory, class_names):
    # Links are followed inside this folder only, so it is compared as the place it really is.
    root = Path(os.path.realpath(path))
    train_files, test_files = find(root, class_names)
    class_names = tuple(class_names or train_files)
    paths, labels = _paths_and_labels(train_files, class_names)
    if test_files is None:
        for class_name, class_files in train_files.items():
            if len(class_files) < 2:
                raise DataError(
                    "Each class needs at least two images, one to train and one to test with. "
                    f"Received: only {str(class_files[0])!r} in class {class_name!r}. Add images "
                    "or remove the folder."
                )
        train, test = _split(labels)
    else:
        test_paths, y_test = _paths_and_labels(test_files, class_names)
        train, test = _permutation(len(paths)), len(paths) + _permutation(len(test_paths))
        paths, labels = paths + test_paths, np.concatenate([labels, y_test])
    files = ImageFiles.of(paths)
    in_memory = files.nbytes <= MAX_BYTES_OF_FOLDER if in_memory is None else in_memory
    x_train, x_test = files.take(train), files.take(test)
    if in_memory:
        advice = "Load it with in_memory=False to read images as they are needed"
        _check_memory(files.nbytes, root, advice)
        x_train, x_test = x_train.in_memory(), x_test.in_memory()
    source = repr(str(root))
    return _dataset(source, root.name, x_train, labels[train], x_test, labels[test], class_names)


def _paths_and_labels(files, class_names):
    paths = [path for class_files in files.values() for path in class_files]
    indices = [class_names.index(class_name) for class_name in files]
    return paths, np.repeat(indices, [len(class_files) for class_files in files.values()])


def _permutation(count):
    # A private generator, and the one whose stream NumPy never changes.
    return np.random.RandomState(0).permutation(count)


def _split(labels):
    """Return shuffled indices of a training and a test set, a fifth of each class in the latter."""
    order = _permutation(len(labels))
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        in_test[members[: max(1, round(len(members) / 5))]] = True
    return order[~in_test], order[in_test]


def _dataset(source, name, x_train, y_train, x_test, y_test, class_names=None):
    """Check and convert the arrays of any source: the one place where a `Dataset` is made."""
    x_train, x_test = _images(x_train, "x_train", source), _images(x_test, "x_test", source)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"x_train and x_test of {source} must have one image shape. Received: "
            f"{x_train.shape[1:]} and {x_test.shape[1:]}. Resize one of them."
        )
    y_train = _labels(y_train, len(x_train), "y_train", source)
    y_test = _labels(y_test, len(x_test), "y_test", source)
    num_classes = int(max(y_train.max(), y_test.max())) + 1
    first = int(min(y_train.min(), y_test.min()))
    if first > 0 and (class_names is None or num_classes - first == len(class_names)):
        raise DataError(
            f"Labels of {source} must count the classes from 0. Received: labels from {first} to "
            f"{num_classes - 1}. Save y - {first}; or save class_names of every number from 0, if "
            "there are classes without images."
        )
    if class_names is None:
        class_names = tuple(str(label) for label in range(num_classes))
    if not num_classes <= len(class_names) <= MAX_CLASSES:
        raise DataError(
            f"{source} must have a class name for each label. Received: {len(class_names)} names "
            f"for labels from 0 to {num_classes - 1}. Correct the labels or the names."
        )
    if len(set(class_names)) < len(class_names) or not all(
        isinstance(class_name, str) and class_name and class_name.isprintable()
        for class_name in class_names
    ):
        raise DataError(
            f"Class names of {source} must be text, distinct, printable and not empty. Received: "
            f"{shortened(repr(class_names))}. Rename the classes."
        )
    return Dataset(name, x_train, y_train, x_test, y_test, class_names)


def _images(x, array, source):
    if isinstance(x, ImageFiles):
        return x
    _check_images(x, array, source)
    if x.dtype == np.uint8:
        x = np.ascontiguousarray(x)
    else:
        low, high = float(x.min()), float(x.max())
        least, most = bounds((0, 1))
        if not (low >= least and high <= most):  # True for NaN too.
            raise DataError(
                f"{array} of {source} must be finite and in [0, 1], or uint8. Received: {x.dtype} "
                f"from {low:g} to {high:g}. Rescale the array, or save it as uint8."
            )
        x = np.ascontiguousarray(x, dtype=np.float32)
    return x if x.ndim == 4 else x[..., np.newaxis]


def _check_images(x, array, source):
    """Check the shape and dtype of images, or of what their header says."""
    if len(x.shape) not in (3, 4) or 0 in x.shape:
        raise DataError(
            f"{array} of {source} must be images (n, height, width) or (n, height, width, "
            f"channels), at least one. Received: shape={x.shape}. Reshape the array."
        )
    if looks_channels_first(x.shape):
        raise DataError(
            f"{array} of {source} must have its channels last, (n, height, width, channels). "
            f"Received: shape={x.shape}, which looks like channels first. Save "
            f"np.moveaxis({array}, 1, -1) instead."
        )
    if x.dtype.kind not in "fiub":
        raise DataError(
            f"{array} of {source} must be uint8, bool, or numbers in [0, 1]. Received: {x.dtype}. "
            "Convert the array."
        )


def _labels(y, count, array, source):
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{array} of {source} must be integer labels (n,) or (n, 1). Received: {y.dtype} of "
            f"shape={y.shape}. {_as_labels(y, array)}"
        )
    if len(y) != count:
        raise DataError(
            f"{array} of {source} must have one label per image. Received: {len(y)} labels, "
            f"{count} images. Check how the two were made."
        )
    low, high = y.min(), y.max()
    if low < 0 or high >= MAX_CLASSES:
        raise DataError(
            f"{array} of {source} must be class numbers from 0 to num_classes - 1, with at most "
            f"{MAX_CLASSES} classes. Received: labels from {low} to {high}. "
            + (f"Leave out the images of {array} < 0." if low == -1 else "Renumber the classes.")
        )
    return y.astype(np.int32)


def _as_labels(y, array):
    """The line that makes labels of what is none."""
    if y.ndim == 2 and y.dtype.kind in "biuf":
        return f"Save {array}.argmax(-1), if it is one-hot."
    if y.ndim == 1 and y.dtype.kind == "U":
        return f"Save class_names, {array} = np.unique({array}, return_inverse=True)."
    if y.ndim == 1 and y.dtype.kind == "f" and np.isnan(y).any():
        return f"Leave out the images where np.isnan({array})."
    if y.ndim == 1 and y.dtype.kind in "bf":
        return f"Save {array}.astype(int)."
    return "Convert the array."


def _check_memory(size, source, advice="Use less data"):
    if size > MAX_BYTES:
        raise DataError(
            f"{str(source)!r} must fit into {MAX_BYTES / 2**30:.3g} GiB of memory. Received: "
            f"{size / 2**30:.3g} GiB. {advice}, or raise keras_vae.data.MAX_BYTES if the machine "
            "has the memory."
        )
