"""The arena as Markdown."""

from dataclasses import replace

from markdown_it import MarkdownIt

from raypol.report.arena.board import board_of
from raypol.report.arena.markdown import arena_markdown
from tests.report.arena.cells import cell, small_arena

HOSTILE = "[x](http://evil) | ![i](http://evil) <script>alert(1)</script> `a` \n# head"


def test_matrix_and_rankings_are_there() -> None:
    text = arena_markdown(board_of(small_arena()))
    assert "## digits, resnet8, T = 200, k = 10, batch size 64" in text
    assert "| attack | published | strict | exact | vc |" in text
    assert "| honest proofs | ✓ 20/20 | ✓ 20/20 | ✓ 20/20 | – not run |" in text
    assert "| selected | ✕ 0.050, 0.80 | ✕ 0.070, 0.80 | ○ 0/9 | – not run |" in text
    assert "| retrain | ◇ 1.30, 0.80 d | ◇ 1.30, 0.80 d | ◇ 1.30, 0.80 d | – not run |" in text
    assert "| 1 | exact |" in text
    assert "not broken within the budget of 8 forgeries per arm" in text
    assert "- Nothing is searched, judged as declared: retrain" in text
    assert "- vc: its circuit carries a linear model alone; one step of resnet8" in text
    assert "vc" not in text.replace("- vc: ", "").replace("| vc |", "")


def test_what_has_no_verdict_has_a_line() -> None:
    cells = [*small_arena(), cell("blend", "strict", tried=0, accepted=0, failed=2)]
    text = arena_markdown(board_of(cells))
    assert "- blend against strict: no verdict: 2 trials failed" in text
    assert "- blend against published, exact: not run" in text


def test_what_another_training_has_is_named_where_it_was_not_run() -> None:
    text = arena_markdown(board_of([*small_arena(), cell("I", "bound", model="resnet20")]))
    assert "- Not run on this training: attack I; policy bound" in text


def test_texts_of_rows_make_no_markup() -> None:
    cells = [replace(one, arm=HOSTILE if one.arm == "selected" else one.arm, commit=HOSTILE) for one in small_arena()]
    plain, hostile = (arena_markdown(board_of(one)) for one in (small_arena(), cells))
    read = MarkdownIt("commonmark").enable("table")
    assert [token.type for token in read.parse(hostile)] == [token.type for token in read.parse(plain)]
    html = read.render(hostile)
    assert "<a " not in html
    assert "<img" not in html
    assert "<script" not in html


def test_the_same_cells_give_the_same_text() -> None:
    text = arena_markdown(board_of(small_arena()))
    assert text == arena_markdown(board_of(small_arena()))
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert arena_markdown(board_of([])).count("There are no cells yet.") == 1
