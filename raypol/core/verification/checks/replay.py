"""Check `replay`: replayed weights are within the slack of the claimed ones, in every interval and metric."""

from collections.abc import Callable, Sequence
from typing import Final

from raypol.core.distances import METRICS, Distances
from raypol.core.scoring import largest
from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.thresholds import Thresholds, within
from raypol.core.verification.verdict import UNJUDGED, Check
from raypol.core.verification.verifier import Evidence


def check_replay(evidence: Evidence, thresholds: Thresholds, d_ref: Distances | None) -> Check:
    """Compare each interval's reproduction error with delta."""

    def limit_of(replay: IntervalReplay) -> Distances:
        return limit_of_interval(evidence, replay, thresholds, d_ref)

    compared = [(replay, replay.error) for replay in evidence.replays]
    check = against_limits("replay", compared, limit_of)
    moves = evidence.survey.movements
    # A slack as large as the claimed move in every metric cannot fail a replay that goes nowhere.
    check.numbers[UNJUDGED] = float(
        sum(
            moves[replay.interval.index].l2 > 0.0
            and all(limit_of(replay)[m] >= moves[replay.interval.index][m] for m in METRICS)
            for replay in evidence.replays
        )
    )
    return check


def limit_of_interval(
    evidence: Evidence, replay: IntervalReplay, thresholds: Thresholds, d_ref: Distances | None
) -> Distances:
    """Delta of one interval."""
    return thresholds.at(
        replay.interval.stop / evidence.recipe.steps, d_ref, evidence.survey.movements[replay.interval.index]
    )


def against_limits(
    name: str,
    compared: Sequence[tuple[IntervalReplay, Distances]],
    limit_of: Callable[[IntervalReplay], Distances],
    prefix: str = "",
) -> Check:
    """All distances finite and within their interval's limit; the detail names the worst metric and interval."""
    if not compared:
        return Check(name=name, passed=False, detail="no interval was replayed")
    worst_ratio, worst = -1.0, ""
    num_failed = 0
    highest = largest(error for _, error in compared)
    numbers: dict[str, float] = {metric: highest[metric] for metric in METRICS}
    for replay, error in compared:
        limit = limit_of(replay)
        passed = within(error, limit) and replay.loss == replay.loss and abs(replay.loss) != float("inf")
        num_failed += not passed
        if not error.is_finite:
            ratio, metric = float("inf"), next(m for m in METRICS if not abs(error[m]) < float("inf"))
        else:
            ratio, metric = max(
                ((error[m] / limit[m] if limit[m] else float("inf")) if error[m] else 0.0, m) for m in METRICS
            )
        if ratio > worst_ratio:
            worst_ratio = ratio
            worst = (
                f"{metric} {error[metric]:.3g} against {limit[metric]:.3g} "
                f"in steps {replay.interval.start}..{replay.interval.stop}"
            )
    numbers["worst_ratio"] = worst_ratio
    numbers["intervals"] = float(len(compared))
    numbers["failed_intervals"] = float(num_failed)
    detail = f"{prefix}{len(compared) - num_failed} of {len(compared)} intervals within delta; worst {worst}"
    return Check(name=name, passed=num_failed == 0, detail=detail, numbers=numbers)


CHECKS: Final = {"replay": check_replay}
