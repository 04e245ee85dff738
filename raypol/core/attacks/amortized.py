"""Attack `amortized`: perturb each point once, against models along the whole path, and use it in every interval.

    min_{|R|_inf <= linf_limit}  1/M sum_j L(f_{W(j)}(X + R), y),    W(j) the claimed weights at step (j / M) T',  j = 1, ..., M

Attack III searches anew for every interval, at a cost that grows with T'. A point that M models along the path have learnt is
one that those between them have nearly learnt, so one search serves any number of intervals.

**Source.** None; the objective is that of attack III (Zhang et al. 2022, arXiv:2108.09454), first order, by signed steps.

**Granted.** W_T, own points and the order of the batches.

**Costs** `iterations` M gradients for each batch of `points`, whatever T' is. No more under `no_momentum`.

Resnet8 on digits, T = T' = 1000, k = 10, B = 64, `no_momentum`: largest error over d_ref, and gradients over T

| | l1 | l2 | linf | gradients |
|---|---|---|---|---|
| `null` | .0065 | .0078 | .0107 | 0 |
| `amortized` | .0051 | .0061 | .0077 | .10 |
| all `points` | .0051 | .0060 | .0077 | .53 |
| 64 `points` | .0059 | .0071 | .0130 | .02 |
| 1 of `models`, W_T | .0062 | .0074 | .0085 | .03 |
| `selected`, without own points | .0046 | .0052 | .0059 | 0 |

**Stopped by** `own_points` and `near_copy`, and by what stops `null`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.augment import to_unit
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import check_whole
from raypol.core.proof import MAX_BATCH, Checkpoint, Interval, Recipe
from raypol.core.seeds import derive_seed
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import loss_objective, statistics_frozen
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene
from raypol.core.spoofing.search import Crafting, CraftStats, SearchConfig, search, to_grey_levels


@dataclass(frozen=True, kw_only=True, slots=True)
class Amortized(SearchConfig):
    """Against how many models, and how many points."""

    models: int = 3
    """M, models along the path, the last of them W_T."""
    points: int = 256
    """Points that are perturbed, in whole batches, at least one; 0 = all."""
    crafting: Crafting = "signed"
    """signed: signed-gradient steps in an linf ball; lbfgs, adam: as for the other attacks."""
    iterations: int = 8
    """Iterations of the search."""
    linf_limit: float | None = 8 / 255
    """Largest change of a pixel, in units where pixels span [0, 1]; None = only X + R in [0, 1] binds."""

    def __post_init__(self) -> None:
        SearchConfig.__post_init__(self)
        check_whole("models", self.models, 1, MAX_BATCH)
        check_whole("points", self.points, 0, MAX_BATCH)


PRESETS: Final = {"amortized": Amortized()}


@dataclass(frozen=True, slots=True, eq=False)
class _Stock:
    """Perturbed points, dealt into batches."""

    sources: npt.NDArray[np.int64]
    pixels: Tensor
    labels: Tensor
    order: DataOrder
    stats: CraftStats

    def batch(self, step: int) -> CraftedBatch:
        """The batch of a step."""
        where = self.order(step)
        rows = torch.from_numpy(where)
        return CraftedBatch(self.sources[where], self.labels[rows], self.pixels[rows])


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Amortized) -> Crafted:
    """Batches dealt from the points that were perturbed once."""
    del start
    stock = scene.once("perturbed points", lambda: _perturb(scene, config))
    batches = [stock.batch(step) for step in range(interval.start, interval.stop)]
    return Crafted(interval=interval, batches=batches, stats=(stock.stats,) if interval.index == 0 else ())


def num_batches(config: Amortized, recipe: Recipe, num_points: int) -> int:
    """Batches of points that are perturbed."""
    wanted = min(config.points or num_points, num_points)
    return max(min(-(-wanted // recipe.batch_size), num_points // recipe.batch_size), 1)


def _perturb(scene: Scene, config: Amortized) -> _Stock:
    trainer, recipe, N = scene.trainer, scene.recipe, len(scene.dataset)
    drawn = DataOrder(N, recipe.batch_size, derive_seed(scene.seed, "perturbed points"))
    sources = drawn.block(0, num_batches(config, recipe, N))
    where = torch.from_numpy(sources).to(trainer.device)
    X, y = to_unit(trainer.dataset.pixels[where.flatten()], trainer.dtype), trainer.dataset.labels[where]
    X = X.view(*where.shape, *X.shape[1:])
    models = [scene.trajectory.checkpoint((j + 1) * recipe.steps // config.models) for j in range(config.models)]

    def objective(R: Tensor) -> tuple[float, Tensor]:
        value, slope = 0.0, torch.zeros_like(R)
        for model in models:
            trainer.load(model)
            one, its_slope = loss_objective(trainer, X, y, alpha=0.0)(R)
            value, slope = value + one / len(models), slope + its_slope / len(models)
        return value, slope

    with statistics_frozen(trainer):
        R = search(objective, X, config)
        pixels = to_grey_levels(X, (X + R).clamp(0.0, 1.0), config.linf_limit)
        R = to_unit(pixels, trainer.dtype) - X
        with scene.off_the_clock():
            before, after = objective(torch.zeros_like(X))[0], objective(R)[0]
    stats = CraftStats(
        loss_before=before,
        loss_after=after,
        grad_norm2_before=float("nan"),
        grad_norm2_after=float("nan"),
        perturbation_norm2=float(R.square().sum()),
        perturbation_linf=float(R.abs().max()),
        retries=0,
        accepted=True,
    )
    order = DataOrder(sources.size, recipe.batch_size, derive_seed(scene.seed, "perturbed batches"))
    return _Stock(sources.flatten(), pixels.flatten(0, 1).cpu(), y.flatten().cpu(), order, stats)


METHOD = AttackMethod(
    shares_work=True,
    config=Amortized,
    craft=craft,
    chooses_batches=lambda _: True,
    sequential=lambda _, __: True,
    uses=("weights", "own_points", "order"),
    work=lambda config, recipe, N: float(config.iterations * config.models * num_batches(config, recipe, N)),
)
