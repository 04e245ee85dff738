"""Checks `performance_trend` and `accuracy_curve`: the recorded models learn as training proceeds."""

import math
from collections.abc import Sequence
from typing import Any, Final

from raypol.core.distances import Distances
from raypol.core.verification.stages import STAGES, check_floors, stage_of, stages_of
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_MARGIN: Final = 0.1
"""Below the lowest honest accuracy of a stage, or the spread of the honest ones if that is more."""


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
    """Check that the best accuracy so far is that of honest training at every stage, within a margin."""
    best = _best_so_far(evidence, len(least))
    return check_floors("accuracy_curve", "best accuracy", best, least, unseen="no model's accuracy was measured")


def _best_so_far(evidence: Evidence, stages: int) -> list[float | None]:
    """Of the models up to the end of each stage whose accuracy was measured: single models of an early stage may be poor ones."""
    recipe, found = evidence.recipe, [list[float]() for _ in range(stages)]
    for interval, accuracy in zip(recipe.intervals(), evidence.survey.accuracies[1:], strict=False):
        if not math.isnan(accuracy):
            found[stage_of(interval.start, recipe.steps, stages)].append(accuracy)
    return [max(known) if (known := [one for part in found[: i + 1] for one in part]) else None for i in range(stages)]


def _calibrate(honest: Sequence[Evidence], _: float) -> dict[str, Any]:
    stages = stages_of(honest, STAGES)
    least = [0.0]  # a training may be late by a stage: each is held against the honest ones of the stage before
    for stage in zip(*(_best_so_far(evidence, stages) for evidence in honest), strict=True):
        known = [value for value in stage if value is not None]
        spread = max(known, default=0.0) - min(known, default=0.0)
        least.append(max(min(known, default=0.0) - max(_MARGIN, spread), 0.0))
    return {"least": least[:stages]}


CHECKS: Final = {"performance_trend": check_performance_trend, "accuracy_curve": check_accuracy_curve}
CALIBRATIONS: Final = {"accuracy_curve": _calibrate}
NEED_ACCURACY: Final = ("performance_trend", "accuracy_curve")
