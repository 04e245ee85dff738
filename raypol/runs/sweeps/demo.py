"""The demo: an honest proof and eight kinds of spoofs on a real dataset, at three (T', k), judged by both policies."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from raypol.cluster.runners import ROLES, Runner
from raypol.core.attacks import find_attack
from raypol.core.progress import Progress, TimeLeft, no_progress
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.runs.sweeps.forecast import trial_seconds
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.runs.trials.trial import prepare_study, run_honest, run_trial
from raypol.store.location import Location
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow

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
    """The outcomes of the demo, in the order of its table."""

    study: Study
    outcomes: tuple[TrialOutcome, ...]
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
    """Run the demo; each outcome is recorded in the store before it is handed on.

    Args:
        runner: where to work.
        results: the results folder.
        train: the honest training.
        points: (T', k) of the spoofs.
        arms: attack by arm, the null control among them.
        on_progress: called with steps of the honest training at first, then with finished trials; from this thread.
        on_outcome: called with each row and its intervals, from this thread.
        sweep_id: name of the run; empty = a new one.
        command: the command line, for the report.
    """
    prover, spoofer, verifier = (str(runner.request(role)) for role in ROLES)
    trials = [
        Trial(
            train=train,
            arm=arm,
            attack=attack,
            spoof=SpoofConfig(steps=steps, interval=interval, seed=train.seed, grants=("usual", "interval")),
            prover=prover,
            spoofer=spoofer,
            verifier=verifier,
        )
        for steps, interval in points
        for arm, attack in arms.items()
    ]
    total = len(trials) + 2
    sweep_id = sweep_id or new_sweep_id()
    about = About(question=QUESTION, num_trials=len(trials), search="demo", command=command)
    SweepRecord(results, sweep_id).write_about(about)
    on_progress("counting the work of the trials", 0, total)
    left = TimeLeft("trial")
    for trial, seconds in zip(trials, trial_seconds(trials, 0), strict=True):
        left.expect(trial.trial_id(sweep_id), trial.arm, seconds)
    study = prepare_study(runner, results, train, sweep_id, on_progress=on_progress)
    on_progress("honest proof and reference", 1, total)
    honest = run_honest(runner, study, trials[0])
    on_outcome(honest.row, honest.intervals)
    on_progress("honest proof verified", 2, total, left)
    outcomes = [honest]
    for done, outcome in enumerate(run_concurrently(runner, study, trials, honest, left), start=3):
        outcomes.append(outcome)
        on_outcome(outcome.row, outcome.intervals)
        on_progress(f"{outcome.row.arm}, T' = {outcome.row.steps}, k = {outcome.row.interval}", done, total, left)
    order = {(t.arm, t.spoof.steps, t.spoof.interval): i for i, t in enumerate(trials)}
    outcomes[1:] = sorted(outcomes[1:], key=lambda o: order[o.row.arm, o.row.steps, o.row.interval])
    return DemoRun(study=study, outcomes=tuple(outcomes))


def new_sweep_id() -> str:
    """A name that no other run has."""
    return f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def run_concurrently(
    runner: Runner, study: Study, trials: list[Trial], honest: TrialOutcome, left: TimeLeft
) -> Iterator[TrialOutcome]:
    """Run a few trials at once and yield their outcomes as they come; `left` hears of their begin and end."""
    stop = threading.Event()

    def run(trial: Trial) -> TrialOutcome | None:
        if stop.is_set():
            return None
        trial_id = trial.trial_id(study.sweep_id)
        left.start(trial_id, trial.arm, trial.spoof.steps)
        outcome = run_trial(runner, study, trial, honest.row)
        left.end(trial_id)
        return outcome

    with ThreadPoolExecutor(_CONCURRENT_TRIALS, thread_name_prefix="raypol-trial") as pool:
        try:
            for future in as_completed([pool.submit(run, trial) for trial in trials]):
                outcome = future.result()
                assert outcome is not None
                yield outcome
        finally:
            stop.set()
