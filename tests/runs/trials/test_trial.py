"""One trial: what its rows hold, that it never raises, and that nothing of a failed one stays."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from raypol.cluster.runners import LocalRunner
from raypol.core.attacks import find_attack
from raypol.core.attacks.null import craft as ordinary
from raypol.core.datasets.load import load_dataset
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.progress import TimeLeft
from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.policies import Policy, Use, find_policy, published, strict
from raypol.core.verification.thresholds import RELATIVE
from raypol.runs.sweeps.demo import run_concurrently
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.runs.trials.verify import Examination, examine_proof
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.results.files import read_verdicts
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder
from raypol.store.verdicts import differences, read_verdict, verdict_file
from tests.runs.conftest import Fresh, Recorded
from tests.studies import QUICK_ARMS, SHORT, TRAIN, on, prepare, query, trial

# Columns that other programs build on.
TRIALS = {
    "sweep_id", "trial_id", "proof_id", "arm", "attack", "objective", "crafting", "trajectory", "dataset",
    "model", "steps", "interval", "batch_size", "seed", "alpha", "linf_limit", "noise", "device",
    "device_name", "simulated", "estimated", "replay_augmentation", "threshold_kind", "status", "message", "accepted_published",
    "accepted_strict", "rejected_by", "error_l1", "error_l2", "error_linf", "error_cos", "mean_error_l1",
    "mean_error_l2", "mean_error_linf", "mean_error_cos", "removed_share_l1", "removed_share_l2",
    "removed_share_linf", "removed_share_cos", "device_s", "wall_s", "gradient_evals", "step_equivalents",
    "size_bytes", "size_weights_bytes", "size_optimizer_bytes", "size_indices_bytes", "size_points_bytes",
    "accuracy_final", "perturbation_linf", "perturbation_l2", "success", "bound_by", "versions", "commit",
}  # fmt: skip
INTERVALS = {
    "trial_id", "proof_id", "step_from", "step_to", "metric", "distance", "normalised", "threshold", "passed", "movement",
    "accuracy",
}  # fmt: skip


# --- own attacks, good and bad ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Odd:
    """Means other things by the names of columns than the built-in attacks do."""

    alpha: str = "strong"
    iterations: float = 2.5
    objective: tuple[str, ...] = ("a", "b")
    linf_limit: int = 1
    crafting: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """Fails in its own way."""

    way: str = "raises"


def _broken(scene: Scene, interval: Interval, start: Checkpoint, config: Broken) -> Crafted:
    made = ordinary(scene, interval, start, config)
    if config.way == "raises late" and interval.index > 0:
        raise RuntimeError("no idea what to do\nwith this interval")
    if config.way == "too few batches":
        return replace(made, batches=made.batches[:-1])
    if config.way == "not a number":
        pixels = torch.full((len(made.batches[0].labels), 1, 8, 8), math.nan)
        return replace(made, batches=[replace(batch, pixels=pixels) for batch in made.batches])
    return made


ODD = AttackMethod(config=Odd, craft=ordinary)
BROKEN = AttackMethod(config=Broken, craft=_broken)


def leftovers(results: Path) -> list[Path]:
    return [path for path in (results / ".staging").rglob("*") if path.is_file()]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_every_arm_has_a_row_and_its_intervals(recorded: Recorded) -> None:
    for arm, outcome in recorded.spoofs.items():
        assert outcome.row.status == "ok", outcome.row.message
        assert (outcome.row.arm, outcome.row.steps, outcome.row.interval) == (arm, 10, 5)
        assert len(outcome.intervals) == 2 * len(METRICS)
    assert len({outcome.row.trial_id for outcome in recorded.spoofs.values()}) == len(QUICK_ARMS)
    assert len({outcome.row.proof_id for outcome in recorded.spoofs.values()}) == len(QUICK_ARMS)


def test_pyarrow_reads_the_columns_that_others_build_on(recorded: Recorded) -> None:
    table = pq.read_table(recorded.folder / "trials")
    assert set(table.column_names) >= TRIALS
    assert table.num_rows == 1 + len(QUICK_ARMS)
    rows = {row["arm"]: row for row in table.to_pylist()}
    for arm, outcome in {"honest": recorded.honest, **recorded.spoofs}.items():
        for name, value in rows[arm].items():
            kept = getattr(outcome.row, name)
            assert value == (None if isinstance(kept, float) and math.isnan(kept) else kept)
    intervals = pq.read_table(recorded.folder / "intervals")
    assert set(intervals.column_names) >= INTERVALS
    assert intervals.num_rows == 4 * (4 + 2 * len(QUICK_ARMS))


def test_duckdb_reads_them_with_a_glob(recorded: Recorded) -> None:
    trials, intervals = (f"'{recorded.folder}/{name}/*.parquet'" for name in ("trials", "intervals"))
    columns = [row[0] for row in query(f"DESCRIBE SELECT * FROM {trials}")]  # noqa: S608
    assert set(columns) >= TRIALS
    found = query(
        f"SELECT t.arm, t.error_l2, max(i.normalised), count(*) FROM {trials} t JOIN {intervals} i USING (trial_id) "  # noqa: S608
        "WHERE i.metric = 'l2' GROUP BY ALL"
    )
    assert {arm: count for arm, _, _, count in found} == {"honest": 4} | dict.fromkeys(QUICK_ARMS, 2)
    assert all(error == worst for _, error, worst, _ in found)


def test_the_rows_agree_with_their_intervals(recorded: Recorded) -> None:
    d_ref = recorded.study.d_ref
    for outcome in (recorded.honest, *recorded.spoofs.values()):
        row = outcome.row
        assert row.intervals_verified == row.num_intervals
        for metric in METRICS:
            own = [i for i in outcome.intervals if i.metric == metric]
            assert [(i.step_from, i.step_to) for i in own] == [
                (start, min(start + row.interval, row.steps)) for start in range(0, row.steps, row.interval)
            ]
            assert getattr(row, f"error_{metric}") == max(i.normalised for i in own)
            assert getattr(row, f"mean_error_{metric}") == pytest.approx(sum(i.normalised for i in own) / len(own))
            assert getattr(row, f"jump_{metric}") == pytest.approx(max(i.movement for i in own) / d_ref[metric])
            for i in own:
                assert i.normalised == pytest.approx(i.distance / d_ref[metric])
                assert i.threshold == pytest.approx(getattr(RELATIVE, metric) * d_ref[metric])
                assert i.passed == (i.distance <= i.threshold)
        accuracies = {i.step_to: i.accuracy for i in outcome.intervals}
        assert row.accuracy_final == accuracies[row.steps]


def test_a_spoof_ends_where_the_proof_ends(recorded: Recorded) -> None:
    for outcome in recorded.spoofs.values():
        assert outcome.row.accuracy_final == recorded.honest.row.accuracy_final


def test_sizes_add_up_to_the_files(recorded: Recorded) -> None:
    for outcome in (recorded.honest, *recorded.spoofs.values()):
        row, folder = outcome.row, recorded.folder / "proofs" / outcome.row.proof_id
        on_disk = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        parts = (
            row.size_weights_bytes,
            row.size_optimizer_bytes,
            row.size_indices_bytes,
            row.size_points_bytes,
            row.size_overhead_bytes,
        )
        assert row.size_bytes == on_disk == sum(part or 0 for part in parts)


def test_the_honest_row_is_the_measure(recorded: Recorded) -> None:
    row = recorded.honest.row
    assert (row.arm, row.attack, row.status, row.steps) == ("honest", "none", "ok", 40)
    assert row.step_equivalents == 1.0
    assert {name: getattr(row, f"ratio_{name}") for name in ("error_l1", "error_cos", "time", "size")} == dict.fromkeys(
        ("error_l1", "error_cos", "time", "size"), 1.0
    )
    assert row.success is None
    assert row.removed_share_l2 is None or math.isnan(row.removed_share_l2)


def test_the_controls_are_what_they_are_for(recorded: Recorded) -> None:
    null, forged = recorded.spoofs["null"], recorded.spoofs["forged_momentum"]
    # null's own error is the reference of removed share: it removes nothing.
    for i in null.intervals:
        assert i.control == i.distance
        assert not i.removed_share
    for name, outcome in recorded.spoofs.items():
        for mine, theirs in zip(outcome.intervals, null.intervals, strict=True):
            if name != "I-tail":  # whose start of the last interval is where honest training led
                assert mine.movement == theirs.movement
            if name.startswith(("II", "III")) and mine.step_from == 0:
                assert mine.control == theirs.distance
    assert "optimizer_state" in str(forged.row.rejected_by)
    assert "optimizer_state" not in str(forged.row.rejected_by_published)
    assert forged.row.error_l2 < 1e-3  # type: ignore[operator]
    assert recorded.spoofs["infinitesimal"].row.error_l2 == pytest.approx(null.row.jump_l2, rel=1e-3)


def test_success_is_told_apart_by_condition(recorded: Recorded) -> None:
    for outcome in recorded.spoofs.values():
        row = outcome.row
        conditions = [getattr(row, f"ratio_error_{m}") < 1 for m in METRICS] + [row.ratio_time < 1, row.ratio_size < 1]  # type: ignore[operator]
        assert row.success == (all(conditions) and row.accepted_published)
        assert row.success_strict == (all(conditions) and row.accepted_strict)
        assert row.bound_by
        assert row.proof_reference == recorded.honest.row.proof_id
        assert row.ratio_time == pytest.approx(row.device_s / recorded.honest.row.device_s)  # type: ignore[operator]
        assert row.ratio_size == pytest.approx(row.size_bytes / recorded.honest.row.size_bytes)  # type: ignore[operator]


def test_every_policy_has_a_row_with_its_verdict(recorded: Recorded, local: LocalRunner, tmp_path: Path) -> None:
    rows = read_verdicts(recorded.study.results)
    assert len(rows) == 2 * (1 + len(recorded.spoofs))
    for outcome in [recorded.honest, *recorded.spoofs.values()]:
        by_published, by_strict = (row for row in rows if row.trial_id == outcome.row.trial_id)
        assert (by_published.policy, by_strict.policy) == ("published", "strict")
        assert by_published.policy_sha256 == published.sha256
        assert (by_published.accepted, by_strict.accepted) == (
            outcome.row.accepted_published,
            outcome.row.accepted_strict,
        )
        assert (by_published.success, by_strict.success) == (outcome.row.success, outcome.row.success_strict)
        assert by_strict.rejected_by == outcome.row.rejected_by
        assert by_strict.replayed == by_strict.num_intervals == outcome.row.num_intervals
    row = next(row for row in rows if row.arm == "III-loss" and row.policy == "published")
    (tmp_path / "verdict.json").write_text(row.verdict)
    before = read_verdict(open_location(tmp_path / "verdict.json"))
    assert before.sha256 == row.verdict_sha256
    proof = ResultsFolder(recorded.study.results).proof(row.proof_id)
    repeated = Examination(conditions=before.conditions())
    evidence, _ = examine_proof(local, proof, trial("null").data, repeated)
    policy = before.own_policy()
    verdict = policy(evidence, before.slack(), before.reference())
    after = verdict_file(verdict, policy, evidence, before.slack(), before.reference(), {})
    assert not list(differences(before, after)), "the row's verdict can be repeated from the row"


def test_further_policies_judge_the_same_evidence(fresh: Fresh) -> None:
    perfect = Use(check="accuracy_curve", parameters={"least": [0.0, 1.1]})
    careful = Policy(name="careful", checks=(*strict.checks, perfect))
    asked = trial("III-loss", policies=(careful, find_policy("strict+memorisation")))
    assert asked.trial_id("test") != trial("III-loss").trial_id("test")
    outcome = fresh.run(asked)
    assert [row.policy for row in outcome.judged] == ["published", "strict", "careful", "strict+memorisation"]
    assert outcome.judged[-2].rejected_by.split(",")[-1] == "accuracy_curve"
    assert "AUC" in outcome.verdicts[-1].checks[-1].detail, "what only one of them looks at is gathered"
    assert outcome.row.rejected_by == outcome.judged[1].rejected_by


def test_how_a_number_was_obtained_is_in_its_row(recorded: Recorded) -> None:
    row = recorded.spoofs["III-invisible"].row
    assert (row.objective, row.crafting, row.iterations, row.linf_limit) == ("loss", "signed", 2, 8 / 255)
    assert (row.trajectory, row.initial, row.noise, row.carry) == ("linear", "strict", 0.0, "exact")
    assert (row.replay_augmentation, row.replay_precision) == ("fresh", "float32")
    assert (row.replay_device, row.replay_threads) == ("cpu", 1)
    slack = RELATIVE
    assert (row.threshold_kind, row.threshold_l1, row.threshold_late) == ("relative", slack.l1, None)
    assert (row.is_ok, row.is_honest, row.is_control) == (True, False, False)
    assert recorded.honest.row.is_honest
    assert [recorded.spoofs[arm].row.is_control for arm in ("null", "infinitesimal")] == [True, True]
    assert (row.device, row.device_name != "", row.simulated, row.estimated) == ("cpu", True, False, False)
    assert json.loads(row.versions)["torch"] == torch.__version__.split("+")[0] or json.loads(row.versions)["torch"]
    assert row.perturbation_linf == pytest.approx(8 / 255, abs=1e-6)
    assert recorded.spoofs["null"].row.objective is None


def test_what_has_no_value_is_null_and_not_nan(fresh: Fresh) -> None:
    outcome = fresh.run(trial("nan", attack=Broken(way="not a number")))
    row = outcome.row
    assert row.status == "ok", row.message
    assert not row.accepted_published
    assert row.intervals_verified == 0
    assert math.isnan(row.error_l2)  # type: ignore[arg-type]
    (kept,) = pq.read_table(fresh.folder / "trials" / f"{row.trial_id}.parquet").to_pylist()
    assert kept["error_l2"] is kept["mean_error_cos"] is kept["jump_l1"] is kept["removed_share_linf"] is None
    assert kept["success"] is False
    counts = query(
        f"SELECT count(*) FILTER (isnan(error_l2)), count(error_l2), count(*) FROM '{fresh.folder}/trials/*.parquet'"  # noqa: S608
    )
    assert counts == [(0, 1, 2)]


# --- an adversary with other data ----------------------------------------------------------------------------------


def test_a_spoof_from_other_data_uses_those_alone_and_is_judged_with_them(local: LocalRunner, tmp_path: Path) -> None:
    train, forged = replace(TRAIN, dataset="digits/D1"), replace(SHORT, dataset="digits/D2")
    study, asked = (
        prepare(local, open_location(tmp_path), train=train),
        trial("III-invisible", train=train, spoof=forged),
    )
    honest = run_honest(local, study, asked).row
    row = run_trial(local, study, asked, honest).row
    assert (row.status, row.message) == ("ok", "")
    assert (honest.dataset, row.dataset) == ("digits/D1", "digits/D2")
    ours, theirs = load_dataset("digits/D2"), load_dataset("digits/D1")
    assert row.dataset_sha256 == ours.sha256 != honest.dataset_sha256

    folder = study.results / "proofs" / str(row.proof_id)
    proof = ParquetProof(folder)
    assert proof.recipe.transform.mean == study.proof.manifest.recipe.transform.mean, "they belong to W_T"
    assert proof.num_points > 0
    stored = proof.points(np.arange(proof.num_points))
    originals = ours.pixels[stored.sources]
    assert int((stored.pixels.int() - originals.int()).abs().max()) <= 8
    assert int((stored.pixels.int() - theirs.pixels[stored.sources].int()).abs().max()) > 8

    evidence, _ = examine_proof(local, folder, asked.data, asked.examination)
    assert not evidence.survey.hashes
    with pytest.raises(InputError, match="the proof is about dataset 'digits/D2'; expected 'digits/D1'"):
        examine_proof(local, folder, train.data, asked.examination)


def test_other_data_that_do_not_exist_are_a_failed_trial(fresh: Fresh) -> None:
    row = fresh.run(trial("null", spoof=replace(SHORT, dataset="no_such_set"))).row
    assert (row.status, row.dataset, row.dataset_sha256) == ("error", "no_such_set", "")
    assert "unknown dataset 'no_such_set'; possible: digits" in row.message


# --- trials that fail ------------------------------------------------------------------------------------------------


FAILING: list[tuple[str, dict[str, Any], str]] = [
    ("raises", {"attack": Broken(way="raises late")}, "RuntimeError: no idea what to do"),
    (
        "short",
        {"attack": Broken(way="too few batches")},
        "expected 5 crafted batches, the attack made 4",
    ),
    ("unknown", {"attack": object()}, "InputError: expected one AttackMethod(config=object, ...) in module builtins"),
    (
        "long k",
        {"attack": find_attack("null"), "spoof": replace(SHORT, steps=4)},
        "InputError: expected steps",
    ),
    (
        "large batch",
        {"attack": find_attack("iii_loss"), "spoof": replace(SHORT, batch_size=5000)},
        "InputError: expected batch_size in 1..1438",
    ),
]


@pytest.mark.parametrize(("arm", "changes", "said"), FAILING, ids=[case[0] for case in FAILING])
def test_a_trial_that_fails_is_a_row_and_leaves_nothing(
    fresh: Fresh, arm: str, changes: dict[str, Any], said: str
) -> None:
    outcome = fresh.run(trial(arm, **changes))
    assert outcome.row.status == "error"
    assert said in outcome.row.message
    assert "Traceback" in outcome.row.message
    assert outcome.row.success is None
    assert outcome.intervals == ()
    (kept,) = pq.read_table(fresh.folder / "trials" / f"{outcome.row.trial_id}.parquet").to_pylist()
    asked: SpoofConfig = changes.get("spoof", SHORT)
    assert (kept["status"], kept["arm"], kept["steps"], kept["interval"]) == ("error", arm, asked.steps, asked.interval)
    assert leftovers(fresh.folder) == []
    assert len(list((fresh.folder / "proofs").iterdir())) == 2


def test_the_other_trials_go_on(local: LocalRunner, fresh: Fresh) -> None:
    trials = [
        trial("raises", attack=Broken(way="raises late")),
        trial("null"),
        trial("unknown", attack=object()),
        trial("III-loss"),
    ]
    outcomes = {o.row.arm: o.row for o in run_concurrently(local, fresh.study, trials, fresh.honest, TimeLeft("trial"))}
    assert {arm: row.status for arm, row in outcomes.items()} == {
        "raises": "error",
        "null": "ok",
        "unknown": "error",
        "III-loss": "ok",
    }
    assert len(list((fresh.folder / "trials").glob("*.parquet"))) == 5
    assert leftovers(fresh.folder) == []


def test_who_stops_listening_stops_the_trials(local: LocalRunner, fresh: Fresh) -> None:
    trials = [trial("null", spoof=replace(SHORT, seed=i)) for i in range(12)]
    outcomes = run_concurrently(local, fresh.study, trials, fresh.honest, TimeLeft("trials"))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(list((fresh.folder / "trials").glob("*.parquet"))) < 12


def test_an_own_attack_may_mean_other_things_by_a_columns_name(fresh: Fresh) -> None:
    row = fresh.run(trial("odd", attack=find_attack(f"{__name__}:ODD"))).row
    assert row.status == "ok", row.message
    assert (row.alpha, row.iterations, row.objective, row.crafting, row.linf_limit) == (None, None, None, None, 1.0)
    assert row.attack == "test_trial"


REFUSED: list[tuple[str, SpoofConfig, str]] = [
    ("null", replace(SHORT, grants=("usual",)), "k = 5 where the verifier's is 10 uses interval"),
    ("null", replace(SHORT, grants=("usual", "interval", "no_order")), "an own order of the data uses order"),
    ("III-loss", replace(SHORT, grants=("usual", "interval", "no_own_points")), "attack AttackIII uses own_points"),
]


@pytest.mark.parametrize(("arm", "spoof", "said"), REFUSED)
def test_a_trial_that_uses_what_is_not_granted_is_a_row_that_says_so(
    fresh: Fresh, arm: str, spoof: SpoofConfig, said: str
) -> None:
    proofs = set((fresh.folder / "proofs").iterdir())
    outcome = fresh.run(trial(arm, spoof=spoof))
    assert outcome.row.status == "refused"
    assert outcome.row.message.startswith(said)
    assert "Traceback" not in outcome.row.message
    assert (outcome.row.success, outcome.row.accepted_strict, outcome.row.error_l2) == (None, None, None)
    assert outcome.row.grants == ",".join(spoof.grants)
    assert outcome.intervals == ()
    (kept,) = pq.read_table(fresh.folder / "trials" / f"{outcome.row.trial_id}.parquet").to_pylist()
    assert (kept["status"], kept["message"], kept["grants"]) == ("refused", outcome.row.message, outcome.row.grants)
    assert leftovers(fresh.folder) == []
    assert set((fresh.folder / "proofs").iterdir()) == proofs


def test_a_failed_trial_takes_its_place_when_run_again(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = Broken(way="raises late")
    failed = fresh.run(trial("again", attack=attack))
    with monkeypatch.context() as patched:  # the user mends the attack
        patched.setattr(f"{__name__}.BROKEN", replace(BROKEN, craft=ordinary))
        mended = fresh.run(trial("again", attack=attack))
    assert failed.row.trial_id == mended.row.trial_id
    (kept,) = pq.read_table(fresh.folder / "trials" / f"{mended.row.trial_id}.parquet").to_pylist()
    assert kept["status"] == "ok"
    assert pq.read_table(fresh.folder / "intervals" / f"{mended.row.trial_id}.parquet").num_rows == 8
    assert not list(fresh.folder.rglob("*.tmp"))


def test_run_again_a_trial_replaces_its_own_row(fresh: Fresh) -> None:
    first = fresh.run(trial("II"))
    proofs = set((fresh.folder / "proofs").iterdir())
    root = ParquetProof(open_location(fresh.folder / "proofs" / first.row.proof_id)).root
    second = fresh.run(trial("II"))
    assert (first.row.trial_id, first.row.proof_id) == (second.row.trial_id, second.row.proof_id)
    assert set((fresh.folder / "proofs").iterdir()) == proofs
    assert ParquetProof(open_location(fresh.folder / "proofs" / first.row.proof_id)).root == root
    assert pq.read_table(fresh.folder / "trials").num_rows == 2
    assert repr(first.intervals) == repr(second.intervals)


@pytest.mark.parametrize(
    "change",
    [
        {"arm": "another name"},
        {"spoof": replace(SHORT, seed=1)},
        {"spoof": replace(SHORT, carry="restart")},
        {"attack": find_attack("null")},
    ],
)
def test_trials_that_differ_in_anything_have_rows_of_their_own(fresh: Fresh, change: dict[str, Any]) -> None:
    first = fresh.run(trial("III-loss"))
    second = fresh.run(replace(trial("III-loss"), **change))
    assert first.row.trial_id != second.row.trial_id
    assert first.row.proof_id != second.row.proof_id
    assert pq.read_table(fresh.folder / "trials").num_rows == 3


# --- the same whatever runs beside it --------------------------------------------------------------------------------


def test_trials_at_once_are_the_same_as_one_after_the_other(tmp_path: Path) -> None:
    """In one process all threads share torch's generator, which dropout draws from."""
    train = replace(TRAIN, model="tests.scenes:smooth_dropout_net")
    trials = [trial("III-loss", train=train, spoof=replace(SHORT, seed=seed)) for seed in range(4)]

    def roots(folder: Path, *, at_once: bool) -> dict[int, str]:
        with LocalRunner(on()) as runner:
            study = prepare(runner, open_location(folder), train=train)
            honest = run_honest(runner, study, trials[0])
            found = (
                run_concurrently(runner, study, trials, honest, TimeLeft("trials"))
                if at_once
                else (run_trial(runner, study, t, honest.row) for t in trials)
            )
            rows: list[TrialRow] = [outcome.row for outcome in found]
        assert {row.status for row in rows} == {"ok"}
        return {row.seed: ParquetProof(study.results / "proofs" / row.proof_id).root for row in rows}

    assert roots(tmp_path / "together", at_once=True) == roots(tmp_path / "apart", at_once=False)
