"""Forging a spoof with a runner: its intervals in parallel, then sealing; what an interrupted try finished is taken up."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from raypol.cluster.jobs import (
    DataSource,
    SpoofJob,
    SpoofOutcome,
    remove_workshop,
    run_craft,
    run_seal,
)
from raypol.cluster.runners import Runner, WorkerLostError
from raypol.core.attacks import method_of
from raypol.core.crafting import CraftStats
from raypol.core.proof import Cost, Recipe
from raypol.runs.environment import environment_of, versions
from raypol.runs.honest import proof_id_of
from raypol.runs.study import Trial
from raypol.runs.verify import shards
from raypol.store.location import Location
from raypol.store.proofs import Manifest

P = ParamSpec("P")
R = TypeVar("R")

# Storage that is away for a minute costs a minute, not a trial: what is finished of it is found again.
_STORAGE_PATIENCE_S: Final = 180.0
# Shards do not depend on the number of workers, so that another cluster can go on with them.
_CRAFTING_SHARDS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Forged:
    """A spoof in the results folder."""

    manifest: Manifest
    cost: Cost
    """Of all of it: crafting and sealing."""
    stats: tuple[CraftStats, ...]
    resumed: bool
    """True if an interrupted try had finished part of it; device time is complete, wall time is of the last part."""


def forge(
    runner: Runner,
    results: Location,
    *,
    proof_id: str,
    target: Location,
    trial: Trial,
    recipe: Recipe,
    data: DataSource,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
    on_crafted: Callable[[SpoofJob, int], None] = lambda _job, _done: None,
) -> Forged:
    """Craft all intervals in parallel, then seal. What an interrupted try finished is taken up.

    Whoever calls this calls `remove_workshop` once the spoof is judged.

    Args:
        runner: where to work.
        results: the results folder.
        proof_id: name of the spoof's folder.
        target: folder of the proof whose last weights are stolen.
        trial: the attack and its choices.
        recipe: what the spoof will declare.
        data: the adversary's dataset.
        on_progress: told how many intervals are crafted, of how many.
        on_crafted: handed the job with the shards that are crafted in order so far, and their number of intervals; what it raises
            ends the forging.
    """
    started = time.perf_counter()
    base = SpoofJob(
        results=results.address,
        proof_id=proof_id,
        target=target.address,
        attack=trial.attack,
        attack_path=trial.attack_path,
        spoof=trial.spoof,
        data=data,
        device=runner.device("spoofer"),
        environment=environment_of(runner, "spoofer"),
    )
    crafted: list[SpoofOutcome] = []
    parts: list[tuple[int, int]] = []
    work: list[Future[SpoofOutcome]] = []
    try:
        if not method_of(trial.attack).sequential(trial.attack, trial.spoof):
            parts = shards(recipe.num_intervals, _CRAFTING_SHARDS)
            work = [runner.submit("spoofer", run_craft, replace(base, shard=part)) for part in parts]
            for number, (part, future) in enumerate(zip(parts, work, strict=True), start=1):
                crafted.append(future.result())
                on_progress(part[1], recipe.num_intervals)
                on_crafted(replace(base, shards=tuple(parts[:number])), part[1])
        sealed = runner.submit("spoofer", run_seal, replace(base, shards=tuple(parts))).result()
    except BaseException as err:
        running = [future for future in work if not future.cancel()]
        if isinstance(err, Exception):  # who pressed Ctrl-C does not wait
            wait(running)
            if not may_be_resumed(err):
                remove_workshop(results, proof_id)
        raise
    assert sealed.manifest is not None
    cost = sum((part.cost for part in crafted), sealed.cost)
    return Forged(
        manifest=sealed.manifest,
        cost=replace(cost, wall_s=time.perf_counter() - started),
        stats=tuple(s for part in crafted for s in part.stats) or sealed.stats,
        resumed=sealed.reused or any(part.reused for part in crafted),
    )


def spoof_id(trial: Trial, target_id: str, device: str, *, sweep_id: str = "") -> str:
    """Name of the spoof's folder: says nothing about the attack, a verifier must not be told."""
    content = {
        "arm": trial.arm,
        "attack": repr(trial.attack),
        "spoof": repr(trial.spoof),
        "target": target_id,
        "device": device,
        "sweep": sweep_id,
        "versions": versions(),
    }
    return proof_id_of("proof", content)


def may_be_resumed(err: BaseException) -> bool:
    """True if a trial failed through no fault of its own: a worker or the storage was lost, and another try may go on."""
    return isinstance(err, WorkerLostError | OSError)


def storage_retries(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """function(...), again and again while the storage is away, for a bounded time."""
    return Retrying(
        retry=retry_if_exception(_is_storage),
        wait=wait_exponential(multiplier=0.5, max=20),
        stop=stop_after_delay(_STORAGE_PATIENCE_S),
        reraise=True,
    )(function, *args, **kwargs)


def _is_storage(err: BaseException) -> bool:
    """True for what may pass: not for a file that is not there or a place that must not be written."""
    lasting = FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
    return isinstance(err, OSError) and not isinstance(err, lasting)
