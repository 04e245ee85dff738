"""Axes of an adaptive search: from Tune's vocabulary to Optuna's parameters and back, without loss."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from ray import tune

from raypol.core.errors import InputError
from raypol.core.proof import Recipe
from raypol.runs.arena.contenders import Lengths, contenders
from raypol.runs.arena.own_proof import lengths_of
from raypol.runs.arena.tasks import TASKS
from raypol.runs.designs.design import SizeName
from raypol.runs.designs.dimensions import Dimension, dimension_of, dimensions_of, ends_of
from raypol.runs.designs.points import check_space, trial_at
from raypol.runs.sweeps.plan import SweepOptions, plan_sweep

AT: Final = Lengths(declared=60, low=30, high=200, step=10, searching=20, searching_high=40, whole=200, epochs=200)
SEARCHED: Final = {
    f"{name}, {axis}": (axis, values) for name, arm in contenders(AT).items() for axis, values in arm.searched.items()
}
"""Every axis of every arm of the arena."""


@pytest.mark.parametrize("one", SEARCHED)
def test_every_axis_of_the_arena_comes_back_as_it_was(one: str) -> None:
    axis, values = SEARCHED[one]
    dimension = dimension_of(axis, values)
    allowed = dimension.values or range(int(dimension.low), int(dimension.high) + 1, dimension.step)
    assert len(allowed) > 1
    for value in allowed:
        drawn = dimension.parameter(value)
        assert dimension.distribution._contains(dimension.distribution.to_internal_repr(drawn))
        assert dimension.value(drawn) == value
        carried = json.loads(json.dumps(value))  # as a resumed search reads it
        assert dimension.value(dimension.parameter(carried)) == value


@given(
    low=st.integers(1, 300),
    length=st.integers(0, 300),
    step=st.integers(1, 40),
    log=st.booleans(),
    share=st.floats(0.0, 1.0),
)
def test_whole_numbers_are_multiples_within_both_ends(
    low: int, length: int, step: int, log: bool, share: float
) -> None:
    high = low + length
    allowed = [n for n in range(low, high + (step > 1)) if n % step == 0]
    make = tune.qlograndint if log else tune.qrandint
    if not allowed:
        with pytest.raises(InputError, match="has no value between"):
            dimension_of("steps", make(low, high, step))
        return
    dimension = dimension_of("steps", make(low, high, step))
    assert isinstance(dimension.distribution, FloatDistribution)
    assert (dimension.low, dimension.high, dimension.log) == (allowed[0], allowed[-1], log)
    drawn = dimension.low + share * (dimension.high - dimension.low)
    value = dimension.value(drawn)
    assert value in allowed
    assert isinstance(value, int)
    assert abs(value - drawn) <= step / 2, "the nearest one"
    assert [dimension.value(dimension.parameter(one)) for one in allowed] == allowed
    assert dimension.end_of(value) == ("low" if value == allowed[0] else "high" if value == allowed[-1] else "")


@given(low=st.floats(1e-6, 1e3), factor=st.floats(1.001, 1e3), share=st.floats(0.0, 1.0), log=st.booleans())
def test_any_number_of_a_range_is_itself(low: float, factor: float, share: float, log: bool) -> None:
    dimension = dimension_of("alpha", (tune.loguniform if log else tune.uniform)(low, low * factor))
    value = min(low + share * (low * factor - low), low * factor)
    assert dimension.value(dimension.parameter(value)) == value
    assert dimension.log is log


VALUES: Final = st.one_of(
    st.integers(-5, 5), st.text("ab ", max_size=3), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3))
)


@given(values=st.lists(VALUES, min_size=1, max_size=5), grid=st.booleans())
def test_listed_values_are_found_by_what_they_say(values: list[Any], grid: bool) -> None:
    """Mappings too, in any order of their axes."""
    distinct = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    dimension = dimension_of("setting", tune.grid_search(distinct) if grid else tune.choice(distinct))
    assert isinstance(dimension.distribution, CategoricalDistribution)
    for place, value in enumerate(distinct):
        other = dict(reversed(value.items())) if isinstance(value, dict) else value
        assert dimension.parameter(other) == place
        assert dimension.value(place) == value


ENDS: Final[list[tuple[Any, Any, str]]] = [
    (tune.qlograndint(30, 200, 10), 30, "low"),
    (tune.qlograndint(30, 200, 10), 200, "high"),
    (tune.qlograndint(30, 200, 10), 100, ""),
    (tune.qrandint(30, 209, 10), 200, "high"),
    (tune.randint(3, 9), 8, "high"),
    (tune.uniform(0.0, 1.0), 1.0, "high"),
    (tune.choice([0.02, 0.5, 0.1]), 0.5, "high"),
    (tune.choice([0.02, 0.5, 0.1]), 0.02, "low"),
    (tune.choice([0.02, 0.5, 0.1]), 0.1, ""),
    (tune.choice(["linear", "exact"]), "exact", ""),
    (tune.choice([True, False]), False, ""),
    (tune.choice([1, "all"]), 1, ""),
    (tune.choice([{"a": 1}, {"a": 2}]), {"a": 1}, ""),
]


@pytest.mark.parametrize(("values", "value", "end"), ENDS)
def test_numbers_at_the_end_of_a_range_are_told(values: Any, value: Any, end: str) -> None:  # noqa: ANN401 - Tune's
    found = dimensions_of({"axis": values})
    assert ends_of(found, {"axis": value, "another": 3}) == ([f"axis {end}"] if end else [])


NO_DIMENSION: Final[list[tuple[Any, str]]] = [
    (tune.grid_search([]), "axis x is empty"),
    (tune.choice([]), "axis x is empty"),
    (tune.randn(0.0, 1.0), "no range with two ends"),
    (tune.qrandn(0.0, 1.0, 0.1), "no range with two ends"),
    (tune.sample_from(lambda _: 1), "no range with two ends"),
    (5, "no range with two ends"),
    ("text", "no range with two ends"),
    (tune.quniform(0.0, 1.0, 0.1), "in steps of 0.1"),
    (tune.qloguniform(0.01, 1.0, 0.01), "in steps of 0.01"),
    (tune.qlograndint(100, 80, 20), "has no value between 100 and 80"),
    (tune.qrandint(41, 59, 20), "has no value between 41 and 59"),
    (tune.grid_search(7), "expected values to list"),
]


@pytest.mark.parametrize(("values", "said"), NO_DIMENSION, ids=lambda one: str(one)[:30])
def test_what_cannot_be_searched_is_refused(values: Any, said: str) -> None:  # noqa: ANN401 - anything
    with pytest.raises(InputError, match=said):
        dimension_of("x", values)


BAD_VALUES: Final[list[tuple[Any, Any]]] = [
    (tune.qlograndint(30, 200, 10), 55),
    (tune.qlograndint(30, 200, 10), 20),
    (tune.qlograndint(30, 200, 10), 210),
    (tune.qlograndint(30, 200, 10), True),
    (tune.qlograndint(30, 200, 10), "30"),
    (tune.qlograndint(30, 200, 10), None),
    (tune.qlograndint(30, 200, 10), float("nan")),
    (tune.randint(3, 9), 9),
    (tune.randint(3, 9), 3.5),
    (tune.uniform(0.0, 1.0), float("inf")),
    (tune.choice(["a", "b"]), "c"),
    (tune.choice(["a", "b"]), ["a"]),
    (tune.choice([{"a": 1}]), {"a": 2}),
]


@pytest.mark.parametrize(("values", "value"), BAD_VALUES, ids=lambda one: str(one)[:30])
def test_a_value_that_an_axis_does_not_have_is_refused(values: Any, value: Any) -> None:  # noqa: ANN401 - anything
    with pytest.raises(InputError, match="axis x is searched over"):
        dimension_of("x", values).parameter(value)


def test_dimensions_in_words() -> None:
    assert str(dimension_of("x", tune.qlograndint(30, 200, 10))) == "30..200 by 10, log"
    assert str(dimension_of("x", tune.choice(["a", 1, {"b": 2}]))) == 'a, 1, {"b": 2}'
    assert str(Dimension("x", low=0.5, high=2.0)) == "0.5..2"


# --- the arena's own axes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["smoke", "standard", "paper"])
@pytest.mark.parametrize("task", list(TASKS))
def test_every_arena_can_be_searched(task: str, size: SizeName) -> None:
    sweep = TASKS[task]  # type: ignore[index]
    plan = plan_sweep(sweep, size, sweep.at(size), SweepOptions(name="x", search="adaptive", confirmed=True))
    assert plan.num_trials > len(sweep.at(size).arms)
    for arm in plan.design.attacks():
        trial = trial_at(plan.design, {"arm": arm})
        assert trial.spoof.interval == trial.train.interval, "k is the verifier's"
        assert trial.spoof.steps <= trial.train.steps


@given(steps=st.integers(8, 400), interval=st.integers(1, 50))
def test_the_arena_around_any_proof_can_be_searched(steps: int, interval: int) -> None:
    if -(-steps // interval) < 8:
        return
    recipe = Recipe(dataset="digits", dataset_sha256="", model="m", steps=steps, interval=interval, batch_size=64)
    at = lengths_of(recipe, 1437)
    design = TASKS["digits"].smoke
    arms = contenders(at)
    for arm in arms.values():
        found = dimensions_of(arm.searched)
        for first in arm.first:
            for axis, value in first.items():
                found[axis].parameter(value)
    for length in (at.declared, at.low, at.high, at.searching, at.searching_high):
        assert length % interval == 0
        assert 4 * interval <= length <= steps or length == steps // interval * interval
    assert design.arms.keys() == arms.keys()


def test_a_first_point_that_is_not_searched_is_refused() -> None:
    from dataclasses import replace

    design = TASKS["digits"].smoke
    arm = design.arms["null"]
    for first, said in (
        ({"no_such": 1}, "no_such of a first point is not searched"),
        ({"steps": 55}, "axis steps is searched over"),
        ({"spoof.declares": "none"}, "axis spoof.declares is searched over"),
    ):
        asked = replace(design, arms={"null": replace(arm, first=(first,))})
        with pytest.raises(InputError, match=said):
            check_space(asked, "adaptive")
        check_space(asked, "random")
