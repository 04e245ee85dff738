"""Attack against policy: shares are of the trials with that verdict, and say of how many."""

import time
from pathlib import Path

import pytest

from raypol.figures import save
from raypol.store.results.rows import TrialRow
from tests.figures.figure_rows import (
    ATTACKS,
    assert_well_laid,
    assert_words_apart,
    honest_row,
    judged,
    row,
    said,
    words,
)

PUBLISHED, WON, STRICT, WON_STRICT = range(4)


def test_shares_and_their_number_in_each_cell() -> None:
    rows = [judged("II", 60, seed=i, accepted_strict=i > 0, success=i > 1, success_strict=i > 2) for i in range(4)]
    ax = save.verdict_matrix([honest_row(accepted_published=True, accepted_strict=True), *rows]).axes[0]
    cells = [said(ax, f"II:{column}") for column in (PUBLISHED, WON, STRICT, WON_STRICT)]
    assert cells == ["100% of 4", "50% of 4", "75% of 4", "25% of 4"]
    assert said(ax, f"honest:{PUBLISHED}") == "100% of 1"
    assert said(ax, f"honest:{WON}") == "-"
    assert_words_apart(ax)


@pytest.mark.parametrize(
    ("wins", "of", "text"),
    [(0, 1000, "0% of 1,000"), (1, 1000, "<1% of 1,000"), (999, 1000, ">99% of 1,000"), (1000, 1000, "100% of 1,000")],
)
def test_rounding_never_makes_all_or_none(wins: int, of: int, text: str) -> None:
    rows = [judged("II", 60, seed=i, success=i < wins) for i in range(of)]
    assert said(save.verdict_matrix(rows).axes[0], f"II:{WON}") == text


def test_the_checks_that_reject_are_counted() -> None:
    checks = ["replay,optimizer_state", "replay", "", None]
    rows = [judged("II", 60, seed=i, rejected_by=by, rejected_by_published="replay") for i, by in enumerate(checks)]
    ax = save.verdict_matrix(rows).axes[0]
    assert said(ax, "II:rejected_by") == "replay 2, optimizer state 1"
    assert said(ax, "II:rejected_by_published") == "replay 4"


def test_failed_and_stopped_trials_are_counted_apart() -> None:
    rows = [
        judged("II", 20),
        judged("II", 60, status="error", accepted_published=None, success=None, success_strict=None),
        judged("II", 90, status="stopped", accepted_published=None, accepted_strict=None, success=False),
    ]
    figure = save.verdict_matrix(rows)
    ax = figure.axes[0]
    assert said(ax, f"II:{PUBLISHED}") == "100% of 1"
    assert said(ax, f"II:{WON}") == "50% of 2"
    assert "1 of 3 trials failed: II 1." in words(figure)
    assert "1 of 3 trials stopped early, they did not succeed: II 1." in words(figure)


def test_honest_proofs_are_no_trials_of_the_notes() -> None:
    rows = [honest_row(), honest_row(seed=1, status="error"), judged("II", 60), row("II", 20, status="stopped")]
    told = words(save.verdict_matrix(rows))
    assert "1 of 2 trials stopped early, they did not succeed: II 1." in told
    assert "1 of 2 honest proofs failed." in told


def test_controls_and_what_was_not_measured_are_marked() -> None:
    figure = save.verdict_matrix([judged("null", 60, simulated=True), judged("II", 60, estimated=True)])
    texts = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "null (control) [sim.]" in texts
    assert "II [est.]" in texts
    assert "[sim.]: simulated rows among them, 1 in all." in words(figure)


def test_several_datasets_have_a_matrix_each() -> None:
    rows = [judged("II", 60), judged("II", 60, dataset="cifar10", success=False)]
    figure = save.verdict_matrix(rows)
    assert [said(ax, f"II:{WON}") for ax in figure.axes] == ["100% of 1", "0% of 1"]
    assert "cifar10, resnet8" in words(figure)
    assert_well_laid(figure)


BAD: dict[str, tuple[list[TrialRow], str]] = {
    "nothing": ([], "Missing: rows"),
    "one": ([judged("II", 60)], "digits, resnet8"),
    "no verdicts": ([row("II", success=None, success_strict=None)], "digits"),
    "only errors": ([row("II", status="error", success=None, success_strict=None)], "1 of 1 trials failed: II 1."),
    "foreign names": ([judged("_my $attack$ {x}" * 4, 60), judged("", 60, rejected_by="$_x," * 40)], "digits"),
    "many arms": ([judged(f"own attack number {i}", 60) for i in range(60)], "Not drawn: own attack number 45;"),
    "many settings": ([judged("II", 60, dataset=f"d{i}") for i in range(6)], "Not drawn: d4, resnet8; d5, resnet8."),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_draw_and_say_what_is_missing(case: str) -> None:
    rows, told = BAD[case]
    figure = save.verdict_matrix(rows)
    assert told in words(figure)
    assert_well_laid(figure)
    for ax in figure.axes:
        assert_words_apart(ax)


def test_ten_thousand_trials_draw_soon(tmp_path: Path) -> None:
    rows = [judged(ATTACKS[i % 8], 60, seed=i) for i in range(10_000)]
    begun = time.process_time()
    save.save_figure(save.verdict_matrix(rows), tmp_path / "x", kinds=("png",))
    assert time.process_time() - begun < 5.0
