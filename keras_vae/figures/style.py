"""Colours, markers and sizes that all pictures share."""

# Okabe & Ito's palette: distinct for every kind of colour vision.
COLOURS = {"train": "#0072B2", "test": "#D55E00"}
BAR = "#0072B2"
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


def new_figure(size):
    """An empty `matplotlib.figure.Figure` of a size in inches; it needs no display.

    Raises:
        ImportError: Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ImportError(
            'Drawing figures needs matplotlib. Install it with: pip install "keras-vae[cli]"'
        ) from err
    return Figure(figsize=size, layout="constrained", dpi=120)


def without_frame(axes):
    """Hide what surrounds a picture of pixels."""
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
