"""The core on a CUDA device. Where there is none these tests skip, and pytest says so."""

import pytest
import torch

from raypol.core.arithmetic.precision import Precision, arithmetic
from raypol.core.attacks import find_attack, method_of
from raypol.core.augment import Transform, to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.distances import METRICS, parameter_distances
from raypol.core.proof import MemoryProof, Recipe
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.objectives import graphs_that_fit
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.prover import record_training
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import published
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import examine

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
    cost = record_training(recipe, dataset, made, device="cuda")
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


@pytest.mark.parametrize("name", ["null", "forged_momentum", "ii", "iii", "iii_loss", "iii_invisible", "selected"])
def test_a_spoof_crafted_on_cuda_carries_its_state(name: str, proof: MemoryProof, dataset: Dataset) -> None:
    config = find_attack(name)
    method = method_of(config)
    spoof = SpoofConfig(steps=10, interval=5, grants=("usual", "interval"))
    recipe = spoof_recipe(method, config, spoof, proof.recipe)
    scene = make_scene(method, config, spoof, recipe, dataset, proof.checkpoints[-1], "cuda")
    made = MemoryProof(recipe, len(dataset))
    sequential = method.sequential(config, spoof)
    crafted = None if sequential else iter([craft_interval(method, scene, i, config) for i in recipe.intervals()])
    seal_spoof(method, scene, config, crafted, made)
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


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "float64"])
def test_every_precision_replays_exactly_on_the_same_gpu(precision: Precision, dataset: Dataset) -> None:
    if precision in ("tf32", "bf16") and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no such tensor cores")
    recipe = Recipe(
        dataset="digits",
        dataset_sha256=dataset.sha256,
        model="resnet8",
        steps=40,
        interval=10,
        batch_size=64,
        precision=precision,
        device="cuda",
    )
    made = MemoryProof(recipe, len(dataset))
    record_training(recipe, dataset, made, device="cuda")
    made.seal()
    evidence = examine(made, dataset, Conditions(augmentation="recorded"), device="cuda")
    assert [replay.error.l2 for replay in evidence.replays] == [0.0] * 4
    assert published(evidence, Thresholds(), None).is_valid


def test_precisions_differ_by_their_rounding() -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no tensor cores for TF32")
    a, b = (torch.randn(256, 256, generator=torch.Generator().manual_seed(i)).cuda() for i in range(2))
    exact = a.double() @ b.double()
    errors = {}
    kinds: tuple[Precision, ...] = ("float32", "tf32")
    for precision in kinds:
        with arithmetic(precision, torch.device("cuda")):
            errors[precision] = float(((a @ b).double() - exact).norm() / exact.norm())
    assert errors["float32"] < 1e-6 < 1e-5 < errors["tf32"], errors


def test_copies_that_leave_while_the_gpu_computes_are_those_of_their_step(dataset: Dataset) -> None:
    recipe = Recipe(
        dataset="digits",
        dataset_sha256=dataset.sha256,
        model="resnet20",
        steps=30,
        interval=2,
        batch_size=32,
        device="cuda",
    )
    made = MemoryProof(recipe, len(dataset))
    record_training(recipe, dataset, made, device="cuda")
    trainer = Trainer(recipe, dataset, "cuda")
    trainer.load(made.checkpoints[0])
    for interval, reached in zip(recipe.intervals(), made.checkpoints[1:], strict=True):
        for record in made.records[interval.start : interval.stop]:
            where = torch.from_numpy(record.indices).cuda()
            trainer.step(record.step, trainer.dataset.pixels[where], trainer.dataset.labels[where])
        own = trainer.snapshot(interval.stop).tensors()
        assert all(torch.equal(tensor, own[name]) for name, tensor in reached.tensors().items())


def test_graphs_fill_the_free_memory_and_no_more(proof: MemoryProof, dataset: Dataset) -> None:
    trainer = Trainer(proof.recipe, dataset, "cuda")
    trainer.load(proof.checkpoints[-1])
    X = to_unit(trainer.dataset.pixels[:640]).view(10, 64, 1, 8, 8)
    y = trainer.dataset.labels[:640].view(10, 64)
    assert graphs_that_fit(trainer, X, y) == 10  # a few megabytes each
