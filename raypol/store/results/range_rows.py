"""Success ranges as Parquet: what a search for the ends found, beside the rows of the trials that it took.

RESULTS/ranges/<sweep_id>-<policy>.parquet   one row per arm over its seeds (seed is NULL), and one per arm and seed
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from raypol.store.location import Location
from raypol.store.results_folder import ResultsFolder
from raypol.store.results.files import read_rows, write_rows



@dataclass(frozen=True, kw_only=True, slots=True)
class RangeRow:
    """The success range of an arm, over its seeds or of one of them. T' in steps; None = no T' that was tried succeeds."""

    sweep_id: str
    policy: str
    """published | strict."""
    arm: str
    axes: str
    """What else the sweep varies, as JSON: axis -> value."""
    seed: int | None
    """None = over all seeds."""
    num_seeds: int
    num_found: int
    """Seeds with a success."""
    searched_from_steps: int
    searched_to_steps: int
    resolution_steps: int
    low_steps: float | None
    """Smallest T' that succeeds; over seeds the median."""
    low_from_steps: float | None
    """Of a seed: the neighbour that fails. Over seeds: where the interval for the median end begins."""
    low_to_steps: float | None
    low_open: bool | None
    """True if the range reaches the bound of the search."""
    low_bound_by: str | None
    """The conditions that fail just below."""
    high_steps: float | None
    high_from_steps: float | None
    high_to_steps: float | None
    high_open: bool | None
    high_bound_by: str | None
    confidence: float | None
    """Of both intervals, over seeds."""
    method: str
    """How the intervals were made."""
    num_holes: int
    """T' that fail between two that succeed: the range is not one interval there."""
    trials: int
    grid_trials: int
    """What the grid of the same resolution takes."""
    failed: int
    """Trials without a verdict; they count as no success."""
    complete: bool
    """False if the search was ended early."""


def write_ranges(results: Location, sweep_id: str, policy: str, rows: Sequence[RangeRow]) -> Location:
    """Record what a search found; an earlier record of the same search is replaced. Returns the file."""
    write_rows(ResultsFolder(results).ranges, f"{sweep_id}-{policy}", RangeRow, rows)
    return ResultsFolder(results).ranges / f"{sweep_id}-{policy}.parquet"


def read_ranges(results: Location, *, sweep_id: str = "") -> list[RangeRow]:
    """The ranges in a results folder, or of one sweep."""
    return read_rows(ResultsFolder(results).ranges, RangeRow, sweep_id)
