"""Making parts of standing results again: cells of the rows that are there, and rows of a part of the trials, to compare."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from raypol.core.errors import InputError
from raypol.runs.arena.cells import cells_of
from raypol.runs.arena.standing import ArenaRows
from raypol.runs.arena.tasks import TASKS, TaskName
from raypol.runs.designs.design import Design, SizeName
from raypol.runs.sweeps.adaptive import AdaptiveSearches
from raypol.runs.sweeps.calibrated import judged_by
from raypol.runs.sweeps.plan import SweepOptions, SweepPlan, plan_sweep
from raypol.runs.trials.rows import number_of
from raypol.runs.trials.study import Trial
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow

_SIZES: Final[tuple[SizeName, ...]] = ("standard", "smoke", "paper")


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One trial then and now."""

    then: TrialRow
    now: TrialRow
    verdicts: int
    """Policies that judged it both times."""
    differing: tuple[str, ...]
    """Policies whose verdict is another."""

    @property
    def error_change(self) -> float:
        """Relative difference of the largest error in l2; 0 where neither has one."""
        a, b = number_of(self.then.error_l2), number_of(self.now.error_l2)
        if math.isnan(a) and math.isnan(b):
            return 0.0
        return abs(a - b) / max(abs(a), 1e-12) if not (math.isnan(a) or math.isnan(b)) else math.inf


def trials_of(arena: ArenaRows) -> dict[str, Trial]:
    """The trials of standing results as they can be asked for again, by id; those whose declaration has changed are missing."""
    searches = AdaptiveSearches(design_of(arena), arena.sweep_id, budget=1, seed=0)
    searches.take([], [], list(arena.points.values()), failed=True)
    found: dict[str, Trial] = {}
    for search in searches.arms.values():
        for point in ({}, *search.points.values()):
            for seed in search.seeds:
                trial_id, trial = search.trial(point, seed)
                found[trial_id] = trial
    there = {row.trial_id for row in arena.trials if row.is_ok and not row.estimated}
    return {trial_id: trial for trial_id, trial in found.items() if trial_id in there}


def with_cells(arena: ArenaRows) -> ArenaRows:
    """The same rows with the cells that this version's rules make of them.

    Raises:
        InputError: an arena of no task of this version, or one whose trials are declared otherwise here than they were.
    """
    design, before = design_of(arena), arena.cells
    searches = AdaptiveSearches(design, arena.sweep_id, budget=max(cell.budget for cell in before), seed=0)
    searches.take(arena.trials, arena.verdicts, list(arena.points.values()), failed=True)
    task, size = _task_of(arena.sweep_id)
    command = f"raypol arena --task {task} --size {size}"  # without folders of whoever ran it
    made = cells_of(searches, design, arena.trials, arena.verdicts, sweep_id=arena.sweep_id, command=command)
    if lost := sorted({f"{one.arm} ({one.mode})" for one in before} - {f"{one.arm} ({one.mode})" for one in made}):
        raise InputError(f"{arena.sweep_id}: no trial is declared here as it was then of {', '.join(lost)}")
    return replace(arena, cells=tuple(made))


def recheck_plan(arena: ArenaRows, share: float, seed: int) -> SweepPlan:
    """A plan of a random part of the trials of standing results.

    Args:
        arena: what is checked.
        share: of its trials, in (0, 1].
        seed: of the draw.

    Raises:
        InputError: an arena of no task of this version, or none of whose trials can be asked for again.
    """
    if not 0.0 < share <= 1.0:
        raise InputError(f"expected a share in (0, 1], got {share}")
    trials = trials_of(arena)
    if not trials:
        raise InputError(f"no trial of {arena.sweep_id} is declared here as it was then: its rows cannot be made again")
    drawn = random.Random(seed).sample(sorted(trials), max(round(share * len(trials)), 1))
    task, size = _task_of(arena.sweep_id)
    design = replace(design_of(arena), more_honest=())
    plan = plan_sweep(
        TASKS[task], size, design, SweepOptions(name=arena.sweep_id, search="adaptive", confirmed=True, keep="none")
    )
    chosen = tuple(trials[trial_id] for trial_id in drawn)
    return replace(
        plan,
        options=replace(plan.options, search="grid"),
        trials=chosen,
        num_trials=len(chosen),
        asked={**plan.asked, "part": str(drawn)},
    )


def compare_rows(arena: ArenaRows, rows: Sequence[TrialRow], verdicts: Sequence[VerdictRow]) -> list[Comparison]:
    """Each trial that was run again, beside its standing row."""
    then = {row.trial_id: row for row in arena.trials}
    before = {(one.trial_id, one.policy_sha256): one for one in arena.verdicts}
    found = []
    for row in rows:
        if row.is_honest or row.trial_id not in then:
            continue
        pairs = [
            (before.get((one.trial_id, one.policy_sha256)), one) for one in verdicts if one.trial_id == row.trial_id
        ]
        known = [(a, b) for a, b in pairs if a is not None]
        differing = tuple(
            b.policy for a, b in known if (a.accepted, a.accepted_nonces) != (b.accepted, b.accepted_nonces)
        )
        found.append(Comparison(then=then[row.trial_id], now=row, verdicts=len(known), differing=differing))
    return found


def other_processors(found: Sequence[Comparison]) -> str:
    """Why differences may mean nothing: the rows were made on other processors; empty if on the same ones."""
    then, now = {one.then.device_name for one in found}, {one.now.device_name for one in found}
    if then == now:
        return ""
    return (
        f"the rows that stand were made on {', '.join(sorted(then))}, these on {', '.join(sorted(now))}: another processor "
        "rounds otherwise, and verdicts near a limit may differ without anything being wrong"
    )


def time_ratio(found: Sequence[Comparison]) -> float:
    """Median of the costs in units of the honest proof's, now over then."""
    ratios = [number_of(one.now.ratio_working) / one.then.ratio_working for one in found if one.then.ratio_working]
    return median(ratios) if ratios else math.nan


def _task_of(sweep_id: str) -> tuple[TaskName, SizeName]:
    for task, sweep in TASKS.items():
        for size in _SIZES:
            if sweep_id == f"{sweep.name}-{size}":
                return task, size
    raise InputError(
        f"{sweep_id} is no arena of this version; possible: "
        f"{', '.join(f'{sweep.name}-{size}' for sweep in TASKS.values() for size in _SIZES)}"
    )


def design_of(arena: ArenaRows) -> Design:
    """The design of standing results."""
    task, size = _task_of(arena.sweep_id)
    return judged_by(TASKS[task].at(size), arena.policies)
