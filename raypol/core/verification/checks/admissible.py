"""Check `admissible`: the declared optimizer, schedule and transform are a rule that trains, and something is trained by it."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence


def check_admissible(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check the declared rule: see `raypol.core.verification.admissible`; and that any weight moves at all.

    A rate too small for the weights' precision replays exactly, in no time, and would make a draw of W_0 its own training.
    """
    problems, moves = list(evidence.survey.rule), evidence.survey.movements
    if moves and all(move.linf == 0.0 for move in moves):
        problems.append(f"no weight moves in all {len(moves)} intervals: nothing is trained")
    return check_problems("admissible", problems, "optimizer, schedule and transform are a rule that trains")


CHECKS: Final = {"admissible": check_admissible}
