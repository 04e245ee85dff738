"""The verdict, by statements that are known to be true or not; tests/runs/verifiable has the same table with real proofs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from raypol.core.verifiable.judging import ProvedEvidence, StepClaim, VerifySteps, judge_run
from raypol.core.verification.verdict import Verdict
from tests.proved import KEY, SHARE, TAMPERED, TrueStatements, evidence_of, small, small_commitment, small_run

COMMITMENT: Final = small_commitment()


def judged(
    evidence: ProvedEvidence,
    verify: VerifySteps,
    *,
    share: str | None = SHARE,
    commitment: str | None = COMMITMENT,
    key: str | None = KEY,
) -> Verdict:
    return judge_run(
        evidence,
        small(),
        expected_share=share,
        expected_commitment=commitment,
        expected_key=key,
        used_key=KEY,
        verify=verify,
    )


def test_an_honest_run_is_accepted() -> None:
    statements = TrueStatements()
    verdict = judged(evidence_of(small_run(), statements.prove), statements.verify)
    assert verdict.is_valid
    names = ["dataset", "setup", "bound_seed", "commitment", "initial_weights", "step_proofs", "final_weights"]
    assert [check.name for check in verdict.checks] == names


# A real proof of a lie does not verify, which is for the real table to show.
@pytest.mark.parametrize("name", [name for name in TAMPERED if "proof of the lie" not in name])
def test_what_is_tampered_with_is_rejected_by_name(name: str) -> None:
    tamper, checks = TAMPERED[name]
    statements = TrueStatements()
    evidence = tamper(evidence_of(small_run(), statements.prove), statements.prove)
    assert judged(evidence, statements.verify).rejected_by == checks


def test_another_share_and_an_unknown_one_are_rejected() -> None:
    statements = TrueStatements()
    evidence = evidence_of(small_run(), statements.prove)
    assert judged(evidence, statements.verify, share=SHARE[::-1]).rejected_by == "bound_seed"
    assert judged(evidence, statements.verify, share=None).rejected_by == "bound_seed"


def test_a_seed_that_was_searched_for_is_not_the_one_that_was_committed_to() -> None:
    """He has the share, and tries seeds of his own until W_0 or the order suits him."""
    statements = TrueStatements()
    ground = evidence_of(small_run(seed=6), statements.prove)
    assert judged(ground, statements.verify).rejected_by == "commitment"
    honest = evidence_of(small_run(), statements.prove)
    assert judged(honest, statements.verify, commitment=None).rejected_by == "commitment"


def test_a_step_without_an_answer_is_not_proved() -> None:
    evidence = evidence_of(small_run(), TrueStatements().prove)
    with pytest.raises(ValueError, match="shorter"):
        judged(evidence, lambda _: [])


def test_a_claim_about_another_dataset_than_the_one_judged_on_is_rejected() -> None:
    """Of the same points: the verdict prints the name."""
    statements = TrueStatements()
    evidence = evidence_of(small_run(), statements.prove)
    named = replace(evidence, run=replace(evidence.run, dataset="imagenet_subset"))
    assert judged(named, statements.verify).rejected_by == "dataset"


@pytest.mark.parametrize("key", [None, "cd" * 32])
def test_no_proof_is_believed_under_a_key_that_is_not_known_to_be_the_verifiers(key: str | None) -> None:
    statements = TrueStatements()
    evidence = evidence_of(small_run(), statements.prove)
    asked: list[object] = []

    def verify(claims: Sequence[StepClaim]) -> list[bool]:
        asked.append(claims)
        return []

    verdict = judged(evidence, verify, key=key)
    assert verdict.rejected_by == "setup,step_proofs"
    assert not asked


def test_a_claim_of_other_sizes_is_not_looked_into() -> None:
    """Its sizes are the adversary's: nothing may be computed with them."""
    statements = TrueStatements()
    evidence = evidence_of(small_run(), statements.prove)
    for shape in (replace(evidence.run.shape, features=2**19), replace(evidence.run.shape, batch_size=2**8)):
        verdict = judged(replace(evidence, run=replace(evidence.run, shape=shape)), statements.verify)
        assert verdict.rejected_by == "dataset"
        assert len(verdict.checks) == 1
    other = replace(evidence.run, dataset_sha256="00" * 32)
    assert judged(replace(evidence, run=other), statements.verify).rejected_by == "dataset"


def test_verifying_ends_with_the_first_step_that_is_not_proved() -> None:
    statements = TrueStatements()
    evidence = evidence_of(small_run(steps=40), statements.prove)
    evidence = replace(evidence, proofs=(evidence.proofs[1], *evidence.proofs[1:]))
    seen: list[int] = []

    def verify(claims: Sequence[StepClaim]) -> list[bool]:
        seen.append(len(claims))
        return statements.verify(claims)

    verdict = judged(evidence, verify)
    assert verdict.checks[5].numbers == {"first_unproved": 0.0}
    assert seen == [16]
