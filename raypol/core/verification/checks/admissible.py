"""Check `admissible`: the declared optimizer, schedule and transform are a rule that trains."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence


def check_admissible(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check the declared rule: see `raypol.core.verification.admissible`."""
    return check_problems(
        "admissible", evidence.survey.rule, "optimizer, schedule and transform are a rule that trains"
    )


CHECKS: Final = {"admissible": check_admissible}
