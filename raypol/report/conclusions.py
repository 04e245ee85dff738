"""Conclusions of a run: a few sentences, and a table with a line per arm. Every number is taken from the run's rows."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from raypol.core.scoring import NULL
from raypol.core.spoofing.sampling import CONFIDENCE
from raypol.figures.six_panels.success_ranges import say_conditions
from raypol.figures.style.arms import in_order
from raypol.report.front_tables import front_sentences, fronts_tables
from raypol.report.tables import Table, TableColumn, median_of, shown, to_markdown, words
from raypol.runs.trials.rows import ratio_of
from raypol.store.escaping import markdown_text
from raypol.store.results.columns import columns_of
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow

_CRAFTING: Final = ("i", "i_tail", "ii", "iii")
"""Attacks that perturb data points."""
_MOST_STEPS: Final = 6
"""T' that are listed; of more, the range and the number of trials are given."""
_MOST_REASONS: Final = 5
SUCCESS: Final = "success: accepted, all four errors below the proof's, less time and storage than the proof."


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusions:
    """What a run shows."""

    summary: Sequence[str]
    """At most five sentences."""
    remarks: Sequence[str] = ()
    """Limits of the numbers, and reasons of failures: a sentence each."""
    tables: Sequence[Table] = ()

    @property
    def prose(self) -> str:
        """Summary and remarks as Markdown."""
        return "\n\n".join(map(markdown_text, filter(None, [" ".join(self.summary), *self.remarks])))

    def markdown(self, question: str = "") -> str:
        """All of it as Markdown, below the question."""
        head = f"**{markdown_text(question)}**" if question else ""
        return "\n\n".join(filter(None, [head, self.prose, *map(to_markdown, self.tables)]))


def conclude(
    rows: Sequence[TrialRow],
    verdicts: Sequence[VerdictRow] = (),
    *,
    planned: int | None = None,
    resumed: int = 0,
    stopped: str = "",
) -> Conclusions:
    """What was run, which spoofs pass which verifier, who is on each front, and whether attacks do better than ordinary batches.

    Args:
        rows: honest ones and trials.
        verdicts: what policies say of them.
        planned: number of trials there are to be, 0 = not known; None = the run has no plan, and progress is left out.
        resumed: number of trials that an earlier run had finished.
        stopped: why the sweep ended before all were run; empty if it did not.
    """
    trials = [row for row in rows if not row.is_honest]
    done = [row for row in trials if row.is_ok]
    fronts = front_sentences(rows, verdicts)
    summary = [
        progress_sentence(trials, planned=planned, resumed=resumed) if planned is not None else "",
        _honest([row for row in rows if row.is_honest]),
        _policies(done, failed=len(trials) - len(done) if planned is None else 0) if trials and not fronts else "",
        *(_controls(done)[: 1 if fronts else None] if done else ()),
        *fronts,
    ]
    remarks = [f"The sweep ended early: {stopped}."] if stopped else []
    return Conclusions(
        summary=list(filter(None, summary)),
        remarks=remarks + limits(rows) + failures(trials),
        tables=[*([_arms(trials)] if trials else []), *fronts_tables(rows, verdicts)],
    )


def progress_sentence(trials: Sequence[TrialRow], *, planned: int = 0, resumed: int = 0) -> str:
    """How many trials have a row and how they ended."""
    states = Counter(row.status for row in trials)
    rows = f"{len(trials)} of {planned}" if planned else f"{len(trials)}"
    before = f" ({resumed} were finished before)" if resumed else ""
    stopped = (
        f"{states['stopped']} were stopped early because they could no longer succeed, " if states["stopped"] else ""
    )
    refused = f"{states['refused']} were refused, for they use what was not granted, " if states["refused"] else ""
    return (
        f"{rows} trials have a row{before}: {states['ok']} ran to the end, {stopped}{refused}{states['error']} failed."
    )


def limits(rows: Sequence[TrialRow]) -> list[str]:
    """What distinguishes rows from plain measurements."""
    found = []
    estimated = [row for row in rows if row.estimated]
    if estimated:
        found.append(
            f"{len(estimated)} trials are estimated from {_spread(row.intervals_verified for row in estimated)} of "
            f"{_spread(row.num_intervals for row in estimated)} intervals: with {CONFIDENCE:.0%} confidence at most "
            f"{max(row.estimate_beyond or 0 for row in estimated)} intervals of a spoof err more than its row says, in any one "
            "metric; times and sizes are extrapolated."
        )
    if any(row.simulated for row in rows):
        found.append("Some devices are simulated: a CPU did the work of a declared GPU, so their times are no GPU's.")
    return found


def failures(trials: Iterable[TrialRow]) -> list[str]:
    """The most frequent errors."""
    reasons = Counter(row.message.partition("\n")[0][:200] for row in trials if row.status == "error")
    return [f"Failed {count}x: {reason}" for reason, count in reasons.most_common(_MOST_REASONS)]


def pairs_with_null(own: Iterable[TrialRow], trials: Iterable[TrialRow]) -> list[tuple[TrialRow, TrialRow]]:
    """Trials that ran to the end, each with the trial of the attack null at the same point, where there is one."""
    columns = columns_of(TrialRow, "point")

    def key(row: TrialRow) -> tuple[object, ...]:
        return tuple(getattr(row, column.name) for column in columns)

    nulls = {key(row): row for row in trials if row.is_ok and row.attack == NULL}
    return [(row, nulls[key(row)]) for row in own if row.is_ok and key(row) in nulls]


def null_name(trials: Iterable[TrialRow]) -> str:
    """The name of the arm that is the control null, "null" if several are; empty if there is none."""
    names = {row.arm for row in trials if row.is_ok and row.attack == NULL}
    return names.pop() if len(names) == 1 else "null" if names else ""


def changed_nothing(own: Iterable[TrialRow]) -> str:
    """In how many trials an attack on data left every point as it was: its spoof is null's, at a higher price."""
    crafted = [row for row in own if row.is_ok and row.attack in _CRAFTING and row.crafting != "select"]
    idle = sum(row.num_points == 0 for row in crafted)
    return f"changed no data point in {idle} of {len(crafted)} trials, where its spoof is null's" if idle else ""


def _honest(proofs: Sequence[TrialRow]) -> str:
    """What the spoofs are compared with; medians of several proofs."""
    if not proofs:
        return ""
    row, several = proofs[0], len(proofs) > 1
    accuracy = median_of(row.accuracy_final and 100 * row.accuracy_final for row in proofs)
    facts = [
        *([] if several else [f"{row.model} on {row.dataset}", f"{row.steps} steps"]),
        f"{shown(accuracy, '.1f', 'unknown')} % test accuracy",
        f"{shown(median_of(row.device_s for row in proofs), '.1f', 'unknown')} device seconds",
    ]
    error = shown(median_of(row.error_l2 for row in proofs), ".2g", "unknown")
    under = f" under {row.replay_augmentation} augmentation" if row.replay_augmentation and not several else ""
    verdicts = [_judged(proofs, policy) for policy in ("published", "strict")]
    notes = f"; {row.message}" if row.message and not several else ""
    listed = f"medians: {', '.join(facts)}" if several else f"{', '.join(facts)}{notes}"
    whose = f"{len(proofs)} honest proofs ({listed}) err" if several else f"The honest proof ({listed}) errs"
    return f"{whose} by at most {error} in l2{under}; published {verdicts[0]}, strict {verdicts[1]}."


def _judged(proofs: Sequence[TrialRow], policy: str) -> str:
    accepted = sum(bool(getattr(row, f"accepted_{policy}")) for row in proofs)
    return f"accepts {accepted}" if len(proofs) > 1 else "accepts it" if accepted else "REJECTS it"


def _policies(done: Sequence[TrialRow], *, failed: int) -> str:
    """Spoofs that each verifier accepts, and spoofs that succeed."""
    names = ("accepted_published", "accepted_strict", "success", "success_strict")
    published, strict, success, success_strict = (sum(bool(getattr(row, name)) for row in done) for name in names)
    after = f"; {failed} did not run to the end" if failed else ""
    return (
        f"Of {len(done)} spoofs published accepts {published} and strict {strict}; successes: {success} under published, "
        f"{success_strict} under strict{after}."
    )


def _controls(done: Sequence[TrialRow]) -> list[str]:
    """What ordinary batches achieve alone, and what attacks add to it."""
    null = null_name(done)
    if not null:
        return ["There is no null control in this run, so no attack can be credited with anything."]
    wins = [row for row in done if row.attack == NULL and row.success_strict]
    first = (
        f"The control {null}, ordinary batches with no perturbation, itself succeeds under strict at "
        f"T' = {_steps(wins, wins)}: there the trajectory passes, not the attack."
        if wins
        else f"The control {null}, ordinary batches with no perturbation, never succeeds under strict."
    )
    pairs = pairs_with_null([row for row in done if not row.is_control], done)
    if not pairs:
        return [first, f"No attack was measured at a point where {null} was."]
    gained = [row for row, its in pairs if row.success_strict and not its.success_strict]
    published = [row for row, its in pairs if row.success and not its.success and row not in gained]
    found = f"these succeed under strict: {_names(gained)}" if gained else "no attack succeeds under strict"
    also = f"; under published alone: {_names(published)}" if published else ""
    return [first, f"Where {null} fails, {found}{also}."]


def _arms(trials: Sequence[TrialRow]) -> Table:
    """One line per arm."""
    null = null_name(trials)
    ratios = [TableColumn(f"{what}\n/ {null}'s") for what in ("error l2", "time")] if null else []
    lines = []
    for arm in in_order(row.arm for row in trials):
        own = [row for row in trials if row.arm == arm]
        pairs = pairs_with_null(own, trials)
        values = (
            _range(ratio_of(getattr(row, column), getattr(its, column)) for row, its in pairs)
            for column in ("error_l2", "device_s")
        )
        steps = sorted({row.steps for row in own})
        lines.append(
            [
                arm,
                ("" if len(steps) <= _MOST_STEPS else f"{len(steps)}: ") + _listed(steps),
                *(values if null else ()),
                _outcome(own),
                _bound(own),
            ]
        )
    return Table(
        columns=[*words("arm"), *words("points\nT'"), *ratios, *words("outcome", "bound by", wraps=True)],
        lines=lines,
        note=f"Outcome and what binds under strict; {SUCCESS} Ratios: smallest and largest over the points that both have.",
    )


def _outcome(own: Sequence[TrialRow]) -> str:
    """At which T' the arm succeeds under strict, under published alone, under neither, and what must be known beside."""
    done = [row for row in own if row.is_ok]
    strict = [row for row in done if row.success_strict]
    alone = [row for row in done if row.success and not row.success_strict]
    neither = [row for row in done if not row.success and not row.success_strict]
    parts = [f"succeeds at {_steps(strict, done)}"] if strict else []
    parts += [f"succeeds under published alone at {_steps(alone, done)}"] if alone else []
    parts += [f"fails at {_steps(neither, done)}"] if neither else []
    for status, what in (("error", "no result"), ("refused", "not granted"), ("stopped", "stopped early")):
        lost = [row for row in own if row.status == status]
        parts += [f"{what} at {_steps(lost, own)}"] if lost else []
    return "; ".join(filter(None, [*parts, changed_nothing(done)]))


def _bound(own: Sequence[TrialRow]) -> str:
    """What stops the arm under strict, and at which T'; of an arm that always succeeds the condition that comes closest."""
    done = [row for row in own if row.is_ok]
    if all(row.success_strict for row in done):
        closest = Counter(row.bound_by for row in done if row.bound_by).most_common(1)
        return f"closest: {say_conditions(closest[0][0])}" if closest else "-"
    lost = sorted((row for row in done if not row.success_strict), key=lambda row: row.steps)
    failing: dict[str, list[int]] = {}  # condition -> places in `lost`
    for place, row in enumerate(lost):
        for condition in _conditions(row):
            failing.setdefault(condition, []).append(place)
    together: dict[tuple[int, ...], list[str]] = {}
    for condition, places in failing.items():
        together.setdefault(tuple(places), []).append(condition)
    return "; ".join(
        say_conditions(",".join(conditions))
        + (f" at {_steps([lost[i] for i in places], lost)}" if len(places) < len(lost) else "")
        for places, conditions in sorted(together.items(), key=lambda item: -len(item[0]))
    )


def _conditions(row: TrialRow) -> list[str]:
    """What stops a spoof under strict: the checks that reject it and the conditions that do not hold."""
    checks = [f"rejected:{check}" for check in (row.rejected_by or "").split(",") if check]
    others = [] if row.success else [c for c in (row.bound_by or "").split(",") if c and not c.startswith("rejected:")]
    return checks + others


def _names(rows: Iterable[TrialRow]) -> str:
    by_arm: dict[str, list[TrialRow]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
    return ", ".join(f"{arm} (T' = {_steps(own, own)})" for arm, own in by_arm.items())


def _steps(some: Sequence[TrialRow], every: Sequence[TrialRow]) -> str:
    """The T' of some trials; where only a part of the trials of a T' is meant, which part."""
    part, whole = Counter(row.steps for row in some), Counter(row.steps for row in every)
    if len(part) > _MOST_STEPS:
        return f"{_listed(sorted(part))} ({len(some)} of {len(every)} trials)"
    return ", ".join(f"{s}" if part[s] == whole[s] else f"{s} ({part[s]} of {whole[s]})" for s in sorted(part))


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps)) if len(steps) <= _MOST_STEPS else f"{steps[0]} to {steps[-1]}"


def _range(values: Iterable[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    ends = [shown(value, ".2g" if value < 10 else ".0f") for value in (min(known), max(known))] if known else ["-"]
    return " to ".join(dict.fromkeys(ends))


def _spread(values: Iterable[int]) -> str:
    distinct = sorted(set(values))
    return f"{distinct[0]}" if len(distinct) == 1 else f"{distinct[0]} to {distinct[-1]}"
