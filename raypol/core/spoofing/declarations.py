"""Optimizers and schedules that an adversary may declare: what is declared decides what a replay does with the same batches.

A spoof's error is what its replay moves besides the claim. The honest schedule moves as training does; without momentum it moves
ten times less and leaves no state to carry; the others have an ordinary rate in their declaration and no step to speak of.

| declaration | update of a replay | state to carry | seen by |
|---|---|---|---|
| `honest_schedule` | the honest rule's | the honest rule's | - |
| `published` | SGD 0.01, momentum 0.9, weight decay 1e-4, constant | momentum | `family` |
| `no_momentum` | the honest rule without momentum, a tenth of its reach | none | `family` |
| `vanishing` | the honest rule at 1e-6, constant | the rule's, without effect | `declared_rate`, `direction`, `family` |
| `accumulator` | Adagrad: the honest rate over 1e8 | constant in every bit | `declared_rate`, `direction`, `family` |
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Literal, get_args

from raypol.core.errors import InputError
from raypol.core.proof import OptimizerConfig, Recipe, ScheduleConfig

Declares = Literal["honest_schedule", "published", "no_momentum", "vanishing", "accumulator"]
DECLARES: Final[tuple[Declares, ...]] = get_args(Declares)
_VANISHING_LR: Final = 1e-6
_ACCUMULATOR: Final = 1e16
"""Its unit in the last place is 1e9 in float32: no squared gradient changes it. In float64 it is 2, and the state is trained."""


def _honest(recipe: Recipe) -> Recipe:
    return recipe


def _published(recipe: Recipe) -> Recipe:
    optimizer = OptimizerConfig(name="SGD", options={"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4})
    return replace(recipe, optimizer=optimizer, schedule=ScheduleConfig())


def _no_momentum(recipe: Recipe) -> Recipe:
    optimizer = recipe.optimizer
    if optimizer.name != "SGD":
        raise InputError(
            f"declares no_momentum needs an optimizer that can go without state (SGD), got {optimizer.name}"
        )
    # torch takes nesterov only with momentum, and dampening applies to the momentum's buffer.
    options = {key: value for key, value in optimizer.options.items() if key not in ("nesterov", "dampening")}
    return replace(recipe, optimizer=replace(optimizer, options={**options, "momentum": 0.0}))


def _vanishing(recipe: Recipe) -> Recipe:
    options = {**recipe.optimizer.options, "lr": _VANISHING_LR}
    return replace(recipe, optimizer=replace(recipe.optimizer, options=options), schedule=ScheduleConfig())


def _accumulator(recipe: Recipe) -> Recipe:
    options = {"lr": recipe.optimizer.lr, "initial_accumulator_value": _ACCUMULATOR}
    return replace(recipe, optimizer=OptimizerConfig(name="Adagrad", options=options))


_DECLARATIONS: Final[Mapping[Declares, Callable[[Recipe], Recipe]]] = {
    "honest_schedule": _honest,
    "published": _published,
    "no_momentum": _no_momentum,
    "vanishing": _vanishing,
    "accumulator": _accumulator,
}


def declared_rule(recipe: Recipe, declares: Declares) -> Recipe:
    """The recipe with the optimizer and schedule that A declares.

    Raises:
        InputError: the honest optimizer has no such variant.
    """
    return _DECLARATIONS[declares](recipe)
