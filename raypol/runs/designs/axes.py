"""The axes of a sweep: which values an axis holds, in Ray Tune's vocabulary, and what a value changes in a trial."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from raypol.cluster.placement import parse_device
from raypol.core.errors import InputError
from raypol.core.spoofing.spoof_config import SpoofConfig, check_together
from raypol.core.training.train_config import TrainConfig
from raypol.runs.trials.study import Trial

Point = Mapping[str, Any]
"""Axis -> value, and `arm`."""

DEVICES: Final = ("prover", "spoofer", "verifier")
_PARTS: Final = ("train", "spoof", "trajectory", "attack", "conditions", "thresholds")
_CHECKS: Final[dict[str, TypeAdapter[Any]]] = {"train": TypeAdapter(TrainConfig), "spoof": TypeAdapter(SpoofConfig)}


def decides_honest_side(axis: str) -> bool:
    """True if trials that differ on this axis are compared with different honest proofs or verdicts."""
    return axis in ("interval", "seed", "prover", "verifier") or axis.startswith(
        ("train.", "conditions.", "thresholds.")
    )


def apply_point(trial: Trial, point: Point) -> Trial:
    """The trial with every axis of a point set, and checked. Axes of their own win over those that a mapping changes together.

    Raises:
        InputError: an axis that no field has, a value of another type, T' below k.
    """
    together = [pair for values in point.values() if isinstance(values, Mapping) for pair in values.items()]
    alone = [(axis, value) for axis, value in point.items() if not isinstance(value, Mapping) and axis != "arm"]
    for axis, value in [*together, *alone]:
        trial = _with_axis(trial, axis, value.item() if isinstance(value, np.generic) else value)
    _check(trial)
    return trial


def _with_axis(trial: Trial, axis: str, value: Any) -> Trial:  # noqa: ANN401 - any field's type
    if axis in ("interval", "seed"):
        return _with_axis(_with_axis(trial, f"train.{axis}", value), f"spoof.{axis}", value)
    if axis in DEVICES:
        device: dict[str, Any] = {axis: str(parse_device(value))}
        return replace(trial, **device)
    part, _, name = ("spoof", "", axis) if axis == "steps" else axis.partition(".")
    match part:
        case "train":
            return replace(trial, train=_replaced(trial.train, axis, name, value))
        case "spoof":
            return replace(trial, spoof=_replaced(trial.spoof, axis, name, value))
        case "trajectory":
            path = _replaced(trial.spoof.trajectory, axis, name, value)
            return replace(trial, spoof=replace(trial.spoof, trajectory=path))
        case "attack":  # arms without the field have nothing to change
            known = hasattr(trial.attack, name)
            return replace(trial, attack=_replaced(trial.attack, axis, name, value)) if known else trial
        case "conditions":
            conditions = _replaced(trial.examination.conditions, axis, name, value)
            return replace(trial, examination=replace(trial.examination, conditions=conditions))
        case "thresholds":
            return replace(trial, thresholds=_replaced(trial.thresholds, axis, name, value))
    possible = ", ".join(("steps", "interval", "seed", *DEVICES))
    raise InputError(
        f"unknown axis {axis!r}; possible: {possible}, and fields as {', '.join(f'{part}.X' for part in _PARTS)}"
    )


def _replaced(part: Any, axis: str, name: str, value: Any) -> Any:  # noqa: ANN401 - any dataclass
    known = [f.name for f in fields(part)]
    if name not in known:
        raise InputError(f"unknown axis {axis!r}: {type(part).__name__} has {', '.join(known)}")
    return replace(part, **{name: tuple(value) if isinstance(value, list) else value})  # JSON knows no tuples


def _check(trial: Trial) -> None:
    check_together(trial.spoof)
    for name, part in (("train", trial.train), ("spoof", trial.spoof)):
        try:
            _CHECKS[name].validate_python(asdict(part))
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(word) for word in first["loc"])
            raise InputError(f"{name}.{where}: {first['msg']}, got {first['input']!r}") from err
        if part.interval < 1 or part.steps < part.interval:
            claimed = "T'" if name == "spoof" else "T"
            raise InputError(
                f"{claimed} = {part.steps} is not reachable with k = {part.interval}: expected {name}.steps >= interval >= 1"
            )


def is_grid(values: object) -> bool:
    """True for `tune.grid_search`."""
    return isinstance(values, Mapping) and set(values) == {"grid_search"}


def is_domain(values: object) -> bool:
    """True for any of Tune's distributions, `tune.choice` among them."""
    # Imported where it is used: who declares no sweep need not wait a second for Ray Tune.
    from ray.tune.search.sample import Domain

    return isinstance(values, Domain)


def is_drawn(values: object) -> bool:
    """True for a distribution whose values cannot be listed."""
    from ray.tune.search.sample import Categorical

    return is_domain(values) and not isinstance(values, Categorical)


def listed(axis: str, values: Any) -> list[Any]:  # noqa: ANN401 - Tune's grid is a dict of anything
    """The values of a grid, a choice or a constant.

    Raises:
        InputError: a grid over something that cannot be listed.
    """
    if is_domain(values) and not is_drawn(values):
        return list(values.categories)
    if not is_grid(values):
        return [values]
    try:
        return list(values["grid_search"])
    except TypeError as err:
        raise InputError(f"axis {axis}: expected values to list, got {values['grid_search']!r}") from err


def changed_axes(axis: str, values: Any) -> set[str]:  # noqa: ANN401 - as above
    """The axis itself, or the axes that its values change together where these are mappings."""
    if is_drawn(values):
        return {axis}
    return {name for value in listed(axis, values) for name in (value if isinstance(value, Mapping) else (axis,))}


def axis_text(values: Any) -> str:  # noqa: ANN401 - as above
    """The values of an axis as text, the same in every process."""
    if not is_domain(values):
        return repr(values)
    sampler = values.get_sampler()
    inner = getattr(sampler, "sampler", None)
    numbers = {**vars(sampler), **(vars(inner) if inner is not None else {})}
    shown = ", ".join(f"{name} {value:g}" for name, value in sorted(numbers.items()) if isinstance(value, int | float))
    kinds = " ".join(type(one).__name__.strip("_") for one in (inner, sampler) if one is not None)
    return f"{type(values).__name__}{values.domain_str} {kinds}{f' ({shown})' if shown else ''}"
