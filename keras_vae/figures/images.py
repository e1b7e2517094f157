"""Grids of images, and images that move."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_vae.figures.style import WIDEST, inches, new_figure, plain, shortened, without_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SMALLEST_TILE = 64
GAP = 2
# Inches of an image in a grid, and of what stands around it.
TILE = 0.55
MARGIN = 0.2


def reconstructions(
    x: ArrayLike, reconstructed: ArrayLike, title: str, data_range: Sequence[float] = (0.0, 1.0)
) -> Figure:
    """Draw originals over their reconstructions.

    Args:
        x: Float array `(n, height, width, channels)`.
        reconstructed: Float array, same shape.
        title: String.
        data_range: Pair of floats, black and white.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> x = np.zeros((4, 8, 8, 1))
    >>> type(keras_vae.figures.reconstructions(x, x, "Digits")).__name__
    'Figure'

    See also:
        `samples`.
    """
    images = np.concatenate([x, reconstructed])
    return labelled_grid(images, ("original", "reconstructed"), title, data_range)


def samples(
    images: ArrayLike,
    row_names: Sequence[str],
    title: str,
    data_range: Sequence[float] = (0.0, 1.0),
) -> Figure:
    """Draw samples, one row a class.

    Args:
        images: Float array `(rows * columns, height, width, channels)`, row by row.
        row_names: Sequence of strings, one per row.
        title: String.
        data_range: Pair of floats, black and white.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> images = np.zeros((6, 8, 8, 1))
    >>> type(keras_vae.figures.samples(images, ["cat", "dog"], "Samples")).__name__
    'Figure'

    See also:
        `labelled_grid`; `image_grid`, which needs no matplotlib.
    """
    return labelled_grid(images, row_names, title, data_range)


def labelled_grid(
    images: ArrayLike,
    row_names: Sequence[str],
    title: str,
    data_range: Sequence[float] = (0.0, 1.0),
    column_names: Sequence[str] | None = None,
) -> Figure:
    """Draw rows of images, each with its name.

    Args:
        images: Float array `(rows * columns, height, width, channels)`, row by row.
        row_names: Sequence of strings, one per row.
        title: String.
        data_range: Pair of floats, black and white.
        column_names: Optional sequence of strings, one per column.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> images = np.zeros((4, 8, 8, 1))
    >>> figure = keras_vae.figures.labelled_grid(images, ["real", "drawn"], "Digits")
    >>> type(figure).__name__
    'Figure'

    See also:
        `samples`, one row a class.
    """
    rows, columns = len(row_names), len(images) // len(row_names)
    grid = image_grid(images, columns, data_range)
    height, width = grid.shape[:2]
    row_names = [shortened(name) for name in row_names]
    column_names = [shortened(name) for name in column_names or ()]
    left = MARGIN + inches(row_names)
    tile = min(TILE, (WIDEST - left) / columns)
    longest = inches(column_names)
    is_slanted = longest > 0.95 * tile
    top = (0.8 * longest if is_slanted else 0.2) * (longest > 0)
    size = max(left + tile * columns, 4.0), MARGIN + top + tile * columns * height / width
    figure = new_figure(size, title, "compressed")
    axes = figure.add_subplot()
    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks(_centres(height, rows), [plain(name) for name in row_names])
    across = _centres(width, columns)[: len(column_names)]
    axes.set_xticks(across, [plain(name) for name in column_names])
    axes.xaxis.tick_top()
    if is_slanted:
        for text in axes.get_xticklabels():
            text.set(rotation=45, ha="left", rotation_mode="anchor")
    without_frame(axes)
    return figure


def manifold(
    panels: Sequence[ArrayLike],
    titles: Sequence[str],
    title: str,
    quantiles: ArrayLike,
    data_range: Sequence[float] = (0.0, 1.0),
) -> Figure:
    """Draw what a decoder makes of a square grid of two-dimensional codes.

    Args:
        panels: Sequence of float arrays `(side * side, height, width, channels)`, one per panel:
            row by row from the top, where the second coordinate is largest.
        titles: Sequence of strings, one per panel.
        title: String.
        quantiles: Float array `(side,)`, the prior's quantiles at which the codes lie.
        data_range: Pair of floats, black and white.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> panels, quantiles = [np.zeros((9, 8, 8, 1))], [-1.0, 0.0, 1.0]
    >>> figure = keras_vae.figures.manifold(panels, ["all"], "What codes make", quantiles)
    >>> type(figure).__name__
    'Figure'
    """
    side = len(quantiles)
    columns = min(5, len(panels))
    rows = math.ceil(len(panels) / columns)
    panel = 6.5 if len(panels) == 1 else max(WIDEST / 5, 4.0 / columns)
    figure = new_figure((panel * columns, 0.2 + panel * rows), title, "compressed")
    marked = [0, side // 2, side - 1]
    texts = [f"{100 * quantiles[index]:.0f} %" for index in marked]
    for index, (images, text) in enumerate(zip(panels, titles, strict=True)):
        grid = image_grid(images, side, data_range)
        name = plain(shortened(text, panel - 0.5, 12))
        axes = figure.add_subplot(rows, columns, index + 1, title=name)
        axes.imshow(grid, cmap="gray", vmin=0, vmax=255)
        across, down = (_centres(size, side) for size in grid.shape[1::-1])
        axes.set(xticks=[], yticks=[])
        without_frame(axes)
        if len(panels) - index <= columns:
            axes.set_xticks([across[at] for at in marked], texts)
            # Inside the panel, or the first would touch the last of the panel before.
            for text, place in zip(
                axes.get_xticklabels(), ("left", "center", "right"), strict=True
            ):
                text.set_ha(place)
            axes.set_xlabel("quantile of z1")
        if index % columns == 0:
            axes.set_yticks([down[-1 - at] for at in marked], texts)
            axes.set_ylabel("quantile of z2")
    return figure


def image_grid(
    images: ArrayLike,
    columns: int,
    data_range: Sequence[float] = (0.0, 1.0),
    smallest: int = SMALLEST_TILE,
) -> NDArray[np.uint8]:
    """Tile images into one picture, each enlarged by a whole factor where it is small.

    Args:
        images: Float array `(n, height, width, channels)` with 1 or 3 channels.
        columns: Int.
        data_range: Pair of floats, black and white. Values beyond are clipped. Where it is not
            finite, as of a Gaussian likelihood, black is 0 and white 1.
        smallest: Int. Pixels that the longer side of each image has at least.

    Returns:
        uint8 array `(height, width)` or `(height, width, 3)`.

    Raises:
        ValueError: If they are no images.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> keras_vae.figures.image_grid(np.zeros((6, 28, 28, 1)), columns=3, smallest=28).dtype
    dtype('uint8')

    See also:
        `png`, which makes a file of it; `named_grid`.
    """
    images = np.asarray(images)
    if not is_images(images.shape):
        raise ValueError(
            "A picture needs images (n, height, width, 1 or 3), at least one. Received: "
            f"shape={images.shape}."
        )
    low, high = data_range if np.isfinite(data_range).all() else (0.0, 1.0)
    images = np.clip((images - low) / (high - low), 0, 1)
    images = np.round(255 * images).astype("uint8")
    factor = max(1, math.ceil(smallest / max(images.shape[1:3])))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels)
    grid = np.full(shape, 255, "uint8")
    for index, image in enumerate(images):
        top, left = (
            GAP + at * (size + GAP)
            for at, size in zip(divmod(index, columns), (height, width), strict=True)
        )
        grid[top : top + height, left : left + width] = image
    return grid[..., 0] if channels == 1 else grid


def is_images(shape):
    """Whether an array of this shape is at least one grey or RGB image."""
    return len(shape) == 4 and shape[-1] in (1, 3) and min(shape) > 0


def animation(
    frames: Sequence[NDArray[np.uint8]], milliseconds: int | Sequence[int] = 80, colours: int = 256
) -> bytes:
    """Join pictures to an animated GIF that loops without end.

    Args:
        frames: Sequence of uint8 arrays of one width, `(height, width)` or `(height, width, 3)`.
            What is lower than others, as under fewer lines of text, has white above it.
        milliseconds: How long each is shown: an int, or one for each. GIF counts in hundredths of
            a second, and many programs show none for less than 20 ms.
        colours: Int from 2 to 256, of each frame. Of smooth greys 64 look the same and take half
            the bytes.

    Returns:
        Bytes.

    Raises:
        ImportError: Without Pillow.
        ValueError: Without frames.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> frames = [np.full((8, 8), grey, "uint8") for grey in (0, 128, 255)]
    >>> keras_vae.figures.animation(frames)[:3]
    b'GIF'

    See also:
        `png`, of one picture.
    """
    if not len(frames):
        raise ValueError("An animation needs at least one frame. Received: none.")
    step = 255 / (colours - 1)
    pictures = [
        _pillow("Image").fromarray(
            np.round(np.round(frame / step) * step).astype("uint8") if frame.ndim == 2 else frame
        )
        for frame in _as_high(frames)
    ]
    pictures = [each if each.mode == "L" else each.quantize(colours) for each in pictures]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "gif", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0
    )
    return buffer.getvalue()


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture, uint8 `(height, width)` or `(height, width, 3)`, as the bytes of a PNG file.

    Raises:
        ImportError: Without Pillow.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> keras_vae.figures.png(np.zeros((8, 8), "uint8"))[1:4]
    b'PNG'

    See also:
        `image_grid`; `animation`.
    """
    buffer = io.BytesIO()
    _pillow("Image").fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def captioned(picture: NDArray[np.uint8], text: str, size: int = 16) -> NDArray[np.uint8]:
    """Put text above a picture, in as many lines as it needs.

    Args:
        picture: uint8 array `(height, width)` or `(height, width, 3)`.
        text: String.
        size: Int. Height of the letters, in pixels; less where a word would not fit.

    Returns:
        uint8 array, higher by twice `size` for one line, and by 1.25 times `size` for each more.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> keras_vae.figures.captioned(np.zeros((32, 64), "uint8"), "epoch 1", size=16).shape
    (64, 64)

    See also:
        `animation`, whose frames it makes.
    """
    width = picture.shape[1]
    font, lines = _fitted(text, width - 2 * GAP, size)
    top = 2 * size + (5 * size // 4) * (len(lines) - 1)
    padded = np.pad(picture, ((top, 0), *((0, 0),) * (picture.ndim - 1)), constant_values=255)
    image = _pillow("Image").fromarray(padded)
    draw = _pillow("ImageDraw").Draw(image)
    black = 0 if picture.ndim == 2 else (0, 0, 0)
    for index, line in enumerate(lines):
        draw.text((width / 2, size + (5 * size // 4) * index), line, black, font, anchor="mm")
    return np.asarray(image)


def named_grid(
    images: ArrayLike,
    names: Sequence[str],
    columns: int,
    data_range: Sequence[float] = (0.0, 1.0),
    smallest: int = 96,
) -> NDArray[np.uint8]:
    """Tile images into one picture as `image_grid` does, each under its name.

    Args:
        images: Float array `(n, height, width, channels)` with 1 or 3 channels.
        names: Sequence of `n` strings. If all are empty, no place is left for them.
        columns: Int.
        data_range: Pair of floats, black and white.
        smallest: Int. Pixels that the longer side of each image has at least.

    Returns:
        uint8 array `(height, width)` or `(height, width, 3)`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> grid = keras_vae.figures.named_grid(np.zeros((2, 28, 28, 1)), ["cat", "dog"], columns=2)
    >>> grid.dtype
    dtype('uint8')

    See also:
        `image_grid`, without names.
    """
    tiles = [image_grid(image[None], 1, data_range, smallest) for image in images]
    if any(names):
        tiles = [captioned(tile, name, 12) for tile, name in zip(tiles, names, strict=True)]
    tiles, columns = _as_high(tiles), min(columns, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [
        np.concatenate(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)
    ]
    return np.concatenate(rows)


def _as_high(pictures):
    """Pictures of one height, by white above those that are lower."""
    height = max(map(len, pictures))
    return [
        np.pad(each, ((height - len(each), 0), *((0, 0),) * (each.ndim - 1)), constant_values=255)
        for each in pictures
    ]


def _fitted(text, width, size):
    """A font, and lines of text that are no wider than `width` pixels, cut if they must be."""
    font = _pillow("ImageFont").load_default(size)
    longest = max(map(font.getlength, text.split()), default=0)
    if longest > width:
        font = _pillow("ImageFont").load_default(max(8, size * width / longest))
    lines = [""]
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            word = word.removesuffix("…")[:-1] + "…"
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return font, lines


def _centres(length, count):
    step = (length - GAP) / count
    return [GAP + step * (index + 0.5) for index in range(count)]


def _pillow(name):
    import importlib

    try:
        return importlib.import_module(f"PIL.{name}")
    except ImportError as err:
        raise ImportError(
            'Writing a picture needs Pillow. Install it with: pip install "keras-vae[cli]"'
        ) from err
