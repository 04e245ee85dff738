"""Cost against error: every trial is a marker, the front is what no other beats, controls are named as such."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.figures import save
from raypol.figures.cost_against_error import front_of
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import (
    ATTACKS,
    assert_well_laid,
    assert_words_apart,
    honest_row,
    judged,
    legend,
    lines,
    row,
    words,
    xy,
)


def at(arm: str, cost: float | None, error: float | None, **changes: Any) -> TrialRow:  # noqa: ANN401
    """A spoof with this ratio of times, and of errors in l2; the other errors are smaller."""
    ratios = {f"ratio_error_{m}": error if m == "l2" or error is None else error / 2 for m in METRICS}
    name = f"{arm}{cost}{error}"
    return judged(arm, 60, trial_id=name, ratio_time=cost, **{**ratios, **changes})


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


@given(points)
def test_the_front_is_what_no_other_point_beats(some: list[tuple[int, int]]) -> None:
    front = front_of(some)
    beaten = {p for p in some if any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in some)}
    assert set(front) == set(some) - beaten
    assert front == sorted(front)


def test_markers_lie_at_time_and_largest_error() -> None:
    figure = save.cost_against_error([honest_row(), at("II", 0.5, 0.4), at("II", 2.0, 0.1, success=False)])
    (ax,) = figure.axes
    assert xy(lines(ax, "II:filled")[0]) == ([0.5], [0.4])
    assert xy(lines(ax, "II:hollow")[0]) == ([2.0], [0.1])
    assert ax.get_xlabel() == "generation time in device seconds (proof's = 1)"
    assert ax.get_ylabel() == "largest of the four errors (proof's = 1)"
    assert [xy(line) for line in lines(ax, "honest")] == [([1.0, 1.0], [0, 1]), ([0, 1], [1.0, 1.0])]
    assert_well_laid(figure)


def test_one_metric_alone() -> None:
    ax = save.cost_against_error([honest_row(), at("II", 0.5, 0.4)], error="l1").axes[0]
    assert xy(lines(ax, "II:filled")[0]) == ([0.5], [0.2])
    assert ax.get_ylabel() == "error, l1 (proof's = 1)"
    with pytest.raises(InputError, match="unknown error 'l3'; possible: cos, l1, l2, largest, linf"):
        save.cost_against_error([], error="l3")  # type: ignore[arg-type]


def test_two_fronts_all_and_what_strict_accepts() -> None:
    rows = [at("null", 0.1, 0.9), at("II", 0.5, 0.4), at("III", 0.6, 0.5), at("forged_momentum", 0.05, 0.3)]
    rows[-1] = at("forged_momentum", 0.05, 0.3, accepted_strict=False, success_strict=False)
    figure = save.cost_against_error([honest_row(), *rows])
    ax = figure.axes[0]
    assert {0.05, 0.3} <= {*xy(lines(ax, "front")[0])[0], *xy(lines(ax, "front")[0])[1]}
    xs, ys = xy(lines(ax, "front strict")[0])
    assert (xs[1:-1], ys[1:-1]) == ([0.1, 0.5], [0.9, 0.4])
    assert "On the strict front (time, error): null at T' = 60 (0.1, 0.9); II at T' = 60 (0.5, 0.4)." in words(figure)
    assert {"null (control)", "II", "forged_momentum"} <= set(legend(figure))
    assert len(lines(ax, "forged_momentum:strike")) == 1


def test_an_error_far_below_the_others_lies_in_a_strip() -> None:
    rows = [at(arm, 0.1 * i, 0.5) for i, arm in enumerate(ATTACKS, 1)] + [at("forged_momentum", 0.01, 1e-6)]
    figure = save.cost_against_error([honest_row(), *rows])
    ax = figure.axes[0]
    assert ax.get_ylim()[0] > 0.01
    assert "1e-6" in [text.get_text() for text in ax.texts]
    assert_words_apart(ax)
    assert_well_laid(figure)


def test_without_a_proof_the_axes_are_absolute() -> None:
    figure = save.cost_against_error([row("II")])
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "generation time (device s)",
        "normalised error, l2 (unit: d_ref)",
    )
    (x,), (y,) = xy(lines(ax, "II:filled")[0])
    assert (x, y) == pytest.approx((0.6, 2.0 / 60))
    assert "axes are absolute" in words(figure)


def test_simulated_and_estimated_trials_bear_rings() -> None:
    figure = save.cost_against_error([honest_row(), at("II", 0.5, 0.4, simulated=True), at("II", 0.7, 0.4)])
    assert xy(lines(figure.axes[0], "II:ring")[0]) == ([0.5], [0.4])
    assert "Simulated" in words(figure)


BAD: dict[str, tuple[list[TrialRow], str]] = {
    "nothing": ([], "Missing: spoofs"),
    "honest alone": ([honest_row()], "Missing: spoofs"),
    "only errors": ([honest_row(status="error"), at("II", 1.0, 1.0, status="error")], "Left out, 2 of 2 rows"),
    "one": ([honest_row(), at("II", 0.5, 0.4)], "A marker per trial"),
    "None": ([honest_row(), at("II", 0.5, None), at("null", 0.5, 0.4)], "Without a value, not drawn: II at T' = 60."),
    "NaN": (
        [honest_row(), at("II", math.nan, 0.5), at("null", 0.5, 0.4)],
        "Without a value, not drawn: II at T' = 60.",
    ),
    "infinite": ([honest_row(), at("II", 0.5, math.inf), at("null", math.inf, 0.4)], "drawn at the edge: null."),
    "zero": ([honest_row(), at("II", 0.0, 0.5), at("null", 0.5, 0.0)], "drawn at the edge: II."),
    "all infinite": ([honest_row(), at("II", math.inf, math.inf)], "drawn at the edge: II"),
    "foreign names": ([honest_row(), at("_my $attack$ {x}", 0.5, 0.4), at("", 0.2, 0.4)], "A marker per trial"),
    "long names": (
        [honest_row(), *(at(f"own {i} " * 12, 0.1 * i + 0.1, 0.4) for i in range(12))],
        "A marker per trial",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_draw_and_say_what_is_missing(case: str) -> None:
    rows, told = BAD[case]
    figure = save.cost_against_error(rows)
    assert told in words(figure)
    assert_well_laid(figure)


def test_ten_thousand_trials_draw_soon(tmp_path: Path) -> None:
    rows = [at(ATTACKS[i % 8], 0.001 * i + 0.01, 10.0 / (i + 1), seed=i) for i in range(10_000)]
    begun = time.process_time()
    save.save_figure(save.cost_against_error([honest_row(), *rows]), tmp_path / "x", kinds=("png",))
    assert time.process_time() - begun < 5.0
