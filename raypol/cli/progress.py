"""Progress of long work, with rate and time left: a bar on a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from raypol.cli.pace import Pace, time_words
from raypol.core.progress import Progress

_SECONDS_BETWEEN_LINES: Final = 10.0
_MOST_BETWEEN_LINES: Final = 300.0
_SHARE: Final = 1 / 60
"""Of the time that passed: a log of ten hours needs no line every ten seconds."""
_SILENCE_S: Final = 60.0
"""After so long without news a line says that it still goes on."""


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show what the updates say while the block runs. A terminal that goes away meanwhile makes it a log."""
    lines = _Lines(console)
    if not console.is_terminal:
        with lines.never_silent():
            yield lines
        return
    pace = Pace(began=time.monotonic())
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        _Count(),
        TimeElapsedColumn(),
        _PaceColumn(pace),
    )
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def update(what: str, done: int, of: int) -> None:
            pace.update(done, of, time.monotonic())
            if console.is_terminal:
                bar.update(task, description=what, completed=done, total=of or None)
            else:
                lines(what, done, of)

        yield update


class _Count(MofNCompleteColumn):
    """3/7; nothing where nothing is counted."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _PaceColumn(ProgressColumn):
    """Rate and time left."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:
        del task
        return Text(self._pace.words(time.monotonic()), style="progress.remaining")


class _Lines:
    """A line now and then, and one for the end of each count."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._pace = Pace(began=self._started)
        self._last = -_MOST_BETWEEN_LINES
        self._said: tuple[str, int, int] | None = None
        self._news: tuple[str, int, int] | None = None
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, of: int) -> None:
        with self._lock:
            self._news = (what, done, of)
            passed = self._passed()
            self._pace.update(done, of, self._started + passed)
            if passed - self._last >= _pause(passed, _SECONDS_BETWEEN_LINES) or (
                done == of and self._news != self._said
            ):
                self._say(passed)

    @contextmanager
    def never_silent(self) -> Iterator[None]:
        """Inside, what was told last is said again after a minute without a line, with how long it went on."""
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
                if self._news is not None and passed - self._last >= _pause(passed, _SILENCE_S):
                    self._say(passed)

    def _passed(self) -> float:
        return time.monotonic() - self._started

    def _say(self, passed: float) -> None:
        assert self._news is not None
        what, done, of = self._news
        self._last, self._said = passed, self._news
        pace = self._pace.words(self._started + passed)
        count = f"{done}/{of} " if of else ""
        went = f"{passed:6.1f} s" if passed < 1000 else time_words(passed)
        more = f" ({pace})" if pace else ""
        self._console.print(f"[{went}] {count}{what}{more}", markup=False, highlight=False, soft_wrap=True)


def _pause(passed: float, least: float) -> float:
    """Seconds between two lines."""
    return min(max(least, passed * _SHARE), _MOST_BETWEEN_LINES)
