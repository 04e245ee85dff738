r"""Attack `steered`: really train under the declared rule, and move the weights a little towards W_T after every interval.

Equation, per interval i of n, with W'_i where the declared training on ordinary batches leads from W_{i-1}:

    W_i = W'_i + b_i (G_i - W'_i),    G_i = W_T - lead * d_i,    b_n = 1 and G_n = W_T,

d_i a running mean of the latest training moves W'_j - W_{j-1}. The reproduction error of the interval is the nudge
|W_i - W'_i| and nothing else: no own points, the declared optimizer and schedule, optimizer state and norm statistics as training
leaves them, an accuracy that rises as in training. One gradient per claimed step, as an honest prover.

Schedules of b_i, left_i = the number of intervals from i on:

    even       b_i = 1 / left_i: equal nudges if training did not move
    power      nudges in proportion to (1 - i/n)^power
    envelope   nudges in proportion to the envelope E_i of honest errors: b_i = E_i / sum_{j >= i} E_j
    optimal    |W_i - W'_i| = min(|G_i - W'_i|, slack E_i)

Why `optimal` is: let every error be at most s E_i, and let training move by D_i whatever the nudges are. A nudge changes the
distance to W_T by at most its length, so after interval i no adversary is nearer than |W_T - W_0 - sum D| - s sum_{j <= i} E_j,
and one who always takes the whole length towards W_T is that near: if any order of nudges reaches W_T within s, this one does,
and earliest. Then it holds W_T against the training, at |D_i| per interval. So the least possible s is the larger of two numbers,
    reach: |W_T - W_0 - sum D| / sum_j E_j        hold: max |D_i| / E_i over the intervals after W_T is reached,
the second one where the learning rate drops: momentum still moves as before, and the envelope has fallen. There the excess is
spread over the next intervals. The envelope is what `grants` policy tells (the limits of a calibrated check by stage); without it
the length of the last training move stands for it, which honest errors under fresh augmentation have, too.

With `pool` > 1 the batches are those that help: replayed moves then point towards W_T early in training (median cosines of 1.0
and .67 in the first two quarters where ordinary batches have .88 and .41: digits, T' = 500). With `lead` > 0 the aim lies as far
before W_T as training will go on: nudges need not cancel training then, and late moves point along the claimed ones, too (check
`direction`).

Threat model: A knows W_T and data of the training distribution. W_0 and order may be the verifier's (start honest or bound,
data_order declared): the nudges are longer then, for an independent W_0 is four times as far as a rank-matched one.

Source: none; measured first for this project. What stops it: `initial_memory` with a bound W_0 (W_T remembers another), exact
replay; `initial_independence` if W_0 is rank matched.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from raypol.core.attacks.selected import point_losses
from raypol.core.errors import InputError, check_whole, reject_choice
from raypol.core.proof import MAX_STEPS, Checkpoint, Interval
from raypol.core.seeds import generator
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.objectives import sum_of_squares
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene
from raypol.core.verification.stages import stage_of

Schedule = Literal["even", "power", "envelope", "optimal"]
_EXPONENT: Final = 1.25
"""Honest errors fall a little faster than the learning rate: 500-fold where the rate falls 100-fold."""
_KEPT: Final = 0.5
"""Of the running mean of training moves, per interval."""
Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Steered:
    """Real training, nudged."""

    schedule: Schedule = "even"
    """How long the nudges are: even, power, envelope (in proportion to honest errors) or optimal (the least largest one)."""
    power: float = 4.0
    """power only: nudges fall as (1 - i/n) to this."""
    envelope: tuple[float, ...] = ()
    """envelope, optimal: honest errors in l2, in the weights' unit, one for each of equally long stages of training; () = for
    envelope the learning rate's power 1.25, for optimal the length of the training move itself."""
    slack: float = 0.9
    """optimal only: share of the envelope that a nudge may have."""
    lead: float = 0.0
    """How many intervals' training moves the aim lies before W_T."""
    pool: int = 1
    """Points of an interval are chosen out of so many times as many: those whose loss falls most from W_{i-1} to W_T, for there
    their gradients lead. 1 = ordinary batches; two forward passes of the pool per interval else."""

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            reject_choice("schedule", self.schedule, get_args(Schedule))
        if not self.power >= 0.0 or not self.lead >= 0.0 or not self.slack > 0.0:
            raise InputError(
                f"expected power >= 0, lead >= 0 and slack > 0, got {self.power}, {self.lead} and {self.slack}"
            )
        check_whole("pool", self.pool, 1, MAX_STEPS)
        if not all(error > 0.0 for error in self.envelope):
            raise InputError(f"expected an envelope of errors > 0, got {self.envelope}")
        if self.envelope and self.schedule in ("even", "power"):
            raise InputError(f"an envelope contradicts schedule {self.schedule}: expected schedule envelope or optimal")


PRESETS: Final = {
    "steered": Steered(),
    "steered_power": Steered(schedule="power"),
    "steered_optimal": Steered(schedule="optimal"),
}
"""Named configurations."""


@dataclass(slots=True, eq=False)
class _Course:
    """What the intervals so far have shown."""

    drift: Weights = field(default_factory=dict)


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Steered) -> Crafted:
    """Train on ordinary batches, and nudge."""
    goal = scene.trajectory.weights(scene.recipe.steps)
    batches = scene.ordinary(interval) if config.pool == 1 else _helpful(scene, interval, start, goal, config)
    trained = scene.train(interval, batches, start)
    if interval.stop == scene.recipe.steps:
        return Crafted(interval=interval, batches=batches, end=replace(trained, parameters=goal))
    course = scene.once("course", _Course)
    if interval.index == 0:
        course.drift = {}
    move = {name: W - start.parameters[name] for name, W in trained.parameters.items()}
    gap = {name: goal[name] - W for name, W in trained.parameters.items()}
    if config.lead > 0.0:
        gap = _lead(scene, interval, config, course, move, gap)
    share = _share(scene, interval, config, move, gap)
    nudged = {name: W + share * gap[name] for name, W in trained.parameters.items()}
    return Crafted(interval=interval, batches=batches, end=replace(trained, parameters=nudged))


def _helpful(scene: Scene, interval: Interval, start: Checkpoint, goal: Weights, config: Steered) -> list[CraftedBatch]:
    """Batches of the points whose loss falls most on the way to W_T: to first order L(W) - L(W_T) = <grad L(W), W - W_T>."""
    needed = interval.num_steps * scene.recipe.batch_size
    rng = generator(scene.seed, "pool", interval.index)
    pool = torch.randperm(len(scene.dataset), generator=rng)[: config.pool * needed]
    fall = torch.zeros(len(pool))
    for sign, weights in ((1.0, start.parameters), (-1.0, goal)):
        scene.trainer.load(replace(start, parameters=weights))
        fall += sign * point_losses(scene, pool)
    best = pool[fall.argsort(descending=True)][: min(needed, -(-len(pool) // 2))]
    dealt = best.repeat(-(-needed // len(best)))[:needed][torch.randperm(needed, generator=rng)]
    points = dealt.view(interval.num_steps, -1)
    return [scene.plain(row.numpy()) for row in points]


def _lead(scene: Scene, interval: Interval, config: Steered, course: _Course, move: Weights, gap: Weights) -> Weights:
    """The gap to the point from which training, going on as lately, comes to W_T."""
    rates = scene.trainer.lrs
    before, after = float(rates[interval.start]), float(rates[interval.stop])
    slower = min(after / before, 1.0) if before > 0.0 else 1.0
    latest = course.drift or move
    course.drift = {name: slower * torch.lerp(move[name], latest[name], _KEPT) for name in move}
    ahead = min(config.lead, scene.recipe.num_intervals - 1 - interval.index)
    return {name: gap[name] - ahead * course.drift[name] for name in gap}


def _share(scene: Scene, interval: Interval, config: Steered, move: Weights, gap: Weights) -> float:
    """b_i."""
    recipe, i = scene.recipe, interval.index
    match config.schedule:
        case "even":
            return 1.0 / (recipe.num_intervals - i)
        case "power":
            left: list[float] = [
                math.pow(1.0 - j / recipe.num_intervals, config.power) for j in range(i, recipe.num_intervals)
            ]
            return left[0] / math.fsum(left)
        case "envelope":
            left = [_expected(scene, later.start, config) for later in recipe.intervals()[i:]]
            return left[0] / sum(left)
        case "optimal":
            expected = _expected(scene, interval.start, config) if config.envelope else _norm(move)
            length = _norm(gap)
            return min(1.0, config.slack * expected / length) if length > 0.0 else 1.0


def _expected(scene: Scene, step: int, config: Steered) -> float:
    """E_i of the interval that begins at this step, in some unit."""
    if not config.envelope:
        return math.pow(float(scene.trainer.lrs[step]), _EXPONENT)
    return config.envelope[stage_of(step, scene.recipe.steps, len(config.envelope))]


def _norm(tensors: Weights) -> float:
    return float(sum_of_squares([t.double() for t in tensors.values()]).sqrt())


METHOD = AttackMethod(
    ignores=("path", "buffers"),
    uses_also=lambda config: ("policy",) if config.envelope else (),
    chooses_batches=lambda config: config.pool > 1,
    config=Steered,
    craft=craft,
    sequential=lambda _, __: True,
    independent=False,
)
