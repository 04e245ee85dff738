"""What a machine or cluster offers, and whether what is asked for is among it. Pure but for the two functions that look."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from raypol.cluster.placement import DeviceRequest
from raypol.core.errors import InputError

_ACCELERATOR_PREFIX = "accelerator_type:"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOffer:
    """One machine."""

    name: str
    cpus: float
    gpus: float
    accelerators: tuple[str, ...] = ()
    """Ray's names of the GPU models on it."""
    memory_bytes: int = 0
    labels: Mapping[str, str] | None = None

    def fits(self, request: DeviceRequest) -> int:
        """How many actors with this request the whole node holds."""
        if request.kind == "cpu":
            return int(self.cpus // request.amount)
        if request.accelerator and request.accelerator not in self.accelerators:
            return 0
        # A GPU's shares do not add up across GPUs: 0.6 fits once on each.
        return int(self.gpus) * int(1 / request.amount) if request.amount <= 1 else int(self.gpus // request.amount)


def check_requests(requests: Iterable[DeviceRequest], nodes: Sequence[NodeOffer]) -> None:
    """Raise unless every request fits on some live node by itself; totals over nodes would lie.

    Raises:
        InputError: lists what is asked for and what there is.
    """
    missing = sorted({str(r) for r in requests if not any(node.fits(r) for node in nodes)})
    if missing:
        raise InputError(f"no live node offers {', '.join(missing)}; there is {describe(nodes)}")


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
