"""Rows of a table: each column real against drawn, and what columns tell of each other."""

import numpy as np

from keras_vae.figures.style import BAR, GREY, WIDEST, new_figure, plain, shortened

# Of more columns those that are furthest apart are shown.
MOST_COLUMNS = 24
MOST_PAIRED = 30
# Names of a column, the others together.
MOST_NAMES = 8
_PANELS = 4
_BINS = 30
# Numbers beyond these shares of the real ones are drawn at the edge.
_TAILS = 0.005


def columns(schema, drawn, real, distances, title):
    """Draw each column's distribution, real against drawn.

    Args:
        schema: `data.TableSchema`.
        drawn, real: Rows as of `evaluation.tables.matrix`.
        distances: Dict from a column's name to the distance of both, the furthest first; of more
            than 24 columns these are drawn.
        title: String.

    Returns:
        A `matplotlib.figure.Figure`, a panel a column, in the order of the table.
    """
    shown = [name for name in schema.columns if name in list(distances)[:MOST_COLUMNS]]
    wide = min(_PANELS, len(shown))
    tall = -(-len(shown) // wide)
    if len(shown) < len(distances):
        title = f"{title}\nThe {len(shown)} of {len(distances)} columns that are furthest apart"
    figure = new_figure((WIDEST / _PANELS * max(wide, 2), 2.2 * tall + 0.4), title)
    for index, name in enumerate(shown):
        axes = figure.add_subplot(tall, wide, index + 1)
        at = list(schema.columns).index(name)
        parts = [values[~np.isnan(values)] for values in (real[:, at], drawn[:, at])]
        far = "" if distances[name] is None else f", {distances[name]:.3f}"
        axes.set_title(plain(f"{shortened(name, 1.4)}{far}"), fontsize=10)
        kind = schema.columns[name]
        if not all(map(len, parts)):
            axes.text(0.5, 0.5, "all missing", ha="center", transform=axes.transAxes)
        elif hasattr(kind, "names"):
            _names(axes, kind.names, *parts)
        else:
            _numbers(axes, *parts)
        axes.tick_params(labelsize=8)
    styles = {"real": {"color": GREY}, "drawn": {"color": BAR, "fill": False, "linewidth": 1.5}}
    from matplotlib.patches import Patch

    handles = [Patch(**style, label=name) for name, style in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _numbers(axes, real, drawn):
    """Histograms of the same bins, one a whole number where there are few.

    What more than half of the rows have, such as 0, would dwarf all else: it is told in words.
    """
    counts = len(real), len(drawn)
    values, times = np.unique(real, return_counts=True)
    if len(values) > 2 and times.max() > len(real) / 2:
        common = values[np.argmax(times)]
        shares = [100 * np.mean(part == common) for part in (real, drawn)]
        text = f"and {common:g}: {shares[0]:.0f} %, drawn {shares[1]:.0f} %"
        axes.text(0.97, 0.97, text, ha="right", va="top", fontsize=8, transform=axes.transAxes)
        axes.margins(y=0.25)
        real, drawn = (part[part != common] for part in (real, drawn))
    edges = _edges(real)
    for values, count, style in ((real, counts[0], "stepfilled"), (drawn, counts[1], "step")):
        weights = np.full(len(values), 100 / count)
        color = GREY if style == "stepfilled" else BAR
        values = np.clip(values, edges[0], edges[-1])
        axes.hist(values, edges, weights=weights, histtype=style, color=color, linewidth=1.5)
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(axis="x", nbins=3)
    axes.set_ylabel("%", fontsize=8)


def _edges(real):
    """Of bins, one for each whole number where these are few."""
    values = np.unique(real)
    is_whole = bool((values == np.floor(values)).all())
    low, high = np.quantile(real, [_TAILS, 1 - _TAILS])
    if is_whole and len(values) <= _BINS:
        low, high = values[0], values[-1]
    if is_whole and high - low < 2 * _BINS:
        return np.arange(np.floor(low) - 0.5, high + 1)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, int(np.clip(np.sqrt(len(real)), 8, _BINS)) + 1)


def _names(axes, names, real, drawn):
    """Bars of the most frequent names, and of all others."""
    shares = [
        np.bincount(v.astype(int), minlength=len(names)) * 100 / len(v) for v in (real, drawn)
    ]
    order = np.argsort(-shares[0], kind="stable")
    kept, rest = np.split(order, [MOST_NAMES if len(order) > MOST_NAMES + 1 else len(order)])
    texts = [names[index] for index in kept] + [f"{len(rest)} others"] * bool(len(rest))
    places = np.arange(len(texts))
    for values, style in (
        (shares[0], {"color": GREY}),
        (shares[1], {"color": BAR, "fill": False, "linewidth": 1.5, "edgecolor": BAR}),
    ):
        values = np.append(values[kept], values[rest].sum())[: len(texts)]
        axes.barh(places, values, 0.8, **style)
    axes.set_yticks(places, [plain(shortened(text, 0.8, 8)) for text in texts])
    axes.invert_yaxis()
    axes.set_xlabel("%", fontsize=8)


def associations(names, real, drawn, title):
    """Draw what every two columns tell of each other, of real rows and of drawn ones.

    Args:
        names: Sequence of strings, one per column.
        real, drawn: Float arrays `(columns, columns)`, as of `evaluation.tables.associations`; of
            more than 30 columns the first.
        title: String.

    Returns:
        A `matplotlib.figure.Figure` of three panels: real, drawn, and the difference.
    """
    kept = slice(MOST_PAIRED)
    if len(names) > MOST_PAIRED:
        title = f"{title}\nThe first {MOST_PAIRED} of {len(names)} columns"
    names = [plain(shortened(name, 1.2, 8)) for name in names[kept]]
    real, drawn = real[kept, kept], drawn[kept, kept]
    figure = new_figure((WIDEST, 3.9), title, layout="compressed")
    panels = {"real": real, "drawn": drawn, "drawn less real": drawn - real}
    for index, (text, values) in enumerate(panels.items()):
        axes = figure.add_subplot(1, 3, index + 1)
        axes.set_title(text, fontsize=10)
        image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
        places = range(len(names))
        axes.set_xticks(places, names, rotation=90, fontsize=8)
        axes.set_yticks(places, names if index == 0 else [""] * len(names), fontsize=8)
        axes.tick_params(length=0)
    figure.colorbar(image, ax=figure.axes, shrink=0.5, aspect=30)
    return figure
