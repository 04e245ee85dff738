"""Figures: what is on the axes is what is in the rows, and what is missing is said. No picture is compared."""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.face import figures
from raypol.face.arm_styles import STYLES, in_order, style_of
from raypol.runs.images import ImagePairs
from raypol.store.results import IntervalRow, TrialRow

ATTACKS = ("null", "infinitesimal", "forged_momentum", "I-tail", "II", "III-gradient", "III-loss", "III-invisible")
POINTS = ((20, 10), (60, 10), (120, 20))


def row(arm: str, steps: int = 60, **changes: Any) -> TrialRow:  # noqa: ANN401 - any field of TrialRow
    """A spoof whose errors fall with T', at home below the honest proof's."""
    tiny = 1e-6 if arm == "forged_momentum" else 1.0
    fields: dict[str, Any] = {
        "sweep_id": "s",
        "trial_id": f"{arm}-{steps}",
        "proof_id": "p",
        "arm": arm,
        "attack": "a",
        "dataset": "digits",
        "model": "resnet8",
        "steps": steps,
        "interval": 10,
        "batch_size": 64,
        "seed": 0,
        "device": "cpu",
        "device_name": "A Processor",
        "status": "ok",
        "replay": "augmentation=fresh precision=float32",
        **{f"error_{m}": tiny * 2.0 / steps for m in METRICS},
        **{f"jump_{m}": 1.9 / steps for m in METRICS},
        "device_s": 0.01 * steps,
        "size_bytes": 20_000 * steps,
        "success": True,
        "success_strict": True,
    }
    return TrialRow(**{**fields, **changes})


def honest_row(**changes: Any) -> TrialRow:  # noqa: ANN401
    values: dict[str, Any] = {f"error_{m}": 0.05 for m in METRICS} | {f"jump_{m}": 0.06 for m in METRICS}
    fields = {**values, "device_s": 5.0, "size_bytes": 16_000_000, "success": None, "success_strict": None, **changes}
    return row("honest", 1000, **fields)


def demo_rows() -> list[TrialRow]:
    spoofs = [row(arm, steps, interval=k, success=steps > 20) for steps, k in POINTS for arm in ATTACKS]
    return [honest_row(), *spoofs]


def panels(figure: Figure) -> list[Axes]:
    assert len(figure.axes) == 6
    return figure.axes


def lines(ax: Axes, gid: str) -> list[Line2D]:
    return [line for line in ax.get_lines() if line.get_gid() == gid]


def xy(line: Line2D) -> tuple[list[float], list[float]]:
    x, y = (cast("npt.NDArray[np.float64]", part).tolist() for part in line.get_data())
    return x, y


def fills(ax: Axes, arm: str) -> dict[float, str]:
    """By T': filled, half or hollow, as drawn."""
    found = {}
    for fill in ("filled", "half", "hollow"):
        for line in lines(ax, f"{arm}:{fill}"):
            found[xy(line)[0][0]] = fill
    return found


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def legend(figure: Figure) -> list[str]:
    return [text.get_text().strip() for part in figure.legends for text in part.get_texts() if text.get_text().strip()]


def texts(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text().strip() and text.get_visible():
            yield text.get_text(), text.get_window_extent()


def assert_well_laid(figure: Figure) -> None:
    """Nothing is cut off at the edge, and the parts of the page keep clear of each other."""
    figure.draw_without_rendering()
    for text, box in texts(figure):
        # Ticks outside the limits have texts that are never drawn.
        if box.width > 0 and figure.bbox.overlaps(box):
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"{text!r} is cut off"
    parts: list[tuple[str, Bbox]] = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    parts += [("legend", part.get_window_extent()) for part in figure.legends]
    for ax in figure.axes:
        tight = ax.get_tightbbox()
        assert tight is not None
        parts.append((ax.get_title(loc="left") or "axes", tight))
    for (a, box_a), (b, box_b) in itertools.combinations(parts, 2):
        overlap = Bbox.intersection(box_a, box_b)
        assert overlap is None or min(overlap.width, overlap.height) < 1.0, f"{a!r} lies on {b!r}"


# --- six panels ------------------------------------------------------------------------------------------------------


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
        heights = [
            ax.transAxes.inverted().transform(line.get_transform().transform(xy_of(line)))[1] for line in markers
        ]
        assert len(heights) == 3
        assert all(0 < height < 0.1 for height in heights)
        assert any("2e-8 to\n1e-7" in text.get_text() for text in ax.texts)
        assert any("below" in text.get_text() for text in ax.texts)
    assert "below the axis; values beside it" in legend(figure)


def xy_of(line: Line2D) -> tuple[float, float]:
    x, y = xy(line)
    return x[0], y[0]


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
    assert "Estimated, not measured on that device: null at T' = 120." in words(figure)


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


# --- styles ----------------------------------------------------------------------------------------------------------


def test_an_arm_looks_the_same_in_every_figure() -> None:
    few = panels(figures.six_panels([honest_row(), row("II")]))
    many = panels(figures.six_panels(demo_rows()))
    progress = figures.accuracy_over_progress(accuracies(demo_rows()), demo_rows()).axes
    for ax in [*few, *many, *progress]:
        for line in lines(ax, "II") + lines(ax, "II:filled"):
            assert line.get_color() == style_of("II").colour == "#009E73"


def test_known_arms_differ_in_colour_and_marker() -> None:
    assert {"honest", "jump", *ATTACKS} == STYLES.keys()
    spoofs = [STYLES[arm] for arm in ATTACKS]
    assert len({style.marker for style in spoofs}) == len(spoofs)
    assert len({style.line for style in spoofs if style.line != "-"}) >= len(spoofs) - 2
    assert len({style.colour for style in STYLES.values()}) == len(STYLES)


def test_an_unknown_arm_keeps_its_style() -> None:
    # Fixed values: the style must not depend on the process, as hash() would.
    assert style_of("my_attack") == style_of("my_attack")
    assert (style_of("my_attack").colour, style_of("my_attack").marker) == ("#882255", "*")
    assert style_of("my_attack").colour not in {style.colour for style in STYLES.values()}


def test_arms_are_ordered_as_in_the_demo_then_by_name() -> None:
    assert in_order(["zeta", "III-loss", "null", "alpha", "honest", "null"]) == [
        "honest",
        "null",
        "III-loss",
        "alpha",
        "zeta",
    ]


def test_no_pyplot() -> None:
    figures.six_panels(demo_rows())
    assert "matplotlib.pyplot" not in sys.modules


# --- before and after ------------------------------------------------------------------------------------------------


def image_pairs(arm: str = "III-loss", n: int = 3, channels: int = 1, linf: float = 15 / 255) -> ImagePairs:
    rng = torch.Generator().manual_seed(0)
    originals = torch.rand((n, channels, 4, 5), generator=rng) * 0.5 + 0.2
    R = (torch.rand(originals.shape, generator=rng) * 2 - 1) * linf / 2
    if n:
        R[0, 0, 0, 0] = linf
    return ImagePairs(arm=arm, steps=1200, originals=originals, crafted=originals + R, labels=torch.arange(n))


def images(figure: Figure) -> list[npt.NDArray[np.float64]]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def test_three_rows_of_images_per_arm() -> None:
    pairs = image_pairs()
    figure = figures.before_after([pairs])
    shown = images(figure)
    assert len(shown) == 9
    # Drawn column by column: original, crafted, difference.
    assert shown[0] == pytest.approx(pairs.originals[0, 0].numpy())
    assert shown[1] == pytest.approx(pairs.crafted[0, 0].numpy())
    assert shown[2] == pytest.approx((pairs.crafted - pairs.originals)[0, 0].numpy() * 15.0, abs=1e-6)
    names = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()]
    assert names == ["original", "crafted", "R × 15"]
    assert [ax.get_title() for ax in figure.axes if ax.get_title().startswith("label")] == [
        "label 0",
        "label 1",
        "label 2",
    ]
    assert "III-loss, T' = 1,200: largest |R| = 15/255" in words(figure)


def test_images_are_shown_as_they_are() -> None:
    for ax in figures.before_after([image_pairs()]).axes:
        for image in ax.images:
            assert image.get_interpolation() == "nearest"
            is_difference = image.get_clim() == (-1.0, 1.0)
            assert image.get_cmap().name == ("RdBu_r" if is_difference else "gray")
            assert is_difference or image.get_clim() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("linf", "factor"), [(1.0, "1"), (0.5, "2"), (15 / 255, "15"), (8 / 255, "30"), (1 / 255, "250"), (0.9, "1")]
)
def test_the_largest_difference_fills_the_scale_without_being_cut(linf: float, factor: str) -> None:
    pairs = image_pairs(n=1)
    originals = torch.zeros_like(pairs.originals)
    crafted = originals.clone()
    crafted[0, 0, 1, 1] = linf
    figure = figures.before_after([replace(pairs, originals=originals, crafted=crafted)])
    assert f"R × {factor}" in [ax.get_ylabel() for ax in figure.axes]
    assert 0.5 < images(figure)[2].max() <= 1.0 + 1e-6


def test_a_given_amplification_that_cuts_says_so() -> None:
    figure = figures.before_after([image_pairs()], amplification=40)
    assert "R × 40, cut off" in [ax.get_ylabel() for ax in figure.axes]


@pytest.mark.parametrize("amplification", [0.0, -1.0, math.nan, math.inf])
def test_a_senseless_amplification_is_refused(amplification: float) -> None:
    with pytest.raises(InputError, match="amplification > 0"):
        figures.before_after([image_pairs()], amplification=amplification)


def test_colour_images_and_their_difference() -> None:
    pairs = image_pairs(channels=3, n=1)
    figure = figures.before_after([pairs])
    before, _, difference = images(figure)
    assert before.shape == (4, 5, 3)
    R = (pairs.crafted - pairs.originals)[0].numpy()
    strongest = np.take_along_axis(R, np.abs(R).argmax(0)[None], 0)[0]
    assert difference == pytest.approx(strongest * 15.0, abs=1e-5)
    assert "channel that changed most" in words(figure)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [image_pairs(n=0)],
        [image_pairs(n=1)],
        [image_pairs(linf=0.0, n=1), image_pairs("II", n=0)],
        [image_pairs(channels=2)],
        [image_pairs(arm, n=i + 1) for i, arm in enumerate(["I-tail", "II", "III-gradient", "III-loss", "$_x$"])],
    ],
    ids=["none", "empty", "one", "no difference", "two channels", "five arms"],
)
def test_few_or_many_pairs_draw(pairs: Sequence[ImagePairs]) -> None:
    figure = figures.before_after(pairs)
    assert_well_laid(figure)
    assert len(images(figure)) == sum(3 * len(p.labels) for p in pairs)
    for pair in pairs:
        assert f"{pair.arm}" in words(figure)


# --- accuracy over progress ------------------------------------------------------------------------------------------


def accuracies(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    found = []
    for trial in rows:
        for stop in range(trial.interval, trial.steps + 1, trial.interval):
            accuracy = 0.9 * stop / trial.steps
            found.append({"trial_id": trial.trial_id, "step_to": stop, "metric": "l2", "accuracy": accuracy})
    return found


def test_accuracy_of_the_longest_spoofs_and_the_proof() -> None:
    rows = demo_rows()
    figure = figures.accuracy_over_progress(accuracies(rows), rows)
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
    one = figures.accuracy_over_progress(intervals, [trial])
    two = figures.accuracy_over_progress([asdict(interval) for interval in intervals], [trial])
    assert xy(lines(one.axes[0], "II")[0]) == xy(lines(two.axes[0], "II")[0])
    assert len(xy(lines(one.axes[0], "II")[0])[0]) == 6


def test_lines_on_top_of_each_other_take_turns() -> None:
    rows = [row("II"), row("null"), row("III-loss")]
    cells = accuracies(rows)
    for cell in cells:
        if cell["trial_id"].startswith("III-loss"):
            cell["accuracy"] /= 2
    ax = figures.accuracy_over_progress(cells, rows).axes[0]
    assert [lines(ax, arm)[0].is_dashed() for arm in ("II", "null", "III-loss")] == [True, True, False]


def test_seeds_become_a_median_over_progress() -> None:
    rows = [row("II", trial_id=f"t{i}", seed=i) for i in range(3)]
    cells = [{"trial_id": f"t{i}", "step_to": 60, "accuracy": a} for i, a in enumerate([0.2, 0.5, 0.9])]
    figure = figures.accuracy_over_progress(cells, rows)
    assert xy(lines(figure.axes[0], "II")[0]) == ([1.0], [50.0])
    assert "Several seeds" in words(figure)


@pytest.mark.parametrize(
    ("rows", "known", "said"),
    [
        ([], [], "No trials"),
        (demo_rows(), [], "Missing: accuracies of honest"),
        ([row("II")], [row("II")], "Missing: an honest row"),
        ([honest_row()], [honest_row()], "Spoofs: missing"),
        ([honest_row(), row("II"), row("III-loss", status="error")], [honest_row(), row("II")], "T' = 60 of III-loss"),
        ([honest_row(status="error"), row("II", status="error")], [], "No trials"),
    ],
    ids=["nothing", "no intervals", "no honest row", "honest alone", "an error", "only errors"],
)
def test_accuracies_that_are_missing_are_named(rows: list[TrialRow], known: list[TrialRow], said: str) -> None:
    figure = figures.accuracy_over_progress(accuracies(known), rows)
    assert said in words(figure)
    assert_well_laid(figure)


def test_an_accuracy_that_is_no_number_is_passed_over() -> None:
    rows = [row("II")]
    cells = accuracies(rows)
    cells[0]["accuracy"], cells[1]["accuracy"] = None, math.nan
    assert len(xy(lines(figures.accuracy_over_progress(cells, rows).axes[0], "II")[0])[0]) == 4


# --- saving ----------------------------------------------------------------------------------------------------------


def test_saved_pictures_open(tmp_path: Path) -> None:
    figure = figures.before_after([image_pairs(n=1)])
    png, pdf = figures.save(figure, tmp_path / "new folder" / "v1.2")
    assert (png.name, pdf.name) == ("v1.2.png", "v1.2.pdf")
    width, height = figure.get_size_inches()
    shape = imread(png).shape
    assert shape[:2] == (pytest.approx(height * 160, abs=1), pytest.approx(width * 160, abs=1))
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert sorted(path.name for path in png.parent.iterdir()) == ["v1.2.pdf", "v1.2.png"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [honest_row(), row("II")]
    first = figures.save(figures.six_panels(rows), tmp_path / "a")
    second = figures.save(figures.six_panels(rows), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_failure_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figures.before_after([])
    old = [path.read_bytes() for path in figures.save(figure, tmp_path / "x")]

    def broken(_: Figure, content: BytesIO, **__: object) -> None:
        content.write(b"half a picture")
        raise RuntimeError("no more")

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(RuntimeError, match="no more"):
        figures.save(figure, tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pdf", "x.png"]
    assert [(tmp_path / f"x.{kind}").read_bytes() for kind in ("png", "pdf")] == old


def test_a_folder_that_cannot_be_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the figure"):
        figures.save(figures.before_after([]), tmp_path / "file" / "x")
