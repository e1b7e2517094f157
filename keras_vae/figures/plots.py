"""Curves, bars, and codes as points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_vae.figures.style import (
    BAR,
    COLOURS,
    GREY,
    WIDEST,
    class_style,
    inches,
    new_figure,
    plain,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
# More classes than these are no legend any more, and their colours come back: then the most
# frequent have names and colours, and the others are grey.
MOST_NAMES = 20
NAMED_OF_MANY = 10
# Names under more bars than these would touch each other.
MOST_BARS_NAMED = 64
# Inches of a panel of one class.
_SMALL = 1.3
_MOST_COMPARED = 1000


def learning_curves(history: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Draw the loss and its terms over the epochs.

    Args:
        history: Dict from a metric's name, such as `"loss"` or `"val_kl_loss"`, to one value per
            epoch, in nats per example.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`, one panel per term, but for one that is all of the loss.

    Example:

    >>> import keras_vae
    >>> history = {"loss": [90.0, 80.0], "kl_loss": [20.0, 15.0]}
    >>> figure = keras_vae.figures.learning_curves(history, "Training")
    >>> len(figure.axes)
    2
    """
    loss = history.get("loss")
    terms = {
        name: text
        for name, text in TERMS.items()
        if name in history and (name == "loss" or history[name] != loss)
    }
    columns = min(3, len(terms)) or 1
    rows = -(-len(terms) // columns)
    figure = new_figure((max(4.5, 3.3 * columns), 2.7 * rows), title)
    for index, (name, text) in enumerate(terms.items()):
        axes = figure.add_subplot(rows, columns, index + 1, title=text, xlabel="epoch")
        for split, prefix in (("train", ""), ("test", "val_")):
            values = history.get(prefix + name)
            if values is not None:
                epochs = range(1, len(values) + 1)
                marker = "o" if len(values) < 10 else None
                line = "-" if split == "train" else "--"
                style = {"color": COLOURS[split], "marker": marker, "markersize": 4}
                axes.plot(epochs, values, line, label=split, **style)
        if len(history[name]) == 1:
            axes.set(xlim=(0.5, 1.5), xticks=[1])
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per example")
    figure.axes[0].legend(frameon=False)
    return figure


def bars(
    values: ArrayLike,
    title: str,
    xlabel: str,
    ylabel: str,
    names: Sequence[str] | None = None,
    least: float | None = None,
    low: str = "low",
) -> Figure:
    """Draw values as bars, the largest first.

    Args:
        values: Float array `(n,)`.
        title, xlabel, ylabel: Strings.
        names: Optional sequence of strings, one per value, to stand under the bars.
        least: Optional float. It is drawn as a line; the bars of smaller values are grey, on grey.
        low: String, what a value below `least` is.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> import keras_vae
    >>> figure = keras_vae.figures.bars([0.1, 2.0, 0.5], "KL", "dimension", "nats")
    >>> type(figure).__name__
    'Figure'
    """
    values = np.asarray(values, "float64")
    order = np.argsort(-values, kind="stable")
    count = len(values)
    figure = new_figure((min(WIDEST, max(5.0, 1.5 + 0.3 * count)), 3.0), title)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    colours = [BAR] * count
    if least is not None:
        text = f"{low} below {least:g}"
        ink = axes.xaxis.label.get_color()
        axes.axhline(least, color=ink, linestyle="--", linewidth=1, label=text)
        colours = [GREY if value < least else BAR for value in values[order]]
        if few := colours.count(GREY):
            axes.axvspan(count - few - 0.5, count - 0.5, color=GREY, alpha=0.3, linewidth=0)
        axes.legend(loc="upper right")
    axes.bar(range(count), values[order], color=colours, width=0.8)
    if names is not None and count <= MOST_BARS_NAMED:
        names = [plain(names[index]) for index in order]
        is_crowded = count * (inches(names) + 0.1) > figure.get_figwidth() - 1
        axes.set_xticks(range(count), names, rotation=90 if is_crowded else 0)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    if count < 5:  # one bar is no wall
        middle = (count - 1) / 2
        axes.set_xlim(middle - 2.5, middle + 2.5)
    return figure


def latent_scatter(
    z: ArrayLike, labels: ArrayLike, class_names: Sequence[str], title: str
) -> Figure:
    """Draw codes of one or two dimensions as points, one colour and marker a class.

    Args:
        z: Float array `(n, 1)` or `(n, 2)`.
        labels: Int array `(n,)`.
        class_names: Sequence of strings, one per class.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`. Codes of one dimension lie in one row a class.

    Raises:
        ValueError: If the codes have more dimensions; see `projections`.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> figure = keras_vae.figures.latent_scatter(np.eye(2), [0, 1], ["cat", "dog"], "Codes")
    >>> type(figure).__name__
    'Figure'

    See also:
        `projections`, of more dimensions; `latent_spaces`.
    """
    groups = _groups(labels, class_names)
    rows = _rows(groups, 7.0) if np.shape(z)[1] == 2 else 0
    figure = new_figure((7.0, 5.0 + _SMALL * rows), title)
    grid = figure.add_gridspec(1 + rows, 1, height_ratios=[5.0, *[_SMALL] * rows])
    _scatter(figure.add_subplot(grid[0]), z, groups, ("z1", "z2"))
    _one_by_one(figure, grid, z, groups, rows)
    _legend(figure, groups)
    return figure


def latent_spaces(
    codes: Mapping[str, ArrayLike], labels: ArrayLike, class_names: Sequence[str], title: str
) -> Figure:
    """Draw the codes of the same examples under several models side by side.

    Args:
        codes: Dict from a model's name to a float array `(n, 2)`.
        labels: Int array `(n,)`.
        class_names: Sequence of strings, one per class.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`, each panel with its own scale: it is a part of what differs.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> codes = {"VAE": np.eye(2), "Autoencoder": 5 * np.eye(2)}
    >>> figure = keras_vae.figures.latent_spaces(codes, [0, 1], ["cat", "dog"], "Codes")
    >>> type(figure).__name__
    'Figure'

    See also:
        `latent_scatter`, of one model.
    """
    groups = _groups(labels, class_names)
    side = min(5.0, WIDEST / len(codes))
    figure = new_figure((side * len(codes), side), title)
    for index, (name, z) in enumerate(codes.items()):
        axes = figure.add_subplot(1, len(codes), index + 1, title=name)
        _scatter(axes, z, groups, ("z1", "z2"))
    _legend(figure, groups)
    return figure


def projections(
    z: ArrayLike, labels: ArrayLike, class_names: Sequence[str], title: str, seed: int = 0
) -> Figure:
    """Draw codes of many dimensions in two and in three, by PCA and by t-SNE.

    PCA keeps directions and lengths and loses what varies little; t-SNE keeps who is near whom and
    nothing else: neither sizes of its clusters nor distances between them mean anything.

    Args:
        z: Float array `(n, latent)`, `n` at least 5. Of more than 2,000, t-SNE takes minutes.
        labels: Int array `(n,)`.
        class_names: Sequence of strings, one per class.
        title: String.
        seed: Int, for t-SNE.

    Returns:
        A `matplotlib.figure.Figure` of four panels.

    Raises:
        ImportError: Without scikit-learn.
        ValueError: With fewer than 5 codes, fewer than 2 dimensions, or codes that are all one.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> z = np.random.default_rng(0).normal(size=(30, 5))
    >>> figure = keras_vae.figures.projections(z, np.arange(30) % 2, ["cat", "dog"], "Codes")
    >>> type(figure).__name__
    'Figure'

    See also:
        `latent_scatter`, of two dimensions.

    References:
        - van der Maaten & Hinton, 2008. https://jmlr.org/papers/v9/vandermaaten08a.html
    """
    z = np.asarray(z, "float64")
    if z.ndim != 2 or len(z) < 5 or z.shape[1] < 2 or not np.ptp(z, axis=0).any():
        raise ValueError(
            "A projection needs at least 5 codes of 2 dimensions or more that are not all the "
            f"same. Received: shape={z.shape}."
        )
    components, shares = principal_components(z)
    groups = _groups(labels, class_names)
    rows = _rows(groups, WIDEST)
    figure = new_figure((WIDEST, 8.6 + _SMALL * rows), title)
    grid = figure.add_gridspec(2 + rows, 2, height_ratios=[4.6, 4.0, *[_SMALL] * rows])
    embedded = {count: _tsne(z, count, seed) for count in (2, 3)}
    for row, count in enumerate(embedded):
        projection = "3d" if min(count, z.shape[1]) == 3 else None
        name = f"PCA in {count}D: {100 * shares[:count].sum():.0f} % of the variance"
        axes = figure.add_subplot(grid[row, 0], title=name, projection=projection)
        _scatter(axes, components[:, :count], groups, ["PC 1", "PC 2", "PC 3"])
        projection = "3d" if count == 3 else None
        axes = figure.add_subplot(grid[row, 1], title=f"t-SNE in {count}D", projection=projection)
        _scatter(axes, embedded[count], groups, ["t-SNE 1", "t-SNE 2", "t-SNE 3"])
        if count == 2:
            axes.set(xticks=[], yticks=[])  # its units mean nothing
    _one_by_one(figure, grid, embedded[2], groups, rows)
    _legend(figure, groups)
    return figure


def _tsne(z, dimensions, seed):
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError as err:
        raise ImportError(
            'A projection needs scikit-learn. Install it with: pip install "keras-vae[cli]"'
        ) from err
    perplexity = min(30.0, (len(z) - 1) / 3)
    init = "pca" if z.shape[1] >= dimensions else "random"
    tsne = TSNE(dimensions, perplexity=perplexity, init=init, max_iter=500, random_state=seed)
    # On a machine that does other things, its threads wait for each other most of the time.
    with threadpool_limits(1):
        return tsne.fit_transform(z.astype("float32"))


def principal_components(z):
    """Rotate codes so that the first coordinate varies most.

    Args:
        z: Float array `(n, latent)`.

    Returns:
        Tuple of the rotated, centred codes `(n, k)`, `k` the smaller of `n` and `latent`, and the
        share of the variance that each coordinate has, `(k,)`.
    """
    centred = z - z.mean(axis=0)
    u, scale, _ = np.linalg.svd(centred, full_matrices=False)
    return u * scale, scale**2 / np.sum(scale**2)


@dataclasses.dataclass
class _Group:
    """Points that share a colour: those of a class, or of all classes that have none."""

    name: str
    rows: np.ndarray  # bool, whether each point belongs to it
    style: dict
    is_class: bool = True


def _groups(labels, class_names):
    """One group a class; of very many classes one each of the most frequent, and the others."""
    labels = np.asarray(labels)
    present, counts = np.unique(labels, return_counts=True)
    named, others = present, []
    if len(present) > MOST_NAMES:
        order = np.argsort(-counts, kind="stable")
        named, others = np.split(present[order], [NAMED_OF_MANY])
    groups = []
    if len(others):
        style = {"color": GREY, "marker": "."}
        name = f"{len(others)} other classes"
        groups.append(_Group(name, np.isin(labels, others), style, is_class=False))
    for position, c in enumerate(sorted(named)):
        style = class_style(position if len(others) else int(c))
        groups.append(_Group(shortened(class_names[c]), labels == c, style))
    return groups


def _scatter(axes, z, groups, axis_names):
    z = np.asarray(z)
    if z.ndim != 2 or z.shape[1] not in (1, 2, 3):
        raise ValueError(f"Points have 1, 2 or 3 coordinates. Received: shape={z.shape}.")
    is_plane = z.shape[1] == 2
    if z.shape[1] == 1:
        # Rows of points, spread a little within their row.
        spread = np.random.default_rng(0).uniform(-0.35, 0.35, len(z))
        z = np.column_stack([z[:, 0], spread])
        for row, group in enumerate(groups):
            z[group.rows, 1] += row
        axes.set_yticks(range(len(groups)), [plain(group.name) for group in groups])
        axes.set_ylabel("class")
    else:
        axes.set_ylabel(axis_names[1])
    axes.set_xlabel(axis_names[0])
    if z.shape[1] == 3:
        # Read off a picture of three dimensions, a coordinate says nothing.
        for name in "xyz":
            getattr(axes, f"set_{name}ticklabels")([])
        axes.set_zlabel(axis_names[2], labelpad=-8)
        axes.xaxis.labelpad = axes.yaxis.labelpad = -8
    size = np.clip(16000 / len(z), 5.0, 30.0)
    for group in groups:
        axes.scatter(
            *z[group.rows].T, s=size, alpha=0.7, linewidths=0, rasterized=True, **group.style
        )
    if is_plane:
        _name_clouds(axes, z, [group for group in groups if group.is_class])
    axes.grid(alpha=0.3)


def _middle(points):
    """The point nearest to the median: amid the largest cloud, where a class has several."""
    return points[np.argmin(np.linalg.norm(points - np.median(points, axis=0), axis=1))]


def _name_clouds(axes, z, groups):
    """Write the name of each class amid its points, where most points around them are its own."""
    from matplotlib import patheffects

    if len(groups) < 2:
        return
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    # A name's size, as a share of the panel's.
    box = axes.get_position()
    panel = axes.figure.get_size_inches() * (box.width, box.height)
    outline = [patheffects.withStroke(linewidth=3, foreground=axes.get_facecolor())]
    purities, taken = _purities((z - low) / (high - low), groups), []
    for group, purity in zip(groups, purities, strict=True):
        at, name = _middle(z[group.rows]), shortened(group.name, 1.3)
        size = np.array([1.2 * inches([name]), 0.2]) / panel
        # Centred on its place, but within the panel.
        place = np.clip((at - low) / (high - low), size / 2, 1 - size / 2)
        is_free = all((np.abs(place - p) > (size + s) / 2).any() for p, s in taken)
        if purity > 0.5 and is_free:
            taken.append((place, size))
            alignment = {"ha": "center", "va": "center", "weight": "bold", "zorder": 5}
            text = axes.annotate(plain(name), at, xytext=low + place * (high - low), **alignment)
            text.set_path_effects(outline)


def _purities(z, groups):
    """Mean share of a class among the five points nearest to each of its points; 0 of fewer."""
    rows = np.random.default_rng(0).permutation(len(z))[:_MOST_COMPARED]
    distances = np.linalg.norm(z[rows, None] - z[rows], axis=-1)
    np.fill_diagonal(distances, np.inf)
    near = np.argsort(distances, axis=1)[:, :5]
    purities = []
    for group in groups:
        own = group.rows[rows]
        others = np.count_nonzero(own) - 1
        share = own[near[own]].mean(axis=1) if others >= near.shape[1] else [0.0]
        purities.append(np.mean(share))
    return purities


def _one_by_one(figure, grid, z, groups, rows):
    """Draw each class over all points: what lies beneath others in one picture of all classes."""
    if not rows:
        return
    named = [group for group in groups if group.is_class]
    columns = _columns(named, figure.get_figwidth())
    width = figure.get_figwidth() / columns - 0.1
    for index, group in enumerate(named):
        row, column = divmod(index, columns)
        axes = figure.add_subplot(grid[row - rows, :].subgridspec(1, columns)[column])
        axes.set_title(plain(shortened(group.name, width)), fontsize=10)
        axes.scatter(*z[~group.rows].T, s=2, color=GREY, alpha=0.5, linewidths=0, rasterized=True)
        style = {**group.style, "marker": "o"}
        axes.scatter(*z[group.rows].T, s=4, linewidths=0, rasterized=True, **style)
        axes.set(xticks=[], yticks=[])


def _columns(named, width):
    """Small panels side by side: up to ten, and as many as have place for their names."""
    longest = inches(group.name for group in named)
    return int(np.clip(width / (longest + 0.1), 4, min(10, max(4, len(named)))))


def _rows(groups, width):
    """Rows of small panels, one panel a class."""
    named = [group for group in groups if group.is_class]
    return -(-len(named) // _columns(named, width)) if len(named) > 1 else 0


def _legend(figure, groups):
    if len(groups) < 2:
        return
    from matplotlib.lines import Line2D

    groups = sorted(groups, key=lambda group: not group.is_class)
    longest = inches(group.name for group in groups)
    columns = max(1, int(figure.get_figwidth() / (0.65 + longest)))
    columns = -(-len(groups) // -(-len(groups) // columns))  # of rows alike
    handles = [Line2D([], [], linestyle="", markersize=7, **group.style) for group in groups]
    names = [plain(group.name) for group in groups]
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, handletextpad=0.1
    )
