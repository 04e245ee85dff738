"""Check `optimizer_state`: the recorded state is empty at step 0 and follows from the interval before."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.checks.replay import against_thresholds
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence


def check_optimizer_state(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    """Compare where the recorded and the replayed state would carry the weights (`Trainer.drift`) with delta."""
    problems = []
    if evidence.survey.state_at_start:
        problems.append(f"not empty at step 0 ({len(evidence.survey.state_at_start)} entries)")
    problems += [replay.state_problem for replay in evidence.replays if replay.state_problem]
    compared = [(replay, replay.state_error) for replay in evidence.replays]
    check = against_thresholds("optimizer_state", evidence, compared, thresholds, d_ref, "drift by the state: ")
    if problems:
        return Check(
            name=check.name,
            passed=False,
            detail=f"{problems[0]}; {len(problems)} problems in {len(compared)} intervals",
            numbers=check.numbers,
        )
    return check


CHECKS: Final = {"optimizer_state": check_optimizer_state}
