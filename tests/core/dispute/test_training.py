"""Disputes about real trainings: every lie is found at its step, states cross bit by bit, and what exactness does not give."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol.core.attacks import PRESETS
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.dispute.training import (
    DeclaredTraining,
    ProofParty,
    StateLayout,
    check_records,
    state_digest,
    state_pieces,
)
from raypol.core.errors import InputError
from raypol.core.models.initial_laws import Constant, Given, Law
from raypol.core.proof import Checkpoint, MemoryProof, OptimizerConfig, Recipe
from raypol.core.protocol import prove, spoof
from raypol.core.spoofing.grants import GRANTS
from raypol.core.spoofing.spoof_config import Order, SpoofConfig
from raypol.core.spoofing.trajectory import Start, TrajectoryConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import Policy
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import examine
from raypol.runs.arena.verifiers import BOUND_SEED, EXACT_BITS, REFEREED
from tests.disputants import lying_party, lying_proof, record_lies, settled
from tests.scenes import RECORDED, TINY, all_bits, claiming, sgd, small_recipe, tiny


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny()


@pytest.fixture(scope="module")
def recipe(data: Dataset) -> Recipe:
    """22 steps in intervals of 5, the last one of 2, with crops, momentum and batch statistics."""
    return small_recipe(data, steps=22, interval=5, transform=Transform(crop_padding=1, horizontal_flip=True))


def honest_party(recipe: Recipe, data: Dataset) -> ProofParty:
    return ProofParty(prove(recipe, data), DeclaredTraining(recipe, data))


@pytest.mark.parametrize("lies", [(0,), (4,), (5,), (12,), (19,), (20,), (21,), (3, 17), (7, 8)])
def test_a_lie_is_found_at_its_step(lies: tuple[int, ...], recipe: Recipe, data: Dataset) -> None:
    honest, liar = honest_party(recipe, data), lying_party(recipe, data, *lies)
    for a, b, outcome in ((honest, liar, "b lied"), (liar, honest, "a lied")):
        found = settled(a, b, data)
        assert (found.outcome, found.step, found.interval) == (outcome, lies[0], lies[0] // 5)
        assert found.interval_rounds <= 3
        assert found.step_rounds <= 3
        assert found.replayed_steps == 1
        assert (found.state_bytes == 0) == (lies[0] == 0)  # W_0 the referee draws itself
    assert honest.repeats


def test_a_proof_that_was_nudged_at_a_checkpoint_is_found_at_the_last_step_of_its_interval(
    recipe: Recipe, data: Dataset
) -> None:
    """Its party knows no inner step that lies: all that it says comes from replaying its proof."""
    party = ProofParty(lying_proof(recipe, data, 12), DeclaredTraining(recipe, data))
    found = settled(party, honest_party(recipe, data), data)
    assert (found.outcome, found.interval, found.step) == ("a lied", 2, 14)
    assert party.repeats is False


def test_two_liars_part_where_the_first_lies(recipe: Recipe, data: Dataset) -> None:
    found = settled(lying_party(recipe, data, 7), lying_party(recipe, data, 13), data)
    assert (found.outcome, found.step) == ("a lied", 7)
    neither = settled(lying_party(recipe, data, 7), lying_party(recipe, data, 7, nudge=-0.5), data)
    assert (neither.outcome, neither.step) == ("undecided", 7)
    assert len(neither.faults) == 2


def test_the_smallest_change_of_one_weight_is_a_lie(recipe: Recipe, data: Dataset) -> None:
    proof = prove(recipe, data)
    last = proof.checkpoints[-1]
    name, W = next(iter(last.parameters.items()))
    nudged = W.clone()
    nudged.view(-1)[0] = torch.nextafter(nudged.view(-1)[0], torch.tensor(9.0))
    proof.checkpoints[-1] = replace(last, parameters={**last.parameters, name: nudged})
    found = settled(ProofParty(proof, DeclaredTraining(recipe, data)), honest_party(recipe, data), data)
    assert (found.outcome, found.step) == ("a lied", 21)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("tests.scenes:smooth_dropout_net", sgd(momentum=0.9)),
        ("tests.scenes:reordering_net", OptimizerConfig(name="Adam", options={"lr": 0.01})),
        ("tests.scenes:half_frozen_net", OptimizerConfig(name="Adagrad", options={"lr": 0.01})),
        ("tests.scenes:smooth_net", sgd()),
    ],
)
def test_every_kind_of_state_crosses(model: str, optimizer: OptimizerConfig, data: Dataset) -> None:
    """Dropout, integer tables, counters, frozen parameters, no state at all."""
    recipe = small_recipe(data, model=model, optimizer=optimizer, steps=9, interval=4)
    training = DeclaredTraining(recipe, data)
    for state in (training.first(), *training.follow(training.first(), 0, 3)):
        assert not training.layout.problem(state)
        raw = b"".join(state_pieces(state))
        assert len(raw) == training.layout.num_bytes(state.optimizer_state)
        again = training.layout.unpack(state.step, list(state.optimizer_state), raw)
        assert all_bits(again) == all_bits(state)
        assert state_digest(again) == state_digest(state)
    found = settled(honest_party(recipe, data), lying_party(recipe, data, 6), data)
    assert (found.outcome, found.step) == ("b lied", 6)


@given(st.binary(max_size=40), st.lists(st.text(max_size=8), max_size=3))
def test_a_state_of_other_names_or_sizes_is_refused(raw: bytes, names: list[str]) -> None:
    data = tiny()
    layout = StateLayout(Trainer(small_recipe(data), data))
    with pytest.raises(InputError, match=r"has no entry|named twice|expected a state of \d+ bytes"):
        layout.unpack(3, names, raw)


def test_a_state_that_the_model_cannot_have_is_none(recipe: Recipe, data: Dataset) -> None:
    training = DeclaredTraining(recipe, data)
    first = training.first()
    name = next(iter(first.parameters))
    changes: dict[str, Any] = {
        "no 'parameter": {"parameters": {}},
        "has no 'buffer/x'": {"buffers": {**first.buffers, "x": torch.zeros(1)}},
        "expected torch.float32": {"parameters": {**first.parameters, name: first.parameters[name].double()}},
    }
    for problem, change in changes.items():
        state = replace(first, **change)
        assert problem in training.layout.problem(state)
        assert training.digest_after(state, 0) is None
    tables = small_recipe(data, model="tests.scenes:reordering_net")
    training = DeclaredTraining(tables, data)
    state = training.first()
    state.buffers["order"][0] = 10**9  # a lookup anywhere
    assert "is not the declared model's" in training.layout.problem(state)


def test_own_points_and_damaged_checkpoints_make_no_party(recipe: Recipe, data: Dataset) -> None:
    spoofed = spoof(prove(recipe, data), data, "i", claiming(steps=4, interval=2, batch_size=16))
    if spoofed.num_points == 0:
        spoofed = spoof(prove(recipe, data), data, "iii", claiming(steps=4, interval=2, batch_size=16))
    with pytest.raises(InputError, match="own points are no matter for a dispute"):
        check_records(spoofed, data)
    proof = prove(recipe, data)
    check_records(proof, data)
    proof.checkpoints[1] = replace(proof.checkpoints[1], parameters={})
    party = ProofParty(proof, DeclaredTraining(recipe, data))
    with pytest.raises(InputError, match="checkpoint of step 5: no 'parameter"):
        party.steps(1)


def test_what_the_referee_may_not_ask(recipe: Recipe, data: Dataset) -> None:
    party = honest_party(recipe, data)
    for ask in (lambda: party.checkpoint(6), lambda: party.steps(5), lambda: party.step(0), lambda: party.state(3)):
        with pytest.raises(InputError):
            ask()
    party.steps(4)
    for ask in (lambda: party.step(3), lambda: party.state(22), lambda: party.state(19)):
        with pytest.raises(InputError):
            ask()


def test_a_party_with_other_checkpoints_loses(recipe: Recipe, data: Dataset) -> None:
    proof = prove(recipe, data)
    del proof.checkpoints[2]
    found = settled(ProofParty(proof, DeclaredTraining(recipe, data)), honest_party(recipe, data), data)
    assert [(f.side, f.kind) for f in found.faults] == [("a", "other count")]


# --- what the arena says of a dispute -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stolen(data: Dataset) -> MemoryProof:
    return prove(small_recipe(data, steps=12, interval=4, batch_size=8), data)


STARTS: tuple[Start, ...] = ("honest", "rank_matched")
REFUSED = {
    *((attack, start) for attack in ("blindfold", "fang2023_blindfold") for start in STARTS),
    *((attack, "honest") for attack in ("aligned", "amortized", "selected", "selected_anew", "grind_selection")),
    ("continue", "honest"),
    ("forge_batch", "honest"),
}
"""Attacks that choose batches or W_0 of their own, and those that need more intervals than this training has."""


def forged_from(stolen: MemoryProof, data: Dataset, attack: str, start: Start) -> MemoryProof:
    order: Order = "declared" if start == "honest" else "own"
    path = TrajectoryConfig(start=start)
    config = SpoofConfig(steps=12, interval=4, batch_size=8, trajectory=path, data_order=order, grants=tuple(GRANTS))
    return spoof(stolen, data, attack, config)


@pytest.mark.parametrize(("attack", "start"), sorted(REFUSED))
def test_what_is_no_forgery_is_refused(attack: str, start: Start, stolen: MemoryProof, data: Dataset) -> None:
    with pytest.raises(InputError, match="contradicts"):
        forged_from(stolen, data, attack, start)


@pytest.mark.parametrize(
    ("attack", "start"), sorted({(attack, start) for attack in PRESETS for start in STARTS} - REFUSED)
)
def test_policy_refereed_says_how_a_dispute_with_an_honest_challenger_ends(
    attack: str, start: Start, stolen: MemoryProof, data: Dataset
) -> None:
    forged = forged_from(stolen, data, attack, start)
    evidence = examine(forged, data, RECORDED, exact=True, wanted=REFEREED.wanted)
    training = DeclaredTraining(forged.recipe, data)
    found = settled(ProofParty(forged, training), ProofParty(prove(forged.recipe, data), training), data)
    assert found.outcome in ("agreed", "a lied")
    survives = found.outcome == "agreed" and has_declared_batches(forged, data)
    assert REFEREED(evidence).is_valid is survives, (found, REFEREED(evidence).rejected_by)
    if attack == "forge_batch":
        assert found.outcome == "agreed", "its states are honest ones: the records lie, which no question is about"


def has_declared_batches(proof: MemoryProof, data: Dataset) -> bool:
    try:
        check_records(proof, data)
    except InputError:
        return False
    return True


def test_policy_refereed_accepts_what_agrees(recipe: Recipe, data: Dataset) -> None:
    proof = prove(recipe, data)
    evidence = examine(proof, data, RECORDED, exact=True)
    assert REFEREED(evidence).is_valid
    assert (
        settled(ProofParty(proof, DeclaredTraining(recipe, data)), honest_party(recipe, data), data).outcome == "agreed"
    )
    lie = lying_proof(recipe, data, 12)
    assert REFEREED(examine(lie, data, RECORDED, exact=True)).rejected_by == "exact"


# --- what exactness does not give --------------------------------------------------------------------------------------


def _rejected_by(proof: MemoryProof, data: Dataset, policy: Policy, share: str | None = None) -> set[str]:
    evidence = examine(proof, data, RECORDED, exact=True, expected_share=share, wanted=policy.wanted)
    return set(policy(evidence, Thresholds(), None).rejected_by.split(","))


@pytest.fixture(scope="module")
def continued(data: Dataset) -> MemoryProof:
    """Attack `continue`: an honest training of one step from W_0 = W_T."""
    stolen = prove(small_recipe(data, steps=40, interval=10), data)
    return spoof(stolen, data, "continue", claiming(steps=1, interval=1, batch_size=16))


def test_continue_passes_every_exact_replay(continued: MemoryProof, data: Dataset) -> None:
    evidence = examine(continued, data, RECORDED, exact=True)
    assert all(replay.is_exact and replay.error.l2 == 0.0 for replay in evidence.replays)
    assert "exact" not in _rejected_by(continued, data, EXACT_BITS)
    assert "bound_seed" in _rejected_by(continued, data, BOUND_SEED)


def test_continue_loses_a_dispute_at_its_start_without_a_step(continued: MemoryProof, data: Dataset) -> None:
    """The referee draws W_0 from the recipe's seed, and asks nobody for it."""
    training = DeclaredTraining(continued.recipe, data)
    found = settled(ProofParty(continued, training), honest_party(continued.recipe, data), data)
    assert [(fault.side, fault.kind) for fault in found.faults] == [("a", "wrong start")]
    assert found.replayed_steps == 0
    alone = settled(ProofParty(continued, training), ProofParty(continued, training), data)
    assert alone.outcome == "both lied"  # also without an honest party


class _FromStolen(DeclaredTraining):
    """The declared training but for its start, as the strongest `continue` has it: declared batches, from W_T."""

    stolen: Checkpoint

    def first(self) -> Checkpoint:
        fresh = super().first()
        return replace(fresh, parameters=self.stolen.parameters, buffers=self.stolen.buffers)


def test_continue_on_the_declared_batches_repeats_in_every_bit_and_loses_as_well(data: Dataset) -> None:
    recipe = small_recipe(data, steps=1, interval=1, seed=3)
    training = _FromStolen(recipe, data)
    training.stolen = prove(small_recipe(data, steps=40, interval=10), data).checkpoints[-1]
    proof = MemoryProof(recipe, len(data))
    record_lies(training, data, proof)
    proof.seal()
    evidence = examine(proof, data, RECORDED, exact=True)
    assert all(replay.is_exact and replay.error.l2 == 0.0 for replay in evidence.replays)
    assert evidence.survey.steps_out_of_order == (0,)
    assert {"initial_state", "bound_seed"} <= _rejected_by(proof, data, BOUND_SEED)
    found = settled(ProofParty(proof, training), honest_party(recipe, data), data)
    assert [(fault.side, fault.kind) for fault in found.faults] == [("a", "wrong start")]


class _Stolen(torch.nn.Sequential):
    """A model whose constructor gives a trained W_T, and says so."""

    weight = 0.25

    def initial_laws(self) -> dict[str, Law]:
        return {name: Given() if name.endswith("weight") else Constant(0.5) for name, _ in self.named_parameters()}


def stolen_model(*, in_channels: int, num_classes: int) -> torch.nn.Module:
    model = _Stolen(torch.nn.Flatten(), torch.nn.Linear(25 * in_channels, num_classes))
    for name, parameter in model.named_parameters():
        torch.nn.init.constant_(parameter, _Stolen.weight if name.endswith("weight") else 0.5)
    return model


def test_a_declared_start_is_not_disputed(data: Dataset) -> None:
    """If the recipe says that W_0 is W_T (a fine-tuning), an honest step from it wins: the claim is true."""
    name = f"{__name__}:stolen_model"
    config = TrainConfig(dataset=TINY, model=name, steps=1, interval=1, batch_size=16, crop_padding=0, lr_drops=())
    proof = prove(config, data)
    assert proof.recipe.given
    training = DeclaredTraining(proof.recipe, data)
    assert float(training.first().parameters["1.weight"][0, 0]) == 0.25
    found = settled(ProofParty(proof, training), lying_party(proof.recipe, data, 0), data)
    assert (found.outcome, found.step) == ("b lied", 0)
