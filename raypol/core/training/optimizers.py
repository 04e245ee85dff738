"""Declared optimizers and schedules: building them, one update, learning rates."""

import inspect
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from types import ModuleType
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from raypol.core.arithmetic.precision import WEIGHT_DTYPES
from raypol.core.errors import InputError, reject_choice
from raypol.core.proof import OptimizerConfig, Recipe, Scalar, ScheduleConfig

_UNUSABLE_OPTIMIZERS: Final = {
    "Optimizer": "is the base of all optimizers",
    "LBFGS": "evaluates the loss several times in a step, and a replay has one gradient for each",
    "SparseAdam": "takes sparse gradients alone, and a model's are dense",
}
"""Classes of torch.optim that cannot be replayed from a state and a gradient, and why."""
_UNUSABLE_SCHEDULERS: Final = {"LRScheduler", "ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"}
MAX_SCHEDULED_STEPS: Final = 1_000_000
"""Torch's schedulers compute 10^5 steps per second at most, and a claim of more costs its claimant nothing."""
_SWALLOWS: Final = 65_536.0
"""Last place of a sum of squared gradients that no gradient that training meets changes."""
_Class = TypeVar("_Class")


def build_optimizer(config: OptimizerConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The declared optimizer.

    Raises:
        InputError: not in torch.optim, or options or parameters that it does not take.
    """
    kind = _optimizer_class(config.name)
    options = {**config.options, "lr": config.lr}
    others = [tuple(p.shape) for p in parameters if p.dim() != 2]
    if config.name == "Muon" and others:
        raise InputError(
            f"optimizer Muon updates matrices alone: expected a model whose parameters all have 2 dimensions, got {len(others)} "
            f"others, the first of shape {others[0]}"
        )
    try:
        return kind(parameters, **options)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as err:
        raise InputError(f"optimizer {config.name} does not take {dict(config.options)}: {err}") from err


def tensor_by_tensor(config: OptimizerConfig) -> OptimizerConfig:
    """The same update in its plainest form: each tensor by itself, one operation after the other, on every device."""
    plain = {option: False for option in ("foreach", "fused") if takes(config.name, option)}
    return replace(config, options={**config.options, **plain})


def takes(name: str, option: str) -> bool:
    """True if the constructor of an optimizer has this option; False for a name that means no optimizer."""
    kind = getattr(torch.optim, name, None)
    return inspect.isclass(kind) and option in inspect.signature(kind).parameters


def declared_options(
    name: str, lr: float, given: Mapping[str, float | None], unless: Mapping[str, float | None]
) -> dict[str, Scalar]:
    """The options that are declared of an optimizer.

    Args:
        name: class in torch.optim.
        lr: the initial learning rate.
        given: options by name; None = not given.
        unless: values of those that are not given, where the class has them; None = the class's own default.

    Raises:
        InputError: not in torch.optim, or an option was given that the class lacks.
    """
    _optimizer_class(name)
    options: dict[str, Scalar] = {"lr": lr}
    for option, value in given.items():
        if not takes(name, option):
            if value is not None:
                having = [other for other in _optimizers() if takes(other, option)]
                raise InputError(
                    f"optimizer {name} has no {option}, got {option} {value:g}: leave it out; "
                    f"optimizers that have it: {', '.join(sorted(having))}"
                )
            continue
        used = unless[option] if value is None else value
        if used is not None:
            options[option] = used
    return options


def _optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    possible = _optimizers()
    if name in _UNUSABLE_OPTIMIZERS:
        raise InputError(f"optimizer {name} {_UNUSABLE_OPTIMIZERS[name]}; possible: {', '.join(sorted(possible))}")
    if name not in possible:
        reject_choice("optimizer", name, possible)
    return possible[name]


def _optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    return _subclasses(torch.optim, torch.optim.Optimizer, _UNUSABLE_OPTIMIZERS)


def _subclasses(module: ModuleType, base: type[_Class], unusable: Collection[str]) -> dict[str, type[_Class]]:
    classes = {name: cls for name, cls in vars(module).items() if isinstance(cls, type) and name not in unusable}
    return {name: cls for name, cls in classes.items() if issubclass(cls, base)}


def state_depends_on(recipe: Recipe) -> Literal["nothing", "steps", "gradients"]:
    """What the optimizer's state follows from: plain SGD has none, and a huge accumulator swallows every gradient."""
    name, options = recipe.optimizer.name, recipe.optimizer.options
    if name == "SGD":
        return "gradients" if options.get("momentum", 0.0) else "nothing"
    last_place = float(options.get("initial_accumulator_value", 0.0)) * torch.finfo(WEIGHT_DTYPES[recipe.precision]).eps
    return "steps" if name == "Adagrad" and last_place >= _SWALLOWS else "gradients"


class UpdateError(InputError):
    """The declared optimizer cannot make a step: its options, or the state that it was given, break its arithmetic."""


def update(optimizer: torch.optim.Optimizer) -> None:
    """One step of the optimizer.

    Raises:
        UpdateError: it failed, as torch's optimizers do on a state with entries missing or a step counter below zero.
    """
    try:
        optimizer.step()
    except (torch.AcceleratorError, torch.OutOfMemoryError):
        raise  # the machine's fault
    except InputError as err:  # an arithmetic that lacks one of its operations
        raise UpdateError(f"optimizer {type(optimizer).__name__} cannot make a step: {err}") from err
    except (ArithmeticError, AssertionError, KeyError, RuntimeError, TypeError, ValueError) as err:
        raise UpdateError(f"optimizer {type(optimizer).__name__} cannot make a step: {err!r}") from err


def reach_of_state(
    optimizer: torch.optim.Optimizer, rates: npt.NDArray[np.float64], num_steps: int, rate: float
) -> float:
    """Move that a state makes in all steps to come, over the one that it makes in `num_steps` steps at a constant rate.

    A momentum m moves the weights by rate_1 m + rate_2 m^2 + ... of itself; for an adaptive optimizer m is its first beta. What
    else a state holds (second moments) has no closed form and counts at the constant rate: then the result is at least 1.

    Args:
        optimizer: with its declared options.
        rates: of the steps to come.
        num_steps: k.
        rate: the constant one, > 0.
    """
    plain = type(optimizer) is torch.optim.SGD
    memory = optimizer.defaults.get("momentum") or (optimizer.defaults.get("betas") or (0.0,))[0]
    if not 0.0 < memory < 1.0 or not rate > 0.0:  # no memory, not admissible, or nothing moves
        return 1.0
    to_come = float((rates * memory ** np.arange(1, len(rates) + 1)).sum())
    reach = to_come / (rate * float((memory ** np.arange(1, num_steps + 1)).sum()))
    return reach if plain and len(rates) else max(reach, 1.0)


def learning_rates(recipe: Recipe) -> npt.NDArray[np.float64]:
    """(T,) learning rate of every step, taken from torch's own scheduler; a stretched schedule is resampled.

    Raises:
        InputError: unknown scheduler, bad options, or a scheduler that changes more than the learning rate.
    """
    schedule = recipe.schedule
    if schedule.name == "constant":
        return np.full(recipe.steps, recipe.optimizer.lr)
    steps = schedule.base_steps or recipe.steps
    if steps > MAX_SCHEDULED_STEPS:
        raise InputError(f"schedule {schedule.name}: expected at most {MAX_SCHEDULED_STEPS} steps, got {steps}")
    rates = _scheduled(json.dumps(asdict(recipe.optimizer)), json.dumps(asdict(schedule)), steps)
    if not schedule.base_steps:
        return rates.copy()
    return rates[np.arange(recipe.steps, dtype=np.int64) * schedule.base_steps // recipe.steps]


@lru_cache(maxsize=8)
def _scheduled(optimizer_json: str, schedule_json: str, steps: int) -> npt.NDArray[np.float64]:
    """Rates of a schedule, which torch's scheduler computes step by step: a verifier asks for them in each of its shards."""
    optimizer_config = OptimizerConfig(**json.loads(optimizer_json))
    schedule = ScheduleConfig(**json.loads(schedule_json))
    schedulers = torch.optim.lr_scheduler
    possible = _subclasses(schedulers, schedulers.LRScheduler, _UNUSABLE_SCHEDULERS)
    if schedule.name not in possible:
        reject_choice("schedule", schedule.name, ("constant", *possible))
    optimizer = build_optimizer(optimizer_config, [nn.Parameter(torch.zeros(1, 1))])  # Muon takes no other shape
    group = optimizer.param_groups[0]
    try:
        fixed = [key for key in group if key not in {"lr", "params"}]
        declared = [group[key] for key in fixed]
        scheduler = possible[schedule.name](optimizer, **schedule.options)  # type: ignore[arg-type]
        rates = np.empty(steps)
        changed = False
        optimizer.step()  # once is enough for the scheduler not to warn; nothing has a gradient
        for step in range(steps):
            rates[step] = group["lr"]
            changed |= [group[key] for key in fixed] != declared
            scheduler.step()
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as err:
        raise InputError(f"schedule {schedule.name} does not take {dict(schedule.options)}: {err}") from err
    if changed:
        raise InputError(f"schedule {schedule.name} changes more than the learning rate; that is not supported")
    return rates


def state_after_a_step(config: OptimizerConfig, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's state by "parameter/key" after one step with zero gradients."""
    optimizer = build_optimizer(config, list(parameters.values()))
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    update(optimizer)
    return {
        f"{name}/{key}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }
