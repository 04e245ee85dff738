"""Success ranges from rows: ends, holes, seeds, and what binds."""

from collections.abc import Sequence
from typing import Any

import pytest

from raypol.figures.series import by_variant
from raypol.figures.six_panels.success_ranges import ArmRange, Segment, arm_ranges, say_conditions
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import row
from tests.figures.six_panels.test_figure import range_row

TIME = "time"


def tried(steps: int, *outcomes: bool, by: str = TIME, **changes: Any) -> list[TrialRow]:  # noqa: ANN401
    """Rows of II at one T', a seed each."""
    return [
        row("II", steps, seed=seed, success=won, bound_by="size" if won else by, **changes)
        for seed, won in enumerate(outcomes)
    ]


def ranges_of(rows: list[TrialRow], ranges: Sequence[RangeRow] = ()) -> list[ArmRange]:
    return arm_ranges(by_variant(rows).spoofs, ranges)


def parts(rows: list[TrialRow]) -> list[tuple[float, float, bool]]:
    (span,) = ranges_of(rows)
    return [(segment.low, segment.high, segment.whole) for segment in span.segments]


@pytest.mark.parametrize(
    ("outcomes", "segments"),
    [
        ({10: [True]}, [(10, 10, True)]),
        ({10: [False]}, []),
        ({10: [True], 20: [True], 30: [True]}, [(10, 30, True)]),
        ({10: [False], 20: [True], 30: [False]}, [(20, 20, True)]),
        ({10: [True], 20: [False], 30: [True], 40: [True]}, [(10, 10, True), (30, 40, True)]),
        ({10: [True, False], 20: [True, True], 30: [True, True]}, [(10, 20, False), (20, 30, True)]),
        ({10: [True, False], 20: [False, False]}, [(10, 10, False)]),
    ],
)
def test_segments_join_neighbours_that_succeed(
    outcomes: dict[int, list[bool]], segments: list[tuple[float, float, bool]]
) -> None:
    assert parts([one for steps, some in outcomes.items() for one in tried(steps, *some)]) == segments


def test_the_conditions_of_most_failures_bind() -> None:
    below = [*tried(10, False, by="error_l1"), *tried(10, False, False, by="error_linf,time")]
    (span,) = ranges_of([*below, *tried(20, True), *tried(30, False, by="size")])
    assert (span.below, span.above) == ("error_linf, time", "size")
    assert list(span.uncertain) == [(10, 20), (20, 30)]
    assert span.ends == (20, 20)


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ({10: "error_l1,error_l2", 50: "time", 90: "time,size"}, "time at T' = 50"),
        ({10: "time", 50: "error_l1", 90: "time,size"}, "error_l1 at T' = 50"),
        ({10: "", 50: "time,size"}, "time, size at T' = 50"),
        ({1_000: ""}, "not recorded at T' = 1,000"),
    ],
)
def test_without_success_the_length_that_comes_closest_is_told(failures: dict[int, str], said: str) -> None:
    (span,) = ranges_of([one for steps, by in failures.items() for one in tried(steps, False, by=by)])
    assert span.below == said


def test_trials_stopped_early_are_not_the_closest() -> None:
    (span,) = ranges_of([*tried(10, False, by="error", status="stopped"), *tried(5, False, by="time,size")])
    assert span.below == "time, size at T' = 5"


@pytest.mark.parametrize("changes", [{"status": "error"}, {"success": None}, {"status": "error", "success": False}])
def test_rows_without_a_verdict_decide_nothing(changes: dict[str, Any]) -> None:
    rows = [*tried(20, True), row("II", 10, **{"success": True, **changes})]
    (span,) = ranges_of(rows)
    assert span.segments == (Segment(low=20, high=20, whole=True),)
    assert span.below == "smallest T' tried"
    assert ranges_of([row("II", 10, **{"success": True, **changes})]) == []


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ("time", "time"),
        ("error_l1,error_l2,error_linf,error_cos", "all errors"),
        ("rejected:optimizer_state,error_l1,time,size", "rejected by optimizer_state, error_l1, time, size"),
        ("error_l2,error_cos,time", "error_l2/cos, time"),
        ("error", "error"),
        ("", "not recorded"),
        (",,", "not recorded"),
        ("failed", "failed"),
    ],
)
def test_conditions_in_words(conditions: str, said: str) -> None:
    assert say_conditions(conditions) == said


def test_a_search_that_found_nothing_says_where_it_looked() -> None:
    (span,) = ranges_of(tried(20, True), [range_row("II", low=None, high=None)])
    assert span.ends is None
    assert span.below == "5 to 160 searched"


def test_ranges_of_the_strict_verifier_are_passed_over() -> None:
    (span,) = ranges_of(tried(20, True), [range_row("II", low=40.0, high=80.0, policy="strict")])
    assert not span.searched
    assert span.ends == (20, 20)


def test_ranges_of_one_arm_are_named_by_what_varies() -> None:
    axes = ('{"attack.alpha": 0.1, "interval": 5}', '{"attack.alpha": 1.0, "interval": 5}', "no JSON", "[]")
    spans = arm_ranges({}, [range_row("III", low=40.0, high=80.0, axes=text) for text in axes[:2]])
    assert [span.arm for span in spans] == ["III, alpha 0.1", "III, alpha 1.0"]
    assert [span.arm for span in arm_ranges({}, [range_row("III", low=40.0, high=80.0, axes=axes[2])])] == ["III"]
    assert [span.arm for span in arm_ranges({}, [range_row("III", low=40.0, high=80.0, axes=axes[3])])] == ["III"]


def test_rows_of_one_seed_in_the_ranges_are_no_ranges_of_the_arm() -> None:
    assert arm_ranges({}, [range_row("II", low=40.0, high=80.0, seed=3)]) == []
