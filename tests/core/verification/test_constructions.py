"""Proofs made without training, each by a hole of a verifier that follows whatever is declared: `strict` closes all of them.

Every construction is judged with slacks near zero, under the conditions that it was made for.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from raypol import SpoofConfig, prove, spoof
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.proof import Checkpoint, MemoryProof, OptimizerConfig, ScheduleConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.prover import initial_checkpoint
from raypol.core.verification.admissible import OPTIONS, rule_problems
from raypol.core.verification.policies import find_policy, published, strict
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import examine
from tests.constructions import forger, growing, negative_rates, rule, stolen_mlp, swapped_buffers, turned_over
from tests.toys import EXACT, FRESH, RECORDED, changed, copy_of, rehash, toy_recipe, train_from

TINY = Thresholds(l1=1e-4, l2=1e-6, linf=1e-6, cos=1e-6)


@pytest.fixture(scope="module")
def stolen(digits: Dataset) -> Checkpoint:
    return stolen_mlp(digits)


def judged(proof: MemoryProof, digits: Dataset, policy: str = "strict") -> Verdict:
    proof.seal()
    return find_policy(policy)(examine(proof, digits, RECORDED), TINY, None)


# --- a state that grows, or is weighed too lightly -------------------------------------------------------------------


@pytest.mark.parametrize(("interval", "steps"), [(2, 120), (4, 160)])
@pytest.mark.parametrize("momentum", [1.1, 1.2, 1.5])
def test_a_momentum_that_grows_is_not_admissible(
    stolen: Checkpoint, digits: Dataset, momentum: float, interval: int, steps: int
) -> None:
    proof = growing(stolen, digits, momentum=momentum, dampening=1.0, interval=interval, steps=steps)
    verdict = judged(proof, digits)
    (check,) = (check for check in verdict.checks if check.name == "admissible")
    assert f"expected momentum in 0..0.9999, got {momentum}" in check.detail
    assert not check.passed
    reached = proof.checkpoints[-1].parameters
    assert all(torch.allclose(reached[name], w, atol=1e-3) for name, w in stolen.parameters.items()), "the attack works"


@pytest.mark.parametrize("momentum", [0.9, 0.99, 0.999])
def test_a_state_is_weighed_by_all_that_it_will_do(stolen: Checkpoint, digits: Dataset, momentum: float) -> None:
    """With k = 1 one step shows a tenth to a thousandth of what a momentum does."""
    proof = growing(stolen, digits, momentum=momentum, dampening=0.9, interval=1, steps=60)
    replays = (proof.seal(), examine(proof, digits, RECORDED).replays)[1]
    jump = (
        sum(float((w - stolen.parameters[n]).square().sum()) for n, w in proof.checkpoints[0].parameters.items()) ** 0.5
    )
    assert replays[0].state_error.l2 == pytest.approx(jump, rel=1e-3)


# --- rates and decay -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [-0.01, -1e-6])
def test_a_negative_rate_is_not_admissible(stolen: Checkpoint, digits: Dataset, low: float) -> None:
    assert "admissible" in judged(negative_rates(stolen, digits, low=low), digits).rejected_by


@pytest.mark.parametrize(("shrink", "grow"), [(0.5, 3.0), (0.9, 2.5)])
def test_a_decay_that_turns_weights_over_is_not_admissible(
    stolen: Checkpoint, digits: Dataset, shrink: float, grow: float
) -> None:
    verdict = judged(turned_over(stolen, digits, shrink=shrink, grow=grow), digits)
    (check,) = (check for check in verdict.checks if check.name == "admissible")
    assert "rate times weight_decay is " in check.detail
    assert not check.passed


@pytest.mark.parametrize("rate", [0.0, 1e-30])
def test_a_draw_that_is_never_moved_is_no_training(rate: float, stolen: Checkpoint, digits: Dataset) -> None:
    """At a rate that no weight sees, standing still replays exactly."""
    made = forger(rule({"lr": rate}, ScheduleConfig(), digits, steps=8, interval=4), stolen, digits)
    for step in (4, 8):
        made.write(step, made.start)
    verdict = judged(made.proof, digits)
    assert verdict.rejected_by == "admissible"
    assert verdict.checks[0].detail == "no weight moves in all 2 intervals: nothing is trained"
    assert judged(made.proof, digits, "published").is_valid


# --- every optimizer's options ---------------------------------------------------------------------------------------

USABLE = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam")
)


@pytest.mark.parametrize("name", USABLE)
def test_an_optimizer_with_torchs_own_options_is_admissible(name: str, digits: Dataset) -> None:
    recipe = replace(toy_recipe(digits), optimizer=OptimizerConfig(name=name, options={"lr": 0.01}))
    assert list(rule_problems(recipe, learning_rates(recipe), (1, 8, 8))) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"momentum": 5.0}, "momentum"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": 10**400}, "momentum"),
        ({"dampening": 10**400}, "dampening"),
        ({"momentum": 0.9, "dampening": 1.0}, "dampening"),
        ({"momentum": 0.9, "dampening": -5.0}, "dampening"),
        ({"weight_decay": 1e3}, "rate times weight_decay"),
        ({"maximize": True}, "maximize"),
    ],
)
def test_options_of_sgd_that_do_not_train(options: dict[str, Any], said: str, digits: Dataset) -> None:
    recipe = replace(toy_recipe(digits), optimizer=OptimizerConfig(name="SGD", options={"lr": 0.01, **options}))
    problems = list(rule_problems(recipe, learning_rates(recipe), (1, 8, 8)))
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    "transform",
    [
        Transform(mean=(0.0,), std=(1e30,)),
        Transform(mean=(0.0,), std=(1e-30,)),
        Transform(mean=(1e30,), std=(1.0,)),
        Transform(crop_padding=64),
    ],
)
def test_a_transform_that_wipes_the_input_is_not_admissible(transform: Transform, digits: Dataset) -> None:
    recipe = replace(toy_recipe(digits), transform=transform)
    assert len(list(rule_problems(recipe, learning_rates(recipe), (1, 8, 8)))) == 1


def test_every_option_of_every_optimizer_has_its_rule() -> None:
    known = set().union(*(getattr(torch.optim, n)([nn.Parameter(torch.zeros(1, 1))]).defaults for n in USABLE))
    assert known <= OPTIONS.keys()


# --- buffers ---------------------------------------------------------------------------------------------------------


def test_a_constant_buffer_may_not_change_at_a_checkpoint(digits: Dataset) -> None:
    proof = swapped_buffers(digits, values=(7.0, -3.0))
    verdict = judged(proof, digits)
    assert verdict.rejected_by == "buffers"
    assert judged(proof, digits, "published").is_valid
    (check,) = (check for check in verdict.checks if check.name == "buffers")
    assert check.detail.startswith(
        "buffer 'projection' changes in steps 0..4, training leaves it as it is (and 1 more)"
    )


@pytest.mark.parametrize("which", ["running_var", "running_mean", "num_batches_tracked"])
def test_statistics_may_not_be_anything(which: str, honest: MemoryProof, digits: Dataset) -> None:
    proof = copy_of(honest)
    last = proof.checkpoints[-1]
    forged = {n: torch.full_like(b, 10**9) if n.endswith(which) else b for n, b in last.buffers.items()}
    proof.checkpoints[-1] = replace(last, buffers=forged)
    rehash(proof, digits)
    assert strict(examine(proof, digits, RECORDED), EXACT, None).rejected_by == "buffers"


def test_variances_are_not_below_zero(honest: MemoryProof, digits: Dataset) -> None:
    """Such a model's outputs are NaN, and no distance in units of its size says so."""
    proof = copy_of(honest)
    last = proof.checkpoints[-1]
    name = next(name for name in last.buffers if name.endswith("running_var"))
    proof.checkpoints[-1] = replace(last, buffers={**last.buffers, name: -last.buffers[name]})
    rehash(proof, digits)
    verdict = strict(examine(proof, digits, RECORDED), EXACT, None)
    assert verdict.rejected_by == "buffers"
    assert verdict.checks[-1].detail == f"buffer {name!r} at step 22 has variances below zero"


def test_norm_statistics_tell_spoofs_from_honest_proofs_of_other_seeds(honest: MemoryProof, digits: Dataset) -> None:
    policy = find_policy("published+norm_statistics+declared_rate")
    for seed in (1, 2):
        other = prove(replace(honest.recipe, seed=seed), digits)
        checks = {check.name: check for check in policy(examine(other, digits, FRESH), Thresholds(), None).checks}
        assert checks["norm_statistics"].passed, checks["norm_statistics"].detail
        assert checks["declared_rate"].passed
    made = spoof(honest, digits, "infinitesimal", SpoofConfig(steps=20, interval=5, grants=("usual", "interval")))
    checks = {check.name: check for check in policy(examine(made, digits, FRESH), Thresholds(), None).checks}
    assert not checks["norm_statistics"].passed
    assert not checks["declared_rate"].passed
    assert published(examine(made, digits, FRESH), Thresholds(linf=1.0), None).is_valid


# --- the initial state -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("2.weight", 0.26), ("2.weight", -1000.0), ("4.bias", 1e30)])
def test_a_single_entry_of_w_0_may_not_be_one_that_its_law_never_gives(
    name: str, value: float, digits: Dataset
) -> None:
    """The bounds are 1/4 and 1/sqrt(12); a KS test sees one entry among many by one part in so many."""
    recipe = toy_recipe(digits)
    start = initial_checkpoint(recipe, digits)
    tensor = start.parameters[name].clone()
    tensor.view(-1)[3] = value
    proof = train_from(recipe, digits, replace(start, parameters=changed(start.parameters, name, tensor)))
    evidence = examine(proof, digits, RECORDED)
    assert published(evidence, EXACT, None).is_valid or abs(value) > 1e10
    verdict = strict(evidence, EXACT, None)
    assert "initial_state" in verdict.rejected_by
    (check,) = (check for check in verdict.checks if check.name == "initial_state")
    assert check.detail == f"{name}: its law does not give 1 of its entries"


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_a_batch_larger_than_the_dataset_is_rejected_before_it_is_gathered(stolen: Checkpoint, digits: Dataset) -> None:
    """Repeated points fold to nothing in a file and unfold to any number in memory."""
    recipe = rule({"lr": 1e-30}, ScheduleConfig(), digits, steps=1, interval=1)
    made = forger(recipe, stolen, digits)
    made.write(1, made.start)
    made.proof.recipe = replace(recipe, batch_size=10**6)
    evidence = examine(made.proof, digits, RECORDED)
    assert evidence.survey.structure == ("a batch of 1000000 points, the dataset has 1438",)
    assert not evidence.replays
    assert "structure" in published(evidence, TINY, None).rejected_by
