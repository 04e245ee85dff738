"""Check `exact`: honest training repeats itself in every bit, whatever it is of; nothing that was nudged or crafted does."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raypol import prove, verify
from raypol.cluster.jobs import ReplayJob
from raypol.core.arithmetic.machine import machine_class
from raypol.core.attacks import find_attack
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.proof import MemoryProof, OptimizerConfig
from raypol.core.seeds import commitment_to
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.prover import initial_checkpoint
from raypol.core.training.snapshots import checkpoint_of
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.policies import Policy, Use, exact, find_policy, strict
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.thresholds import MOVES
from raypol.core.verification.verdict import Verdict
from raypol.core.verification.verifier import Evidence, examine
from raypol.runs.trials.verify import shards
from raypol.store.verdicts import verdict_outcome
from tests.scenes import ANY_INTERVAL, forge, sgd, small_recipe, tiny
from tests.toys import FRESH, RECORDED, changed, copy_of, rehash, train_from

ALONE: Final = Policy(name="alone", checks=(Use(check="exact"),))
CROPS: Final = Transform(crop_padding=1, horizontal_flip=True, mean=(0.5,), std=(0.3,))
DATA: Final = tiny()


def exactly(proof: MemoryProof, dataset: Dataset) -> Verdict:
    """What `exact` alone says under conditions that draw the augmentation anew."""
    return ALONE(examine(proof, dataset, FRESH, exact=True))


# --- honest proofs ---------------------------------------------------------------------------------------------------

HONEST: Final[dict[str, dict[str, Any]]] = {
    "crops and flips": {"transform": CROPS},
    "rotation": {"transform": replace(CROPS, rotation_degrees=10.0)},
    "batch norm, momentum": {"model": "tests.scenes:smooth_net", "optimizer": sgd(momentum=0.9), "transform": CROPS},
    "dropout": {"model": "tests.scenes:smooth_dropout_net", "transform": CROPS},
    "integers in buffers": {"model": "tests.scenes:reordering_net"},
    "Adam": {"optimizer": OptimizerConfig(name="Adam", options={"lr": 1e-3}), "transform": CROPS},
    "float64": {"precision": "float64", "transform": CROPS},
    "a shorter last interval": {"steps": 7, "interval": 3, "transform": CROPS},
    "no augmentation": {"model": "simple_conv", "steps": 4, "interval": 2, "dataset": "digits"},
}


@cache
def honest_of(case: str) -> tuple[MemoryProof, Dataset]:
    changes = {"model": "tests.toys:mlp", "steps": 6, "interval": 2} | HONEST[case]
    dataset = DATA
    if changes.get("model") == "simple_conv":
        dataset = Dataset(
            name="large",
            pixels=DATA.pixels.repeat(1, 1, 4, 4),
            labels=DATA.labels,
            test_pixels=DATA.test_pixels.repeat(1, 1, 4, 4),
            test_labels=DATA.test_labels,
            num_classes=3,
        )
    changes.pop("dataset", None)
    return prove(small_recipe(dataset, **changes), dataset), dataset


@pytest.mark.parametrize("case", HONEST)
def test_honest_training_repeats_itself_in_every_bit(case: str) -> None:
    proof, dataset = honest_of(case)
    evidence = examine(proof, dataset, FRESH, exact=True)
    verdict = ALONE(evidence)
    assert verdict.is_valid, verdict.checks
    assert len(evidence.replays) == proof.recipe.num_intervals
    for replay in evidence.replays:
        assert replay.is_exact is True
        assert replay.recorded_error is not None
        assert replay.recorded_error.l2 == 0.0
        assert (replay.error.l2 > 0.0) is proof.recipe.transform.is_random, "the other replay drew anew"


def test_asking_for_bits_changes_nothing_else_that_is_seen() -> None:
    proof, dataset = honest_of("crops and flips")
    asked = examine(proof, dataset, FRESH, exact=True)
    plain = tuple(replace(replay, is_exact=None, recorded_error=None, machine="") for replay in asked.replays)
    assert plain == examine(proof, dataset, FRESH).replays


def test_verify_gathers_what_the_policy_needs() -> None:
    proof, dataset = honest_of("crops and flips")
    for policy in ("strict+exact", "published+exact"):
        verdict = verify(proof, dataset, policy=policy, conditions=RECORDED, thresholds=MOVES)
        assert verdict.is_valid, verdict.rejected_by


# --- one bit ---------------------------------------------------------------------------------------------------------

PARTS: Final = ("parameters", "buffers", "optimizer_state")


@cache
def with_everything() -> MemoryProof:
    """Weights, moving and counting buffers, momentum."""
    return honest_of("batch norm, momentum")[0]


def with_bit_flipped(tensor: Tensor, entry: int, bit: int) -> Tensor:
    raw = tensor.contiguous().clone().reshape(-1)
    seen = raw.view(torch.uint8)
    seen[entry % len(raw) * tensor.element_size() + bit // 8] ^= 1 << bit % 8
    return raw.reshape(tensor.shape)


def tampered(position: int, part: str, change: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]) -> MemoryProof:
    proof = copy_of(with_everything())
    checkpoint = proof.checkpoints[position]
    forged: dict[str, Any] = {part: change(getattr(checkpoint, part))}
    proof.checkpoints[position] = replace(checkpoint, **forged)
    rehash(proof, DATA)
    return proof


@settings(max_examples=20)
@given(
    position=st.integers(1, 3),
    part=st.sampled_from(PARTS),
    tensor=st.integers(0, 20),
    entry=st.integers(0, 500),
    bit=st.integers(0, 63),
)
def test_no_bit_may_be_another(position: int, part: str, tensor: int, entry: int, bit: int) -> None:
    recorded: Mapping[str, Tensor] = getattr(with_everything().checkpoints[position], part)
    name = sorted(recorded)[tensor % len(recorded)]
    width = 8 * recorded[name].element_size()
    forged = tampered(
        position, part, lambda all_: changed(all_, name, with_bit_flipped(all_[name], entry, bit % width))
    )
    verdict = exactly(forged, DATA)
    assert verdict.rejected_by == "exact"
    assert f"steps {2 * position - 2}..{2 * position}" in verdict.checks[0].detail


def zeros_negated(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.where(t == 0, -t, t) if t.is_floating_point() else t for name, t in tensors.items()}


def test_a_negative_zero_is_not_zero() -> None:
    """Equal in every comparison of numbers, and yet another bit."""
    honest = prove(small_recipe(DATA, model="tests.scenes:half_frozen_net", steps=4, interval=2, batch_size=8), DATA)
    zeroed = replace(
        honest.checkpoints[0], parameters={n: torch.zeros_like(t) for n, t in honest.checkpoints[0].parameters.items()}
    )
    proof = train_from(honest.recipe, DATA, zeroed)
    assert exactly(proof, DATA).is_valid
    last = proof.checkpoints[-1]
    assert any((t == 0).any() for t in last.parameters.values()), "what is frozen stays zero"
    proof.checkpoints[-1] = replace(last, parameters=zeros_negated(last.parameters))
    rehash(proof, DATA)
    assert all(replay.error.l2 == 0.0 for replay in examine(proof, DATA, RECORDED).replays)
    assert exactly(proof, DATA).rejected_by == "exact"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("what", ["missing", "another type"])
def test_what_is_missing_or_of_another_type_is_not_the_same(part: str, what: str) -> None:
    def change(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        name = sorted(tensors)[0]
        if what == "missing":
            return {other: tensor for other, tensor in tensors.items() if other != name}
        return changed(tensors, name, tensors[name].double())

    assert not exactly(tampered(2, part, change), DATA).is_valid


def test_a_nan_that_training_gives_is_itself() -> None:
    """Bits are compared, not numbers; that weights have to be finite is another check's to say."""
    rule = OptimizerConfig(options={"lr": 1e38})
    recipe = small_recipe(DATA, model="tests.toys:mlp", optimizer=rule, steps=4, interval=2)
    proof = train_from(recipe, DATA, initial_checkpoint(recipe, DATA))
    assert any(tensor.isnan().any() for tensor in proof.checkpoints[-1].parameters.values())
    assert exactly(proof, DATA).is_valid
    assert "finite" in find_policy("strict+exact")(examine(proof, DATA, RECORDED, exact=True), MOVES).rejected_by


# --- forgeries -------------------------------------------------------------------------------------------------------

SHORT: Final = SpoofConfig(steps=8, interval=4, grants=ANY_INTERVAL)
TRACED: Final = SpoofConfig(steps=12, interval=4, augmentation="honest", grants=("usual", "trace", "seed"))
STARTED: Final = SpoofConfig(
    steps=12, interval=4, augmentation="honest", trajectory=TrajectoryConfig(start="honest"), data_order="declared"
)
FORGERIES: Final[list[tuple[str, dict[str, Any], SpoofConfig, bool]]] = [
    ("null", {}, SHORT, False),
    ("null", {}, replace(SHORT, declares="no_momentum", buffers="exact"), False),
    ("infinitesimal", {}, SHORT, False),
    ("untrained", {}, replace(SHORT, declares="no_momentum", buffers="exact"), False),
    ("forged_momentum", {}, SHORT, False),
    ("connected", {}, replace(SHORT, declares="no_momentum", buffers="exact"), False),
    ("steered", {}, replace(SHORT, augmentation="honest"), False),
    ("forge_batch", {"candidates": 4, "forged": 0.5}, TRACED, False),
    ("continue", {}, SHORT, True),
    ("retrain", {}, STARTED, True),
]
"""Attack, its own choices, A's choices, and whether `exact` alone accepts it: it does not ask where a training began."""


@cache
def target() -> MemoryProof:
    return prove(small_recipe(DATA, transform=CROPS, optimizer=sgd(momentum=0.9)), DATA)


@pytest.mark.parametrize(("attack", "own", "choices", "accepted"), FORGERIES, ids=lambda one: str(one)[:40])
def test_what_was_not_trained_is_rejected_and_what_was_is_not(
    attack: str, own: dict[str, Any], choices: SpoofConfig, accepted: bool
) -> None:
    made = forge(find_attack(attack, **own), target(), DATA, choices)
    verdict = exactly(made.proof, DATA)
    assert verdict.is_valid is accepted, verdict.checks


# --- policy `exact` ---------------------------------------------------------------------------------------------------

SHARE: Final = "0f" * 16


@cache
def bound(seed: int = 0) -> MemoryProof:
    """An honest proof whose seed both parties had a share in."""
    training = TrainConfig(
        dataset=DATA.name, model="tests.scenes:smooth_net", steps=12, interval=4, batch_size=6, lr=0.05, lr_drops=(),
        seed=seed, share=SHARE,
    )  # fmt: skip
    return prove(training.recipe(DATA, device="cpu", threads=1), DATA)


def judged(proof: MemoryProof, *, seed: int = 0, share: str | None = SHARE, **changes: Any) -> Verdict:  # noqa: ANN401
    """The verdict of policy `exact` for what the verifier was told before training: the commitment to a seed, and his share."""
    told = commitment_to(DATA.sha256, "tests.scenes:smooth_net", str(seed))
    evidence = examine(proof, DATA, RECORDED, exact=True, expected_share=share, expected_commitment=told)
    return exact(replace(evidence, **changes), MOVES)


@pytest.mark.parametrize("seed", range(20))
def test_twenty_honest_proofs_are_accepted(seed: int) -> None:
    verdict = judged(bound(seed), seed=seed)
    assert verdict.is_valid, verdict.checks


@pytest.mark.parametrize(("attack", "own", "choices", "_"), FORGERIES, ids=lambda one: str(one)[:40])
def test_no_forgery_is_accepted_not_even_of_an_honest_training(
    attack: str, own: dict[str, Any], choices: SpoofConfig, _: bool
) -> None:
    verdict = judged(forge(find_attack(attack, **own), bound(), DATA, choices).proof)
    assert not verdict.is_valid
    assert verdict.rejected_by != "exact", "more than bits is wrong"


def test_one_honest_step_from_the_stolen_model_stops_at_the_seed_alone() -> None:
    """What exactness does not give: `continue` trains from W_0 = W_T, in every bit; without a bound W_0 it is a valid proof."""
    stolen = bound()
    shortest = replace(bound().recipe, steps=1, interval=1)
    made = train_from(shortest, DATA, replace(stolen.checkpoints[-1], step=0, optimizer_state={}))
    assert exactly(made, DATA).is_valid
    verdict = judged(made)
    assert "bound_seed" in verdict.rejected_by
    assert {"exact", "replay", "hashes", "commitment", "own_points"}.isdisjoint(verdict.rejected_by.split(","))


def test_a_seed_that_was_tried_out_after_the_share_was_known_is_rejected() -> None:
    assert judged(bound(3), seed=0).rejected_by == "commitment"
    assert judged(bound(), share="ee" * 16).rejected_by == "bound_seed"
    assert judged(bound(), expected_commitment=None).rejected_by == "commitment"
    assert (
        judged(prove(small_recipe(DATA, model="tests.scenes:smooth_net"), DATA)).rejected_by == "bound_seed,commitment"
    )


# --- another class of machine ----------------------------------------------------------------------------------------


def rounded_otherwise(proof: MemoryProof) -> Evidence:
    """Evidence in which every weight is another by its last bit, as another machine would leave it."""
    other = copy_of(proof)
    for position, checkpoint in enumerate(proof.checkpoints[1:], start=1):
        nudged = {n: torch.nextafter(t, t + 1) for n, t in checkpoint.parameters.items()}
        other.checkpoints[position] = replace(checkpoint, parameters=nudged)
    rehash(other, DATA)
    told = commitment_to(DATA.sha256, "tests.scenes:smooth_net", "0")
    return examine(other, DATA, RECORDED, exact=True, expected_share=SHARE, expected_commitment=told)


def test_other_bits_are_inexact_on_another_machine_and_fraud_on_the_same() -> None:
    evidence = rounded_otherwise(bound())
    here = machine_class()
    same, elsewhere = exact(replace(evidence, machine=here), MOVES), exact(replace(evidence, machine="a GPU"), MOVES)
    assert (same.rejected_by, same.inexact, verdict_outcome(same, exact)) == ("exact", "", "rejected")
    assert (elsewhere.rejected_by, verdict_outcome(elsewhere, exact)) == ("exact", "inexact")
    assert "recorded on a GPU" in elsewhere.inexact
    assert here in elsewhere.inexact
    assert not elsewhere.is_valid, "inexact accepts nothing"


def test_no_machine_excuses_other_bits_of_arithmetic_that_is_the_same_everywhere() -> None:
    evidence = rounded_otherwise(bound())
    declared = replace(evidence, machine="a GPU", recipe=replace(evidence.recipe, precision="reproducible"))
    verdict = exact(declared, MOVES)
    assert "exact" in verdict.rejected_by
    assert (verdict.inexact, verdict_outcome(verdict, exact)) == ("", "rejected")


def test_whoever_names_another_machine_does_not_hide_what_else_is_wrong() -> None:
    evidence = replace(rounded_otherwise(bound()), machine="a GPU", expected_share="ee" * 16)
    verdict = exact(evidence, MOVES)
    assert (verdict.inexact, verdict_outcome(verdict, exact)) == ("", "rejected")


def test_a_proof_says_on_which_class_of_machine_it_was_made() -> None:
    assert bound().machine == machine_class()
    assert "1 thread, torch" in machine_class() or "threads, torch" in machine_class()


# --- how it was gathered ---------------------------------------------------------------------------------------------


def test_evidence_that_was_gathered_without_it_is_no_pass() -> None:
    proof, dataset = honest_of("crops and flips")
    without, having = examine(proof, dataset, FRESH), examine(proof, dataset, FRESH, exact=True)
    assert ALONE(without).rejected_by == "exact"
    assert "3 intervals were not compared" in ALONE(without).checks[0].detail
    partly = replace(having, replays=(*having.replays[:-1], replace(having.replays[-1], is_exact=None)))
    assert ALONE(partly).rejected_by == "exact"
    assert ALONE(replace(having, replays=())).rejected_by == "exact", "nothing was looked at"


@pytest.mark.parametrize(
    ("policy", "needs"),
    [(strict, False), (ALONE, True), (find_policy("published+exact"), True), (find_policy("strict+direction"), False)],
)
def test_a_policy_knows_that_it_needs_bits(policy: Policy, needs: bool) -> None:
    assert policy.needs_exact is needs


@cache
def eight_intervals() -> MemoryProof:
    return prove(small_recipe(DATA, model="tests.toys:mlp", steps=16, interval=2, transform=CROPS), DATA)


def in_shards(proof: MemoryProof, workers: int) -> Evidence:
    """Evidence whose replays are those of the jobs of so many workers."""
    whole = examine(proof, DATA, FRESH)
    replays: list[IntervalReplay] = []
    for start, stop in shards(proof.recipe.num_intervals, workers):
        job = ReplayJob(
            proof="", data=DataSource(name="tiny"), device="cpu", conditions=FRESH, intervals=(), exact=True
        )
        _, replay = job.replayer(proof, DATA)
        replays += [replay(proof.recipe.interval_at(index)) for index in range(start, stop)]
    return replace(whole, replays=tuple(replays))


@pytest.mark.parametrize("differing", [(), (0,), (7,), (2, 5), (1, 4, 5)])
def test_the_verdict_does_not_depend_on_who_replays_what(differing: tuple[int, ...]) -> None:
    proof = copy_of(eight_intervals())
    for index in differing:  # the end of an interval, which is the start of the next
        checkpoint = proof.checkpoints[index + 1]
        name = sorted(checkpoint.parameters)[0]
        forged = with_bit_flipped(checkpoint.parameters[name], index, 3)
        proof.checkpoints[index + 1] = replace(checkpoint, parameters=changed(checkpoint.parameters, name, forged))
    rehash(proof, DATA)
    whole = examine(proof, DATA, FRESH, exact=True)
    parts = [in_shards(proof, workers) for workers in (1, 2, 8)]
    assert [ALONE(part) for part in parts] == [ALONE(whole)] * 3
    assert ALONE(whole).is_valid is not bool(differing)
    compared = [sum(replay.is_exact is not None for replay in part.replays) for part in parts]
    assert compared == sorted(compared)
    if differing and differing[0] < 7:
        assert compared[0] < 8, "a job ends its comparisons at the first difference"


def test_a_negative_zero_in_the_start_is_no_draw_of_the_seed() -> None:
    """As a dispute has it: one free bit per zero would be a seed of the forger's own."""
    proof = copy_of(bound())
    start = proof.checkpoints[0]
    name = next(name for name, tensor in start.tensors().items() if tensor.is_floating_point() and (tensor == 0).any())
    tensors = start.tensors() | {name: torch.where(start.tensors()[name] == 0, -0.0, start.tensors()[name])}
    proof.checkpoints[0] = checkpoint_of(0, tensors)
    rehash(proof, DATA)
    assert "bound_seed" in judged(proof).rejected_by
    policy = Policy(name="d", checks=(Use(check="declared_seed"),))
    assert policy(examine(proof, DATA, RECORDED)).rejected_by == "declared_seed"
