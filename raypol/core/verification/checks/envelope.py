"""Checks `envelope` and `state_envelope`: errors lie where those of the verifier's own honest runs lie, stage by stage.

Honest errors fall with the learning rate, 500-fold in the embedded example; a slack that admits the early ones admits a forgery
whose every move is smaller than that. Here each stage of training has its own slack: the largest error of the calibrated runs
in it, times a margin, or times the ratio of their extremes where that is more.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from raypol.core.distances import METRICS, Distances
from raypol.core.scoring import largest
from raypol.core.verification.checks.optimizer_state import judge_state
from raypol.core.verification.checks.replay import against_limits
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.stages import STAGES, by_stage, stage_of, stages_of
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

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
        worst = [[largest(one[stage]) for one in found] for stage in range(stages)]
        return {
            "limits": {m: [_limit([error[m] for error in of_stage], margin) for of_stage in worst] for m in METRICS}
        }

    return calibrate


def _limit(worst: Sequence[float], margin: float) -> float:
    """From each honest proof's largest error in a stage: the next one may exceed the largest by as much as they differ."""
    high, low = max(worst), min(worst)
    return high * max(margin, high / low if low > 0.0 else margin)


CHECKS: Final = {"envelope": check_envelope, "state_envelope": check_state_envelope}
CALIBRATIONS: Final = {
    "envelope": _calibration(lambda replay: replay.error),
    "state_envelope": _calibration(lambda replay: replay.state_error),
}
