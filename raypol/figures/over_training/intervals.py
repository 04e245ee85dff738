"""One trial's reproduction error, interval by interval, in four metrics, with the threshold that each was judged by."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypol.core.distances import METRICS
from raypol.figures.style.arms import style_of
from raypol.figures.style.page import FAINT, INK, SMALL, TEXT, plain_axes

_SIZE_IN: Final = (11.0, 5.0)
_MARKED: Final = 80
"""More intervals than this are drawn without a marker each."""


def interval_chart(intervals: Sequence[Mapping[str, Any]], *, arm: str) -> Figure:
    """Four panels against the step at which an interval ends; crosses fail.

    Args:
        intervals: columns of IntervalRow, of one trial, in any order.
        arm: decides the colour.
    """
    figure = Figure(figsize=_SIZE_IN, layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2, sharex=True)
    for ax, metric in zip(axes.flat, METRICS, strict=True):
        own = sorted((row for row in intervals if row["metric"] == metric), key=lambda row: int(row["step_to"] or 0))
        _draw(ax, own, style_of(arm).colour)
        ax.set_title(f"{metric}", loc="left", fontsize=TEXT + 1, fontweight="bold", color=INK)
        ax.set_ylabel("distance" if metric != "cos" else "distance (no unit)", fontsize=TEXT, color=INK)
    for ax in axes[1]:
        ax.set_xlabel("interval ends at step", fontsize=TEXT, color=INK)
    handles, labels = _entries(axes.flat)
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=TEXT)
    return figure


def _draw(ax: Axes, own: Sequence[Mapping[str, Any]], colour: str) -> None:
    plain_axes(ax)
    steps = [int(row["step_to"] or 0) for row in own]
    lines = {name: [_real(row[name]) for row in own] for name in ("distance", "movement", "control", "threshold")}
    marker = "o" if len(own) <= _MARKED else ""
    looks: dict[str, dict[str, Any]] = {
        "movement": {"color": FAINT, "linestyle": (0, (5, 3)), "linewidth": 1.1, "label": "jump (no update)"},
        "control": {
            "color": style_of("null").colour,
            "linestyle": (0, (1, 1.5)),
            "linewidth": 1.1,
            "label": "null (unchanged points)",
        },
        "distance": {
            "color": colour,
            "linewidth": 1.6,
            "marker": marker,
            "markersize": 4,
            "label": "reproduction error",
        },
        "threshold": {"color": INK, "linewidth": 1.2, "drawstyle": "steps-mid", "label": "threshold"},
    }
    for name, look in looks.items():
        if any(math.isfinite(value) for value in lines[name]):
            if name == "threshold" and len(set(lines[name])) == 1:
                ax.axhline(lines[name][0], **{key: look[key] for key in ("color", "linewidth", "label")})
            else:
                ax.plot(steps, lines[name], **look)
    failed = [
        (step, value) for step, value, row in zip(steps, lines["distance"], own, strict=True) if row["passed"] is False
    ]
    if failed:
        ax.plot(*zip(*failed, strict=True), "x", color=INK, markersize=8, markeredgewidth=2, label="fails")
    values = [v for name in lines for v in lines[name] if math.isfinite(v)]
    if not values:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
        ax.set_yticks([])
        return
    above = [value for value in values if value > 0]
    if above and max(above) > 30 * min(above) and len(above) == len(values):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.tick_params(labelsize=SMALL)


def _entries(axes: Any) -> tuple[list[Any], list[str]]:  # noqa: ANN401 - an iterator of axes
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _real(value: Any) -> float:  # noqa: ANN401 - a cell
    return math.nan if value is None else float(value)
