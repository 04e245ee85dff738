"""Control `null`: the trajectory with ordinary batches, unperturbed. What an attack must beat to have earned its cost.

    W_t = W_0 + s(t) (W_T - W_0),    b_t ordinary batches

What is declared decides what it costs and how far a replay goes astray: under a rule without momentum (`declares` no_momentum)
there is no optimizer state to carry, so that a spoof of any length costs no gradient at all, and a replay moves a tenth as far.

Threat model: A knows W_T. What stops it: `direction` (a replay of ordinary batches does not go where the claim goes),
`initial_independence` if W_0 is fitted, `norm_statistics` unless they are carried exactly, a calibrated `envelope`.
"""

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
