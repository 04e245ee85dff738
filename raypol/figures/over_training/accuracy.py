"""Accuracy of the intermediate models, proof against spoofs (Zhang et al. 2022, arXiv:2108.09454, figure 10)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from raypol.figures.over_training.data import Cell, Chosen, by_trial, choose
from raypol.figures.series import Setting, say_proofs, settings_of
from raypol.figures.style.arms import HONEST, ArmStyle, in_order, styles_of
from raypol.figures.style.page import (
    FAINT,
    INK,
    TEXT,
    Entry,
    band,
    enumerate_briefly,
    lay_out,
    plain_axes,
    real,
    shortened,
)
from raypol.store.results.rows import TrialRow

MOST_SETTINGS: Final = 6
_AXES_IN: Final = (7.4, 3.45)
"""Width and height, alone."""
_SMALL_AXES_IN: Final = (5.3, 2.9)
"""The same, of several datasets."""
_MARKED: Final = 40
"""On curves with more points than this only some bear a marker."""

_LINE_HEIGHT: Final = 0.005
"""Lines that are closer than this part of the axes' height hide each other."""
SHARED: Final = "share a line in the colours of all; their markers stand side by side."
"""Of lines that would hide each other, in footnotes."""

Line = tuple[str, list[float], list[float]]
"""Arm, progress, values."""
Curve = Mapping[float, float]
"""Accuracy by progress, both in [0, 1]."""


def accuracy_over_progress(intervals: Iterable[Cell], rows: Sequence[TrialRow]) -> Figure:
    """Test accuracy of the intermediate models against training progress: the proof, and the spoofs of one T' (figure 10).

    T' is the one that most arms have, of several the largest. Each dataset and model has axes of its own.

    Args:
        intervals: rows of RESULTS/intervals of these trials; those of one metric are enough.
        rows: the trials.
    """
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [choose(setting) for setting in settings[:MOST_SETTINGS]]
    cells = by_trial(intervals, [row.trial_id for block in blocks for row in block.rows])
    curves = [_curves(block, cells) for block in blocks]
    arms = in_order(arm for found in curves for arm in found)
    styles = styles_of(arms)
    columns = 1 if len(blocks) == 1 else 2
    width, height = _AXES_IN if columns == 1 else _SMALL_AXES_IN
    pitch_x, pitch_y = width + 0.75, height + (0.65 if columns == 1 else 1.0)
    lines = -(-len(blocks) // columns)
    title, subtitle = "Accuracy over training", ""
    if len(blocks) == 1:
        ok = [row for row in blocks[0].setting.rows if row.is_ok]
        subject = " / ".join(dict.fromkeys(f"{row.dataset}, {row.model}" for row in ok)) or "No trials"
        title, subtitle = f"{subject}: accuracy over training", describe(blocks[0])
    page = lay_out(
        columns * pitch_x + 0.5,
        lines * pitch_y,
        title=title,
        subtitle=subtitle,
        entries=[[entry_over_training(arm, styles[arm]) for arm in arms]],
        notes=_notes(blocks, curves, [s.name for s in settings[MOST_SETTINGS:]]),
    )
    for i, (block, found) in enumerate(zip(blocks, curves, strict=True)):
        bottom = (lines - 1 - i // columns) * pitch_y + 0.55
        ax = page.axes((i % columns) * pitch_x + 0.6, bottom, width, height)
        _prepare(ax)
        if columns > 1:
            ax.set_title(
                f"{shortened(block.setting.name, 60)}\n{describe(block)}",
                loc="left",
                fontsize=TEXT - 0.5,
                color=INK,
                parse_math=False,
            )
        if not found:
            ax.text(0.5, 0.5, "no accuracies", transform=ax.transAxes, ha="center", va="center", color=FAINT)
        _draw_curves(ax, found, styles)
    return page.figure


def describe(block: Chosen) -> str:
    """Proof and spoofs in numbers."""
    proofs = " / ".join(dict.fromkeys(f"T = {row.steps:,}, k = {row.interval}" for row in block.setting.honest))
    spoofs = " / ".join(f"T' = {block.steps:,}, k = {k}" for k in block.intervals)
    return f"Proof: {proofs or 'missing'}.  Spoofs: {spoofs or 'missing'}."


def missing_rows(block: Chosen, subject: str) -> list[str]:
    """Footnotes on arms that a figure over training should show and cannot."""
    where = f" in {subject}" if subject else ""
    notes = []
    if not block.setting.honest:
        notes.append(f"Missing: an honest row with status ok{where}.")
    if block.absent:
        names = enumerate_briefly(in_order(block.absent))
        notes.append(f"Missing: no row with status ok at T' = {block.steps:,} of {names}{where}.")
    if block.merged:
        notes.append(f"Put together in one band{where}: rows that differ in {', '.join(block.merged)}.")
    return notes


def _curves(block: Chosen, cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Curve]]:
    """The curves of each arm; an empty one where a trial has no accuracies."""
    found: dict[str, list[Curve]] = {}
    for row in block.rows:
        accuracies = {cell["step_to"]: real(cell.get("accuracy")) for cell in cells.get(row.trial_id, ())}
        curve = {t / row.steps: a for t, a in sorted(accuracies.items()) if math.isfinite(a)}
        found.setdefault(row.arm, []).append(curve)
    known = {arm: [curve for curve in curves if curve] for arm, curves in found.items()}
    return {arm: known[arm] for arm in in_order(known) if known[arm]}


def _notes(blocks: Sequence[Chosen], curves: Sequence[Mapping[str, list[Curve]]], left_out: Sequence[str]) -> list[str]:
    notes = say_proofs([block.setting for block in blocks])
    if any(curves):
        notes.append("Accuracy at the ends of the verified intervals, W_0 is not among them.")
    if any(arm != HONEST for found in curves for arm in found):
        notes.append(f"Spoofs of equal accuracy {SHARED}")
    if any(len(several) > 1 for found in curves for several in found.values()):
        notes.append("Several rows: their median, band from the smallest to the largest.")
    for block, found in zip(blocks, curves, strict=True):
        subject = block.setting.name if len(blocks) > 1 else ""
        lost = in_order({row.arm for row in block.rows} - found.keys())
        if lost:
            where = f" in {subject}" if subject else ""
            notes.append(f"Missing: accuracies of {enumerate_briefly(lost)}{where}.")
        notes += missing_rows(block, subject)
    marked = [row for block in blocks for row in block.rows]
    for word in ("simulated", "estimated"):
        arms = in_order({row.arm for row in marked if getattr(row, word)})
        if arms:
            notes.append(f"{word.capitalize()}: {enumerate_briefly(arms)}.")
    if left_out:
        notes.append(f"Not drawn: {enumerate_briefly(left_out)}.")
    return notes


def _prepare(ax: Axes) -> None:
    plain_axes(ax)
    ax.set_xlabel("training progress, t/T (proof) or t/T' (spoofs) (fraction of steps)", fontsize=TEXT, color=INK)
    ax.set_ylabel("test accuracy (%)", fontsize=TEXT, color=INK)
    ax.set_xlim(0.0, 1.04)
    ax.set_ylim(0.0, 104.0)


def _draw_curves(ax: Axes, curves: Mapping[str, list[Curve]], styles: Mapping[str, ArmStyle]) -> None:
    drawn: list[Line] = []
    for arm, several in curves.items():
        xs = sorted({x for curve in several for x in curve})
        bands = [band(100.0 * curve[x] for curve in several if x in curve) for x in xs]
        if len(several) > 1:
            low, high = [b.low for b in bands], [b.high for b in bands]
            ax.fill_between(xs, low, high, color=styles[arm].colour, alpha=0.13, linewidth=0)
        drawn.append((arm, xs, [b.median for b in bands]))
    draw_sharing(ax, drawn, styles)


def draw_sharing(
    ax: Axes, drawn: Sequence[Line], styles: Mapping[str, ArmStyle], *, height: Callable[[float], float] | None = None
) -> None:
    """Lines of arms over training; those that would hide each other take turns, a dash each, their markers side by side.

    Args:
        ax: whose limits are set.
        drawn: arm, progress, values; NaN leaves a gap.
        styles: of the arms.
        height: of a value, as a part of the axes'; None = on a linear axis.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None, "the axes are on a page"
    low, high = ax.get_ylim()
    place = height or (lambda value: (value - low) / (high - low))
    placed = [(xs, [place(y) for y in ys]) for _, xs, ys in drawn]
    for i, (arm, xs, ys) in enumerate(drawn):
        style = styles[arm]
        if arm == HONEST:
            marker = "." if len(xs) == 1 else ""
            ax.plot(xs, ys, color=style.colour, linewidth=1.6, marker=marker, zorder=2.5, gid=arm)
            continue
        same = [j for j, (other, *_) in enumerate(drawn) if other != HONEST and _same_line(placed[j], placed[i])]
        rank, dash = same.index(i) if i in same else 0, 7.0
        line: Any = "-" if len(same) < 2 else (-rank * dash, (dash, dash * (len(same) - 1)))
        ax.plot(xs, ys, color=style.colour, linewidth=1.4, linestyle=line, dash_capstyle="butt", zorder=3, gid=arm)
        shift = (rank - (len(same) - 1) / 2) * 5.0 if same else 0.0
        sideways = ax.transData + ScaledTranslation(shift / 72.0, 0.0, figure.dpi_scale_trans)
        ax.plot(
            xs,
            ys,
            color=style.colour,
            linestyle="none",
            marker=style.marker,
            markersize=5,
            markevery=max(1, -(-len(xs) // _MARKED)),
            transform=sideways,
            zorder=4,
            clip_on=False,
            gid=f"{arm}:markers",
        )


def _same_line(a: tuple[list[float], list[float]], b: tuple[list[float], list[float]]) -> bool:
    return a[0] == b[0] and all(
        abs(x - y) <= _LINE_HEIGHT or (math.isnan(x) and math.isnan(y)) for x, y in zip(a[1], b[1], strict=True)
    )


def entry_over_training(arm: str, style: ArmStyle) -> Entry:
    """An arm in the legend of these lines."""
    if arm == HONEST:
        return Line2D([], [], color=style.colour, linewidth=1.6), "honest proof"
    return Line2D([], [], color=style.colour, linewidth=1.4, marker=style.marker, markersize=5), arm
