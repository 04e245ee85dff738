"""Check `performance_trend`: the recorded models' accuracy rises with training progress, by rank correlation."""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence


def check_performance_trend(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that Spearman's rho of accuracy and step is positive, p < 0.05."""
    from scipy import stats

    accuracies = evidence.survey.accuracies
    if len(accuracies) < 3:
        return Check(name="performance_trend", passed=False, detail="fewer than three recorded models")
    outcome = stats.spearmanr(range(len(accuracies)), accuracies)
    rho = float(outcome.statistic)
    passed = rho > 0.0 and float(outcome.pvalue) < 0.05
    detail = f"rank correlation of accuracy with progress {rho:.2f} (p = {float(outcome.pvalue):.2g})"
    return Check(name="performance_trend", passed=passed, detail=detail, numbers={"spearman": rho})


CHECKS: Final = {"performance_trend": check_performance_trend}
