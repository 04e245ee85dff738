"""Attack `aligned`: weigh points of D by repetition, so that the replayed move points along the claimed one.

    max_{w >= 0, |w| = 1} cos( sum_i w_i g_i + v, W_{t-k} - W_t ),    g_i = grad L(f_W(x_i), y_i) at W = W_{t-k}

with v the part of the declared rule that needs no gradient (momentum, weight decay), in units of one. As sum_i w_i (g_i + v) has
the same direction for any |w|, this is non-negative least squares; a random sketch keeps it small. The k * B places of an
interval go to the points in proportion to w, dealt evenly over its batches. It is the answer to the check `direction`.

**Source.** None; measured first for this project. Choosing batches that lead to given weights is Jia et al. 2021
(arXiv:2103.05633), "directed retraining"; here the weights are claimed anyway.

**Granted.** W_T and the order of the batches. No own points.

**Costs** per interval a gradient for every B of `candidates` points and a forward pass for their statistics, or a gradient for
each of `batches`.

**What it leaves out**

1. First order: gradients are those at W_{t-k}, and a replay's change with each step.
2. `unit` points: norm layers take the statistics of all candidates together, where a replay takes, and differentiates, those of
   each batch. On such a model that is worth less than ordinary batches. `batches` weighs whole random batches instead, whose
   gradients are those of a replay; there are k of them to choose.

Digits, W_T of T = 1000, T' = 300, k = 10, `no_momentum`: median cosine of the replayed and the claimed move, early, middle, late

| | `null` | points | batches | best weights of all points at W_{t-k} |
|---|---|---|---|---|
| two convolutions, no norm layers | .38 .27 .13 | .43 .37 .27 | | |
| the same, all points weighed | | .45 .40 .32 | | |
| resnet8 | .31 .16 .05 | .23 .14 .05 | .33 .21 .08 | .29 .29 .28 |
| resnet8, honest schedule | .40 .24 .08 | | .41 .28 .12 | |

The best weights are those of points under fixed statistics; a replay of k steps may do better, for it turns as it goes.

**Stopped by** what stops `null`, but for `direction`, which it weakens; and by `fresh_order` and `bound_seed`, for the batches
are not the declared ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from raypol.core.arithmetic.precision import arithmetic
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError, check_whole, first_line, reject_choice
from raypol.core.proof import MAX_BATCH, Checkpoint, Interval, Recipe
from raypol.core.seeds import derive_seed, generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import (
    average_statistics,
    batch_loss,
    points_input,
    recording_norms,
    statistics_frozen,
)
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.training.optimizers import update

Unit = Literal["auto", "points", "batches"]
_Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """What is weighed, and how exactly."""

    unit: Unit = "auto"
    """points = single points; batches = random batches as they are; auto = batches where norm layers mix points."""
    candidates: int = 256
    """points only: how many are weighed, a random sample for each interval; 0 = all."""
    batches: int = 40
    """batches only: how many are weighed in each interval."""
    sketch: int = 2048
    """Random sums of gradient entries that stand for all of them; 0 = every entry."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            reject_choice("unit", self.unit, get_args(Unit))
        check_whole("candidates", self.candidates, 0, MAX_BATCH)
        check_whole("batches", self.batches, 1, MAX_BATCH)
        check_whole("sketch", self.sketch, 0, MAX_BATCH)


PRESETS: Final = {"aligned": Aligned()}


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Aligned) -> Crafted:
    """Batches whose points, or which themselves, are repeated as least squares say."""
    recipe, N = scene.recipe, len(scene.dataset)
    rng = generator(scene.seed, "aligned", interval.index)
    unit = config.unit
    if unit == "auto":
        unit = "batches" if recording_norms(scene.trainer) else "points"
    sketch = Sketch.draw(sum(p.numel() for p in _trained(scene).values()), config.sketch, rng)
    if unit == "points":
        points = torch.randperm(N, generator=rng)[: config.candidates or N]
        gradients = per_sample_gradients(scene, start, points, sketch)
        repeats = shares_to_places(
            fit(scene, interval, start, gradients, sketch), interval.num_steps * recipe.batch_size
        )
        drawn = np.repeat(points.numpy(), repeats)
        chosen = [drawn[j :: interval.num_steps] for j in range(interval.num_steps)]
    else:
        order = DataOrder(N, recipe.batch_size, derive_seed(scene.seed, "aligned batches", interval.index))
        offered = [order(j) for j in range(config.batches)]
        gradients = batch_gradients(scene, start, offered, sketch)
        repeats = shares_to_places(fit(scene, interval, start, gradients, sketch), interval.num_steps)
        places = np.repeat(np.arange(len(offered)), repeats)
        chosen = [offered[places[j]] for j in torch.randperm(len(places), generator=rng).tolist()]
    return Crafted(interval=interval, batches=[scene.plain(one) for one in chosen])


def fit(scene: Scene, interval: Interval, start: Checkpoint, gradients: Tensor, sketch: "Sketch") -> _Matrix:
    """(n,) weights with which the declared updates lead nearest to the claimed direction, to first order."""
    without, rate = coast(scene, interval, start)
    claimed = scene.trajectory.weights(interval.stop)
    begin = {name: start.parameters[name] for name in _trained(scene)}
    goal = torch.cat([(W - claimed[name]).flatten() for name, W in begin.items()])
    drift = torch.cat([(W - without[name]).flatten() for name, W in begin.items()]) / rate
    columns = gradients.double() + sketch(drift[None]).double()
    weights, _ = nonnegative_fit(columns.numpy(), sketch(goal[None])[0].double().numpy())
    return weights


@torch.no_grad()
def coast(scene: Scene, interval: Interval, start: Checkpoint) -> tuple[dict[str, Tensor], float]:
    """Where the declared updates lead without a gradient, and how far one of length 1 in all steps leads besides."""
    trainer, ends = scene.trainer, []
    for slope in (0.0, 1.0):
        trainer.load(start)
        for rate in trainer.lrs[interval.start : interval.stop]:
            for group in trainer.optimizer.param_groups:
                group["lr"] = float(rate)
            for p in trainer.parameters.values():
                p.grad = torch.full_like(p, slope) if p.requires_grad else None
            update(trainer.optimizer)
        ends.append({name: p.detach().cpu().clone() for name, p in trainer.parameters.items()})
    trainer.optimizer.zero_grad(set_to_none=True)
    apart = torch.cat([(ends[0][name] - ends[1][name]).flatten() for name in _trained(scene)])
    return ends[0], max(float(apart.double().mean()), torch.finfo(torch.float32).tiny)


def _trained(scene: Scene) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in scene.trainer.parameters.items() if p.requires_grad}


@dataclass(frozen=True, slots=True)
class Sketch:
    """A projection that keeps inner products: each entry is added to, or taken from, one of a few sums (count sketch)."""

    bucket: Tensor | None
    sign: Tensor | None
    size: int

    @classmethod
    def draw(cls, entries: int, size: int, rng: torch.Generator) -> "Sketch":
        """A random one; size 0 = the identity."""
        if size == 0 or size >= entries:
            return cls(None, None, entries)
        bucket = torch.randint(size, (entries,), generator=rng)
        return cls(bucket, 2.0 * torch.randint(2, (entries,), generator=rng) - 1.0, size)

    def __call__(self, rows: Tensor) -> Tensor:
        """(n, P) -> (n, size)."""
        if self.bucket is None or self.sign is None:
            return rows
        sums = torch.zeros(len(rows), self.size, dtype=rows.dtype)
        return sums.index_add_(1, self.bucket, rows * self.sign.to(rows.dtype))


def batch_gradients(
    scene: Scene, start: Checkpoint, offered: Sequence[npt.NDArray[np.int64]], sketch: Sketch
) -> Tensor:
    """(n, size) sketched gradient of each batch's loss at the start's weights, with its own statistics, as a replay finds it."""
    trainer, found = scene.trainer, []
    trainer.load(start)
    with statistics_frozen(trainer):
        for position, sources in enumerate(offered):
            where = torch.from_numpy(sources).to(trainer.device)
            loss = batch_loss(trainer, points_input(trainer, where), trainer.dataset.labels[where], position=position)
            slopes = torch.autograd.grad(loss, list(_trained(scene).values()), materialize_grads=True)
            found.append(sketch(torch.cat([slope.flatten() for slope in slopes])[None].cpu()))
            trainer.gradient_evals += 1
    return torch.cat(found)


def per_sample_gradients(scene: Scene, start: Checkpoint, points: Tensor, sketch: Sketch) -> Tensor:
    """(n, size) sketched gradient of each point's loss at the start's weights, with the statistics of all of them together.

    Raises:
        InputError: torch.func cannot differentiate the model for each sample.
    """
    trainer = scene.trainer
    trainer.load(start)
    parts = torch.tensor_split(points.to(trainer.device), -(-len(points) // scene.recipe.batch_size))
    inputs = [points_input(trainer, part) for part in parts]
    average_statistics(trainer, inputs)
    weights = {name: p.detach() for name, p in _trained(scene).items()}

    def loss(parameters: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(trainer.model, parameters, (one[None],))
        return F.cross_entropy(logits.to(trainer.dtype), label[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    found = []
    with trainer.evaluating(), arithmetic(trainer.precision, trainer.device):
        for batch, part in zip(inputs, parts, strict=True):
            try:
                gradients = each(weights, batch, trainer.dataset.labels[part])
            except RuntimeError as err:
                what = f"model {trainer.recipe.model} has no gradients per sample, which attack aligned needs"
                raise InputError(f"{what}: {first_line(err)}") from err
            found.append(sketch(torch.cat([one.flatten(1) for one in gradients.values()], dim=1).cpu()))
            trainer.gradient_evals += 1
    return torch.cat(found)


def nonnegative_fit(columns: _Matrix, goal: _Matrix) -> tuple[_Matrix, float]:
    """Weights >= 0 of the rows whose sum points best along the goal, and its cosine with that, which no others exceed."""
    from scipy.optimize import nnls

    length = float(np.linalg.norm(goal))
    scale = float(np.abs(columns).max())
    if not length > 0.0 or not scale > 0.0:
        return np.zeros(len(columns)), 0.0
    # Least squares in as many equations as there are unknowns: the part of the goal outside their span does not matter.
    basis, reduced = np.linalg.qr(columns.T / scale)
    within = basis.T @ (goal / length)
    weights, left = nnls(reduced, within)
    return weights, float(np.sqrt(max(float(within @ within) - left**2, 0.0)))


def shares_to_places(weights: _Matrix, places: int) -> npt.NDArray[np.int64]:
    """(n,) how many places each takes, in proportion to its weight, by largest remainder; even shares where none is above 0."""
    shares = weights if weights.sum() > 0.0 else np.ones_like(weights)
    exact = shares / shares.sum() * places
    taken: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    taken[np.argsort(taken - exact, kind="stable")[: places - int(taken.sum())]] += 1
    return taken


def work(config: Aligned, recipe: Recipe, num_points: int) -> float:
    """Honest steps of all intervals, of which a forward pass is a third."""
    of_points = -(-min(config.candidates or num_points, num_points) // recipe.batch_size) * 4 / 3
    return recipe.num_intervals * (of_points if config.unit == "points" else config.batches)


METHOD = AttackMethod(
    config=Aligned,
    craft=craft,
    chooses_batches=lambda _: True,
    sequential=lambda _, spoof: spoof.carry == "exact",
    uses=("weights", "order"),
    work=work,
)
