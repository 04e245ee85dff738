"""Rows of trials that nobody ran, written as a sweep writes them."""

import hashlib
from dataclasses import replace
from pathlib import Path

from raypol.core.distances import METRICS
from raypol.store.location import open_location
from raypol.store.results.files import write_trial
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow


def made_row(number: int, *, sweep_id: str = "made") -> TrialRow:
    """A row with a number of each kind."""
    return TrialRow(
        sweep_id=sweep_id, trial_id=f"{sweep_id}-{number}", proof_id=f"proof-{number}", arm="III", attack="perturbation",
        dataset="digits", dataset_sha256="0" * 64, model="resnet8", steps=10, interval=5, batch_size=8, seed=number,
        device="cpu", device_name="a CPU", status="ok", error_l2=0.5 + number, error_l1=float("nan"), success=True,
        retries=3, wall_s=2.0, verify_s=1.0, started_at="2026-01-02T03:04:05+00:00", commit="c0ffee",
    )  # fmt: skip


def made_intervals(row: TrialRow, number: int = 2) -> list[IntervalRow]:
    """One row per interval and metric."""
    return [
        IntervalRow(
            sweep_id=row.sweep_id, trial_id=row.trial_id, proof_id=row.proof_id, step_from=i, step_to=i + 1, metric=metric,
            distance=1.0, normalised=0.1 * i, threshold=2.0, passed=True, movement=1.0, control=None, removed_share=None,
            state_distance=0.0, buffer_distance=0.0, accuracy=0.5 + i / 10_000, loss=1.0,
        )
        for i in range(number)
        for metric in METRICS
    ]  # fmt: skip


def made_verdict(row: TrialRow, policy: str, rejected_by: str = "", **changed: object) -> VerdictRow:
    """What a policy says of a row: accepted unless checks reject it."""
    verdict = VerdictRow(
        sweep_id=row.sweep_id, trial_id=row.trial_id, proof_id=row.proof_id, arm=row.arm, policy=policy,
        policy_sha256=hashlib.sha256(policy.encode()).hexdigest(), nonce=1, selection="all", replayed=2, num_intervals=2,
        unjudged=0, outcome="rejected" if rejected_by else "accepted", accepted=not rejected_by, rejected_by=rejected_by,
        accepted_nonces=int(not rejected_by), success=not rejected_by, bound_by="", verdict_sha256="0" * 64, verdict="{}",
    )  # fmt: skip
    return replace(verdict, **changed)  # type: ignore[arg-type]


def write_rows(folder: Path, number: int, *, sweep_id: str = "made") -> list[TrialRow]:
    """Rows 0 to `number` - 1 of a sweep, in the results folder."""
    rows = [made_row(i, sweep_id=sweep_id) for i in range(number)]
    for row in rows:
        write_trial(open_location(folder), row, made_intervals(row))
    return rows


def rewrite(folder: Path, row: TrialRow, **changed: object) -> TrialRow:
    """The row as a second try left it."""
    row = replace(row, **changed)  # type: ignore[arg-type]
    write_trial(open_location(folder), row, made_intervals(row))
    return row
