"""Check `hashes`: recomputed digests and root are the recorded ones, and the root is the one published earlier, if known."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence


def check_hashes(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Compare digests and roots; an unsound proof has no root to compare."""
    found = evidence.survey
    problems = list(found.hashes)
    if not found.structure and not found.indices and evidence.computed_root != evidence.recorded_root:
        problems.append("the root does not match the recorded one")
    if evidence.expected_root is not None and evidence.computed_root != evidence.expected_root:
        problems.append("the root is not the published one")
    good = f"{evidence.recipe.steps} steps and the root {evidence.recorded_root[:12]}... match"
    return check_problems("hashes", problems, good)


CHECKS: Final = {"hashes": check_hashes}
