"""The controls, null and infinitesimal: what every attack is compared with."""

import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS, parameter_distances
from raypol.core.models import build_model
from raypol.core.proof import MemoryProof, OptimizerConfig, ScheduleConfig
from raypol.core.spoofing.declarations import Declares
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.optimizers import learning_rates
from raypol.core.verification.thresholds import Thresholds
from tests.scenes import SHORT, Forged, claiming, forge, sgd, small_recipe, tiny, zero

DATA = tiny()

# --- null ----------------------------------------------------------------------------------------------------------


def test_null_uses_ordinary_points_alone(null: Forged, dataset: Dataset) -> None:
    assert null.proof.num_points == 0
    assert all(record.indices.max() < len(dataset) for record in null.proof.records)
    assert null.stats == ()


def test_null_is_not_near_the_claimed_path(null: Forged) -> None:
    """A control that passed would make every attack look good.

    Ordinary batches lead about as far from the claimed model as the claimed move is long (measured: 0.67 to 1.8 of it,
    by metric). Half the move as threshold is far from both.
    """
    movements = null.evidence.survey.movements
    for replay, movement in zip(null.replays, movements, strict=True):
        assert all(replay.error[metric] > 0.5 * movement[metric] for metric in METRICS)
    limits: dict[str, Any] = {metric: 0.5 * min(movement[metric] for movement in movements) for metric in METRICS}
    half = Thresholds(**limits)
    assert null.rejected_by("published", half) == "replay"
    assert null.rejected_by("strict", half) == "replay"


def test_nulls_error_is_where_its_own_batches_lead(null: Forged, dataset: Dataset) -> None:
    """Replayed by hand with a plain torch loop: SGD, momentum and weight decay from the formula."""
    proof, index = null.proof, 2
    interval = proof.recipe.interval_at(index)
    start, claimed = proof.checkpoints[index], proof.checkpoints[index + 1]
    model = build_model("resnet8", in_channels=1, num_classes=10).train()
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            tensor.copy_({**start.parameters, **start.buffers}[name])
    momentum = {name: start.optimizer_state[f"{name}/momentum_buffer"].clone() for name, _ in model.named_parameters()}
    for record in proof.records[interval.start : interval.stop]:
        model.zero_grad()
        where = torch.from_numpy(record.indices)
        loss = torch.nn.functional.cross_entropy(model(dataset.pixels[where].float() / 255.0), dataset.labels[where])
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                momentum[name] = 0.9 * momentum[name] + parameter.grad + 1e-4 * parameter
                parameter.sub_(0.05 * momentum[name])
    squared = sum(float((p.detach() - claimed.parameters[n]).square().sum()) for n, p in model.named_parameters())
    # float32 in another order (and memory format) over ten steps.
    assert squared**0.5 == pytest.approx(null.replays[index].error.l2, rel=1e-3)


# --- infinitesimal -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def infinitesimal(stolen: MemoryProof, dataset: Dataset, claimed: SpoofConfig) -> Forged:
    return forge(find_attack("infinitesimal"), stolen, dataset, claimed)


def test_the_error_of_an_infinitesimal_rate_is_the_movement_itself(infinitesimal: Forged) -> None:
    movements = infinitesimal.evidence.survey.movements
    assert len(movements) == 6
    for replay, movement in zip(infinitesimal.replays, movements, strict=True):
        for metric in METRICS:
            # The weights do move, by at most lr k |g| / (1 - mu) = 1e-4 of a gradient of order 1.
            assert replay.error[metric] == pytest.approx(movement[metric], rel=1e-3)
            assert movement[metric] > 0.0


def test_a_smaller_rate_gives_the_movement_more_exactly(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("infinitesimal", lr=1e-12), stolen, dataset, claiming(steps=10, interval=5))
    for replay, movement in zip(made.replays, made.evidence.survey.movements, strict=True):
        for metric in METRICS:
            assert replay.error[metric] == pytest.approx(movement[metric], rel=1e-9)


@pytest.mark.parametrize("carry", ["exact", "restart"])
@pytest.mark.parametrize(
    ("declares", "momentum"), [("published", 0.9), ("honest_schedule", 0.8), ("no_momentum", 0.0), ("vanishing", 0.8)]
)
def test_the_declared_rate_is_constant_whatever_was_honest(
    declares: Declares, momentum: float, carry: Literal["exact", "restart"]
) -> None:
    schedule = ScheduleConfig(name="StepLR", options={"step_size": 3})
    stolen = prove(small_recipe(DATA, optimizer=sgd(momentum=0.8), schedule=schedule), DATA)
    spoof = replace(SHORT, carry=carry, declares=declares)
    made = forge(find_attack("infinitesimal", lr=1e-7), stolen, DATA, spoof)
    assert learning_rates(made.proof.recipe).tolist() == [1e-7] * 7
    assert made.proof.recipe.optimizer.options["momentum"] == momentum
    assert made.proof.num_points == 0
    if carry == "exact":
        assert all(zero(error) for error in made.state_errors)


def test_it_works_for_optimizers_whose_step_does_not_scale_with_the_gradient() -> None:
    stolen = prove(small_recipe(DATA, optimizer=OptimizerConfig(name="Adam", options={"lr": 1e-3})), DATA)
    made = forge(find_attack("infinitesimal", lr=1e-9), stolen, DATA)
    for replay, movement in zip(made.replays, made.evidence.survey.movements, strict=True):
        assert replay.error.l2 == pytest.approx(movement.l2, rel=1e-5)


@pytest.mark.parametrize("start", ["honest", "rank_matched"])
def test_as_published_the_error_is_the_move_in_every_metric(
    start: Literal["honest", "rank_matched"], stolen: MemoryProof, dataset: Dataset
) -> None:
    """Fang et al. 2023: W_0 is an unsorted draw. Weight decay would move the weights, whatever the gradients."""
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.0}
    target = MemoryProof(replace(stolen.recipe, optimizer=OptimizerConfig(options=options)), len(dataset))
    target.checkpoints = stolen.checkpoints
    choices = claiming(steps=20, interval=5, trajectory=TrajectoryConfig(start=start))
    made = forge(find_attack("infinitesimal", lr=1e-12), target, dataset, choices)
    for replay, movement in zip(made.replays, made.evidence.survey.movements, strict=True):
        for metric in METRICS:
            assert replay.error[metric] == pytest.approx(movement[metric], rel=1e-6)


def test_the_least_number_of_steps_follows_from_the_distance_and_the_slack(
    stolen: MemoryProof, dataset: Dataset
) -> None:
    def made(steps: int) -> Forged:
        choices = claiming(steps=steps, interval=5, trajectory=TrajectoryConfig(start="honest"))
        return forge(find_attack("infinitesimal", lr=1e-12), stolen, dataset, choices)

    first, last = made(5).proof.checkpoints[0], stolen.checkpoints[-1]
    distance = parameter_distances(first.parameters, last.parameters).l2
    slack = Thresholds(l1=1e9, l2=distance / 6.5, linf=1e9, cos=2.0)
    least = 5 * math.ceil(distance / slack.l2)
    assert least == 35
    assert made(least).rejected_by("published", slack) == ""
    assert made(least - 5).rejected_by("published", slack) == "replay"
