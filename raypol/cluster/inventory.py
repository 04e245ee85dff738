"""Nodes of a cluster, and whether requests for devices fit on them. Pure, except for the functions about this machine."""

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psutil
import torch

from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.packing import Packing, Space, hardest_first, pack_actors
from raypol.cluster.placement import DeviceRequest
from raypol.core.errors import InputError

SIMULATED_LABEL: Final = "raypol/simulated"
"""Node label: "true" where GPUs are only declared."""
_TYPE_LABEL: Final = "ray.io/node-group"
_ACCELERATOR_PREFIX: Final = "accelerator_type:"
_MOST_DESCRIBED: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOffer:
    """A machine, or a type of machines that the autoscaler can start."""

    name: str
    cpus: float
    gpus: float
    accelerators: tuple[str, ...] = ()
    """Ray's names of its GPU models."""
    memory_bytes: int = 0
    labels: Mapping[str, str] | None = None
    free_cpus: float | None = None
    """Unused now, like `free_gpus`; None = unknown."""
    free_gpus: float | None = None
    node_type: str = ""
    """Name of its type at the autoscaler; empty = none or unknown."""
    count: int = 1
    """1 for a machine; for a type, the largest number of machines, live ones included."""

    @property
    def simulated(self) -> bool:
        """True if its GPUs are only declared."""
        return (self.labels or {}).get(SIMULATED_LABEL) == "true"

    @property
    def space(self) -> Space:
        """The empty node, for packing."""
        return Space.of(self.cpus, self.gpus, self.accelerators)

    def fits(self, request: DeviceRequest) -> int:
        """How many actors with this request the empty node holds. A model counts only under Ray's exact name for it."""
        if request.kind == "cpu":
            return int(self.cpus // request.amount)
        if request.accelerator and request.accelerator not in self.accelerators:
            return 0
        # Shares do not add up across GPUs: 0.6 fits once on each.
        return int(self.gpus) * int(1 / request.amount) if request.amount <= 1 else int(self.gpus // request.amount)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalable:
    """Types of machines that the autoscaler can start."""

    types: tuple[NodeOffer, ...] = ()
    most: int = field(default=0)
    """Largest number of machines of all types together, live ones included."""

    def left(self, nodes: Sequence[NodeOffer]) -> "Scalable":
        """Machines that can still be started beside these nodes."""
        live = Counter(node_type_of(node, self) for node in nodes)
        del live[""]
        return Scalable(
            types=tuple(replace(kind, count=max(kind.count - live[kind.name], 0)) for kind in self.types),
            most=max(self.most - live.total(), 0),
        )


NO_AUTOSCALER: Final = Scalable()


def node_type_of(node: NodeOffer, scalable: Scalable) -> str:
    """Name of a live node's type at the autoscaler; empty if it has none.

    Not every provider labels its nodes: otherwise the type with the same resources is taken.
    """
    names = [kind.name for kind in scalable.types]
    if node.node_type:
        return node.node_type if node.node_type in names else ""
    same = (kind.name for kind in scalable.types if kind.space == node.space)
    return next(same, "")


def resolve(request: DeviceRequest, offers: Iterable[NodeOffer]) -> DeviceRequest:
    """Spell the model of a request as the nodes spell it; Ray matches names and knows no aliases.

    Where nodes spell one model in several ways, the spelling of most GPUs is taken: one request has one name. A model without
    any offer stays canonical. Resolving again changes nothing.
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


def check_requests(
    requests: Iterable[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NO_AUTOSCALER
) -> None:
    """Make sure that each request by itself fits on a live node or one that can be started; totals over nodes would mislead.

    Raises:
        InputError: lists the requests that do not fit, the live nodes, and the nodes that can be started.
    """
    offers = [*nodes, *(kind for kind in scalable.types if kind.count and scalable.most)]
    missing = {
        str(request): request
        for request in (resolve(request, offers) for request in requests)
        if not any(offer.fits(request) for offer in offers)
    }
    if missing:
        who = "no live node and no type that the autoscaler can start" if scalable.types else "no live node"
        hints = sorted(filter(None, (_near(request, offers) for request in missing.values())))
        raise InputError(
            "; ".join([f"{who} offers {', '.join(sorted(missing))}", describe_nodes(nodes, scalable), *hints])
        )


def check_group(
    requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NO_AUTOSCALER
) -> None:
    """Make sure that all requests can be placed at once on the cluster at its largest, whatever runs there now.

    A trial's placement group without room would wait for ever without a word. A group that is accepted may still have no room
    if it has shares of GPUs: Ray adds them up over a node's GPUs when it chooses a node, and may keep choosing one that
    cannot hold them. That is why waits stay bounded.

    Raises:
        InputError: lists the requests, the live nodes, and the nodes that can be started.
    """
    check_requests(requests, nodes, scalable)
    if not _pack_largest(requests, nodes, scalable).feasible:
        raise InputError(f"no room for {listed_requests(requests)} at the same time; {describe_nodes(nodes, scalable)}")


def gpu_models(nodes: Sequence[NodeOffer], scalable: Scalable = NO_AUTOSCALER) -> list[str]:
    """Canonical names of a cluster's GPU models, by the number of live GPUs, then of GPUs that can be started."""
    live, later = Counter[str](), Counter[str]()
    for node in nodes:
        live.update({canonical_accelerator(name): int(node.gpus) for name in node.accelerators})
    for kind in scalable.types:
        later.update({canonical_accelerator(name): int(kind.gpus) * kind.count for name in kind.accelerators})
    return sorted({*live, *later}, key=lambda name: (-live[name], -later[name], name))


def nodes_to_start(
    requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NO_AUTOSCALER
) -> tuple[tuple[DeviceRequest, str], ...]:
    """Nodes that the autoscaler must start before all requests can be placed at once; empty if the live nodes are enough.

    Live nodes count whole, busy or not: waiting for a busy node needs no new machine.

    Returns:
        For each node, the request that needs it and the node's type.
    """
    resolved = _resolved(requests, nodes, scalable)
    if pack_actors(resolved, [node.space for node in nodes]).feasible:
        return ()
    left = scalable.left(nodes)
    packing = pack_actors(resolved, [node.space for node in nodes], _types(left), left.most)
    return packing.started if packing.feasible else _pack_largest(requests, nodes, scalable).started


def groups_at_once(
    group: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable = NO_AUTOSCALER, *, most: int
) -> int:
    """How many equal groups, at most `most`, have room at the same time on the cluster at its largest."""
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
    live = pack_actors(resolved, [node.space for node in nodes])
    if live.feasible or not scalable.types:
        return live
    # Idle nodes of the autoscaler may end and make room for other types under its limit.
    lasting = [node.space for node in nodes if not node_type_of(node, scalable)]
    return pack_actors(resolved, lasting, _types(scalable), scalable.most)


def _types(scalable: Scalable) -> dict[str, tuple[Space, int]]:
    return {kind.name: (kind.space, kind.count) for kind in scalable.types}


def _resolved(requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable) -> list[DeviceRequest]:
    return [resolve(request, [*nodes, *scalable.types]) for request in requests]


def _near(request: DeviceRequest, offers: Sequence[NodeOffer]) -> str:
    """Hint at an offered name that may or may not mean the same card."""
    plain = {name for offer in offers for name in offer.accelerators if request.accelerator.startswith(f"{name}-")}
    return "".join(
        f"{name} may or may not be {request.accelerator}: Ray gives both that name under old drivers; ask for {name}, or let "
        "the node join under its own name"
        for name in sorted(plain)
    )


def allot(requests: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], most: int) -> dict[DeviceRequest, int]:
    """How many actors of each request to start so that all run at once: one of each, then more in turn while they fit.

    An actor without room would wait for a device without a word, for as long as the others live.

    Args:
        requests: distinct ones.
        nodes: the live nodes.
        most: limit of actors per request.

    Returns:
        Count by request, the hardest to place first; they should be started in this order.

    Raises:
        InputError: one actor of each does not fit at once; lists the requests and the live nodes.
    """
    check_requests(requests, nodes)
    free = [node.space for node in nodes]
    order = hardest_first(requests)
    named = {request: resolve(request, nodes) for request in order}
    counts = dict.fromkeys(order, 0)
    for request in order:
        if not _take(named[request], free):
            asked = " beside ".join(map(str, requests))
            raise InputError(f"the live nodes do not offer {asked} at the same time; {describe_nodes(nodes)}")
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


def listed_requests(requests: Sequence[DeviceRequest]) -> str:
    """Requests with their numbers: "cpu, 2 x T4"."""
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in Counter(map(str, requests)).items())


def describe_nodes(nodes: Sequence[NodeOffer], scalable: Scalable = NO_AUTOSCALER) -> str:
    """Live nodes, and nodes that can be started, in one line."""
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
        nodes: as Ray lists them.
        available: unused resources by node id; None = unknown.
    """
    offers = []
    for node in nodes:
        if node.get("Alive"):
            free = None if available is None else available.get(str(node.get("NodeID")), {})
            name = str(node.get("NodeManagerHostname") or node.get("NodeID", "?"))
            offers.append(offer_from_resources(name, node.get("Resources", {}), node.get("Labels"), free=free))
    return offers


def offer_from_resources(
    name: str,
    resources: Mapping[str, float],
    labels: Mapping[str, str] | None = None,
    *,
    free: Mapping[str, float] | None = None,
    count: int = 1,
) -> NodeOffer:
    """Convert Ray's resources and labels of a node or a type of nodes; `free` are its unused resources."""
    models = (key.removeprefix(_ACCELERATOR_PREFIX) for key in resources if key.startswith(_ACCELERATOR_PREFIX))
    return NodeOffer(
        name=name,
        cpus=float(resources.get("CPU", 0.0)),
        gpus=float(resources.get("GPU", 0.0)),
        accelerators=tuple(sorted(models)),
        memory_bytes=int(resources.get("memory", 0)),
        labels=dict(labels or {}),
        free_cpus=None if free is None else float(free.get("CPU", 0.0)),
        free_gpus=None if free is None else float(free.get("GPU", 0.0)),
        node_type=(labels or {}).get(_TYPE_LABEL, ""),
        count=count,
    )


def this_machine() -> NodeOffer:
    """Offer of this machine, without Ray."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return NodeOffer(
        name=platform.node() or "this machine",
        cpus=float(usable_cores()),
        gpus=float(gpus),
        accelerators=tuple(sorted({torch.cuda.get_device_name(i) for i in range(gpus)})),
        memory_bytes=int(psutil.virtual_memory().total),
    )


def usable_cores() -> int:
    """Number of cores that this process may use; a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
