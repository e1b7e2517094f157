"""Pieces of music as piano rolls: time to the right, pitch upwards, a colour a voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_vae.data.midi import BEATS_OF_BAR
from keras_vae.data.notes import Notes, pitch_name
from keras_vae.figures.style import VOICE_COLOURS, WIDEST, new_figure, plain, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Inches of a roll at most and of a semitone, within these of a roll's height.
_WIDTH = 3.2
_SEMITONE, _HEIGHTS = 0.045, (0.9, 2.2)
# Between two notes of one pitch there is a gap, in steps.
_GAP = 0.15


def piano_rolls(
    rows: Mapping[str, ArrayLike],
    schema: Notes,
    title: str,
    column_names: Sequence[str] | None = None,
) -> Figure:
    """Draw pieces side by side, rows of them by name, such as real and sampled ones.

    Every roll has the same pitches from its bottom to its top. Voices that are given have a black
    line around their notes.

    Args:
        rows: Dict from a row's name to ints `(columns, steps, len(schema.all_voices))`: tokens of
            all voices (`schema.together` puts given ones above the others), of at least one piece.
            Rows may be of different lengths.
        schema: `data.Notes`.
        title: String.
        column_names: Optional sequence of strings, one per column.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a row is no such array.

    Example:

    >>> import keras_vae
    >>> import numpy as np
    >>> notes = keras_vae.data.Notes(low=60, high=72, voices=["soprano", "alto"])
    >>> rows = {"drawn": notes.tokens(np.full((1, 8, 2), 64))}
    >>> type(keras_vae.figures.piano_rolls(rows, notes, "Pieces")).__name__
    'Figure'

    See also:
        `data.Notes`.
    """
    rows = {name: np.asarray(pieces) for name, pieces in rows.items()}
    voices = len(schema.all_voices)
    for name, pieces in rows.items():
        if pieces.ndim != 3 or pieces.shape[2] != voices or 0 in pieces.shape:
            raise ValueError(
                f"The row {name!r} must be tokens (n, steps, {voices}), of all voices. Received: "
                f"shape={pieces.shape}. Put given voices above the others by schema.together."
            )
    if not rows:
        raise ValueError("`rows` must have at least one row of pieces. Received: none")
    columns = max(len(pieces) for pieces in rows.values())
    low, high = _range([schema.pitches(pieces) for pieces in rows.values()])
    names = [shortened(name) for name in rows]
    left = 0.75 + 0.2
    width = min(_WIDTH, (WIDEST - left) / columns)
    height = np.clip(_SEMITONE * (high - low + 3), *_HEIGHTS)
    size = max(left + width * columns, 4.0), (height + 0.15) * len(rows) + 0.75
    figure = new_figure(size, title)
    grid = figure.subplots(len(rows), columns, sharey=True, squeeze=False)
    for number, (name, pieces) in enumerate(zip(names, rows.values(), strict=True)):
        for column, axes in enumerate(grid[number]):
            if column >= len(pieces):
                axes.set_axis_off()
                continue
            _draw(axes, pieces[column], schema)
            if number == 0 and column_names is not None:
                axes.set_title(plain(column_names[column]), fontsize=10)
            if all(len(below) <= column for below in list(rows.values())[number + 1 :]):
                axes.set_xlabel("bar")
        grid[number][0].set_ylabel(plain(name))
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    ticks = octaves or [low]
    grid[0][0].set(ylim=(low - 1.5, high + 1.5), yticks=ticks)
    grid[0][0].set_yticklabels([pitch_name(pitch) for pitch in ticks])
    figure.legend(handles=_legend(schema), loc="outside lower center", ncols=voices, frameon=False)
    return figure


def _range(pitches):
    sounding = np.concatenate([each.ravel() for each in pitches])
    sounding = sounding[sounding >= 0]
    return (int(sounding.min()), int(sounding.max())) if len(sounding) else (60, 72)


def _draw(axes, tokens, schema):
    """A roll. The highest voice is on top where two have one pitch."""
    bar = BEATS_OF_BAR * schema.steps_per_beat
    steps = int((tokens >= 0).any(axis=1).sum())
    for voice, spans in reversed(list(enumerate(schema.spans(tokens)))):
        axes.bar(
            [first for first, _, _ in spans],
            0.9,
            [last - first - _GAP for first, last, _ in spans],
            [pitch - 0.45 for _, _, pitch in spans],
            align="edge",
            **_style(voice, schema),
        )
    axes.set_xlim(0, max(steps, 1))
    axes.set_xticks(range(0, steps, bar), [str(n + 1) for n in range(-(-steps // bar))])
    axes.set_xticks(range(0, steps, schema.steps_per_beat), minor=True)
    axes.grid(axis="x", which="minor", alpha=0.2, linewidth=0.5)
    axes.grid(axis="x", which="major", alpha=0.8, linewidth=0.8)
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(which="both", length=0)
    axes.set_axisbelow(True)


def _style(voice, schema):
    is_given = voice < len(schema.given)
    return {
        "facecolor": VOICE_COLOURS[voice % len(VOICE_COLOURS)],
        "edgecolor": "black" if is_given else "none",
        "linewidth": 0.8 if is_given else 0,
    }


def _legend(schema):
    from matplotlib.patches import Patch

    names = [f"{name} (given)" for name in schema.given.values()] + list(schema.voices)
    return [Patch(**_style(voice, schema), label=name) for voice, name in enumerate(names)]
