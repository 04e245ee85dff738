"""Adaptive search: for every arm, and under every policy, the cheapest spoof that is accepted.

Each arm has a budget of forgeries. A forgery is made once, and every policy judges it; policies take turns in proposing the next
one, those first that have accepted none so far. What each wants is a study of its own (Optuna's TPE): of two accepted spoofs the
cheaper one, of two rejected ones that which fails fewer checks. When the budget is used, the cheapest accepted spoof under each
policy is made again for the other seeds.

What takes longest, with what follows from it, is run first: the points of a search follow from each other, and a long one that
begins late is waited for alone.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from raypol.core.attacks import method_of
from raypol.core.errors import InputError
from raypol.core.seeds import MAX_SEED, seed_of_32_bits
from raypol.core.spoofing.method import check_choices
from raypol.runs.designs.axes import listed
from raypol.runs.designs.design import Design
from raypol.runs.designs.dimensions import Dimension, dimensions_of
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps.forecast import trial_seconds
from raypol.runs.sweeps.judged_trial import JudgedTrial
from raypol.runs.sweeps.plan import SweepPlan
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.trials.study import Trial
from raypol.store.location import Location
from raypol.store.results.files import read_trial, read_verdicts, read_verdicts_of
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow, verdicts_by_trial
from raypol.store.retries import storage_retries

_AHEAD: Final = 2
"""Points of an arm that are tried at once."""
_DRAWS: Final = 25
"""Proposals of a study in a row that are all known, after which the next policy is asked."""
_RANDOM: Final = 4
"""Points that a study draws at random before it models anything."""


@dataclass(slots=True)
class ArmSearch:
    """The search of one arm."""

    arm: str
    design: Design
    sweep_id: str
    seed: int
    """Of Optuna."""
    seeds: tuple[int, ...]
    """Of proofs and spoofs; the search is at the first."""
    repeats: int
    """Number of the others at which what was found is made again."""
    policies: tuple[str, ...]
    budget: int
    step_work: float = 1.0
    """Work of a claimed step as declared, each search tried once, in a unit that all arms share."""
    tries: int = 1
    """The most times that a search is tried."""
    judged: dict[str, JudgedTrial] = field(default_factory=dict)
    """By trial."""
    points: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Points of the search, by trial, in order."""
    exhausted: bool = False
    """True if no study finds another new point."""
    dimensions: dict[str, Dimension] = field(init=False)
    """What is searched."""
    _trials: dict[tuple[str, int], tuple[str, Trial]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dimensions = dimensions_of(self.design.searched_axes(self.arm))

    def trial(self, point: Mapping[str, Any], seed: int) -> tuple[str, Trial]:
        """The trial of a point, with its id.

        Raises:
            InputError: choices that contradict each other.
        """
        key = (json.dumps(point, sort_keys=True, default=str), seed)
        if key not in self._trials:
            trial = trial_at(self.design, {"arm": self.arm, "seed": seed}, over=point)
            self._trials[key] = trial.trial_id(self.sweep_id), trial
        return self._trials[key]

    def known_trial(self, trial_id: str) -> Trial | None:
        """A trial that was asked for so far."""
        return dict(self._trials.values()).get(trial_id)

    def has(self, point: Mapping[str, Any]) -> bool:
        """True if a point is one of the space that is searched, and can be tried."""
        try:
            for axis, value in point.items():
                if axis not in self.dimensions:
                    return False
                self.dimensions[axis].parameter(value)
            self.trial(point, self.seeds[0])
        except InputError:
            return False
        return bool(point)

    @property
    def timed(self) -> tuple[float, int]:
        """Seconds that its trials took so far, and the steps that they claimed."""
        known = [(one.seconds, one.row.steps) for one in self.judged.values() if one.row and one.seconds > 0.0]
        return sum(seconds for seconds, _ in known), sum(steps for _, steps in known)

    def steps_behind(self, trial_id: str, trial: Trial) -> float:
        """Steps that are to be claimed from the start of a trial to the end of what follows from it: where it is of the search,
        what is left of that, several points side by side, and a repetition.
        """
        search, declared = self._search(), self.declared.spoof.steps
        if trial_id not in search:
            return float(trial.spoof.steps)
        waiting = (self.points.get(one, {}) for one in search if one not in self.judged)
        steps = [self.trial(point, self.seeds[0])[1].spoof.steps for point in waiting]
        steps += [declared] * self.to_come
        repetition = declared if self.dimensions and self.further else 0
        return sum(steps) / min(_AHEAD, len(steps)) + repetition

    @property
    def declared(self) -> Trial:
        """The arm as it was declared, at the search's seed."""
        return self.trial({}, self.seeds[0])[1]

    def as_declared(self) -> dict[str, Trial]:
        """The arm as it was declared, for every seed."""
        return dict(self.trial({}, seed) for seed in self.seeds)

    def _search(self) -> list[str]:
        """The trials at the search's seed: as declared, and the points, in order."""
        return [self.trial({}, self.seeds[0])[0], *self.points]

    def proposals(self) -> dict[str, Trial]:
        """Trials that are worth running now, by id; those that run are among them."""
        wanted = self.as_declared()
        self._extend()
        wanted |= dict(self.trial(point, self.seeds[0]) for point in self.points.values())
        if self.is_searched:
            wanted |= self.repetitions()
        return {trial_id: trial for trial_id, trial in wanted.items() if trial_id not in self.judged}

    @property
    def further(self) -> tuple[int, ...]:
        """Seeds at which the cheapest accepted spoof is made again."""
        return self.seeds[1 : 1 + self.repeats]

    @property
    def is_searched(self) -> bool:
        """True once the budget is used and every forgery at the search's seed is judged."""
        return not self.to_come and self.judged.keys() >= set(self._search())

    @property
    def to_come(self) -> int:
        """Points that the budget still lets it propose."""
        return max(self.budget - len(self.points), 0) if self.dimensions and not self.exhausted else 0

    def repetitions(self) -> dict[str, Trial]:
        """The cheapest accepted spoof under each policy, for further seeds."""
        found: dict[str, Trial] = {}
        for policy in self.policies:
            best = self.best(policy)
            if best is not None and self.judged[best].rate(policy) > 0.0:
                found |= dict(self.trial(self.points.get(best, {}), seed) for seed in self.further)
        return found

    def tried(self) -> dict[str, JudgedTrial]:
        """What came of the forgeries at the search's seed: as declared, and the points."""
        return {one: self.judged[one] for one in self._search() if one in self.judged}

    def at_every_seed(self, point: Mapping[str, Any]) -> dict[str, JudgedTrial]:
        """What came of a point at the search's seed and, as far as it was made again, at further ones."""
        found = (self.trial(point, seed)[0] for seed in (self.seeds[0], *self.further))
        return {one: self.judged[one] for one in found if one in self.judged}

    def best(self, policy: str) -> str | None:
        """The trial of the least score under a policy; None before any was judged."""
        tried = self.tried()
        return min(tried, key=lambda one: (tried[one].score(policy), one), default=None)

    def _extend(self) -> None:
        while self.to_come:
            if sum(trial_id not in self.judged for trial_id in self.points) >= _AHEAD:
                return
            point = self._next_first()
            if point is None:
                if any(trial_id not in self.judged for trial_id in self._known()):
                    return
                point = self._next()
            if point is None:
                self.exhausted = True
                return
            self.points[self.trial(point, self.seeds[0])[0]] = point

    def _next_first(self) -> Mapping[str, Any] | None:
        return next((first for first in self.design.first_points(self.arm) if self._is_new(first)), None)

    def _known(self) -> list[str]:
        """The forgeries that the next point follows from: not which happen to have ended, so that a resumed search goes the same
        way, and any number of them at once.
        """
        return self._search()[: max(len(self.points) - _AHEAD + 1, 0) + 1]

    def _next(self) -> Mapping[str, Any] | None:
        # Policies that have accepted nothing come first, then those under which a cheaper spoof may be found.
        turn, known = len(self.points), [self.judged[one] for one in self._known()]
        order = sorted(range(len(self.policies)), key=lambda i: (i - turn) % len(self.policies))
        order.sort(key=lambda i: any(one.rate(self.policies[i]) > 0.0 for one in known))
        for i in order:
            found = self._ask(self.policies[i], turn * len(self.policies) + i)
            if found is not None:
                return found
        return None

    def _ask(self, policy: str, number: int) -> Mapping[str, Any] | None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        dimensions = self.dimensions
        seed = (self.seed + number) % (MAX_SEED + 1)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed_of_32_bits(seed), n_startup_trials=_RANDOM)
        )
        for trial_id in self._known():
            if point := self.points.get(trial_id):
                study.add_trial(
                    optuna.trial.create_trial(
                        params={axis: dimensions[axis].parameter(value) for axis, value in point.items()},
                        distributions={axis: dimensions[axis].distribution for axis in point},
                        value=self.judged[trial_id].score(policy),
                    )
                )
        for _ in range(_DRAWS):
            asked = study.ask({axis: one.distribution for axis, one in dimensions.items()})
            point = {axis: one.value(asked.params[axis]) for axis, one in dimensions.items()}
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            if self._is_new(point):
                return point
        return None

    def _is_new(self, point: Mapping[str, Any]) -> bool:
        try:
            trial_id, trial = self.trial(point, self.seeds[0])
            check_choices(method_of(trial.attack), trial.attack, trial.spoof)
        except InputError:  # choices that contradict each other
            return False
        return trial_id not in self.points and trial_id not in self.as_declared()


class AdaptiveSearches:
    """The searches of a sweep, one per arm, and which trial is which."""

    def __init__(self, design: Design, sweep_id: str, *, budget: int, seed: int) -> None:
        policies = (*design.every_policy_name,)
        seeds = tuple(listed("seed", design.space["seed"])) if "seed" in design.space else (design.train.seed,)
        self.arms = {
            arm: ArmSearch(
                arm=arm,
                design=design,
                sweep_id=sweep_id,
                seed=seed,
                seeds=seeds,
                repeats=design.repeats,
                policies=policies,
                budget=design.budget(arm, budget),
            )
            for arm in design.attacks()
        }
        self._owner: dict[str, ArmSearch] = {}

    def count_work(self, estimate: int = 0) -> None:
        """Count the work of a step of each arm, which tells the longest until trials have told how long they take.

        Args:
            estimate: see `SweepOptions.estimate`.
        """
        declared = [search.declared for search in self.arms.values()]
        for search, trial, work in zip(self.arms.values(), declared, trial_seconds(declared, estimate), strict=True):
            search.step_work, search.tries = work / trial.spoof.steps, 1 + getattr(trial.attack, "retries", 0)

    def proposals(self) -> dict[str, Trial]:
        """Every trial that is worth running now, by id; those that run are among them. First is what takes longest, with what
        follows from it.
        """
        found: dict[str, Trial] = {}
        behind: dict[str, float] = {}
        of_step = self._step_seconds()
        for arm, search in self.arms.items():
            wanted = search.proposals()
            self._owner |= dict.fromkeys(wanted, search)
            found |= wanted
            behind |= {one: of_step[arm] * search.steps_behind(one, trial) for one, trial in wanted.items()}
        return {one: found[one] for one in sorted(found, key=lambda one: -behind[one])}

    def _step_seconds(self) -> dict[str, float]:
        """By arm. One of which no trial has ended takes its counted work at the pace of the others, with all its tries."""
        timed = {arm: search.timed for arm, search in self.arms.items()}
        measured = {arm: seconds / steps for arm, (seconds, steps) in timed.items() if steps}
        # Where a search may be tried again, the time does not tell how often it was.
        surely = [arm for arm in measured if self.arms[arm].tries == 1] or list(measured)
        pace = statistics.median(measured[arm] / self.arms[arm].step_work for arm in surely) if surely else 1.0
        return {arm: measured.get(arm, one.step_work * one.tries * pace) for arm, one in self.arms.items()}

    def point_of(self, trial_id: str) -> dict[str, Any] | None:
        """A point of a search as it is noted, to be found again by a resumed one; None for a trial that is no such point."""
        search = self._owner[trial_id]
        point = search.points.get(trial_id)
        return (
            None if point is None else {"arm": search.arm, "number": list(search.points).index(trial_id), "axes": point}
        )

    def record(self, trial_id: str, outcome: JudgedTrial) -> None:
        """Take the outcome of a trial that was proposed."""
        self._owner[trial_id].judged[trial_id] = outcome

    def take(
        self,
        rows: Iterable[TrialRow],
        verdicts: Iterable[VerdictRow],
        noted: Sequence[Mapping[str, Any]],
        *,
        failed: bool,
    ) -> None:
        """Take what is there already: the points of an earlier run, and the rows of trials.

        Args:
            rows: of the sweep.
            verdicts: of the sweep.
            noted: points as `point_of` gives them.
            failed: take trials that failed too; else they are proposed again.
        """
        for note in sorted(noted, key=lambda one: int(one["number"])):
            search = self.arms.get(str(note["arm"]))
            if search is not None and search.has(note["axes"]):
                search.points.setdefault(search.trial(note["axes"], search.seeds[0])[0], note["axes"])
        by_trial = verdicts_by_trial(verdicts)
        for row in rows:
            if row.arm in self.arms and (failed or row.status != "error"):
                self.arms[row.arm].judged[row.trial_id] = JudgedTrial(row=row, verdicts=by_trial.get(row.trial_id, {}))

    @property
    def most(self) -> int:
        """The number of trials if every policy had a cheapest spoof of its own, which none reaches."""
        return sum(
            len(one.seeds) + (one.budget + len(one.policies) * len(one.further)) * bool(one.dimensions)
            for one in self.arms.values()
        )

    @property
    def likely(self) -> int:
        """Trials so far, and those that are still to come if no arm repeats more than it has to by now."""
        return sum(len({*one.judged, *one.proposals()}) + one.to_come for one in self.arms.values())


@dataclass(frozen=True, slots=True)
class ReportedSearches:
    """Searches that read the outcome of a trial from its rows."""

    searches: AdaptiveSearches
    results: Location

    def proposals(self) -> dict[str, Trial]:
        """See `AdaptiveSearches`."""
        return self.searches.proposals()

    def noted(self, trial_id: str) -> dict[str, Any]:
        """The point of a search, for a resumed one to find it again."""
        point = self.searches.point_of(trial_id)
        return {} if point is None else {"point": point}

    def take_report(self, trial_id: str, report: Mapping[str, Any] | None) -> None:
        """Take the rows of a trial that reported, or was lost too often."""
        del report
        found = storage_retries(read_trial, self.results, trial_id)
        verdicts = storage_retries(read_verdicts_of, self.results, trial_id)
        outcome = JudgedTrial(row=found[0] if found else None, verdicts={one.policy: one for one in verdicts})
        self.searches.record(trial_id, outcome)


def open_searches(plan: SweepPlan, record: SweepRecord, *, failed: bool = False) -> AdaptiveSearches:
    """The searches of a plan, with what the results folder has of them."""
    searches = AdaptiveSearches(plan.design, plan.sweep_id, budget=plan.options.samples, seed=plan.options.search_seed)
    noted = [found["point"] for found in record.read_notes("points", "point")]
    verdicts = read_verdicts(record.results, sweep_id=plan.sweep_id)
    searches.take(record.rows(), verdicts, noted, failed=failed)
    return searches


def axes_text(searched: Mapping[str, Dimension]) -> str:
    """What was searched, as JSON: axis -> its values or range."""
    return json.dumps({axis: str(one) for axis, one in searched.items()}, sort_keys=True)
