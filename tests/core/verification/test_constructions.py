"""Proofs made without training, each by a hole of a verifier that follows whatever is declared: `strict` closes all of them.

Every construction is judged with slacks near zero, under the conditions that it was made for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raypol import SpoofConfig, prove, spoof
from raypol.core import hashing
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.models import build_model
from raypol.core.models.initial_laws import initial_laws, rank_matched
from raypol.core.proof import BatchRecord, Checkpoint, MemoryProof, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.training.trainer import Trainer
from raypol.core.verification.admissible import OPTIONS, rule_problems
from raypol.core.verification.policies import find_policy, published, strict
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import examine
from tests.toys import EXACT, FRESH, RECORDED, copy_of, rehash, toy_recipe

TINY = Thresholds(l1=1e-4, l2=1e-6, linf=1e-6, cos=1e-6)


@dataclass
class Forger:
    """Writes checkpoints of any weights; batches are the dataset's first points."""

    proof: MemoryProof
    start: dict[str, Tensor]
    buffers: Mapping[str, Tensor]

    def write(self, step: int, weights: Mapping[str, Tensor], momentum: Mapping[str, Tensor] | None = None) -> None:
        state = {f"{name}/momentum_buffer": m.clone() for name, m in (momentum or {}).items()}
        weights = {name: w.clone() for name, w in weights.items()}
        self.proof.write_checkpoint(
            Checkpoint(step=step, parameters=weights, buffers=dict(self.buffers), optimizer_state=state)
        )


def forger(recipe: Recipe, target: Checkpoint, digits: Dataset) -> Forger:
    model = build_model(recipe.model, in_channels=1, num_classes=10)
    start = rank_matched(target.parameters, initial_laws(model), torch.Generator().manual_seed(0))
    proof = MemoryProof(recipe, len(digits))
    indices = np.arange(recipe.batch_size, dtype=np.int64)
    for step in range(recipe.steps):
        proof.records.append(BatchRecord(step, indices, hashing.step_digest(step, digits.point_digests[indices])))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    made = Forger(proof, start, buffers)
    made.write(0, start)
    return made


def rule(options: dict[str, Any], schedule: ScheduleConfig, digits: Dataset, *, steps: int, interval: int) -> Recipe:
    optimizer = OptimizerConfig(name="SGD", options=options)
    recipe = toy_recipe(digits, model="tests.toys:mlp", steps=steps, interval=interval, schedule=schedule)
    return replace(recipe, optimizer=optimizer, batch_size=8)


@pytest.fixture(scope="module")
def stolen(digits: Dataset) -> Checkpoint:
    recipe = toy_recipe(digits, model="tests.toys:mlp", steps=60, interval=20)
    return prove(recipe, digits).checkpoints[-1]


def judged(proof: MemoryProof, digits: Dataset, policy: str = "strict") -> Verdict:
    proof.seal()
    return find_policy(policy)(examine(proof, digits, RECORDED), TINY, None)


# --- a state that grows, or is weighed too lightly -------------------------------------------------------------------


def growing(
    stolen: Checkpoint, digits: Dataset, *, momentum: float, dampening: float, interval: int, steps: int
) -> MemoryProof:
    """The momentum is forged once, at the first checkpoint, and then acts exactly as declared."""
    lr = 1e-12
    options = {"lr": lr, "momentum": momentum, "dampening": dampening}
    made = forger(rule(options, ScheduleConfig(), digits, steps=steps, interval=interval), stolen, digits)
    reach = sum(lr * momentum**i for i in range(1, steps - interval + 1))
    buffer = {n: ((w.double() - stolen.parameters[n].double()) / reach).float() for n, w in made.start.items()}
    weights = {name: w.clone() for name, w in made.start.items()}
    made.write(interval, weights, buffer)
    for step in range(interval, steps):
        for name, w in weights.items():
            buffer[name].mul_(momentum)
            w.add_(buffer[name], alpha=-lr)
        if (step + 1) % interval == 0:
            made.write(step + 1, weights, buffer)
    return made.proof


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
    schedule = ScheduleConfig(name="CosineAnnealingLR", options={"T_max": 1, "eta_min": low})
    recipe = rule({"lr": 1e-12, "momentum": 0.9, "dampening": 0.9}, schedule, digits, steps=3, interval=1)
    assert learning_rates(recipe).min() < 0.0
    made = forger(recipe, stolen, digits)
    buffer = {name: (stolen.parameters[name] - w) / (-low * 0.9) for name, w in made.start.items()}
    weights = {name: w.clone() for name, w in made.start.items()}
    made.write(1, weights, buffer)
    for step in (1, 2):
        for name, w in weights.items():
            buffer[name].mul_(0.9)
            w.add_(buffer[name], alpha=-float(learning_rates(recipe)[step]))
        made.write(step + 1, weights, buffer)
    assert "admissible" in judged(made.proof, digits).rejected_by


@pytest.mark.parametrize(("shrink", "grow"), [(0.5, 3.0), (0.9, 2.5)])
def test_a_decay_that_turns_weights_over_is_not_admissible(
    stolen: Checkpoint, digits: Dataset, shrink: float, grow: float
) -> None:
    """Shrink to nothing, turn while no distance sees it, grow back: rate times weight decay goes from below 1 to above 2."""
    decay, steps = 1e20, 40
    schedule = ScheduleConfig(
        name="LinearLR", options={"start_factor": shrink / grow, "end_factor": 1.0, "total_iters": steps}
    )
    recipe = rule({"lr": grow / decay, "weight_decay": decay}, schedule, digits, steps=steps, interval=1)
    rates = learning_rates(recipe)
    made = forger(recipe, stolen, digits)
    whole = np.cumprod(1.0 - rates * decay)
    turned = int(np.abs(whole).argmin())
    weights = {name: w.clone() for name, w in made.start.items()}
    for step, rate in enumerate(rates):
        for w in weights.values():
            w.add_(torch.zeros_like(w).add(w, alpha=decay), alpha=-float(rate))
        if step == turned:
            weights = {n: (whole[step] * stolen.parameters[n].double() / whole[-1]).float() for n in weights}
        made.write(step + 1, weights)
    verdict = judged(made.proof, digits)
    (check,) = (check for check in verdict.checks if check.name == "admissible")
    assert "rate times weight_decay is " in check.detail
    assert not check.passed


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


class _Features(nn.Module):
    """Random features, which are a buffer, and a head that learns."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("projection", torch.linspace(-1.0, 1.0, 64 * 8).sin().view(64, 8))
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head((x.flatten(1) @ self.get_buffer("projection")).relu())
        return found


def features(*, in_channels: int, num_classes: int) -> nn.Module:
    assert in_channels == 1
    return _Features(num_classes)


def test_a_constant_buffer_may_not_change_at_a_checkpoint(digits: Dataset) -> None:
    recipe = toy_recipe(digits, model=f"{__name__}:features", steps=8, interval=4)
    proof = prove(recipe, digits)
    trainer = Trainer(recipe, digits)
    forged = replace(proof.checkpoints[1], buffers={"projection": torch.full((64, 8), 7.0)}, claimed_digests=None)
    trainer.load(forged)
    for step in range(4, 8):
        indices = proof.records[step].indices
        trainer.step(step, digits.pixels[indices], digits.labels[indices])
    proof.checkpoints[1:] = [forged, replace(trainer.snapshot(8), buffers={"projection": torch.full((64, 8), -3.0)})]
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


def test_norm_statistics_tell_spoofs_from_honest_proofs_of_other_seeds(honest: MemoryProof, digits: Dataset) -> None:
    policy = find_policy("published+norm_statistics+declared_rate")
    for seed in (1, 2):
        other = prove(replace(honest.recipe, seed=seed), digits)
        checks = {check.name: check for check in policy(examine(other, digits, FRESH), Thresholds(), None).checks}
        assert checks["norm_statistics"].passed, checks["norm_statistics"].detail
        assert checks["declared_rate"].passed
    made = spoof(honest, digits, "infinitesimal", SpoofConfig(steps=20, interval=5))
    checks = {check.name: check for check in policy(examine(made, digits, FRESH), Thresholds(), None).checks}
    assert not checks["norm_statistics"].passed
    assert not checks["declared_rate"].passed
    assert published(examine(made, digits, FRESH), Thresholds(linf=1.0), None).is_valid


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
