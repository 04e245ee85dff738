"""MLflow beside a sweep: rows are logged in the background, so that nothing waits for them.

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

from raypol.runs.tracking.store import tracking_uri
from raypol.runs.tracking.sweep_runs import Summary, SweepRuns
from raypol.runs.tracking.sync import keep_summary, one_line, only_writer, put_rows
from raypol.runs.tracking.views import table_address
from raypol.store.escaping import without_secrets
from raypol.store.location import Location
from raypol.store.results.files import read_trials
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow

_log = logging.getLogger(__name__)

PAUSE_S: Final = 60.0
"""Pause before MLflow is tried again after a failure."""
SILENCE_S: Final = 60.0
"""How long `finish` waits for an answer; opening a fresh store takes a loaded machine 20 s."""
DRAIN_S: Final = 2.0
"""How long an interrupted run still writes waiting rows."""
STUCK_S: Final = 1.0
"""How long an interrupted run waits for an answer; ten times the time of a row."""
_LOCK_S: Final = 10.0


class Tracker:
    """Writes outcomes to MLflow as they come, in its own thread.

    That thread is a daemon and not an executor's: Python joins those at exit, and a silent server would hold up Ctrl-C.
    """

    def __init__(self, results: Location, experiment: str, sweep_id: str) -> None:
        self._results, self._experiment, self._sweep_id = results, experiment, sweep_id
        self.uri = tracking_uri(results)
        self.problem = ""
        """One line if MLflow is known to lack something; certain after `finish`."""
        self.compare_link = ""
        """Path in the MLflow UI that compares all runs of this sweep; after `finish`."""
        self.table = ""
        """Address of the run table for a browser; after `finish`, empty if MLflow is away."""
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._until = math.inf  # no job is begun after this
        self._answered_at = 0.0
        self._again_at = 0.0
        self._runs: SweepRuns | None = None
        self._lock = ExitStack()  # held until the thread ends
        self._holds = False

    def log(self, row: TrialRow, intervals: Sequence[IntervalRow]) -> None:
        """Log a trial as a flat run; returns at once."""
        self._submit(lambda: self._put(row, intervals))

    def finish(self, answer: str, figures: Sequence[Path]) -> None:
        """Wait for rows on their way, log missing ones, then the summary run. An MLflow that stays silent is given up."""
        summary, rows = Summary(answer=answer, figures=tuple(figures)), None
        with self._tolerating("keep the summary"):
            rows = read_trials(self._results, sweep_id=self._sweep_id)
            keep_summary(self._results, self._sweep_id, summary, rows)
        done = threading.Event()

        def last() -> None:
            self._finish(rows, summary)
            done.set()

        self._note_answer()
        self._submit(last)
        while not done.wait(0.1):
            if time.monotonic() - self._answered_at > SILENCE_S:
                self.problem = f"MLflow at {without_secrets(self.uri)} gave no answer for {SILENCE_S:g} s"
                self._until = 0.0
                self._jobs.put(None)
                return
        self.close()

    def close(self) -> None:
        """Log nothing more. Waiting rows are given up after two seconds; a later sync logs them."""
        self._jobs.put(None)
        self._note_answer()
        self._until = min(self._until, time.monotonic() + DRAIN_S)
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.05)
            if time.monotonic() > min(self._until, self._answered_at) + STUCK_S:
                return

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
            with self._tolerating("log a trial"):
                runs.put(row, lambda: intervals)

    def _finish(self, rows: Sequence[TrialRow] | None, summary: Summary) -> None:
        known = self._runs is not None
        runs = self._opened()
        if runs is None:
            return
        with self._tolerating("log what was missing"):
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
            with self._tolerating("open the tracking store"):
                if not self._holds:
                    self._lock.enter_context(only_writer(self._results, self._sweep_id, patience_s=_LOCK_S))
                    self._holds = True
                self._runs = SweepRuns(
                    self._results, self._experiment, self._sweep_id, self.uri, on_answer=self._note_answer
                )
        return self._runs

    def _note_answer(self) -> None:
        self._answered_at = time.monotonic()

    @contextmanager
    def _tolerating(self, what: str) -> Iterator[None]:
        """Turn a failure into a warning, as tracking must never cost a result; MLflow is tried again after a minute."""
        try:
            yield
        except Exception as err:
            self._runs = None
            self._again_at = time.monotonic() + PAUSE_S
            self.problem = f"MLflow at {without_secrets(self.uri)} could not {what} ({one_line(err)})"
            _log.warning("%s; the results are in Parquet and complete", self.problem)
