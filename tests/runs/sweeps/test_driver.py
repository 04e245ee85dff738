"""When a sweep that is run again needs Ray, and when everything is there already."""

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from ray import tune

from raypol.cluster.inventory import NodeOffer, Scalable
from raypol.cluster.placement import parse_device
from raypol.cluster.scaling import ClusterView
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.sweeps import driver
from raypol.runs.sweeps.baselines import honest_trial_id
from raypol.runs.sweeps.driver import SweepRun, drive_sweep, most_waiting
from raypol.runs.sweeps.plan import SweepOptions, SweepPlan, plan_sweep
from raypol.runs.sweeps.record import SweepRecord
from raypol.store.location import Location, open_location
from raypol.store.results.files import write_trial
from raypol.store.results.rows import HONEST, NO_ATTACK
from tests.rows import made_row
from tests.runs.sweeps.test_adaptive import DESIGN, drive, outcome_of, searches_of, truth
from tests.studies import TRAIN

GRID = Design(train=TRAIN, arms={"line": "forged_momentum"}, space={"steps": tune.grid_search([10, 20])})


class RayNeededError(Exception):
    """The driver went on to start Ray."""


def planned(design: Design, search: str = "grid", samples: int = 0) -> SweepPlan:
    sweep = Sweep(name="s", question="?", paper=design, smoke=design)
    return plan_sweep(sweep, "smoke", design, SweepOptions(name="sweep", search=search, samples=samples))  # type: ignore[arg-type]


def again(plan: SweepPlan, results: Location, monkeypatch: pytest.MonkeyPatch) -> SweepRun | None:
    """The sweep run again; None if it needs Ray."""

    def needed(_: object) -> NoReturn:
        raise RayNeededError

    monkeypatch.setattr(driver, "connect", needed)
    SweepRecord(results, "sweep").write_asked(plan.asked)
    try:
        return drive_sweep(plan, results)
    except RayNeededError:
        return None


def write(results: Location, trial_id: str, status: str = "ok", arm: str = "line") -> None:
    row = replace(made_row(0), trial_id=trial_id, sweep_id="sweep", arm=arm, status=status)
    write_trial(results, replace(row, attack=NO_ATTACK) if arm == HONEST else row, ())


@pytest.mark.parametrize(
    ("last", "ended"),
    [("ok", True), ("stopped", True), ("refused", True), ("error", False), ("", False)],
)
def test_a_grid_is_finished_once_every_trial_is(
    last: str, ended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, plan = open_location(tmp_path), planned(GRID)
    *others, final = [trial.trial_id("sweep") for trial in plan.trials]
    for trial_id in others:
        write(results, trial_id)
    if last:
        write(results, final, last)
    run = again(plan, results, monkeypatch)
    assert (run is not None) is ended
    if run is not None:
        assert (run.resumed, run.missing, run.stopped) == (len(plan.trials), 0, "")
        live = json.loads((tmp_path / "sweeps" / "sweep" / "live.json").read_text())
        assert live["ended"] == "finished", "its driver may have been killed after the last row"


@pytest.mark.parametrize("search", ["optuna", "range"])
def test_where_a_searcher_proposes_it_is_asked(search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design = replace(GRID, space={}, drawn={"steps": tune.qlograndint(10, 320, 10)})
    results, plan = open_location(tmp_path), planned(design, search, 2)
    for number in range(20):
        write(results, f"trial-{number}")
    assert again(plan, results, monkeypatch) is None


@pytest.mark.parametrize("lacking", ["", "trial", "honest", "broken honest"])
def test_an_adaptive_search_is_finished_with_its_honest_proofs(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, design = open_location(tmp_path), replace(DESIGN, more_honest=(9,))
    plan = planned(design, "adaptive", 3)
    run = drive(searches_of(design, budget=3), lambda trial_id, trial: outcome_of(trial_id, trial, truth(trial)))
    for note in run.notes:
        trial_id = next(
            one
            for one, point in run.searches.arms[note["arm"]].points.items()
            if json.dumps(point) == json.dumps(note["axes"])
        )
        SweepRecord(results, "sweep").write_note("points", trial_id, {"point": note})
    for number, (trial_id, outcome) in enumerate(run.outcomes.items()):
        if outcome.row is None or (lacking == "trial" and number == len(run.outcomes) - 1):
            continue
        row = replace(outcome.row, trial_id=trial_id, sweep_id="sweep", status="ok")
        write_trial(results, row, (), [replace(one, sweep_id="sweep") for one in outcome.verdicts.values()])
    keys = list(dict.fromkeys(trial.honest_key() for trial in plan.examples()))
    assert len(keys) == 4, "three seeds, and one more honest proof"
    for key in keys[: -1 if lacking == "honest" else None]:
        status = "error" if lacking == "broken honest" and key == keys[-1] else "ok"
        write(results, honest_trial_id("sweep", key), status, HONEST)
    assert (again(plan, results, monkeypatch) is not None) is (lacking == "")


@pytest.mark.parametrize(
    ("nodes", "groups", "waiting"),
    [
        ([(2, 0)], ["cpu"], 2),
        ([(2, 0), (3, 0)], ["cpu"], 5),
        ([(1000, 0)], ["cpu"], 64),
        ([(4, 1), (4, 2)], ["gpu"], 3),
        ([(4, 1)], ["gpu:2"], 1),
        ([(5, 0)], ["cpu cpu"], 2),
        ([(64, 1)], ["gpu cpu"], 1),
        ([(2, 4)], ["gpu", "cpu"], 6),
    ],
)
def test_as_many_trials_wait_as_there_are_places(nodes: list[tuple[int, int]], groups: list[str], waiting: int) -> None:
    offers = tuple(NodeOffer(name=str(i), cpus=cpus, gpus=gpus) for i, (cpus, gpus) in enumerate(nodes))
    asked = [tuple(map(parse_device, group.split())) for group in groups]
    assert most_waiting(asked, ClusterView(nodes=offers)) == waiting
    growing = ClusterView(nodes=offers, scalable=Scalable(types=offers, most=9))
    assert most_waiting(asked, growing) == 64, "an autoscaler starts nodes for what waits"
