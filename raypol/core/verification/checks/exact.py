"""Check `exact`: a replay under the recorded augmentation gives every recorded bit.

On one class of machine, with the recorded seeds, precision and threads, honest training repeats itself bit by bit; nothing that
was nudged, interpolated or crafted does. What it does not establish: that W_0 was not W_T, that the data or the seed were not
chosen (pair it with `bound_seed`). Another processor, or another number of threads, rounds differently without any fraud: where
nothing else is wrong and the class of the machine is another than the recorded one, the verdict is *inexact*, which accepts
nothing and accuses nobody.
"""

import math
from typing import Final

from raypol.core.arithmetic.precision import SAME_EVERYWHERE
from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import OTHER_MACHINE, Check
from raypol.core.verification.verifier import Evidence


def check_exact(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that every replayed interval ends in the recorded weights, buffers and optimizer state, in every bit.

    It looks at intervals in order up to the first that does not: how many are compared after it depends on who replays what.
    """
    recorded, replayed = evidence.recipe.precision, evidence.conditions.precision_for(evidence.recipe.precision)
    if replayed != recorded:
        detail = f"bits recorded in {recorded} do not compare with a replay in {replayed}"
        return Check(name="exact", passed=False, detail=detail)
    first = next((replay for replay in evidence.replays if replay.is_exact is False), None)
    if first is not None:
        error = first.recorded_error.l2 if first.recorded_error else math.nan
        where = f"steps {first.interval.start}..{first.interval.stop}"
        detail = f"the first interval that gives other bits than those recorded: {where}, l2 error {error:.3g}"
        elsewhere = first.machine != evidence.machine and recorded not in SAME_EVERYWHERE
        if elsewhere:
            detail += f"; recorded on {evidence.machine or 'a machine that is not named'}, replayed on {first.machine}"
        numbers = {"step": float(first.interval.start), "l2": error, OTHER_MACHINE: float(elsewhere)}
        return Check(name="exact", passed=False, detail=detail, numbers=numbers)
    compared = sum(replay.is_exact is not None for replay in evidence.replays)
    if compared == 0 or compared < len(evidence.replays):
        left = len(evidence.replays) - compared
        return Check(name="exact", passed=False, detail=f"{left} intervals were not compared bit by bit")
    return Check(name="exact", passed=True, detail=f"{compared} compared intervals are the same in every bit")


CHECKS: Final = {"exact": check_exact}
NEED_EXACT: Final = ("exact",)
