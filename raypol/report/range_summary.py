"""What a range search found: a table with a line per arm, and its conclusions."""

import json
from collections.abc import Sequence
from typing import Any

from raypol.figures.six_panels.success_ranges import say_conditions
from raypol.report.conclusions import Conclusions, changed_nothing, failures, limits, progress_sentence
from raypol.report.tables import Table, TableColumn, words
from raypol.runs.success_range.estimate import INTERVAL_METHOD, RangeEstimate, is_wider
from raypol.runs.success_range.search import FAILED, SearchGrid
from raypol.runs.sweeps.driver import SweepRun
from raypol.runs.sweeps.success_ranges import PolicyName, range_rows
from raypol.store.results.range_rows import RangeRow


def range_table(rows: Sequence[RangeRow], *, seeds: bool = False) -> Table:
    """A line per arm and per value of what else varies.

    Args:
        rows: over all seeds, and of each.
        seeds: show a line per seed too, and the policy.
    """
    values = [json.loads(row.axes or "{}") for row in rows]
    axes = [axis for axis in dict.fromkeys(a for one in values for a in one) if _varies(values, axis)]
    lines = [
        [
            row.arm,
            *(_short(its.get(axis)) for axis in axes),
            *([row.policy, "all" if row.seed is None else str(row.seed)] if seeds else []),
            *_end(row.low_steps, row.low_from_steps, row.low_to_steps, row.low_open, row.low_bound_by),
            *_end(row.high_steps, row.high_from_steps, row.high_to_steps, row.high_open, row.high_bound_by),
            _every_seed(row, rows),
            f"{row.confidence:.0%}" if row.confidence else "-",
            f"{row.num_found}/{row.num_seeds}",
            str(row.trials),
            str(row.grid_trials),
            "; ".join(_notes(row)),
        ]
        for row, its in zip(rows, values, strict=True)
        if seeds or row.seed is None
    ]
    return Table(
        columns=[
            *words("arm", *axes, *(("policy", "seed") if seeds else ())),
            TableColumn("low end", "T'"), TableColumn("interval"), *words("binds below", wraps=True),
            TableColumn("high end", "T'"), TableColumn("interval"), *words("binds above", wraps=True),
            *map(TableColumn, ("every seed", "confidence", "seeds", "trials", "grid")), *words("notes", wraps=True),
        ],
        lines=lines,
        note="low end, high end: outermost T' that succeeds, median over the seeds with one. interval: holds the median end with "
        "the confidence shown; of one seed the bracket between its success and the neighbour that fails. binds: the conditions "
        "that fail just outside; bound of the search: it succeeds up to there. every seed: T' between all seeds' ends. seeds: "
        "with a success, of all. grid: trials of a grid of the same resolution.",
    )  # fmt: skip


def conclude_ranges(
    run: SweepRun, estimates: Sequence[RangeEstimate], span: SearchGrid, policy: PolicyName
) -> Conclusions:
    """How the ranges were searched, what limits them, and whether each attack's range is wider than a control's."""
    trials, grid, seeds = (
        sum(one.trials for one in estimates),
        sum(one.grid for one in estimates),
        len(estimates[0].seeds),
    )
    summary = [
        f"T' was searched from {span.points[0]} to {span.points[-1]} in steps of {span.resolution}, "
        f"{_count(seeds, 'seed')} per arm, for success under the {policy} policy: accepted, all four errors below the honest "
        "proof's, less time and storage.",
        f"{trials} trials stand for a grid of {grid} ({grid / max(trials, 1):.1f} times as many).",
        progress_sentence(run.trials, resumed=run.resumed),
    ]
    remarks = [f"The search ended early: {run.stopped}. The ranges are what was known then."] if run.stopped else []
    remarks += limits(run.rows)
    for one in estimates:
        idle = changed_nothing([row for row in run.trials if row.arm == one.arm])
        remarks += [f"{_name(one, estimates)}: {remark}." for remark in [*_remarks(one, span), *filter(None, [idle])]]
    controls = {row.arm for row in run.trials if row.is_control}
    remarks += [
        f"{_name(one, estimates)} against {control.arm}: {_compare(one, control)}."
        for one in estimates
        for control in estimates
        if one.arm not in controls and control.arm in controls and control.axes == one.axes
    ]
    table = range_table(range_rows(estimates, span, run.plan.sweep_id, policy))
    return Conclusions(
        summary=summary, remarks=[*remarks, *failures(run.trials), f"Intervals: {INTERVAL_METHOD}."], tables=[table]
    )


def _remarks(one: RangeEstimate, span: SearchGrid) -> list[str]:
    """What must not be overlooked."""
    found = []
    if one.lower is None:
        found.append(
            f"no success found in [{span.points[0]}, {span.points[-1]}] at {_count(one.trials, 'trial')}; what binds most often: "
            f"{_conditions(one.reason)}. A range narrower than a factor {span.factor:g} can be missed"
        )
    elif one.num_found < len(one.seeds):
        found.append(f"only {one.num_found} of {len(one.seeds)} seeds succeed anywhere, and the range is theirs")
    if one.uneven:
        where = sorted({steps for seed in one.uneven for steps in seed.holes})
        shown = ", ".join(map(str, where[:5])) + (", ..." if len(where) > 5 else "")
        found.append(f"not one interval for {_count(len(one.uneven), 'seed')}: T' = {shown} fails between successes")
    return found


def _compare(one: RangeEstimate, control: RangeEstimate) -> str:
    """Whether an attack reaches T' that a control does not."""
    if one.lower is not None and control.lower is None and not (control.is_done and not control.failed):
        return f"not known, {control.arm} has no success yet but unfinished or failed trials"
    wider = is_wider(one, control)
    if wider == "no":
        return "its range is no wider; by this measure it has not earned its cost"
    if control.lower is None or control.upper is None or one.lower is None or one.upper is None:
        return f"{control.arm} succeeds nowhere, the whole range is the attack's"
    gains = []
    if one.lower.value < control.lower.value:
        gains.append(f"down to {one.lower.value:g} instead of {control.lower.value:g}")
    if one.upper.value > control.upper.value:
        gains.append(f"up to {one.upper.value:g} instead of {control.upper.value:g}")
    sure = "" if wider == "yes" else ", which is within the uncertainty: not shown to have earned its cost"
    return f"reaches {' and '.join(gains)}{sure}"


def _notes(row: RangeRow) -> list[str]:
    return [
        *([] if row.complete else ["unfinished"]),
        *([f"{row.num_holes} T' fail between successes"] if row.num_holes else []),
        *([f"{_count(row.failed, 'trial')} failed, counted as no success"] if row.failed else []),
    ]


def _end(
    value: float | None, low: float | None, high: float | None, is_open: bool | None, bound_by: str | None
) -> tuple[str, str, str]:
    if value is None:
        return "none", "-", "-"
    interval = "-" if low is None or high is None else f"{low:g}..{high:g}"
    return f"{value:g}", interval, "bound of the search" if is_open else _conditions(bound_by or "")


def _every_seed(row: RangeRow, rows: Sequence[RangeRow]) -> str:
    """The T' between the ends of every seed that succeeds at all."""
    own = [
        (one.low_steps, one.high_steps)
        for one in rows
        if one.seed is not None and (one.arm, one.axes, one.policy) == (row.arm, row.axes, row.policy)
    ]
    ends = [(low, high) for low, high in own if low is not None and high is not None]
    if row.seed is not None or len(ends) < 2:
        return "-"
    first, last = max(low for low, _ in ends), min(high for _, high in ends)
    return f"{first:g}..{last:g}" if first <= last else "none"


def _conditions(bound_by: str) -> str:
    return "a failed trial" if bound_by == FAILED else say_conditions(bound_by, "-")


def _name(one: RangeEstimate, estimates: Sequence[RangeEstimate]) -> str:
    axes = [
        f"{axis} = {_short(value)}" for axis, value in one.axes.items() if _varies([e.axes for e in estimates], axis)
    ]
    return f"{one.arm} ({', '.join(axes)})" if axes else one.arm


def _varies(values: Sequence[Any], axis: str) -> bool:
    return len({repr(one.get(axis)) for one in values}) > 1


def _short(value: Any) -> str:  # noqa: ANN401 - any axis' value
    return ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
