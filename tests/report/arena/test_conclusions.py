"""What an arena says on a terminal, from invented cells."""

from dataclasses import replace

from raypol.report.arena.board import board_of
from raypol.report.arena.conclusions import conclude_arena, matrix_table
from raypol.report.tables import Table
from raypol.store.results.cell_rows import CellRow
from tests.runs.arena.test_cells import made_arena, made_cells

CELLS = made_cells()


def matrix(cells: list[CellRow]) -> Table:
    return matrix_table(board_of(cells).tasks[0])


def lines(cells: list[CellRow] = CELLS) -> dict[str, dict[str, str]]:
    found = matrix(cells)
    policies = [column.title.replace("\n", "_") for column in found.columns[1:]]
    return {str(line[0]): dict(zip(policies, map(str, line[1:]), strict=True)) for line in found.lines}


def test_the_matrix_shows_costs_where_a_policy_is_broken_and_nothing_else() -> None:
    found = lines()
    assert found["honest"] == {"published": "4/4", "strict": "3/4", "random": "3/4"}
    assert found["searched"] == {"published": "0.2", "strict": "-", "random": "0.1"}
    assert found["declared"] == {"published": "1.5", "strict": "-", "random": "-"}
    assert set(found["null"].values()) == {"failed"}
    assert "after a search of 3 forgeries" in matrix(CELLS).note


def test_a_second_seed_that_accepts_too_is_marked() -> None:
    cells = [replace(cell, seeds_accepted=cell.seeds) if cell.is_broken else cell for cell in CELLS]
    assert lines(cells)["searched"]["published"] == "0.2+"


def test_arms_that_claim_something_else_are_in_brackets_and_not_counted() -> None:
    cells = [replace(cell, claims="another model") if cell.arm == "declared" else cell for cell in CELLS]
    assert "(declared)" in lines(cells)
    assert "declared" not in lines(cells)


def test_the_summary_names_who_is_broken_and_whose_honest_proofs_are_rejected() -> None:
    _, rows, _ = made_arena()
    said = " ".join(conclude_arena(CELLS, rows, planned=40, resumed=3).summary)
    assert "2 of 3 policies that accept honest proofs accept a forgery" in said
    assert "Honest proofs rejected: " in said
    assert "strict 1 of 4" in said
    assert "random 1 of 4" in said
    published = [cell for cell in CELLS if cell.policy == "published"]
    assert "No policy rejects any of 4 honest proofs." in conclude_arena(published, rows, planned=40, resumed=0).summary


def test_an_accepted_spoof_of_no_known_cost_is_shown_as_such() -> None:
    cells = [replace(cell, cost=None) for cell in CELLS if cell.arm == "searched" and cell.policy == "published"]
    assert lines(cells)["searched"]["published"].startswith("?")


def test_failures_and_an_early_end_are_remarked() -> None:
    _, rows, _ = made_arena()
    found = conclude_arena(CELLS, rows, planned=40, resumed=3, stopped="the disk is full")
    assert "The sweep ended early: the disk is full." in found.remarks
    assert any("no null" in remark for remark in found.remarks)
    assert "digits" in found.tables[0].title
