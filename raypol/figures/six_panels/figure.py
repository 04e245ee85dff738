"""The six panels of a sweep (Zhang et al. 2022, arXiv:2108.09454, figures 2 to 9): errors, time and size against T'.

Below them the success range of every arm, with the condition that binds at each end.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypol.figures.series import Setting, settings_of
from raypol.figures.six_panels.data import PANELS, Panel, Sorted, sort_out
from raypol.figures.six_panels.panel import Pen
from raypol.figures.six_panels.range_strip import MOST_ROWS, ROW_IN, draw_spans, margins
from raypol.figures.six_panels.success_ranges import Span
from raypol.figures.six_panels.text import jump_looks, legend, notes, step_labels, titles
from raypol.figures.style.arms import ArmStyle, family_of, is_control, styles_of
from raypol.figures.style.axes import apply_steps
from raypol.figures.style.markers import MARKER_PT
from raypol.figures.style.page import (
    FAINT,
    INK,
    SMALL,
    TEXT,
    Page,
    band,
    enumerate_briefly,
    lay_out,
    plain_axes,
    shortened,
)
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow

MOST_SETTINGS: Final = 4
"""More datasets and models than this on one page are not drawn."""
_MOST_SHADED: Final = 3
"""Ranges that are told apart when they lie over each other."""
_DODGE_PT: Final = 4.0
"""Largest sideways distance of two arms' markers at one T'; values often agree to a percent."""
_DODGE_ALONE_PT: Final = 14.0
"""The same, if there is one T' only."""
_MANY_STEPS: Final = 10
"""Among more T' than this markers shrink."""
_WIDTH_IN: Final = 13.0
_ROW_IN: Final = 3.25
_PANEL_IN: Final = 2.4
_LEFT_IN: Final = 0.72
_RIGHT_IN: Final = 0.78
_HEAD_IN: Final = 0.5
"""Of a setting, where there are several."""
_AROUND_STRIP_IN: Final = 0.85
"""Title above a strip, ticks below it."""


def six_panels(rows: Sequence[TrialRow], ranges: Sequence[RangeRow] = ()) -> Figure:
    """Against T': a to d, normalised reproduction error in l1, l2, linf and cos; e, device seconds; f, megabytes.

    One line per arm, the honest proof as a horizontal line with its spread, the jump (no update) dashed. Rows that share arm and
    T' become their median and a band from the smallest to the largest; rows that differ in something else get curves of their
    own. Values so small that they would squash the others lie in a strip at the edge, with the numbers beside it. Below, a bar
    per arm shows its success range and what binds at both ends. Several datasets or models have six panels each. What is left
    out or missing is said in the footnotes.

    Args:
        rows: any rows of a results folder, in any order; usually of one sweep.
        ranges: what a search for the ends found in the same sweep; without it ranges are taken from the rows.
    """
    settings = settings_of(rows)
    settings = settings or [Setting("", "", ())]
    blocks = [sort_out(s, ranges if len(settings) == 1 else ()) for s in settings[:MOST_SETTINGS]]
    styles = styles_of([name for block in blocks for name in (*block.arms, *(span.arm for span in block.spans))])
    # Whether strips are needed decides the legend, and the legend the page: scales come first.
    several = len(blocks) > 1
    heights = [_HEAD_IN * several + 2 * _ROW_IN + _strip_height(block) for block in blocks]
    title, subtitle = titles(blocks[0]) if rows else ("No trials", "")
    if several:
        title, subtitle = f"{len(blocks)} datasets and models: spoofs against T'", ""
    said = notes(
        blocks,
        rows,
        shaded=any(map(_shaded, blocks)),
        strip=any(map(_strip_height, blocks)),
    )
    if len(settings) > len(blocks):
        said.append(f"Not drawn: {enumerate_briefly([s.name for s in settings[len(blocks) :]])}.")
    page = lay_out(_WIDTH_IN, sum(heights), title=title, subtitle=subtitle, entries=legend(blocks, styles), notes=said)
    top = sum(heights)
    for block, height in zip(blocks, heights, strict=True):
        _draw_block(page, block, styles, top, headed=several)
        top -= height
    return page.figure


def _draw_block(page: Page, block: Sorted, styles: Mapping[str, ArmStyle], top: float, *, headed: bool) -> None:
    """The panels of one setting, below `top` inches."""
    if headed:
        title, subtitle = titles(block)
        page.text(0.0, top - 0.25, title, size=TEXT + 1, weight="bold")
        page.text(0.0, top - 0.43, shortened(subtitle, 200), size=SMALL)
        top -= _HEAD_IN
    column = page.body[2] / 3
    shaded = _shaded(block)
    labels = step_labels(block)
    for i, panel in enumerate(PANELS):
        left, bottom = (i % 3) * column + _LEFT_IN, top - (i // 3 + 1) * _ROW_IN + 0.6
        ax = page.axes(left, bottom, column - _LEFT_IN - _RIGHT_IN, _PANEL_IN)
        ax.set_title(panel.title, loc="left", fontsize=TEXT + 0.5, fontweight="bold", color=INK)
        _draw_panel(ax, panel, block, styles, labels)
        for colour, (low, high) in _shades(shaded, styles).items():
            ax.axvspan(low, high, color=colour, alpha=0.08, lw=0, zorder=0.5, gid="range")
    height = _strip_height(block)
    if height:
        bottom = top - 2 * _ROW_IN - height + 0.5
        before, after = margins(block.spans)
        ax = page.axes(before, bottom, page.body[2] - before - after, height - _AROUND_STRIP_IN)
        plain_axes(ax)
        apply_steps(ax, {steps: label.partition("\n")[0] for steps, label in labels.items()})
        ax.set_xlabel("T' (steps claimed)", fontsize=TEXT - 0.5, color=INK)
        draw_spans(ax, block.spans, styles)


def _strip_height(block: Sorted) -> float:
    """Inches for the bars; none where there are no two T' to be between."""
    if len(block.tried) < 2 or not block.spans:
        return 0.0
    return ROW_IN * min(len(block.spans), MOST_ROWS) + _AROUND_STRIP_IN


def _shaded(block: Sorted) -> list[Span]:
    """The ranges of attacks that are shaded in the panels: all or, if they were too many to tell apart, none."""
    found = [span for span in block.spans if span.ends and not is_control(span.arm)] if _strip_height(block) else []
    return found if len({family_of(span.arm) or span.arm for span in found}) <= _MOST_SHADED else []


def _shades(spans: Sequence[Span], styles: Mapping[str, ArmStyle]) -> dict[str, tuple[float, float]]:
    """From where to where each colour is shaded; variants of one attack share it."""
    found: dict[str, tuple[float, float]] = {}
    for span in spans:
        colour, (low, high) = styles[span.arm].colour, span.ends or (0.0, 0.0)
        before = found.get(colour, (low, high))
        found[colour] = (min(low, before[0]), max(high, before[1]))
    return found


def _draw_panel(ax: Axes, panel: Panel, block: Sorted, styles: Mapping[str, ArmStyle], labels: dict[int, str]) -> None:
    plain_axes(ax)
    intervals = {row.interval for row in block.spoofs}
    one_k = f", k = {min(intervals)}" if len(intervals) == 1 else ""
    ax.set_xlabel(f"T' (steps claimed){one_k}", fontsize=TEXT - 0.5, color=INK)
    ax.set_ylabel(panel.axis, fontsize=TEXT - 0.5, color=INK)
    apply_steps(ax, labels)
    scale = block.scales[panel.name]
    if scale is None:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
        return
    pen = Pen(ax, scale, block.values(panel))
    pen.honest(band(map(panel.value, block.honest)))
    if panel.metric:
        for jump, (_, style) in zip(block.jumps, jump_looks(block, styles), strict=True):
            pen.jump(jump.of(panel), style, across=len(block.steps) == 1)
    dodge, unjoined = _dodge(ax, block), block.unjoined()
    size = MARKER_PT * min(1.0, max(0.45, _MANY_STEPS / max(len(block.steps), 1)))
    for i, (arm, series) in enumerate(block.points.items()):
        shift = (i - (len(block.points) - 1) / 2) * dodge
        bands = {steps: band(map(panel.value, rows)) for steps, rows in series.items()}
        pen.arm(arm, styles[arm], series, bands, shift=shift, joined=arm not in unjoined, size=size)
    pen.note_strips()


def _dodge(ax: Axes, block: Sorted) -> float:
    """Points between two arms' markers, so that those of one T' keep clear of the next and of the panel's sides."""
    steps, arms, to_points = block.steps, max(len(block.arms), 1), 72.0 / ax.figure.dpi
    if len(steps) < 2:
        return min(_DODGE_ALONE_PT, 0.9 * ax.get_window_extent().width * to_points / arms)
    places = [float(ax.transData.transform((step, 1.0))[0]) * to_points for step in steps]
    closest = min(b - a for a, b in pairwise(places))
    return min(_DODGE_PT, 0.6 * closest / arms, 0.28 * (places[-1] - places[0]) / arms)
