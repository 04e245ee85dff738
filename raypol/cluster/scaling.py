"""Live nodes of a Ray cluster, and nodes that its autoscaler can start. All uses of Ray's private modules for this are here.

The types of nodes that the autoscaler can start are read from two places. The cluster's state has a field for them, which Ray
2.60's own autoscalers leave empty and later ones fill in. Else the autoscaler's process on the head names its configuration
file on its command line: `~/ray_bootstrap_config.yaml` under `ray up`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from raypol.cluster.cluster_file import ClusterFile
from raypol.cluster.inventory import NO_AUTOSCALER, NodeOffer, Scalable, offer_from_resources, offers_from_ray

_log = logging.getLogger(__name__)

_HEAD_RESOURCE: Final = "node:__internal_head__"
_TASK_S: Final = 6.0
"""Longest wait for the head's file from another node, which includes the start of a worker."""
_UNBOUNDED: Final = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterView:
    """Nodes of a cluster at one moment."""

    nodes: tuple[NodeOffer, ...]
    scalable: Scalable = NO_AUTOSCALER


def view_cluster() -> ClusterView:
    """View the connected cluster, in a few seconds at most; unknown parts count as absent."""
    return ClusterView(nodes=live_nodes(), scalable=scalable_offers())


def live_nodes() -> tuple[NodeOffer, ...]:
    """Nodes of the connected cluster with their free devices, without a wait."""
    import ray

    return tuple(offers_from_ray(ray.nodes(), _free_resources()))


def scalable_offers() -> Scalable:
    """Machines that the connected cluster's autoscaler can start."""
    for source in (_reported_types, _types_of_file):
        try:
            found = source()
        except Exception as err:  # Ray's private modules differ between versions
            _log.debug("no node types from %s: %r", source.__name__, err)
            continue
        if found.types:
            return found
    return NO_AUTOSCALER


def view_of_file(file: ClusterFile) -> ClusterView:
    """View the cluster that a file for `ray up` describes: its head, and the nodes that it can start."""
    offers = [
        (kind, offer_from_resources(kind.name, kind.resources, kind.labels, count=kind.max_workers))
        for kind in file.node_types
    ]
    return ClusterView(
        nodes=tuple(replace(offer, count=1) for kind, offer in offers if kind.is_head),
        scalable=Scalable(types=tuple(offer for _, offer in offers if offer.count), most=file.max_workers),
    )


def types_from_config(config: Mapping[str, Any]) -> Scalable:
    """Node types of a cluster file, without the head's."""
    head = config.get("head_node_type")
    types = config.get("available_node_types")
    if not isinstance(types, Mapping):
        return NO_AUTOSCALER
    most = int(config.get("max_workers", _UNBOUNDED))
    offers = []
    for name, data in types.items():
        resources, labels = data.get("resources") or {}, data.get("labels") or {}
        count = min(int(data.get("max_workers", 0 if name == head else most)), most)
        if count > 0 and resources:
            offers.append(offer_from_resources(str(name), resources, labels, count=count))
    return Scalable(types=tuple(offers), most=most)


def _reported_types() -> Scalable:
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return NO_AUTOSCALER
    offers = [
        offer_from_resources(
            group.name, dict(group.resources), count=_UNBOUNDED if group.max_count < 0 else group.max_count
        )
        for group in config.node_group_configs
        if group.max_count and group.resources
    ]
    return Scalable(types=tuple(offers), most=_UNBOUNDED)  # it has no limit over all types


def _free_resources() -> Mapping[str, Mapping[str, float]] | None:
    try:
        from ray._private.state import available_resources_per_node

        free: Mapping[str, Mapping[str, float]] = available_resources_per_node()
    except Exception as err:
        _log.debug("free resources of the nodes are unknown: %r", err)
        return None
    return free


def _config_text() -> str:
    """Content of the autoscaler's configuration file on the head; empty if there is none."""
    import ray

    context = ray.get_runtime_context()
    head = next((n for n in ray.nodes() if n.get("Alive") and _HEAD_RESOURCE in n.get("Resources", {})), None)
    if head is None:
        return ""
    if head["NodeID"] == context.get_node_id():
        return config_text_here(context.gcs_address)
    task = ray.remote(config_text_here).options(num_cpus=0, resources={_HEAD_RESOURCE: 0.001}, max_retries=0)
    answer = task.remote(context.gcs_address)
    try:
        text: str = ray.get(answer, timeout=_TASK_S)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(answer, force=True)
        raise
    return text


def config_text_here(gcs_address: str) -> str:
    """Content of the configuration file of this cluster's autoscaler on this machine; empty if there is none."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        given = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
        # The host may be spelled otherwise (a name, an IP), the port is the same.
        if "--autoscaling-config" in given and given.get("--gcs-address", "").endswith(
            ":" + gcs_address.rpartition(":")[2]
        ):
            path = Path(given["--autoscaling-config"]).expanduser()
            if path.is_file():
                return path.read_text()
    return ""


def _types_of_file() -> Scalable:
    import yaml

    text = _config_text()
    return types_from_config(yaml.safe_load(text)) if text else NO_AUTOSCALER
