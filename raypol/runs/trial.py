"""One trial: (proof, attack, T', k, strength, seed, device) -> spoof -> verdict -> rows (SPEC section 7)."""

import math
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from raypol.cluster.jobs import (
    DataSource,
    SpoofJob,
    SpoofOutcome,
    remove_crafted,
    run_craft,
    run_seal,
    spoof_recipe,
)
from raypol.cluster.runners import Role, Runner
from raypol.core.attacks import method_of
from raypol.core.crafting import CraftStats
from raypol.core.distances import METRICS, Distances
from raypol.core.policies import Thresholds, Verdict, published, strict
from raypol.core.proof import Cost, Recipe
from raypol.core.scoring import Standing, judge_success, largest, mean, overall_removed_share, removed_share
from raypol.core.spoofing import SpoofConfig, declare
from raypol.core.verifier import Evidence
from raypol.runs.environment import commit, versions, versions_text
from raypol.runs.honest import HonestProof, proof_id_of
from raypol.runs.locking import only_maker
from raypol.runs.verify import Examination, examine_proof, shards
from raypol.store.location import Location
from raypol.store.proofs import Manifest
from raypol.store.results import IntervalRow, TrialRow, write_trial

T = TypeVar("T", str, int, float)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One spoof to be made and judged."""

    arm: str
    """Name in tables and figures."""
    attack: Any
    """The attack's configuration, one of `raypol.core.attacks.PRESETS` or its like."""
    spoof: SpoofConfig
    """T', k, trajectory, declared hyperparameters, carry, seed."""
    attack_path: str = ""
    """Import path of an own attack; empty for a built-in one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What all trials of a run share."""

    sweep_id: str
    results: Location
    data: DataSource
    proof: HonestProof
    d_ref: Distances
    examination: Examination
    thresholds: Thresholds


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything about one arm: what is recorded, and what figures need."""

    row: TrialRow
    intervals: tuple[IntervalRow, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


def run_honest(runner: Runner, study: Study) -> Outcome:
    """Judge the honest proof like any other and record it; every spoof is compared with this row."""
    started = _now()
    manifest = study.proof.manifest
    evidence, verify_s = examine_proof(runner, study.proof.folder, study.data, study.examination)
    row = _row(runner, study, arm="honest", attack="none", recipe=manifest.recipe, role="prover", started_at=started)
    message = "proof reused from an earlier run; its times are from then" if study.proof.reused else ""
    row = replace(row, proof_id=study.proof.proof_id, message=message, status="ok", verify_s=verify_s)
    row = _with_cost(row, manifest, manifest.generation)
    outcome = _judge(row, evidence, study)
    own = Standing(
        error=Distances(*(_value(getattr(outcome.row, f"error_{m}")) for m in METRICS)),
        device_s=manifest.generation.device_s,
        size_bytes=manifest.sizes.total,
    )
    ratios = {f"ratio_{name}": 1.0 for name in judge_success(own, own, accepted=True, rejected_by="").ratios}
    outcome = replace(outcome, row=replace(outcome.row, step_equivalents=1.0, **ratios))  # type: ignore[arg-type]
    write_trial(study.results, outcome.row, outcome.intervals)
    return outcome


def run_trial(runner: Runner, study: Study, trial: Trial, honest: TrialRow) -> Outcome:
    """Forge, verify, score and record one spoof. A trial that fails is a row with status "error", never an exception."""
    started = _now()
    recipe = study.proof.manifest.recipe
    try:
        recipe = spoof_recipe(study.proof.manifest.recipe, trial.spoof, trial.attack)
        outcome = _run_trial(runner, study, trial, honest, recipe, started)
    except Exception as err:
        row = _trial_row(runner, study, trial, replace(recipe, seed=0), started)
        lines = "".join(traceback.format_exception(err))
        outcome = Outcome(row=replace(row, status="error", message=f"{type(err).__name__}: {err}\n{lines}"))
    write_trial(study.results, outcome.row, outcome.intervals)
    return outcome


def forge(
    runner: Runner,
    results: Location,
    *,
    proof_id: str,
    target: Location,
    trial: Trial,
    recipe: Recipe,
    data: DataSource,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[Manifest, Cost, tuple[CraftStats, ...]]:
    """Craft all intervals in parallel, then seal: the spoof's manifest, its whole cost, and what crafting did."""
    started = time.perf_counter()
    base = SpoofJob(
        results=results.address,
        proof_id=proof_id,
        target=target.address,
        attack=trial.attack,
        attack_path=trial.attack_path,
        spoof=trial.spoof,
        data=data,
        device=runner.device("spoofer"),
        environment={**versions(), "device": runner.facts("spoofer").name},
    )
    crafted: list[SpoofOutcome] = []
    parts: list[tuple[int, int]] = []
    work: list[Future[SpoofOutcome]] = []
    try:
        if not method_of(trial.attack).sequential(trial.attack, trial.spoof):
            parts = shards(recipe.num_intervals, runner.num_workers("spoofer"))
            work = [runner.submit("spoofer", run_craft, replace(base, shard=part)) for part in parts]
            for part, future in zip(parts, work, strict=True):
                crafted.append(future.result())
                on_progress(part[1], recipe.num_intervals)
        sealed = runner.submit("spoofer", run_seal, replace(base, shards=tuple(parts))).result()
    except BaseException as err:
        running = [future for future in work if not future.cancel()]
        if isinstance(err, Exception):  # who pressed Ctrl-C does not wait
            wait(running)
        remove_crafted(results, proof_id)
        raise
    assert sealed.manifest is not None
    cost = sum((part.cost for part in crafted), sealed.cost)
    stats = tuple(s for part in crafted for s in part.stats) or sealed.stats
    return sealed.manifest, replace(cost, wall_s=time.perf_counter() - started), stats


def spoof_id(trial: Trial, target_id: str, device: str, *, sweep_id: str = "") -> str:
    """Name of the spoof's folder: says nothing about the attack, a verifier must not be told."""
    content = {
        "arm": trial.arm,
        "attack": repr(trial.attack),
        "spoof": repr(trial.spoof),
        "target": target_id,
        "device": device,
        "sweep": sweep_id,
        "versions": versions(),
    }
    return proof_id_of("proof", content)


def _run_trial(runner: Runner, study: Study, trial: Trial, honest: TrialRow, recipe: Recipe, started: str) -> Outcome:
    proof_id = spoof_id(trial, study.proof.proof_id, runner.facts("spoofer").name, sweep_id=study.sweep_id)
    with only_maker(study.results, [proof_id]):
        manifest, cost, stats = forge(
            runner,
            study.results,
            proof_id=proof_id,
            target=study.proof.folder,
            trial=trial,
            recipe=recipe,
            data=study.data,
        )
    evidence, verify_s = examine_proof(
        runner,
        study.results / "proofs" / proof_id,
        study.data,
        study.examination,
        control=declare(study.proof.manifest.recipe, trial.spoof),
        control_keeps_state=not method_of(trial.attack).forges_state,
    )
    row = _trial_row(runner, study, trial, recipe, started)
    row = replace(row, proof_id=proof_id, status="ok", verify_s=verify_s)
    row = _with_cost(row, manifest, cost)
    row = _with_stats(row, stats)
    outcome = _judge(row, evidence, study)
    return replace(outcome, row=_compare(outcome.row, honest, study.proof.manifest, cost, manifest, outcome.verdicts))


def _judge(row: TrialRow, evidence: Evidence, study: Study) -> Outcome:
    """Policies, normalised errors and the interval rows."""
    verdicts = [policy(evidence, study.thresholds, study.d_ref) for policy in (published, strict)]
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
        limit = study.thresholds.at(replay.interval.stop / evidence.recipe.steps, study.d_ref)
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
    by_published, by_strict = verdicts
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
    return Outcome(row=row, intervals=tuple(intervals), verdicts=tuple(verdicts))


def _compare(
    row: TrialRow, honest: TrialRow, proof: Manifest, cost: Cost, manifest: Manifest, verdicts: Sequence[Verdict]
) -> TrialRow:
    """Success against the honest proof, each condition apart."""
    spoof_standing = Standing(
        error=Distances(*(_value(getattr(row, f"error_{m}")) for m in METRICS)),
        device_s=cost.device_s,
        size_bytes=manifest.sizes.total,
    )
    proof_standing = Standing(
        error=Distances(*(_value(getattr(honest, f"error_{m}")) for m in METRICS)),
        device_s=proof.generation.device_s,
        size_bytes=proof.sizes.total,
    )
    by_published, by_strict = (
        judge_success(spoof_standing, proof_standing, accepted=v.is_valid, rejected_by=v.rejected_by) for v in verdicts
    )
    same_work = manifest.recipe.batch_size == proof.recipe.batch_size and manifest.environment.get(
        "device"
    ) == proof.environment.get("device")
    honest_step_s = proof.generation.device_s / proof.recipe.steps
    return replace(
        row,
        success=by_published.is_success,
        success_strict=by_strict.is_success,
        bound_by=by_published.bound_by,
        step_equivalents=cost.device_s / manifest.recipe.steps / honest_step_s
        if same_work and honest_step_s > 0.0
        else None,
        proof_reference=honest.proof_id,
        **{f"ratio_{name}": ratio for name, ratio in by_published.ratios.items()},  # type: ignore[arg-type]
    )


def _trial_row(runner: Runner, study: Study, trial: Trial, recipe: Recipe, started: str) -> TrialRow:
    row = _row(
        runner,
        study,
        arm=trial.arm,
        attack=_attack_name(trial.attack),
        recipe=recipe,
        role="spoofer",
        started_at=started,
    )
    path = trial.spoof.trajectory
    trial_id = proof_id_of("trial", {"sweep": study.sweep_id, "spoof": spoof_id(trial, study.proof.proof_id, "")})
    return replace(
        row,
        trial_id=trial_id,
        steps=trial.spoof.steps,
        interval=trial.spoof.interval,
        seed=trial.spoof.seed,
        objective=_own(trial.attack, "objective", str),
        crafting=_own(trial.attack, "crafting", str),
        iterations=_own(trial.attack, "iterations", int),
        alpha=_own(trial.attack, "alpha", float),
        linf_limit=_own(trial.attack, "linf_limit", float),
        trajectory=path.path,
        initial=path.initial,
        noise=path.noise if path.path == "noisy" else 0.0,
        hyperparameters=trial.spoof.hyperparameters,
        carry=trial.spoof.carry,
    )


def _row(
    runner: Runner, study: Study, *, arm: str, attack: str, recipe: Recipe, role: Role, started_at: str
) -> TrialRow:
    facts, judge = runner.facts(role), runner.facts("verifier")
    conditions = study.examination.conditions
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
        replay=f"augmentation={conditions.augmentation} precision={conditions.precision} "
        f"device={judge.kind} threads={judge.threads}",
        thresholds=_describe(study.thresholds),
        started_at=started_at,
        versions=versions_text(),
        commit=commit(),
    )


def _with_cost(row: TrialRow, manifest: Manifest, cost: Cost) -> TrialRow:
    sizes = manifest.sizes
    return replace(
        row,
        device_s=cost.device_s,
        wall_s=cost.wall_s,
        gradient_evals=cost.gradient_evals,
        size_bytes=sizes.total,
        size_weights_bytes=sizes.weights,
        size_optimizer_bytes=sizes.optimizer_state,
        size_indices_bytes=sizes.indices_and_hashes,
        size_points_bytes=sizes.points,
        size_overhead_bytes=sizes.overhead,
        num_points=manifest.points.count,
    )


def _with_stats(row: TrialRow, stats: Sequence[CraftStats]) -> TrialRow:
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


def _own(attack: object, name: str, kind: type[T]) -> T | None:
    """A hyperparameter that has a column; None if the attack has none of this name, or means something else by it."""
    value = getattr(attack, name, None)
    if kind is float and isinstance(value, int):
        value = float(value)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _attack_name(attack: object) -> str:
    """The file that holds the attack: i, i_tail, ii, iii, null, ..., or the user's module."""
    return type(attack).__module__.rsplit(".", 1)[-1]


def _describe(thresholds: Thresholds) -> str:
    late = f" late={thresholds.late:g}" if thresholds.kind == "dynamic" else ""
    return thresholds.kind + "".join(f" {m}={getattr(thresholds, m):g}" for m in METRICS) + late


def _value(number: float | None) -> float:
    return math.nan if number is None else number


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
