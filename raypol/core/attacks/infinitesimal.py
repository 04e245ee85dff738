"""Control `infinitesimal`: ordinary batches under a vanishing declared learning rate.

    W_t = W_0 + (t / T') (W_T - W_0),    lr ~ 0

The replayed weights stay where they were, so the error is the claimed move and nothing else: `jump`, for free. A slack delta
takes it from T' = k ceil(|W_T - W_0| / delta) on.

**Source.** Fang et al. 2023 (arXiv:2208.03567), the infinitesimal update attack; with k = 10 and delta = 0.008 d_ref in l2.

**Granted.** W_T, the choice of W_0 and of the batches, another schedule than the honest one.

**Differences from the paper**

1. W_0 is rank matched unless asked otherwise. The published code means to do the same, and permutes an unsorted draw by W_T's
   order, which leaves an independent W_0, as far from W_T as any. `TrajectoryConfig(start="honest")` is that attack.
2. Rates of 0 < lr <= 1e-6 move weights by rounding; momentum and weight decay stay declared.

**Stopped by** `declared_rate`, `direction` (error over move is 1), thresholds below the move, exact replay.
"""

from dataclasses import dataclass, replace
from typing import Final

from raypol.core.attacks.null import craft
from raypol.core.errors import InputError
from raypol.core.proof import Recipe, ScheduleConfig
from raypol.core.spoofing.method import AttackMethod


@dataclass(frozen=True, kw_only=True, slots=True)
class Infinitesimal:
    """A learning rate at which nothing moves."""

    lr: float = 1e-6
    """The declared, constant learning rate."""

    def __post_init__(self) -> None:
        if not self.lr > 0.0:
            raise InputError(f"expected lr > 0, got {self.lr}")


PRESETS: Final = {"infinitesimal": Infinitesimal()}


def declare(recipe: Recipe, config: Infinitesimal) -> Recipe:
    """The same optimizer with the vanishing rate, constant."""
    options = {**recipe.optimizer.options, "lr": config.lr}
    return replace(recipe, optimizer=replace(recipe.optimizer, options=options), schedule=ScheduleConfig())


METHOD = AttackMethod(
    source="Fang et al. 2023, arXiv:2208.03567",
    config=Infinitesimal,
    craft=craft,
    sequential=lambda _, __: True,
    declare=declare,
    uses=("weights", "optimizer"),
)
