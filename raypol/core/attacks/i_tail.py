"""Attack I-tail: train honestly from W_0 for a short while, then attack I on the last interval only.

Zhang et al. 2022 (arXiv:2108.09454), section IV: the honest part costs little and is beyond reproach; all of the
distance to W_T is left to the last interval, where `top_q` looks first.

Threat model: as attack II. Differences from the paper: as attack I. What stops it: `replay` of all intervals, or of those with
the largest moves.
"""

from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from raypol.core.attacks import i
from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackITail(i.AttackI):
    """Honest steps, then one interval of gradient matching."""

    iterations: int = 20
    """Iterations of each step's search; the paper's 100 buy nothing at this distance."""


PRESETS: Final = {"i_tail": AttackITail()}


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: AttackITail) -> Crafted:
    """Unperturbed batches, honestly followed; in the last interval attack I, straight from where training led to W_T."""
    if interval.stop < scene.recipe.steps:
        return scene.follow(interval, start)
    end = scene.trajectory.weights(scene.recipe.steps)
    return i.craft(replace(scene, trajectory=_LastStretch(start, end, interval)), interval, start, config)


class _LastStretch:
    """The straight line over one interval from where honest training led to W_T."""

    def __init__(self, start: Checkpoint, end: dict[str, Tensor], interval: Interval) -> None:
        self._start, self._end, self._interval = start, end, interval

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_t by name."""
        s = (step - self._interval.start) / self._interval.num_steps
        return {name: self._start.parameters[name].lerp(self._end[name], s) for name in self._end}

    def checkpoint(self, step: int) -> Checkpoint:
        """W_t; buffers stay where training left them."""
        return replace(self._start, step=step, parameters=self.weights(step), optimizer_state={})


METHOD = AttackMethod(
    source="Zhang et al. 2022, arXiv:2108.09454",
    config=AttackITail,
    craft=craft,
    sequential=lambda _, __: True,
    independent=False,
    uses=("weights", "own_points"),
)
