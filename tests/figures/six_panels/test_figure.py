"""The six panels: what is on the axes is what is in the rows, and what is missing is said. No picture is compared."""

import itertools
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from raypol.core.distances import METRICS
from raypol.figures import save
from raypol.figures.style.arms import style_of
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import (
    ATTACKS,
    POINTS,
    assert_well_laid,
    assert_words_apart,
    demo_rows,
    fills,
    honest_row,
    interval_rows,
    judged,
    legend,
    lines,
    row,
    said,
    words,
    xy,
)


def panels(figure: Figure) -> list[Axes]:
    found = [ax for ax in figure.axes if ax.get_title(loc="left").startswith("(")]
    assert len(found) == 6
    return found


def strip(figure: Figure) -> Axes:
    """The success ranges below the panels."""
    (found,) = [ax for ax in figure.axes if ax not in panels(figure)]
    return found


def test_every_axis_says_what_it_shows_in_what_unit() -> None:
    axes = panels(save.six_panels(demo_rows()))
    assert [ax.get_ylabel() for ax in axes] == [
        *(f"normalised error, {m} (unit: d_ref)" for m in METRICS),
        "generation time (device s)",
        "size (MB)",
    ]
    assert {ax.get_xlabel() for ax in axes} == {"T' (steps claimed)"}
    assert [ax.get_title(loc="left")[:3] for ax in axes] == [f"({letter})" for letter in "abcdef"]


def test_each_arm_has_one_line_through_its_rows() -> None:
    rows = demo_rows()
    axes = panels(save.six_panels(rows))
    for arm in set(ATTACKS) - {"forged_momentum"}:
        values = [r for r in rows if r.arm == arm]
        expected = [[getattr(r, f"error_{m}") for r in values] for m in METRICS]
        expected += [[r.device_s for r in values], [r.size_bytes / 1e6 for r in values if r.size_bytes]]
        for ax, ys in zip(axes, expected, strict=True):
            (line,) = lines(ax, arm)
            assert xy(line)[0] == [20, 60, 120]
            assert xy(line)[1] == pytest.approx(ys)


def test_the_honest_proof_is_a_labelled_line_across_each_panel() -> None:
    figure = save.six_panels(demo_rows())
    for ax, value in zip(panels(figure), [0.05, 0.05, 0.05, 0.05, 5.0, 16.0], strict=True):
        (line,) = lines(ax, "honest")
        assert xy(line) == ([0, 1], [value, value])
        assert any(text.get_text() == f"honest\n{value:g}" for text in ax.texts)
    assert "honest proof" in legend(figure)


def test_the_jump_is_in_the_error_panels_only() -> None:
    figure = save.six_panels(demo_rows())
    axes = panels(figure)
    assert [len(lines(ax, "jump")) for ax in axes] == [1, 1, 1, 1, 0, 0]
    assert xy(lines(axes[0], "jump")[0])[1] == pytest.approx([1.9 / steps for steps, _ in POINTS])
    assert "jump (no update)" in legend(figure)


def test_an_arm_on_another_trajectory_has_its_own_jump() -> None:
    rows = [honest_row(), row("null"), row("II"), row("I-tail", jump_l1=0.2)]
    figure = save.six_panels(rows)
    assert len(lines(panels(figure)[0], "jump")) == 2
    assert {"jump (no update)", "jump (no update) of I-tail"} <= set(legend(figure))


def test_a_jump_that_arms_share_is_named_by_their_setting_and_grey() -> None:
    rows = [row(arm, noise=noise, jump_l1=noise) for arm in ("null", "II") for noise in (0.01, 0.1)]
    figure = save.six_panels([honest_row(), *rows])
    assert {"jump, noise 0.01", "jump, noise 0.1"} <= set(legend(figure))
    first, second = lines(panels(figure)[0], "jump")
    assert first.get_color() == second.get_color() == style_of("jump").colour
    assert handle_dashes(first) != handle_dashes(second)


def handle_dashes(line: Line2D) -> object:
    """As drawn."""
    return line._unscaled_dash_pattern  # type: ignore[attr-defined]


def test_labels_of_a_legend_are_whole_while_there_is_room() -> None:
    paths = [judged(arm, 60, trajectory=t) for arm in ("null", "infinitesimal", "III") for t in ("linear", "noisy")]
    assert not [text for text in legend(save.cost_against_error([honest_row(), *paths])) if text.endswith("...")]


def test_an_error_far_below_the_others_does_not_squash_them() -> None:
    figure = save.six_panels(demo_rows())
    for ax in panels(figure)[:4]:
        low, high = ax.get_ylim()
        assert high / low < 100
        markers = [line for fill in ("filled", "hollow") for line in lines(ax, f"forged_momentum:{fill}")]
        places = [(line, x, y) for line in markers for x, y in zip(*xy(line), strict=True)]
        heights = [
            ax.transAxes.inverted().transform(line.get_transform().transform((x, y)))[1] for line, x, y in places
        ]
        assert len(heights) == 3
        assert all(0 < height < 0.1 for height in heights)
        assert any("2e-8 to\n1e-7" in text.get_text() for text in ax.texts)
        assert any("below" in text.get_text() for text in ax.texts)
    assert "below the axis; values beside it" in legend(figure)


def test_a_wide_range_without_a_gap_stays_on_the_axis() -> None:
    rows = [row("II", 10**i, error_l1=10.0**-i) for i in range(1, 8)]
    ax = panels(save.six_panels([honest_row(), *rows]))[0]
    assert ax.get_yscale() == "log"
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[0] < 1e-7


def test_the_honest_error_stays_on_the_axis_however_small() -> None:
    rows = [honest_row(error_l1=1e-7), *(row(arm) for arm in ATTACKS[:2])]
    ax = panels(save.six_panels(rows))[0]
    assert ax.get_ylim()[0] < 1e-7


def test_close_values_get_a_linear_axis() -> None:
    ax = panels(save.six_panels([honest_row(), row("II", error_l1=0.04, jump_l1=0.03)]))[0]
    assert ax.get_yscale() == "linear"


def test_markers_follow_success() -> None:
    axes = panels(save.six_panels(demo_rows()))
    for ax in axes:
        assert fills(ax, "II") == {20: "hollow", 60: "filled", 120: "filled"}
        hollow, filled = lines(ax, "II:hollow")[0], lines(ax, "II:filled")[0]
        assert hollow.get_markerfacecolor() == "white"
        assert filled.get_markerfacecolor() == style_of("II").colour
        assert hollow.get_markeredgecolor() == style_of("II").colour


def test_the_legend_explains_the_markers() -> None:
    entries = legend(save.six_panels(demo_rows()))
    assert {*ATTACKS, "filled: spoof succeeds", "hollow: it does not"} <= set(entries)
    assert not any(entry.startswith(("half", "struck out", "ring")) for entry in entries)


def test_seeds_become_a_median_a_band_and_a_half_filled_marker() -> None:
    values = [0.01, 0.02, 0.04]
    rows = [row("II", seed=i, error_l1=v, success=i > 0) for i, v in enumerate(values)] + [row("II", 120)]
    figure = save.six_panels([honest_row(), *rows])
    ax = panels(figure)[0]
    (line,) = lines(ax, "II")
    assert xy(line)[1][0] == pytest.approx(0.02)
    bands = [path.vertices for part in ax.collections for path in part.get_paths()]
    heights = [np.asarray(vertices, dtype=np.float64)[:, 1] for vertices in bands]
    assert any(ys.min() == pytest.approx(0.01) and ys.max() == pytest.approx(0.04) for ys in heights)
    assert fills(ax, "II") == {60: "half", 120: "filled"}
    assert "half: some of its rows do" in legend(figure)
    assert "their median" in words(figure)


def test_success_against_published_alone_is_struck_out() -> None:
    figure = save.six_panels([honest_row(), row("II"), row("forged_momentum", success_strict=False)])
    ax = panels(figure)[4]
    assert len(lines(ax, "forged_momentum:strike")) == 1
    assert not lines(ax, "II:strike")
    assert "struck out: succeeds under published alone" in legend(figure)


def test_simulated_and_estimated_rows_are_marked() -> None:
    rows = [honest_row(), row("II", simulated=True), row("II", 120), row("null", 120, estimated=True)]
    figure = save.six_panels(rows)
    for ax in panels(figure):
        assert [xy(line)[0] for line in lines(ax, "II:ring")] == [[60]]
        assert [xy(line)[0] for line in lines(ax, "null:ring")] == [[120]]
    assert "ring: simulated or estimated" in legend(figure)
    assert "Simulated, not measured on that device: II at T' = 60." in words(figure)
    assert "Estimated, from a sample of the intervals: null at T' = 120." in words(figure)


def test_a_simulated_proof_is_marked() -> None:
    assert "honest proof (simulated or estimated)" in legend(save.six_panels([honest_row(simulated=True), row("II")]))


def test_the_interval_is_told_once_or_on_every_tick() -> None:
    same = panels(save.six_panels([honest_row(), row("II", 20), row("II", 60)]))[0]
    assert same.get_xlabel() == "T' (steps claimed), k = 10"
    other = panels(save.six_panels(demo_rows()))[0]
    labels = [text.get_text() for text in other.get_xticklabels()]
    assert labels == ["120\nk=20", "60\nk=10", "20\nk=10"]


def test_crowded_ticks_lose_labels_but_k_is_told() -> None:
    steps = [500, 1000, 1500, 2000, 3000, 4000, 5000, 6000]
    figure = save.six_panels([honest_row(), *(row("II", s, interval=100 if s < 3000 else 200) for s in steps)])
    figure.draw_without_rendering()
    ax = panels(figure)[0]
    boxes = sorted((text.get_window_extent() for text in ax.get_xticklabels()), key=lambda box: box.x0)
    assert 2 <= len(boxes) < len(steps)
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert "k = 100 at 500 1,000 1,500 2,000; k = 200 at 3,000 4,000 5,000 6,000" in words(figure)


def test_the_title_names_the_proof_and_the_conditions() -> None:
    said = words(save.six_panels(demo_rows()))
    for part in ("digits, resnet8", "T = 1,000", "k = 10", "Batch size: 64", "augmentation=fresh", "A Processor"):
        assert part in said


def test_rows_that_are_not_ok_are_left_out_and_counted() -> None:
    rows = [honest_row(), row("II", 20), row("II", 60, status="error"), row("III-loss", 60, status="stopped")]
    figure = save.six_panels(rows)
    for ax in panels(figure):
        assert xy(lines(ax, "II")[0])[0] == [20]
        assert not lines(ax, "III-loss")
    assert "Left out, 2 of 4 rows (1 error, 1 stopped): II at T' = 60; III-loss at T' = 60." in words(figure)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_value_leaves_a_gap_and_a_note(missing: float | None) -> None:
    rows = [honest_row(), row("II", 20), row("II", 60, error_l1=missing, device_s=missing), row("II", 120)]
    figure = save.six_panels(rows)
    axes = panels(figure)
    assert fills(axes[0], "II").keys() == {20, 120}
    assert np.isnan(xy(lines(axes[0], "II")[0])[1]).tolist() == [False, True, False]
    assert fills(axes[1], "II").keys() == {20, 60, 120}
    assert "Without a value, not drawn: II at T' = 60 (l1, time)." in words(figure)


def test_an_infinite_error_lies_above_the_axis() -> None:
    figure = save.six_panels([honest_row(), row("II", 20, error_l1=math.inf, success=False), row("II", 60)])
    ax = panels(figure)[0]
    assert math.isfinite(ax.get_ylim()[1])
    assert fills(ax, "II") == {20: "hollow", 60: "filled"}
    assert any(text.get_text() == "inf" for text in ax.texts)
    assert "above the axis; values beside it" in legend(figure)


def test_without_success_judged_markers_are_hollow_and_it_is_said() -> None:
    figure = save.six_panels([honest_row(), row("II", success=None, success_strict=None)])
    assert fills(panels(figure)[0], "II") == {60: "hollow"}
    assert "Success not judged, drawn hollow: II at T' = 60." in words(figure)


NO_ERRORS: dict[str, Any] = {f"error_{m}": None for m in METRICS}
DEGENERATE: dict[str, tuple[list[TrialRow], str]] = {
    "nothing": ([], "Missing: spoofs"),
    "one point": ([honest_row(), row("II")], "digits"),
    "one T'": ([honest_row(), *(row(arm) for arm in ATTACKS)], "digits"),
    "no honest row": ([row("II", 20), row("II", 60)], "Missing: an honest row"),
    "honest alone": ([honest_row()], "Missing: spoofs"),
    "honest failed": ([honest_row(status="error"), row("II")], "Missing: an honest row"),
    "only errors": ([honest_row(status="error"), row("II", status="error")], "Left out, 2 of 2 rows"),
    "no metric": ([replace(row("II"), device_s=None, size_bytes=None, **NO_ERRORS)], "not drawn"),
    "exact replay": ([honest_row(error_l1=0.0), row("II", error_l1=0.0, jump_l1=0.0)], "digits"),
    "all equal": ([honest_row(error_l1=0.05), row("II", error_l1=0.05, jump_l1=0.05)], "digits"),
    "negative cos by rounding": ([honest_row(), row("II", error_cos=-1e-17)], "digits"),
    "foreign names": ([honest_row(), row("_my $attack$ {x}"), row("", device_name="$")], "digits"),
    "two devices": ([honest_row(), row("II", device_name="Another")], "A Processor / Another"),
    "many arms": ([honest_row(), *(row(f"own attack number {i}") for i in range(40))], "digits"),
    "foreign model": ([honest_row(model="a_$b$:c"), row("II", model="a_$b$:c")], "a_$b$:c"),
    "jump below the axis": ([honest_row(), *(row(a, jump_l1=1e-9) for a in ATTACKS)], "digits"),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_rows_draw_and_say_what_is_missing(case: str) -> None:
    rows, said = DEGENERATE[case]
    figure = save.six_panels(rows)
    panels(figure)
    assert said in words(figure)
    assert_well_laid(figure)


def test_the_page_is_well_laid() -> None:
    rows = demo_rows()
    rows[3] = replace(rows[3], simulated=True, error_l1=math.inf)
    rows[5] = replace(rows[5], status="error")
    rows[7] = replace(rows[7], error_l2=None, success=None)
    assert_well_laid(save.six_panels(rows))


# --- success ranges --------------------------------------------------------------------------------------------------


def failing(arm: str, steps: int, by: str, **changes: Any) -> TrialRow:  # noqa: ANN401
    return judged(arm, steps, success=False, success_strict=False, bound_by=by, **changes)


def ranged() -> list[TrialRow]:
    """II succeeds from 40 to 80, null from 20 on, III nowhere; what binds differs at the ends."""
    two = [failing("II", 20, "error_l2,error_cos"), judged("II", 40), judged("II", 80), failing("II", 160, "time")]
    three = [failing("III", steps, "rejected:replay,error_l1,error_l2,error_linf,error_cos") for steps in (20, 40)]
    return [honest_row(), *two, *three, *(judged("null", steps) for steps in (20, 40, 80, 160))]


def bars(ax: Axes, arm: str) -> list[tuple[float, float]]:
    """From and to, in T'."""
    found = [patch for patch in ax.patches if patch.get_gid() == f"{arm}:bar"]
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in found if isinstance(patch, Rectangle)]
    return spans + [(xy(line)[0][0], xy(line)[0][0]) for line in lines(ax, f"{arm}:bar")]


def test_a_bar_and_the_binding_conditions_for_each_arm() -> None:
    figure = save.six_panels(ranged())
    ax = strip(figure)
    assert bars(ax, "II") == [(40, 80)]
    assert (said(ax, "II:below"), said(ax, "II:above")) == ("error_l2/cos", "time")
    assert [xy(line)[0] for line in lines(ax, "II:end")] == [[20, 40], [80, 160]]
    assert bars(ax, "null") == [(20, 160)]
    assert (said(ax, "null:below"), said(ax, "null:above")) == ("smallest T' tried", "largest T' tried")
    assert not bars(ax, "III")
    assert said(ax, "III:none") == "no T' succeeds: rejected by replay, all errors at T' = 40"
    assert ax.get_xlim()[0] < 20
    assert ax.get_xlim()[1] > 160
    assert_well_laid(figure)
    assert_words_apart(ax)


def test_ranges_of_attacks_are_shaded_in_every_panel() -> None:
    for ax in panels(save.six_panels(ranged())):
        (shade,) = [patch for patch in ax.patches if patch.get_gid() == "range"]
        assert shade.get_facecolor()[:3] == to_rgb(style_of("II").colour)
        box = shade.get_extents().transformed(ax.transData.inverted())
        assert (box.x0, box.x1) == pytest.approx((40, 80))


def test_too_many_ranges_are_not_shaded() -> None:
    rows = [judged(arm, steps) for arm in ATTACKS[2:] for steps in (20, 40)]
    figure = save.six_panels([honest_row(), *rows])
    assert not [patch for ax in panels(figure) for patch in ax.patches if patch.get_gid() == "range"]
    assert "shaded" not in words(figure)
    assert len(bars(strip(figure), "II")) == 1


def test_one_length_alone_has_no_range_to_show() -> None:
    assert len(save.six_panels([honest_row(), judged("II", 60)]).axes) == 6


def test_trials_that_were_stopped_are_failures_and_on_the_axis() -> None:
    rows = [failing("II", 10, "error", status="stopped", error_l1=None), judged("II", 40), judged("II", 60)]
    ax = strip(save.six_panels([honest_row(), *rows]))
    assert bars(ax, "II") == [(40, 60)]
    assert said(ax, "II:below") == "error"
    assert ax.get_xlim()[0] < 10


def test_a_searched_range_goes_before_what_the_rows_say() -> None:
    figure = save.six_panels(ranged(), [range_row("II", low=52.5, high=70.0)])
    ax = strip(figure)
    assert bars(ax, "II") == [(52.5, 70.0)]
    assert said(ax, "II:below") == "error_linf"
    assert said(ax, "II:above") == "bound of the search"
    assert [xy(line)[0] for line in lines(ax, "II:end")] == [[40, 60]]
    assert bars(ax, "null") == [(20, 160)]
    assert "found by search" in words(figure)


def range_row(arm: str, *, low: float | None, high: float | None, **changes: Any) -> RangeRow:  # noqa: ANN401
    fields: dict[str, Any] = {
        "sweep_id": "s", "policy": "published", "arm": arm, "axes": "{}", "seed": None, "num_seeds": 2, "num_found": 2,
        "searched_from_steps": 5, "searched_to_steps": 160, "resolution_steps": 5, "low_steps": low, "low_from_steps": 40.0,
        "low_to_steps": 60.0, "low_open": False, "low_bound_by": "error_linf", "high_steps": high, "high_from_steps": 70.0,
        "high_to_steps": 70.0, "high_open": True, "high_bound_by": None, "confidence": 0.5, "method": "", "num_holes": 0,
        "trials": 8, "grid_trials": 64, "failed": 0, "complete": True,
    }  # fmt: skip
    return RangeRow(**{**fields, **changes})


# --- several settings, variants, many rows ---------------------------------------------------------------------------


def test_several_datasets_have_six_panels_each() -> None:
    rows = [
        change
        for dataset in ("digits", "cifar10")
        for change in [
            honest_row(dataset=dataset),
            judged("II", 20, dataset=dataset),
            judged("II", 60, dataset=dataset),
        ]
    ]
    figure = save.six_panels(rows)
    assert len([ax for ax in figure.axes if ax.get_title(loc="left").startswith("(")]) == 12
    for name in ("digits, resnet8: spoofs", "cifar10, resnet8: spoofs"):
        assert name in words(figure)
    assert_well_laid(figure)


@pytest.mark.parametrize(
    ("sweeps", "told"), [("ss", "T = 80 / 1,000) are put together."), ("st", "are put together: filter one sweep.")]
)
def test_rows_beside_different_proofs_are_said_first(sweeps: str, told: str) -> None:
    proofs = [replace(honest_row(sweep_id=s), steps=steps) for steps, s in zip((80, 1_000), sweeps, strict=True)]
    rows = [*proofs, row("II"), row("null")]
    for figure in (
        save.six_panels(rows),
        save.error_over_training(interval_rows(rows), rows),
        save.accuracy_over_progress(interval_rows(rows), rows),
    ):
        assert told in words(figure)
    assert "different proofs" not in words(save.six_panels([proofs[0], *rows[2:]]))


def test_halves_of_a_dataset_are_one_setting() -> None:
    rows = [honest_row(dataset="digits/D1"), row("II", 20, dataset="digits/D2"), row("II", 60, dataset="digits/D2")]
    figure = save.six_panels(rows)
    assert lines(panels(figure)[0], "honest")
    assert "digits/D1 / digits/D2, resnet8" in words(figure)


def test_what_else_varies_at_one_length_gets_curves_of_its_own() -> None:
    rows = [row("III", steps, alpha=alpha, seed=seed) for steps in (20, 60) for alpha in (0.1, 1.0) for seed in (0, 1)]
    figure = save.six_panels([honest_row(), *rows, row("null", 20), row("null", 60)])
    ax = panels(figure)[0]
    assert len(xy(lines(ax, "III, alpha 0.1")[0])[0]) == 2
    assert {"III, alpha 0.1", "III, alpha 1", "null"} <= set(legend(figure))
    first, second = (lines(ax, f"III, alpha {a}:filled")[0] for a in ("0.1", "1"))
    assert first.get_color() == second.get_color() == style_of("III").colour
    assert first.get_marker() != second.get_marker()


def test_too_many_variants_are_put_together_and_it_is_said() -> None:
    rows = [row("III", alpha=0.1 * i, noise=0.01 * j, trajectory="noisy") for i in range(1, 8) for j in range(1, 8)]
    figure = save.six_panels([honest_row(), *rows])
    assert len([entry for entry in legend(figure) if entry.startswith("III")]) == 7
    assert "Put together, too many to tell apart: rows that differ in noise." in words(figure)


def test_points_that_differ_in_more_than_length_are_not_joined() -> None:
    rows = [row("III", steps, alpha=steps / 100) for steps in (20, 60, 120)]
    figure = save.six_panels([honest_row(), *rows, *(row("null", steps) for steps in (20, 60))])
    ax = panels(figure)[0]
    assert lines(ax, "III")[0].get_linestyle() == "None"
    assert lines(ax, "null")[0].get_linestyle() != "None"
    assert "No line where more than T' differs from point to point: III (alpha)." in words(figure)


def test_several_intervals_at_one_length_are_told_apart() -> None:
    rows = [row("II", steps, interval=k) for steps in (20, 60) for k in (5, 10)]
    figure = save.six_panels([honest_row(), *rows])
    assert {"II, k 5", "II, k 10"} <= set(legend(figure))


def test_the_honest_proofs_of_several_seeds_are_a_line_with_their_spread() -> None:
    figure = save.six_panels([honest_row(seed=i, error_l1=0.04 + 0.01 * i) for i in range(3)] + [row("II")])
    ax = panels(figure)[0]
    assert xy(lines(ax, "honest")[0])[1] == pytest.approx([0.05, 0.05])
    spreads = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
    assert any((box.y0, box.y1) == pytest.approx((0.04, 0.06)) for box in spreads)


@pytest.mark.parametrize(
    ("steps", "scale"),
    [([100, 200, 300], "linear"), ([100, 1000, 1900], "linear"), ([100, 1000, 2000], "log"), ([60], "linear")],
)
def test_the_axis_is_logarithmic_where_lengths_span_a_factor_of_20(steps: list[int], scale: str) -> None:
    figure = save.six_panels([honest_row(), *(row("II", s) for s in steps)])
    assert {ax.get_xscale() for ax in panels(figure)} == {scale}


def test_ten_thousand_rows_draw_soon_and_stay_readable(tmp_path: Path) -> None:
    arms = [*ATTACKS, "III, linf 8/255", "III, linf 16/255", "own_attack_" * 9, "another"]
    rows = [
        judged(arm, steps, seed=seed, success=steps > 500, interval=10 if steps < 2000 else 100)
        for arm in arms
        for steps in range(50, 4050, 50)
        for seed in range(10)
    ]
    assert len(rows) == 9600
    begun = time.process_time()
    figure = save.six_panels([honest_row(), *rows])
    save.save_figure(figure, tmp_path / "panels", kinds=("png",))
    assert time.process_time() - begun < 5.0
    assert_well_laid(figure)
    for ax in panels(figure):
        shown = [label for label in ax.get_xticklabels() if label.get_text()]
        boxes = sorted((label.get_window_extent() for label in shown), key=lambda box: box.x0)
        assert len(boxes) >= 3
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert_words_apart(strip(figure))
