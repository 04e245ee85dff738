"""The six panels: what is on the axes is what is in the rows, and what is missing is said. No picture is compared."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raypol.core.distances import METRICS
from raypol.face import figures
from raypol.face.arm_styles import style_of
from raypol.store.results import TrialRow
from tests.face.figure_rows import (
    ATTACKS,
    POINTS,
    assert_well_laid,
    demo_rows,
    fills,
    honest_row,
    legend,
    lines,
    row,
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
    axes = panels(figures.six_panels(demo_rows()))
    assert [ax.get_ylabel() for ax in axes] == [
        *(f"normalised error, {m} (unit: d_ref)" for m in METRICS),
        "generation time (device s)",
        "size (MB)",
    ]
    assert {ax.get_xlabel() for ax in axes} == {"T' (steps claimed)"}
    assert [ax.get_title(loc="left")[:3] for ax in axes] == [f"({letter})" for letter in "abcdef"]


def test_each_arm_has_one_line_through_its_rows() -> None:
    rows = demo_rows()
    axes = panels(figures.six_panels(rows))
    for arm in set(ATTACKS) - {"forged_momentum"}:
        values = [r for r in rows if r.arm == arm]
        expected = [[getattr(r, f"error_{m}") for r in values] for m in METRICS]
        expected += [[r.device_s for r in values], [r.size_bytes / 1e6 for r in values if r.size_bytes]]
        for ax, ys in zip(axes, expected, strict=True):
            (line,) = lines(ax, arm)
            assert xy(line)[0] == [20, 60, 120]
            assert xy(line)[1] == pytest.approx(ys)


def test_the_honest_proof_is_a_labelled_line_across_each_panel() -> None:
    figure = figures.six_panels(demo_rows())
    for ax, value in zip(panels(figure), [0.05, 0.05, 0.05, 0.05, 5.0, 16.0], strict=True):
        (line,) = lines(ax, "honest")
        assert xy(line) == ([0, 1], [value, value])
        assert any(text.get_text() == f"honest\n{value:g}" for text in ax.texts)
    assert "honest proof" in legend(figure)


def test_the_jump_is_in_the_error_panels_only() -> None:
    figure = figures.six_panels(demo_rows())
    axes = panels(figure)
    assert [len(lines(ax, "jump")) for ax in axes] == [1, 1, 1, 1, 0, 0]
    assert xy(lines(axes[0], "jump")[0])[1] == pytest.approx([1.9 / steps for steps, _ in POINTS])
    assert "jump (no update)" in legend(figure)


def test_an_arm_on_another_trajectory_has_its_own_jump() -> None:
    rows = [honest_row(), row("null"), row("II"), row("I-tail", jump_l1=0.2)]
    figure = figures.six_panels(rows)
    assert len(lines(panels(figure)[0], "jump")) == 2
    assert {"jump (no update)", "jump (no update) of I-tail"} <= set(legend(figure))


def test_an_error_far_below_the_others_does_not_squash_them() -> None:
    figure = figures.six_panels(demo_rows())
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
    ax = panels(figures.six_panels([honest_row(), *rows]))[0]
    assert ax.get_yscale() == "log"
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[0] < 1e-7


def test_the_honest_error_stays_on_the_axis_however_small() -> None:
    rows = [honest_row(error_l1=1e-7), *(row(arm) for arm in ATTACKS[:2])]
    ax = panels(figures.six_panels(rows))[0]
    assert ax.get_ylim()[0] < 1e-7


def test_close_values_get_a_linear_axis() -> None:
    ax = panels(figures.six_panels([honest_row(), row("II", error_l1=0.04, jump_l1=0.03)]))[0]
    assert ax.get_yscale() == "linear"


def test_markers_follow_success() -> None:
    axes = panels(figures.six_panels(demo_rows()))
    for ax in axes:
        assert fills(ax, "II") == {20: "hollow", 60: "filled", 120: "filled"}
        hollow, filled = lines(ax, "II:hollow")[0], lines(ax, "II:filled")[0]
        assert hollow.get_markerfacecolor() == "white"
        assert filled.get_markerfacecolor() == style_of("II").colour
        assert hollow.get_markeredgecolor() == style_of("II").colour


def test_the_legend_explains_the_markers() -> None:
    entries = legend(figures.six_panels(demo_rows()))
    assert {*ATTACKS, "filled: spoof succeeds", "hollow: it does not"} <= set(entries)
    assert not any(entry.startswith(("half", "struck out", "ring")) for entry in entries)


def test_seeds_become_a_median_a_band_and_a_half_filled_marker() -> None:
    values = [0.01, 0.02, 0.04]
    rows = [row("II", seed=i, error_l1=v, success=i > 0) for i, v in enumerate(values)] + [row("II", 120)]
    figure = figures.six_panels([honest_row(), *rows])
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
    figure = figures.six_panels([honest_row(), row("II"), row("forged_momentum", success_strict=False)])
    ax = panels(figure)[4]
    assert len(lines(ax, "forged_momentum:strike")) == 1
    assert not lines(ax, "II:strike")
    assert "struck out: strict verifier rejects" in legend(figure)


def test_simulated_and_estimated_rows_are_marked() -> None:
    rows = [honest_row(), row("II", simulated=True), row("II", 120), row("null", 120, estimated=True)]
    figure = figures.six_panels(rows)
    for ax in panels(figure):
        assert [xy(line)[0] for line in lines(ax, "II:ring")] == [[60]]
        assert [xy(line)[0] for line in lines(ax, "null:ring")] == [[120]]
    assert "ring: simulated or estimated" in legend(figure)
    assert "Simulated, not measured on that device: II at T' = 60." in words(figure)
    assert "Estimated, from a sample of the intervals: null at T' = 120." in words(figure)


def test_a_simulated_proof_is_marked() -> None:
    assert "honest proof (simulated or estimated)" in legend(
        figures.six_panels([honest_row(simulated=True), row("II")])
    )


def test_the_interval_is_told_once_or_on_every_tick() -> None:
    same = panels(figures.six_panels([honest_row(), row("II", 20), row("II", 60)]))[0]
    assert same.get_xlabel() == "T' (steps claimed), k = 10"
    other = panels(figures.six_panels(demo_rows()))[0]
    labels = [text.get_text() for text in other.get_xticklabels()]
    assert labels == ["120\nk=20", "60\nk=10", "20\nk=10"]


def test_crowded_ticks_lose_labels_but_k_is_told() -> None:
    steps = [500, 1000, 1500, 2000, 3000, 4000, 5000, 6000]
    figure = figures.six_panels([honest_row(), *(row("II", s, interval=100 if s < 3000 else 200) for s in steps)])
    figure.draw_without_rendering()
    ax = panels(figure)[0]
    boxes = sorted((text.get_window_extent() for text in ax.get_xticklabels()), key=lambda box: box.x0)
    assert 2 <= len(boxes) < len(steps)
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert "k = 100 at 500 1,000 1,500 2,000; k = 200 at 3,000 4,000 5,000 6,000" in words(figure)


def test_the_title_names_the_proof_and_the_conditions() -> None:
    said = words(figures.six_panels(demo_rows()))
    for part in ("digits, resnet8", "T = 1,000", "k = 10", "Batch size: 64", "augmentation=fresh", "A Processor"):
        assert part in said


def test_rows_that_are_not_ok_are_left_out_and_counted() -> None:
    rows = [honest_row(), row("II", 20), row("II", 60, status="error"), row("III-loss", 60, status="stopped")]
    figure = figures.six_panels(rows)
    for ax in panels(figure):
        assert xy(lines(ax, "II")[0])[0] == [20]
        assert not lines(ax, "III-loss")
    assert "Left out, 2 of 4 rows (1 error, 1 stopped): II at T' = 60; III-loss at T' = 60." in words(figure)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_value_leaves_a_gap_and_a_note(missing: float | None) -> None:
    rows = [honest_row(), row("II", 20), row("II", 60, error_l1=missing, device_s=missing), row("II", 120)]
    figure = figures.six_panels(rows)
    axes = panels(figure)
    assert fills(axes[0], "II").keys() == {20, 120}
    assert np.isnan(xy(lines(axes[0], "II")[0])[1]).tolist() == [False, True, False]
    assert fills(axes[1], "II").keys() == {20, 60, 120}
    assert "Without a value, not drawn: II at T' = 60 (l1, time)." in words(figure)


def test_an_infinite_error_lies_above_the_axis() -> None:
    figure = figures.six_panels([honest_row(), row("II", 20, error_l1=math.inf, success=False), row("II", 60)])
    ax = panels(figure)[0]
    assert math.isfinite(ax.get_ylim()[1])
    assert fills(ax, "II") == {20: "hollow", 60: "filled"}
    assert any(text.get_text() == "inf" for text in ax.texts)
    assert "above the axis; values beside it" in legend(figure)


def test_without_success_judged_markers_are_hollow_and_it_is_said() -> None:
    figure = figures.six_panels([honest_row(), row("II", success=None, success_strict=None)])
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
    "foreign names": ([honest_row(), row("_my $attack$ {x}"), row("", device_name="$", model="a_b:c")], "digits"),
    "two devices": ([honest_row(), row("II", device_name="Another")], "A Processor / Another"),
    "many arms": ([honest_row(), *(row(f"own attack number {i}") for i in range(40))], "digits"),
    "jump below the axis": ([honest_row(), *(row(a, jump_l1=1e-9) for a in ATTACKS)], "digits"),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_rows_draw_and_say_what_is_missing(case: str) -> None:
    rows, said = DEGENERATE[case]
    figure = figures.six_panels(rows)
    panels(figure)
    assert said in words(figure)
    assert_well_laid(figure)


def test_the_page_is_well_laid() -> None:
    rows = demo_rows()
    rows[3] = replace(rows[3], simulated=True, error_l1=math.inf)
    rows[5] = replace(rows[5], status="error")
    rows[7] = replace(rows[7], error_l2=None, success=None)
    assert_well_laid(figures.six_panels(rows))
