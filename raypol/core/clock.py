"""Time on a device: by its own events on CUDA, which wait for nothing while work is queued; by the clock on a CPU."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all queued work, so that a clock read next is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A moment in a device's work: after all work that was queued before."""

    moment_s: float
    event: torch.cuda.Event | None = None

    def until(self, later: "Mark") -> float:
        """Seconds on the device from here to there; waits until the device has got there."""
        if self.event is None or later.event is None:
            return later.moment_s - self.moment_s
        later.event.synchronize()
        return float(self.event.elapsed_time(later.event)) / 1000.0


def mark(device: torch.device) -> Mark:
    """This moment in the device's work."""
    event = None
    if device.type == "cuda":
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's stubs
        event.record(torch.cuda.current_stream(device))
    return Mark(time.perf_counter(), event)


class Stopwatch:
    """Seconds of work on a device since the last start, without pauses."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = mark(device)
        self._pauses: list[tuple[Mark, Mark]] = []

    def start(self) -> None:
        """Start from zero."""
        synchronise(self._device)
        self._pauses.clear()
        self._started = mark(self._device)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out the time inside; pauses may be nested."""
        outer, paused = len(self._pauses), mark(self._device)
        yield
        self._pauses[outer:] = [(paused, mark(self._device))]

    def read(self) -> float:
        """Seconds so far; waits until the device has got here."""
        return self._started.until(mark(self._device)) - sum(first.until(last) for first, last in self._pauses)
