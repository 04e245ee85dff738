"""Attacks retrain and distil: valid proofs of models of one's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raypol.core.attacks import find_attack
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import parameter_distances
from raypol.core.models import build_model
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.grants import USUAL, NotGrantedError
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.verification.policies import find_policy
from raypol.core.verification.thresholds import Thresholds
from tests.scenes import Forged, forge, zero

CHOICES = SpoofConfig(steps=20, interval=10, trajectory=TrajectoryConfig(start="honest"), grants=(*USUAL, "interval"))
EXACT = Thresholds(l1=0.0, l2=0.0, linf=0.0, cos=0.0)
SHARE = "ab" * 16
BOUND = SpoofConfig(
    steps=20,
    interval=40,
    trajectory=TrajectoryConfig(start="bound"),
    share=SHARE,
    data_order="declared",
    grants=("data", "policy"),
)


def made_by(name: str, stolen: MemoryProof, dataset: Dataset, choices: SpoofConfig = CHOICES) -> Forged:
    return forge(find_attack(name), stolen, dataset, choices)


@pytest.fixture(scope="module")
def distilled(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return made_by("distil", stolen, dataset, replace(CHOICES, steps=60))


def test_an_own_training_with_bound_start_and_order_passes_every_check(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = replace(BOUND, steps=80)
    made = made_by("retrain", stolen, dataset, choices)
    policy = find_policy("strict+initial_independence+bound_seed+own_points+fresh_order+direction+norm_statistics")
    verdict = policy(replace(made.evidence, expected_share=SHARE), EXACT)
    assert verdict.is_valid, verdict.rejected_by
    assert made.proof.cost.gradient_evals == 80


def test_an_own_training_uses_nothing_stolen(stolen: MemoryProof, dataset: Dataset) -> None:
    mine = made_by("retrain", stolen, dataset, replace(CHOICES, grants=("data", "order", "interval")))
    other = replace(stolen.checkpoints[-1], parameters=stolen.checkpoints[0].parameters)
    robbed = MemoryProof(stolen.recipe, len(dataset))
    robbed.checkpoints = [*stolen.checkpoints[:-1], other]
    assert made_by("retrain", robbed, dataset).proof.root == mine.proof.root


@pytest.mark.parametrize("name", ["retrain", "distil"])
def test_every_replay_has_error_zero_and_the_model_is_another(name: str, stolen: MemoryProof, dataset: Dataset) -> None:
    made = made_by(name, stolen, dataset)
    assert all(zero(replay.error) for replay in made.replays)
    assert made.rejected_by("strict", EXACT) == ""
    end, target = made.proof.checkpoints[-1].parameters, stolen.checkpoints[-1].parameters
    honest_distance = parameter_distances(stolen.checkpoints[0].parameters, target).l2
    assert parameter_distances(end, target).l2 > 0.5 * honest_distance


def test_distilled_labels_are_the_stolen_models(distilled: Forged, stolen: MemoryProof, dataset: Dataset) -> None:
    """Own points are those on which the stolen model, in plain torch, disagrees with the dataset; and no others."""
    model, target = build_model("resnet8", in_channels=1, num_classes=10), stolen.checkpoints[-1]
    model.load_state_dict({**target.parameters, **target.buffers})
    with torch.no_grad():
        predicted = model.eval()(dataset.pixels.float() / 255.0).argmax(1)
    used = np.unique(np.concatenate([record.indices for record in distilled.proof.records]))
    own = distilled.proof.all_points()
    assert 0 < len(own) < 0.1 * len(dataset)
    assert torch.equal(own.labels, predicted[own.sources])
    assert torch.equal(own.pixels, dataset.pixels[own.sources])
    assert bool((own.labels != dataset.labels[own.sources]).all())
    taken = torch.from_numpy(used[used < len(dataset)])
    assert torch.equal(predicted[taken], dataset.labels[taken])


def test_distilling_costs_a_pass_of_the_dataset_besides_training(distilled: Forged, dataset: Dataset) -> None:
    assert distilled.proof.cost.gradient_evals == 60
    assert distilled.proof.cost.forward_passes == -(-len(dataset) // 32)
    assert distilled.evidence.survey.accuracies[-1] > 0.9


def test_own_points_give_distilling_away(distilled: Forged) -> None:
    assert find_policy("strict+own_points")(distilled.evidence, EXACT).rejected_by == "own_points"


@pytest.mark.parametrize(
    ("name", "missing"), [("retrain", "data"), ("retrain", "order"), ("distil", "weights"), ("distil", "own_points")]
)
def test_they_are_refused_without_what_they_use(name: str, missing: str, stolen: MemoryProof, dataset: Dataset) -> None:
    with pytest.raises(NotGrantedError, match=f"uses {missing} "):
        made_by(name, stolen, dataset, replace(CHOICES, grants=("usual", "interval", f"no_{missing}")))


def test_a_start_close_to_the_stolen_model_uses_it(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = replace(
        CHOICES, trajectory=TrajectoryConfig(start="rank_matched"), grants=("usual", "interval", "no_weights")
    )
    with pytest.raises(NotGrantedError, match="start rank_matched uses weights "):
        made_by("retrain", stolen, dataset, choices)
