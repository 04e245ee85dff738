"""Attack `forge_batch`: record other batches than those that were used, without the points that A denies.

A holds the trace of a training. A batch b of step t contained x*, which A denies ever having used. From the recorded W_{t-1},
with its optimizer's state, A takes one step on each of M batches from D without x*, and records

    b' = argmin_j | w'(b) - w'(b_j) |_2

with the weights of the trace unchanged. The first step of each interval is forged: W_{t-1} is recorded there, and the k - 1 steps
that follow carry the difference on.

**Source.** Thudi et al. 2022 (arXiv:2110.11891), forging; pre-selection from Kong et al. 2023 (arXiv:2303.03648), who forge a run
for every point and choose by the model (`criterion` model) rather than by the gradient.

**Granted.** The trace, its data, and the order of the batches. T', k and all that is declared are the trace's.

**Costs** M + 1 gradients a forged step, one of them of the real batch, and `preselect` + 1 forward passes.

**Differences from the papers**

1. With k > 1 one step of an interval is forged, not each that used x*; k = 1 and `forged` = 1 forge all.
2. A denies `denied` points of each forged batch, the first of it; candidates are free of all that is denied anywhere.
3. `redraw` denied replaces the denied points alone, where the papers draw whole batches.

**Stopped by** an exact replay: on one machine, with the recorded augmentation, the honest error is 0 and the forged one never is.
A slack above the error takes it; the error falls with M as slowly as M^(-1/d) does in d dimensions.

Resnet8 on digits, T = 160, k = 1, 16 steps forged: median error over the step's move

| | M = 1 | M = 10 | M = 100 | M = 1000 |
|---|---|---|---|---|
| `redraw` batch | 0.40 | 0.36 | 0.33 | 0.30 |
| `redraw` denied | 0.081 | 0.063 | 0.045 | 0.032 |

The smallest error of all is 3.6e-4 in l2. Rounding, seen by a float64 replay of the honest steps, is 5.7e-7 in the median, but
2.3e-3 in one of 160 steps, where a sign in the network flips: a bound has to be on the median of many steps.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.errors import InputError, check_whole, reject_choice
from raypol.core.proof import MAX_BATCH, Checkpoint, Interval, ProofSource, Recipe
from raypol.core.seeds import generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene
from raypol.core.spoofing.trajectory import WeightPath

_Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgeBatch:
    """What is denied, and how its replacement is chosen."""

    candidates: int = 100
    """M, batches whose step is compared with the real one's; 1 = a random batch."""
    preselect: int = 0
    """Batches of which the M with the loss nearest to the real batch's are compared; 0 = M are drawn."""
    criterion: Literal["model", "gradient"] = "model"
    """What has to be near, in l2: model = the weights after the step, gradient = the step's gradient."""
    redraw: Literal["batch", "denied"] = "batch"
    """What a candidate draws anew: batch = all points (published), denied = only those that are denied."""
    denied: int = 1
    """Points of each forged batch that A denies, the first of it."""
    forged: float = 1.0
    """Share of the intervals whose first step is forged, evenly spread."""

    def __post_init__(self) -> None:
        check_whole("candidates", self.candidates, 1, MAX_BATCH)
        check_whole("preselect", self.preselect, 0, MAX_BATCH)
        check_whole("denied", self.denied, 1, MAX_BATCH)
        if 0 < self.preselect < self.candidates:
            raise InputError(f"preselect {self.preselect} contradicts candidates {self.candidates}: expected 0 or more")
        for name, possible in (("criterion", ("model", "gradient")), ("redraw", ("batch", "denied"))):
            if getattr(self, name) not in possible:
                reject_choice(name, getattr(self, name), possible)
        if not 0.0 <= self.forged <= 1.0:
            raise InputError(f"expected forged in 0..1, got {self.forged}")

    @property
    def steps_per_interval(self) -> float:
        """Cost of an interval in honest steps, of which a forward pass is a third."""
        return self.forged * (self.candidates + 1 + (self.preselect + 1 if self.preselect else 0) / 3)


PRESETS: Final = {"forge_batch": ForgeBatch()}


def declare(recipe: Recipe, config: ForgeBatch) -> Recipe:
    """The trace's recipe, if a batch has as many points as are denied."""
    if config.denied > recipe.batch_size:
        raise InputError(f"denied {config.denied} contradicts the trace's batch size {recipe.batch_size}")
    return recipe


def path(scene: Scene, config: ForgeBatch) -> WeightPath:
    """The recorded weights."""
    del config
    return _Recorded(scene.needed_trace(), scene.recipe)


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: ForgeBatch) -> Crafted:
    """The recorded batches, the first one forged, and the recorded end."""
    del start  # the trace's, unless a sample starts here without its state
    trace = scene.needed_trace()
    begin, end = (replace(trace.checkpoint(interval.index + i), claimed_digests=None) for i in (0, 1))
    used = [record.indices for record in trace.batches(interval.start, interval.stop)]
    if is_forged(interval, config):
        used[0] = forged_batch(scene, interval.start, begin, used[0], config)
    return Crafted(interval=interval, batches=[_batch(scene, indices) for indices in used], end=end)


def is_forged(interval: Interval, config: ForgeBatch) -> bool:
    """Whether the interval is one of the share that is forged."""
    return int((interval.index + 1) * config.forged) > int(interval.index * config.forged)


def forged_batch(scene: Scene, step: int, begin: Checkpoint, real: _Indices, config: ForgeBatch) -> _Indices:
    """(B,) the candidate whose step from `begin` ends nearest to that of the real batch."""
    allowed = scene.once("allowed points", lambda: _allowed(scene, config))
    rng = generator(scene.seed, "forged batch", step)
    drawn = [_candidate(real, allowed, rng, config) for _ in range(config.preselect or config.candidates)]
    if config.preselect:
        losses = torch.tensor([_loss(scene, step, begin, one) for one in (real, *drawn)], dtype=torch.float64)
        nearest = (losses[1:] - losses[0]).abs().argsort(stable=True)[: config.candidates]
        drawn = [drawn[i] for i in nearest.tolist()]
    goal = _reached(scene, step, begin, real, config)
    apart = [float((_reached(scene, step, begin, one, config) - goal).norm()) for one in drawn]
    return drawn[int(np.argmin(np.nan_to_num(apart, nan=np.inf)))]


def _allowed(scene: Scene, config: ForgeBatch) -> _Indices:
    """The points of D that no forged batch denies."""
    trace, recipe = scene.needed_trace(), scene.recipe
    forged = [interval for interval in recipe.intervals() if is_forged(interval, config)]
    denied = [trace.batches(one.start, one.start + 1)[0].indices[: config.denied] for one in forged]
    allowed = np.setdiff1d(np.arange(len(scene.dataset)), np.concatenate(denied))
    needed = recipe.batch_size
    if len(allowed) < needed:
        raise InputError(
            f"denied {config.denied} in {len(forged)} batches leaves {len(allowed)} of {len(scene.dataset)} points, "
            f"expected at least {needed} to draw from"
        )
    return allowed


def _candidate(real: _Indices, allowed: _Indices, rng: torch.Generator, config: ForgeBatch) -> _Indices:
    anew = ~np.isin(real, allowed) if config.redraw == "denied" else np.ones(len(real), dtype=bool)
    found = real.copy()
    found[anew] = allowed[torch.randperm(len(allowed), generator=rng)[: int(anew.sum())].numpy()]
    return found


def _batch(scene: Scene, indices: _Indices) -> CraftedBatch:
    if indices.max() >= len(scene.dataset):
        raise InputError("forge_batch draws from the dataset: expected a trace without points of its own")
    return scene.plain(indices)


def _reached(scene: Scene, step: int, begin: Checkpoint, indices: _Indices, config: ForgeBatch) -> Tensor:
    """(P,) the weights after a step on these points, or its gradient."""
    trainer = scene.trainer
    trainer.load(begin)
    trainer.step(step, *scene.stored(_batch(scene, indices)))
    reached = trainer.gradients() if config.criterion == "gradient" else trainer.parameters
    return torch.cat([tensor.detach().flatten().double() for tensor in reached.values()])


@torch.no_grad()
def _loss(scene: Scene, step: int, begin: Checkpoint, indices: _Indices) -> float:
    trainer = scene.trainer
    trainer.load(begin)
    pixels, labels = scene.stored(_batch(scene, indices))
    trainer.seed_draws("dropout", step)
    trainer.forward_passes += 1
    return float(trainer.loss(trainer.inputs(pixels, step), labels))


class _Recorded:
    """The trace's own checkpoints."""

    def __init__(self, trace: ProofSource, recipe: Recipe) -> None:
        self._trace, self._recipe = trace, recipe

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name, at a recorded step."""
        return dict(self.checkpoint(step).parameters)

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t with its buffers, no optimizer state."""
        recorded = self._trace.checkpoint(self._recipe.checkpoint_steps().index(step))
        return replace(recorded, optimizer_state={}, claimed_digests=None)


METHOD = AttackMethod(
    ignores=("path", "buffers"),
    source="Thudi et al. 2022, arXiv:2110.11891",
    config=ForgeBatch,
    craft=craft,
    declare=declare,
    path=path,
    work=lambda config, recipe, _: config.steps_per_interval * recipe.num_intervals,
    sequential=lambda _, __: True,
    declares_trace=True,
    uses=("trace", "order"),
)
