"""The success ranges of a sweep: its T' axis is searched, not run through, for every arm and every other combination.

The pure search is `raypol.runs.success_range`; here it meets a sweep's arms, its trials, and the rows in the results folder.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import product, zip_longest
from typing import Any, Final, Literal

from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.scoring import Success
from raypol.runs.designs.axes import Point, is_drawn, listed
from raypol.runs.designs.design import Design
from raypol.runs.designs.points import trial_at
from raypol.runs.success_range.estimate import INTERVAL_METHOD, EndEstimate, RangeEstimate, estimate_range
from raypol.runs.success_range.search import FAILED, End, PointOutcome, RangeSearch, SearchGrid
from raypol.runs.trials.rows import number_of
from raypol.runs.trials.study import Trial
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow

PolicyName = Literal["published", "strict"]
POLICY_NAMES: Final[tuple[PolicyName, ...]] = ("published", "strict")
_RATIOS: Final = (*(f"error_{m}" for m in METRICS), "time", "size")


def search_grid(design: Design, factor: float = 2.0) -> SearchGrid:
    """The T' that a design searches: its axis `steps`, as `tune.qrandint(low, high, resolution)`.

    Raises:
        InputError: another kind of axis, a resolution that no k fits.
    """
    from ray.tune.search.sample import Integer, Quantized

    axis = {**design.space, **design.drawn}.get("steps")
    if not isinstance(axis, Integer):
        raise InputError("a range search needs the axis steps as tune.qrandint(low, high, resolution)")
    sampler = axis.get_sampler()
    quantized = isinstance(sampler, Quantized) and sampler.q > 1
    low, high = int(axis.lower), int(axis.upper) if quantized else int(axis.upper) - 1
    grid = SearchGrid(low=low, high=high, resolution=int(sampler.q) if quantized else 1, factor=factor)
    for interval in _listed(design, "interval") or [design.spoof.interval]:
        grid.check(interval)
    return grid


def cases_of(design: Design) -> list[Point]:
    """An arm and a value of every axis but T' and seed: each has a range of its own.

    Raises:
        InputError: an axis that is a distribution.
    """
    others = [axis for axis in design.space if axis not in ("steps", "seed")]
    lists = [_listed(design, axis) for axis in others]
    steps = search_grid(design).points[0]
    found: dict[str, Point] = {}
    for values in product(*lists):
        for arm in design.attacks():
            case = {"arm": arm, **dict(zip(others, values, strict=True))}
            found.setdefault(repr(trial_at(design, {**case, "steps": steps})), case)
    return list(found.values())


def seeds_of(design: Design) -> list[int]:
    """The seeds that every range is searched for."""
    return _listed(design, "seed") or [design.train.seed]


def count_ranges(design: Design, factor: float = 2.0) -> int:
    """The number of trials that a range search takes at most."""
    return len(cases_of(design)) * len(seeds_of(design)) * search_grid(design, factor).at_most()


class Ranges:
    """The searches of a sweep, one per case, and which trial is which."""

    def __init__(self, design: Design, sweep_id: str, policy: PolicyName, factor: float = 2.0) -> None:
        self.policy = policy
        self._design, self._sweep_id = design, sweep_id
        self.grid = search_grid(design, factor)
        self._cases = [(case, RangeSearch(self.grid, seeds_of(design))) for case in cases_of(design)]
        self._trials: dict[tuple[int, int, int], tuple[str, Trial]] = {}
        """(number of the case, T', seed) -> trial, with its id."""
        self._proposed: dict[str, tuple[int, int, int]] = {}

    def proposals(self) -> dict[str, Trial]:
        """Every trial that is worth running now, by id; those that run are among them."""
        found: dict[str, Trial] = {}
        # In turn, so that no arm waits for another's search to end.
        lists = [[(number, *one) for one in search.proposals()] for number, (_, search) in enumerate(self._cases)]
        for keys in zip_longest(*lists):
            for key in filter(None, keys):
                trial_id, trial = self._trial(*key)
                self._proposed[trial_id] = key
                found[trial_id] = trial
        return found

    def _trial(self, number: int, steps: int, seed: int) -> tuple[str, Trial]:
        key = (number, steps, seed)
        if key not in self._trials:
            trial = trial_at(self._design, {**self._cases[number][0], "steps": steps, "seed": seed})
            self._trials[key] = trial.trial_id(self._sweep_id), trial
        return self._trials[key]

    def noted(self, trial_id: str) -> dict[str, Any]:
        """Nothing: a range search finds its points again by itself."""
        del trial_id
        return {}

    def take_report(self, trial_id: str, report: Mapping[str, Any] | None) -> None:
        """Take what a trial reported, see `reported_outcomes`."""
        if report is None:
            self.record(trial_id, PointOutcome(success=False, bound_by=FAILED))
        elif f"success_{self.policy}" in report:
            won, bound_by = report[f"success_{self.policy}"], report[f"bound_by_{self.policy}"]
            self.record(trial_id, PointOutcome(success=bool(won), bound_by=bound_by))

    def record(self, trial_id: str, outcome: PointOutcome) -> None:
        """Take the outcome of a trial that was proposed."""
        number, steps, seed = self._proposed[trial_id]
        self._cases[number][1].record(steps, seed, outcome)

    def take(self, rows: Iterable[TrialRow], *, failed: bool) -> None:
        """Take the outcomes that are there already, whatever led to them.

        Args:
            rows: of the sweep.
            failed: take those without a verdict too; else they are proposed again.
        """
        for row in rows:
            outcome = outcome_of(row, self.policy)
            search = self._search_of(row)
            if search is not None and (failed or outcome.bound_by != FAILED):
                search.record(row.steps, row.seed, outcome)

    def _search_of(self, row: TrialRow) -> RangeSearch | None:
        """The search that a trial belongs to."""
        for number, (case, search) in enumerate(self._cases):
            if (
                case["arm"] == row.arm
                and row.seed in search.seeds
                and row.steps in self.grid.points
                and self._trial(number, row.steps, row.seed)[0] == row.trial_id
            ):
                return search
        return None

    @property
    def num_trials(self) -> int:
        """Trials whose outcome is known."""
        return sum(search.num_trials for _, search in self._cases)

    @property
    def num_grid(self) -> int:
        """Trials of the grid of the same resolution."""
        return sum(search.num_grid for _, search in self._cases)

    def estimates(self) -> list[RangeEstimate]:
        """What is known of every case; controls first."""
        return [
            estimate_range(str(case["arm"]), search, {axis: value for axis, value in case.items() if axis != "arm"})
            for case, search in self._cases
        ]


def outcome_of(row: TrialRow, policy: PolicyName) -> PointOutcome:
    """The outcome of a row under a policy; `bound_by` of the row itself is of the published one."""
    won = row.success if policy == "published" else row.success_strict
    if row.status == "error" or won is None:
        return PointOutcome(success=False, bound_by=FAILED)
    if row.status == "stopped":
        return PointOutcome(success=False, bound_by=row.bound_by or FAILED)
    accepted = row.accepted_published if policy == "published" else row.accepted_strict
    rejected = row.rejected_by_published if policy == "published" else row.rejected_by
    ratios = {name: number_of(getattr(row, f"ratio_{name}")) for name in _RATIOS}
    judged = Success(accepted=bool(accepted), rejected_by=rejected or "", ratios=ratios)
    return PointOutcome(success=won, bound_by=judged.bound_by)


def reported_outcomes(row: TrialRow) -> dict[str, Any]:
    """A trial's report to the searcher: under each policy whether it succeeded, as 0 or 1, and what binds."""
    reported: dict[str, Any] = {}
    for policy in POLICY_NAMES:
        outcome = outcome_of(row, policy)
        reported |= {f"success_{policy}": float(outcome.success), f"bound_by_{policy}": outcome.bound_by}
    return reported


def range_rows(
    estimates: Iterable[RangeEstimate], grid: SearchGrid, sweep_id: str, policy: PolicyName
) -> list[RangeRow]:
    """The rows of a search: for each arm one over its seeds, then one per seed."""
    return [row for one in estimates for row in _rows(one, grid, sweep_id, policy)]


def _rows(found: RangeEstimate, grid: SearchGrid, sweep_id: str, policy: PolicyName) -> list[RangeRow]:
    def row(seed: int | None, low: Mapping[str, Any], high: Mapping[str, Any], **columns: Any) -> RangeRow:  # noqa: ANN401
        ends = {f"{side}_{name}": value for side, end in (("low", low), ("high", high)) for name, value in end.items()}
        return RangeRow(
            sweep_id=sweep_id,
            policy=policy,
            arm=found.arm,
            axes=json.dumps(dict(found.axes), sort_keys=True, default=str),
            seed=seed,
            searched_from_steps=grid.points[0],
            searched_to_steps=grid.points[-1],
            resolution_steps=grid.resolution,
            **ends,
            **columns,
        )

    over_seeds = row(
        None,
        _median_end(found.lower),
        _median_end(found.upper),
        num_seeds=len(found.seeds),
        num_found=found.num_found,
        confidence=found.lower.confidence if found.lower else None,
        method=INTERVAL_METHOD,
        num_holes=sum(len(seed.holes) for seed in found.seeds),
        trials=found.trials,
        grid_trials=found.grid,
        failed=found.failed,
        complete=found.is_done,
    )
    return [over_seeds] + [
        row(
            one.seed,
            _seed_end(one.lower, outer="from"),
            _seed_end(one.upper, outer="to"),
            num_seeds=1,
            num_found=int(one.lower is not None),
            confidence=None,
            method="bracket of one seed",
            num_holes=len(one.holes),
            trials=one.trials,
            grid_trials=len(grid.points),
            failed=one.failed,
            complete=one.is_done,
        )
        for one in found.seeds
    ]


_END: Final = ("steps", "from_steps", "to_steps", "open", "bound_by")


def _median_end(end: EndEstimate | None) -> dict[str, Any]:
    values = (end.value, *end.interval, end.is_open, end.bound_by) if end else (None,) * len(_END)
    return dict(zip(_END, values, strict=True))


def _seed_end(end: End | None, *, outer: Literal["from", "to"]) -> dict[str, Any]:
    if end is None:
        return dict.fromkeys(_END)
    bracket = (end.failure, end.success) if outer == "from" else (end.success, end.failure)
    return dict(zip(_END, (end.success, *bracket, end.failure is None, end.bound_by), strict=True))


def _listed(design: Design, axis: str) -> list[Any]:
    """The values of an axis; none if the design has no such axis."""
    if axis not in design.space:
        return []
    values = design.space[axis]
    if is_drawn(values):
        raise InputError(f"axis {axis} is a distribution; a range search needs values to list, as tune.grid_search")
    return listed(axis, values)
