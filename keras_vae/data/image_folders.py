"""Folders of images: which files are images of which class, and what their pixels are."""

import concurrent.futures
import math
import os
import re
import warnings
from pathlib import Path

import numpy as np

from keras_vae.data.errors import DataError, explained, shortened

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_NAMES_OF_FORMATS = "PNG, JPEG, BMP, GIF, TIFF or WebP"
# What systems put into folders besides what begins with a dot.
_HIDDEN = ("desktop.ini", "thumbs.db")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}
_GREY_MODES = {"1", "L", "LA"}
_DEEP_MODES = {"I;16", "I;16B", "I;16L"}  # grey, up to 16 bits
_COLOUR_MODES = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_TURNED_BY_90_DEGREES = (5, 6, 7, 8)  # values of EXIF's orientation
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value
_ROWS_OF_THREAD = 64


class ImageFiles:
    """Images that stay in their files until rows are asked for, as `images[rows]`.

    To `fit`, `evaluate` and the other methods of a model it is an array: the same batches in the
    same order, read by a few threads ahead of the step that needs them. `load` makes it. Images
    are turned as their EXIF orientation says.

    Attributes:
        shape: Tuple `(n, height, width, channels)`.
        dtype: uint8 from 0 to 255; or float32 from 0 to 1, where some of the images have more than
            8 bits of grey.
    """

    def __init__(self, paths, size, mode, dtype="uint8"):
        self.paths = np.asarray(paths, dtype=object)
        self.mode = mode
        self.dtype = np.dtype(dtype)
        width, height = size
        self.shape = (len(paths), height, width, 1 if mode == "L" else 3)

    @classmethod
    def of(cls, paths):
        """Look at the headers of image files: they decide on size, channels and dtype.

        No pixel is decoded before the whole is known to fit.

        Raises:
            DataError: If a file is no image that can be used, or has another size than the first.
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
                with _readable(path), Image.open(path, formats=_FORMATS) as image:
                    _check_kind(image, path)
                    sizes.append(_turned_size(image))
                    modes.add(image.mode)
                if sizes[-1] != sizes[0]:
                    raise DataError(
                        "All images must have one size. Received: {}x{} (width x height) in {!r}, "
                        "{}x{} in {!r}. Resize them to one size.".format(
                            *sizes[0], str(paths[0]), *sizes[-1], str(path)
                        )
                    )
        mode = "L" if modes <= _GREY_MODES | _DEEP_MODES else "RGB"
        return cls(paths, sizes[0], mode, "float32" if modes & _DEEP_MODES else "uint8")

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def nbytes(self):
        """Bytes that the array in memory would need."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, rows):
        """Read rows: an index, a slice, or an array of indices or bools.

        Raises:
            DataError: If a file is gone, damaged or not what it was when `load` looked at it.
        """
        paths = self.paths[rows]
        if isinstance(paths, str | os.PathLike):
            return self._read(paths)
        x = np.empty((len(paths), *self.shape[1:]), self.dtype)
        for pixels, path in zip(x, paths, strict=True):
            pixels[...] = self._read(path)
        return x

    def take(self, rows):
        """The same images in another order, or some of them, still in their files."""
        _, height, width, _ = self.shape
        return ImageFiles(self.paths[rows], (width, height), self.mode, self.dtype)

    def in_memory(self):
        """Read all of them, by several threads."""
        x = np.empty(self.shape, self.dtype)
        starts = range(0, len(self), _ROWS_OF_THREAD)

        def read(start):
            rows = slice(start, start + _ROWS_OF_THREAD)
            x[rows] = self[rows]

        with concurrent.futures.ThreadPoolExecutor() as pool:
            for _ in pool.map(read, starts):
                pass
        return x

    def _read(self, path):
        from PIL import Image, ImageOps

        with _readable(path), Image.open(path, formats=_FORMATS) as image:
            self._check_size(_turned_size(image))
            if image.mode in _DEEP_MODES:
                pixels = _deep_pixels(image, path)
                if self.dtype == np.uint8:
                    raise ValueError("more bits than before")
            else:
                turned = _opaque(ImageOps.exif_transpose(image), path)
                self._check_size(turned.size)
                pixels = np.asarray(turned.convert(self.mode))
                if self.dtype != np.uint8:
                    pixels = np.divide(pixels, np.float32(255), dtype=np.float32)
            return np.broadcast_to(pixels.reshape(*self.shape[1:3], -1), self.shape[1:])

    def _check_size(self, size):
        if size != self.shape[2:0:-1]:
            raise ValueError("another size than before, {}x{}".format(*size))


def find(folder, class_names=None):
    """Find the images of a folder and their classes. What is passed over is said in a warning.

    Args:
        folder: `Path` of the folder. Links are followed inside it only, so it must be the place
            that it really is (`os.path.realpath`).
        class_names: Optional sequence of str, the classes in their order. Default: those found, in
            natural order: 2 before 10.

    Returns:
        Tuple of two dicts from class name to paths, in order: training images and test images;
        None for the latter where the folder has no test set.

    Raises:
        DataError: If there are no class folders, one without images, or one of no class.
    """
    passed_over = {}
    training, test = _splits(folder)
    for path in _listing(folder, folder):
        if training is not None and path not in (training, test):
            names = " and ".join(split.name for split in (training, test) if split)
            passed_over.setdefault(f"beside {names}", []).extend(_all_files(path))
    found = [
        _files_by_class(split, folder, passed_over) for split in (training or folder, test) if split
    ]
    if training is None and len(found[0]) == 1:
        _check_not_wrapped(folder, *found[0].items())
    if passed_over:
        counts = [
            f"{len(paths)} file{'s' if len(paths) > 1 else ''} {why}, such as "
            f"{str(paths[0].relative_to(folder))!r}"
            for why, paths in passed_over.items()
        ]
        text = f"Passed over in {str(folder)!r}: {'; '.join(counts)}."
        warnings.warn(" ".join(text.split()), stacklevel=4)
    if class_names is None:
        class_names = sorted(found[0], key=_natural)
    elif unknown := sorted(found[0].keys() - set(class_names)):
        raise DataError(
            f"{str(folder)!r} must have the classes {shortened(repr(list(class_names)))}. "
            f"Received: another, {unknown[0]!r}. Remove that folder, or train a new model."
        )
    if test and (unknown := sorted(found[1].keys() - found[0].keys())):
        raise DataError(
            f"Every class of {str(test)!r} must also be in {str(training)!r}. Received: "
            f"{unknown[0]!r} in the test set only. Add or remove that folder."
        )
    in_order = [{name: files[name] for name in class_names if name in files} for files in found]
    return in_order[0], in_order[1] if test else None


def _natural(name):
    """A key by which numbers in names are in order of size; equal ones, 1 and 01, by their text."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _splits(folder):
    """The folders of a training and a test set; the second or both are None if there are none.

    A validation set becomes the test set where there is no other.
    """
    found = {}
    for path in _sub_folders(folder, folder):
        kind = _SPLITS.get(path.name.lower())
        if kind and _sub_folders(path, folder):
            found.setdefault(kind, []).append(path)
    for kind, paths in found.items():
        if "training" in found and len(paths) > 1:
            raise DataError(
                f"{str(folder)!r} must have one {kind} set. Received: "
                f"{' and '.join(repr(path.name) for path in paths)}. Move one of them elsewhere."
            )
    if "training" in found:
        [training] = found["training"]
        [test] = found.get("test") or found.get("validation") or [None]
        return training, test
    for path in [path for paths in found.values() for path in paths]:
        if not any(map(_is_image, _listing(path, folder))):
            raise DataError(
                f"{str(folder)!r} must have a folder 'train' of class folders beside {path.name!r}."
                " Received: none. Add or rename it."
            )
    return None, None


def _check_not_wrapped(folder, only):
    name, paths = only
    if not any(path.parent == folder / name for path in paths):
        raise DataError(
            "A folder of images must have one sub-folder per class. Received: "
            f"{str(folder)!r} with a single one, {name!r}, whose images are in sub-folders of its "
            "own. Load that folder instead."
        )


def _listing(folder, root):
    """Return what is in a folder, by name, without hidden entries."""
    with explained(f"{str(folder)!r} must be readable. Received: ", "Check its permissions."):
        names = sorted(name for name in os.listdir(folder) if not _is_hidden(name))
    paths = [folder / name for name in names]
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise DataError(
                f"Everything in {str(root)!r} must be stored in that folder. Received: a link to "
                f"somewhere else, {str(path)!r}. Copy what it points to, or remove the link."
            )
    return paths


def _is_hidden(name):
    return name.startswith(".") or name.lower() in _HIDDEN


def _is_image(path):
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _sub_folders(folder, root):
    return [path for path in _listing(folder, root) if path.is_dir()]


def _all_files(path):
    """Every file of a folder that is not used, or a file itself."""
    if not path.is_dir():
        return [path]
    found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sorted(file for file in found if not _is_hidden(file.name))


def _files_by_class(folder, root, passed_over):
    """Return a dict from class name to image files, both in order of name."""
    files = {}
    for path in _listing(folder, root):
        if not path.is_dir():
            passed_over.setdefault("in no class folder", []).append(path)
            continue
        there = _files_below(path, root)
        files[path.name] = [file for file in there if _is_image(file)]
        if not files[path.name]:
            raise DataError(
                f"Each class folder must hold images ({_NAMES_OF_FORMATS}). Received: none in "
                f"{str(path)!r}. Add images or remove the folder."
            )
        if len(files[path.name]) < len(there):
            others = [file for file in there if not _is_image(file)]
            passed_over.setdefault(f"that are not {_NAMES_OF_FORMATS}", []).extend(others)
    if not files:
        raise DataError(
            f"A folder of images must have one sub-folder per class. Received: {str(folder)!r} "
            "without any sub-folder. Sort the images into sub-folders named after their classes."
        )
    return files


def _files_below(folder, root):
    """All files in a folder and its sub-folders, of each folder before those of its sub-folders."""
    files, pending, seen = [], [folder], set()
    while pending:
        current = pending.pop()
        place = os.path.realpath(current)
        if current != folder and Path(os.path.realpath(folder)).is_relative_to(place):
            raise DataError(
                "A class folder must not hold itself. Received: a link to a folder above it, "
                f"{str(current)!r}. Remove the link."
            )
        if place in seen:
            continue
        seen.add(place)
        below = []
        for path in _listing(current, root):
            (below if path.is_dir() else files).append(path)
        pending += reversed(below)
    return files


def _readable(path):
    return explained(
        f"{str(path)!r} must be a complete image. Received: ", "Repair or remove the file."
    )


def _check_kind(image, path):
    """Check from its header that a file holds one picture of a kind that is read."""
    several = getattr(image, "is_animated", False)
    if several or image.mode not in _GREY_MODES | _DEEP_MODES | _COLOUR_MODES:
        what = "an animation, or several pages," if several else f"mode {image.mode}"
        raise DataError(
            "Images must be still and have 8 bits per channel, or 16 of grey. Received: "
            f"{what} in {str(path)!r}. Convert it to a greyscale or RGB image."
        )


def _turned_size(image):
    """Width and height of an open image once it is turned as its EXIF orientation says."""
    from PIL import ExifTags, Image

    if image.format == "TIFF":  # Pillow itself turns these
        return image.size
    # Not `image.getexif()`, which decodes a PNG to look for what comes behind the pixels.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    return image.size[::-1] if orientation in _TURNED_BY_90_DEGREES else image.size


def _deep_pixels(image, path):
    """Pixels `(height, width)` of an open grey image of up to 16 bits, float32 in [0, 1]."""
    from PIL import ImageOps

    tags = getattr(image, "tag_v2", {})
    [bits] = tags.get(_BITS_PER_SAMPLE, (16,))
    is_negative = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.has_transparency_data:
        raise _transparent(path)
    white = np.float32(2**bits - 1)
    pixels = np.asarray(ImageOps.exif_transpose(image)).astype(np.float32) / white
    return 1 - pixels if is_negative else pixels


def _opaque(image, path):
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() != (255, 255):
        raise _transparent(path)
    return image


def _transparent(path):
    return DataError(
        f"Images must be opaque. Received: transparent pixels in {str(path)!r}. Put it on a "
        "background of your choice and save it without an alpha channel."
    )
