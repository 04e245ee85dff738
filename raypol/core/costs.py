"""Cost of a step before it is made: floating-point operations and kernel launches, counted by running it small.

Nothing is assumed about an architecture or an attack: the code itself runs on a few random points of the dataset's shape, under
a mode that counts what torch dispatches. Operations grow with the points, launches with the steps.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from raypol.core.attacks import method_of
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import random_points
from raypol.core.datasets.shapes import Shape
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.spoofing.method import craft
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.spoof_config import SpoofConfig, declare
from raypol.core.training.trainer import Trainer

_POINTS: Final = 2
"""Points per batch: the fewest that batch norm takes."""
_STEPS: Final = 2
"""Steps per interval: the fewest that show the cost of one search for several batches."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Floating-point operations of one step per point of its batch, and operations that it launches, whatever the batch."""

    flops: float
    launches: float

    def __add__(self, other: "StepCost") -> "StepCost":
        return StepCost(self.flops + other.flops, self.launches + other.launches)

    def times(self, factor: float) -> "StepCost":
        """The cost times a factor."""
        return StepCost(self.flops * factor, self.launches * factor)


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Count what torch dispatches while it is entered; views and bookkeeping cost the host about as much as a small kernel.

    torch's own FlopCounterMode follows modules by hooks that `torch.autograd.grad` does not take; its table of formulas does not.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry

        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._formulas = flop_registry
        self._seen = StepCost(0.0, 0.0)
        self._paused = StepCost(0.0, 0.0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = self._formulas.get(func._overloadpacket)
        self._seen += StepCost(float(formula(*args, **kwargs, out_val=out)) if formula else 0.0, 1.0)
        return out

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out what is done inside."""
        before = self._seen
        yield
        self._paused += self._seen + before.times(-1.0)

    @property
    def counted(self) -> StepCost:
        """All operations so far, without pauses; not per point and step."""
        return self._seen + self._paused.times(-1.0)


def _per_step(counter: OperationCounter) -> StepCost:
    """Cost of one of the steps of the small interval."""
    found = counter.counted
    return StepCost(found.flops / (_STEPS * _POINTS), found.launches / _STEPS)


@dataclass(slots=True, eq=False)
class _CountedScene(Scene):
    """A scene that leaves what is off the clock out of the count too."""

    counter: OperationCounter | None = None

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """See Scene."""
        assert self.counter is not None
        with self.trainer.off_the_clock(), self.counter.pause():
            yield


def tiny_recipe(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The same declaration for two steps of two points of this dataset, its schedule at its first rate."""
    return replace(
        recipe,
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        steps=_STEPS,
        interval=_STEPS,
        batch_size=_POINTS,
        schedule=replace(recipe.schedule, name="constant", options={}, base_steps=0),
        transform=Transform(mean=recipe.transform.mean, std=recipe.transform.std),
        precision="float32",
        device="cpu",
    )


def training_step_cost(recipe: Recipe, shape: Shape) -> StepCost:
    """Cost of one honest step of the declared update rule; a replay's is the same."""
    dataset = random_points(shape, _STEPS * _POINTS)
    tiny = tiny_recipe(recipe, dataset)
    trainer, counter = Trainer(tiny, dataset), OperationCounter()
    pixels = dataset.pixels.view(_STEPS, _POINTS, *shape.image_shape)
    with torch.random.fork_rng(), counter:
        trainer.run(0, pixels, dataset.labels.view(_STEPS, _POINTS))
    return _per_step(counter)


def crafting_step_cost(recipe: Recipe, shape: Shape, spoof: SpoofConfig, attack: object) -> StepCost:
    """Cost of crafting per claimed step, at one try per batch and as many iterations as the attack allows.

    All iterations cost the same: one and two are counted, more are extrapolated. A rejected batch costs the same again.
    """
    searches = {field.name for field in fields(attack)}  # type: ignore[arg-type]
    once: Mapping[str, Any] = {"retries": 0} if "retries" in searches else {}
    work = method_of(attack).work
    if work is not None:
        return training_step_cost(recipe, shape).times(work(attack, recipe, shape.num_points) / recipe.steps)
    if "iterations" not in searches:
        return _count_crafting(recipe, shape, spoof, attack)
    one, two = (
        _count_crafting(recipe, shape, spoof, replace(attack, iterations=n, **once))  # type: ignore[type-var]
        for n in (1, 2)
    )
    more = two + one.times(-1.0)
    return one + more.times(attack.iterations - 1)  # type: ignore[attr-defined]


def _count_crafting(recipe: Recipe, shape: Shape, spoof: SpoofConfig, attack: object) -> StepCost:
    """Count crafting of the last interval, the one that every attack works on."""
    dataset = random_points(shape, 2 * _STEPS * _POINTS)
    honest = tiny_recipe(recipe, dataset)
    target = Trainer(honest, dataset).snapshot(0)  # any weights do
    # A carry that needs no honest steps: they are counted apart, and the carry does not change what crafting costs.
    small = replace(spoof, steps=_STEPS, interval=_STEPS, batch_size=_POINTS, dataset="", carry="restart")
    method = method_of(attack)
    declared = method.declare(declare(honest, small), attack)  # what is not granted costs as much
    counter = OperationCounter()
    scene = _CountedScene(declared, dataset, _Still(target), Trainer(declared, dataset), small, counter=counter)
    start = scene.trajectory.checkpoint(0)
    with torch.random.fork_rng(), counter:
        craft(method, scene, declared.interval_at(0), start, attack)
    return _per_step(counter)


class _Still:
    """A trajectory that does not move: where it leads does not change costs, and finding a legal W_0 takes a while."""

    def __init__(self, target: Checkpoint) -> None:
        self._target = target

    def weights(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """W_t by name."""
        return dict(self._target.parameters)

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t."""
        return replace(self._target, step=step)
