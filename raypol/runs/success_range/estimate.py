"""The success range over several seeds: median ends with an interval, the conditions that bind there, and the cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal

from raypol.runs.success_range.search import End, RangeSearch, SeedRange, most_common

_SURE: Final = 0.75
"""Confidence of both ends from which an attack's range is called wider; three seeds reach it. The text names it."""
RANGE_END_CONFIDENCE: Final = 0.95
"""Confidence asked of the intervals over seeds; few seeds reach less, which the estimate states."""

INTERVAL_METHOD: Final = "order statistics of the seeds' brackets (binomial, no assumption on their distribution)"


@dataclass(frozen=True, kw_only=True, slots=True)
class EndEstimate:
    """One end of a range over seeds, in steps."""

    value: float
    """Median of the outermost T' that succeeds."""
    interval: tuple[float, float]
    """Holds the median end with `confidence`: from order statistics of the brackets (failure, success)."""
    confidence: float
    """0 of a single seed: its bracket alone."""
    is_open: bool
    """True if the median seed succeeds up to the bound of the search: the end lies there or beyond."""
    bound_by: str
    """What binds in most seeds; empty if open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeEstimate:
    """The success range of one arm."""

    arm: str
    axes: Mapping[str, Any]
    """Axis -> value of the sweep's other axes."""
    seeds: tuple[SeedRange, ...]
    lower: EndEstimate | None
    """None = no T' that was tried succeeds, for any seed."""
    upper: EndEstimate | None
    trials: int
    grid: int
    """Trials that the grid of the same resolution takes."""

    @property
    def num_found(self) -> int:
        """Seeds with a success."""
        return sum(seed.lower is not None for seed in self.seeds)

    @property
    def is_done(self) -> bool:
        """False if the search was ended early."""
        return all(seed.is_done for seed in self.seeds)

    @property
    def failed(self) -> int:
        """Trials without a verdict."""
        return sum(seed.failed for seed in self.seeds)

    @property
    def uneven(self) -> tuple[SeedRange, ...]:
        """Seeds whose successes are not one interval."""
        return tuple(seed for seed in self.seeds if seed.holes)

    @property
    def reason(self) -> str:
        """The most frequent condition that failures fail by."""
        return most_common(
            reason for seed in self.seeds for reason, count in seed.reasons.items() for _ in range(count)
        )


def estimate_range(arm: str, search: RangeSearch, axes: Mapping[str, Any] | None = None) -> RangeEstimate:
    """Combine the seeds of a search."""
    seeds = search.found()
    return RangeEstimate(
        arm=arm,
        axes=dict(axes or {}),
        seeds=seeds,
        lower=_end([seed.lower for seed in seeds if seed.lower is not None], "lower"),
        upper=_end([seed.upper for seed in seeds if seed.upper is not None], "upper"),
        trials=search.num_trials,
        grid=search.num_grid,
    )


def median_rank(number: int, confidence: float = RANGE_END_CONFIDENCE) -> tuple[int, float]:
    """The order statistics that enclose the median of a continuous distribution.

    Args:
        number: n >= 1, of the sample.
        confidence: asked for.

    Returns: (r, c): with probability c the median lies between the r-th smallest and the r-th largest; r is the largest with
        c >= confidence, or 1 where no r reaches it. c = 1 - 2 P(Bin(n, 1/2) < r).
    """
    from scipy import stats

    reached = [(rank, 1.0 - 2.0 * float(stats.binom.cdf(rank - 1, number, 0.5))) for rank in range(1, number // 2 + 1)]
    enough = [pair for pair in reached if pair[1] >= confidence]
    return enough[-1] if enough else reached[0] if reached else (1, 0.0)


def _end(ends: Sequence[End], which: Literal["lower", "upper"]) -> EndEstimate | None:
    """The true end of a seed lies in [success, failure), so the interval takes a bracket's outer side outwards."""
    if not ends:
        return None
    rank, confidence = median_rank(len(ends))
    inner = sorted(end.success for end in ends)
    outer = sorted(end.success if end.failure is None else end.failure for end in ends)
    interval = (outer[rank - 1], inner[-rank]) if which == "lower" else (inner[rank - 1], outer[-rank])
    num_open = sum(end.failure is None for end in ends)
    return EndEstimate(
        value=float(median(inner)),
        interval=(float(interval[0]), float(interval[1])),
        confidence=confidence,
        is_open=2 * num_open > len(ends),
        bound_by=most_common(end.bound_by for end in ends if end.failure is not None),
    )


def is_wider(attack: RangeEstimate, control: RangeEstimate) -> Literal["yes", "no", "uncertain"]:
    """Whether an attack's range reaches beyond a control's at either end; uncertain = the intervals of those ends overlap."""
    if attack.lower is None or attack.upper is None:
        return "no"
    if control.lower is None or control.upper is None:
        return "uncertain" if control.failed or not control.is_done else "yes"
    sure = attack.lower.interval[1] < control.lower.interval[0] or attack.upper.interval[0] > control.upper.interval[1]
    confidence = min(
        attack.lower.confidence, attack.upper.confidence, control.lower.confidence, control.upper.confidence
    )
    if sure and confidence >= _SURE and not control.failed and control.is_done:
        return "yes"
    beyond = attack.lower.value < control.lower.value or attack.upper.value > control.upper.value
    return "uncertain" if beyond else "no"
