"""Scores: normalised errors, removed share, and the conditions of success one by one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.distances import METRICS, Distances
from raypol.core.scoring import Measurements, judge_success, largest, mean, overall_removed_share, removed_share


def alike(value: float) -> Distances:
    return Distances(value, value, value, value)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8))
def test_largest_and_mean_are_per_metric(values: list[float]) -> None:
    rows = [Distances(v, 2 * v, 3 * v, 0.0) for v in values]
    assert largest(rows) == Distances(max(values), 2 * max(values), 3 * max(values), 0.0)
    assert mean(rows).l1 == pytest.approx(math.fsum(values) / len(values), rel=1e-12)
    assert mean(rows).cos == 0.0


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_does_not_hide(at: int, bad: float) -> None:
    rows = [alike(1.0)] * 3
    rows[at] = Distances(1.0, bad, 1.0, 1.0)
    assert not math.isfinite(largest(rows).l2)
    assert not math.isfinite(mean(rows).l2)
    assert largest(rows).l1 == mean(rows).l1 == 1.0


def test_of_nothing_nothing_is_known() -> None:
    for found in (largest([]), mean([]), overall_removed_share([])):
        assert all(math.isnan(found[metric]) for metric in METRICS)


@pytest.mark.parametrize(
    ("control", "attack", "jump", "share"),
    [
        (3.0, 3.0, 1.0, 0.0),  # no better than null
        (3.0, 1.0, 1.0, 1.0),  # as good as no update at all
        (3.0, 2.0, 1.0, 0.5),
        (3.0, 4.0, 1.0, -0.5),  # worse than null
        (3.0, 0.0, 1.0, 1.5),  # better than standing still
        (1.0, 1.0, 1.0, math.nan),  # nothing to remove
        (1.0, 1.0, 2.0, math.nan),
    ],
)
def test_removed_share(control: float, attack: float, jump: float, share: float) -> None:
    for found in (
        removed_share(alike(control), alike(attack), alike(jump)),
        overall_removed_share([(alike(control), alike(attack), alike(jump))] * 3),
    ):
        assert all(found[m] == pytest.approx(share, nan_ok=True) for m in METRICS)


def test_an_interval_where_null_and_jump_nearly_agree_does_not_rule_the_whole() -> None:
    ordinary = (alike(2.0), alike(1.5), alike(1.0))
    odd = (alike(1.0 + 1e-9), alike(0.9), alike(1.0))
    assert removed_share(*odd).l2 > 1e7
    assert overall_removed_share([ordinary] * 9 + [odd]).l2 == pytest.approx(0.511, abs=1e-3)


PROOF = Measurements(error=alike(1.0), device_s=10.0, size_bytes=1000)
CONDITIONS = ["error_l1", "error_l2", "error_linf", "error_cos", "time", "size"]


def test_a_spoof_that_is_better_in_everything_succeeds_and_names_its_closest_condition() -> None:
    found = judge_success(
        Measurements(error=alike(0.5), device_s=9.0, size_bytes=100), PROOF, accepted=True, rejected_by=""
    )
    assert found.is_success
    assert list(found.ratios) == CONDITIONS
    assert found.bound_by == "time"


@pytest.mark.parametrize("worse", CONDITIONS)
@pytest.mark.parametrize("value", [1.0, 2.0, math.nan, math.inf])
def test_each_condition_alone_is_enough_to_fail(worse: str, value: float) -> None:
    error = Distances(**{m: value if worse == f"error_{m}" else 0.5 for m in METRICS})
    size = 500 if worse != "size" else 1000
    spoof = Measurements(error=error, device_s=10.0 * value if worse == "time" else 5.0, size_bytes=size)
    found = judge_success(spoof, PROOF, accepted=True, rejected_by="")
    assert not found.is_success
    assert found.failed == (worse,)
    assert found.bound_by == worse


@pytest.mark.parametrize("value", [0.0, math.nan])
@pytest.mark.parametrize("name", ["error_l2", "time"])
def test_a_proof_that_gives_no_measure_is_not_beaten(name: str, value: float) -> None:
    error = Distances(1.0, value if name == "error_l2" else 1.0, 1.0, 1.0)
    proof = Measurements(error=error, device_s=value if name == "time" else 10.0, size_bytes=1000)
    found = judge_success(
        Measurements(error=alike(0.5), device_s=5.0, size_bytes=500), proof, accepted=True, rejected_by=""
    )
    assert found.failed == (name,)
    assert found.ratios[name] == math.inf


def test_all_that_failed_is_named_the_verdict_first() -> None:
    spoof = Measurements(error=alike(2.0), device_s=50.0, size_bytes=5000)
    found = judge_success(spoof, PROOF, accepted=False, rejected_by="replay")
    assert found.bound_by == ",".join(["rejected:replay", *CONDITIONS])
    assert found.ratios == {**dict.fromkeys(CONDITIONS[:4], 2.0), "time": 5.0, "size": 5.0}


def test_a_rejected_spoof_fails_by_the_checks_that_rejected_it() -> None:
    spoof = Measurements(error=alike(0.5), device_s=5.0, size_bytes=500)
    found = judge_success(spoof, PROOF, accepted=False, rejected_by="replay,hashes")
    assert found.failed == ("rejected:replay", "rejected:hashes")
    assert found.bound_by == "rejected:replay,rejected:hashes"


def test_nothing_is_better_than_an_exact_proof() -> None:
    exact = Measurements(error=alike(0.0), device_s=10.0, size_bytes=1000)
    found = judge_success(
        Measurements(error=alike(0.0), device_s=1.0, size_bytes=1), exact, accepted=True, rejected_by=""
    )
    assert not found.is_success
    assert found.failed == ("error_l1", "error_l2", "error_linf", "error_cos")
