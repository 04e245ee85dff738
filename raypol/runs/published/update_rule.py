"""Update rule of a published folder: its files compared with the claims and with each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from raypol.core.errors import InputError
from raypol.core.proof import OptimizerConfig, Scalar, ScheduleConfig
from raypol.core.training.optimizers import build_optimizer
from raypol.runs.published.import_options import Claims
from raypol.store.published.state import State

_IMPLEMENTATION: Final = {"foreach", "fused", "capturable", "differentiable"}
"""Options of torch's optimizers that choose a kernel, not the rule."""
_SAME_RATE: Final = 1e-9
"""Relative: another torch version may multiply a rate in another order."""


def rule_of(start: State, claims: Claims) -> tuple[OptimizerConfig, ScheduleConfig, tuple[str, ...]]:
    """Optimizer, schedule, and the names of the parts of the recipe that only the claims determine."""
    flags = {"lr": claims.lr, "momentum": claims.momentum, "weight_decay": claims.weight_decay}
    given = {name: value for name, value in flags.items() if value is not None}
    asserted = ["dataset", "model", "loss", "transform", "seed", "optimizer.name"]
    if start.options is None:
        known = _defaults(claims.optimizer)
        missing = [name for name in flags if name in known and name not in given]
        if missing:
            wanted = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
            raise InputError(f"{start.file} records no optimizer; give {wanted} (it will be recorded as asserted)")
        options: dict[str, Scalar] = {**given}
        asserted += [f"optimizer.{name}" for name in given]
    else:
        options = _recorded_options(start, claims.optimizer)
        for name, value in given.items():
            if name not in options:
                raise InputError(f"--{name.replace('_', '-')} {value:g}: optimizer {claims.optimizer} has no {name}")
            _agree(start, name, options[name], value)
    optimizer = OptimizerConfig(name=claims.optimizer, options=options)
    schedule = _recorded_schedule(start, optimizer, claims)
    if start.schedule is None and (claims.milestones is not None or start.options is None):
        asserted.append("schedule")
    return optimizer, schedule, tuple(asserted)


def _recorded_options(start: State, name: str) -> dict[str, Scalar]:
    """Arguments of the constructor that differ from its defaults."""
    assert start.options is not None
    defaults = _defaults(name)
    recorded = {k: v for k, v in start.options.items() if k not in {*_IMPLEMENTATION, "initial_lr"}}
    recorded["lr"] = start.options.get("initial_lr", start.options.get("lr"))
    foreign = sorted(recorded.keys() - defaults.keys())
    if foreign:
        fitting = [other for other in ("SGD", "Adam") if recorded.keys() <= _defaults(other).keys()]
        hint = f"; give --optimizer {fitting[0]}" if fitting else ""
        raise InputError(f"{start.file}: its optimizer has {', '.join(foreign)[:80]}, torch.optim.{name} has not{hint}")
    options: dict[str, Scalar] = {}
    for key, value in recorded.items():
        if key not in ("lr", "momentum", "weight_decay") and value == defaults[key]:
            continue
        if not isinstance(value, bool | int | float | str):
            raise InputError(f"{start.file}: optimizer option {key} is {value!r:.40}; a proof declares numbers only")
        options[key] = value
    return options


def _defaults(name: str) -> Mapping[str, object]:
    """Default options of an optimizer's constructor."""
    optimizer = build_optimizer(OptimizerConfig(name=name, options={"lr": 1e-3}), [nn.Parameter(torch.zeros(1, 1))])
    return optimizer.defaults


def _recorded_schedule(start: State, optimizer: OptimizerConfig, claims: Claims) -> ScheduleConfig:
    recorded = start.schedule
    if recorded is not None:
        _agree(start, "milestones", recorded.milestones, claims.milestones and tuple(sorted(claims.milestones)))
        _agree(start, "gamma", recorded.gamma, claims.gamma)
        if recorded.base_lr != optimizer.lr:
            raise InputError(
                f"{start.file} contradicts itself: its scheduler starts at lr {recorded.base_lr:g}, its optimizer at "
                f"{optimizer.lr:g}"
            )
        options: dict[str, Scalar | Sequence[int]] = {"milestones": [*recorded.milestones], "gamma": recorded.gamma}
        return ScheduleConfig(name="MultiStepLR", options=options)
    if claims.milestones is None and claims.gamma is None:
        return ScheduleConfig()
    if claims.milestones is None or claims.gamma is None:
        raise InputError("expected --milestones and --gamma together")
    return ScheduleConfig(name="MultiStepLR", options={"milestones": sorted(claims.milestones), "gamma": claims.gamma})


def _agree(start: State, name: str, recorded: object, claimed: object) -> None:
    if claimed is not None and claimed != recorded:
        flag = name.replace("_", "-")
        raise InputError(f"--{flag} {claimed} contradicts {start.file}, which records {name} {recorded}")


def check_rule(state: State, start: State, lr: float) -> None:
    """Refuse a checkpoint whose update rule is not that of the first at its own step: a proof declares one rule.

    The published verifier loads each file's rule without a check, so that a file with lr 0 reproduces itself.
    """
    if (state.options is None) != (start.options is None) or (state.schedule is None) != (start.schedule is None):
        raise InputError(f"{state.file} and {start.file} do not record the same parts of optimizer and scheduler")
    if state.options is not None and start.options is not None:
        changed = [
            name
            for name in start.options.keys() | state.options.keys()
            if name not in {"lr", *_IMPLEMENTATION} and state.options.get(name) != start.options.get(name)
        ]
        if changed:
            name = sorted(changed)[0]
            raise InputError(
                f"{state.file} says {name} {state.options.get(name)!r:.40}, {start.file} says "
                f"{start.options.get(name)!r:.40}; a proof has one update rule"
            )
        said = state.options.get("lr")
        if (
            isinstance(said, bool)
            or not isinstance(said, int | float)
            or not math.isclose(said, lr, rel_tol=_SAME_RATE)
        ):
            raise InputError(
                f"{state.file} says lr {said!r:.40}, the declared schedule gives {lr:g} at step {state.step}"
                f"{'' if state.schedule else '; give --milestones and --gamma if it fell'}"
            )
    if state.schedule is not None and start.schedule is not None:
        if replace(state.schedule, last_step=0) != replace(start.schedule, last_step=0):
            raise InputError(f"{state.file} and {start.file} record different schedules; a proof has one")
        if state.schedule.last_step != state.step:
            raise InputError(f"{state.file}: its scheduler stands at step {state.schedule.last_step}")
