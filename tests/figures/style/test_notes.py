"""Footnotes: nothing to say gives no footnote, names are told once and the first few of many."""

import pytest

from raypol.figures.series import settings_of
from raypol.figures.style.notes import (
    list_briefly,
    note_left_out,
    note_merged,
    note_names,
    note_no_proof,
    note_not_measured,
    note_proofs,
)
from tests.figures.figure_rows import honest_row, row


@pytest.mark.parametrize(
    ("names", "listed"),
    [([], ""), (["a"], "a"), (["a", "b", "a"], "a; b"), (list("abcdefgh"), "a; b; c; d; e; f; and 2 more")],
)
def test_names_are_listed_once_and_briefly(names: list[str], listed: str) -> None:
    assert list_briefly(names) == listed
    assert note_names("Not drawn", names) == ([f"Not drawn: {listed}."] if listed else [])


def test_measured_and_finished_rows_need_no_footnote() -> None:
    rows = [honest_row(), row("II")]
    settings = settings_of(rows)
    assert [*note_not_measured(rows), *note_left_out(rows), *note_merged([])] == []
    assert [*note_no_proof(settings), *note_proofs(settings)] == []


def test_rows_are_named_with_their_length() -> None:
    rows = [honest_row(estimated=True), row("II", simulated=True), row("II", 90, status="error")]
    assert note_not_measured(rows) == [
        "Simulated, not measured on that device: II at T' = 60.",
        "Estimated, from a sample of the intervals: honest at T = 1,000.",
    ]
    assert note_left_out(rows) == ["Left out, 1 of 3 rows (1 error): II at T' = 90."]


def test_a_setting_without_a_proof_is_named_among_several() -> None:
    alone, other = row("II"), honest_row(dataset="cifar10")
    assert note_no_proof(settings_of([alone]))[0].startswith("Missing: an honest row with status ok;")
    assert "status ok of digits, resnet8;" in note_no_proof(settings_of([alone, other]))[0]
