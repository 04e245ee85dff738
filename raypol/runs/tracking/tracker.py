"""MLflow beside a sweep: rows get there in the background, while nobody waits.

The rows in Parquet are the record. If MLflow cannot be reached, the run goes on, `finish` tries again, and so does `raypol sync`.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from raypol.runs.tracking.store import tracking_uri, ui_command
from raypol.runs.tracking.sweep_runs import Summary, SweepRuns
from raypol.runs.tracking.sync import keep_summary, one_line, only_writer, put_rows
from raypol.runs.tracking.views import table_address
from raypol.store.location import Location
from raypol.store.results.files import read_trials
from raypol.store.results.rows import IntervalRow, TrialRow

_log = logging.getLogger(__name__)

PAUSE_S: Final = 60.0
"""Before MLflow is tried again when it was away."""
SILENCE_S: Final = 60.0
"""How long `finish` waits for a sign of life; opening a fresh store takes a loaded machine 20 s."""
DRAIN_S: Final = 2.0
"""How long an interrupted run still writes what waits."""
STUCK_S: Final = 1.0
"""How long it waits for a sign of life; ten times what a row takes."""
_LOCK_S: Final = 10.0


class Tracker:
    """Writes outcomes to MLflow as they come, in one thread of its own.

    That thread is a daemon and not an executor's: Python joins those at exit, and a silent server would hold up Ctrl-C.
    """

    def __init__(self, results: Location, experiment: str, sweep_id: str) -> None:
        self._results, self._experiment, self._sweep_id = results, experiment, sweep_id
        self.uri = tracking_uri(results)
        self.problem = ""
        """One line if MLflow lacks something, as far as is known; certain after `finish`."""
        self.compare_link = ""
        """Path in the MLflow UI that compares all runs of this sweep; after `finish`."""
        self.table = ""
        """Where a browser finds the run table; after `finish`, empty if MLflow is away."""
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._until = math.inf  # no job is begun after this
        self._sign_at = 0.0
        self._again_at = 0.0
        self._runs: SweepRuns | None = None
        self._lock = ExitStack()  # held until the thread ends
        self._holds = False

    def log(self, row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        """One flat run per trial; returns at once."""
        self._submit(lambda: self._put(row, intervals))

    def finish(self, answer: str, figures: Sequence[Path]) -> None:
        """Wait for what is on its way, write what is missing, then the summary run. A silent MLflow is given up."""
        summary, rows = Summary(answer=answer, figures=tuple(figures)), None
        with self._survive("be given the summary"):
            keep_summary(self._results, self._sweep_id, summary)
            rows = read_trials(self._results, sweep_id=self._sweep_id)
        done = threading.Event()

        def last() -> None:
            self._finish(rows, summary)
            done.set()

        self._sign()
        self._submit(last)
        while not done.wait(0.1):
            if time.monotonic() - self._sign_at > SILENCE_S:
                self.problem = f"MLflow at {self.uri} gave no answer for {SILENCE_S:g} s"
                self._until = 0.0
                self._jobs.put(None)
                return
        self.close()

    def close(self) -> None:
        """Nothing more will be logged. What waits is given up after two seconds; a later sync brings it."""
        self._jobs.put(None)
        self._sign()
        self._until = min(self._until, time.monotonic() + DRAIN_S)
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.05)
            if time.monotonic() > min(self._until, self._sign_at) + STUCK_S:
                return

    @property
    def ui_command(self) -> str:
        """What to type to see it."""
        return ui_command(self.uri)

    def _submit(self, job: Callable[[], None]) -> None:
        if self._thread is None:  # with the first row and not before: by then the driver has done its own imports
            self._thread = threading.Thread(target=self._work, name="raypol-tracking", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    # What follows runs in the thread.

    def _work(self) -> None:
        with self._lock:
            while (job := self._jobs.get()) is not None:
                if time.monotonic() < self._until:
                    job()

    def _put(self, row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        if time.monotonic() < self._again_at:
            return  # `finish` brings it
        runs = self._opened()
        if runs is not None:
            with self._survive("log a trial"):
                runs.put(row, lambda: intervals)

    def _finish(self, rows: Sequence[TrialRow] | None, summary: Summary) -> None:
        known = self._runs is not None
        runs = self._opened()
        if runs is None:
            return
        with self._survive("log what was missing"):
            if known and not self.uri.startswith("sqlite"):
                runs.refresh()  # MLflow may have repeated a request and left half a run
            put_rows(runs, self._results, rows or ())
            runs.put_summary(summary)
            self.compare_link = runs.compare_link
            self.table = table_address(self.uri, runs.experiment_id)
            if rows is not None:
                self.problem = ""

    def _opened(self) -> SweepRuns | None:
        if self._runs is None:
            with self._survive("open the tracking store"):
                if not self._holds:
                    self._lock.enter_context(only_writer(self._results, self._sweep_id, patience_s=_LOCK_S))
                    self._holds = True
                self._runs = SweepRuns(self._results, self._experiment, self._sweep_id, self.uri, on_sign=self._sign)
        return self._runs

    def _sign(self) -> None:
        self._sign_at = time.monotonic()

    @contextmanager
    def _survive(self, what: str) -> Iterator[None]:
        """Tracking must never cost a result: a failure is told, and the next row that tries again is a minute away."""
        try:
            yield
        except Exception as err:
            self._runs = None
            self._again_at = time.monotonic() + PAUSE_S
            self.problem = f"MLflow at {self.uri} could not {what} ({one_line(err)})"
            _log.warning("%s; the results are in Parquet and complete", self.problem)
