"""Attack `forged_momentum`: invent the momentum that carries W_{t-k} to W_t, and declare a rate at which no gradient counts.

With SGD of rate lr and momentum mu, n steps from buffer m without gradient move the weights by -lr (mu + ... + mu^n) m. So
    m = (W_{t-k} - W_t) / (lr sum_{j=1..n} mu^j)
at a vanishing lr reproduces any move with error near zero and no gradient at all. The published verifier takes the recorded
optimizer state on trust; `strict` sees that it is not empty at step 0 and does not follow from the interval before.

Threat model: A needs W_T alone, not even data.
"""

from dataclasses import dataclass, replace
from typing import Final

from raypol.core.attacks import null
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, Interval, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.spoofing.method import AttackMethod
from raypol.core.spoofing.scene import Crafted, Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgedMomentum:
    """A momentum buffer that does all the work."""

    lr: float = 1e-6
    """The declared, constant learning rate: small, so that gradients do not count."""
    momentum: float = 0.9
    """The declared momentum."""

    def __post_init__(self) -> None:
        if not self.lr > 0.0 or not 0.0 < self.momentum < 1.0:
            raise InputError(f"expected lr > 0 and momentum in (0, 1), got {self.lr} and {self.momentum}")


PRESETS: Final = {"forged_momentum": ForgedMomentum()}


def declare(recipe: Recipe, config: ForgedMomentum) -> Recipe:
    """SGD with momentum at a vanishing rate."""
    optimizer = OptimizerConfig(name="SGD", options={"lr": config.lr, "momentum": config.momentum})
    return replace(recipe, optimizer=optimizer, schedule=ScheduleConfig())


def craft(scene: Scene, interval: Interval, start: Checkpoint, config: ForgedMomentum) -> Crafted:
    """Ordinary batches and the invented buffer."""
    reach = config.lr * sum(config.momentum**j for j in range(1, interval.num_steps + 1))
    target = scene.trajectory.weights(interval.stop)
    state = {f"{name}/momentum_buffer": (W - target[name]) / reach for name, W in start.parameters.items()}
    return replace(null.craft(scene, interval, start, config), start_state=state)


METHOD = AttackMethod(
    config=ForgedMomentum,
    craft=craft,
    declare=declare,
    sequential=lambda _, __: True,
    forges_state=True,
    uses=("weights", "optimizer"),
)
