r"""What the arena costs beyond its forgeries: `python -m benchmarks.arena [--only judging]`.

1. Judging a forgery by every policy of the arena, from one gathering of evidence, against judging it by one: `strict`, the least,
   and `memorisation`, the one that gathers most. The same forgery in turn, in this process.
2. An arena of a few arms with one worker and with two: trials per second of the second over twice those of the first, from the
   first row to the last.
3. The same command again: seconds until it says that nothing is left to run.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro

from benchmarks.ratios import HEADING, Ratio, at_least, at_most
from raypol.cluster.jobs import recipe_of_spoof
from raypol.cluster.placement import parse_device
from raypol.cluster.runners import ROLES, LocalRunner
from raypol.core.attacks import find_attack
from raypol.core.proof import Recipe
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.policies import Policy, strict
from raypol.runs.arena.tasks import TASKS
from raypol.runs.arena.verifiers import MEMORISATION, STATIC
from raypol.runs.trials.make_spoof import forge, spoof_job
from raypol.runs.trials.rows import judge, trial_row
from raypol.runs.trials.study import Study, Trial
from raypol.runs.trials.trial import prepare_study
from raypol.runs.trials.verify import examine_proof
from raypol.store.location import open_location
from raypol.store.results_folder import ResultsFolder

ARMS = ("null", "infinitesimal", "selected", "steered", "connected", "amortized", "distil", "continue")
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
            found: dict[str, list[float]] = {"strict": [], "memorisation": []}
            for _ in range(repeats):
                everything = _seconds(runner, study, trial, recipe)
                for one in (strict, MEMORISATION):
                    alone = replace(trial, policies=_alone(one))
                    found[one.name].append(everything / _seconds(runner, study, alone, recipe))
            for judge_alone, ratios in found.items():
                claim = f"{name}, augmentation {augmentation}: all policies / {judge_alone} alone"
                yield Ratio(claim, ratios, "<= 1.15", at_most(1.15))


def _alone(policy: Policy) -> tuple[Policy, ...]:
    return () if policy is strict else (policy,)


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
    spans = {}
    for at_once in (1, 2):
        results = folder / f"at-once-{at_once}"
        asked = ("--max-concurrent", str(at_once), "--samples", "1")
        _arena(results, *asked)  # proofs, policies, Ray's own files
        for place in ("trials", "verdicts", "intervals"):
            for file in (results / place).glob("trial-*.parquet"):
                file.unlink()
        _arena(results, *asked)
        ends = sorted(file.stat().st_mtime for file in (results / "trials").glob("trial-*.parquet"))
        spans[at_once] = (len(ends) - 1, ends[-1] - ends[0])
    (n, one_s), (m, two_s) = spans[1], spans[2]
    yield f"{n} trials one at a time in {one_s:.0f} s, {m} two at a time in {two_s:.0f} s, from the first row to the last"
    yield Ratio("two workers: efficiency", [m / two_s / (n / one_s) / 2], ">= 0.93", at_least(0.93))
    started = time.perf_counter()
    _arena(folder / "at-once-2", "--max-concurrent", "2", "--samples", "1")
    again_s = time.perf_counter() - started
    yield Ratio("the same command again, s", [again_s], "<= 20", at_most(20.0), digits=1)


def _arena(results: Path, *more: str) -> str:
    command = [
        str(Path(sys.executable).with_name("raypol")),
        "arena",
        "--results",
        str(results),
        "--no-figures",
        "--arms",
        *ARMS,
        *more,
    ]
    done = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


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
