"""The core on a CUDA device. Where there is none these tests skip, and pytest says so."""

import pytest
import torch

from raypol.core.attacks import find_attack, method_of
from raypol.core.augment import Transform
from raypol.core.data import Dataset, load_dataset
from raypol.core.distances import METRICS, parameter_distances
from raypol.core.policies import Thresholds, published
from raypol.core.proof import MemoryProof, Recipe
from raypol.core.prover import prove
from raypol.core.spoofing import SpoofConfig, craft_interval, declare, make_scene, seal_spoof
from raypol.core.verifier import Conditions, examine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def proof(dataset: Dataset) -> MemoryProof:
    recipe = Recipe(
        dataset="digits",
        dataset_sha256=dataset.sha256,
        model="resnet8",
        steps=200,
        interval=20,
        batch_size=64,
        transform=Transform(crop_padding=1, horizontal_flip=True, mean=(0.3,), std=(0.37,)),
        device="cuda",
    )
    made = MemoryProof(recipe, len(dataset))
    cost = prove(recipe, dataset, made, device="cuda")
    assert cost.device_s > 0
    made.seal()
    return made


def test_a_proof_made_on_cuda_verifies_on_cuda_and_on_the_cpu(proof: MemoryProof, dataset: Dataset) -> None:
    for device in ("cuda", "cpu"):
        evidence = examine(proof, dataset, Conditions(augmentation="recorded"), device=device)
        worst = max(replay.error.l2 for replay in evidence.replays)
        # Same GPU: every bit. Another device: 20 steps at lr 0.05 let rounding grow, to a fraction of what other crops do.
        assert worst == 0.0 if device == "cuda" else worst < 0.5, (device, worst)
        assert published(evidence, Thresholds(), None).is_valid, device


def test_cuda_training_learns(proof: MemoryProof, dataset: Dataset) -> None:
    evidence = examine(proof, dataset, Conditions(augmentation="recorded"), device="cuda")
    assert evidence.survey.accuracies[-1] > 0.9 > 0.3 > evidence.survey.accuracies[0]


@pytest.mark.parametrize("name", ["null", "forged_momentum", "ii", "iii", "iii_loss", "iii_invisible", "iii_select"])
def test_a_spoof_crafted_on_cuda_carries_its_state(name: str, proof: MemoryProof, dataset: Dataset) -> None:
    config = find_attack(name)
    method = method_of(config)
    spoof = SpoofConfig(steps=10, interval=5)
    recipe = method.declare(declare(proof.recipe, spoof), config)
    scene = make_scene(recipe, dataset, proof.checkpoints[-1], spoof, "cuda")
    made = MemoryProof(recipe, len(dataset))
    sequential = method.sequential(config, spoof)
    crafted = None if sequential else iter([craft_interval(method, scene, i, config) for i in recipe.intervals()])
    seal_spoof(method, scene, config, spoof, crafted, made)
    made.seal()
    evidence = examine(made, dataset, Conditions(), device="cuda")
    verdict = published(evidence, Thresholds(l1=1e9, l2=1e9, linf=1e9, cos=2.0), None)
    assert verdict.is_valid, verdict.rejected_by
    if not method.forges_state:
        assert max(replay.state_error.l2 for replay in evidence.replays) == 0.0


def test_distances_on_cuda_agree_with_the_cpu(proof: MemoryProof) -> None:
    first, last = proof.checkpoints[0].parameters, proof.checkpoints[-1].parameters
    on_cpu = parameter_distances(first, last)
    on_cuda = parameter_distances({n: t.cuda() for n, t in first.items()}, {n: t.cuda() for n, t in last.items()})
    for metric in METRICS:
        assert on_cuda[metric] == pytest.approx(on_cpu[metric], rel=1e-9)  # float64 sums in another order
