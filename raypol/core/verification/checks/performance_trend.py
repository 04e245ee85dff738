"""Checks `performance_trend` and `accuracy_curve`: the recorded models learn as training proceeds."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from raypol.core.distances import Distances
from raypol.core.verification.stages import STAGES, stage_of, stages_of
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_MARGIN: Final = 0.1
"""Below the lowest honest median accuracy of a stage, for short stages of a noisy early training."""


def check_performance_trend(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that Spearman's rho of accuracy and step is positive, p < 0.05."""
    from scipy import stats

    accuracies = [accuracy for accuracy in evidence.survey.accuracies if not math.isnan(accuracy)]
    if len(accuracies) < 3:
        return Check(name="performance_trend", passed=False, detail="fewer than three models whose accuracy is known")
    outcome = stats.spearmanr(range(len(accuracies)), accuracies)
    rho = float(outcome.statistic)
    passed = rho > 0.0 and float(outcome.pvalue) < 0.05
    detail = f"rank correlation of accuracy with progress {rho:.2f} (p = {float(outcome.pvalue):.2g})"
    return Check(name="performance_trend", passed=passed, detail=detail, numbers={"spearman": rho})


def check_accuracy_curve(evidence: Evidence, _: Thresholds, __: Distances | None, *, least: Sequence[float]) -> Check:
    """Check that the median accuracy of each stage is that of honest training, within a margin."""
    medians = _medians(evidence, len(least))
    passed = all(value is None or value >= low for value, low in zip(medians, least, strict=True))
    told = ", ".join("-" if value is None else f"{value:.2f}" for value in medians)
    wanted = ", ".join(f"{low:.2f}" for low in least)
    margins = [value - low for value, low in zip(medians, least, strict=True) if value is not None]
    detail = f"median accuracy by stage {told}; expected >= {wanted}"
    if not margins:
        return Check(name="accuracy_curve", passed=False, detail="no model's accuracy was measured")
    return Check(name="accuracy_curve", passed=passed, detail=detail, numbers={"margin": min(margins)})


def _medians(evidence: Evidence, stages: int) -> list[float | None]:
    """By stage, over those models at the ends of its intervals whose accuracy was measured."""
    recipe, found = evidence.recipe, [list[float]() for _ in range(stages)]
    for interval, accuracy in zip(recipe.intervals(), evidence.survey.accuracies[1:], strict=False):
        found[stage_of(interval.start, recipe.steps, stages)].append(accuracy)
    known = [[accuracy for accuracy in one if not math.isnan(accuracy)] for one in found]
    return [median(one) if one else None for one in known]


def _calibrate(honest: Sequence[Evidence], _: float) -> dict[str, Any]:
    stages = stages_of(honest, STAGES)
    curves = zip(*(_medians(evidence, stages) for evidence in honest), strict=True)
    return {"least": [max(min(v for v in one if v is not None) - _MARGIN, 0.0) for one in curves]}


CHECKS: Final = {"performance_trend": check_performance_trend, "accuracy_curve": check_accuracy_curve}
CALIBRATIONS: Final = {"accuracy_curve": _calibrate}
NEED_ACCURACY: Final = ("performance_trend", "accuracy_curve")
