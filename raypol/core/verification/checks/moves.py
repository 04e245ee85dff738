"""Checks `declared_rate` and `direction`: the claimed moves are those of training under the declared rule.

A slack says how far a replay may end from the claim; it does not say that the replay went there. Where a spoof's moves are
smaller than the slack, a replay that goes nowhere passes. These two look at where it goes, and need neither d_ref nor a slack.
"""

from statistics import median
from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

LEAST_SHARE: Final = 0.1
"""Honest replays move as far as the claim does, within tens of percent; a vanishing rate moves them by 10^-4 of it."""
LEAST_COSINE: Final = 0.3
"""Stage medians of honest replays under fresh augmentation: 0.4 to 0.9; of spoofs without training: below 0.3."""
_STAGES: Final = 3


def check_declared_rate(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that the declared rates can make the claimed moves: lengths in l2, summed over the replayed intervals."""
    claimed = sum(evidence.survey.movements[replay.interval.index].l2 for replay in evidence.replays)
    if not evidence.replays:
        return Check(name="declared_rate", passed=False, detail="no interval was replayed")
    replayed = sum(replay.update for replay in evidence.replays)
    share = replayed / claimed if claimed > 0.0 else 0.0
    detail = f"replayed steps move the weights by {share:.3g} of what is claimed, expected >= {LEAST_SHARE}"
    return Check(name="declared_rate", passed=share >= LEAST_SHARE, detail=detail, numbers={"share": share})


def check_direction(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that replays go where the claim goes: the median cosine of both moves in each third of training."""
    stages: list[list[float]] = [[] for _ in range(_STAGES)]
    for replay in evidence.replays:
        stages[min(replay.interval.start * _STAGES // evidence.recipe.steps, _STAGES - 1)].append(replay.direction)
    medians = [median(found) for found in stages if found]
    if not medians:
        return Check(name="direction", passed=False, detail="no interval was replayed")
    passed = all(value >= LEAST_COSINE for value in medians)
    told = ", ".join(f"{value:.2f}" for value in medians)
    detail = f"median cosine of replayed and claimed moves by stage {told}; expected >= {LEAST_COSINE}"
    return Check(name="direction", passed=passed, detail=detail, numbers={"least": min(medians)})


CHECKS: Final = {"declared_rate": check_declared_rate, "direction": check_direction}
