"""Pictures of a training run and of what a model makes.

The functions here take arrays and return a `matplotlib.figure.Figure`, or pixels. `walks` finds
codes that are worth decoding; `gallery` puts both together to what `python -m keras_vae figures`
draws. matplotlib, Pillow and scikit-learn are imported only when something is drawn.
"""

from keras_vae.figures.images import (
    animation,
    captioned,
    image_grid,
    labelled_grid,
    manifold,
    named_grid,
    png,
    reconstructions,
    samples,
)
from keras_vae.figures.piano_rolls import piano_rolls
from keras_vae.figures.plots import (
    bars,
    latent_scatter,
    latent_spaces,
    learning_curves,
    projections,
)

__all__ = [
    "animation",
    "bars",
    "captioned",
    "image_grid",
    "labelled_grid",
    "latent_scatter",
    "latent_spaces",
    "learning_curves",
    "manifold",
    "named_grid",
    "piano_rolls",
    "png",
    "projections",
    "reconstructions",
    "samples",
]
