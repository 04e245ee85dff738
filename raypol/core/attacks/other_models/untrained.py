"""Control `untrained`: a claim that weights as they were drawn are a trained model.

    W_t = W_0 for every t,    b_t ordinary batches,    lr ~ 0

A verifier that accepts it accepts any weights at all: it establishes nothing about training, whatever it says of others.

Threat model: A has the data and no model. Granted: another schedule than the honest one.

**Cost.** No gradient, no forward pass: drawing W_0 and writing it T'/k times.

**Stopped by** `admissible`, `direction` and `declared_rate` (nothing is claimed to move), `accuracy_curve` and
`performance_trend` (nothing is learnt), exact replay (an update at any rate changes some bits).
"""

from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from raypol.core.attacks.infinitesimal import Infinitesimal
from raypol.core.attacks.infinitesimal import declare as at_no_rate
from raypol.core.attacks.null import craft
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.trajectory import WeightPath


@dataclass(frozen=True, kw_only=True, slots=True)
class Untrained:
    """No training at all."""


PRESETS: Final = {"untrained": Untrained()}


def declare(recipe: Recipe, config: Untrained) -> Recipe:
    """The same optimizer at a vanishing rate, constant."""
    del config
    return at_no_rate(recipe, Infinitesimal())


def path(scene: Scene, config: Untrained) -> WeightPath:
    """The weights of step 0 at every step."""
    del config
    return _Still(scene.trajectory)


class _Still:
    def __init__(self, straight: WeightPath) -> None:
        self._straight = straight

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_0."""
        del step
        return self._straight.weights(0)

    def checkpoint(self, step: int) -> Checkpoint:
        """W_0 with fresh statistics, under the number of the step."""
        return replace(self._straight.checkpoint(0), step=step)


METHOD = AttackMethod(
    ignores=("path",),
    config=Untrained,
    craft=craft,
    declare=declare,
    path=path,
    sequential=lambda _, __: True,
    uses=("optimizer",),
)
