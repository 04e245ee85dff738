"""Parts that figures over training share: their page, lines that take turns where they would hide each other, footnotes."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raypol.figures.over_training.data import Chosen, Curve
from raypol.figures.series import Series
from raypol.figures.style.arms import ArmStyle, in_order
from raypol.figures.style.axes import Scale, band, shifted
from raypol.figures.style.notes import SPREAD, note_merged, note_names, note_no_proof, note_not_measured, note_proofs
from raypol.figures.style.page import TEXT, Entry, add_axes, add_heading, new_page
from raypol.store.results.rows import HONEST

PROGRESS: Final = "training progress, t/T (proof) or t/T' (spoofs) (fraction of steps)"
"""Label of the axis."""
_MARKED: Final = 40
"""On curves with more points than this only some bear a marker."""
_APART: Final = 0.005
"""Lines that are closer than this part of the axes' height hide each other."""
_DASH_PT: Final = 7.0
_MARKER_SHIFT_PT: Final = 5.0


def page_over_training(
    blocks: Sequence[Chosen], num_panels: int, *, topic: str, entries: Sequence[Sequence[Entry]], notes: Sequence[str]
) -> tuple[Figure, list[list[Axes]]]:
    """A page with a part per setting, and the axes in each."""
    several, columns = len(blocks) > 1, min(2, num_panels)
    lines = -(-num_panels // columns)
    across = 2 if several and num_panels == 1 else 1
    down = -(-len(blocks) // across)
    title = topic.capitalize() if several else f"{blocks[0].setting.name}: {topic}"
    figure, body = new_page(
        8.6 if columns * across == 1 else 6.0 * columns * across,
        down * ((4.1 if lines * columns * across == 1 else 3.3) * lines + 0.5 * several),
        title=title if any(block.setting.rows for block in blocks) else "No trials",
        subtitle="" if several else blocks[0].describe(),
        entries=entries,
        notes=notes,
    )
    grid = body.add_gridspec(down, across)
    found = []
    for i, block in enumerate(blocks):
        part = body.add_subfigure(grid[i // across, i % across])
        if several:
            add_heading(part, f"{block.setting.name}\n{block.describe()}", size=TEXT)
        found.append(add_axes(part, num_panels, columns))
    return figure, found


def draw_curves(
    ax: Axes,
    curves: Mapping[Series, Sequence[Curve]],
    styles: Mapping[str, ArmStyle],
    scale: Scale,
    *,
    unit: float = 1.0,
) -> None:
    """Draw the median of each arm's curves and a band from the smallest to the largest.

    Lines that would hide each other take turns, a dash each; their markers stand side by side. Values are multiplied by
    `unit`; those beyond the scale are not drawn. The limits of the axes are set.
    """
    drawn: list[tuple[Series, list[float], npt.NDArray[np.float64]]] = []
    for arm, several in curves.items():
        xs = sorted({x for curve in several for x in curve})
        bands = [band(unit * curve[x] for curve in several if x in curve) for x in xs]
        if len(several) > 1:
            low, high = [max(b.low, scale.low) for b in bands], [min(b.high, scale.high) for b in bands]
            inside = [a <= b for a, b in zip(low, high, strict=True)]
            ax.fill_between(xs, low, high, where=inside, color=styles[arm].colour, alpha=0.13, linewidth=0)
        ys = [b.median if scale.place(b.median) == "inside" else math.nan for b in bands]
        drawn.append((arm, xs, np.asarray(ys)))
    to_height = ax.transData + ax.transAxes.inverted()
    heights = [to_height.transform(np.column_stack([at, values]))[:, 1] for _, at, values in drawn]
    for i, (arm, at, values) in enumerate(drawn):
        same = [
            j
            for j, (other, other_at, _) in enumerate(drawn)
            if other != HONEST and other_at == at and np.allclose(heights[j], heights[i], 0.0, _APART, equal_nan=True)
        ]
        _draw_line(ax, arm, at, values, styles[arm], rank=same.index(i) if i in same else 0, count=len(same))


def _draw_line(
    ax: Axes, arm: str, xs: Sequence[float], ys: npt.NDArray[np.float64], style: ArmStyle, *, rank: int, count: int
) -> None:
    """One line, the `rank`-th of `count` that lie on each other."""
    if arm == HONEST:
        marker = "." if len(xs) == 1 else ""
        ax.plot(xs, ys, color=style.colour, linewidth=1.6, marker=marker, zorder=2.5, gid=arm)
        return
    dashes: Any = "-" if count < 2 else (-rank * _DASH_PT, (_DASH_PT, _DASH_PT * (count - 1)))
    ax.plot(xs, ys, color=style.colour, linewidth=1.4, linestyle=dashes, dash_capstyle="butt", zorder=3, gid=arm)
    shift = (rank - (max(count, 1) - 1) / 2) * _MARKER_SHIFT_PT
    look: dict[str, Any] = {"marker": style.marker, "markersize": 5, "markevery": max(1, -(-len(xs) // _MARKED))}
    look |= {"linestyle": "none", "zorder": 4, "clip_on": False, "gid": f"{arm}:markers"}
    ax.plot(xs, ys, color=style.colour, transform=ax.transData + shifted(ax, shift), **look)


def entries_over_training(arms: Sequence[str], styles: Mapping[str, ArmStyle]) -> list[Entry]:
    """Legend entries of these lines."""
    return [
        (Line2D([], [], color=styles[arm].colour, linewidth=1.6), "honest proof")
        if arm == HONEST
        else (Line2D([], [], color=styles[arm].colour, linewidth=1.4, marker=styles[arm].marker, markersize=5), arm)
        for arm in arms
    ]


def notes_over_training(
    blocks: Sequence[Chosen], curves: Sequence[Mapping[Series, Collection[Curve]]], *, what: str
) -> list[str]:
    """Footnotes on the values (`what`, in the plural) that are drawn, and on those that should be and cannot."""
    notes = note_proofs([block.setting for block in blocks])
    if any(arm != HONEST for found in curves for arm in found):
        notes.append("Spoofs of equal values share a line in the colours of all; their markers stand side by side.")
    if any(len(several) > 1 for found in curves for several in found.values()):
        notes.append(SPREAD)
    for block, found in zip(blocks, curves, strict=True):
        where = f" in {block.setting.name}" if len(blocks) > 1 else ""
        notes += note_names(f"Missing {what}{where}", in_order(block.series.keys() - found.keys()))
        notes += note_names(f"No row with status ok at T' = {block.steps:,}{where}", in_order(block.absent))
    notes += note_no_proof([block.setting for block in blocks])
    notes += note_merged(name for block in blocks for name in block.merged)
    return notes + note_not_measured([row for block in blocks for row in block.rows])
