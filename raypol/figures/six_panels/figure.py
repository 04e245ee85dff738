"""The six panels of a sweep (Zhang et al. 2022, arXiv:2108.09454, figures 2 to 9): errors, time and size against T'.

Below them the success range of every arm, with the condition that binds at each end.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.figure import Figure, SubFigure

from raypol.figures.series import Setting, settings_of
from raypol.figures.six_panels.data import PANELS, SettingPanels, setting_panels
from raypol.figures.six_panels.panel import draw_panel
from raypol.figures.six_panels.range_strip import draw_ranges, strip_height
from raypol.figures.six_panels.success_ranges import ArmRange
from raypol.figures.six_panels.text import legend, notes, step_labels, titles
from raypol.figures.style.arms import ArmStyle, family_of, styles_of
from raypol.figures.style.notes import note_names
from raypol.figures.style.page import TEXT, add_heading, new_page, shortened
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow

_MOST_SETTINGS: Final = 4
"""More datasets and models than this on one page are not drawn."""
_MOST_SHADED: Final = 3
"""Ranges that are told apart when they lie over each other."""
_WIDTH_IN: Final = 13.0
_PANELS_IN: Final = 6.3
"""Height of the six panels."""
_HEAD_IN: Final = 0.5
"""Of a setting, where there are several."""


def six_panels(rows: Sequence[TrialRow], ranges: Sequence[RangeRow] = ()) -> Figure:
    """Against T': a to d, normalised reproduction error in l1, l2, linf and cos; e, device seconds; f, megabytes.

    One line per arm, the honest proof as a horizontal line with its spread, the jump (no update) dashed. Rows that share arm and
    T' become their median and a band from the smallest to the largest; rows that differ in something else get curves of their
    own. Values so small that they would squash the others lie in a strip at the edge, with the numbers beside it. Below, a bar
    per arm shows its success range and what binds at both ends. Several datasets or models have six panels each. What is left
    out or missing is named in the footnotes.

    Args:
        rows: any rows of a results folder, in any order; usually of one sweep.
        ranges: what a search for the ends found in the same sweep; without it ranges are taken from the rows.
    """
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [setting_panels(s, ranges if len(settings) == 1 else ()) for s in settings[:_MOST_SETTINGS]]
    styles = styles_of([name for block in blocks for name in (*block.points, *(found.arm for found in block.ranges))])
    several = len(blocks) > 1
    heights = [_HEAD_IN * several + _PANELS_IN + strip_height(block) for block in blocks]
    title, subtitle = titles(blocks[0]) if rows else ("No trials", "")
    if several:
        title, subtitle = f"{len(blocks)} datasets and models: spoofs against T'", ""
    figure, body = new_page(
        _WIDTH_IN,
        sum(heights),
        title=title,
        subtitle=subtitle,
        entries=legend(blocks, styles),
        notes=[
            *notes(blocks, rows, shaded=any(map(_shaded, blocks)), strip=any(map(strip_height, blocks))),
            *note_names("Not drawn", (setting.name for setting in settings[_MOST_SETTINGS:])),
        ],
    )
    grid = body.add_gridspec(len(blocks), 1, height_ratios=heights)
    for i, block in enumerate(blocks):
        part = body.add_subfigure(grid[i])
        if several:
            title, subtitle = titles(block)
            add_heading(part, f"{title}\n{shortened(subtitle, 180)}", size=TEXT)
        _draw_block(part, block, styles)
    return figure


def _draw_block(part: SubFigure, block: SettingPanels, styles: Mapping[str, ArmStyle]) -> None:
    """The panels of one setting, and the strip of its ranges."""
    strip = strip_height(block)
    grid = part.add_gridspec(2 if strip else 1, 1, height_ratios=[_PANELS_IN, strip] if strip else None)
    labels = step_labels(block)
    shades = _shades(_shaded(block), styles)
    for panel, ax in zip(PANELS, part.add_subfigure(grid[0]).subplots(2, 3).flat, strict=True):
        draw_panel(ax, panel, block, styles, labels)
        for colour, (low, high) in shades.items():
            ax.axvspan(low, high, color=colour, alpha=0.08, lw=0, zorder=0.5, gid="range")
    if strip:
        first_lines = {steps: label.partition("\n")[0] for steps, label in labels.items()}
        draw_ranges(part.add_subfigure(grid[1]).subplots(), block.ranges, styles, first_lines)


def _shaded(block: SettingPanels) -> list[ArmRange]:
    """The ranges of attacks that are shaded in the panels: all or, if they were too many to tell apart, none."""
    if not strip_height(block):
        return []
    found = [one for one in block.ranges if one.ends and not one.is_control]
    return found if len({family_of(one.arm) or one.arm for one in found}) <= _MOST_SHADED else []


def _shades(ranges: Sequence[ArmRange], styles: Mapping[str, ArmStyle]) -> dict[str, tuple[float, float]]:
    """From where to where each colour is shaded; variants of one attack share it."""
    found: dict[str, tuple[float, float]] = {}
    for one in ranges:
        colour, (low, high) = styles[one.arm].colour, one.ends or (0.0, 0.0)
        before = found.get(colour, (low, high))
        found[colour] = (min(low, before[0]), max(high, before[1]))
    return found
