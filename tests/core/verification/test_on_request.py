"""Checks whose evidence is gathered on request: what they see, what they do not, and that nothing is gathered unasked."""

import itertools
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from raypol import SpoofConfig, TrainConfig, load_dataset, prove, spoof, verify
from raypol.core.augment import to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.proof import BatchRecord, MemoryProof, OptimizerConfig, Points
from raypol.core.training.prover import initial_checkpoint
from raypol.core.training.trainer import Trainer
from raypol.core.verification.checks import GATHER
from raypol.core.verification.checks.on_request import near_copy, unforgeable
from raypol.core.verification.checks.on_request.memorisation import auc_of
from raypol.core.verification.checks.on_request.near_copy import nearest
from raypol.core.verification.checks.on_request.unforgeable import least_bits, rank
from raypol.core.verification.policies import Policy, Use, find_policy, strict
from raypol.core.verification.replay import gather
from raypol.core.verification.survey import Survey, survey
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import examine
from raypol.core.verification.wishes import evenly
from tests.toys import RECORDED, copy_of, rehash, toy_recipe

WIDE = Thresholds(l1=1e9, l2=1e9, linf=1e9, cos=2.0)


def alone(check: str, **parameters: float) -> Policy:
    return Policy(name=check, checks=(Use(check=check, parameters=parameters),))


def outcome(policy: Policy, proof: MemoryProof, dataset: Dataset) -> Check:
    evidence = examine(proof, dataset, RECORDED, selection="random", wanted=policy.wanted)
    return policy(evidence).checks[-1]


# --- asking ----------------------------------------------------------------------------------------------------------


def test_only_what_a_policy_wants_is_gathered(honest: MemoryProof, digits: Dataset) -> None:
    assert strict.wanted == frozenset()
    assert examine(honest, digits, RECORDED).survey.granted == ()
    both = find_policy("strict+near_copy+unforgeable").wanted
    assert {wish for wish, _ in examine(honest, digits, RECORDED, wanted=both).survey.granted} == both
    assert pickle.loads(pickle.dumps(both)) == both, "a worker is told"  # noqa: S301


@pytest.mark.parametrize("check", sorted(GATHER))
def test_a_check_without_its_evidence_or_with_that_of_other_parameters_does_not_pass(
    check: str, honest: MemoryProof, digits: Dataset
) -> None:
    asked: dict[str, dict[str, float]] = {
        "near_copy": {"radius": 0.5},
        "memorisation": {"intervals": 1},
        "unforgeable": {"bits": 3},
    }
    other = examine(honest, digits, RECORDED, wanted=alone(check, **asked[check]).wanted)
    assert not alone(check)(other).is_valid
    assert not alone(check)(examine(honest, digits, RECORDED)).is_valid


@pytest.mark.parametrize("check", sorted(GATHER))
@pytest.mark.parametrize("parts", [((0, 4),), ((0, 1), (1, 2), (2, 3), (3, 4)), ((0, 3), (3, 4))])
def test_what_shards_gather_is_what_one_pass_gathers(
    check: str, parts: Sequence[tuple[int, int]], forged: MemoryProof, digits: Dataset
) -> None:
    policy, trainer = alone(check), Trainer(forged.recipe, digits)
    evidence = examine(forged, digits, RECORDED, wanted=policy.wanted)
    shards = [survey(forged, trainer, *part, wanted=policy.wanted) for part in parts]
    sharded = replace(evidence, survey=sum(shards, Survey()))
    assert policy(sharded).checks == policy(evidence).checks


@pytest.mark.parametrize("check", sorted(GATHER))
def test_nothing_is_gathered_from_tensors_or_indices_that_are_not_legal(
    check: str, honest: MemoryProof, digits: Dataset
) -> None:
    for at in (0, 1, 3):
        tampered = copy_of(honest)
        broken = tampered.checkpoints[at]
        tampered.checkpoints[at] = replace(
            broken, parameters={**broken.parameters, next(iter(broken.parameters)): torch.zeros(3)}
        )
        assert "structure" in verify(tampered, digits, policy=f"published+{check}").rejected_by
    tampered = copy_of(honest)
    tampered.records[0].indices[0] = 10**6
    assert "indices" in verify(tampered, digits, policy=f"published+{check}").rejected_by


# --- near copies -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forged(honest: MemoryProof, digits: Dataset) -> MemoryProof:
    return spoof(honest, digits, "iii_invisible", SpoofConfig(steps=6, interval=2, grants=("usual", "interval")))


def disowned(made: MemoryProof, used: Dataset, known: Dataset) -> MemoryProof:
    """The same spoof, said to be of data that V knows: every point is A's own."""
    recipe = replace(made.recipe, dataset=known.name, dataset_sha256=known.sha256)
    proof = MemoryProof(recipe, len(known))
    proof.checkpoints = made.checkpoints
    for record in made.records:
        pixels, labels = gather(made, used, record.indices)
        points = Points(pixels=to_unit(pixels), labels=labels, sources=torch.zeros_like(labels))
        proof.write_batches([record._replace(indices=proof.add_points(points))])
    rehash(proof, known)
    return proof


@pytest.mark.parametrize("attack", ["iii", "iii_invisible"])
def test_perturbed_points_are_seen_where_their_dataset_is_known_and_not_where_it_is_not(attack: str) -> None:
    known, unknown = load_dataset("digits/D1"), load_dataset("digits/D2")
    target = prove(TrainConfig(dataset="digits/D1", steps=60, interval=10, batch_size=32), known)
    config = SpoofConfig(steps=4, interval=4, grants=("usual", "interval"))  # fewer points are perturbed more
    made = spoof(target, known, attack, config)
    verdict = verify(made, known, policy="published+near_copy", thresholds=WIDE)
    assert verdict.rejected_by == "near_copy"
    assert verdict.checks[-1].numbers["near"] > 0.5 * made.num_points
    elsewhere = spoof(target, unknown, attack, replace(config, dataset="digits/D2"))
    assert verify(elsewhere, unknown, policy="published+near_copy", thresholds=WIDE).rejected_by == "near_copy"
    verdict = verify(disowned(elsewhere, unknown, known), known, policy="published+near_copy", thresholds=WIDE)
    assert verdict.is_valid, "the published defence is defeated by disjoint data"
    assert verdict.checks[-1].numbers["points"] >= elsewhere.num_points


def test_clean_test_images_are_no_near_copies(digits: Dataset) -> None:
    assert float(nearest(digits.test_pixels, digits).min()) > 0.18


def test_a_proof_without_own_points_has_no_near_copies(honest: MemoryProof, digits: Dataset) -> None:
    found = outcome(alone("near_copy"), honest, digits)
    assert found.passed
    assert found.numbers["points"] == 0


@pytest.mark.parametrize("chunk", [1, 3 * 64 * 4, 64 << 20])
def test_the_nearest_point_is_that_of_all_pairs(chunk: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_copy, "_CHUNK_BYTES", chunk)
    few = replace(digits, pixels=digits.pixels[:50], labels=digits.labels[:50])
    own = torch.rand(7, *digits.image_shape, generator=torch.Generator().manual_seed(3))
    stored = digits.test_pixels[:7]
    for pixels, unit in ((own, own), (stored, stored / 255)):
        slow = [min(float((one - other / 255).abs().max()) for other in few.pixels) for one in unit]
        assert nearest(pixels, few).tolist() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_pixel_that_is_no_number_is_not_far_from_all(value: float, digits: Dataset) -> None:
    own = digits.test_pixels[:2] / 255
    own[1, 0, 3, 3] = value
    first, second = nearest(own, digits).tolist()
    assert first > near_copy.RADIUS
    assert second == 0.0


@pytest.mark.parametrize(("levels", "near"), [(0, True), (8, True), (9, False)])
def test_the_radius_is_included(levels: int, near: bool, forged: MemoryProof, digits: Dataset) -> None:
    black = replace(digits, pixels=torch.zeros_like(digits.pixels))
    pixels = torch.full((1, *digits.image_shape), levels, dtype=torch.uint8)
    for own in (pixels, pixels / 255):
        points = Points(pixels=own, labels=torch.zeros(1, dtype=torch.int64), sources=torch.zeros(1, dtype=torch.int64))
        proof = MemoryProof(forged.recipe, len(black))
        proof.add_points(points)
        proof.checkpoints = forged.checkpoints
        found = near_copy.find_near_copies(proof, Trainer(forged.recipe, black), range(4), radius=near_copy.RADIUS)
        assert sum(one.near for one in found) == near


# --- memorisation ----------------------------------------------------------------------------------------------------


def learner(digits: Dataset, declared: Callable[[int], Tensor]) -> MemoryProof:
    """Each interval learns one batch by heart; the batches that it declares are another matter."""
    recipe = toy_recipe(
        digits, steps=320, interval=40, batch_size=16, optimizer=OptimizerConfig(options={"lr": 0.5, "momentum": 0.0})
    )
    proof, trainer = MemoryProof(recipe, len(digits)), Trainer(recipe, digits)
    trainer.load(initial_checkpoint(recipe, digits))
    proof.write_checkpoint(trainer.snapshot(0))
    for interval in recipe.intervals():
        batch, told = torch.arange(16) + 16 * interval.index, declared(interval.index)
        for step in range(interval.start, interval.stop):
            trainer.step(step, digits.pixels[batch], digits.labels[batch])
            proof.write_batches([BatchRecord(step, told.numpy(), b"")])
        proof.write_checkpoint(trainer.snapshot(interval.stop))
    rehash(proof, digits)
    return proof


def test_points_that_were_learned_by_heart_show_and_others_do_not(digits: Dataset) -> None:
    policy = alone("memorisation", least=3.0)
    true = outcome(policy, learner(digits, lambda i: torch.arange(16) + 16 * i), digits)
    assert true.passed
    assert true.numbers["auc"] > 0.6
    other = outcome(policy, learner(digits, lambda i: torch.arange(16) + 16 * (i + 40)), digits)
    assert not other.passed
    assert outcome(alone("memorisation"), learner(digits, lambda i: torch.arange(16) + 16 * (i + 40)), digits).passed


def test_the_auc_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(5)
    own, held = rng.integers(0, 6, 9).astype(float), rng.integers(0, 6, 13).astype(float)
    pairs = [0.5 * (a == b) + (a > b) for a in own for b in held]
    assert auc_of(own, held).auc == pytest.approx(np.mean(pairs))
    draws = [auc_of(*np.split(rng.permutation(20).astype(float), [8])).auc for _ in range(2000)]
    assert np.std(draws) == pytest.approx(auc_of(np.zeros(8), np.ones(12)).error, rel=0.1)
    assert auc_of(np.array([np.nan, np.nan]), held).auc == 0.0


def test_intervals_that_use_every_point_say_nothing(digits: Dataset) -> None:
    few = replace(digits, pixels=digits.pixels[:16], labels=digits.labels[:16])
    proof = prove(toy_recipe(few), few)
    assert outcome(alone("memorisation"), proof, few).detail == "no interval leaves a point out"
    assert not outcome(alone("memorisation", least=0.0), proof, few).passed


# --- unforgeable -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [16, 64])
def test_an_honest_batch_is_the_only_one(samples: int, honest: MemoryProof, digits: Dataset) -> None:
    found = outcome(alone("unforgeable", samples=samples, steps=3), honest, digits)
    assert found.passed, found.detail
    assert f"3 steps could not be made by other choices of up to {samples} samples" in found.detail


@pytest.mark.parametrize("other", ["the same", "of the same pixels"])
def test_a_batch_with_one_point_twice_has_another_that_makes_its_step(other: str, digits: Dataset) -> None:
    proof = prove(toy_recipe(digits, steps=16, interval=8), digits)
    first, second = proof.records[8].indices[:2]
    if other == "the same":
        proof.records[8].indices[1] = first
    else:
        digits = replace(digits, pixels=digits.pixels.clone(), labels=digits.labels.clone())
        digits.pixels[second], digits.labels[second] = digits.pixels[first], digits.labels[first]
        proof.recipe = replace(proof.recipe, dataset_sha256=digits.sha256)
    rehash(proof, digits)
    found = outcome(alone("unforgeable", samples=16), proof, digits)
    assert found.detail == (
        "step 8: the gradients of 16 samples have rank 15 over GF(2): another choice of them makes the same step"
    )


def test_bits_are_those_of_each_samples_own_gradient(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unforgeable, "_CHUNK_BYTES", 4 * 500 * 3)  # three samples at once
    trainer = Trainer(toy_recipe(digits, precision="float64"), digits)
    inputs, labels = trainer.inputs(digits.pixels[:7], 0), digits.labels[:7]
    columns = least_bits(trainer, inputs, labels, bits=20)
    for i, column in enumerate(columns):
        loss = trainer.loss(inputs[i : i + 1], labels[i : i + 1])
        gradients = torch.autograd.grad(loss, list(trainer.parameters.values()))
        whole = (torch.cat([g.flatten() for g in gradients]) * 2**20).round().long()
        slow = int.from_bytes(np.packbits((whole % 2).numpy().astype(bool)).tobytes(), "little")
        assert (column ^ slow).bit_count() <= 1, "but for one that lies between two integers"


def test_the_rank_is_that_of_all_sums() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        columns = [int(one) for one in rng.integers(0, 2 ** int(rng.integers(1, 9)), int(rng.integers(0, 7)))]
        sums = set()
        for chosen in itertools.product((0, 1), repeat=len(columns)):
            total = 0
            for take, column in zip(chosen, columns, strict=True):
                total ^= column * take
            sums.add(total)
        assert 2 ** rank(columns) == len(sums)


@pytest.mark.parametrize(("count", "of", "chosen"), [(4, 100, {0, 25, 50, 75}), (9, 3, {0, 1, 2}), (1, 7, {0})])
def test_samples_lie_evenly(count: int, of: int, chosen: set[int]) -> None:
    assert evenly(count, of) == chosen
