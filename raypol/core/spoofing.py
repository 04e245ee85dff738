"""Forging a proof: what the adversary holds, what he declares, and how crafted intervals become a spoof.

Threat model (AE4PoL section III): A knows W_T, the architecture, and the dataset (or another of the same distribution), may
modify data, and does not know the prover's random draws. Intervals are independent but for the optimizer's state, so
crafting is done in any order and place; `seal_spoof` then writes the proof in order and, where A carries the true state,
computes it by one cheap pass.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.augment import to_unit
from raypol.core.clock import Mark, mark, synchronise
from raypol.core.crafting import CraftingConfig, CraftStats, ValueAndGradient, measure, search, statistics_frozen, store
from raypol.core.data import DataOrder, Dataset
from raypol.core.errors import InputError
from raypol.core.proof import (
    BatchRecord,
    Checkpoint,
    Cost,
    Interval,
    OptimizerConfig,
    Points,
    ProofSink,
    Recipe,
    ScheduleConfig,
)
from raypol.core.prover import BackgroundSink
from raypol.core.seeds import derive_seed
from raypol.core.training import Trainer
from raypol.core.trajectory import Path, Trajectory, TrajectoryConfig

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoofConfig:
    """A's choices besides the attack's own hyperparameters."""

    steps: int = 200
    """T', updates that the spoof claims."""
    interval: int = 10
    """k, steps between recorded weights."""
    dataset: str = ""
    """What A crafts from, and what the spoof claims to be trained on; empty = the honest proof's dataset. An import path
    (my_pkg.data:load) must be given here to be run, also where the proof names it."""
    batch_size: int = 0
    """Points per update; 0 = the honest proof's."""
    trajectory: TrajectoryConfig = field(default_factory=TrajectoryConfig)
    """The intermediate models."""
    hyperparameters: Literal["published", "honest_schedule"] = "honest_schedule"
    """What A declares: published = SGD lr 0.01, momentum 0.9, weight decay 1e-4, constant; honest_schedule = the proof's own
    optimizer and schedule, stretched to T'."""
    carry: Literal["exact", "restart", "none"] = "exact"
    """Optimizer state: exact = the true one, by one pass in order; restart = empty at every checkpoint (published); none = A
    declares an optimizer without momentum."""
    seed: int = 0
    """Of W_0, batches and noise."""

    def __post_init__(self) -> None:
        if self.hyperparameters not in ("published", "honest_schedule"):
            raise InputError(f"unknown hyperparameters {self.hyperparameters!r}; possible: honest_schedule, published")
        if self.carry not in ("exact", "restart", "none"):
            raise InputError(f"unknown carry {self.carry!r}; possible: exact, none, restart")


def declare(honest: Recipe, config: SpoofConfig, dataset: Dataset | None = None) -> Recipe:
    """The recipe that a spoof claims to have followed, before the attack's own changes to it.

    Args:
        honest: of the proof whose W_T is stolen. Its normalisation is kept whatever A's data: it belongs to W_T.
        config: A's choices.
        dataset: A's own, if `config` names one; not looked at otherwise.

    Raises:
        InputError: a choice that contradicts another, or `dataset` is not what `config` names.
    """
    name, sha256 = honest.dataset, honest.dataset_sha256
    if config.dataset:
        if dataset is None or dataset.name != config.dataset:
            raise InputError(
                f"the spoof names dataset {config.dataset!r}; expected it, got {dataset.name if dataset else 'none'}"
            )
        name, sha256 = dataset.name, dataset.sha256
    optimizer, schedule = honest.optimizer, honest.schedule
    if config.hyperparameters == "published":
        optimizer = OptimizerConfig(name="SGD", options={"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4})
        schedule = ScheduleConfig()
    elif schedule.name != "constant":
        schedule = replace(schedule, base_steps=schedule.base_steps or honest.steps)
    if config.carry == "none":
        if optimizer.name != "SGD":
            raise InputError(f"carry none needs an optimizer that can go without state (SGD), got {optimizer.name}")
        # torch takes nesterov with momentum only, and dampening is of the momentum's buffer.
        options = {key: value for key, value in optimizer.options.items() if key not in ("nesterov", "dampening")}
        optimizer = replace(optimizer, options={**options, "momentum": 0.0})
    return replace(
        honest,
        dataset=name,
        dataset_sha256=sha256,
        steps=config.steps,
        interval=config.interval,
        batch_size=config.batch_size or honest.batch_size,
        optimizer=optimizer,
        schedule=schedule,
        transform=honest.transform.without_augmentation(),
        seed=derive_seed(config.seed, "spoof"),
    )


@dataclass(slots=True, eq=False)
class Scene:
    """What A holds while crafting: his data, the declared recipe, the trajectory, and a workbench to compute on."""

    recipe: Recipe
    dataset: Dataset
    trajectory: Path
    trainer: Trainer
    seed: int
    asides: list[tuple[Mark, Mark]] = field(default_factory=list)
    """From when to when we measured what the attack itself does not need to know."""

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Inside, time and gradient evaluations are ours, not the adversary's: they are taken out of his cost."""
        evals, begun = self.trainer.gradient_evals, mark(self.trainer.device)
        yield
        self.asides.append((begun, mark(self.trainer.device)))
        self.trainer.gradient_evals = evals

    def batch(self, step: int, attempt: int = 0) -> tuple[npt.NDArray[np.int64], Tensor, Tensor]:
        """The batch that A takes for a step: (B,) sources, (B, C, H, W) pixels in [0, 1], (B,) labels.

        Attempt 0 is the same for every attack under one seed, so that attack and control differ in R alone.
        """
        seed = derive_seed(self.seed, "spoof batches", attempt)
        sources = DataOrder(len(self.dataset), self.recipe.batch_size, seed)(step)
        where = torch.from_numpy(sources).to(self.trainer.device)
        data = self.trainer.dataset
        return sources, to_unit(data.pixels[where], self.trainer.dtype), data.labels[where]


def make_scene(
    recipe: Recipe,
    dataset: Dataset,
    target: Checkpoint,
    config: SpoofConfig,
    device: torch.device | str = "cpu",
) -> Scene:
    """Set the scene for a declared recipe; `target` is W_T."""
    trajectory = Trajectory(target, recipe, dataset, config.trajectory, config.seed)
    return Scene(recipe, dataset, trajectory, Trainer(recipe, dataset, device), config.seed)


@dataclass(frozen=True, slots=True, eq=False)
class CraftedBatch:
    """One claimed step's data, on the CPU."""

    sources: npt.NDArray[np.int64]
    """(B,) the dataset's points that were taken."""
    labels: Tensor
    """(B,) int64."""
    pixels: Tensor | None
    """(B, C, H, W) uint8 or float32 as they will be stored; None = the sources as they are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crafted:
    """What an attack made of one interval."""

    interval: Interval
    batches: Sequence[CraftedBatch]
    stats: tuple[CraftStats, ...] = ()
    start_state: Mapping[str, Tensor] | None = None
    """A forged optimizer state to record at the interval's start; None = what the carry says."""
    follow: bool = False
    """True: the interval is trained honestly, the next checkpoint is where training led, not the trajectory's."""
    cost: Cost = field(default_factory=Cost)


def craft_until_accepted(
    scene: Scene,
    steps: Sequence[int],
    config: CraftingConfig,
    objective: Callable[[Tensor, Tensor], ValueAndGradient],
    goal: Mapping[str, Tensor] | None = None,
) -> tuple[list[CraftedBatch], CraftStats]:
    """Search R for the batches of `steps` together, at the weights the trainer holds; retry with fresh batches.

    The rule of AE4PoL: accepted when |grad|^2 and |R|^2 are below their limits, else fresh batches are drawn, up to
    `retries` times. What the last try gave is returned as it is, with `accepted` false.

    Args:
        scene: the trainer holds the weights at which R is searched.
        steps: the claimed steps whose batches are searched together (one for attacks I and II, k for III).
        config: search and limits.
        objective: from (n, B, C, H, W) points and (n, B) labels to what is minimised.
        goal: g* that the accepted gradient is compared with; None = 0.
    """
    trainer = scene.trainer
    for attempt in range(config.retries + 1):
        drawn = [scene.batch(step, attempt) for step in steps]
        X_nBCHW, y_nB = torch.stack([X for _, X, _ in drawn]), torch.stack([y for _, _, y in drawn])
        with statistics_frozen(trainer):
            with scene.uncounted():
                loss_before, norm2_before = measure(trainer, X_nBCHW, y_nB, goal)
            R = search(objective(X_nBCHW, y_nB), X_nBCHW, config)
            stored = store(X_nBCHW, R, config)
            unit = to_unit(stored, trainer.dtype)
            # An adversary who sets no limit on the gradient need not measure it; we do, at our own cost.
            with nullcontext() if math.isfinite(config.max_grad_norm2) else scene.uncounted():
                loss_after, norm2_after = measure(trainer, unit, y_nB, goal)
        R = unit - X_nBCHW
        norm2 = float(R.square().sum())
        # `not below` rather than `above`: a NaN is not accepted.
        accepted = norm2_after < config.max_grad_norm2 and norm2 < config.max_perturbation_norm2
        if accepted:
            break
    stats = CraftStats(
        loss_before=loss_before,
        loss_after=loss_after,
        grad_norm2_before=norm2_before,
        grad_norm2_after=norm2_after,
        perturbation_norm2=norm2,
        perturbation_linf=float(R.abs().max()),
        retries=attempt,
        accepted=accepted,
    )
    batches = [CraftedBatch(d[0], y.cpu(), pixels.cpu()) for d, y, pixels in zip(drawn, y_nB, stored, strict=True)]
    return batches, stats


class Craft(Protocol[C_contra]):
    """An attack: from the scene and an interval's recorded start to the interval's data."""

    def __call__(self, scene: Scene, interval: Interval, start: Checkpoint, config: C_contra) -> Crafted:
        """Craft the interval's batches. `start` is W_{t-k} with the optimizer state that will be recorded."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackMethod(Generic[C]):
    """How an attack is run."""

    config: type[C]
    """Its hyperparameters."""
    craft: Craft[C]
    declare: Callable[[Recipe, C], Recipe] = lambda recipe, _: recipe
    """What the attack changes in the declared recipe."""
    sequential: Callable[[C, SpoofConfig], bool] = lambda _, __: False
    """True if intervals are crafted while sealing: each needs the one before, or crafting costs nothing."""
    forges_state: bool = False
    """The recorded optimizer state is invented; the unperturbed reference starts from an empty one."""
    independent: bool = True
    """False: an interval cannot be crafted without all before it."""


def craft_interval(
    method: AttackMethod[C], scene: Scene, interval: Interval, config: C, start: Checkpoint | None = None
) -> Crafted:
    """Run the attack on one interval under the clock."""
    stop = clock(scene)
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
        first: write only so many intervals, for a look at how they will be judged; None = all.
        on_interval: called with each interval as sealed, for progress and statistics.

    Returns:
        Cost of this pass alone: carrying the state, writing, and crafting if it was done here.
    """
    stop = clock(scene)
    with torch.random.fork_rng(), BackgroundSink(sink) as background:
        start = scene.trajectory.checkpoint(0)
        for interval in scene.recipe.intervals()[:first]:
            made = next(crafted) if crafted is not None else craft(method, scene, interval, start, config)
            assert made.interval == interval, "crafted intervals come in order"
            start = recorded_start(made, start)
            background.write_checkpoint(start)
            background.write_batches(records(scene, made, sink))
            start = following(method, scene, spoof, made, start)
            if on_interval:
                on_interval(made)
        background.write_checkpoint(start)
    return stop()


def recorded_start(made: Crafted, start: Checkpoint) -> Checkpoint:
    """The checkpoint before a crafted interval, with the state that will be recorded."""
    return start if made.start_state is None else replace(start, optimizer_state=made.start_state)


def following(
    method: AttackMethod[C], scene: Scene, spoof: SpoofConfig, made: Crafted, start: Checkpoint
) -> Checkpoint:
    """The checkpoint that is recorded after a crafted interval."""
    claimed = scene.trajectory.checkpoint(made.interval.stop)
    if (spoof.carry != "exact" or method.forges_state) and not made.follow:
        return claimed
    replayed = _follow(scene, made, start)
    reached = replayed if made.follow else claimed
    return replace(reached, optimizer_state=replayed.optimizer_state if spoof.carry == "exact" else {})


def craft(method: AttackMethod[C], scene: Scene, interval: Interval, start: Checkpoint, config: C) -> Crafted:
    """Craft from a seed of the interval's own: what torch draws by itself is the same in any process and order."""
    torch.manual_seed(derive_seed(scene.seed, "crafting", interval.index))
    return method.craft(scene, interval, start, config)


def clock(scene: Scene) -> Callable[[], Cost]:
    """Start the clock on a scene's device; the returned function stops it."""
    device = scene.trainer.device
    synchronise(device)
    scene.asides.clear()
    evals, begun = scene.trainer.gradient_evals, mark(device)

    def stop() -> Cost:
        ended = mark(device)
        elapsed = begun.until(ended) - sum(first.until(last) for first, last in scene.asides)
        return Cost(device_s=elapsed, wall_s=elapsed, gradient_evals=scene.trainer.gradient_evals - evals)

    return stop


def _follow(scene: Scene, made: Crafted, start: Checkpoint) -> Checkpoint:
    """Where the declared updates lead from the recorded start: exactly what an exact replay will see."""
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
