"""Control `untrained`: a claim that weights as they were drawn are a trained model.

    W_t = (1 + drift t / T') W_0,    b_t ordinary batches,    lr ~ 0

The drift is what it takes for some weight to move at all; `drift` 0 leaves every bit as it was drawn.

A verifier that accepts it accepts any weights at all: it establishes nothing about training, whatever it says of others.

Threat model: A has the data and no model. Granted: another schedule than the honest one.

**Cost.** No gradient, no forward pass: drawing W_0 and writing it T'/k times.

**Stopped by** `direction` and `declared_rate` (nothing trains), `accuracy_curve` and `performance_trend` (nothing is learnt),
exact replay; `admissible` only where no weight moves.
"""

from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from raypol.core.arithmetic.precision import is_inexact
from raypol.core.attacks.infinitesimal import Infinitesimal
from raypol.core.attacks.infinitesimal import declare as at_no_rate
from raypol.core.attacks.null import craft
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Recipe
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Scene
from raypol.core.spoofing.trajectory import WeightPath


@dataclass(frozen=True, kw_only=True, slots=True)
class Untrained:
    """No training at all."""

    drift: float = 1e-4
    """How far the weights are claimed to move, as a share of W_0."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.drift < 1.0:
            raise InputError(f"expected drift in [0, 1), got {self.drift}")


PRESETS: Final = {"untrained": Untrained()}


def declare(recipe: Recipe, config: Untrained) -> Recipe:
    """The same optimizer at a vanishing rate, constant."""
    del config
    return at_no_rate(recipe, Infinitesimal())


def path(scene: Scene, config: Untrained) -> WeightPath:
    """The weights of step 0, hardly moved, at every step."""
    return _Drifting(scene.trajectory, config.drift / scene.recipe.steps)


class _Drifting:
    def __init__(self, straight: WeightPath, per_step: float) -> None:
        self._straight, self._per_step = straight, per_step

    def weights(self, step: int) -> dict[str, Tensor]:
        """W_0, a little longer."""
        grown = 1.0 + self._per_step * step
        return {name: W * grown if is_inexact(W) else W for name, W in self._straight.weights(0).items()}

    def checkpoint(self, step: int) -> Checkpoint:
        """The same with fresh statistics, under the number of the step."""
        return replace(self._straight.checkpoint(0), step=step, parameters=self.weights(step))


METHOD = AttackMethod(
    ignores=("path",),
    config=Untrained,
    craft=craft,
    declare=declare,
    path=path,
    sequential=lambda _, __: True,
    uses=("optimizer",),
)
