"""Samples of intervals: what they show about the whole, and that they are the whole's own."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.core.errors import InputError
from raypol.core.proof import OptimizerConfig, Recipe
from raypol.core.spoofing.declarations import declared_rule
from raypol.core.spoofing.sampling import beyond, draw_intervals, lead_in
from raypol.core.spoofing.spoof_config import SpoofConfig


def recipe(interval: int, optimizer: OptimizerConfig) -> Recipe:
    return Recipe(
        dataset="d", dataset_sha256="", model="m", steps=1000, interval=interval, batch_size=8, optimizer=optimizer
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 500), st.data())
def test_a_sample_has_the_first_interval_and_others_once_each(num: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, num))
    drawn = draw_intervals(num, count, seed=data.draw(st.integers(0, 100)))
    assert drawn[0] == 0
    assert list(drawn) == sorted(set(drawn))
    assert (len(drawn), max(drawn) < num) == (count, True)
    assert draw_intervals(num, count, 7) == draw_intervals(num, count, 7)


def test_every_other_interval_is_drawn_equally_often() -> None:
    counts = np.zeros(12)
    for seed in range(3000):
        counts[list(draw_intervals(12, 4, seed))] += 1
    assert counts[0] == 3000
    expected = 3000 * 3 / 11
    assert np.abs(counts[1:] - expected).max() < 5 * math.sqrt(expected)


@pytest.mark.parametrize(("num", "count"), [(5, 1), (5, 6), (1, 2)])
def test_a_sample_that_cannot_be_drawn_is_refused(num: int, count: int) -> None:
    with pytest.raises(InputError, match="expected a sample of"):
        draw_intervals(num, count, 0)


@pytest.mark.parametrize(("num", "count"), [(2, 2), (10, 2), (10, 9), (40, 10), (781, 30), (781, 781)])
def test_the_bound_is_the_least_that_holds_at_its_confidence(num: int, count: int) -> None:
    def missed(j: int) -> float:
        """Probability that more than j exceed the sample's largest: none of the j + 1 largest others is drawn."""
        others, drawn = num - 1, count - 1
        return math.comb(max(others - j - 1, 0), drawn) / math.comb(others, drawn) if others - j - 1 >= drawn else 0.0

    j = beyond(num, count)
    assert missed(j) <= 0.05
    assert j == 0 or missed(j - 1) > 0.05


def test_the_bound_is_kept_as_often_as_it_says() -> None:
    num, count, runs = 60, 12, 2000
    errors = np.random.default_rng(0).lognormal(size=num)
    j = beyond(num, count)
    broken = sum((errors > errors[list(draw_intervals(num, count, seed))].max()).sum() > j for seed in range(runs))
    assert broken / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert broken > 0, "the bound is not idle"


@pytest.mark.parametrize(
    ("carry", "interval", "optimizer", "lead"),
    [
        ("restart", 10, OptimizerConfig(), 0),
        ("exact", 10, OptimizerConfig(name="Adagrad", options={"lr": 0.1, "initial_accumulator_value": 1e16}), 0),
        ("exact", 10, OptimizerConfig(options={"lr": 0.1, "momentum": 0.0}), 0),
        ("exact", 100, OptimizerConfig(), 1),
        ("exact", 10, OptimizerConfig(), 5),  # 0.9^44 = 0.0097
        ("exact", 500, OptimizerConfig(name="Adam", options={"lr": 0.1}), 10),  # 0.999^4603 = 0.01
    ],
)
def test_a_carried_state_is_brought_up_until_it_has_forgotten(
    carry: str, interval: int, optimizer: OptimizerConfig, lead: int
) -> None:
    spoof = SpoofConfig(steps=1000, interval=interval, carry=carry)  # type: ignore[arg-type]
    assert lead_in(recipe(interval, optimizer), spoof, forges_state=False) == lead
    assert lead_in(recipe(interval, optimizer), spoof, forges_state=True) == 0


@pytest.mark.parametrize(
    ("interval", "optimizer"),
    [
        (4, OptimizerConfig()),
        (10, OptimizerConfig(name="Adam", options={"lr": 0.1})),
        (900, OptimizerConfig(name="Rprop")),
    ],
)
def test_an_optimizer_that_remembers_for_long_is_refused(interval: int, optimizer: OptimizerConfig) -> None:
    spoof = SpoofConfig(steps=1000, interval=interval, carry="exact")
    with pytest.raises(InputError, match="forgets within 10 intervals"):
        lead_in(recipe(interval, optimizer), spoof, forges_state=False)


@pytest.mark.parametrize(("interval", "lead"), [(10, 5), (50, 1), (2, 22)])
def test_exact_statistics_are_brought_up_as_far_as_norm_layers_remember(interval: int, lead: int) -> None:
    spoof = SpoofConfig(steps=1000, interval=interval, buffers="exact", declares="no_momentum")
    declared = declared_rule(recipe(interval, OptimizerConfig()), "no_momentum")
    assert lead_in(declared, spoof, forges_state=False) == lead
    assert lead_in(declared, replace(spoof, buffers="linear"), forges_state=False) == 0
