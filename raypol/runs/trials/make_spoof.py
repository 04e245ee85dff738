"""Forging a spoof with a runner: its intervals in parallel, then sealing. Finished parts of an interrupted try are taken up."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from raypol.cluster.jobs import SpoofJob, SpoofOutcome, run_craft, run_seal
from raypol.cluster.runners import Runner, WorkerLostError
from raypol.core.attacks import method_of
from raypol.core.datasets.source import DataSource
from raypol.core.progress import Progress
from raypol.core.proof import Cost, Recipe
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.runs.trials.environment import environment_of, versions
from raypol.runs.trials.honest_proof import intervals_written, proof_id_of
from raypol.runs.trials.verify import shards
from raypol.store.location import Location, open_location
from raypol.store.proofs.format import Manifest

# A device in an error state fails every job that follows; its process must end.
_GPU_ERRORS: Final[tuple[type[BaseException], ...]] = (torch.AcceleratorError,)
_POLL_S: Final = 1.0
# Shards do not depend on the number of workers, so that another cluster can take them up.
_CRAFTING_SHARDS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Forged:
    """A spoof in the results folder."""

    manifest: Manifest
    cost: Cost
    """Of crafting and sealing."""
    stats: tuple[CraftStats, ...]
    resumed: bool
    """True if an interrupted try had finished part of it; device time is complete, wall time is of the last part."""


def spoof_job(
    runner: Runner,
    results: Location,
    proof_id: str,
    target: Location,
    attack: Any,  # noqa: ANN401 - configurations have no common base
    spoof: SpoofConfig,
    data: DataSource,
) -> SpoofJob:
    """Describe the forging of one spoof on the spoofer's device.

    Args:
        runner: where to work.
        results: the results folder.
        proof_id: name of the spoof's folder.
        target: folder of the proof whose last weights are stolen.
        attack: the attack's configuration.
        spoof: the adversary's other choices.
        data: the adversary's dataset.
    """
    return SpoofJob(
        results=results.address,
        proof_id=proof_id,
        target=target.address,
        attack=attack,
        spoof=spoof,
        data=data,
        device=runner.device("spoofer"),
        environment=environment_of(runner, "spoofer"),
    )


def forge(
    runner: Runner,
    job: SpoofJob,
    recipe: Recipe,
    *,
    on_progress: Progress | None = None,
    on_crafted: Callable[[SpoofJob, int], None] | None = None,
) -> Forged:
    """Craft all intervals in parallel, then seal them. Finished parts of an interrupted try are taken up.

    The caller removes them once they are of no more use: see `crafted_intervals`, with keep_if=may_be_resumed.

    Args:
        runner: where to work.
        job: see `spoof_job`.
        recipe: what the spoof will declare.
        on_progress: called as intervals are crafted, then as they are written; None = the storage is not asked.
        on_crafted: called with the job and its shards crafted in order so far, and their number of intervals; it may raise to end
            the forging. With it at most one shard per worker is crafted at a time, so that little is done in vain.
    """
    started = time.perf_counter()
    results = open_location(job.results)
    crafted: list[SpoofOutcome] = []
    parts: list[tuple[int, int]] = []
    work: list[Future[SpoofOutcome]] = []
    try:
        if not method_of(job.attack).sequential(job.attack, job.spoof):
            parts = shards(recipe.num_intervals, _CRAFTING_SHARDS)
            ahead = len(parts) if on_crafted is None else runner.num_workers("spoofer")
            for number, part in enumerate(parts, start=1):
                while len(work) < min(number - 1 + ahead, len(parts)):
                    work.append(runner.submit("spoofer", run_craft, replace(job, shard=parts[len(work)])))
                crafted.append(work[number - 1].result())
                if on_progress is not None:
                    on_progress("crafting intervals", part[1], recipe.num_intervals)
                if on_crafted is not None:
                    looked = time.perf_counter()
                    on_crafted(replace(job, shards=tuple(parts[:number])), part[1])
                    started += time.perf_counter() - looked  # the verifier's time is not the spoof's
        sealing = runner.submit("spoofer", run_seal, replace(job, shards=tuple(parts)))
        what = "writing intervals" if parts else "crafting and writing intervals"
        while on_progress is not None and not sealing.done():
            with suppress(OSError):  # storage that is away for a moment shows no progress, and that is all
                on_progress(what, intervals_written(results, job.proof_id), recipe.num_intervals)
            wait([sealing], timeout=_POLL_S)
        sealed = sealing.result()
    except BaseException as err:
        running = [future for future in work if not future.cancel()]
        if isinstance(err, Exception):  # Ctrl-C does not wait
            wait(running)
        raise
    assert sealed.manifest is not None
    cost = sum((part.cost for part in crafted), sealed.cost)
    return Forged(
        manifest=sealed.manifest,
        cost=replace(cost, wall_s=time.perf_counter() - started),
        stats=tuple(s for part in crafted for s in part.stats) or sealed.stats,
        resumed=sealed.reused or any(part.reused for part in crafted),
    )


def spoof_id(arm: str, attack: object, spoof: SpoofConfig, *, target: str, device: str) -> str:
    """Name of the folder of a spoof that is no trial, which tells a verifier nothing about the attack.

    Args:
        arm: what the attack was called.
        attack: its configuration.
        spoof: the adversary's other choices.
        target: root hash of the proof whose last weights are stolen.
        device: model of the spoofer's device.
    """
    content = {
        "arm": arm,
        "attack": repr(attack),
        "spoof": repr(spoof),
        "target": target,
        "device": device,
        "sweep": "",
        "versions": versions(),
    }
    return proof_id_of("proof", content)


def may_be_resumed(err: BaseException) -> bool:
    """True if another try may go on: the trial was interrupted, or lost its worker, its GPU or the storage."""
    return not isinstance(err, Exception) or isinstance(err, (WorkerLostError, OSError, *_GPU_ERRORS))
