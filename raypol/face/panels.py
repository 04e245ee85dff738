"""The six panels of a sweep (Zhang et al. 2022, arXiv:2108.09454, figures 2 to 9): errors, time and size against T'."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from raypol.core.distances import METRICS, Metric
from raypol.face.arm_styles import HONEST, JUMP, ArmStyle, in_order, style_of
from raypol.face.drawing import (
    FAINT,
    INK,
    TEXT,
    Entry,
    Scale,
    apply_steps,
    band,
    choose_scale,
    enumerate_briefly,
    lay_out,
    plain_axes,
    real,
)
from raypol.face.pen import RING, STRIKE, STRIP_COLOUR, Pen, fill_of, is_not_measured, is_strict_apart, marker_look
from raypol.store.results import TrialRow

_DODGE_PT: Final = 4.0
"""Largest sideways distance of two arms' markers at one T'; values often agree to a percent."""
_DODGE_ALONE_PT: Final = 14.0
"""The same, if there is one T' only."""
_TICKS_WITH_K: Final = 4
"""Among more T' than this some ticks may go without a label, and k with it."""
_WIDTH_IN: Final = 13.0
_ROW_IN: Final = 3.25
_PANEL_IN: Final = 2.4
_LEFT_IN: Final = 0.72
_RIGHT_IN: Final = 0.78


@dataclass(frozen=True, slots=True)
class _Panel:
    name: str
    title: str
    axis: str
    value: Callable[[TrialRow], float]
    metric: Metric | None = None


def _error(metric: Metric) -> Callable[[TrialRow], float]:
    return lambda row: real(getattr(row, f"error_{metric}"))


_PANELS: Final = (
    *(
        _Panel(m, f"({letter}) reproduction error, {m}", f"normalised error, {m} (unit: d_ref)", _error(m), m)
        for letter, m in zip("abcd", METRICS, strict=True)
    ),
    _Panel("time", "(e) generation time", "generation time (device s)", lambda row: real(row.device_s)),
    _Panel("size", "(f) size", "size (MB)", lambda row: real(row.size_bytes) / 1e6),
)

Jumps = tuple[float, ...]
"""In the order of METRICS."""


@dataclass(frozen=True, slots=True)
class _Jump:
    """What no update at all would measure, on one trajectory that some arms share."""

    arms: list[str]
    values: dict[int, Jumps]
    """By T'."""

    def of(self, panel: _Panel) -> dict[int, float]:
        """The values that belong in a panel, by T'; none in those of time and size."""
        if panel.metric is None:
            return {}
        return {steps: values[METRICS.index(panel.metric)] for steps, values in sorted(self.values.items())}


@dataclass(slots=True)
class _Sweep:
    """The rows, sorted out."""

    honest: list[TrialRow]
    points: dict[tuple[str, int], list[TrialRow]]
    """Spoofs by arm and T'."""
    arms: list[str]
    jumps: list[_Jump]
    below: bool = False
    above: bool = False
    """Set while drawing: some panel has values beyond its axis."""
    missing: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        """Every T', ascending."""
        return sorted({steps for _, steps in self.points})

    def steps_of(self, arm: str) -> list[int]:
        """Those of one arm."""
        return sorted(steps for name, steps in self.points if name == arm)


def six_panels(rows: Sequence[TrialRow]) -> Figure:
    """Against T': a to d, normalised reproduction error in l1, l2, linf and cos; e, device seconds; f, megabytes.

    One line per arm, the honest proof as a horizontal line, the jump (no update) dashed. Rows that share arm and T'
    become their median and a band from the smallest to the largest. Values so small that they would squash the others
    lie in a strip at the edge, with the numbers beside it. What is left out or missing is said in the footnotes.

    Args:
        rows: any rows of a results folder, in any order; usually of one sweep.
    """
    sweep = _sort_out([row for row in rows if row.status == "ok"])
    # Whether strips are needed decides the legend, and the legend the page: scales come first.
    scales = [_scale(sweep, panel) for panel in _PANELS]
    title, subtitle = _titles(rows, sweep)
    page = lay_out(
        _WIDTH_IN,
        2 * _ROW_IN,
        title=title,
        subtitle=subtitle,
        entries=_legend(sweep),
        notes=_notes(rows, sweep),
    )
    column = page.body[2] / 3
    for i, (panel, scale) in enumerate(zip(_PANELS, scales, strict=True)):
        left, bottom = (i % 3) * column + _LEFT_IN, (1 - i // 3) * _ROW_IN + 0.6
        ax = page.axes(left, bottom, column - _LEFT_IN - _RIGHT_IN, _PANEL_IN)
        ax.set_title(panel.title, loc="left", fontsize=TEXT + 0.5, fontweight="bold", color=INK)
        _draw_panel(ax, panel, scale, sweep)
    return page.figure


def _sort_out(rows: Sequence[TrialRow]) -> _Sweep:
    points: dict[tuple[str, int], list[TrialRow]] = {}
    for row in rows:
        if row.arm != HONEST:
            points.setdefault((row.arm, row.steps), []).append(row)
    arms = in_order(arm for arm, _ in points)
    sweep = _Sweep([row for row in rows if row.arm == HONEST], points, arms, _jumps(points, arms))
    for row in rows:
        lost = [panel.name for panel in _PANELS if math.isnan(panel.value(row))]
        if lost:
            sweep.missing.append(f"{_named(row)} ({', '.join(lost)})")
    return sweep


def _jumps(points: dict[tuple[str, int], list[TrialRow]], arms: Sequence[str]) -> list[_Jump]:
    """Arms that share a trajectory share one dashed line; the most common trajectory first."""
    found: list[_Jump] = []
    for arm in arms:
        values = {
            steps: tuple(band(real(getattr(row, f"jump_{m}")) for row in rows).median for m in METRICS)
            for (name, steps), rows in points.items()
            if name == arm
        }
        values = {steps: jumps for steps, jumps in values.items() if any(map(math.isfinite, jumps))}
        if not values:
            continue
        for jump in found:
            if all(_alike(jumps, jump.values.get(steps, jumps)) for steps, jumps in values.items()):
                jump.arms.append(arm)
                jump.values.update(values)
                break
        else:
            found.append(_Jump([arm], dict(values)))
    return sorted(found, key=lambda jump: -len(jump.arms))


def _alike(a: Jumps, b: Jumps) -> bool:
    # A percent: less than a line's width in any panel.
    return all(math.isclose(x, y, rel_tol=0.01) or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True))


def _values(sweep: _Sweep, panel: _Panel) -> list[float]:
    """Everything that is drawn in a panel."""
    rows = [*sweep.honest, *(row for rows in sweep.points.values() for row in rows)]
    return [*map(panel.value, rows), *(value for jump in sweep.jumps for value in jump.of(panel).values())]


def _scale(sweep: _Sweep, panel: _Panel) -> Scale | None:
    values = _values(sweep, panel)
    scale = choose_scale(values, keep=map(panel.value, sweep.honest), clip=panel.metric is not None)
    if scale is not None:
        places = {scale.place(value) for value in values if not math.isnan(value)}
        sweep.below |= "below" in places
        sweep.above |= "above" in places
    return scale


def _draw_panel(ax: Axes, panel: _Panel, scale: Scale | None, sweep: _Sweep) -> None:
    plain_axes(ax)
    intervals = {row.interval for rows in sweep.points.values() for row in rows}
    one_k = f", k = {min(intervals)}" if len(intervals) == 1 else ""
    ax.set_xlabel(f"T' (steps claimed){one_k}", fontsize=TEXT - 0.5, color=INK)
    ax.set_ylabel(panel.axis, fontsize=TEXT - 0.5, color=INK)
    apply_steps(ax, _step_labels(sweep, with_interval=len(intervals) > 1))
    if scale is None:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=TEXT)
        return
    pen = Pen(ax, scale, _values(sweep, panel))
    pen.honest(band(map(panel.value, sweep.honest)))
    for i, jump in enumerate(sweep.jumps if panel.metric else ()):
        pen.jump(jump.of(panel), style_of(JUMP if i == 0 else jump.arms[0]).colour, across=len(sweep.steps) == 1)
    dodge = _dodge(ax, sweep)
    for i, arm in enumerate(sweep.arms):
        shift = (i - (len(sweep.arms) - 1) / 2) * dodge
        series = {steps: sweep.points[arm, steps] for steps in sweep.steps_of(arm)}
        bands = {steps: band(map(panel.value, rows)) for steps, rows in series.items()}
        pen.arm(arm, series, bands, shift)
    pen.note_strips()


def _dodge(ax: Axes, sweep: _Sweep) -> float:
    """Points between two arms' markers, so that those of one T' keep clear of the next and of the panel's sides."""
    steps, arms, to_points = sweep.steps, max(len(sweep.arms), 1), 72.0 / ax.figure.dpi
    if len(steps) < 2:
        return min(_DODGE_ALONE_PT, 0.9 * ax.get_window_extent().width * to_points / arms)
    places = [float(ax.transData.transform((step, 1.0))[0]) * to_points for step in steps]
    closest = min(b - a for a, b in pairwise(places))
    return min(_DODGE_PT, 0.6 * closest / arms, 0.28 * (places[-1] - places[0]) / arms)


def _step_labels(sweep: _Sweep, *, with_interval: bool) -> dict[int, str]:
    labels = {}
    for steps in sweep.steps:
        ks = sorted({row.interval for (_, s), rows in sweep.points.items() if s == steps for row in rows})
        shown = ", ".join(map(str, ks)) if len(ks) <= 2 else f"{ks[0]}..{ks[-1]}"
        labels[steps] = f"{steps:,}\nk={shown}" if with_interval else f"{steps:,}"
    return labels


def _legend(sweep: _Sweep) -> tuple[list[Entry], list[Entry]]:
    """Lines, and what the markers say."""
    entries: list[Entry] = []
    signs: list[Entry] = []
    for arm in sweep.arms:
        style = style_of(arm)
        look = {**marker_look(style, "filled"), "linestyle": style.line}
        entries.append((Line2D([], [], linewidth=1.1, **look), arm))
    if sweep.honest:
        entries.append((Line2D([], [], color=style_of(HONEST).colour, linewidth=1.6), _honest_label(sweep)))
    for i, jump in enumerate(sweep.jumps):
        colour = style_of(JUMP if i == 0 else jump.arms[0]).colour
        label = "jump (no update)" if i == 0 else f"jump (no update) of {', '.join(jump.arms)}"
        entries.append((Line2D([], [], color=colour, linewidth=1.0, linestyle=style_of(JUMP).line), label))
    every = list(sweep.points.values())
    grey = ArmStyle(FAINT, "o", "-")
    fills = {fill_of(rows) for rows in every}
    if every:
        signs.append((Line2D([], [], **marker_look(grey, "filled")), "filled: spoof succeeds"))
        signs.append((Line2D([], [], **marker_look(grey, "hollow")), "hollow: it does not"))
    if "half" in fills:
        signs.append((Line2D([], [], **marker_look(grey, "half")), "half: some of its rows do"))
    if any(map(is_strict_apart, every)):
        struck = (Line2D([], [], **marker_look(grey, "filled")), Line2D([], [], **STRIKE))
        signs.append((struck, "struck out: strict verifier rejects"))
    if any(map(is_not_measured, every)):
        signs.append((Line2D([], [], **RING), "ring: simulated or estimated"))
    if sweep.below or sweep.above:
        where = " or ".join(place for place, is_so in (("below", sweep.below), ("above", sweep.above)) if is_so)
        signs.append((Patch(facecolor=STRIP_COLOUR, edgecolor="#CCCCCC"), f"{where} the axis; values beside it"))
    return entries, signs


def _honest_label(sweep: _Sweep) -> str:
    return "honest proof" + (" (simulated or estimated)" if is_not_measured(sweep.honest) else "")


def _titles(rows: Sequence[TrialRow], sweep: _Sweep) -> tuple[str, str]:
    if not rows:
        return "No trials", ""
    about = f"{_each(r.dataset for r in rows)}, {_each(r.model for r in rows)}"
    if sweep.honest:
        steps, k = _each(f"{r.steps:,}" for r in sweep.honest), _each(str(r.interval) for r in sweep.honest)
        proof = f"honest proof of T = {steps} steps, k = {k}"
    else:
        proof = "no honest proof"
    shown = [row for row in rows if row.status == "ok"] or list(rows)
    conditions = _each(r.replay for r in shown if r.replay) or "not recorded"
    batch = _each(str(r.batch_size) for r in shown)
    devices = _each(r.device_name for r in shown if r.device_name) or "not recorded"
    return f"{about}: spoofs against T', {proof}", f"Batch size: {batch}.  Replay: {conditions}.  Device: {devices}."


def _each(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(values))


def _notes(rows: Sequence[TrialRow], sweep: _Sweep) -> list[str]:
    every = [row for group in sweep.points.values() for row in group]
    notes = []
    if every:
        notes.append(
            "Error: the largest over the verified intervals, divided by d_ref, the distance of two honest runs. A "
            "spoof succeeds if the published verifier accepts it and it lies below the honest line in all six panels. "
            "MB: 10^6 bytes."
        )
        notes.append(f"Markers of one T' are set side by side{_spread(sweep)}.")
    ks = {row.interval for row in every}
    if len(ks) > 1 and len(sweep.steps) > _TICKS_WITH_K:
        notes.append(f"k by T': {'; '.join(_steps_with(sweep, k) for k in sorted(ks))}.")
    if not sweep.honest:
        notes.append("Missing: an honest row with status ok; there is no line to compare with.")
    if not every:
        notes.append("Missing: spoofs with status ok.")
    if sweep.missing:
        notes.append(f"Without a value, not drawn: {enumerate_briefly(sweep.missing)}.")
    unjudged = [row for row in every if row.success is None]
    if unjudged:
        notes.append(f"Success not judged, drawn hollow: {enumerate_briefly([_named(row) for row in unjudged])}.")
    for word in ("simulated", "estimated"):
        told = [_named(row) for row in [*sweep.honest, *every] if getattr(row, word)]
        if told:
            notes.append(f"{word.capitalize()}, not measured on that device: {enumerate_briefly(told)}.")
    left_out = [row for row in rows if row.status != "ok"]
    if left_out:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(r.status for r in left_out).items()))
        names = enumerate_briefly([_named(row) for row in left_out])
        notes.append(f"Left out, {len(left_out)} of {len(rows)} rows ({counts}): {names}.")
    return notes


def _steps_with(sweep: _Sweep, k: int) -> str:
    steps = sorted({steps for (_, steps), rows in sweep.points.items() if any(row.interval == k for row in rows)})
    return f"k = {k} at {' '.join(f'{s:,}' for s in steps)}"


def _spread(sweep: _Sweep) -> str:
    most = max(map(len, sweep.points.values()))
    if most == 1:
        return ""
    return f"; where several rows share arm and T' (up to {most}): their median, band from the smallest to the largest"


def _named(row: TrialRow) -> str:
    symbol = "T" if row.arm == HONEST else "T'"
    return f"{row.arm} at {symbol} = {row.steps:,}"
