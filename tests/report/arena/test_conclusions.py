"""What an arena says on a terminal, from invented cells."""

from dataclasses import replace

from raypol.report.arena.conclusions import (
    best_cells,
    broken_sentences,
    conclude_arena,
    honest_sentences,
    matrix_table,
)
from tests.runs.arena.test_cells import made_arena, made_cells

CELLS = made_cells()


def lines() -> dict[str, list[str]]:
    return {str(line[0]): [str(entry) for entry in line[1:]] for line in matrix_table(CELLS).lines}


def test_the_matrix_shows_costs_where_a_policy_is_broken_and_nothing_else() -> None:
    found = lines()
    assert found["honest"] == ["4/4", "3/4", "3/4"]
    assert found["searched"] == ["0.2 (2/3)", "-", "0.1 (2/3)"]
    assert found["declared"] == ["2.5 (1/2)", "-", "-"]
    assert found["null"] == ["failed"] * 3
    assert "after a search of 3 forgeries" in matrix_table(CELLS).note


def test_arms_that_claim_something_else_are_in_brackets_and_not_counted() -> None:
    cells = [replace(cell, claims="another model") if cell.arm == "declared" else cell for cell in CELLS]
    assert [line[0] for line in matrix_table(cells).lines] == [
        "honest",
        "infinitesimal",
        "null",
        "searched",
        "(declared)",
    ]
    published = next(one for one in broken_sentences(cells) if one.startswith("published"))
    assert "accepts 1 of 3 attacks on W_T, the cheapest searched (T' = 320) at 0.2 of the proof's time" in published


def test_a_policy_that_nothing_passes_is_said_to_be_unbroken_within_the_budget() -> None:
    said = broken_sentences(CELLS)
    assert "strict: accepts none of 4 attacks on W_T within the budget." in said
    assert any(one.startswith("published: accepts 2 of 4 attacks on W_T, the cheapest searched") for one in said)


def test_policies_alike_share_a_sentence() -> None:
    cells = [cell for cell in CELLS if cell.policy == "strict"]
    others = [replace(cell, policy="stricter") for cell in cells]
    assert broken_sentences([*cells, *others]) == [
        "strict; stricter: accept none of 4 attacks on W_T within the budget."
    ]


def test_honest_proofs_that_are_rejected_are_named() -> None:
    assert honest_sentences(CELLS) == ["Honest proofs rejected: strict 1 of 4, random 1 of 4."]
    assert honest_sentences([c for c in CELLS if c.policy == "published"]) == [
        "No policy rejects any of 4 honest proofs."
    ]
    assert honest_sentences([c for c in CELLS if c.arm != "honest"]) == []


def test_what_a_search_found_stands_for_its_arm_whatever_the_order() -> None:
    for cells in (CELLS, list(reversed(CELLS))):
        best = {(cell.arm, cell.policy): cell.mode for cell in best_cells(cells)}
        assert len(best) == 15
        assert all((mode == "adaptive") is (arm == "searched") for (arm, _), mode in best.items())


def test_an_accepted_spoof_of_no_known_cost_is_shown_as_such() -> None:
    cells = [replace(cell, cost=None) for cell in CELLS if cell.arm == "searched" and cell.policy == "published"]
    assert matrix_table(cells).lines == [["searched", "? (2/3)"]]


def test_failures_and_an_early_end_are_remarked() -> None:
    _, rows, _ = made_arena()
    found = conclude_arena(CELLS, rows, planned=40, resumed=3, stopped="the disk is full")
    assert "The sweep ended early: the disk is full." in found.remarks
    assert any("no null" in remark for remark in found.remarks)
    assert found.tables[0].title == "Attack against policy"
