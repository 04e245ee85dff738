"""Attack continue: an honest training whose W_0 is stolen, which W_0 alone tells."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from raypol.core.attacks import find_attack
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import parameter_distances
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.grants import USUAL, NotGrantedError
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.verification.policies import find_policy
from raypol.core.verification.thresholds import Thresholds
from tests.scenes import Forged, forge, zero

CHOICES = SpoofConfig(steps=20, interval=10, grants=(*USUAL, "interval"))
EXACT = Thresholds(l1=0.0, l2=0.0, linf=0.0, cos=0.0)
ABOUT_THE_START = {"initial_state", "initial_independence", "bound_seed"}
POLICY = find_policy("strict+initial_independence+bound_seed+own_points+fresh_order+direction+norm_statistics")
VARIANTS: list[dict[str, Any]] = [{}, {"start_noise": 0.1}, {"pruned": 0.3}, {"start_noise": 0.1, "pruned": 0.3}]


def continued(stolen: MemoryProof, dataset: Dataset, choices: SpoofConfig = CHOICES, **overrides: float) -> Forged:
    return forge(find_attack("continue", **overrides), stolen, dataset, choices)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_but_the_start_gives_it_away(variant: dict[str, Any], stolen: MemoryProof, dataset: Dataset) -> None:
    made = continued(stolen, dataset, **variant)
    assert all(zero(replay.error) for replay in made.replays)
    assert all(zero(replay.state_error) for replay in made.replays)
    rejected = set(POLICY(made.evidence, EXACT).rejected_by.split(","))
    assert rejected == ABOUT_THE_START
    assert made.rejected_by("published", EXACT) == "initial_state"
    blind = replace(POLICY, checks=tuple(use for use in POLICY.checks if use.check not in ABOUT_THE_START))
    assert blind(made.evidence, EXACT).is_valid


def test_the_start_is_the_stolen_model(stolen: MemoryProof, dataset: Dataset) -> None:
    made = continued(stolen, dataset)
    start, target = made.proof.checkpoints[0], stolen.checkpoints[-1]
    assert all(torch.equal(start.parameters[name], W) for name, W in target.parameters.items())
    assert not start.optimizer_state
    first, last = made.evidence.survey.accuracies[0], made.evidence.survey.accuracies[-1]
    assert first > 0.9
    assert last > 0.9


def test_the_claimed_model_is_derived(stolen: MemoryProof, dataset: Dataset) -> None:
    end, target = continued(stolen, dataset).proof.checkpoints[-1], stolen.checkpoints[-1]
    apart = parameter_distances(end.parameters, target.parameters).l2
    size = sum(float(W.square().sum()) for W in target.parameters.values()) ** 0.5
    assert 0.0 < apart < 0.2 * size


def test_noise_has_the_size_that_was_asked(stolen: MemoryProof, dataset: Dataset) -> None:
    noisy = continued(stolen, dataset, start_noise=0.1).proof.checkpoints[0].parameters
    for name, W in stolen.checkpoints[-1].parameters.items():
        if W.numel() > 1000:
            added = (noisy[name] - W).square().mean().sqrt() / W.square().mean().sqrt()
            assert float(added) == pytest.approx(0.1, rel=0.1)  # 1000 draws: 2 % of standard error


def test_pruning_takes_the_smallest_entries_of_kernels_alone(stolen: MemoryProof, dataset: Dataset) -> None:
    pruned = continued(stolen, dataset, pruned=0.3).proof.checkpoints[0].parameters
    for name, W in stolen.checkpoints[-1].parameters.items():
        gone = pruned[name] == 0.0
        if W.dim() < 2:
            assert torch.equal(pruned[name], W)
            continue
        assert int(gone.sum()) == int(0.3 * W.numel())
        assert float(W[gone].abs().max()) <= float(W[~gone].abs().min())
        assert torch.equal(pruned[name][~gone], W[~gone])


def test_it_costs_the_training_that_it_claims(stolen: MemoryProof, dataset: Dataset) -> None:
    assert continued(stolen, dataset).proof.cost.gradient_evals == 20


@pytest.mark.parametrize("missing", ["weights", "data", "initial", "order"])
def test_it_is_refused_without_what_it_uses(missing: str, stolen: MemoryProof, dataset: Dataset) -> None:
    with pytest.raises(NotGrantedError, match=f"uses {missing} "):
        continued(stolen, dataset, replace(CHOICES, grants=("usual", "interval", f"no_{missing}")))


def test_the_start_is_not_its_to_choose_where_it_is_bound(stolen: MemoryProof, dataset: Dataset) -> None:
    choices = replace(
        CHOICES,
        grants=("usual", "interval", "no_initial"),
        trajectory=TrajectoryConfig(start="honest"),
    )
    with pytest.raises(NotGrantedError, match="uses initial "):
        continued(stolen, dataset, choices)


@pytest.mark.parametrize("start", ["honest", "bound"])
def test_a_start_that_it_would_not_take_is_refused(
    start: Literal["honest", "bound"], stolen: MemoryProof, dataset: Dataset
) -> None:
    share = "ab" * 16 if start == "bound" else ""
    choices = replace(CHOICES, trajectory=TrajectoryConfig(start=start), share=share)
    with pytest.raises(InputError, match=f"starts at W_T: it contradicts start {start}"):
        continued(stolen, dataset, choices)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_noise": -0.1}, "expected start_noise >= 0, got -0.1"),
        ({"start_noise": float("nan")}, "expected start_noise >= 0, got nan"),
        ({"pruned": 1.1}, "expected pruned in 0..1, got 1.1"),
        ({"pruned": -1.0}, "expected pruned in 0..1, got -1.0"),
    ],
)
def test_bad_input_is_told_in_a_line(fields: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_attack("continue", **fields)
    assert "\n" not in str(caught.value)
