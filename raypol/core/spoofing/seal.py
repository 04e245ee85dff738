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
from raypol.core.spoofing.grants import check_granted
from raypol.core.spoofing.method import AttackMethod, C, craft
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.training.background_sink import BackgroundSink
from raypol.core.training.optimizers import state_depends_on


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
            start = seal_interval(method, scene, made, start, background)
            if on_interval:
                on_interval(made)
        background.write_checkpoint(start)
    return replace(stop(), writing_s=background.waited_s)


def seal_interval(
    method: AttackMethod[C],
    scene: Scene,
    made: Crafted,
    start: Checkpoint,
    background: BackgroundSink | None,
) -> Checkpoint:
    """Write a crafted interval without its end, nothing without a sink; returns the end."""
    start = recorded_start(made, start)
    if background is not None:
        background.write_checkpoint(start)
        background.write_batches(records(scene, made, background.sink))
    return recorded_end(method, scene, made, start)


def recorded_start(made: Crafted, start: Checkpoint) -> Checkpoint:
    """The checkpoint that is recorded before a crafted interval."""
    return start if made.start_state is None else replace(start, optimizer_state=made.start_state)


def recorded_end(method: AttackMethod[C], scene: Scene, made: Crafted, start: Checkpoint) -> Checkpoint:
    """The checkpoint that is recorded after a crafted interval.

    What an interval leaves behind besides weights is computed as cheaply as it can be: by training only if the declared state
    depends on gradients, statistics of norm layers by forward passes if nothing trains.
    """
    choices = scene.choices
    if made.end is not None:
        return made.end if choices.carry == "exact" else replace(made.end, optimizer_state={})
    claimed = scene.trajectory.checkpoint(made.interval.stop)
    needs = "nothing"
    if choices.carry == "exact" and not method.forges_state:
        needs = state_depends_on(scene.recipe)
    if needs == "gradients":
        replayed = scene.train(made.interval, made.batches, start)
        buffers = replayed.buffers if choices.buffers == "exact" else claimed.buffers
        return replace(claimed, buffers=buffers, optimizer_state=replayed.optimizer_state)
    if needs == "steps":
        scene.trainer.load(start)
        scene.trainer.idle(made.interval.num_steps)
        claimed = replace(claimed, optimizer_state=scene.trainer.snapshot(made.interval.stop).optimizer_state)
    if choices.buffers == "exact":
        claimed = replace(claimed, buffers=scene.statistics(made.interval, made.batches, start, claimed))
    return claimed


def start_clock(scene: Scene) -> Callable[[], Cost]:
    """Start a scene's stopwatch; the returned function gives the adversary's cost since then."""
    trainer = scene.trainer
    evals, passes, hashes = trainer.gradient_evals, trainer.forward_passes, scene.hashes
    trainer.stopwatch.start()

    def stop() -> Cost:
        elapsed = trainer.stopwatch.read()
        return Cost(
            device_s=elapsed,
            wall_s=elapsed,
            gradient_evals=trainer.gradient_evals - evals,
            forward_passes=trainer.forward_passes - passes,
            hashes=scene.hashes - hashes,
        )

    return stop


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
            changed |= batch.labels != scene.dataset.labels[sources.to(scene.dataset.labels.device)].cpu()
            if bool(changed.any()):
                check_granted({"own_points": "a batch with points of its own"}, scene.choices.grants)
                points = Points(pixels=batch.pixels[changed], labels=batch.labels[changed], sources=sources[changed])
                digests = digests.copy()
                digests[changed.numpy()] = hashing.point_digests(points.pixels, points.labels)
                indices[changed.numpy()] = sink.add_points(points)
        records.append(BatchRecord(step, indices, hashing.step_digest(step, digests)))
    return records
