"""Labelled image sets: named ones, an `.npz` file, or a folder of images of any size.

Files are untrusted: what they claim is checked before memory is allocated for it, nothing is
unpickled, and whatever is refused is refused in one line.
"""

import concurrent.futures
import contextlib
import dataclasses
import io
import math
import os
import warnings
from pathlib import Path

import numpy as np

from keras_vae import seeds

# The most memory that the arrays of one set may need.
MAX_BYTES = 16 * 2**30
# A folder whose images need more than this is read while a model trains, batch by batch.
MAX_BYTES_OF_FOLDER = 2**30
# Labels stay below this: a larger one is an identifier, not a class.
MAX_CLASSES = 100_000

_DIGIT_NAMES = tuple("0123456789")
_CLASS_NAMES = {
    "digits": _DIGIT_NAMES,
    "mnist": _DIGIT_NAMES,
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
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_NPY_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NPY_HEADER_BYTES = 2**14
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_GREY_MODES = {"1", "L", "LA"}
_ROWS_OF_THREAD = 64
_COLOUR_MODES = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


class DataError(ValueError):
    """Data that cannot be used. The message is one line: what holds, what came in, what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, split into a training and a test set.

    Attributes:
        name: Str. The set's name, or that of the file or folder it came from.
        x_train: `(n, height, width, channels)`, uint8 from 0 to 255 where the source has 8 bits,
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


class ImageFiles:
    """Images that stay in their files until rows are asked for, as `images[rows]`.

    To `fit`, `evaluate` and the other methods of a model it is an array: the same batches in the
    same order, read by a few threads ahead of the step that needs them. `load` makes it.

    Attributes:
        shape: Tuple `(n, height, width, channels)`.
        dtype: uint8.
    """

    dtype = np.dtype("uint8")

    def __init__(self, paths, size, mode):
        self.paths = np.asarray(paths, dtype=object)
        self.mode = mode
        width, height = size
        self.shape = (len(paths), height, width, 1 if mode == "L" else 3)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def nbytes(self):
        """Bytes that the array in memory would need."""
        return math.prod(self.shape)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, rows):
        """Read rows: an index, a slice, or an array of indices or bools; uint8.

        Raises:
            DataError: If a file is gone, damaged or changed its size since `load` looked at it.
        """
        paths = self.paths[rows]
        if isinstance(paths, str | os.PathLike):
            return self._read(paths)
        x = np.empty((len(paths), *self.shape[1:]), np.uint8)
        for pixels, path in zip(x, paths, strict=True):
            pixels[...] = self._read(path)
        return x

    def take(self, rows):
        """The same images in another order, or some of them, still in their files."""
        _, height, width, _ = self.shape
        return ImageFiles(self.paths[rows], (width, height), self.mode)

    def in_memory(self):
        """Read all of them, by several threads."""
        x = np.empty(self.shape, np.uint8)
        starts = range(0, len(self), _ROWS_OF_THREAD)

        def read(start):
            rows = slice(start, start + _ROWS_OF_THREAD)
            x[rows] = self[rows]

        with concurrent.futures.ThreadPoolExecutor() as pool:
            for _ in pool.map(read, starts):
                pass
        return x

    def _read(self, path):
        from PIL import Image

        _, height, width, _ = self.shape
        with _readable(path), Image.open(path, formats=_IMAGE_FORMATS) as image:
            if image.size != (width, height):
                raise ValueError(f"another size than before, {image.size[0]}x{image.size[1]}")
            pixels = np.asarray(_opaque(image, path).convert(self.mode))
            return pixels.reshape(self.shape[1:])


def load(data: str | os.PathLike, in_memory: bool | None = None) -> Dataset:
    """Load a set of labelled images by name or from a path.

    - `"digits"`: scikit-learn's 8x8 handwritten digits. Needs no download.
    - `"mnist"`, `"fashion_mnist"`, `"cifar10"`: `NAME.npz` in the folder that the environment
      variable `KERAS_VAE_DATA` names; without that file, `keras.datasets`, which downloads.
    - A path to an `.npz` with `x_train`, `y_train`, `x_test`, `y_test` and, optionally,
      `class_names`. Images are uint8, or floating point in [0, 1].
    - A path to a folder with one sub-folder of images per class, or with `train` and `test`
      folders that hold these. All images have one size. Hidden files and files that are no
      PNG, JPEG, BMP, GIF or WebP are passed over.

    8-bit images stay uint8. Where a source comes without a test set, a fifth of each class becomes
    one, the same fifth every time. A name wins over a path: for a folder called `digits` say
    `./digits`.

    Args:
        data: Str or path.
        in_memory: Whether a folder's images are read at once; otherwise they become `ImageFiles`,
            so that a folder may be larger than the memory. Default: if they need at most 1 GiB.

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
        return _load_digits()
    if source in _CLASS_NAMES:
        return _load_named(source)
    if os.path.isdir(source):
        return _load_folder(source, in_memory)
    if os.path.isfile(source):
        return _load_npz(source, Path(source).stem)
    raise DataError(
        f"Data must be one of {', '.join(_CLASS_NAMES)}, or the path of an .npz file or a folder "
        f"of images. Received: {source!r}, which is neither. Check the spelling."
    )


def as_float(images):
    """Return images `(n, ...)` as float32 in [0, 1]; uint8 stands for 0 to 255."""
    images = np.asarray(images[:])
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    return images.astype(np.float32, copy=False)


def binarize(images, seed):
    """Draw every pixel as 0 or 1, with its grey value as the probability of 1.

    Args:
        images: uint8 `(n, ...)`, or floats in [0, 1].
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
    folder = os.environ.get("KERAS_VAE_DATA", "")
    path = os.path.join(folder, f"{name}.npz")
    if folder and os.path.isfile(path):
        return _load_npz(path, name, _CLASS_NAMES[name])

    import keras

    with _explained(
        f"{name}.npz must be in the folder that KERAS_VAE_DATA names, or keras.datasets must be "
        f"able to download it. Received: KERAS_VAE_DATA={folder!r} without that file, and from "
        "keras.datasets: ",
        f"Put {name}.npz, with {', '.join(_ARRAYS)}, into a folder and set KERAS_VAE_DATA to it.",
    ):
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    if x_train.ndim == 4 and keras.config.image_data_format() == "channels_first":
        x_train, x_test = np.moveaxis(x_train, 1, -1), np.moveaxis(x_test, 1, -1)
    return _dataset(name, name, x_train, y_train, x_test, y_test, _CLASS_NAMES[name])


def _load_npz(path, name, class_names=None):
    from keras_vae import archives

    readable = f"{path!r} must be a complete .npz file. Received: "
    advice = "Write it again with np.savez_compressed."
    with contextlib.ExitStack() as stack:
        with _explained(readable, advice):
            archive = stack.enter_context(archives.opened(path))
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise ValueError("an archive that holds an array twice")
        if missing := [array for array in _ARRAYS if array not in entries]:
            raise DataError(
                f"{path!r} must hold the arrays {', '.join(_ARRAYS)}. Received: no "
                f"{', '.join(missing)}, only {_shortened(repr(sorted(entries)))}. Rename or add "
                "the missing arrays."
            )
        entries = {array: entries[array] for array in (*_ARRAYS, "class_names") if array in entries}
        counts = [_check_entry(archive, info, path) for info in entries.values()]
        _check_memory(sum(counts), path)
        with _explained(readable, advice):
            arrays = {array: _read_entry(archive, info) for array, info in entries.items()}
            if "class_names" in arrays:
                class_names = tuple(arrays.pop("class_names").ravel()[: MAX_CLASSES + 1].tolist())
    return _dataset(repr(path), name, **arrays, class_names=class_names)


def _check_entry(archive, info, path):
    """Return how many bytes an array of a zip file needs, from its header alone."""
    with _explained(
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
            f"dtype {_shortened(str(dtype))}, which is not read from a file that may not be "
            "trusted. Convert it before saving."
        )
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start.tell() + size != info.file_size:
        raise DataError(
            f"{info.filename!r} in {path!r} must hold as many bytes as its header says. Received: "
            f"shape={_shortened(str(shape))} of {dtype}, in {info.file_size} bytes. Write the "
            "file again with np.savez_compressed."
        )
    # Floats become float32.
    return math.prod(shape) * 4 if dtype.kind == "f" and dtype.itemsize < 4 else size


def _read_entry(archive, info):
    with archive.open(info) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)


def _load_folder(path, in_memory):
    # Links are followed inside this folder only, so it is compared as the place it really is.
    root = Path(os.path.realpath(path))
    splits = [root / "train", root / "test"]
    if all(split.is_dir() and _sub_folders(split, root) for split in splits):
        train_files, test_files = (_files_by_class(split, root) for split in splits)
        if unknown := sorted(test_files.keys() - train_files.keys()):
            raise DataError(
                f"Every class of {str(splits[1])!r} must also be in {str(splits[0])!r}. Received: "
                f"{unknown[0]!r} in the test set only. Add or remove that folder."
            )
        class_names = tuple(train_files)
        train_paths, y_train = _paths_and_labels(train_files, class_names)
        test_paths, y_test = _paths_and_labels(test_files, class_names)
        paths, labels = train_paths + test_paths, np.concatenate([y_train, y_test])
        train = _permutation(len(train_paths))
        test = len(train_paths) + _permutation(len(test_paths))
    else:
        files = _files_by_class(root, root)
        for class_name, class_files in files.items():
            if len(class_files) < 2:
                raise DataError(
                    "Each class needs at least two images, one to train and one to test with. "
                    f"Received: only {str(class_files[0])!r} in class {class_name!r}. Add images "
                    "or remove the folder."
                )
        class_names = tuple(files)
        paths, labels = _paths_and_labels(files, class_names)
        train, test = _split(labels)
    files = _image_files(paths)
    in_memory = files.nbytes <= MAX_BYTES_OF_FOLDER if in_memory is None else in_memory
    x_train, x_test = files.take(train), files.take(test)
    if in_memory:
        advice = "Load it with in_memory=False to read images as they are needed"
        _check_memory(files.nbytes, root, advice)
        x_train, x_test = x_train.in_memory(), x_test.in_memory()
    source = repr(str(root))
    return _dataset(source, root.name, x_train, labels[train], x_test, labels[test], class_names)


def _listing(folder, root):
    """Return what is in a folder, by name, without hidden entries."""
    with _explained(f"{str(folder)!r} must be readable. Received: ", "Check its permissions."):
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    paths = [folder / name for name in names]
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise DataError(
                f"Everything in {str(root)!r} must be stored in that folder. Received: a link to "
                f"somewhere else, {str(path)!r}. Copy what it points to, or remove the link."
            )
    return paths


def _sub_folders(folder, root):
    return [path for path in _listing(folder, root) if path.is_dir()]


def _files_by_class(folder, root):
    """Return a dict from class name to image files, both in order of name."""
    files = {}
    for class_folder in _sub_folders(folder, root):
        files[class_folder.name] = [
            path
            for path in _listing(class_folder, root)
            if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file()
        ]
        if not files[class_folder.name]:
            raise DataError(
                "Each class folder must hold images (png, jpg, jpeg, bmp, gif or webp). Received: "
                f"none in {str(class_folder)!r}. Add images or remove the folder."
            )
    if not files:
        raise DataError(
            f"A folder of images must have one sub-folder per class. Received: {str(folder)!r} "
            "without any sub-folder. Sort the images into sub-folders named after their classes."
        )
    return files


def _paths_and_labels(files, class_names):
    paths = [path for class_files in files.values() for path in class_files]
    indices = [class_names.index(class_name) for class_name in files]
    return paths, np.repeat(indices, [len(class_files) for class_files in files.values()])


def _image_files(paths):
    """Look at the headers of image files: they decide on size and channels.

    No pixel is decoded before the whole is known to fit.
    """
    try:
        from PIL import Image
    except ImportError as err:
        raise DataError(
            "A folder of images needs Pillow, which is not installed. Install it with: "
            'pip install "keras-vae[cli]".'
        ) from err
    sizes, modes = [], set()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for path in paths:
            with _readable(path), Image.open(path, formats=_IMAGE_FORMATS) as image:
                sizes.append(image.size)
                modes.add(image.mode)
                _check_image(image, path)
            if sizes[-1] != sizes[0]:
                raise DataError(
                    "All images must have one size. Received: {}x{} (width x height) in {!r}, "
                    "{}x{} in {!r}. Resize them to one size.".format(
                        *sizes[0], str(paths[0]), *sizes[-1], str(path)
                    )
                )
    return ImageFiles(paths, sizes[0], "L" if modes <= _GREY_MODES else "RGB")


def _readable(path):
    return _explained(
        f"{str(path)!r} must be a complete image. Received: ", "Repair or remove the file."
    )


def _check_image(image, path):
    animated = getattr(image, "is_animated", False)
    if animated or image.mode not in _GREY_MODES | _COLOUR_MODES:
        raise DataError(
            "Images must be still and have 8 bits per channel. Received: "
            f"{'an animation' if animated else f'mode {image.mode}'} in {str(path)!r}. Convert it "
            "to a greyscale or RGB image."
        )


def _opaque(image, path):
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() != (255, 255):
        raise DataError(
            f"Images must be opaque. Received: transparent pixels in {str(path)!r}. Put it on a "
            "background of your choice and save it without an alpha channel."
        )
    return image


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
            f"{_shortened(repr(class_names))}. Rename the classes."
        )
    return Dataset(name, x_train, y_train, x_test, y_test, class_names)


def _images(x, array, source):
    if isinstance(x, ImageFiles):
        return x
    if x.ndim not in (3, 4) or x.size == 0:
        raise DataError(
            f"{array} of {source} must be images (n, height, width) or (n, height, width, "
            f"channels), at least one. Received: shape={x.shape}. Reshape the array."
        )
    if x.dtype == np.uint8:
        x = np.ascontiguousarray(x)
    elif x.dtype.kind == "f":
        low, high = x.min(), x.max()
        if not (low >= 0 and high <= 1):  # True for NaN too.
            raise DataError(
                f"{array} of {source} must be finite and in [0, 1], or uint8. Received: {x.dtype} "
                f"from {low:g} to {high:g}. Rescale the array, or save it as uint8."
            )
        x = np.ascontiguousarray(x, dtype=np.float32)
    else:
        raise DataError(
            f"{array} of {source} must be uint8, or floating point in [0, 1]. Received: {x.dtype}. "
            "Convert the array."
        )
    return x if x.ndim == 4 else x[..., np.newaxis]


def _labels(y, count, array, source):
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{array} of {source} must be integer labels (n,) or (n, 1). Received: {y.dtype} of "
            f"shape={y.shape}. Convert the array."
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
            f"{MAX_CLASSES} classes. Received: labels from {low} to {high}. Renumber the classes."
        )
    return y.astype(np.int32)


def _check_memory(size, source, advice="Use less data"):
    if size > MAX_BYTES:
        raise DataError(
            f"{str(source)!r} must fit into {MAX_BYTES / 2**30:.3g} GiB of memory. Received: "
            f"{size / 2**30:.3g} GiB. {advice}, or raise keras_vae.data.MAX_BYTES if the machine "
            "has the memory."
        )


@contextlib.contextmanager
def _explained(before, advice):
    """Turn what a parser raises into a `DataError`: `before`, the cause, then `advice`.

    It catches every type because parsers of damaged bytes raise almost every type (`SyntaxError`,
    `KeyError`, `struct.error`), and Keras a bare `Exception` for a failed download.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as err:
        cause = _shortened(f"{type(err).__name__}: {err}").rstrip(".: ")
        raise DataError(f"{before}{cause}. {advice}") from err


def _shortened(text):
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}..."
