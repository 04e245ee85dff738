"""Check `exact`: a replay under the recorded augmentation gives every recorded bit.

On one machine, with the recorded seeds, precision and threads, honest training repeats itself bit by bit; nothing that was
nudged, interpolated or crafted does. What it does not establish: that W_0 was not W_T, that the data or the seed were not chosen
(pair it with `bound_seed`). Another processor, or another number of threads, rounds differently without any fraud.
"""

import math
from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence


def check_exact(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that every replayed interval ends in the recorded weights, buffers and optimizer state, in every bit."""
    asked = [replay for replay in evidence.replays if replay.is_exact is not None]
    differing = [replay for replay in asked if not replay.is_exact]
    if not asked or (len(asked) < len(evidence.replays) and not differing):
        left = len(evidence.replays) - len(asked)
        return Check(name="exact", passed=False, detail=f"{left} intervals were not compared bit by bit")
    largest = max((_l2(replay) for replay in asked), default=math.nan)
    detail = f"{len(asked) - len(differing)} of {len(asked)} compared intervals are the same in every bit"
    if differing:
        first = differing[0].interval
        detail += f"; the first that is not: steps {first.start}..{first.stop}, largest l2 error {largest:.3g}"
    numbers = {"differing": float(len(differing)), "l2": largest}
    return Check(name="exact", passed=not differing, detail=detail, numbers=numbers)


def _l2(replay: IntervalReplay) -> float:
    return replay.recorded_error.l2 if replay.recorded_error else math.nan


CHECKS: Final = {"exact": check_exact}
NEED_EXACT: Final = ("exact",)
