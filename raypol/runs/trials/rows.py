"""Fill a results row from a trial and its evidence: what was asked, where, what it cost, how it was judged."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from raypol.cluster.runners import Role, Runner
from raypol.core.arithmetic.precision import Precision
from raypol.core.distances import METRICS, Distances
from raypol.core.proof import Cost, Recipe
from raypol.core.scoring import Measurements, judge_success, largest, mean, overall_removed_share, removed_share
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.policies import Policy
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import Evidence
from raypol.runs.trials.environment import commit, versions, versions_text
from raypol.runs.trials.honest_proof import proof_id_of
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.store.proofs.format import Manifest
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from raypol.store.verdicts import as_json, verdict_file

NONCES: Final = 100
"""Verdicts of a policy that draws its intervals: a rate, not one throw."""


def trial_row(runner: Runner, study: Study, trial: Trial, recipe: Recipe, started: str) -> TrialRow:
    """Row of a spoof as it was asked for, and where; its status is "error" until it has ended."""
    asked = asked_columns(trial.attack, trial.spoof)
    row = base_row(
        runner, study, trial, arm=trial.arm, attack=asked["attack"], recipe=recipe, role="spoofer", started_at=started
    )
    dataset = trial.spoof.dataset or recipe.dataset
    return replace(
        row,
        trial_id=trial.trial_id(study.sweep_id),
        dataset=dataset,
        dataset_sha256=recipe.dataset_sha256 if recipe.dataset == dataset else "",
        **asked,
    )


def asked_columns(attack: object, spoof: SpoofConfig) -> dict[str, Any]:
    """Columns that an attack and the adversary's other choices fill, each from the field of its name."""
    path = spoof.trajectory
    asked: dict[str, Any] = {"steps": spoof.steps, "interval": spoof.interval, "seed": spoof.seed}
    for column in columns_of(TrialRow):
        if column.group == "attack":
            asked[column.name] = _hyperparameter(attack, column)
        elif column.group == "spoof":
            asked[column.name] = getattr(spoof if hasattr(spoof, column.name) else path, column.name, None)
    asked |= {"attack": _attack_name(attack), "trajectory": path.path, "grants": ",".join(spoof.grants)}
    return asked if path.path == "noisy" else asked | {"noise": 0.0, "noise_decay": None}


def judging_columns(
    conditions: Conditions, thresholds: Thresholds, recorded: Precision, kind: str, threads: int
) -> dict[str, Any]:
    """Columns of the conditions under which intervals are replayed, and of the slack."""
    slack = {f"threshold_{name}": getattr(thresholds, name) for name in ("kind", *METRICS)}
    return {
        "replay_augmentation": conditions.augmentation,
        "replay_precision": conditions.precision_for(recorded),
        "replay_device": kind,
        "replay_threads": threads,
        **slack,
        "threshold_late": thresholds.late if thresholds.kind == "dynamic" else None,
    }


def base_row(
    runner: Runner, study: Study, trial: Trial, *, arm: str, attack: str, recipe: Recipe, role: Role, started_at: str
) -> TrialRow:
    """Row with the columns that proofs and spoofs have in common."""
    facts, judge = runner.facts(role), runner.facts("verifier")
    return TrialRow(
        sweep_id=study.sweep_id,
        trial_id=proof_id_of("trial", {"sweep": study.sweep_id, "arm": arm, "proof": study.proof.proof_id}),
        proof_id="",
        arm=arm,
        attack=attack,
        dataset=recipe.dataset,
        model=recipe.model,
        steps=recipe.steps,
        interval=recipe.interval,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        device=str(runner.request(role)),
        device_name=facts.name,
        status="error",
        node=facts.node,
        dataset_sha256=recipe.dataset_sha256,
        prover_device=trial.prover,
        prover_device_name=study.proof.manifest.environment.get("device", ""),
        verifier_device=str(runner.request("verifier")),
        verifier_device_name=judge.name,
        verifier_node=judge.node,
        simulated=facts.simulated or judge.simulated or study.proof.manifest.environment.get("simulated") == "true",
        precision=recipe.precision,
        **judging_columns(trial.examination.conditions, trial.thresholds, recipe.precision, judge.kind, judge.threads),
        started_at=started_at,
        versions=versions_text(),
        commit=commit(),
    )


def judge(row: TrialRow, evidence: Evidence, study: Study, trial: Trial) -> TrialOutcome:
    """Judge a trial by every policy; fills errors and verdicts, and makes the rows of intervals and verdicts."""
    seen = [policy.part_of(evidence) for policy in trial.every_policy]
    verdicts = [
        policy(part, trial.thresholds, study.d_ref) for policy, part in zip(trial.every_policy, seen, strict=True)
    ]
    replays = evidence.replays
    errors = [replay.error.normalised(study.d_ref) for replay in replays]
    worst, average = largest(errors), mean(errors)
    movements = [evidence.survey.movements[replay.interval.index] for replay in replays]
    jump = largest(movement.normalised(study.d_ref) for movement in movements)
    removed = [
        removed_share(replay.control, replay.error, movement) if replay.control else None
        for replay, movement in zip(replays, movements, strict=True)
    ]
    share = overall_removed_share(
        [
            (replay.control, replay.error, movement)
            for replay, movement in zip(replays, movements, strict=True)
            if replay.control
        ]
    )
    buffers = largest(replay.buffer_error for replay in replays)
    intervals = []
    for replay, movement, bought, normalised in zip(replays, movements, removed, errors, strict=True):
        limit = trial.thresholds.at(replay.interval.stop / evidence.recipe.steps, study.d_ref, movement)
        intervals += [
            IntervalRow(
                sweep_id=row.sweep_id,
                trial_id=row.trial_id,
                proof_id=row.proof_id,
                step_from=replay.interval.start,
                step_to=replay.interval.stop,
                metric=m,
                distance=replay.error[m],
                normalised=normalised[m],
                threshold=limit[m],
                passed=math.isfinite(replay.error[m]) and replay.error[m] <= limit[m],
                movement=movement[m],
                control=replay.control[m] if replay.control else None,
                removed_share=bought[m] if bought else None,
                state_distance=replay.state_error[m],
                buffer_distance=replay.buffer_error[m],
                accuracy=evidence.survey.accuracies[replay.interval.index + 1],
                loss=replay.loss,
            )
            for m in METRICS
        ]
    accuracies = evidence.survey.accuracies
    by_published, by_strict, *_ = verdicts
    numbers: dict[str, Any] = {}
    for m in METRICS:
        numbers |= {f"error_{m}": worst[m], f"mean_error_{m}": average[m], f"jump_{m}": jump[m]}
        numbers[f"removed_share_{m}"] = share[m]
    row = replace(
        row,
        **numbers,
        num_intervals=evidence.recipe.num_intervals,
        intervals_verified=len(replays),
        accepted_published=by_published.is_valid,
        accepted_strict=by_strict.is_valid,
        rejected_by=by_strict.rejected_by,
        rejected_by_published=by_published.rejected_by,
        buffer_error_l2=buffers.l2,
        accuracy_final=accuracies[-1] if accuracies else None,
    )
    judged = [
        replace(
            _verdict_row(row, part, verdict, policy, study, trial),
            nonces=NONCES if policy.draws_intervals else 1,
            accepted_nonces=_accepted_nonces(policy, evidence, verdict, study, trial),
        )
        for policy, part, verdict in zip(trial.every_policy, seen, verdicts, strict=True)
    ]
    return TrialOutcome(row=row, intervals=tuple(intervals), verdicts=tuple(verdicts), judged=tuple(judged))


def _accepted_nonces(policy: Policy, evidence: Evidence, verdict: Verdict, study: Study, trial: Trial) -> int:
    """Under how many nonces a policy accepts the same evidence."""
    if not policy.draws_intervals:
        return int(verdict.is_valid)
    judged: dict[tuple[int, ...], bool] = {}
    accepted = 0
    for nonce in range(NONCES):
        part = policy.part_of(evidence, nonce)
        key = tuple(replay.interval.index for replay in part.replays)
        if key not in judged:
            judged[key] = policy.accepts(part, trial.thresholds, study.d_ref)
        accepted += judged[key]
    return accepted


def _verdict_row(
    row: TrialRow, evidence: Evidence, verdict: Verdict, policy: Policy, study: Study, trial: Trial
) -> VerdictRow:
    environment = {**versions(), "device": row.verifier_device_name}
    file = verdict_file(verdict, policy, evidence, trial.thresholds, study.d_ref, environment)
    return VerdictRow(
        sweep_id=row.sweep_id,
        trial_id=row.trial_id,
        proof_id=row.proof_id,
        arm=row.arm,
        policy=policy.name,
        policy_sha256=file.policy_sha256,
        nonce=file.nonce,
        selection=file.selection,
        replayed=file.replayed,
        num_intervals=file.intervals,
        unjudged=file.unjudged,
        outcome=file.outcome,
        accepted=verdict.is_valid,
        rejected_by=verdict.rejected_by,
        verdict_sha256=file.sha256,
        verdict=as_json(file),
    )


def compare(outcome: TrialOutcome, honest: TrialRow, proof: Manifest, cost: Cost, manifest: Manifest) -> TrialOutcome:
    """Fill success against the honest proof, each condition apart, under every policy."""
    row = outcome.row
    spoof_standing, proof_standing = standing_of(row, cost, manifest), standing_of(honest, proof.generation, proof)
    successes = [
        judge_success(spoof_standing, proof_standing, accepted=verdict.is_valid, rejected_by=verdict.rejected_by)
        for verdict in outcome.verdicts
    ]
    by_published, by_strict, *_ = successes
    same_device = manifest.environment.get("device") == proof.environment.get("device")
    same_work = same_device and manifest.recipe.batch_size == proof.recipe.batch_size
    honest_step_s = proof.generation.device_s / proof.recipe.steps
    judged = [
        replace(one, success=success.is_success, bound_by=success.bound_by)
        for one, success in zip(outcome.judged, successes, strict=True)
    ]
    row = replace(
        row,
        success=by_published.is_success,
        success_strict=by_strict.is_success,
        bound_by=by_published.bound_by,
        step_equivalents=cost.device_s / manifest.recipe.steps / honest_step_s
        if same_work and honest_step_s > 0.0
        else None,
        ratio_working=_working_ratio(cost, proof.generation) if same_device and not row.simulated else None,
        proof_reference=honest.proof_id,
        **{f"ratio_{name}": ratio for name, ratio in by_published.ratios.items()},  # type: ignore[arg-type]
    )
    return replace(outcome, row=row, judged=tuple(judged))


def _working_ratio(cost: Cost, proof: Cost) -> float | None:
    whole = proof.device_s - proof.writing_s
    return (cost.device_s - cost.writing_s) / whole if whole > 0.0 else None


def standing_of(row: TrialRow, cost: Cost, manifest: Manifest) -> Measurements:
    """Values that success is judged by."""
    errors = Distances(*(number_of(getattr(row, f"error_{m}")) for m in METRICS))
    return Measurements(error=errors, device_s=cost.device_s, size_bytes=manifest.sizes.total)


def with_cost(row: TrialRow, manifest: Manifest, cost: Cost) -> TrialRow:
    """Fill times and sizes."""
    sizes = manifest.sizes
    return replace(
        row,
        device_s=cost.device_s,
        wall_s=cost.wall_s,
        gradient_evals=cost.gradient_evals,
        forward_passes=cost.forward_passes,
        hashes=cost.hashes,
        writing_s=cost.writing_s,
        size_bytes=sizes.total,
        size_weights_bytes=sizes.weights,
        size_optimizer_bytes=sizes.optimizer_state,
        size_indices_bytes=sizes.indices_and_hashes,
        size_points_bytes=sizes.points,
        size_overhead_bytes=sizes.overhead,
        num_points=manifest.points.count,
    )


def with_stats(row: TrialRow, stats: Sequence[CraftStats]) -> TrialRow:
    """Fill what crafting did: the largest perturbation, means of the rest."""
    if not stats:
        return replace(row, perturbation_linf=0.0, perturbation_l2=0.0)

    def average(name: str) -> float:
        return math.fsum(getattr(s, name) for s in stats) / len(stats)

    return replace(
        row,
        perturbation_linf=max(s.perturbation_linf for s in stats),
        perturbation_l2=max(math.sqrt(s.perturbation_norm2) for s in stats),
        grad_norm2_before=average("grad_norm2_before"),
        grad_norm2_after=average("grad_norm2_after"),
        loss_before=average("loss_before"),
        loss_after=average("loss_after"),
        retries=average("retries"),
        acceptance_rate=average("accepted"),
    )


def _hyperparameter(attack: object, column: Column) -> Any:  # noqa: ANN401 - a cell
    """The attack's field of a column's name; None if it has none, or means something else by it."""
    value = getattr(attack, column.name, None)
    if column.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return value if isinstance(value, column.kind) and isinstance(value, bool) == (column.kind is bool) else None


def _attack_name(attack: object) -> str:
    """The file that holds the attack: i, i_tail, ii, iii, null, ..., or the user's module."""
    return type(attack).__module__.rsplit(".", 1)[-1]


def number_of(number: float | None) -> float:
    """The number, NaN for an empty cell."""
    return math.nan if number is None else number


def ratio_of(value: float | None, reference: float | None) -> float:
    """The quotient, NaN where a cell is empty or the reference is zero."""
    return math.nan if value is None or not reference else value / reference


def now() -> str:
    """Time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
