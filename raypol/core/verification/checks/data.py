"""Checks `own_points` and `fresh_order`: the recorded batches are those of training on the public dataset.

`own_points` allows none: where the dataset is public, an honest prover has nothing to bring (Zhang et al. 2022, arXiv:2108.09454,
section IV, forbid near copies; points from the other half of a dataset are none and pass that). `fresh_order` compares how often
points are used with shuffled epochs: points that were chosen once, for the whole proof, repeat.
"""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence

MOST_REPEATS: Final = 0.0
"""Share of an epoch's points that were used in it before: shuffled epochs repeat none, drawing with replacement 0.26 to 0.37."""


def check_own_points(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that every recorded index means a point of the public dataset."""
    count = evidence.num_points
    problems = [f"the proof brings {count} points of its own"] if count else []
    return check_problems("own_points", problems, "every point is one of the public dataset")


def check_fresh_order(
    evidence: Evidence, _: Thresholds, __: Distances | None, *, most_repeats: float = MOST_REPEATS
) -> Check:
    """Check that no epoch uses a point more often than its order allows; epochs are N // B steps."""
    repeats, worst, used = 0, 0.0, 0
    for use in evidence.survey.epochs.values():
        repeats += use.uses - use.distinct
        used += use.uses
        worst = max(worst, 1.0 - use.distinct / max(use.uses, 1))  # an epoch may be of own points alone
    if not used:
        return Check(name="fresh_order", passed=False, detail="no point of the dataset is used")
    detail = f"{repeats} of {used} uses repeat a point of their epoch, {worst:.0%} in the worst; expected <= {most_repeats:.0%}"
    numbers = {"worst": worst, "repeats": float(repeats)}
    return Check(name="fresh_order", passed=worst <= most_repeats, detail=detail, numbers=numbers)


CHECKS: Final = {"own_points": check_own_points, "fresh_order": check_fresh_order}
