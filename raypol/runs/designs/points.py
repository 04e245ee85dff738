"""From a design to its trials: the points of a grid or a search, expanded by Ray Tune's own generator, each a typed `Trial`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from itertools import product
from typing import Any

import numpy as np

from raypol.core.errors import InputError
from raypol.core.seeds import seed_of_32_bits
from raypol.runs.designs.axes import (
    Point,
    apply_point,
    changed_axes,
    decides_honest_side,
    is_domain,
    is_drawn,
    is_grid,
    listed,
)
from raypol.runs.designs.design import Design, Search, is_control_attack
from raypol.runs.designs.dimensions import dimensions_of
from raypol.runs.trials.study import Trial


def trial_at(design: Design, point: Point, *, over: Point | None = None) -> Trial:
    """The trial of a point, with the choices of its arm; `over` wins over these.

    Raises:
        InputError: an axis that no field has, a value of another type, T' below k.
    """
    arm = point["arm"]
    base = Trial(
        train=design.train,
        arm=arm,
        attack=design.attacks()[arm],
        spoof=design.spoof,
        examination=design.examination,
        thresholds=design.thresholds,
        policies=design.policies,
    )
    return apply_point(base, {**point, **design.choices(arm), **(over or {})})


def check_space(design: Design, search: Search) -> None:
    """Raise InputError unless every axis can be expanded by this search."""
    for axis, values in design.space.items():
        if is_grid(values) and not listed(axis, values):
            raise InputError(f"axis {axis} is empty; expected at least one value")
        if is_domain(values) and search == "grid":
            raise InputError(f"axis {axis} is a distribution; expected --search random or optuna, or tune.grid_search")
    attacks = design.attacks().values()
    for arm in design.arms:
        for axis in design.choices(arm):
            if decides_honest_side(axis):
                raise InputError(f"arm {arm}: {axis} decides the honest proof, which all arms share: make it an axis")
    for arm in design.arms if search == "adaptive" else ():
        searched = dimensions_of(design.searched_axes(arm))
        for first in design.first_points(arm):
            if unknown := first.keys() - searched.keys():
                raise InputError(
                    f"arm {arm}: {min(unknown)} of a first point is not searched; expected {', '.join(searched)}"
                )
            for axis, value in first.items():
                searched[axis].parameter(value)
            trial_at(design, {"arm": arm}, over=first)
    for axis in (changed for name, values in design.space.items() for changed in changed_axes(name, values)):
        if axis.startswith("attack.") and not any(hasattr(a, axis.removeprefix("attack.")) for a in attacks):
            known = sorted({f.name for a in attacks if is_dataclass(a) for f in fields(a)})
            raise InputError(f"axis {axis}: no arm's attack has this field; possible: {', '.join(known)}")


def count_points(design: Design, search: Search, samples: int) -> int:
    """The number of points that an expansion makes at most, without making them."""
    grids = math.prod(len(listed(axis, values)) for axis, values in design.space.items() if is_grid(values))
    return len(design.attacks()) * grids * (1 if search == "grid" else samples)


def expand(design: Design, search: Search, *, samples: int, seed: int) -> list[Trial]:
    """All distinct trials of a grid or random search, in order; deterministic.

    A sampled point is run under every arm. An arm without an attack's field is run once for all values of that axis.

    Raises:
        InputError: see `check_space` and `trial_at`.
    """
    from ray.tune.search.variant_generator import generate_variants

    check_space(design, search)
    spec = {"arm": {"grid_search": list(design.attacks())}, **design.space}
    state = np.random.RandomState(seed_of_32_bits(seed))
    return _distinct(
        trial_at(design, point)
        for _ in range(samples if search == "random" else 1)
        for _, point in generate_variants(spec, constant_grid_search=True, random_state=state)
    )


def searchable(design: Design) -> dict[str, Any]:
    """The space for a searcher that proposes points by itself: grids become choices. Controls are not searched."""
    from ray.tune.search.sample import Categorical

    arms = [arm for arm, attack in design.attacks().items() if not is_control_attack(attack)]
    if not arms:
        raise InputError("a search needs an arm that is no control; add an attack to the sweep's arms")
    space = {axis: v if is_domain(v) else Categorical(listed(axis, v)) for axis, v in design.space.items()}
    return {"arm": Categorical(arms), **space}


def controls_beside(design: Design, points: Sequence[Point]) -> list[Trial]:
    """The controls at the points that a search visited, each once."""
    arms = [arm for arm, attack in design.attacks().items() if is_control_attack(attack)]
    return _distinct(trial_at(design, {**point, "arm": arm}) for point in points for arm in arms)


def honest_points(design: Design) -> list[Point]:
    """A point for every combination of the axes that decide the honest side, the devices and the datasets; other axes at some
    value.

    Raises:
        InputError: such an axis is a distribution: its proofs could not be made beforehand.
    """
    lists: dict[str, list[Any]] = {}
    for axis, values in design.space.items():
        if is_drawn(values):
            if decides_honest_side(axis):
                raise InputError(f"axis {axis} decides the honest proof: expected values to list, not a distribution")
            lists[axis] = [values.sample(random_state=np.random.RandomState(0))]
            continue
        found = listed(axis, values)
        names = changed_axes(axis, values)
        wanted = any(map(decides_honest_side, names)) or names & {"spoofer", "spoof.dataset"}
        lists[axis] = found if wanted else found[:1]
    first = next(iter(design.attacks()))
    return [{"arm": first, **dict(zip(lists, values, strict=True))} for values in product(*lists.values())]


def _distinct(trials: Iterable[Trial]) -> list[Trial]:
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(repr(trial), trial)
    return list(found.values())
