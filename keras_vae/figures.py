"""Pictures of a training run and of what a model makes."""

import math

import numpy as np

# Okabe & Ito's palette: distinct for every kind of colour vision.
COLOURS = {"train": "#0072B2", "test": "#D55E00"}
TERMS = {
    "loss": "loss",
    "reconstruction_loss": "reconstruction",
    "kl_loss": "KL",
    "discriminator_loss": "discriminator",
    "generator_loss": "generator",
    "class_loss": "classes, real",
    "generated_class_loss": "classes, generated",
    "commitment_loss": "commitment",
}
SMALLEST_TILE = 64
GAP = 2


def learning_curves(history, title):
    """Draw the loss and its terms over the epochs.

    Args:
        history: Dict from a metric's name, such as `"loss"` or `"val_kl_loss"`, to one value per
            epoch, in nats per example.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`, one panel per term.
    """
    terms = {name: text for name, text in TERMS.items() if name in history}
    figure = _figure((4 * len(terms), 3.2))
    for index, (name, text) in enumerate(terms.items()):
        axes = figure.add_subplot(1, len(terms), index + 1, title=text, xlabel="epoch")
        for split, prefix in (("train", ""), ("test", "val_")):
            values = history.get(prefix + name)
            if values is not None:
                epochs = range(1, len(values) + 1)
                marker = "." if len(values) < 10 else None
                axes.plot(epochs, values, color=COLOURS[split], label=split, marker=marker)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per example")
    figure.axes[0].legend(frameon=False)
    figure.suptitle(title)
    return figure


def reconstructions(x, reconstructed, title, data_range=(0.0, 1.0)):
    """Draw originals over their reconstructions.

    Args:
        x: Float array `(n, height, width, channels)`.
        reconstructed: Float array, same shape.
        title: String.
        data_range: Pair of floats, black and white.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    images = np.concatenate([x, reconstructed])
    return _labelled_grid(images, len(x), ("original", "reconstructed"), title, data_range)


def samples(images, row_names, title, data_range=(0.0, 1.0)):
    """Draw samples, one row a class.

    Args:
        images: Float array `(rows * columns, height, width, channels)`, row by row.
        row_names: Sequence of strings, one per row.
        title: String.
        data_range: Pair of floats, black and white.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    return _labelled_grid(images, len(images) // len(row_names), row_names, title, data_range)


def image_grid(images, columns, data_range=(0.0, 1.0)):
    """Tile images into one picture, each enlarged by a whole factor to at least 64 pixels.

    Args:
        images: Float array `(n, height, width, channels)` with 1 or 3 channels.
        columns: Int.
        data_range: Pair of floats, black and white. Values beyond are clipped. Where it is not
            finite, as of a Gaussian likelihood, black is 0 and white 1.

    Returns:
        uint8 array `(height, width)` or `(height, width, 3)`.
    """
    low, high = data_range if np.isfinite(data_range).all() else (0.0, 1.0)
    images = np.clip((images - low) / (high - low), 0, 1)
    images = np.round(255 * images).astype("uint8")
    factor = max(1, math.ceil(SMALLEST_TILE / max(images.shape[1:3])))
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


def _labelled_grid(images, columns, row_names, title, data_range):
    grid = image_grid(images, columns, data_range)
    rows = len(row_names)
    height, width = grid.shape[:2]
    figure = _figure((1 + 0.75 * columns, 0.6 + 0.75 * columns * height / width))
    axes = figure.add_subplot()
    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    step = (height - GAP) / rows
    axes.set_yticks([GAP + step * (row + 0.5) for row in range(rows)], row_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.suptitle(title)
    return figure


def _figure(size):
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ImportError(
            'Drawing figures needs matplotlib. Install it with: pip install "keras-vae[cli]"'
        ) from err
    return Figure(figsize=size, layout="constrained", dpi=120)
