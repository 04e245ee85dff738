"""Verifying a proof with a runner: survey and replays are sharded over the verifier's workers."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from raypol.cluster.jobs import ReplayJob, SurveyJob, run_replay, run_survey
from raypol.cluster.runners import Runner
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError, in_short
from raypol.core.imports import is_import_path
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Interval, Recipe
from raypol.core.verification.replay import Conditions, IntervalReplay
from raypol.core.verification.stages import stage_of
from raypol.core.verification.survey import Survey
from raypol.core.verification.verifier import (
    Evidence,
    Selection,
    evidence,
    is_replayable,
    select_intervals,
    verifier_seed,
)
from raypol.core.verification.wishes import Wish
from raypol.core.verification.witness import recipe_digest
from raypol.store.location import Location
from raypol.store.proofs.reader import ParquetProof

_LARGEST_SHARD: Final = 25
REPLAYING: Final = "replaying intervals"
"""What `examine_proof` reports most of its time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """How a proof is examined; a policy decides what the evidence means."""

    conditions: Conditions
    selection: Selection = "all"
    query_budget: int = 1
    expected_root: str | None = None
    expected_share: str | None = field(default=None, repr=False)
    """Not shown: the names of trials and baselines are made of what is, and no trial has one."""
    expected_commitment: str | None = field(default=None, repr=False)
    accuracy: bool = True
    """Also measure each recorded model's test accuracy, see `Policy.needs_accuracy`."""
    accuracy_stages: int = field(default=0, repr=False)
    """Measure it of W_0 and the last model of each of so many stages alone; 0 = of all, which costs a good part of a replay."""

    unperturbed: bool = field(default=True, repr=False)
    """Also replay a spoof's intervals with its batches unperturbed, for what crafting bought (`removed_share`)."""
    wanted: frozenset[Wish] = field(default=frozenset(), repr=False)
    """Evidence that only some checks look at, see `Policy.wanted`."""
    exact: bool = field(default=False, repr=False)
    """Also compare every bit of a replay under recorded augmentation, see `Policy.needs_exact`."""

    def measured(self, recipe: Recipe) -> frozenset[int] | bool:
        """Positions of the models whose accuracy is measured, or whether that of all is."""
        if not self.accuracy or not self.accuracy_stages:
            return self.accuracy
        intervals, stages = recipe.num_intervals, self.accuracy_stages
        last = {stage_of(recipe.interval_at(i).start, recipe.steps, stages): i + 1 for i in range(intervals)}
        return frozenset({0, *last.values()})


def shards(count: int, workers: int) -> list[tuple[int, int]]:
    """0..count-1 in contiguous, nearly equal, non-empty parts (start, stop).

    At least two per worker, so that none waits long for the last; each of at most 25 intervals, so that progress shows and a lost
    worker costs little.
    """
    parts = min(count, max(2 * max(workers, 1), -(-count // _LARGEST_SHARD)))
    bounds = [count * i // parts for i in range(parts + 1)] if parts else []
    return list(pairwise(bounds))


def examine_proof(
    runner: Runner,
    folder: Location,
    data: DataSource,
    examination: Examination,
    *,
    control: Recipe | None = None,
    control_keeps_state: bool = True,
    on_progress: Progress = no_progress,
) -> tuple[Evidence, float]:
    """Evidence about a proof, and the seconds it took.

    Args:
        runner: where to work.
        folder: the proof.
        data: the verifier's own copy of the public dataset.
        examination: what to look at.
        control: see `ReplayJob`.
        control_keeps_state: see `ReplayJob`.
        on_progress: called as checkpoints are read, then as intervals are replayed.

    Raises:
        InputError: the folder is not a readable proof, or it names code that the verifier did not name.
    """
    started = time.perf_counter()
    source, found = _survey(runner, folder, data, examination, on_progress)
    device, workers = runner.device("verifier"), runner.num_workers("verifier")
    replays: list[IntervalReplay] = []
    if is_replayable(found):
        chosen = select_intervals(
            examination.selection,
            examination.query_budget,
            recipe=source.recipe,
            dataset_size=len(data.load()),
            movements=found.movements,
            seed=verifier_seed(source.root, examination.conditions),
        )
        on_progress(REPLAYING, 0, len(chosen))
        work: list[Future[tuple[IntervalReplay, ...]]] = [
            runner.submit(
                "verifier",
                run_replay,
                ReplayJob(
                    proof=folder.address,
                    data=data,
                    device=device,
                    conditions=examination.conditions,
                    intervals=_indices(chosen[start:stop]),
                    control=control if examination.unperturbed else None,
                    control_keeps_state=control_keeps_state,
                    exact=examination.exact,
                    recipe_sha256=recipe_digest(source.recipe),
                ),
            )
            for start, stop in shards(len(chosen), workers)
        ]
        for future in work:
            replays += future.result()
            on_progress(REPLAYING, len(replays), len(chosen))
    gathered = _evidence(source, found, replays, data, examination)
    return gathered, time.perf_counter() - started


def survey_proof(
    runner: Runner, folder: Location, data: DataSource, *, on_progress: Progress = no_progress
) -> Evidence:
    """Evidence about a proof without a replay; raises as `examine_proof`."""
    asked = Examination(conditions=Conditions(), accuracy=False)
    source, found = _survey(runner, folder, data, asked, on_progress)
    return _evidence(source, found, [], data, asked)


def _survey(
    runner: Runner, folder: Location, data: DataSource, examination: Examination, on_progress: Progress
) -> tuple[ParquetProof, Survey]:
    """Read a whole proof, in shards."""
    source = ParquetProof(folder)
    check_names(source.recipe, data)
    num_checkpoints = len(source.checkpoint_steps)
    read: list[tuple[int, Future[Survey]]] = [
        (
            part[1],
            runner.submit(
                "verifier",
                run_survey,
                SurveyJob(
                    proof=folder.address,
                    data=data,
                    device=runner.device("verifier"),
                    positions=part,
                    accuracy=examination.measured(source.recipe),
                    wanted=examination.wanted,
                    recipe_sha256=recipe_digest(source.recipe),
                ),
            ),
        )
        for part in shards(max(num_checkpoints, 1), runner.num_workers("verifier"))
    ]
    found = Survey()
    for last, surveyed in read:
        found += surveyed.result()
        on_progress("reading checkpoints", min(last, num_checkpoints), num_checkpoints)
    return source, found


def _evidence(
    source: ParquetProof,
    found: Survey,
    replays: Sequence[IntervalReplay],
    data: DataSource,
    examination: Examination,
) -> Evidence:
    return evidence(
        source,
        found,
        replays,
        conditions=examination.conditions,
        selection=examination.selection,
        query_budget=examination.query_budget,
        dataset_size=len(data.load()),
        expected_root=examination.expected_root,
        expected_share=examination.expected_share,
        expected_commitment=examination.expected_commitment,
    )


def _indices(intervals: Sequence[Interval]) -> tuple[int, ...]:
    return tuple(interval.index for interval in intervals)


def check_names(recipe: Recipe, data: DataSource) -> None:
    """Raise InputError if the proof is about other data than the verifier names."""
    if recipe.dataset != data.name:
        raise InputError(f"the proof is about dataset {in_short(recipe.dataset)}; expected {data.name!r} (--dataset)")
    dataset = data.load()
    if recipe.dataset_sha256 != dataset.sha256:
        raise InputError(
            f"the proof was made on other data: its {recipe.dataset} has SHA-256 {recipe.dataset_sha256[:12]}..., "
            f"the verifier's {dataset.sha256[:12]}..."
        )


def allow_names(recipe: Recipe, *, dataset: str | None, model: str | None) -> None:
    """Let import paths in a proof, which run code, through only if the verifier typed the same ones.

    Raises:
        InputError: the proof names code that the verifier did not.
    """
    allow_name("dataset", recipe.dataset, dataset)
    allow_name("model", recipe.model, model)


def allow_name(what: Literal["dataset", "model"], named: str, typed: str | None) -> None:
    """As `allow_names`, of one name; raises as it does."""
    if is_import_path(named) and named != typed:
        raise InputError(
            f"the proof names {what} {named!r}, which is code outside raypol; give --{what} {named} to run it"
        )
