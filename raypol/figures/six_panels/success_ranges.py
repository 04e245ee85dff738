"""The range of T' in which an arm succeeds and what binds at its ends: from a range search if there was one, else from rows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raypol.core.distances import METRICS
from raypol.figures.series import Series
from raypol.figures.style.arms import in_order
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of the range in which what was tried succeeds."""

    low: float
    """T'."""
    high: float
    """T'; equal to `low` if the neighbours fail."""
    whole: bool
    """False if only some seeds succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRange:
    """The success range of one arm, in T'."""

    arm: Series
    segments: tuple[Segment, ...]
    """Ascending; none = no T' that was tried succeeds."""
    below: str
    """The conditions that fail just below, or why they are unknown; without segments those that fail at the closest T'."""
    above: str = ""
    """The conditions that fail just above."""
    uncertain: tuple[tuple[float, float], ...] = ()
    """Between which T' the ends lie."""
    searched: bool = False
    """True if a range search found it."""
    is_control: bool = False

    @property
    def ends(self) -> tuple[float, float] | None:
        """Smallest and largest T' that succeed."""
        return (self.segments[0].low, self.segments[-1].high) if self.segments else None


def arm_ranges(spoofs: Mapping[Series, Sequence[TrialRow]], ranges: Sequence[RangeRow] = ()) -> list[ArmRange]:
    """The success ranges against the published verifier, in the order of legends.

    Args:
        spoofs: of one setting, those that were stopped early too.
        ranges: of the same; an arm that is in them is not looked up in the rows. If only the strict verifier's were searched,
            they are passed over.
    """
    found = {one.arm: one for one in _searched(ranges)}
    searched = {row.arm for row in ranges if row.policy == "published"}
    for series, rows in spoofs.items():
        judged: dict[int, list[TrialRow]] = {}
        for row in rows:
            if row.success is not None and row.status in ("ok", "stopped"):
                judged.setdefault(row.steps, []).append(row)
        if judged and series.arm not in searched:
            found[series] = _tried(series, judged)
    controls = {series.arm for series, rows in spoofs.items() if rows[0].is_control}
    return [replace(found[series], is_control=series.arm in controls) for series in in_order(found)]


def say_conditions(bound_by: str, absent: str = "not recorded") -> str:
    """The conditions that bind, in words: "rejected:replay,error_l1,error_l2" is "rejected by replay, error_l1/l2"."""
    names = [name for name in bound_by.split(",") if name]
    errors = [name.removeprefix("error_") for name in names if name.startswith("error_")]
    together = "all errors" if len(errors) == len(METRICS) else f"error_{'/'.join(errors)}"
    words = [together if name.startswith("error_") else name.replace("rejected:", "rejected by ") for name in names]
    return ", ".join(dict.fromkeys(words)) or absent


def _tried(arm: Series, by_steps: Mapping[int, list[TrialRow]]) -> ArmRange:
    """The success range of an arm among the T' that were tried."""
    steps = sorted(by_steps)
    shares = [sum(row.success is True for row in by_steps[s]) / len(by_steps[s]) for s in steps]
    wins = [i for i, share in enumerate(shares) if share > 0.0]
    if not wins:
        return ArmRange(arm=arm, segments=(), below=_closest(by_steps))
    segments: list[Segment] = []
    for i in wins:
        neighbour = i + 1 < len(steps) and shares[i + 1] > 0.0
        alone = not neighbour and (i == 0 or shares[i - 1] == 0.0)
        if neighbour or alone:
            last = steps[i + 1] if neighbour else steps[i]
            whole = shares[i] == 1.0 and (not neighbour or shares[i + 1] == 1.0)
            if segments and segments[-1].high == steps[i] and segments[-1].whole == whole:
                segments[-1] = replace(segments[-1], high=last)
            else:
                segments.append(Segment(low=steps[i], high=last, whole=whole))
    first, last = wins[0], wins[-1]
    below = "smallest T' tried" if first == 0 else say_conditions(_commonest(by_steps[steps[first - 1]]))
    above = "largest T' tried" if last == len(steps) - 1 else say_conditions(_commonest(by_steps[steps[last + 1]]))
    uncertain = [(float(steps[first - 1]), float(steps[first]))] if first else []
    uncertain += [(float(steps[last]), float(steps[last + 1]))] if last < len(steps) - 1 else []
    return ArmRange(arm=arm, segments=tuple(segments), below=below, above=above, uncertain=tuple(uncertain))


def _closest(by_steps: Mapping[int, list[TrialRow]]) -> str:
    """The conditions that fail at the T' with the fewest of them, of several the largest; trials that ended go first."""
    ended = {steps: some for steps, rows in by_steps.items() if (some := [row for row in rows if row.is_ok])}
    failed = {steps: _commonest(rows) for steps, rows in (ended or by_steps).items()}
    steps = min(failed, key=lambda steps: (not failed[steps], failed[steps].count(","), -steps))
    return f"{say_conditions(failed[steps])} at T' = {steps:,}"


def _commonest(rows: Sequence[TrialRow]) -> str:
    """The conditions on which most of the failing rows fail, as `bound_by` has them."""
    failed = Counter(row.bound_by or "" for row in rows if row.success is not True)
    return min(failed, key=lambda name: (-failed[name], name), default="")


def _searched(ranges: Sequence[RangeRow]) -> list[ArmRange]:
    """The ranges of all seeds, named by the axes in which those of an arm differ."""
    parsed = [(row, _axes(row)) for row in ranges if row.policy == "published" and row.seed is None]
    found = []
    for row, own in parsed:
        same = [axes for other, axes in parsed if other.arm == row.arm]
        varied = [axis for axis in own if len({repr(axes.get(axis)) for axes in same}) > 1]
        parts = tuple(f"{axis.rpartition('.')[2]} {own[axis]}" for axis in varied)
        found.append(_from_search(Series(row.arm, parts), row))
    return found


def _axes(row: RangeRow) -> dict[str, object]:
    try:
        axes = json.loads(row.axes)
    except ValueError:
        return {}
    return axes if isinstance(axes, dict) else {}


def _from_search(arm: Series, row: RangeRow) -> ArmRange:
    if row.low_steps is None or row.high_steps is None:
        tried = f"{row.searched_from_steps:,} to {row.searched_to_steps:,} searched"
        return ArmRange(arm=arm, segments=(), below=tried, searched=True)
    pairs = ((row.low_from_steps, row.low_to_steps), (row.high_from_steps, row.high_to_steps))
    uncertain = tuple((low, high) for low, high in pairs if low is not None and high is not None and low < high)
    whole = row.num_found == row.num_seeds and not row.num_holes
    return ArmRange(
        arm=arm,
        segments=(Segment(low=row.low_steps, high=row.high_steps, whole=whole),),
        below="bound of the search" if row.low_open else say_conditions(row.low_bound_by or ""),
        above="bound of the search" if row.high_open else say_conditions(row.high_bound_by or ""),
        uncertain=uncertain,
        searched=True,
    )
