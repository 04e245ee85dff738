"""Check `optimizer_state`: the recorded state is empty at step 0 and follows from the interval before.

A state acts in all steps to come, so it is compared by its whole effect, which does not shrink with k as the replay error does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from raypol.core.distances import METRICS, Distances
from raypol.core.verification.checks.replay import against_limits, limit_of_interval
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

STATE_SLACK: Final = 2.0
"""In units of delta. Honest states under fresh augmentation differ by 0.7 (k = 16) to 2.8 times (k = 4) the replay error, of
which delta is about twice."""


def check_optimizer_state(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    """Compare where the recorded and the replayed state would carry the weights (`Trainer.drift`) with twice delta."""
    slack = replace(thresholds, **{metric: STATE_SLACK * getattr(thresholds, metric) for metric in METRICS})
    return judge_state("optimizer_state", evidence, lambda r: limit_of_interval(evidence, r, slack, d_ref))


def judge_state(name: str, evidence: Evidence, limit_of: Callable[[IntervalReplay], Distances]) -> Check:
    """Compare drifts with limits; a state at step 0, or one that cannot follow, has none."""
    problems = []
    if evidence.survey.state_at_start:
        problems.append(f"not empty at step 0 ({len(evidence.survey.state_at_start)} entries)")
    problems += [replay.state_problem for replay in evidence.replays if replay.state_problem]
    compared = [(replay, replay.state_error) for replay in evidence.replays]
    check = against_limits(name, compared, limit_of, "drift by the state: ")
    if problems:
        return Check(
            name=check.name,
            passed=False,
            detail=f"{problems[0]}; {len(problems)} problems in {len(compared)} intervals",
            numbers=check.numbers,
        )
    return check


CHECKS: Final = {"optimizer_state": check_optimizer_state}
