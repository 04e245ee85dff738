"""Drawing one of the six panels: the honest proof, the jump, the arms, and what lies beyond the axis."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from matplotlib.axes import Axes

from raypol.figures.six_panels.data import Panel, SettingPanels
from raypol.figures.six_panels.text import jump_looks
from raypol.figures.style.arms import JUMP, ArmStyle, style_of
from raypol.figures.style.axes import (
    Band,
    Place,
    Scale,
    apply_scale,
    apply_steps,
    band,
    draw_strips,
    height_of,
    shifted,
    short_number,
    strip_middle,
)
from raypol.figures.style.markers import MARKER_PT, draw_markers
from raypol.figures.style.page import INK, SMALL, plain_axes, say_empty
from raypol.store.results.rows import HONEST, TrialRow

_DODGE_PT: Final = 4.0
"""Largest sideways distance of two arms' markers at one T'; values often agree to a percent."""
_DODGE_ALONE_PT: Final = 14.0
"""The same, if there is one T' only."""
_MANY_STEPS: Final = 10
"""Among more T' than this markers shrink."""


def draw_panel(
    ax: Axes, panel: Panel, block: SettingPanels, styles: Mapping[str, ArmStyle], labels: dict[int, str]
) -> None:
    """Draw one panel of a setting; `labels` are those of the T' axis."""
    intervals = {row.interval for row in block.spoofs}
    one_k = f", k = {min(intervals)}" if len(intervals) == 1 else ""
    plain_axes(ax, title=panel.title, x=f"T' (steps claimed){one_k}", y=panel.axis)
    apply_steps(ax, labels)
    scale = block.scales[panel.name]
    if scale is None:
        say_empty(ax, "no values")
        return
    beyond = scale.beyond(block.values(panel))
    apply_scale(ax, scale, beyond)
    draw_strips(ax, beyond)
    _draw_honest(ax, scale, band(map(panel.value, block.honest)), beyond)
    for jump, (_, style) in zip(block.jumps, jump_looks(block, styles), strict=True):
        _draw_jump(ax, scale, jump.of(panel), style, across=len(block.steps) == 1)
    dodge, unjoined = _dodge(ax, block), block.unjoined()
    size = MARKER_PT * min(1.0, max(0.45, _MANY_STEPS / max(len(block.steps), 1)))
    for i, (arm, series) in enumerate(block.points.items()):
        shift = (i - (len(block.points) - 1) / 2) * dodge
        bands = {steps: band(map(panel.value, rows)) for steps, rows in series.items()}
        _draw_arm(ax, scale, arm, styles[arm], series, bands, shift=shift, joined=arm not in unjoined, size=size)


def _draw_honest(ax: Axes, scale: Scale, value: Band, beyond: Mapping[Place, object]) -> None:
    """The proof's own value: a line across the panel, its number in the margin."""
    if math.isnan(value.median):
        return
    style, place = style_of(HONEST), scale.place(value.median)
    look: dict[str, Any] = {"color": style.colour, "linewidth": 1.6, "zorder": 2.5, "gid": HONEST}
    if place == "inside":
        at = height_of(ax, value.median)
        ax.plot([0, 1], [value.median] * 2, transform=ax.get_yaxis_transform(), **look)
        if value.low < value.high:
            ax.axhspan(scale.clip(value.low), scale.clip(value.high), color=style.colour, alpha=0.1, lw=0)
    else:
        at = strip_middle(place)
        ax.plot([0, 1], [at, at], transform=ax.transAxes, **look)
    # In the margin, clear of what the strips say there.
    at = min(max(at, 0.19 if "below" in beyond else 0.05), 0.81 if "above" in beyond else 0.95)
    text = f"honest\n{short_number(value.median, 3)}"
    ax.text(1.02, at, text, transform=ax.transAxes, va="center", color=INK, fontsize=SMALL - 0.5, linespacing=1.0)


def _draw_jump(ax: Axes, scale: Scale, values: Mapping[int, float], style: ArmStyle, *, across: bool) -> None:
    """The errors of no update at all, as a thin line; `across` the panel if there is one T' only."""
    known = {steps: value for steps, value in values.items() if not math.isnan(value)}
    inside = {steps: value for steps, value in known.items() if scale.place(value) == "inside"}
    look: dict[str, Any] = {"color": style.colour, "linewidth": 1.0, "markersize": 14, "gid": JUMP, "zorder": 2.2}
    if across:
        for value in inside.values():
            ax.plot([0, 1], [value, value], **look, linestyle=style.line, transform=ax.get_yaxis_transform())
    elif known:
        ys = [inside.get(steps, math.nan) for steps in known]
        ax.plot(list(known), ys, **look, linestyle=style.line, marker="_" if len(inside) == 1 else "")
    for steps in sorted(known.keys() - inside.keys()):
        y, transform = strip_middle(scale.place(known[steps])), ax.get_xaxis_transform()
        ax.plot([steps], [y], **look, marker="_", linestyle="none", transform=transform)


def _draw_arm(
    ax: Axes,
    scale: Scale,
    arm: str,
    style: ArmStyle,
    series: Mapping[int, list[TrialRow]],
    bands: Mapping[int, Band],
    *,
    shift: float,
    joined: bool,
    size: float,
) -> None:
    """One arm's line, bands and markers: rows and bands by T', sideways shift and size of markers in points."""
    sideways = shifted(ax, shift)
    moved = ax.transData + sideways
    known = {steps: value for steps, value in bands.items() if not math.isnan(value.median)}
    inside = {steps: value for steps, value in known.items() if scale.place(value.median) == "inside"}
    if any(value.low < value.high for value in inside.values()):
        low, high = [max(v.low, scale.low) for v in inside.values()], [min(v.high, scale.high) for v in inside.values()]
        if joined:
            look: dict[str, Any] = {"color": style.colour, "alpha": 0.13, "linewidth": 0}
            ax.fill_between(list(inside), low, high, transform=moved, **look)
        ax.vlines(list(inside), low, high, color=style.colour, linewidth=1.0, alpha=0.7, transform=moved)
    # A gap where a value is missing or beyond the axis.
    ys = [inside[steps].median if steps in inside else math.nan for steps in bands]
    line = style.line if joined else "none"
    ax.plot(list(bands), ys, color=style.colour, linestyle=line, lw=1.1, transform=moved, zorder=3, gid=arm)
    points = [(steps, value.median, series[steps]) for steps, value in inside.items()]
    draw_markers(ax, points, style, gid=arm, size=size, transform=moved)
    outside = known.keys() - inside.keys()
    points = [(steps, strip_middle(scale.place(known[steps].median)), series[steps]) for steps in sorted(outside)]
    draw_markers(ax, points, style, gid=arm, size=size, transform=ax.get_xaxis_transform() + sideways)


def _dodge(ax: Axes, block: SettingPanels) -> float:
    """Points between two arms' markers, so that those of one T' keep clear of the next and of the panel's sides."""
    steps, arms, to_points = block.steps, max(len(block.points), 1), 72.0 / ax.figure.dpi
    if len(steps) < 2:
        return min(_DODGE_ALONE_PT, 0.8 * ax.get_window_extent().width * to_points / arms)
    places = [float(ax.transData.transform((step, 1.0))[0]) * to_points for step in steps]
    closest = min(b - a for a, b in pairwise(places))
    return min(_DODGE_PT, 0.6 * closest / arms, 0.28 * (places[-1] - places[0]) / arms)
