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
    """Show what the updates say while the block runs."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("starting", total=None)
            yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)
        return
    started = time.monotonic()
    last, said = -_SECONDS_BETWEEN_LINES, None

    def line(what: str, done: int, of: int) -> None:
        nonlocal last, said
        now = time.monotonic()
        if now - started - last >= _SECONDS_BETWEEN_LINES or (done == of and (what, done, of) != said):
            last, said = now - started, (what, done, of)
            console.print(f"[{now - started:6.1f} s] {done}/{of} {what}", markup=False, highlight=False)

    yield line
