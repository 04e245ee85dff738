"""Sentences of the findings: no more than the rows show."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from raypol.report.arena.board import board_of
from raypol.report.findings.page import findings
from raypol.report.findings.policies import on_stopping, on_unseen
from raypol.report.findings.predictions import composed
from raypol.report.findings.task import Task, codes, how_often, verb
from raypol.runs.arena.standing import ArenaRows
from raypol.store.results.cell_rows import CellRow
from raypol.store.results.rows import HONEST
from tests.runs.arena.test_cells import CELLS, made_arena, made_cells


def task(cells: Sequence[CellRow]) -> Task:
    _, rows, verdicts = made_arena()
    arena = ArenaRows(sweep_id="made", cells=tuple(cells), trials=tuple(rows), verdicts=tuple(verdicts))
    (board,) = board_of(cells).tasks
    return Task(board, [arena], [])


def changed(arm: str, policy: str, **changes: object) -> list[CellRow]:
    return [
        replace(cell, **changes) if (cell.arm, cell.policy) == (arm, policy) else cell  # type: ignore[arg-type]
        for cell in made_cells()
    ]


def said(cells: Sequence[CellRow]) -> str:
    return "\n".join(on_stopping([task(cells)]))


def test_rejected_honest_proofs_are_named_with_their_number() -> None:
    text = said(made_cells())
    assert "Honest proofs rejected: [`strict`]" in text
    (line,) = [one for one in text.splitlines() if one.startswith("Honest proofs rejected:")]
    assert line.count(" 1 of 4") == 2, "strict and random"
    assert "No policy rejects" not in text


def test_a_policy_that_rejects_every_honest_proof_proves_nothing_by_rejecting() -> None:
    text = said(changed(HONEST, "strict", accepted=0))
    assert "4 of 4" in text
    assert "What `strict` rejects says nothing." in text
    assert "Of 2 policies that accept honest proofs" in text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("searched", "published", "declared"), ""),
        (("searched", "published", "adaptive"), " (2 of 3 seeds)"),
        (("searched", "random", "adaptive"), " (25 % of nonces, 2 of 3 seeds)"),
        (("declared", "published", "declared"), " (1 of 2 seeds)"),
        ((HONEST, "random", "declared"), " (60 % of nonces, 3 of 4 seeds)"),
    ],
    ids=", ".join,
)
def test_what_is_not_always_accepted_says_how_often(key: tuple[str, str, str], words: str) -> None:
    assert how_often(CELLS[key]) == words


def test_the_second_seed_of_the_cheapest_forgery_was_tried_or_not() -> None:
    assert "| at 2 of 3 seeds |" in said(made_cells())
    once = [replace(cell, seeds=1, seeds_accepted=min(cell.seeds_accepted, 1)) for cell in made_cells()]
    assert "| not tried |" in said(once)


def test_an_honest_training_of_another_seed_says_its_length_and_who_rejects_it_why() -> None:
    cells = [
        replace(cell, arm="retrain", claims="another model", steps=20, accepted=0, rejected_by="replay,bound_seed")
        if cell.arm == "searched"
        else cell
        for cell in made_cells()
    ]
    text = "\n".join(on_unseen([task(cells)]))
    assert "(T' = 20 of 40 steps)" in text
    assert "is accepted by 0 of 3 policies." in text
    assert "by `replay` and `bound_seed`." in text


@pytest.mark.parametrize(
    ("alone", "policies"),
    [
        ("AAAAAAAAA", "AAAAAAAAA"),
        ("AAARAAAAA", "AARRRRRRR"),
        ("AAA RAR A", "AA  R R  "),
        ("    A   R", "        R"),
    ],
)
def test_a_policy_on_strict_accepts_what_both_accept(alone: str, policies: str) -> None:
    assert composed(alone) == policies


def test_one_is_one_and_two_are_two() -> None:
    assert verb(["a"], "accept") == "accepts"
    assert verb(["a", "b"], "accept") == "accept"
    assert codes([]) == ""
    assert codes(["a"]) == "`a`"
    assert codes(["a", "b", "c"]) == "`a`, `b` and `c`"


def test_the_page_holds_every_section() -> None:
    whole = task(made_cells())
    text = findings(board_of(made_cells()), whole.arenas)
    assert text.count("\n## ") == 7
    assert not re.search(r"\b1 (policies|forgeries|honest proofs|trials|seeds)\b|any of 1 ", text)
