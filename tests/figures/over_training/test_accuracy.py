"""Accuracy over training: the curves are those of the rows, of one T', and what is missing is named."""

import math
from dataclasses import asdict

import pytest

from raypol.core.distances import METRICS
from raypol.figures import save
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import (
    ATTACKS,
    accuracies,
    assert_well_laid,
    demo_rows,
    honest_row,
    legend,
    lines,
    row,
    words,
    xy,
)


def test_accuracy_of_the_longest_spoofs_and_the_proof() -> None:
    rows = demo_rows()
    figure = save.accuracy_over_progress(accuracies(rows), rows)
    (ax,) = figure.axes
    assert ax.get_ylabel() == "test accuracy (%)"
    assert "t/T (proof) or t/T' (spoofs)" in ax.get_xlabel()
    assert "fraction of steps" in ax.get_xlabel()
    x, y = xy(lines(ax, "honest")[0])
    assert (len(x), x[-1]) == (100, 1.0)
    assert y[-1] == pytest.approx(90.0)
    for arm in ATTACKS:
        (line,) = lines(ax, arm)
        assert xy(line)[0] == pytest.approx([i / 6 for i in range(1, 7)])
        assert xy(line)[1] == pytest.approx([15.0 * i for i in range(1, 7)])
    assert legend(figure)[0] == "honest proof"
    assert set(ATTACKS) <= set(legend(figure))
    assert "T' = 120, k = 20" in words(figure)
    assert_well_laid(figure)


def test_interval_rows_do_as_well_as_dictionaries() -> None:
    trial = row("II")
    intervals = [
        IntervalRow(
            sweep_id="s",
            trial_id=trial.trial_id,
            proof_id="p",
            step_from=stop - 10,
            step_to=stop,
            metric=m,
            distance=0.0,
            normalised=0.0,
            threshold=0.0,
            passed=True,
            movement=0.0,
            control=None,
            removed_share=None,
            state_distance=0.0,
            buffer_distance=0.0,
            accuracy=stop / 60,
            loss=0.0,
        )
        for stop in range(10, 61, 10)
        for m in METRICS
    ]
    one = save.accuracy_over_progress(intervals, [trial])
    two = save.accuracy_over_progress([asdict(interval) for interval in intervals], [trial])
    assert xy(lines(one.axes[0], "II")[0]) == xy(lines(two.axes[0], "II")[0])
    assert len(xy(lines(one.axes[0], "II")[0])[0]) == 6


def test_lines_on_top_of_each_other_take_turns() -> None:
    rows = [row("II"), row("null"), row("III-loss")]
    cells = accuracies(rows)
    for cell in cells:
        if cell["trial_id"].startswith("III-loss"):
            cell["accuracy"] /= 2
    ax = save.accuracy_over_progress(cells, rows).axes[0]
    assert [lines(ax, arm)[0].is_dashed() for arm in ("II", "null", "III-loss")] == [True, True, False]


def test_seeds_become_a_median_over_progress() -> None:
    rows = [row("II", trial_id=f"t{i}", seed=i) for i in range(3)]
    cells = [{"trial_id": f"t{i}", "step_to": 60, "accuracy": a} for i, a in enumerate([0.2, 0.5, 0.9])]
    figure = save.accuracy_over_progress(cells, rows)
    assert xy(lines(figure.axes[0], "II")[0]) == ([1.0], [50.0])
    assert "Several rows: their median" in words(figure)


@pytest.mark.parametrize(
    ("rows", "known", "said"),
    [
        ([], [], "No trials"),
        (demo_rows(), [], "Missing accuracies: honest"),
        ([row("II")], [row("II")], "Missing: an honest row"),
        ([honest_row()], [honest_row()], "Spoofs: missing"),
        ([honest_row(), row("II"), row("III-loss", status="error")], [honest_row(), row("II")], "at T' = 60: III-loss"),
        ([honest_row(status="error"), row("II", status="error")], [], "Missing: an honest row"),
    ],
    ids=["nothing", "no intervals", "no honest row", "honest alone", "an error", "only errors"],
)
def test_accuracies_that_are_missing_are_named(rows: list[TrialRow], known: list[TrialRow], said: str) -> None:
    figure = save.accuracy_over_progress(accuracies(known), rows)
    assert said in words(figure)
    assert_well_laid(figure)


def test_an_accuracy_that_is_no_number_is_passed_over() -> None:
    rows = [row("II")]
    cells = accuracies(rows)
    cells[0]["accuracy"], cells[1]["accuracy"] = None, math.nan
    assert len(xy(lines(save.accuracy_over_progress(cells, rows).axes[0], "II")[0])[0]) == 4
