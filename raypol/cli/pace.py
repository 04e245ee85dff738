"""How fast something counted goes, and how long the rest takes if it goes on like that."""

from dataclasses import dataclass
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0


@dataclass(kw_only=True, slots=True)
class Pace:
    """A count on its way. Begins anew when another total is counted towards, or the count goes back."""

    began: float
    """When the count stood at `first`; seconds of any clock, here and everywhere."""
    first: int = 0
    done: int = 0
    of: int = 0
    changed: float = 0.0
    """When `done` last grew."""

    def update(self, done: int, of: int, now: float) -> None:
        """What is done now."""
        if of != self.of or done < self.done:
            self.began = self.changed = now
            self.first = done
        elif done > self.done:
            self.changed = now
        self.done, self.of = done, of

    def period_s(self, now: float) -> float | None:
        """Seconds that one takes, on average; of an overdue one the wait so far counts. None = not one is done."""
        grown = self.done - self.first
        if grown <= 0 or self.changed <= self.began:
            return None
        period = (self.changed - self.began) / grown
        return period if now - self.changed <= period else (now - self.began) / (grown + 1)

    def left_s(self, now: float) -> float | None:
        """Seconds until all is done; None = not known."""
        period = self.period_s(now)
        if self.done >= self.of or period is None:
            return None
        return max((self.of - self.done) * period - (now - self.changed), 0.0)

    def rate_words(self, now: float) -> str:
        """As "3.1/s", "12/min" or "4.0/h"; empty where it is not known."""
        period = self.period_s(now)
        return "" if period is None else rate_words(1.0 / period)

    def words(self, now: float) -> str:
        """Rate and time left, as far as they are known."""
        left = self.left_s(now)
        return ", ".join(filter(None, (self.rate_words(now), f"{time_words(left)} left" if left is not None else "")))


def rate_words(per_s: float, what: str = "") -> str:
    """As "3.1/s" or "3.1 trials/s": per second, minute or hour, whichever makes a number of at least one."""
    amount, unit = per_s, "s"
    if amount < 1.0:
        amount, unit = per_s * _MINUTE, "min"
    if amount < 1.0:
        amount, unit = per_s * _HOUR, "h"
    number = f"{amount:.1f}" if amount < 9.95 else f"{amount:.0f}"
    return f"{number} {what}/{unit}" if what else f"{number}/{unit}"


def time_words(seconds: float) -> str:
    """As "48 s", "3 min 05 s", "2 h 10 min" or "1 d 4 h"."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < _DAY:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
