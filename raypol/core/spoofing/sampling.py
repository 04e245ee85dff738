"""Judging a spoof by a seeded sample of its intervals: crafting, sealing and replaying m of n instead of all.

Once the trajectory is fixed, intervals are independent of each other except for the optimizer's state. A carried state is brought
up by a few intervals before each sampled one, until the state before them has faded.

The first interval is always in the sample, for W_0 is tested there; the other m - 1 of m are drawn without replacement
from the n - 1. The largest error seen is then a distribution-free upper tolerance limit (Wilks 1941): `beyond` counts how many
intervals may err more, at a stated confidence, in any one metric.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from scipy.special import gammaln

from raypol.core.errors import InputError
from raypol.core.proof import BatchRecord, Checkpoint, Cost, Points, ProofSink, ProofSource, Recipe
from raypol.core.seeds import generator
from raypol.core.spoofing.method import AttackMethod, craft
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.seal import recorded_start, seal_interval, start_clock
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.background_sink import BackgroundSink
from raypol.core.training.optimizers import state_depends_on

CONFIDENCE: Final = 0.95
_FADED: Final = 0.01
"""Share of a state below which it counts as forgotten."""
_KEPT: Final = 0.9
"""Of the statistics of norm layers, per step: torch's default."""
_MAX_LEAD: Final = 10
"""Intervals before each; more would cost as much as crafting all."""


def draw_intervals(num_intervals: int, count: int, seed: int) -> tuple[int, ...]:
    """Indices of the sampled intervals, ascending: the first, and count - 1 of the others without replacement."""
    if not 2 <= count <= num_intervals:
        raise InputError(f"expected a sample of 2..{num_intervals} intervals, got {count}")
    others = torch.randperm(num_intervals - 1, generator=generator(seed, "sampled intervals"))[: count - 1] + 1
    return (0, *sorted(others.tolist()))


def beyond(num_intervals: int, count: int, confidence: float = CONFIDENCE) -> int:
    """The least j such that, at this confidence, at most j of all intervals exceed the largest value of the sample.

    More than j exceed it only if the sample misses the j + 1 largest of the n - 1 others: C(n - 2 - j, m - 1) / C(n - 1, m - 1).
    """
    others, drawn = num_intervals - 1, count - 1
    if drawn >= others:
        return 0

    def log_missed(j: int) -> float:
        left = others - j - 1
        if left < drawn:
            return -math.inf
        return float(gammaln(left + 1) - gammaln(left - drawn + 1) - gammaln(others + 1) + gammaln(others - drawn + 1))

    low, high = 0, others - drawn
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if log_missed(middle) <= math.log(1.0 - confidence) else (middle + 1, high)
    return low


def lead_in(recipe: Recipe, spoof: SpoofConfig, *, forges_state: bool) -> int:
    """Number of intervals before each sampled one that bring carried state and exact statistics up; 0 if nothing is carried.

    Raises:
        InputError: the declared optimizer remembers too long, or how long is not known.
    """
    statistics = math.ceil(math.log(_FADED) / math.log(_KEPT) / recipe.interval) if spoof.buffers == "exact" else 0
    if spoof.carry != "exact" or forges_state or state_depends_on(recipe) != "gradients":
        return statistics
    options = recipe.optimizer.options
    if recipe.optimizer.name == "SGD":
        kept = float(options.get("momentum", 0.0))
    elif "Adam" in recipe.optimizer.name:
        kept = 0.999
    else:
        kept = 1.0
    intervals = math.inf if kept >= 1.0 else math.ceil(math.log(_FADED) / math.log(kept) / recipe.interval)
    if intervals > _MAX_LEAD:
        raise InputError(
            f"an estimate with carry exact needs an optimizer that forgets within {_MAX_LEAD} intervals; {recipe.optimizer.name} "
            f"with k = {recipe.interval} does not: use carry restart, or no estimate"
        )
    return max(int(intervals), statistics)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleCost:
    """Cost of crafting and sealing the sampled intervals, without that of bringing states up."""

    total: Cost
    interval_s: tuple[float, ...]
    """Device seconds of each."""


def seal_sample(
    method: AttackMethod[Any],
    scene: Scene,
    config: Any,  # noqa: ANN401 - the attack's own
    wanted: Sequence[int],
    sink: ProofSink,
    *,
    on_interval: Callable[[Sequence[CraftStats]], None] = lambda _: None,
) -> SampleCost:
    """Craft and write some intervals as they would be in the whole spoof: their starts, batches and ends, in order.

    Args:
        method: the attack; its intervals must be independent.
        scene: with the declared recipe.
        config: the attack's hyperparameters.
        wanted: indices, ascending.
        sink: where they go; a step that is one's end and the next one's start is written once.
        on_interval: handed the statistics of each.
    """
    assert method.independent
    lead = lead_in(scene.recipe, scene.choices, forges_state=method.forges_state)
    stop = start_clock(scene)
    seconds = []
    with torch.random.fork_rng(), BackgroundSink(sink) as background:
        start: Checkpoint | None = None
        done = -1  # the last interval whose end `start` is
        for index in wanted:
            if start is None or done < index - 1:
                with scene.off_the_clock():
                    if start is not None:
                        background.write_checkpoint(_end(method, scene, config, done, start))
                    if start is None or done + 1 < index - lead:
                        done = max(index - lead, 0) - 1
                        start = scene.trajectory.checkpoint(scene.recipe.interval_at(done + 1).start)
                    for before in range(done + 1, index):
                        made = craft(method, scene, scene.recipe.interval_at(before), start, config)
                        start = seal_interval(method, scene, made, start, None)
            before_s = scene.trainer.stopwatch.read()
            made = craft(method, scene, scene.recipe.interval_at(index), start, config)
            start = seal_interval(method, scene, made, start, background)
            seconds.append(scene.trainer.stopwatch.read() - before_s)
            on_interval(made.stats)
            done = index
        if start is not None:
            background.write_checkpoint(_end(method, scene, config, done, start))
    return SampleCost(total=replace(stop(), writing_s=background.waited_s), interval_s=tuple(seconds))


def _end(
    method: AttackMethod[Any],
    scene: Scene,
    config: Any,  # noqa: ANN401 - the attack's own
    last: int,
    end: Checkpoint,
) -> Checkpoint:
    """The end of a run of intervals as the whole spoof records it: with the state that is invented for the next interval."""
    if not method.forges_state or last + 1 == scene.recipe.num_intervals:
        return end
    with scene.off_the_clock():
        return recorded_start(craft(method, scene, scene.recipe.interval_at(last + 1), end, config), end)


class SampledProof:
    """A ProofSource of the whole proof's shape that has only the sampled intervals."""

    def __init__(self, stored: ProofSource, wanted: Sequence[int]) -> None:
        self._stored = stored
        self.recipe = stored.recipe
        self.root = stored.root
        self.machine = stored.machine
        self.checkpoint_steps = self.recipe.checkpoint_steps()
        self.num_points = stored.num_points
        self._places = {step: place for place, step in enumerate(stored.checkpoint_steps)}
        self._rows: dict[int, int] = {}
        row = 0
        for interval in map(self.recipe.interval_at, wanted):
            self._rows[interval.start] = row
            row += interval.num_steps

    def checkpoint(self, position: int) -> Checkpoint:
        """See ProofSource; KeyError where nothing was sampled."""
        return self._stored.checkpoint(self._places[self.checkpoint_steps[position]])

    def batches(self, start: int, stop: int) -> list[BatchRecord]:
        """See ProofSource; of one sampled interval."""
        return self._stored.batches(self._rows[start], self._rows[start] + stop - start)

    def points(self, indices: Any) -> Points:  # noqa: ANN401 - as in ProofSource
        """See ProofSource."""
        return self._stored.points(indices)
