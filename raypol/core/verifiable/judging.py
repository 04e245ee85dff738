"""The verdict on a proof by verifiable computation.

The verifier never sees W_1, ..., W_(T-1): he has their hashes, and a proof per step that the batch whose hash he computed himself
leads from the weights behind one hash to those behind the next.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import in_short
from raypol.core.seeds import COMMITMENT_KEPT, commitment_problems, share_problems
from raypol.core.verifiable.claim import IntegerData, ProvedRun, linear_shape
from raypol.core.verifiable.digests import hash_weights
from raypol.core.verifiable.integer_model import LINEAR_INTEGER, Integers, initial_integers
from raypol.core.verification.verdict import Check, Verdict, check_problems

VC_POLICY: Final = "vc"
ESTABLISHES: Final = (
    "Established, if accepted: these weights are those that T steps of integer SGD reach, from the W_0 of a seed that neither "
    "party chose, on the batches of the committed order. No slack: one weight off by one unit is another statement.",
    "Not established: when and by whom the steps were made; anything about a model that is not this quantised linear one "
    "(weights in units of 2^-16, inputs 0..16, floor); that the keys' maker did not forge (see UNSAFE).",
    "Nothing is hidden from the verifier: he recomputes every batch, and the training is short enough for him to repeat it.",
)
"""Printed with every verdict."""
_AT_ONCE: Final = 16
"""Steps verified in one request; after the first that fails no further one is looked at."""
StepClaim = tuple[bytes, tuple[int, int, int]]
"""Proof of a step, and its public values: hashes of W, of the batch, of W'."""
VerifySteps = Callable[[Sequence[StepClaim]], Sequence[bool]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvedEvidence:
    """What a proof folder holds, read and bounded."""

    run: ProvedRun
    weight_hashes: tuple[int, ...]
    """Of W_0, ..., W_T, as claimed."""
    proofs: tuple[bytes, ...]
    """Of steps 0, ..., T - 1."""
    final: Integers
    """(F, C): the released W_T."""
    key_sha256: str
    """Of circuit and verifying key, as claimed."""


def judge_run(
    evidence: ProvedEvidence,
    dataset: Dataset,
    *,
    expected_share: str | None,
    expected_commitment: str | None,
    expected_key: str | None,
    used_key: str,
    verify: VerifySteps,
    on_step: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Judge a proof: seven checks, no slack.

    Args:
        evidence: of the folder.
        dataset: the verifier's own.
        expected_share: what the verifier gave the prover for this training.
        expected_commitment: what the prover had sent before (`commitment_to`): else he could try seeds until one suits him.
        expected_key: `key_digest` of the key that the verifier made, or knows to be made by somebody whom he trusts.
        used_key: `key_digest` of the key that `verify` uses, with the circuit of the claimed shape.
        verify: verifies proofs.
        on_step: called with the number of steps that were looked at.
    """
    run = evidence.run
    data_check = _check_data(run, dataset)
    if not data_check.passed:  # nothing below has a meaning then, and its sizes would be the adversary's
        return Verdict(policy=VC_POLICY, checks=(data_check,))
    key = _check_key(evidence, expected_key, used_key)
    checks = (
        data_check,
        key,
        _check_share(run, expected_share),
        check_problems(
            "commitment",
            commitment_problems(run.dataset_sha256, LINEAR_INTEGER, run.shares, expected_commitment),
            COMMITMENT_KEPT,
        ),
        check_problems(
            "initial_weights",
            []
            if hash_weights(initial_integers(run.shape, run.seed)) == evidence.weight_hashes[0]
            else ["the first hash is not that of the W_0 of the seed"],
            "the first hash is that of the W_0 of the seed",
        ),
        _check_steps(evidence, dataset, verify, on_step)
        if key.passed
        else Check(name="step_proofs", passed=False, detail="not looked at: the key is not known to be the verifier's"),
        check_problems(
            "final_weights",
            []
            if hash_weights(evidence.final) == evidence.weight_hashes[-1]
            else ["the released weights do not have the last hash"],
            "the released weights have the last hash",
        ),
    )
    return Verdict(policy=VC_POLICY, checks=checks)


def _check_data(run: ProvedRun, dataset: Dataset) -> Check:
    """Compare the points and sizes of the claim with the verifier's own."""
    problems = []
    if run.dataset_sha256 != dataset.sha256:
        problems.append("the claim is about other points than the verifier's dataset has")
    elif run.dataset != dataset.name:
        problems.append(f"the claim calls the verifier's {in_short(dataset.name)} {in_short(run.dataset)}")
    elif run.shape != linear_shape(dataset, batch_size=run.shape.batch_size, lr_shift=run.shape.lr_shift):
        problems.append("the sizes of the model are not those of the dataset")
    elif run.shape.batch_size > len(dataset):
        problems.append(f"a batch of {run.shape.batch_size} points is more than the dataset has")
    return check_problems("dataset", problems, f"the {len(dataset)} points are the verifier's own")


def _check_key(evidence: ProvedEvidence, expected: str | None, used: str) -> Check:
    """Look that the key is the verifier's and of this circuit: its maker can forge, and other circuits prove other things."""
    problems = []
    if expected is None:
        problems.append(
            "the key is not known to be the verifier's, and whoever made it can forge: give --vc-keys or --vc-key-sha256"
        )
    elif used != expected:
        problems.append(f"the key is not the verifier's, or of another circuit: {used[:16]}..., not {expected[:16]}...")
    elif evidence.key_sha256 != used:
        problems.append(f"the claim names another key: {evidence.key_sha256[:16]}..., not {used[:16]}...")
    return check_problems("setup", problems, f"key {used[:16]}..., of the circuit of these sizes")


def _check_share(run: ProvedRun, expected: str | None) -> Check:
    problems = share_problems(run.seed, run.dataset_sha256, LINEAR_INTEGER, run.shares, expected)
    return check_problems("bound_seed", problems, "the seed of W_0 and of the order is that of both shares")


def _check_steps(
    evidence: ProvedEvidence, dataset: Dataset, verify: VerifySteps, on_step: Callable[[int], None]
) -> Check:
    """Verify the steps in order, up to the first that is not proved."""
    steps = evidence.run.steps
    if len(evidence.proofs) != steps or len(evidence.weight_hashes) != steps + 1:
        return Check(
            name="step_proofs", passed=False, detail=f"not every one of {steps} steps has a proof and two hashes"
        )
    for first, some in _pieces(evidence, dataset):
        for step, valid in zip(range(first, first + len(some)), verify(some), strict=True):
            if not valid:
                return Check(
                    name="step_proofs",
                    passed=False,
                    detail=f"step {step} of {steps} is not proved: this batch does not lead from hash {step} to hash {step + 1}, "
                    "or the proof is another's",
                    numbers={"first_unproved": float(step)},
                )
        on_step(first + len(some))
    return Check(
        name="step_proofs", passed=True, detail=f"all {steps} steps are proved, each on the batch of the order"
    )


def _pieces(evidence: ProvedEvidence, dataset: Dataset) -> Iterator[tuple[int, list[StepClaim]]]:
    data, hashes = IntegerData(evidence.run, dataset), evidence.weight_hashes
    for first in range(0, evidence.run.steps, _AT_ONCE):
        steps = range(first, min(first + _AT_ONCE, evidence.run.steps))
        yield first, [(evidence.proofs[t], (hashes[t], data.batch_hash(t), hashes[t + 1])) for t in steps]
