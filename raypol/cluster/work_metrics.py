"""Counting the work of a worker where it is done; `metrics` says what is counted and how it gets out."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.metrics import DEVICE_SECONDS, INTERVALS, STORE_BYTES, add, begin, exporting, sampled
from raypol.cluster.placement import DeviceRequest

_log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Literal["crafted", "replayed"]


@dataclass(kw_only=True, slots=True)
class _Job:
    """What this process works on: one job at a time."""

    tags: dict[str, str]
    share: float
    """Devices that the worker holds."""
    since: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count_seconds(self) -> None:
        """Those since the last call."""
        with self.lock:
            now = time.monotonic()
            passed, self.since = now - self.since, now
        add(DEVICE_SECONDS, passed * self.share, **self.tags)


_job: _Job | None = None


@contextmanager
def at_work(request: DeviceRequest, role: str, job: object) -> Iterator[None]:
    """Inside, this process works on a job: its seconds are counted as they pass, its intervals and bytes where they are made."""
    global _job
    if not exporting():
        yield
        return
    attack = _attack_of(job) if role == "spoofer" else "none"
    tags = {"role": role, "accelerator": accelerator_of(request), "attack": attack}
    mine = _job = _Job(tags=tags, share=request.amount if request.kind == "gpu" else 1.0)
    begin(DEVICE_SECONDS, **tags)
    begin(STORE_BYTES, role=role)
    if role != "prover":
        work: Work = "crafted" if role == "spoofer" else "replayed"
        begin(INTERVALS, work=work, accelerator=tags["accelerator"], attack=attack)
    try:
        with sampled(mine.count_seconds):
            yield
    finally:
        _job = None


def counted(work: Work, made: Iterable[T]) -> Iterator[T]:
    """The same things, each counted as an interval once it is made."""
    for one in made:
        add_interval(work)
        yield one


def add_interval(work: Work) -> None:
    """Count an interval of the job that this process works on."""
    if (job := _job) is not None:
        add(INTERVALS, 1, work=work, accelerator=job.tags["accelerator"], attack=job.tags["attack"])


def add_bytes(written: Callable[[], int]) -> None:
    """Count bytes that the job of this process wrote; it is not asked how many where nobody counts."""
    if (job := _job) is not None:
        try:
            add(STORE_BYTES, written(), role=job.tags["role"])
        except OSError as err:  # the file is written; only its size cannot be seen now
            _log.debug("not counted: %s", err)


@contextmanager
def writing(num_bytes: Callable[[], int], *, already: int = 0) -> Iterator[None]:
    """Inside, the job of this process writes: what `num_bytes` grows by beyond `already` is counted as it grows."""
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
    """The model that a worker computes on: as asked for, else as the driver or the node calls it; cpu, if it is none."""
    if request.kind == "cpu":
        return "cpu"
    if request.accelerator:
        return canonical_accelerator(request.accelerator)
    if torch.cuda.is_available():
        return canonical_accelerator(torch.cuda.get_device_name())
    return "gpu"


def _attack_of(job: object) -> str:
    """The file that holds the attack, as in the rows' column."""
    attack = getattr(job, "attack", None) or getattr(getattr(job, "spoof", None), "attack", None)
    return "none" if attack is None else type(attack).__module__.rsplit(".", 1)[-1]
