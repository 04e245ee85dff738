"""The live status of a running sweep: its trials by state, and the running ones with their age.

The driver replaces one small file, RESULTS/sweeps/<sweep_id>/live.json, every few seconds; `raypol top` reads it wherever the
folder is seen. The same numbers go to Prometheus as gauges. A sweep resumes from its rows, never from these.
"""

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from raypol.cluster.metrics import (
    LOST,
    OLDEST_TRIAL,
    RESTARTED,
    TRIALS,
    TRIALS_FINISHED,
    Values,
    add,
    add_lost,
    add_restarted,
    exported_gauges,
    start_series,
)
from raypol.core.errors import InputError, first_line
from raypol.core.progress import TimeLeft
from raypol.runs.trials.study import Trial
from raypol.store.escaping import without_secrets
from raypol.store.location import Location, atomic_output, leads_out, reason_of
from raypol.store.results.files import warn_left_out
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder

_log = logging.getLogger(__name__)

LIVE_VERSION: Final = 1
EVERY_S: Final = 2.0
"""Between two writes to a local folder."""
_EVERY_REMOTE_S: Final = 15.0
"""An object store charges for each write."""
FINAL: Final = ("ok", "error", "stopped", "refused")
STATES: Final = ("waiting", "running", *FINAL)
_KEPT: Final = 1000
"""Finished trials whose time is kept, for rates."""
_MAX_BYTES: Final = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningTrial:
    """A trial that runs."""

    arm: str
    steps: int
    """T'."""
    interval: int
    """k."""
    seed: int
    device: str
    """The spoofer's, as asked for; the verifier's after a slash where it is another."""
    since: float
    """Seconds since 1970."""
    tries: int = 1
    """2 or more: its process or its workers were lost before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """A sweep at one moment, as its driver saw it. Times are seconds since 1970 by the driver's clock."""

    version: int = LIVE_VERSION
    sweep_id: str
    started_at: float
    """Of this driver; a resumed sweep had others before."""
    written_at: float
    every_s: float
    """Seconds until the next pulse."""
    ended: str = ""
    """finished, interrupted, or `ended early` or `failed` with the reason; empty while it goes on."""
    doing: str = ""
    """The driver's current activity."""
    phase_at: float = 0.0
    """Time from which this driver's trials could run; 0 before."""
    resumed: int = 0
    """Trials that were finished before this driver."""
    num_trials: int = 0
    """Of a search: at most."""
    states: dict[str, int] = field(default_factory=dict)
    """Trials by state: waiting, running, ok, error, stopped."""
    left_s: float | None = None
    """Seconds until the last trial ends; None = not known."""
    running: tuple[RunningTrial, ...] = ()
    """The oldest first."""
    lost: int = 0
    """Times that a trial's process or workers were lost and the trial was started again."""
    finished: tuple[tuple[float, int], ...] = ()
    """(time, number of intervals) of the last trials that this driver saw finish."""


_PULSE: Final = TypeAdapter(Pulse)


def read_pulse(results: Location, sweep_id: str) -> Pulse | None:
    """The last pulse of a sweep; None if it left none, or a damaged one, which the log says.

    Raises:
        InputError: the file is of another version of raypol.
    """
    place = _place(results, sweep_id)
    if not 0 <= place.size() <= _MAX_BYTES or leads_out(place, results):
        return None
    with place.filesystem.open_input_file(place.path) as stream:
        text = stream.read()
    try:
        found = from_json(text)  # bounds how deep it nests, which json does not
        version = found.get("version") if isinstance(found, dict) else None
        if version is None or version == LIVE_VERSION:
            return _PULSE.validate_json(text)
    except (ValueError, ValidationError) as err:
        warn_left_out([f"{place} is not what raypol writes there ({first_line(err)})"])
        return None
    raise InputError(f"{place} is of another raypol: expected version {LIVE_VERSION}, got {version!r}")


class LiveStatus:
    """The state of a running sweep; changed by the driver's thread, published by another."""

    def __init__(self, results: Location, sweep_id: str) -> None:
        self._place = _place(results, sweep_id)
        self._sweep_id = sweep_id
        self._every_s = EVERY_S if results.is_local else _EVERY_REMOTE_S
        self._lock = threading.Lock()
        self._started_at = time.time()
        self._phase_at = 0.0
        self._doing = self._stopped = ""
        self._total = 0
        self._resumed = 0
        self._away = False
        self._lost = 0
        self._states: dict[str, str] = {}  # of finished trials, by id
        self._running: dict[str, RunningTrial] = {}
        self._tries: Counter[str] = Counter()
        self._finished: deque[tuple[float, int]] = deque(maxlen=_KEPT)
        self.left = TimeLeft("trial")
        """The time that the trials still take."""

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish the state every few seconds inside the block, and at its end how the sweep ended."""
        done = threading.Event()
        writer = threading.Thread(target=self._write_until, args=(done,), name="raypol-live", daemon=True)
        ended = "interrupted"
        for spec in (LOST, RESTARTED):
            start_series(spec, what="trial process")
        with exported_gauges({TRIALS: self._trials, OLDEST_TRIAL: self._oldest}):
            writer.start()
            try:
                yield
                ended = f"ended early: {self._stopped}" if self._stopped else "finished"
            except Exception as err:
                ended = f"failed: {type(err).__name__}: {err}".partition("\n")[0]
                raise
            finally:
                done.set()
                writer.join(self._every_s)
                with self._lock:
                    self._running.clear()
                self._write(ended)

    def publish_end(self) -> None:
        """Publish once that the sweep is finished: nothing was left to run."""
        self._write("finished")

    def set_activity(self, what: str) -> None:
        """Set what the driver does now."""
        self._doing = what

    def set_stop_reason(self, reason: str) -> None:
        """Set why not all trials will be run; empty if they will."""
        self._stopped = reason

    def set_num_trials(self, num_trials: int) -> None:
        """Set the number of trials, finished ones included."""
        with self._lock:
            self._total = num_trials
            self.left.expect_in_all(num_trials - len(self._states))

    def expect(self, trials: Sequence[Trial], works: Sequence[float]) -> None:
        """Note trials that will run, and the work of each; of others T' is taken for the work."""
        for trial, work in zip(trials, works, strict=True):
            self.left.expect(trial.trial_id(self._sweep_id), trial.arm, work)

    def add_resumed(self, rows: Iterable[TrialRow]) -> None:
        """Count the finished trials of earlier runs."""
        with self._lock:
            self._states |= {row.trial_id: row.status for row in rows}
            self._resumed = len(self._states)

    def trials_can_start(self) -> None:
        """Note that trials can run from now on."""
        self._phase_at = self._phase_at or time.time()

    def trial_started(self, trial: Trial) -> None:
        """Note that a trial runs, for the first time or again."""
        trial_id = trial.trial_id(self._sweep_id)
        device = trial.spoofer if trial.verifier == trial.spoofer else f"{trial.spoofer} / {trial.verifier}"
        with self._lock:
            self._doing = "running trials"
            self._tries[trial_id] += 1
            self._running[trial_id] = RunningTrial(
                arm=trial.arm,
                steps=trial.spoof.steps,
                interval=trial.spoof.interval,
                seed=trial.spoof.seed,
                device=device,
                since=time.time(),
                tries=self._tries[trial_id],
            )
            again = self._tries[trial_id] > 1
            self.left.start(trial_id, trial.arm, trial.spoof.steps)
        if again:
            add_restarted("trial process")
        for state in FINAL:
            start_series(TRIALS_FINISHED, sweep=self._sweep_id, state=state, arm=trial.arm)

    def trial_lost(self, trial: Trial) -> None:
        """Note that a trial's process or its workers were lost; it will be started again."""
        add_lost("trial process")
        with self._lock:
            self._lost += 1
            self._running.pop(trial.trial_id(self._sweep_id), None)
            self.left.stop(trial.trial_id(self._sweep_id))

    def trial_finished(self, row: TrialRow) -> None:
        """Note that a trial has its row."""
        with self._lock:
            self._running.pop(row.trial_id, None)
            self.left.end(row.trial_id, tells=row.trial_id not in self._states)  # a searcher's point may pass by again
            self._states[row.trial_id] = row.status
            self._finished.append((time.time(), row.intervals_verified))
        add(TRIALS_FINISHED, 1, sweep=self._sweep_id, state=row.status, arm=row.arm)

    def pulse(self, ended: str = "") -> Pulse:
        """The state now."""
        with self._lock:
            running = tuple(sorted(self._running.values(), key=lambda trial: trial.since))
            states = Counter(self._states.values())
            states["running"] = len(running)
            states["waiting"] = max(self._total - states.total(), 0)
            return Pulse(
                sweep_id=self._sweep_id,
                started_at=self._started_at,
                written_at=time.time(),
                every_s=self._every_s,
                ended=ended,
                doing=self._doing,
                phase_at=self._phase_at,
                resumed=self._resumed,
                num_trials=self._total,
                states={state: states[state] for state in STATES},
                running=running,
                left_s=self.left.seconds(),
                lost=self._lost,
                finished=tuple(self._finished),
            )

    def _trials(self) -> Values:
        return {(self._sweep_id, state): count for state, count in self.pulse().states.items()}

    def _oldest(self) -> Values:
        pulse = self.pulse()
        return {(self._sweep_id,): max((pulse.written_at - one.since for one in pulse.running), default=0.0)}

    def _write_until(self, done: threading.Event) -> None:
        while not done.is_set():
            self._write()
            done.wait(self._every_s)

    def _write(self, ended: str = "") -> None:
        content: Mapping[str, Any] = asdict(self.pulse(ended))
        try:
            with atomic_output(self._place) as stream:
                stream.write(without_secrets(json.dumps(content)).encode())
        except OSError as err:  # watchers see an old one; trials wait for storage that is away for minutes
            if not self._away:
                _log.warning("%s cannot be written now (%s); trials wait for the storage", self._place, reason_of(err))
            self._away = True
        else:
            self._away = False


def _place(results: Location, sweep_id: str) -> Location:
    return ResultsFolder(results).sweep(sweep_id) / "live.json"
