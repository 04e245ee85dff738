"""Time on a device: by its own events on CUDA, which wait for nothing while work is queued; by the clock on a CPU."""

import time
from dataclasses import dataclass

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked, so that a clock read next is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A moment in a device's work: all that was asked of it before comes before."""

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
