"""The adaptive search, driven without Ray by an invented truth: what is tried, in which order, and after an interruption."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from ray.tune.search import Searcher

from raypol.core.attacks.iii import AttackIII
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.seeds import MAX_SEED
from raypol.core.verification.policies import strict
from raypol.runs.arena.contenders import HONEST_START
from raypol.runs.arena.tasks import TASKS
from raypol.runs.designs.design import Arm, Design, Sweep
from raypol.runs.sweeps.adaptive import AdaptiveSearches, ArmSearch, ReportedSearches, open_searches
from raypol.runs.sweeps.judged_trial import JudgedTrial
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep
from raypol.runs.sweeps.record import SweepRecord
from raypol.runs.sweeps.searchers import ProposingSearcher
from raypol.runs.trials.study import Trial
from raypol.store.location import open_location
from raypol.store.results.files import write_trial
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from tests.rows import made_row, made_verdict
from tests.studies import TRAIN

RANDOM: Final = replace(strict, name="random", selection="random")
SEARCHED: Final = Arm(
    "forged_momentum",
    {"steps": 20},
    {"steps": tune.qlograndint(10, 320, 10), "spoof.declares": tune.choice(["honest_schedule", "no_momentum"])},
    ({"steps": 320, "spoof.declares": "no_momentum"}, {"steps": 10, "spoof.declares": "honest_schedule"}),
)
DESIGN: Final = Design(
    train=TRAIN,
    arms={"null": Arm("null"), "searched": SEARCHED, "declared": Arm("forged_momentum", {"steps": 30})},
    space={"seed": tune.grid_search([4, 5, 6])},
    policies=(RANDOM,),
    repeats=2,
)
POLICIES: Final = ("published", "strict", "random")
BUDGET: Final = 9
Truth = Callable[[Trial], Mapping[str, int]]
"""Trial -> policy -> of 100 nonces those that accept it; below 0: the number of checks that reject it."""


def truth(trial: Trial) -> dict[str, int]:
    """Published accepts T' >= 100, random half of the time T' <= 50, strict nothing."""
    steps = trial.spoof.steps
    return {
        "published": 100 if steps >= 100 else -1,
        "strict": -2 if trial.spoof.declares == "no_momentum" else -3,
        "random": 50 if steps <= 50 else -1,
    }


def cost_of(trial: Trial) -> float:
    return trial.spoof.steps / 320 + 0.01 * trial.spoof.seed


def outcome_of(trial_id: str, trial: Trial, says: Mapping[str, int]) -> JudgedTrial:
    errors: dict[str, Any] = dict.fromkeys([f"ratio_error_{m}" for m in METRICS], 100.0 / trial.spoof.steps)
    row = replace(
        made_row(0), trial_id=trial_id, arm=trial.arm, steps=trial.spoof.steps, seed=trial.spoof.seed,
        ratio_working=cost_of(trial), **errors,
    )  # fmt: skip
    verdicts = {}
    for policy, number in says.items():
        rejected_by = ",".join(["replay", "buffers", "hashes"][:-number]) if number <= 0 else ""
        of = {"nonces": 100, "accepted_nonces": max(number, 0)} if policy == "random" else {}
        verdicts[policy] = made_verdict(row, policy, rejected_by, **of)
    return JudgedTrial(row=row, verdicts=verdicts)


FAILED: Final = JudgedTrial(row=replace(made_row(0), status="error", success=None))


@dataclass
class Run:
    """What came of driving searches as Tune does, and what a resumed run finds of it."""

    searches: AdaptiveSearches
    started: list[str] = field(default_factory=list)
    """In order, each `arm, axes or "declared", seed`."""
    notes: list[dict[str, Any]] = field(default_factory=list)
    outcomes: dict[str, JudgedTrial] = field(default_factory=dict)

    def points(self, arm: str = "searched") -> list[str]:
        return [json.dumps(point, sort_keys=True) for point in self.searches.arms[arm].points.values()]


def searches_of(design: Design = DESIGN, *, budget: int = BUDGET, seed: int = 0) -> AdaptiveSearches:
    return AdaptiveSearches(design, "sweep", budget=budget, seed=seed)


def drive(
    searches: AdaptiveSearches,
    answer: Callable[[str, Trial], JudgedTrial],
    *,
    at_once: int = 1,
    most: int = 10_000,
    newest_first: bool = False,
) -> Run:
    """As `ProposingSearcher` and Tune: up to `at_once` run, points are noted as trials start. Ends after `most` outcomes."""
    run, running = Run(searches), dict[str, Trial]()
    while len(run.outcomes) < most:
        proposed = searches.proposals()
        wanted = next((one for one in proposed if one not in running), None) if len(running) < at_once else None
        if wanted is not None:
            assert wanted not in run.outcomes, "nothing is run twice"
            running[wanted] = proposed[wanted]
            run.started.append(wanted)
            if note := searches.point_of(wanted):
                run.notes.append(json.loads(json.dumps(note)))
            continue
        if not running:
            return run
        ended = list(running)[-1 if newest_first else 0]
        run.outcomes[ended] = answer(ended, running.pop(ended))
        searches.record(ended, run.outcomes[ended])
    return run


def by_truth(trial_id: str, trial: Trial) -> JudgedTrial:
    return outcome_of(trial_id, trial, truth(trial))


def resumed(before: Run, design: Design = DESIGN, *, failed: bool = False, **options: int) -> AdaptiveSearches:
    searches = searches_of(design, **options)
    rows = [one.row for one in before.outcomes.values() if one.row is not None]
    verdicts = [verdict for one in before.outcomes.values() for verdict in one.verdicts.values()]
    searches.take(rows, verdicts, list(reversed(before.notes)), failed=failed)
    return searches


# --- in which order --------------------------------------------------------------------------------------------------


def took(trial_id: str, trial: Trial, seconds: float) -> JudgedTrial:
    outcome = outcome_of(trial_id, trial, truth(trial))
    assert outcome.row is not None
    return replace(outcome, row=replace(outcome.row, device_s=0.75 * seconds, verify_s=0.25 * seconds))


def arms_of(searches: AdaptiveSearches) -> list[str]:
    """Of the proposals, each once."""
    return list(dict.fromkeys(trial.arm for trial in searches.proposals().values()))


def test_what_takes_longest_with_what_follows_from_it_is_first() -> None:
    searches = searches_of()
    assert arms_of(searches)[0] == "searched", "ten trials that follow from each other"
    searches.arms["declared"].step_work = 1e3
    assert arms_of(searches)[0] == "declared"
    declared = searches.arms["declared"].as_declared()
    for trial_id, trial in list(declared.items())[:2]:
        searches.record(trial_id, took(trial_id, trial, 0.1))
    searched = searches.arms["searched"].as_declared()
    trial_id, trial = next(iter(searched.items()))
    searches.record(trial_id, took(trial_id, trial, 5.0))
    assert arms_of(searches)[0] == "searched", "measured times replace counted work"
    assert arms_of(searches)[-1] == "declared"


def test_points_go_before_other_seeds_of_their_arm() -> None:
    searches = searches_of()
    search = searches.arms["searched"]
    of_arm = [trial_id for trial_id, trial in searches.proposals().items() if trial.arm == "searched"]
    assert set(of_arm[:3]) == {*search.points, search.trial({}, 4)[0]}
    assert set(of_arm[3:]) == {search.trial({}, seed)[0] for seed in (5, 6)}


def test_what_may_be_tried_again_is_counted_with_all_its_tries() -> None:
    tries = Arm(AttackIII(iterations=2, retries=30))
    once = Arm(AttackIII(iterations=2, retries=0))
    searches = searches_of(replace(DESIGN, arms={"null": Arm("null"), "once": once, "tries": tries}))
    searches.count_work()
    arms = searches.arms
    assert arms["tries"].step_work == pytest.approx(arms["once"].step_work)
    assert arms["once"].step_work > arms["null"].step_work > 0.0
    assert (arms["tries"].tries, arms["once"].tries) == (31, 1)
    assert arms_of(searches)[:2] == ["tries", "once"]
    # Quick, because no search was tried again: that tells nothing of how long the others take.
    trial_id, trial = next(iter(arms["tries"].as_declared().items()))
    null_id, null = next(iter(arms["null"].as_declared().items()))
    searches.record(trial_id, took(trial_id, trial, 2.0 * trial.spoof.steps))
    searches.record(null_id, took(null_id, null, 1.0 * null.spoof.steps))
    assert arms_of(searches)[0] == "once"


def test_a_forgery_that_was_taken_up_again_tells_the_time_of_all_its_parts() -> None:
    row = replace(made_row(0), wall_s=0.1, device_s=8.0, verify_s=2.0)
    assert JudgedTrial(row=row).seconds == 10.0
    assert math.isnan(JudgedTrial(row=replace(row, device_s=None)).seconds)
    assert math.isnan(JudgedTrial(row=None).seconds)


def test_repetitions_wait_for_the_search_alone() -> None:
    searches = searches_of()
    search = searches.arms["searched"]
    while not search.is_searched:
        wanted = search.proposals()
        for trial_id in [one for one in wanted if one in search.points or wanted[one].spoof.seed == 4]:
            search.judged[trial_id] = by_truth(trial_id, wanted[trial_id])
    declared = set(search.as_declared())
    assert len(declared & set(search.judged)) == 1, "other seeds are not made yet"
    assert set(search.repetitions()) - declared, "and what was found can be made again"


@pytest.mark.parametrize("slow", ["searched", "declared", "null"])
def test_workers_are_busy_to_the_end(slow: str) -> None:
    """No order ends sooner than the work of all over the workers, or the longest search."""
    lines = {f"line {i}": Arm("forged_momentum", {"steps": 30}) for i in range(12)}
    searches = searches_of(replace(DESIGN, arms={**lines, **DESIGN.arms}))
    of_step = {arm: 0.05 if arm == slow else 0.01 for arm in searches.arms}
    now, busy, running = 0.0, 0.0, dict[str, tuple[float, Trial]]()
    while True:
        proposed = searches.proposals()
        while len(running) < 2 and (wanted := next((one for one in proposed if one not in running), None)):
            seconds = of_step[proposed[wanted].arm] * proposed[wanted].spoof.steps
            running[wanted] = now + seconds, proposed[wanted]
            busy += seconds
        if not running:
            break
        ended = min(running, key=lambda one: running[one][0])
        now, trial = running.pop(ended)
        searches.record(ended, took(ended, trial, of_step[trial.arm] * trial.spoof.steps))
    assert now <= 1.1 * busy / 2


# --- what is tried ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_the_whole_of_a_search(at_once: int) -> None:
    searches = searches_of()
    run = drive(searches, by_truth, at_once=at_once)
    search = searches.arms["searched"]
    assert len(search.points) == BUDGET, "the budget is used"
    assert len(set(run.points())) == BUDGET, "every point is another"
    assert list(search.points.values())[:2] == list(SEARCHED.first)
    assert list(searches.arms) == ["infinitesimal", "null", "searched", "declared"]
    for arm, one in searches.arms.items():
        seeds = sorted(one.judged[trial_id].row.seed for trial_id in one.as_declared())  # type: ignore[union-attr]
        assert seeds == [4, 5, 6], "as declared, under every seed"
        assert (arm == "searched") is bool(one.points)
    declared_and_points = {*search.as_declared(), *search.points}
    repeated = set(search.judged) - declared_and_points
    best = {search.best(policy) for policy in ("published", "random")}
    assert repeated == {search.trial(search.points.get(str(one), {}), seed)[0] for one in best for seed in (5, 6)}
    assert len(run.outcomes) <= searches.most
    assert searches.likely == len(run.outcomes) == len(run.started)
    assert not searches.proposals()


def test_any_number_at_once_in_any_order_of_ending_tries_the_same() -> None:
    runs = [
        drive(searches_of(), by_truth, at_once=at_once, newest_first=newest)
        for at_once, newest in ((1, False), (4, False), (4, True), (50, True))
    ]
    assert all(run.points() == runs[0].points() for run in runs)
    assert all(set(run.outcomes) == set(runs[0].outcomes) for run in runs)


def test_it_finds_the_cheapest_accepted_spoof_of_a_small_space() -> None:
    """16 of 32 times 2 points: published is cheapest at T' = 100, random at the lowest T'."""
    searches = searches_of(budget=30)
    drive(searches, by_truth)
    search = searches.arms["searched"]
    best = {policy: search.points.get(str(search.best(policy)), {}) for policy in POLICIES}
    assert 100 <= best["published"]["steps"] <= 130
    assert best["random"]["steps"] == 10
    assert best["strict"]["spoof.declares"] == "no_momentum", "which fails fewer checks"


def test_a_policy_that_has_accepted_nothing_is_asked_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []
    ask = ArmSearch._ask

    def told(self: ArmSearch, policy: str, number: int) -> Any:  # noqa: ANN401 - a point
        asked.append((len(self.points), policy))
        return ask(self, policy, number)

    monkeypatch.setattr(ArmSearch, "_ask", told)
    drive(searches_of(), by_truth)
    assert [number for number, _ in asked] == list(range(2, BUDGET)), "after the first points"
    later = [policy for number, policy in asked if number > 3]
    assert set(later) == {"strict"}, "the others were broken by the first points"
    asked.clear()
    drive(searches_of(), lambda trial_id, trial: outcome_of(trial_id, trial, dict.fromkeys(POLICIES, -1)))
    turns = [policy for _, policy in asked]
    assert turns == [POLICIES[number % 3] for number in range(2, BUDGET)], "all in turn where none accepts"
    asked.clear()
    drive(searches_of(), lambda trial_id, trial: outcome_of(trial_id, trial, dict.fromkeys(POLICIES, 100)))
    assert [policy for _, policy in asked] == turns, "and where all accept"


def test_only_accepted_best_points_are_repeated_and_a_declared_one_counts() -> None:
    def nothing(trial_id: str, trial: Trial) -> JudgedTrial:
        return outcome_of(trial_id, trial, dict.fromkeys(POLICIES, -1))

    searches = searches_of()
    run = drive(searches, nothing)
    assert len(run.outcomes) == 4 * 3 + BUDGET, "nothing is repeated"

    def declared_is_best(trial_id: str, trial: Trial) -> JudgedTrial:
        is_declared = trial.spoof.steps == 20 and trial.spoof.declares == "honest_schedule"
        return outcome_of(trial_id, trial, dict.fromkeys(POLICIES, 100 if is_declared else -1))

    searches = searches_of()
    run = drive(searches, declared_is_best)
    search = searches.arms["searched"]
    assert search.best("strict") in search.as_declared()
    assert len(run.outcomes) == 4 * 3 + BUDGET, "it was run under every seed already"


@pytest.mark.parametrize("budget", [0, 1, 2, 3])
def test_small_budgets_are_kept(budget: int) -> None:
    searches = searches_of(budget=budget)
    run = drive(searches, by_truth)
    assert run.points() == [json.dumps(one, sort_keys=True) for one in SEARCHED.first[:budget]][:2] + run.points()[2:]
    assert len(run.points()) == budget
    assert len(run.outcomes) <= searches.most


def test_a_space_that_is_used_up_ends_the_search() -> None:
    few = {"spoof.declares": tune.choice(["honest_schedule", "no_momentum", "published"])}
    design = replace(DESIGN, arms={"searched": Arm("null", {"steps": 20}, few)})
    searches = searches_of(design, budget=50)
    drive(searches, by_truth)
    search = searches.arms["searched"]
    assert search.exhausted
    assert sorted(point["spoof.declares"] for point in search.points.values()) == ["no_momentum", "published"]
    assert not searches.proposals()
    assert searches.likely == len({one for arm in searches.arms.values() for one in arm.judged})


def test_choices_that_contradict_each_other_are_no_points() -> None:
    starts = {"trajectory.start": tune.choice(["honest", "bound"]), "spoof.share": tune.choice(["", "ab" * 16])}
    contradiction = {"trajectory.start": "bound", "spoof.share": ""}
    design = replace(DESIGN, arms={"searched": Arm("null", {"steps": 20}, starts, (contradiction,))})
    searches = searches_of(design, budget=50)
    drive(searches, by_truth)
    found = {
        (point["trajectory.start"], bool(point["spoof.share"])) for point in searches.arms["searched"].points.values()
    }
    assert found == {("honest", False), ("bound", True)}


def test_the_largest_seed_of_a_search_is_one() -> None:
    assert len(drive(searches_of(seed=MAX_SEED), by_truth).points()) == BUDGET


def test_another_seed_searches_elsewhere() -> None:
    assert drive(searches_of(seed=1), by_truth).points() != drive(searches_of(seed=100), by_truth).points()


# --- scores ----------------------------------------------------------------------------------------------------------


def scored(cost: float | None, says: int, error: float | None = 1.0, policy: str = "random") -> float:
    trial = searches_of().arms["searched"].trial({}, 4)[1]
    found = outcome_of("x", trial, {policy: says})
    assert found.row is not None
    changes: dict[str, Any] = {"ratio_working": cost, **dict.fromkeys([f"ratio_error_{m}" for m in METRICS], error)}
    return replace(found, row=replace(found.row, **changes)).score(policy)


def test_scores_order_what_was_tried() -> None:
    """Cheap and accepted, dear, seldom accepted, rejected by few checks, nearly right, by many, without verdict."""
    ordered = [
        scored(0.0, 100),
        scored(0.1, 100),
        scored(0.1, 50),
        scored(0.5, 100),
        scored(0.4, 50),
        scored(900.0, 100),
        scored(900.0, 1),
        scored(1e9, 1),
        scored(0.1, -1, error=0.0),
        scored(0.1, -1, error=5.0),
        scored(0.1, -1, error=1e50),
        scored(0.1, -1, error=math.inf),
        scored(0.1, -2, error=0.0),
        scored(0.1, -3, error=math.nan),
        FAILED.score("random"),
    ]
    assert ordered == sorted(ordered)
    assert len(set(ordered)) == len(ordered)
    assert scored(None, 100) == JudgedTrial(row=None).score("random") == FAILED.score("random")
    assert scored(0.1, -1, error=None) == scored(0.1, -1, error=math.inf)


def test_one_error_that_is_no_number_hides_behind_no_other() -> None:
    found = outcome_of("x", searches_of().arms["searched"].trial({}, 4)[1], {"strict": -1})
    assert found.row is not None
    scores = {
        replace(found, row=replace(found.row, **{f"ratio_error_{m}": math.nan})).score("strict")  # type: ignore[arg-type]
        for m in METRICS
    }
    assert len(scores) == 1


def test_a_verdict_without_nonces_is_of_one() -> None:
    row = made_row(0)
    for rejected_by, rate in (("", 1.0), ("replay", 0.0)):
        old = made_verdict(row, "strict", rejected_by, accepted_nonces=None)
        assert JudgedTrial(row=row, verdicts={"strict": old}).rate("strict") == rate
    assert JudgedTrial(row=row).rate("strict") == 0.0


# --- interruptions ---------------------------------------------------------------------------------------------------


@cache
def whole() -> Run:
    return drive(searches_of(), by_truth)


@given(st.integers(0, 25), st.sampled_from([1, 2, 5]), st.sampled_from([1, 2, 5]))
@settings(max_examples=30)
def test_a_resumed_search_goes_on_as_if_it_had_not_ended(ended_after: int, first: int, then: int) -> None:
    before = drive(searches_of(), by_truth, at_once=first, most=ended_after)
    after = drive(resumed(before), by_truth, at_once=then)
    assert after.points() == whole().points()
    assert not set(before.outcomes) & set(after.outcomes), "nothing again"
    assert {*before.outcomes, *after.outcomes} == set(whole().outcomes), "nothing else, and nothing less"


@pytest.mark.parametrize("policy_of_failures", [0, 1])
def test_failed_trials_are_points_and_are_tried_again_by_a_resumed_search(policy_of_failures: int) -> None:
    def fails(trial_id: str, trial: Trial) -> JudgedTrial:
        if trial.arm == "searched" and trial.spoof.steps % 20 == 10 * policy_of_failures:
            assert FAILED.row is not None
            return replace(FAILED, row=replace(FAILED.row, trial_id=trial_id, arm=trial.arm))
        return by_truth(trial_id, trial)

    before = drive(searches_of(), fails)
    search = before.searches.arms["searched"]
    assert len(search.points) == BUDGET
    assert not before.searches.proposals(), "a failed one is not tried again by the same run"
    broken = {one for one, outcome in before.outcomes.items() if not outcome.verdicts}
    assert broken
    assert all(search.judged[one].score("published") >= 1e6 for one in broken)
    again = resumed(before)
    assert set(again.proposals()) >= {one for one in broken if one in search.points or one in search.as_declared()}
    after = drive(again, by_truth)
    assert after.points()[:BUDGET] == before.points()
    assert not set(after.outcomes) & (set(before.outcomes) - broken)
    for_cells = resumed(before, failed=True)
    assert set(for_cells.arms["searched"].judged) == set(search.judged)


def test_what_the_folder_has_of_other_arms_and_other_points_is_left_alone() -> None:
    before = drive(searches_of(), by_truth, most=12)
    before.notes.append({"arm": "gone", "number": 0, "axes": {"steps": 10}})
    before.notes.append({"arm": "searched", "number": 9, "axes": {"trajectory.start": "bound"}})
    gone = replace(made_row(0), arm="gone", trial_id="other")
    before.outcomes["other"] = JudgedTrial(row=gone)
    searches = resumed(before)
    assert list(searches.arms) == ["infinitesimal", "null", "searched", "declared"]
    assert drive(searches, by_truth).points() == whole().points()


# --- Ray Tune and the results folder ---------------------------------------------------------------------------------


def plan_of(design: Design = DESIGN, **options: Any) -> Any:  # noqa: ANN401 - SweepOptions'
    sweep = Sweep(name="x", question="?", paper=design, smoke=design)
    return plan_sweep(sweep, "smoke", design, SweepOptions(name="sweep", search="adaptive", samples=BUDGET, **options))


def test_a_plan_counts_and_is_compared_with_what_is_searched() -> None:
    plan = plan_of()
    assert plan.trials == ()
    assert plan.num_trials == 4 * 3 + BUDGET * 3 >= len(whole().outcomes)
    assert {trial.train.seed for trial in plan.examples()} == {4, 5, 6}
    more = plan_of(replace(DESIGN, more_honest=(7, 8)))
    assert {trial.train.seed for trial in more.examples()} == {4, 5, 6, 7, 8}
    texts = [str(sorted(plan.asked.items()))]
    for changed in (
        replace(SEARCHED, searched={"steps": tune.qlograndint(10, 330, 10)}, first=()),
        replace(SEARCHED, first=SEARCHED.first[:1]),
        replace(SEARCHED, choices={"steps": 40}),
    ):
        other = plan_of(replace(DESIGN, arms={**DESIGN.arms, "searched": changed}))
        texts.append(str(sorted(other.asked.items())))
    assert len(set(texts)) == 4
    with pytest.raises(InputError, match="without verdicts to compare"):
        plan_of(early_stop=True)


def test_tune_is_answered_from_the_rows_and_a_resumed_run_finds_them(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    plan = plan_of()
    record = SweepRecord(results, "sweep")

    def run(most: int) -> int:
        """As Tune asks, three at once; every trial writes its rows."""
        searches = open_searches(plan, record)
        searcher, running, number = ProposingSearcher(ReportedSearches(searches, results)), dict[str, Trial](), 0
        while number - len(running) < most:
            asked = searcher.suggest(f"tune-{number}") if len(running) < 3 else None
            if asked == Searcher.FINISHED:
                break
            if asked is not None:
                trial: Trial = asked["trial"]
                if point := asked.get("point"):
                    record.write_note("points", trial.trial_id("sweep"), {"point": point})
                running[f"tune-{number}"] = trial
                number += 1
                continue
            name, trial = next(iter(running.items()))
            del running[name]
            done = by_truth(trial.trial_id("sweep"), trial)
            row = replace(done.row or made_row(0), sweep_id="sweep")
            write_trial(results, row, [], [replace(one, sweep_id="sweep") for one in done.verdicts.values()])
            searcher.on_trial_complete(name, result={"done": True})
        return number - len(running)

    ran = run(13) + run(10_000)
    assert ran == len(whole().outcomes)
    found = open_searches(plan, record, failed=True)
    assert not found.proposals()
    assert Run(found).points() == whole().points()
    rows: list[TrialRow] = record.rows()
    assert {row.trial_id for row in rows} == set(whole().outcomes)


def test_a_lost_trial_is_a_failed_point(tmp_path: Path) -> None:
    searches = searches_of()
    searcher = ProposingSearcher(ReportedSearches(searches, open_location(tmp_path)))
    asked = searcher.suggest("tune-0")
    searcher.on_trial_complete("tune-0", error=True)
    trial_id = asked["trial"].trial_id("sweep")
    (owner,) = [one for one in searches.arms.values() if trial_id in one.judged]
    assert owner.judged[trial_id] == JudgedTrial(row=None)
    assert owner.judged[trial_id].score("strict") >= 1e6
    searcher.on_trial_complete("tune-7", result=None)  # of nobody's
    assert isinstance(searcher.suggest("tune-1"), dict)


def test_verdicts_are_those_of_the_trial(tmp_path: Path) -> None:
    searches, results = searches_of(), open_location(tmp_path)
    trial_id, trial = next(iter(searches.proposals().items()))
    done = by_truth(trial_id, trial)
    assert done.row is not None
    verdicts: list[VerdictRow] = list(done.verdicts.values())
    write_trial(results, done.row, [], verdicts)
    ReportedSearches(searches, results).take_report(trial_id, {})
    (owner,) = [one for one in searches.arms.values() if trial_id in one.judged]
    assert owner.judged[trial_id].verdicts == done.verdicts


def test_no_proposal_contradicts_its_attack() -> None:
    """Batches of A's own are no proposal beside the verifier's order: it would fail, and cost one of the budget."""
    search = AdaptiveSearches(TASKS["digits"].smoke, "s", budget=1, seed=0).arms["steered"]
    contradictory = {
        "steps": 60, "spoof.declares": "no_momentum", "W_0 and order": HONEST_START, "spoof.augmentation": "none",
        "attack.schedule": "even", "attack.pool": 4,
    }  # fmt: skip
    assert search.has(contradictory), "an earlier version may have tried it"
    assert not search._is_new(contradictory)
    assert search._is_new({**contradictory, "attack.pool": 1})


@pytest.mark.parametrize(("own", "asked", "found"), [(0, 9, 9), (2, 9, 2), (2, 1, 1), (20, 3, 3)])
def test_an_arm_may_have_a_smaller_budget_of_its_own(own: int, asked: int, found: int) -> None:
    """As many as the sweep says at most, so that `--samples` bounds every arm."""
    design = replace(DESIGN, arms={**DESIGN.arms, "searched": replace(SEARCHED, budget=own)})
    run = drive(searches_of(design, budget=asked), lambda trial_id, trial: outcome_of(trial_id, trial, truth(trial)))
    assert run.searches.arms["searched"].budget == len(run.points()) == found
    assert run.searches.arms["declared"].budget == asked
    assert ("budget searched" in design.as_text()) is (own > 0), "a resumed sweep is compared with it"
    planned = plan_sweep(
        Sweep(name="s", question="?", paper=design, smoke=design),
        "smoke",
        design,
        SweepOptions(name="s", search="adaptive", samples=asked),
    )
    whole = plan_sweep(
        Sweep(name="s", question="?", paper=DESIGN, smoke=DESIGN),
        "smoke",
        DESIGN,
        SweepOptions(name="s", search="adaptive", samples=asked),
    )
    assert whole.num_trials - planned.num_trials == (asked - found) * (1 + DESIGN.repeats)
