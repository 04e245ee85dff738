"""Calibrating policies on honest runs of several seeds: trained and examined with a runner."""

from collections.abc import Sequence
from dataclasses import replace

from raypol.cluster.runners import Runner
from raypol.core.progress import Progress, no_progress
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.replay import Conditions
from raypol.core.verification.stages import STAGES
from raypol.core.verification.verifier import Evidence
from raypol.runs.trials.honest_proof import honest_proofs
from raypol.runs.trials.verify import Examination, examine_proof
from raypol.store.location import Location


def honest_evidence(
    runner: Runner,
    results: Location,
    train: TrainConfig,
    seeds: Sequence[int],
    conditions: Conditions,
    *,
    on_progress: Progress = no_progress,
) -> list[Evidence]:
    """Train under each seed, or find the proof, and replay every interval: what `calibrate` takes.

    Args:
        runner: where to work.
        results: the results folder; proofs that it has are not made again.
        train: the honest training; its own seed is not looked at.
        seeds: of the trainings.
        conditions: of the replays.
        on_progress: called with trained steps, then with examined proofs.
    """
    dataset, device, threads = train.data.load(), runner.device("prover"), runner.request("prover").threads
    recipes = [replace(train, seed=seed).recipe(dataset, device=device, threads=threads) for seed in seeds]
    proofs = honest_proofs(runner, results, recipes, train.data, on_progress=on_progress)
    examination = Examination(conditions=conditions, accuracy_stages=STAGES)
    found = []
    for number, proof in enumerate(proofs):
        on_progress("examining honest proofs", number, len(proofs))
        found.append(examine_proof(runner, proof.folder, train.data, examination)[0])
    return found
