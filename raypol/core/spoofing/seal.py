"""Forging a proof from crafted intervals.

Threat model (Zhang et al. 2022, arXiv:2108.09454, section III): A knows W_T, the architecture, and the dataset (or another of
the same distribution), may modify data, and does not know the prover's random draws. Intervals are independent except for the
optimizer's state, so they are crafted in any order and place; `seal_spoof` then writes the proof in order and, where A carries
the true state, computes it by one cheap pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from raypol.core import hashing
from raypol.core.augment import to_unit
from raypol.core.proof import BatchRecord, Checkpoint, Cost, Interval, Points, ProofSink
from raypol.core.spoofing.method import AttackMethod, C, Crafted, Scene, craft
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.background_sink import BackgroundSink


def craft_interval(
    method: AttackMethod[C], scene: Scene, interval: Interval, config: C, start: Checkpoint | None = None
) -> Crafted:
    """Run the attack on one interval and take its cost."""
    stop = start_clock(scene)
    with torch.random.fork_rng():
        crafted = craft(method, scene, interval, start or scene.trajectory.checkpoint(interval.start), config)
    return replace(crafted, cost=stop())


def seal_spoof(
    method: AttackMethod[C],
    scene: Scene,
    config: C,
    spoof: SpoofConfig,
    crafted: Iterator[Crafted] | None,
    sink: ProofSink,
    *,
    first: int | None = None,
    on_interval: Callable[[Crafted], None] | None = None,
) -> Cost:
    """Write the spoof in order.

    Args:
        method: the attack.
        scene: with the declared recipe.
        config: the attack's hyperparameters.
        spoof: A's other choices.
        crafted: the intervals in order; None = craft each here, from its sealed start (sequential attacks).
        sink: where the spoof goes.
        first: write only the first intervals, to see how they will be judged; None = all.
        on_interval: called with each interval as sealed, for progress and statistics.

    Returns:
        Cost of this pass alone: carrying the state, writing, and crafting if it was done here.
    """
    stop = start_clock(scene)
    with torch.random.fork_rng(), BackgroundSink(sink) as background:
        start = scene.trajectory.checkpoint(0)
        for interval in scene.recipe.intervals()[:first]:
            made = next(crafted) if crafted is not None else craft(method, scene, interval, start, config)
            assert made.interval == interval, "crafted intervals come in order"
            start = seal_interval(method, scene, spoof, made, start, background)
            if on_interval:
                on_interval(made)
        background.write_checkpoint(start)
    return stop()


def seal_interval(
    method: AttackMethod[C],
    scene: Scene,
    spoof: SpoofConfig,
    made: Crafted,
    start: Checkpoint,
    background: BackgroundSink | None,
) -> Checkpoint:
    """Write a crafted interval without its end, nothing without a sink; returns the end."""
    start = recorded_start(made, start)
    if background is not None:
        background.write_checkpoint(start)
        background.write_batches(records(scene, made, background.sink))
    return recorded_end(method, scene, spoof, made, start)


def recorded_start(made: Crafted, start: Checkpoint) -> Checkpoint:
    """The checkpoint that is recorded before a crafted interval."""
    return start if made.start_state is None else replace(start, optimizer_state=made.start_state)


def recorded_end(
    method: AttackMethod[C], scene: Scene, spoof: SpoofConfig, made: Crafted, start: Checkpoint
) -> Checkpoint:
    """The checkpoint that is recorded after a crafted interval."""
    claimed = scene.trajectory.checkpoint(made.interval.stop)
    if (spoof.carry != "exact" or method.forges_state) and not made.follow:
        return claimed
    replayed = _train_on(scene, made, start)
    reached = replayed if made.follow else claimed
    return replace(reached, optimizer_state=replayed.optimizer_state if spoof.carry == "exact" else {})


def start_clock(scene: Scene) -> Callable[[], Cost]:
    """Start a scene's stopwatch; the returned function gives the adversary's cost since then."""
    trainer, evals = scene.trainer, scene.trainer.gradient_evals
    trainer.stopwatch.start()

    def stop() -> Cost:
        elapsed = trainer.stopwatch.read()
        return Cost(device_s=elapsed, wall_s=elapsed, gradient_evals=trainer.gradient_evals - evals)

    return stop


def _train_on(scene: Scene, made: Crafted, start: Checkpoint) -> Checkpoint:
    """Make the declared updates on the crafted batches from the recorded start, as an exact replay will."""
    scene.trainer.load(start)
    data = scene.trainer.dataset
    for step, batch in zip(range(made.interval.start, made.interval.stop), made.batches, strict=True):
        if batch.pixels is None:
            where = torch.from_numpy(batch.sources).to(scene.trainer.device)
            scene.trainer.step(step, data.pixels[where], data.labels[where])
        else:
            scene.trainer.step(step, batch.pixels.to(scene.trainer.device), batch.labels.to(scene.trainer.device))
    return scene.trainer.snapshot(made.interval.stop)


def records(scene: Scene, made: Crafted, sink: ProofSink) -> list[BatchRecord]:
    """I and H of an interval; points equal to their source stay indices into the public dataset."""
    records = []
    for step, batch in zip(range(made.interval.start, made.interval.stop), made.batches, strict=True):
        indices = batch.sources.copy()
        digests = scene.dataset.point_digests[indices]
        if batch.pixels is not None:
            sources = torch.from_numpy(batch.sources)
            original = scene.dataset.pixels[sources.to(scene.dataset.pixels.device)].cpu()
            if batch.pixels.dtype != original.dtype:
                original = to_unit(original)
            changed = (batch.pixels != original).flatten(1).any(1)
            if bool(changed.any()):
                points = Points(pixels=batch.pixels[changed], labels=batch.labels[changed], sources=sources[changed])
                digests = digests.copy()
                digests[changed.numpy()] = hashing.point_digests(points.pixels, points.labels)
                indices[changed.numpy()] = sink.add_points(points)
        records.append(BatchRecord(step, indices, hashing.step_digest(step, digests)))
    return records
