"""Measured costs: counts are exact, what is made once stands apart, honest steps compare with themselves as 1."""

from typing import Any

import pytest
import torch

from raypol.core.attacks import find_attack
from raypol.core.costs import training_step_cost
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.shapes import SHAPES
from raypol.core.errors import InputError
from raypol.core.training.train_config import TrainConfig
from raypol.runs.bench import HONEST_STEP, BenchPlan, matrix_product_rate, measure_costs, this_computer
from raypol.store.step_costs import MeasuredCost

TRAIN = TrainConfig(model="tests.toys:mlp", steps=30, interval=10)


def costs(digits: Dataset, *names: str, **changes: Any) -> dict[str, MeasuredCost]:  # noqa: ANN401 - any field
    """By attack; none may be refused."""
    attacks = {name: find_attack(name) for name in names} | changes.pop("attacks", {})
    plan = BenchPlan(**{"train": TRAIN, "attacks": attacks, "repeats": 1, **changes})

    def refuse(name: str, reason: InputError) -> None:
        raise AssertionError(f"{name}: {reason}")

    return {cost.attack: cost for cost in measure_costs(plan, digits, on_refused=refuse).costs}


def test_honest_steps_cost_one_honest_step(digits: Dataset) -> None:
    found = costs(digits, repeats=5)[HONEST_STEP]
    assert 0.2 < found.median < 5.0, "other work on the machine changes it, not the order of magnitude"
    assert (found.gradient_evals, found.forward_passes, found.hashes, found.once) == (1, 0, 0, 0)
    recipe = TRAIN.recipe(digits, device="cpu", threads=1)
    assert found.flops == pytest.approx(training_step_cost(recipe, SHAPES["digits"]).flops * 64)


def test_null_costs_what_carrying_the_state_costs(digits: Dataset) -> None:
    assert costs(digits, "null")["null"].gradient_evals == 1
    free = costs(digits, "null", declares="no_momentum")["null"]
    assert (free.gradient_evals, free.forward_passes, free.flops) == (0, 0, 0)
    assert free.once > 0, "W_0 is found once"


def test_a_search_costs_what_its_iterations_cost(digits: Dataset) -> None:
    attacks = {str(n): find_attack("ii", iterations=n) for n in (2, 3)}
    found = costs(digits, attacks=attacks, declares="no_momentum")
    assert found["3"].gradient_evals - found["2"].gradient_evals == 2, "an evaluation is two passes of the batch"
    assert found["3"].flops > found["2"].flops > 0


def test_retries_are_counted_only_if_they_are_allowed(digits: Dataset) -> None:
    attacks = {"ii": find_attack("ii", iterations=1, max_grad_norm2=0.0, retries=3)}
    once, twice = (
        costs(digits, attacks=attacks, declares="no_momentum", retries=n)["ii"].gradient_evals for n in (0, 1)
    )
    assert twice == 2 * once


def test_what_is_made_once_stands_apart(digits: Dataset) -> None:
    found = costs(digits, "selected", "selected_anew", declares="no_momentum")
    assert found["selected"].forward_passes == 0
    assert found["selected"].once > 0
    assert found["selected_anew"].forward_passes == pytest.approx(-(-len(digits) // 64) / TRAIN.interval)


def test_attacks_that_need_more_are_granted_it(digits: Dataset) -> None:
    found = costs(digits, "forge_batch", "grind_selection", "null")
    assert found["forge_batch"].granted == ("trace",)
    assert found["forge_batch"].gradient_evals == pytest.approx((100 + 1) / TRAIN.interval)
    assert found["grind_selection"].granted == ("selection", "nonce")
    assert found["grind_selection"].steps == TRAIN.steps, "its last interval is unlike the others"
    assert found["grind_selection"].hashes > 0
    assert found["null"].granted == ()


def test_equal_presets_are_measured_once(digits: Dataset) -> None:
    ii = find_attack("ii", iterations=1)
    found = costs(digits, attacks={"ii": ii, "zhang2022_ii": ii})
    assert found["ii"].equivalents == found["zhang2022_ii"].equivalents


def test_an_attack_that_contradicts_the_declaration_is_left_out_and_named(digits: Dataset) -> None:
    refused: dict[str, str] = {}
    plan = BenchPlan(train=TRAIN, attacks={"i": find_attack("i")}, declares="accumulator", repeats=1)
    made = measure_costs(plan, digits, on_refused=lambda name, err: refused.update({name: str(err)}))
    assert [cost.attack for cost in made.costs] == [HONEST_STEP]
    assert "plain SGD" in refused["i"] or "one step of SGD" in refused["i"]


@pytest.mark.parametrize("changes", [{"repeats": 0}, {"intervals": 0}, {"retries": -1}, {"repeats": True}])
def test_numbers_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        BenchPlan(train=TRAIN, attacks={}, **changes)


def test_a_machine_multiplies_matrices() -> None:
    assert matrix_product_rate(torch.device("cpu")) > 1e8
    assert this_computer("cpu").threads == torch.get_num_threads()
