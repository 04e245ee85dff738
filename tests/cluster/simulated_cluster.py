"""Run by test_scaling.py in a process of its own: several nodes with declared GPUs on this machine. Prints what it saw as JSON.

Nothing here asserts; the tests do.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from rich.console import Console

from raypol.cli.cluster_tables import cluster_tables
from raypol.cluster.connection import ray_folder
from raypol.cluster.inventory import SIMULATED_LABEL, check_group, resolve
from raypol.cluster.placement import DeviceRequest, parse_devices, ray_options
from raypol.cluster.scaling import scalable_offers, view_cluster
from raypol.core.errors import InputError
from raypol.report.tables import to_terminal
from tests.cluster.clusters import AUTOSCALED, GROUPS

_SHORT_S = 1.0
"""A group that has room is placed in milliseconds."""
_STORE = 80 << 20


class Where:
    """An actor that tells where it is."""

    def tell(self) -> dict[str, Any]:
        """Node, placement group and resources."""
        group = ray.util.get_current_placement_group()
        return {
            "node": ray.get_runtime_context().get_node_id(),
            "group": group.id.hex() if group else "",
            "resources": ray.get_runtime_context().get_assigned_resources(),
        }


def placed(requests: list[DeviceRequest]) -> bool:
    """Whether Ray itself finds room for them at once."""
    group = placement_group([request.bundle() for request in requests])
    end = time.monotonic() + _SHORT_S
    try:
        while time.monotonic() < end:
            if group.wait(0.1):
                return True
            if placement_group_table(group)["stats"]["scheduling_state"] == "INFEASIBLE":
                return False
        return False
    finally:
        remove_placement_group(group)
        time.sleep(0.1)  # until what it held is free again


def actors_in_a_group(requests: list[DeviceRequest]) -> dict[str, Any]:
    """An actor per request in one placement group, without a word about which bundle is whose."""
    group = placement_group([request.bundle() for request in requests])
    if not group.wait(30):
        return {"placed": False}
    strategy = PlacementGroupSchedulingStrategy(placement_group=group)
    actors = [
        ray.remote(Where).options(**ray_options(request), scheduling_strategy=strategy).remote() for request in requests
    ]
    told = ray.get([actor.tell.remote() for actor in actors], timeout=200)
    seen = {
        "placed": True,
        "group": group.id.hex(),
        "bundles": list(placement_group_table(group)["bundles_to_node_id"].values()),
        "actors": told,
        "free": [(node.free_cpus, node.free_gpus) for node in view_cluster().nodes],
    }
    for actor in actors:
        ray.kill(actor)
    remove_placement_group(group)
    return seen


def report_types_to_gcs() -> None:
    """What later versions of Ray's autoscaler do."""
    from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig

    config = ClusterConfig()
    for name, most, resources in (
        ("gcs_t4", 3, {"CPU": 4, "GPU": 1, "accelerator_type:T4": 1}),
        ("head", 0, {"CPU": 1}),
    ):
        group = NodeGroupConfig(name=name, min_count=0, max_count=most)
        for key, value in resources.items():
            group.resources[key] = value
        config.node_group_configs.append(group)
    ray._private.worker.global_worker.gcs_client.report_cluster_config(config.SerializeToString())


def main() -> None:
    """All of it, in one cluster."""
    quiet = {"include_dashboard": False, "object_store_memory": _STORE}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0, "temp_dir": ray_folder(), **quiet}
    )
    simulated = {SIMULATED_LABEL: "true"}
    for gpus, name in ((1, "GeForce-RTX-2080-Ti"), (2, "T4")):
        cluster.add_node(
            num_cpus=1,
            num_gpus=gpus,
            resources={f"accelerator_type:{name}": 1},
            labels={**simulated, "ray.io/accelerator-type": name},
            object_store_memory=_STORE,
        )
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    seen: dict[str, Any] = {}
    try:
        view = view_cluster()
        seen["nodes"] = [
            [node.cpus, node.free_cpus, node.gpus, node.free_gpus, list(node.accelerators), node.simulated]
            for node in view.nodes
        ]
        seen["scalable"] = len(view.scalable.types)
        console = Console(width=200)
        with console.capture() as shown:
            console.print(*map(to_terminal, cluster_tables(view, title="three nodes")))
        seen["shown"] = shown.get()

        requests = [resolve(request, view.nodes) for request in parse_devices("RTX2080Ti,T4:0.5,T4,cpu")]
        seen["in_group"] = actors_in_a_group(requests)
        seen["unresolved"] = placed(list(parse_devices("RTX2080Ti")))
        seen["verdicts"] = {}
        for text in GROUPS:
            group = [request for part in text.split() for request in parse_devices(part)]
            try:
                check_group(group, view.nodes)
                fits = True
            except InputError:
                fits = False
            seen["verdicts"][text] = [fits, placed([resolve(request, view.nodes) for request in group])]

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bootstrap.yaml"
            path.write_text(json.dumps(AUTOSCALED))
            words = [f"--gcs-address={cluster.address}", f"--autoscaling-config={path}"]
            monitor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", *words])
            try:
                seen["from_file"] = [[kind.name, kind.count] for kind in scalable_offers().types]
                elsewhere = ray.remote(scalable_offers).options(num_cpus=0, num_gpus=1, accelerator_type="T4")
                found = ray.get(elsewhere.remote(), timeout=200)
                seen["from_another_node"] = [[kind.name, kind.count] for kind in found.types]
            finally:
                monitor.kill()
                monitor.wait()
        report_types_to_gcs()
        seen["reported"] = [[kind.name, kind.count, list(kind.accelerators)] for kind in scalable_offers().types]
    finally:
        ray.shutdown()
        cluster.shutdown()
    sys.stdout.write("\n" + json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
