r"""What the arena costs beyond its forgeries: `python -m benchmarks.arena [--only judging]`.

1. Judging a forgery by every policy of the arena, from one gathering of evidence, against judging it by one: `memorisation`, the
   one that gathers most, and `strict`, the least. What the check `memorisation` alone adds to `strict` stands beside it: no
   gathering that serves it can cost less. The same forgery in turn, in this process.
2. An arena of a few arms with one worker and with two: trials per second of the second over twice those of the first, from the
   first row to the last. Around a proof as long as those of the standing results in the order one, two, two, one, because a
   machine's speed drifts; once around a short one, whose trials take a second or two, as long as what starts beside them. Beside
   it about the most that two cores allow: with one worker the driver, MLflow and Ray have a core of their own, which two workers
   share with them, so that where their work grows with the trials the efficiency is one over the cores that were busy.
3. The same command again: seconds until it says that nothing is left to run.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import psutil
import torch
import tyro

from benchmarks.ratios import HEADING, Ratio, at_least, at_most
from raypol.cluster.jobs import recipe_of_spoof
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.attacks import find_attack
from raypol.core.proof import Recipe
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.runs.arena.tasks import TASKS
from raypol.runs.arena.verifiers import MEMORISATION, STATIC
from raypol.runs.trials.make_spoof import forge, spoof_job
from raypol.runs.trials.rows import judge, trial_row
from raypol.runs.trials.study import Study, Trial
from raypol.runs.trials.trial import prepare_study
from raypol.runs.trials.verify import examine_proof
from raypol.store.location import open_location
from raypol.store.results.files import read_trials
from raypol.store.results_folder import ResultsFolder

ARMS = ("null", "infinitesimal", "selected", "steered", "connected", "amortized", "distil", "continue")
_FEW: Final = ("--samples", "4", "--no-figures", "--arms", *ARMS)
"""Of the arena's options."""
_ORDERS: Final = {1_000: (1, 2, 2, 1), 200: (1, 2)}
"""T -> trials at once."""
FORGERIES = {"null": "none", "steered": "honest"}
"""Arm and what it declares of augmentation: with crops, bits are compared in a replay of their own."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure it."""

    repeats: int = 5
    """Of each judging."""
    only: Literal["", "judging", "running"] = ""
    """A part; empty = both."""


def judging(repeats: int, folder: Path) -> Iterator[Ratio]:
    """Seconds of examining and judging by all policies over those by one."""
    design = TASKS["digits"].at("smoke")
    results = open_location(folder / "judging")
    with LocalRunner(dict.fromkeys(ROLES, parse_device("cpu"))) as runner:
        study = prepare_study(runner, results, replace(design.train, steps=400), "judging")
        for name, augmentation in FORGERIES.items():
            spoof = SpoofConfig(steps=400, declares="honest_schedule", augmentation=augmentation)  # type: ignore[arg-type]
            trial = Trial(
                train=design.train,
                arm=name,
                attack=find_attack(name),
                spoof=spoof,
                examination=design.examination,
                policies=STATIC,
            )
            recipe = recipe_of_spoof(study.proof.manifest.recipe, spoof, trial.attack, trial.data)
            job = spoof_job(runner, results, f"proof-{name}", study.proof.folder, trial.attack, spoof, trial.data)
            forge(runner, job, recipe)
            seconds = [
                tuple(
                    _seconds(runner, study, replace(trial, policies=policies), recipe)
                    for policies in (STATIC, (MEMORISATION,), ())  # `strict` always judges
                )
                for _ in range(repeats)
            ]
            forged = f"{name}, augmentation {augmentation}"
            for one, at in (("memorisation", 1), ("strict", 2)):
                ratios = [times[0] / times[at] for times in seconds]
                yield Ratio(f"{forged}: all policies / {one} alone", ratios, "<= 1.15", at_most(1.15))
            yield Ratio(f"{forged}: memorisation alone / strict alone", [times[1] / times[2] for times in seconds])


def _seconds(runner: LocalRunner, study: Study, trial: Trial, recipe: Recipe) -> float:
    folder = ResultsFolder(study.results).proof(f"proof-{trial.arm}")
    examination = trial.asked_of_spoof(recipe)
    if not trial.policies:
        examination = replace(examination, accuracy=False)
    started = time.perf_counter()
    evidence, _ = examine_proof(runner, folder, trial.data, examination)
    row = trial_row(runner, study, trial, study.proof.manifest.recipe, "")
    judge(row, evidence, study, trial)
    return time.perf_counter() - started


def running(folder: Path) -> Iterator[Ratio | str]:
    """Efficiency of two workers, and how long a finished arena takes to find that out."""
    for steps, order in _ORDERS.items():
        proof = _raypol("prove", "--results", str(folder / f"T-{steps}"), "--steps", str(steps), "--interval", "10")
        rates, cores = ({at_once: list[float]() for at_once in (1, 2)} for _ in range(2))
        for number, at_once in enumerate(order):
            results = folder / f"T-{steps}-{number}"
            asked = (proof.split()[-1], "--results", str(results), "--max-concurrent", str(at_once), *_FEW)
            used = _watched("arena", *asked)
            trials = [row for row in read_trials(open_location(str(results))) if not row.is_honest]
            ends = sorted(file.stat().st_mtime for file in (results / "trials").glob("trial-*.parquet"))
            span_s, worked_s = ends[-1] - ends[0], sum((row.device_s or 0.0) + (row.verify_s or 0.0) for row in trials)
            rates[at_once].append((len(ends) - 1) / span_s)
            first, last = np.interp([ends[0], ends[-1]], [at for at, _ in used], [seconds for _, seconds in used])
            cores[at_once].append((last - first) / span_s)
            yield (
                f"T = {steps}: {len(ends)} trials, {at_once} at once, in {span_s:.0f} s; their work took {worked_s:.0f} s; "
                f"{cores[at_once][-1]:.2f} cores busy"
            )
        found = [two / one / 2 for one, two in zip(rates[1], rates[2], strict=True)]
        yield Ratio(f"T = {steps}, two workers: efficiency", found, ">= 0.93", at_least(0.93))
        yield Ratio(f"T = {steps}, two workers: about the most that two cores allow", [1 / busy for busy in cores[1]])
    started = time.perf_counter()
    _raypol("arena", *asked)
    again_s = time.perf_counter() - started
    yield Ratio("the same command again, s", [again_s], "<= 20", at_most(20.0), digits=1)


def _raypol(*arguments: str) -> str:
    """What a command prints."""
    with _started(*arguments) as process:
        return _ended(process)


def _watched(*arguments: str) -> list[tuple[float, float]]:
    """CPU seconds of a command and all that it started, each with the time by the clock, about twice per second."""
    found: list[tuple[float, float]] = []
    known: dict[int, float] = {}  # by process, those that ended too
    ended = threading.Event()

    def watch(process: psutil.Process) -> None:
        while not ended.wait(0.5):
            with suppress(psutil.NoSuchProcess):
                for one in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        known[one.pid] = sum(one.cpu_times()[:2])
                found.append((time.time(), sum(known.values())))

    with _started(*arguments) as process, ThreadPoolExecutor(1) as threads:
        watching = threads.submit(watch, psutil.Process(process.pid))
        try:
            _ended(process)
        finally:
            ended.set()
        watching.result()
    return found


def _started(*arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("raypol")), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def _ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    if process.returncode not in (0, 1):
        raise RuntimeError(err[-2000:])
    return out


def main() -> None:
    """Entry point."""
    torch.set_num_threads(1)
    options = tyro.cli(Options, description=__doc__)
    print(HEADING)
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "running":
            for ratio in judging(options.repeats, Path(folder)):
                print(ratio.line(), flush=True)
        if options.only != "judging":
            for found in running(Path(folder)):
                print(found if isinstance(found, str) else found.line(), flush=True)


if __name__ == "__main__":
    main()
