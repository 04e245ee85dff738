"""Attack III, by its effect: one search per interval and its objectives."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raypol.core.attacks import find_attack, iii
from raypol.core.attacks.iii import AttackIII
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.objectives import double_backward_objective, measure
from raypol.core.training.trainer import Trainer
from tests.scenes import Forged, claiming, forge


@pytest.mark.parametrize("case", ["III, loss", "III, gradient"])
def test_the_mean_gradient_is_measured_at_the_recorded_start_on_the_recorded_points(
    case: str, forged: Callable[[str], Forged], dataset: Dataset
) -> None:
    made = forged(case)
    trainer = Trainer(made.proof.recipe, dataset)
    trainer.load(made.proof.checkpoints[2])
    batches, (stats,) = made.made[2].batches, made.made[2].stats
    X = torch.stack([batch.pixels for batch in batches if batch.pixels is not None]).float() / 255.0
    assert len(X) == 10
    loss, norm2 = measure(trainer, X, torch.stack([batch.labels for batch in batches]))
    assert loss == pytest.approx(stats.loss_after, rel=1e-4)
    assert norm2 == pytest.approx(stats.grad_norm2_after, rel=1e-4)


@pytest.mark.parametrize("case", ["III, loss", "III, gradient"])
def test_every_interval_draws_its_own_points(case: str, forged: Callable[[str], Forged], dataset: Dataset) -> None:
    made = forged(case)
    sources = np.concatenate([batch.sources for one in made.made for batch in one.batches])
    # 60 steps of 32 points from an epoch of 44 steps: all but the first epoch's last, incomplete batch.
    assert len(set(sources.tolist())) > 0.9 * len(dataset)


def test_two_passes_find_what_double_backwards_find(
    stolen: MemoryProof, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoof = claiming(steps=8, interval=4)
    config = AttackIII(iterations=4, alpha=0.01, line_search="strong_wolfe", retries=0)
    fast = forge(config, stolen, dataset, spoof)
    monkeypatch.setattr(iii, "gradient_objective", double_backward_objective)
    bounded, whole = (forge(replace(config, batches_per_graph=n), stolen, dataset, spoof) for n in (1, 4))
    for other in (fast, bounded):
        for ours, theirs in zip(other.stats, whole.stats, strict=True):
            # float32 sums in another order, through four iterations and a rounding to grey levels.
            assert ours.grad_norm2_after == pytest.approx(theirs.grad_norm2_after, rel=0.02)
            assert ours.perturbation_norm2 == pytest.approx(theirs.perturbation_norm2, rel=0.02)
    evals = [made.made[0].cost.gradient_evals for made in (fast, whole, bounded)]
    assert evals == sorted(evals)


def test_the_invisible_preset_is_invisible_in_what_is_stored(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("iii_invisible"), stolen, dataset, claiming(steps=20, interval=10))
    own = made.proof.all_points()
    moved = (own.pixels.int() - dataset.pixels[own.sources].int()).abs()
    assert int(moved.max()) == 8
    assert torch.equal(own.labels, dataset.labels[own.sources])
    assert all(stats.accepted and stats.loss_after <= stats.loss_before for stats in made.stats)


@pytest.mark.parametrize("name", ["zhang2022_iii", "zhang2022_iii_imagenet", "iii", "iii_loss"])
def test_the_presets_limits_hold_for_what_they_accept(name: str, stolen: MemoryProof, dataset: Dataset) -> None:
    config = find_attack(name, retries=1)
    made = forge(config, stolen, dataset, claiming(steps=10, interval=5))
    for stats in made.stats:
        within = (
            stats.grad_norm2_after < config.max_grad_norm2 and stats.perturbation_norm2 < config.max_perturbation_norm2
        )
        assert stats.accepted == within
        assert stats.retries <= 1


def test_parts_are_searched_apart_and_cover_the_interval(stolen: MemoryProof, dataset: Dataset) -> None:
    config = find_attack("iii_loss", iterations=3)
    spoof = claiming(steps=10, interval=5)
    whole, parted = (forge(replace(config, parts=n), stolen, dataset, spoof) for n in (1, 2))
    for made in whole.made:
        assert len(made.stats) == 1
    for made in parted.made:
        assert len(made.stats) == 2  # of 3 and 2 batches
        assert len(made.batches) == made.interval.num_steps
        assert all(stats.loss_after <= stats.loss_before for stats in made.stats)


@pytest.mark.parametrize("bad", [{"parts": 0}, {"batches_per_graph": -1}])
def test_bad_shares_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="parts"):
        find_attack("iii_loss", **bad)
