"""Judging a proof folder: the verifier's dataset and key, and groth16py's process for the proofs alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.progress import Progress
from raypol.core.verifiable.circuit import key_digest
from raypol.core.verifiable.judging import ProvedEvidence, StepClaim, judge_run
from raypol.core.verification.verdict import Verdict
from raypol.runs.verifiable.groth16 import open_groth16
from raypol.store.location import Location
from raypol.store.verifiable.keys import read_own_key
from raypol.store.verifiable.proof_folder import read_verifying_key

VERIFIER_BYTES = 2_000_000_000
"""More than verifying takes: 100 MB."""


@dataclass(frozen=True, slots=True)
class JudgedFolder:
    """A verdict, and what it took."""

    verdict: Verdict
    each_s: tuple[float, ...]
    """CPU seconds of verifying each proof that was looked at."""


def judge_proved(
    folder: Location,
    evidence: ProvedEvidence,
    dataset: Dataset,
    *,
    share: str | None,
    commitment: str | None,
    keys: Path | None,
    key_sha256: str | None,
    on_progress: Progress,
) -> JudgedFolder:
    """Judge a proof folder.

    Args:
        folder: from which the verifying key is read where the verifier has no keys.
        evidence: read from it.
        dataset: the verifier's own.
        share: that the verifier gave the prover.
        commitment: that the prover had sent before.
        keys: folder of the keys that the verifier made.
        key_sha256: `key_digest` of a key, where there is no such folder, or to be compared with the key in it.
        on_progress: told of the steps.

    Raises:
        InputError: groth16py is missing, or the verifier's own keys are none or of another circuit.
    """
    if keys:
        text, used = read_own_key(keys, evidence.run.shape)
        if key_sha256 not in (None, used):
            raise InputError(f"the key in {keys} is {used[:16]}..., not the one of --vc-key-sha256")
    else:
        text = read_verifying_key(folder)
        used = key_digest(evidence.run.shape, text.encode())
    each: list[float] = []
    with open_groth16(VERIFIER_BYTES) as groth16:

        def verify(claims: Sequence[StepClaim]) -> tuple[bool, ...]:
            judged = groth16.verify(text, claims)
            each.extend(judged.each_s)
            return judged.valid

        verdict = judge_run(
            evidence,
            dataset,
            expected_share=share,
            expected_commitment=commitment,
            expected_key=used if keys else key_sha256,
            used_key=used,
            verify=verify,
            on_step=lambda done: on_progress("verifying steps", done, evidence.run.steps),
        )
    return JudgedFolder(verdict, tuple(each))
