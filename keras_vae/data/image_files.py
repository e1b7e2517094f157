"""Images in files: what their headers promise, and their pixels as an array."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import math
import os
import shlex
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae import arguments
from keras_vae.data.errors import DataError, explained

FITS = ("crop", "pad", "stretch")
BACKGROUND = "white"

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_GREY_MODES = {"1", "L", "LA"}
_DEEP_MODES = {"I;16", "I;16B", "I;16L"}  # grey, up to 16 bits
_COLOUR_MODES = {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_TURNED_BY_90_DEGREES = (5, 6, 7, 8)  # values of EXIF's orientation
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value
_ROWS_OF_THREAD = 64
_USUAL_SIZES = (32, 64, 96, 128)
_MOST_NAMES = 20


@dataclasses.dataclass(frozen=True)
class Framing:
    """How pictures become arrays of one size.

    Args:
        size: Optional tuple `(width, height)` that all get; None leaves them as they are.
        fit: `"crop"`: scaled until they fill the size, then cut about the middle. `"pad"`: scaled
            until they fit into it, on the background. `"stretch"`: scaled to it.
        background: Optional tuple of three ints from 0 to 255, what is behind transparent pixels
            and beside padded pictures. None is white.
    """

    size: tuple[int, int] | None = None
    fit: str = FITS[0]
    background: tuple[int, int, int] | None = None

    @classmethod
    def of(
        cls,
        image_size: int | tuple[int, int] | None = None,
        fit: str | None = None,
        background: str | tuple[int, int, int] | None = None,
    ) -> Framing:
        """Check what `data.load` is given.

        Raises:
            DataError: If it is no size, no fit or no colour.
        """
        if fit is not None and image_size is None:
            raise DataError(
                f"`fit` needs an `image_size` to fit images to. Received: fit={fit!r} without. "
                "Say the size, too."
            )
        return cls(_size(image_size), _fit(fit), _colour(background))

    @property
    def colour(self) -> tuple[int, int, int]:
        return self.background or (255, 255, 255)

    @property
    def is_grey(self) -> bool:
        return len(set(self.colour)) == 1


class ImageFiles:
    """Images that stay in their files until rows are asked for, as `images[rows]`.

    To `fit`, `evaluate` and the other methods of a model it is an array: the same batches in the
    same order, read by a few threads ahead of the step that needs them. `load` makes it. Images
    are turned as their EXIF orientation says; of animations the first frame is taken.

    Attributes:
        shape: Tuple `(n, height, width, channels)`.
        dtype: uint8 from 0 to 255; or float32 from 0 to 1, where some of the images have more than
            8 bits of grey.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> import os, PIL.Image
    >>> os.makedirs("photos/all")
    >>> for name in ("one", "two"):
    ...     PIL.Image.fromarray(np.zeros((8, 8), "uint8")).save(f"photos/all/{name}.png")
    ...
    >>> images = keras_vae.data.load("photos", in_memory=False).x_train
    >>> type(images).__name__, images.shape, images[:1].dtype
    ('ImageFiles', (1, 8, 8, 1), dtype('uint8'))

    See also:
        `load`, which makes it of a folder.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: tuple[int, int],
        mode: str,
        dtype: str = "uint8",
        framing: Framing | None = None,
    ) -> None:
        self.paths = np.asarray(paths, dtype=object)
        self.mode = mode
        self.dtype = np.dtype(dtype)
        self.framing = framing or Framing()
        width, height = size
        self.shape = (len(paths), height, width, 1 if mode == "L" else 3)

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        framing: Framing | None = None,
        folder: Path | None = None,
        source: str | None = None,
    ) -> ImageFiles:
        """Look at the headers of image files: they decide on size, channels and dtype.

        No pixel is decoded before the whole is known to fit. Of images with an alpha channel on a
        background that nobody chose, and of animations, a warning tells.

        Args:
            paths: List of `Path`, at least one.
            framing: Optional `Framing`.
            folder: Optional `Path` that messages name files from.
            source: Optional str, the folder as the caller named it.

        Raises:
            DataError: If a file is no image that can be used, or has another size than the first
                and the framing has none.
        """
        _needs_pillow()
        framing = framing or Framing()
        headers = [_header(path) for path in paths]
        if framing.size is None:
            _check_one_size(paths, headers, source)
        _warn(paths, headers, framing, folder)
        modes = {header.mode for header in headers}
        is_grey = modes <= _GREY_MODES | _DEEP_MODES
        if not framing.is_grey and (framing.fit == "pad" or any(h.has_alpha for h in headers)):
            is_grey = False
        dtype = "float32" if modes & _DEEP_MODES else "uint8"
        size = framing.size or headers[0].size
        return cls(paths, size, "L" if is_grey else "RGB", dtype, framing)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the array in memory would need."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
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

    def take(self, rows: ArrayLike) -> ImageFiles:
        """The same images in another order, or some of them, still in their files."""
        _, height, width, _ = self.shape
        return ImageFiles(self.paths[rows], (width, height), self.mode, self.dtype, self.framing)

    def in_memory(self) -> NDArray[Any]:
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
        with _opened(path) as image:
            header = _header_of(image, path)
            size = self.shape[2:0:-1]
            if self.framing.size is None and header.size != size:
                raise ValueError("another size than before, {}x{}".format(*header.size))
            if header.mode in _DEEP_MODES and self.dtype == np.uint8:
                raise ValueError("more bits than before")
            if self.mode == "L" and header.mode in _COLOUR_MODES:
                raise ValueError("colours, as it had not before")
            pixels = _pixels(image, header, self.mode, self.framing, size)
            if self.dtype != np.uint8 and pixels.dtype == np.uint8:
                pixels = np.divide(pixels, np.float32(255), dtype=np.float32)
            return pixels.reshape(*self.shape[1:3], -1)


def whole(paths):
    """Decode every image once, by several threads.

    Args:
        paths: List of `Path`.

    Returns:
        Set of those that can be used.
    """
    _needs_pillow()

    def is_whole(path):
        try:
            with _opened(path) as image:
                _header_of(image, path)
                image.load()
        except DataError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return {path for path, good in zip(paths, pool.map(is_whole, paths), strict=True) if good}


def warn_of_broken(broken, count, folder):
    """Say which images were passed over because they cannot be read."""
    names = ", ".join(repr(_name(path, folder)) for path in broken[:_MOST_NAMES])
    more = f" and {len(broken) - _MOST_NAMES} more" if len(broken) > _MOST_NAMES else ""
    text = f"Passed over {len(broken)} of {count} images that cannot be read: {names}{more}."
    warnings.warn(" ".join(text.split()), stacklevel=4)


@dataclasses.dataclass(frozen=True)
class _Header:
    """What an image's header says of it; `size` is that of the picture as a viewer shows it."""

    size: tuple[int, int]
    mode: str
    has_alpha: bool
    is_animated: bool


def _header(path):
    with _opened(path) as image:
        return _header_of(image, path)


def _header_of(image, path):
    """Check from its header that an open file holds a picture of a kind that is read."""
    if image.mode not in _GREY_MODES | _DEEP_MODES | _COLOUR_MODES:
        raise DataError(
            "Images must have 8 bits per channel, or 16 of grey. Received: "
            f"mode {image.mode} in {str(path)!r}. Convert it to a greyscale or RGB image."
        )
    size = image.size[::-1] if _is_turned(image) else image.size
    animated = getattr(image, "is_animated", False) and image.format != "MPO"
    return _Header(size, image.mode, image.has_transparency_data, animated)


def _is_turned(image):
    from PIL import ExifTags, Image

    if image.format == "TIFF":  # Pillow itself turns these
        return False
    # Not `image.getexif()`, which decodes a PNG to look for what comes behind the pixels.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    return orientation in _TURNED_BY_90_DEGREES


def _pixels(image, header, mode, framing, size):
    """Pixels of an open image in their frame, uint8 or float32 in [0, 1]."""
    from PIL import Image, ImageOps

    if header.mode in _DEEP_MODES:
        grey = Image.fromarray(_deep_pixels(image, framing))
        if framing.size is not None:
            grey = _framed(grey, size, framing, framing.colour[0] / 255)
        pixels = np.clip(np.asarray(grey), 0, 1)
        if mode == "L" or framing.is_grey:
            return np.broadcast_to(pixels[..., None], (*pixels.shape, 1 if mode == "L" else 3))
        raise ValueError("16 bits of grey, which need a grey background")
    if framing.size is not None:
        image.draft(None, (2 * max(size),) * 2)  # a JPEG is decoded no larger than it must be
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, (*framing.colour, 255))
        image = Image.alpha_composite(behind, image)
    image = image.convert(mode)
    if framing.size is not None:
        colour = framing.colour[0] if mode == "L" else framing.colour
        image = _framed(image, size, framing, colour)
    return np.asarray(image)


def _framed(image, size, framing, colour):
    """An image scaled, and cut or padded, to a size; one that has it is left as it is."""
    from PIL import Image, ImageOps

    scaling = Image.Resampling.LANCZOS
    if image.size == size:
        return image
    if framing.fit == "crop":
        return ImageOps.fit(image, size, scaling)
    if framing.fit == "pad":
        return ImageOps.pad(image, size, scaling, color=colour)
    return image.resize(size, scaling)


def _deep_pixels(image, framing):
    """Pixels `(height, width)` of an open grey image of up to 16 bits, float32 in [0, 1]."""
    from PIL import ImageOps

    tags = getattr(image, "tag_v2", {})
    [bits] = tags.get(_BITS_PER_SAMPLE, (16,))
    is_negative = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    white = np.float32(2**bits - 1)
    stored = np.asarray(ImageOps.exif_transpose(image))
    pixels = stored.astype(np.float32) / white
    pixels = 1 - pixels if is_negative else pixels
    if "transparency" in image.info:
        pixels = np.where(stored == image.info["transparency"], framing.colour[0] / 255, pixels)
    return pixels.astype(np.float32)


@contextlib.contextmanager
def _opened(path):
    """An image file, opened with whatever may go wrong explained."""
    from PIL import Image

    advice = "Repair or remove the file, or pass over such files: skip_broken=True (--skip-broken)."
    readable = f"{str(path)!r} must be a complete image. Received: "
    with explained(readable, advice), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=_FORMATS) as image:
            yield image


def _check_one_size(paths, headers, source):
    """Refuse images of several sizes, with a size that would do."""
    first = headers[0].size
    for path, header in zip(paths, headers, strict=True):
        if header.size != first:
            middle = statistics.median(min(header.size) for header in headers)
            size = max((size for size in _USUAL_SIZES if size <= middle), default=_USUAL_SIZES[0])
            of_folder = "" if source is None else f" --data {shlex.quote(source)}"
            raise DataError(
                "Images must have one size, or be given one. Received: {}x{} (width x height) in "
                "{!r}, {}x{} in {!r}. Give them one by image_size={}, on the command line: "
                "python -m keras_vae train{} --image-size {}.".format(
                    *first, str(paths[0]), *header.size, str(path), size, of_folder, size
                )
            )


def _warn(paths, headers, framing, folder):
    """Say what is not as the files have it."""
    animated = [path for path, header in zip(paths, headers, strict=True) if header.is_animated]
    said = []
    if animated:
        plural = "s" if len(animated) > 1 else ""
        first = _name(animated[0], folder)
        said.append(
            f"The first frame of {len(animated)} animation{plural}, such as {first!r}, is taken."
        )
    with_alpha = [path for path, header in zip(paths, headers, strict=True) if header.has_alpha]
    if framing.background is None and (path := next(filter(_is_transparent, with_alpha), None)):
        said.append(
            f"Transparent pixels, as in {_name(path, folder)!r}, are put on white; background= "
            "(--background) names another colour."
        )
    for text in said:
        warnings.warn(" ".join(text.split()), stacklevel=5)


def _is_transparent(path):
    with _opened(path) as image:
        if image.mode in _DEEP_MODES:
            return True
        return image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _name(path, folder):
    return str(path if folder is None else path.relative_to(folder))


def _size(image_size):
    """`(width, height)` of an int or `(height, width)`."""
    if image_size is None:
        return None
    sides = (image_size,) * 2 if not isinstance(image_size, list | tuple) else tuple(image_size)
    try:
        sides = arguments.wholes(sides, "image_size", 2, "64 or (48, 64)")
        height, width = sides
    except ValueError as err:
        raise DataError(
            f"`image_size` must be a whole number of at least 2, or (height, width) of such. "
            f"Received: {image_size!r}."
        ) from err
    return width, height


def _fit(fit):
    if fit not in (None, *FITS):
        raise DataError(f"`fit` must be one of {', '.join(FITS)}. Received: {fit!r}.")
    return fit or FITS[0]


def _colour(background):
    """Red, green and blue of a colour's name, `#rrggbb` or `(red, green, blue)`."""
    if background is None:
        return None
    _needs_pillow()
    from PIL import ImageColor

    try:
        if isinstance(background, str):
            return ImageColor.getrgb(background)[:3]
        colour = arguments.wholes(background, "background", 0)
        if len(colour) != 3 or max(colour) > 255:
            raise ValueError
    except (ValueError, TypeError) as err:
        raise DataError(
            "`background` must be the name of a colour, #rrggbb, or (red, green, blue) from 0 to "
            f"255. Received: {background!r}."
        ) from err
    return colour


def _needs_pillow():
    try:
        import PIL  # noqa: F401
    except ImportError as err:
        raise DataError(
            "A folder of images needs Pillow, which is not installed. Install it with: "
            'pip install "keras-vae[cli]".'
        ) from err
