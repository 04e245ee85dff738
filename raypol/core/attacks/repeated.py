"""Control `repeated`: one ordinary batch for every step of the spoof."""

from dataclasses import dataclass
from typing import Final

from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.method import AttackMethod, Crafted, CraftedBatch, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """One batch, again and again."""

    step: int = 0
    """Step whose batch is repeated."""


PRESETS: Final = {"repeated": Repeated()}


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: Repeated) -> Crafted:
    """Take the same batch for each step of the interval."""
    del start
    sources, _, y = scene.batch(config.step)
    return Crafted(interval=interval, batches=[CraftedBatch(sources, y.cpu(), None)] * interval.num_steps)


METHOD = AttackMethod(config=Repeated, craft=craft, sequential=lambda _, __: True)
