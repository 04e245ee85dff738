"""Judging a proof folder: the verifier's dataset and key, and groth16py's process for the proofs alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raypol.core.datasets.dataset import Dataset
from raypol.core.progress import Progress
from raypol.core.verifiable.circuit import key_digest
from raypol.core.verifiable.judging import ProvedEvidence, StepClaim, judge_run
from raypol.core.verification.verdict import Verdict
from raypol.runs.verifiable.groth16 import open_groth16
from raypol.store.location import Location, open_location
from raypol.store.verifiable.keys import read_keys_record
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
        keys: folder of the keys that the verifier made.
        key_sha256: `key_digest` of a key, where there is no such folder.
        on_progress: told of the steps.

    Raises:
        InputError: groth16py is missing, or the verifier's own keys are none or of another circuit.
    """
    if keys:
        read_keys_record(keys, evidence.run.shape)
    text = read_verifying_key(open_location(keys) if keys else folder)
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
            expected_key=used if keys else key_sha256,
            used_key=used,
            verify=verify,
            on_step=lambda done: on_progress("verifying steps", done, evidence.run.steps),
        )
    return JudgedFolder(verdict, tuple(each))
