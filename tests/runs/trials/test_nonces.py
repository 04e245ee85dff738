"""Policies that draw intervals: the rate of nonces that accept, against a slow recomputation."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import pytest
import torch

from raypol import prove
from raypol.core.proof import MemoryProof
from raypol.core.seeds import generator
from raypol.core.verification.policies import Policy, Use, published, strict
from raypol.core.verification.thresholds import MOVES
from raypol.core.verification.verdict import Check, Verdict
from raypol.core.verification.verifier import Evidence, examine, verifier_seed
from raypol.runs.trials.rows import NONCES, _accepted_nonces
from raypol.store.proofs.reader import ParquetProof
from raypol.store.results.files import read_verdicts
from tests.runs.conftest import Fresh
from tests.scenes import small_recipe, tiny
from tests.studies import trial
from tests.toys import RECORDED, changed, copy_of, rehash

DATA: Final = tiny()
RANDOM: Final = replace(strict, name="random", selection="random")
TWO: Final = replace(strict, name="two", selection="random", query_budget=2)
BOTH: Final = replace(strict, name="both", selection="both")
TOP: Final = replace(published, name="top", selection="top_q")
ALL: Final = replace(strict, name="all", selection="all")
EVERY: Final = (RANDOM, TWO, BOTH, TOP, ALL, strict)


@cache
def evidence() -> Evidence:
    """24 steps in intervals of 1, three to an epoch; two models are off, so that intervals 5, 6 and 23 are bad."""
    proof = copy_of(prove(small_recipe(DATA, model="tests.toys:mlp", steps=24, interval=1), DATA))
    for position in (6, 24):
        checkpoint = proof.checkpoints[position]
        name = sorted(checkpoint.parameters)[0]
        off = checkpoint.parameters[name] + 0.2
        proof.checkpoints[position] = replace(checkpoint, parameters=changed(checkpoint.parameters, name, off))
    rehash(proof, DATA)
    return examine(proof, DATA, RECORDED)


def rate(policy: Policy, seen: Evidence) -> int:
    study, asked = SimpleNamespace(d_ref=None), SimpleNamespace(thresholds=MOVES)
    verdict = policy(policy.part_of(seen), MOVES)
    return _accepted_nonces(policy, seen, verdict, study, asked)  # type: ignore[arg-type]


def drawn(seen: Evidence, nonce: int, budget: int) -> set[int]:
    """Spelled out: per epoch of three steps so many of its intervals, in the order that root and nonce draw."""
    seed = verifier_seed(seen.recorded_root, replace(seen.conditions, seed=nonce))
    found: set[int] = set()
    for epoch in range(8):
        order = torch.randperm(3, generator=generator(seed, "random intervals", epoch)).tolist()
        found |= {3 * epoch + place for place in order[:budget]}
    return found


@pytest.mark.parametrize(("policy", "budget"), [(RANDOM, 1), (TWO, 2)])
def test_the_rate_is_that_of_judging_every_nonce_alone(policy: Policy, budget: int) -> None:
    seen = evidence()
    accepted = 0
    for nonce in range(NONCES):
        looked_at = drawn(seen, nonce, budget)
        part = replace(seen, replays=tuple(r for r in seen.replays if r.interval.index in looked_at))
        accepted += strict(part, MOVES).is_valid
        assert policy.part_of(seen, nonce).replays == part.replays
    assert rate(policy, seen) == accepted
    assert 0 < accepted < NONCES


def test_more_intervals_are_seldom_accepted_and_those_that_move_most_never() -> None:
    seen = evidence()
    assert rate(RANDOM, seen) > rate(TWO, seen) > rate(BOTH, seen) == 0


@pytest.mark.parametrize("policy", EVERY, ids=lambda one: one.name)
def test_only_the_nonce_of_those_that_draw_matters(policy: Policy) -> None:
    seen = evidence()
    parts = {tuple(r.interval.index for r in policy.part_of(seen, nonce).replays) for nonce in range(50)}
    assert policy.draws_intervals is (policy.name in ("random", "two", "both"))
    assert (len(parts) > 1) is policy.draws_intervals
    assert rate(policy, seen) in ((0, 1) if not policy.draws_intervals else range(NONCES + 1))


LOOKED_AT: Final[list[int]] = []


def looking(seen: Evidence, _: Any, __: Any) -> Check:  # noqa: ANN401 - a check
    """A check that notes which intervals it is shown."""
    LOOKED_AT.extend(replay.interval.index for replay in seen.replays)
    return Check(name="looking", passed=True, detail="")


def shown(policy: Policy, seen: Evidence, nonce: int | None = None) -> Sequence[int]:
    LOOKED_AT.clear()
    verdict: Verdict = policy(policy.part_of(seen, nonce))
    assert verdict.is_valid
    return sorted(LOOKED_AT)


def test_no_interval_outside_the_selection_is_looked_at() -> None:
    seen, look = evidence(), (Use(check="tests.runs.trials.test_nonces:looking"),)
    spied = Policy(name="spy", checks=look, selection="random")
    for nonce in range(20):
        assert shown(spied, seen, nonce) == sorted(drawn(seen, nonce, 1))
    assert shown(spied, seen) == sorted(drawn(seen, seen.conditions.seed, 1)), "the evidence's own nonce"
    top = shown(replace(spied, selection="top_q"), seen)
    moves = seen.survey.movements
    for epoch in range(8):
        members = range(3 * epoch, 3 * epoch + 3)
        wanted = {max(members, key=lambda i, m=m: moves[i][m]) for m in ("l1", "l2", "linf", "cos")}  # type: ignore[misc]
        assert set(top) & set(members) == wanted
    for selection in (None, "all"):
        assert shown(replace(spied, selection=selection), seen) == list(range(24))


def test_of_evidence_that_was_itself_selected_nothing_more_is_left_out() -> None:
    proof: MemoryProof = prove(small_recipe(DATA, model="tests.toys:mlp", steps=12, interval=1), DATA)
    seen = examine(proof, DATA, RECORDED, selection="random", query_budget=2)
    assert RANDOM.part_of(seen, 7) is seen


def test_a_trial_has_a_rate_under_every_policy(fresh: Fresh) -> None:
    outcome = fresh.run(trial("infinitesimal", policies=(RANDOM, TOP)))
    rows = {row.policy: row for row in outcome.judged}
    assert {name: row.nonces for name, row in rows.items()} == {"published": 1, "strict": 1, "random": NONCES, "top": 1}
    for name, row in rows.items():
        assert row.accepted_nonces is not None
        if name != "random":
            assert row.accepted_nonces == int(row.accepted), name
    proof = ParquetProof(fresh.study.results / "proofs" / outcome.row.proof_id)
    assert rows["random"].replayed <= rows["published"].replayed == proof.recipe.num_intervals
    stored = {row.policy: row for row in read_verdicts(fresh.study.results) if row.trial_id == outcome.row.trial_id}
    assert stored == rows
    assert outcome.row.ratio_working is not None
    assert outcome.row.ratio_working > 0.0
