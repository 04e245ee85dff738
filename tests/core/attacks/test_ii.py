"""Attack II, by its effect: vanishing gradients (or losses), batch by batch, and a lower reproduction error than null."""

from collections.abc import Callable

import pytest

from raypol.core.attacks import find_attack
from raypol.core.attacks.ii import AttackII
from raypol.core.datasets.dataset import Dataset
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.objectives import measure
from raypol.core.training.trainer import Trainer
from tests.scenes import Forged, claiming, forge


@pytest.mark.parametrize("case", ["II, loss", "II, gradient"])
def test_the_gradient_is_measured_where_the_verifier_starts_an_interval(
    case: str, forged: Callable[[str], Forged], dataset: Dataset
) -> None:
    """Recomputed from the recorded checkpoint and the recorded points alone."""
    made = forged(case)
    trainer = Trainer(made.proof.recipe, dataset)
    for position in (0, 3):
        trainer.load(made.proof.checkpoints[position])
        for batch, stats in zip(made.made[position].batches, made.made[position].stats, strict=True):
            assert batch.pixels is not None
            loss, norm2 = measure(trainer, batch.pixels[None].float() / 255.0, batch.labels[None])
            assert loss == pytest.approx(stats.loss_after, rel=1e-4)
            assert norm2 == pytest.approx(stats.grad_norm2_after, rel=1e-4)


def test_the_published_settings_lower_every_gradient(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("zhang2022_ii"), stolen, dataset, claiming(steps=6, interval=3))
    assert all(stats.grad_norm2_after < stats.grad_norm2_before for stats in made.stats)
    assert all(stats.accepted and stats.retries == 0 for stats in made.stats)


def test_a_heavier_penalty_gives_a_smaller_perturbation(stolen: MemoryProof, dataset: Dataset) -> None:
    spoof = claiming(steps=4, interval=2)
    sizes = []
    for alpha in (0.0, 1.0, 100.0):
        config = AttackII(alpha=alpha, iterations=5, line_search="strong_wolfe", retries=0, pixel_dtype="float32")
        sizes.append(sum(stats.perturbation_norm2 for stats in forge(config, stolen, dataset, spoof).stats))
    assert sizes[0] > sizes[1] > sizes[2] > 0.0
