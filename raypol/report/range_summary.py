"""What a range search found: a table with a line per arm, and the answer in Markdown."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table

from raypol.core.scoring import CONTROLS
from raypol.report.sweep_summary import remarks
from raypol.report.tables import shown_conditions
from raypol.runs.success_range.estimate import METHOD, EndEstimate, RangeEstimate, is_wider
from raypol.runs.success_range.search import FAILED, Span
from raypol.runs.sweeps.design import Sweep
from raypol.runs.sweeps.driver import SweepRun
from raypol.runs.sweeps.success_ranges import Policy

_LEGEND: Final = (
    "low end, high end: outermost T' that succeeds, median over the seeds with one. interval: holds the median end with the "
    "confidence shown; of one seed the bracket between its success and the neighbour that fails. binds: the conditions that fail "
    "just outside; bound of the search: it succeeds up to there. grid: trials of a grid of the same resolution."
)


def range_table(estimates: Sequence[RangeEstimate]) -> RenderableType:
    """A line per arm and per value of what else varies."""
    axes = [axis for axis in dict.fromkeys(a for one in estimates for a in one.axes) if _varies(estimates, axis)]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    words = ("arm", *axes, "binds below", "binds above", "notes")
    titles = (
        "arm", *axes, "low end", "interval", "binds below", "high end", "interval", "binds above", "confidence", "seeds",
        "trials", "grid", "notes",
    )  # fmt: skip
    for title in titles:
        table.add_column(title, justify="left" if title in words else "right", no_wrap=title not in words)
    for one in estimates:
        table.add_row(
            one.arm,
            *(_short(one.axes.get(axis)) for axis in axes),
            *_end_cells(one.lower),
            *_end_cells(one.upper),
            f"{one.lower.confidence:.0%}" if one.lower and one.lower.confidence else "-",
            f"{one.num_found}/{len(one.seeds)}",
            str(one.trials),
            str(one.grid),
            "; ".join(_notes(one)),
        )
    return Group(table, "", _LEGEND)


def range_answer(sweep: Sweep, run: SweepRun, estimates: Sequence[RangeEstimate], span: Span, policy: Policy) -> str:
    """Markdown: what was asked, the range of each arm with what binds, whether it beats its controls, and what it cost."""
    trials, grid = sum(one.trials for one in estimates), sum(one.grid for one in estimates)
    states = Counter(row.status for row in run.trials)
    said = [
        f"**{sweep.question}**",
        f"Success under the {policy} policy: accepted, all four errors below the honest proof's, less time and storage. T' was "
        f"searched from {span.points[0]} to {span.points[-1]} in steps of {span.resolution}, "
        f"{_count(len(estimates[0].seeds), 'seed')} per arm.",
        f"{trials} trials stand for a grid of {grid} ({grid / max(trials, 1):.1f} times as many). {states['ok']} ran to the end, "
        f"{states['stopped']} were stopped early because they could not succeed any more, {states['error']} failed"
        + (f"; {run.resumed} were finished before." if run.resumed else "."),
    ]
    if run.stopped:
        said.append(f"The search ended early: {run.stopped}. The ranges are what was known then.")
    said += remarks(run.rows)
    lines = [f"- {_name(one, estimates)}: {_sentence(one, span)}" for one in estimates]
    lines += [f"- {line}" for line in _against_controls(estimates)]
    reasons = Counter(row.message.partition("\n")[0][:200] for row in run.trials if row.status == "error")
    lines += [f"- failed {count}x: {reason}" for reason, count in reasons.most_common(5)]
    return "\n\n".join(said) + "\n\n" + "\n".join(lines) + f"\n\nIntervals: {METHOD}."


def _sentence(one: RangeEstimate, span: Span) -> str:
    if one.lower is None or one.upper is None:
        return (
            f"no success found in [{span.points[0]}, {span.points[-1]}] at {_count(one.trials, 'trial')}; what binds most often: "
            f"{_conditions(one.reason)}. A range narrower than a factor {span.factor:g} can be missed."
        )
    parts = [
        f"succeeds for {one.lower.value:g} <= T' <= {one.upper.value:g}{_over_seeds(one)}",
        f"low end {_uncertainty(one.lower)}, {_binding(one.lower, span.points[0])}",
        f"high end {_uncertainty(one.upper)}, {_binding(one.upper, span.points[-1])}",
    ]
    if one.num_found < len(one.seeds):
        parts.append(f"only {one.num_found} of {len(one.seeds)} seeds succeed anywhere, and the range is theirs")
    parts += _notes(one, words=True)
    return "; ".join(parts)


def _over_seeds(one: RangeEstimate) -> str:
    """Of what the ends are medians, and where every seed that succeeds at all does."""
    ends = [(seed.lower.success, seed.upper.success) for seed in one.seeds if seed.lower and seed.upper]
    if len(ends) < 2:
        return ""
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    common = f"all from {low} to {high}" if low <= high else "at no T' all"
    return f" (medians of {len(ends)} seeds; {common})"


def _uncertainty(end: EndEstimate) -> str:
    low, high = end.interval
    if not end.confidence:
        return f"between {low:g} and {high:g} (one seed)"
    return f"in [{low:g}, {high:g}] ({end.confidence:.0%} confidence)"


def _binding(end: EndEstimate, bound: int) -> str:
    if end.is_open:
        return f"the bound of the search ({bound}): it may reach further"
    return f"bound by {_conditions(end.bound_by)}"


def _notes(one: RangeEstimate, *, words: bool = False) -> list[str]:
    """What must not be overlooked."""
    notes = []
    if not one.is_done:
        notes.append("the search is not finished" if words else "unfinished")
    if one.uneven:
        where = sorted({steps for seed in one.uneven for steps in seed.holes})
        shown = ", ".join(map(str, where[:5])) + (", ..." if len(where) > 5 else "")
        text = f"not one interval for {_count(len(one.uneven), 'seed')}: T' = {shown} fails between successes"
        notes.append(text if words else f"fails between successes at {shown}")
    if one.failed:
        notes.append(
            f"{_count(one.failed, 'trial')} failed, counted as no success" if words else f"{one.failed} failed"
        )
    return notes


def _against_controls(estimates: Sequence[RangeEstimate]) -> list[str]:
    """Whether each attack reaches T' that a control at the same point of the sweep does not."""
    lines = []
    for one in estimates:
        if one.arm in CONTROLS:
            continue
        for control in estimates:
            if control.arm in CONTROLS and control.axes == one.axes:
                lines.append(_compare(_name(one, estimates), one, control))
    return lines


def _compare(name: str, one: RangeEstimate, control: RangeEstimate) -> str:
    if one.lower is not None and control.lower is None and not (control.is_done and not control.failed):
        return (
            f"{name} against {control.arm}: not known, {control.arm} has no success yet but unfinished or failed trials"
        )
    wider = is_wider(one, control)
    if wider == "no":
        return f"{name} against {control.arm}: its range is no wider; by this measure it has not earned its cost"
    if control.lower is None or control.upper is None or one.lower is None or one.upper is None:
        return f"{name} against {control.arm}: {control.arm} succeeds nowhere, the whole range is the attack's"
    gains = []
    if one.lower.value < control.lower.value:
        gains.append(f"down to {one.lower.value:g} instead of {control.lower.value:g}")
    if one.upper.value > control.upper.value:
        gains.append(f"up to {one.upper.value:g} instead of {control.upper.value:g}")
    sure = "" if wider == "yes" else ", which is within the uncertainty: not shown to have earned its cost"
    return f"{name} against {control.arm}: reaches {' and '.join(gains)}{sure}"


def _end_cells(end: EndEstimate | None) -> tuple[str, str, str]:
    if end is None:
        return "none", "-", "-"
    return (
        f"{end.value:g}",
        f"{end.interval[0]:g}..{end.interval[1]:g}",
        "bound of the search" if end.is_open else _conditions(end.bound_by),
    )


def _conditions(bound_by: str) -> str:
    return "a failed trial" if bound_by == FAILED else shown_conditions(bound_by) or "-"


def _name(one: RangeEstimate, estimates: Sequence[RangeEstimate]) -> str:
    told = [f"{axis} = {_short(value)}" for axis, value in one.axes.items() if _varies(estimates, axis)]
    return f"{one.arm} ({', '.join(told)})" if told else one.arm


def _varies(estimates: Sequence[RangeEstimate], axis: str) -> bool:
    return len({repr(one.axes.get(axis)) for one in estimates}) > 1


def _short(value: Any) -> str:  # noqa: ANN401 - any axis' value
    return ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
