"""Accuracy of the intermediate models, proof against spoofs (Zhang et al. 2022, arXiv:2108.09454, figure 10)."""

from collections.abc import Iterable, Sequence
from typing import Final

from matplotlib.figure import Figure

from raypol.figures.over_training.data import Cell, by_trial, choose, curves_of
from raypol.figures.over_training.lines import (
    PROGRESS,
    draw_curves,
    entries_over_training,
    notes_over_training,
    page_over_training,
)
from raypol.figures.series import Setting, settings_of
from raypol.figures.style.arms import in_order, styles_of
from raypol.figures.style.axes import Scale
from raypol.figures.style.notes import note_names
from raypol.figures.style.page import plain_axes, say_empty
from raypol.store.results.rows import TrialRow

_MOST_SETTINGS: Final = 6
_PER_CENT: Final = Scale(0.0, 100.0, "linear")


def accuracy_over_progress(intervals: Iterable[Cell], rows: Sequence[TrialRow]) -> Figure:
    """Test accuracy of the intermediate models against training progress: the proof, and the spoofs of one T' (figure 10).

    T' is the one that most arms have, of several the largest. Each dataset and model has axes of its own.

    Args:
        intervals: rows of RESULTS/intervals of these trials; those of one metric are enough.
        rows: the trials.
    """
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [choose(setting) for setting in settings[:_MOST_SETTINGS]]
    cells = by_trial(intervals, [row.trial_id for block in blocks for row in block.rows])
    curves = [curves_of(block, cells, "accuracy") for block in blocks]
    arms = in_order(arm for found in curves for arm in found)
    styles = styles_of(arms)
    notes = ["Accuracy at the ends of the verified intervals, W_0 is not among them."] if any(curves) else []
    notes += notes_over_training(blocks, curves, what="accuracies")
    notes += note_names("Not drawn", (setting.name for setting in settings[_MOST_SETTINGS:]))
    figure, axes = page_over_training(
        blocks, 1, topic="accuracy over training", entries=[entries_over_training(arms, styles)], notes=notes
    )
    for found, (ax,) in zip(curves, axes, strict=True):
        plain_axes(ax, x=PROGRESS, y="test accuracy (%)")
        ax.set_xlim(0.0, 1.04)
        ax.set_ylim(0.0, 104.0)
        ax.set_yticks(range(0, 101, 20))
        draw_curves(ax, found, styles, _PER_CENT, unit=100.0)
        if not found:
            say_empty(ax, "no accuracies")
    return figure
