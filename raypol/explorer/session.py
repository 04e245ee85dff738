"""The results folder that the analysis app shows, read once for all browser tabs."""

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import duckdb

from raypol.core.progress import Progress, no_progress
from raypol.store.location import Location, open_location
from raypol.store.results.cache import TrialTable, read_trial_table
from raypol.store.results.queries import open_database

RESULTS_VARIABLE: Final = "RAYPOL_EXPLORE_RESULTS"
DATA_VARIABLE: Final = "RAYPOL_EXPLORE_DATA_DIR"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opened:
    """A results folder as it was read."""

    results: Location
    trials: TrialTable
    database: duckdb.DuckDBPyConnection
    read_at: datetime
    seconds: float
    """Time that the reading took."""

    @property
    def origin(self) -> str:
        """Source of every number: files, and when they were read."""
        fresh, files = self.trials.num_read, self.trials.num_files
        if not files:
            return f"no file in {self.results}/trials at {self.read_at:%H:%M:%S}"
        how = f"{fresh:,} of them opened" if fresh else "not changed since last opened"
        many = f"{files:,} files" if files > 1 else "1 file"
        return f"{many} in {self.results}/trials, {how}; read at {self.read_at:%H:%M:%S} in {self.seconds:.1f} s"


_opened: Final[dict[str, Opened]] = {}
_one_reads: Final = threading.Lock()


def open_results(where: str, *, again: bool = False, on_progress: Progress = no_progress) -> Opened:
    """The results folder, read once per process.

    Args:
        where: a local path or a URI.
        again: read it again, with the trials that are new.
        on_progress: called while files are read.

    Raises:
        InputError: no such folder.
    """
    with _one_reads:
        if where not in _opened or again:
            begin = time.monotonic()
            results = open_location(where)
            trials = read_trial_table(results, on_progress=on_progress)
            _opened[where] = Opened(
                results=results,
                trials=trials,
                database=open_database(trials.table),
                read_at=datetime.now().astimezone(),
                seconds=time.monotonic() - begin,
            )
        return _opened[where]
