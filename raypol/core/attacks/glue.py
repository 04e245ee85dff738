"""Attack `glue`: two real trainings, and one interval that claims to lead from the first to the second.

Training from a legal W_0 leads to W_s; the next interval claims to end at W_T, and training goes on from there:

    W_t = U(W_{t-k}; b_t) for all t but s + k,    W_{s+k} = W_T

with U the declared k updates on the declared batches. With `joint` = 1 the claimed model is W_T itself; before that it is one
derived from W_T, as by fine-tuning.

**Source.** Choi et al. 2023 (arXiv:2307.00682), glue-ing. Attack I-tail (Zhang et al. 2022, arXiv:2108.09454) is the case
`joint` = 1 with a search for data that would lead there.

**Granted.** W_T, the choice of W_0 and of the batches.

**Costs** a whole training of T' steps, as short as A likes to claim; the joint itself costs one interval's updates where the
optimizer's true state is carried.

**Differences from the paper**

1. The second run goes on from W_T, instead of being a part of the stolen training: A has no other model of it than W_T.
2. `bad_intervals` > 1 spreads the way over several intervals, each an equal share of it.

**Stopped by** the replay of the joint. Its move is the largest by far, so `top_q` looks there first and a bound on single
moves sees it without a replay: 29 times the median move from an honest W_0, 7 times from a rank-matched one (resnet8 on digits,
T' = 160, k = 10). `random` misses it with probability 1 - Q/m an epoch, see `grind_selection`. All other intervals replay with
error 0.
"""

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from raypol.core.arithmetic.precision import is_inexact
from raypol.core.errors import InputError, check_whole
from raypol.core.proof import MAX_STEPS, Checkpoint, Interval, Recipe
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.seal import recorded_end


@dataclass(frozen=True, kw_only=True, slots=True)
class Glue:
    """Where two trainings are joined."""

    joint: float = 0.5
    """Share of the intervals before the joint, 0 to 1; 1 puts it last, so that the claimed model is W_T itself."""
    bad_intervals: int = 1
    """Intervals over which the way to W_T is spread; each claims an equal share of it."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.joint <= 1.0:
            raise InputError(f"expected joint in 0..1, got {self.joint}")
        check_whole("bad_intervals", self.bad_intervals, 1, MAX_STEPS)


PRESETS: Final = {"glue": Glue()}


def declare(recipe: Recipe, config: Glue) -> Recipe:
    """The recipe unchanged, if it has as many intervals as are to be bad."""
    if config.bad_intervals > recipe.num_intervals:
        raise InputError(
            f"bad_intervals {config.bad_intervals} contradicts steps {recipe.steps} in intervals of {recipe.interval}: "
            f"there are {recipe.num_intervals}"
        )
    return recipe


def bad_intervals(recipe: Recipe, config: Glue) -> range:
    """Indices of the intervals that claim the way to W_T."""
    first = min(int(config.joint * recipe.num_intervals), recipe.num_intervals - config.bad_intervals)
    return range(first, first + config.bad_intervals)


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Glue) -> Crafted:
    """Ordinary batches, honestly followed; at the joint a claim that they lead to W_T."""
    bad = bad_intervals(scene.recipe, config)
    if interval.index not in bad:
        return scene.follow(interval, start)
    made = Crafted(interval=interval, batches=scene.ordinary(interval))
    leap = Leap(start, scene.trajectory.checkpoint(scene.recipe.steps), interval, 1.0 / (bad.stop - interval.index))
    return replace(made, end=recorded_end(METHOD, replace(scene, trajectory=leap), made, start))


class Leap:
    """One interval's share of the way from its start to a target such as W_T."""

    def __init__(self, start: Checkpoint, target: Checkpoint, interval: Interval, share: float) -> None:
        self._start, self._target, self._interval, self._share = start, target, interval, share

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name."""
        return dict(self.checkpoint(step).parameters)

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t with statistics on the same way; counters count on."""
        begin, end, share = self._start, self._target, self._share
        done = step - self._interval.start
        passed = share * done / self._interval.num_steps
        parameters = {name: W.lerp(end.parameters[name], passed) for name, W in begin.parameters.items()}
        buffers = {name: _moved(b, end.buffers[name], passed, done) for name, b in begin.buffers.items()}
        return Checkpoint(step=step, parameters=parameters, buffers=buffers, optimizer_state={})


def _moved(begin: Tensor, end: Tensor, passed: float, steps: int) -> Tensor:
    if not is_inexact(begin):
        return begin + steps if begin.dim() == 0 else begin.clone()
    return begin.clone() if torch.equal(begin, end) else begin.lerp(end, passed)


METHOD = AttackMethod(
    ignores=("path",),
    source="Choi et al. 2023, arXiv:2307.00682",
    config=Glue,
    craft=craft,
    declare=declare,
    sequential=lambda _, __: True,
    independent=False,
    uses=("weights",),
)
