"""The demo as a whole, tiny: every arm has its row, twice in one folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from raypol.cluster.runners import LocalRunner
from raypol.core.attacks import method_of
from raypol.core.errors import InputError
from raypol.core.progress import TimeLeft
from raypol.runs.designs.design import Arm, Design
from raypol.runs.sweeps.demo import ARMS, CALIBRATED_ON, LONG, POINTS, SHARE, run_demo
from raypol.store.location import open_location
from raypol.store.quoting import sql_rows
from tests.conftest import Shown
from tests.studies import FEW_ARMS, QUICK_ARMS, TRAIN, query


def test_every_arm_has_a_row_in_the_order_asked(shown: Shown) -> None:
    assert [(o.row.arm, o.row.steps, o.row.interval) for o in shown.first.outcomes] == [
        ("honest", 40, 10),
        *((arm, 10, 5) for arm in FEW_ARMS),
        *((arm, 10, 4) for arm in FEW_ARMS),
    ]
    assert [outcome.row.arm for outcome in shown.second.outcomes] == ["honest", *QUICK_ARMS]
    for run in (shown.first, shown.second):
        assert {outcome.row.status for outcome in run.outcomes} == {"ok"}
        assert {outcome.row.sweep_id for outcome in run.outcomes} == {run.study.sweep_id}


def test_a_second_run_reuses_the_proof_and_adds_its_own_rows(shown: Shown) -> None:
    assert shown.first.study.sweep_id != shown.second.study.sweep_id
    assert shown.first.study.proof.proof_id == shown.second.study.proof.proof_id
    assert (shown.first.study.proof.reused, shown.second.study.proof.reused) == (False, True)
    assert "reused" in shown.second.outcomes[0].row.message
    rows = sql_rows(shown.folder)
    found = query(f"SELECT sweep_id, count(*), count(DISTINCT proof_id) FROM {rows} GROUP BY 1")  # noqa: S608
    assert set(found) == {(shown.first.study.sweep_id, 5, 5), (shown.second.study.sweep_id, 9, 9)}


def test_the_same_seed_forges_the_same_spoofs(shown: Shown) -> None:
    again = {(outcome.row.arm, outcome.row.interval): outcome for outcome in shown.second.outcomes}
    both = [(one, again[key]) for one in shown.first.outcomes if (key := (one.row.arm, one.row.interval)) in again]
    assert len(both) == 1 + len(FEW_ARMS)
    for one, two in both:
        for column in (
            "error_l1",
            "error_l2",
            "error_linf",
            "error_cos",
            "accepted_strict",
            "size_bytes",
            "num_points",
        ):
            assert repr(getattr(one.row, column)) == repr(getattr(two.row, column)), (one.row.arm, column)


def test_nothing_half_written_stays(shown: Shown) -> None:
    assert [path for path in (shown.folder / ".staging").rglob("*") if path.is_file()] == []
    assert not list(shown.folder.rglob("*.tmp"))
    assert len(list((shown.folder / "proofs").iterdir())) == 2 + 4 + 8


def test_figures_and_the_tracking_store_lie_in_the_folder(shown: Shown) -> None:
    stems = ("panels", "verdicts", "pareto", "frontier", "stages", "accuracy", "before_after")
    assert {path.name for path in (shown.folder / "figures").iterdir()} == {
        f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")
    }
    assert (shown.folder / "mlflow.db").exists()


def test_progress_and_outcomes_are_told_as_they_come(local: LocalRunner, tmp_path: Path) -> None:
    events: list[tuple[str, int, int]] = []
    lefts: list[TimeLeft | None] = []

    def hear(what: str, done: int, of: int, left: TimeLeft | None = None) -> None:
        events.append((what, done, of))
        lefts.append(left)

    arms: list[str] = []
    run_demo(
        local,
        open_location(tmp_path),
        TRAIN,
        points=[(10, 5)],
        arms=FEW_ARMS,
        on_progress=hear,
        on_outcome=lambda row, _: arms.append(row.arm),
    )
    assert events[0] == ("counting the work of the trials", 0, 4)
    training = [event for event in events if "training" in event[0]]
    rest = events[1 + len(training) :]
    assert events[1 : 1 + len(training)] == training
    assert {(bool(done), of) for _, done, of in training} <= {(False, 0), (True, 2 * TRAIN.steps)}, "never 0 of 80"
    assert [(done, of) for _, done, of in rest] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [left is None for left in lefts[-3:]] == [False] * 3
    assert arms[0] == "honest"
    assert sorted(arms[1:]) == ["III-loss", "null"]


def test_what_listens_may_stop_the_demo(local: LocalRunner, tmp_path: Path) -> None:
    def refuse(_: object, __: object) -> None:
        raise InputError("enough")

    with pytest.raises(InputError, match="enough"):
        run_demo(
            local,
            open_location(tmp_path),
            TRAIN,
            points=[(10, 5)],
            arms={"null": QUICK_ARMS["null"]},
            on_outcome=refuse,
        )


def test_the_full_demo_covers_every_attack_and_control() -> None:
    design = Design(train=TRAIN, arms=ARMS, space={})
    attacks = design.attacks()
    assert list(attacks) == list(ARMS), "no control is missing"
    assert {method_of(config).config.__module__.rpartition(".")[2] for config in attacks.values()} >= {
        "null",
        "infinitesimal",
        "ii",
        "iii",
        "forged_momentum",
        "steered",
    }
    assert design.choices("null, no momentum") == {"spoof.declares": "no_momentum"}
    assert set(LONG) <= set(ARMS)
    assert len(POINTS) == len(set(POINTS)) >= 2


def test_long_spoofs_and_calibrated_policies(local: LocalRunner, tmp_path: Path) -> None:
    arms = {"null": "null", "free": Arm("null", {"spoof.declares": "no_momentum"})}
    train = replace(TRAIN, share=SHARE)
    run = run_demo(
        local, open_location(tmp_path), train, points=[(20, 10)], arms=arms, long=["free"], calibrate_on=CALIBRATED_ON
    )
    found = {(outcome.row.arm, outcome.row.steps): outcome for outcome in run.outcomes}
    assert set(found) == {("honest", 40), ("null", 20), ("free", 20), ("free", 40)}
    assert {outcome.row.status for outcome in run.outcomes} == {"ok"}
    policies = ["published", "strict", "strict_trend", "calibrated", "bound"]
    assert all([one.policy for one in outcome.judged] == policies for outcome in run.outcomes)
    verdicts = {one.policy: one for one in found["honest", 40].judged}
    assert "bound_seed" not in verdicts["bound"].rejected_by, "the verifier knows the share that it gave"
    free = found["free", 40].row
    assert (free.gradient_evals, free.declares) == (0, "no_momentum")
    assert found["null", 20].row.gradient_evals == 20
