"""Reproduction error over training stage, with the threshold it was judged by and the other kind of threshold beside it."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raypol.core.distances import METRICS, Metric
from raypol.core.errors import InputError
from raypol.core.verification.thresholds import Thresholds
from raypol.figures.over_training.data import Cell, Cells, Chosen, Curve, by_trial, choose, curves_of
from raypol.figures.over_training.lines import (
    PROGRESS,
    draw_curves,
    entries_over_training,
    notes_over_training,
    page_over_training,
)
from raypol.figures.series import Series, Setting, settings_of
from raypol.figures.style.arms import ArmStyle, in_order, styles_of
from raypol.figures.style.axes import Scale, apply_scale, choose_scale, real
from raypol.figures.style.notes import UNITS, list_briefly, note_names
from raypol.figures.style.page import FAINT, SMALL, Entry, plain_axes, say_empty, shortened
from raypol.store.results.rows import HONEST, TrialRow

_MOST_SETTINGS: Final = 4
_JUDGED: Final[dict[str, Any]] = {"color": "#B00020", "lw": 1.4, "ls": (0, (6, 2))}
"""Look of the threshold that rows were judged by; no arm has its colour."""
_OTHER: Final[dict[str, Any]] = {"color": "#B00020", "lw": 1.0, "ls": (0, (1, 1.5))}


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold over training, in units of d_ref."""

    text: str
    """All of it, for footnotes."""
    kind: str
    judged: Curve
    """As the rows were judged."""
    other: tuple[str, Curve] | None
    """The other kind with the same delta, and its name; None if that cannot be told."""


@dataclass(frozen=True, slots=True)
class ErrorPanel:
    """Errors and thresholds of one setting in one metric."""

    metric: Metric
    curves: dict[Series, list[Curve]]
    """By arm."""
    rules: list[Rule]

    @property
    def limits(self) -> list[float]:
        """All thresholds."""
        return [
            v for rule in self.rules for v in (*rule.judged.values(), *(rule.other[1].values() if rule.other else ()))
        ]

    def values(self, *, without: Iterable[str] = ()) -> list[float]:
        """All errors but those of some arms."""
        return [v for arm, some in self.curves.items() if arm not in without for curve in some for v in curve.values()]


def error_over_training(
    intervals: Iterable[Cell],
    rows: Sequence[TrialRow],
    *,
    metrics: Sequence[Metric] = METRICS,
    steps: int | None = None,
) -> Figure:
    """Normalised reproduction error of each verified interval against training progress, proof and spoofs of one T'.

    Lines across are thresholds, divided by d_ref like the errors: the one that rows were judged by, and beside a constant one
    (static, relative) the dynamic one that begins with the same delta, or the other way round.

    Args:
        intervals: rows of RESULTS/intervals of these trials.
        rows: the trials.
        metrics: one panel for each.
        steps: T' of the spoofs; None = the one that most arms have, of several the largest.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        raise InputError(f"expected metrics among {', '.join(METRICS)}, got {', '.join(unknown) or 'none'}")
    settings = settings_of(rows) or [Setting("", "", ())]
    blocks = [choose(setting, steps) for setting in settings[:_MOST_SETTINGS]]
    cells = by_trial(intervals, [row.trial_id for block in blocks for row in block.rows])
    styles = styles_of([series for block in blocks for series in block.series])
    panels = [error_panels(block, cells, metrics) for block in blocks]
    figure, axes = page_over_training(
        blocks,
        len(metrics),
        topic="reproduction error over training",
        entries=_legend(panels, styles),
        notes=[*_notes(blocks, panels), *note_names("Not drawn", (s.name for s in settings[_MOST_SETTINGS:]))],
    )
    for found, some in zip(panels, axes, strict=True):
        for panel, scale, ax in zip(found, _scales(found), some, strict=True):
            _draw_panel(ax, panel, styles, scale)
    return figure


def error_panels(block: Chosen, cells: Cells, metrics: Sequence[Metric]) -> list[ErrorPanel]:
    """Errors and thresholds of a setting, a panel per metric."""
    return [ErrorPanel(m, curves_of(block, cells, "normalised", m), _rules(block, cells, m)) for m in metrics]


def _rules(block: Chosen, cells: Cells, metric: Metric) -> list[Rule]:
    """The thresholds by their text, medians over trials: d_ref differs a little from seed to seed."""
    limits: dict[tuple[str, str, float | None], dict[float, list[float]]] = {}
    for row in block.rows:
        own = [cell for cell in cells.get(row.trial_id, ()) if cell["metric"] == metric]
        d_ref = _reference(own)
        for cell in own:
            limit = real(cell.get("threshold")) / d_ref
            if math.isfinite(limit):
                slack = (row.thresholds, row.threshold_kind, row.threshold_late)
                limits.setdefault(slack, {}).setdefault(cell["step_to"] / row.steps, []).append(limit)
    return [
        Rule(text, kind, judged, _other(kind, late, judged))
        for (text, kind, late), by_progress in sorted(limits.items(), key=lambda item: item[0][0])
        for judged in ({at: statistics.median(values) for at, values in sorted(by_progress.items())},)
    ]


def _reference(cells: Iterable[Mapping[str, Any]]) -> float:
    """d_ref of a trial in one metric, from its errors in both units; NaN if all are zero."""
    for cell in cells:
        distance, normalised = real(cell.get("distance")), real(cell.get("normalised"))
        if 0.0 < distance < math.inf and 0.0 < normalised < math.inf:
            return distance / normalised
    return math.nan


def _other(kind: str, late: float | None, judged: Curve) -> tuple[str, Curve] | None:
    """The constant threshold for a dynamic one, the dynamic one for a constant one."""
    if kind != "dynamic":
        share = Thresholds().late
        return f"dynamic (falls to {share:.0%})", {at: v * (1.0 - (1.0 - share) * at) for at, v in judged.items()}
    if late is None:
        return None
    left = {at: 1.0 - (1.0 - late) * at for at in judged}
    return "constant", {at: v / left[at] for at, v in judged.items() if left[at] > 0.0}


def _scales(panels: Sequence[ErrorPanel]) -> list[Scale | None]:
    """A scale for each panel; an arm that lies below the axis in most of them leaves it in all."""
    scales = [choose_scale([*panel.values(), *panel.limits], keep=panel.limits) for panel in panels]
    below = Counter(
        arm
        for panel, scale in zip(panels, scales, strict=True)
        for arm, several in panel.curves.items()
        if arm != HONEST and scale is not None and all(v < scale.low for curve in several for v in curve.values())
    )
    leaving = {arm for arm, count in below.items() if count > sum(arm in panel.curves for panel in panels) / 2}
    kept = [[*panel.values(without=leaving), *panel.limits] for panel in panels]
    return [
        choose_scale(values, keep=panel.limits) if values else scale
        for panel, scale, values in zip(panels, scales, kept, strict=True)
    ]


def _draw_panel(ax: Axes, panel: ErrorPanel, styles: Mapping[str, ArmStyle], scale: Scale | None) -> None:
    metric = panel.metric
    plain_axes(ax, title=f"reproduction error, {metric}", x=PROGRESS, y=f"normalised error, {metric} (unit: d_ref)")
    ax.set_xlim(0.0, 1.03)
    if scale is None:
        say_empty(ax, "no errors")
        return
    apply_scale(ax, scale)
    for rule in panel.rules:
        at = sorted(rule.judged)
        # A threshold holds from the beginning of its interval.
        ax.plot([0.0, *at], [rule.judged[x] for x in (at[0], *at)], **_JUDGED, gid="judged")
        if rule.other is not None:
            ax.plot(*zip(*sorted(rule.other[1].items()), strict=True), **_OTHER, gid="other rule")
    draw_curves(ax, panel.curves, styles, scale)
    _count_beyond(ax, panel.curves, scale)


def _count_beyond(ax: Axes, curves: Mapping[Series, Sequence[Curve]], scale: Scale) -> None:
    """Say how many errors the axis does not reach, and whose."""
    beyond = {arm: scale.beyond(v for curve in several for v in curve.values()) for arm, several in curves.items()}
    counted = []
    for place in ("below", "above"):
        counts = {arm: len(found[place]) for arm, found in beyond.items() if place in found}
        if counts:
            counted.append(f"{sum(counts.values()):,} {place} the axis ({list_briefly(counts, most=2)})")
    if counted:
        # Beside the title: in the panel it would lie on curves.
        look: dict[str, Any] = {"ha": "right", "va": "bottom", "color": FAINT, "fontsize": SMALL, "parse_math": False}
        ax.text(1.0, 1.02, shortened("; ".join(counted), 56), transform=ax.transAxes, gid="beyond", **look)


def _legend(blocks: Sequence[Sequence[ErrorPanel]], styles: Mapping[str, ArmStyle]) -> list[list[Entry]]:
    drawn = in_order({arm for panels in blocks for panel in panels for arm in panel.curves})
    rules = [rule for panels in blocks for panel in panels for rule in panel.rules]
    lines: list[Entry] = []
    kinds = " / ".join(dict.fromkeys(rule.kind or "unnamed" for rule in rules))
    if kinds:
        lines.append((Line2D([], [], **_JUDGED), f"threshold that judged: {kinds}"))
    others = " / ".join(dict.fromkeys(rule.other[0] for rule in rules if rule.other))
    if others:
        lines.append((Line2D([], [], **_OTHER), f"for comparison: {others}"))
    return [entries_over_training(drawn, styles), lines]


def _notes(blocks: Sequence[Chosen], panels: Sequence[Sequence[ErrorPanel]]) -> list[str]:
    curves: list[dict[Series, list[Curve]]] = [
        {arm: several for panel in reversed(found) for arm, several in panel.curves.items()} for found in panels
    ]
    rules = [rule for found in panels for panel in found for rule in panel.rules]
    notes = [UNITS] if any(curves) else []
    notes += notes_over_training(blocks, curves, what="intervals")
    if rules:
        notes += note_names("Thresholds", [rule.text for rule in rules if rule.text] or ["not recorded"])
    elif any(curves):
        notes.append("Missing: thresholds in units of d_ref; no error above zero tells d_ref.")
    return notes
