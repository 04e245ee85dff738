"""The one callback by which long work reports how far it is, and the time that it still takes."""

import heapq
import threading
import time
from typing import Final, Protocol

_OVERRUN: Final = 0.1
"""A task that has outrun its estimate is taken to need this share of its age more."""


class TimeLeft:
    """The time that tasks of unequal work still take, some of them side by side, from those that ended.

    A task is expected to take its work times the seconds per unit of work of the ended tasks of its kind, or of all that ended
    until one of its kind has. Tasks that wait are started in order, as many at once as were seen running at once. Any thread
    may ask.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        """What a task is called."""
        self._tasks: dict[str, tuple[str, float]] = {}  # not ended: kind and work
        self._since: dict[str, float] = {}  # of the running ones
        self._ended: dict[str, tuple[float, float]] = {}  # seconds and work by kind
        self._rest = self._slots = 0
        self._lock = threading.Lock()

    def expect(self, task: str, kind: str, work: float) -> None:
        """Note a task that will run. Work is in any unit > 0, the same for all tasks."""
        with self._lock:
            self._tasks[task] = kind, work

    def expect_in_all(self, rest: int) -> None:
        """Note the number of tasks that have not ended; not all of them may be expected by name."""
        with self._lock:
            self._rest = rest

    def start(self, task: str, kind: str, work: float) -> None:
        """Note that a task runs, for the first time or again; kind and work count where it was not expected."""
        with self._lock:
            self._tasks.setdefault(task, (kind, work))
            self._since[task] = time.monotonic()
            self._slots = max(self._slots, len(self._since))

    def stop(self, task: str) -> None:
        """Note that a task no longer runs and will have to be started again."""
        with self._lock:
            self._since.pop(task, None)

    def end(self, task: str, *, tells: bool = True) -> None:
        """Note the end of a task; its time says nothing of other tasks unless it tells."""
        with self._lock:
            since, (kind, work) = self._since.pop(task, None), self._tasks.pop(task, ("", 0.0))
            self._rest = max(self._rest - 1, 0)
            if tells and since is not None:
                seconds, done = self._ended.get(kind, (0.0, 0.0))
                self._ended[kind] = seconds + time.monotonic() - since, done + work

    def seconds(self) -> float | None:
        """Seconds until the last task ends, more than 0 while one runs; None while no task has ended."""
        with self._lock:
            took, work = map(sum, zip(*self._ended.values(), strict=True)) if self._ended else (0.0, 0.0)
            if not work:
                return None
            paces = {kind: seconds / done for kind, (seconds, done) in self._ended.items() if done}
            expected = {task: paces.get(kind, took / work) * size for task, (kind, size) in self._tasks.items()}
            now = time.monotonic()
            slots = [still_takes(expected[task], now - since) for task, since in self._since.items()]
            slots += [0.0] * max(self._slots - len(slots), 1 - len(slots))
            waiting = [seconds for task, seconds in expected.items() if task not in self._since]
            mean = sum(expected.values()) / len(expected) if expected else took / len(self._ended)
            waiting += [mean] * (self._rest - len(expected))
            heapq.heapify(slots)
            for seconds in waiting:
                heapq.heapreplace(slots, slots[0] + seconds)
            return max(slots)


class Progress(Protocol):
    """Called as `on_progress(what, done, of)`: what is being done, how much of it is done, of how much.

    0 of 0 means that nothing can be counted. Where the counted things are not alike, `left` knows the time that is left.
    """

    def __call__(self, what: str, done: int, of: int, left: TimeLeft | None = None, /) -> None:
        """Take the news."""


def no_progress(_what: str, _done: int, _of: int, _left: TimeLeft | None = None) -> None:
    """Report nothing."""


def still_takes(expected_s: float, age_s: float) -> float:
    """Seconds that a running task still takes, more than 0."""
    return max(expected_s - age_s, _OVERRUN * age_s)
