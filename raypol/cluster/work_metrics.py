"""Counting a worker's seconds, intervals and bytes in the worker's process; `metrics` exports them."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.metrics import DEVICE_SECONDS, INTERVALS, STORE_BYTES, add, exporting, sampled, start_series
from raypol.cluster.placement import DeviceRequest

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
IntervalWork = Literal["crafted", "replayed"]


@dataclass(kw_only=True, slots=True)
class _Job:
    """The job of this process: one at a time."""

    tags: dict[str, str]
    share: float
    """Devices that the worker holds."""
    since: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count_seconds(self) -> None:
        """Count the seconds since the last call."""
        with self.lock:
            now = time.monotonic()
            passed, self.since = now - self.since, now
        add(DEVICE_SECONDS, passed * self.share, **self.tags)


_job: _Job | None = None


@contextmanager
def counting_job(request: DeviceRequest, role: str, job: object) -> Iterator[None]:
    """Count the seconds of a job inside the block, and the intervals and bytes that functions below report meanwhile."""
    global _job
    if not exporting():
        yield
        return
    attack = _attack_of(job) if role == "spoofer" else "none"
    tags = {"role": role, "accelerator": accelerator_of(request), "attack": attack}
    mine = _job = _Job(tags=tags, share=request.amount if request.kind == "gpu" else 1.0)
    start_series(DEVICE_SECONDS, **tags)
    start_series(STORE_BYTES, role=role)
    if role != "prover":
        work: IntervalWork = "crafted" if role == "spoofer" else "replayed"
        start_series(INTERVALS, work=work, accelerator=tags["accelerator"], attack=attack)
    try:
        with sampled(mine.count_seconds):
            yield
    finally:
        _job = None


def count_intervals(work: IntervalWork, made: Iterable[_T]) -> Iterator[_T]:
    """Pass on what is made, and count each as an interval."""
    for one in made:
        add_interval(work)
        yield one


def add_interval(work: IntervalWork) -> None:
    """Count an interval of this process's job."""
    if (job := _job) is not None:
        add(INTERVALS, 1, work=work, accelerator=job.tags["accelerator"], attack=job.tags["attack"])


def add_bytes(written: Callable[[], int]) -> None:
    """Count bytes that this process's job wrote; `written` is not called where nothing is counted."""
    if (job := _job) is not None:
        try:
            add(STORE_BYTES, written(), role=job.tags["role"])
        except OSError as err:  # the file is written; only its size cannot be read now
            _log.debug("not counted: %s", err)


@contextmanager
def counting_bytes(num_bytes: Callable[[], int], *, already: int = 0) -> Iterator[None]:
    """Count the growth of `num_bytes` beyond `already` inside the block, for this process's job."""
    if (job := _job) is None:
        yield
        return
    seen = already
    lock = threading.Lock()

    def sample() -> None:
        nonlocal seen
        with lock:
            now = num_bytes()
            grown, seen = now - seen, now
        add(STORE_BYTES, grown, role=job.tags["role"])

    with sampled(sample):
        yield


def accelerator_of(request: DeviceRequest) -> str:
    """GPU model on which a worker computes: the one asked for, else the driver's name; "cpu" without GPU."""
    if request.kind == "cpu":
        return "cpu"
    if request.accelerator:
        return canonical_accelerator(request.accelerator)
    if torch.cuda.is_available():
        return canonical_accelerator(torch.cuda.get_device_name())
    return "gpu"


def _attack_of(job: object) -> str:
    """Name of the attack's module, as in the rows' column."""
    attack = getattr(job, "attack", None) or getattr(getattr(job, "spoof", None), "attack", None)
    return "none" if attack is None else type(attack).__module__.rsplit(".", 1)[-1]
