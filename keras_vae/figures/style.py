"""Colours, markers, sizes and words that all pictures share."""

import textwrap

# Okabe & Ito's palette: distinct for every kind of colour vision.
COLOURS = {"train": "#0072B2", "test": "#D55E00"}
BAR = "#0072B2"
VOICE_COLOURS = ("#D55E00", "#E69F00", "#009E73", "#0072B2", "#CC79A7", "#56B4E9", "#F0E442")
GREY = "#b3b3b3"
# Inches. Where a picture this wide is shown at 800 pixels, as on GitHub, 10 points are 11 pixels.
WIDEST = 10.0
DPI = 160
# Inches of a name.
LONGEST = 2.2
# Okabe and Ito have seven colours beside black, and classes are often ten: these are Petroff's
# ten, optimised for colour vision deficiencies and for lightness (https://arxiv.org/abs/2107.02270).
CLASS_COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")


def class_style(index):
    """Colour and marker of a class: the same in every picture, no pair twice below 100."""
    return {
        "color": CLASS_COLOURS[index % len(CLASS_COLOURS)],
        "marker": MARKERS[(index + index // len(CLASS_COLOURS)) % len(MARKERS)],
    }


def shortened(text, width=LONGEST, points=10):
    """The beginning of a text that has at most so many inches in letters of so many points."""
    text = str(text)
    text = text if len(text) <= 80 else f"{text[:80]}…"
    while inches([text], points) > width and len(text) > 2:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def plain(text):
    """Text as matplotlib is to write it: without formulas."""
    return text.replace("$", r"\$")


def inches(texts, points=10):
    """Width of the widest of some texts, in letters of a size; 0 of none."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=points)
    widths = [text_to_path.get_text_width_height_descent(text, font, False)[0] for text in texts]
    return max(widths, default=0.0) / 72


def wrapped(text, width):
    """Lines of text, broken where they would be wider than a picture.

    Args:
        text: String, whose own lines stay lines.
        width: Float. Inches that letters of a title's size, 12 points, have.

    Returns:
        List of strings, at least one.
    """
    lines = []
    for line in text.split("\n"):
        most = max(8, int(len(line) * width / max(inches([line], 12), 0.01)))
        lines += textwrap.wrap(line, most) or [""]
    return lines


def new_figure(size, title="", layout="constrained"):
    """An empty `matplotlib.figure.Figure`; it needs no display.

    Args:
        size: Pair of floats: inches of width, and of height without the title.
        title: String, which stands above all else in as many lines as it needs.
        layout: String, matplotlib's; `"compressed"` for panels of pixels, whose shape is given.

    Raises:
        ImportError: Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ImportError(
            'Drawing figures needs matplotlib. Install it with: pip install "keras-vae[cli]"'
        ) from err
    lines = wrapped(title, size[0] - 0.2) if title else []
    figure = Figure((size[0], size[1] + 0.22 * len(lines)), layout=layout, dpi=DPI)
    if lines:
        figure.suptitle(plain("\n".join(lines)))
    return figure


def without_frame(axes):
    """Hide what surrounds a picture of pixels."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
