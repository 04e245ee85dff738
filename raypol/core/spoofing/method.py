"""The form of an attack: what the adversary holds, and how crafted intervals are returned."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.augment import to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.proof import Checkpoint, Cost, Interval, Recipe
from raypol.core.seeds import derive_seed
from raypol.core.spoofing.objectives import ValueAndGradient, measure, statistics_frozen
from raypol.core.spoofing.search import CraftingConfig, CraftStats, search, store
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import Trajectory, WeightPath
from raypol.core.training.trainer import Trainer

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


@dataclass(slots=True, eq=False)
class Scene:
    """What A holds while crafting: A's data, the declared recipe, the trajectory, and a trainer to compute with."""

    recipe: Recipe
    dataset: Dataset
    trajectory: WeightPath
    trainer: Trainer
    seed: int

    def off_the_clock(self) -> AbstractContextManager[None]:
        """Inside, time and gradient evaluations are the experimenter's: they are no part of the adversary's cost."""
        return self.trainer.off_the_clock()

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
    """Data that an attack crafted for one interval."""

    interval: Interval
    batches: Sequence[CraftedBatch]
    stats: tuple[CraftStats, ...] = ()
    start_state: Mapping[str, Tensor] | None = None
    """A forged optimizer state to record at the interval's start; None = as `SpoofConfig.carry` says."""
    follow: bool = False
    """True: the next checkpoint is where training on these batches leads, not the trajectory's."""
    cost: Cost = field(default_factory=Cost)


def craft_until_accepted(
    scene: Scene,
    steps: Sequence[int],
    config: CraftingConfig,
    objective: Callable[[Tensor, Tensor], ValueAndGradient],
    goal: Mapping[str, Tensor] | None = None,
) -> tuple[list[CraftedBatch], CraftStats]:
    """Search R for the batches of `steps` together, at the weights the trainer holds; retry with fresh batches.

    Zhang et al. 2022 (arXiv:2108.09454): a try is accepted if |grad|^2 and |R|^2 are below their limits, else fresh batches are
    drawn, at most `retries` times. The last try is returned even if not accepted.

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
            with scene.off_the_clock():
                loss_before, norm2_before = measure(trainer, X_nBCHW, y_nB, goal)
            R = search(objective(X_nBCHW, y_nB), X_nBCHW, config)
            stored = store(X_nBCHW, R, config)
            unit = to_unit(stored, trainer.dtype)
            # An adversary that sets no limit on the gradient need not measure it: that is at the experimenter's cost.
            with nullcontext() if math.isfinite(config.max_grad_norm2) else scene.off_the_clock():
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


def craft_in_groups(
    scene: Scene,
    interval: Interval,
    config: CraftingConfig,
    objective: Callable[[Tensor, Tensor], ValueAndGradient],
    *,
    size: int,
) -> Crafted:
    """Search R for each `size` steps of an interval together, at the weights the trainer holds; see `craft_until_accepted`."""
    steps = range(interval.start, interval.stop)
    made = [craft_until_accepted(scene, steps[i : i + size], config, objective) for i in range(0, len(steps), size)]
    batches = [batch for batches, _ in made for batch in batches]
    return Crafted(interval=interval, batches=batches, stats=tuple(stats for _, stats in made))


class Craft(Protocol[C_contra]):
    """An attack: from the scene and an interval's recorded start to the interval's data."""

    def __call__(self, scene: Scene, interval: Interval, start: Checkpoint, config: C_contra) -> Crafted:
        """Craft the interval's batches. `start` is W_{t-k} with the optimizer state that will be recorded."""


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


def craft(method: AttackMethod[C], scene: Scene, interval: Interval, start: Checkpoint, config: C) -> Crafted:
    """Craft from a seed of the interval's own: what torch draws by itself is the same in any process and order."""
    torch.manual_seed(derive_seed(scene.seed, "crafting", interval.index))
    return method.craft(scene, interval, start, config)
