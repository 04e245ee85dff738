"""Error over training: the curves are those of the intervals, thresholds are divided by the d_ref of the rows themselves."""

import math
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.axes import Axes

from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.verification.thresholds import Thresholds
from raypol.figures import save
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import (
    ATTACKS,
    assert_well_laid,
    demo_rows,
    honest_row,
    interval_rows,
    legend,
    lines,
    row,
    said,
    words,
    xy,
)

RELATIVE: dict[str, Any] = {"threshold_kind": "relative", **{f"threshold_{m}": 0.1 for m in METRICS}}
DYNAMIC: dict[str, Any] = RELATIVE | {"threshold_kind": "dynamic", "threshold_late": 0.25}


def two(**changes: Any) -> list[TrialRow]:  # noqa: ANN401
    return [honest_row(**RELATIVE | changes), row("II", **RELATIVE | changes)]


def heights(ax: Axes, gid: str) -> dict[float, float]:
    (line,) = lines(ax, gid)
    return dict(zip(*xy(line), strict=True))


def test_four_panels_with_the_errors_of_proof_and_spoof() -> None:
    rows = two()
    figure = save.error_over_training(interval_rows(rows), rows)
    assert [ax.get_ylabel() for ax in figure.axes] == [f"normalised error, {m} (unit: d_ref)" for m in METRICS]
    for ax in figure.axes:
        assert "fraction of steps" in ax.get_xlabel()
        assert heights(ax, "II")[0.5] == pytest.approx(2.0 / 60 * 1.0)
        assert len(heights(ax, "II")) == 6
        assert heights(ax, "honest")[1.0] == pytest.approx(0.05 * 0.5)
    assert {"honest proof", "II", "threshold that judged: relative"} <= set(legend(figure))
    assert "divided by d_ref" in words(figure)
    assert_well_laid(figure)


def test_the_threshold_that_judged_and_the_other_kind() -> None:
    rows = two()
    ax = save.error_over_training(interval_rows(rows), rows, metrics=["l2"]).axes[0]
    judged = list(heights(ax, "judged").values())
    assert (min(judged), max(judged)) == pytest.approx((0.1, 0.1))
    other = heights(ax, "other rule")
    late = Thresholds().late
    assert other[1.0] == pytest.approx(0.1 * late)
    assert other[0.5] == pytest.approx(0.1 * (1 + late) / 2)


def test_a_dynamic_threshold_falls_and_the_constant_one_is_beside_it() -> None:
    rows = two(**DYNAMIC)
    figure = save.error_over_training(interval_rows(rows, late=0.25), rows, metrics=["l1"])
    ax = figure.axes[0]
    assert heights(ax, "judged")[1.0] == pytest.approx(0.1 * 0.25)
    other = list(heights(ax, "other rule").values())
    assert (min(other), max(other)) == pytest.approx((0.1, 0.1))
    assert {"threshold that judged: dynamic", "for comparison: constant"} <= set(legend(figure))
    assert "dynamic l1=0.1 l2=0.1 linf=0.1 cos=0.1 late=0.25" in words(figure)


def test_a_dynamic_threshold_that_does_not_say_how_it_falls_stands_alone() -> None:
    rows = two(**DYNAMIC | {"threshold_late": None})
    ax = save.error_over_training(interval_rows(rows, late=0.25), rows, metrics=["l1"]).axes[0]
    assert lines(ax, "judged")
    assert not lines(ax, "other rule")


def test_seeds_become_a_median_and_a_band() -> None:
    rows = [honest_row(), *(row("II", seed=i, trial_id=f"t{i}", error_l1=e) for i, e in enumerate([0.01, 0.02, 0.04]))]
    figure = save.error_over_training(interval_rows(rows), rows, metrics=["l1"])
    assert heights(figure.axes[0], "II")[0.5] == pytest.approx(0.02)
    assert len(figure.axes[0].collections) == 1
    assert "Several rows: their median" in words(figure)


def test_the_length_that_most_arms_have_is_shown_and_another_can_be_asked_for() -> None:
    rows = [*demo_rows(), row("II", 400)]
    default = save.error_over_training(interval_rows(rows), rows, metrics=["l1"])
    assert "T' = 120" in words(default)
    assert set(ATTACKS) <= set(legend(default))
    asked = save.error_over_training(interval_rows(rows), rows, metrics=["l1"], steps=400)
    assert "T' = 400" in words(asked)
    assert "II" in legend(asked)
    assert "No row with status ok at T' = 400: null" in words(asked)


def test_what_is_far_below_the_thresholds_is_counted_and_named() -> None:
    rows = [honest_row(), *(row(arm) for arm in ATTACKS)]
    figure = save.error_over_training(interval_rows(rows), rows, metrics=["l1"])
    assert said(figure.axes[0], "beyond") == "6 below the axis (forged_momentum)"
    assert figure.axes[0].get_ylim()[0] > 1e-4
    assert_well_laid(figure)


def test_an_arm_below_most_axes_is_below_all() -> None:
    tiny: dict[str, Any] = {**dict.fromkeys(("error_l1", "error_l2", "error_cos"), 1e-7), "error_linf": 5e-4}
    rows = [honest_row(), *(row(arm) for arm in ATTACKS[:2]), row("fake", **tiny)]
    figure = save.error_over_training(interval_rows(rows), rows)
    assert [said(ax, "beyond") for ax in figure.axes] == ["6 below the axis (fake)"] * 4


def test_arms_of_equal_error_take_turns_on_one_line() -> None:
    rows = [honest_row(), row("null"), row("II"), row("III-loss", error_l1=0.3)]
    figure = save.error_over_training(interval_rows(rows), rows, metrics=["l1"])
    ax = figure.axes[0]
    assert [lines(ax, arm)[0].get_linestyle() for arm in ("null", "II", "III-loss")] == ["--", "--", "-"]
    shown = [lines(ax, f"{arm}:markers")[0] for arm in ("null", "II")]
    places = [line.get_transform().transform((0.5, 0.1))[0] for line in shown]
    assert places[1] - places[0] == pytest.approx(5.0 / 72.0 * ax.figure.dpi)
    assert "share a line in the colours of all" in words(figure)


@pytest.mark.parametrize("metrics", [[], ["l3"], ["l1", "L2"]])
def test_unknown_metrics_are_refused(metrics: list[Any]) -> None:
    with pytest.raises(InputError, match="expected metrics among l1, l2, linf, cos"):
        save.error_over_training([], [], metrics=metrics)


def test_several_datasets_have_panels_each() -> None:
    rows = two() + [replace(r, dataset="cifar10", trial_id=f"c{r.trial_id}") for r in two()]
    figure = save.error_over_training(interval_rows(rows), rows)
    assert len(figure.axes) == 8
    assert "cifar10, resnet8" in words(figure)
    assert_well_laid(figure)


NONE: dict[str, Any] = {"distance": None, "normalised": None, "threshold": None}
BAD: dict[str, tuple[list[TrialRow], dict[str, Any], str]] = {
    "nothing": ([], {}, "No trials"),
    "no honest row": ([row("II")], {}, "Missing: an honest row"),
    "honest alone": ([honest_row()], {}, "Spoofs: missing"),
    "only errors": ([row("II", status="error"), honest_row(status="error")], {}, "Missing: an honest row"),
    "no values": (two(), NONE, "Missing intervals: honest; II"),
    "NaN": (two(), dict.fromkeys(NONE, math.nan), "Missing intervals: honest; II"),
    "infinite": (two(), {"distance": math.inf, "normalised": math.inf}, "Missing: thresholds in units of d_ref"),
    "exact replay": (two(), {"distance": 0.0, "normalised": 0.0}, "Missing: thresholds in units of d_ref"),
    "no threshold": (two(), {"threshold": None}, "Missing: thresholds"),
    "foreign names": ([honest_row(), row("_my $attack$ {x}"), row("long " * 30)], {}, "digits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_draw_and_say_what_is_missing(case: str) -> None:
    rows, changes, told = BAD[case]
    figure = save.error_over_training([{**cell, **changes} for cell in interval_rows(rows)], rows)
    assert told in words(figure)
    assert_well_laid(figure)


def test_intervals_of_other_trials_are_passed_over() -> None:
    rows = two()
    figure = save.error_over_training(interval_rows([row("II", trial_id="another")]), rows)
    assert "Missing intervals: honest; II." in words(figure)
