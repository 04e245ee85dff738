"""Reproduction error over training stage, with the threshold it was judged by and the other kind of threshold beside it."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raypol.core.distances import METRICS, Metric
from raypol.core.errors import InputError
from raypol.core.verification.thresholds import Thresholds
from raypol.figures.over_training.accuracy import (
    SHARED,
    Line,
    describe,
    draw_sharing,
    entry_over_training,
    missing_rows,
)
from raypol.figures.over_training.data import Cell, Chosen, by_trial, choose
from raypol.figures.series import Setting, say_proofs, settings_of
from raypol.figures.style.arms import HONEST, ArmStyle, in_order, styles_of
from raypol.figures.style.axes import Scale, apply_scale, choose_scale
from raypol.figures.style.page import (
    FAINT,
    INK,
    SMALL,
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

MOST_SETTINGS: Final = 4
JUDGED: Final = "#B00020"
"""Colour of the threshold that rows were judged by; no arm has it."""
_AXES_IN: Final = (5.0, 2.7)
_PITCH_IN: Final = (6.0, 3.5)

Curve = Mapping[float, float]
"""Value by progress."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold over training, in units of d_ref."""

    text: str
    """All of it, for footnotes."""
    kind: str
    judged: Curve
    """By progress, as the rows were judged."""
    other: tuple[str, Curve] | None
    """The other kind with the same delta, and its name; None if that cannot be told."""


Panels = Mapping[Metric, tuple[dict[str, list[Curve]], list[Rule]]]
"""Curves by arm, and thresholds."""


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
    blocks = [choose(setting, steps) for setting in settings[:MOST_SETTINGS]]
    cells = by_trial(intervals, [row.trial_id for block in blocks for row in block.rows])
    styles = styles_of([row.arm for block in blocks for row in block.rows])
    columns = min(2, len(metrics))
    lines = -(-len(metrics) // columns)
    several = len(blocks) > 1
    head = 0.5 if several else 0.0
    title = "Reproduction error over training"
    if not several:
        title = f"{blocks[0].setting.name}: reproduction error over training" if rows else "No trials"
    panels = [
        {metric: (_curves(block, cells, metric), _rules(block, cells, metric)) for metric in metrics}
        for block in blocks
    ]
    page = lay_out(
        columns * _PITCH_IN[0] + 0.4,
        len(blocks) * (lines * _PITCH_IN[1] + head),
        title=title,
        subtitle="" if several or not rows else describe(blocks[0]),
        entries=_legend(panels, styles),
        notes=_notes(blocks, panels, [s.name for s in settings[MOST_SETTINGS:]]),
    )
    top = page.body[3]
    for block, found in zip(blocks, panels, strict=True):
        if several:
            page.text(0.0, top - 0.2, block.setting.name, size=TEXT + 1, weight="bold")
            page.text(0.0, top - 0.38, describe(block), size=SMALL)
        scales = _scales(found)
        for i, metric in enumerate(metrics):
            left = (i % columns) * _PITCH_IN[0] + 0.7
            bottom = top - head - (i // columns + 1) * _PITCH_IN[1] + 0.5
            ax = page.axes(left, bottom, *_AXES_IN)
            _draw_panel(ax, metric, *found[metric], styles, scales[metric])
        top -= lines * _PITCH_IN[1] + head
    return page.figure


def _curves(block: Chosen, cells: Mapping[str, Sequence[Mapping[str, Any]]], metric: Metric) -> dict[str, list[Curve]]:
    """Errors of each arm's trials by progress; infinite ones stay, missing ones do not."""
    found: dict[str, list[Curve]] = {}
    for row in block.rows:
        values = {
            cell["step_to"] / row.steps: real(cell.get("normalised"))
            for cell in cells.get(row.trial_id, ())
            if cell["metric"] == metric
        }
        curve = {at: value for at, value in sorted(values.items()) if not math.isnan(value)}
        if curve:
            found.setdefault(row.arm, []).append(curve)
    return {arm: found[arm] for arm in in_order(found)}


def _rules(block: Chosen, cells: Mapping[str, Sequence[Mapping[str, Any]]], metric: Metric) -> list[Rule]:
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
    """Constant for dynamic, dynamic for constant."""
    if kind != "dynamic":
        share = Thresholds().late
        return f"dynamic (falls to {share:.0%})", {at: v * (1.0 - (1.0 - share) * at) for at, v in judged.items()}
    if late is None:
        return None
    left = {at: 1.0 - (1.0 - late) * at for at in judged}
    return "constant", {at: v / left[at] for at, v in judged.items() if left[at] > 0.0}


def _scales(found: Panels) -> dict[Metric, Scale | None]:
    """A scale for each metric; an arm that lies below the axis in most of them leaves it in all."""
    limits = {
        metric: [v for rule in rules for v in (*rule.judged.values(), *(rule.other[1].values() if rule.other else ()))]
        for metric, (_, rules) in found.items()
    }
    values = {
        metric: {arm: _values(several) for arm, several in curves.items()} for metric, (curves, _) in found.items()
    }
    scales = {
        metric: choose_scale([*chain(*by_arm.values()), *limits[metric]], keep=limits[metric])
        for metric, by_arm in values.items()
    }
    below = Counter(
        arm
        for metric, scale in scales.items()
        for arm, some in values[metric].items()
        if arm != HONEST and scale is not None and max(some) < scale.low
    )
    leaving = {arm for arm, count in below.items() if count > sum(arm in by_arm for by_arm in values.values()) / 2}
    for metric, by_arm in values.items():
        kept = [*chain(*(some for arm, some in by_arm.items() if arm not in leaving)), *limits[metric]]
        if leaving & by_arm.keys() and kept:
            scales[metric] = choose_scale(kept, keep=limits[metric])
    return scales


def _values(several: Iterable[Curve]) -> list[float]:
    return [value for curve in several for value in curve.values()]


def _draw_panel(
    ax: Axes,
    metric: Metric,
    curves: dict[str, list[Curve]],
    rules: list[Rule],
    styles: Mapping[str, ArmStyle],
    scale: Scale | None,
) -> None:
    plain_axes(ax)
    ax.set_title(f"reproduction error, {metric}", loc="left", fontsize=TEXT + 0.5, fontweight="bold", color=INK)
    ax.set_xlabel("training progress, t/T (proof) or t/T' (spoofs) (fraction of steps)", fontsize=TEXT - 0.5, color=INK)
    ax.set_ylabel(f"normalised error, {metric} (unit: d_ref)", fontsize=TEXT - 0.5, color=INK)
    ax.set_xlim(0.0, 1.03)
    if scale is None:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no errors", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
        return
    apply_scale(ax, scale, below=False, above=False)
    for rule in rules:
        _draw_rule(ax, rule)
    drawn = [_draw_band(ax, arm, several, styles[arm], scale) for arm, several in curves.items()]
    draw_sharing(ax, drawn, styles, height=lambda value: _height(ax, value))
    _count_beyond(ax, curves, scale)


def _draw_rule(ax: Axes, rule: Rule) -> None:
    at = sorted(rule.judged)
    ends = [0.0, *at]  # a threshold holds from the beginning of its interval
    ax.plot(
        ends, [rule.judged[at[0]], *(rule.judged[x] for x in at)], color=JUDGED, lw=1.4, ls=(0, (6, 2)), gid="judged"
    )
    if rule.other is not None:
        other = rule.other[1]
        ax.plot(
            sorted(other), [other[x] for x in sorted(other)], color=JUDGED, lw=1.0, ls=(0, (1, 1.5)), gid="other rule"
        )


def _draw_band(ax: Axes, arm: str, several: Sequence[Curve], style: ArmStyle, scale: Scale) -> Line:
    """From the smallest to the largest; returns the line of medians, without what lies beyond the axis."""
    xs = sorted({x for curve in several for x in curve})
    bands = [band(curve[x] for curve in several if x in curve) for x in xs]
    low, high = [max(b.low, scale.low) for b in bands], [min(b.high, scale.high) for b in bands]
    if len(several) > 1:
        inside = [a <= b for a, b in zip(low, high, strict=True)]
        ax.fill_between(xs, low, high, where=inside, color=style.colour, alpha=0.13, linewidth=0)
    return arm, xs, [b.median if scale.low <= b.median <= scale.high else math.nan for b in bands]


def _height(ax: Axes, value: float) -> float:
    """Of a value, as a part of the panel's."""
    if math.isnan(value):
        return math.nan
    return float(ax.transAxes.inverted().transform(ax.transData.transform((0.0, value)))[1])


def _count_beyond(ax: Axes, curves: Mapping[str, list[Curve]], scale: Scale) -> None:
    """Say how many errors the axis does not reach, and whose."""
    said = []
    for place in ("below", "above"):
        counts = {
            arm: sum(scale.place(value) == place for curve in several for value in curve.values())
            for arm, several in curves.items()
        }
        names = [arm for arm, count in counts.items() if count]
        if names:
            said.append(f"{sum(counts.values()):,} {place} the axis ({enumerate_briefly(names, most=2)})")
    if said:
        # Beside the title: in the panel it would lie on curves.
        look: dict[str, Any] = {"ha": "right", "va": "bottom", "color": FAINT, "fontsize": SMALL, "parse_math": False}
        ax.text(1.0, 1.02, shortened("; ".join(said), 56), transform=ax.transAxes, gid="beyond", **look)


def _legend(panels: Sequence[Panels], styles: Mapping[str, ArmStyle]) -> list[list[Entry]]:
    drawn = in_order({arm for found in panels for curves, _ in found.values() for arm in curves})
    arms = [entry_over_training(arm, styles[arm]) for arm in drawn]
    rules = [rule for found in panels for _, some in found.values() for rule in some]
    lines: list[Entry] = []
    kinds = " / ".join(dict.fromkeys(rule.kind or "unnamed" for rule in rules))
    if rules:
        lines.append((Line2D([], [], color=JUDGED, lw=1.4, ls=(0, (6, 2))), f"threshold that judged: {kinds}"))
    others = " / ".join(dict.fromkeys(rule.other[0] for rule in rules if rule.other))
    if others:
        lines.append((Line2D([], [], color=JUDGED, lw=1.0, ls=(0, (1, 1.5))), f"for comparison: {others}"))
    return [arms, lines]


def _notes(blocks: Sequence[Chosen], panels: Sequence[Panels], left_out: Sequence[str]) -> list[str]:
    curves = [some for found in panels for some, _ in found.values()]
    rules = [rule for found in panels for _, some in found.values() for rule in some]
    notes = say_proofs([block.setting for block in blocks])
    if any(curves):
        notes.append("Errors and thresholds are divided by d_ref, the distance of two honest runs in the same metric.")
    if any(arm != HONEST for found in curves for arm in found):
        notes.append(f"Spoofs of equal error {SHARED}")
    if any(len(several) > 1 for found in curves for several in found.values()):
        notes.append("Several rows: their median, band from the smallest to the largest.")
    if rules:
        notes.append(
            f"Thresholds: {enumerate_briefly([rule.text for rule in rules if rule.text] or ['not recorded'])}."
        )
    elif any(curves):
        notes.append("Missing: thresholds in units of d_ref; no error above zero tells d_ref.")
    for block, found in zip(blocks, panels, strict=True):
        subject = block.setting.name if len(blocks) > 1 else ""
        drawn = {arm for some, _ in found.values() for arm in some}
        lost = in_order({row.arm for row in block.rows} - drawn)
        if lost:
            notes.append(f"Missing: intervals of {enumerate_briefly(lost)}{f' in {subject}' if subject else ''}.")
        notes += missing_rows(block, subject)
    for word in ("simulated", "estimated"):
        arms = in_order({row.arm for block in blocks for row in block.rows if getattr(row, word)})
        if arms:
            notes.append(f"{word.capitalize()}: {enumerate_briefly(arms)}.")
    if left_out:
        notes.append(f"Not drawn: {enumerate_briefly(left_out)}.")
    return notes
