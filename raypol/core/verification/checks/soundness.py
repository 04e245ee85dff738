"""Checks `structure`, `indices` and `finite`: without them nothing else means anything."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence


def check_structure(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that the recorded tensors are those of the declared model and optimizer."""
    good = "names, shapes, dtypes and step order are the declared ones"
    return check_problems("structure", evidence.survey.structure, good)


def check_indices(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that all recorded indices mean points, and that own points are possible ones."""
    return check_problems("indices", evidence.survey.indices, "every index and own point is legal")


def check_finite(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check for NaN and infinity, which the published verifier's comparisons let pass."""
    return check_problems("finite", evidence.survey.finite, "every recorded tensor is finite")


CHECKS: Final = {"structure": check_structure, "indices": check_indices, "finite": check_finite}
