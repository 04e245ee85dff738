"""Control `null`: the trajectory with ordinary batches, unperturbed. What an attack must beat to have earned its cost."""

from dataclasses import dataclass
from typing import Final

from raypol.core.proof import Checkpoint, Interval
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Null:
    """No perturbation."""


PRESETS: Final = {"null": Null()}


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: object) -> Crafted:
    """The batches that every attack starts from."""
    del start, config
    return Crafted(interval=interval, batches=scene.ordinary(interval))


METHOD = AttackMethod(config=Null, craft=craft, sequential=lambda _, __: True)
