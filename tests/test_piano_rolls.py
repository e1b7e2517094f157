"""Piano rolls show every note in its place, its voice and its length."""

import matplotlib.colors
import numpy as np
import pytest

from keras_vae import figures
from keras_vae.data import Notes
from keras_vae.figures.style import VOICE_COLOURS, WIDEST
from tests.conftest import ordinary_on

# No backend computes here.
pytestmark = ordinary_on("torch")

SCHEMA = Notes(36, 81, repeats=True)


def piece(steps=32):
    pitches = np.repeat([[72, 67, 60, 48], [74, -1, 60, 50]], steps // 2, axis=0)
    return SCHEMA.tokens(pitches, np.zeros(pitches.shape))[None]


def notes_of(axes):
    """Colour, first step, length and middle of every note of a roll."""
    bars = [(*patch.get_facecolor(), *patch.get_bbox().bounds) for patch in axes.patches]
    return {
        (matplotlib.colors.to_hex(c[:4]).upper(), round(x, 3), round(w, 3), round(y + h / 2, 3))
        for *c, x, y, w, h in bars
    }


def test_every_note_is_a_bar_of_its_voice():
    tokens = piece()
    tokens[0, 8, 3] += SCHEMA.num_pitches  # struck again
    figure = figures.piano_rolls({"one": tokens}, SCHEMA, "Title")
    soprano, alto, tenor, bass = VOICE_COLOURS[:4]
    assert notes_of(figure.axes[0]) == {
        (soprano, 0, 15.85, 72),
        (soprano, 16, 15.85, 74),
        (alto, 0, 15.85, 67),
        (tenor, 0, 31.85, 60),
        (bass, 0, 7.85, 48),
        (bass, 8, 7.85, 48),
        (bass, 16, 15.85, 50),
    }


def test_axes_say_bars_and_pitches():
    figure = figures.piano_rolls({"one": piece()}, SCHEMA, "Title", ["$1"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    assert list(axes.get_xticks()) == [0, 16]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["C3", "C4", "C5"]
    assert list(axes.get_yticks()) == [48, 60, 72]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("bar", "one", r"\$1")
    assert axes.get_xlim() == (0, 32)
    assert axes.get_ylim() == (46.5, 75.5)


def test_given_voices_are_marked():
    schema = Notes(36, 81, ("alto", "tenor", "bass"), repeats=True, given={"melody": "soprano"})
    figure = figures.piano_rolls({"one": piece()}, schema, "Title")
    marked = {
        matplotlib.colors.to_hex(patch.get_facecolor()).upper()
        for patch in figure.axes[0].patches
        if patch.get_linewidth() and patch.get_edgecolor() == (0, 0, 0, 1)
    }
    assert marked == {VOICE_COLOURS[0]}
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["soprano (given)", "alto", "tenor", "bass"]


def test_rows_may_have_fewer_and_shorter_pieces():
    short = np.pad(piece(16), ((0, 0), (0, 16), (0, 0)), constant_values=-1)
    rows = {"many": np.repeat(piece(), 5, axis=0), "few": short, "rest": np.zeros((1, 16, 4), int)}
    figure = figures.piano_rolls(rows, SCHEMA, "Title")
    assert figure.get_figwidth() <= WIDEST
    drawn = [axes for axes in figure.axes if axes.axison]
    assert len(drawn) == 7
    assert [axes.get_xlabel() for axes in drawn] == ["", "bar", "bar", "bar", "bar", "", "bar"]
    assert drawn[5].get_xlim() == (0, 16)
    assert not drawn[6].patches
    figure.draw_without_rendering()


@pytest.mark.parametrize("rows", [{}, {"one": piece()[0]}, {"one": piece()[..., 1:]}])
def test_what_are_no_pieces_is_refused(rows):
    with pytest.raises(ValueError, match="Received"):
        figures.piano_rolls(rows, SCHEMA, "Title")
