"""The demo: an honest proof and eight kinds of spoofs on a real dataset, at three (T', k), judged by both policies."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from raypol.cluster.runners import Runner
from raypol.core.attacks import find_attack
from raypol.core.progress import Progress, no_progress
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import RELATIVE
from raypol.runs.sweeps.record import About, Ledger
from raypol.runs.trials.honest_proof import HonestProof, honest_proofs, reference_distance
from raypol.runs.trials.study import Outcome, Study, Trial
from raypol.runs.trials.trial import run_honest, run_trial
from raypol.runs.trials.verify import Examination
from raypol.store.location import Location
from raypol.store.results.rows import IntervalRow, TrialRow

ARMS: Final[dict[str, Any]] = {
    "null": find_attack("null"),
    "infinitesimal": find_attack("infinitesimal"),
    "forged_momentum": find_attack("forged_momentum"),
    "I-tail": find_attack("i_tail"),
    "II": find_attack("zhang2022_ii"),
    "III-gradient": find_attack("iii", batches_per_graph=20),  # small images: an interval's graphs fit in memory
    "III-loss": find_attack("iii_loss"),
    "III-invisible": find_attack("iii_invisible"),
}
"""Arm -> attack. III-invisible is the loss objective by signed steps inside linf <= 8/255."""

POINTS: Final = ((20, 10), (50, 10), (160, 20))
"""(T', k): few large moves that the verifier sees, and two lengths at which they hide."""

QUESTION: Final = "Which kinds of spoofs pass which verifier, at which lengths T', and at what cost?"

# Trials overlap so that one's sealing, which runs in order, does not leave the other workers idle.
_CONCURRENT_TRIALS: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoRun:
    """What the demo made, in the order of its table."""

    study: Study
    reference: HonestProof
    outcomes: tuple[Outcome, ...]
    """The honest proof first."""


def run_demo(
    runner: Runner,
    results: Location,
    train: TrainConfig,
    *,
    points: Sequence[tuple[int, int]] = POINTS,
    arms: Mapping[str, Any] = ARMS,
    on_progress: Progress = no_progress,
    on_outcome: Callable[[TrialRow, Sequence[IntervalRow]], None] = lambda _row, _intervals: None,
    sweep_id: str = "",
    command: str = "",
) -> DemoRun:
    """Run everything; each outcome is recorded in the store before it is handed on.

    Args:
        runner: where to work.
        results: the results folder.
        train: the honest training.
        points: (T', k) of the spoofs.
        arms: attack by arm, the null control among them.
        on_progress: called with steps of the honest training at first, then with finished trials; from this thread.
        on_outcome: handed each row with its intervals as it comes, from this thread.
        sweep_id: name of the run; empty = a new one.
        command: what was typed to run it, for a report to come.
    """
    trials = [
        Trial(arm=arm, attack=attack, spoof=SpoofConfig(steps=steps, interval=interval, seed=train.seed))
        for steps, interval in points
        for arm, attack in arms.items()
    ]
    total = len(trials) + 2
    sweep_id = sweep_id or new_sweep_id()
    Ledger(results, sweep_id).describe(About(question=QUESTION, num_trials=len(trials), search="demo", command=command))
    threads = runner.request("prover").threads
    dataset = train.data.load()
    device = runner.device("prover")
    recipe = train.recipe(dataset, device=device, threads=threads)
    other = replace(train, seed=train.seed + 1, interval=train.steps).recipe(dataset, device=device, threads=threads)
    proof, reference = honest_proofs(
        runner,
        results,
        [recipe, other],
        train.data,
        on_progress=on_progress,
    )
    on_progress("honest proof and reference", 1, total)
    study = Study(
        sweep_id=sweep_id,
        results=results,
        data=train.data,
        proof=proof,
        prover_device=str(runner.request("prover")),
        d_ref=reference_distance(proof.folder, reference.folder),
        examination=Examination(conditions=Conditions()),
        thresholds=RELATIVE,
    )
    honest = run_honest(runner, study)
    on_outcome(honest.row, honest.intervals)
    on_progress("honest proof verified", 2, total)
    outcomes = [honest]
    for done, outcome in enumerate(run_trials(runner, study, trials, honest), start=3):
        outcomes.append(outcome)
        on_outcome(outcome.row, outcome.intervals)
        on_progress(f"{outcome.row.arm}, T' = {outcome.row.steps}, k = {outcome.row.interval}", done, total)
    order = {(t.arm, t.spoof.steps, t.spoof.interval): i for i, t in enumerate(trials)}
    outcomes[1:] = sorted(outcomes[1:], key=lambda o: order[o.row.arm, o.row.steps, o.row.interval])
    return DemoRun(study=study, reference=reference, outcomes=tuple(outcomes))


def new_sweep_id() -> str:
    """A name that no other run has."""
    return f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def run_trials(runner: Runner, study: Study, trials: list[Trial], honest: Outcome) -> Iterator[Outcome]:
    """Outcomes as they come; a few trials are in work at once."""
    stop = threading.Event()

    def run(trial: Trial) -> Outcome | None:
        return None if stop.is_set() else run_trial(runner, study, trial, honest.row)

    with ThreadPoolExecutor(_CONCURRENT_TRIALS, thread_name_prefix="raypol-trial") as pool:
        try:
            for future in as_completed([pool.submit(run, trial) for trial in trials]):
                outcome = future.result()
                assert outcome is not None
                yield outcome
        finally:
            stop.set()
