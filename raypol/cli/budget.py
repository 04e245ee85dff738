"""Memory and time that a command on a hostile file may take: their end is one line and exit code 2, never a kill.

Readers bound what a file makes them allocate; this bounds everything else, too: a large but well-formed proof, the activations of
a model. A limit of the address space would also count what torch and CUDA map and never touch: a thread watches what is resident.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Final, Protocol, TypeVar

import psutil

from raypol.cli.exit_codes import fail
from raypol.core.errors import InputError

_GIGABYTE: Final = 1e9
_SHARE: Final = 0.9
"""Of the machine's memory, where no other limit is given."""
_PAUSE_S: Final = 0.05
"""Between two looks. Memory fills by some 2 GB/s, so a limit is passed by 100 MB."""
_GRACE_S: Final = 3.0
"""For cleaning up; after that, or a quarter more memory, the process ends where it is, such as inside another library."""


class Budgeted(Protocol):
    """A command with a budget."""

    @property
    def max_memory(self) -> float | None:
        """Gigabytes; None = most of the machine's."""
        ...

    @property
    def max_seconds(self) -> float:
        """Of wall time."""
        ...


_Command = TypeVar("_Command", bound=Budgeted)


def within_budget(run: Callable[[_Command], int]) -> Callable[[_Command], int]:
    """Decorate a command's `run`: it ends with an InputError once it passes its budget."""

    @wraps(run)
    def watched(command: _Command) -> int:
        with budget(command.max_memory, command.max_seconds):
            return run(command)

    return watched


@contextmanager
def budget(max_memory: float | None, max_seconds: float) -> Iterator[None]:
    """End the block once this process takes more.

    Args:
        max_memory: gigabytes of resident memory; None = 90 % of the machine's, or of the container's limit.
        max_seconds: of wall time.

    Raises:
        InputError: it took more, or a limit is not positive.
    """
    limit = memory_limit(max_memory)
    if not max_seconds > 0:
        raise InputError(f"expected --max-seconds > 0, got {max_seconds:g}")
    watch = _Watch(limit, max_seconds)
    try:
        try:
            watch.start()
            yield
        finally:
            watch.stop()
    except KeyboardInterrupt:
        if watch.passed:
            raise InputError(watch.passed) from None
        raise


def memory_limit(max_memory: float | None) -> float:
    """Bytes that --max-memory allows, given in gigabytes; None = 90 % of the machine's, or of the container's limit.

    Raises:
        InputError: it is not positive, or infinite.
    """
    if max_memory is not None and not 0 < max_memory < math.inf:
        raise InputError(f"expected --max-memory > 0, got {max_memory:g}")
    return _SHARE * machine_memory() if max_memory is None else max_memory * _GIGABYTE


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container that limits it."""
    total = int(psutil.virtual_memory().total)
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such limit
            continue
    return total


class _Watch:
    """A thread that interrupts the main thread, as Ctrl-C does, and ends the process if that does not help."""

    def __init__(self, limit: float, max_seconds: float) -> None:
        self.passed = ""
        """What was passed, for a message; empty while nothing is."""
        self._limit, self._max_seconds = limit, max_seconds
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="raypol-budget", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._ended.set()

    def _watch(self) -> None:
        process, deadline = psutil.Process(), time.monotonic() + self._max_seconds
        while not self.passed:
            self.passed = self._problem(process.memory_info().rss, deadline)
            if not self.passed and self._ended.wait(_PAUSE_S):
                return
        end = time.monotonic() + _GRACE_S
        with self._lock:
            if not self._ended.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while not self._ended.wait(_PAUSE_S):
            if time.monotonic() > end or process.memory_info().rss > 1.25 * self._limit:
                fail(self.passed)
                os._exit(2)

    def _problem(self, resident: int, deadline: float) -> str:
        """What was passed."""
        if resident > self._limit:
            return f"took more than {self._limit / _GIGABYTE:.3g} GB of memory, the limit of --max-memory"
        if time.monotonic() > deadline:
            return f"not finished within {self._max_seconds:g} s, the limit of --max-seconds"
        return ""
