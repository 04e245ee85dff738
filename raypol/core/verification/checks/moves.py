"""Checks `declared_rate` and `direction`: the claimed moves are those of training under the declared rule.

A slack says how far a replay may end from the claim; it does not say that the replay went there. Where a spoof's moves are
smaller than the slack, a replay that goes nowhere passes. These two look at where it goes, and need neither d_ref nor a slack.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from raypol.core.distances import Distances
from raypol.core.verification.stages import WIDE_STAGES, by_stage, check_floors, stages_of
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

LEAST_SHARE: Final = 0.1
"""Honest replays move as far as the claim does, within tens of percent; a vanishing rate moves them by 10^-4 of it."""
LEAST_COSINE: Final = 0.3
"""Stage medians of honest replays under fresh augmentation: 0.4 to 0.9; of spoofs without training: below 0.3."""
_SHARE_MARGIN: Final = 1.5
_COSINE_MARGIN: Final = 0.6
"""Of the lowest honest median of a stage."""


def check_declared_rate(
    evidence: Evidence, _: Thresholds, __: Distances | None, *, least: float = LEAST_SHARE, most: float | None = None
) -> Check:
    """Check that the declared rates can make the claimed moves: lengths in l2, summed over the replayed intervals."""
    if not evidence.replays:
        return Check(name="declared_rate", passed=False, detail="no interval was replayed")
    share = _share(evidence)
    limits = f">= {least:.3g}" if most is None else f"in {least:.3g}..{most:.3g}"
    detail = f"replayed steps move the weights by {share:.3g} of what is claimed, expected {limits}"
    passed = least <= share <= (math.inf if most is None else most)
    return Check(name="declared_rate", passed=passed, detail=detail, numbers={"share": share})


def check_direction(
    evidence: Evidence,
    _: Thresholds,
    __: Distances | None,
    *,
    least: Sequence[float] = (LEAST_COSINE, LEAST_COSINE, LEAST_COSINE),
) -> Check:
    """Check that replays go where the claim goes: the median cosine of both moves in each stage of training."""
    medians = _medians(evidence, len(least))
    what = "median cosine of replayed and claimed moves"
    check = check_floors("direction", what, medians, least, unseen="no interval was replayed")
    if evidence.replays:
        check.numbers["least"] = min(value for value in medians if value is not None)
    return check


def _share(evidence: Evidence) -> float:
    claimed = sum(evidence.survey.movements[replay.interval.index].l2 for replay in evidence.replays)
    replayed = sum(replay.update for replay in evidence.replays)
    return replayed / claimed if claimed > 0.0 else 0.0


def _medians(evidence: Evidence, stages: int) -> list[float | None]:
    found = by_stage(evidence, stages, lambda replay: replay.direction)
    return [median(one) if one else None for one in found]


def _calibrate_rate(honest: Sequence[Evidence], _: float) -> dict[str, Any]:
    shares = [_share(evidence) for evidence in honest]
    return {"least": min(shares) / _SHARE_MARGIN, "most": max(shares) * _SHARE_MARGIN}


def _calibrate_direction(honest: Sequence[Evidence], _: float) -> dict[str, Any]:
    stages = stages_of(honest, WIDE_STAGES)
    lowest = zip(*(_medians(evidence, stages) for evidence in honest), strict=True)
    return {"least": [_COSINE_MARGIN * min(v for v in one if v is not None) for one in lowest]}


CHECKS: Final = {"declared_rate": check_declared_rate, "direction": check_direction}
CALIBRATIONS: Final = {"declared_rate": _calibrate_rate, "direction": _calibrate_direction}
