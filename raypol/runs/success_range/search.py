"""The search for the T' between which a spoof succeeds: a coarse scan, then bisection of both ends, for several seeds.

The first seed is scanned at geometrically spaced T', both bounds among them; each end of the successes that were met is bisected
down to the resolution, and confirmed by one more trial beyond its failing neighbour. The other seeds start at the first one's
ends, and move on in doubling strides where these do not hold; a seed that succeeds nowhere near them is scanned like the first.

What is tried next is a pure function of what is known, so an interrupted search goes on from its rows, and independent trials
run in parallel. Nothing rests on success being one interval: a seed that is not says so (`SeedRange.holes`, `.islands`). What
can be missed is a range that lies between two T' of the scan, unless what fails below it is the error and above it time or
size: there the search bisects towards the change.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final, Literal

from raypol.core.errors import InputError

FAILED: Final = "failed"
"""Stands for the binding condition of a trial that gave no verdict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchGrid:
    """The T' that may be tried: multiples of `resolution` in [low, high]."""

    low: int
    """Smallest T'."""
    high: int
    """Largest T'."""
    resolution: int
    """Steps between neighbouring T'; a multiple of k."""
    factor: float = 2.0
    """Ratio of neighbouring T' in the scan; a narrower range can be missed."""

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise InputError(f"expected the lowest T' below the highest, got {self.low} and {self.high}")
        if self.resolution < 1 or self.resolution > self.high - self.low:
            raise InputError(
                f"expected a resolution in 1..{self.high - self.low} (the range of T' that is searched), "
                f"got {self.resolution}"
            )
        if not self.factor > 1.0:
            raise InputError(f"expected a scan factor > 1, got {self.factor:g}")
        if len(self.points) < 2:
            raise InputError(
                f"[{self.low}, {self.high}] holds fewer than two multiples of {self.resolution}; expected a finer resolution"
            )

    @property
    def points(self) -> range:
        """Every T' of the grid, which the search stands in for."""
        return range(max(1, math.ceil(self.low / self.resolution)) * self.resolution, self.high + 1, self.resolution)

    def check(self, interval: int) -> None:
        """Raise InputError unless every T' is reachable with this k."""
        if self.low < interval:
            raise InputError(f"T' = {self.low} is not reachable with k = {interval}: expected the lowest T' >= k")
        if self.resolution % interval:
            raise InputError(f"expected a resolution that is a multiple of k = {interval}, got {self.resolution}")

    def scan(self) -> list[int]:
        """Positions in `points` of the coarse scan: both ends, and between them about `factor` from one to the next."""
        points = self.points
        first, last = points[0], points[-1]
        number = max(2, math.ceil(math.log(last / first, self.factor) - 1e-9))
        wanted = [first * (last / first) ** (part / number) for part in range(number + 1)]
        return sorted({round((value - first) / self.resolution) for value in wanted})

    def at_most(self) -> int:
        """Trials that one seed takes at most: the grid, or the scan, two ends by strides and bisection, and confirmations."""
        halvings = math.ceil(math.log2(len(self.points)))
        return min(len(self.points), len(self.scan()) + 4 * halvings + 6)


@dataclass(frozen=True, slots=True)
class PointOutcome:
    """The success of one trial, at one T' and seed."""

    success: bool
    bound_by: str
    """The conditions that failed, separated by commas; of a success the one that came closest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """One end of a seed's range."""

    success: int
    """The outermost T' that succeeds."""
    failure: int | None
    """Its neighbour beyond, known to fail; None = the range reaches the bound of the search."""
    bound_by: str = ""
    """What binds there: the conditions that failed at `failure`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRange:
    """The range of one seed, as far as it is known."""

    seed: int
    lower: End | None
    """None = no T' that was tried succeeds."""
    upper: End | None
    trials: int
    failed: int
    """Trials without a verdict; they count as no success."""
    holes: tuple[int, ...]
    """T' that fail between two that succeed."""
    islands: tuple[int, ...]
    """T' that succeed beyond a failure."""
    is_done: bool
    """False while there is something left to try."""
    reasons: Mapping[str, int]
    """Binding conditions of the failures -> count."""


class RangeSearch:
    """The outcomes of one arm, and the trials to run next."""

    def __init__(self, grid: SearchGrid, seeds: Sequence[int]) -> None:
        if not seeds:
            raise InputError("a range needs at least one seed")
        self.grid = grid
        self.seeds = tuple(dict.fromkeys(seeds))
        self._points = grid.points
        self._outcomes: dict[int, dict[int, PointOutcome]] = {seed: {} for seed in self.seeds}

    def record(self, steps: int, seed: int, outcome: PointOutcome) -> None:
        """Take the outcome of a trial at T' = steps."""
        self._outcomes[seed][self._points.index(steps)] = outcome

    def proposals(self) -> list[tuple[int, int]]:
        """(T', seed) that are worth a trial now, all at once if there is room; empty = the search is over.

        Those that are being tried are among them until their outcome is recorded.
        """
        first, *others = self.seeds
        found = [(position, first) for position in self._next(first, None)]
        if not found:
            near = _main_run(self._outcomes[first])
            found = [(position, seed) for seed in others for position in self._next(seed, near)]
        return [(self._points[position], seed) for position, seed in found]

    @property
    def num_trials(self) -> int:
        """Trials whose outcome is known."""
        return sum(map(len, self._outcomes.values()))

    @property
    def num_grid(self) -> int:
        """Trials that the grid of the same resolution takes."""
        return len(self._points) * len(self.seeds)

    def found(self) -> tuple[SeedRange, ...]:
        """The range of each seed, as far as it is known."""
        left = {seed for _, seed in self.proposals()}
        waiting = set(self.seeds[1:]) if self.seeds[0] in left else set()
        return tuple(self._found(seed, is_done=seed not in left | waiting) for seed in self.seeds)

    def _next(self, seed: int, near: tuple[int, int] | None) -> list[int]:
        return next_positions(self._outcomes[seed], len(self._points), self.grid.scan(), near)

    def _found(self, seed: int, *, is_done: bool) -> SeedRange:
        outcomes, points = self._outcomes[seed], self._points
        run = _main_run(outcomes)
        lower = upper = None
        holes: list[int] = []
        islands: list[int] = []
        if run is not None:
            lower, upper = (self._end(outcomes, success, sign) for success, sign in zip(run, (-1, 1), strict=True))
            wins = [position for position, outcome in outcomes.items() if outcome.success]
            holes = [p for p, outcome in outcomes.items() if not outcome.success and min(wins) < p < max(wins)]
            islands = [p for p in wins if not run[0] <= p <= run[1]]
        failures = [outcome.bound_by for outcome in outcomes.values() if not outcome.success]
        return SeedRange(
            seed=seed,
            lower=lower,
            upper=upper,
            trials=len(outcomes),
            failed=failures.count(FAILED),
            holes=tuple(points[p] for p in sorted(holes)),
            islands=tuple(points[p] for p in sorted(islands)),
            is_done=is_done,
            reasons={reason: failures.count(reason) for reason in sorted(set(failures))},
        )

    def _end(self, outcomes: Mapping[int, PointOutcome], success: int, sign: int) -> End:
        failure = _failure_beyond(outcomes, success, sign, len(self._points))
        if failure not in outcomes:
            return End(success=self._points[success], failure=None)
        return End(success=self._points[success], failure=self._points[failure], bound_by=outcomes[failure].bound_by)


def next_positions(
    outcomes: Mapping[int, PointOutcome], count: int, scan: Sequence[int], near: tuple[int, int] | None
) -> list[int]:
    """The positions of one seed to try next; none when its range is found.

    Args:
        outcomes: position -> outcome.
        count: positions are 0 .. count - 1.
        scan: where to look if nothing else is known.
        near: another seed's outermost successes, where this one's are expected; None = start with the scan.
    """
    start = scan if near is None else (near[0] - 1, near[0], near[1], near[1] + 1)
    missing = sorted({p for p in start if 0 <= p < count and p not in outcomes})
    if missing:
        return missing
    run = _main_run(outcomes)
    if run is None:
        return _towards_a_change(outcomes) or [p for p in scan if p not in outcomes]
    wanted = []
    for number, (success, sign) in enumerate(zip(run, (-1, 1), strict=True)):
        failure = _failure_beyond(outcomes, success, sign, count)
        inner = _between(success, failure, None if near is None else near[number])
        beyond = failure + sign
        if inner is not None:
            wanted.append(inner)
        elif 0 <= beyond < count and beyond not in outcomes:
            wanted.append(beyond)
    return wanted


def _between(success: int, failure: int, near: int | None) -> int | None:
    """The position to try between an outermost success and the failure beyond it; None if they are neighbours.

    The middle; or, while that is nearer to it, a stride from where another seed's end lies, as long as the way from there.
    """
    outward = 1 if failure > success else -1
    if abs(failure - success) <= 1:
        return None
    middle = (success + failure) // 2
    if near is None:
        return middle
    holds = (success - near) * outward >= 0
    origin, direction = (success, outward) if holds else (failure, -outward)
    stride = origin + direction * max(1, abs(origin - near))
    return min((stride, middle), key=lambda position: abs(position - origin))


def _failure_beyond(outcomes: Mapping[int, PointOutcome], success: int, sign: int, count: int) -> int:
    """The nearest known failure in a direction; the position just outside the search if there is none."""
    failures = [p for p, outcome in outcomes.items() if not outcome.success and (p - success) * sign > 0]
    return min(failures, key=lambda p: abs(p - success), default=-1 if sign < 0 else count)


def _main_run(outcomes: Mapping[int, PointOutcome]) -> tuple[int, int] | None:
    """First and last of the successes without a known failure between them; of several such runs the widest.

    Among equals the one with more room between the failures around it, then the lowest.
    """
    tried = sorted(outcomes)
    runs = [list(run) for won, run in groupby(tried, key=lambda p: outcomes[p].success) if won]
    if not runs:
        return None

    def room(run: Sequence[int]) -> int:
        before = max((p for p in tried if p < run[0]), default=run[0])
        return min((p for p in tried if p > run[-1]), default=run[-1]) - before

    best = max(runs, key=lambda run: (run[-1] - run[0], room(run), -run[0]))
    return best[0], best[-1]


def _towards_a_change(outcomes: Mapping[int, PointOutcome]) -> list[int]:
    """The T' halfway between one that seems too small and the next known one that seems too large: a success may lie between."""
    return [
        (below + above) // 2
        for below, above in pairwise(sorted(outcomes))
        if above - below > 1 and (_side(outcomes[below]), _side(outcomes[above])) == ("small", "large")
    ]


def _side(outcome: PointOutcome) -> Literal["small", "large", "unknown"]:
    """The side of the range on which a failure seems to lie: time and size grow with T'; below, moves are too large to replay."""
    parts = outcome.bound_by.split(",")
    if any(part in ("time", "size") for part in parts):
        return "large"
    return "small" if any(_is_error(part) for part in parts) else "unknown"


def _is_error(part: str) -> bool:
    return part.startswith("error") or part == "rejected:replay"


def most_common(reasons: Iterable[str]) -> str:
    """The most frequent one, the first among equals; empty if there is none."""
    known = list(reasons)
    return max(dict.fromkeys(known), key=known.count, default="")
