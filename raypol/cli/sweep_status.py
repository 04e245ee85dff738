"""The state of a sweep as its results folder shows it at one moment, whoever drives it and wherever."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from raypol.core.errors import InputError, first_line, first_names
from raypol.core.progress import still_takes
from raypol.runs.sweeps.live_status import FINAL, STATES, Pulse, read_pulse
from raypol.runs.sweeps.record import SweepRecord, sweeps_on_record, sweeps_with_rows
from raypol.store.location import Location
from raypol.store.results.files import read_trials

_WINDOW_S: Final = 600.0
"""Rates are averages of the last ten minutes, or of the whole run where no trial finished in them."""
_LATE: Final = 5
_LATE_S: Final = 30.0
"""A driver that is late by five of its own pauses and by this much is taken for dead; two machines' clocks differ a little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """How fast a sweep goes."""

    over_s: float
    """Seconds that the rates are averages of."""
    trials_per_s: float
    intervals_per_s: float
    """Verified intervals of finished trials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStatus:
    """A sweep as its folder shows it."""

    results: Location
    sweep_id: str
    now: float
    """Seconds since 1970, of this machine."""
    pulse: Pulse | None
    """The driver's last sign of life; None if it left none."""
    states: dict[str, int]
    """Trials by state; without a pulse only those that have a row."""
    num_trials: int
    """Planned trials, of a search the most possible; 0 = not known."""
    others: tuple[str, ...]
    """Other sweeps in the folder, the newest first."""

    @property
    def is_late(self) -> bool:
        """True if the driver should have given a sign since."""
        pulse = self.pulse
        return pulse is not None and self.now - pulse.written_at > max(_LATE * pulse.every_s, _LATE_S)

    @property
    def is_running(self) -> bool:
        """True if there is more to come."""
        return self.pulse is not None and not self.pulse.ended and not self.is_late

    @property
    def num_done(self) -> int:
        """Trials that have a row."""
        return sum(self.states.get(state, 0) for state in FINAL)

    def rates(self) -> Rates | None:
        """Rates of the last ten minutes, or since trials could begin; None before a trial has finished."""
        if self.pulse is None or not self.pulse.phase_at or not self.pulse.finished:
            return None
        end = self.now if self.is_running else self.pulse.written_at
        begin = max(self.pulse.phase_at, end - _WINDOW_S)
        if self.pulse.finished[-1][0] < begin:
            begin = self.pulse.phase_at
        recent = [intervals for when, intervals in self.pulse.finished if when >= begin]
        over = end - begin
        if not recent or over <= 0.0:
            return None
        return Rates(over_s=over, trials_per_s=len(recent) / over, intervals_per_s=sum(recent) / over)

    def left_s(self) -> float | None:
        """Seconds until the last trial ends, as its driver estimates; None = not known, or the sweep does not go on."""
        if self.pulse is None or self.pulse.left_s is None or not self.is_running or self.num_done >= self.num_trials:
            return None
        return still_takes(self.pulse.left_s, self.now - self.pulse.written_at)


def read_status(results: Location, name: str = "") -> SweepStatus:
    """Read the state of a sweep in a results folder; "" = the newest.

    Raises:
        InputError: no such sweep, or its files are not raypol's or another version's.
    """
    try:
        return _read_status(results, name)
    except (OSError, pa.ArrowException) as err:
        raise InputError(f"cannot read {results}: {first_line(err)}") from err


def _read_status(results: Location, name: str) -> SweepStatus:
    sweeps = sweeps_on_record(results) or sweeps_with_rows(results)
    if not sweeps:
        raise InputError(
            f"{results} holds no sweep: expected RESULTS/sweeps/<name>/ or RESULTS/trials/*.parquet, as a sweep writes them"
        )
    if name and name not in sweeps and not read_trials(results, sweep_id=name):
        raise InputError(f"{results} holds no sweep {name!r}; there are {first_names(sweeps)}")
    sweep_id = name or sweeps[0]
    pulse = read_pulse(results, sweep_id)
    rows = [] if pulse else read_trials(results, sweep_id=sweep_id)
    states = Counter(pulse.states if pulse else (row.status for row in rows if not row.is_honest))
    return SweepStatus(
        results=results,
        sweep_id=sweep_id,
        now=time.time(),
        pulse=pulse,
        states={state: states[state] for state in STATES},
        num_trials=pulse.num_trials if pulse else SweepRecord(results, sweep_id).read_about().num_trials,
        others=tuple(other for other in sweeps if other != sweep_id),
    )
