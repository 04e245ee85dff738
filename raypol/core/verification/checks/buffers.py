"""Checks `buffers` and `norm_statistics`: the model that is accepted computes what the replayed one does.

Buffers are no weights, so no slack of the weights bounds them. What a replay leaves as it was (a table, a projection, a mask)
must be equal in every bit; what it moves (the running statistics of norm layers) is compared with the replay, tensor by tensor,
in units of the replayed tensor's own l2 norm.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence

ABSURD: Final = 10.0
"""An honest interval of 100 early steps at a high rate reaches 1.8 under fresh augmentation."""
TYPICAL: Final = 0.5
"""Honest medians are below 0.2, also of long intervals; statistics that no training made are at 0.75 to 1."""

_MARGIN: Final = 3.0
"""Of calibrated limits over the largest honest number."""
_LAST: Final = 5


def check_buffers(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that constant buffers are constant and that no statistic is of another order than the replayed one."""
    problems = [replay.buffer_problem for replay in evidence.replays if replay.buffer_problem]
    problems += [
        f"steps {replay.interval.start}..{replay.interval.stop}: a norm statistic is {replay.statistics_error:.3g} times "
        "its replayed size away from it"
        for replay in evidence.replays
        if not replay.statistics_error <= ABSURD
    ]
    largest = max((replay.statistics_error for replay in evidence.replays), default=0.0)
    check = check_problems("buffers", problems, f"constants hold; statistics at most {largest:.2g} of their size apart")
    check.numbers["largest"] = largest
    return check


def check_norm_statistics(
    evidence: Evidence, _: Thresholds, __: Distances | None, *, typical: float = TYPICAL, last: float = TYPICAL
) -> Check:
    """Check that the statistics of norm layers follow from the training that is claimed: in the median and at the end."""
    errors = [replay.statistics_error for replay in evidence.replays]
    if not errors:
        return Check(name="norm_statistics", passed=False, detail="no interval was replayed")
    middle, end = median(errors), errors[-1]
    detail = (
        f"apart from the replayed ones by {middle:.2g} of their size in the median, {end:.2g} at the end, "
        f"limits {typical:.2g} and {last:.2g}"
    )
    numbers = {"median": middle, "last": end}
    return Check(name="norm_statistics", passed=middle <= typical and end <= last, detail=detail, numbers=numbers)


def _calibrate_statistics(honest: Sequence[Evidence], _: float) -> dict[str, Any]:
    errors = [[replay.statistics_error for replay in evidence.replays] for evidence in honest]
    return {
        "typical": _MARGIN * max(median(one) for one in errors),
        # The last one alone is a single number per proof: of the last few.
        "last": _MARGIN * max(max(one[-_LAST:]) for one in errors),
    }


CHECKS: Final = {"buffers": check_buffers, "norm_statistics": check_norm_statistics}
CALIBRATIONS: Final = {"norm_statistics": _calibrate_statistics}
