"""Attack I-tail: honest to the bit until its last interval, which then carries all of the distance."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack, method_of
from raypol.core.datasets.dataset import Dataset
from raypol.core.proof import MemoryProof
from raypol.core.verification.verifier import select_intervals
from tests.scenes import SHORT, Forged, claiming, forge, sgd, small_recipe, tiny, zero


@pytest.fixture(scope="module")
def tail(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(find_attack("i_tail", iterations=4), stolen, dataset, claiming(steps=20, interval=5))


def test_the_honest_prefix_replays_with_error_exactly_zero(tail: Forged) -> None:
    *prefix, last = tail.replays
    assert len(prefix) == 3
    assert all(zero(replay.error) for replay in prefix)
    assert all(zero(replay.buffer_error) for replay in prefix)
    assert last.error.l2 > 0.0
    assert all(zero(error) for error in tail.state_errors)


def test_the_honest_prefix_uses_no_own_points(tail: Forged, dataset: Dataset) -> None:
    own = [bool((record.indices >= len(dataset)).any()) for record in tail.proof.records]
    assert own == [False] * 15 + [True] * 5
    assert len(tail.stats) == 5


def test_the_honest_prefix_learns(tail: Forged) -> None:
    accuracies = tail.evidence.survey.accuracies
    assert accuracies[3] > accuracies[0] + 0.2


def test_the_last_interval_has_the_largest_movement_and_top_q_looks_there(tail: Forged, dataset: Dataset) -> None:
    movements = tail.evidence.survey.movements
    for metric in ("l1", "l2", "linf"):
        assert max(range(4), key=lambda i: getattr(movements[i], metric)) == 3
    found = select_intervals(
        "top_q",
        1,
        recipe=tail.proof.recipe,
        dataset_size=len(dataset),
        movements=movements,
        seed=0,
    )
    assert [interval.index for interval in found] == [3]


def test_it_ends_at_the_stolen_model(tail: Forged, stolen: MemoryProof) -> None:
    end, target = tail.proof.checkpoints[-1], stolen.checkpoints[-1]
    assert all(torch.equal(end.parameters[name], W) for name, W in target.parameters.items())


@pytest.mark.parametrize("choices", [{"carry": "exact"}, {"carry": "restart"}, {"declares": "no_momentum"}], ids=str)
def test_whatever_is_carried_the_prefix_is_honest(choices: dict[str, Any]) -> None:
    dataset = tiny()
    stolen = prove(small_recipe(dataset, optimizer=sgd(momentum=0.9)), dataset)
    made = forge(find_attack("i_tail", iterations=2), stolen, dataset, replace(SHORT, **choices))
    assert [zero(replay.error) for replay in made.replays] == [True, True, False]
    assert not made.proof.checkpoints[0].optimizer_state


def test_with_one_interval_there_is_no_prefix_to_be_honest_in() -> None:
    dataset = tiny()
    stolen = prove(small_recipe(dataset), dataset)
    made = forge(find_attack("i_tail", iterations=2), stolen, dataset, claiming(steps=4, interval=4))
    assert len(made.stats) == 4
    assert "hashes" not in made.rejected_by("strict")


def test_it_is_crafted_in_order() -> None:
    config = find_attack("i_tail")
    assert method_of(config).sequential(config, SHORT)
