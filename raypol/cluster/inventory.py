"""What a machine or cluster offers, and whether what is asked for is among it. Pure but for the two functions that look."""

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psutil
import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.packing import Packing, Space, hardest_first, pack
from raypol.cluster.placement import DeviceRequest
from raypol.core.errors import InputError

SIMULATED_LABEL: Final = "raypol/simulated"
"""Node label, "true" where GPUs are only declared."""
_TYPE_LABEL: Final = "ray.io/node-group"
_ACCELERATOR_PREFIX: Final = "accelerator_type:"
_MOST_DESCRIBED: Final = 8
"""Nodes of one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOffer:
    """One machine, or a type of machines that the autoscaler can start."""

    name: str
    cpus: float
    gpus: float
    accelerators: tuple[str, ...] = ()
    """Ray's names of the GPU models on it."""
    memory_bytes: int = 0
    labels: Mapping[str, str] | None = None
    free_cpus: float | None = None
    """Not taken by anybody; None = unknown."""
    free_gpus: float | None = None
    node_type: str = ""
    """Of the autoscaler's types; empty = none or unknown."""
    count: int = 1
    """1 for a machine; for a type, how many machines of it there may be, those that live included."""

    @property
    def simulated(self) -> bool:
        """True if its GPUs are only declared."""
        return (self.labels or {}).get(SIMULATED_LABEL) == "true"

    @property
    def space(self) -> Space:
        """The whole of it, for packing."""
        return Space.of(self.cpus, self.gpus, self.accelerators)

    def fits(self, request: DeviceRequest) -> int:
        """How many actors with this request the whole node holds. A model counts only under the very name that Ray has for it."""
        if request.kind == "cpu":
            return int(self.cpus // request.amount)
        if request.accelerator and request.accelerator not in self.accelerators:
            return 0
        # A GPU's shares do not add up across GPUs: 0.6 fits once on each.
        return int(self.gpus) * int(1 / request.amount) if request.amount <= 1 else int(self.gpus // request.amount)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalable:
    """What the autoscaler can start. Without one: nothing."""

    types: tuple[NodeOffer, ...] = ()
    most: int = field(default=0)
    """How many machines of all types together there may be, those that live included."""

    def left(self, nodes: Sequence[NodeOffer]) -> "Scalable":
        """What can still be started beside these nodes."""
        live = Counter(node_type_of(node, self) for node in nodes)
        del live[""]
        return Scalable(
            types=tuple(replace(kind, count=max(kind.count - live[kind.name], 0)) for kind in self.types),
            most=max(self.most - live.total(), 0),
        )


NOTHING: Final = Scalable()


def node_type_of(node: NodeOffer, scalable: Scalable) -> str:
    """Which of the autoscaler's types a live node is; empty if none.

    Not every provider tells the node; then the type with the same resources is taken.
    """
    names = [kind.name for kind in scalable.types]
    if node.node_type:
        return node.node_type if node.node_type in names else ""
    same = (kind.name for kind in scalable.types if kind.space == node.space)
    return next(same, "")


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


def check_requests(requests: Iterable[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NOTHING) -> None:
    """Raise unless every request fits by itself on some live node or one that can be started; totals over nodes would lie.

    Raises:
        InputError: lists what is asked for, what there is, and what can be started.
    """
    offers = [*nodes, *(kind for kind in scalable.types if kind.count and scalable.most)]
    missing = {
        str(request): request
        for request in (resolve(request, offers) for request in requests)
        if not any(offer.fits(request) for offer in offers)
    }
    if missing:
        who = (
            "no live node offers"
            if not scalable.types
            else "no live node and no type that the autoscaler can start offers"
        )
        hints = sorted(filter(None, (_near(request, offers) for request in missing.values())))
        raise InputError("; ".join([f"{who} {', '.join(sorted(missing))}", describe(nodes, scalable), *hints]))


def check_group(requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NOTHING) -> None:
    """Raise unless all requests can be placed at once on the cluster at its largest, whatever runs there now.

    For one trial's placement group, which would wait for ever without a word. What is refused here has no room. The reverse
    does not hold for shares of GPUs: Ray adds them up over a node's GPUs when it chooses nodes, and may choose one for ever
    that cannot hold them. Waits stay bounded for that.

    Raises:
        InputError: lists what is asked for, what there is, and what can be started.
    """
    check_requests(requests, nodes, scalable)
    if not _pack_largest(requests, nodes, scalable).feasible:
        raise InputError(f"no room for {listed(requests)} at the same time; {describe(nodes, scalable)}")


def gpu_models(nodes: Sequence[NodeOffer], scalable: Scalable = NOTHING) -> list[str]:
    """Canonical names of the GPU models of a cluster; first what there is most of now, then what most can be started of."""
    live, later = Counter[str](), Counter[str]()
    for node in nodes:
        live.update({canonical_accelerator(name): int(node.gpus) for name in node.accelerators})
    for kind in scalable.types:
        later.update({canonical_accelerator(name): int(kind.gpus) * kind.count for name in kind.accelerators})
    return sorted({*live, *later}, key=lambda name: (-live[name], -later[name], name))


def wait_needed(
    requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NOTHING
) -> tuple[tuple[DeviceRequest, str], ...]:
    """What the autoscaler must start before all requests can be placed at once; empty if the live nodes are enough.

    What runs there now is not looked at: busy nodes are waited for too, but no machine must come.

    Returns:
        A request and the type of node that is started for its sake, for each node to be started.
    """
    resolved = _resolved(requests, nodes, scalable)
    if pack(resolved, [node.space for node in nodes]).feasible:
        return ()
    left = scalable.left(nodes)
    packing = pack(resolved, [node.space for node in nodes], _types(left), left.most)
    return packing.started if packing.feasible else _pack_largest(requests, nodes, scalable).started


def at_once(
    group: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NOTHING, *, most: int
) -> int:
    """How many equal groups, at most `most`, have room at the same time on the cluster at its largest; 0 if not even one."""
    few, many = 0, most
    while few < many:
        middle = (few + many + 1) // 2
        if _pack_largest([*group] * middle, nodes, scalable).feasible:
            few = middle
        else:
            many = middle - 1
    return few


def _pack_largest(requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable) -> Packing:
    resolved = _resolved(requests, nodes, scalable)
    live = pack(resolved, [node.space for node in nodes])
    if live.feasible or not scalable.types:
        return live
    # Nodes that the autoscaler started may end when idle and make room for other types under its limit.
    lasting = [node.space for node in nodes if not node_type_of(node, scalable)]
    return pack(resolved, lasting, _types(scalable), scalable.most)


def _types(scalable: Scalable) -> dict[str, tuple[Space, int]]:
    return {kind.name: (kind.space, kind.count) for kind in scalable.types}


def _resolved(requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable) -> list[DeviceRequest]:
    return [resolve(request, [*nodes, *scalable.types]) for request in requests]


def _near(request: DeviceRequest, offers: Sequence[NodeOffer]) -> str:
    """A name among the offers that the same card may have, but so may another."""
    plain = {name for offer in offers for name in offer.accelerators if request.accelerator.startswith(f"{name}-")}
    return "".join(
        f"{name} may or may not be {request.accelerator}: Ray gives both that name under old drivers; ask for {name}, or let "
        "the node join under its own name"
        for name in sorted(plain)
    )


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
    free = [node.space for node in nodes]
    order = hardest_first(requests)
    named = {request: resolve(request, nodes) for request in order}
    counts = dict.fromkeys(order, 0)
    for request in order:
        if not _take(named[request], free):
            asked = " beside ".join(map(str, requests))
            raise InputError(f"the live nodes do not offer {asked} at the same time; {describe(nodes)}")
        counts[request] = 1
    growing = order
    while growing := [request for request in growing if counts[request] < most and _take(named[request], free)]:
        for request in growing:
            counts[request] += 1
    return counts


def _take(request: DeviceRequest, free: list[Space]) -> bool:
    """Place one actor on the first node that has room."""
    for i, space in enumerate(free):
        for rest in space.after(request):
            free[i] = rest
            return True
    return False


def listed(requests: Sequence[DeviceRequest]) -> str:
    """Requests with how often each is asked for: "cpu, 2 x T4"."""
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in Counter(map(str, requests)).items())


def describe(nodes: Sequence[NodeOffer], scalable: Scalable = NOTHING) -> str:
    """All nodes, and what can be started, in one line."""
    words = [f"{node.name}: {_devices(node)}" for node in nodes[:_MOST_DESCRIBED]]
    words += [f"{len(nodes) - _MOST_DESCRIBED} more"] if len(nodes) > _MOST_DESCRIBED else []
    text = "there is " + ("; ".join(words) or "no live node")
    kinds = "; ".join(f"{kind.name}: {_devices(kind)}, up to {kind.count}" for kind in scalable.types if kind.count)
    limit = f", {scalable.most} nodes in all" if scalable.most < sum(kind.count for kind in scalable.types) else ""
    return text + (f"; the autoscaler can start {kinds}{limit}" if kinds else "")


def _devices(node: NodeOffer) -> str:
    models = ", ".join(dict.fromkeys(map(canonical_accelerator, node.accelerators))) or "model unknown"
    return f"{node.cpus:g} CPU, " + (f"{node.gpus:g} GPU ({models})" if node.gpus else "no GPU")


def offers_from_ray(
    nodes: Iterable[Mapping[str, Any]], available: Mapping[str, Mapping[str, float]] | None = None
) -> list[NodeOffer]:
    """Live nodes from `ray.nodes()`.

    Args:
        nodes: as Ray tells them.
        available: what of each node's resources nobody has taken, by node id; None = unknown.
    """
    offers = []
    for node in nodes:
        if not node.get("Alive"):
            continue
        free = None if available is None else available.get(str(node.get("NodeID")), {})
        offer = offer_from_resources(
            str(node.get("NodeManagerHostname") or node.get("NodeID", "?")),
            node.get("Resources", {}),
            node.get("Labels", {}),
        )
        offers.append(
            replace(
                offer,
                free_cpus=None if free is None else float(free.get("CPU", 0.0)),
                free_gpus=None if free is None else float(free.get("GPU", 0.0)),
                node_type=(offer.labels or {}).get(_TYPE_LABEL, ""),
            )
        )
    return offers


def offer_from_resources(
    name: str, resources: Mapping[str, float], labels: Mapping[str, str] | None = None, *, count: int = 1
) -> NodeOffer:
    """The offer behind Ray's resources and labels of a node or a type of nodes."""
    models = (key.removeprefix(_ACCELERATOR_PREFIX) for key in resources if key.startswith(_ACCELERATOR_PREFIX))
    return NodeOffer(
        name=name,
        cpus=float(resources.get("CPU", 0.0)),
        gpus=float(resources.get("GPU", 0.0)),
        accelerators=tuple(sorted(models)),
        memory_bytes=int(resources.get("memory", 0)),
        labels=dict(labels or {}),
        count=count,
    )


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
