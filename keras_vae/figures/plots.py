"""Curves, bars, and codes as points."""

import numpy as np

from keras_vae.figures.style import BAR, COLOURS, class_style, new_figure

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
# More names than these are no legend any more, and their colours come back.
MOST_NAMES = 20


def learning_curves(history, title):
    """Draw the loss and its terms over the epochs.

    Args:
        history: Dict from a metric's name, such as `"loss"` or `"val_kl_loss"`, to one value per
            epoch, in nats per example.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`, one panel per term, but for one that is all of the loss.
    """
    loss = history.get("loss")
    terms = {
        name: text
        for name, text in TERMS.items()
        if name in history and (name == "loss" or history[name] != loss)
    }
    figure = new_figure((4 * len(terms), 3.4))
    for index, (name, text) in enumerate(terms.items()):
        axes = figure.add_subplot(1, len(terms), index + 1, title=text, xlabel="epoch")
        for split, prefix in (("train", ""), ("test", "val_")):
            values = history.get(prefix + name)
            if values is not None:
                epochs = range(1, len(values) + 1)
                marker = "." if len(values) < 10 else None
                line = "-" if split == "train" else "--"
                axes.plot(epochs, values, line, color=COLOURS[split], label=split, marker=marker)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per example")
    figure.axes[0].legend(frameon=False)
    figure.suptitle(title)
    return figure


def bars(values, title, xlabel, ylabel, names=None):
    """Draw values as bars, the largest first.

    Args:
        values: Float array `(n,)`.
        title, xlabel, ylabel: Strings.
        names: Optional sequence of strings, one per value, to stand under the bars.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    values = np.asarray(values, "float64")
    order = np.argsort(-values, kind="stable")
    figure = new_figure((min(12.0, max(5.0, 1.5 + 0.35 * len(values))), 3.6))
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    axes.bar(range(len(values)), values[order], color=BAR, width=0.8)
    if names is not None and len(values) <= 40:
        axes.set_xticks(range(len(values)), [names[index] for index in order])
        axes.tick_params(axis="x", labelsize=10 if len(values) <= 20 else 6)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    if len(values) < 5:  # one bar is no wall
        middle = (len(values) - 1) / 2
        axes.set_xlim(middle - 2.5, middle + 2.5)
    figure.suptitle(title)
    return figure


def latent_scatter(z, labels, class_names, title):
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
    """
    figure = new_figure((8.0, 6.6))
    _scatter(figure.add_subplot(), z, labels, class_names, ("z1", "z2"))
    _legend(figure, labels, class_names)
    figure.suptitle(title)
    return figure


def latent_spaces(codes, labels, class_names, title):
    """Draw the codes of the same examples under several models side by side.

    Args:
        codes: Dict from a model's name to a float array `(n, 2)`.
        labels: Int array `(n,)`.
        class_names: Sequence of strings, one per class.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`, each panel with its own scale: it is a part of what differs.
    """
    figure = new_figure((1.0 + 5.2 * len(codes), 5.4))
    for index, (name, z) in enumerate(codes.items()):
        axes = figure.add_subplot(1, len(codes), index + 1, title=name)
        _scatter(axes, z, labels, class_names, ("z1", "z2"))
    _legend(figure, labels, class_names)
    figure.suptitle(title)
    return figure


def projections(z, labels, class_names, title, seed=0):
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
    figure = new_figure((12.0, 10.6))
    for row, count in enumerate((2, 3)):
        share = 100 * shares[:count].sum()
        panels = {
            f"PCA, {share:.0f} % of the variance": (components[:, :count], "PC"),
            "t-SNE": (_tsne(z, count, seed), "t-SNE"),
        }
        for column, (name, (codes, prefix)) in enumerate(panels.items()):
            projection = "3d" if codes.shape[1] == 3 else None
            index = 1 + 2 * row + column
            axes = figure.add_subplot(2, 2, index, title=name, projection=projection)
            _scatter(axes, codes, labels, class_names, [f"{prefix} {n + 1}" for n in range(3)])
    _legend(figure, labels, class_names)
    figure.suptitle(title)
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


def _scatter(axes, z, labels, class_names, axis_names):
    z, labels = np.asarray(z), np.asarray(labels)
    if z.ndim != 2 or z.shape[1] not in (1, 2, 3):
        raise ValueError(f"Points have 1, 2 or 3 coordinates. Received: shape={z.shape}.")
    present, is_plane = np.unique(labels), z.shape[1] == 2
    if z.shape[1] == 1:
        # Rows of points, spread a little within their row.
        spread = np.random.default_rng(0).uniform(-0.35, 0.35, len(z))
        row = np.searchsorted(present, labels)
        z = np.column_stack([z[:, 0], row + spread])
        axes.set_yticks(range(len(present)), [class_names[c] for c in present])
        axes.set_ylabel("class")
    else:
        axes.set_ylabel(axis_names[1])
    axes.set_xlabel(axis_names[0])
    if z.shape[1] == 3:
        axes.set_zlabel(axis_names[2], labelpad=8)
        axes.locator_params(nbins=5)  # more labels touch each other
    size = min(30.0, max(8.0, 16000 / len(z)))
    for c in present:
        style = class_style(int(c))
        points = z[labels == c].T
        axes.scatter(
            *points, s=size, alpha=0.7, linewidths=0, label=class_names[c], rasterized=True, **style
        )
    if is_plane and len(present) <= MOST_NAMES:
        _name_clouds(axes, {class_names[c]: _middle(z[labels == c]) for c in present})
    axes.grid(alpha=0.3)


def _middle(points):
    """The point nearest to the median: amid the largest cloud, where a class has several."""
    return points[np.argmin(np.linalg.norm(points - np.median(points, axis=0), axis=1))]


def _name_clouds(axes, middles):
    """Write each class's name amid its points, unless the classes lie on one another."""
    from matplotlib import patheffects

    extent = np.array([np.diff(axes.get_xlim()), np.diff(axes.get_ylim())]).ravel()
    places = np.array(list(middles.values())) / extent
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    if (distances + np.eye(len(places)) < 0.02).any():
        return
    outline = [patheffects.withStroke(linewidth=3, foreground="white")]
    for name, at in middles.items():
        text = axes.annotate(name, at, ha="center", va="center", weight="bold", zorder=5)
        text.set_path_effects(outline)


def _legend(figure, labels, class_names):
    present = np.unique(labels)
    if 1 < len(present) <= MOST_NAMES:
        handles, names = figure.axes[0].get_legend_handles_labels()
        legend = figure.legend(handles, names, loc="outside right center", frameon=False)
        for handle in legend.legend_handles:
            handle.set_sizes([40])
            handle.set_alpha(1)
