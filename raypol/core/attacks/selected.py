"""Attack `selected`: ordinary points of lowest loss, chosen once for all intervals.

    S = argmin_{S in D, |S| = n, classes even}  sum_{(x, y) in S} L(f_W(x), y),    b_t dealt from S in a seeded order

A replay errs by what its batches move besides the claim, and a point that the model has learnt moves it least. With `every` = 0
W is W_T, and one pass over the data serves every interval; with `every` = m points are chosen anew at the start of each m-th
interval.

**Source.** None; measured first for this project. It is the loss objective of attack III (Zhang et al. 2022, arXiv:2108.09454)
over the points that are there, in place of a perturbation of them.

**Granted.** W_T and the order of the batches. No own points.

**Costs** one forward pass of all points, or of `candidates` of them, for each choice. Under `no_momentum` a proof of any T' costs
no gradient at all.

Resnet8 on digits, T = T' = 1000, k = 10, B = 64, `no_momentum`: largest error over d_ref, and time beyond that of `null`

| | l1 | l2 | linf | cos | time / proof's |
|---|---|---|---|---|---|
| `null` | .0065 | .0078 | .0107 | .00009 | |
| `selected` | .0046 | .0052 | .0059 | .00004 | .01 |
| of 320 `candidates` | .0054 | .0062 | .0093 | .00006 | .003 |
| 640 `points`, as many as an interval has | .0055 | .0064 | .0076 | .00006 | .01 |
| `every` = 10 | .0046 | .0052 | .0061 | .00004 | .07 |

**Stopped by** `fresh_order` and `bound_seed`, for the batches are not the declared ones; by `initial_independence` or
`initial_memory`; by exact replay.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError, check_whole
from raypol.core.proof import MAX_BATCH, MAX_STEPS, Checkpoint, Interval, Recipe
from raypol.core.seeds import derive_seed, generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import points_input, statistics_frozen
from raypol.core.spoofing.scene import Crafted, Scene

_Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """How often points are chosen, of how many, and how many are kept."""

    every: int = 0
    """Intervals between two choices, each at the weights where it begins; 0 = once for all, at W_T."""
    candidates: int = 0
    """Points whose loss is looked at, a random sample; 0 = all."""
    points: int = 0
    """Points kept, at least a batch; 0 = one batch, which every step then uses in another order."""

    def __post_init__(self) -> None:
        check_whole("every", self.every, 0, MAX_STEPS)
        check_whole("candidates", self.candidates, 0, MAX_BATCH)
        check_whole("points", self.points, 0, MAX_BATCH)
        if 0 < self.candidates < self.points:
            raise InputError(
                f"points {self.points} contradicts candidates {self.candidates}: expected 0 or at most so many"
            )


PRESETS: Final = {"selected": Selected(), "selected_anew": Selected(every=1)}


def declare(recipe: Recipe, config: Selected) -> Recipe:
    """The recipe unchanged, if a batch can be filled."""
    for name, asked in (("candidates", config.candidates), ("points", config.points)):
        if 0 < asked < recipe.batch_size:
            raise InputError(
                f"{name} {asked} contradicts batch size {recipe.batch_size}: expected 0 or at least a batch"
            )
    return recipe


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Selected) -> Crafted:
    """Batches dealt from the chosen points."""
    del start  # the choice may have been made intervals ago
    first = interval.index - interval.index % config.every if config.every else 0
    at = scene.recipe.interval_at(first).start if config.every else scene.recipe.steps
    order = scene.once(f"selected at {at}", lambda: _order(scene, config, at))
    batches = [scene.plain(order(step)) for step in range(interval.start, interval.stop)]
    return Crafted(interval=interval, batches=batches)


@dataclass(frozen=True, slots=True, eq=False)
class _Dealt:
    """Chosen points, dealt into batches."""

    points: _Indices
    order: DataOrder

    def __call__(self, step: int) -> _Indices:
        dealt: _Indices = self.points[self.order(step)]
        return dealt


def _order(scene: Scene, config: Selected, step: int) -> _Dealt:
    """The points of lowest loss at the claimed weights of a step."""
    recipe, N = scene.recipe, len(scene.dataset)
    scene.trainer.load(scene.trajectory.checkpoint(step))
    rng = generator(scene.seed, "candidates", step)
    looked_at = torch.randperm(N, generator=rng)[: config.candidates or N]
    labels = scene.dataset.labels[looked_at.to(scene.dataset.labels.device)].cpu()
    wanted = config.points or recipe.batch_size
    chosen = looked_at[lowest_of_each_class(point_losses(scene, looked_at), labels, wanted)]
    return _Dealt(chosen.numpy(), DataOrder(len(chosen), recipe.batch_size, derive_seed(scene.seed, "selected", step)))


@torch.no_grad()
def point_losses(scene: Scene, points: Tensor) -> Tensor:
    """(n,) losses of A's points at the weights that the trainer holds, with the statistics of the batch that each is passed in.

    One forward pass is counted for every batch of B, begun or full.
    """
    trainer, found = scene.trainer, []
    with statistics_frozen(trainer):
        parts = torch.tensor_split(points.to(trainer.device), -(-len(points) // scene.recipe.batch_size))
        for position, part in enumerate(parts):
            trainer.seed_draws("crafting dropout", position)
            logits = trainer.logits(points_input(trainer, part))
            found.append(F.cross_entropy(logits, trainer.dataset.labels[part], reduction="none").cpu())
            trainer.forward_passes += 1
    return torch.cat(found)


def lowest_of_each_class(losses: Tensor, labels: Tensor, most: int) -> Tensor:
    """Positions of at most `most` points, taken from the classes in turn, of each class the lowest losses first."""
    order = losses.argsort(stable=True)
    turn = torch.empty_like(order)
    for label in torch.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = torch.arange(len(of_class))
    in_turn = order[turn[order].argsort(stable=True)]
    return in_turn[:most]


def work(config: Selected, recipe: Recipe, num_points: int) -> float:
    """Honest steps that all choices cost, of which a forward pass is a third."""
    choices = -(-recipe.num_intervals // config.every) if config.every else 1
    return choices * -(-min(config.candidates or num_points, num_points) // recipe.batch_size) / 3


METHOD = AttackMethod(
    shares_work=True,
    config=Selected,
    craft=craft,
    declare=declare,
    chooses_batches=lambda _: True,
    sequential=lambda config, _: config.every == 0,
    uses=("weights", "order"),
    work=work,
)
