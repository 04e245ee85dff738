"""The demo: an honest proof and eight kinds of spoofs on a real dataset, at three lengths, judged by every policy."""

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from raypol.cluster.runners import ROLES, Runner
from raypol.core.progress import Progress, TimeLeft, no_progress
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.policies import Policy, calibrate, strict_trend
from raypol.core.verification.replay import Conditions
from raypol.runs.designs.design import Arm, Design
from raypol.runs.designs.points import trial_at
from raypol.runs.sweeps.forecast import trial_seconds
from raypol.runs.sweeps.record import About, SweepRecord
from raypol.runs.trials.calibration import honest_evidence
from raypol.runs.trials.study import Study, Trial, TrialOutcome
from raypol.runs.trials.trial import prepare_study, run_honest, run_trial
from raypol.store.location import Location
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow

ARMS: Final[Mapping[str, Any]] = {
    "null": "null",
    "infinitesimal": "infinitesimal",
    "II": "zhang2022_ii",
    "III-loss": "iii_loss",
    "III-invisible": "iii_invisible",
    "forged_momentum": "forged_momentum",
    "null, no momentum": Arm("null", {"spoof.declares": "no_momentum"}),
    "steered": "steered",
}
"""Arm -> attack. III-invisible is the loss objective by signed steps inside linf <= 8/255."""
LONG: Final = ("infinitesimal", "null, no momentum", "steered")
"""Arms that also claim as many steps as the honest training made: those on the fronts."""

POINTS: Final = ((40, 10), (80, 10))
"""(T', k): few large moves that the verifier sees, and a length at which they hide."""

SHARE: Final = "9f3c52d81be07a64" * 2
"""The verifier's share of the honest training's seed."""

CALIBRATED_ON: Final = 3
"""Honest proofs that the calibrated policies are measured on: the fewest that can be."""

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
    long: Collection[str] = (),
    calibrate_on: int = 0,
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
        arms: attack by arm as in `Design.arms`, the null control among them.
        long: arms that are also tried at T' = T.
        calibrate_on: number of honest proofs, of this seed and the next ones, that policies are calibrated on; 0 = none are.
        on_progress: called with steps of the honest training at first, then with finished trials; from this thread.
        on_outcome: called with each row and its intervals, from this thread.
        sweep_id: name of the run; empty = a new one.
        command: the command line, for the report.
    """
    policies: tuple[Policy, ...] = (strict_trend,)
    sweep_id = sweep_id or new_sweep_id()
    study: Study | None = None
    if calibrate_on:
        study = prepare_study(runner, results, train, sweep_id, on_progress=on_progress)
        seeds = [
            train.seed,
            *range(train.seed + 2, train.seed + 1 + calibrate_on),
        ]  # the one between is the reference's
        evidence = honest_evidence(runner, results, train, seeds, Conditions(), on_progress=on_progress)
        policies += (calibrate(evidence), calibrate(evidence, kind="bound"))
    prover, spoofer, verifier = (str(runner.request(role)) for role in ROLES)
    design = Design(
        train=train,
        arms=arms,
        space={},
        spoof=SpoofConfig(seed=train.seed, grants=("usual", "interval")),
        policies=policies,
    )
    devices = {"prover": prover, "spoofer": spoofer, "verifier": verifier}
    where = [(steps, interval, arm) for steps, interval in points for arm in arms]
    where += [(train.steps, train.interval, arm) for arm in arms if arm in long]
    trials = [
        trial_at(design, {"arm": arm, "steps": steps, "spoof.interval": interval, **devices})
        for steps, interval, arm in where
    ]
    total = len(trials) + 2
    about = About(question=QUESTION, num_trials=len(trials), search="demo", command=command)
    SweepRecord(results, sweep_id).write_about(about)
    on_progress("counting the work of the trials", 0, total)
    left = TimeLeft("trial")
    for trial, seconds in zip(trials, trial_seconds(trials, 0), strict=True):
        left.expect(trial.trial_id(sweep_id), trial.arm, seconds)
    study = study or prepare_study(runner, results, train, sweep_id, on_progress=on_progress)
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
