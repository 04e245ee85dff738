"""What a results folder says of a sweep at one moment, whoever drives it and wherever."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from raypol.cli.pace import Pace
from raypol.core.errors import InputError, first_line
from raypol.runs.sweeps.live_status import FINAL, STATES, Pulse, read_pulse
from raypol.runs.sweeps.record import Ledger, sweeps_of_rows, sweeps_with_books
from raypol.store.location import Location
from raypol.store.results.files import read_trials
from raypol.store.results.rows import TrialRow

_WINDOW_S: Final = 600.0
"""Rates are of the last ten minutes."""
_LATE: Final = 5
_LATE_S: Final = 30.0
"""A driver that is late by five of its own pauses and by so long is taken for dead; two machines' clocks differ a little."""
_SHOWN: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """How fast a sweep goes."""

    over_s: float
    """Seconds that they are an average of."""
    trials_per_s: float
    intervals_per_s: float
    """Of finished trials, as verified."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
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
    """As planned, of a search at most; 0 = not known."""
    others: tuple[str, ...]
    """Other sweeps in the folder, the newest first."""

    @property
    def is_late(self) -> bool:
        """True if the driver should have given a sign since."""
        pulse = self.pulse
        return pulse is not None and self.now - pulse.written_at > max(_LATE * pulse.every_s, _LATE_S)

    @property
    def goes_on(self) -> bool:
        """True if there is more to come."""
        return self.pulse is not None and not self.pulse.ended and not self.is_late

    @property
    def num_done(self) -> int:
        """Trials that have a row."""
        return sum(self.states.get(state, 0) for state in FINAL)

    def rates(self) -> "Rates | None":
        """Of the last ten minutes, or since trials could begin; None where none finished."""
        if self.pulse is None or not self.pulse.phase_at:
            return None
        end = self.now if self.goes_on else self.pulse.written_at
        begin = max(self.pulse.phase_at, end - _WINDOW_S)
        recent = [intervals for when, intervals in self.pulse.finished if when >= begin]
        if not recent or end <= begin:
            return None
        over = end - begin
        return Rates(over_s=over, trials_per_s=len(recent) / over, intervals_per_s=sum(recent) / over)

    def left_s(self) -> float | None:
        """Seconds until all trials are done; None = not known, or it does not go on."""
        pulse = self.pulse
        if pulse is None or not self.goes_on or not pulse.finished:
            return None
        pace = Pace(
            began=pulse.phase_at,
            first=pulse.resumed,
            done=self.num_done,
            of=self.num_trials,
            changed=pulse.finished[-1][0],
        )
        return pace.left_s(self.now)


def look(results: Location, name: str = "") -> Glance:
    """A sweep of a results folder; "" = the newest.

    Raises:
        InputError: no such folder or sweep, or what lies there is not raypol's or another version's.
    """
    try:
        return _look(results, name)
    except (OSError, pa.ArrowException) as err:
        raise InputError(f"cannot read {results}: {first_line(err)}") from err


def _look(results: Location, name: str) -> Glance:
    if not results.exists():
        raise InputError(f"no such results folder: {results}")
    sweeps = sweeps_with_books(results)
    if not sweeps:
        sweeps = sweeps_of_rows(results)
    if not sweeps:
        raise InputError(
            f"{results} holds no sweep: expected RESULTS/sweeps/<name>/ or RESULTS/trials/*.parquet, as a sweep writes them"
        )
    if name and name not in sweeps and not read_trials(results, sweep_id=name):
        more = f" and {len(sweeps) - _SHOWN} more" if len(sweeps) > _SHOWN else ""
        raise InputError(f"{results} holds no sweep {name!r}; there are {', '.join(sweeps[:_SHOWN])}{more}")
    sweep_id = name or sweeps[0]
    pulse = read_pulse(results, sweep_id)
    states = dict(pulse.states) if pulse else _states(read_trials(results, sweep_id=sweep_id))
    return Glance(
        results=results,
        sweep_id=sweep_id,
        now=time.time(),
        pulse=pulse,
        states={state: states.get(state, 0) for state in STATES},
        num_trials=pulse.num_trials if pulse else Ledger(results, sweep_id).about().num_trials,
        others=tuple(other for other in sweeps if other != sweep_id),
    )


def _states(rows: list[TrialRow]) -> Counter[str]:
    return Counter(row.status for row in rows if not row.is_honest)
