"""What an adversary declares: the rule that a replay follows, what it costs to carry its state, and the statistics beside it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from raypol import prove
from raypol.core.arithmetic.precision import Precision
from raypol.core.attacks import find_attack
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, MemoryProof, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.spoofing.declarations import DECLARES, Declares, declared_rule
from raypol.core.spoofing.spoof_config import Buffers
from raypol.core.training.optimizers import learning_rates, state_depends_on
from raypol.core.training.trainer import Trainer
from tests.scenes import SHORT, Forged, bits, forge, sgd, small_recipe, tiny, zero

DATA = tiny()
MOMENTUM = sgd(momentum=0.9, nesterov=True, weight_decay=1e-4)
STEPPED = ScheduleConfig(name="StepLR", options={"step_size": 6})
FREE: list[Declares] = ["no_momentum", "accumulator"]
"""Declarations whose state follows from no gradient."""


def honest(**changes: Any) -> MemoryProof:  # noqa: ANN401 - any field of Recipe
    return prove(small_recipe(DATA, **{"optimizer": MOMENTUM, "schedule": STEPPED, **changes}), DATA)


def forged(declares: Declares, buffers: Buffers = "linear", **changes: Any) -> Forged:  # noqa: ANN401 - of Recipe
    return forge(
        find_attack("null"), honest(**changes), DATA, replace(SHORT, declares=declares, carry="exact", buffers=buffers)
    )


def replayed(proof: MemoryProof, index: int) -> Checkpoint:
    """Where an exact replay of an interval of ordinary points arrives."""
    interval = proof.recipe.interval_at(index)
    trainer = Trainer(proof.recipe, DATA)
    trainer.load(proof.checkpoints[index])
    for record in proof.records[interval.start : interval.stop]:
        where = torch.from_numpy(record.indices)
        trainer.step(record.step, DATA.pixels[where], DATA.labels[where])
    return trainer.snapshot(interval.stop)


def moved(proof: MemoryProof) -> float:
    """How far the replay of the first interval moves."""
    start, end = proof.checkpoints[0].parameters, replayed(proof, 0).parameters
    return max(float((end[name] - start[name]).abs().max()) for name in start)


# --- the rule that is declared ---------------------------------------------------------------------------------------


def test_every_declaration_is_a_rule_that_trains_and_the_honest_one_is_the_proofs_own() -> None:
    recipe = small_recipe(DATA, optimizer=MOMENTUM, schedule=STEPPED)
    assert declared_rule(recipe, "honest_schedule") == recipe
    for declares in DECLARES:
        declared = declared_rule(recipe, declares)
        Trainer(declared, DATA)
        assert replace(declared, optimizer=recipe.optimizer, schedule=recipe.schedule) == recipe, "nothing else changes"


def test_vanishing_is_the_honest_rule_at_a_constant_rate_of_a_millionth() -> None:
    declared = declared_rule(small_recipe(DATA, optimizer=MOMENTUM, schedule=STEPPED), "vanishing")
    assert declared.optimizer == OptimizerConfig(name="SGD", options={**MOMENTUM.options, "lr": 1e-6})
    assert learning_rates(declared).tolist() == [1e-6] * 12


def test_without_momentum_the_honest_rate_and_schedule_stay() -> None:
    recipe = small_recipe(DATA, optimizer=MOMENTUM, schedule=STEPPED)
    declared = declared_rule(recipe, "no_momentum")
    assert declared.optimizer.options == {"lr": 0.05, "momentum": 0.0, "weight_decay": 1e-4}
    assert learning_rates(declared).tolist() == learning_rates(recipe).tolist()


@pytest.mark.parametrize("name", ["Adam", "Adagrad"])
def test_only_an_optimizer_that_can_go_without_state_goes_without_momentum(name: str) -> None:
    recipe = small_recipe(DATA, optimizer=OptimizerConfig(name=name, options={"lr": 1e-3}))
    with pytest.raises(InputError, match=f"no_momentum needs .*got {name}"):
        declared_rule(recipe, "no_momentum")
    for declares in ("vanishing", "accumulator", "published"):
        Trainer(declared_rule(recipe, declares), DATA)


def test_the_accumulator_keeps_an_ordinary_rate_and_moves_nothing() -> None:
    made = forged("accumulator").proof
    assert made.recipe.optimizer.lr == 0.05
    # lr |g| / sqrt(1e16) a step, three steps, and float32 weights of order 1.
    assert moved(made) < 1e-6
    assert moved(forged("vanishing").proof) < 1e-4
    assert moved(forged("no_momentum").proof) > 1e-3, "no_momentum does move"
    assert moved(forged("honest_schedule").proof) > 1.5 * moved(forged("no_momentum").proof)


# --- the state that is carried ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"precision": "float64"}, {"model": "tests.scenes:half_frozen_net"}], ids=str)
@pytest.mark.parametrize("declares", DECLARES)
def test_the_recorded_state_is_what_an_exact_replay_leaves_bit_for_bit(
    declares: Declares, changes: dict[str, Any]
) -> None:
    made = forged(declares, **changes)
    for index in range(3):
        found, expected = made.proof.checkpoints[index + 1].optimizer_state, replayed(made.proof, index).optimizer_state
        assert {name: bits(value) for name, value in found.items()} == {n: bits(v) for n, v in expected.items()}
    assert all(zero(error) for error in made.state_errors)
    assert all(not replay.state_problem for replay in made.replays)
    assert bool(made.proof.checkpoints[-1].optimizer_state) == (declares != "no_momentum")


@pytest.mark.parametrize("declares", DECLARES)
def test_a_state_costs_a_gradient_per_step_only_if_it_follows_from_gradients(declares: Declares) -> None:
    cost = forged(declares).proof.cost
    assert cost.gradient_evals == (0 if declares in FREE else 7)
    assert cost.forward_passes == 0


@pytest.mark.parametrize(
    ("optimizer", "precision", "expected"),
    [
        (sgd(), "float32", "nothing"),
        (sgd(momentum=0.0), "float32", "nothing"),
        (sgd(momentum=0.1), "float32", "gradients"),
        (OptimizerConfig(name="Adam", options={"lr": 1e-3}), "float32", "gradients"),
        (OptimizerConfig(name="Adagrad", options={"lr": 0.1}), "float32", "gradients"),
        (
            OptimizerConfig(name="Adagrad", options={"lr": 0.1, "initial_accumulator_value": 1e6}),
            "float32",
            "gradients",
        ),
        (OptimizerConfig(name="Adagrad", options={"lr": 0.1, "initial_accumulator_value": 1e16}), "float32", "steps"),
        (OptimizerConfig(name="Adagrad", options={"lr": 0.1, "initial_accumulator_value": 1e16}), "bf16", "steps"),
        (
            OptimizerConfig(name="Adagrad", options={"lr": 0.1, "initial_accumulator_value": 1e16}),
            "float64",
            "gradients",
        ),
        (OptimizerConfig(name="Adagrad", options={"lr": 0.1, "initial_accumulator_value": 1e24}), "float64", "steps"),
    ],
)
def test_what_a_state_follows_from_depends_on_the_last_place_of_its_accumulator(
    optimizer: OptimizerConfig,
    precision: Precision,
    expected: str,
) -> None:
    recipe: Recipe = small_recipe(DATA, optimizer=optimizer, precision=precision)
    assert state_depends_on(recipe) == expected


# --- statistics of norm layers ---------------------------------------------------------------------------------------


def buffer_gaps(made: Forged) -> list[float]:
    """Per interval: the largest difference of recorded and replayed statistics."""
    gaps = []
    for index in range(3):
        found, expected = made.proof.checkpoints[index + 1].buffers, replayed(made.proof, index).buffers
        assert found.keys() == expected.keys()
        gaps.append(max(float((found[name].double() - expected[name].double()).abs().max()) for name in found))
    return gaps


@pytest.mark.parametrize("declares", ["honest_schedule", "published", "vanishing"])
def test_exact_statistics_are_the_replays_own_where_the_state_is_trained(declares: Declares) -> None:
    made = forged(declares, "exact")
    for index in range(3):
        found, expected = made.proof.checkpoints[index + 1].buffers, replayed(made.proof, index).buffers
        assert {name: bits(value) for name, value in found.items()} == {n: bits(v) for n, v in expected.items()}
    assert all(zero(replay.buffer_error) for replay in made.replays)
    cost = made.proof.cost
    assert (cost.gradient_evals, cost.forward_passes) == (7, 0), "they come with the state"


@pytest.mark.parametrize("declares", FREE)
def test_exact_statistics_cost_a_forward_pass_a_step_where_nothing_trains_and_are_near_the_replays(
    declares: Declares,
) -> None:
    made, linear = forged(declares, "exact"), forged(declares)
    cost = made.proof.cost
    assert (cost.gradient_evals, cost.forward_passes) == (0, 7)
    near, far = buffer_gaps(made), buffer_gaps(linear)
    assert near[-1] == 0.0, "an interval of one step: the same pass at the same weights"
    assert all(close < 0.2 * straight for close, straight in zip(near, far, strict=True)), (near, far)
    for one, other in zip(made.proof.checkpoints, linear.proof.checkpoints, strict=True):
        assert all(torch.equal(one.parameters[name], W) for name, W in other.parameters.items())


def test_a_restarted_state_leaves_exact_statistics_to_forward_passes() -> None:
    spoof = replace(SHORT, carry="restart", buffers="exact")
    made = forge(find_attack("null"), honest(), DATA, spoof)
    assert (made.proof.cost.gradient_evals, made.proof.cost.forward_passes) == (0, 7)
    assert buffer_gaps(made)[-1] == 0.0
