"""Tables of trials: the demo's, one line per point of a sweep, every trial, attacks against their control."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from raypol.core.distances import METRICS
from raypol.figures.six_panels.success_ranges import say_conditions
from raypol.figures.style.arms import in_order
from raypol.report.conclusions import SUCCESS, null_name, pairs_with_null
from raypol.report.tables import Bad, Good, Table, TableColumn, median_of, shown, words
from raypol.runs.trials.rows import number_of, ratio_of
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.rows import TrialRow

_MARKS: Final = ("simulated", "estimated")
"""Columns of rows that are not plain measurements; each is shown if it is true of any row."""
_MOST_VALUES: Final = 24
"""Lines of an arm in the table of choices; a random search has a value per trial, and no line."""
_MOST_TRIALS: Final = 2_000
"""Lines of the table of trials; the rest is in Parquet."""


def demo_table(rows: Sequence[TrialRow]) -> Table:
    """A line per row, and one for the jump (no update) at each (T', k): it is a number, not a spoof."""
    groups: dict[str, list[tuple[TableColumn, Callable[[TrialRow], str]]]] = {
        "": [
            (TableColumn("arm", is_number=False), lambda r: r.arm),
            (TableColumn("T'"), lambda r: str(r.steps)),
            (TableColumn("k"), lambda r: str(r.interval)),
        ],
        "errors": [
            (TableColumn("verified"), lambda r: f"{r.intervals_verified}/{r.num_intervals}" if r.num_intervals else ""),
            (TableColumn("error\nl1"), lambda r: shown(r.error_l1, ".2g")),
            (TableColumn("error\nl2"), lambda r: shown(r.error_l2, ".2g")),
            (TableColumn("error\nlinf"), lambda r: shown(r.error_linf, ".2g")),
            (TableColumn("error\ncos"), lambda r: shown(r.error_cos, ".2g")),
            (TableColumn("removed\nshare"), lambda r: shown(r.removed_share_l2, ".2f")),
        ],
        "costs": [
            (TableColumn("device", "s"), lambda r: shown(r.device_s, ".2f")),
            (TableColumn("time\n/ proof's"), lambda r: shown(r.ratio_time, ".2f")),
            (TableColumn("step\nequiv."), lambda r: shown(r.step_equivalents, ".1f")),
            (TableColumn("size", "MB"), lambda r: shown(number_of(r.size_bytes) / 1e6, ".2f")),
            (TableColumn("size\n/ proof's"), lambda r: shown(r.ratio_size, ".2f")),
        ],
        "verdicts": [
            (
                TableColumn("published\nverdict", is_number=False, wraps=True),
                lambda r: _verdict(r.accepted_published, r.rejected_by_published),
            ),
            (
                TableColumn("strict\nverdict", is_number=False, wraps=True),
                lambda r: _verdict(r.accepted_strict, r.rejected_by),
            ),
        ],
        "success": [
            (TableColumn("success\npublished", is_number=False), lambda r: _success(r, r.success)),
            (TableColumn("success\nstrict", is_number=False), lambda r: _success(r, r.success_strict)),
            (TableColumn("bound by", is_number=False, wraps=True), _bound),
        ],
    }
    columns = [(replace(column, group=group), cell) for group, its in groups.items() for column, cell in its]
    lines: list[list[str]] = []
    previous = None
    for row in _with_jump(rows):
        if previous not in (None, (row.steps, row.interval)):
            lines.append([])
        previous = (row.steps, row.interval)
        lines.append([cell(row) for _, cell in columns])
    return Table(
        columns=[column for column, _ in columns],
        lines=lines,
        note="verified: intervals replayed. error: normalised reproduction error, largest over intervals (eps_repr / d_ref). "
        "removed share: (null - attack) / (null - jump) in l2; - where ordinary batches err no more than no update at all. "
        f"step equiv.: device time per claimed step in honest steps. {SUCCESS}",
    )


def points_table(trials: Sequence[TrialRow]) -> Table:
    """A line per point of a sweep, seeds put together; a gap where T' or k changes."""
    axes = swept(trials)
    marks = [mark for mark in _MARKS if any(getattr(row, mark) for row in trials)]
    groups: dict[tuple[object, ...], list[TrialRow]] = {}
    for row in trials:
        key = (row.interval, row.steps, row.arm, *(axis.text(getattr(row, axis.name)) or "-" for axis in axes))
        groups.setdefault(key, []).append(row)
    order = {arm: number for number, arm in enumerate(in_order(row.arm for row in trials))}
    lines: list[list[str]] = []
    previous = None
    for key in sorted(groups, key=lambda key: (key[0], key[1], order[str(key[2])], str(key))):
        interval, steps, arm, *values = key
        if previous not in (None, (interval, steps)):
            lines.append([])
        previous, group = (interval, steps), groups[key]
        done = [row for row in group if row.is_ok]
        lines.append(
            [
                *map(str, (arm, steps, interval, *values)),
                str(len(group)),
                str(len(group) - len(done)) if len(done) < len(group) else "",
                *_ratios(done),
                _count(group, "accepted_published"),
                _count(group, "accepted_strict"),
                f"{_count(group, 'success')} / {_count(group, 'success_strict')}",
                _bound_of(group),
                *("yes" if any(getattr(row, mark) for row in group) else "" for mark in marks),
            ]
        )
    return Table(
        columns=[
            *words("arm"), TableColumn("T'"), TableColumn("k"), *words(*(axis.title for axis in axes)),
            *map(TableColumn, ("n", "not ok", "error", "time", "size", "published", "strict")), *words("success"),
            *words("bound by", wraps=True), *words(*marks),
        ],
        lines=lines,
        note="n: trials (seeds); not ok: failed or stopped early. error: largest of the four errors (max over intervals) in "
        "units of the honest proof's, time and size likewise; medians over the trials that ran to the end, below 1 is needed. "
        f"published, strict: accepted of those judged. {SUCCESS} Under published / strict. simulated: a CPU did the work of a "
        "declared GPU. estimated: from a sample of the intervals.",
    )  # fmt: skip


def choices_table(trials: Sequence[TrialRow]) -> Table | None:
    """Time and error of an arm at each value of what was varied beside T' and k; None if nothing was."""
    axes = columns_of(TrialRow, "swept")
    lines = []
    for arm in in_order(row.arm for row in trials):
        own = sorted(
            (row for row in trials if row.arm == arm),
            key=lambda row: [_place(getattr(row, axis.name)) for axis in axes],
        )
        choices: dict[tuple[int, ...], tuple[list[str], list[str]]] = {}
        for axis in axes:
            values = [axis.text(getattr(row, axis.name)) or "-" for row in own]
            if len(set(values)) > 1:  # several columns may follow one choice, as the three parties' devices
                titles, of_first = choices.setdefault(tuple(map(values.index, values)), ([], values))
                if values == of_first:
                    titles.append(axis.title)
        some = []
        for titles, values in choices.values():
            for value in dict.fromkeys(values):
                group = [row for row, its in zip(own, values, strict=True) if its == value and row.is_ok]
                wins = sum(bool(row.success) for row in group)
                bound = _bound_of(group) if group and not wins else ""
                some.append([arm, ", ".join(titles), value, *_ratios(group)[:2], f"{wins} of {len(group)}", bound])
        lines += some if len(some) <= _MOST_VALUES else []
    columns = [*words("arm", "choice", "value"), *map(TableColumn, ("error\n/ proof's", "time\n/ proof's", "success"))]
    note = "Medians of the largest of the four errors and of the time; success under published."
    columns += words("bound by", wraps=True)
    return Table(title="Each choice alone", columns=columns, lines=lines, note=note) if lines else None


def controls_table(spoofs: Sequence[TrialRow]) -> Table:
    """Error of each arm beside ordinary batches, the share of their error that it removes, and its cost."""
    lines = []
    for arm in in_order(row.arm for row in spoofs):
        own = [row for row in spoofs if row.arm == arm]
        pairs = pairs_with_null(own, spoofs)
        shares = [row.removed_share_l2 for row in own if row.removed_share_l2 is not None]
        errors = [
            [ratio_of(getattr(row, f"error_{m}"), getattr(its, f"error_{m}")) for row, its in pairs] for m in METRICS
        ]
        lines.append(
            [
                arm,
                str(len(own)),
                str(len(pairs)),
                *(shown(median_of(ratios), ".3g") for ratios in errors),
                shown(median_of(shares), ".3g") + (f" ({len(shares)})" if shares else ""),
                shown(median_of(row.step_equivalents for row in own), ".3g"),
                f"{sum(bool(row.success) for row in own)} / {sum(bool(row.success_strict) for row in own)}",
            ]
        )
    null = null_name(spoofs) or "null"
    titles = ("n", "pairs", *(f"{m} / {null}'s" for m in METRICS), "removed share", "step equivalents", "success")
    return Table(
        columns=[*words("arm"), *map(TableColumn, titles)],
        lines=lines,
        note=f"n: trials that ran to the end; pairs: those with a trial of {null} at the same point. Errors: medians over pairs, "
        "1 = no better than ordinary batches. Removed share in l2: (null - attack) / (null - jump), the part that "
        "crafting removed of what it could; the median of the trials for which it is defined. Step equivalents: device time per "
        "claimed step in honest steps. Success under published / strict. Controls: null, ordinary batches; infinitesimal, a "
        "vanishing learning rate.",
    )


def every_trial_table(trials: Sequence[TrialRow]) -> Table:
    """A line per trial."""
    place = {arm: number for number, arm in enumerate(in_order(row.arm for row in trials))}
    ordered = sorted(trials, key=lambda row: (row.interval, row.steps, place[row.arm], row.seed, row.trial_id))
    columns = [column for column in columns_of(TrialRow) if "trials" in column.shown or column in swept(trials)]
    columns.sort(key=lambda column: column.name == "trial_id")  # the last one
    more = f"The first {_MOST_TRIALS:,} of {len(trials):,}. " if len(trials) > _MOST_TRIALS else ""
    return Table(
        title=f"All {len(trials):,} trials",
        columns=[TableColumn(column.title, is_number=column.kind in (int, float)) for column in columns],
        lines=[[_cell(row, column) for column in columns] for row in ordered[:_MOST_TRIALS]],
        note=f"{more}Every column of every row is in RESULTS/trials/*.parquet.",
        folded=True,
    )


def swept(trials: Sequence[TrialRow]) -> list[Column]:
    """Columns beside T', k and the seed in which the trials of some arm differ."""
    arms = {row.arm for row in trials}
    columns = columns_of(TrialRow, "swept")
    return [c for c in columns if len({(row.arm, getattr(row, c.name)) for row in trials}) > len(arms)]


def _with_jump(rows: Sequence[TrialRow]) -> Iterable[TrialRow]:
    """The rows with one for `jump` before the first spoof of each (T', k)."""
    shown = set()
    for row in rows:
        if row.is_ok and not row.is_honest and (row.steps, row.interval) not in shown:
            shown.add((row.steps, row.interval))
            yield TrialRow(
                sweep_id=row.sweep_id, trial_id="", proof_id="", arm="jump (no update)", attack="jump", dataset=row.dataset,
                model=row.model, steps=row.steps, interval=row.interval, batch_size=row.batch_size, seed=row.seed, device="",
                device_name="", status="ok", error_l1=row.jump_l1, error_l2=row.jump_l2, error_linf=row.jump_linf,
                error_cos=row.jump_cos,
            )  # fmt: skip
        yield row


def _verdict(accepted: bool | None, rejected_by: str | None) -> str:
    if accepted is None:
        return "-"
    return Good("accepted") if accepted else Bad("rejected: " + (rejected_by or "").replace(",", ", "))


def _success(row: TrialRow, succeeds: bool | None) -> str:
    if not row.is_ok:
        return Bad(row.status)
    return "-" if succeeds is None else Good("yes") if succeeds else Bad("no")


def _bound(row: TrialRow) -> str:
    """The conditions that do not hold; of a success the one that comes closest, of a failed trial its error."""
    if not row.is_ok:
        return row.message.partition("\n")[0]
    return ("closest: " if row.success and row.bound_by else "") + say_conditions(row.bound_by or "", "-")


def _bound_of(group: Sequence[TrialRow]) -> str:
    """The conditions that most often do not hold; of successes the one that comes closest."""
    reasons = Counter(row.bound_by for row in group if row.bound_by)
    if not reasons:
        return next((row.message.partition("\n")[0] for row in group if row.message), "-")
    found, _ = reasons.most_common(1)[0]
    return ("closest: " if all(row.success for row in group) else "") + say_conditions(found)


def _ratios(group: Sequence[TrialRow]) -> list[str]:
    """Medians of the largest of the four errors, of time and of size, in units of the proof's."""
    errors = [[number_of(getattr(row, f"ratio_error_{m}")) for m in METRICS] for row in group]
    worst = [math.nan if any(map(math.isnan, some)) else max(some) for some in errors]
    every = (worst, (row.ratio_time for row in group), (row.ratio_size for row in group))
    return [shown(median_of(values), ".2f") for values in every]


def _cell(row: TrialRow, column: Column) -> str:
    value = getattr(row, column.name)
    if column.name == "bound_by":
        return _bound(row) if value else ""
    if column.name == "accepted_strict" and value is False:
        return f"rejects: {(row.rejected_by or '').replace(',', ', ')}"
    return f"{value:.3g}" if isinstance(value, float) and column.form is None else column.text(value)


def _place(value: object) -> tuple[bool, float, str]:
    """To sort by: numbers, then words."""
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if isinstance(value, int | float) else 0.0, str(value)


def _count(group: Sequence[TrialRow], name: str) -> str:
    """Of those that were judged: a trial that was stopped has no verdict."""
    judged = [row for row in group if getattr(row, name) is not None]
    return f"{sum(bool(getattr(row, name)) for row in judged)}/{len(judged)}" if judged else "-"
