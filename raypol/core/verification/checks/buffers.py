"""Checks `buffers` and `norm_statistics`: the model that is accepted computes what the replayed one does.

Buffers are no weights, so no slack of the weights bounds them. What a replay leaves as it was (a table, a projection, a mask)
must be equal in every bit; what it moves (the running statistics of norm layers) is compared with the replay, tensor by tensor,
in units of the replayed tensor's own l2 norm.
"""

from statistics import median
from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence

ABSURD: Final = 10.0
"""An honest interval of 100 early steps at a high rate reaches 1.8 under fresh augmentation."""
TYPICAL: Final = 0.5
"""Honest medians are below 0.2, also of long intervals; statistics that no training made are at 0.75 to 1."""


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


def check_norm_statistics(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that the statistics of norm layers follow from the training that is claimed: in the median and at the end."""
    errors = [replay.statistics_error for replay in evidence.replays]
    if not errors:
        return Check(name="norm_statistics", passed=False, detail="no interval was replayed")
    typical, last = median(errors), errors[-1]
    detail = f"apart from the replayed ones by {typical:.2g} of their size in the median, {last:.2g} at the end, limit {TYPICAL}"
    numbers = {"median": typical, "last": last}
    return Check(name="norm_statistics", passed=typical <= TYPICAL and last <= TYPICAL, detail=detail, numbers=numbers)


CHECKS: Final = {"buffers": check_buffers, "norm_statistics": check_norm_statistics}
