"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES: Final = 10.0

Update = Callable[[str, int, int], None]
"""(what is being done, how much is done, of how much)."""


@contextmanager
def progress(console: Console) -> Iterator[Update]:
    """Show what the updates say while the block runs. A terminal that goes away meanwhile makes it a log."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    lines = _Lines(console)
    if not console.is_terminal:
        yield lines
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def update(what: str, done: int, of: int) -> None:
            if console.is_terminal:
                bar.update(task, description=what, completed=done, total=of)
            else:
                lines(what, done, of)

        yield update


class _Lines:
    """A line now and then, and one for the end of each count."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._last = -_SECONDS_BETWEEN_LINES
        self._said: tuple[str, int, int] | None = None

    def __call__(self, what: str, done: int, of: int) -> None:
        passed = time.monotonic() - self._started
        if passed - self._last >= _SECONDS_BETWEEN_LINES or (done == of and (what, done, of) != self._said):
            self._last, self._said = passed, (what, done, of)
            self._console.print(f"[{passed:6.1f} s] {done}/{of} {what}", markup=False, highlight=False)
