"""Attack blend: a claimed model that remembers a W_0 that A did not choose, and what that costs in accuracy."""

from dataclasses import replace
from typing import Any, Final

import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.other_models.blend import Blend, blended, share_for
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import cosine_of
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.models.initial_laws import RandomLaw, initial_laws
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.trainer import Trainer
from tests.scenes import SHORT, Forged, claiming, forge, small_recipe, tiny, zero

BOUND: Final[dict[str, Any]] = {
    "trajectory": TrajectoryConfig(start="bound"),
    "share": "5a" * 16,
    "data_order": "declared",
}
CHOICES: Final = claiming(steps=40, interval=10, **BOUND)


def made(cosine: float, stolen: MemoryProof, data: Dataset, choices: SpoofConfig = CHOICES, repair: int = 0) -> Forged:
    return forge(Blend(blend_cosine=cosine, repair=repair), stolen, data, choices)


@pytest.mark.parametrize("cosine", [0.0, 0.4, 0.8])
def test_the_verifier_finds_the_cosine_that_was_asked_for(cosine: float, stolen: MemoryProof, dataset: Dataset) -> None:
    assert made(cosine, stolen, dataset).evidence.memory.cosine == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.99])
def test_noise_and_cosine_say_the_same(cosine: float) -> None:
    laws = initial_laws(build_model("resnet8", in_channels=1, num_classes=10))
    rng = torch.Generator().manual_seed(3)
    start, trained = ({name: torch.randn(W.shape, generator=rng) for name, W in shapes().items()} for _ in range(2))
    random = [name for name, law in laws.items() if isinstance(law, RandomLaw)]
    share = share_for(cosine, {n: start[n] for n in random}, {n: trained[n] for n in random})
    by_noise = blended(start, trained, laws, Blend(blend_noise=share))
    by_cosine = blended(start, trained, laws, Blend(blend_cosine=cosine))
    assert all(torch.equal(by_noise[name], W) for name, W in by_cosine.items())
    assert cosine_of({n: start[n] for n in random}, by_noise) == pytest.approx(cosine, abs=1e-6)
    assert all(torch.equal(by_noise[name], W) for name, W in trained.items() if name not in random)
    assert all(torch.allclose(by_noise[n], trained[n] + share * start[n]) for n in random)


def shapes() -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in build_model("resnet8", in_channels=1, num_classes=10).named_parameters()}


def test_accuracy_falls_as_the_cosine_rises(stolen: MemoryProof, dataset: Dataset) -> None:
    """In short intervals, so that training leaves statistics that belong to the blend."""
    accuracies = []
    for cosine in (0.0, 0.4, 0.8):
        proof = made(cosine, stolen, dataset, replace(CHOICES, steps=120, interval=3)).proof
        accuracies.append(Trainer(proof.recipe, dataset).accuracy(proof.checkpoints[-1]))
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > 0.8 > 0.4 > accuracies[2]


def test_repair_is_paid_for_and_brings_accuracy_back(stolen: MemoryProof, dataset: Dataset) -> None:
    broken, whole = (made(0.8, stolen, dataset, repair=repair) for repair in (0, 60))
    assert (broken.proof.cost.gradient_evals, whole.proof.cost.gradient_evals) == (40, 100)
    before, after = (Trainer(one.proof.recipe, dataset).accuracy(one.proof.checkpoints[-1]) for one in (broken, whole))
    assert after > before + 0.2
    assert whole.evidence.memory.cosine == pytest.approx(0.8, abs=0.03)


def test_all_but_the_nudge_is_true(stolen: MemoryProof, dataset: Dataset) -> None:
    found = made(0.5, stolen, dataset)
    assert all(zero(error) for error in found.state_errors)
    assert all(zero(replay.buffer_error) for replay in found.replays)
    assert found.proof.num_points == 0
    assert "bound_seed" not in found.rejected_by("strict")


@pytest.mark.parametrize("missing", ["initial", "order", "weights"])
def test_only_the_weights_need_to_be_granted(missing: str) -> None:
    data = tiny()
    choices = replace(SHORT, grants=("usual", "interval", f"no_{missing}"), **BOUND)
    honest = prove(small_recipe(data), data)
    if missing == "weights":
        with pytest.raises(InputError, match="uses weights"):
            forge(find_attack("blend"), honest, data, choices)
    else:
        forge(find_attack("blend", repair=3), honest, data, choices)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "expected blend_noise or blend_cosine, exactly one"),
        ({"blend_noise": 0.1, "blend_cosine": 0.1}, "expected blend_noise or blend_cosine, exactly one"),
        ({"blend_cosine": 1.0}, "blend_cosine in [0, 1), got 1.0"),
        ({"blend_noise": float("nan")}, "finite blend_noise"),
        ({"blend_cosine": 0.5, "repair": -1}, "expected repair in 0"),
        ({"blend_cosine": 0.5, "repair_lr": 0.0}, "repair_lr > 0, got 0.0"),
        ({"blend_cosine": 0.5, "schedule": "odd"}, "possible: envelope, even, optimal, power"),
    ],
)
def test_bad_settings_are_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Blend(**fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
