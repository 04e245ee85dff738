"""Progress of long work, with rate and time left: a bar on a terminal, a line now and then in a log."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from raypol.core.progress import Progress, TimeLeft, still_takes
from raypol.report.tables import terminal_text

_SECONDS_BETWEEN_LINES: Final = 10.0
_MOST_BETWEEN_LINES: Final = 300.0
_SHARE: Final = 1 / 60
"""Pause between lines as a share of the time that passed: a log of ten hours needs no line every ten seconds."""
_SILENCE_S: Final = 60.0
"""After this long without news a line says that the work goes on."""
_SAY_S: Final = 5.0
"""After this long without a count it is said that the time left is not known."""
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show what the updates say while the block runs. A terminal that goes away meanwhile makes it a log."""
    shown = _Shown(console)
    with shown.bar if console.is_terminal else shown.never_silent():
        yield shown


class _Activity(ProgressColumn):
    """What is done."""

    def render(self, task: Task) -> Text:
        return terminal_text(task.description)


class _Count(MofNCompleteColumn):
    """3/7; nothing where nothing is counted."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _PaceColumn(ProgressColumn):
    """Rate and time left."""

    def __init__(self, words: Callable[[], str]) -> None:
        super().__init__()
        self._words = words

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the bar has one task
        return Text(self._words(), style="progress.remaining")


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast one thing is counted. Times are of the monotonic clock."""

    begun_at: float
    begun_with: int
    at: float
    """Time of the last count."""
    done: int
    of: int
    left: TimeLeft | None = None

    def words(self) -> str:
        """Rate and time left, as far as they are known."""
        counted, took, now = self.done - self.begun_with, self.at - self.begun_at, time.monotonic()
        is_known = counted > 0 and took > 0.0
        words = [rate_words(counted / took)] if is_known else []
        if self.done < self.of:
            if self.left is not None:
                words.append(left_words(self.left))
            elif is_known:
                each_s = took / counted
                left_s = still_takes(each_s, now - self.at) + (self.of - self.done - 1) * each_s
                words.append(f"{left_time_words(left_s)} left")
            elif now - self.begun_at >= _SAY_S:
                words.append("time left not known yet")
        return ", ".join(words)


class _Shown:
    """What is shown of the updates, on a terminal or in a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        # The clock is looked up anew for the tests' sake.
        self.bar = ProgressBar(
            _Activity(),
            BarColumn(bar_width=24),
            _Count(),
            TimeElapsedColumn(),
            _PaceColumn(self._pace_words),
            console=console,
            transient=True,
            get_time=lambda: time.monotonic(),
            refresh_per_second=4,
        )
        self.bar.add_task("starting", total=None)
        self._printed_at = -_MOST_BETWEEN_LINES
        self._printed: tuple[str, int, int] | None = None
        self._news: tuple[str, int, int] | None = None
        self._pace: _Pace | None = None
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, of: int, left: TimeLeft | None = None, /) -> None:
        with self._lock:
            self._count(what, done, of, left)
            if self._console.is_terminal:
                return
            self._news = (what, done, of)
            passed = self._passed()
            is_due = passed - self._printed_at >= _pause(passed, _SECONDS_BETWEEN_LINES)
            if is_due or (done == of and self._news != self._printed):
                self._print(passed)

    def _count(self, what: str, done: int, of: int, left: TimeLeft | None) -> None:
        (task,) = self.bar.tasks
        pace, now = self._pace, time.monotonic()
        if pace is not None and pace.of == of and pace.done <= done:
            self._pace = replace(pace, at=now if done > pace.done else pace.at, done=done, left=left)
            self.bar.update(task.id, description=what, completed=done)
            return
        # Another total, or a count that went back, begins anew.
        self._pace = _Pace(begun_at=now, begun_with=done, at=now, done=done, of=of, left=left)
        self.bar.remove_task(task.id)
        self.bar.add_task(what, total=of or None, completed=done)

    def _pace_words(self) -> str:
        return self._pace.words() if self._pace is not None else ""

    @contextmanager
    def never_silent(self) -> Iterator[None]:
        """Inside, the last news is printed again after a minute without a line, with how long the work has gone on."""
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), name="raypol-progress", daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(_SECONDS_BETWEEN_LINES):
            with self._lock:
                passed = self._passed()
                if self._news is not None and passed - self._printed_at >= _pause(passed, _SILENCE_S):
                    self._print(passed)

    def _passed(self) -> float:
        return time.monotonic() - self._started

    def _print(self, passed: float) -> None:
        assert self._news is not None
        what, done, of = self._printed = self._news
        self._printed_at = passed
        pace = self._pace_words()
        count = f"{done}/{of} " if of else ""
        went = f"{passed:6.1f} s" if passed < 1000 else time_words(passed)
        more = f" ({pace})" if pace else ""
        self._console.print(terminal_text(f"[{went}] {count}{what}{more}"), soft_wrap=True)


def _pause(passed: float, least: float) -> float:
    """Seconds between two lines."""
    return min(max(least, passed * _SHARE), _MOST_BETWEEN_LINES)


def left_words(left: TimeLeft) -> str:
    """The time left, or that nothing is known of it."""
    seconds = left.seconds()
    return f"no {left.what} has ended yet" if seconds is None else f"{left_time_words(seconds)} left"


def left_time_words(seconds: float) -> str:
    """Like `time_words`, never "0 s"."""
    return time_words(max(math.ceil(seconds), 1))


def rate_words(per_s: float, what: str = "") -> str:
    """As "3.1/s" or "3.1 trials/s": per second, minute or hour, whichever makes a number of at least one."""
    lengths = {"s": 1.0, "min": _MINUTE, "h": _HOUR}
    unit = next((unit for unit, length in lengths.items() if per_s * length >= 1.0), "h")
    amount = per_s * lengths[unit]
    number = f"{amount:.1f}" if amount < 9.95 else f"{amount:.0f}"
    return f"{number}{what and f' {what}'}/{unit}"


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
