"""One trial's reproduction error, interval by interval, in four metrics, with the threshold that judged each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypol.core.distances import METRICS
from raypol.figures.style.arms import style_of
from raypol.figures.style.axes import real
from raypol.figures.style.page import FAINT, INK, TEXT, plain_axes, say_empty

_MARKED: Final = 80
"""More intervals than this are drawn without a marker each."""


def interval_chart(intervals: Sequence[Mapping[str, Any]], *, arm: str) -> Figure:
    """Four panels against the step at which an interval ends; crosses fail.

    Args:
        intervals: columns of IntervalRow, of one trial, in any order.
        arm: decides the colour.
    """
    figure = Figure(figsize=(11.0, 5.0), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2, sharex=True)
    entries: dict[str, Any] = {}
    for i, (ax, metric) in enumerate(zip(axes.flat, METRICS, strict=True)):
        unit = "distance" if metric != "cos" else "distance (no unit)"
        plain_axes(ax, title=metric, x="interval ends at step" if i > 1 else "", y=unit)
        own = sorted((row for row in intervals if row["metric"] == metric), key=lambda row: int(row["step_to"] or 0))
        _draw(ax, own, style_of(arm).colour)
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    look: dict[str, Any] = {"loc": "outside upper right", "ncols": len(entries), "frameon": False, "fontsize": TEXT}
    figure.legend(list(entries.values()), list(entries), **look)
    return figure


def _draw(ax: Axes, own: Sequence[Mapping[str, Any]], colour: str) -> None:
    steps = [int(row["step_to"] or 0) for row in own]
    lines = {name: [real(row[name]) for row in own] for name in ("movement", "control", "distance", "threshold")}
    marker = "o" if len(own) <= _MARKED else ""
    dotted = {"color": style_of("null").colour, "ls": (0, (1, 1.5)), "lw": 1.1}
    looks: dict[str, dict[str, Any]] = {
        "movement": {"color": FAINT, "ls": (0, (5, 3)), "lw": 1.1, "label": "jump (no update)"},
        "control": {**dotted, "label": "null (unchanged points)"},
        "distance": {"color": colour, "lw": 1.6, "marker": marker, "markersize": 4, "label": "reproduction error"},
        "threshold": {"color": INK, "lw": 1.2, "drawstyle": "steps-mid", "label": "threshold"},
    }
    for name, look in looks.items():
        if any(math.isfinite(value) for value in lines[name]):
            if name == "threshold" and len(set(lines[name])) == 1:
                ax.axhline(lines[name][0], **{key: look[key] for key in ("color", "lw", "label")})
            else:
                ax.plot(steps, lines[name], **look)
    failed = [
        at for at, row in zip(zip(steps, lines["distance"], strict=True), own, strict=True) if row["passed"] is False
    ]
    if failed:
        ax.plot(*zip(*failed, strict=True), "x", color=INK, markersize=8, markeredgewidth=2, label="fails")
    values = [v for name in lines for v in lines[name] if math.isfinite(v)]
    if not values:
        say_empty(ax, "not measured")
    elif 0 < min(values) < max(values) / 30:
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
