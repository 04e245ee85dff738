"""Attack grind_selection: what the nonce is worth, in tries and in rates of rejection."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from raypol import prove
from raypol.core import hashing
from raypol.core.attacks import find_attack, method_of
from raypol.core.attacks.grind_selection import find_salt
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof, Recipe
from raypol.core.spoofing.grants import USUAL, NotGrantedError
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.seal import seal_spoof
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.policies import strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import slack_in_moves
from raypol.core.verification.verifier import select_intervals, verifier_seed
from tests.scenes import Forged, forge, small_recipe, tiny, zero

DATA = tiny()
M = 12
"""Intervals of the epoch: 48 points in batches of 4, one step each."""
GROUND = SpoofConfig(steps=M, interval=1, batch_size=4, grants=(*USUAL, "interval", "selection", "nonce"))
NONCE = 5


@cache
def honest() -> MemoryProof:
    return prove(small_recipe(DATA), DATA)


@cache
def ground(query_budget: int, bad_intervals: int, max_tries: int = 100_000, joint: float = 1.0) -> Forged:
    attack = find_attack(
        "grind_selection",
        query_budget=query_budget,
        bad_intervals=bad_intervals,
        nonce=NONCE,
        max_tries=max_tries,
        joint=joint,
    )
    return forge(attack, honest(), DATA, GROUND)


def accepts(made: Forged, query_budget: int, nonce: int) -> bool:
    seen = made.evidence.restricted("random", query_budget, nonce)
    return strict(seen, slack_in_moves(1), None).is_valid


def missed(query_budget: int, bad_intervals: int) -> float:
    """C(m-b, Q) / C(m, Q)."""
    return math.comb(M - bad_intervals, query_budget) / math.comb(M, query_budget)


def misses(recipe: Recipe, query_budget: int, bad: int, nonce: int) -> Callable[[str], bool]:
    def suits(root: str) -> bool:
        chosen = select_intervals(
            "random",
            query_budget,
            recipe=recipe,
            dataset_size=48,
            movements=(),
            seed=verifier_seed(root, Conditions(seed=nonce)),
        )
        return all(interval.index < M - bad for interval in chosen)

    return suits


@pytest.mark.parametrize(("query_budget", "bad"), [(3, 1), (6, 1), (9, 1), (4, 2)])
def test_the_number_of_tries_is_what_chance_says(query_budget: int, bad: int) -> None:
    recipe, n, p = small_recipe(DATA, steps=M, interval=1, batch_size=4), 300, missed(query_budget, bad)
    digests = np.arange(8 * 32, dtype=np.uint8).reshape(8, 32)
    tries = []
    for seed in range(n):
        seal = hashing.Seal()
        seal.add_step(bytes([seed % 256, seed // 256]))
        found = find_salt(seal, 11, digests, recipe, suits=misses(recipe, query_budget, bad, seed), max_tries=1000)
        assert found.suits
        tries.append(found.tries)
    spread = math.sqrt(1.0 - p) / p / math.sqrt(n)  # geometric
    assert abs(sum(tries) / n - 1.0 / p) < 3.0 * spread
    if bad == 1:
        assert 1.0 / p == pytest.approx(1.0 / (1.0 - query_budget / M))


@pytest.mark.parametrize(("query_budget", "bad"), [(1, 1), (6, 1), (9, 1), (4, 2), (3, 3)])
def test_with_the_nonce_known_it_is_accepted(query_budget: int, bad: int) -> None:
    made = ground(query_budget, bad)
    assert made.stats[0].accepted
    assert accepts(made, query_budget, NONCE)
    assert made.rejected_by("strict", slack_in_moves(1)) == "replay"  # by selection all
    # Three digests of the root, one of V's seed, one of the epoch's.
    assert made.proof.cost.hashes == 5 * (made.stats[0].retries + 1)


@pytest.mark.parametrize(("query_budget", "bad"), [(1, 1), (6, 1), (4, 2)])
def test_fresh_nonces_reject_as_often_as_chance_says(query_budget: int, bad: int) -> None:
    made, n, rate = ground(query_budget, bad), 200, 1.0 - missed(query_budget, bad)
    rejected = sum(not accepts(made, query_budget, nonce) for nonce in range(1000, 1000 + n))
    assert abs(rejected / n - rate) < 3.0 * math.sqrt(rate * (1.0 - rate) / n)


def test_all_but_the_bad_intervals_replay_to_the_bit_and_nothing_but_an_order_changes() -> None:
    made = ground(9, 1)
    plain = forge(find_attack("glue", joint=1.0), honest(), DATA, GROUND).proof
    assert made.stats[0].retries > 0
    assert [replay.interval.index for replay in made.replays if not zero(replay.error)] == [M - 1]
    assert sorted(made.proof.records[-1].indices) == sorted(plain.records[-1].indices)
    assert [r.sha256 for r in made.proof.records[:-1]] == [r.sha256 for r in plain.records[:-1]]
    assert made.proof.root != plain.root
    target, end = honest().checkpoints[-1].parameters, made.proof.checkpoints[-1].parameters
    assert all(torch.equal(end[name], W) for name, W in target.items())


def test_a_salted_honest_batch_moves_no_more_than_rounding() -> None:
    made = ground(10, 1, joint=0.5)
    assert made.stats[0].retries > 0
    assert accepts(made, 10, NONCE)
    last, move = made.replays[-1], made.evidence.survey.movements[-1]
    assert 0.0 < last.error.l2 < 1e-4 * move.l2


def test_where_no_salt_suits_it_says_so() -> None:
    hopeless = ground(M, 1)
    assert not hopeless.stats[0].accepted
    assert hopeless.proof.cost.hashes == 5  # nothing to search where every interval is drawn
    assert not accepts(hopeless, M, NONCE)
    unlucky = ground(11, 1, max_tries=1)
    assert unlucky.stats[0].accepted == accepts(unlucky, 11, NONCE)
    assert unlucky.stats[0].retries == 0


def test_every_order_is_tried_once() -> None:
    roots: list[str] = []

    def refuse(root: str) -> bool:
        roots.append(root)
        return False

    digests = np.arange(4 * 32, dtype=np.uint8).reshape(4, 32)
    found = find_salt(hashing.Seal(), 3, digests, small_recipe(DATA), suits=refuse, max_tries=100)
    assert not found.suits
    assert (found.tries, len(set(roots))) == (24, 24)


def test_a_scene_that_is_used_again_grinds_the_same_root() -> None:
    """A worker keeps the scene of a spoof whose sealing was interrupted."""
    attack = find_attack("grind_selection", query_budget=9, nonce=NONCE)
    method = method_of(attack)
    recipe = spoof_recipe(method, attack, GROUND, honest().recipe, DATA)
    scene = make_scene(method, attack, GROUND, recipe, DATA, honest().checkpoints[-1])
    roots = []
    for first in (7, None):
        proof = MemoryProof(recipe, len(DATA))
        seal_spoof(method, scene, attack, None, proof, first=first)
        proof.seal()
        roots.append(proof.root)
    assert roots[1] == ground(9, 1).proof.root


@pytest.mark.parametrize("missing", ["weights", "selection", "nonce", "order"])
def test_it_is_refused_without_what_it_uses(missing: str) -> None:
    given = ("usual", *(grant for grant in ("interval", "selection", "nonce") if grant != missing))
    taken = () if missing in ("selection", "nonce") else (f"no_{missing}",)
    with pytest.raises(NotGrantedError, match=f"uses {missing} "):
        forge(find_attack("grind_selection"), honest(), DATA, replace(GROUND, grants=(*given, *taken)))


@pytest.mark.parametrize(
    ("fields", "choices", "message"),
    [
        ({"query_budget": 0}, GROUND, "query_budget"),
        ({"nonce": -1}, GROUND, "nonce"),
        ({"max_tries": 0}, GROUND, "max_tries"),
        ({"joint": 1.5}, GROUND, "expected joint in 0..1, got 1.5"),
        ({"bad_intervals": 13}, GROUND, "bad_intervals 13 contradicts steps 12"),
        ({}, replace(GROUND, batch_size=1), "expected a batch size >= 2, got 1"),
        ({}, replace(GROUND, data_order="declared"), "contradicts data_order declared, expected own"),
    ],
)
def test_bad_input_is_told_in_a_line(fields: dict[str, float], choices: SpoofConfig, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        forge(find_attack("grind_selection", **fields), honest(), DATA, choices)
    assert "\n" not in str(caught.value)
