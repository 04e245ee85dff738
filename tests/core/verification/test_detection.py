"""What is not as it was is found: any weight that is off by more than the slack, and bad intervals as often as they are drawn."""

import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raypol import prove
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import parameter_distances
from raypol.core.proof import MemoryProof, Points
from raypol.core.verification.policies import find_policy, strict
from raypol.core.verification.thresholds import MOVES
from raypol.core.verification.verifier import Evidence, examine
from tests.toys import RECORDED, changed, copy_of, rehash, toy_recipe


@pytest.fixture(scope="module")
def accepted(digits: Dataset) -> MemoryProof:
    """16 steps in intervals of 4."""
    proof = prove(toy_recipe(digits, interval=4), digits)
    assert strict(examine(proof, digits, RECORDED), MOVES).is_valid
    return proof


# --- one entry -------------------------------------------------------------------------------------------------------


@given(
    position=st.integers(0, 4),
    tensor=st.integers(0, 3),
    entry=st.floats(0.0, 1.0, exclude_max=True),
    times=st.floats(1.01, 1e9),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_no_weight_may_be_off_by_more_than_the_slack(
    position: int, tensor: int, entry: float, times: float, sign: float, accepted: MemoryProof, digits: Dataset
) -> None:
    """The slack in linf is a share of the claimed move, which a changed entry makes larger by as much as it is off."""
    proof = copy_of(accepted)
    checkpoint = proof.checkpoints[position]
    name = sorted(checkpoint.parameters)[tensor]
    before, after = proof.checkpoints[max(position - 1, 0)], proof.checkpoints[max(position, 1)]
    tolerance = MOVES.linf / (1.0 - MOVES.linf) * parameter_distances(before.parameters, after.parameters).linf
    weights = checkpoint.parameters[name].clone()
    flat = weights.view(-1)
    flat[int(entry * len(flat))] += sign * times * tolerance
    proof.checkpoints[position] = replace(checkpoint, parameters=changed(checkpoint.parameters, name, weights))
    rehash(proof, digits)
    verdict = strict(examine(proof, digits, RECORDED), MOVES)
    assert not verdict.is_valid
    assert {"replay", "initial_state"} & set(verdict.rejected_by.split(","))


# --- bad intervals among good ones -----------------------------------------------------------------------------------

_DRAW = random.Random(0)
NONCES = [_DRAW.getrandbits(63) for _ in range(200)]


@pytest.fixture(scope="module")
def partly_bad(digits: Dataset) -> Evidence:
    """Two epochs of 11 intervals of a step each; one checkpoint of the second is forged, so two intervals are bad."""
    recipe = toy_recipe(digits, steps=22, interval=1, batch_size=len(digits) // 11)
    proof = copy_of(prove(recipe, digits))
    checkpoint = proof.checkpoints[16]
    weights = checkpoint.parameters["2.weight"] + 0.1
    proof.checkpoints[16] = replace(checkpoint, parameters=changed(checkpoint.parameters, "2.weight", weights))
    rehash(proof, digits)
    return examine(proof, digits, RECORDED)


@pytest.mark.parametrize("query_budget", [1, 2, 4, 8])
def test_bad_intervals_are_found_as_often_as_they_are_drawn(query_budget: int, partly_bad: Evidence) -> None:
    bad = [
        replay.interval.index
        for replay in partly_bad.replays
        if not strict(replace(partly_bad, replays=(replay,)), MOVES).is_valid
    ]
    m, b = 11, len(bad)
    assert bad == [15, 16]
    parts = [partly_bad.restricted("random", query_budget, nonce) for nonce in NONCES]
    assert all(len(part.replays) == 2 * query_budget for part in parts)
    found = sum(not strict(part, MOVES).is_valid for part in parts) / len(parts)
    expected = 1.0 - math.comb(m - b, query_budget) / math.comb(m, query_budget)
    sigma = math.sqrt(expected * (1.0 - expected) / len(parts))
    assert abs(found - expected) <= 2.0 * sigma


# --- epochs of own points alone --------------------------------------------------------------------------------------


def test_epochs_without_a_point_of_the_dataset_have_no_order(accepted: MemoryProof, digits: Dataset) -> None:
    proof = copy_of(accepted)
    used = torch.from_numpy(proof.records[0].indices)
    points = Points(pixels=digits.pixels[used].clip(max=254) + 1, labels=digits.labels[used], sources=used)
    indices = proof.add_points(points)
    proof.records = [record._replace(indices=indices) for record in proof.records]
    rehash(proof, digits)
    verdict = find_policy("published+fresh_order+own_points")(examine(proof, digits, RECORDED), MOVES)
    details = {check.name: check.detail for check in verdict.checks if not check.passed}
    assert details["fresh_order"] == "no point of the dataset is used"
    assert details["own_points"] == "the proof brings 16 points of its own"
