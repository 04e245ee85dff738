"""What a machine or cluster offers, and whether what is asked for is among it. Pure but for the two functions that look."""

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.placement import DeviceRequest
from raypol.core.errors import InputError

_ACCELERATOR_PREFIX = "accelerator_type:"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOffer:
    """One machine, or `count` equal ones that the autoscaler may start."""

    name: str
    cpus: float
    gpus: float
    accelerators: tuple[str, ...] = ()
    """Ray's names of the GPU models on it."""
    memory_bytes: int = 0
    labels: Mapping[str, str] | None = None
    count: int = 1
    """1 for a live node; for a node type, how many more of it can be started."""

    def fits(self, request: DeviceRequest) -> int:
        """How many actors with this request the whole node holds. A model counts only under the very name that Ray has for it."""
        if request.kind == "cpu":
            return int(self.cpus // request.amount)
        if request.accelerator and request.accelerator not in self.accelerators:
            return 0
        # A GPU's shares do not add up across GPUs: 0.6 fits once on each.
        return int(self.gpus) * int(1 / request.amount) if request.amount <= 1 else int(self.gpus // request.amount)


def resolve(request: DeviceRequest, offers: Iterable[NodeOffer]) -> DeviceRequest:
    """The request with its model spelled as the nodes spell it; Ray matches names and knows no aliases.

    Where nodes spell one model in several ways, the spelling of most GPUs is taken: one request has one name. A model that
    nobody offers stays canonical. Resolving again changes nothing.
    """
    if not request.accelerator:
        return request
    canonical = canonical_accelerator(request.accelerator)
    gpus: Counter[str] = Counter()
    for offer in offers:
        for name in offer.accelerators:
            if canonical_accelerator(name) == canonical:
                gpus[name] += int(offer.gpus) * offer.count
    best = min(gpus, key=lambda name: (-gpus[name], name != canonical, name), default=canonical)
    return replace(request, accelerator=best)


def check_requests(requests: Iterable[DeviceRequest], nodes: Sequence[NodeOffer]) -> None:
    """Raise unless every request fits on some live node by itself; totals over nodes would lie.

    Raises:
        InputError: lists what is asked for and what there is.
    """
    missing = sorted({str(r) for r in requests if not any(node.fits(r) for node in nodes)})
    if missing:
        raise InputError(f"no live node offers {', '.join(missing)}; there is {describe(nodes)}")


def allot(requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], most: int) -> dict[DeviceRequest, int]:
    """How many actors of each request to start so that all of them run at once: one each, then in turn what still fits.

    Actors that do not fit would wait for a device without a word, for as long as the others live.

    Args:
        requests: distinct ones.
        nodes: the live nodes.
        most: at most so many actors per request.

    Returns:
        Count by request, the hardest to place first: they should be started in this order.

    Raises:
        InputError: not even one of each fits beside the others; lists what is asked for and what there is.
    """
    check_requests(requests, nodes)
    free = [_Free(node) for node in nodes]
    # The hardest to place first: named models before any GPU, large before small.
    order = sorted(requests, key=lambda r: (not r.accelerator, -r.amount))
    counts = dict.fromkeys(order, 0)
    for request in order:
        if not any(node.take(request) for node in free):
            asked = " beside ".join(map(str, requests))
            raise InputError(f"the live nodes do not offer {asked} at the same time; there is {describe(nodes)}")
        counts[request] = 1
    growing = [request for request in order if most > 1]
    while growing:
        for request in tuple(growing):
            counts[request] += any(node.take(request) for node in free)
        growing = [request for request in growing if counts[request] < most and any(node.has(request) for node in free)]
    return counts


class _Free:
    """What is left of one node while actors are placed on it."""

    def __init__(self, node: NodeOffer) -> None:
        self._node = node
        self._cpus = int(node.cpus)
        self._gpus = [10_000] * int(node.gpus)  # in Ray's smallest share, so that sums are exact

    def has(self, request: DeviceRequest) -> bool:
        """True if one more actor with this request fits."""
        if request.kind == "cpu":
            return self._cpus >= request.amount
        return self._node.fits(request) > 0 and self._places(request) != []

    def take(self, request: DeviceRequest) -> bool:
        """Place one actor here, if it fits."""
        if not self.has(request):
            return False
        if request.kind == "cpu":
            self._cpus -= int(request.amount)
        else:
            share = round(min(request.amount, 1.0) * 10_000)
            for gpu in self._places(request):
                self._gpus[gpu] -= share
        return True

    def _places(self, request: DeviceRequest) -> list[int]:
        """The GPUs that one actor would use; empty if there are too few. The fullest that still take a share come first."""
        share, needed = round(min(request.amount, 1.0) * 10_000), max(int(request.amount), 1)
        able = sorted((left, i) for i, left in enumerate(self._gpus) if left >= share)
        return [i for _, i in able[:needed]] if len(able) >= needed else []


def describe(nodes: Sequence[NodeOffer]) -> str:
    """All nodes in one line."""
    if not nodes:
        return "no live node"
    return "; ".join(
        f"{node.name}: {node.cpus:g} CPU"
        + (f", {node.gpus:g} GPU ({', '.join(node.accelerators) or 'model unknown'})" if node.gpus else ", no GPU")
        for node in nodes
    )


def offers_from_ray(nodes: Iterable[Mapping[str, Any]]) -> list[NodeOffer]:
    """Live nodes from `ray.nodes()`."""
    offers = []
    for node in nodes:
        if not node.get("Alive"):
            continue
        resources = node.get("Resources", {})
        offers.append(
            NodeOffer(
                name=str(node.get("NodeManagerHostname") or node.get("NodeID", "?")),
                cpus=float(resources.get("CPU", 0.0)),
                gpus=float(resources.get("GPU", 0.0)),
                accelerators=tuple(
                    sorted(
                        key.removeprefix(_ACCELERATOR_PREFIX)
                        for key in resources
                        if key.startswith(_ACCELERATOR_PREFIX)
                    )
                ),
                memory_bytes=int(resources.get("memory", 0)),
                labels=dict(node.get("Labels", {})),
            )
        )
    return offers


def this_machine() -> NodeOffer:
    """What this process sees here, without Ray."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return NodeOffer(
        name=platform.node() or "this machine",
        cpus=float(usable_cores()),
        gpus=float(gpus),
        accelerators=tuple(sorted({torch.cuda.get_device_name(i) for i in range(gpus)})),
        memory_bytes=int(psutil.virtual_memory().total),
    )


def usable_cores() -> int:
    """Cores that this process may run on; a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(torch_device: str) -> str:
    """The model as the driver or the kernel reports it."""
    if torch_device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(torch.device(torch_device))
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
