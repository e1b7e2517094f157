"""Data to train with: `load` gives images, `sequences` music, `table` tables, `series` sensors.

Files are untrusted: what they claim is checked before memory is allocated for it, nothing is
unpickled, and whatever is refused is refused in one line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.arguments import bounds
from keras_vae.data import audio, datasets, midi, npz
from keras_vae.data.columns import Binary, Category, Count, Numeric
from keras_vae.data.datasets import Dataset
from keras_vae.data.errors import DataError, explained, shortened
from keras_vae.data.image_files import Framing, ImageFiles, warn_of_broken, whole
from keras_vae.data.image_folders import SEPARATOR, UNKNOWN, UNLABELLED, find
from keras_vae.data.images import as_float, binarize, looks_channels_first
from keras_vae.data.notes import Notes
from keras_vae.data.sequences import Sequences, is_music, sequences
from keras_vae.data.series import Series, series
from keras_vae.data.series_schema import SeriesSchema
from keras_vae.data.table_schema import TableSchema
from keras_vae.data.table_sources import is_table
from keras_vae.data.tables import Table, table

__all__ = [
    "Binary",
    "Category",
    "Count",
    "DataError",
    "Dataset",
    "ImageFiles",
    "Notes",
    "Numeric",
    "Sequences",
    "Series",
    "SeriesSchema",
    "Table",
    "TableSchema",
    "as_float",
    "audio",
    "binarize",
    "bounds",
    "is_music",
    "is_table",
    "load",
    "looks_channels_first",
    "midi",
    "needs_keras",
    "options_of",
    "sequences",
    "series",
    "table",
]

# The most memory that the arrays of one set may need.
MAX_BYTES = 16 * 2**30
# A folder whose images need more than this is read while a model trains, batch by batch.
MAX_BYTES_OF_FOLDER = 2**30

_DIGIT_NAMES = tuple("0123456789")
_CLASS_NAMES = {
    "digits": _DIGIT_NAMES,
    "mnist": _DIGIT_NAMES,
    "mnist_small": _DIGIT_NAMES,
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}
# The sets that come with the package.
_EXCERPTS = Path(__file__).parents[1] / "excerpts"


def load(
    data: str | os.PathLike,
    in_memory: bool | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: str | None = None,
    background: str | tuple[int, int, int] | None = None,
    skip_broken: bool = False,
    conditions: Sequence[str] | Mapping[str, Sequence[str] | None] = (),
    groups: bool = False,
) -> Dataset:
    """Load a set of images by name or from a path, with labels where there are any.

    - `"digits"`: scikit-learn's 8x8 handwritten digits. Needs no download.
    - `"mnist_small"`: 8,000 training and 1,000 test images of MNIST, 28x28, as many of each digit.
      They come with the package (`excerpts/README.md` says from where).
    - `"mnist"`, `"fashion_mnist"`, `"cifar10"`: `NAME.npz` in the folder that the environment
      variable `KERAS_VAE_DATA` names; without that file, `keras.datasets`, which downloads.
    - A path to an `.npz` with `x_train`, `y_train`, `x_test`, `y_test` and, optionally,
      `class_names`; without labels, both `y_train` and `y_test` are left out, and a label of -1 or
      NaN is unknown (test images without one are left out, with a warning). `conditions` name more
      arrays, `angle_train` and `angle_test` for `"angle"`. Images are uint8, 0 to 255 whatever the
      values; or bools, or numbers in [0, 1]. Channels come last.
    - A path to a folder with one sub-folder of images per class, or with `train` and `test`
      folders that hold these (or `training` and `testing`; without the second, `val`, `valid` or
      `validation` is the test set). Images in sub-folders of a class are of that class, unless
      there are `groups`; images in no sub-folder at all have no labels. They are PNG, JPEG, BMP,
      GIF, TIFF or WebP, turned as their EXIF orientation says, of one size or given one by
      `image_size`; of an animation the first frame counts. What else is there is passed over with a
      warning that counts it, unless hidden. Classes are in natural order, 2 before 10. Images in a
      folder `unlabelled` beside those of the classes are for training: nobody said of which class
      they are.

    8-bit images stay uint8; where some have 16 bits of grey, all become float32. Where a source
    comes without a test set, a fifth of each class becomes one, the same fifth every time. Without
    labels all images are of one class, "all". A name wins over a path: for a folder called `digits`
    say `./digits`.

    Args:
        data: Str or path.
        in_memory: Whether a folder's images are read at once; otherwise they become `ImageFiles`,
            so that a folder may be larger than the memory. Default: if they need at most 1 GiB.
        class_names: Optional sequence of str, the classes that the data must have, in the order of
            their labels: those of a model that was trained on it. Models of folders whose order
            was that of text, 10 before 2, need it.
        image_size: Optional int, or `(height, width)`, that a folder's images get, in pixels.
        fit: How images get their size: `"crop"`, scaled until they fill it and cut about the
            middle, the default; `"pad"`, scaled until they fit into it; or `"stretch"`.
        background: Colour behind transparent pixels and beside padded images: a name, `#rrggbb` or
            `(red, green, blue)` from 0 to 255. Default: white, said in a warning.
        skip_broken: Whether to pass over images that cannot be read, with a warning that names
            them; all are decoded once to find them.
        conditions: Names of what an `.npz` says of its images besides the label. Floats `(n,)` or
            `(n, dim)` are numbers, NaN where missing; whole numbers and text are names, in their
            order. Whole numbers `(n, tags)` are tags: 1, 0, or 2 for unknown; `NAME_names` has
            their names. A dict says the names that a model knows, or None of numbers.
        groups: Whether a sub-folder without images of its own, but with several folders that hold
            some, is a group of classes, whose names are `animal/dog` and `animal/cat`, to any
            depth. Where `class_names` are given, they say it.

    Returns:
        A `Dataset`.

    Raises:
        DataError: If the data is missing, unreadable or unusable.

    Example:

    >>> import keras_vae
    >>> digits = keras_vae.data.load("digits")
    >>> digits.x_train.shape, digits.x_test.shape, digits.class_names[7]
    ((1438, 8, 8, 1), (359, 8, 8, 1), '7')

    See also:
        `table`, `series`, `sequences`, for what is no picture.
    """
    source = os.fspath(data)
    is_named = source in _CLASS_NAMES
    framing = Framing.of(image_size, fit, background)
    if is_named or not os.path.isdir(source):
        _check_needs_no_folder(source, framing, skip_broken)
    conditions = conditions if isinstance(conditions, Mapping) else dict.fromkeys(conditions)
    if conditions and (is_named or not os.path.isfile(source)):
        raise DataError(
            f"Conditions besides the label, {', '.join(conditions)}, need an .npz file with "
            f"arrays of them. Received: {source!r}."
        )
    if source == "digits":
        dataset = _load_digits()
    elif source == "mnist_small":
        dataset = _load_npz(os.fspath(_EXCERPTS / f"{source}.npz"), source, _CLASS_NAMES[source])
    elif source in _CLASS_NAMES:
        dataset = _load_named(source)
    elif os.path.isdir(source):
        dataset = _load_folder(source, in_memory, class_names, framing, skip_broken, groups)
    elif os.path.isfile(source):
        dataset = _load_npz(source, Path(source).stem, conditions=conditions)
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


def options_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Of a dict of arguments those by which `load` reads a folder of images.

    Example:

    >>> import keras_vae
    >>> keras_vae.data.options_of({"image_size": 32, "epochs": 10})
    {'image_size': 32}
    """
    names = ("image_size", "fit", "background", "skip_broken")
    return {name: arguments[name] for name in names if arguments.get(name)}


def needs_keras(source: str | os.PathLike[str]) -> bool:
    """Whether `load` leaves a set to `keras.datasets`, which downloads it the first time.

    Args:
        source: Str or path.

    Returns:
        Bool.

    Example:

    >>> import keras_vae
    >>> keras_vae.data.needs_keras("mnist_small")
    False
    """
    is_here = source in ("digits", "mnist_small") or source not in _CLASS_NAMES
    return not is_here and _kept(source) is None


def _check_needs_no_folder(source, framing, skip_broken):
    """Refuse what is meant for a folder of images beside any other source."""
    given = {
        "image_size": framing.size,
        "background": framing.background,
        "skip_broken": skip_broken,
    }
    if given := [name for name, value in given.items() if value]:
        raise DataError(
            f"`{given[0]}` needs a folder of images. Received: {source!r}, whose images are "
            "arrays. Leave it out."
        )


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
    return datasets.make("digits", "digits", x[train], y[train], x[test], y[test], _DIGIT_NAMES)


def _load_named(name):
    if (path := _kept(name)) is not None:
        return _load_npz(path, name, _CLASS_NAMES[name])

    import keras

    folder = os.environ.get("KERAS_VAE_DATA", "")
    with explained(
        f"{name}.npz must be in the folder that KERAS_VAE_DATA names, or keras.datasets must be "
        f"able to download it. Received: KERAS_VAE_DATA={folder!r} without that file, and from "
        "keras.datasets: ",
        f"Put {name}.npz, with {', '.join(npz.ARRAYS)}, into a folder and set KERAS_VAE_DATA to "
        "it.",
    ):
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    if x_train.ndim == 4 and keras.config.image_data_format() == "channels_first":
        x_train, x_test = np.moveaxis(x_train, 1, -1), np.moveaxis(x_test, 1, -1)
    return datasets.make(name, name, x_train, y_train, x_test, y_test, _CLASS_NAMES[name])


def _kept(name):
    """The path of a named set in the folder that `KERAS_VAE_DATA` names, or None."""
    folder = os.environ.get("KERAS_VAE_DATA", "")
    path = os.path.join(folder, f"{name}.npz")
    return path if folder and os.path.isfile(path) else None


def _load_npz(path, name, class_names=None, conditions=None):
    conditions = conditions or {}
    arrays = {"class_names": class_names, **npz.read(path, MAX_BYTES, tuple(conditions))}
    counts = [len(arrays[f"x_{part}"]) for part in ("train", "test")]
    arrays["conditions"] = {}
    for each, names in conditions.items():
        own = arrays.pop(f"{each}_names", None)
        values = arrays.pop(f"{each}_train"), arrays.pop(f"{each}_test")
        if names is None and own is not None and 2 in (values[0].ndim, values[1].ndim):
            names = tuple(map(str, own.ravel().tolist()))
        arrays["conditions"][each] = datasets.condition(each, *values, counts, repr(path), names)
    if "y_train" in arrays:
        return datasets.make(repr(path), name, **arrays)
    labels = {
        f"y_{part}": np.zeros(len(arrays[f"x_{part}"]), "int32") for part in ("train", "test")
    }
    names = {"class_names": (UNLABELLED,), "has_labels": False}
    return datasets.make(repr(path), name, **{**arrays, **labels, **names})


def _load_folder(path, in_memory, class_names, framing, skip_broken, groups):
    # Links are followed inside this folder only, so it is compared as the place it really is.
    root = Path(os.path.realpath(path))
    found = find(root, class_names, groups)
    sets = [found.training, found.test or {}]
    if skip_broken:
        paths = [path for files in sets for group in files.values() for path in group]
        good = whole(paths)
        sets = [{name: [p for p in files[name] if p in good] for name in files} for files in sets]
        if broken := [path for path in paths if path not in good]:
            warn_of_broken(broken, len(paths), root)
    class_names = tuple(class_names or (name for name in found.training if name not in UNKNOWN))
    paths, labels = _paths_and_labels(sets[0], class_names)
    if found.test is None:
        for class_name, class_files in sets[0].items():
            if len(class_files) < 2 and class_name not in UNKNOWN:
                only = f"only {str(class_files[0])!r}" if class_files else "none"
                raise DataError(
                    "Each class needs at least two images, one to train and one to test with. "
                    f"Received: {only} in class {class_name!r}. Add images or remove the folder."
                )
        train, test = _split(labels)
    else:
        test_paths, y_test = _paths_and_labels(sets[1], class_names)
        train, test = _permutation(len(paths)), len(paths) + _permutation(len(test_paths))
        paths, labels = paths + test_paths, np.concatenate([labels, y_test])
        if not (len(train) and len(test)):
            raise DataError(f"{str(root)!r} must hold images that can be read. Received: none.")
    files = ImageFiles.of(paths, framing, root, path)
    in_memory = files.nbytes <= MAX_BYTES_OF_FOLDER if in_memory is None else in_memory
    x_train, x_test = files.take(train), files.take(test)
    if in_memory:
        advice = "Load it with in_memory=False to read images as they are needed"
        datasets.check_memory(files.nbytes, MAX_BYTES, root, advice)
        x_train, x_test = x_train.in_memory(), x_test.in_memory()
    arrays = x_train, labels[train], x_test, labels[test], class_names
    has_groups = any(SEPARATOR in name for name in class_names)
    told = {"has_labels": found.has_labels, "has_groups": has_groups}
    return datasets.make(repr(str(root)), root.name, *arrays, **told)


def _paths_and_labels(files, class_names):
    paths = [path for class_files in files.values() for path in class_files]
    indices = [-1 if name in UNKNOWN else class_names.index(name) for name in files]
    return paths, np.repeat(indices, [len(class_files) for class_files in files.values()])


def _permutation(count):
    # A private generator, and the one whose stream NumPy never changes.
    return np.random.RandomState(0).permutation(count)


def _split(labels):
    """Return shuffled indices of a training and a test set, a fifth of each class in the latter."""
    order = _permutation(len(labels))
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels[order] == label)
        in_test[members[: max(1, round(len(members) / 5))]] = True
    return order[~in_test], order[in_test]
