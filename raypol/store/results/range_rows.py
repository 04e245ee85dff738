"""Success ranges as Parquet: the ends that a search found, beside the rows of its trials.

RESULTS/ranges/<sweep_id>-<policy>.parquet   one row per arm over its seeds (seed is NULL), and one per arm and seed
"""

from collections.abc import Sequence
from typing import Final

from raypol.store.location import Location
from raypol.store.results.columns import column, row
from raypol.store.results.files import write_rows
from raypol.store.results_folder import ResultsFolder, path_component

_BEYOND: Final = "Of a seed the neighbour that fails; over seeds where the interval for the median end"


@row
class RangeRow:
    """The success range of an arm, over its seeds or of one of them. None = no T' that was tried succeeds."""

    sweep_id: str = column("identity", "sweep", "The search it belongs to.")
    policy: str = column("identity", "policy", "Verifier's policy: published or strict.")
    arm: str = column("identity", "arm", "Name in tables and figures.")
    axes: str = column("identity", "axes", "Values of what else the sweep varies, as JSON: axis -> value.")
    seed: int | None = column("identity", "seed", "Empty = over all seeds.")
    num_seeds: int = column("identity", "seeds", "Seeds that were searched.")
    num_found: int = column("success", "found", "Seeds with a success.")
    searched_from_steps: int = column("task", "searched from", "Lower bound of the search.", "steps")
    searched_to_steps: int = column("task", "searched to", "Upper bound of the search.", "steps")
    resolution_steps: int = column("task", "resolution", "Distance at which bisection ends.", "steps")
    low_steps: float | None = column("success", "low end", "Smallest T' that succeeds; over seeds the median.", "steps")
    low_from_steps: float | None = column("success", "low end from", f"{_BEYOND} begins.", "steps")
    low_to_steps: float | None = column("success", "low end to", "Where the interval of the low end ends.", "steps")
    low_open: bool | None = column("success", "low open", "True if the range reaches the lower bound of the search.")
    low_bound_by: str | None = column("success", "binds below", "Conditions that fail just below.")
    high_steps: float | None = column(
        "success", "high end", "Largest T' that succeeds; over seeds the median.", "steps"
    )
    high_from_steps: float | None = column(
        "success", "high end from", "Where the interval of the high end begins.", "steps"
    )
    high_to_steps: float | None = column("success", "high end to", f"{_BEYOND} ends.", "steps")
    high_open: bool | None = column("success", "high open", "True if the range reaches the upper bound of the search.")
    high_bound_by: str | None = column("success", "binds above", "Conditions that fail just above.")
    confidence: float | None = column("success", "confidence", "Of both intervals, over seeds.", "probability")
    method: str = column("success", "method", "How the intervals were made.")
    num_holes: int = column(
        "success", "holes", "T' that fail between two that succeed: the range is not one interval there."
    )
    trials: int = column("cost", "trials", "Trials that the search took.")
    grid_trials: int = column("cost", "trials of a grid", "Trials that a grid of the same resolution takes.")
    failed: int = column("verdict", "failed", "Trials without a verdict; they count as no success.")
    complete: bool = column("verdict", "complete", "False if the search was ended early.")


def write_ranges(results: Location, sweep_id: str, policy: str, rows: Sequence[RangeRow]) -> Location:
    """Record the ranges that a search found in place of an earlier record of it. Returns the file."""
    write_rows(ResultsFolder(results).ranges, f"{sweep_id}-{policy}", RangeRow, rows)
    return ResultsFolder(results).ranges / f"{path_component(sweep_id)}-{policy}.parquet"
