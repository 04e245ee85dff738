"""The estimate of a trial: a seeded sample of the spoof's intervals is crafted, sealed and replayed, the rest extrapolated.

Errors are those of the sample, beside the number of intervals that may err more at a stated confidence; device time and size are
scaled from the sample to all intervals. The row is marked `estimated`.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from statistics import stdev
from typing import Final, TypeVar

from raypol.cluster.jobs import JudgeJob, SampleJob, SampleOutcome, run_judge, run_sample
from raypol.cluster.runners import Runner
from raypol.core.attacks import method_of
from raypol.core.distances import Distances
from raypol.core.proof import Cost, Recipe
from raypol.core.seeds import derive_seed
from raypol.core.spoofing.sampling import CONFIDENCE, beyond, draw_intervals
from raypol.core.spoofing.spoof_config import declare
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.survey import Survey
from raypol.core.verification.verifier import Evidence
from raypol.runs.trials.make_spoof import spoof_job
from raypol.runs.trials.rows import compare, judge, trial_row, with_cost, with_stats
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.store.proofs.format import Manifest, PointsFormat, Sizes
from raypol.store.proofs.staging import crafted_intervals
from raypol.store.results.rows import TrialRow

_T = TypeVar("_T")

_PER_SHARD: Final = 8


def is_estimated(study: Study, trial: Trial, recipe: Recipe) -> bool:
    """True if a sample saves work: there are more intervals than asked for, and they can be made apart."""
    method = method_of(trial.attack)
    return 0 < study.estimate < recipe.num_intervals and method.independent and not method.shares_work


def estimate_trial(
    runner: Runner, study: Study, trial: Trial, honest: TrialRow, recipe: Recipe, *, proof_id: str, started: str
) -> TrialOutcome:
    """Craft and replay a sample of a trial's intervals, and extrapolate.

    Args:
        runner: where to work.
        study: says how many intervals.
        trial: the spoof.
        honest: the row it is compared with.
        recipe: what the spoof declares.
        proof_id: names the folder of the crafted intervals.
        started: for the row.

    Raises:
        InputError: the declared optimizer remembers too long for its state to be brought up.
    """
    wanted = draw_intervals(recipe.num_intervals, max(study.estimate, 2), derive_seed(trial.spoof.seed, "estimate"))
    job = spoof_job(runner, study.results, proof_id, study.proof.folder, trial.attack, trial.spoof, trial.data)
    samples = [SampleJob(spoof=job, wanted=wanted[i : i + _PER_SHARD]) for i in range(0, len(wanted), _PER_SHARD)]
    with crafted_intervals(study.results, proof_id):
        made = _all([runner.submit("spoofer", run_sample, sample) for sample in samples])
        found = _all(
            [
                runner.submit("verifier", run_judge, _judge_job(runner, study, trial, sample, one.manifest))
                for sample, one in zip(samples, made, strict=True)
            ]
        )
    seen = [pair for part in found for pair in part]
    cost, manifest, spread = _extrapolated(made, recipe, runner.num_workers("spoofer"))
    row = trial_row(runner, study, trial, recipe, started)
    j = beyond(recipe.num_intervals, len(wanted))
    message = (
        f"estimated from {len(wanted)} of {recipe.num_intervals} intervals: with {CONFIDENCE:.0%} confidence at most {j} of them "
        f"err more in any one metric; device time +- {spread:.0%} (standard error)"
    )
    row = replace(row, status="ok", message=message)
    row = with_cost(row, manifest, cost)
    row = with_stats(row, [stats for one in made for stats in one.stats])
    outcome = judge(row, _evidence(recipe, seen, honest, trial), study, trial)
    outcome = compare(outcome, honest, study.proof.manifest, cost, manifest)
    row = replace(outcome.row, estimated=True, estimate_confidence=CONFIDENCE, estimate_beyond=j, num_points=None)
    return replace(outcome, row=row, judged=())  # a policy judges whole proofs


def _judge_job(runner: Runner, study: Study, trial: Trial, sample: SampleJob, manifest: Manifest) -> JudgeJob:
    return JudgeJob(
        sample=sample,
        manifest=manifest,
        device=runner.device("verifier"),
        conditions=trial.examination.conditions,
        control=declare(study.proof.manifest.recipe, trial.spoof, trial.data.load()),
        control_keeps_state=not method_of(trial.attack).forges_state,
        accuracy=trial.examination.accuracy,
    )


def _all(futures: Sequence[Future[_T]]) -> list[_T]:
    """Every result; an error is raised once no job runs."""
    try:
        return [future.result() for future in futures]
    except Exception:
        wait([future for future in futures if not future.cancel()])
        raise


def _extrapolated(made: Sequence[SampleOutcome], recipe: Recipe, workers: int) -> tuple[Cost, Manifest, float]:
    """Cost and sizes of the whole spoof, and the standard error of its device time as a share of it."""
    n = recipe.num_intervals
    seconds = [one for outcome in made for one in outcome.cost.interval_s]
    m = len(seconds)
    total = sum((outcome.cost.total for outcome in made), Cost())
    device_s = total.device_s * n / m
    cost = Cost(
        device_s=device_s,
        wall_s=device_s / max(workers, 1),
        gradient_evals=round(total.gradient_evals * n / m),
        forward_passes=round(total.forward_passes * n / m),
        hashes=round(total.hashes * n / m),
        writing_s=total.writing_s * n / m,
    )
    checkpoints = sum(len(outcome.manifest.checkpoint_steps) for outcome in made)
    manifests = [outcome.manifest for outcome in made]

    def scaled(part: str, factor: float) -> int:
        return round(math.fsum(getattr(manifest.sizes, part) for manifest in manifests) * factor)

    per_checkpoint, per_interval = (n + 1) / checkpoints, n / m
    sizes = Sizes(
        weights=scaled("weights", per_checkpoint),
        optimizer_state=scaled("optimizer_state", per_checkpoint),
        overhead=scaled("overhead", per_checkpoint),
        indices_and_hashes=scaled("indices_and_hashes", per_interval),
        points=scaled("points", per_interval),
    )
    mean_s = math.fsum(seconds) / m
    spread = stdev(seconds) / math.sqrt(m) * math.sqrt(1.0 - m / n) / mean_s if m > 1 and mean_s > 0.0 else math.nan
    return cost, replace(manifests[0], sizes=sizes, points=PointsFormat()), spread


def _evidence(
    recipe: Recipe, seen: Sequence[tuple[Survey, IntervalReplay]], honest: TrialRow, trial: Trial
) -> Evidence:
    """Evidence about the sample in the shape of that about a whole proof: NaN for intervals outside it."""
    nothing = Distances(math.nan, math.nan, math.nan, math.nan)
    movements, accuracies = [nothing] * recipe.num_intervals, [math.nan] * (recipe.num_intervals + 1)
    for read, replay in seen:
        (movements[replay.interval.index],) = read.movements
        first, accuracies[replay.interval.index + 1] = read.accuracies
        if replay.interval.index == 0:
            accuracies[0] = first
    if honest.accuracy_final is not None:
        accuracies[-1] = honest.accuracy_final  # W_T itself
    found = sum((read for read, _ in seen), Survey())
    return Evidence(
        recipe=recipe,
        survey=replace(found, movements=tuple(movements), accuracies=tuple(accuracies)),
        replays=tuple(replay for _, replay in seen),
        recorded_root="",
        computed_root="",
        conditions=trial.examination.conditions,
        dataset_size=len(trial.data.load()),
    )
