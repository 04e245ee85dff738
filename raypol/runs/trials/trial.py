"""The run of one trial: forge a spoof, verify it, compare it with the honest proof, write its rows (docs/protocol.md)."""

import traceback
from dataclasses import replace
from typing import Any

from raypol.cluster.jobs import recipe_of_spoof
from raypol.cluster.runners import Runner
from raypol.core.attacks import method_of
from raypol.core.distances import METRICS
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Recipe
from raypol.core.scoring import judge_success, largest, mean
from raypol.core.spoofing.grants import NotGrantedError
from raypol.core.spoofing.spoof_config import declare
from raypol.core.training.train_config import TrainConfig
from raypol.runs.trials.early_stop import EarlyStop, RuledOutError
from raypol.runs.trials.estimate import estimate_trial, is_estimated
from raypol.runs.trials.honest_proof import claimed_distance, honest_proofs, proof_id_of, reference_distance
from raypol.runs.trials.make_spoof import forge, may_be_resumed, spoof_job
from raypol.runs.trials.rows import base_row, compare, judge, now, standing_of, trial_row, with_cost, with_stats
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.runs.trials.verify import examine_proof
from raypol.store.location import Location
from raypol.store.locks import only_maker
from raypol.store.proofs.staging import crafted_folder
from raypol.store.results.files import write_trial
from raypol.store.results.rows import HONEST, NO_ATTACK, TrialRow
from raypol.store.results_folder import ResultsFolder
from raypol.store.retries import storage_retries


def prepare_study(
    runner: Runner, results: Location, train: TrainConfig, sweep_id: str, *, on_progress: Progress = no_progress
) -> Study:
    """Make or find the honest proof of a training and its reference, whose distance is d_ref.

    Args:
        runner: where to work.
        results: the results folder.
        train: the honest training.
        sweep_id: name that the rows will have.
        on_progress: called with trained steps.
    """
    dataset, device, threads = train.data.load(), runner.device("prover"), runner.request("prover").threads
    recipes = [config.recipe(dataset, device=device, threads=threads) for config in (train, train.reference())]
    proof, reference = honest_proofs(runner, results, recipes, train.data, on_progress=on_progress)
    d_ref = reference_distance(proof.folder, reference.folder)
    return Study(sweep_id=sweep_id, results=results, proof=proof, d_ref=d_ref)


def run_honest(
    runner: Runner, study: Study, trial: Trial, *, trial_id: str = "", on_progress: Progress = no_progress
) -> TrialOutcome:
    """Judge the honest proof like a spoof and record the row that every spoof is compared with.

    Args:
        runner: where to work.
        study: with the proof.
        trial: any trial that is compared with it: says how to judge.
        trial_id: name of its row; empty = from the proof's and the sweep's.
        on_progress: see `examine_proof`.
    """
    started = now()
    runner.begin()
    manifest = study.proof.manifest
    evidence, verify_s = examine_proof(
        runner,
        study.proof.folder,
        trial.train.data,
        trial.asked_of_proof(manifest.recipe),
        on_progress=on_progress,
    )
    row = base_row(
        runner, study, trial, arm=HONEST, attack=NO_ATTACK, recipe=manifest.recipe, role="prover", started_at=started
    )
    notes = ["proof reused from an earlier run; its times are from then"] if study.proof.reused else []
    if steps := ", ".join(map(str, manifest.taken_up_at)):
        notes.append(f"proving was interrupted and taken up at step {steps}; its times are the sums of the parts")
    row = replace(row, proof_id=study.proof.proof_id, message="; ".join(notes), status="ok", verify_s=verify_s)
    row = replace(row, trial_id=trial_id or row.trial_id)
    row = with_cost(row, manifest, manifest.generation)
    outcome = judge(row, evidence, study, trial)
    own = standing_of(outcome.row, manifest.generation, manifest)
    ratios = {f"ratio_{name}": 1.0 for name in judge_success(own, own, accepted=True, rejected_by="").ratios}
    outcome = replace(outcome, row=replace(outcome.row, step_equivalents=1.0, **ratios))  # type: ignore[arg-type]
    write_trial(study.results, outcome.row, outcome.intervals, outcome.judged)
    return outcome


def run_trial(runner: Runner, study: Study, trial: Trial, honest: TrialRow) -> TrialOutcome:
    """Forge, verify, score and record one spoof. A trial that fails is a row with status "error", one that uses what is not
    granted a row with status "refused".

    Intervals or a whole spoof that an interrupted try finished are not made again.

    Raises:
        OSError: not even the row could be written for minutes.
    """
    started = now()
    runner.begin()
    recipe = study.proof.manifest.recipe
    try:
        recipe = recipe_of_spoof(recipe, trial.spoof, trial.attack, trial.data)
        outcome = storage_retries(_run_trial, runner, study, trial, honest, recipe, started)
    except RuledOutError as ruled_out:
        outcome = _stopped(runner, study, trial, recipe, started, ruled_out)
    except NotGrantedError as refused:
        row = trial_row(runner, study, trial, replace(recipe, seed=0), started)
        outcome = TrialOutcome(row=replace(row, status="refused", message=str(refused)))
    except Exception as err:
        row = trial_row(runner, study, trial, replace(recipe, seed=0), started)
        lines = "".join(traceback.format_exception(err))
        outcome = TrialOutcome(row=replace(row, status="error", message=f"{type(err).__name__}: {err}\n{lines}"))
        outcome = replace(outcome, lost=may_be_resumed(err))
    storage_retries(write_trial, study.results, outcome.row, outcome.intervals, outcome.judged)
    proof_id = _folder(study, trial)
    if not outcome.lost:  # only now: until the row is there, another try may have to go on from them
        crafted_folder(study.results, proof_id).remove()
    if study.keep == "none" or (study.keep == "successful" and not outcome.row.success):
        ResultsFolder(study.results).proof(proof_id).remove()
    return outcome


def _run_trial(
    runner: Runner, study: Study, trial: Trial, honest: TrialRow, recipe: Recipe, started: str
) -> TrialOutcome:
    proof_id = _folder(study, trial)
    if is_estimated(study, trial, recipe):
        with only_maker(study.results, [proof_id]):
            return estimate_trial(runner, study, trial, honest, recipe, proof_id=proof_id, started=started)
    stop_early = study.early_stop and EarlyStop.is_sound(runner, trial)
    with only_maker(study.results, [proof_id]):
        forged = forge(
            runner,
            spoof_job(runner, study.results, proof_id, study.proof.folder, trial.attack, trial.spoof, trial.data),
            recipe,
            on_crafted=EarlyStop(runner, study, trial, honest, recipe) if stop_early else None,
        )
    folder = ResultsFolder(study.results).proof(proof_id)
    evidence, verify_s = examine_proof(
        runner,
        folder,
        trial.data,
        trial.asked_of_spoof(recipe),
        control=declare(study.proof.manifest.recipe, trial.spoof, trial.data.load()),
        control_keeps_state=not method_of(trial.attack).forges_state,
    )
    manifest, cost = forged.manifest, forged.cost
    row = trial_row(runner, study, trial, recipe, started)
    message = "taken up after an interruption; wall_s is of the last part" if forged.resumed else ""
    row = replace(row, proof_id=proof_id, status="ok", verify_s=verify_s, message=message)
    row = replace(row, claimed_l2=claimed_distance(folder, study.proof.folder).normalised(study.d_ref).l2)
    row = with_cost(row, manifest, cost)
    row = with_stats(row, forged.stats)
    outcome = judge(row, evidence, study, trial)
    return compare(outcome, honest, study.proof.manifest, cost, manifest)


def _stopped(
    runner: Runner, study: Study, trial: Trial, recipe: Recipe, started: str, ruled_out: RuledOutError
) -> TrialOutcome:
    """The row of a trial that was stopped early: its errors are those seen; the final ones could only be larger."""
    row = trial_row(runner, study, trial, recipe, started)
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
    return TrialOutcome(
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


def _folder(study: Study, trial: Trial) -> str:
    """Name of the spoof's folder, which tells a verifier nothing about the attack."""
    return proof_id_of("proof", {"trial": trial.trial_id(study.sweep_id)})
