"""What a sweep found: a table over its axes, and the answer in Markdown, every number taken from its rows."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table

from raypol.core.distances import METRICS
from raypol.core.scoring import NULL
from raypol.core.spoofing.sampling import CONFIDENCE
from raypol.figures.style.arms import in_order
from raypol.report.tables import shown_conditions
from raypol.runs.trials.rows import number_of
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.rows import TrialRow

LEGEND: Final = (
    "n: trials (seeds); not ok: failed or stopped early. error: largest of the four errors (max over intervals) in units of the "
    "honest proof's, time and size likewise; medians over those that are ok, below 1 is needed. published, strict: accepted of "
    "those judged. success: accepted, all errors below the proof's, less time and storage; under published / strict. simulated: "
    "a CPU did the work of a declared GPU. estimated: from a sample of the intervals."
)
NUMBERS: Final = ("T'", "k", "n", "not ok", "error", "time", "size", "published", "strict")
"""Titles of columns that are right-justified."""
_CRAFTING: Final = ("i", "i_tail", "ii", "iii")
"""Attacks that perturb data points."""
_MOST_VALUES: Final = 24
"""Lines of an arm; what was drawn at random has as many values as trials."""
_MARKS: Final = ("simulated", "estimated")
"""Of rows that are not plain measurements; a column of each is shown if any row bears it."""


def sweep_cells(rows: Sequence[TrialRow]) -> tuple[list[str], list[list[str]]]:
    """Column titles, and a line of cells per point, seeds put together; an empty line where T' or k changes."""
    trials = [row for row in rows if not row.is_honest]
    shown = swept(trials)
    marks = [mark for mark in _MARKS if any(getattr(row, mark) for row in trials)]
    titles = [
        "arm",
        "T'",
        "k",
        *(column.title for column in shown),
        *NUMBERS[2:],
        "success",
        "bound by",
        *marks,
    ]
    groups: dict[tuple[object, ...], list[TrialRow]] = {}
    for row in trials:
        key = (row.arm, row.steps, row.interval, *(column.text(getattr(row, column.name)) or "-" for column in shown))
        groups.setdefault(key, []).append(row)
    order = {arm: number for number, arm in enumerate(in_order(row.arm for row in trials))}
    lines: list[list[str]] = []
    previous = None
    for key, group in sorted(
        groups.items(), key=lambda item: (item[0][2], item[0][1], order[str(item[0][0])], str(item[0]))
    ):
        if previous not in (None, key[1:3]):
            lines.append([])
        previous = key[1:3]
        done = [row for row in group if row.is_ok]
        lines.append(
            [
                *map(str, key),
                str(len(group)),
                str(len(group) - len(done)) if len(done) < len(group) else "",
                _number(_worst(row) for row in done),
                _number(row.ratio_time for row in done),
                _number(row.ratio_size for row in done),
                _count(group, "accepted_published"),
                _count(group, "accepted_strict"),
                f"{_count(group, 'success')} / {_count(group, 'success_strict')}",
                _bound(group),
                *("yes" if any(getattr(row, mark) for row in group) else "" for mark in marks),
            ]
        )
    return titles, lines


def swept(trials: Sequence[TrialRow]) -> list[Column]:
    """Columns beside T', k and the seed in which the trials of some arm differ."""
    found = {(row.arm, column, getattr(row, column.name)) for row in trials for column in columns_of(TrialRow, "swept")}
    values = Counter((arm, column) for arm, column, _ in found)
    return [c for c in columns_of(TrialRow, "swept") if any(values[arm, c] > 1 for arm in {row.arm for row in trials})]


def sweep_table(rows: Sequence[TrialRow]) -> RenderableType:
    """A line per point; seeds are put together."""
    titles, lines = sweep_cells(rows)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, justify="right" if title in NUMBERS else "left", no_wrap=title != "bound by")
    for line in lines:
        table.add_row(*line)
    return Group(table, "", LEGEND)


def remarks(rows: Sequence[TrialRow]) -> list[str]:
    """What must be said of rows that are not plain measurements."""
    said = []
    estimated = [row for row in rows if row.estimated]
    if estimated:
        said.append(
            f"{len(estimated)} trials are estimated from {_spread([row.intervals_verified for row in estimated])} of "
            f"{_spread([row.num_intervals for row in estimated])} intervals: with {CONFIDENCE:.0%} confidence at most "
            f"{max(row.estimate_beyond or 0 for row in estimated)} intervals of a spoof err more than its row says, in any one "
            "metric; times and sizes are extrapolated."
        )
    if any(row.simulated for row in rows):
        said.append("Some devices are simulated: a CPU did the work of a declared GPU, so their times are no GPU's.")
    return said + unchanged(rows)


def unchanged(rows: Sequence[TrialRow]) -> list[str]:
    """Attacks on data whose search left every point as it was: their spoofs are those of null, at a higher price."""
    said = []
    done = [row for row in rows if row.attack in _CRAFTING and row.crafting != "select" and row.is_ok]
    for arm in in_order(row.arm for row in done):
        own = [row for row in done if row.arm == arm]
        idle = sum(row.num_points == 0 for row in own)
        if idle:
            said.append(
                f"{arm} changed no data point in {idle} of {len(own)} trials: there its spoof is null's, at a higher price."
            )
    return said


def answer(question: str, rows: Sequence[TrialRow], *, planned: int, resumed: int = 0, stopped: str = "") -> str:
    """Markdown: what was asked, what was run, for which T' each arm succeeds, and whether it beats its control.

    Args:
        question: of the sweep.
        rows: honest ones and trials.
        planned: how many trials there are to be; 0 = not known.
        resumed: how many of them an earlier run had finished.
        stopped: why the sweep ended before all were run; empty if it did not.
    """
    trials = [row for row in rows if not row.is_honest]
    states = Counter(row.status for row in trials)
    failed = states["error"]
    said = [
        f"**{question}**",
        (f"{len(trials)} of {planned} trials have a row" if planned else f"{len(trials)} trials have a row")
        + (f" ({resumed} were finished before)" if resumed else "")
        + f": {states['ok']} ran to the end, {states['stopped']} were stopped early because they could not succeed any more, "
        f"{failed} failed.",
    ]
    if stopped:
        said.append(f"The sweep ended early: {stopped}.")
    honest = [row for row in rows if row.is_honest]
    if honest:
        accepted = sum(bool(row.accepted_strict) for row in honest)
        said.append(
            f"Honest proofs: {len(honest)}, {accepted} accepted by strict; largest normalised l2 error "
            f"{_number((row.error_l2 for row in honest), '.2g')}, {_number((row.device_s for row in honest), '.3g')} device "
            "seconds (medians)."
        )
    said += remarks(rows)
    lines = [f"- {arm}: {_outcome_of(arm, trials)}" for arm in in_order(row.arm for row in trials)]
    reasons = Counter(row.message.partition("\n")[0][:200] for row in trials if row.status == "error")
    lines += [f"- failed {count}x: {reason}" for reason, count in reasons.most_common(5)]
    return "\n\n".join(said) + "\n\n" + "\n".join(lines)


def _outcome_of(arm: str, trials: Sequence[TrialRow]) -> str:
    """At which T' the arm succeeds under both policies, and what it changes against null at the same point."""
    own = [row for row in trials if row.arm == arm]
    parts = []
    for policy, name in (("published", "success"), ("strict", "success_strict")):
        wins = sorted({row.steps for row in own if getattr(row, name)})
        if not wins:
            parts.append(f"never succeeds under {policy}")
            continue
        where = f"T' = {wins[0]}" if len(wins) == 1 else f"T' in {wins[0]} .. {wins[-1]}"
        number = sum(bool(getattr(row, name)) for row in own)
        parts.append(f"succeeds under {policy} in {number} of {len(own)} trials, {where}")
    if not any(row.is_control for row in own):
        parts.append(_against_null(own, trials))
    return "; ".join(parts) + "".join(f"\n    - {line}" for line in _by_axis(own))


def _by_axis(own: Sequence[TrialRow]) -> list[str]:
    """What an arm costs and errs at each value of what was varied beside T' and k, at most so many lines."""
    axes = columns_of(TrialRow, "swept")
    ordered = sorted(own, key=lambda row: [_place(getattr(row, axis.name)) for axis in axes])
    choices: dict[tuple[int, ...], tuple[list[str], list[str]]] = {}
    for axis in axes:
        values = [axis.text(getattr(row, axis.name)) or "-" for row in ordered]
        if len(set(values)) > 1:  # several columns may follow one choice, as the three parties' devices
            titles, of_first = choices.setdefault(tuple(map(values.index, values)), ([], values))
            if values == of_first:
                titles.append(axis.title)
    lines = []
    for titles, values in choices.values():
        for value in dict.fromkeys(values):
            some = [row for row, its in zip(ordered, values, strict=True) if its == value and row.is_ok]
            wins = sum(bool(row.success) for row in some)
            lines.append(
                f"{', '.join(titles)} {value}: {_number(row.ratio_time for row in some)}x the proof's time, "
                f"{_number(_worst(row) for row in some)}x its error, {wins} of {len(some)} succeed under published"
                + (f"; bound by {_bound(some)}" if some and not wins else "")
            )
    return lines if len(lines) <= _MOST_VALUES else []


def with_null(own: Iterable[TrialRow], trials: Iterable[TrialRow]) -> list[tuple[TrialRow, TrialRow]]:
    """Trials that ran to the end, each with that of null at the same point, where there is one."""
    columns = columns_of(TrialRow, "point")

    def key(row: TrialRow) -> tuple[object, ...]:
        return tuple(getattr(row, column.name) for column in columns)

    nulls = {key(row): row for row in trials if row.attack == NULL and row.is_ok}
    return [(row, nulls[key(row)]) for row in own if row.is_ok and key(row) in nulls]


def _against_null(own: Sequence[TrialRow], trials: Sequence[TrialRow]) -> str:
    pairs = with_null(own, trials)
    if not pairs:
        return "not compared with null: no trial of both at the same point"
    gained = sum(bool(row.success_strict) and not null.success_strict for row, null in pairs)
    lost = sum(bool(null.success_strict) and not row.success_strict for row, null in pairs)
    lower = sum(number_of(row.error_l2) < number_of(null.error_l2) for row, null in pairs)
    verdict = (
        "it changes no outcome under strict"
        if not gained and not lost
        else f"under strict it succeeds at {gained} points where null does not and fails at {lost} where null succeeds"
    )
    return f"against null at {len(pairs)} equal points its l2 error is lower at {lower}, and {verdict}"


def _place(value: object) -> tuple[bool, float, str]:
    """To sort by: numbers, then words."""
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if isinstance(value, int | float) else 0.0, str(value)


def _spread(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"


def _worst(row: TrialRow) -> float | None:
    ratios = [getattr(row, f"ratio_error_{m}") for m in METRICS]
    return None if any(ratio is None for ratio in ratios) else max(ratios)


def _number(values: Iterable[float | None], form: str = ".2f") -> str:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return format(median(known), form) if known else "-"


def _count(group: Sequence[TrialRow], name: str) -> str:
    """Of those that were judged: a trial that was stopped has no verdict."""
    judged = [row for row in group if getattr(row, name) is not None]
    return f"{sum(bool(getattr(row, name)) for row in judged)}/{len(judged)}" if judged else "-"


def _bound(group: Sequence[TrialRow]) -> str:
    """The conditions that most often do not hold; of successes the one that comes closest."""
    reasons = Counter(row.bound_by for row in group if row.bound_by)
    if not reasons:
        return next((row.message.partition("\n")[0] for row in group if row.message), "-")
    found, _ = reasons.most_common(1)[0]
    return f"closest: {shown_conditions(found)}" if all(row.success for row in group) else shown_conditions(found)
