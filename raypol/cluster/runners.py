"""The interface of runners, and the runner in this process; `ray_runner` has the one with Ray actors. Results are identical.

A party (prover, spoofer, verifier) names a device. Parties that name the same device share its actors: one process per device
slot, so that a laptop's two cores hold two actors and not six.
"""

import ctypes
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeVar

import torch

from raypol.cluster.inventory import check_requests, this_machine
from raypol.cluster.jobs import DeviceFacts, run_facts
from raypol.cluster.placement import DeviceRequest

J = TypeVar("J")
R = TypeVar("R")
Role = Literal["prover", "spoofer", "verifier"]
ROLES: Final[tuple[Role, ...]] = ("prover", "spoofer", "verifier")
PATIENCE_S: Final = 900.0
"""Seconds that a worker may stay away: longer than a cloud takes to start a machine."""


class WorkerLostError(RuntimeError):
    """A worker died or stayed away too often; the job itself may be sound, and its finished parts are kept."""


class Runner(Protocol):
    """A place where jobs run."""

    @property
    def name(self) -> str:
        """`local` or `ray`."""
        ...

    def device(self, role: Role) -> str:
        """Torch device that a role's jobs must use."""
        ...

    def request(self, role: Role) -> DeviceRequest:
        """Device that a role named."""
        ...

    def facts(self, role: Role) -> DeviceFacts:
        """Hardware on which a role really computes."""
        ...

    def begin(self) -> None:
        """Begin a new trial: forget where jobs ran so far."""
        ...

    def num_workers(self, role: Role) -> int:
        """Number of a role's jobs that run at once."""
        ...

    def submit(self, role: Role, function: Callable[[J], R], job: J) -> "Future[R]":
        """Run function(job) on one of the role's workers."""
        ...

    def close(self) -> None:
        """Stop all workers."""
        ...


class LocalRunner:
    """Runner in this process, one job after the other: for debuggers, notebooks, and a machine without Ray."""

    name = "local"

    def __init__(self, devices: Mapping[Role, DeviceRequest]) -> None:
        # Any CUDA device serves a request for a GPU here; its model is recorded as the driver reports it.
        check_requests([replace(request, accelerator="") for request in devices.values()], [this_machine()])
        self._devices = {role: devices[role] for role in ROLES}
        self._facts: dict[DeviceRequest, DeviceFacts] = {}
        self._before = torch.get_num_threads()
        self._worker = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raypol-local")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        if kind is not None and self._worker:
            # The running job, for which nobody waits, ends as if Ctrl-C had reached it, and cleans up.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._worker), ctypes.py_object(KeyboardInterrupt)
            )
        self.close()

    def device(self, role: Role) -> str:
        """See Runner."""
        return self._devices[role].torch_device

    def request(self, role: Role) -> DeviceRequest:
        """See Runner."""
        return self._devices[role]

    def facts(self, role: Role) -> DeviceFacts:
        """See Runner."""
        request = self._devices[role]
        if request not in self._facts:
            self._facts[request] = self.submit(role, run_facts, self.device(role)).result()
        return self._facts[request]

    def begin(self) -> None:
        """See Runner."""

    def num_workers(self, role: Role) -> int:
        """See Runner."""
        del role
        return 1

    def submit(self, role: Role, function: Callable[[J], R], job: J) -> "Future[R]":
        """See Runner."""
        return self._thread.submit(self._run, self._devices[role].threads, function, job)

    def close(self) -> None:
        """See Runner."""
        self._thread.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)

    def _run(self, threads: int, function: Callable[[J], R], job: J) -> R:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        self._worker = threading.get_ident()
        try:
            return function(job)
        finally:
            self._worker = 0
