"""Series with their alarms, and what scores and p-values say."""

import numpy as np

from keras_vae.figures.style import BAR, GREY, WIDEST, new_figure, plain

# Channels of a series that are drawn, one above the other.
MOST_CHANNELS = 6
MOST_EXAMPLES = 6
_ALARM = "tab:red"


def alarms(schema, windows, told, false_alarms, title, anomalies=()):
    """Draw a series in time, the stretches in alarm, and the p-value of each window.

    Args:
        schema: `data.SeriesSchema`.
        windows: Float array `(n, window, channels)`, in units.
        told: `evaluation.Windows` of the same.
        false_alarms: Float, the p-value up to which a window is in alarm.
        title: String.
        anomalies: Pairs of times, which are shaded.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    shown = list(schema.channels.items())[:MOST_CHANNELS]
    figure = new_figure((WIDEST, 1.6 * (len(shown) + 1) + 0.8), title)
    panels = figure.subplots(len(shown) + 1, 1, sharex=True, squeeze=False)[:, 0]
    ends, p_values = told.ends, told.p_values
    in_alarm = p_values <= false_alarms
    for axes, (k, (name, kind)) in zip(panels, enumerate(shown), strict=False):
        axes.plot(ends, windows[:, -1, k], color=GREY, linewidth=0.8)
        axes.plot(ends[in_alarm], windows[in_alarm, -1, k], ".", color=_ALARM, markersize=4)
        axes.set_ylabel(plain(f"{name}\n{kind.unit or ''}".strip()), fontsize=9)
    panels[-1].semilogy(ends, p_values, ".", color=BAR, markersize=2)
    panels[-1].axhline(false_alarms, color=_ALARM, linewidth=1)
    panels[-1].set_ylabel("p-value", fontsize=9)
    for axes in panels:
        for pair in anomalies:
            first, last = (np.datetime64(t, "us") if isinstance(t, str) else t for t in pair)
            axes.axvspan(first, last, color="gold", alpha=0.3, linewidth=0)
        axes.tick_params(labelsize=8)
    figure.autofmt_xdate()
    return figure


def distribution(scores, thresholds, title):
    """Draw the distribution of scores, and the thresholds of alarms.

    Args:
        scores: Dict from words, such as "calibration", to float arrays `(n,)`, nats.
        thresholds: Sequence of floats.
        title: String.
    """
    figure = new_figure((6, 3.2), title)
    axes = figure.add_subplot()
    everything = np.concatenate(list(scores.values()))
    edges = np.linspace(everything.min(), np.quantile(everything, 0.999), 60)
    for (name, values), color in zip(scores.items(), (GREY, BAR, _ALARM), strict=False):
        weights = np.full(len(values), 1 / len(values))
        values = np.clip(values, edges[0], edges[-1])
        axes.hist(values, edges, weights=weights, color=color, alpha=0.6, label=name)
    for threshold in thresholds:
        axes.axvline(min(threshold, edges[-1]), color=_ALARM, linewidth=1)
    axes.set_xlabel("score (nats)")
    axes.set_ylabel("share of windows")
    axes.legend(frameon=False)
    return figure


def reliability(p_values, title):
    """Draw what share of examples has a p-value up to each: of normal ones the diagonal.

    Args:
        p_values: Dict from words to float arrays `(n,)`.
        title: String.
    """
    figure = new_figure((7, 3.4), title)
    for index, most in enumerate((1.0, 0.1)):
        axes = figure.add_subplot(1, 2, index + 1)
        for (name, values), color in zip(p_values.items(), (BAR, _ALARM), strict=False):
            ordered = np.sort(values)
            axes.step(
                ordered, np.arange(1, len(ordered) + 1) / len(ordered), color=color, label=name
            )
        axes.plot([0, most], [0, most], color=GREY, linewidth=1, linestyle="--")
        axes.set(xlim=(0, most), ylim=(0, most), xlabel="p-value", ylabel="share up to it")
        axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8)
    return figure


def contributions(schema, windows, reconstructed, added, titles, title):
    """Draw windows with their reconstructions, and what each step adds to the score.

    Args:
        schema: `data.SeriesSchema`.
        windows, reconstructed: Float arrays `(n, window, channels)`, in units.
        added: Float array of the same shape, nats.
        titles: Sequence of str, one a window.
        title: String.
    """
    count, shown = min(len(windows), MOST_EXAMPLES), list(schema.channels.items())[:3]
    figure = new_figure((WIDEST, 1.5 * len(shown) * -(-count // 3) + 0.8), title)
    outer = figure.add_gridspec(-(-count // 3), 3)
    most = max(float(added[:count].max()), 1e-6)
    for at in range(count):
        inner = outer[at // 3, at % 3].subgridspec(len(shown), 1, hspace=0.1)
        for k, (name, kind) in enumerate(shown):
            axes = figure.add_subplot(inner[k])
            steps = np.arange(windows.shape[1])
            axes.plot(steps, windows[at, :, k], color=GREY, linewidth=1.2)
            axes.plot(steps, reconstructed[at, :, k], color=BAR, linewidth=1)
            beside = axes.twinx()
            beside.fill_between(steps, np.maximum(added[at, :, k], 0), color=_ALARM, alpha=0.35)
            beside.set_ylim(0, most)
            beside.set_yticks([])
            axes.tick_params(labelsize=7)
            if at % 3 == 0:
                axes.set_ylabel(plain(f"{name} {kind.unit or ''}".strip()), fontsize=8)
            if k == 0:
                axes.set_title(plain(titles[at]), fontsize=9)
            if k < len(shown) - 1:
                axes.set_xticklabels([])
    return figure


def samples(schema, real, drawn, title):
    """Draw real windows beside drawn ones, channel by channel.

    Args:
        schema: `data.SeriesSchema`.
        real, drawn: Float arrays `(n, window, channels)`, in units.
        title: String.
    """
    shown = list(schema.channels.items())[:MOST_CHANNELS]
    figure = new_figure((WIDEST, 1.7 * len(shown) + 0.8), title)
    panels = figure.subplots(len(shown), 2, sharey="row", squeeze=False)
    for k, (name, kind) in enumerate(shown):
        for axes, (words, values), color in zip(
            panels[k], (("real", real), ("drawn", drawn)), (GREY, BAR), strict=True
        ):
            axes.plot(values[:30, :, k].T, color=color, linewidth=0.7, alpha=0.6)
            axes.tick_params(labelsize=8)
            if k == 0:
                axes.set_title(words, fontsize=10)
        panels[k, 0].set_ylabel(plain(f"{name} {kind.unit or ''}".strip()), fontsize=9)
    return figure
