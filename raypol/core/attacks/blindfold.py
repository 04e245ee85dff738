"""Attack `blindfold`: really train in the Q intervals of an epoch that a verifier with `top_q` replays, and in no other.

An epoch has m intervals, of which the first Q are true. With U the declared k updates and P the point where the epoch ends,

    W_i = U(W_{i-1}; b_i)                          i <= Q
    W_i = W_{i-1} + (P - W_{i-1}) / (m - i + 1)    i > Q

so that every replayed interval is true as long as the true moves are the largest. `greedy` puts P as far towards W_T as they
allow,

    P = W_Q + b (W_T - W_Q),    b <= 1 the largest with |P - W_Q| / (m - Q) <= margin * min_{i <= Q} |W_i - W_{i-1}|,

in each of the verifier's four metrics. Early, training moves far: W_T is soon reached, and then each epoch leaves it by Q true
moves and comes back in m - Q claimed ones.

**Source.** Fang et al. 2023 (arXiv:2208.03567), the blindfold top-Q attack.

**Granted.** W_T, data, V's selection and Q, the choice of W_0 and of the batches.

**Costs** E Q k gradients in E epochs; where an optimizer's true state is carried, one gradient for every other step besides.

**Differences from the paper**

1. True steps are the declared updates at their honest rate, not steps of length |W_T - W_0| / E: what is declared is what is
   done. Their moves fall with the rate, and at the published pace (`even`) they are no longer the largest.
2. The largest moves are true in all four metrics of the verifier, not in one.

Resnet8 on digits, W_T of T = 1000, B = 64, k = 2: epochs whose true moves are not the largest, and gradients over T

| | T' | Q | `greedy` | `even` | gradients |
|---|---|---|---|---|---|
| honest schedule, state carried | 990 | 1, 2 | 0 of 45 | 21, 23 of 46 | 0.99 |
| `no_momentum` | 990 | 1, 2 | 1 of 45 (the last: W_T is not reached) | 23, 24 of 46 | 0.09, 0.18 |
| `no_momentum` | 3960 | 1, 2 | 0 of 180 | | 0.36, 0.72 |

**Stopped by** `all`, `random` or `both`, which replay claimed intervals as well, and by whatever looks at W_0, order and data.
Where an epoch has no more than Q intervals nothing is left to claim, and the attack is refused; with m <= 2 Q it has no way back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

import torch

from raypol.core.attacks.glue import Leap
from raypol.core.attacks.grind_selection import epochs_of
from raypol.core.distances import METRICS, Distances, parameter_distances
from raypol.core.errors import InputError, check_whole, reject_choice
from raypol.core.proof import MAX_STEPS, Checkpoint, Interval, Recipe
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene
from raypol.core.spoofing.seal import recorded_end
from raypol.core.spoofing.trajectory import WeightPath

Pace = Literal["greedy", "even"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Blindfold:
    """What the verifier replays, and how fast the path is walked."""

    query_budget: int = 5
    """Q, intervals of each epoch that V replays by `top_q`."""
    pace: Pace = "greedy"
    """Where an epoch ends: greedy = as far towards W_T as its true moves allow, even = on the trajectory (published)."""
    margin: float = 0.8
    """greedy only: length of a claimed move over that of the shortest true one, in 0..1."""

    def __post_init__(self) -> None:
        check_whole("query_budget", self.query_budget, 1, MAX_STEPS)
        if self.pace not in get_args(Pace):
            reject_choice("pace", self.pace, get_args(Pace))
        if not 0.0 < self.margin <= 1.0:
            raise InputError(f"expected margin in (0, 1], got {self.margin}")


PRESETS: Final = {"blindfold": Blindfold(), "fang2023_blindfold": Blindfold(pace="even")}


def path(scene: Scene, config: Blindfold) -> WeightPath:
    """The usual path, if every epoch has an interval that V does not replay."""
    epochs = epochs_of(scene)
    for epoch in sorted(set(epochs)):
        if epochs.count(epoch) <= config.query_budget:
            raise InputError(
                f"query_budget {config.query_budget} contradicts epoch {epoch} of {epochs.count(epoch)} intervals, all of which "
                "are replayed: expected fewer (another k, batch size or T')"
            )
    return scene.trajectory


@dataclass(slots=True, eq=False)
class _Epoch:
    """The epoch at work."""

    moves: list[Distances] = field(default_factory=list)
    """True ones."""
    end: Checkpoint | None = None


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Blindfold) -> Crafted:
    """Honest training at an epoch's beginning, then a straight line to its end."""
    epochs = epochs_of(scene)
    members = [index for index, epoch in enumerate(epochs) if epoch == epochs[interval.index]]
    course = scene.once("epoch", _Epoch)
    if interval.index == members[0]:
        course.moves, course.end = [], None
    if interval.index - members[0] < config.query_budget:
        made = scene.follow(interval, start)
        assert made.end is not None
        course.moves.append(parameter_distances(start.parameters, made.end.parameters))
        return made
    made = Crafted(interval=interval, batches=scene.ordinary(interval))
    last = scene.recipe.interval_at(members[-1])
    course.end = course.end or _end(scene, start, config, course.moves, last.stop, members[-1] - interval.index + 1)
    share = interval.num_steps / (last.stop - interval.start)
    leap = Leap(start, course.end, interval, share)
    return replace(made, end=recorded_end(METHOD, replace(scene, trajectory=leap), made, start))


def _end(
    scene: Scene, start: Checkpoint, config: Blindfold, moves: Sequence[Distances], step: int, intervals: int
) -> Checkpoint:
    """P, which the epoch reaches at this step, in so many intervals from `start`."""
    if config.pace == "even" or step == scene.recipe.steps:
        return scene.trajectory.checkpoint(step)
    goal = scene.trajectory.weights(scene.recipe.steps)
    whole = parameter_distances(start.parameters, goal)
    limits = {metric: config.margin * min(move[metric] for move in moves) for metric in METRICS}
    # A cosine distance grows as the square of a small move.
    shares = [intervals * limits[metric] / whole[metric] for metric in ("l1", "l2", "linf") if whole[metric] > 0.0]
    shares += [intervals * math.sqrt(limits["cos"] / whole.cos)] if whole.cos > 0.0 else []
    passed = min(1.0, *shares) if shares else 1.0
    parameters = {name: torch.lerp(W, goal[name], passed) for name, W in start.parameters.items()}
    return replace(scene.trajectory.checkpoint(step), parameters=parameters)


def work(config: Blindfold, recipe: Recipe, num_points: int) -> float:
    """E Q k honest steps."""
    epochs = recipe.steps / max(num_points // recipe.batch_size, 1)
    return min(epochs * config.query_budget * recipe.interval, recipe.steps)


METHOD = AttackMethod(
    source="Fang et al. 2023, arXiv:2208.03567",
    config=Blindfold,
    craft=craft,
    path=path,
    sequential=lambda _, __: True,
    independent=False,
    uses=("weights", "selection"),
    work=work,
)
