"""From rows to cells, each number by hand."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from raypol.core.attacks import PRESETS
from raypol.core.distances import METRICS
from raypol.runs.arena import cells as module
from raypol.runs.arena.cells import cells_of, claims_of, interval_of
from raypol.runs.sweeps.adaptive import AdaptiveSearches
from raypol.runs.sweeps.judged_trial import JudgedTrial
from raypol.runs.trials.study import Trial
from raypol.store.location import open_location
from raypol.store.results.cell_rows import CELLS_VERSION, CLAIMS, CellRow, read_cells, write_cells
from raypol.store.results.rows import HONEST, NO_ATTACK, TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from tests.rows import made_row, made_verdict
from tests.runs.sweeps.test_adaptive import DESIGN, drive, searches_of

Said = Mapping[str, str | int]
"""Policy -> checks that reject it, empty if it is accepted; a number: of 100 nonces those that accept it."""
SAID: Final[dict[tuple[str, int, int], tuple[float, Said]]] = {
    ("searched", 20, 4): (0.5, {"published": "", "strict": "replay,buffers", "random": 50}),
    ("searched", 20, 5): (0.4, {"published": "", "strict": "replay", "random": 0}),
    ("searched", 20, 6): (0.6, {"published": "", "strict": "replay", "random": 100}),
    ("searched", 320, 4): (0.2, {"published": "", "strict": "replay,buffers", "random": 0}),
    ("searched", 320, 5): (0.3, {"published": "", "strict": "replay", "random": 0}),
    ("searched", 320, 6): (0.9, {"published": "initial_laws", "strict": "replay", "random": 0}),
    ("searched", 10, 4): (0.1, {"published": "replay", "strict": "optimizer_state", "random": 25}),
    ("searched", 10, 5): (0.1, {"published": "replay", "strict": "replay", "random": 0}),
    ("searched", 10, 6): (0.05, {"published": "replay", "strict": "replay", "random": 1}),
    ("declared", 30, 4): (1.5, {"published": "", "strict": "replay", "random": 0}),
    ("declared", 30, 6): (2.5, {"published": "replay", "strict": "replay", "random": 0}),
}
"""Arm, T', seed -> cost and verdicts. What is not here fails."""
HONESTLY: Final[dict[int, Said]] = {
    4: {"published": "", "strict": "", "random": 100},
    5: {"published": "", "strict": "buffers", "random": 40},
    6: {"published": "", "strict": "", "random": 0},
    9: {"published": "", "strict": "", "random": 100},
}


def verdicts_of(row: TrialRow, said: Said) -> dict[str, VerdictRow]:
    return {
        policy: made_verdict(row, policy, "" if checks else "replay", nonces=100, accepted_nonces=checks)
        if isinstance(checks, int)
        else made_verdict(row, policy, checks)
        for policy, checks in said.items()
    }


def answer(trial_id: str, trial: Trial) -> JudgedTrial:
    arm = {"infinitesimal": "infinitesimal", "null": "null"}.get(trial.arm, "forged_momentum")
    errors: dict[str, Any] = {f"ratio_error_{m}": 0.1 * n for n, m in enumerate(METRICS, 1)}
    row = replace(
        made_row(0), trial_id=trial_id, arm=trial.arm, attack=arm, steps=trial.spoof.steps, seed=trial.spoof.seed,
        grants="data, policy", gradient_evals=80, ratio_size=0.25, error_l2=0.7, verify_s=0.125, declares="no_momentum",
        start="bound", **errors,
    )  # fmt: skip
    key = (trial.arm, trial.spoof.steps, trial.spoof.seed)
    if key not in SAID:
        return JudgedTrial(row=replace(row, status="error", success=None, message=f"no {trial.arm}\nTraceback"))
    cost, said = SAID[key]
    row = replace(row, ratio_working=cost)
    return JudgedTrial(row=row, verdicts=verdicts_of(row, said))


def honest_rows() -> tuple[list[TrialRow], list[VerdictRow]]:
    rows = [
        replace(made_row(seed), trial_id=f"honest-{seed}", arm=HONEST, attack=NO_ATTACK, steps=40, grants=None)
        for seed in HONESTLY
    ]
    verdicts = [one for row in rows for one in verdicts_of(row, HONESTLY[row.seed]).values()]
    return [*rows, replace(rows[0], trial_id="honest-broken", status="error")], verdicts


def made_arena(sweep_id: str = "made") -> tuple[AdaptiveSearches, list[TrialRow], list[VerdictRow]]:
    searches = searches_of(budget=3)
    run = drive(searches, answer)
    rows, verdicts = honest_rows()
    rows += [one.row for one in run.outcomes.values() if one.row is not None]
    verdicts += [verdict for one in run.outcomes.values() for verdict in one.verdicts.values()]
    return (
        searches,
        [replace(row, sweep_id=sweep_id) for row in rows],
        [replace(verdict, sweep_id=sweep_id) for verdict in verdicts],
    )


def made_cells(sweep_id: str = "made") -> list[CellRow]:
    searches, rows, verdicts = made_arena(sweep_id)
    return cells_of(searches, DESIGN, rows, verdicts, sweep_id=sweep_id, command="raypol arena")


CELLS: Final = {(cell.arm, cell.policy, cell.mode): cell for cell in made_cells()}
P1, P2 = ({"spoof.declares": d, "steps": steps} for d, steps in (("no_momentum", 320), ("honest_schedule", 10)))

EXPECTED: Final[dict[tuple[str, str, str], dict[str, Any]]] = {
    (HONEST, "published", "declared"): {
        "tried": 4, "failed": 0, "accepted": 4, "rate": 1.0, "rate_of": 4, "rate_low": 0.025 ** (1 / 4), "rate_high": 1.0,
        "seeds": 4, "seeds_accepted": 4, "cost": 1.0, "claims": "W_T", "is_control": True, "budget": 0, "attack": NO_ATTACK,
        "grants": "", "rejected_by": "",
    },
    (HONEST, "strict", "declared"): {
        "tried": 4, "accepted": 3, "rate": 0.75, "rate_of": 4, "seeds_accepted": 3, "rejected_by": "buffers",
    },
    (HONEST, "random", "declared"): {"tried": 4, "accepted": 3, "rate": 0.6, "rate_of": 400, "rejected_by": "replay"},
    ("searched", "published", "declared"): {
        "tried": 3, "failed": 0, "accepted": 3, "rate": 1.0, "rate_low": 0.025 ** (1 / 3), "rate_high": 1.0, "steps": 20,
        "cost": 0.5, "cost_low": 0.4, "cost_high": 0.6, "gradients": 2.0, "size": 0.25, "error": 0.4, "error_l2": 0.7,
        "replayed": 1.0, "setting": "{}", "budget": 0, "ends": "", "searched": "{}", "is_control": False,
        "claims": "W_T", "grants": "data, policy", "declares": "no_momentum", "start": "bound", "command": "raypol arena",
    },
    ("searched", "strict", "declared"): {
        "tried": 3, "accepted": 0, "rate": 0.0, "rate_low": 0.0, "rate_high": 1 - 0.025 ** (1 / 3), "cost": 0.5,
        "rejected_by": "replay,buffers", "seeds_accepted": 0,
    },
    ("searched", "random", "declared"): {"tried": 3, "accepted": 2, "rate": 0.5, "rate_of": 300, "rejected_by": ""},
    ("searched", "published", "adaptive"): {
        "tried": 3, "failed": 1, "accepted": 2, "rate": 1.0, "rate_of": 1, "rate_low": None, "rate_high": None, "cost": 0.2,
        "cost_low": 0.2, "cost_high": 0.9, "seeds": 3, "seeds_accepted": 2, "steps": 320, "setting": json.dumps(P1),
        "budget": 3, "ends": "steps high", "exhausted": False, "rejected_by": "",
    },
    ("searched", "strict", "adaptive"): {
        "tried": 3, "failed": 1, "accepted": 0, "rate": 0.0, "rate_low": None, "rate_high": None, "cost": 0.1, "seeds": 1,
        "seeds_accepted": 0, "steps": 10, "setting": json.dumps(P2), "ends": "steps low", "rejected_by": "optimizer_state",
    },
    ("searched", "random", "adaptive"): {
        "tried": 3, "failed": 1, "accepted": 2, "rate": 0.25, "rate_of": 100, "rate_low": 0.16878, "rate_high": 0.34655,
        "cost": 0.1, "cost_low": 0.05, "cost_high": 0.1, "seeds": 3, "seeds_accepted": 2, "setting": json.dumps(P2),
    },
    ("declared", "published", "declared"): {
        "tried": 2, "failed": 1, "accepted": 1, "rate": 0.5, "rate_of": 2, "cost": 1.5, "cost_low": 1.5, "cost_high": 2.5,
    },
    ("null", "strict", "declared"): {
        "tried": 0, "failed": 3, "accepted": 0, "rate_low": None, "rate_high": None, "seeds": 0, "is_control": True,
        "cost_low": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("key", EXPECTED, ids=", ".join)
def test_every_number_of_a_cell(key: tuple[str, str, str]) -> None:
    cell = CELLS[key]
    found = {name: getattr(cell, name) for name in EXPECTED[key]}
    assert found == pytest.approx(EXPECTED[key], abs=1e-5)


def test_what_passes_only_where_it_was_made_again_for_another_policy_counts() -> None:
    """`strict` rejects all at the search's seed; the point that `published` had made again passes it at seed 5."""

    def passing(trial_id: str, trial: Trial) -> JudgedTrial:
        found = answer(trial_id, trial)
        if (trial.arm, trial.spoof.steps, trial.spoof.seed) != ("searched", 320, 5) or found.row is None:
            return found
        return replace(found, verdicts=verdicts_of(found.row, {"published": "", "strict": "", "random": 0}))

    searches = searches_of(budget=3)
    run = drive(searches, passing)
    rows = [one.row for one in run.outcomes.values() if one.row is not None]
    verdicts = [verdict for one in run.outcomes.values() for verdict in one.verdicts.values()]
    found = cells_of(searches, DESIGN, rows, verdicts, sweep_id="made")
    (cell,) = [c for c in found if (c.arm, c.policy, c.mode) == ("searched", "strict", "adaptive")]
    assert (cell.tried, cell.accepted, cell.seeds, cell.seeds_accepted) == (5, 1, 3, 1)
    assert (cell.cost, cell.rate, cell.rejected_by, cell.setting) == (0.3, 1.0, "", json.dumps(P1))
    assert cell.is_broken


def test_every_arm_meets_every_policy() -> None:
    arms = (HONEST, "infinitesimal", "null", "searched", "declared")
    assert list(CELLS) == [
        (arm, policy, mode)
        for arm in arms
        for policy in ("published", "strict", "random")
        for mode in ("declared", "adaptive")
        if mode == "declared" or arm == "searched"
    ]
    for cell in CELLS.values():
        assert (cell.version, cell.sweep_id, cell.dataset, cell.model) == (CELLS_VERSION, "made", "digits", "resnet8")
        assert (cell.train_steps, cell.interval, cell.batch_size) == (40, 10, 32)
        assert cell.claims in CLAIMS
        assert cell.is_broken is (cell.accepted > 0)
    assert len({cell.key for cell in CELLS.values()}) == len(CELLS)
    searched = json.loads(CELLS["searched", "strict", "adaptive"].searched)
    assert searched == {"steps": "10..320 by 10, log", "spoof.declares": "honest_schedule, no_momentum"}


def test_without_a_verdict_there_is_no_number() -> None:
    for policy in ("published", "strict", "random"):
        cell = CELLS["null", policy, "declared"]
        assert (cell.rate, cell.cost, cell.success, cell.replayed) == (None, None, None, None)


def test_cells_come_back_from_the_folder_as_they_were(tmp_path: Path) -> None:
    results = open_location(tmp_path)
    assert read_cells(results) == []
    cells = made_cells()
    assert write_cells(results, "made", cells).path.endswith("cells/made.parquet")
    assert read_cells(results) == cells


def test_no_policy_that_judged_nothing_and_no_arm_that_was_not_run_has_a_cell() -> None:
    searches, rows, verdicts = made_arena()
    none = cells_of(searches_of(), DESIGN, [], [], sweep_id="made")
    assert none == []
    only = [verdict for verdict in verdicts if verdict.policy == "strict"]
    assert {cell.policy for cell in cells_of(searches, DESIGN, rows, only, sweep_id="made")} == {"strict"}


def test_a_search_that_was_interrupted_at_once_has_cells() -> None:
    for most in range(20):
        searches = searches_of(budget=3)
        run = drive(searches, answer, most=most)
        rows = [one.row for one in run.outcomes.values() if one.row is not None]
        verdicts = [verdict for one in run.outcomes.values() for verdict in one.verdicts.values()]
        for cell in cells_of(searches, DESIGN, rows, verdicts, sweep_id="made"):
            assert cell.accepted <= cell.tried
            assert cell.seeds_accepted <= cell.seeds


def test_of_a_spoof_that_does_not_compare_in_time_the_cell_says_so() -> None:
    """An estimate on another device: accepted at no known cost."""

    def elsewhere(trial_id: str, trial: Trial) -> JudgedTrial:
        found = answer(trial_id, trial)
        return replace(found, row=found.row and replace(found.row, ratio_working=None, simulated=True))

    searches = searches_of(budget=0)
    run = drive(searches, elsewhere)
    verdicts = [verdict for one in run.outcomes.values() for verdict in one.verdicts.values()]
    found = cells_of(searches, DESIGN, [], verdicts, sweep_id="made")
    (cell,) = [c for c in found if (c.arm, c.policy, c.mode) == ("searched", "published", "declared")]
    assert (cell.cost, cell.cost_low, cell.cost_high, cell.simulated) == (None, None, None, True)
    assert (cell.accepted, cell.rate) == (3, 1.0)


RATES: Final[list[tuple[float, int, float | None, float | None]]] = [
    (1.0, 1, 0.025, 1.0),
    (0.0, 1, 0.0, 0.975),
    (0.5, 10, 0.18709, 0.81291),
    (0.2, 5, 0.00505, 0.71642),
    (0.0, 100, 0.0, 1 - 0.025**0.01),
    (math.nan, 5, None, None),
    (0.0, 0, None, None),
]


@pytest.mark.parametrize(("rate", "of", "low", "high"), RATES)
def test_the_interval_of_clopper_and_pearson(rate: float, of: int, low: float | None, high: float | None) -> None:
    assert interval_of(rate, of) == pytest.approx((low, high), abs=1e-5)


CLAIMED: Final[list[tuple[dict[str, Any], str]]] = [
    ({"attack": "perturbation"}, "W_T"),
    ({"attack": "untrained"}, "nothing"),
    ({"attack": "misdeclared"}, "other data"),
    ({"attack": "forge_batch"}, "other data"),
    ({"attack": "retrain"}, "another model"),
    ({"attack": "continued"}, "another model"),
    ({"attack": "blend"}, "another model"),
    ({"attack": "own", "claimed_l2": 0.5}, "another model"),
    ({"attack": "own", "claimed_l2": 0.0}, "W_T"),
    ({"attack": NO_ATTACK, "arm": HONEST}, "W_T"),
]


@pytest.mark.parametrize(("changes", "claims"), CLAIMED)
def test_what_is_claimed(changes: dict[str, Any], claims: str) -> None:
    assert claims_of(replace(made_row(0), **changes)) == claims


def test_claims_are_of_attacks_that_there_are() -> None:
    known = {type(config).__module__.rpartition(".")[2] for config in PRESETS.values()}
    assert {*module._LIARS, *module._OTHER, module.UNTRAINED} <= known
