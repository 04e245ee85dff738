"""The matrix and the rankings of the arena."""

import random
from dataclasses import replace
from typing import Any

import pytest

from raypol.core.verifiable.networks import network_constraints
from raypol.report.arena.board import Board, PolicyColumn, Square, TaskBoard, board_of, status_of
from raypol.report.arena.rankings import place_text, rank_attacks, rank_verifiers
from raypol.report.arena.uncarried import with_uncarried
from raypol.report.arena.wording import (
    policy_words,
    ratio_text,
    summary_words,
    unbroken_words,
    verdict_words,
    why_unjudged,
)
from raypol.runs.arena.verifiers import STATIC
from raypol.store.results.cell_rows import CellRow
from tests.report.arena.cells import cell, small_arena


def column(name: str, sha256: str) -> PolicyColumn:
    return PolicyColumn(name=name, sha256=sha256, label=name)


def only_task(cells: list[CellRow]) -> TaskBoard:
    (task,) = board_of(cells).tasks
    return task


@pytest.mark.parametrize(
    ("arm", "changes", "status"),
    [
        ("selected", {"cost": 0.1}, "broken"),
        ("selected", {}, "held"),
        ("null", {"cost": 0.1}, "broken"),
        ("null", {}, "control"),
        ("untrained", {"cost": 0.1}, "broken"),
        ("retrain", {"cost": 0.1, "claims": "another model"}, "accepted"),
        ("subtract", {"claims": "other data"}, "rejected"),
        ("honest", {}, "honest"),
        ("honest", {"accepted": 3}, "false_rejection"),
        ("selected", {"tried": 0, "accepted": 0, "failed": 2}, "unjudged"),
        ("selected", {"tried": 0, "accepted": 0, "estimated": True}, "estimated"),
    ],
)
def test_an_answer_means_one_thing(arm: str, changes: dict[str, Any], status: str) -> None:
    assert status_of(cell(arm, **changes)) == status


def test_nothing_is_called_secure_and_the_budget_is_named() -> None:
    said = verdict_words(cell(budget=8, tried=9))
    assert said == "Not broken within the budget of 8 forgeries (9 judged, as declared among them)."
    every = [verdict_words(one) for one in small_arena()]
    assert not any("secure" in one.lower() or "safe" in one.lower() for one in every)
    assert "nothing searched" in verdict_words(cell(mode="declared"))


def test_a_search_that_is_not_finished_is_not_said_to_have_used_its_budget() -> None:
    waiting = cell(policy="exact", budget=8, tried=8)
    assert status_of(waiting) == "unfinished"
    assert verdict_words(waiting) == "Not broken so far: 8 judged, of a budget of 8 forgeries that is not used up."
    assert status_of(replace(waiting, exhausted=True)) == "held"
    assert status_of(replace(waiting, failed=1)) == "held", "the declared arm is judged besides the budget"
    (verifier,) = rank_verifiers(only_task([cell("honest", "exact"), waiting]))
    assert verifier.unfinished == 1
    assert unbroken_words(verifier) == "not broken so far, 1 search not finished"
    assert "Not broken so far" in summary_words([verifier])


def test_a_claim_of_another_model_breaks_nothing() -> None:
    cells = [cell("honest", "exact"), cell("retrain", "exact", cost=1.0, claims="another model")]
    (verifier,) = rank_verifiers(only_task(cells))
    assert verifier.cheapest is None
    assert (verifier.others, verifier.others_of) == (1, 1)
    assert rank_attacks(only_task(cells)) == []
    assert "no forgery of the stolen model" in verdict_words(cells[1])


def test_what_the_declared_arm_breaks_is_not_called_unbroken() -> None:
    """A search at one seed may find nothing where the declared arm passed at another."""
    declared = cell(cost=0.3, mode="declared")
    place = Square(declared=declared, adaptive=cell())
    assert place.shown("adaptive") is declared
    assert place.status("adaptive") == "broken"
    better = cell(cost=0.9)
    assert Square(declared=declared, adaptive=better).shown("adaptive") is better
    assert Square(declared=declared, adaptive=better).shown("declared") is declared


def test_every_empty_place_has_a_reason() -> None:
    assert "not run" in why_unjudged(Square(), "adaptive")
    assert "as declared" in why_unjudged(Square(adaptive=cell()), "declared")
    assert "2 trials failed" in why_unjudged(Square(declared=cell(tried=0, accepted=0, failed=2)), "declared")
    assert "sample" in why_unjudged(Square(declared=cell(tried=0, accepted=0, estimated=True)), "declared")
    assert why_unjudged(Square(declared=cell()), "declared") == ""
    task = only_task([*small_arena(), cell("blend", "strict", cost=0.2)])
    empty = [
        place
        for line in task.lines
        for place in line.places
        if not (cell_ := place.shown("adaptive")) or not cell_.tried
    ]
    assert len(empty) == 2
    assert all(why_unjudged(place, "adaptive") for place in empty)


def test_lines_and_columns_stand_in_the_order_of_results() -> None:
    task = only_task(small_arena())
    assert [one.label for one in task.policies] == ["published", "strict", "exact"]
    assert [line.arm for line in task.lines] == ["honest", "null", "untrained", "selected", "steered", "retrain"]


def test_rankings_do_not_depend_on_the_order_of_cells() -> None:
    cells = small_arena()
    shuffled = random.Random(3).sample(cells, len(cells))
    one, other = only_task(cells), only_task(shuffled)
    assert [r.policy.label for r in rank_verifiers(one)] == [r.policy.label for r in rank_verifiers(other)]
    assert [r.line.arm for r in rank_attacks(one)] == [r.line.arm for r in rank_attacks(other)]


def test_verifiers_rank_by_their_cheapest_forgery() -> None:
    exact, strict, published = rank_verifiers(only_task(small_arena()))
    assert (exact.policy.label, exact.place, exact.cheapest, exact.budget) == ("exact", 1, None, 8)
    assert strict.cheapest is not None
    assert (strict.cheapest.cost, strict.by, strict.broken_by, strict.attacks) == (0.07, ["selected"], 1, 2)
    assert published.cheapest is not None
    assert published.cheapest_attack is not None
    assert (published.cheapest.cost, published.by) == (0.02, ["null"])
    assert (published.cheapest_attack.arm, published.controls_passed) == ("selected", ["null"])
    assert summary_words([exact, strict, published]) == (
        "2 of 3 policies that accept honest proofs accept a forgery, the cheapest at 0.020 of the honest proof's cost "
        "(null against published). Not broken within 8 forgeries per arm: exact."
    )


def test_ties_are_said_and_a_policy_that_rejects_every_honest_proof_has_no_place() -> None:
    cells = small_arena()
    cells += [cell("honest", "wall", accepted=0, tried=20), cell("selected", "wall")]
    cells += [cell("honest", "other", tried=20), cell("selected", "other")]
    ranked = rank_verifiers(only_task(cells))
    shown = [(one.policy.label, place_text(one.place, is_tied=one.is_tied)) for one in ranked]
    assert sorted(shown[:2]) == [("exact", "1="), ("other", "1=")]
    assert shown[2:] == [("strict", "3"), ("published", "4"), ("wall", "–")]
    assert all("wall" not in one.policies and one.judged <= 4 for one in rank_attacks(only_task(cells)))


def test_an_accepted_forgery_of_unknown_cost_still_breaks() -> None:
    cells = [cell("honest", "a"), cell("selected", "a", accepted=1, cost=0.4), cell("honest", "b")]
    cells.append(replace(cell("selected", "b", accepted=1, cost=0.4), cost=None))
    assert [(one.policy.label, one.broken_by) for one in rank_verifiers(only_task(cells))] == [("a", 1), ("b", 1)]


def test_attacks_rank_by_what_they_break_then_by_mean_rank() -> None:
    found = rank_attacks(only_task(small_arena()))
    assert [(one.line.arm, len(one.policies), one.judged) for one in found] == [
        ("selected", 2, 3),
        ("null", 1, 3),
        ("steered", 1, 3),
        ("untrained", 0, 3),
    ]
    # published: null, selected, steered, untrained; strict: selected, the others share 2 to 4; exact: all share 1 to 4.
    assert [one.mean_rank for one in found] == pytest.approx([5.5 / 3, 6.5 / 3, 8.5 / 3, 9.5 / 3])


def test_policies_of_one_name_and_other_content_are_two_columns() -> None:
    cells = [cell(policy="calibrated", policy_sha256=sha * 32, sweep_id=sha) for sha in ("aa", "bb")]
    labels = [one.label for one in only_task(cells).policies]
    assert labels == ["calibrated aaaaaaaa", "calibrated bbbbbbbb"]


def test_of_sweeps_that_ask_the_same_the_cheaper_forgery_is_shown() -> None:
    cells = [cell(cost=0.3, sweep_id="a"), cell(cost=0.2, sweep_id="b"), cell(sweep_id="c", tried=50)]
    task = only_task(cells)
    shown = task.lines[0].places[0].shown("adaptive")
    assert shown is not None
    assert (shown.sweep_id, task.left_out) == ("b", 2)


def test_trainings_are_apart() -> None:
    board = board_of([cell(), cell(model="resnet20"), cell(batch_size=32)])
    assert [task.slug for task in board.tasks] == [
        "digits-resnet20-T200-k10-B64",
        "digits-resnet8-T200-k10-B32",
        "digits-resnet8-T200-k10-B64",
    ]
    assert board_of([]) == Board(tasks=[])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (float("inf"), "∞"), (0.0, "0"), (0.0404, "0.040"), (0.0996, "0.10"), (1.256, "1.26"),
     (9.996, "10.0"), (36.868, "36.9"), (182.4, "182"), (7e-5, "7.0e-5"),
     (0.00081, "8.1e-4"), (0.00096, "9.6e-4"), (0.000996, "0.0010"), (0.00614, "0.0061"), (0.00996, "0.010"), (3.2e8, "3.2e+8")],
)  # fmt: skip
def test_a_ratio_has_the_digits_that_count(value: float | None, text: str) -> None:
    assert ratio_text(value) == text


def test_a_policy_is_described_by_what_it_adds() -> None:
    said = {policy.name: policy_words(column(policy.name, policy.sha256)) for policy in STATIC}
    assert said["near_copy"] == "strict + near_copy"
    assert said["random"] == "strict, 1 interval per epoch (random)"
    assert said["top_q"] == "published, 1 interval per epoch (top_q)"
    assert said["dynamic"] == "strict, dynamic slack"
    assert said["exact"] == "strict + exact, bound_seed, commitment, own_points"
    assert said["refereed"] == "declared_seed, own_points, exact alone"
    assert policy_words(column("near_copy", "of another content")) == ""


def test_a_policy_that_can_judge_nothing_has_a_column_that_says_why_and_no_place() -> None:
    (task,) = with_uncarried(board_of(small_arena())).tasks
    last = task.policies[-1]
    assert (last.label, [place.status("adaptive") for _, place in task.column(3)]) == ("vc", ["absent"] * 6)
    n, memory = network_constraints("resnet8", (1, 8, 8), 64), "GB of memory (estimate)"
    assert last.uncarried.startswith("its circuit carries a linear model alone; one step of resnet8 at B = 64")
    assert f"at least {n:.1e} constraints" in last.uncarried
    assert last.uncarried.endswith(memory)
    ranked = rank_verifiers(task)
    assert (ranked[-1].policy.label, ranked[-1].place, unbroken_words(ranked[-1])) == ("vc", None, "not run")
    assert policy_words(last) == f"not run: {last.uncarried}"
    assert summary_words(ranked) == summary_words(rank_verifiers(only_task(small_arena())))
    assert [one.judged for one in rank_attacks(task)] == [one.judged for one in rank_attacks(only_task(small_arena()))]
    assert with_uncarried(with_uncarried(board_of(small_arena()))) == with_uncarried(board_of(small_arena()))


@pytest.mark.parametrize("changes", [{"model": "os:system"}, {"dataset": "my.data:all"}, {"batch_size": 2**40}])
def test_nothing_is_computed_of_what_is_not_built_in(changes: dict[str, Any]) -> None:
    (task,) = with_uncarried(board_of([cell(**changes)])).tasks
    assert task.policies[-1].uncarried == "its circuit carries a linear model alone"
