"""Ray's own autoscaler starts the node types of cluster.yaml, here simulated by processes on this machine.

By Ray's fake multi-node provider, in both versions of the autoscaler: `ray up` starts the second, `ray start` alone the first.
The wheel lacks the provider's default configuration: everything is given here, and the provider is called an external one,
for which Ray looks for no defaults.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest

from raypol.cluster.cluster_file import ClusterFile, read_cluster_file
from raypol.cluster.placement import parse_device, ray_options
from tests.system.private_ray import eventually, free_port, short_folder, start_head

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / "sweeps" / "quickstart.py"
_REFUSED_S = 20.0
"""10 s for the answer, and imports and starts on a busy machine."""
# The fake provider knows no other head.
_HEAD_ID = "f" * 51 + "0" * 5
_HEAD = "ray.head.default"


def simulated(cluster: ClusterFile, address: str) -> dict[str, Any]:
    """The configuration of a cluster with the same node types on this machine."""
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    types = {
        node.name: {
            "resources": dict(node.resources),
            "labels": {**node.labels, "raypol/simulated": "true"},
            "min_workers": node.min_workers,
            "max_workers": node.max_workers,
            "node_config": {},
        }
        for node in cluster.node_types
        if not node.is_head
    }
    head = {"resources": {"CPU": 2}, "max_workers": 0, "node_config": {}}
    return {
        "cluster_name": "raypol-simulated",
        "max_workers": cluster.max_workers,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "head_node_id": _HEAD_ID,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": address,
        },
        "available_node_types": types | {_HEAD: head},
        "head_node_type": _HEAD,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{name}_commands": [] for name in commands},
    }


BOTH = pytest.mark.parametrize("address", ["v1", "v2"], indirect=True)


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with short_folder() as folder:
        config = folder / "cluster.json"
        environment = {
            "RAY_AUTH_MODE": "disabled",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": str(int(getattr(request, "param", "v2") == "v2")),
            "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
            "RAY_NODE_TYPE_NAME": _HEAD,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        }
        port = free_port()
        config.write_text(json.dumps(simulated(read_cluster_file(ROOT / "cluster.yaml"), f"127.0.0.1:{port}")))
        yield start_head(folder, environment, port, "--num-cpus=2", f"--autoscaling-config={config}")


@BOTH
def test_raypol_cluster_shows_what_can_be_started(address: str) -> None:
    raypol = Path(sys.executable).with_name("raypol")
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "COLUMNS": "160"}
    done = subprocess.run(
        [raypol, "cluster", "--address", address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for model in ("T4", "V100", "A10G", "H100"):
        assert model in done.stdout


def _workers(ray: Any) -> Counter[str]:  # noqa: ANN401 - Ray is untyped
    """Live simulated nodes by accelerator."""
    alive = [node["Labels"] for node in ray.nodes() if node["Alive"]]
    return Counter(labels["ray.io/accelerator-type"] for labels in alive if labels.get("raypol/simulated") == "true")


@pytest.fixture
def ray(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import ray

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray.init(address=address, log_to_driver=False)
    yield ray
    ray.shutdown()


@BOTH
def test_actors_bring_up_one_node_of_each_type_and_idle_ones_go(ray: Any) -> None:  # noqa: ANN401
    class Party:
        def labels(self) -> dict[str, str]:
            return dict(ray.get_runtime_context().get_node_labels())

    assert _workers(ray) == {}
    wanted = ("T4", "V100")
    actors = {name: ray.remote(Party).options(**ray_options(parse_device(name))).remote() for name in wanted}
    found = ray.get([actor.labels.remote() for actor in actors.values()], timeout=90)
    assert [labels["ray.io/accelerator-type"] for labels in found] == list(wanted)
    assert _workers(ray) == {"T4": 1, "V100": 1}
    for actor in actors.values():
        ray.kill(actor)
    assert eventually(lambda: not _workers(ray), within_s=90) is not None, "idle nodes stayed"


def test_a_sweep_over_devices_brings_up_both_types(ray: Any, address: str, tmp_path: Path) -> None:  # noqa: ANN401
    results = tmp_path / "results"
    words = ["--size", "smoke", "--results", str(results), "--address", address, "--spoofer", "T4,V100"]
    seen: Counter[str] = Counter()
    with sweep(words) as driver:
        while driver.poll() is None:
            seen |= _workers(ray)
            time.sleep(0.5)
        said, _ = driver.communicate()
    assert driver.returncode == 0, said
    assert set(seen) == {"T4", "V100"}
    rows = pyarrow.dataset.dataset(results / "trials").to_table().to_pylist()
    spoofs = [row for row in rows if row["arm"] != "honest"]
    assert not [row["message"] for row in rows if row["status"] != "ok"]
    assert {row["device"] for row in spoofs} == {"T4", "V100"}
    assert all(row["simulated"] for row in spoofs)
    assert eventually(lambda: not _workers(ray), within_s=90) is not None, "idle nodes stayed"


def test_a_device_that_no_type_has_is_refused_at_once(address: str, tmp_path: Path) -> None:
    words = ["--size", "smoke", "--results", str(tmp_path), "--address", address, "--spoofer", "P40"]
    start = time.monotonic()
    with sweep(words) as driver:
        said, _ = driver.communicate(timeout=120)
    assert time.monotonic() - start < _REFUSED_S
    assert driver.returncode == 2
    assert "P40" in said
    assert "V100" in said, "what there could be is listed"
    assert not (tmp_path / "trials").exists()
    assert not (tmp_path / "proofs").exists()


@contextmanager
def sweep(words: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A running driver; ended with the block."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "MLFLOW_TRACKING_URI": ""}
    with subprocess.Popen(
        [sys.executable, str(SWEEP), *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as driver:
        try:
            yield driver
        finally:
            driver.kill()
