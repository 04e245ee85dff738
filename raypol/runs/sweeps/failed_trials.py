"""The row of a trial that no worker could write."""

from raypol.cluster.placement import parse_device
from raypol.runs.trials.environment import commit, versions_text
from raypol.runs.trials.rows import asked_columns, judging_columns, now
from raypol.runs.trials.study import Study, Trial
from raypol.store.results.rows import TrialRow


def unworked_row(
    sweep_id: str, trial: Trial, reason: str, *, simulated: bool = False, study: Study | None = None
) -> TrialRow:
    """The row of a trial that no worker could write: it never began, or its own process died.

    Args:
        sweep_id: of the sweep.
        trial: what was asked.
        reason: why the trial has no more than this.
        simulated: a GPU it names is only declared.
        study: what it would have been compared with; None if that could not be made.
    """
    verifier = parse_device(trial.verifier)
    environment = study.proof.manifest.environment if study else {}
    dataset = trial.spoof.dataset or trial.train.dataset
    known = study is not None and study.proof.manifest.recipe.dataset == dataset
    return TrialRow(
        sweep_id=sweep_id,
        trial_id=trial.trial_id(sweep_id),
        proof_id="",
        arm=trial.arm,
        dataset=dataset,
        model=trial.train.model,
        batch_size=trial.spoof.batch_size or trial.train.batch_size,
        device=trial.spoofer,
        device_name="",
        status="error",
        message=reason,
        dataset_sha256=study.proof.manifest.recipe.dataset_sha256 if study and known else "",
        prover_device=trial.prover,
        prover_device_name=environment.get("device", ""),
        verifier_device=trial.verifier,
        simulated=simulated or environment.get("simulated") == "true",
        precision=trial.train.precision,
        **judging_columns(
            trial.examination.conditions,
            trial.thresholds,
            trial.train.precision,
            verifier.torch_device,
            verifier.threads,
        ),
        started_at=now(),
        versions=versions_text(),
        commit=commit(),
        **asked_columns(trial.attack, trial.spoof),
    )
