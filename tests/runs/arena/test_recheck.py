"""Standing results run again: the same trials are found by their names, and compared row by row."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.verification.policies import Policy, Use, strict
from raypol.report.arena.conclusions import recheck_table
from raypol.runs.arena.cells import cells_of
from raypol.runs.arena.recheck import (
    Comparison,
    compare_rows,
    design_of,
    other_processors,
    recheck_plan,
    time_ratio,
    trials_of,
    with_cells,
)
from raypol.runs.arena.standing import ArenaRows, merge_arenas, read_arenas
from raypol.runs.arena.tasks import TASKS
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps.adaptive import AdaptiveSearches
from raypol.runs.sweeps.calibrated import KINDS, judged_by
from raypol.runs.sweeps.judged_trial import JudgedTrial
from raypol.runs.trials.study import Trial
from raypol.store.location import open_location
from raypol.store.policies import write_policy
from raypol.store.results.rows import TrialRow
from tests.rows import made_row, made_verdict
from tests.runs.arena.test_standing import write_arena
from tests.runs.sweeps.test_adaptive import Run, drive

NAME: Final = "arena-smoke"
LIMITS: Final = {metric: [0.1 + 0.01 * n + 1e-17, 0.30000000000000004] for n, metric in enumerate(METRICS)}
MADE: Final = tuple(
    Policy(
        name=kind,
        checks=(*strict.checks[: 3 + n], Use(check="envelope", parameters={"limits": LIMITS})),
        selection="all",
    )
    for n, kind in enumerate(KINDS)
)
"""As `raypol calibrate` makes them, in the order in which a sweep does."""


def answer(trial_id: str, trial: Trial) -> JudgedTrial:
    """Every third trial is accepted by the first policy, every seventh fails."""
    number = int(trial_id[-4:], 16)
    attack = {"null": "null", "infinitesimal": "infinitesimal"}.get(trial.arm, "iii")
    row = replace(
        made_row(0), trial_id=trial_id, arm=trial.arm, attack=attack, steps=trial.spoof.steps, seed=trial.spoof.seed,
        sweep_id=NAME, grants="data", ratio_working=0.01 * trial.spoof.steps, status="error" if number % 7 == 0 else "ok",
    )  # fmt: skip
    verdicts = {
        policy.name: replace(
            made_verdict(row, policy.name, "" if not n and number % 3 == 0 else "replay"), policy_sha256=policy.sha256
        )
        for n, policy in enumerate(MADE)
    }
    return JudgedTrial(row=row, verdicts=verdicts if row.is_ok else {})


@cache
def run_arena() -> Run:
    design = judged_by(TASKS["digits"].smoke, MADE)
    return drive(AdaptiveSearches(design, NAME, budget=3, seed=0), answer, at_once=4)


def arena_in(folder: Path) -> ArenaRows:
    """The arena as a results folder, and the standing results that were merged of it, have it."""
    run = run_arena()
    rows = [one.row for one in run.outcomes.values() if one.row is not None]
    verdicts = [verdict for one in run.outcomes.values() for verdict in one.verdicts.values()]
    design = judged_by(TASKS["digits"].smoke, MADE)
    arena = ArenaRows(
        sweep_id=NAME,
        cells=tuple(cells_of(run.searches, design, rows, verdicts, sweep_id=NAME)),
        trials=tuple(rows),
        verdicts=tuple(verdicts),
        points={f"{note['arm']} {note['number']}": note for note in run.notes},
    )
    source, into = write_arena(folder / "a", arena), open_location(folder / "standing")
    for policy in MADE:
        write_policy(source / "policies" / f"{policy.name}-0123.json", policy)
    assert merge_arenas(into, [source]) == [NAME]
    (found,) = read_arenas(into)
    return found


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> ArenaRows:
    return arena_in(tmp_path_factory.mktemp("recheck"))


# --- which trials ----------------------------------------------------------------------------------------------------


def test_every_trial_that_ended_well_is_found_again_by_its_name(arena: ArenaRows) -> None:
    found = trials_of(arena)
    ended = {trial_id for trial_id, one in run_arena().outcomes.items() if one.row is not None and one.row.is_ok}
    assert set(found) == ended
    assert any(one.spoof.seed == 1 for one in found.values()), "repetitions too"
    for trial_id, trial in found.items():
        assert trial.trial_id(NAME) == trial_id
        row = next(row for row in arena.trials if row.trial_id == trial_id)
        assert (trial.arm, trial.spoof.steps, trial.spoof.seed) == (row.arm, row.steps, row.seed)
    steered = [trial.attack for trial in found.values() if getattr(trial.attack, "envelope", ())]
    assert steered
    assert all(attack.envelope == tuple(LIMITS["l2"]) for attack in steered), "A knows what is calibrated"


def test_the_design_has_the_policies_as_they_stand(arena: ArenaRows) -> None:
    design = design_of(arena)
    assert design.every_policy_name[-2:] == KINDS
    assert [policy.sha256 for policy in design.policies[-2:]] == [policy.sha256 for policy in MADE]
    assert design.calibrate_on == ()
    knowing = [name for name, arm in design.arms.items() if arm.knows_envelope]
    assert knowing
    for name in knowing:
        assert trial_at(design, {"arm": name}).attack.envelope == tuple(LIMITS["l2"])


def test_estimates_are_not_run_again(arena: ArenaRows) -> None:
    estimated = replace(arena, trials=tuple(replace(row, estimated=True) for row in arena.trials))
    assert trials_of(estimated) == {}
    with pytest.raises(InputError, match="no trial of arena-smoke is declared here as it was then"):
        recheck_plan(estimated, 0.1, 0)


HOSTILE: Final[list[dict[str, Any]]] = [
    {"arm": "null", "number": 0, "axes": {"no.such": 1}},
    {"arm": "null", "number": 0, "axes": {"steps": "many"}},
    {"arm": "null", "number": 0, "axes": {"steps": [10]}},
    {"arm": "null", "number": 0, "axes": {"steps": 10**30}},
    {"arm": "glue", "number": 0, "axes": {"attack.bad_intervals": "x"}},
    {"arm": "glue", "number": 0, "axes": {"attack.bad_intervals": {"steps": 10}}},
    {"arm": "glue", "number": 0, "axes": {"train.lr": 1.0}},
    {"arm": "glue", "number": 0, "axes": {"W_0 and order": {"verifier": "cuda"}}},
    {"arm": "no such arm", "number": 0, "axes": {"steps": 10}},
    {"arm": "null", "number": 0, "axes": {}},
    {"arm": "untrained", "number": 0, "axes": {"steps": 30}},
]


@pytest.mark.parametrize("point", HOSTILE, ids=str)
def test_points_of_others_are_trials_only_where_the_search_has_them(point: dict[str, Any], arena: ArenaRows) -> None:
    with_it = replace(arena, points={**arena.points, "more": {**point, "number": 99}})
    assert trials_of(with_it).keys() == trials_of(arena).keys()


@pytest.mark.parametrize("name", ["arena-0123456789ab-smoke", "arena", "arena-huge", "other"])
def test_an_arena_of_no_task_is_refused(name: str, arena: ArenaRows) -> None:
    with pytest.raises(InputError, match=f"{name} is no arena of this version; possible: arena-standard"):
        trials_of(replace(arena, sweep_id=name))


# --- a part of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "number"), [(1.0, None), (0.1, None), (1e-9, 1)])
def test_a_share_is_drawn_and_drawn_again(share: float, number: int | None, arena: ArenaRows) -> None:
    trials = trials_of(arena)
    plan, again, other = (recheck_plan(arena, share, seed) for seed in (0, 0, 1))
    assert len(plan.trials) == plan.num_trials == (number or round(share * len(trials)))
    assert {trial.trial_id(plan.sweep_id) for trial in plan.trials} <= trials.keys()
    assert plan.trials == again.trials
    assert plan.asked == again.asked
    assert plan.options.search == "grid"
    if share == 0.1:
        assert plan.trials != other.trials
        assert plan.asked != other.asked, "another part is another sweep"
    assert {trial.train.seed for trial in plan.examples()} <= {0, 1}, "no more honest proofs than are needed"


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, math.nan])
def test_a_share_that_is_none_is_refused(share: float, arena: ArenaRows) -> None:
    with pytest.raises(InputError, match=r"expected a share in \(0, 1\]"):
        recheck_plan(arena, share, 0)


# --- then and now ----------------------------------------------------------------------------------------------------


def test_rows_are_compared_trial_by_trial_and_policy_by_policy(arena: ArenaRows) -> None:
    ok = [row for row in arena.trials if row.is_ok][:4]
    now: list[TrialRow] = [
        ok[0],
        replace(ok[1], error_l2=1.1 * (ok[1].error_l2 or 0.0), ratio_working=2 * (ok[1].ratio_working or 0.0)),
        replace(ok[2], error_l2=None),
        ok[3],
        replace(ok[0], trial_id="unknown"),
        replace(ok[0], attack="none"),
    ]
    verdicts = [one for one in arena.verdicts if one.trial_id in {row.trial_id for row in ok}]
    flipped = [
        replace(one, accepted=not one.accepted, accepted_nonces=1 - (one.accepted_nonces or 0))
        if (one.trial_id, one.policy) == (ok[3].trial_id, "bound")
        else one
        for one in verdicts
    ]
    of_another = replace(flipped[0], policy="new", policy_sha256="9" * 64, accepted=not flipped[0].accepted)
    found = compare_rows(arena, now, [*flipped, of_another])
    assert [one.then.trial_id for one in found] == [row.trial_id for row in ok]
    assert [one.differing for one in found] == [(), (), (), ("bound",)]
    assert [one.verdicts for one in found] == [2] * 4
    assert [one.error_change for one in found] == [0.0, pytest.approx(0.1), math.inf, 0.0]
    assert time_ratio(found) == 1.0
    assert time_ratio(found[1:2]) == 2.0
    assert math.isnan(time_ratio([]))
    table = recheck_table(found)
    assert len(table.lines) == 3
    assert table.note.startswith("1 of 4 trials have the same verdicts and errors")


def test_what_has_no_error_has_not_changed() -> None:
    row = replace(made_row(0), error_l2=None)
    assert Comparison(then=row, now=row, verdicts=0, differing=()).error_change == 0.0


@pytest.mark.parametrize("sweep_id", ["arena-standard", "arena_simple_conv-standard", "arena_resnet20-standard"])
def test_committed_cells_are_what_this_version_makes_of_committed_rows(sweep_id: str) -> None:
    """And of all of them: `make generate` was run after the last change of their rules."""
    committed = read_arenas(open_location(Path(__file__).parents[3] / "docs" / "arena"))
    (arena,) = [one for one in committed if one.sweep_id == sweep_id]
    assert with_cells(arena).cells == arena.cells


def test_cells_of_trials_that_are_declared_otherwise_now_are_not_lost_without_a_word() -> None:
    committed = read_arenas(open_location(Path(__file__).parents[3] / "docs" / "arena"))
    (arena,) = [one for one in committed if one.sweep_id == "arena_resnet20-standard"]
    renamed = tuple(replace(row, trial_id=f"{row.trial_id}-then") if row.arm == "null" else row for row in arena.trials)
    with pytest.raises(InputError, match=r"no trial is declared here as it was then of null \(adaptive\), null \(decl"):
        with_cells(replace(arena, trials=renamed))


def test_rows_of_another_processor_are_said_to_be() -> None:
    row = made_row(0)
    same = Comparison(then=row, now=row, verdicts=3, differing=())
    other = replace(same, now=replace(row, device_name="another"))
    assert other_processors([]) == other_processors([same]) == ""
    assert f"made on {row.device_name}, these on another:" in other_processors([other])
