"""Tables of what a cluster or a cluster file offers, and of what a sweep needs of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from raypol.cli.console import print_tables, say
from raypol.cluster.accelerators import canonical_accelerator
from raypol.cluster.cluster_file import ClusterFile
from raypol.cluster.connection import connect
from raypol.cluster.inventory import (
    NO_AUTOSCALER,
    SIMULATED_LABEL,
    NodeOffer,
    Scalable,
    check_group,
    groups_at_once,
    listed_requests,
    node_type_of,
    nodes_to_start,
    this_machine,
)
from raypol.cluster.placement import DeviceRequest
from raypol.cluster.scaling import ClusterView, view_cluster
from raypol.core.errors import InputError
from raypol.report.tables import Table, TableColumn

_MOST_AT_ONCE = 64
"""Trials at once, beyond which the table says only that there are more."""
_NODE_ID = "ray.io/node-id"
_NUMBERS = ("CPU", "GPU", "memory GB", "live", "at most", "at once", "nodes")


def view_of(address: str | None) -> ClusterView:
    """What the cluster at an address offers; None = this machine."""
    if address is None:
        return ClusterView(nodes=(this_machine(),))
    import ray

    connect(address)
    try:
        return view_cluster()
    finally:
        ray.shutdown()


def cluster_tables(view: ClusterView, *, title: str) -> list[Table]:
    """The nodes; below them, if there is an autoscaler, the types of nodes that it can start."""
    lines: list[Sequence[str]] = []
    for node in view.nodes:
        cpus, gpus = _of(node.free_cpus, node.cpus), _of(node.free_gpus, node.gpus)
        lines.append((_name(node), cpus, gpus, _models(node), f"{node.memory_bytes / 1e9:.1f}", *_marks(node)))
    nodes = _table(title, ("node", "CPU", "GPU", "accelerators", "memory GB", "labels", "simulated"), lines)
    if not view.scalable.types:
        return [nodes]
    live = Counter(node_type_of(node, view.scalable) for node in view.nodes)
    lines = []
    for kind in view.scalable.types:
        numbers = (str(live[kind.name]), str(kind.count), f"{kind.cpus:g}", f"{kind.gpus:g}")
        lines.append((kind.name, *numbers, _models(kind), *_marks(kind)))
    title = f"node types of the autoscaler, at most {view.scalable.most} nodes in all"
    types = _table(title, ("type", "live", "at most", "CPU", "GPU", "accelerators", "labels", "simulated"), lines)
    return [nodes, types]


def needs_table(
    groups: Iterable[Sequence[DeviceRequest]],
    trials: int,
    nodes: Sequence[NodeOffer],
    scalable: Scalable = NO_AUTOSCALER,
) -> Table:
    """Table of the devices that the trials of a sweep would reserve, and whether there is room.

    Args:
        groups: devices that one trial reserves at once; equal groups are shown once.
        trials: number of trials of the whole sweep.
        nodes: live nodes.
        scalable: nodes that the autoscaler can start.
    """
    lines = []
    most = min(trials, _MOST_AT_ONCE)
    distinct: dict[tuple[DeviceRequest, ...], Sequence[DeviceRequest]] = {}
    for group in groups:
        distinct.setdefault(tuple(sorted(group, key=str)), group)
    for group in distinct.values():
        number = groups_at_once(group, nodes, scalable, most=most)
        more = "+" if number == most < trials else ""
        lines.append((listed_requests(group), f"{number}{more}", _room(group, nodes, scalable)))
    return _table(f"what the sweep needs: {trials} trials", ("a trial asks for", "at once", "room"), lines)


def _room(group: Sequence[DeviceRequest], nodes: Sequence[NodeOffer], scalable: Scalable) -> str:
    try:
        check_group(group, nodes, scalable)
    except InputError as err:
        return f"none: {err}"
    waited = nodes_to_start(group, nodes, scalable)
    if not waited:
        return "on live nodes"
    return "after the autoscaler has started " + ", ".join(f"a {kind} node for {request}" for request, kind in waited)


def device_names(offers: Sequence[NodeOffer]) -> list[str]:
    """Values of --device that these offers satisfy, GPU models by their canonical names."""
    most = max((int(offer.cpus) for offer in offers), default=0)
    found = ["cpu"] + ([f"cpu:{most}"] if most > 1 else [])
    if any(offer.gpus for offer in offers):
        models = {canonical_accelerator(name) for offer in offers for name in offer.accelerators}
        found += ["gpu", "gpu:0.5", *sorted(name for name in models if " " not in name)]
    return found


def _table(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    made = [TableColumn(name, is_number=name in _NUMBERS, wraps=name not in _NUMBERS) for name in columns]
    return Table(title=title, columns=made, lines=lines)


def _name(node: NodeOffer) -> str:
    """Host and beginning of the node's id, as in result rows: several nodes may share a host."""
    node_id = (node.labels or {}).get(_NODE_ID)
    return f"{node.name}/{node_id[:8]}" if node_id else node.name


def _of(free: float | None, total: float) -> str:
    return f"{total:g}" if free is None else f"{free:g}/{total:g}"


def _models(offer: NodeOffer) -> str:
    """Canonical names, each with Ray's where it differs."""
    names = ((canonical_accelerator(name), name) for name in offer.accelerators)
    return ", ".join(name if name == ray else f"{name} (Ray: {ray})" for name, ray in names) or "-"


def _marks(offer: NodeOffer) -> tuple[str, str]:
    """Labels, without those that have a column; whether the offer is simulated."""
    shown = {key: value for key, value in (offer.labels or {}).items() if key not in (_NODE_ID, SIMULATED_LABEL)}
    return _labels(shown), "yes" if offer.simulated else "-"


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"


def show_cluster_file(file: ClusterFile) -> None:
    """Print the node types of a cluster file, and the places that are still to be filled in."""
    columns = ("node type", "machine", "CPU", "GPU", "accelerator", "nodes", "spot", "labels")
    lines = [
        (
            node.name,
            node.machine or "-",
            *(str(node.resources.get(kind, "-")) for kind in ("CPU", "GPU")),
            node.accelerator or "-",
            "1" if node.is_head else f"{node.min_workers} to {node.max_workers}",
            "yes" if node.spot else "no",
            _labels(node.labels),
        )
        for node in file.node_types
    ]
    print_tables(_table(f"{file.path}: cluster {file.name}", columns, lines))
    say(f"valid for Ray's provider {file.provider}; one head and at most {file.max_workers} workers at once")
    if file.unfilled:
        say("still to fill in:", *(f"  {place}" for place in file.unfilled))
