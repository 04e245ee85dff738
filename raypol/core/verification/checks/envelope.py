"""Checks `envelope` and `state_envelope`: errors lie where those of the verifier's own honest runs lie, stage by stage.

Honest errors fall with the learning rate, 500-fold in the embedded example; a slack that admits the early ones admits a forgery
whose every move is smaller than that. Here each stage of training has its own slack: the largest error of the calibrated runs
in it, times a margin, or a prediction bound where that is more.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from raypol.core.distances import METRICS, Distances
from raypol.core.verification.checks.optimizer_state import judge_state
from raypol.core.verification.checks.replay import against_limits
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.stages import STAGES, by_stage, stage_of, stages_of
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_SPREADS: Final = 4.0
"""Standard deviations of the prediction bound: one honest interval in 30,000 exceeds it if errors are log-normal."""
Limits = Mapping[str, Sequence[float]]
"""Per metric, one limit per stage."""


def check_envelope(evidence: Evidence, _: Thresholds, __: Distances | None, *, limits: Limits) -> Check:
    """Compare each interval's reproduction error with the limits of its stage."""
    compared = [(replay, replay.error) for replay in evidence.replays]
    return against_limits("envelope", compared, _limit_of(evidence, limits))


def check_state_envelope(evidence: Evidence, _: Thresholds, __: Distances | None, *, limits: Limits) -> Check:
    """Compare where recorded and replayed optimizer states would carry the weights with the limits of the stage."""
    return judge_state("state_envelope", evidence, _limit_of(evidence, limits))


def _limit_of(evidence: Evidence, limits: Limits) -> Callable[[IntervalReplay], Distances]:
    stages, steps = len(next(iter(limits.values()))), evidence.recipe.steps

    def limit_of(replay: IntervalReplay) -> Distances:
        stage = stage_of(replay.interval.start, steps, stages)
        return Distances(**{m: limits[m][stage] for m in METRICS})

    return limit_of


def _calibration(
    of: Callable[[IntervalReplay], Distances],
) -> Callable[[Sequence[Evidence], float], dict[str, Any]]:
    def calibrate(honest: Sequence[Evidence], margin: float) -> dict[str, Any]:
        stages = stages_of(honest, STAGES)
        found = [by_stage(evidence, stages, of) for evidence in honest]
        errors = [[error for one in found for error in one[stage]] for stage in range(stages)]
        return {"limits": {m: _limits([[error[m] for error in stage] for stage in errors], margin) for m in METRICS}}

    return calibrate


def _limits(stages: Sequence[Sequence[float]], margin: float) -> list[float]:
    """From the honest errors of each stage: the largest times the margin, or a prediction bound if that is more.

    Errors of a stage are taken as log-normal with a spread that all stages share, so that a stage of few intervals, whose largest
    says little about the next proof's, has a bound from many.
    """
    logs = [[math.log(error) for error in stage] if min(stage) > 0.0 else [] for stage in stages]
    residuals = [value - fmean(stage) for stage in logs if stage for value in stage]
    degrees = len(residuals) - sum(map(bool, logs))
    spread = math.sqrt(math.fsum(r * r for r in residuals) / degrees) if degrees > 0 else 0.0
    return [
        max(
            margin * max(stage),
            math.exp(fmean(own) + _SPREADS * spread * math.sqrt(1.0 + 1.0 / len(own))) if own else 0.0,
        )
        for stage, own in zip(stages, logs, strict=True)
    ]


CHECKS: Final = {"envelope": check_envelope, "state_envelope": check_state_envelope}
CALIBRATIONS: Final = {
    "envelope": _calibration(lambda replay: replay.error),
    "state_envelope": _calibration(lambda replay: replay.state_error),
}
