"""A sweep's ranges: which trials they are, what rows say, how Ray Tune is answered, and what is recorded."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.search import Searcher

from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.training.train_config import TrainConfig
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.designs.points import trial_at
from raypol.runs.success_range.search import FAILED, PointOutcome
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep
from raypol.runs.sweeps.searchers import ProposingSearcher
from raypol.runs.sweeps.success_ranges import (
    Ranges,
    cases_of,
    count_ranges,
    outcome_of,
    range_rows,
    reported_outcomes,
    search_grid,
)
from raypol.runs.trials.study import Trial
from raypol.store.location import open_location
from raypol.store.results.files import read_rows
from raypol.store.results.range_rows import RangeRow, write_ranges
from raypol.store.results.rows import TrialRow
from tests.rows import made_row
from tests.studies import TRAIN

DESIGN = Design(
    train=TRAIN,
    arms={"forged_momentum": "forged_momentum"},
    space={"steps": tune.qrandint(10, 320, 10), "seed": tune.grid_search([0, 1])},
)


def judged(row: TrialRow, *, time: float = 0.5, **changes: Any) -> TrialRow:  # noqa: ANN401 - any column
    """A row of a spoof that succeeds under both policies, with changes."""
    ratios = dict.fromkeys([f"ratio_error_{m}" for m in METRICS], 0.4) | {"ratio_time": time, "ratio_size": 0.3}
    verdict = {"accepted_published": True, "accepted_strict": True, "rejected_by": "", "rejected_by_published": ""}
    won = {"success": time < 1.0, "success_strict": time < 1.0, "bound_by": "time"}
    return replace(row, **{**ratios, **verdict, **won, **changes})


OUTCOMES: list[tuple[dict[str, Any], PointOutcome, PointOutcome]] = [
    ({}, PointOutcome(True, "time"), PointOutcome(True, "time")),
    ({"time": 1.5}, PointOutcome(False, "time"), PointOutcome(False, "time")),
    (
        {"accepted_strict": False, "success_strict": False, "rejected_by": "optimizer_state"},
        PointOutcome(True, "time"),
        PointOutcome(False, "rejected:optimizer_state"),
    ),
    (
        {"success": False, "success_strict": False, "ratio_error_l2": None},
        PointOutcome(False, "error_l2"),
        PointOutcome(False, "error_l2"),
    ),
    (
        {"status": "stopped", "success": False, "success_strict": False, "bound_by": "rejected:replay"},
        PointOutcome(False, "rejected:replay"),
        PointOutcome(False, "rejected:replay"),
    ),
    ({"status": "error", "success": None, "bound_by": None}, PointOutcome(False, FAILED), PointOutcome(False, FAILED)),
    ({"success": None, "success_strict": None}, PointOutcome(False, FAILED), PointOutcome(False, FAILED)),
]


@pytest.mark.parametrize(("changes", "published", "strict"), OUTCOMES)
def test_what_a_row_says_under_each_policy(
    changes: dict[str, Any], published: PointOutcome, strict: PointOutcome
) -> None:
    row = judged(made_row(0), **changes)
    assert (outcome_of(row, "published"), outcome_of(row, "strict")) == (published, strict)
    said = reported_outcomes(row)
    for policy, expected in (("published", published), ("strict", strict)):
        assert PointOutcome(bool(said[f"success_{policy}"]), said[f"bound_by_{policy}"]) == expected


def test_every_arm_and_every_other_value_has_a_range_of_its_own() -> None:
    assert [case["arm"] for case in cases_of(DESIGN)] == ["null", "infinitesimal", "forged_momentum"]
    strength = {"attack.momentum": tune.grid_search([0.5, 0.9])}
    cases = cases_of(
        replace(DESIGN, space={**DESIGN.space, "verifier": tune.grid_search(["cpu", "cpu:2"]), **strength})
    )
    assert [(case["arm"], case["verifier"]) for case in cases] == [
        (arm, verifier)
        for verifier in ("cpu", "cpu:2")
        for arm in ("null", "infinitesimal", "forged_momentum", "forged_momentum")
    ]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"steps": tune.grid_search([10, 20])}, "needs the axis steps as tune.qrandint"),
        ({"steps": tune.uniform(10, 20)}, "needs the axis steps as tune.qrandint"),
        ({}, "needs the axis steps as tune.qrandint"),
        ({"steps": tune.qrandint(5, 320, 5)}, "T' = 5 is not reachable with k = 10"),
        ({"steps": tune.qrandint(30, 320, 15)}, "a multiple of k = 10, got 15"),
        ({"steps": tune.qrandint(320, 10, 10)}, "the lowest T' below the highest"),
        ({**DESIGN.space, "attack.lr": tune.uniform(0.1, 0.2)}, "axis attack.lr is a distribution"),
        ({**DESIGN.space, "seed": tune.grid_search([])}, "axis seed is empty"),
    ],
)
def test_a_design_whose_range_cannot_be_searched_is_refused(space: dict[str, Any], said: str) -> None:
    sweep = Sweep(name="x", question="?", paper=DESIGN, smoke=DESIGN)
    with pytest.raises(InputError, match=said):
        plan_sweep(sweep, "smoke", replace(DESIGN, space=space), SweepOptions(name="x", search="range"))


def test_a_plan_counts_what_the_search_takes_at_most_and_knows_its_bounds() -> None:
    sweep = Sweep(name="x", question="?", paper=DESIGN, smoke=DESIGN)
    plan = plan_sweep(sweep, "smoke", DESIGN, SweepOptions(name="x", search="range"))
    assert plan.num_trials == count_ranges(DESIGN) <= 3 * 2 * 32
    assert plan.trials == ()
    assert {trial.train.seed for trial in plan.examples()} == {0, 1}
    finer = plan_sweep(sweep, "smoke", DESIGN, SweepOptions(name="x", search="range", scan_factor=1.5))
    coarser = replace(DESIGN, space={**DESIGN.space, "steps": tune.qrandint(10, 320, 20)})
    other = plan_sweep(sweep, "smoke", coarser, SweepOptions(name="x", search="range"))
    strict = plan_sweep(sweep, "smoke", DESIGN, SweepOptions(name="x", search="range", policy="strict"))
    assert len({str(sorted(p.asked.items())) for p in (plan, finer, other)}) == 3
    assert strict.asked == plan.asked, "the other policy may be asked in the same sweep: its trials are the same"
    drawn = replace(DESIGN, space={"seed": DESIGN.space["seed"]}, drawn={"steps": DESIGN.space["steps"]})
    assert search_grid(drawn) == search_grid(DESIGN)
    assert plan_sweep(sweep, "smoke", drawn, SweepOptions(name="x", search="range")).num_trials == plan.num_trials


def truth(point: dict[str, Any]) -> dict[str, Any]:
    """What a trial of forged_momentum, null or infinitesimal reports: success from 50 or 70 on, up to 200."""
    low = 70 if point["arm"] == "null" else 50
    won, bound_by = low <= point["steps"] <= 200, "error_l2" if point["steps"] < low else "time"
    return {f"{what}_{p}": v for p in ("published", "strict") for what, v in (("success", won), ("bound_by", bound_by))}


def point_of(proposed: dict[str, Trial]) -> dict[str, Any]:
    trial = proposed["trial"]
    return {"arm": trial.arm, "steps": trial.spoof.steps, "seed": trial.spoof.seed}


def driven(searcher: ProposingSearcher, answer: Callable[[dict[str, Any]], dict[str, Any] | None], at_once: int) -> int:
    """As Ray Tune asks: up to `at_once` trials run, the oldest ends first; None is an error. Returns how many ran."""
    running: dict[str, dict[str, Any]] = {}
    number = 0
    while True:
        asked = searcher.suggest(f"tune-{number}") if len(running) < at_once else None
        if asked == Searcher.FINISHED:
            assert not running
            return number
        if asked is not None:
            assert point_of(asked) not in running.values()
            running[f"tune-{number}"] = point_of(asked)
            number += 1
            continue
        assert running, "waiting for nothing"
        name = next(iter(running))
        result = answer(running.pop(name))
        searcher.on_trial_complete(name, result=result, error=result is None)


@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_ray_tune_is_answered_until_every_range_is_found(at_once: int) -> None:
    ranges = Ranges(DESIGN, "sweep", "published")
    ran = driven(ProposingSearcher(ranges), truth, at_once)
    assert ran == ranges.num_trials < ranges.num_grid / 2
    for found in ranges.estimates():
        assert found.is_done
        assert found.lower is not None
        assert found.upper is not None
        assert (found.lower.value, found.upper.value) == (70 if found.arm == "null" else 50, 200)
        assert (found.lower.bound_by, found.upper.bound_by) == ("error_l2", "time")


def test_a_trial_that_is_lost_counts_as_no_success_and_one_that_is_called_off_says_nothing() -> None:
    ranges = Ranges(DESIGN, "sweep", "published")
    driven(ProposingSearcher(ranges), lambda point: truth(point) if point["steps"] != 210 else None, 4)
    null = ranges.estimates()[0]
    assert null.upper is not None
    assert (null.upper.value, null.upper.bound_by, null.failed) == (200, FAILED, 2)
    called_off = Ranges(DESIGN, "sweep", "published")
    searcher = ProposingSearcher(called_off)
    searcher.suggest("a")
    searcher.on_trial_complete("a")
    searcher.on_trial_complete("unknown", error=True)
    assert called_off.num_trials == 0
    assert searcher.suggest("b") not in (None, Searcher.FINISHED)


def rows_of(points: list[dict[str, Any]]) -> list[TrialRow]:
    """The rows that these points' trials would have left."""
    return [
        judged(
            replace(
                made_row(0),
                trial_id=trial_at(DESIGN, point).trial_id("sweep"),
                arm=point["arm"],
                steps=point["steps"],
                seed=point["seed"],
            ),
            time=0.5 if truth(point)["success_published"] else 2.0,
        )
        for point in points
    ]


def test_a_search_goes_on_from_the_rows_that_are_there() -> None:
    """Whatever an interrupted search left: no trial is run twice, and the end is the same."""
    visited: list[dict[str, Any]] = []

    def noted(point: dict[str, Any]) -> dict[str, Any]:
        visited.append(point)
        row = rows_of([point])[0]
        return reported_outcomes(row)

    whole = Ranges(DESIGN, "sweep", "published")
    driven(ProposingSearcher(whole), noted, 2)
    for kept in (0, 1, 7, len(visited) // 2, len(visited)):
        resumed = Ranges(DESIGN, "sweep", "published")
        resumed.take(rows_of(visited[:kept]), failed=False)
        assert resumed.num_trials == kept
        assert (
            driven(ProposingSearcher(resumed), lambda point: reported_outcomes(rows_of([point])[0]), 2)
            == len(visited) - kept
        )
        assert resumed.estimates() == whole.estimates()


def test_a_failed_trial_is_run_again_by_a_resumed_search_and_counted_by_the_answer() -> None:
    first = ProposingSearcher(Ranges(DESIGN, "sweep", "published")).suggest("a")
    (row,) = rows_of([point_of(first)])
    failed = replace(row, status="error", success=None, success_strict=None)
    resumed, told = Ranges(DESIGN, "sweep", "published"), Ranges(DESIGN, "sweep", "published")
    resumed.take([failed], failed=False)
    assert (resumed.num_trials, next(iter(resumed.proposals()))) == (0, row.trial_id)
    told.take([failed], failed=True)
    assert (told.num_trials, told.estimates()[0].failed) == (1, 1)


def test_trials_that_the_search_did_not_ask_for_are_known_too() -> None:
    """They may be of the other policy's search; what they say beside the range is not hidden."""
    ranges = Ranges(DESIGN, "sweep", "published")
    driven(ProposingSearcher(ranges), truth, 4)
    before = ranges.num_trials
    (row,) = rows_of([{"arm": "null", "steps": 300, "seed": 1}])
    ranges.take([replace(row, success=True), replace(row, trial_id="of another sweep")], failed=True)
    assert ranges.num_trials == before + 1
    assert ranges.estimates()[0].seeds[1].islands == (300,)


def test_ranges_are_recorded_per_arm_and_per_seed(tmp_path: Path) -> None:
    ranges = Ranges(DESIGN, "sweep", "strict")
    driven(ProposingSearcher(ranges), lambda point: {**truth(point), "success_strict": False, "bound_by_strict": "time"}
           if point["arm"] == "infinitesimal" else truth(point), 8)  # fmt: skip
    results, estimates = open_location(tmp_path), ranges.estimates()
    rows = range_rows(estimates, ranges.grid, "sweep", "strict")
    place = write_ranges(results, "sweep", "strict", rows)
    assert place.path.endswith("ranges/sweep-strict.parquet")
    assert read_rows(results / "ranges", RangeRow, "sweep") == rows
    assert read_rows(results / "ranges", RangeRow, "other") == []
    assert [(row.arm, row.seed) for row in rows] == [
        (arm, seed) for arm in ("null", "infinitesimal", "forged_momentum") for seed in (None, 0, 1)
    ]
    over_seeds, one = rows[0], rows[1]
    assert (over_seeds.low_steps, over_seeds.low_from_steps, over_seeds.low_to_steps) == (70, 60, 70)
    assert (one.high_from_steps, one.high_to_steps, one.high_open) == (200, 210, False)
    assert (one.high_bound_by, one.searched_from_steps, one.searched_to_steps) == ("time", 10, 320)
    assert (rows[3].num_found, rows[3].low_steps, rows[3].low_open) == (0, None, None)
    assert all(row.complete for row in rows)
    assert sum(row.trials for row in rows if row.seed is None) == ranges.num_trials
    assert {f.name for f in fields(RangeRow)} >= {"resolution_steps", "grid_trials", "confidence", "method"}


def test_a_narrower_training_has_its_own_default_seed() -> None:
    design = Design(train=TrainConfig(steps=40, seed=3), arms={}, space={"steps": tune.qrandint(10, 100, 10)})
    assert {trial.spoof.seed for trial in Ranges(design, "sweep", "published").proposals().values()} == {3}
