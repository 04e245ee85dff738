"""One trial: (proof, attack, T', k, strength, seed, device) -> spoof -> verdict -> rows (SPEC section 7)."""

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from raypol.cluster.jobs import (
    DataSource,
    DeviceFacts,
    ProbeJob,
    SpoofJob,
    SpoofOutcome,
    remove_workshop,
    run_craft,
    run_probe,
    run_seal,
    spoof_recipe,
)
from raypol.cluster.placement import DeviceRequest
from raypol.cluster.runners import Role, Runner, WorkerLostError
from raypol.core.attacks import method_of
from raypol.core.crafting import CraftStats
from raypol.core.distances import METRICS, Distances
from raypol.core.policies import Thresholds, Verdict, published, strict
from raypol.core.proof import Cost, Recipe
from raypol.core.scoring import Standing, judge_success, largest, mean, overall_removed_share, removed_share
from raypol.core.spoofing import SpoofConfig, declare
from raypol.core.verifier import Evidence, IntervalReplay
from raypol.runs.environment import commit, environment_of, versions, versions_text
from raypol.runs.honest import HonestProof, proof_id_of
from raypol.runs.locking import only_maker
from raypol.runs.verify import Examination, examine_proof, shards
from raypol.store.location import Location
from raypol.store.proofs import Manifest
from raypol.store.results import IntervalRow, TrialRow, write_trial

T = TypeVar("T", str, int, float)
P = ParamSpec("P")
R = TypeVar("R")
Keep = Literal["all", "successful", "none"]

# Storage that is away for a minute costs a minute, not a trial: what is finished of it is found again.
_STORAGE_PATIENCE_S: Final = 180.0
# Shards do not depend on the number of workers, so that another cluster can go on with them.
_CRAFTING_SHARDS: Final = 8
_LOOKOUT_SHARE: Final = 4
_LOOKOUT_FACTOR: Final = 4


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
    trial_id: str = ""
    """Name of its row; empty = from its content and the study's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What all trials of a run share."""

    sweep_id: str
    results: Location
    data: DataSource
    """The prover's, and the adversary's where he names no other."""
    proof: HonestProof
    prover_device: str
    """As asked for."""
    d_ref: Distances
    examination: Examination
    thresholds: Thresholds
    early_stop: bool = False
    """Stop a trial whose first intervals, replayed before the rest is crafted, already rule success out."""
    keep: Keep = "all"
    """Which spoofs stay in the results folder once they are judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forged:
    """A spoof in the results folder."""

    manifest: Manifest
    cost: Cost
    """Of all of it: crafting and sealing."""
    stats: tuple[CraftStats, ...]
    resumed: bool
    """True if an interrupted try had finished part of it; device time is complete, wall time is of the last part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything about one arm: what is recorded, and what figures need."""

    row: TrialRow
    intervals: tuple[IntervalRow, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    lost: bool = False
    """True if a worker or the storage was lost: the trial is worth another try, which goes on where this one stood."""


def run_honest(runner: Runner, study: Study, *, trial_id: str = "") -> Outcome:
    """Judge the honest proof like any other and record it; every spoof is compared with this row.

    Args:
        runner: where to work.
        study: with the proof.
        trial_id: name of its row; empty = from the proof's and the sweep's.
    """
    started = _now()
    runner.begin()
    manifest = study.proof.manifest
    evidence, verify_s = examine_proof(runner, study.proof.folder, study.data, study.examination)
    row = _row(runner, study, arm="honest", attack="none", recipe=manifest.recipe, role="prover", started_at=started)
    message = "proof reused from an earlier run; its times are from then" if study.proof.reused else ""
    row = replace(row, proof_id=study.proof.proof_id, message=message, status="ok", verify_s=verify_s)
    row = replace(row, trial_id=trial_id or row.trial_id)
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
    """Forge, verify, score and record one spoof. A trial that fails is a row with status "error", never an exception.

    What an earlier, interrupted try finished of it (crafted intervals, the sealed spoof) is not done again.

    Raises:
        OSError: the storage took nothing for minutes, not even the row.
    """
    started = _now()
    runner.begin()
    trial = replace(trial, trial_id=trial.trial_id or _trial_id(study, trial))
    recipe = study.proof.manifest.recipe
    try:
        recipe = spoof_recipe(recipe, trial.spoof, trial.attack, study.data.of(trial.spoof))
        outcome = _storage_retries(_run_trial, runner, study, trial, honest, recipe, started)
    except _RuledOutError as ruled_out:
        outcome = _stopped(runner, study, trial, recipe, started, ruled_out)
    except Exception as err:
        row = _trial_row(runner, study, trial, replace(recipe, seed=0), started)
        lines = "".join(traceback.format_exception(err))
        outcome = Outcome(row=replace(row, status="error", message=f"{type(err).__name__}: {err}\n{lines}"))
        outcome = replace(outcome, lost=may_be_resumed(err))
    _storage_retries(write_trial, study.results, outcome.row, outcome.intervals)
    folder = _folder(trial)
    if not outcome.lost:
        remove_workshop(study.results, folder)
    if study.keep == "none" or (study.keep == "successful" and not outcome.row.success):
        (study.results / "proofs" / folder).remove()
    return outcome


def record_lost(study: Study, trial: Trial, devices: Mapping[Role, DeviceRequest], reason: str) -> TrialRow:
    """The row of a trial whose own process died before it could write one."""
    row = _trial_row(_Nowhere(devices), study, trial, replace(study.proof.manifest.recipe, seed=0), _now())
    row = replace(row, status="error", message=reason)
    _storage_retries(write_trial, study.results, row, ())
    return row


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
    on_crafted: Callable[[SpoofJob, int], None] = lambda _job, _done: None,
) -> Forged:
    """Craft all intervals in parallel, then seal. What an interrupted try finished is taken up.

    Whoever calls this calls `remove_workshop` once the spoof is judged.

    Args:
        runner: where to work.
        results: the results folder.
        proof_id: name of the spoof's folder.
        target: folder of the proof whose last weights are stolen.
        trial: the attack and its choices.
        recipe: what the spoof will declare.
        data: the adversary's dataset.
        on_progress: told how many intervals are crafted, of how many.
        on_crafted: handed the job with the shards that are crafted in order so far, and their number of intervals; what it raises
            ends the forging.
    """
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
        environment=environment_of(runner, "spoofer"),
    )
    crafted: list[SpoofOutcome] = []
    parts: list[tuple[int, int]] = []
    work: list[Future[SpoofOutcome]] = []
    try:
        if not method_of(trial.attack).sequential(trial.attack, trial.spoof):
            parts = shards(recipe.num_intervals, _CRAFTING_SHARDS)
            work = [runner.submit("spoofer", run_craft, replace(base, shard=part)) for part in parts]
            for number, (part, future) in enumerate(zip(parts, work, strict=True), start=1):
                crafted.append(future.result())
                on_progress(part[1], recipe.num_intervals)
                on_crafted(replace(base, shards=tuple(parts[:number])), part[1])
        sealed = runner.submit("spoofer", run_seal, replace(base, shards=tuple(parts))).result()
    except BaseException as err:
        running = [future for future in work if not future.cancel()]
        if isinstance(err, Exception):  # who pressed Ctrl-C does not wait
            wait(running)
            if not may_be_resumed(err):
                remove_workshop(results, proof_id)
        raise
    assert sealed.manifest is not None
    cost = sum((part.cost for part in crafted), sealed.cost)
    return Forged(
        manifest=sealed.manifest,
        cost=replace(cost, wall_s=time.perf_counter() - started),
        stats=tuple(s for part in crafted for s in part.stats) or sealed.stats,
        resumed=sealed.reused or any(part.reused for part in crafted),
    )


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
    proof_id, data = _folder(trial), study.data.of(trial.spoof)
    with only_maker(study.results, [proof_id]):
        forged = forge(
            runner,
            study.results,
            proof_id=proof_id,
            target=study.proof.folder,
            trial=trial,
            recipe=recipe,
            data=data,
            on_crafted=_Lookout(runner, study, honest, recipe) if study.early_stop else lambda _job, _done: None,
        )
    manifest, cost = forged.manifest, forged.cost
    evidence, verify_s = examine_proof(
        runner,
        study.results / "proofs" / proof_id,
        data,
        study.examination,
        control=declare(study.proof.manifest.recipe, trial.spoof, data.load()),
        control_keeps_state=not method_of(trial.attack).forges_state,
    )
    row = _trial_row(runner, study, trial, recipe, started)
    message = "taken up after an interruption; wall_s is of the last part" if forged.resumed else ""
    row = replace(row, proof_id=proof_id, status="ok", verify_s=verify_s, message=message)
    row = _with_cost(row, manifest, cost)
    row = _with_stats(row, forged.stats)
    outcome = _judge(row, evidence, study)
    return replace(outcome, row=_compare(outcome.row, honest, study.proof.manifest, cost, manifest, outcome.verdicts))


class Where(Protocol):
    """What a row needs to know of a runner."""

    def request(self, role: Role) -> DeviceRequest:
        """The device that a role named."""
        ...

    def facts(self, role: Role) -> DeviceFacts:
        """What a role really computes on."""
        ...


class _Nowhere:
    """Devices that were asked for, and that nobody can be asked about any more."""

    def __init__(self, devices: Mapping[Role, DeviceRequest]) -> None:
        self._devices = devices

    def request(self, role: Role) -> DeviceRequest:
        return self._devices[role]

    def facts(self, role: Role) -> DeviceFacts:
        return DeviceFacts(name="", kind=self._devices[role].torch_device, threads=self._devices[role].threads)


class _RuledOutError(Exception):
    """What was looked at first already rules success out."""

    def __init__(self, reason: str, replays: Sequence[IntervalReplay], *, rejected: bool) -> None:
        super().__init__(reason)
        self.replays = replays
        self.rejected = rejected


class _Lookout:
    """Replays a spoof's first intervals while the rest is crafted, and raises as soon as the spoof cannot succeed.

    As in successive halving, looks are taken at geometrically growing depths; but a trial is held against the verifier's own
    bound and the honest proof's error, not against other trials, so no trial that would have succeeded is ever stopped: the
    error of a spoof is the largest over its intervals, and an interval replays the same now as later.
    """

    def __init__(self, runner: Runner, study: Study, honest: TrialRow, recipe: Recipe) -> None:
        self._runner, self._study, self._honest, self._recipe = runner, study, honest, recipe
        # A quarter at most: what is replayed here is replayed again at the end.
        self._most = max(1, recipe.num_intervals // _LOOKOUT_SHARE)
        self._next, self._known = 1, 0
        self._replays: list[IntervalReplay] = []

    def __call__(self, job: SpoofJob, done: int) -> None:
        first = min(done, self._most)
        if first < self._next or first <= self._known or done >= self._recipe.num_intervals:
            return
        study = self._study
        probe = ProbeJob(
            spoof=job,
            first=first,
            known=self._known,
            device=self._runner.device("verifier"),
            conditions=study.examination.conditions,
        )
        for replay in self._runner.submit("verifier", run_probe, probe).result():
            self._replays.append(replay)
            limit = study.thresholds.at(replay.interval.stop / self._recipe.steps, study.d_ref)
            over = [m for m in METRICS if not replay.error[m] <= limit[m]]
            normalised = replay.error.normalised(study.d_ref)
            worse = [m for m in METRICS if not normalised[m] < _value(getattr(self._honest, f"error_{m}"))]
            if over or worse:
                where = f"steps {replay.interval.start} to {replay.interval.stop}"
                reason = f"{where}: above delta in {', '.join(over)}" if over else ""
                reason = reason or f"{where}: not below the honest proof's largest error in {', '.join(worse)}"
                raise _RuledOutError(reason, self._replays, rejected=bool(over))
        self._known, self._next = first, max(first + 1, _LOOKOUT_FACTOR * self._next)


def _stopped(
    runner: Runner, study: Study, trial: Trial, recipe: Recipe, started: str, ruled_out: _RuledOutError
) -> Outcome:
    """The row of a trial that was stopped early: its errors are those seen, the final ones could only be larger."""
    row = _trial_row(runner, study, trial, recipe, started)
    errors = [replay.error.normalised(study.d_ref) for replay in ruled_out.replays]
    worst, average = largest(errors), mean(errors)
    numbers: dict[str, Any] = {f"error_{m}": worst[m] for m in METRICS} | {
        f"mean_error_{m}": average[m] for m in METRICS
    }
    verdict: dict[str, Any] = {"bound_by": "error"}
    if ruled_out.rejected:
        verdict = {
            "accepted_published": False,
            "accepted_strict": False,
            "rejected_by": "replay",
            "rejected_by_published": "replay",
            "bound_by": "rejected:replay",
        }
    seen = f"stopped after {len(ruled_out.replays)} of {recipe.num_intervals} intervals: {ruled_out}"
    return Outcome(
        row=replace(
            row,
            **numbers,
            **verdict,
            status="stopped",
            message=f"{seen}; errors are the largest and the mean of those seen",
            num_intervals=recipe.num_intervals,
            intervals_verified=len(ruled_out.replays),
            success=False,
            success_strict=False,
        )
    )


def may_be_resumed(err: BaseException) -> bool:
    """True if a trial failed through no fault of its own: a worker or the storage was lost, and another try may go on."""
    return isinstance(err, WorkerLostError | OSError)


def _storage_retries(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """function(...), again and again while the storage is away, for a bounded time."""
    return Retrying(
        retry=retry_if_exception(_is_storage),
        wait=wait_exponential(multiplier=0.5, max=20),
        stop=stop_after_delay(_STORAGE_PATIENCE_S),
        reraise=True,
    )(function, *args, **kwargs)


def _is_storage(err: BaseException) -> bool:
    """True for what may pass: not for a file that is not there or a place that must not be written."""
    lasting = FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
    return isinstance(err, OSError) and not isinstance(err, lasting)


def _trial_id(study: Study, trial: Trial) -> str:
    content = {
        "sweep": study.sweep_id,
        "spoof": spoof_id(trial, study.proof.proof_id, "", sweep_id=study.sweep_id),
        "examination": repr(study.examination),
        "thresholds": repr(study.thresholds),
    }
    return proof_id_of("trial", content)


def _folder(trial: Trial) -> str:
    """Name of the spoof's folder: says nothing about the attack, a verifier must not be told."""
    return proof_id_of("proof", {"trial": trial.trial_id})


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


def _trial_row(runner: Where, study: Study, trial: Trial, recipe: Recipe, started: str) -> TrialRow:
    row = _row(
        runner,
        study,
        arm=trial.arm,
        attack=_attack_name(trial.attack),
        recipe=recipe,
        role="spoofer",
        started_at=started,
    )
    path, dataset = trial.spoof.trajectory, trial.spoof.dataset or recipe.dataset
    return replace(
        row,
        trial_id=trial.trial_id,
        dataset=dataset,
        dataset_sha256=recipe.dataset_sha256 if recipe.dataset == dataset else "",
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
        noise_decay=path.noise_decay if path.path == "noisy" else None,
        hyperparameters=trial.spoof.hyperparameters,
        carry=trial.spoof.carry,
    )


def _row(
    runner: Where, study: Study, *, arm: str, attack: str, recipe: Recipe, role: Role, started_at: str
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
        node=facts.node,
        dataset_sha256=recipe.dataset_sha256,
        prover_device=study.prover_device,
        prover_device_name=study.proof.manifest.environment.get("device", ""),
        verifier_device=str(runner.request("verifier")),
        verifier_device_name=judge.name,
        verifier_node=judge.node,
        simulated=facts.simulated or judge.simulated or study.proof.manifest.environment.get("simulated") == "true",
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
