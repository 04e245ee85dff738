"""Running jobs in Ray actors, one per device slot."""

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import torch
from tenacity import Retrying, retry_if_exception, retry_if_result, stop_after_attempt, stop_after_delay, wait_fixed

from raypol.cluster.connection import connect
from raypol.cluster.inventory import SIMULATED_LABEL, allot, offers_from_ray, resolve
from raypol.cluster.jobs import DeviceFacts, run_facts
from raypol.cluster.metrics import (
    LOST,
    RESTARTED,
    SHARDS_WAITING,
    Values,
    add_lost,
    add_restarted,
    exported_gauges,
    start_series,
)
from raypol.cluster.placement import DeviceRequest, ray_options
from raypol.cluster.runners import PATIENCE_S, ROLES, J, R, Role, WorkerLostError
from raypol.cluster.work_metrics import accelerator_of, counting_job
from raypol.core.allocator import keep_freed_memory
from raypol.core.errors import InputError

_log = logging.getLogger(__name__)

# A job whose worker dies is repeated a bounded number of times; it replaces whatever an earlier try left. The worker itself is
# restarted without a bound: a job that kills it must not take the worker from the next jobs.
_MAX_RETRIES: Final = 3
_ALWAYS: Final = -1
_QUIET_S: Final = 30.0
"""Seconds of waiting for workers after which the log says what for."""
_HEARTBEAT_S: Final = 10.0
_POLL_S: Final = 0.5
_HEALTH: Final = "health"


class Party:
    """An actor: prover, spoofer or verifier, by the job that it is given. It has no mathematics in it."""

    def __init__(self, request: DeviceRequest) -> None:
        self._request = request
        keep_freed_memory()
        torch.set_num_threads(request.threads)

    def run(self, role: Role, function: Callable[[Any], Any], job: object) -> tuple[object, str]:
        """Return function(job), and the node that did it."""
        with counting_job(self._request, role, job):
            return function(job), _this_node()

    def facts(self, request: DeviceRequest) -> DeviceFacts:
        """Hardware of this worker.

        Raises:
            InputError: torch does not find the requested GPU, and the node is not labelled as simulated.
        """
        import ray

        device, simulated = request.torch_device, False
        if device == "cuda" and not torch.cuda.is_available():
            simulated = ray.get_runtime_context().get_node_labels().get(SIMULATED_LABEL) == "true"
            if not simulated:
                raise InputError(f"node {_this_node()} was to give {request}, but torch finds no CUDA device there")
            device = "cpu"
        return replace(run_facts(device), node=_this_node(), simulated=simulated)

    def ping(self) -> str:
        """Name of this worker's node; answered also while a job runs."""
        return _this_node()


def _this_node() -> str:
    import ray

    return f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:8]}"


class RayRunner:
    """Runner with Ray actors: as many per device as fit, or a given number."""

    name = "ray"

    def __init__(
        self,
        devices: Mapping[Role, DeviceRequest],
        *,
        address: str | None = None,
        max_actors: int | None = None,
        workers: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Connect to Ray or start it, check the requests, and start the actors.

        Args:
            devices: device of each role.
            address: of a running cluster; None starts one on this machine for the life of this runner.
            max_actors: limit of actors per device.
            workers: exact number of actors per device (resolved, see `inventory.resolve`), without a check of the cluster: for
                callers with a reservation, such as a trial's placement group, or those that wait for the autoscaler.
            patience_s: seconds that a worker may stay away before its job is given up.

        Raises:
            InputError: a device that no live node offers.
            WorkerLostError: no worker came within the patience.
        """
        import ray

        self._ray = ray
        self._devices = {role: devices[role] for role in ROLES}
        self._pools: dict[DeviceRequest, _ActorPool] = {}
        self._facts: dict[DeviceRequest, DeviceFacts] = {}
        self._started = not ray.is_initialized()
        if self._started:
            connect(address)
        try:
            if workers is None:
                offers = offers_from_ray(ray.nodes())
                self._devices = {role: resolve(request, offers) for role, request in self._devices.items()}
                counts = allot(list(dict.fromkeys(self._devices.values())), offers, max_actors or 1 << 30)
            else:
                counts = dict.fromkeys(self._devices.values(), workers)
            for request, count in counts.items():
                pool = self._pools[request] = _ActorPool(ray, request, count, patience_s)
                # Asked now, while no long job is queued, and before easier requests take this one's devices.
                self._facts[request] = pool.facts()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def device(self, role: Role) -> str:
        """See Runner."""
        return self.facts(role).kind

    def request(self, role: Role) -> DeviceRequest:
        """See Runner."""
        return self._devices[role]

    def facts(self, role: Role) -> DeviceFacts:
        """See Runner; nodes are those that did the role's jobs since `begin`."""
        request = self._devices[role]
        seen = self._pools[request].nodes
        return replace(self._facts[request], node=" ".join(sorted(seen))) if seen else self._facts[request]

    def begin(self) -> None:
        """See Runner."""
        for pool in self._pools.values():
            pool.nodes.clear()

    def num_workers(self, role: Role) -> int:
        """See Runner."""
        return self._pools[self._devices[role]].size

    def submit(self, role: Role, function: Callable[[J], R], job: J) -> "Future[R]":
        """See Runner."""
        return self._pools[self._devices[role]].submit(role, function, job)

    def close(self) -> None:
        """Stop the actors, and Ray if this runner started it."""
        for pool in self._pools.values():
            pool.close()
        if self._started:
            self._ray.shutdown()


class _ActorPool:
    """Equal actors behind one queue: each thread owns one actor and takes the next job once that is free."""

    def __init__(self, ray: Any, request: DeviceRequest, size: int, patience_s: float) -> None:  # noqa: ANN401 - Ray is untyped
        self._ray = ray
        self._request = request
        self._patience_s = patience_s
        self.size = size
        self.nodes: set[str] = set()
        self._closed = False
        remote = ray.remote(concurrency_groups={_HEALTH: 1})(Party)
        # Ray's own retries would be used up while the actor moves to another node.
        options = {"max_restarts": _ALWAYS, "max_task_retries": 0, **ray_options(request)}
        self._actors = [remote.options(**options).remote(request) for _ in range(self.size)]
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for actor in self._actors:
            self._free.put(actor)
        self._mine = threading.local()
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix=f"raypol-{request}", initializer=self._adopt)
        self._waiting = 0
        self._counting = threading.Lock()
        self._shown = ExitStack()
        self._shown.enter_context(exported_gauges({SHARDS_WAITING: self._queue}))
        for spec in (LOST, RESTARTED):
            start_series(spec, what="worker")

    def facts(self) -> DeviceFacts:
        """Hardware of the actors, once all of them have started; several models are all named."""
        asked = [actor.facts.remote(self._request) for actor in self._actors]
        if len(self._ray.wait(asked, num_returns=len(asked), timeout=_QUIET_S)[0]) < len(asked):
            _log.warning("waiting for %s: the cluster has it, but others seem to use it", self._request)
        found: list[DeviceFacts] = []
        for first, actor in zip(asked, self._actors, strict=True):
            found.append(self._ask(actor, partial(actor.facts.remote, self._request), "start", first))
        kinds = sorted({facts.kind for facts in found})
        if len(kinds) > 1:
            raise InputError(
                f"{self._request} is a real GPU on some nodes and a simulated one on others; name one of them"
            )
        return replace(
            found[0],
            name=" + ".join(sorted({facts.name for facts in found})),
            node=" ".join(sorted({facts.node for facts in found})),
        )

    def submit(self, role: Role, function: Callable[[J], R], job: J) -> "Future[R]":
        self._count(1)
        future = self._threads.submit(self._call, role, function, job)
        future.add_done_callback(lambda done: self._count(-1) if done.cancelled() else None)
        return future

    def close(self) -> None:
        self._closed = True
        self._shown.close()
        self._threads.shutdown(
            wait=False, cancel_futures=True
        )  # before a thread whose call is answered takes the next job
        # Then the actors: a thread that waits for one gets an error.
        for actor in self._actors:
            self._ray.kill(actor, no_restart=True)
        self._threads.shutdown()

    def _adopt(self) -> None:
        self._mine.actor = self._free.get()

    def _count(self, more: int) -> None:
        with self._counting:
            self._waiting += more

    def _queue(self) -> Values:
        return {(accelerator_of(self._request),): self._waiting}

    def _call(self, role: Role, function: Callable[[J], R], job: J) -> R:
        self._count(-1)
        actor = self._mine.actor
        result: R
        result, node = self._ask(actor, lambda: actor.run.remote(role, function, job), function.__name__)
        self.nodes.add(node)
        return result

    def _ask(self, actor: Any, call: Callable[[], Any], what: str, first: Any = None) -> Any:  # noqa: ANN401 - Ray is untyped
        """Call an actor and return its answer; repeat the call a bounded number of times, once a lost actor is back."""
        given = [] if first is None else [first]
        tries = Retrying(
            retry=retry_if_exception(
                lambda err: isinstance(err, self._ray.exceptions.RayActorError) and not self._closed
            ),
            stop=stop_after_attempt(_MAX_RETRIES + 1),
            before_sleep=lambda _state: self._await_return(actor),
            reraise=True,
        )
        try:
            return tries(lambda: self._answer(given.pop() if given else call(), actor))
        except self._ray.exceptions.RayTaskError as err:
            raise err.cause from None  # the worker's own error, as if raised here
        except self._ray.exceptions.RayActorError as err:
            reason = str(err).strip().splitlines()[0]
            raise WorkerLostError(
                f"the worker of {what} was lost in each of {_MAX_RETRIES + 1} tries: {reason}"
            ) from err

    def _answer(self, reference: Any, actor: Any) -> Any:  # noqa: ANN401 - Ray is untyped
        """Wait for a result, but not for a worker that stays away: Ray itself would wait for a lost device without end."""
        heard = time.monotonic()
        while not self._ray.wait([reference], timeout=min(_HEARTBEAT_S, self._patience_s))[0]:
            if self._alive(actor):
                heard = time.monotonic()
            elif time.monotonic() - heard > self._patience_s:
                raise self._away()
        return self._ray.get(reference)

    def _await_return(self, actor: Any) -> None:  # noqa: ANN401 - Ray is untyped
        add_lost("worker")
        self._wait_for(actor)
        if not self._closed:
            add_restarted("worker")

    def _wait_for(self, actor: Any) -> None:  # noqa: ANN401 - Ray is untyped
        """Wait until a lost actor lives again somewhere."""
        back = Retrying(
            retry=retry_if_result(lambda alive: not alive and not self._closed),
            stop=stop_after_delay(self._patience_s),
            wait=wait_fixed(_POLL_S),
            retry_error_callback=lambda _state: False,
        )
        if not back(self._alive, actor) and not self._closed:
            raise self._away()

    def _away(self) -> WorkerLostError:
        return WorkerLostError(
            f"no worker on {self._request} for {self._patience_s:g} s; its node is gone, or others use the device"
        )

    def _alive(self, actor: Any) -> bool:  # noqa: ANN401 - Ray is untyped
        asked = actor.ping.options(concurrency_group=_HEALTH, max_task_retries=0).remote()
        try:
            self._ray.get(asked, timeout=min(_HEARTBEAT_S, self._patience_s))
        except (self._ray.exceptions.GetTimeoutError, self._ray.exceptions.RayActorError):
            self._ray.cancel(asked)
            return False
        return True
