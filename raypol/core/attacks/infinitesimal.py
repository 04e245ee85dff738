"""Control `infinitesimal`: ordinary batches under a vanishing declared learning rate (Fang et al. 2023, arXiv:2208.03567).

The replayed weights stay where they were, so the error is the trajectory's own step and nothing else: `jump`, for free.
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
