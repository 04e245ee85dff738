"""The rows of verdicts: one per trial and policy."""

from collections.abc import Iterable

from raypol.store.results.columns import column, row
from raypol.store.results.rows import optional


@row
class VerdictRow:
    """What one policy says of one trial."""

    sweep_id: str = column("identity", "sweep", "As in the trial's row.")
    trial_id: str = column("identity", "trial", "As in the trial's row.")
    proof_id: str = column("identity", "proof", "As in the trial's row.")
    arm: str = column("identity", "arm", "As in the trial's row.")
    policy: str = column("verifier", "policy", "Its name; two policies of one name differ in their SHA-256.")
    policy_sha256: str = column("verifier", "policy's SHA-256", "Of its checks, parameters, slack and family, hex.")
    nonce: int = column(
        "verifier", "nonce", "The verifier's random number, for fresh augmentation and random intervals."
    )
    selection: str = column("verifier", "selection", "Which intervals were looked at: all, top_q, random, both.")
    replayed: int = column("verifier", "replayed", "Intervals that were looked at.")
    num_intervals: int = column("verifier", "intervals", "Intervals that the proof claims.")
    unjudged: int = column(
        "verdict", "unjudged", "Intervals whose slack is at least the claimed move: a replay that goes nowhere passes."
    )
    outcome: str = column(
        "verdict",
        "outcome",
        "accepted, rejected, not calibrated (another family of trainings, or a pass with unjudged intervals), or inexact "
        "(other bits on another class of machine, and nothing else wrong).",
    )
    accepted: bool = column("verdict", "accepted", "True if every check passed, unjudged intervals or not.")
    nonces: int = column(
        "verifier",
        "nonces",
        "Nonces under which the same evidence was judged: 1 where no interval is drawn.",
        default=1,
    )
    accepted_nonces: int | None = optional(
        "verdict", "accepted nonces", "Of these nonces, how many accept; empty in older rows."
    )
    rejected_by: str = column("verdict", "rejected by", "Checks that said no, comma-separated; empty if none.")
    success: bool | None = optional(
        "success",
        "success",
        "Every check passed, errors are below the proof's, time and storage less.",
    )
    bound_by: str = column(
        "success", "bound by", "The first condition of success that failed; empty if none.", default=""
    )
    verdict_sha256: str = column("verdict", "verdict's SHA-256", "Digest of the verdict, hex.")
    verdict: str = column(
        "verdict", "verdict", "The verdict file as text, which the verifier's option --recheck repeats."
    )

    @property
    def acceptance_rate(self) -> float:
        """The share of nonces under which the policy accepts."""
        accepted = int(self.accepted) if self.accepted_nonces is None else self.accepted_nonces
        return accepted / self.nonces if self.nonces else 0.0


def verdicts_by_trial(verdicts: Iterable[VerdictRow]) -> dict[str, dict[str, VerdictRow]]:
    """Trial -> policy -> verdict."""
    found: dict[str, dict[str, VerdictRow]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.trial_id, {})[verdict.policy] = verdict
    return found
