"""Check `beats_chance`: the last recorded model classifies the test points better than chance."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence


def check_beats_chance(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that the accuracy of W_T is above one half, as chance's is for no dataset of three classes or more."""
    accuracy = evidence.survey.accuracies[-1] if evidence.survey.accuracies else 0.0
    return Check(name="beats_chance", passed=accuracy > 0.5, detail=f"accuracy of W_T {accuracy:.3f}")


CHECKS: Final = {"beats_chance": check_beats_chance}
